// SPDX-License-Identifier: Apache-2.0
//
// A new version in an engine's place, while it works.
#include "support/replace.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

struct Replace : testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Engines, Replace, testing::Bool(),
                         [](const auto& param) { return param.param ? "Shared" : "Own"; });

TEST_P(Replace, PutsTheNewVersionInPlaceAtTheEndOfTheBatchThatIsGoingOn) {
  deployed d(GetParam());
  we::dummy_gate batches, starts;
  d.start_now();
  d.old->delay_transform = batches.hold();
  d.fresh->delay_start = starts.hold();
  d.transform(d.batch);
  EXPECT_FALSE(d.poll());
  d.replace();
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING) << "it starts";
  EXPECT_EQ(d.fresh->starts, 1U);
  starts.open();
  EXPECT_EQ(d.replacing.woken, 1);
  EXPECT_NE(d.replacing.poll(), WASM_POLL_READY);
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING) << "it waits for the batch";
  EXPECT_EQ(d.old->stops, 0U);
  EXPECT_EQ(d.state(), WASM_ENGINE_STATE_TRANSFORMING);
  batches.open();
  EXPECT_TRUE(d.user::run());
  EXPECT_THAT(d.out.values(), ElementsAre("old-x", "old-y")) << "the whole batch is the old version's";
  EXPECT_EQ(d.replacing.woken, 2);
  EXPECT_EQ(d.old->stops, 1U);
  EXPECT_EQ(d.old->alive, 0) << "it is freed";
  EXPECT_EQ(d.run(), "new-x") << "whether or not anybody polls the future";
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_READY);
  EXPECT_EQ(d.replacing.status(), WASM_STATUS_OK);
  EXPECT_EQ(d.replacing.woken + d.replacing.dropped, d.replacing.polls);
  EXPECT_EQ(d.fresh->starts, 1U);
}

TEST_P(Replace, FeedsTheOldVersionWhileTheNewOneStarts) {
  deployed d(GetParam());
  we::dummy_gate starts;
  d.fresh->delay_start = starts.hold();
  d.start_now();
  d.replace();
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
    EXPECT_EQ(d.run(), "old-x");
  }
  starts.open();
  EXPECT_EQ(d.run(), "old-x") << "nobody has polled the start";
  d.replaced();
  EXPECT_EQ(d.run(), "new-x");
  EXPECT_EQ(d.old->starts, 1U);
}

TEST_P(Replace, RollsBackIfTheNewVersionDoesNotStart) {
  deployed d(GetParam());
  d.start_now();
  d.fresh->failing_starts = 1;
  d.replace();
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_READY);
  EXPECT_EQ(d.replacing.status(), WASM_STATUS_CUSTOM_ENGINE_FAILED);
  EXPECT_THAT(d.replacing.why->what(), HasSubstr("this start fails"));
  EXPECT_EQ(d.fresh->alive, 0);
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_READY);
  EXPECT_EQ(d.replacing.status(), WASM_STATUS_INVALID_STATE) << "it is over";
  EXPECT_EQ(d.run(), "old-x");
  EXPECT_EQ(d.old->stops, 0U);
  d.replace();
  d.replaced();
  EXPECT_EQ(d.run(), "new-x");
}

TEST_P(Replace, IsGivenUpWithItsFuture) {
  for (const bool started : {false, true}) {
    deployed d(GetParam());
    we::dummy_gate batches, starts;
    d.start_now();
    d.old->delay_transform = batches.hold();
    d.fresh->delay_start = starts.hold();
    d.transform(d.batch);
    EXPECT_FALSE(d.poll());
    d.replace();
    EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
    if (started) {
      starts.open();
      d.replacing.poll();
      EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
    }
    d.replacing.operation = we::future();
    EXPECT_EQ(d.replacing.woken + d.replacing.dropped, d.replacing.polls);
    EXPECT_EQ(d.fresh->alive, 0);
    EXPECT_EQ(d.fresh->stops, 1U);
    batches.open();
    EXPECT_TRUE(d.user::run());
    d.old->delay_transform = {};
    EXPECT_EQ(d.run(), "old-x");
  }
}

TEST_P(Replace, IsCancelledByStoppingOrReleasingTheEngine) {
  for (const bool releases : {false, true}) {
    for (const bool started : {false, true}) {
      deployed d(GetParam());
      we::dummy_gate batches, starts;
      d.start_now();
      d.old->delay_transform = batches.hold();
      d.fresh->delay_start = starts.hold();
      d.transform(d.batch);
      EXPECT_FALSE(d.poll());
      d.replace();
      EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
      if (started) {
        starts.open();
        d.replacing.poll();
        EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
      }
      releases ? d.release() : d.stop();
      EXPECT_EQ(d.replacing.woken + d.replacing.dropped, d.replacing.polls) << "its waker is given back";
      EXPECT_EQ(d.old->stops, 1U);
      EXPECT_EQ(d.fresh->stops, 1U);
      EXPECT_EQ(d.fresh->alive, 0);
      EXPECT_EQ(d.replacing.poll(), WASM_POLL_READY);
      EXPECT_EQ(d.replacing.status(), WASM_STATUS_CANCELLED);
      EXPECT_EQ(d.operation.poll().err().status(), WASM_STATUS_CANCELLED);
      if (!releases) {
        EXPECT_EQ(d.state(), WASM_ENGINE_STATE_STOPPED);
        d.old->delay_transform = {};
        d.start_now();
        EXPECT_EQ(d.run(), "old-x");
      }
    }
  }
}

TEST_P(Replace, StartsAnEngineThatWasStopped) {
  deployed d(GetParam());
  d.replace();
  EXPECT_EQ(d.state(), WASM_ENGINE_STATE_STOPPED);
  d.replaced();
  EXPECT_EQ(d.old->starts, 0U);
  EXPECT_EQ(d.state(), WASM_ENGINE_STATE_IDLE);
  d.start_now();
  EXPECT_EQ(d.fresh->starts, 1U) << "it was over at once";
  EXPECT_EQ(d.engine.start().err().status(), WASM_STATUS_INVALID_STATE) << "but once only";
  EXPECT_EQ(d.run(), "new-x");
  d.stop();
  d.start_now();
  EXPECT_EQ(d.run(), "new-x");
}

TEST_P(Replace, TakesOverFromAVersionThatFailed) {
  for (const bool polled : {false, true}) {
    deployed d(GetParam());
    we::dummy_gate batches;
    d.start_now();
    d.old->delay_transform = batches.hold();
    d.old->fails_at = 1;
    d.transform(d.batch);
    EXPECT_FALSE(d.poll());
    d.replace();
    d.replacing.poll();
    EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
    batches.open();
    EXPECT_TRUE(d.user::run());
    EXPECT_EQ(d.status(), WASM_STATUS_CUSTOM_ENGINE_FAILED);
    if (polled) {
      EXPECT_EQ(d.replacing.poll(), WASM_POLL_READY);
    }
    // The host knows its engine to be stopped, and does what it always does.
    d.start_now();
    EXPECT_EQ(d.run(), "new-x");
    EXPECT_EQ(d.fresh->starts, 1U);
    EXPECT_EQ(d.old->starts, 1U);
  }
}

TEST_P(Replace, TakesOverAfterATransformThatWasGivenUp) {
  deployed d(GetParam());
  we::dummy_gate batches;
  d.start_now();
  d.old->delay_transform = batches.hold();
  d.transform(d.batch);
  EXPECT_FALSE(d.poll());
  d.replace();
  d.replacing.poll();
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
  d.cancel();
  EXPECT_EQ(d.replacing.woken, 1);
  d.start_now();
  EXPECT_EQ(d.run(), "new-x");
}

TEST_P(Replace, IsOneAtATime) {
  deployed d(GetParam());
  we::dummy_gate starts;
  d.fresh->delay_start = starts.hold();
  d.start_now();
  d.replace();
  const auto second = d.engine.replace(d.old_factory);
  EXPECT_EQ(second.err().status(), WASM_STATUS_INVALID_STATE);
  EXPECT_THAT(second.err().what(), HasSubstr("in progress already"));
  d.replacing.poll();
  starts.open();
  d.replaced();
  // And back again.
  d.replacing.begin_with(d.engine.replace(d.old_factory));
  d.replaced();
  EXPECT_EQ(d.run(), "old-x");
  wasm_future* none = nullptr;
  EXPECT_EQ(wasm_engine_replace(d.engine.get(), nullptr, &none, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_engine_replace(nullptr, d.old_factory.get(), &none, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_engine_replace(d.engine.get(), d.old_factory.get(), nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
}

TEST_P(Replace, DoesNotTakeFuturesOfTheOldVersionForThoseOfTheNewOne) {
  deployed d(GetParam());
  we::dummy_gate batches;
  d.old->delay_transform = d.fresh->delay_transform = batches.hold();
  std::deque<recorder> outs(5);
  std::vector<we::future> stale;
  for (auto& out : outs) {
    d.start_now();
    stale.push_back(d.engine.transform(d.batch, out).value());
    EXPECT_EQ(stale.back().poll().value(), WASM_POLL_PENDING);
    d.stop();
  }
  d.replace();
  d.replaced();
  for (int i = 0; i < 4; ++i) {
    d.transform(d.batch);
    EXPECT_FALSE(d.poll());
    // The numbers of the new version's operations begin where the old one's ended.
    for (auto& f : stale) {
      const auto seen = f.poll();
      ASSERT_FALSE(seen);
      EXPECT_EQ(seen.err().status(), i == 0 ? WASM_STATUS_CANCELLED : WASM_STATUS_INVALID_STATE);
    }
    while (batches.waiting() > 0) {
      batches.open();
    }
    EXPECT_TRUE(d.user::run());
    EXPECT_TRUE(d.ok());
  }
}

TEST_P(Replace, IsBusyFromCallbacks) {
  deployed d(GetParam());
  d.start_now();
  auto sink = [&](output_block) {
    EXPECT_EQ(d.engine.replace(d.new_factory).err().status(), WASM_STATUS_BUSY);
    EXPECT_EQ(d.replacing.poll(), WASM_POLL_READY);
    EXPECT_EQ(d.replacing.status(), WASM_STATUS_BUSY);
    EXPECT_EQ(wasm_future_release(d.replacing.operation.get(), nullptr), WASM_STATUS_BUSY);
  };
  d.replace();
  EXPECT_TRUE(succeeded(finish(d.engine.transform(d.batch, sink))));
  wasm_engine* const engine = d.engine.get();
  d.fresh->delay_start = [&](we::promise p) {
    wasm_future* none = nullptr;
    EXPECT_EQ(wasm_engine_stop(engine, &none, nullptr), WASM_STATUS_BUSY);
    EXPECT_EQ(wasm_engine_release(engine, nullptr), WASM_STATUS_BUSY);
    EXPECT_EQ(wasm_future_release(d.replacing.operation.get(), nullptr), WASM_STATUS_BUSY);
    EXPECT_EQ(d.engine.replace(d.new_factory).err().status(), WASM_STATUS_BUSY);
    EXPECT_TRUE(p.resolve());
  };
  d.replaced();
  EXPECT_EQ(d.run(), "new-x");
}

TEST_P(Replace, KeepsPolicyTallyAndUserData) {
  c_engine old, fresh;
  custom_bench b(old);
  custom_bench c(fresh);
  auto engine = (GetParam() ? we::engine::create_shared(b.factory) : we::engine::create(b.factory)).value();
  int mark = 0;
  engine.set_user_data(&mark).value();
  engine.set_policy({.on_error = WASM_ON_ERROR_SKIP}).value();
  const auto fails_at_the_first = [&](wasm_slice, std::uint32_t first, wasm_work* work, wasm_call* call) -> wasm_callback_result {
    EXPECT_EQ(wasm_call_user_data(call), &mark);
    EXPECT_EQ(wasm_call_engine(call), engine.get());
    if (first == 0) {
      (void)wasm_call_fail_record(call, 0, we::as_slice("why"), nullptr);
      return WASM_CALLBACK_RESULT_FAILED;
    }
    return c_engine::copy({}, 0, work, call);
  };
  old.on_transform = fresh.on_transform = fails_at_the_first;
  const auto batch = built({"a", "b"});
  ASSERT_TRUE(succeeded(finish(engine.start())));
  recorder out;
  ASSERT_TRUE(succeeded(finish(engine.transform(batch, out))));
  ASSERT_TRUE(succeeded(finish(engine.replace(c.factory))));
  ASSERT_TRUE(succeeded(finish(engine.transform(batch, out))));
  EXPECT_THAT(out.values(), ElementsAre("b", "b"));
  EXPECT_EQ(engine.stats().value().skipped, 2U);
  EXPECT_EQ(engine.stats().value().restarts, 2U) << "a replacement is none";
  EXPECT_EQ(old.starts, 2);
  EXPECT_EQ(fresh.starts, 2);
  b.engine = we::engine();
  b.factory = we::factory();
  EXPECT_EQ(old.drops, 1) << "nothing holds the old version";
}

}  // namespace
