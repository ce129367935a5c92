// SPDX-License-Identifier: Apache-2.0
//
// The executor form: the library polls on the host's loop.
#include "support/executor.hh"
#include "support/host_guest.hh"

#include <gmock/gmock.h>

using namespace host_guest;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

wasm_status spawn(we::future& operation, queue& q, finish& f) {
  const auto executor = q.table();
  const auto completion = f.table();
  const auto status = wasm_future_spawn(operation.get(), &executor, &completion, nullptr);
  if (status == WASM_STATUS_OK) {
    (void)operation.release();
  }
  return status;
}

/// A world with a guest whose t.f waits for `promises`.
struct spawned : world {
  spawned() {
    add([this](wasm_call* call, const wasm_value*, wasm_value*) {
      promises.push_back(take_promise(call));
      return WASM_CALLBACK_RESULT_PENDING;
    }, true);
    start();
  }
  wasm_status go() {
    auto operation = begin({{1, 2}}).value();
    return spawn(operation, q, f);
  }
  std::vector<owned_promise> promises;
  queue q;
  finish f;
};

TEST(Task, CompletesAndDropsOnce) {
  world w;
  w.add([](auto...) { return WASM_CALLBACK_RESULT_DONE; }, true);
  w.start();
  queue q;
  finish f;
  auto operation = w.begin({{1, 2}, {3, 4}}).value();
  ASSERT_EQ(spawn(operation, q, f), WASM_STATUS_OK);
  EXPECT_EQ(q.schedules, 1);
  EXPECT_TRUE(w.reported.empty()) << "nothing runs before the task does";
  while (q.run() != 0) {
  }
  EXPECT_THAT(f.statuses, ElementsAre(WASM_STATUS_OK));
  EXPECT_EQ(f.drops, 1);
  EXPECT_EQ(q.drops, 1);
  EXPECT_FALSE(f.dropped_before_complete);
  EXPECT_EQ(w.reported.size(), 2U);
}

TEST(Task, IsNotScheduledWhilePending) {
  spawned w;
  ASSERT_EQ(w.go(), WASM_STATUS_OK);
  w.q.run();
  const int before = w.q.schedules;
  ASSERT_EQ(w.promises.size(), 1U);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(w.q.schedules, before);
  std::thread([&] { EXPECT_EQ(resolve(w.promises[0], 6), WASM_STATUS_OK); }).join();
  EXPECT_EQ(w.q.schedules, before + 1);
  EXPECT_TRUE(w.f.statuses.empty());
  w.q.run();
  EXPECT_THAT(w.f.statuses, ElementsAre(WASM_STATUS_OK));
  EXPECT_THAT(w.reported, ElementsAre(6));
  EXPECT_EQ(w.f.drops, 1);
  EXPECT_EQ(w.q.drops, 1);
}

TEST(Task, ThatYieldsIsScheduledAgain) {
  world w;
  w.factory = w.compile("h_spin").value();
  w.engine = we::engine::create(w.factory).value();
  queue q;
  finish f;
  auto operation = w.engine.start().value();
  ASSERT_EQ(spawn(operation, q, f), WASM_STATUS_OK);
  int runs = 0;
  while (auto* task = q.take()) {
    ASSERT_EQ(wasm_task_run(task, nullptr), WASM_STATUS_OK);
    ++runs;
    ASSERT_LE(q.tasks.size(), 1U);
  }
  EXPECT_GT(runs, 1);
  EXPECT_EQ(q.schedules, runs);
  EXPECT_THAT(f.statuses, ElementsAre(WASM_STATUS_OK));
  EXPECT_EQ(f.drops, 1);
}

TEST(Task, FailsWithTheOperationsError) {
  spawned w;
  ASSERT_EQ(w.go(), WASM_STATUS_OK);
  w.q.run();
  w.promises.clear();
  w.q.run();
  EXPECT_THAT(w.f.statuses, ElementsAre(WASM_STATUS_HOST_FUNCTION_FAILED));
  EXPECT_THAT(w.f.messages.at(0), HasSubstr("t.f"));
}

TEST(Task, IsCancelledByStoppingTheEngine) {
  for (int how = 0; how < 4; ++how) {
    spawned w;
    ASSERT_EQ(w.go(), WASM_STATUS_OK);
    if (how >= 2) {
      w.q.run();
      ASSERT_EQ(w.promises.size(), 1U);
    }
    if (how % 2 == 0) {
      EXPECT_EQ(drive(w.engine.stop()).message, "");
    } else {
      w.engine = {};
    }
    EXPECT_TRUE(w.f.statuses.empty());
    EXPECT_GE(w.q.run(), 1) << how;
    EXPECT_THAT(w.f.statuses, ElementsAre(WASM_STATUS_CANCELLED)) << how;
    EXPECT_EQ(w.f.drops, 1);
    EXPECT_EQ(w.q.drops, 1);
    for (auto& p : w.promises) {
      EXPECT_EQ(resolve(p, 1), WASM_STATUS_OK);
    }
    EXPECT_EQ(w.q.run(), 0);
  }
}

TEST(Task, ReleasedWhenScheduledCancels) {
  spawned w;
  ASSERT_EQ(w.go(), WASM_STATUS_OK);
  auto* task = w.q.take();
  std::thread([&] { EXPECT_EQ(wasm_task_release(task, nullptr), WASM_STATUS_WRONG_THREAD); }).join();
  EXPECT_EQ(w.f.drops, 0);
  EXPECT_EQ(wasm_task_release(task, nullptr), WASM_STATUS_OK);
  EXPECT_TRUE(w.f.statuses.empty());
  EXPECT_EQ(w.f.drops, 1);
  EXPECT_EQ(w.q.drops, 1);
  EXPECT_EQ(w.engine.state().value(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_EQ(drive(w.engine.start()).message, "");
}

TEST(Task, ReleasedAfterAWakeUpCancels) {
  spawned w;
  ASSERT_EQ(w.go(), WASM_STATUS_OK);
  w.q.run();
  EXPECT_EQ(resolve(w.promises.at(0), 1), WASM_STATUS_OK);
  EXPECT_EQ(wasm_task_release(w.q.take(), nullptr), WASM_STATUS_OK);
  EXPECT_EQ(w.f.drops, 1);
  EXPECT_EQ(w.q.drops, 1);
  EXPECT_EQ(wasm_task_release(nullptr, nullptr), WASM_STATUS_OK);
}

TEST(Task, RunsOnItsThreadOnly) {
  spawned w;
  ASSERT_EQ(w.go(), WASM_STATUS_OK);
  auto* task = w.q.take();
  std::thread([&] { EXPECT_EQ(wasm_task_run(task, nullptr), WASM_STATUS_WRONG_THREAD); }).join();
  EXPECT_EQ(wasm_task_run(task, nullptr), WASM_STATUS_OK) << "the wrong thread did not use it up";
  w.q.run();
  EXPECT_EQ(resolve(w.promises.at(0), 1), WASM_STATUS_OK);
  w.q.run();
  EXPECT_THAT(w.f.statuses, ElementsAre(WASM_STATUS_OK));
}

TEST(Task, CannotBeSpawnedOnAnotherThread) {
  spawned w;
  auto operation = w.begin({{1, 2}}).value();
  std::thread([&] { EXPECT_EQ(spawn(operation, w.q, w.f), WASM_STATUS_WRONG_THREAD); }).join();
  EXPECT_EQ(w.f.drops, 1);
  EXPECT_EQ(w.q.drops, 1);
  EXPECT_EQ(step(operation).value(), WASM_POLL_PENDING) << "the future stays the caller's";
}

TEST(Task, BadArgumentsAreRefusedAndDropped) {
  spawned w;
  auto operation = w.begin({{1, 2}}).value();
  auto executor = w.q.table();
  auto completion = w.f.table();
  EXPECT_EQ(wasm_future_spawn(nullptr, &executor, &completion, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_future_spawn(operation.get(), nullptr, &completion, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_future_spawn(operation.get(), &executor, nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(w.q.drops, 2);
  EXPECT_EQ(w.f.drops, 2);
  executor.schedule = nullptr;
  EXPECT_EQ(wasm_future_spawn(operation.get(), &executor, &completion, nullptr), WASM_STATUS_NULL_ARGUMENT);
  executor = w.q.table();
  completion.size = 8;
  EXPECT_EQ(wasm_future_spawn(operation.get(), &executor, &completion, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  EXPECT_EQ(w.q.drops, 4);
  EXPECT_EQ(w.f.drops, 3);
  EXPECT_EQ(wasm_task_run(nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
}

TEST(Task, RunWhileItsEngineIsBusyIsNotLost) {
  // A host function runs its loop nested, and comes across the task of an operation that the same engine had before.
  world w;
  queue q;
  finish f;
  wasm_status nested = WASM_STATUS_OK;
  w.add([&](wasm_call*, const wasm_value*, wasm_value*) {
    auto* task = q.take();
    nested = wasm_task_run(task, nullptr);
    EXPECT_TRUE(f.statuses.empty()) << "busy means that the operation is not over";
    if (nested != WASM_STATUS_OK) {
      const std::lock_guard lock(q.mutex);
      q.tasks.push_back(task);
    }
    return WASM_CALLBACK_RESULT_DONE;
  }, false);
  w.start();
  auto old = w.begin({{1, 2}}).value();
  ASSERT_EQ(drive(w.engine.stop()).message, "");
  ASSERT_EQ(drive(w.engine.start()).message, "");
  ASSERT_EQ(spawn(old, q, f), WASM_STATUS_OK);
  EXPECT_EQ(w.call(1, 2).message, "");
  EXPECT_EQ(nested, WASM_STATUS_BUSY);
  EXPECT_EQ(q.run(), 1);
  EXPECT_THAT(f.statuses, ElementsAre(WASM_STATUS_CANCELLED));
  EXPECT_EQ(f.drops, 1);
  EXPECT_EQ(q.drops, 1);
}

TEST(Task, MixedWithPolling) {
  spawned w;
  auto other = we::engine::create(w.factory).value();
  ASSERT_EQ(drive(other.start()).message, "");
  const auto batch = pairs({{3, 4}});
  auto polled = other.transform(batch, w.sink).value();
  EXPECT_EQ(step(polled).value(), WASM_POLL_PENDING);
  ASSERT_EQ(w.go(), WASM_STATUS_OK);
  w.q.run();
  ASSERT_EQ(w.promises.size(), 2U);
  EXPECT_EQ(resolve(w.promises[1], 11), WASM_STATUS_OK);
  EXPECT_EQ(resolve(w.promises[0], 10), WASM_STATUS_OK);
  EXPECT_EQ(step(polled).value(), WASM_POLL_READY);
  w.q.run();
  EXPECT_THAT(w.reported, ElementsAre(10, 11));
  EXPECT_THAT(w.f.statuses, ElementsAre(WASM_STATUS_OK));
}

TEST(Task, CompilesWithAnExecutor) {
  world w;
  w.add([](auto...) { return WASM_CALLBACK_RESULT_DONE; }, false);
  loop l;
  bool over = false;
  auto compilation = w.runtime.compile(module("h_call"), {"t", "in", {"out"}, {}}).value();
  const bool spawned = static_cast<bool>(
      we::spawn(l, std::move(compilation), [&](we::result<void> outcome, we::compilation made) {
        EXPECT_TRUE(outcome);
        w.factory = made.take().value();
        over = true;
      }));
  EXPECT_TRUE(spawned);
  EXPECT_TRUE(l.run_until([&] { return over; }));
  w.engine = we::engine::create(w.factory).value();
  EXPECT_EQ(drive(w.engine.start()).message, "");
}

TEST(Spawn, CallsALambdaWhenDone) {
  spawned w;
  loop l;
  std::vector<std::string> log;
  auto operation = w.begin({{1, 2}}).value();
  auto counted = std::make_shared<int>(0);
  ASSERT_TRUE(we::spawn(l, std::move(operation), [&log, counted](we::result<void> r) {
    log.emplace_back(r ? "ok" : r.err().what());
  }));
  l.run_ready();
  const int posts = l.posts;
  EXPECT_TRUE(log.empty());
  std::thread([&] { EXPECT_EQ(resolve(w.promises.at(0), 1), WASM_STATUS_OK); }).join();
  EXPECT_EQ(l.posts, posts + 1);
  l.run_ready();
  EXPECT_THAT(log, ElementsAre("ok"));
  EXPECT_EQ(counted.use_count(), 1);
}

/// An engine whose host function runs `within`, and an operation that it had before.
struct nesting : world {
  nesting() {
    add([this](wasm_call*, const wasm_value*, wasm_value*) {
      within();
      return WASM_CALLBACK_RESULT_DONE;
    }, false);
    start();
    old = begin({{1, 2}}).value();
    EXPECT_EQ(drive(engine.stop()).message, "");
    EXPECT_EQ(drive(engine.start()).message, "");
  }

  std::function<void()> within;
  we::future old;
};

TEST(Spawn, WhatALoopRunsWhileItsEngineIsBusyIsRunAgain) {
  nesting n;
  loop l;
  std::vector<wasm_status> ends;
  ASSERT_TRUE(we::spawn(l, std::move(n.old), [&](we::result<void> r) { ends.push_back(r.err().status()); }));
  n.within = [&] {
    l.run_one();
    EXPECT_THAT(ends, IsEmpty());
  };
  EXPECT_EQ(n.call(1, 2).message, "");
  l.run_ready();
  EXPECT_THAT(ends, ElementsAre(WASM_STATUS_CANCELLED));
}

TEST(Spawn, ACoroutineIsNotResumedWhileItsEngineIsBusy) {
  nesting n;
  loop l;
  std::vector<wasm_status> ends;
  n.within = [&] {
    we::start([](loop& on, we::future operation, std::vector<wasm_status>& to) -> we::task<> {
      const auto r = co_await we::on(on, std::move(operation));
      to.push_back(r.err().status());
    }(l, std::move(n.old), ends));
    if (!l.is_empty()) {
      l.run_one();
    }
    EXPECT_THAT(ends, IsEmpty());
  };
  EXPECT_EQ(n.call(1, 2).message, "");
  l.run_ready();
  EXPECT_THAT(ends, ElementsAre(WASM_STATUS_CANCELLED));
}

TEST(Spawn, AnOperationOfAnotherThreadIsRefused) {
  spawned w;
  loop l;
  auto counted = std::make_shared<int>(0);
  auto operation = w.begin({{1, 2}}).value();
  auto* raw = operation.get();
  std::thread([&] {
    // The wrapper cannot release it there either, so it is given back first.
    const auto refused = we::spawn(l, we::future(), [counted](we::result<void>) {});
    EXPECT_FALSE(refused);
  }).join();
  EXPECT_EQ(counted.use_count(), 1);
  EXPECT_EQ(operation.get(), raw);
}

}  // namespace
