// SPDX-License-Identifier: Apache-2.0
//
// Engines on a libuv loop.
#include "adapters/loop_suite.hh"

#include <wasm_engine/libuv.hh>

using namespace testing_support;
using namespace std::chrono_literals;
using testing::ElementsAre;
using wasmengine::result;

namespace {

static_assert(wasmengine::event_loop<wasmengine::libuv_loop>);

/// A loop of libuv's that must be left empty, and counts its turns.
class uv {
 public:
  uv() {
    EXPECT_EQ(uv_loop_init(&loop), 0);
    uv_prepare_init(&loop, &_turn);
    _turn.data = this;
    uv_prepare_start(&_turn, [](uv_prepare_t* t) { ++static_cast<uv*>(t->data)->turns; });
    uv_unref(reinterpret_cast<uv_handle_t*>(&_turn));
  }
  ~uv() {
    uv_close(reinterpret_cast<uv_handle_t*>(&_turn), nullptr);
    EXPECT_EQ(uv_run(&loop, UV_RUN_DEFAULT), 0);
    EXPECT_EQ(uv_loop_close(&loop), 0) << "handles are left";
  }
  uv(const uv&) = delete;
  uv& operator=(const uv&) = delete;

  void run() { EXPECT_EQ(uv_run(&loop, UV_RUN_DEFAULT), 0); }

  uv_loop_t loop{};
  int turns = 0;

 private:
  uv_prepare_t _turn{};
};

/// Calls a function after a while, or again and again.
class timer {
 public:
  timer(uv& on, std::chrono::milliseconds after, std::chrono::milliseconds repeat, std::function<void()> what)
      : _state(new state{{}, std::move(what)}) {
    uv_update_time(&on.loop);
    uv_timer_init(&on.loop, &_state->handle);
    _state->handle.data = _state;
    uv_timer_start(
        &_state->handle, [](uv_timer_t* t) { static_cast<state*>(t->data)->what(); },
        // A loop's time is cut to whole milliseconds: without one more, a timer is up to one too early.
        static_cast<std::uint64_t>(after.count() + 1), static_cast<std::uint64_t>(repeat.count()));
  }
  ~timer() {
    uv_close(reinterpret_cast<uv_handle_t*>(&_state->handle), [](uv_handle_t* h) { delete static_cast<state*>(h->data); });
  }
  timer(const timer&) = delete;
  timer& operator=(const timer&) = delete;

 private:
  struct state {
    uv_timer_t handle;
    std::function<void()> what;
  };
  state* _state;
};

// ---- What holds on every loop ----

struct libuv_test_loop {
  static constexpr bool spawns_later = true;
  static constexpr bool sleeps = true;
  static constexpr bool counts_turns = true;
  static constexpr bool goes = true;
  /// Many timers are due in one turn.
  static std::size_t turns_of_timers(std::size_t engines) { return engines + 50; }

  template <typename Future, typename F>
  void spawn(Future operation, F done) {
    _on.spawn(std::move(operation), std::move(done));
  }
  void after(std::chrono::milliseconds delay, std::function<void()> what) {
    _timers.push_back(std::make_unique<timer>(_loop, delay, 0ms, [this, what = std::move(what)] {
      what();
      // A timer that is due when `uv_run` begins is not all that a turn waits for: `run_until` may be over.
      uv_stop(&_loop.loop);
    }));
  }
  template <typename F>
  void run_until(F over) {
    while (!over()) {
      ASSERT_NE(uv_run(&_loop.loop, UV_RUN_ONCE), 0) << "the loop ran out of work";
    }
  }
  [[nodiscard]] std::size_t turns() const { return static_cast<std::size_t>(_loop.turns); }

  auto answering_after(std::chrono::milliseconds delay) {
    return [this, delay](std::int64_t n, answer a) {
      after(delay, [n, a = std::make_shared<answer>(std::move(a))] { EXPECT_TRUE(a->resolve(2 * n)); });
    };
  }
  auto failing_after(std::chrono::milliseconds delay, std::string why) {
    return [this, delay, why](std::int64_t, answer a) {
      after(delay, [why, a = std::make_shared<answer>(std::move(a))] { EXPECT_TRUE(a->reject(why)); });
    };
  }

 private:
  uv _loop;
  wasmengine::libuv_loop _on{&_loop.loop};
  std::vector<std::unique_ptr<timer>> _timers;
};

}  // namespace

namespace loop_suite {
INSTANTIATE_TYPED_TEST_SUITE_P(Libuv, EventLoop, libuv_test_loop);
}  // namespace loop_suite

namespace {

// ---- What only this one has ----

TEST(Libuv, CoroutinesAwaitOperations) {
  uv loop;
  wasmengine::libuv_loop on(&loop.loop);
  bench b("c_identity");
  recorder out;
  const auto batch = built({"a"});
  wasmengine::start(
      [](wasmengine::libuv_loop& l, wasmengine::engine& e, kafka::view input, recorder& sink) -> wasmengine::task<> {
        (co_await wasmengine::on(l, e.start().value())).value();
        (co_await wasmengine::on(l, e.transform(input, sink).value())).value();
        l.close();
      }(on, b.engine, batch, out));
  loop.run();
  EXPECT_THAT(out.values(), ElementsAre("a"));
}

TEST(Libuv, ClosingCancelsWhatIsQueued) {
  uv loop;
  bench b("c_identity");
  auto alive = std::make_shared<int>(0);
  wasmengine::libuv_loop on(&loop.loop);
  on.spawn(b.engine.start().value(), [alive](const result<void>&) { FAIL() << "not called"; });
  on.post([](void*) noexcept { FAIL() << "not called"; }, nullptr);
  on.close();
  on.close();
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_EQ(alive.use_count(), 1) << "the callback was destroyed";
  on.post([](void*) noexcept { FAIL() << "not called"; }, nullptr);
  on.spawn(b.engine.start().value(), [alive](const result<void>&) { FAIL() << "not called"; });
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_EQ(alive.use_count(), 1);
  loop.run();
}

TEST(Libuv, ClosingCancelsAGuestThatLoops) {
  uv loop;
  wasmengine::libuv_loop on(&loop.loop);
  const asking guest([](std::int64_t n) { return 2 * n; });
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"l"});
  on.spawn(engine.transform(batch, out).value(), [](const result<void>&) { FAIL() << "not called"; });
  const timer later(loop, 20ms, 0ms, [&] { on.close(); });
  loop.run();
  EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED);
}

TEST(Libuv, ClosingCancelsAGuestThatWaits) {
  uv loop;
  unanswered asked;
  const asking guest([&asked](std::int64_t, answer a) { asked.add(std::move(a)); });
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w"});
  {
    wasmengine::libuv_loop on(&loop.loop);
    on.spawn(engine.transform(batch, out).value(), [](const result<void>&) { FAIL() << "not called"; });
    std::unique_ptr<timer> later = std::make_unique<timer>(loop, 1ms, 1ms, [&] {
      if (!asked.all.empty()) {
        later.reset();
        on.close();
      }
    });
    loop.run();
  }
  EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED);
  ASSERT_EQ(asked.all.size(), 1U);
  EXPECT_TRUE(asked.all[0].resolve(std::int64_t{42}));
}

TEST(Libuv, ClosingFromACallbackOfAGuestCancelsItAfterwards) {
  uv loop;
  wasmengine::libuv_loop on(&loop.loop);
  auto alive = std::make_shared<int>(0);
  const asking guest([&](std::int64_t n) {
    on.close();
    EXPECT_EQ(alive.use_count(), 1) << "the callback was dropped";
    return 2 * n;
  });
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w", "l"});
  on.spawn(engine.transform(batch, out).value(), [alive](const result<void>&) { FAIL() << "not called"; });
  loop.run();
  EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED);
}

TEST(Libuv, ClosingFromACallbackCancelsWhatItsEngineHadBefore) {
  uv loop;
  wasmengine::libuv_loop on(&loop.loop);
  auto alive = std::make_shared<int>(0);
  const asking guest([&](std::int64_t n) {
    on.close();
    return 2 * n;
  });
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w", "l"});
  auto old = engine.transform(batch, out).value();
  ASSERT_TRUE(succeeded(testing_support::finish(engine.stop())));
  ASSERT_TRUE(succeeded(testing_support::finish(engine.start())));
  on.spawn(engine.transform(batch, out).value(), [alive](const result<void>&) { FAIL() << "not called"; });
  on.spawn(std::move(old), [alive](const result<void>&) { FAIL() << "not called"; });
  loop.run();
  EXPECT_EQ(alive.use_count(), 1);
  EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED);
}

TEST(Libuv, CancellingTellsTheCallback) {
  uv loop;
  wasmengine::libuv_loop on(&loop.loop);
  const auto runtime = wasmengine::runtime::create().value();
  unanswered asked;
  const asking guest([&asked](std::int64_t, answer a) { asked.add(std::move(a)); });
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w"});
  std::vector<wasm_status> ends;
  const auto note = [&](const auto& r) {
    ends.push_back(r ? WASM_STATUS_OK : r.err().status());
    if (ends.size() == 3) {
      on.close();
    }
  };
  const auto transforming = on.spawn(engine.transform(batch, out).value(), note);
  const auto waiting = on.spawn(loop_suite::compilation(runtime, 600), note);
  const auto queued = on.spawn(loop_suite::compilation(runtime, 1), note);
  queued.cancel();
  queued.cancel();
  EXPECT_TRUE(ends.empty()) << "told by the loop";
  const timer later(loop, 5ms, 0ms, [&] {
    EXPECT_EQ(ends.size(), 1U);
    EXPECT_EQ(asked.all.size(), 1U);
    waiting.cancel();
    transforming.cancel();
    EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED);
    EXPECT_EQ(ends.size(), 1U);
  });
  loop.run();
  EXPECT_THAT(ends, testing::Each(WASM_STATUS_CANCELLED));
  EXPECT_EQ(ends.size(), 3U);
  transforming.cancel();
  loop_suite::let_compile(runtime);
}

TEST(Libuv, ClosingDropsPostedTasksOfTheExecutorForm) {
  uv loop;
  wasmengine::libuv_loop on(&loop.loop);
  bench b("c_identity");
  auto alive = std::make_shared<int>(0);
  ASSERT_TRUE(wasmengine::spawn(on, b.engine.start().value(), [alive](const result<void>&) { FAIL(); }));
  on.close();
  EXPECT_EQ(alive.use_count(), 1);
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
  loop.run();
}

TEST(Libuv, ClosingWhileAModuleCompilesDropsTheTaskOfTheExecutorForm) {
  const auto runtime = wasmengine::runtime::create().value();
  for (const bool is_released : {false, true}) {
    uv loop;
    wasmengine::libuv_loop on(&loop.loop);
    auto alive = std::make_shared<int>(0);
    bool over = false;
    const auto task = wasmengine::spawn(on, loop_suite::compilation(runtime, 400),
                                        [alive](const result<void>&) { FAIL() << "not called"; });
    ASSERT_TRUE(task);
    on.post([](void* data) noexcept { *static_cast<bool*>(data) = true; }, &over);
    while (!over) {
      uv_run(&loop.loop, UV_RUN_ONCE);
    }
    EXPECT_EQ(alive.use_count(), 2) << "the module is compiled too soon";
    on.close();
    if (is_released) {
      loop.run();  // The compile thread finds no loop.
    }
    loop_suite::let_compile(runtime);
    loop.run();
    // The compile thread may have a few instructions left.
    while (alive.use_count() != 1) {
      std::this_thread::yield();
    }
  }
}

TEST(Libuv, APromiseMayBeSettledAfterClosing) {
  for (const bool is_released : {false, true}) {
    uv loop;
    unanswered asked;
    const asking guest([&asked](std::int64_t, answer a) { asked.add(std::move(a)); });
    auto engine = guest.started();
    recorder out;
    const auto batch = built({"w"});
    wasmengine::libuv_loop on(&loop.loop);
    auto alive = std::make_shared<int>(0);
    const auto task = wasmengine::spawn(on, engine.transform(batch, out).value(),
                                        [alive](const result<void>&) { FAIL() << "not called"; });
    ASSERT_TRUE(task);
    while (asked.all.empty()) {
      uv_run(&loop.loop, UV_RUN_ONCE);
    }
    on.close();
    if (is_released) {
      loop.run();
    }
    EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_TRANSFORMING);
    EXPECT_TRUE(asked.all.at(0).resolve(std::int64_t{42}));
    loop.run();
    EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED);
    EXPECT_EQ(alive.use_count(), 1);
  }
}

TEST(Libuv, ClosingFromACallbackOutsideOfTheLoopCancelsWhatItsEngineHadBefore) {
  for (const bool is_posted : {false, true}) {
    uv loop;
    wasmengine::libuv_loop on(&loop.loop);
    const asking guest([&](std::int64_t n) {
      on.close();
      return 2 * n;
    });
    auto engine = guest.started();
    recorder out;
    const auto batch = built({"w"});
    auto old = engine.transform(batch, out).value();
    ASSERT_TRUE(succeeded(testing_support::finish(engine.stop())));
    ASSERT_TRUE(succeeded(testing_support::finish(engine.start())));
    auto alive = std::make_shared<int>(0);
    const auto done = [alive](const result<void>&) { FAIL() << "not called"; };
    if (is_posted) {
      ASSERT_TRUE(wasmengine::spawn(on, std::move(old), done));
    } else {
      on.spawn(std::move(old), done);
    }
    // Not polled by the loop. So the loop has no part of it on the stack.
    ASSERT_TRUE(succeeded(testing_support::finish(engine.transform(batch, out))));
    EXPECT_EQ(alive.use_count(), 3) << "its engine was busy";
    loop.run();
    EXPECT_EQ(alive.use_count(), 2) << "the test's own and that of `done`";
  }
}

TEST(Libuv, PostsFromManyThreadsAllArrive) {
  uv loop;
  wasmengine::libuv_loop on(&loop.loop);
  static constexpr int posts = 4'000;
  struct counter {
    wasmengine::libuv_loop* on;
    int seen = 0;
  } count{&on};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < posts / 4; ++i) {
        on.post(
            [](void* data) noexcept {
              auto* c = static_cast<counter*>(data);
              if (++c->seen == posts) {
                c->on->close();
              }
            },
            &count);
      }
    });
  }
  loop.run();
  for (auto& t : threads) {
    t.join();
  }
  EXPECT_EQ(count.seen, posts);
}

}  // namespace
