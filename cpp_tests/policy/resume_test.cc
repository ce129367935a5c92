// SPDX-License-Identifier: Apache-2.0
//
// Batches that are begun in their middle, and engines with policies of their own.
#include "support/begin_transform.hh"
#include "support/policy.hh"

#include <gmock/gmock.h>

using namespace testing_support;

namespace {

constexpr std::uint32_t many = 5;

TEST(TransformFrom, TellsTheGuestHowManyRecordsAreLeftAndWhereItIs) {
  policed p(WASM_ON_ERROR_FAIL);
  ASSERT_TRUE(succeeded(p.start()));
  auto batch = kafka::values(values_with('k', many, {}));
  batch.leader_epoch = 2;
  for (std::uint32_t from = 0; from < many; ++from) {
    recorder out;
    ASSERT_TRUE(succeeded(p.transform(batch.encode(), out, from)));
    ASSERT_EQ(out.records.size(), many - from + 1);
    EXPECT_EQ(out.records.front().content.value, std::to_string(many - from));
    EXPECT_EQ(out.records.front().input_offset, 100 + from) << "offsets never go back";
    EXPECT_EQ(out.records[1].input_offset, 100 + from);
  }
}

TEST(TransformFrom, WorksWithoutAPolicyAndInEachCodec) {
  policed p;
  ASSERT_TRUE(succeeded(p.start()));
  const auto values = values_with('k', many, {});
  for (const auto codec : codecs) {
    for (std::uint32_t from = 0; from < many; ++from) {
      recorder out;
      ASSERT_TRUE(succeeded(p.transform(with_gaps(values, codec), out, from)));
      EXPECT_EQ(out.values(), survivors(values, from));
      EXPECT_EQ(out.records.front().input_offset, gap_offset(from));
    }
  }
}

TEST(TransformFrom, BehindTheEndIsRefusedAndTheSinkIsDropped) {
  for (const bool with_policy : {false, true}) {
    policed p;
    if (with_policy) {
      p.set({.on_error = WASM_ON_ERROR_SKIP});
    }
    ASSERT_TRUE(succeeded(p.start()));
    const auto batch = built({"k1", "k1"});
    for (const std::uint32_t from : {2U, 3U, UINT32_MAX}) {
      c_sink sink([](output_block, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; });
      const auto raw = sink.raw();
      wasm_future* future = nullptr;
      EXPECT_EQ(begin_transform_from(p.engine.get(), wasmengine::as_slice(kafka::view(batch)), from, &raw, &future,
                                           nullptr),
                WASM_STATUS_INVALID_ARGUMENT);
      EXPECT_EQ(future, nullptr);
      EXPECT_EQ(sink.drops, 1);
    }
    EXPECT_TRUE(p.works()) << "and the engine is idle as before";
  }
}

TEST(TransformFrom, SkipsOnFromThere) {
  policed p(WASM_ON_ERROR_SKIP);
  ASSERT_TRUE(succeeded(p.start()));
  const auto values = values_with('u', many, {0, 2, 3});
  recorder out;
  EXPECT_TRUE(succeeded(p.transform(built(values), out, 1)));
  EXPECT_EQ(out.values(), survivors(values));
  EXPECT_EQ(p.stats().skipped, 2U) << "the first one was not asked for";
  EXPECT_EQ(p.engine.last_error().value()->record()->index, 3U);
}

// ---- One engine and another ----

TEST(PolicyOfEachEngine, AreEachEnginesOwn) {
  policed p(WASM_ON_ERROR_SKIP);
  auto other = wasmengine::engine::create(p.factory).value();
  auto third = wasmengine::engine::create(p.factory).value();
  third.set_policy({.on_error = WASM_ON_ERROR_DEAD_LETTER}).value();
  ASSERT_TRUE(succeeded(p.start()));
  ASSERT_TRUE(succeeded(finish(other.start())));
  ASSERT_TRUE(succeeded(finish(third.start())));
  const auto batch = built({"k1-0", "u1-1"});
  recorder out;
  recorder other_out;
  recorder third_out;
  EXPECT_TRUE(succeeded(p.transform(batch, out)));
  EXPECT_EQ(finish(other.transform(batch, other_out)).status, WASM_STATUS_GUEST_TRAP);
  EXPECT_TRUE(succeeded(finish(third.transform(batch, third_out))));
  EXPECT_EQ(out.records.size(), 1U);
  EXPECT_EQ(other_out.records.size(), 1U);
  EXPECT_EQ(third_out.records.size(), 2U);
  EXPECT_EQ(p.stats().skipped, 1U);
  EXPECT_EQ(other.stats().value().skipped, 0U);
  EXPECT_EQ(third.stats().value().dead_lettered, 1U);
  EXPECT_FALSE(other.last_error().value()) << "without a policy every failure is the host's affair";
}

}  // namespace
