// SPDX-License-Identifier: Apache-2.0
//
// Guests' stacks: used up in every mode and on every kind of thread, and what host functions have of them even then.
#include "support/memory_modes.hh"

#include "process/process.hh"

#include <gmock/gmock.h>

#include <climits>
#include <pthread.h>
#include <thread>

using namespace memory_modes;
using host_guest::owned_promise;
using testing::AnyOf;
using testing::HasSubstr;

namespace {

/// Uses so much stack, page by page, as large local variables do. Not inlined, so that it is the callee's.
template <std::size_t Bytes>
[[gnu::noinline]] int use_stack() {
  volatile char space[Bytes];
  for (std::size_t i = 0; i < Bytes; i += 1'024) {
    space[i] = static_cast<char>(i);
  }
  space[Bytes - 1] = 1;
  return space[0] + space[Bytes - 1];
}

/// Engines of wat/m_deep.wat, with its host functions.
struct deep {
  using greedy = int (*)();

  explicit deep(const wasm_runtime_config& config, greedy w = use_stack<1'024>) : wide(w) {
    auto with_log = config;
    with_log.log = {this, nullptr, [](void* self, const wasm_log_line* line) {
                      auto* me = static_cast<deep*>(self);
                      me->lines += line->text.size == 8'191 ? 1 : 0;
                      (void)me->wide();
                    }};
    runtime = exactly(with_log).value();
    we::host_module t("t");
    t.add("wide", [this](std::int32_t) {
      ++called;
      return wide();
    });
    runtime.add(t).value();
    const auto wait = host_guest::raw_host_function(
        [this](wasm_call* call, const wasm_value*, wasm_value*) -> wasm_callback_result {
          (void)wide();
          if (++waited == slow) {
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
          }
          promise = host_guest::take_promise(call);
          return WASM_CALLBACK_RESULT_PENDING;
        },
        nullptr, "wait", host_guest::two_i32, host_guest::one_i32, true);
    EXPECT_EQ(wasm_runtime_register_function(runtime.get(), &wait, nullptr), WASM_STATUS_OK);
    runtime.set_schema_registry_in_memory().value();
    factory = compile_guest(runtime, "m_deep");
  }

  /// Has a guest act at each level until its stack is used up.
  outcome act(char what) {
    if (!engine) {
      engine = we::engine::create(factory).value();
    }
    if (engine.state().value() == WASM_ENGINE_STATE_STOPPED) {
      EXPECT_TRUE(succeeded(finish(engine.start())));
    }
    const auto batch = built({std::string(1, what)});
    auto sink = [this](output_block block) { records += block.size(); };
    auto operation = engine.transform(batch, sink).value();
    for (;;) {
      const auto polled = operation.poll();
      if (!polled) {
        return {polled.err().status(), polled.err()};
      }
      if (*polled == WASM_POLL_READY) {
        return {};
      }
      if (promise) {
        auto settled = std::exchange(promise, {});
        const auto go_on = host_guest::continuation(
            [this](wasm_call*, wasm_value* results) -> wasm_callback_result {
              ++continued;
              results[0].i32 = wide();
              return WASM_CALLBACK_RESULT_DONE;
            },
            &dropped);
        ++given;
        EXPECT_EQ(wasm_promise_resolve_with(settled.get(), &go_on, nullptr), WASM_STATUS_OK);
      }
    }
  }

  greedy wide;
  std::size_t lines = 0;
  std::size_t called = 0;
  /// Calls of t.wait; one of them takes many time slices.
  std::size_t waited = 0;
  std::size_t slow = 0;
  /// Continuations that promises were settled with, and those that ran.
  std::size_t given = 0;
  std::size_t continued = 0;
  std::size_t records = 0;
  std::atomic<int> dropped = 0;
  owned_promise promise;
  we::runtime runtime;
  we::factory factory;
  we::engine engine;
};

wasm_runtime_config stacks(std::uint64_t of_guest, std::uint64_t of_host) {
  wasm_runtime_config config{};
  config.guest_stack_size = of_guest;
  config.host_stack_size = of_host;
  // Deep recursion takes its time on a busy machine.
  config.record_time_limit_ns = 3'600'000'000'000;
  return config;
}

void expect_overflow(const outcome& end) {
  ASSERT_EQ(end.status, WASM_STATUS_GUEST_STACK_OVERFLOW) << end.message();
  EXPECT_EQ(end.why->trap(), WASM_TRAP_STACK_OVERFLOW);
}

// ---- Used up, in every mode ----

struct EveryStack : testing::TestWithParam<mode> {
  /// An engine whose guest can recurse, on this thread.
  we::engine engine() {
    EXPECT_TRUE(GetParam().prepare(runtime));
    return started(factory);
  }

  we::runtime runtime = exactly(GetParam().config()).value();
  we::factory factory = compile_guest(runtime, "wat_traps");
};

TEST_P(EveryStack, IsUsedUpAHundredTimesInARow) {
  auto e = engine();
  for (int i = 0; i < 100; ++i) {
    expect_overflow(transform(e, {"copied", "r"}));
    ASSERT_TRUE(succeeded(finish(e.start())));
  }
  recorder out;
  const auto batch = built({"works"});
  ASSERT_TRUE(succeeded(finish(e.transform(batch, out))));
  EXPECT_THAT(out.values(), testing::ElementsAre("works"));
}

TEST_P(EveryStack, IsUsedUpOnOtherThreadsToo) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([this] {
      auto a = engine();
      auto b = started(factory);
      for (int i = 0; i < 5; ++i) {
        expect_overflow(transform(a, {"r"}));
        expect_overflow(transform(b, {"r"}));
        ASSERT_TRUE(succeeded(finish(a.start())));
        ASSERT_TRUE(succeeded(finish(b.start())));
      }
    });
  }
  for (auto& t : threads) {
    t.join();
  }
}

TEST_P(EveryStack, IsNotThatOfTheThread) {
  if (sanitized) {
    GTEST_SKIP() << "the sanitizer's frames are larger";
  }
  // A thread with little more than what pthreads insist on, which glibc's thread-local storage takes a part of.
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN + 48 * kib), 0);
  pthread_t thread{};
  ASSERT_EQ(pthread_create(
                &thread, &attributes,
                [](void* self) -> void* {
                  auto& me = *static_cast<EveryStack*>(self);
                  auto e = me.engine();
                  for (int i = 0; i < 10; ++i) {
                    expect_overflow(transform(e, {"r"}));
                    EXPECT_EQ(finish(e.start()).status, WASM_STATUS_OK);
                    EXPECT_EQ(transform(e, {"d"}).status, WASM_STATUS_GUEST_TRAP);
                    EXPECT_EQ(finish(e.start()).status, WASM_STATUS_OK);
                  }
                  return nullptr;
                },
                this),
            0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

TEST_P(EveryStack, LeavesHostFunctionsTheirs) {
  // Three quarters of what they are promised, called by a guest with nothing left.
  deep d(GetParam().config(stacks(128 * kib, 256 * kib)), use_stack<200 * kib>);
  ASSERT_TRUE(GetParam().prepare(d.runtime));
  expect_overflow(d.act('l'));
  EXPECT_GT(d.lines, 100U);
  expect_overflow(d.act('t'));
  EXPECT_GT(d.called, 100U);
  expect_overflow(d.act('w'));
  EXPECT_GT(d.continued, 100U);
  EXPECT_EQ(d.dropped, static_cast<int>(d.given));
  // The last one may be for a guest that has no stack left to go on with; see below.
  EXPECT_GE(d.continued + 1, d.given);
}

// A guest that waits needs a few bytes of stack more than the call that makes it wait. Without them it ends before it
// is suspended. But if its time slice ends during the call, it is suspended first and ends when it should go on.
TEST_P(EveryStack, MayEndWhereAGuestShouldGoOnAndItsContinuationIsDroppedUnrun) {
  int unrun = 0;
  // Of these stacks, some end at the place in question. Whether the ticker is in time is up to the machine.
  for (std::uint64_t i = 0; i < 64 && unrun == 0; ++i) {
    auto config = stacks(16 * kib + 16 * (i % 16), 256 * kib);
    config.time_slice_ns = 1'000'000;
    deep d(GetParam().config(config));
    ASSERT_TRUE(GetParam().prepare(d.runtime));
    expect_overflow(d.act('w'));
    if (d.waited == d.given) {
      continue;
    }
    d.promise = {};
    d.slow = 2 * d.waited;
    expect_overflow(d.act('w'));
    EXPECT_EQ(d.dropped, static_cast<int>(d.given));
    unrun += static_cast<int>(d.given - d.continued);
  }
  EXPECT_EQ(unrun, 1) << "no guest was suspended with too little stack to go on";
}

TEST_P(EveryStack, LeavesTheLibrarysFunctionsEnough) {
  for (const std::uint64_t of_host : {64 * kib, 256 * kib}) {
    auto config = stacks(96 * kib, of_host);
    config.output_buffer_limit = 1'024;
    deep d(GetParam().config(config));
    ASSERT_TRUE(GetParam().prepare(d.runtime));
    expect_overflow(d.act('r'));
    expect_overflow(d.act('l'));
    EXPECT_GT(d.lines, 100U);
    expect_overflow(d.act('o'));
    EXPECT_GT(d.records, 100U) << "handed over by a guest that was suspended with nothing left";
    expect_overflow(d.act('s'));
    expect_overflow(d.act('t'));
    EXPECT_GT(d.called, 100U);
    expect_overflow(d.act('w'));
    EXPECT_GT(d.continued, 100U);
    EXPECT_EQ(d.engine.state().value(), WASM_ENGINE_STATE_STOPPED);
  }
}

TEST_P(EveryStack, MayBeAsSmallAndAsLargeAsTheConfigSays) {
  for (const auto& [of_guest, of_host] : {std::pair{16 * kib, 64 * kib}, {16 * kib + 1, 64 * kib + 1},
                                          {16 * kib, 8 * mib}, {8 * mib, 64 * kib}}) {
    deep d(GetParam().config(stacks(of_guest, of_host), 2));
    ASSERT_TRUE(GetParam().prepare(d.runtime, 2));
    expect_overflow(d.act('r'));
    // With little stack there are few levels, but there are some.
    expect_overflow(d.act('t'));
    EXPECT_GT(d.called, of_guest / 256);
    EXPECT_LT(d.called, of_guest / 16);
    expect_overflow(d.act('s'));
  }
  for (const auto& [of_guest, of_host] : {std::pair{16 * kib - 1, 256 * kib}, {256 * mib + 1, 256 * kib},
                                          {512 * kib, 64 * kib - 1}, {512 * kib, 256 * mib + 1}}) {
    const auto refused = exactly(GetParam().config(stacks(of_guest, of_host)));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.err().status(), WASM_STATUS_INVALID_ARGUMENT);
    EXPECT_THAT(refused.err().what(), HasSubstr("stack_size"));
  }
}

TEST_P(EveryStack, OfAQuarterGibibyteIsMapped) {
  deep d(GetParam().config(stacks(256 * mib, 256 * mib), 1));
  ASSERT_TRUE(GetParam().prepare(d.runtime, 1));
  expect_overflow(d.act('r'));
}

TEST_P(EveryStack, ThatIsTightStillHasThreeQuartersForTheHost) {
  auto config = stacks(0, 256 * kib);
  config.tight_stacks = 1;
  // A quarter is the guest's; what the library needs in between comes out of the rest.
  deep d(GetParam().config(config), use_stack<160 * kib>);
  ASSERT_TRUE(GetParam().prepare(d.runtime));
  expect_overflow(d.act('t'));
  EXPECT_GT(d.called, 64 * kib / 256);
  EXPECT_LT(d.called, 64 * kib / 16) << "guests have a quarter, not all that they have without it";
  expect_overflow(d.act('l'));
  expect_overflow(d.act('w'));
  expect_overflow(d.act('s'));
  config.guest_stack_size = 16 * kib;
  deep smaller(GetParam().config(config));
  ASSERT_TRUE(GetParam().prepare(smaller.runtime));
  expect_overflow(smaller.act('t'));
  EXPECT_LT(smaller.called, 16 * kib / 16) << "and no more than guest_stack_size";
}

TEST_P(EveryStack, ThatIsTightAndAsSmallAsCanBeIsEnoughForTheLibrary) {
  auto config = stacks(16 * kib, 64 * kib);
  config.tight_stacks = 1;
  config.output_buffer_limit = 1'024;
  deep d(GetParam().config(config));
  ASSERT_TRUE(GetParam().prepare(d.runtime));
  for (const char what : {'r', 'l', 'o', 's', 't', 'w'}) {
    expect_overflow(d.act(what));
  }
}

// ---- Used beyond what was promised: children, which die of it ----

TEST_P(EveryStack, KillsAHostFunctionThatNeedsMoreOnlyIfItIsTight) {
  if (sanitized) {
    GTEST_SKIP() << "children that fault are not run sanitized";
  }
  const auto child = [&](std::uint32_t tight) {
    return process::in_child([&] {
      auto config = stacks(512 * kib, 256 * kib);
      config.tight_stacks = tight;
      // More than host_stack_size. A guest that is not deep has left so much of its own, which must not help in a test.
      deep d(GetParam().config(config), [] {
        static int calls = 0;
        return ++calls == 1 ? use_stack<300 * kib>() : 0;
      });
      EXPECT_TRUE(GetParam().prepare(d.runtime));
      expect_overflow(d.act('t'));
    });
  };
  EXPECT_EQ(child(0), "exit 0");
  EXPECT_THAT(child(1), testing::StartsWith("signal "));
}

INSTANTIATE_TEST_SUITE_P(Modes, EveryStack, testing::ValuesIn(every_mode), name_of);

}  // namespace
