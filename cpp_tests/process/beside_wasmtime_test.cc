// SPDX-License-Identifier: Apache-2.0
//
// Wasmtime's own C API in the same process: two copies of one Wasmtime, with signal handlers, thread-locals and stacks
// each. Neither may notice the other, whoever came first, and whoever goes first.
#include "process/process.hh"
#include "support/bench.hh"

#include <wasm.h>
#include <wasmtime.h>

#include <gmock/gmock.h>

#include <csignal>
#include <functional>
#include <optional>
#include <variant>

using namespace testing_support;

namespace {

int* volatile nowhere = reinterpret_cast<int*>(8);

/// A module that divides, loads, and recurses, in Wasmtime's C API.
class other {
 public:
  other() {
    _engine = wasm_engine_new();
    _store = wasmtime_store_new(_engine, nullptr, nullptr);
    const auto bytes = module("t_no_transform");
    succeed(wasmtime_module_new(_engine, bytes.data(), bytes.size(), &_module));
    auto* nothing_to_nothing = wasm_functype_new_0_0();
    wasmtime_extern_t import{};
    import.kind = WASMTIME_EXTERN_FUNC;
    wasmtime_func_new(context(), nothing_to_nothing, run_host, this, nullptr, &import.of.func);
    wasm_functype_delete(nothing_to_nothing);
    wasm_trap_t* trap = nullptr;
    succeed(wasmtime_instance_new(context(), _module, &import, 1, &_instance, &trap));
    EXPECT_EQ(trap, nullptr);
  }
  ~other() {
    wasmtime_module_delete(_module);
    wasmtime_store_delete(_store);
    wasm_engine_delete(_engine);
  }
  other(const other&) = delete;
  other& operator=(const other&) = delete;

  /// Calls an exported function; gives its result, or why it trapped.
  std::variant<std::int32_t, wasmtime_trap_code_t> call(const std::string& name, std::int32_t argument) {
    wasmtime_extern_t item;
    EXPECT_TRUE(wasmtime_instance_export_get(context(), &_instance, name.data(), name.size(), &item));
    wasmtime_val_t value{};
    value.kind = WASMTIME_I32;
    value.of.i32 = argument;
    wasmtime_val_t result{};
    wasm_trap_t* trap = nullptr;
    succeed(wasmtime_func_call(context(), &item.of.func, &value, 1, &result, 1, &trap));
    if (trap == nullptr) {
      return result.of.i32;
    }
    wasmtime_trap_code_t code = 0;
    EXPECT_TRUE(wasmtime_trap_code(trap, &code));
    wasm_trap_delete(trap);
    return code;
  }

  /// What call_host calls.
  std::function<void()> host;

 private:
  static wasm_trap_t* run_host(void* self, wasmtime_caller_t*, const wasmtime_val_t*, std::size_t, wasmtime_val_t*,
                               std::size_t) {
    static_cast<other*>(self)->host();
    return nullptr;
  }
  wasmtime_context_t* context() { return wasmtime_store_context(_store); }
  static void succeed(wasmtime_error_t* error) {
    if (error != nullptr) {
      wasm_name_t message;
      wasmtime_error_message(error, &message);
      ADD_FAILURE() << std::string(message.data, message.size);
      wasm_name_delete(&message);
      wasmtime_error_delete(error);
    }
  }

  wasm_engine_t* _engine = nullptr;
  wasmtime_store_t* _store = nullptr;
  wasmtime_module_t* _module = nullptr;
  wasmtime_instance_t _instance{};
};

/// All that Wasmtime notices by a signal, or by its stack's end; and what it does not.
void expect_works(other& o) {
  using result = std::variant<std::int32_t, wasmtime_trap_code_t>;
  EXPECT_EQ(o.call("divide", 6), result(std::int32_t{7}));
  EXPECT_EQ(o.call("divide", 0), result(wasmtime_trap_code_t{WASMTIME_TRAP_CODE_INTEGER_DIVISION_BY_ZERO}));
  EXPECT_EQ(o.call("load", 0x10'0000), result(wasmtime_trap_code_t{WASMTIME_TRAP_CODE_MEMORY_OUT_OF_BOUNDS}));
  EXPECT_EQ(o.call("unreachable", 0), result(wasmtime_trap_code_t{WASMTIME_TRAP_CODE_UNREACHABLE_CODE_REACHED}));
  EXPECT_EQ(o.call("recurse", 0), result(wasmtime_trap_code_t{WASMTIME_TRAP_CODE_STACK_OVERFLOW}));
  EXPECT_EQ(o.call("divide", 42), result(std::int32_t{1}));
}

void expect_works(bench& b) {
  EXPECT_TRUE(works(b));
  const std::vector<std::pair<const char*, wasm_status>> ends{{"divide", WASM_STATUS_GUEST_TRAP},
                                                              {"out of bounds", WASM_STATUS_GUEST_TRAP},
                                                              {"unreachable", WASM_STATUS_GUEST_TRAP},
                                                              {"recurse", WASM_STATUS_GUEST_STACK_OVERFLOW}};
  for (const auto& [record, status] : ends) {
    recorder out;
    EXPECT_EQ(b.transform(built({record}), out).status, status) << record;
    EXPECT_TRUE(succeeded(b.start()));
  }
  EXPECT_TRUE(works(b));
}

void in_turns(other& theirs, bench& ours) {
  for (int i = 0; i < 10; ++i) {
    expect_works(theirs);
    expect_works(ours);
  }
}

TEST(BesideWasmtime, WhichCameFirst) {
  std::optional<other> theirs(std::in_place);
  expect_works(*theirs);
  std::optional<bench> ours(std::in_place, "wat_traps");
  in_turns(*theirs, *ours);
  ours.reset();
  expect_works(*theirs);
  ours.emplace("wat_traps");
  in_turns(*theirs, *ours);
  theirs.reset();
  expect_works(*ours);
}

TEST(BesideWasmtime, WhichCameSecond) {
  std::optional<bench> ours(std::in_place, "wat_traps");
  expect_works(*ours);
  std::optional<other> theirs(std::in_place);
  in_turns(*theirs, *ours);
  theirs.reset();
  expect_works(*ours);
  theirs.emplace();
  in_turns(*theirs, *ours);
  ours.reset();
  expect_works(*theirs);
}

// Both put alternate signal stacks and their state on each thread.
TEST(BesideWasmtime, OnEachThread) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([i] {
      std::optional<other> theirs;
      std::optional<bench> ours;
      if (i % 2 == 0) {
        theirs.emplace();
        ours.emplace("wat_traps");
      } else {
        ours.emplace("wat_traps");
        theirs.emplace();
      }
      in_turns(*theirs, *ours);
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
}

/// Runs Wasmtime inside of a call of ours.
struct nested_sink {
  other* theirs;
  int calls = 0;
  void operator()(output_block) {
    ++calls;
    expect_works(*theirs);
  }
};

TEST(BesideWasmtime, InsideOfASink) {
  other theirs;
  bench ours("wat_traps");
  ASSERT_TRUE(succeeded(ours.start()));
  nested_sink sink{&theirs};
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(succeeded(ours.transform(built({"a record"}), sink)));
    expect_works(ours);
  }
  EXPECT_EQ(sink.calls, 10);
}

TEST(BesideWasmtime, InsideOfAHostFunctionOfTheirs) {
  other theirs;
  bench ours("wat_traps");
  int calls = 0;
  theirs.host = [&] {
    ++calls;
    expect_works(ours);
  };
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(std::get<std::int32_t>(theirs.call("call_host", i)), i);
    expect_works(theirs);
  }
  EXPECT_EQ(calls, 10);
}

// A fault that is neither's still reaches the host's own handler, through both of theirs.
TEST(BesideWasmtime, TheHostsFaultsAreItsOwn) {
  for (const bool ours_first : {true, false}) {
    const auto ending = process::in_child([&] {
      struct sigaction action {};
      action.sa_handler = [](int) { _exit(43); };
      ASSERT_EQ(sigaction(SIGSEGV, &action, nullptr), 0);
      std::optional<bench> ours;
      if (ours_first) {
        ours.emplace("wat_traps");
      }
      other theirs;
      if (!ours_first) {
        ours.emplace("wat_traps");
      }
      in_turns(theirs, *ours);
      *nowhere = 1;
    });
    EXPECT_EQ(ending, "exit 43") << ours_first;
  }
}

}  // namespace
