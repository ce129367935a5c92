// SPDX-License-Identifier: Apache-2.0
//
// Engines on a Boost.Asio io_context.
#include "adapters/loop_suite.hh"

#include <wasm_engine/asio.hh>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#ifdef WASM_ENGINE_ASIO_HAS_CANCELLATION
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#endif

using namespace testing_support;
using namespace std::chrono_literals;
using boost::asio::awaitable;
using boost::asio::use_awaitable;
using testing::ElementsAre;
using wasmengine::async_wait;
using wasmengine::result;

namespace {

using executor = boost::asio::io_context::executor_type;

awaitable<std::int64_t> answer_after(std::chrono::milliseconds delay, std::int64_t value) {
  boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor, delay);
  co_await timer.async_wait(use_awaitable);
  co_return value;
}

awaitable<std::int64_t> failure_after(std::chrono::milliseconds delay, std::string why) {
  co_await answer_after(delay, 0);
  throw std::runtime_error(why);
}

// ---- What holds on every loop ----

struct asio_loop {
  static constexpr bool spawns_later = true;
  static constexpr bool sleeps = true;
  static constexpr bool counts_turns = true;
  static constexpr bool goes = true;
  /// Per engine two polls, and what a coroutine with a timer takes: its start, the timer, its end.
  static std::size_t turns_of_timers(std::size_t engines) { return 8 * engines; }

  template <typename Future, typename F>
  void spawn(Future operation, F done) {
    async_wait(std::move(operation), io.get_executor(), std::move(done));
  }
  void after(std::chrono::milliseconds delay, std::function<void()> what) {
    auto timer = std::make_shared<boost::asio::steady_timer>(io, delay);
    timer->async_wait([this, timer, what = std::move(what)](const boost::system::error_code& e) {
      if (!e) {
        ++_timers;
        what();
      }
    });
  }
  template <typename F>
  void run_until(F over) {
    io.restart();
    while (!over()) {
      ASSERT_EQ(io.run_one(), 1U) << "the loop ran out of work";
      ++_handlers;
    }
  }
  /// Handlers but for those of `after`.
  [[nodiscard]] std::size_t turns() const { return _handlers - std::min(_handlers, _timers); }

  auto answering_after(std::chrono::milliseconds delay) {
    return [this, delay](std::int64_t n) { return wasmengine::run_on(io.get_executor(), answer_after(delay, 2 * n)); };
  }
  auto failing_after(std::chrono::milliseconds delay, std::string why) {
    return [this, delay, why](std::int64_t) {
      return wasmengine::run_on(io.get_executor(), failure_after(delay, why));
    };
  }

  boost::asio::io_context io;

 private:
  std::size_t _handlers = 0;
  std::size_t _timers = 0;
};

}  // namespace

namespace loop_suite {
INSTANTIATE_TYPED_TEST_SUITE_P(Asio, EventLoop, asio_loop);
}  // namespace loop_suite

namespace {

// ---- What only this one has ----

TEST(Asio, AnOperationThatIsOverAtOnceIsOneHandler) {
  boost::asio::io_context io;
  bench b("c_identity", unhurried);
  recorder out;
  const auto batch = built({"a"});
  int calls = 0;
  async_wait(b.engine.start().value(), io.get_executor(), [&](const result<void>&) {
    ++calls;
    async_wait(b.engine.transform(batch, out).value(), io.get_executor(), [&](const result<void>&) { ++calls; });
  });
  EXPECT_EQ(io.run(), 2U);
  EXPECT_EQ(calls, 2);
}

TEST(Asio, CoroutinesCompileStartTransformAndStop) {
  boost::asio::io_context io;
  const auto runtime = wasmengine::runtime::create().value();
  recorder out;
  const auto batch = built({"x"});
  std::exception_ptr thrown;
  boost::asio::co_spawn(
      io,
      [&]() -> awaitable<void> {
        const auto ex = io.get_executor();
        auto compilation = runtime.compile(module("c_identity"), with_topics({"out"})).value();
        const auto factory = (co_await async_wait(std::move(compilation), ex, use_awaitable)).value();
        auto engine = wasmengine::engine::create(factory).value();
        (co_await async_wait(engine.start().value(), ex, use_awaitable)).value();
        (co_await async_wait(engine.transform(batch, out).value(), ex, use_awaitable)).value();
        (co_await async_wait(engine.stop().value(), ex, use_awaitable)).value();
      },
      [&](std::exception_ptr e) { thrown = std::move(e); });
  io.run();
  EXPECT_FALSE(thrown);
  EXPECT_THAT(out.values(), ElementsAre("x"));
}

TEST(Asio, StandardFuturesAndAnyExecutorWork) {
  boost::asio::io_context io;
  bench b("c_identity");
  const boost::asio::any_io_executor any = io.get_executor();
  auto started = async_wait(b.engine.start().value(), any, boost::asio::use_future);
  io.run();
  ASSERT_TRUE(started.get());
}

TEST(Asio, WhatIsPendingIsOutstandingWork) {
  boost::asio::io_context io;
  unanswered asked;
  const asking guest([&asked](std::int64_t, answer a) { asked.add(std::move(a)); });
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w"});
  bool over = false;
  async_wait(engine.transform(batch, out).value(), io.get_executor(), [&](const result<void>& r) { over = r.has_value(); });
  EXPECT_EQ(io.poll(), 1U);
  EXPECT_EQ(io.run_for(20ms), 0U) << "nothing is polled";
  EXPECT_FALSE(io.stopped());
  ASSERT_TRUE(asked.all.at(0).resolve(std::int64_t{42}));
  EXPECT_EQ(io.poll(), 1U);
  EXPECT_TRUE(over);
  EXPECT_TRUE(io.stopped());
}

TEST(Asio, WhatHandlersThrowComesOutOfTheLoop) {
  boost::asio::io_context io;
  bench b("c_identity");
  async_wait(b.engine.start().value(), io.get_executor(),
             [](const result<void>&) { throw std::runtime_error("from a handler"); });
  EXPECT_THROW(io.run(), std::runtime_error);
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_IDLE);
}

TEST(Asio, HandlersRunOnTheirAssociatedExecutor) {
  boost::asio::io_context io;
  boost::asio::io_context other;
  bench b("c_identity");
  bool called = false;
  async_wait(b.engine.start().value(), io.get_executor(),
             boost::asio::bind_executor(other.get_executor(), [&](const result<void>&) { called = true; }));
  io.run();
  EXPECT_FALSE(called);
  other.run();
  EXPECT_TRUE(called);
}

TEST(Asio, ALoopMayGoAsSoonAsItIsToldOfTheEnd) {
  // The compiler's thread wakes the loop, and has a few instructions left to go when the loop hears of the end.
  const auto runtime = wasmengine::runtime::create().value();
  const auto bytes = module("c_identity");
  for (int i = 0; i < 50; ++i) {
    boost::asio::io_context io;
    bool over = false;
    async_wait(runtime.compile(bytes, with_topics({"out"})).value(), io.get_executor(),
               [&](const result<wasmengine::factory>&) { over = true; });
    while (!over) {
      ASSERT_EQ(io.run_one(), 1U);
    }
  }
}

TEST(Asio, ALoopThatGoesCancelsWhatIsQueued) {
  unanswered asked;
  const asking guest([&asked](std::int64_t, answer a) { asked.add(std::move(a)); });
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w"});
  auto alive = std::make_shared<int>(0);
  {
    boost::asio::io_context io;
    async_wait(engine.transform(batch, out).value(), io.get_executor(),
               [alive](const result<void>&) { FAIL() << "not called"; });
    EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_TRANSFORMING);
  }
  EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_EQ(alive.use_count(), 1) << "the handler was destroyed";
}

TEST(Asio, ALoopThatGoesDestroysCoroutinesWithTheirEngines) {
  unanswered asked;
  const asking guest([&asked](std::int64_t, answer a) { asked.add(std::move(a)); });
  const auto batch = built({"w"});
  {
    boost::asio::io_context io;
    boost::asio::co_spawn(
        io,
        [](const asking& g, kafka::bytes input, executor ex) -> awaitable<void> {
          auto engine = g.started();
          recorder out;
          (co_await async_wait(engine.transform(input, out).value(), ex, use_awaitable)).value();
        }(guest, batch, io.get_executor()),
        boost::asio::detached);
    io.run_one();  // The coroutine begins; the operation's first poll is queued.
    EXPECT_EQ(asked.all.size(), 0U);
  }
}

TEST(Asio, ALoopThatGoesTakesGuestsThatWaitForItsTimersAlong) {
  std::optional<boost::asio::io_context> io(std::in_place);
  const asking guest([&io](std::int64_t n) { return wasmengine::run_on(io->get_executor(), answer_after(1h, 2 * n)); });
  const auto batch = built({"w"});
  auto alive = std::make_shared<int>(0);
  boost::asio::co_spawn(
      *io,
      [](const asking& g, kafka::bytes input, executor ex, std::shared_ptr<int>) -> awaitable<void> {
        auto engine = g.started();
        recorder out;
        (co_await async_wait(engine.transform(input, out).value(), ex, use_awaitable)).value();
      }(guest, batch, io->get_executor(), alive),
      boost::asio::detached);
  io->poll();
  EXPECT_EQ(alive.use_count(), 2);
  io.reset();
  EXPECT_EQ(alive.use_count(), 1) << "the coroutine was destroyed, and its engine with it";
}

TEST(Asio, AHostCoroutineThatIsDestroyedFailsTheGuest) {
  boost::asio::io_context io;
  std::optional<boost::asio::io_context> hosts(std::in_place);
  const asking guest([&hosts](std::int64_t n) {
    return wasmengine::run_on(hosts->get_executor(), answer_after(1h, 2 * n));
  });
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w"});
  std::optional<wasmengine::error> why;
  async_wait(engine.transform(batch, out).value(), io.get_executor(), [&](const result<void>& r) { why = r.err(); });
  io.poll();
  hosts->poll();
  hosts.reset();
  io.run();
  ASSERT_TRUE(why);
  EXPECT_EQ(why->status(), WASM_STATUS_HOST_FUNCTION_FAILED);
}

TEST(Asio, ALoopThatGoesCancelsWhatIsOnItsStrands) {
  const auto runtime = wasmengine::runtime::create().value();
  auto alive = std::make_shared<int>(0);
  {
    boost::asio::io_context io;
    const boost::asio::any_io_executor strand = boost::asio::make_strand(io);
    async_wait(loop_suite::compilation(runtime, 400), strand,
               [alive](const result<wasmengine::factory>&) { FAIL() << "not called"; });
    EXPECT_EQ(io.run_one(), 1U);
  }
  EXPECT_EQ(alive.use_count(), 1);
  loop_suite::let_compile(runtime);
}

TEST(Asio, WhatBeginsOnALoopThatGoesIsDropped) {
  const auto runtime = wasmengine::runtime::create().value();
  auto alive = std::make_shared<int>(0);
  struct late {
    const wasmengine::runtime* runtime;
    executor on;
    std::shared_ptr<int> alive;
    bool is_last = true;
    late(const wasmengine::runtime& r, executor e, std::shared_ptr<int> a) : runtime(&r), on(e), alive(std::move(a)) {}
    late(late&& other) noexcept
        : runtime(other.runtime), on(other.on), alive(std::move(other.alive)), is_last(std::exchange(other.is_last, false)) {}
    ~late() {
      if (is_last) {
        async_wait(loop_suite::compilation(*runtime, 1), on, [a = alive](const result<wasmengine::factory>&) { FAIL(); });
      }
    }
    void operator()(const result<wasmengine::factory>&) const { FAIL() << "not called"; }
  };
  {
    boost::asio::io_context io;
    async_wait(loop_suite::compilation(runtime, 1), io.get_executor(), late(runtime, io.get_executor(), alive));
  }
  EXPECT_EQ(alive.use_count(), 1);
}

#ifdef WASM_ENGINE_ASIO_HAS_CANCELLATION

using boost::asio::bind_cancellation_slot;
using boost::asio::cancellation_type;

TEST(AsioCancellation, EndsACompilationAtEveryMoment) {
  const auto runtime = wasmengine::runtime::create().value();
  for (const bool is_polled : {false, true}) {
    for (const bool is_done : {false, true}) {
      boost::asio::io_context io;
      boost::asio::cancellation_signal signal;
      std::vector<wasm_status> ends;
      async_wait(loop_suite::compilation(runtime, 400), io.get_executor(),
                 bind_cancellation_slot(signal.slot(), [&](const result<wasmengine::factory>& r) {
                   ends.push_back(r ? WASM_STATUS_OK : r.err().status());
                 }));
      if (is_polled) {
        EXPECT_EQ(io.run_one(), 1U);
      }
      if (is_done) {
        loop_suite::let_compile(runtime);
      }
      EXPECT_TRUE(signal.slot().has_handler());
      signal.emit(cancellation_type::total);
      signal.emit(cancellation_type::terminal);
      EXPECT_TRUE(ends.empty()) << "not from within the signal";
      io.run();
      EXPECT_THAT(ends, ElementsAre(WASM_STATUS_CANCELLED));
      EXPECT_FALSE(signal.slot().has_handler());
    }
  }
}

TEST(AsioCancellation, StopsAGuestUnlessTheTypeAsksForNoEffect) {
  unanswered asked;
  const asking guest([&asked](std::int64_t, answer a) { asked.add(std::move(a)); });
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w"});
  boost::asio::io_context io;
  boost::asio::cancellation_signal signal;
  std::optional<wasmengine::error> why;
  async_wait(engine.transform(batch, out).value(), io.get_executor(),
             bind_cancellation_slot(signal.slot(), [&](const result<void>& r) { why = r.err(); }));
  io.run_one();
  signal.emit(cancellation_type::total);
  EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_TRANSFORMING);
  signal.emit(cancellation_type::partial);
  EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED);
  io.run();
  ASSERT_TRUE(why);
  EXPECT_EQ(why->status(), WASM_STATUS_CANCELLED);
}

TEST(AsioCancellation, FromTheGuestsOwnCallTakesEffectAfterwards) {
  boost::asio::io_context io;
  boost::asio::cancellation_signal signal;
  const asking guest([&signal](std::int64_t n) {
    signal.emit(cancellation_type::terminal);
    return 2 * n;
  });
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w", "l"});
  std::vector<wasm_status> ends;
  async_wait(engine.transform(batch, out).value(), io.get_executor(),
             bind_cancellation_slot(signal.slot(), [&](const result<void>& r) { ends.push_back(r.err().status()); }));
  io.run();
  EXPECT_THAT(ends, ElementsAre(WASM_STATUS_CANCELLED));
  EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED);
}

TEST(AsioCancellation, FromACallOfAnotherOperationOfTheEngineIsTriedAgain) {
  boost::asio::io_context io;
  boost::asio::cancellation_signal signal;
  const asking guest([&signal](std::int64_t n) {
    signal.emit(cancellation_type::terminal);
    return 2 * n;
  });
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w"});
  auto old = engine.transform(batch, out).value();
  ASSERT_TRUE(succeeded(testing_support::finish(engine.stop())));
  ASSERT_TRUE(succeeded(testing_support::finish(engine.start())));
  std::vector<wasm_status> ends;
  const auto note = [&](const result<void>& r) { ends.push_back(r ? WASM_STATUS_OK : r.err().status()); };
  async_wait(engine.transform(batch, out).value(), io.get_executor(), note);
  async_wait(std::move(old), io.get_executor(), bind_cancellation_slot(signal.slot(), note));
  io.run();
  EXPECT_THAT(ends, ElementsAre(WASM_STATUS_OK, WASM_STATUS_CANCELLED));
}

/// A slot that notes whether its handler is gone, as one that is part of its handler would be.
struct noting_slot {
  const bool* is_gone;
  int* assigned_late;
  [[nodiscard]] bool is_connected() const noexcept { return true; }
  void clear() const noexcept {}
  template <typename F>
  void assign(F&&) const {
    *assigned_late += *is_gone ? 1 : 0;
  }
};

struct handler_with_slot {
  bool* is_gone;
  int* assigned_late;
  bool is_last = true;

  handler_with_slot(bool* g, int* a) : is_gone(g), assigned_late(a) {}
  handler_with_slot(handler_with_slot&& other) noexcept
      : is_gone(other.is_gone), assigned_late(other.assigned_late), is_last(std::exchange(other.is_last, false)) {}
  ~handler_with_slot() { *is_gone |= is_last; }
  void operator()(const result<wasmengine::factory>&) const { FAIL() << "not called"; }

  using cancellation_slot_type = noting_slot;
  [[nodiscard]] noting_slot get_cancellation_slot() const noexcept { return {is_gone, assigned_late}; }
};

/// A handler that does something when it is destroyed.
struct handler_with_last_words {
  std::function<void()> say;

  explicit handler_with_last_words(std::function<void()> s) : say(std::move(s)) {}
  handler_with_last_words(handler_with_last_words&& other) noexcept : say(std::exchange(other.say, nullptr)) {}
  ~handler_with_last_words() {
    if (say) {
      say();
    }
  }
  void operator()(const result<wasmengine::factory>&) const { FAIL() << "not called"; }
};

TEST(AsioCancellation, TheSlotOfADroppedHandlerIsLeftAlone) {
  const auto runtime = wasmengine::runtime::create().value();
  bool is_gone = false;
  int assigned_late = 0;
  {
    boost::asio::io_context io;
    const auto ex = io.get_executor();
    async_wait(loop_suite::compilation(runtime, 1), ex, handler_with_last_words([&, ex] {
                 async_wait(loop_suite::compilation(runtime, 1), ex, handler_with_slot(&is_gone, &assigned_late));
               }));
  }
  EXPECT_TRUE(is_gone);
  EXPECT_EQ(assigned_late, 0);
}

TEST(AsioCancellation, ATimerWinsAgainstATransform) {
  using namespace boost::asio::experimental::awaitable_operators;
  unanswered asked;
  const asking guest([&asked](std::int64_t, answer a) { asked.add(std::move(a)); });
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w"});
  boost::asio::io_context io;
  std::size_t winner = 9;
  boost::asio::co_spawn(
      io,
      [&]() -> awaitable<void> {
        boost::asio::steady_timer timer(io, 20ms);
        const auto first = co_await (async_wait(engine.transform(batch, out).value(), io.get_executor(), use_awaitable) ||
                                     timer.async_wait(use_awaitable));
        winner = first.index();
      },
      boost::asio::detached);
  io.run();
  EXPECT_EQ(winner, 1U);
  EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED) << "the batch is free";
}

#endif

}  // namespace
