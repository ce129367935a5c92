// SPDX-License-Identifier: Apache-2.0
//
// Records without a batch have any offsets and times. A batch cannot: its deltas have 32 bits and its offsets go up.
#include "support/custom.hh"
#include "support/given_records.hh"
#include "support/policy.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::ElementsAreArray;
using testing::HasSubstr;

namespace {

constexpr auto lowest = std::numeric_limits<std::int64_t>::min();
constexpr auto highest = std::numeric_limits<std::int64_t>::max();
constexpr auto wide = std::int64_t{1} << 31;

/// What no batch can have: the ends of 64 bits, deltas that need more than 32 bits and more than 63, and steps back.
const std::vector<std::vector<std::int64_t>> ranges{
    {lowest},
    {highest},
    {lowest, highest},
    {highest, lowest},
    {0, wide - 1, wide, 4 * wide, highest - 1},
    {-1, highest, 0, lowest, wide, -wide, -wide - 1},
    {highest, highest, highest},
    {lowest, lowest + 1, lowest + 2, lowest + 3, lowest + 4, lowest + 5},
};

given_records& add(given_records& to, const std::vector<std::int64_t>& offsets, const std::string& value = "k1") {
  for (const auto offset : offsets) {
    // The complement: as wide, and never the same.
    to.add({std::nullopt, value, {}}, offset, ~offset);
  }
  return to;
}

std::vector<std::int64_t> offsets_of(const recorder& out) {
  std::vector<std::int64_t> all;
  for (const auto& r : out.records) {
    EXPECT_EQ(r.input_timestamp, ~r.input_offset);
    all.push_back(r.input_offset);
  }
  return all;
}

class WideOffsets : public testing::TestWithParam<std::uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Records, WideOffsets, testing::Values(0, 1),
                         [](const auto& info) { return info.param == 0 ? "InTheGuest" : "ByCalls"; });

TEST_P(WideOffsets, ComeOutAsTheyWentIn) {
  wasm_runtime_config config{};
  config.host_record_calls = GetParam();
  for (const auto* guest : {"c_identity", "rust_identity"}) {
    bench b(guest, config);
    ASSERT_TRUE(succeeded(b.start()));
    for (const auto& offsets : ranges) {
      given_records records(std::vector<std::string>{});
      // So many that most are read without a call.
      std::vector<std::int64_t> wanted;
      for (int i = 0; i < 5; ++i) {
        add(records, offsets);
        wanted.insert(wanted.end(), offsets.begin(), offsets.end());
      }
      recorder out;
      ASSERT_TRUE(succeeded(finish(b.engine.transform_records(records.all(), out))));
      EXPECT_THAT(offsets_of(out), ElementsAreArray(wanted));
      const auto at = b.engine.progress().value();
      EXPECT_EQ(at.has_offset, 1U);
      EXPECT_EQ(at.next_offset, static_cast<std::int64_t>(static_cast<std::uint64_t>(offsets.back()) + 1));
    }
  }
}

TEST_P(WideOffsets, OfMoreRecordsThanHaveEntries) {
  wasm_runtime_config config{};
  config.host_record_calls = GetParam();
  config.max_batch_size = 64 << 20;
  bench b("c_identity", config);
  ASSERT_TRUE(succeeded(b.start()));
  we::record_list list;
  const std::string value = "v";
  constexpr int count = 140'000;
  const auto offset = [](int i) { return i % 2 == 0 ? lowest + i : highest - i; };
  for (int i = 0; i < count; ++i) {
    list.add(std::nullopt, value, offset(i), ~offset(i));
  }
  int at = 0;
  auto sink = [&](output_block block) {
    for (const auto& r : block) {
      ASSERT_EQ(r.input_offset, offset(at));
      ASSERT_EQ(r.input_timestamp, ~offset(at));
      ASSERT_EQ(r.input_index, static_cast<std::uint32_t>(at));
      ++at;
    }
  };
  ASSERT_TRUE(succeeded(finish(b.engine.transform_records(list.all(), sink))));
  EXPECT_EQ(at, count);
}

TEST_P(WideOffsets, AreThoseOfFailuresProgressAndDeadLetters) {
  wasm_runtime_config config{};
  config.host_record_calls = GetParam();
  const std::vector<std::int64_t> before{lowest, highest, -wide, 2 * wide, 5, 4};
  for (const auto failing : {lowest, highest, std::int64_t{-1}}) {
    given_records records(std::vector<std::string>{});
    add(add(add(records, before), {failing}, "u1"), {0, lowest});
    policed p(WASM_ON_ERROR_FAIL, config);
    ASSERT_TRUE(succeeded(p.start()));
    recorder out;
    const auto end = finish(p.engine.transform_records(records.all(), out));
    ASSERT_EQ(end.status, WASM_STATUS_GUEST_TRAP);
    EXPECT_EQ(end.why->record()->index, 6U);
    EXPECT_EQ(end.why->record()->offset, failing);
    EXPECT_THAT(end.message(), HasSubstr("(offset " + std::to_string(failing) + ")"));
    EXPECT_THAT(offsets_of(out), ElementsAreArray(before));
    const auto at = p.engine.progress().value();
    EXPECT_EQ(std::tuple(at.batch, at.record, at.next_offset), std::tuple(0U, 6U, failing));
    ASSERT_TRUE(succeeded(p.start()));
    recorder rest;
    ASSERT_TRUE(succeeded(finish(p.engine.transform_records(records.all(), rest, 7))));
    EXPECT_THAT(offsets_of(rest), testing::ElementsAre(0, lowest));

    policed lenient(WASM_ON_ERROR_DEAD_LETTER, config);
    ASSERT_TRUE(succeeded(lenient.start()));
    recorder all;
    ASSERT_TRUE(succeeded(finish(lenient.engine.transform_records(records.all(), all))));
    ASSERT_EQ(all.records.size(), records.all().size());
    EXPECT_EQ(all.records[6].input_offset, failing);
    const auto& headers = all.records[6].content.headers;
    const auto told = std::find_if(headers.begin(), headers.end(), [](const auto& h) { return h.first == "wasm-offset"; });
    ASSERT_NE(told, headers.end());
    EXPECT_EQ(told->second, std::to_string(failing));
  }
}

// A batch has a delta of its last offset with 32 bits. Records may be further apart, and the guest is told the most.
TEST(OffsetsOfAHeader, AreClamped) {
  bench b("t_header");
  ASSERT_TRUE(succeeded(b.start()));
  const auto header = [&](const std::vector<std::int64_t>& offsets) {
    given_records records(std::vector<std::string>{});
    add(records, offsets);
    recorder out;
    EXPECT_TRUE(succeeded(finish(b.engine.transform_records(records.all(), out))));
    return out.values();
  };
  const auto of_batch = [&](std::int64_t base, std::int32_t delta) {
    kafka::batch batch;
    batch.base_offset = base;
    batch.base_timestamp = batch.max_timestamp = ~base;
    batch.records = {{0, 0, {std::nullopt, "k1", {}}}, {delta, 0, {std::nullopt, "k1", {}}}};
    recorder out;
    EXPECT_TRUE(succeeded(b.transform(batch.encode(), out)));
    return out.values();
  };
  EXPECT_FALSE(header({5, 6}).empty());
  for (const auto base : {std::int64_t{0}, std::int64_t{-7}, highest - 2 * wide, lowest}) {
    given_records same(std::vector<std::string>{});
    same.add({std::nullopt, "k1", {}}, base, ~base);
    same.add({std::nullopt, "k1", {}}, base + 9, ~base);
    recorder out;
    EXPECT_TRUE(succeeded(finish(b.engine.transform_records(same.all(), out))));
    EXPECT_EQ(out.values(), of_batch(base, 9)) << base;
    same.list = {};
    same.list.add(we::payload{std::nullopt, "k1", {}}, base, ~base);
    same.list.add(we::payload{std::nullopt, "k1", {}}, base + 2 * wide - 1, ~base);
    recorder far;
    EXPECT_TRUE(succeeded(finish(b.engine.transform_records(same.all(), far))));
    EXPECT_EQ(far.values(), of_batch(base, std::numeric_limits<std::int32_t>::max())) << base;
  }
  EXPECT_EQ(header({lowest, highest}).size(), header({5, 6}).size()) << "the difference has 65 bits";
  EXPECT_EQ(header({highest, lowest}).size(), header({5, 6}).size());
}

TEST(OffsetsOfACustomEngine, AreAnyToo) {
  c_engine table;
  custom_bench b(table);
  ASSERT_TRUE(succeeded(b.start()));
  for (const auto& offsets : ranges) {
    given_records records(std::vector<std::string>{});
    add(records, offsets);
    recorder out;
    ASSERT_TRUE(succeeded(finish(b.engine.transform_records(records.all(), out))));
    EXPECT_THAT(offsets_of(out), ElementsAreArray(offsets));
  }
}

}  // namespace
