// SPDX-License-Identifier: Apache-2.0
//
// How far an engine has come, told over a hot swap: what a checkpoint needs of the old version stays until the new one
// has a batch of its own.
#include "support/given_records.hh"
#include "support/policy.hh"
#include "support/replace.hh"

#include <gmock/gmock.h>

using namespace testing_support;

namespace {

MATCHER_P3(IsAt, batch, record, offset, "") {
  *result_listener << arg.batch << "." << arg.record << " at " << arg.next_offset << " " << arg.has_offset;
  return arg.batch == batch && arg.record == record && arg.has_offset == (offset < 0 ? 0U : 1U) &&
         arg.next_offset == (offset < 0 ? 0 : offset);
}

struct ReplacedProgress : testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Engines, ReplacedProgress, testing::Bool(),
                         [](const auto& param) { return param.param ? "Shared" : "Own"; });

wasm_engine_progress progress(const we::engine& engine) { return engine.progress().value(); }

TEST_P(ReplacedProgress, StaysUntilTheNewVersionTransforms) {
  deployed d(GetParam());
  d.start_now();
  EXPECT_THAT(progress(d.engine), IsAt(0U, 0U, -1));
  EXPECT_EQ(d.run(), "old-x");
  EXPECT_THAT(progress(d.engine), IsAt(1U, 0U, 102));
  we::dummy_gate starts;
  d.fresh->delay_start = starts.hold();
  d.replace();
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
  EXPECT_THAT(progress(d.engine), IsAt(1U, 0U, 102)) << "the new version starts";
  starts.open();
  d.replaced();
  EXPECT_THAT(progress(d.engine), IsAt(1U, 0U, 102)) << "it is there and has had no batch";
  d.batch = built({"x"}, {500});
  EXPECT_EQ(d.run(), "new-x");
  EXPECT_THAT(progress(d.engine), IsAt(1U, 0U, 501));
}

TEST_P(ReplacedProgress, OfTheBatchInProgressIsTheOldVersions) {
  deployed d(GetParam());
  we::dummy_gate batches;
  d.old->delay_transform = batches.hold();
  d.start_now();
  d.transform(d.batch);
  EXPECT_FALSE(d.poll());
  const auto within = progress(d.engine);
  EXPECT_THAT(within, IsAt(0U, 0U, 100));
  d.replace();
  (void)d.replacing.poll();
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING) << "it waits for the batch";
  EXPECT_THAT(progress(d.engine), IsAt(0U, 0U, 100));
  batches.open();
  EXPECT_TRUE(d.user::run());
  EXPECT_EQ(d.old->alive, 0) << "the old version is gone";
  EXPECT_THAT(progress(d.engine), IsAt(1U, 0U, 102)) << "and all of its batch has passed";
  EXPECT_EQ(d.run(), "new-x");
  EXPECT_THAT(progress(d.engine), IsAt(1U, 0U, 102));
}

TEST_P(ReplacedProgress, OfACancelledBatchStays) {
  deployed d(GetParam());
  we::dummy_gate batches;
  d.start_now();
  EXPECT_EQ(d.run(), "old-x");
  d.old->delay_transform = batches.hold();
  d.batch = built({"x", "y", "z"}, {700});
  d.transform(d.batch, 1);
  EXPECT_FALSE(d.poll());
  EXPECT_THAT(progress(d.engine), IsAt(0U, 1U, 701));
  d.replace();
  (void)d.replacing.poll();
  (void)d.replacing.poll();
  d.cancel();
  EXPECT_THAT(progress(d.engine), IsAt(0U, 1U, 701)) << "the swap came with the end of the batch";
  EXPECT_EQ(d.state(), WASM_ENGINE_STATE_IDLE);
  EXPECT_EQ(d.run(), "new-x");
  EXPECT_THAT(progress(d.engine), IsAt(1U, 0U, 703));
}

TEST_P(ReplacedProgress, IsNotTouchedByAVersionThatDoesNotStart) {
  deployed d(GetParam());
  d.start_now();
  EXPECT_EQ(d.run(), "old-x");
  d.fresh->failing_starts = 1;
  d.replace();
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_READY);
  EXPECT_EQ(d.replacing.status(), WASM_STATUS_CUSTOM_ENGINE_FAILED);
  EXPECT_THAT(progress(d.engine), IsAt(1U, 0U, 102));
  d.batch = built({"x"}, {40});
  EXPECT_EQ(d.run(), "old-x");
  EXPECT_THAT(progress(d.engine), IsAt(1U, 0U, 41));
}

// One after another, each with a batch or none between.
TEST_P(ReplacedProgress, GoesOnOverManyVersions) {
  deployed d(GetParam());
  d.start_now();
  std::int64_t next = 1'000;
  for (int i = 0; i < 12; ++i) {
    if (i % 3 != 2) {
      d.batch = built({"x", "y"}, {next});
      next += 2;
      EXPECT_NE(d.run(), "nothing");
    }
    EXPECT_THAT(progress(d.engine), IsAt(1U, 0U, next));
    d.replacing.begin_with(d.engine.replace(i % 2 == 0 ? d.new_factory : d.old_factory));
    EXPECT_THAT(progress(d.engine), IsAt(1U, 0U, next)) << i;
    d.replaced();
    EXPECT_THAT(progress(d.engine), IsAt(1U, 0U, next)) << i;
  }
}

TEST(ReplacedProgressOfUsers, IsEachOnesOwn) {
  versions v;
  const auto user_of = [&] {
    auto user = we::engine::create_shared(v.old_factory).value();
    EXPECT_TRUE(succeeded(finish(user.start())));
    return user;
  };
  auto one = user_of(), two = user_of();
  recorder out;
  ASSERT_TRUE(succeeded(finish(one.transform(built({"a", "b"}, {10}), out))));
  ASSERT_TRUE(succeeded(finish(two.transform(built({"a"}, {90}), out))));
  ASSERT_TRUE(succeeded(finish(one.replace(v.new_factory))));
  EXPECT_THAT(progress(one), IsAt(1U, 0U, 12));
  EXPECT_THAT(progress(two), IsAt(1U, 0U, 91));
  ASSERT_TRUE(succeeded(finish(two.transform(built({"a"}, {95}), out))));
  EXPECT_THAT(progress(one), IsAt(1U, 0U, 12)) << "whatever the users of the old version do";
  ASSERT_TRUE(succeeded(finish(two.replace(v.new_factory))));
  ASSERT_TRUE(succeeded(finish(two.transform(built({"a"}, {200}), out))));
  EXPECT_THAT(progress(one), IsAt(1U, 0U, 12)) << "and those of the new one";
  EXPECT_THAT(progress(two), IsAt(1U, 0U, 201));
  EXPECT_EQ(out.values().back(), "new-a");
}

TEST(ReplacedProgressOfGuests, IsTheSameWithRecords) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  given_records records(std::vector<std::string>{});
  for (const std::int64_t offset : {INT64_MIN, INT64_MAX, std::int64_t{40}}) {
    records.add({std::nullopt, "v", {}}, offset, 0);
  }
  recorder out;
  auto operation = b.engine.transform_records(records.all(), out).value();
  auto swap = b.engine.replace(b.factory).value();
  ASSERT_TRUE(succeeded(finish(operation)));
  EXPECT_THAT(progress(b.engine), IsAt(1U, 0U, 41));
  ASSERT_TRUE(succeeded(finish(swap)));
  EXPECT_THAT(progress(b.engine), IsAt(1U, 0U, 41));
  ASSERT_TRUE(succeeded(b.stop()));
  EXPECT_THAT(progress(b.engine), IsAt(1U, 0U, 41));
}

// Under a policy the swap may come within the operation: instead of the guest's restart.
TEST(ReplacedProgressUnderAPolicy, IsThatOfTheRestOfTheBatch) {
  policed p;
  fake_timer timer;
  timer.holds = true;
  policy limits;
  limits.on_error = WASM_ON_ERROR_SKIP;
  limits.backoff_min = limits.backoff_max = seconds(10);
  p.set(limits, timer);
  ASSERT_TRUE(succeeded(p.start()));
  recorder out;
  const auto batch = built({"k1", "u1", "k1"});
  auto operation = p.engine.transform(batch, out).value();
  // The restart fails and waits for the timer.
  p.starts->push_back(false);
  while (operation.poll().value() != WASM_POLL_PENDING) {
  }
  EXPECT_THAT(progress(p.engine), IsAt(0U, 2U, 102)) << "the record is lost";
  auto swap = p.engine.replace(p.factory).value();
  for (int i = 0; i < 3; ++i) {
    (void)swap.poll();
    EXPECT_THAT(progress(p.engine), IsAt(0U, 2U, 102));
  }
  ASSERT_TRUE(succeeded(finish(operation)));
  EXPECT_THAT(progress(p.engine), IsAt(1U, 0U, 103));
  EXPECT_THAT(out.values(), testing::ElementsAre("k1", "k1"));
}

}  // namespace
