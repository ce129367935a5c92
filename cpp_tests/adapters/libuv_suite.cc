// SPDX-License-Identifier: Apache-2.0
//
// Engines on a libuv loop.
#include "support/asking.hh"

#include <wasm_engine/libuv.hh>

#include <gmock/gmock.h>

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
        static_cast<std::uint64_t>(after.count()), static_cast<std::uint64_t>(repeat.count()));
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

TEST(Libuv, OperationsTellTheirEnd) {
  uv loop;
  wasmengine::libuv_loop on(&loop.loop);
  bench b("c_identity");
  recorder out;
  const auto batch = built({"a", "b"});
  int calls = 0;
  on.spawn(b.engine.start().value(), [&](const result<void>& started) {
    ++calls;
    ASSERT_TRUE(started);
    on.spawn(b.engine.transform(batch, out).value(), [&](const result<void>& done) {
      ++calls;
      EXPECT_TRUE(done);
      on.close();
    });
  });
  EXPECT_EQ(calls, 0) << "not called by the function that begins";
  loop.run();
  EXPECT_EQ(calls, 2);
  EXPECT_THAT(out.values(), ElementsAre("a", "b"));
}

TEST(Libuv, CompilationsGiveFactories) {
  uv loop;
  wasmengine::libuv_loop on(&loop.loop);
  const auto runtime = wasmengine::runtime::create().value();
  wasmengine::factory factory;
  on.spawn(runtime.compile(module("c_identity"), with_topics({"out"})).value(),
           [&](result<wasmengine::factory> compiled) {
             ASSERT_TRUE(compiled);
             factory = std::move(compiled).value();
             on.close();
           });
  loop.run();
  EXPECT_TRUE(wasmengine::engine::create(factory));
}

TEST(Libuv, FailuresHaveTheirStory) {
  uv loop;
  wasmengine::libuv_loop on(&loop.loop);
  bench b("wat_traps");
  recorder out;
  const auto batch = built({"a", "u"});
  ASSERT_TRUE(succeeded(b.start()));
  std::optional<wasmengine::error> why;
  on.spawn(b.engine.transform(batch, out).value(), [&](const result<void>& r) {
    why = r.err();
    on.close();
  });
  loop.run();
  ASSERT_TRUE(why);
  EXPECT_EQ(why->trap(), WASM_TRAP_UNREACHABLE);
}

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

TEST(Libuv, TwoHundredEnginesWaitForTimersTogether) {
  constexpr std::size_t engines = 200;
  uv loop;
  wasmengine::libuv_loop on(&loop.loop);
  std::vector<std::unique_ptr<timer>> timers;
  const asking guest([&](std::int64_t n, answer a) {
    timers.push_back(std::make_unique<timer>(
        loop, 100ms, 0ms, [n, a = std::make_shared<answer>(std::move(a))] { EXPECT_TRUE(a->resolve(2 * n)); }));
  });
  const auto batch = built({"w"});
  std::vector<wasmengine::engine> all;
  std::vector<recorder> out(engines);
  std::size_t over = 0;
  for (std::size_t i = 0; i < engines; ++i) {
    all.push_back(guest.started());
    on.spawn(all[i].transform(batch, out[i]).value(), [&](const result<void>& r) {
      EXPECT_TRUE(r);
      if (++over == engines) {
        on.close();
        timers.clear();
      }
    });
  }
  const auto begun = std::chrono::steady_clock::now();
  loop.run();
  EXPECT_EQ(over, engines);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, engines * 100ms / 4) << "they wait side by side";
  EXPECT_LE(loop.turns, 250);
  for (const auto& o : out) {
    EXPECT_EQ(o.records.size(), 1U);
  }
}

TEST(Libuv, PromisesSettledOnAnotherThreadWakeTheLoop) {
  constexpr std::size_t engines = 200;
  uv loop;
  wasmengine::libuv_loop on(&loop.loop);
  answering_thread thread;
  const asking guest([&thread](std::int64_t, answer a) { thread.add(std::move(a)); });
  const auto batch = built({"w", "w", "w"});
  std::vector<wasmengine::engine> all;
  recorder out;
  std::size_t over = 0;
  for (std::size_t i = 0; i < engines; ++i) {
    all.push_back(guest.started());
    on.spawn(all[i].transform(batch, out).value(), [&](const result<void>& r) {
      EXPECT_TRUE(r);
      if (++over == engines) {
        on.close();
      }
    });
  }
  loop.run();
  EXPECT_EQ(over, engines);
  EXPECT_EQ(out.records.size(), 3 * engines);
}

TEST(Libuv, TheLoopSleepsWhilePending) {
  uv loop;
  wasmengine::libuv_loop on(&loop.loop);
  unanswered asked;
  const asking guest([&asked](std::int64_t, answer a) { asked.add(std::move(a)); });
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w"});
  bool over = false;
  on.spawn(engine.transform(batch, out).value(), [&](const result<void>& r) {
    over = r.has_value();
    on.close();
  });
  const auto before = thread_time();
  const timer later(loop, 100ms, 0ms, [&] {
    EXPECT_LE(loop.turns, 4);
    EXPECT_LT(thread_time() - before, 20ms);
    ASSERT_EQ(asked.all.size(), 1U);
    EXPECT_TRUE(asked.all[0].resolve(std::int64_t{42}));
    EXPECT_FALSE(over) << "not from within the promise";
  });
  loop.run();
  EXPECT_TRUE(over);
  EXPECT_LE(loop.turns, 7);
}

TEST(Libuv, AGuestThatLoopsDoesNotStarveATimer) {
  uv loop;
  wasmengine::libuv_loop on(&loop.loop);
  auto config = unhurried;
  config.time_slice_ns = 200'000;
  const asking guest([](std::int64_t n) { return 2 * n; }, config);
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"l"});
  std::optional<wasmengine::error> why;
  int ticks = 0;
  auto ticking = std::make_unique<timer>(loop, 2ms, 2ms, [&] {
    if (++ticks == 20) {
      (void)engine.stop().value();
    }
  });
  on.spawn(engine.transform(batch, out).value(), [&](const result<void>& r) {
    why = r.err();
    ticking.reset();
    on.close();
  });
  loop.run();
  ASSERT_TRUE(why);
  EXPECT_EQ(why->status(), WASM_STATUS_CANCELLED);
  EXPECT_GE(ticks, 20);
  EXPECT_GE(loop.turns, 20) << "between two ticks the guest had its turn";
}

TEST(Libuv, StoppingAnEngineCancelsWhatWaits) {
  uv loop;
  wasmengine::libuv_loop on(&loop.loop);
  unanswered asked;
  const asking guest([&asked](std::int64_t, answer a) { asked.add(std::move(a)); });
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w"});
  std::optional<wasmengine::error> why;
  on.spawn(engine.transform(batch, out).value(), [&](const result<void>& r) {
    why = r.err();
    on.close();
  });
  std::unique_ptr<timer> later = std::make_unique<timer>(loop, 1ms, 1ms, [&] {
    if (!asked.all.empty()) {
      later.reset();
      auto stopped = engine.stop().value();
    }
  });
  loop.run();
  ASSERT_TRUE(why);
  EXPECT_EQ(why->status(), WASM_STATUS_CANCELLED);
  EXPECT_TRUE(asked.all[0].resolve(std::int64_t{42})) << "harmless";
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

TEST(Libuv, APromiseSettledAfterTheLoopWasClosedCancels) {
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
  EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_TRANSFORMING);
  ASSERT_EQ(asked.all.size(), 1U);
  EXPECT_TRUE(asked.all[0].resolve(std::int64_t{42}));
  EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED);
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
