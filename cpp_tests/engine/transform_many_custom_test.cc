// SPDX-License-Identifier: Apache-2.0
//
// Several batches in one call of a custom engine.
#include "support/custom.hh"
#include "support/many.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

namespace {

/// A poll by hand.
wasm_poll poll(wasmengine::future& operation) { return operation.poll().value(); }

TEST(TransformManyCustom, GetsEachBatchAndOutputSharesBlocks) {
  c_engine table;
  const auto all = batches_of({{"a", "b"}, {"c"}, {}, {"d"}});
  std::size_t at = 0;
  table.on_transform = [&](wasm_slice seen, std::uint32_t first, wasm_work* work, wasm_call* call) {
    EXPECT_EQ(seen.data, all[at].data());
    EXPECT_EQ(first, at == 0 ? 1U : 0U);
    ++at;
    return c_engine::copy(seen, first, work, call);
  };
  custom_bench b(table, unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  sorting_sink sink;
  auto operation = many(b.engine, all, sink, 1);
  EXPECT_TRUE(succeeded(finish(operation)));
  EXPECT_EQ(table.transforms, 4);
  EXPECT_EQ(sink.calls, 1);
  EXPECT_THAT(sink.kept.values(0), ElementsAre("b"));
  EXPECT_THAT(sink.kept.values(1), ElementsAre("c"));
  EXPECT_THAT(sink.kept.values(3), ElementsAre("d"));
}

TEST(TransformManyCustom, ThatWaitsAndFailsNamesItsBatch) {
  c_engine table;
  held_promise promise;
  int calls = 0;
  table.on_transform = [&](wasm_slice seen, std::uint32_t first, wasm_work* work, wasm_call* call) {
    return ++calls == 2 ? promise.take(call) : c_engine::copy(seen, first, work, call);
  };
  custom_bench b(table, unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  const auto all = batches_of({{"a"}, {"b", "c"}, {"d"}});
  sorting_sink sink;
  auto operation = many(b.engine, all, sink);
  EXPECT_EQ(poll(operation), WASM_POLL_PENDING);
  EXPECT_THAT(sink.kept.values(0), ElementsAre("a")) << "before the poll returns";
  EXPECT_EQ(promise.reject_record(1, "why"), WASM_STATUS_OK);
  const auto end = finish(operation);
  EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_FAILED);
  EXPECT_THAT(end.message(), HasSubstr("batch 1 of the call, record 1 of the batch (offset 101): why"));
  EXPECT_EQ(end.why->batch(), 1U);
}

TEST(TransformManyCustom, ARefusedBatchFollowsTheOutputOfThoseBefore) {
  c_engine table;
  custom_bench b(table, unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  auto all = batches_of({{"a"}, {"b"}, {"c"}});
  all[1][17] ^= 0xFF;
  sorting_sink sink;
  auto operation = many(b.engine, all, sink);
  const auto end = finish(operation);
  EXPECT_EQ(end.status, WASM_STATUS_BATCH_CRC);
  EXPECT_EQ(end.why->batch(), 1U);
  EXPECT_THAT(sink.kept.values(0), ElementsAre("a"));
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_IDLE);
  EXPECT_EQ(table.transforms, 1);
}

TEST(TransformManyCustom, ThatLetsOthersRunHasDelivered) {
  c_engine table;
  int calls = 0;
  table.on_transform = [&](wasm_slice seen, std::uint32_t first, wasm_work* work,
                           wasm_call* call) -> wasm_callback_result {
    return ++calls == 2 ? WASM_CALLBACK_RESULT_AGAIN : c_engine::copy(seen, first, work, call);
  };
  custom_bench b(table, unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  const auto all = batches_of({{"a"}, {"b"}});
  sorting_sink sink;
  auto operation = many(b.engine, all, sink);
  EXPECT_EQ(poll(operation), WASM_POLL_YIELDED);
  EXPECT_THAT(sink.kept.values(0), ElementsAre("a"));
  EXPECT_EQ(poll(operation), WASM_POLL_READY);
  EXPECT_THAT(sink.kept.values(1), ElementsAre("b"));
}

}  // namespace
