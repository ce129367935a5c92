// SPDX-License-Identifier: Apache-2.0
//
// The signals by which traps are noticed, as far as they are a thread's: its mask and its alternate stack. What
// concerns handlers, and could kill, is in signals/.
#include "support/begin_transform.hh"
#include "support/c_sink.hh"
#include "support/memory_modes.hh"

#include <gmock/gmock.h>

#include <ucontext.h>

#include <csignal>
#include <set>
#include <thread>

using namespace memory_modes;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

namespace {

using signals = std::set<int>;
const signals needed{SIGSEGV, SIGILL, SIGFPE};

sigset_t set_of(const signals& all) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : all) {
    sigaddset(&set, signal);
  }
  return set;
}

void block(const signals& more) {
  const auto set = set_of(more);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &set, nullptr), 0);
}

void block_every_signal() {
  sigset_t all;
  sigfillset(&all);
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &all, nullptr), 0);
}

signals blocked() {
  sigset_t now;
  EXPECT_EQ(pthread_sigmask(SIG_SETMASK, nullptr, &now), 0);
  signals out;
  for (int signal = 1; signal < NSIG; ++signal) {
    if (sigismember(&now, signal) == 1) {
      out.insert(signal);
    }
  }
  return out;
}

signals without(signals all, const signals& these) {
  for (const int signal : these) {
    all.erase(signal);
  }
  return all;
}

/// On a thread of its own, so that no other test finds its mask changed.
template <typename F>
void on_a_thread(F&& work) {
  std::thread(std::forward<F>(work)).join();
}

struct trap_case {
  const char* letter;
  wasm_status status;
  wasm_trap trap;
};

constexpr trap_case traps[] = {
    {"d", WASM_STATUS_GUEST_TRAP, WASM_TRAP_DIVISION_BY_ZERO},
    {"v", WASM_STATUS_GUEST_TRAP, WASM_TRAP_INTEGER_OVERFLOW},
    {"o", WASM_STATUS_GUEST_TRAP, WASM_TRAP_MEMORY_OUT_OF_BOUNDS},
    {"u", WASM_STATUS_GUEST_TRAP, WASM_TRAP_UNREACHABLE},
    {"r", WASM_STATUS_GUEST_STACK_OVERFLOW, WASM_TRAP_STACK_OVERFLOW},
    {"n", WASM_STATUS_GUEST_TRAP, WASM_TRAP_INDIRECT_CALL_TO_NULL},
    {"s", WASM_STATUS_GUEST_TRAP, WASM_TRAP_BAD_SIGNATURE},
    {"t", WASM_STATUS_GUEST_TRAP, WASM_TRAP_TABLE_OUT_OF_BOUNDS},
    {"f", WASM_STATUS_GUEST_TRAP, WASM_TRAP_BAD_CONVERSION},
};

void expect_every_trap(we::engine& engine) {
  for (const auto& c : traps) {
    const auto end = transform(engine, {"copied", c.letter});
    EXPECT_EQ(end.status, c.status) << c.letter << ": " << end.message();
    EXPECT_EQ(end.why->trap(), c.trap) << c.letter;
    ASSERT_TRUE(succeeded(finish(engine.start())));
  }
}

// ---- The mask ----

class EveryTrapUnblocked : public testing::TestWithParam<mode> {};

TEST_P(EveryTrapUnblocked, IsNoticedOnAThreadThatBeganWithEverySignalBlocked) {
  const auto runtime = exactly(GetParam().config()).value();
  const auto factory = compile_guest(runtime, "wat_traps");
  on_a_thread([&] {
    block_every_signal();
    const auto before = blocked();
    ASSERT_TRUE(GetParam().prepare(runtime));
    const bool checks = GetParam().traps == WASM_TRAP_MODE_CHECKS;
    EXPECT_EQ(blocked(), checks ? before : without(before, needed)) << "exactly these are unblocked";
    auto engine = started(factory);
    expect_every_trap(engine);
    EXPECT_EQ(blocked(), checks ? before : without(before, needed)) << "and guests that trap change nothing";
    block_every_signal();
    ASSERT_EQ(wasm_thread_unblock_signals(runtime.get(), nullptr), WASM_STATUS_OK);
    EXPECT_EQ(blocked(), checks ? before : without(before, needed));
    block_every_signal();
    ASSERT_TRUE(GetParam().prepare(runtime)) << "again, which changes nothing but this";
    EXPECT_EQ(blocked(), checks ? before : without(before, needed));
  });
}

TEST_P(EveryTrapUnblocked, NeedsThreeSignalsOrNone) {
  const auto runtime = exactly(GetParam().config()).value();
  const auto factory = compile_guest(runtime, "wat_traps");
  on_a_thread([&] {
    ASSERT_TRUE(GetParam().prepare(runtime));
    auto engine = we::engine::create(factory).value();
    const std::pair<int, const char*> names[] = {{SIGSEGV, "SIGSEGV"}, {SIGILL, "SIGILL"}, {SIGFPE, "SIGFPE"}};
    for (const auto& [signal, name] : names) {
      block({signal, SIGUSR1});
      auto start = engine.start().value();
      if (GetParam().traps == WASM_TRAP_MODE_SIGNALS) {
        for (int i = 0; i < 3; ++i) {
          waker_tally wakers;
          const auto waker = wakers.give();
          const auto polled = start.poll(&waker);
          ASSERT_FALSE(polled);
          EXPECT_EQ(polled.err().status(), WASM_STATUS_SIGNALS_BLOCKED);
          EXPECT_THAT(polled.err().what(), AllOf(HasSubstr(name), HasSubstr("wasm_thread_unblock_signals")));
          EXPECT_THAT(polled.err().what(), Not(HasSubstr("USR1"))) << "which is the host's affair";
          EXPECT_EQ(wakers.dropped(), 1);
          EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STARTING) << "nothing happened";
          EXPECT_EQ(blocked(), (signals{signal, SIGUSR1})) << "nobody unblocked it behind the host's back";
        }
        ASSERT_TRUE(we::unblock_signals(runtime));
        EXPECT_EQ(blocked(), (signals{SIGUSR1}));
      }
      EXPECT_TRUE(succeeded(finish(start))) << "the future is still good";
      expect_every_trap(engine);
      ASSERT_TRUE(succeeded(finish(engine.stop())));
      ASSERT_TRUE(we::unblock_signals(runtime));
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Modes, EveryTrapUnblocked, testing::ValuesIn(every_mode), name_of);

/// What the tests below do on a thread with an engine of this guest.
struct prepared {
  explicit prepared(const char* guest, wasm_signal_check check) {
    wasm_runtime_config config{};
    config.signal_check = check;
    runtime = exactly(config).value();
    factory = compile_guest(runtime, guest);
  }
  we::future begin(c_sink& sink) {
    we::future operation;
    const auto raw = sink.raw();
    EXPECT_EQ(begin_transform(engine.get(), we::as_slice(batch), &raw, operation.out(), nullptr), WASM_STATUS_OK);
    return operation;
  }
  we::runtime runtime;
  we::factory factory;
  we::engine engine;
  kafka::bytes batch;
};

TEST(Signals, OfWhichSeveralAreBlockedAreAllNamed) {
  prepared p("c_identity", WASM_SIGNAL_CHECK_SAMPLED);
  on_a_thread([&] {
    block(needed);
    p.engine = we::engine::create(p.factory).value();
    auto start = p.engine.start().value();
    EXPECT_THAT(start.poll().err().what(), AllOf(HasSubstr("SIGSEGV"), HasSubstr("SIGILL"), HasSubstr("SIGFPE")));
    ASSERT_TRUE(we::unblock_signals(p.runtime));
    EXPECT_TRUE(succeeded(finish(start)));
    p.engine = {};
  });
}

TEST(Signals, ThatAreBlockedBeforeATransformLeaveItAsItWas) {
  prepared p("c_identity", WASM_SIGNAL_CHECK_EACH_POLL);
  on_a_thread([&] {
    p.engine = started(p.factory);
    p.batch = built({"a", "b"});
    for (const int signal : needed) {
      std::size_t records = 0;
      c_sink sink([&](output_block block, wasm_call*) {
        records += block.size();
        return WASM_CALLBACK_RESULT_DONE;
      });
      auto operation = p.begin(sink);
      block({signal});
      for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(operation.poll().err().status(), WASM_STATUS_SIGNALS_BLOCKED);
        EXPECT_EQ(p.engine.state().value(), WASM_ENGINE_STATE_TRANSFORMING);
      }
      EXPECT_EQ(sink.calls, 0);
      EXPECT_EQ(sink.drops, 0) << "the sink is still wanted";
      ASSERT_TRUE(we::unblock_signals(p.runtime));
      EXPECT_TRUE(succeeded(finish(operation)));
      EXPECT_EQ(records, 2U) << "and so was the batch";
      EXPECT_EQ(sink.drops, 1);
    }
    p.engine = {};
  });
}

TEST(Signals, ThatAreBlockedInTheMiddleOfATransformAreNoticedWhileTheClockRuns) {
  for (const auto check : {WASM_SIGNAL_CHECK_SAMPLED, WASM_SIGNAL_CHECK_EACH_POLL}) {
    prepared p("wat_traps", check);
    on_a_thread([&] {
      p.engine = started(p.factory);
      p.batch = built({"l"});
      for (const int signal : needed) {
        c_sink sink([](output_block, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; });
        auto operation = p.begin(sink);
        ASSERT_EQ(operation.poll().value(), WASM_POLL_YIELDED);
        block({signal});
        auto polled = operation.poll();
        for (int polls = 1; polled && polls < 50; ++polls) {
          EXPECT_EQ(check, WASM_SIGNAL_CHECK_SAMPLED) << "each poll means each";
          // The guest loops without end: each of its turns lasts for half a slice at least, and the clock with it.
          EXPECT_EQ(*polled, WASM_POLL_YIELDED);
          polled = operation.poll();
        }
        ASSERT_FALSE(polled) << "a signal that is blocked must be noticed at some time";
        EXPECT_EQ(polled.err().status(), WASM_STATUS_SIGNALS_BLOCKED);
        EXPECT_EQ(sink.drops, 0);
        ASSERT_TRUE(we::unblock_signals(p.runtime));
        EXPECT_EQ(operation.poll().value(), WASM_POLL_YIELDED) << "it goes on";
        ASSERT_TRUE(succeeded(finish(p.engine.stop())));
        EXPECT_EQ(operation.poll().err().status(), WASM_STATUS_CANCELLED);
        EXPECT_EQ(sink.drops, 1);
        ASSERT_TRUE(succeeded(finish(p.engine.start())));
      }
      p.engine = {};
    });
  }
}

TEST(Signals, ThatAContextSwitchBlockedAgainCanBeUnblocked) {
  prepared p("wat_traps", WASM_SIGNAL_CHECK_EACH_POLL);
  on_a_thread([&] {
    // A context remembers a mask, and brings it back whenever it is switched to.
    static ucontext_t main;
    static ucontext_t fiber;
    static prepared* world;
    world = &p;
    std::vector<char> stack(256 * kib);
    const auto free = blocked();
    block(needed);
    ASSERT_EQ(getcontext(&fiber), 0);
    ASSERT_TRUE(we::prepare_thread(p.runtime));
    ASSERT_EQ(blocked(), free);
    fiber.uc_stack.ss_sp = stack.data();
    fiber.uc_stack.ss_size = stack.size();
    fiber.uc_link = &main;
    makecontext(
        &fiber,
        [] {
          EXPECT_EQ(blocked(), needed) << "lost";
          auto engine = we::engine::create(world->factory).value();
          auto start = engine.start().value();
          EXPECT_EQ(start.poll().err().status(), WASM_STATUS_SIGNALS_BLOCKED);
          EXPECT_TRUE(we::unblock_signals(world->runtime));
          EXPECT_TRUE(succeeded(finish(start)));
          expect_every_trap(engine);
        },
        0);
    ASSERT_EQ(swapcontext(&main, &fiber), 0);
    EXPECT_EQ(blocked(), free);
  });
}

// ---- Operations that somebody else polls ----

TEST(Signals, ThatAreBlockedCompleteATaskWhoseOperationGoesOn) {
  prepared p("c_identity", WASM_SIGNAL_CHECK_EACH_POLL);
  on_a_thread([&] {
    p.engine = started(p.factory);
    p.batch = built({"a"});
    c_sink sink([](output_block, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; });
    struct {
      wasm_task* scheduled = nullptr;
      std::vector<wasm_status> statuses{};
      we::future over{};
    } task;
    const wasm_executor executor{sizeof(executor), &task.scheduled, nullptr,
                                 [](void* slot, wasm_task* t) { *static_cast<wasm_task**>(slot) = t; }};
    const wasm_completion completion{sizeof(completion), &task, nullptr,
                                     [](void* data, wasm_status status, wasm_error* error, wasm_future* over) {
                                       auto* me = static_cast<decltype(task)*>(data);
                                       me->statuses.push_back(status);
                                       me->over = we::future(over);
                                       wasm_error_release(error);
                                     }};
    task.over = p.begin(sink);
    block({SIGFPE});
    for (int i = 0; i < 2; ++i) {
      ASSERT_EQ(wasm_future_spawn(task.over.release(), &executor, &completion, nullptr), WASM_STATUS_OK);
      EXPECT_EQ(wasm_task_run(std::exchange(task.scheduled, nullptr), nullptr), WASM_STATUS_OK);
      ASSERT_EQ(task.statuses.size(), static_cast<std::size_t>(i + 1));
      EXPECT_EQ(task.statuses.back(), WASM_STATUS_SIGNALS_BLOCKED);
      EXPECT_EQ(task.scheduled, nullptr) << "it is over, so it comes no more";
      EXPECT_EQ(p.engine.state().value(), WASM_ENGINE_STATE_TRANSFORMING) << "but its operation is not";
      EXPECT_EQ(sink.drops, 0);
    }
    ASSERT_TRUE(we::unblock_signals(p.runtime));
    ASSERT_EQ(wasm_future_spawn(task.over.release(), &executor, &completion, nullptr), WASM_STATUS_OK);
    while (task.scheduled != nullptr) {
      ASSERT_EQ(wasm_task_run(std::exchange(task.scheduled, nullptr), nullptr), WASM_STATUS_OK);
    }
    EXPECT_EQ(task.statuses.back(), WASM_STATUS_OK);
    EXPECT_EQ(sink.calls, 1);
    EXPECT_EQ(sink.drops, 1);
    task.over = {};
    p.engine = {};
  });
}

TEST(Signals, ThatAreBlockedDoNotLoseAnOperationThatALoopRuns) {
  prepared p("c_identity", WASM_SIGNAL_CHECK_EACH_POLL);
  on_a_thread([&] {
    p.engine = started(p.factory);
    p.batch = built({"a"});
    c_sink sink([](output_block, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; });
    host_guest::loop loop;
    std::vector<wasm_status> outcomes;
    ASSERT_TRUE(we::spawn(loop, p.begin(sink), [&](we::result<void> r) {
      outcomes.push_back(r ? WASM_STATUS_OK : r.err().status());
    }));
    block({SIGFPE});
    EXPECT_TRUE(loop.run_until([&loop] { return loop.runs > 0; }));
    ASSERT_TRUE(we::unblock_signals(p.runtime));
    loop.run_ready();
    // Told that signals are blocked, or tried again and well: but whoever waits must hear of it.
    EXPECT_THAT(outcomes, testing::ElementsAre(testing::AnyOf(WASM_STATUS_SIGNALS_BLOCKED, WASM_STATUS_OK)));
    EXPECT_EQ(sink.drops, 1);
    p.engine = {};
  });
}

// ---- The alternate stack ----

stack_t alternate_stack() {
  stack_t now{};
  EXPECT_EQ(sigaltstack(nullptr, &now), 0);
  return now;
}

TEST(Signals, AreHandledOnAStackOf256KibOrTheHostsOwnIfThatIsAsLarge) {
  const auto runtime = exactly({}).value();
  const auto factory = compile_guest(runtime, "wat_traps");
  for (const std::size_t own : {std::size_t{0}, std::size_t{64 * kib}, std::size_t{256 * kib}, std::size_t{1 * mib}}) {
    on_a_thread([&] {
      std::vector<char> memory(own + 1);
      if (own > 0) {
        const stack_t mine{memory.data(), 0, own};
        ASSERT_EQ(sigaltstack(&mine, nullptr), 0);
      }
      ASSERT_TRUE(we::prepare_thread(runtime));
      const auto now = alternate_stack();
      EXPECT_EQ(now.ss_flags & SS_DISABLE, 0);
      EXPECT_GE(now.ss_size, 256 * kib);
      EXPECT_EQ(now.ss_sp == memory.data(), own >= 256 * kib);
      auto engine = started(factory);
      expect_every_trap(engine);
      EXPECT_EQ(alternate_stack().ss_sp, now.ss_sp) << "it stays";
      engine = {};
      const stack_t none{nullptr, SS_DISABLE, 0};
      EXPECT_EQ(sigaltstack(own >= 256 * kib ? &none : nullptr, nullptr), 0);
    });
  }
}

}  // namespace
