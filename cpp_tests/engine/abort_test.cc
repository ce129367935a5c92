// SPDX-License-Identifier: Apache-2.0
//
// Tasks that are aborted, at every moment and with a loop that goes.
#include "support/aborting.hh"

#include <gmock/gmock.h>

using namespace host_guest;
using testing::ElementsAre;
using testing::IsEmpty;

namespace {

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
