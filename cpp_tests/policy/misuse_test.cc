// SPDX-License-Identifier: Apache-2.0
//
// Policies at wrong times, timers of all sorts, and callbacks that come back to their engine.
#include "support/begin_transform.hh"
#include "support/policy.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::HasSubstr;

namespace {

/// A timer for the C ABI: it counts its drops, and does what a function says.
struct c_timer {
  using function = std::function<wasm_callback_result(std::uint64_t, wasm_call*)>;

  explicit c_timer(function f) : on_sleep(std::move(f)) {}

  [[nodiscard]] wasm_timer raw() {
    return {sizeof(wasm_timer), this,
            [](void* self) {
              auto* me = static_cast<c_timer*>(self);
              ++me->drops;
              if (me->on_drop) {
                me->on_drop();
              }
            },
            [](void* self) {
              auto* me = static_cast<c_timer*>(self);
              EXPECT_EQ(me->drops, 0) << "no call after the drop";
              if (me->on_now) {
                me->on_now();
              }
              return std::uint64_t{1'000};
            },
            [](void* self, std::uint64_t time, wasm_call* call) {
              auto* me = static_cast<c_timer*>(self);
              EXPECT_EQ(me->drops, 0) << "no call after the drop";
              ++me->calls;
              return me->on_sleep(time, call);
            }};
  }

  function on_sleep;
  std::function<void()> on_now;
  std::function<void()> on_drop;
  int calls = 0;
  int drops = 0;
};

wasm_callback_result done(std::uint64_t, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; }

wasm_status set(wasm_engine* engine, const wasm_timer* timer, wasm_on_error on_error = WASM_ON_ERROR_FAIL,
                std::uint64_t least = 0, std::uint64_t most = 0) {
  const wasm_engine_policy raw{sizeof(raw), on_error, least, most, 0, timer, 0, 0, 0, 0, 0, 0};
  return wasm_engine_set_policy(engine, &raw, nullptr);
}

// ---- Arguments ----

TEST(SetPolicy, DropsTheTimerOnceWhateverIsWrong) {
  policed p;
  const auto refused = [&](wasm_status expected, const std::function<wasm_status(const wasm_timer*)>& call) {
    c_timer timer(done);
    const auto raw = timer.raw();
    EXPECT_EQ(call(&raw), expected);
    EXPECT_EQ(timer.drops, 1);
  };
  refused(WASM_STATUS_NULL_ARGUMENT, [](auto* t) { return set(nullptr, t); });
  refused(WASM_STATUS_INVALID_ARGUMENT, [&](auto* t) { return set(p.engine.get(), t, wasm_on_error{3}); });
  refused(WASM_STATUS_INVALID_ARGUMENT, [&](auto* t) { return set(p.engine.get(), t, WASM_ON_ERROR_FAIL, 2, 1); });
  refused(WASM_STATUS_INVALID_ARGUMENT,
          [&](auto* t) { return set(p.engine.get(), t, WASM_ON_ERROR_FAIL, 60'000'000'000); });
  refused(WASM_STATUS_INVALID_ARGUMENT, [&](auto* t) { return set(p.engine.get(), t, WASM_ON_ERROR_FAIL, 0, 1); });
  refused(WASM_STATUS_NULL_ARGUMENT, [&](auto* t) {
    wasm_timer without = *t;
    without.now = nullptr;
    return set(p.engine.get(), &without);
  });
  refused(WASM_STATUS_NULL_ARGUMENT, [&](auto* t) {
    wasm_timer without = *t;
    without.sleep = nullptr;
    return set(p.engine.get(), &without);
  });
  refused(WASM_STATUS_WRONG_THREAD, [&](auto* t) {
    wasm_status status = WASM_STATUS_OK;
    std::thread([&] { status = set(p.engine.get(), t); }).join();
    return status;
  });
  ASSERT_TRUE(succeeded(p.start()));
  refused(WASM_STATUS_INVALID_STATE, [&](auto* t) { return set(p.engine.get(), t); });
  auto operation = p.engine.transform(built({"k"}), [](output_block) {}).value();
  refused(WASM_STATUS_INVALID_STATE, [&](auto* t) { return set(p.engine.get(), t); });
  operation = wasmengine::future();
  EXPECT_TRUE(p.works());
}

TEST(SetPolicy, RefusesStructsOfAnotherSizeAndNull) {
  policed p;
  EXPECT_EQ(wasm_engine_set_policy(p.engine.get(), nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  c_timer timer(done);
  auto table = timer.raw();
  wasm_engine_policy raw{sizeof(raw), WASM_ON_ERROR_FAIL, 0, 0, 0, &table, 0, 0, 0, 0, 0, 0};
  for (const std::size_t size : {std::size_t{0}, offsetof(wasm_engine_policy, lost_max) - 1, std::size_t{1} << 20}) {
    raw.size = size;
    EXPECT_EQ(wasm_engine_set_policy(p.engine.get(), &raw, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  }
  raw.size = sizeof(raw);
  for (const std::size_t size : {std::size_t{0}, sizeof(table) - 1, std::size_t{1} << 20}) {
    table.size = size;
    EXPECT_EQ(wasm_engine_set_policy(p.engine.get(), &raw, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  }
  EXPECT_EQ(timer.drops, 0) << "nobody could read what is to be dropped";
}

TEST(SetPolicy, AgainDropsTheTimerBeforeAndTheEnginesEndTheLast) {
  policed p;
  c_timer first(done);
  c_timer second(done);
  const auto raw_first = first.raw();
  const auto raw_second = second.raw();
  ASSERT_EQ(set(p.engine.get(), &raw_first), WASM_STATUS_OK);
  p.starts->assign(1, false);
  ASSERT_TRUE(succeeded(p.start()));
  EXPECT_EQ(first.calls, 1);
  EXPECT_EQ(p.stats().failures, 1U);
  ASSERT_TRUE(succeeded(finish(p.engine.stop())));
  ASSERT_EQ(set(p.engine.get(), &raw_second), WASM_STATUS_OK);
  EXPECT_EQ(first.drops, 1);
  EXPECT_EQ(p.stats().failures, 0U) << "a new policy begins anew";
  EXPECT_EQ(p.stats().restarts, 1U) << "the engine does not";
  auto operation = p.engine.start().value();
  p.engine = wasmengine::engine();
  EXPECT_EQ(second.drops, 1) << "although a future is still there";
  EXPECT_EQ(first.drops, 1);
}

TEST(PolicyTally, AndLastErrorRefuseWhatIsWrong) {
  policed p;
  wasm_engine_stats tally{sizeof(tally), 7, 7, 7, 7, 7, WASM_CIRCUIT_OPEN};
  EXPECT_EQ(wasm_engine_get_stats(nullptr, &tally, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_engine_get_stats(p.engine.get(), nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  for (const std::size_t size : {std::size_t{0}, offsetof(wasm_engine_stats, stops) - 1, std::size_t{1} << 20}) {
    tally.size = size;
    EXPECT_EQ(wasm_engine_get_stats(p.engine.get(), &tally, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  }
  EXPECT_EQ(tally.restarts, 7U);
  wasm_error* last = nullptr;
  EXPECT_EQ(wasm_engine_get_last_error(nullptr, &last, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_engine_get_last_error(p.engine.get(), nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  std::thread([&] {
    tally.size = sizeof(tally);
    EXPECT_EQ(wasm_engine_get_stats(p.engine.get(), &tally, nullptr), WASM_STATUS_WRONG_THREAD);
    EXPECT_EQ(wasm_engine_get_last_error(p.engine.get(), &last, nullptr), WASM_STATUS_WRONG_THREAD);
  }).join();
  EXPECT_EQ(wasm_engine_get_stats(p.engine.get(), &tally, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(tally.size, sizeof(tally));
  EXPECT_EQ(tally.restarts, 0U);
}

TEST(TransformFromMisuse, DropsTheSinkOnceWhateverIsWrong) {
  policed p(WASM_ON_ERROR_SKIP);
  const auto batch = built({"k"});
  const auto refused = [&](wasm_engine* engine, kafka::view b, bool with_future, wasm_status expected) {
    c_sink sink([](output_block, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; });
    const auto raw = sink.raw();
    wasm_future* future = nullptr;
    EXPECT_EQ(begin_transform_from(engine, wasmengine::as_slice(b), 0, &raw, with_future ? &future : nullptr,
                                         nullptr),
              expected);
    EXPECT_EQ(sink.drops, 1);
  };
  refused(p.engine.get(), batch, true, WASM_STATUS_INVALID_STATE);
  ASSERT_TRUE(succeeded(p.start()));
  refused(nullptr, batch, true, WASM_STATUS_NULL_ARGUMENT);
  refused(p.engine.get(), batch, false, WASM_STATUS_NULL_ARGUMENT);
  std::thread([&] { refused(p.engine.get(), batch, true, WASM_STATUS_WRONG_THREAD); }).join();
  EXPECT_TRUE(p.works());
}

TEST(PolicyPoll, OnAnotherThreadLeavesEachStepAsItIs) {
  policed p(WASM_ON_ERROR_DEAD_LETTER, unhurried);
  ASSERT_TRUE(succeeded(p.start()));
  const auto values = values_with('u', 3, {1});
  const auto batch = built(values);
  recorder out;
  auto operation = p.engine.transform(batch, out).value();
  for (bool over = false; !over;) {
    std::thread([&] {
      const auto polled = operation.poll();
      ASSERT_FALSE(polled);
      EXPECT_EQ(polled.err().status(), WASM_STATUS_WRONG_THREAD);
    }).join();
    over = operation.poll().value() == WASM_POLL_READY;
  }
  EXPECT_EQ(out.values(), values);
}

// ---- Futures of an earlier time ----

TEST(PolicyOldFutures, OfBeforeThePolicyAreOverAndCancelNothing) {
  policed p;
  // As many operations without a policy as with one, so that numbers that begin anew would meet.
  auto old_start = p.engine.start().value();
  ASSERT_TRUE(succeeded(finish(p.engine.stop())));
  ASSERT_TRUE(succeeded(p.start()));
  const auto batch = built({"k"});
  recorder out;
  auto old_transform = p.engine.transform(batch, out).value();
  ASSERT_TRUE(succeeded(finish(p.engine.stop())));
  p.set({.on_error = WASM_ON_ERROR_SKIP});
  for (int i = 0; i < 6; ++i) {
    auto start = p.engine.start().value();
    for (auto* old : {&old_start, &old_transform}) {
      if (i == 0 && *old) {
        const auto polled = old->poll();
        ASSERT_FALSE(polled);
        EXPECT_EQ(polled.err().status(), WASM_STATUS_CANCELLED);
      }
    }
    if (i == 3) {
      old_start = wasmengine::future();
      old_transform = wasmengine::future();
    }
    EXPECT_EQ(p.state(), WASM_ENGINE_STATE_STARTING);
    EXPECT_TRUE(succeeded(finish(start)));
    ASSERT_TRUE(succeeded(finish(p.engine.stop())));
  }
}

TEST(PolicyOldFutures, ThatWereNotPolledMeetNoLaterOperation) {
  for (int later = 1; later < 6; ++later) {
    policed p;
    auto old = p.engine.start().value();
    ASSERT_TRUE(succeeded(finish(p.engine.stop())));
    p.set({.on_error = WASM_ON_ERROR_SKIP});
    for (int i = 1; i < later; ++i) {
      ASSERT_TRUE(succeeded(p.start()));
      ASSERT_TRUE(succeeded(finish(p.engine.stop())));
    }
    auto start = p.engine.start().value();
    old = wasmengine::future();
    EXPECT_EQ(p.state(), WASM_ENGINE_STATE_STARTING) << "the release of an old future cancels nothing";
    EXPECT_TRUE(succeeded(finish(start)));
  }
}

// ---- What timers answer ----

TEST(PolicyTimer, MayAnswerThatItIsDoneAtOnce) {
  policed p;
  c_timer timer(done);
  const auto raw = timer.raw();
  ASSERT_EQ(set(p.engine.get(), &raw), WASM_STATUS_OK);
  p.starts->assign(50, false);
  const auto end = p.start();
  EXPECT_TRUE(succeeded(end));
  EXPECT_EQ(end.pendings, 0);
  EXPECT_GE(end.yields, 50) << "others have their turn in between";
  EXPECT_EQ(timer.calls, 50);
}

TEST(PolicyTimer, ThatDoesNotWantToWaitFailsTheOperationWithItsReasonAndTheGuests) {
  enum class way { fails, pending_without_promise, nonsense, rejects, drops };
  for (const auto how : {way::fails, way::pending_without_promise, way::nonsense, way::rejects, way::drops}) {
    policed p;
    c_timer timer([&](std::uint64_t, wasm_call* call) -> wasm_callback_result {
      wasm_promise* promise = nullptr;
      switch (how) {
        case way::fails:
          EXPECT_EQ(wasm_call_fail(call, wasmengine::as_slice("out of timers"), nullptr), WASM_STATUS_OK);
          return WASM_CALLBACK_RESULT_FAILED;
        case way::pending_without_promise:
          return WASM_CALLBACK_RESULT_PENDING;
        case way::nonsense:
          return wasm_callback_result{9};
        case way::rejects:
          EXPECT_EQ(wasm_call_promise(call, &promise, nullptr), WASM_STATUS_OK);
          EXPECT_EQ(wasm_promise_reject(promise, wasmengine::as_slice("out of timers"), nullptr), WASM_STATUS_OK);
          break;
        case way::drops:
          EXPECT_EQ(wasm_call_promise(call, &promise, nullptr), WASM_STATUS_OK);
          break;
      }
      wasm_promise_release(promise);
      return WASM_CALLBACK_RESULT_PENDING;
    });
    const auto raw = timer.raw();
    ASSERT_EQ(set(p.engine.get(), &raw), WASM_STATUS_OK);
    p.starts->assign(1, false);
    const auto end = p.start();
    EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP) << "what the guest failed with";
    EXPECT_THAT(end.message(), HasSubstr("while it started"));
    EXPECT_THAT(end.message(), HasSubstr("the timer failed"));
    if (how == way::fails || how == way::rejects) {
      EXPECT_THAT(end.message(), HasSubstr("out of timers"));
    }
    EXPECT_EQ(p.state(), WASM_ENGINE_STATE_STOPPED);
    EXPECT_EQ(timer.calls, 1);
    timer.on_sleep = done;
    EXPECT_TRUE(p.works()) << "and it can be tried again";
  }
}

TEST(PolicyTimer, ThatThrowsInTheCppLayerFailsTheOperationWithThatText) {
  policed p;
  fake_timer timer;
  timer.fails_with = "the wheel is broken";
  p.set({}, timer);
  p.starts->assign(1, false);
  EXPECT_THAT(p.start().message(), HasSubstr("the wheel is broken"));
}

TEST(PolicyTimer, MayBeTheEnginesOwnInTheCppLayer) {
  struct owned {
    std::shared_ptr<fake_timer> shared;
    nanoseconds now() noexcept { return shared->now(); }
    void sleep(nanoseconds t, wasmengine::promise p) { shared->sleep(t, std::move(p)); }
  };
  policed p;
  const auto timer = std::make_shared<fake_timer>();
  p.engine.set_policy({}, owned{timer}).value();
  p.starts->assign(2, false);
  EXPECT_TRUE(p.works());
  EXPECT_EQ(timer->slept.size(), 2U);
  EXPECT_EQ(timer.use_count(), 2);
  p.engine = wasmengine::engine();
  EXPECT_EQ(timer.use_count(), 1);
}

}  // namespace
