// SPDX-License-Identifier: Apache-2.0
//
// Who gets which signal: the host's handlers its own faults, guests' traps the library. Each test is a child of its
// own, because handlers belong to the process, because the library installs its own once, and because some must die.
#include "signals/host_faults.hh"

#include <gmock/gmock.h>

#include <thread>

using namespace host_faults;
using process::in_child;
using testing::StartsWith;

namespace {

constexpr const char* fine = "exit 0";

/// What each signal is called when it kills.
std::string killed_by(int signal) { return std::string("signal ") + strsignal(signal); }

class EveryMode : public testing::TestWithParam<mode> {
 protected:
  [[nodiscard]] static bool checks() { return GetParam().traps == WASM_TRAP_MODE_CHECKS; }
};

// ---- Installed before the runtime ----

TEST_P(EveryMode, HandlersThatWereThereFirstGetTheHostsFaultsAndNoOthers) {
  EXPECT_EQ(in_child([] {
              install(note);
              expect_noted("before there is a runtime");
              {
                rig r(GetParam(), [](wasm_call*, const wasm_value*, wasm_value* results) {
                  expect_noted("in a host function, on the guest's stack");
                  results[0].i32 = 1;
                  return WASM_CALLBACK_RESULT_DONE;
                });
                expect_noted("with a runtime");
                auto engine = started(r.trapper);
                const int before = last.count;
                for (int round = 0; round < 3; ++round) {
                  expect_traps(engine);
                }
                EXPECT_EQ(last.count, before) << "guests' traps are none of the host's business";
                expect_noted("on a thread that has run guests");
                EXPECT_EQ(r.call().status, WASM_STATUS_OK) << "the guest goes on after the host function";
                expect_traps(engine);
                expect_noted("and once more");
                std::thread([&] {
                  expect_noted("on a thread that never saw a guest");
                  ASSERT_TRUE(GetParam().prepare(r.runtime));
                  auto mine = started(r.trapper);
                  expect_traps(mine);
                  expect_noted("on another thread that has run guests");
                }).join();
              }
              expect_noted("after the runtime was released");
              std::thread([] { expect_noted("on a new thread, after the runtime was released"); }).join();
            }),
            fine);
}

TEST_P(EveryMode, HandlersOfTheOldKindGetTheHostsFaultsToo) {
  EXPECT_EQ(in_child([] {
              for (const int signal : all_signals) {
                ::signal(signal, [](int which) {
                  last = {last.count + 1, which, 0, nullptr, nullptr};
                  siglongjmp(behind, 1);
                });
              }
              rig r(GetParam());
              auto engine = started(r.trapper);
              for (const int signal : all_signals) {
                if (sigsetjmp(behind, 1) == 0) {
                  fault(signal);
                }
                EXPECT_EQ(last.signal, signal);
                expect_traps(engine);
              }
              EXPECT_EQ(last.count, 3);
            }),
            fine);
}

// ---- Installed after it ----

struct sigaction old_action(int signal) {
  static std::map<int, struct sigaction> all;
  static const bool once = [] {
    for (const int s : all_signals) {
      sigaction(s, nullptr, &all[s]);
    }
    return true;
  }();
  (void)once;
  return all[signal];
}

/// Passes on what does not come from the host's own code, as handlers that were installed late must.
void note_or_pass_on(int signal, siginfo_t* info, void* context) {
  const auto old = old_action(signal);
  const auto at = reinterpret_cast<std::uintptr_t>(info->si_addr);
  const auto function = reinterpret_cast<std::uintptr_t>(&fault);
  const bool mine = signal == SIGSEGV ? info->si_addr == forbidden() + 123 : at >= function && at < function + 1'024;
  if (mine) {
    note(signal, info, context);
  }
  old.sa_sigaction(signal, info, context);
}

TEST_P(EveryMode, HandlersThatCameLaterAndPassOnLeaveTrapsToTheLibrary) {
  EXPECT_EQ(in_child([] {
              (void)forbidden();
              rig r(GetParam(), [](wasm_call*, const wasm_value*, wasm_value* results) {
                expect_noted("in a host function, on the guest's stack");
                results[0].i32 = 1;
                return WASM_CALLBACK_RESULT_DONE;
              });
              (void)old_action(SIGSEGV);
              auto a = action(note_or_pass_on, SA_ONSTACK | SA_NODEFER);
              for (const int signal : all_signals) {
                ASSERT_EQ(sigaction(signal, &a, nullptr), 0);
              }
              auto engine = started(r.trapper);
              for (int round = 0; round < 3; ++round) {
                expect_traps(engine);
                expect_noted("between traps");
              }
              EXPECT_EQ(r.call().status, WASM_STATUS_OK);
              expect_traps(engine);
            }),
            fine);
}

TEST_P(EveryMode, HandlersThatCameLaterAndDoNotPassOnGetEverything) {
  // The host's own faults still reach it.
  EXPECT_EQ(in_child([] {
              rig r(GetParam());
              auto engine = started(r.trapper);
              expect_traps(engine);
              install(note);
              expect_noted("with a handler that came later");
            }),
            fine);
  // Guests' traps do, too, where they are signals: this is what the header warns of.
  for (const auto* letter : {"d", "o", "u", "r"}) {
    EXPECT_EQ(in_child([&] {
                rig r(GetParam());
                auto engine = started(r.trapper);
                install([](int, siginfo_t*, void*) { _exit(7); });
                EXPECT_NE(transform(engine, {letter}).status, WASM_STATUS_OK);
              }),
              checks() ? "exit 0" : "exit 7")
        << letter;
  }
}

// ---- None installed ----

TEST_P(EveryMode, WithoutHandlersTheHostDiesOfItsOwnFaults) {
  for (const int signal : all_signals) {
    EXPECT_THAT(in_child([&] {
                  ::signal(signal, SIG_DFL);
                  rig r(GetParam());
                  auto engine = started(r.trapper);
                  expect_traps(engine);
                  fault(signal);
                }),
                StartsWith(killed_by(signal)));
    EXPECT_THAT(in_child([&] {
                  ::signal(signal, SIG_DFL);
                  rig r(GetParam(), [signal](wasm_call*, const wasm_value*, wasm_value*) {
                    fault(signal);
                    return WASM_CALLBACK_RESULT_DONE;
                  });
                  (void)r.call();
                }),
                StartsWith(killed_by(signal)))
        << "in a host function, on the guest's stack";
    EXPECT_THAT(in_child([&] {
                  ::signal(signal, SIG_DFL);
                  { rig r(GetParam()); }
                  fault(signal);
                }),
                StartsWith(killed_by(signal)))
        << "after the runtime was released";
  }
}

// Wasmtime's handler counts on a fault to happen again, which one that was only sent does not do. The header says so.
TEST(Handlers, ASignalThatIsSentKillsWhenItComesAgain) {
  for (const int signal : all_signals) {
    const auto sent = [&](int times) {
      return in_child([&] {
        ::signal(signal, SIG_DFL);
        rig r(every_mode[0]);
        for (int i = 0; i < times; ++i) {
          kill(getpid(), signal);
        }
      });
    };
    EXPECT_EQ(sent(1), "exit 0");
    EXPECT_THAT(sent(2), StartsWith(killed_by(signal)));
  }
}

// ---- No signals at all ----

bool same(const struct sigaction& a, const struct sigaction& b) {
  bool masks = true;
  for (int signal = 1; signal < 65; ++signal) {
    masks = masks && sigismember(&a.sa_mask, signal) == sigismember(&b.sa_mask, signal);
  }
  return masks && a.sa_sigaction == b.sa_sigaction && a.sa_flags == b.sa_flags;
}

TEST_P(EveryMode, AnActionIsChangedOnlyIfTrapsAreSignals) {
  EXPECT_EQ(in_child([] {
              std::array<struct sigaction, 65> before{};
              for (int signal = 1; signal < 65; ++signal) {
                sigaction(signal, nullptr, &before[static_cast<std::size_t>(signal)]);
              }
              {
                rig r(GetParam());
                auto engine = started(r.trapper);
                expect_traps(engine);
                for (int signal = 1; signal < 65; ++signal) {
                  struct sigaction now{};
                  sigaction(signal, nullptr, &now);
                  const bool used = !checks() && (signal == SIGSEGV || signal == SIGFPE || signal == SIGILL);
                  EXPECT_EQ(same(now, before[static_cast<std::size_t>(signal)]), !used) << strsignal(signal);
                }
              }
            }),
            fine);
}

class EveryModeWithChecks : public EveryMode {};

TEST_P(EveryModeWithChecks, TrapsNeedNoSignal) {
  EXPECT_EQ(in_child([] {
              install([](int, siginfo_t*, void*) { _exit(7); });
              sigset_t all;
              sigfillset(&all);
              ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &all, nullptr), 0);
              rig r(GetParam());
              auto engine = started(r.trapper);
              for (int round = 0; round < 20; ++round) {
                expect_traps(engine);
              }
              sigset_t now;
              ASSERT_EQ(pthread_sigmask(SIG_SETMASK, nullptr, &now), 0);
              for (const int signal : all_signals) {
                EXPECT_EQ(sigismember(&now, signal), 1);
              }
            }),
            fine);
}

TEST(Handlers, ComeWithTheFirstRuntimeThatNeedsThem) {
  EXPECT_EQ(in_child([] {
              install(note);
              struct sigaction before{};
              sigaction(SIGSEGV, nullptr, &before);
              rig without(every_mode[4]);
              struct sigaction between{};
              sigaction(SIGSEGV, nullptr, &between);
              EXPECT_TRUE(same(before, between));
              rig with(every_mode[0]);
              sigaction(SIGSEGV, nullptr, &between);
              EXPECT_FALSE(same(before, between));
              auto a = started(without.trapper);
              auto b = started(with.trapper);
              for (int round = 0; round < 3; ++round) {
                expect_traps(a);
                expect_noted("beside a runtime without signals");
                expect_traps(b);
                expect_noted("beside a runtime with signals");
              }
            }),
            fine);
}

// ---- Jumping out ----

TEST_P(EveryMode, HandlersMayJumpOutAHundredTimes) {
  EXPECT_EQ(in_child([] {
              install(note);
              int rounds = 0;
              rig r(GetParam(), [&rounds](wasm_call*, const wasm_value*, wasm_value* results) {
                for (; rounds < 100; ++rounds) {
                  expect_noted("in a host function, on the guest's stack");
                }
                results[0].i32 = 1;
                return WASM_CALLBACK_RESULT_DONE;
              });
              EXPECT_EQ(r.call().status, WASM_STATUS_OK);
              EXPECT_EQ(last.count, 300);
              auto engine = started(r.trapper);
              for (int i = 0; i < 100; ++i) {
                expect_noted("between traps");
                EXPECT_EQ(transform(engine, {"o"}).status, WASM_STATUS_GUEST_TRAP);
                ASSERT_TRUE(succeeded(finish(engine.start())));
              }
              expect_traps(engine);
            }),
            fine);
}

TEST_P(EveryMode, HandlersRunOnTheAlternateStack) {
  EXPECT_EQ(in_child([] {
              install(note);
              rig r(GetParam());
              stack_t stack{};
              ASSERT_EQ(sigaltstack(nullptr, &stack), 0);
              EXPECT_GE(stack.ss_size, 256 * kib);
              expect_noted("on a prepared thread");
              const auto at = reinterpret_cast<std::uintptr_t>(last.stack);
              const auto first = reinterpret_cast<std::uintptr_t>(stack.ss_sp);
              EXPECT_TRUE(at >= first && at < first + stack.ss_size);
            }),
            fine);
}

INSTANTIATE_TEST_SUITE_P(Modes, EveryMode, testing::ValuesIn(every_mode), name_of);
INSTANTIATE_TEST_SUITE_P(Modes, EveryModeWithChecks, testing::ValuesIn(every_mode.begin() + 4, every_mode.end()),
                         name_of);

}  // namespace
