// SPDX-License-Identifier: Apache-2.0
//
// Faults that the host makes itself, and a handler of the host's that notes them and goes on behind them.
#pragma once

#include "process/process.hh"
#include "support/memory_modes.hh"

#include <sys/mman.h>

#include <csetjmp>
#include <csignal>

namespace host_faults {

using namespace memory_modes;

/// A page that cannot be touched.
inline std::uint8_t* forbidden() {
  static auto* page = static_cast<std::uint8_t*>(mmap(nullptr, 4'096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  return page;
}

/// By real faults, not by `raise`: a bad load, a division by zero, an instruction that there is not.
[[gnu::noinline]] inline void fault(int signal) {
  switch (signal) {
    case SIGSEGV:
      *static_cast<volatile std::uint8_t*>(forbidden() + 123) = 1;
      break;
    case SIGFPE: {
      int result = 1;
      int rest = 0;
      asm volatile("idivl %2" : "+a"(result), "+d"(rest) : "r"(0) : "cc");
      break;
    }
    case SIGILL:
      asm volatile("ud2");
      break;
    default:
      break;
  }
}

constexpr int all_signals[] = {SIGSEGV, SIGFPE, SIGILL};

/// What the host's handler saw last; plain variables, because faults are synchronous.
struct seen {
  int count = 0;
  int signal = 0;
  int code = 0;
  void* address = nullptr;
  const void* stack = nullptr;
};
inline thread_local seen last;
inline thread_local sigjmp_buf behind;

/// Notes the fault, and goes on behind it.
inline void note(int signal, siginfo_t* info, void*) {
  last = {last.count + 1, signal, info->si_code, info->si_addr, &signal};
  siglongjmp(behind, 1);
}

inline struct sigaction action(void (*handler)(int, siginfo_t*, void*), int flags = SA_ONSTACK) {
  struct sigaction a{};
  a.sa_sigaction = handler;
  a.sa_flags = SA_SIGINFO | flags;
  return a;
}

inline void install(void (*handler)(int, siginfo_t*, void*)) {
  const auto a = action(handler);
  for (const int signal : all_signals) {
    ASSERT_EQ(sigaction(signal, &a, nullptr), 0);
  }
}

/// Has the host fault in each of the three ways, on this thread, and its handler get exactly that.
inline void expect_noted(const char* where) {
  for (const int signal : all_signals) {
    const int before = last.count;
    if (sigsetjmp(behind, 1) == 0) {
      fault(signal);
      ADD_FAILURE() << "went on behind a fault: " << where;
    }
    EXPECT_EQ(last.count, before + 1) << where;
    EXPECT_EQ(last.signal, signal) << where;
    if (signal == SIGSEGV) {
      EXPECT_EQ(last.address, forbidden() + 123) << where;
      EXPECT_EQ(last.code, SEGV_ACCERR) << where;
    } else {
      EXPECT_EQ(last.code, signal == SIGFPE ? int{FPE_INTDIV} : int{ILL_ILLOPN}) << where;
      // The instruction, which is somewhere in `fault`.
      const auto at = reinterpret_cast<std::uintptr_t>(last.address);
      const auto function = reinterpret_cast<std::uintptr_t>(&fault);
      EXPECT_TRUE(at >= function && at < function + 1'024) << where;
    }
  }
}

constexpr std::pair<const char*, wasm_trap> guest_traps[] = {
    {"d", WASM_TRAP_DIVISION_BY_ZERO}, {"o", WASM_TRAP_MEMORY_OUT_OF_BOUNDS}, {"u", WASM_TRAP_UNREACHABLE},
    {"r", WASM_TRAP_STACK_OVERFLOW},   {"n", WASM_TRAP_INDIRECT_CALL_TO_NULL}};

/// Guests' traps are statuses.
inline void expect_traps(we::engine& engine) {
  for (const auto& [letter, trap] : guest_traps) {
    const auto end = transform(engine, {letter});
    EXPECT_EQ(end.status,
              trap == WASM_TRAP_STACK_OVERFLOW ? WASM_STATUS_GUEST_STACK_OVERFLOW : WASM_STATUS_GUEST_TRAP) << letter;
    EXPECT_EQ(end.why->trap(), trap) << letter;
    ASSERT_TRUE(succeeded(finish(engine.start())));
  }
}

/// A runtime with the guest that traps, and one that calls the host's function t.f.
struct rig {
  explicit rig(const mode& m, host_guest::raw_function f = nullptr) {
    runtime = exactly(m.config()).value();
    if (f) {
      const auto raw = host_guest::raw_host_function(std::move(f), nullptr, "f", host_guest::two_i32,
                                                     host_guest::one_i32, false);
      EXPECT_EQ(wasm_runtime_register_function(runtime.get(), &raw, nullptr), WASM_STATUS_OK);
      const auto report = host_guest::raw_host_function(
          [](wasm_call*, const wasm_value*, wasm_value*) { return WASM_CALLBACK_RESULT_DONE; }, nullptr, "report",
          host_guest::one_i32, {}, false);
      EXPECT_EQ(wasm_runtime_register_function(runtime.get(), &report, nullptr), WASM_STATUS_OK);
      caller = compile_guest(runtime, "h_call");
    }
    trapper = compile_guest(runtime, "wat_traps");
    EXPECT_TRUE(m.prepare(runtime));
  }
  /// Has a guest call t.f.
  outcome call() {
    auto engine = started(caller);
    recorder none;
    const auto batch = host_guest::pairs({{1, 2}});
    return finish(engine.transform(batch, none));
  }

  we::runtime runtime;
  we::factory caller;
  we::factory trapper;
};

}  // namespace host_faults
