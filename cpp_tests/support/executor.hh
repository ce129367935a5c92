// SPDX-License-Identifier: Apache-2.0
//
// An executor and a completion of the C ABI that count.
#pragma once

#include <wasm_engine/wasm_engine.hh>

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

namespace host_guest {

/// An executor of the C ABI that keeps what is scheduled.
struct queue {
  std::mutex mutex;
  std::deque<wasm_task*> tasks;
  int schedules = 0;
  std::atomic<int> drops{0};

  wasm_executor table() {
    return {sizeof(wasm_executor), this, [](void* data) { ++static_cast<queue*>(data)->drops; },
            [](void* data, wasm_task* task) {
              auto* me = static_cast<queue*>(data);
              const std::lock_guard lock(me->mutex);
              me->tasks.push_back(task);
              ++me->schedules;
            }};
  }
  wasm_task* take() {
    const std::lock_guard lock(mutex);
    if (tasks.empty()) {
      return nullptr;
    }
    auto* task = tasks.front();
    tasks.pop_front();
    return task;
  }
  /// Runs what is there; gives the number of runs.
  int run() {
    int runs = 0;
    while (auto* task = take()) {
      EXPECT_EQ(wasm_task_run(task, nullptr), WASM_STATUS_OK);
      ++runs;
    }
    return runs;
  }
};

/// A completion of the C ABI that notes how it was called.
struct finish {
  std::vector<wasm_status> statuses;
  std::vector<std::string> messages;
  /// The number of `statuses`, for other threads.
  std::atomic<std::size_t> calls{0};
  std::atomic<int> drops{0};
  bool dropped_before_complete = false;

  wasm_completion table() {
    return {sizeof(wasm_completion), this, [](void* data) { ++static_cast<finish*>(data)->drops; },
            [](void* data, wasm_status status, wasm_error* error, wasm_future* future) {
              auto* me = static_cast<finish*>(data);
              me->dropped_before_complete |= me->drops != 0;
              me->statuses.push_back(status);
              ++me->calls;
              me->messages.emplace_back(wasm_error_message(error));
              EXPECT_EQ(error == nullptr, status == WASM_STATUS_OK);
              wasm_error_release(error);
              EXPECT_NE(future, nullptr);
              EXPECT_EQ(wasm_future_release(future, nullptr), WASM_STATUS_OK);
            }};
  }
};

}  // namespace host_guest
