// SPDX-License-Identifier: Apache-2.0
//
// Batches to size: the builder's limits, and a transform's output as batches of topics.
#include "support/bench.hh"

#include <gmock/gmock.h>

#include <map>
#include <random>

using namespace testing_support;
using testing::HasSubstr;

namespace {

namespace we = wasmengine;

TEST(BatchSize, IsWhatTheFinishedBatchHas) {
  auto builder = we::batch_builder::create().value();
  EXPECT_EQ(builder.size().value().bytes, 61U);
  for (int i = 0; i < 200; ++i) {
    const std::string value(static_cast<std::size_t>(i), 'v');
    builder.add(i, we::payload{std::nullopt, value, {}}).value();
    const auto size = builder.size().value();
    EXPECT_EQ(size.records, static_cast<std::uint32_t>(i + 1));
    EXPECT_EQ(size.bytes, builder.finish().value().size());
  }
  builder.reset().value();
  EXPECT_EQ(builder.size().value().bytes, 61U);
  EXPECT_EQ(builder.size().value().records, 0U);
}

TEST(BatchSize, AFullBatchRefusesARecordAndStaysAsItIs) {
  const std::string value(100, 'v');
  const we::payload p{std::nullopt, value, {}};
  auto builder = we::batch_builder::create({.max_records = 2}).value();
  builder.add(0, p).value();
  builder.add(0, p).value();
  const auto before = builder.size().value();
  auto full = builder.add(0, p);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.err().status(), WASM_STATUS_BATCH_FULL);
  EXPECT_THAT(full.err().what(), HasSubstr("the batch is full: "));
  EXPECT_EQ(builder.size().value().bytes, before.bytes);
  EXPECT_EQ(kafka::batch::decode(builder.finish().value()).records.size(), 2U);

  builder.reset({.max_bytes = before.bytes}).value();
  builder.add(0, p).value();
  builder.add(0, p).value();
  EXPECT_EQ(builder.add(0, p).err().status(), WASM_STATUS_BATCH_FULL);
  EXPECT_EQ(builder.finish().value().size(), before.bytes) << "the limit is inclusive";
  const std::string large(before.bytes, 'v');
  EXPECT_EQ(builder.add(0, {std::nullopt, large, {}}).err().status(), WASM_STATUS_BATCH_TOO_LARGE)
      << "whatever is in the builder";
}

TEST(BatchSize, MisuseHasAStatus) {
  std::uint64_t bytes = 7;
  EXPECT_EQ(wasm_batch_builder_size(nullptr, &bytes, nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  wasm_batch_builder* builder = nullptr;
  ASSERT_EQ(wasm_batch_builder_create(nullptr, &builder, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(wasm_batch_builder_size(builder, nullptr, nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(bytes, 7U);
  EXPECT_EQ(wasm_batch_builder_size(builder, &bytes, nullptr, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(bytes, 61U);
  wasm_batch_builder_release(builder);
}

// Any records, any limits, any codec: the batches of each topic have its records in order, and none is too large.
TEST(TopicBatches, HaveTheRecordsOfEachTopicInOrder) {
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    const we::batch_config config{.compression = static_cast<wasm_compression>(round % 5),
                                  .max_bytes = 150 + random() % 2000,
                                  .max_records = static_cast<std::uint32_t>(random() % 20)};
    std::map<std::uint32_t, std::vector<std::string>> wanted, found;
    we::topic_batches batches(config, [&](std::uint32_t topic, std::span<const std::uint8_t> batch) {
      EXPECT_LE(batch.size(), config.max_bytes);
      const auto header = we::read_batch_header(batch).value();
      EXPECT_EQ(header.total_size, batch.size());
      EXPECT_GT(header.record_count, 0);
      EXPECT_TRUE(config.max_records == 0 || static_cast<std::uint32_t>(header.record_count) <= config.max_records);
      if ((header.attributes & 7) == 0) {
        for (const auto& r : kafka::batch::decode(batch).records) {
          found[topic].push_back(r.content.value.value());
        }
        return;
      }
      static bench copies("c_identity");
      if (copies.state() == WASM_ENGINE_STATE_STOPPED) {
        EXPECT_TRUE(succeeded(copies.start()));
      }
      recorder out;
      EXPECT_TRUE(succeeded(copies.transform(batch, out)));
      for (const auto& v : out.values()) {
        found[topic].push_back(v);
      }
    });
    const auto count = random() % 100;
    std::vector<kafka::bytes> payloads;
    std::vector<wasm_output_record> block;
    for (std::size_t i = 0; i < count; ++i) {
      // The first letters cannot be compressed.
      std::string value = std::to_string(random()) + std::string(random() % 300, 'v');
      payloads.push_back(kafka::payload{std::nullopt, value, {}}.encode());
      wasm_output_record r{};
      r.payload = payloads.back().data();
      r.payload_size = static_cast<std::uint32_t>(payloads.back().size());
      r.topic = static_cast<std::uint32_t>(random() % 3);
      block.push_back(r);
      const bool fits = payloads.back().size() + 61 + 5 <= config.max_bytes;
      auto added = batches.add(we::output_block(&block.back(), 1));
      EXPECT_TRUE(added || (!fits && added.err().status() == WASM_STATUS_BATCH_TOO_LARGE));
      EXPECT_EQ(batches.added(), added ? 1U : 0U);
      if (added) {
        wanted[r.topic].push_back(std::move(value));
      }
    }
    ASSERT_TRUE(batches.flush());
    ASSERT_TRUE(batches.flush()) << "there is nothing left to flush";
    EXPECT_EQ(found, wanted);
  }
}

}  // namespace
