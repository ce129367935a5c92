// SPDX-License-Identifier: Apache-2.0
//
// Large batches: checked and decompressed in steps between which the host has its thread, and ended at each of
// them.
#include "support/bench.hh"
#include "support/shared.hh"

#include <gmock/gmock.h>

using namespace testing_support;
namespace we = wasmengine;

namespace {

constexpr std::size_t MiB = 1 << 20;

// Slices that are as short as they can be. Many fit into the check of a batch of 32 MiB.
wasm_runtime_config short_slices() {
  auto config = unhurried;
  config.time_slice_ns = 20'000;
  return config;
}

// One that is checked in many slices whatever its codec.
kafka::bytes large(wasm_compression codec) {
  return built(std::vector<std::string>(64, std::string(MiB / 2, 'x')), {100, codec});
}

class Steps : public testing::TestWithParam<wasm_compression> {
protected:
  bench b{"c_identity", short_slices()};
  void SetUp() override { ASSERT_TRUE(succeeded(b.start())); }
};

TEST_P(Steps, OfALargeBatchYield) {
  const auto batch = large(GetParam());
  recorder out;
  auto operation = b.engine.transform(batch, out).value();
  int yields = 0;
  while (operation.poll().value() == WASM_POLL_YIELDED && out.records.empty()) {
    ++yields;
  }
  EXPECT_GE(yields, 5) << "before the guest has seen a record";
  EXPECT_TRUE(succeeded(finish(operation)));
  EXPECT_EQ(out.records.size(), 64U);
  EXPECT_TRUE(works(b));
}

TEST_P(Steps, CanBeLeftOutByReleasingTheFuture) {
  const auto batch = large(GetParam());
  for (int polls = 0; polls < 4; ++polls) {
    recorder out;
    {
      auto operation = b.engine.transform(batch, out).value();
      for (int i = 0; i < polls; ++i) {
        ASSERT_EQ(operation.poll().value(), WASM_POLL_YIELDED) << i;
      }
    }
    EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
    ASSERT_TRUE(succeeded(b.start()));
    EXPECT_TRUE(works(b)) << "after " << polls << " polls";
  }
}

TEST_P(Steps, EndWithTheEngine) {
  const auto batch = large(GetParam());
  recorder out;
  auto operation = b.engine.transform(batch, out).value();
  ASSERT_EQ(operation.poll().value(), WASM_POLL_YIELDED);
  auto stop = b.engine.stop().value();
  EXPECT_EQ(finish(operation).status, WASM_STATUS_CANCELLED);
  EXPECT_TRUE(succeeded(finish(stop)));
  ASSERT_TRUE(succeeded(b.start()));
  EXPECT_TRUE(works(b));
}

INSTANTIATE_TEST_SUITE_P(Codecs, Steps,
                         testing::Values(WASM_COMPRESSION_NONE, WASM_COMPRESSION_GZIP, WASM_COMPRESSION_SNAPPY,
                                         WASM_COMPRESSION_LZ4, WASM_COMPRESSION_ZSTD),
                         [](const auto& info) { return codec_name(info.param); });

TEST(StepsOfABatch, ThatIsRefusedLeaveTheEngineAsItWas) {
  bench b("c_identity", short_slices());
  ASSERT_TRUE(succeeded(b.start()));
  auto batch = large(WASM_COMPRESSION_NONE);
  batch.back() ^= 1;
  recorder out;
  // The thread that ends slices may come late on a busy machine.
  bool yielded = false;
  for (int i = 0; i < 50 && !yielded; ++i) {
    auto operation = b.engine.transform(batch, out).value();
    const auto polled = operation.poll();
    yielded = polled && *polled == WASM_POLL_YIELDED;
    EXPECT_EQ(b.state(), yielded ? WASM_ENGINE_STATE_TRANSFORMING : WASM_ENGINE_STATE_IDLE);
    EXPECT_EQ(yielded ? finish(operation).status : polled.err().status(), WASM_STATUS_BATCH_CRC);
    EXPECT_EQ(b.state(), WASM_ENGINE_STATE_IDLE);
  }
  EXPECT_TRUE(yielded) << "the CRC of 32 MiB takes a while";
  EXPECT_TRUE(works(b));
}

// Each step of the check is before anything that a policy could answer.
TEST(StepsOfABatch, ThatIsRefusedAreNoMatterOfAPolicy) {
  bench b("c_identity", short_slices());
  we::policy policy;
  policy.on_error = WASM_ON_ERROR_SKIP;
  b.engine.set_policy(policy).value();
  ASSERT_TRUE(succeeded(b.start()));
  auto batch = large(WASM_COMPRESSION_LZ4);
  auto decoded = kafka::batch::decode(batch);
  decoded.record_count = 65;
  recorder out;
  EXPECT_EQ(b.transform(decoded.encode(), out).status, WASM_STATUS_BATCH_MALFORMED);
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_IDLE);
  const auto stats = b.engine.stats().value();
  EXPECT_EQ(stats.restarts, 0U);
  EXPECT_EQ(stats.failures, 0U);
  EXPECT_EQ(stats.skipped, 0U);
  EXPECT_TRUE(works(b));
}

TEST(StepsOfABatch, OfAUserLetTheOthersWait) {
  dummies d;
  users all(d.factory, 2);
  all.start();
  const auto batch = large(WASM_COMPRESSION_GZIP);
  const auto small = built({"b"});
  all[0].transform(batch);
  all[1].transform(small);
  all.run();
  EXPECT_TRUE(all[0].ok());
  EXPECT_THAT(all[1].out.values(), testing::ElementsAre("b"));
}

TEST(StepsOfARecord, LeaveItWhole) {
  auto config = short_slices();
  config.output_buffer_limit = 64 * MiB;
  config.memory_limit = 256 * MiB;
  bench b("c_identity", config);
  ASSERT_TRUE(succeeded(b.start()));
  std::string value(20 * MiB, ' ');
  for (std::size_t i = 0; i < value.size(); ++i) {
    value[i] = static_cast<char>(i * 7 + i / 251);
  }
  for (const auto codec : {WASM_COMPRESSION_NONE, WASM_COMPRESSION_GZIP, WASM_COMPRESSION_SNAPPY, WASM_COMPRESSION_LZ4,
                           WASM_COMPRESSION_ZSTD}) {
    const auto batch = built({"a", value, "b"}, {100, codec});
    recorder out;
    ASSERT_TRUE(succeeded(b.transform(batch, out)));
    EXPECT_EQ(out.values(), (std::vector<std::string>{"a", value, "b"}));
  }
}

TEST(StepsOfARecord, WithAMillionHeadersYieldAndKeepThem) {
  auto config = short_slices();
  config.output_buffer_limit = 64 * MiB;
  config.memory_limit = 256 * MiB;
  bench b("c_identity", config);
  ASSERT_TRUE(succeeded(b.start()));
  auto builder = we::batch_builder::create().value();
  we::payload payload{std::nullopt, "v", {}};
  payload.headers.assign(1'000'000, {"h", "1"});
  builder.add(0, payload).value();
  const auto batch = kafka::bytes(builder.finish().value().begin(), builder.finish().value().end());
  recorder out;
  auto operation = b.engine.transform(batch, out).value();
  int yields = 0;
  while (operation.poll().value() == WASM_POLL_YIELDED) {
    ++yields;
  }
  EXPECT_GE(yields, 5);
  ASSERT_EQ(out.records.size(), 1U);
  EXPECT_EQ(out.records[0].content.headers.size(), 1'000'000U);
}

// As many clients announce it whatever they send: blocks of 4 MiB. That they take no memory is shown by
// process/shortage_test.cc, which refuses large blocks.
TEST(StepsOfAFrame, ThatAnnouncesMoreThanComesReadIt) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  auto batch = kafka::values(std::vector<std::string>(10, "ten"));
  const auto records = batch.encode_records();
  // A frame with blocks of at most 4 MiB (0x70) and one block that is not compressed.
  kafka::bytes frame{0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73};
  frame.push_back(static_cast<std::uint8_t>(records.size()));
  frame.insert(frame.end(), {0, 0, 0x80});
  kafka::append(frame, kafka::view(records));
  frame.insert(frame.end(), {0, 0, 0, 0});
  ASSERT_LT(records.size(), 256U);
  batch.attributes = WASM_COMPRESSION_LZ4;
  batch.body = frame;
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(batch, out)));
  EXPECT_EQ(out.values().size(), 10U);
}

}  // namespace
