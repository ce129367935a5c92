// SPDX-License-Identifier: Apache-2.0
//
// What holds on every event loop, written once. Each adapter's suite has a loop of its kind, and instantiates this.
// Tests of what only one adapter has stay in its file.
#pragma once

#include "process/process.hh"
#include "support/asking.hh"
#include "support/large_module.hh"

#include <gmock/gmock.h>

#include <concepts>

namespace loop_suite {

using namespace testing_support;
using namespace std::chrono_literals;
using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using wasmengine::result;

/// What the tests need of an adapter. The test's own thread runs the loop, and only inside `run_until`.
template <typename L>
concept test_loop = std::default_initializable<L> && requires(L loop, wasmengine::future operation,
                                                              wasmengine::compilation compilation) {
  // Drives an operation, and calls the function with its outcome.
  loop.spawn(std::move(operation), [](const result<void>&) {});
  loop.spawn(std::move(compilation), [](const result<wasmengine::factory>&) {});
  // Calls a function on the loop, once.
  loop.after(milliseconds(1), [] {});
  // Runs the loop until the function says so.
  loop.run_until([] { return true; });
  // How often the adapter had its turn, so far; 0 if that is not counted.
  { loop.turns() } -> std::convertible_to<std::size_t>;
  { L::counts_turns } -> std::convertible_to<bool>;
  // Host functions, in the form that the adapter is for: twice its argument, or a failure, after a while.
  loop.answering_after(milliseconds(1));
  loop.failing_after(milliseconds(1), "why");
  // `spawn` never polls, so it never calls the function.
  { L::spawns_later } -> std::convertible_to<bool>;
  // A loop with nothing to do takes no processor time.
  { L::sleeps } -> std::convertible_to<bool>;
  // The loop can be destroyed while operations are in progress. Then it cancels them.
  { L::goes } -> std::convertible_to<bool>;
  // `turns` for so many engines that wait for a timer each.
  { L::turns_of_timers(std::size_t{}) } -> std::convertible_to<std::size_t>;
};

/// An operation, and how it ended.
struct ended {
  bool over = false;
  std::optional<wasmengine::error> why;

  auto note() {
    return [this](const result<void>& r) {
      EXPECT_FALSE(over) << "told twice";
      over = true;
      if (!r) {
        why = r.err();
      }
    };
  }
};

template <typename L>
class EventLoop : public testing::Test {
 protected:
  static_assert(test_loop<L>);

  /// Runs one operation to its end.
  ended run(wasmengine::future operation) {
    ended end;
    loop.spawn(std::move(operation), end.note());
    loop.run_until([&] { return end.over; });
    return end;
  }

  /// Engines that transform a batch each, all at once.
  void run_many(std::size_t engines, const asking& guest, const std::vector<std::string>& values) {
    const auto batch = built(values);
    std::vector<wasmengine::engine> all;
    std::vector<recorder> out(engines);
    std::size_t over = 0;
    for (std::size_t i = 0; i < engines; ++i) {
      all.push_back(guest.started());
    }
    for (std::size_t i = 0; i < engines; ++i) {
      loop.spawn(all[i].transform(batch, out[i]).value(), [&](const result<void>& r) {
        EXPECT_TRUE(r);
        ++over;
      });
    }
    loop.run_until([&] { return over == engines; });
    for (const auto& o : out) {
      EXPECT_EQ(o.records.size(), values.size());
    }
  }

  L loop;
};

TYPED_TEST_SUITE_P(EventLoop);

TYPED_TEST_P(EventLoop, TellsTheEndOfOperations) {
  bench b("c_identity");
  recorder out;
  const auto batch = built({"a", "b"});
  int calls = 0;
  this->loop.spawn(b.engine.start().value(), [&](const result<void>& started) {
    ++calls;
    ASSERT_TRUE(started);
    this->loop.spawn(b.engine.transform(batch, out).value(), [&](const result<void>& done) {
      ++calls;
      EXPECT_TRUE(done);
    });
  });
  if (TypeParam::spawns_later) {
    EXPECT_EQ(calls, 0) << "not called by the function that begins";
  }
  this->loop.run_until([&] { return calls == 2; });
  EXPECT_THAT(out.values(), ElementsAre("a", "b"));
  EXPECT_FALSE(this->run(b.engine.stop().value()).why);
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
}

TYPED_TEST_P(EventLoop, GivesTheEndOfSeveralBatchesInOneCall) {
  const asking guest(this->loop.answering_after(milliseconds(1)));
  auto engine = guest.started();
  const std::vector<kafka::bytes> all{built({"a"}), built({"w", "b"}), built({"u"}), built({"c"})};
  std::vector<std::vector<std::string>> out(all.size());
  auto sink = [&out](output_block block, wasmengine::output_batches batches) {
    wasmengine::for_each_batch(block, batches, [&out](std::uint32_t batch, output_block records) {
      recorder one;
      one(records);
      for (auto& value : one.values()) {
        out[batch].push_back(std::move(value));
      }
    });
  };
  const auto end = this->run(engine.transform_many(all, sink).value());
  ASSERT_TRUE(end.why);
  EXPECT_EQ(end.why->status(), WASM_STATUS_GUEST_TRAP);
  EXPECT_EQ(end.why->batch(), 2U);
  EXPECT_THAT(out[0], ElementsAre("a"));
  EXPECT_THAT(out[1], ElementsAre("w", "b"));
  EXPECT_TRUE(out[3].empty());
}

TYPED_TEST_P(EventLoop, GivesTheFactoryOfACompilation) {
  const auto runtime = wasmengine::runtime::create().value();
  wasmengine::factory factory;
  bool over = false;
  this->loop.spawn(runtime.compile(module("c_identity"), with_topics({"out"})).value(),
                   [&](result<wasmengine::factory> compiled) {
                     over = true;
                     ASSERT_TRUE(compiled);
                     factory = std::move(compiled).value();
                   });
  this->loop.run_until([&] { return over; });
  EXPECT_TRUE(wasmengine::engine::create(factory));
}

TYPED_TEST_P(EventLoop, GivesTheErrorOfACompilation) {
  const auto runtime = wasmengine::runtime::create().value();
  std::optional<wasmengine::error> why;
  this->loop.spawn(runtime.compile(kafka::bytes{1, 2, 3}, with_topics({"out"})).value(),
                   [&](const result<wasmengine::factory>& compiled) { why = compiled.err(); });
  this->loop.run_until([&] { return why.has_value(); });
  EXPECT_EQ(why->status(), WASM_STATUS_MODULE_NOT_WASM);
}

TYPED_TEST_P(EventLoop, GivesTheErrorOfATransformWithItsDetails) {
  bench b("wat_traps");
  recorder out;
  const auto batch = built({"a", "d"});
  ASSERT_TRUE(succeeded(b.start()));
  const auto end = this->run(b.engine.transform(batch, out).value());
  ASSERT_TRUE(end.why);
  EXPECT_EQ(end.why->trap(), WASM_TRAP_DIVISION_BY_ZERO);
  EXPECT_EQ(end.why->record()->index, 1U);
}

TYPED_TEST_P(EventLoop, WaitsForHostFunctionsThatAnswerLater) {
  const asking guest(this->loop.answering_after(30ms), unhurried);
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w1", "copied", "w2"});
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_FALSE(this->run(engine.transform(batch, out).value()).why);
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 60ms);
  EXPECT_THAT(out.values(), ElementsAre("w1", "copied", "w2"));
  EXPECT_LE(this->loop.turns(), 20U) << "nothing is polled while it waits";
}

TYPED_TEST_P(EventLoop, EndsAGuestWhoseHostFunctionFailsLater) {
  const asking guest(this->loop.failing_after(1ms, "the database is asleep"));
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w"});
  const auto end = this->run(engine.transform(batch, out).value());
  ASSERT_TRUE(end.why);
  EXPECT_EQ(end.why->status(), WASM_STATUS_HOST_FUNCTION_FAILED);
  EXPECT_THAT(end.why->what(), HasSubstr("the database is asleep"));
}

TYPED_TEST_P(EventLoop, HasTwoHundredEnginesWaitForTimersTogether) {
  constexpr std::size_t engines = 200;
  const asking guest(this->loop.answering_after(100ms), unhurried);
  const auto begun = std::chrono::steady_clock::now();
  this->run_many(engines, guest, {"w"});
  EXPECT_LT(std::chrono::steady_clock::now() - begun, engines * 100ms / 4) << "they wait side by side";
  EXPECT_LE(this->loop.turns(), TypeParam::turns_of_timers(engines));
}

TYPED_TEST_P(EventLoop, IsWokenByPromisesThatAnotherThreadSettles) {
  constexpr std::size_t engines = 200;
  answering_thread thread;
  const asking guest([&thread](std::int64_t, answer a) { thread.add(std::move(a)); }, unhurried);
  this->run_many(engines, guest, {"w", "w", "w"});
  // At most one poll for the beginning, and one per promise.
  EXPECT_LE(this->loop.turns(), 4 * engines);
}

TYPED_TEST_P(EventLoop, SleepsWhileAnOperationIsPending) {
  unanswered asked;
  const asking guest([&asked](std::int64_t, answer a) { asked.add(std::move(a)); }, unhurried);
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w"});
  ended end;
  this->loop.spawn(engine.transform(batch, out).value(), end.note());
  const auto before = thread_time();
  bool waited = false;
  this->loop.after(100ms, [&] {
    waited = true;
    EXPECT_LE(this->loop.turns(), 4U);
    if (TypeParam::sleeps) {
      EXPECT_LT(thread_time() - before, 20ms);
    }
    ASSERT_EQ(asked.all.size(), 1U);
    EXPECT_TRUE(asked.all[0].resolve(std::int64_t{42}));
    EXPECT_FALSE(end.over) << "not from within the promise";
  });
  this->loop.run_until([&] { return end.over; });
  EXPECT_TRUE(waited);
  EXPECT_FALSE(end.why);
  EXPECT_LE(this->loop.turns(), 7U);
}

TYPED_TEST_P(EventLoop, HasTimersWhileAGuestLoops) {
  auto config = unhurried;
  config.time_slice_ns = 200'000;
  const asking guest([](std::int64_t n) { return 2 * n; }, config);
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"l"});
  int ticks = 0;
  std::function<void()> tick = [&] {
    if (++ticks == 20) {
      (void)engine.stop().value();
    } else {
      this->loop.after(2ms, tick);
    }
  };
  this->loop.after(2ms, tick);
  const auto end = this->run(engine.transform(batch, out).value());
  ASSERT_TRUE(end.why);
  EXPECT_EQ(end.why->status(), WASM_STATUS_CANCELLED);
  EXPECT_EQ(ticks, 20);
  if (TypeParam::counts_turns) {
    EXPECT_GE(this->loop.turns(), 20U) << "between two ticks the guest had its turn";
  }
}

TYPED_TEST_P(EventLoop, CancelsWhatWaitsWhenItsEngineStops) {
  unanswered asked;
  const asking guest([&asked](std::int64_t, answer a) { asked.add(std::move(a)); });
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w"});
  ended end;
  this->loop.spawn(engine.transform(batch, out).value(), end.note());
  this->loop.after(1ms, [&] {
    EXPECT_EQ(asked.all.size(), 1U);
    EXPECT_FALSE(end.over);
    auto stopped = engine.stop().value();
  });
  this->loop.run_until([&] { return end.over; });
  ASSERT_TRUE(end.why);
  EXPECT_EQ(end.why->status(), WASM_STATUS_CANCELLED);
  EXPECT_TRUE(asked.all.at(0).resolve(std::int64_t{42})) << "harmless";
}

/// A compilation of some tenths of a second, or of none.
inline wasmengine::compilation compilation(const wasmengine::runtime& runtime, std::size_t functions) {
  return runtime.compile(testing_support::enlarged(module("t_skip"), functions), with_topics({"out"})).value();
}

/// Waits until the runtime's compile threads have done all that was begun.
inline void let_compile(const wasmengine::runtime& runtime) {
  auto last = compilation(runtime, 0);
  EXPECT_TRUE(wasmengine::drive(last));
  // What was given up has a thread of its own.
  EXPECT_TRUE(process::threads_become_idle("wasm-compile-"));
}

/// A loop that goes while a module is queued, compiled or done but not delivered.
TYPED_TEST_P(EventLoop, MayGoWhileAModuleCompiles) {
  if constexpr (TypeParam::goes) {
    const auto runtime = wasmengine::runtime::create().value();
    enum { queued, compiling, done };
    for (const auto moment : {queued, compiling, done}) {
      auto alive = std::make_shared<int>(0);
      {
        TypeParam going;
        going.spawn(compilation(runtime, 400),
                    [alive](const result<wasmengine::factory>&) { FAIL() << "not called"; });
        if (moment != queued) {
          bool waited = false;
          going.after(0ms, [&] { waited = true; });
          going.run_until([&] { return waited; });
        }
        if (moment == done) {
          let_compile(runtime);
        }
        EXPECT_EQ(alive.use_count(), 2);
      }
      EXPECT_EQ(alive.use_count(), 1) << "the callback was dropped";
    }
    let_compile(runtime);
  }
}

/// The compile thread tells the loop while the loop goes.
TYPED_TEST_P(EventLoop, MayGoWhenAModuleIsCompiled) {
  if constexpr (TypeParam::goes) {
    const auto runtime = wasmengine::runtime::create().value();
    for (int i = 0; i < 100; ++i) {
      bool waited = false;
      TypeParam going;
      going.spawn(compilation(runtime, 1), [](const result<wasmengine::factory>&) {});
      going.after(0ms, [&] { waited = true; });
      going.run_until([&] { return waited; });
      for (int n = 0; n < 10 * i; ++n) {
        std::this_thread::yield();
      }
    }
    let_compile(runtime);
  }
}

TYPED_TEST_P(EventLoop, StopsGuestsThatWaitWhenItGoes) {
  if constexpr (TypeParam::goes) {
    unanswered asked;
    const asking guest([&asked](std::int64_t, answer a) { asked.add(std::move(a)); });
    auto engine = guest.started();
    recorder out;
    const auto batch = built({"w"});
    {
      TypeParam going;
      going.spawn(engine.transform(batch, out).value(), [](const result<void>&) { FAIL() << "not called"; });
      bool waited = false;
      going.after(5ms, [&] { waited = true; });
      going.run_until([&] { return waited; });
      EXPECT_EQ(asked.all.size(), 1U);
    }
    EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED);
    EXPECT_TRUE(asked.all.at(0).resolve(std::int64_t{42})) << "harmless";
    EXPECT_TRUE(succeeded(testing_support::finish(engine.start())));
  }
}

REGISTER_TYPED_TEST_SUITE_P(EventLoop, TellsTheEndOfOperations, GivesTheEndOfSeveralBatchesInOneCall,
                            GivesTheFactoryOfACompilation,
                            GivesTheErrorOfACompilation, GivesTheErrorOfATransformWithItsDetails,
                            WaitsForHostFunctionsThatAnswerLater, EndsAGuestWhoseHostFunctionFailsLater,
                            HasTwoHundredEnginesWaitForTimersTogether, IsWokenByPromisesThatAnotherThreadSettles,
                            SleepsWhileAnOperationIsPending, HasTimersWhileAGuestLoops,
                            CancelsWhatWaitsWhenItsEngineStops, MayGoWhileAModuleCompiles, MayGoWhenAModuleIsCompiled,
                            StopsGuestsThatWaitWhenItGoes);

}  // namespace loop_suite
