// SPDX-License-Identifier: Apache-2.0
//
// Guests that fail when they start: waiting, on a clock that the test turns, and starting again.
#include "support/policy.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

namespace {

/// 1 s, doubling to 30 s; a guest that runs for 10 s is healthy.
constexpr policy defaults{};

/// Whether `slept` is a random part of between half and all of `whole`, less the rounding.
testing::AssertionResult is_jittered(nanoseconds slept, nanoseconds whole) {
  if (slept > whole || slept < whole / 2 - nanoseconds(1)) {
    return testing::AssertionFailure() << slept.count() << " ns, of " << whole.count();
  }
  return testing::AssertionSuccess();
}

void fails(policed& p, std::size_t times) { p.starts->assign(times, false); }

TEST(Backoff, DoublesUpToTheLongestAndTheStartSucceedsInTheEnd) {
  policed p;
  fake_timer timer;
  p.set(defaults, timer);
  fails(p, 8);
  EXPECT_TRUE(succeeded(p.start()));
  constexpr int whole[] = {1, 2, 4, 8, 16, 30, 30, 30};
  ASSERT_THAT(timer.slept, SizeIs(std::size(whole)));
  for (std::size_t i = 0; i < std::size(whole); ++i) {
    EXPECT_TRUE(is_jittered(timer.slept[i], seconds(whole[i]))) << i;
  }
  EXPECT_EQ(p.stats().restarts, 8U);
  EXPECT_EQ(p.stats().failures, 8U);
  EXPECT_EQ(p.state(), WASM_ENGINE_STATE_IDLE);
  EXPECT_TRUE(p.works());
}

TEST(Backoff, HasTimesOfTheHosts) {
  policed p;
  fake_timer timer;
  p.set({.backoff_min = nanoseconds(1000), .backoff_max = nanoseconds(3000)}, timer);
  fails(p, 3);
  EXPECT_TRUE(succeeded(p.start()));
  ASSERT_THAT(timer.slept, SizeIs(3));
  EXPECT_TRUE(is_jittered(timer.slept[0], nanoseconds(1000)));
  EXPECT_TRUE(is_jittered(timer.slept[1], nanoseconds(2000)));
  EXPECT_TRUE(is_jittered(timer.slept[2], nanoseconds(3000)));
}

TEST(Backoff, OfManyFailuresDoesNotOverflow) {
  policed p;
  fake_timer timer;
  p.set({.backoff_min = nanoseconds(2), .backoff_max = std::chrono::hours(24)}, timer);
  fails(p, 70);
  EXPECT_TRUE(succeeded(p.start()));
  ASSERT_THAT(timer.slept, SizeIs(70));
  for (std::size_t i = 0; i < 70; ++i) {
    const nanoseconds whole = std::min<nanoseconds>(nanoseconds(INT64_C(2) << std::min<std::size_t>(i, 60)),
                                                    std::chrono::hours(24));
    EXPECT_TRUE(is_jittered(timer.slept[i], whole)) << i;
  }
}

TEST(Backoff, DiffersFromEngineToEngine) {
  policed p;
  std::vector<nanoseconds> first;
  for (int i = 0; i < 20; ++i) {
    fake_timer timer;
    auto engine = wasmengine::engine::create(p.factory).value();
    engine.set_policy(defaults, timer).value();
    fails(p, 1);
    EXPECT_TRUE(succeeded(finish(engine.start())));
    ASSERT_THAT(timer.slept, SizeIs(1));
    first.push_back(timer.slept[0]);
  }
  std::sort(first.begin(), first.end());
  EXPECT_NE(first.front(), first.back()) << "engines that fail together must not start together";
}

TEST(Backoff, BeforeAStartThatFollowsAFailedTransformCountsTheTimeThatHasPassed) {
  policed p;
  fake_timer timer;
  p.set(defaults, timer);
  const auto batch = built({"u"});
  recorder out;
  const auto fail = [&] {
    EXPECT_TRUE(succeeded(p.start()));
    EXPECT_EQ(p.transform(batch, out).status, WASM_STATUS_GUEST_TRAP);
    EXPECT_EQ(p.state(), WASM_ENGINE_STATE_STOPPED);
  };
  fail();
  EXPECT_THAT(timer.slept, SizeIs(0)) << "the first start waits for nothing";
  fail();
  ASSERT_THAT(timer.slept, SizeIs(1));
  EXPECT_TRUE(is_jittered(timer.slept[0], seconds(1)));
  timer.time += seconds(2);
  fail();
  EXPECT_THAT(timer.slept, SizeIs(1)) << "two seconds are over";
  EXPECT_EQ(p.stats().failures, 3U);
  timer.time += std::chrono::milliseconds(1500);
  fail();
  ASSERT_THAT(timer.slept, SizeIs(2));
  EXPECT_LE(timer.slept[1], std::chrono::milliseconds(2500));
  EXPECT_GE(timer.slept[1], std::chrono::milliseconds(499));
}

TEST(Backoff, BeginsANewRowWhenTheGuestWasHealthy) {
  policed p;
  fake_timer timer;
  p.set({.healthy_after = seconds(100)}, timer);
  const auto batch = built({"u"});
  recorder out;
  const auto fail_after = [&](seconds ran) {
    EXPECT_TRUE(succeeded(p.start()));
    timer.time += ran;
    EXPECT_EQ(p.transform(batch, out).status, WASM_STATUS_GUEST_TRAP);
    return p.stats().failures;
  };
  EXPECT_EQ(fail_after(seconds(99)), 1U);
  EXPECT_EQ(fail_after(seconds(99)), 2U);
  EXPECT_EQ(fail_after(seconds(100)), 1U);
  EXPECT_EQ(fail_after(seconds(0)), 2U);
  // However long a start takes that fails, nobody has seen the guest healthy.
  fails(p, 1);
  timer.time += seconds(1000);
  EXPECT_TRUE(succeeded(p.start()));
  EXPECT_EQ(p.stats().failures, 3U);
}

TEST(Backoff, IsLeftOutWhereARecordWasLost) {
  for (const auto on_error : {WASM_ON_ERROR_SKIP, WASM_ON_ERROR_DEAD_LETTER}) {
    policed p;
    fake_timer timer;
    p.set({.on_error = on_error}, timer);
    ASSERT_TRUE(succeeded(p.start()));
    recorder out;
    EXPECT_TRUE(succeeded(p.transform(built({"u", "k", "u"}), out)));
    EXPECT_THAT(timer.slept, SizeIs(0));
    EXPECT_EQ(p.stats().failures, 0U);
    // A transform that fails all the same makes the next start wait.
    EXPECT_EQ(p.transform(built({"h"}), out).status, WASM_STATUS_HOST_FUNCTION_FAILED);
    EXPECT_EQ(p.stats().failures, 1U);
    EXPECT_TRUE(succeeded(p.start()));
    EXPECT_THAT(timer.slept, SizeIs(1));
  }
}

TEST(Backoff, AlsoWithinABatchWhenAStartFailsThere) {
  policed p;
  fake_timer timer;
  p.set({.on_error = WASM_ON_ERROR_SKIP}, timer);
  ASSERT_TRUE(succeeded(p.start()));
  for (const auto& starts : {std::deque<bool>{false, true, false, true}, std::deque<bool>{false, false, true}}) {
    const auto slept = timer.slept.size();
    const auto failing = static_cast<std::size_t>(std::count(starts.begin(), starts.end(), false));
    *p.starts = starts;
    recorder out;
    const auto values = values_with('u', 5, {1, 3});
    EXPECT_TRUE(succeeded(p.transform(built(values), out)));
    EXPECT_EQ(out.values(), survivors(values));
    EXPECT_EQ(timer.slept.size() - slept, failing);
  }
  EXPECT_EQ(p.stats().skipped, 4U);
}

// ---- Without a timer ----

TEST(Restart, ThatFailsWithoutATimerHasFailed) {
  for (const auto on_error : {WASM_ON_ERROR_FAIL, WASM_ON_ERROR_SKIP, WASM_ON_ERROR_DEAD_LETTER}) {
    policed p(on_error);
    fails(p, 2);
    EXPECT_EQ(p.start().status, WASM_STATUS_GUEST_TRAP);
    EXPECT_EQ(p.last_error(), "guest-trap");
    EXPECT_EQ(p.start().status, WASM_STATUS_GUEST_TRAP);
    EXPECT_TRUE(p.works());
    EXPECT_EQ(p.stats().restarts, 2U);
    EXPECT_EQ(p.stats().failures, 0U) << "they make nobody wait";
  }
}

TEST(Restart, ThatFailsWithinABatchFailsTheTransformWithoutATimer) {
  policed p(WASM_ON_ERROR_SKIP);
  ASSERT_TRUE(succeeded(p.start()));
  fails(p, 1);
  recorder out;
  const auto batch = built({"k1-0", "u1-1", "k1-2"});
  const auto end = p.transform(batch, out);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP);
  EXPECT_FALSE(end.why->record());
  EXPECT_THAT(end.message(), HasSubstr("while it started"));
  EXPECT_THAT(out.values(), ElementsAre("k1-0"));
  EXPECT_EQ(p.stats().skipped, 1U);
  EXPECT_EQ(p.state(), WASM_ENGINE_STATE_STOPPED);
  ASSERT_TRUE(succeeded(p.start()));
  EXPECT_TRUE(succeeded(p.transform(batch, out, 2)));
  EXPECT_THAT(out.values(), ElementsAre("k1-0", "k1-2"));
}

TEST(Restart, IsCountedAlsoWithoutAPolicyAndNotWhenItIsRefused) {
  policed p;
  EXPECT_EQ(p.stats().restarts, 0U);
  ASSERT_TRUE(succeeded(p.start()));
  EXPECT_EQ(p.start().status, WASM_STATUS_INVALID_STATE);
  EXPECT_EQ(p.stats().restarts, 0U);
  ASSERT_TRUE(succeeded(finish(p.engine.stop())));
  fails(p, 1);
  EXPECT_EQ(p.start().status, WASM_STATUS_GUEST_TRAP);
  EXPECT_EQ(p.stats().restarts, 1U);
}

// ---- While it waits ----

TEST(RestartWaiting, TheFutureIsPendingTheEngineStartsAndTheReasonCanBeAskedFor) {
  policed p;
  fake_timer timer;
  timer.holds = true;
  p.set(defaults, timer);
  EXPECT_EQ(p.last_error(), "none");
  fails(p, 2);
  auto operation = p.engine.start().value();
  EXPECT_EQ(p.state(), WASM_ENGINE_STATE_STARTING);
  const auto end = drive(operation, [&] {
    EXPECT_EQ(p.state(), WASM_ENGINE_STATE_STARTING);
    EXPECT_EQ(p.last_error(), "guest-trap");
    EXPECT_THAT(p.engine.last_error().value()->what(), HasSubstr("while it started"));
    EXPECT_EQ(p.stats().failures, timer.slept.size());
    EXPECT_EQ(p.engine.memory_size().value(), 0U) << "no guest sleeps";
    EXPECT_EQ(finish(p.engine.start()).status, WASM_STATUS_INVALID_STATE);
    recorder out;
    EXPECT_EQ(finish(p.engine.transform(built({"k"}), out)).status, WASM_STATUS_INVALID_STATE);
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(operation.poll().value(), WASM_POLL_PENDING);
    }
    return false;
  });
  EXPECT_EQ(end.pendings, 1);
  EXPECT_EQ(p.state(), WASM_ENGINE_STATE_STOPPED) << "the future was released";
  timer.wake();
  EXPECT_EQ(p.state(), WASM_ENGINE_STATE_STOPPED) << "which nobody hears any more";
}

class RestartSleepEnds : public testing::TestWithParam<ending> {};

TEST_P(RestartSleepEnds, EarlyAndALatePromiseIsHarmless) {
  for (const bool in_batch : {false, true}) {
    policed p;
    auto timer = std::make_unique<fake_timer>();
    timer->holds = true;
    p.set({.on_error = WASM_ON_ERROR_SKIP}, *timer);
    c_sink sink([](output_block, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; });
    const auto batch = built({"u", "k"});
    wasmengine::future operation;
    if (in_batch) {
      ASSERT_TRUE(succeeded(p.start()));
      operation = begin(p, batch, sink);
    } else {
      operation = p.engine.start().value();
    }
    fails(p, 100);
    waker_tally wakers;
    for (auto state = WASM_POLL_YIELDED; state != WASM_POLL_PENDING;) {
      const auto waker = wakers.give();
      state = operation.poll(&waker).value();
    }
    switch (GetParam()) {
      case ending::release:
        operation = wasmengine::future();
        break;
      case ending::stop:
        EXPECT_TRUE(succeeded(finish(p.engine.stop())));
        break;
      case ending::engine_release:
        p.engine = wasmengine::engine();
        break;
    }
    EXPECT_EQ(wakers.alive(), 0);
    EXPECT_EQ(wakers.woken(), 0);
    EXPECT_EQ(sink.drops, in_batch ? 1 : 0);
    auto held = std::move(timer->held);
    if (!p.engine) {
      timer.reset();  // an engine that was released does not ask its timer again
    }
    std::thread([&] {
      EXPECT_TRUE(held.front().resolve());
    }).join();
    if (operation) {
      const auto polled = operation.poll();
      ASSERT_FALSE(polled);
      EXPECT_EQ(polled.err().status(), WASM_STATUS_CANCELLED);
    }
    if (p.engine) {
      p.starts->clear();
      timer->holds = false;
      EXPECT_TRUE(p.works());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, RestartSleepEnds, testing::Values(ending::release, ending::stop, ending::engine_release),
                         [](const auto& info) { return std::string(name_of(info.param)); });

TEST(RestartWaiting, EndsAtEachStepOfARestartWithoutALeftover) {
  for (int steps = 0; steps < 40; ++steps) {
    policed p(unhurried);
    fake_timer timer;
    p.set(defaults, timer);
    *p.starts = {false, false, true};
    waker_tally wakers;
    auto operation = p.engine.start().value();
    bool over = false;
    for (int i = 0; i < steps && !over; ++i) {
      const auto waker = wakers.give();
      over = operation.poll(&waker).value() == WASM_POLL_READY;
    }
    operation = wasmengine::future();
    EXPECT_EQ(wakers.alive(), 0);
    EXPECT_EQ(p.state(), over ? WASM_ENGINE_STATE_IDLE : WASM_ENGINE_STATE_STOPPED);
    EXPECT_TRUE(p.works());
    if (over) {
      EXPECT_GT(steps, 4) << "starts and waits are steps";
      return;
    }
  }
  ADD_FAILURE() << "the start does not end";
}

}  // namespace
