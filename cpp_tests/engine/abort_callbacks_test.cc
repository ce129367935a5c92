// SPDX-License-Identifier: Apache-2.0
//
// Tasks that are aborted and released while callbacks of theirs run.
#include "support/aborting.hh"

#include <gmock/gmock.h>

using namespace host_guest;
using testing::ElementsAre;
using testing::IsEmpty;

namespace {

/// Data of an executor and a completion that owns the handle of its task, as an object of the host does.
struct owning {
  owned_handle handle;
  wasm_task* task = nullptr;
  std::atomic<int> completions{0};
  std::atomic<int> executors{0};
  bool is_late = false;
  std::function<void()> on_drop = [this] { handle.reset(); };

  wasm_executor executor() {
    return {sizeof(wasm_executor), this,
            [](void* data) {
              auto* me = static_cast<owning*>(data);
              me->is_late |= me->completions != 1;
              ++me->executors;
            },
            [](void* data, wasm_task* task) { static_cast<owning*>(data)->task = task; }};
  }
  wasm_completion completion() {
    return {sizeof(wasm_completion), this,
            [](void* data) {
              auto* me = static_cast<owning*>(data);
              me->on_drop();
              ++me->completions;
            },
            [](void*, wasm_status, wasm_error*, wasm_future*) { FAIL() << "not called"; }};
  }
  void spawn(we::future&& operation) {
    ASSERT_EQ(::spawn(std::move(operation), executor(), completion(), handle), WASM_STATUS_OK);
  }
  void expect_dropped() const {
    EXPECT_EQ(completions, 1);
    EXPECT_EQ(executors, 1);
    EXPECT_FALSE(is_late) << "the executor was dropped before the completion";
  }
};

TEST(AbortMeanwhile, MayHaveItsHandleReleasedByTheCompletionsDrop) {
  for (const bool is_queued : {false, true}) {
    compiling c;
    owning o;
    o.spawn(c.begin(600));
    if (!is_queued) {
      ASSERT_EQ(wasm_task_run(o.task, nullptr), WASM_STATUS_OK);
    }
    EXPECT_EQ(abort(o.handle), WASM_STATUS_OK);
    EXPECT_FALSE(o.handle);
    if (is_queued) {
      EXPECT_EQ(o.executors, 0);
      EXPECT_EQ(wasm_task_run(o.task, nullptr), WASM_STATUS_OK);
    }
    o.expect_dropped();
    c.let_compile();
  }
}

TEST(AbortMeanwhile, MayHaveItsHandleReleasedByTheOperation) {
  owning o;
  waiting w;
  // The sink is dropped when the transform is cancelled.
  const auto batch = pairs({{1, 2}});
  const wasm_output_sink sink{sizeof(sink), &o, [](void* data) { static_cast<owning*>(data)->handle.reset(); },
                              [](auto...) { return WASM_CALLBACK_RESULT_DONE; }, nullptr};
  const wasm_transform_args args{sizeof(args), we::as_slice(batch), &sink, 0};
  we::future operation;
  ASSERT_EQ(wasm_engine_transform(w.engine.get(), &args, operation.out(), nullptr), WASM_STATUS_OK);
  o.on_drop = [] {};
  o.spawn(std::move(operation));
  ASSERT_EQ(wasm_task_run(o.task, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(abort(o.handle), WASM_STATUS_OK);
  EXPECT_FALSE(o.handle);
  o.expect_dropped();
}

TEST(AbortMeanwhile, MayHaveTheQueuedTaskLetGoByTheCompletionsDrop) {
  for (const bool runs : {false, true}) {
    compiling c;
    owning o;
    o.on_drop = [&] {
      EXPECT_EQ(abort(o.handle), WASM_STATUS_INVALID_STATE);
      EXPECT_EQ(runs ? wasm_task_run(o.task, nullptr) : wasm_task_release(o.task, nullptr), WASM_STATUS_OK);
      EXPECT_EQ(o.executors, 0) << "the completion is dropped first";
    };
    o.spawn(c.begin(1));
    EXPECT_EQ(abort(o.handle), WASM_STATUS_OK);
    o.expect_dropped();
    c.let_compile();
  }
}

TEST(AbortMeanwhile, KeepsAThreadThatLetsTheTaskGoUntilTheCompletionIsDropped) {
  for (const bool runs : {false, true}) {
    compiling c;
    owning o;
    std::atomic<bool> is_dropping = false;
    o.on_drop = [&] {
      is_dropping = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    };
    o.spawn(c.begin(1));
    std::thread loop([&] {
      while (!is_dropping) {
        std::this_thread::yield();
      }
      EXPECT_EQ(runs ? wasm_task_run(o.task, nullptr) : wasm_task_release(o.task, nullptr), WASM_STATUS_OK);
      o.expect_dropped();
    });
    EXPECT_EQ(abort(o.handle), WASM_STATUS_OK);
    loop.join();
    o.expect_dropped();
    c.let_compile();
  }
}

TEST(AbortMeanwhile, LeavesTheCompletionToTheThreadThatAborts) {
  // A result is the last of its runtime. So the host's code runs when it is cancelled.
  std::atomic<bool> is_cancelling = false;
  auto runtime = we::runtime::create().value();
  auto function = raw_host_function({}, nullptr, "unused", {}, {}, false);
  delete static_cast<raw_holder*>(std::exchange(function.data, &is_cancelling));
  function.drop = [](void* data) {
    *static_cast<std::atomic<bool>*>(data) = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  };
  ASSERT_EQ(wasm_runtime_register_function(runtime.get(), &function, nullptr), WASM_STATUS_OK);
  auto operation = runtime.compile(module("t_skip"), {"t", "in", {"out"}, {}}).value();
  ASSERT_EQ(end_of(we::drive(operation)).message, "");
  runtime = {};
  owning o;
  std::thread::id dropped_on;
  o.on_drop = [&] { dropped_on = std::this_thread::get_id(); };
  o.spawn(std::move(operation));
  std::thread loop([&] {
    while (!is_cancelling) {
      std::this_thread::yield();
    }
    EXPECT_EQ(wasm_task_release(o.task, nullptr), WASM_STATUS_OK);
  });
  EXPECT_EQ(abort(o.handle), WASM_STATUS_OK);
  loop.join();
  EXPECT_EQ(dropped_on, std::this_thread::get_id());
  o.expect_dropped();
}

TEST(AbortMeanwhile, RacesWithAThreadThatReleasesTheTask) {
  compiling c;
  const auto cache = we::factory_cache::create(c.w.runtime).value();
  const auto bytes = module("h_start");
  const auto begin = [&] { return cache.get("", bytes, {"t", "in", {"out"}, {}}).value(); };
  auto first = begin();
  ASSERT_EQ(end_of(we::drive(first)).message, "");
  // Each round with another delay of one of the two.
  static constexpr int rounds = 3'000;
  std::atomic<owning*> current = nullptr;
  std::atomic<int> round = -1;
  std::atomic<int> released = -1;
  const auto wait = [](const std::atomic<int>& what, int value, int spins) {
    for (int n = 0; what.load() < value; ++n) {
      if (n > 1'000) {
        std::this_thread::yield();
      }
    }
    for (int n = 0; n < spins; ++n) {
      (void)what.load();
    }
  };
  std::thread loop([&] {
    for (int i = 0; i < rounds; ++i) {
      wait(round, i, i % 2 == 0 ? i % 200 : 0);
      EXPECT_EQ(wasm_task_release(current.load()->task, nullptr), WASM_STATUS_OK);
      released = i;
    }
  });
  for (int i = 0; i < rounds; ++i) {
    owning o;
    o.on_drop = [] {};
    o.spawn(begin());
    current = &o;
    round = i;
    wait(round, i, i % 2 == 0 ? 0 : i % 200);
    const auto status = abort(o.handle);
    EXPECT_TRUE(status == WASM_STATUS_OK || status == WASM_STATUS_INVALID_STATE);
    wait(released, i, 0);
    o.expect_dropped();
  }
  loop.join();
}

TEST(AbortMeanwhile, ATaskMayBeReleasedWithinItsOwnSchedule) {
  // A loop that is closed gives tasks back at once.
  for (const bool has_handle : {true, false}) {
    compiling c;
    struct closing : owning {
      std::atomic<bool> is_closed = false;
      std::atomic<int> dropped_inside{-1};
    } o;
    o.on_drop = [] {};
    auto executor = o.executor();
    executor.schedule = [](void* data, wasm_task* task) {
      auto* me = static_cast<closing*>(static_cast<owning*>(data));
      me->task = task;
      if (me->is_closed) {
        EXPECT_EQ(wasm_task_release(task, nullptr), WASM_STATUS_OK);
        me->dropped_inside = me->executors.load();
      }
    };
    ASSERT_EQ(spawn(c.begin(200), executor, o.completion(), o.handle), WASM_STATUS_OK);
    ASSERT_EQ(wasm_task_run(o.task, nullptr), WASM_STATUS_OK);
    if (!has_handle) {
      o.handle.reset();
    }
    o.is_closed = true;
    c.let_compile();
    // The compile thread may have a few instructions left.
    while (o.executors == 0) {
      std::this_thread::yield();
    }
    EXPECT_EQ(o.dropped_inside, 0) << "dropped during a call of it";
    o.expect_dropped();
  }
}

TEST(AbortMeanwhile, MeetsATaskThatIsReleasedWithinItsOwnSchedule) {
  // Each of the two waits for what the other one is in, were it not for its own call.
  compiling c;
  struct closing : owning {
    std::atomic<bool> is_inside = false;
    std::atomic<bool> is_aborting = false;
    const std::thread::id owner = std::this_thread::get_id();
  } o;
  o.on_drop = [] {};
  auto executor = o.executor();
  executor.schedule = [](void* data, wasm_task* task) {
    auto* me = static_cast<closing*>(static_cast<owning*>(data));
    me->task = task;
    if (std::this_thread::get_id() != me->owner) {
      me->is_inside = true;
      while (!me->is_aborting) {
        std::this_thread::yield();
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      EXPECT_EQ(wasm_task_release(task, nullptr), WASM_STATUS_OK);
    }
  };
  ASSERT_EQ(spawn(c.begin(100), executor, o.completion(), o.handle), WASM_STATUS_OK);
  ASSERT_EQ(wasm_task_run(o.task, nullptr), WASM_STATUS_OK);
  while (!o.is_inside) {
    std::this_thread::yield();
  }
  o.is_aborting = true;
  const auto status = abort(o.handle);
  EXPECT_TRUE(status == WASM_STATUS_OK || status == WASM_STATUS_INVALID_STATE) << "too late on a busy machine";
  while (o.executors == 0) {
    std::this_thread::yield();
  }
  o.expect_dropped();
  c.let_compile();
}

TEST(AbortMeanwhile, APromiseMayBeSettledForATaskWhoseLoopIsClosed) {
  waiting w;
  struct closing : owning {
    bool is_closed = false;
  } o;
  o.on_drop = [] {};
  auto executor = o.executor();
  executor.schedule = [](void* data, wasm_task* task) {
    auto* me = static_cast<closing*>(static_cast<owning*>(data));
    me->task = task;
    if (me->is_closed) {
      EXPECT_EQ(wasm_task_release(task, nullptr), WASM_STATUS_OK);
    }
  };
  ASSERT_EQ(spawn(w.begin({{1, 2}}).value(), executor, o.completion(), o.handle), WASM_STATUS_OK);
  // A time slice may end before the guest waits.
  while (w.promises.empty()) {
    ASSERT_EQ(wasm_task_run(o.task, nullptr), WASM_STATUS_OK);
  }
  o.is_closed = true;
  EXPECT_EQ(resolve(w.promises.at(0), 1), WASM_STATUS_OK);
  o.expect_dropped();
  EXPECT_EQ(w.engine.state().value(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_EQ(abort(o.handle), WASM_STATUS_INVALID_STATE);
}

}  // namespace
