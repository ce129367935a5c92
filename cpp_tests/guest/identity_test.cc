// SPDX-License-Identifier: Apache-2.0
//
// Guests that copy every record: in each language, for batches of every shape.
#include "support/bench.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::ElementsAre;
using testing::SizeIs;

namespace {

kafka::batch assorted() {
  kafka::batch b;
  b.base_offset = 5'000'000'000;
  b.base_timestamp = 1'700'000'000'000;
  b.max_timestamp = 1'700'000'000'900;
  b.records = {
      {0, 0, {"key", "value", {}}},
      {1, 900, {std::nullopt, "no key", {}}},
      {4, -50, {"a tombstone", std::nullopt, {}}},
      {5, 3, {std::nullopt, std::nullopt, {}}},
      {9, 4, {"", "", {}}},
      {10, 4, {"headers", "follow", {{"a", "1"}, {"", ""}, {"null", std::nullopt}, {"a", "again"}}}},
      {11, 5, {std::string(300, 'k'), std::string(70'000, 'v'), {{std::string(200, 'h'), std::string(200, 'w')}}}},
      {12, 6, {std::string("\0\xff\xc3", 3), std::string("\0\n\r\x80", 4), {}}},
  };
  return b;
}

void expect_copy(const kafka::batch& in, const recorder& out) {
  ASSERT_THAT(out.records, SizeIs(in.records.size()));
  for (std::size_t i = 0; i < in.records.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(out.records[i].content, in.records[i].content);
    EXPECT_EQ(out.records[i].topic, 0U);
    EXPECT_EQ(out.records[i].input_offset, in.base_offset + in.records[i].offset_delta);
    EXPECT_EQ(out.records[i].input_timestamp, in.base_timestamp + in.records[i].timestamp_delta);
  }
}

void copies_assorted_records_batch_after_batch(std::string_view guest) {
  bench b(guest);
  ASSERT_TRUE(succeeded(b.start()));
  for (int i = 0; i < 3; ++i) {
    recorder out;
    ASSERT_TRUE(succeeded(b.transform(assorted(), out)));
    expect_copy(assorted(), out);
    EXPECT_EQ(b.state(), WASM_ENGINE_STATE_IDLE);
  }
}

TEST(Identity, AGuestInCCopiesEveryRecord) { copies_assorted_records_batch_after_batch("c_identity"); }
TEST(Identity, AGuestInCppCopiesEveryRecord) { copies_assorted_records_batch_after_batch("cpp_identity"); }
TEST(Identity, AGuestInRustCopiesEveryRecord) { copies_assorted_records_batch_after_batch("rust_identity"); }
TEST(GoGuest, CopiesEveryRecordSlow) { copies_assorted_records_batch_after_batch("go_identity"); }

TEST(Identity, OutputRoundTripsThroughTheLibrarysOwnPayloadReader) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  const auto in = assorted();
  std::size_t i = 0;
  auto sink = [&](output_block block) {
    for (const auto& raw : block) {
      const auto p = wasmengine::payload::read(wasmengine::output_record(raw).payload()).value();
      const auto& expected = in.records.at(i++).content;
      EXPECT_EQ(p.key, expected.key);
      EXPECT_EQ(p.value, expected.value);
      ASSERT_EQ(p.headers.size(), expected.headers.size());
      for (std::size_t h = 0; h < p.headers.size(); ++h) {
        EXPECT_EQ(p.headers[h].key, expected.headers[h].first);
        EXPECT_EQ(p.headers[h].value, expected.headers[h].second);
      }
    }
  };
  const auto batch = in.encode();
  ASSERT_TRUE(succeeded(b.transform(batch, sink)));
  EXPECT_EQ(i, in.records.size());
}

TEST(Identity, AnEmptyBatchGivesNoOutputAndNoCallOfTheSink) {
  for (const auto* guest : {"c_identity", "rust_identity"}) {
    bench b(guest);
    ASSERT_TRUE(succeeded(b.start()));
    recorder out;
    ASSERT_TRUE(succeeded(b.transform(kafka::batch{}, out)));
    EXPECT_TRUE(out.block_bytes.empty());
    EXPECT_TRUE(works(b));
  }
}

TEST(Identity, AnEmptyBatchThatKeepsItsOffsetsLikeACompactedOneIsFine) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  kafka::batch compacted;
  compacted.base_offset = 77;
  compacted.last_offset_delta = 12;
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(compacted, out)));
  EXPECT_TRUE(out.records.empty());
}

TEST(Identity, ABatchOfOneRecord) {
  bench b("c_identity");
  EXPECT_THAT(b.run({"alone"}).values(), ElementsAre("alone"));
}

TEST(Identity, ABatchOfAHundredThousandRecords) {
  bench b("c_identity");
  std::vector<std::string> in;
  for (int i = 0; i < 100'000; ++i) {
    in.push_back(std::to_string(i));
  }
  const auto out = b.run(in);
  EXPECT_EQ(out.values(), in);
  EXPECT_EQ(out.records.back().input_offset, 100 + 99'999);
  EXPECT_GT(out.block_bytes.size(), 1U) << "output comes in blocks, not in one piece";
}

TEST(Identity, AHundredThousandRecordsThroughTheRustSdk) {
  bench b("rust_identity");
  const std::vector<std::string> in(100'000, "a value");
  EXPECT_EQ(b.run(in).values(), in);
}

TEST(Identity, ManyBatchesOneAfterTheOther) {
  bench b("cpp_identity");
  for (int i = 0; i < 500; ++i) {
    const std::vector<std::string> in{std::to_string(i), "second"};
    ASSERT_EQ(b.run(in).values(), in);
  }
}

TEST(Identity, CreateTimeIsEachRecordsOwn) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  auto in = kafka::values({"a", "b", "c"});
  in.records[1].timestamp_delta = 5'000;
  in.records[2].timestamp_delta = -3;
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(in, out)));
  ASSERT_THAT(out.records, SizeIs(3));
  EXPECT_EQ(out.records[0].input_timestamp, in.base_timestamp);
  EXPECT_EQ(out.records[1].input_timestamp, in.base_timestamp + 5'000);
  EXPECT_EQ(out.records[2].input_timestamp, in.base_timestamp - 3);
}

TEST(Identity, AppendTimeIsTheBrokersForAllRecords) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  auto in = kafka::values({"a", "b"});
  in.attributes = kafka::append_time;
  in.max_timestamp = 1'800'000'000'000;
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(in, out)));
  ASSERT_THAT(out.records, SizeIs(2));
  EXPECT_EQ(out.records[0].input_timestamp, in.max_timestamp);
  EXPECT_EQ(out.records[1].input_timestamp, in.max_timestamp);
}

// Old producers write 0 whatever the number of records.
TEST(Identity, ALastOffsetDeltaBelowTheNumberOfRecordsIsRead) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  auto in = kafka::values(std::vector<std::string>(3'000, "a"));
  in.last_offset_delta = 0;
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(in, out)));
  ASSERT_THAT(out.records, SizeIs(3'000));
  EXPECT_EQ(out.records.back().input_offset, in.base_offset + 2'999);
  EXPECT_TRUE(works(b));
}

// Each −1 may be encoded in more bytes than it takes. The SDKs read that as well.
void a_padded_null_is_null(std::string_view guest) {
  bench b(guest);
  ASSERT_TRUE(succeeded(b.start()));
  for (std::uint8_t bytes = 2; bytes <= 10; ++bytes) {
    kafka::bytes null(bytes, 0x80);
    null.front() = 0x81;
    null.back() = 0;
    kafka::bytes record{0, 0, 0};
    const auto put = [&](const kafka::bytes& more) { record.insert(record.end(), more.begin(), more.end()); };
    put(null);       // the key
    put(null);       // the value
    put({2, 2, 'h'});  // one header
    put(null);       // its value
    auto in = kafka::values({"replaced"});
    in.body = kafka::bytes{};
    kafka::put_varint(*in.body, static_cast<std::int64_t>(record.size()));
    in.body->insert(in.body->end(), record.begin(), record.end());
    recorder out;
    ASSERT_TRUE(succeeded(b.transform(in, out))) << +bytes;
    ASSERT_THAT(out.records, SizeIs(1));
    EXPECT_EQ(out.records[0].content, (kafka::payload{std::nullopt, std::nullopt, {{"h", std::nullopt}}}));
  }
}

TEST(Identity, APaddedNullIsNullInC) { a_padded_null_is_null("c_identity"); }
TEST(Identity, APaddedNullIsNullInCpp) { a_padded_null_is_null("cpp_identity"); }
TEST(Identity, APaddedNullIsNullInRust) { a_padded_null_is_null("rust_identity"); }
TEST(GoGuest, APaddedNullIsNullSlow) { a_padded_null_is_null("go_identity"); }

TEST(Identity, TheGuestSeesEveryFieldOfTheHeader) {
  bench b("t_header");
  ASSERT_TRUE(succeeded(b.start()));
  auto in = kafka::values({"a", "largest", "b"});
  in.base_offset = 0x0102030405060708;
  in.leader_epoch = 0x11121314;
  in.producer_id = 0x2122232425262728;
  in.producer_epoch = 0x3132;
  in.base_sequence = 0x41424344;
  in.attributes = 0x10;  // transactional
  in.last_offset_delta = 9;
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(in, out)));
  ASSERT_THAT(out.records, SizeIs(1));
  kafka::bytes expected;
  const auto put = [&](std::int64_t value, int size) {
    for (int i = 0; i < size; ++i) {
      expected.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    }
  };
  put(in.base_offset, 8);
  put(3, 4);
  put(in.leader_epoch, 4);
  put(in.attributes, 2);
  put(9, 4);
  put(in.base_timestamp, 8);
  put(in.max_timestamp, 8);
  put(in.producer_id, 8);
  put(in.producer_epoch, 2);
  put(in.base_sequence, 4);
  put(static_cast<std::int64_t>(kafka::value("largest").encode().size()), 4);
  EXPECT_EQ(out.records[0].content.value, kafka::text(expected));
  EXPECT_EQ(out.records[0].input_offset, in.base_offset) << "what is written before the first record";
}

TEST(Identity, ARecordAsLargeAsTheOutputBufferPassesWhole) {
  wasm_runtime_config config{};
  config.output_buffer_limit = 256 << 10;
  bench b("c_identity", config);
  const std::size_t overhead = kafka::value(std::string(200'000, 'x')).encode().size() - 200'000;
  const std::string largest((256 << 10) - overhead, 'x');
  EXPECT_EQ(b.run({"before", largest, "after"}).values(), (std::vector<std::string>{"before", largest, "after"}));
}

TEST(Identity, ARecordOfManyMegabytes) {
  wasm_runtime_config config{};
  config.output_buffer_limit = 16 << 20;
  bench b("c_identity", config);
  const std::string large(12 << 20, 'x');
  EXPECT_EQ(b.run({large}).values(), std::vector<std::string>{large});
}

TEST(Identity, AGuestThatSkipsTheRecordsGetsTheNextBatch) {
  bench b("t_skip");
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(b.run({"never", "read"}).records.empty());
  }
}

TEST(Identity, AGuestThatReadsInItsStartSectionWorksToo) {
  bench b("t_start_section_reader");
  EXPECT_THAT(b.run({"a", "b"}).values(), ElementsAre("a", "b"));
  EXPECT_THAT(b.run({"c"}).values(), ElementsAre("c"));
}

}  // namespace
