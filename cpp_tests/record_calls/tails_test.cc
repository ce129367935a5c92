// SPDX-License-Identifier: Apache-2.0
//
// Tail calls of the functions for records: they are not expanded and come to the host, between calls that are.
#include "support/record_engines.hh"

#include <gmock/gmock.h>

using namespace record_calls;

namespace {

const std::vector<std::string> topics{"out", "two"};

TEST(RecordTails, AreTheSameForEachSize) {
  in_both([](world& w) {
    for (const std::size_t size : {0, 10, 200, 9'000}) {
      EXPECT_TRUE(succeeded(w.transform(values(100, size))));
      EXPECT_TRUE(succeeded(w.transform(values(30, size), 7)));
    }
    EXPECT_EQ(w.output_records, 4U * 4U * 123U);
  }, unhurried, "r_tails", topics);
}

// What is not usual goes to the host from expanded calls, too: headers, null and large payloads.
TEST(RecordTails, AreTheSameForEachShape) {
  in_both([](world& w) {
    kafka::batch batch;
    batch.base_offset = 100;
    std::int64_t at = 0;
    for (const std::size_t headers : {0, 1, 3, 200}) {
      for (const std::size_t size : {0, 64, 8'191, 8'192, 200'000}) {
        kafka::payload p{size % 2 == 0 ? kafka::field("key") : std::nullopt, std::string(size, 'v'), {}};
        for (std::size_t i = 0; i < headers; ++i) {
          p.headers.emplace_back("name", i % 2 == 0 ? kafka::field("value") : std::nullopt);
        }
        batch.records.push_back({at++, 0, p});
        batch.records.push_back({at++, 0, {std::nullopt, "usual", {}}});
        batch.records.push_back({at++, 0, {}});
      }
    }
    EXPECT_TRUE(succeeded(w.transform(batch.encode())));
    EXPECT_EQ(w.output_records, 4U * 60U);
  }, unhurried, "r_tails", topics);
}

// The buffer is full in a tail call, and the guest is suspended there.
TEST(RecordTails, ThatAreSuspendedGoOn) {
  wasm_runtime_config config = unhurried;
  config.output_buffer_limit = 64 << 10;
  in_both([](world& w) {
    EXPECT_TRUE(succeeded(w.transform(values(200, 9'000))));
    EXPECT_EQ(w.output_records, 4U * 200U);
    EXPECT_TRUE(succeeded(w.transform(values(3, 30'000))));
    EXPECT_EQ(w.output_records, 4U * 203U);
  }, config, "r_tails", topics);
}

TEST(RecordTails, WithATopicThatIsNoneAreRefused) {
  // The check in the guest traps when the topic is unknown.
  in_both([](world& w) {
    EXPECT_EQ(w.transform(values(20, 10)).status, WASM_STATUS_GUEST_TRAP);
    EXPECT_EQ(w.output_records, 0U);
  }, unhurried, "r_tails", std::vector<std::string>{"out"});
}

}  // namespace
