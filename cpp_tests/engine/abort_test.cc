// SPDX-License-Identifier: Apache-2.0
//
// Tasks that are aborted, at every moment and with a loop that goes.
#include "process/process.hh"
#include "support/executor.hh"
#include "support/host_guest.hh"
#include "support/large_module.hh"

#include <gmock/gmock.h>

using namespace host_guest;
using testing::ElementsAre;
using testing::IsEmpty;

namespace {

using owned_handle = we::handle<wasm_task_handle, wasm_task_handle_release>;

wasm_status abort(const owned_handle& handle) { return wasm_task_handle_abort(handle.get(), nullptr); }

wasm_status spawn(we::future&& operation, const wasm_executor& executor, const wasm_completion& completion,
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

TEST(Abort, OfAQueuedTaskIsSeenByItsExecutor) {
  for (const bool runs : {true, false}) {
    compiling c;
    c.go();
    EXPECT_EQ(abort(c.handle), WASM_STATUS_OK);
    EXPECT_EQ(c.f.drops, 1);
    EXPECT_EQ(c.q.drops, 0) << "the executor has the task";
    auto* task = c.q.take();
    EXPECT_EQ(runs ? wasm_task_run(task, nullptr) : wasm_task_release(task, nullptr), WASM_STATUS_OK);
    EXPECT_EQ(c.q.drops, 1);
    EXPECT_THAT(c.f.statuses, IsEmpty());
    EXPECT_EQ(abort(c.handle), WASM_STATUS_INVALID_STATE);
    c.let_compile();
    EXPECT_EQ(c.q.schedules, 1);
  }
}

TEST(Abort, WhileAModuleCompilesLeavesTheExecutorAlone) {
  compiling c;
  c.go();
  EXPECT_EQ(c.q.run(), 1);
  ASSERT_THAT(c.f.statuses, IsEmpty()) << "the module is compiled too soon";
  EXPECT_EQ(abort(c.handle), WASM_STATUS_OK);
  EXPECT_EQ(c.f.drops, 1);
  EXPECT_EQ(c.q.drops, 1);
  c.let_compile();
  EXPECT_EQ(c.q.schedules, 1);
  EXPECT_THAT(c.f.statuses, IsEmpty());
}

TEST(Abort, OfACompilationThatWaitsBehindAnotherOneTakesItOut) {
  compiling c;
  auto first = c.begin(600);
  c.go(4);
  EXPECT_EQ(c.q.run(), 1);
  EXPECT_EQ(abort(c.handle), WASM_STATUS_OK);
  EXPECT_EQ(c.q.drops, 1);
  EXPECT_EQ(end_of(we::drive(first)).message, "");
  c.let_compile();
  EXPECT_EQ(c.q.schedules, 1);
}

TEST(Abort, OfWhatIsDoneButNotDeliveredDropsTheResult) {
  compiling c;
  c.go(100);
  c.q.run();
  c.let_compile();
  auto* task = c.q.take();
  ASSERT_NE(task, nullptr) << "the compile thread has scheduled the task";
  EXPECT_EQ(abort(c.handle), WASM_STATUS_OK);
  EXPECT_EQ(c.f.drops, 1);
  EXPECT_EQ(wasm_task_run(task, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(c.q.drops, 1);
  EXPECT_THAT(c.f.statuses, IsEmpty());
}

/// An executor whose `schedule` stays inside on other threads until it is let out. Each may run tasks meanwhile.
struct slow_executor {
  std::mutex mutex;
  std::condition_variable changed;
  const std::thread::id owner = std::this_thread::get_id();
  std::vector<wasm_task*> tasks;
  bool is_inside = false;
  bool may_leave = false;

  wasm_executor table() {
    return {sizeof(wasm_executor), this, nullptr, [](void* data, wasm_task* task) {
              auto* me = static_cast<slow_executor*>(data);
              std::unique_lock lock(me->mutex);
              me->tasks.push_back(task);
              if (std::this_thread::get_id() != me->owner) {
                me->is_inside = true;
                me->changed.notify_all();
                me->changed.wait(lock, [me] { return me->may_leave; });
                me->is_inside = false;
              }
            }};
  }
  wasm_task* take() {
    const std::lock_guard lock(mutex);
    auto* task = tasks.empty() ? nullptr : tasks.back();
    tasks.clear();
    return task;
  }
  void await_thread() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return is_inside; });
  }
  void let_out() {
    const std::lock_guard lock(mutex);
    may_leave = true;
    changed.notify_all();
  }
  bool has_thread() {
    const std::lock_guard lock(mutex);
    return is_inside;
  }
};

TEST(Abort, WaitsForAThreadThatSchedulesTheTask) {
  compiling c;
  auto executor = std::make_unique<slow_executor>();
  ASSERT_EQ(spawn(c.begin(100), executor->table(), c.f.table(), c.handle), WASM_STATUS_OK);
  ASSERT_EQ(wasm_task_run(executor->take(), nullptr), WASM_STATUS_OK);
  executor->await_thread();
  std::atomic<bool> returned = false;
  std::thread aborting([&] {
    EXPECT_EQ(abort(c.handle), WASM_STATUS_OK);
    EXPECT_FALSE(executor->has_thread());
    returned = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(returned);
  executor->let_out();
  aborting.join();
  auto* task = executor->take();
  ASSERT_NE(task, nullptr);
  // The loop may go now. Its task needs no loop.
  executor.reset();
  EXPECT_EQ(wasm_task_release(task, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(c.f.drops, 1);
  EXPECT_THAT(c.f.statuses, IsEmpty());
}

TEST(Abort, TheEndOfATaskWaitsForAThreadThatSchedulesIt) {
  compiling c;
  slow_executor executor;
  ASSERT_EQ(spawn(c.begin(100), executor.table(), c.f.table(), c.handle), WASM_STATUS_OK);
  ASSERT_EQ(wasm_task_run(executor.take(), nullptr), WASM_STATUS_OK);
  executor.await_thread();
  auto* task = executor.take();
  std::atomic<bool> let_out = false;
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    let_out = true;
    executor.let_out();
  });
  EXPECT_EQ(wasm_task_run(task, nullptr), WASM_STATUS_OK);
  EXPECT_TRUE(let_out);
  EXPECT_FALSE(executor.has_thread());
  EXPECT_THAT(c.f.statuses, ElementsAre(WASM_STATUS_OK));
  later.join();
}

TEST(Abort, FromTheTasksOwnScheduleIsRefused) {
  struct own {
    owned_handle handle;
    std::vector<wasm_task*> tasks;
    std::vector<wasm_status> statuses;
  } o;
  compiling c;
  const wasm_executor executor{sizeof(executor), &o, nullptr, [](void* data, wasm_task* task) {
                                 auto* me = static_cast<own*>(data);
                                 me->tasks.push_back(task);
                                 me->statuses.push_back(abort(me->handle));
                               }};
  const auto completion = c.f.table();
  ASSERT_EQ(spawn(c.begin(1), executor, completion, o.handle), WASM_STATUS_OK);
  EXPECT_THAT(o.statuses, ElementsAre(WASM_STATUS_BUSY));
  c.let_compile();
  EXPECT_EQ(wasm_task_run(o.tasks.at(0), nullptr), WASM_STATUS_OK);
  EXPECT_THAT(c.f.statuses, ElementsAre(WASM_STATUS_OK)) << "the task went on";
}

TEST(Abort, FromItsCompletionComesTooLate) {
  struct own {
    owned_handle handle;
    std::vector<wasm_status> statuses;
  } o;
  compiling c;
  const wasm_completion completion{sizeof(completion), &o,
                                   [](void* data) {
                                     auto* me = static_cast<own*>(data);
                                     me->statuses.push_back(abort(me->handle));
                                   },
                                   [](void* data, wasm_status status, wasm_error*, wasm_future* future) {
                                     auto* me = static_cast<own*>(data);
                                     me->statuses.push_back(status);
                                     me->statuses.push_back(abort(me->handle));
                                     EXPECT_EQ(wasm_future_release(future, nullptr), WASM_STATUS_OK);
                                   }};
  ASSERT_EQ(spawn(c.begin(1), c.q.table(), completion, o.handle), WASM_STATUS_OK);
  c.let_compile();
  c.q.run();
  EXPECT_THAT(o.statuses, ElementsAre(WASM_STATUS_OK, WASM_STATUS_INVALID_STATE, WASM_STATUS_INVALID_STATE));
  EXPECT_EQ(abort(o.handle), WASM_STATUS_INVALID_STATE);
  EXPECT_EQ(c.q.drops, 1) << "the handle keeps no executor";
}

TEST(Abort, RacesWithAThreadThatRunsTheTask) {
  compiling c;
  for (int i = 0; i < 100; ++i) {
    queue q;
    finish f;
    owned_handle handle;
    ASSERT_EQ(spawn(c.begin(0), q.table(), f.table(), handle), WASM_STATUS_OK);
    std::atomic<bool> over = false;
    std::thread loop([&] {
      while (!over) {
        q.run();
      }
    });
    for (int n = 0; n < i; ++n) {
      std::this_thread::yield();
    }
    const auto status = abort(handle);
    const auto completed = f.calls.load();
    over = true;
    loop.join();
    q.run();
    ASSERT_EQ(completed, status == WASM_STATUS_OK ? 0U : 1U);
    ASSERT_EQ(f.calls, completed);
    ASSERT_EQ(f.drops, 1);
    ASSERT_EQ(q.drops, 1);
  }
}

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

TEST(Abort, OfATransformThatWaitsStopsItsEngine) {
  waiting w;
  w.go();
  w.q.run();
  const int schedules = w.q.schedules;
  std::thread([&] { EXPECT_EQ(abort(w.handle), WASM_STATUS_WRONG_THREAD); }).join();
  EXPECT_EQ(w.engine.state().value(), WASM_ENGINE_STATE_TRANSFORMING);
  EXPECT_EQ(abort(w.handle), WASM_STATUS_OK);
  EXPECT_EQ(w.engine.state().value(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_EQ(w.f.drops, 1);
  EXPECT_EQ(w.q.drops, 1);
  EXPECT_EQ(resolve(w.promises.at(0), 1), WASM_STATUS_OK);
  EXPECT_EQ(w.q.schedules, schedules);
  EXPECT_THAT(w.f.statuses, IsEmpty());
  EXPECT_EQ(drive(w.engine.start()).message, "");
}

TEST(Abort, OfATransformDuringItsPollTakesEffectAtItsEnd) {
  waiting w;
  wasm_status status = WASM_STATUS_BUSY;
  w.within = [&] {
    status = abort(w.handle);
    EXPECT_EQ(w.f.drops, 0);
  };
  w.go();
  w.q.run();
  EXPECT_EQ(status, WASM_STATUS_OK);
  EXPECT_EQ(w.engine.state().value(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_EQ(w.f.drops, 1);
  EXPECT_EQ(w.q.drops, 1);
  EXPECT_THAT(w.f.statuses, IsEmpty());
}

TEST(Abort, FromACallbackOfItsEngineIsRefusedIfTheTaskIsNotRun) {
  waiting w;
  auto old = w.begin({{1, 2}}).value();
  ASSERT_EQ(drive(w.engine.stop()).message, "");
  ASSERT_EQ(drive(w.engine.start()).message, "");
  ASSERT_EQ(spawn(std::move(old), w.q.table(), w.f.table(), w.handle), WASM_STATUS_OK);
  wasm_status status = WASM_STATUS_OK;
  w.within = [&] { status = abort(w.handle); };
  auto current = w.begin({{1, 2}}).value();
  EXPECT_EQ(step(current).value(), WASM_POLL_PENDING);
  EXPECT_EQ(status, WASM_STATUS_BUSY);
  EXPECT_EQ(w.q.run(), 1);
  EXPECT_THAT(w.f.statuses, ElementsAre(WASM_STATUS_CANCELLED)) << "the task went on";
}

TEST(Abort, RacesWithAPromiseThatAnotherThreadSettles) {
  waiting w;
  for (int i = 0; i < 200; ++i) {
    if (w.engine.state().value() == WASM_ENGINE_STATE_STOPPED) {
      ASSERT_EQ(drive(w.engine.start()).message, "");
    }
    auto q = std::make_unique<queue>();
    finish f;
    ASSERT_EQ(spawn(w.begin({{1, 2}}).value(), q->table(), f.table(), w.handle), WASM_STATUS_OK);
    q->run();
    std::thread settling([promise = std::move(w.promises.back())]() mutable { (void)resolve(promise, 6); });
    for (int n = 0; n < i; ++n) {
      std::this_thread::yield();
    }
    ASSERT_EQ(abort(w.handle), WASM_STATUS_OK);
    if (auto* task = q->take()) {
      ASSERT_EQ(wasm_task_run(task, nullptr), WASM_STATUS_OK);
    }
    ASSERT_EQ(q->drops, 1);
    q.reset();  // The loop goes although the other thread may still be settling.
    settling.join();
    ASSERT_EQ(f.drops, 1);
    ASSERT_THAT(f.statuses, IsEmpty());
    w.promises.clear();
  }
}

// ---- What is called meanwhile ----

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

TEST(Abort, MayHaveItsHandleReleasedByTheCompletionsDrop) {
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

TEST(Abort, MayHaveItsHandleReleasedByTheOperation) {
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

TEST(Abort, MayHaveTheQueuedTaskLetGoByTheCompletionsDrop) {
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

TEST(Abort, KeepsAThreadThatLetsTheTaskGoUntilTheCompletionIsDropped) {
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

TEST(Abort, LeavesTheCompletionToTheThreadThatAborts) {
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

TEST(Abort, RacesWithAThreadThatReleasesTheTask) {
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

TEST(Abort, ATaskMayBeReleasedWithinItsOwnSchedule) {
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

TEST(Abort, MeetsATaskThatIsReleasedWithinItsOwnSchedule) {
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

TEST(Abort, APromiseMayBeSettledForATaskWhoseLoopIsClosed) {
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
  ASSERT_EQ(wasm_task_run(o.task, nullptr), WASM_STATUS_OK);
  o.is_closed = true;
  EXPECT_EQ(resolve(w.promises.at(0), 1), WASM_STATUS_OK);
  o.expect_dropped();
  EXPECT_EQ(w.engine.state().value(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_EQ(abort(o.handle), WASM_STATUS_INVALID_STATE);
}

TEST(Abort, BadArgumentsAreRefused) {
  compiling c;
  EXPECT_EQ(wasm_task_handle_abort(nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  wasm_task_handle_release(nullptr);
  auto operation = c.begin(0);
  const auto executor = c.q.table();
  const auto completion = c.f.table();
  EXPECT_EQ(wasm_future_spawn_abortable(operation.get(), &executor, &completion, nullptr, nullptr),
            WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_future_spawn_abortable(nullptr, &executor, &completion, c.handle.out(), nullptr),
            WASM_STATUS_NULL_ARGUMENT);
  EXPECT_FALSE(c.handle);
  EXPECT_EQ(c.q.drops, 2);
  EXPECT_EQ(c.f.drops, 2);
  EXPECT_EQ(end_of(we::drive(operation)).message, "") << "the future stays the caller's";
}

// ---- The C++ layer ----

TEST(AbortSpawned, DropsTheLambdaAndLeavesTheLoopAlone) {
  compiling c;
  auto l = std::make_unique<loop>();
  auto counted = std::make_shared<int>(0);
  auto task = we::spawn(*l, c.begin(600), [counted](we::result<void>) { FAIL() << "not called"; }).value();
  l->run_ready();
  EXPECT_TRUE(task.abort());
  EXPECT_EQ(counted.use_count(), 1);
  EXPECT_EQ(task.abort().err().status(), WASM_STATUS_INVALID_STATE);
  l.reset();
  c.let_compile();
}

TEST(AbortAwaited, ACoroutineMayBeDestroyedWhileItWaits) {
  compiling c;
  for (const bool is_done : {false, true}) {
    auto l = std::make_unique<loop>();
    auto counted = std::make_shared<int>(0);
    std::optional<we::task<>> waiting([](loop& on, we::compilation made, std::shared_ptr<int>) -> we::task<> {
      (void)co_await we::on(on, std::move(made));
      ADD_FAILURE() << "not resumed";
    }(*l, c.begin(is_done ? 1 : 600), counted));
    waiting->run([](void*) noexcept {}, nullptr);
    if (is_done) {
      c.let_compile();
      EXPECT_EQ(l->posts, 1) << "the compile thread has woken the loop";
    }
    EXPECT_EQ(counted.use_count(), 2);
    waiting.reset();
    EXPECT_EQ(counted.use_count(), 1);
    l->run_ready();
    l.reset();
  }
  c.let_compile();
}

}  // namespace
