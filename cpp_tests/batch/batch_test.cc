// SPDX-License-Identifier: Apache-2.0
//
// Batches that are broken, or lie; and the library's own reader and builder, against an independent one.
#include "support/bench.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::AnyOf;
using testing::ElementsAre;

namespace {

class Malformed : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(succeeded(b.start())); }
  wasm_status status_of(kafka::view batch) {
    recorder out;
    const auto end = b.transform(batch, out);
    EXPECT_EQ(b.state(), WASM_ENGINE_STATE_IDLE) << end.message();
    return end.status;
  }
  wasm_status status_of(const kafka::batch& batch) { return status_of(batch.encode()); }

  bench b{"c_identity"};
};

TEST(Oracle, KnowsTheCheckValueOfCrc32c) {
  const std::string digits = "123456789";
  EXPECT_EQ(kafka::crc32c(kafka::bytes(digits.begin(), digits.end())), 0xE3069283U);
}

TEST_F(Malformed, TruncationAtEveryByteGivesAStatus) {
  const auto whole = kafka::values({"first", "second", "third"}).encode();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    // A copy of its own, so that the sanitizer sees a read past its end.
    const kafka::bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_EQ(status_of(cut), WASM_STATUS_BATCH_TRUNCATED) << size;
  }
  EXPECT_EQ(status_of(whole), WASM_STATUS_OK);
}

TEST_F(Malformed, TruncationWithALengthThatFitsGivesAStatusToo) {
  const auto whole = kafka::values({"first", "second", "third"}).encode();
  for (std::size_t size = kafka::header_size; size < whole.size(); ++size) {
    kafka::bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    const auto length = static_cast<std::uint32_t>(size - 12);
    for (int i = 0; i < 4; ++i) {
      cut[8 + static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(length >> (24 - 8 * i));
    }
    EXPECT_EQ(status_of(cut), WASM_STATUS_BATCH_CRC) << size;
    kafka::batch::reseal(cut);
    EXPECT_EQ(status_of(cut), WASM_STATUS_BATCH_MALFORMED) << size;
  }
}

TEST_F(Malformed, EveryBitThatIsFlippedAfterTheCrcIsSeen) {
  const auto whole = kafka::values({"first", "second"}).encode();
  for (std::size_t at = 17; at < whole.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      auto flipped = whole;
      flipped[at] ^= static_cast<std::uint8_t>(1 << bit);
      EXPECT_EQ(status_of(flipped), WASM_STATUS_BATCH_CRC) << at;
    }
  }
}

TEST_F(Malformed, OtherMagicsAreRefused) {
  for (const std::int8_t magic : {-1, 0, 1, 3}) {
    auto batch = kafka::values({"a"});
    batch.magic = magic;
    EXPECT_EQ(status_of(batch), WASM_STATUS_BATCH_MAGIC);
  }
}

TEST_F(Malformed, BytesAfterTheBatchAreRefused) {
  auto two = kafka::values({"a"}).encode();
  auto extra = two;
  extra.push_back(0);
  EXPECT_EQ(status_of(extra), WASM_STATUS_BATCH_MALFORMED);
  kafka::append(two, kafka::view(kafka::values({"b"}).encode()));
  EXPECT_EQ(status_of(two), WASM_STATUS_BATCH_MALFORMED);
}

TEST_F(Malformed, LengthsThatLieAreRefused) {
  const auto lying = [&](std::int32_t length) {
    auto batch = kafka::values({"a"});
    batch.length = length;
    return status_of(batch);
  };
  EXPECT_EQ(lying(INT32_MAX), WASM_STATUS_BATCH_TRUNCATED);
  EXPECT_EQ(lying(-1), WASM_STATUS_BATCH_MALFORMED);
  EXPECT_EQ(lying(INT32_MIN), WASM_STATUS_BATCH_MALFORMED);
  EXPECT_EQ(lying(0), WASM_STATUS_BATCH_MALFORMED);
  EXPECT_EQ(lying(48), WASM_STATUS_BATCH_MALFORMED);
  EXPECT_EQ(lying(49), WASM_STATUS_BATCH_MALFORMED) << "the header alone, then bytes that follow";
}

TEST_F(Malformed, CountsThatLieAreRefused) {
  for (const std::int32_t count : {-1, INT32_MIN, 0, 1, 3, 1'000'000, INT32_MAX}) {
    auto batch = kafka::values({"a", "b"});
    batch.record_count = count;
    EXPECT_EQ(status_of(batch), WASM_STATUS_BATCH_MALFORMED) << count;
  }
}

TEST_F(Malformed, OffsetsOutsideOfTheBatchAreRefused) {
  for (const std::int32_t last : {-1, INT32_MIN}) {
    auto batch = kafka::values({"a", "b"});
    batch.last_offset_delta = last;
    EXPECT_EQ(status_of(batch), WASM_STATUS_BATCH_MALFORMED) << last;
  }
  for (const std::int64_t delta : {std::int64_t{-1}, INT64_MIN, INT64_MAX, std::int64_t{2}}) {
    auto batch = kafka::values({"a", "b"});
    batch.last_offset_delta = 0;
    batch.records[1].offset_delta = delta;
    EXPECT_EQ(status_of(batch), WASM_STATUS_BATCH_MALFORMED) << "no more than the count allows: " << delta;
  }
  for (const std::int64_t delta : {std::int64_t{-1}, INT64_MIN, INT64_MAX, std::int64_t{2}}) {
    auto batch = kafka::values({"a", "b"});
    batch.records[0].offset_delta = delta;
    EXPECT_EQ(status_of(batch), WASM_STATUS_BATCH_MALFORMED) << delta;
  }
  auto batch = kafka::values({"a", "b"});
  batch.base_offset = INT64_MAX;
  EXPECT_EQ(status_of(batch), WASM_STATUS_BATCH_MALFORMED) << "the second record's offset overflows";
}

TEST_F(Malformed, TimestampsThatOverflowAreRefused) {
  auto batch = kafka::values({"a"});
  batch.records[0].timestamp_delta = INT64_MAX;
  EXPECT_EQ(status_of(batch), WASM_STATUS_BATCH_MALFORMED);
}

TEST_F(Malformed, ControlBatchesAreRefused) {
  auto batch = kafka::values({"a"});
  batch.attributes = kafka::control;
  EXPECT_EQ(status_of(batch), WASM_STATUS_BATCH_CONTROL);
}

TEST_F(Malformed, RecordsWhoseVarintsLieAreRefused) {
  const kafka::bytes good{14, 0, 0, 0, 1, 2, 'a', 0};
  const auto with_body = [&](kafka::bytes body) {
    auto batch = kafka::values({"a"});
    batch.body = std::move(body);
    return status_of(batch);
  };
  ASSERT_EQ(with_body(good), WASM_STATUS_OK);
  const kafka::bytes huge{0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01};
  const kafka::bytes wide{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02};
  const kafka::bytes eleven{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const auto& bad : {huge, wide, eleven, kafka::bytes{0x80}, kafka::bytes{1}, kafka::bytes{3}, kafka::bytes{127}}) {
      // Once with the record's length as it was, once with one that fits.
      auto body = good;
      body.erase(body.begin() + static_cast<std::ptrdiff_t>(at));
      body.insert(body.begin() + static_cast<std::ptrdiff_t>(at), bad.begin(), bad.end());
      EXPECT_THAT(with_body(body), AnyOf(WASM_STATUS_BATCH_MALFORMED, WASM_STATUS_OK)) << at;
      if (at > 0) {
        body[0] = static_cast<std::uint8_t>((body.size() - 1) * 2);
        EXPECT_THAT(with_body(body), AnyOf(WASM_STATUS_BATCH_MALFORMED, WASM_STATUS_OK)) << at;
      }
    }
  }
  EXPECT_EQ(with_body({}), WASM_STATUS_BATCH_MALFORMED);
  EXPECT_EQ(with_body({0}), WASM_STATUS_BATCH_MALFORMED) << "a record of no bytes";
  EXPECT_EQ(with_body({12, 0, 0, 0, 1, 2, 'a', 0}), WASM_STATUS_BATCH_MALFORMED) << "a record that is too short";
  EXPECT_EQ(with_body({16, 0, 0, 0, 1, 2, 'a', 0, 0}), WASM_STATUS_BATCH_MALFORMED) << "a record with bytes left over";
}

TEST_F(Malformed, HeaderAndBatchAreJudgedAlike) {
  // What the header reader accepts in front of other bytes is what the engine accepts alone.
  auto bytes = kafka::values({"a"}).encode();
  const auto size = bytes.size();
  bytes.resize(size + 100);
  const auto header = wasmengine::read_batch_header(bytes);
  ASSERT_TRUE(header);
  EXPECT_EQ((*const_cast<wasmengine::result<wasm_batch_header>&>(header)).total_size, size);
}

TEST(MalformedTooLarge, ABatchLargerThanTheLimitIsRefused) {
  wasm_runtime_config config{};
  config.max_batch_size = 1'000;
  bench b("c_identity", config);
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  EXPECT_EQ(b.transform(kafka::values({std::string(2'000, 'x')}), out).status, WASM_STATUS_BATCH_TOO_LARGE);
  EXPECT_TRUE(works(b));
}

TEST(MalformedRandom, DamageWithoutACrcCheckNeverCrashes) {
  wasm_runtime_config config{};
  config.skip_crc_check = 1;
  config.max_batch_size = 1 << 20;
  bench b("c_identity", config);
  std::uint32_t seed = 7;
  const auto random = [&seed] { return (seed = seed * 1'664'525 + 1'013'904'223) >> 8; };
  int accepted = 0;
  for (const wasm_compression codec : {WASM_COMPRESSION_NONE, WASM_COMPRESSION_GZIP, WASM_COMPRESSION_SNAPPY,
                                       WASM_COMPRESSION_LZ4, WASM_COMPRESSION_ZSTD}) {
    const auto whole = built({"first", "second", std::string(300, 'x'), ""}, {100, codec});
    for (int i = 0; i < 4'000; ++i) {
      auto damaged = whole;
      for (auto n = random() % 3 + 1; n > 0; --n) {
        damaged[random() % damaged.size()] ^= static_cast<std::uint8_t>(1U << (random() % 8));
      }
      if (b.state() == WASM_ENGINE_STATE_STOPPED) {
        ASSERT_TRUE(succeeded(b.start()));
      }
      recorder out;
      const auto end = b.transform(damaged, out);
      ASSERT_TRUE(end.status == WASM_STATUS_OK ||
                  (end.status >= WASM_STATUS_BATCH_TRUNCATED && end.status < WASM_STATUS_PANIC))
          << wasm_status_name(end.status) << ": " << end.message();
      accepted += end.status == WASM_STATUS_OK ? 1 : 0;
    }
  }
  EXPECT_GT(accepted, 1'000) << "some bits do no harm, such as those of values";
}

TEST(Batch, MayBeUncheckedIfTheHostHasCheckedItsCrc) {
  wasm_runtime_config config{};
  config.skip_crc_check = 1;
  bench b("c_identity", config);
  ASSERT_TRUE(succeeded(b.start()));
  auto batch = kafka::values({"a"}).encode();
  batch[17] ^= 0xFF;
  recorder out;
  EXPECT_TRUE(succeeded(b.transform(batch, out)));
  EXPECT_THAT(out.values(), ElementsAre("a"));
}

// ---- The builder and the reader of the library ----

TEST(Builder, MakesBatchesThatTheOracleReads) {
  auto builder = wasmengine::batch_builder::create({1'000}).value();
  const kafka::payload full{"k", std::string(200, 'v'), {{"h", "w"}, {"n", std::nullopt}, {"", ""}}};
  builder.add(500, {"k", *full.value, {{"h", "w"}, {"n", std::nullopt}, {"", ""}}}).value();
  builder.add(400, {std::nullopt, std::nullopt, {}}, 1'005).value();
  builder.add_encoded(900, kafka::value("encoded").encode()).value();
  const auto batch = kafka::batch::decode(builder.finish().value());
  EXPECT_EQ(batch.base_offset, 1'000);
  EXPECT_EQ(batch.base_timestamp, 500);
  EXPECT_EQ(batch.max_timestamp, 900);
  EXPECT_EQ(batch.last_offset_delta, 6);
  EXPECT_EQ(batch.record_count, 3);
  EXPECT_EQ(batch.attributes, 0);
  EXPECT_EQ(batch.producer_id, -1);
  EXPECT_EQ(batch.producer_epoch, -1);
  EXPECT_EQ(batch.base_sequence, -1);
  EXPECT_THAT(batch.records, ElementsAre(kafka::record{0, 0, full}, kafka::record{5, -100, {}},
                                         kafka::record{6, 400, kafka::value("encoded")}));
}

TEST(Builder, KnowsAppendTime) {
  auto builder = wasmengine::batch_builder::create({0, WASM_COMPRESSION_NONE, 12'345}).value();
  builder.add(500, {std::nullopt, "v", {}}).value();
  const auto batch = kafka::batch::decode(builder.finish().value());
  EXPECT_EQ(batch.attributes, kafka::append_time);
  EXPECT_EQ(batch.max_timestamp, 12'345);
}

TEST(Builder, GoesOnAfterFinishAndBeginsAnewAfterReset) {
  auto builder = wasmengine::batch_builder::create().value();
  EXPECT_EQ(kafka::batch::decode(builder.finish().value()).record_count, 0);
  builder.add(1, {std::nullopt, "a", {}}).value();
  EXPECT_EQ(kafka::batch::decode(builder.finish().value()).record_count, 1);
  builder.add(2, {std::nullopt, "b", {}}).value();
  EXPECT_EQ(kafka::batch::decode(builder.finish().value()).record_count, 2);
  builder.reset({50}).value();
  builder.add(3, {std::nullopt, "c", {}}).value();
  const auto batch = kafka::batch::decode(builder.finish().value());
  EXPECT_EQ(batch.base_offset, 50);
  EXPECT_EQ(batch.base_timestamp, 3);
  EXPECT_EQ(batch.record_count, 1);
}

TEST(Builder, RefusesWhatWouldNotBeABatchAndStaysAsItWas) {
  auto builder = wasmengine::batch_builder::create({10}).value();
  builder.add(0, {std::nullopt, "a", {}}, 20).value();
  const auto refused = [&](std::int64_t offset) {
    auto added = builder.add(0, {std::nullopt, "x", {}}, offset);
    return added ? WASM_STATUS_OK : added.err().status();
  };
  EXPECT_EQ(refused(20), WASM_STATUS_INVALID_ARGUMENT) << "the same offset again";
  EXPECT_EQ(refused(5), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(refused(-2), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(refused(10 + (std::int64_t{1} << 31)), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(builder.add_encoded(0, kafka::bytes{1, 1}).err().status(), WASM_STATUS_BATCH_MALFORMED);
  EXPECT_EQ(kafka::batch::decode(builder.finish().value()).record_count, 1);
  EXPECT_EQ(wasmengine::batch_builder::create({-1}).err().status(), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(wasmengine::batch_builder::create({0, static_cast<wasm_compression>(9)}).err().status(),
            WASM_STATUS_INVALID_ARGUMENT);
}

TEST(Builder, RefusesTimestampsThatOverflow) {
  auto builder = wasmengine::batch_builder::create().value();
  builder.add(-2, {std::nullopt, "a", {}}).value();
  auto second = builder.add(INT64_MAX, {std::nullopt, "b", {}});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.err().status(), WASM_STATUS_INVALID_ARGUMENT);
}

TEST(Builder, RefusesOffsetsThatOverflow) {
  auto builder = wasmengine::batch_builder::create({INT64_MAX}).value();
  auto first = builder.add(0, {std::nullopt, "a", {}});
  auto second = builder.add(0, {std::nullopt, "b", {}});
  EXPECT_FALSE(second) << "there is no offset after the last one";
  (void)first;
}

TEST(PayloadRead, GivesAllHeadersHoweverMany) {
  kafka::payload p{"k", "v", {}};
  for (int i = 0; i < 100; ++i) {
    p.headers.emplace_back("h" + std::to_string(i), std::to_string(i));
  }
  const auto encoded = p.encode();
  auto read = wasmengine::payload::read(encoded).value();
  ASSERT_EQ(read.headers.size(), 100U);
  EXPECT_EQ(read.headers[99].key, "h99");
  EXPECT_EQ(read.headers[99].value, "99");
}

TEST(PayloadRead, RefusesWhatIsMalformed) {
  EXPECT_EQ(wasmengine::payload::read(kafka::bytes{}).err().status(), WASM_STATUS_BATCH_MALFORMED);
  EXPECT_EQ(wasmengine::payload::read(kafka::bytes{1, 1, 0, 0}).err().status(), WASM_STATUS_BATCH_MALFORMED);
  EXPECT_EQ(wasmengine::payload::read(kafka::bytes{1, 1, 0xFE, 0xFF, 0xFF, 0xFF, 0x0F}).err().status(),
            WASM_STATUS_BATCH_MALFORMED);
}

TEST(ReadHeader, GivesEveryField) {
  auto batch = kafka::values({"a", "b"});
  batch.base_offset = -5;
  batch.leader_epoch = 3;
  batch.producer_id = 4;
  batch.producer_epoch = 5;
  batch.base_sequence = 6;
  const auto encoded = batch.encode();
  auto h = wasmengine::read_batch_header(encoded).value();
  EXPECT_EQ(h.base_offset, -5);
  EXPECT_EQ(h.total_size, encoded.size());
  EXPECT_EQ(h.partition_leader_epoch, 3);
  EXPECT_EQ(h.crc, kafka::crc32c(kafka::view(encoded).subspan(21)));
  EXPECT_EQ(h.last_offset_delta, 1);
  EXPECT_EQ(h.base_timestamp, batch.base_timestamp);
  EXPECT_EQ(h.max_timestamp, batch.max_timestamp);
  EXPECT_EQ(h.producer_id, 4);
  EXPECT_EQ(h.producer_epoch, 5);
  EXPECT_EQ(h.base_sequence, 6);
  EXPECT_EQ(h.record_count, 2);
  EXPECT_EQ(wasmengine::read_batch_header(kafka::bytes(60)).err().status(), WASM_STATUS_BATCH_TRUNCATED);
}

}  // namespace
