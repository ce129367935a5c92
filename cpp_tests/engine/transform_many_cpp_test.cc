// SPDX-License-Identifier: Apache-2.0
//
// Several batches in one call of the C++ layer.
#include "support/many.hh"
#include "support/policy.hh"

#include <gmock/gmock.h>

#include <list>
#include <ranges>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

struct ManyInCpp : testing::Test {
  ManyInCpp() : b("c_identity", unhurried) { EXPECT_TRUE(succeeded(b.start())); }

  bench b;
  by_batch kept;
};

static_assert(wasmengine::batch_range<batches>);
static_assert(wasmengine::batch_range<const std::list<kafka::view>&>);
static_assert(!wasmengine::batch_range<kafka::bytes>, "that is one batch");

TEST_F(ManyInCpp, TakesAnyRangeOfBatchesAndTellsOutputApart) {
  const auto all = batches_of({{"a"}, {"b", "c"}});
  auto sink = [this](output_block block, wasmengine::output_batches from) { kept.add(block, from); };
  EXPECT_TRUE(succeeded(finish(b.engine.transform_many(all, sink))));
  EXPECT_THAT(kept.values(0), ElementsAre("a"));
  EXPECT_THAT(kept.values(1), ElementsAre("b", "c"));

  const std::list<kafka::view> views(all.begin(), all.end());
  kept = {};
  EXPECT_TRUE(succeeded(finish(b.engine.transform_many(views, sink, 0))));
  EXPECT_THAT(kept.values(1), ElementsAre("b", "c"));

  const auto only_last = all | std::views::drop(1);
  kept = {};
  EXPECT_TRUE(succeeded(finish(b.engine.transform_many(only_last, sink, 1))));
  EXPECT_THAT(kept.values(0), ElementsAre("c"));
}

TEST_F(ManyInCpp, ForEachBatchCutsTheBlock) {
  batches all;
  for (int i = 0; i < 50; ++i) {
    all.push_back(built({std::to_string(i), "x"}));
  }
  std::map<std::uint32_t, recorder> seen;
  auto sink = [&seen](output_block block, wasmengine::output_call call) -> wasm_callback_result {
    wasmengine::for_each_batch(block, call.batches(),
                               [&seen](std::uint32_t batch, output_block records) { seen[batch](records); });
    return WASM_CALLBACK_RESULT_DONE;
  };
  EXPECT_TRUE(succeeded(finish(b.engine.transform_many(all, sink)))) << "more than are kept without memory";
  for (std::uint32_t i = 0; i < all.size(); ++i) {
    EXPECT_THAT(seen[i].values(), ElementsAre(std::to_string(i), "x"));
  }
}

TEST_F(ManyInCpp, ASinkMayBeOwnedOrNotCare) {
  const auto all = batches_of({{"a"}, {"b"}});
  auto out = std::make_shared<recorder>();
  auto begun = b.engine.transform_many(all, [out](output_block block) { (*out)(block); });
  EXPECT_EQ(out.use_count(), 2);
  EXPECT_TRUE(succeeded(finish(std::move(begun))));
  EXPECT_EQ(out.use_count(), 1);
  EXPECT_THAT(out->values(), ElementsAre("a", "b"));
}

TEST_F(ManyInCpp, AtOnceGivesAnEmptyFuture) {
  const auto all = batches_of({{"a"}, {"b"}});
  recorder out;
  EXPECT_FALSE(b.engine.transform_many_and_poll(all, out).value());
  EXPECT_THAT(out.values(), ElementsAre("a", "b"));
}

TEST_F(ManyInCpp, NoneIsRefused) {
  recorder out;
  const auto begun = b.engine.transform_many(batches(), out);
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.err().status(), WASM_STATUS_INVALID_ARGUMENT);
}

TEST(ManyInCppFailed, NamesBatchAndRecord) {
  policed p;
  ASSERT_TRUE(succeeded(p.start()));
  const auto all = batches_of({{"k1-0"}, {"k1-1", "u1-2"}});
  recorder out;
  const auto end = finish(p.engine.transform_many(all, out));
  EXPECT_EQ(end.why->batch(), 1U);
  EXPECT_EQ(end.why->record()->index, 1U);
  EXPECT_THAT(out.values(), ElementsAre("k1-0", "k1-1"));
  EXPECT_EQ(wasmengine::error(WASM_STATUS_GUEST_TRAP).batch(), 0U);
}

}  // namespace
