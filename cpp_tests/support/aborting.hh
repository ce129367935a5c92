// SPDX-License-Identifier: Apache-2.0
//
// Tasks that can be aborted: one that compiles and one whose guest waits.
#pragma once

#include "executor.hh"
#include "host_guest.hh"
#include "large_module.hh"
#include "process/process.hh"

namespace host_guest {

using owned_handle = we::handle<wasm_task_handle, wasm_task_handle_release>;

inline wasm_status abort(const owned_handle& handle) { return wasm_task_handle_abort(handle.get(), nullptr); }

inline wasm_status spawn(we::future&& operation, const wasm_executor& executor, const wasm_completion& completion,
                  owned_handle& handle) {
  const auto status =
      wasm_future_spawn_abortable(operation.get(), &executor, &completion, handle.out(), nullptr);
  if (status == WASM_STATUS_OK) {
    (void)operation.release();
  }
  return status;
}

/// A runtime with one compile thread.
struct compiling {
  compiling() {
    w.add([](auto...) { return WASM_CALLBACK_RESULT_DONE; }, false);
  }

  we::compilation begin(std::size_t functions) {
    return w.runtime.compile(testing_support::enlarged(module("h_start"), functions), {"t", "in", {"out"}, {}}).value();
  }
  /// Spawns a compilation of some tenths of a second.
  void go(std::size_t functions = 600) {
    ASSERT_EQ(spawn(begin(functions), q.table(), f.table(), handle), WASM_STATUS_OK);
  }
  /// Waits until the compile threads have done all that was begun.
  void let_compile() {
    auto last = begin(0);
    EXPECT_EQ(end_of(we::drive(last)).message, "");
    // What was given up has a thread of its own.
    EXPECT_TRUE(process::threads_become_idle("wasm-compile-"));
  }

  world w;
  queue q;
  finish f;
  owned_handle handle;
};

/// A guest whose t.f waits for `promises`.
struct waiting : world {
  waiting() {
    add([this](wasm_call* call, const wasm_value*, wasm_value*) {
      promises.push_back(take_promise(call));
      if (within) {
        within();
      }
      return WASM_CALLBACK_RESULT_PENDING;
    }, true);
    start();
  }
  void go() { ASSERT_EQ(spawn(begin({{1, 2}}).value(), q.table(), f.table(), handle), WASM_STATUS_OK); }

  std::function<void()> within;
  std::vector<owned_promise> promises;
  queue q;
  finish f;
  owned_handle handle;
};

}  // namespace host_guest
