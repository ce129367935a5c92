// SPDX-License-Identifier: Apache-2.0
//
// Promises of host functions over the C ABI: settled when, where, how, how often, and after what is gone.
#include "support/host_guest.hh"

#include <gmock/gmock.h>

#include <algorithm>
#include <random>

using namespace host_guest;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

/// A host function that keeps its promises.
struct keeper {
  std::vector<owned_promise> promises;
  int calls = 0;

  raw_function function() {
    return [this](wasm_call* call, const wasm_value*, wasm_value*) {
      ++calls;
      promises.push_back(take_promise(call));
      return WASM_CALLBACK_RESULT_PENDING;
    };
  }
};

/// A world whose guest waits in t.f for the first promise of `keep`.
struct waiting : world {
  waiting() {
    add(keep.function(), true);
    start();
    operation = begin({{7, 8}}).value();
    EXPECT_EQ(step(operation, &wake).value(), WASM_POLL_PENDING);
    EXPECT_EQ(keep.calls, 1);
    EXPECT_EQ(wake.woken + wake.dropped, 0);
  }
  owned_promise& promise() { return keep.promises.at(0); }
  /// The next poll's outcome.
  ending poll() {
    auto polled = step(operation);
    if (!polled) {
      return {polled.err().status(), polled.err().what()};
    }
    return {WASM_STATUS_OK, *polled == WASM_POLL_READY ? "ready" : "not ready"};
  }
  // In this order, so that promises outlive nothing.
  keeper keep;
  wakers wake;
  we::future operation;
};

TEST(Promise, SettledOnTheSameThreadWakesAndIsReady) {
  waiting w;
  EXPECT_EQ(resolve(w.promise(), 99), WASM_STATUS_OK);
  EXPECT_EQ(w.wake.woken, 1);
  EXPECT_EQ(w.poll().message, "ready");
  EXPECT_THAT(w.reported, ElementsAre(99));
  EXPECT_EQ(w.keep.calls, 1);
  EXPECT_EQ(w.wake.dropped, 0);
}

TEST(Promise, SettledOnAnotherThread) {
  waiting w;
  std::thread([&] { EXPECT_EQ(resolve(w.promise(), -3), WASM_STATUS_OK); }).join();
  EXPECT_EQ(w.wake.woken, 1);
  EXPECT_EQ(w.poll().message, "ready");
  EXPECT_THAT(w.reported, ElementsAre(-3));
}

TEST(Promise, SettledBeforeTheFunctionReturns) {
  world w;
  w.add([](wasm_call* call, const wasm_value* args, wasm_value*) {
    auto p = take_promise(call);
    EXPECT_EQ(resolve(p, args[0].i32 + 1), WASM_STATUS_OK);
    return WASM_CALLBACK_RESULT_PENDING;
  }, true);
  w.start();
  auto operation = w.begin({{1, 0}, {2, 0}}).value();
  wakers wake;
  EXPECT_EQ(step(operation, &wake).value(), WASM_POLL_READY);
  EXPECT_THAT(w.reported, ElementsAre(2, 3));
  EXPECT_EQ(wake.woken, 0);
  EXPECT_EQ(wake.dropped, 1);
}

TEST(Promise, SettledByAnotherThreadWhileThePollIsGoingOn) {
  std::vector<std::thread> threads;
  world w;
  w.add([&](wasm_call* call, const wasm_value* args, wasm_value*) {
    auto p = std::make_shared<owned_promise>(take_promise(call));
    threads.emplace_back([p, value = args[0].i32] {
      EXPECT_EQ(resolve(*p, value), WASM_STATUS_OK);
      p->reset();
    });
    return WASM_CALLBACK_RESULT_PENDING;
  }, true);
  w.start();
  for (std::uint32_t i = 0; i < 300; ++i) {
    ASSERT_EQ(w.call(i, 0).message, "");
  }
  for (auto& t : threads) {
    t.join();
  }
  EXPECT_EQ(w.reported.size(), 300U);
  EXPECT_EQ(w.reported.back(), 299);
}

TEST(Promise, InAStart) {
  world w;
  keeper keep;
  w.add(keep.function(), true);
  w.factory = w.compile("h_start").value();
  w.engine = we::engine::create(w.factory).value();
  auto operation = w.engine.start().value();
  EXPECT_EQ(step(operation).value(), WASM_POLL_PENDING);
  EXPECT_EQ(w.engine.state().value(), WASM_ENGINE_STATE_STARTING);
  EXPECT_EQ(step(operation).value(), WASM_POLL_PENDING) << "polling again is allowed";
  EXPECT_EQ(resolve(keep.promises.at(0), 5), WASM_STATUS_OK);
  EXPECT_EQ(step(operation).value(), WASM_POLL_READY);
  EXPECT_THAT(w.reported, ElementsAre(5));
}

TEST(Promise, PolledWhilePendingReplacesTheWaker) {
  waiting w;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(step(w.operation, &w.wake).value(), WASM_POLL_PENDING);
    EXPECT_EQ(w.wake.dropped, i + 1);
  }
  EXPECT_EQ(resolve(w.promise(), 0), WASM_STATUS_OK);
  EXPECT_EQ(w.wake.woken, 1);
  EXPECT_EQ(w.poll().message, "ready");
  EXPECT_EQ(w.keep.calls, 1);
}

TEST(Promise, RejectedFailsTheGuestWithTheReason) {
  waiting w;
  EXPECT_EQ(wasm_promise_reject(w.promise().get(), we::as_slice("no tea"), nullptr), WASM_STATUS_OK);
  EXPECT_EQ(w.wake.woken, 1);
  const auto end = w.poll();
  EXPECT_EQ(end.status, WASM_STATUS_HOST_FUNCTION_FAILED);
  EXPECT_THAT(end.message, HasSubstr("no tea"));
  EXPECT_THAT(end.message, HasSubstr("t.f"));
  EXPECT_THAT(end.message, HasSubstr("record 0"));
  EXPECT_EQ(drive(w.engine.start()).message, "");
}

TEST(Promise, DroppedFailsTheGuest) {
  waiting w;
  w.promise().reset();
  EXPECT_EQ(w.wake.woken, 1);
  const auto end = w.poll();
  EXPECT_EQ(end.status, WASM_STATUS_HOST_FUNCTION_FAILED);
  EXPECT_THAT(end.message, HasSubstr("dropped"));
}

TEST(Promise, IsSettledOnce) {
  waiting w;
  EXPECT_EQ(resolve(w.promise(), 1), WASM_STATUS_OK);
  EXPECT_EQ(resolve(w.promise(), 2), WASM_STATUS_PROMISE_SETTLED);
  EXPECT_EQ(wasm_promise_reject(w.promise().get(), we::as_slice("x"), nullptr), WASM_STATUS_PROMISE_SETTLED);
  std::atomic<int> drops{0};
  const auto c = continuation([](auto...) { return WASM_CALLBACK_RESULT_DONE; }, &drops);
  EXPECT_EQ(wasm_promise_resolve_with(w.promise().get(), &c, nullptr), WASM_STATUS_PROMISE_SETTLED);
  EXPECT_EQ(drops, 1);
  EXPECT_EQ(w.wake.woken, 1);
  EXPECT_EQ(w.poll().message, "ready");
  EXPECT_THAT(w.reported, ElementsAre(1));
  EXPECT_EQ(resolve(w.promise(), 2), WASM_STATUS_PROMISE_SETTLED) << "also when the guest has gone on";
}

TEST(Promise, ExpectsAsManyValuesAsTheFunctionHas) {
  waiting w;
  const std::array<wasm_value, 3> values{};
  wasm_error* why = nullptr;
  EXPECT_EQ(wasm_promise_resolve_values(w.promise().get(), values.data(), 3, &why), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_THAT(wasm_error_message(why), HasSubstr("1 value"));
  EXPECT_THAT(wasm_error_message(why), HasSubstr("3 values"));
  wasm_error_release(why);
  EXPECT_EQ(wasm_promise_resolve(w.promise().get(), nullptr), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(wasm_promise_resolve_values(w.promise().get(), nullptr, 1, nullptr), WASM_STATUS_NULL_ARGUMENT);
  const wasm_subject_schema schema{};
  EXPECT_EQ(wasm_promise_resolve_schema(w.promise().get(), &schema, nullptr), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(w.wake.woken, 0) << "none of these settles it";
  EXPECT_EQ(resolve(w.promise(), 4), WASM_STATUS_OK);
  EXPECT_EQ(w.poll().message, "ready");
  EXPECT_THAT(w.reported, ElementsAre(4));
}

TEST(Promise, TakenTwiceCountsTheLast) {
  world w;
  std::vector<owned_promise> promises;
  w.add([&](wasm_call* call, const wasm_value*, wasm_value*) {
    promises.push_back(take_promise(call));
    promises.push_back(take_promise(call));
    return WASM_CALLBACK_RESULT_PENDING;
  }, true);
  w.start();
  auto operation = w.begin({{0, 0}}).value();
  EXPECT_EQ(step(operation).value(), WASM_POLL_PENDING);
  EXPECT_EQ(resolve(promises[0], 1), WASM_STATUS_OK);
  EXPECT_EQ(step(operation).value(), WASM_POLL_PENDING);
  EXPECT_EQ(resolve(promises[1], 2), WASM_STATUS_OK);
  EXPECT_EQ(step(operation).value(), WASM_POLL_READY);
  EXPECT_THAT(w.reported, ElementsAre(2));
}

TEST(Promise, TakenButNotNeededIsHarmless) {
  world w;
  owned_promise kept;
  w.add([&](wasm_call* call, const wasm_value*, wasm_value* results) {
    kept = take_promise(call);
    results[0].i32 = 3;
    return WASM_CALLBACK_RESULT_DONE;
  }, true);
  w.start();
  EXPECT_EQ(w.call(0, 0).message, "");
  EXPECT_EQ(resolve(kept, 1), WASM_STATUS_OK);
  EXPECT_THAT(w.reported, ElementsAre(3));
}

TEST(Promise, OfAFunctionThatMayNotWaitFailsTheGuest) {
  world w;
  owned_promise kept;
  w.add([&](wasm_call* call, const wasm_value*, wasm_value*) {
    kept = take_promise(call);
    return WASM_CALLBACK_RESULT_PENDING;
  }, false);
  w.start();
  const auto end = w.call(0, 0);
  EXPECT_EQ(end.status, WASM_STATUS_HOST_FUNCTION_FAILED);
  EXPECT_THAT(end.message, HasSubstr("may wait"));
  EXPECT_EQ(resolve(kept, 1), WASM_STATUS_OK);
}

TEST(Continuation, WritesTheGuestsMemoryOnTheEnginesThread) {
  waiting w;
  std::atomic<int> drops{0};
  const auto here = std::this_thread::get_id();
  std::thread::id ran;
  std::thread([&] {
    const auto c = continuation([&](wasm_call* call, wasm_value* results) {
      ran = std::this_thread::get_id();
      std::uint8_t* first = nullptr;
      EXPECT_EQ(wasm_call_memory(call, 1024, 5, &first, nullptr), WASM_STATUS_OK);
      EXPECT_EQ(std::string_view(reinterpret_cast<char*>(first), 5), "hello");
      std::memcpy(first, "HELLO", 5);
      EXPECT_EQ(wasm_call_engine(call), w.engine.get());
      results[0].i32 = 55;
      return WASM_CALLBACK_RESULT_DONE;
    }, &drops);
    EXPECT_EQ(wasm_promise_resolve_with(w.promise().get(), &c, nullptr), WASM_STATUS_OK);
    EXPECT_EQ(drops, 0);
  }).join();
  EXPECT_EQ(w.poll().message, "ready");
  EXPECT_EQ(ran, here);
  EXPECT_EQ(drops, 1);
  EXPECT_THAT(w.reported, ElementsAre(55));
}

TEST(Continuation, ThatFailsFailsTheGuest) {
  waiting w;
  std::atomic<int> drops{0};
  const auto c = continuation([&](wasm_call* call, wasm_value*) {
    std::uint8_t* first = nullptr;
    EXPECT_EQ(wasm_call_memory(call, 0xffff'fff0U, 500, &first, nullptr), WASM_STATUS_GUEST_BAD_CALL);
    return WASM_CALLBACK_RESULT_FAILED;
  }, &drops);
  EXPECT_EQ(wasm_promise_resolve_with(w.promise().get(), &c, nullptr), WASM_STATUS_OK);
  const auto end = w.poll();
  EXPECT_EQ(end.status, WASM_STATUS_HOST_FUNCTION_FAILED);
  EXPECT_THAT(end.message, HasSubstr("outside of its memory"));
  EXPECT_EQ(drops, 1);
}

TEST(Continuation, MayWaitAgain) {
  waiting w;
  std::atomic<int> drops{0};
  for (std::size_t i = 0; i < 3; ++i) {
    const auto c = continuation([&](wasm_call* call, wasm_value*) {
      w.keep.promises.push_back(take_promise(call));
      return WASM_CALLBACK_RESULT_PENDING;
    }, &drops);
    EXPECT_EQ(wasm_promise_resolve_with(w.keep.promises.at(i).get(), &c, nullptr), WASM_STATUS_OK);
    EXPECT_EQ(w.poll().message, "not ready");
    EXPECT_EQ(drops, static_cast<int>(i + 1));
  }
  EXPECT_EQ(resolve(w.keep.promises.back(), 12), WASM_STATUS_OK);
  EXPECT_EQ(w.poll().message, "ready");
  EXPECT_THAT(w.reported, ElementsAre(12));
  EXPECT_EQ(w.keep.calls, 1);
}

TEST(Continuation, ThatMakesNoSenseIsRefusedAndDropped) {
  waiting w;
  std::atomic<int> drops{0};
  auto c = continuation([](auto...) { return WASM_CALLBACK_RESULT_DONE; }, &drops);
  c.run = nullptr;
  EXPECT_EQ(wasm_promise_resolve_with(w.promise().get(), &c, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(drops, 1);
  auto short_one = continuation([](auto...) { return WASM_CALLBACK_RESULT_DONE; }, &drops);
  short_one.size = 8;
  EXPECT_EQ(wasm_promise_resolve_with(w.promise().get(), &short_one, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  short_one.drop(short_one.data);
  auto nobody = continuation([](auto...) { return WASM_CALLBACK_RESULT_DONE; }, &drops);
  EXPECT_EQ(wasm_promise_resolve_with(nullptr, &nobody, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(drops, 3);
  EXPECT_EQ(resolve(w.promise(), 1), WASM_STATUS_OK);
  EXPECT_EQ(w.poll().message, "ready");
}

/// What goes away while the promise is outstanding.
enum class gone { operation, stop, engine, factory_and_runtime };

std::string name_of(const std::vector<gone>& order) {
  static constexpr const char* names[] = {"Operation", "Stop", "Engine", "FactoryAndRuntime"};
  std::string all;
  for (const auto what : order) {
    all += (all.empty() ? "" : "Then") + std::string(names[static_cast<std::size_t>(what)]);
  }
  return all;
}

void PrintTo(gone what, std::ostream* out) { *out << name_of({what}); }

class PromiseAfter : public testing::TestWithParam<std::vector<gone>> {};

void let_go(waiting& w, gone what) {
  switch (what) {
    case gone::operation:
      w.operation = {};
      break;
    case gone::stop:
      if (w.engine) {
        EXPECT_TRUE(w.engine.stop());
      }
      break;
    case gone::engine:
      w.engine = {};
      break;
    case gone::factory_and_runtime:
      w.factory = {};
      w.runtime = {};
      break;
  }
}

TEST_P(PromiseAfter, EachOrderOfPartingSettlingIsHarmless) {
  // How the promise is settled: by a value, a continuation, a rejection, a release, before or after the parting; here
  // or on another thread.
  for (int how = 0; how < 4; ++how) {
    for (const bool first : {false, true}) {
      for (const bool elsewhere : {false, true}) {
        std::atomic<int> drops{0};
        int runs = 0;
        auto w = std::make_unique<waiting>();
        const auto settle = [&] {
          if (how == 0) {
            EXPECT_EQ(resolve(w->promise(), 1), WASM_STATUS_OK);
          } else if (how == 1) {
            const auto c = continuation([&](auto...) { ++runs; return WASM_CALLBACK_RESULT_DONE; }, &drops);
            EXPECT_EQ(wasm_promise_resolve_with(w->promise().get(), &c, nullptr), WASM_STATUS_OK);
          } else if (how == 2) {
            EXPECT_EQ(wasm_promise_reject(w->promise().get(), we::as_slice("x"), nullptr), WASM_STATUS_OK);
          }
          w->promise().reset();
        };
        const auto settle_there = [&] { elsewhere ? std::thread(settle).join() : settle(); };
        if (first) {
          settle_there();
        }
        for (const auto what : GetParam()) {
          let_go(*w, what);
        }
        if (!first) {
          settle_there();
        }
        EXPECT_EQ(runs, 0);
        EXPECT_EQ(w->wake.woken + w->wake.dropped, 1);
        EXPECT_EQ(w->wake.woken, first ? 1 : 0);
        if (w->operation) {
          EXPECT_EQ(w->poll().status, WASM_STATUS_CANCELLED);
        }
        EXPECT_TRUE(w->reported.empty());
        w->operation = {};
        w->close();
        EXPECT_EQ(w->drops, 1);
        EXPECT_EQ(drops, how == 1 ? 1 : 0);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Orders, PromiseAfter,
    testing::Values(std::vector{gone::operation}, std::vector{gone::stop}, std::vector{gone::engine},
                    std::vector{gone::operation, gone::engine, gone::factory_and_runtime},
                    std::vector{gone::engine, gone::operation, gone::factory_and_runtime},
                    std::vector{gone::factory_and_runtime, gone::engine, gone::operation},
                    std::vector{gone::factory_and_runtime, gone::operation, gone::engine},
                    std::vector{gone::stop, gone::factory_and_runtime, gone::engine, gone::operation},
                    std::vector{gone::stop, gone::operation, gone::engine, gone::factory_and_runtime}),
    [](const auto& info) { return name_of(info.param); });

TEST(Promise, OfAnEarlierRunDoesNotReachALaterOne) {
  waiting w;
  w.operation = {};
  ASSERT_EQ(drive(w.engine.start()).message, "");
  w.operation = w.begin({{1, 2}}).value();
  EXPECT_EQ(step(w.operation).value(), WASM_POLL_PENDING);
  EXPECT_EQ(resolve(w.keep.promises[0], 1), WASM_STATUS_OK);
  EXPECT_EQ(step(w.operation).value(), WASM_POLL_PENDING);
  EXPECT_EQ(resolve(w.keep.promises[1], 2), WASM_STATUS_OK);
  EXPECT_EQ(w.poll().message, "ready");
  EXPECT_THAT(w.reported, ElementsAre(2));
}

TEST(Promise, SettledButNotPolledWhenTheEngineStops) {
  waiting w;
  std::atomic<int> drops{0};
  const auto c = continuation([](auto...) { return WASM_CALLBACK_RESULT_DONE; }, &drops);
  EXPECT_EQ(wasm_promise_resolve_with(w.promise().get(), &c, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(drive(w.engine.stop()).message, "");
  EXPECT_EQ(drops, 1);
  EXPECT_EQ(w.poll().status, WASM_STATUS_CANCELLED);
  EXPECT_EQ(drive(w.engine.start()).message, "");
}

TEST(Promise, FanOut) {
  // 1,000 engines on one loop, each waiting on a promise that another thread settles, in a random order.
  constexpr std::size_t count = 1000;
  std::vector<owned_promise> promises;
  world w;
  w.add([&](wasm_call* call, const wasm_value*, wasm_value*) {
    promises.push_back(take_promise(call));
    return WASM_CALLBACK_RESULT_PENDING;
  }, true);
  w.factory = w.compile("h_call").value();
  const auto batch = pairs({{1, 2}});
  loop l;
  struct task_state {
    we::engine engine;
    we::future operation;
    loop* on = nullptr;
    int polls = 0;
    int yields = 0;
    int woken = 0;
    bool over = false;
    void poll() {
      const wasm_waker waker{this, [](void* data) {
                               auto* me = static_cast<task_state*>(data);
                               ++me->woken;
                               me->on->post([](void* me) noexcept { static_cast<task_state*>(me)->poll(); }, me);
                             },
                             nullptr};
      ++polls;
      auto polled = operation.poll(&waker);
      ASSERT_TRUE(polled);
      over = *polled == WASM_POLL_READY;
      if (*polled == WASM_POLL_YIELDED) {
        // The machine was busy with something else for a whole slice.
        ++yields;
        on->post([](void* me) noexcept { static_cast<task_state*>(me)->poll(); }, this);
      }
    }
  };
  std::vector<task_state> tasks(count);
  for (auto& t : tasks) {
    t.on = &l;
    t.engine = we::engine::create(w.factory).value();
    ASSERT_EQ(drive(t.engine.start()).message, "");
    t.operation = t.engine.transform(batch, w.sink).value();
    t.poll();
  }
  ASSERT_TRUE(l.run_until([&] { return promises.size() == count; }));
  std::vector<std::size_t> order(count);
  for (std::size_t i = 0; i < count; ++i) {
    order[i] = i;
  }
  std::shuffle(order.begin(), order.end(), std::mt19937(42));
  std::thread settler([&] {
    for (const auto i : order) {
      EXPECT_EQ(resolve(promises[i], static_cast<std::int32_t>(i)), WASM_STATUS_OK);
      promises[i].reset();
    }
  });
  EXPECT_TRUE(l.run_until([&] { return std::all_of(tasks.begin(), tasks.end(), [](const auto& t) { return t.over; }); }));
  settler.join();
  int yields = 0;
  for (const auto& t : tasks) {
    ASSERT_EQ(t.polls - t.yields, 2);
    yields += t.yields;
    ASSERT_EQ(t.woken, 1);
  }
  EXPECT_EQ(l.runs, static_cast<int>(count) + yields);
  std::sort(w.reported.begin(), w.reported.end());
  ASSERT_EQ(w.reported.size(), count);
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_EQ(w.reported[i], static_cast<std::int32_t>(i));
  }
}

}  // namespace
