// SPDX-License-Identifier: Apache-2.0
//
// Engines on a Boost.Asio io_context.
#include "support/asking.hh"

#include <wasm_engine/asio.hh>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <gmock/gmock.h>

using namespace testing_support;
using namespace std::chrono_literals;
using boost::asio::awaitable;
using boost::asio::use_awaitable;
using testing::ElementsAre;
using testing::HasSubstr;
using wasmengine::async_wait;
using wasmengine::result;

namespace {

using executor = boost::asio::io_context::executor_type;

/// Runs a coroutine on a loop to its end. Gives the number of handlers that the loop ran.
std::size_t run(boost::asio::io_context& io, awaitable<void> coroutine) {
  std::exception_ptr thrown;
  bool over = false;
  boost::asio::co_spawn(io, std::move(coroutine), [&](std::exception_ptr e) {
    thrown = std::move(e);
    over = true;
  });
  const std::size_t handlers = io.run();
  EXPECT_TRUE(over) << "the loop ran out of work before the coroutine was over";
  if (thrown) {
    std::rethrow_exception(thrown);
  }
  return handlers;
}

awaitable<void> success_of(executor ex, wasmengine::future operation) {
  (co_await async_wait(std::move(operation), ex, use_awaitable)).value();
}

awaitable<std::int64_t> answer_after(std::chrono::milliseconds delay, std::int64_t value) {
  boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor, delay);
  co_await timer.async_wait(use_awaitable);
  co_return value;
}

auto answering_after(boost::asio::io_context& io, std::chrono::milliseconds delay) {
  return [&io, delay](std::int64_t n) { return wasmengine::run_on(io.get_executor(), answer_after(delay, 2 * n)); };
}

TEST(Asio, CallbacksGetTheResult) {
  boost::asio::io_context io;
  bench b("c_identity");
  recorder out;
  const auto batch = built({"a", "b"});
  int calls = 0;
  async_wait(b.engine.start().value(), io.get_executor(), [&](const result<void>& started) {
    ++calls;
    ASSERT_TRUE(started);
    async_wait(b.engine.transform(batch, out).value(), io.get_executor(), [&](const result<void>& done) {
      ++calls;
      EXPECT_TRUE(done);
    });
  });
  EXPECT_EQ(calls, 0) << "a handler is not called by the function that begins";
  EXPECT_EQ(io.run(), 2U) << "one handler per operation that is over at once";
  EXPECT_EQ(calls, 2);
  EXPECT_THAT(out.values(), ElementsAre("a", "b"));
}

TEST(Asio, CoroutinesCompileStartTransformAndStop) {
  boost::asio::io_context io;
  const auto runtime = wasmengine::runtime::create().value();
  recorder out;
  const auto batch = built({"x"});
  auto compilation = runtime.compile(module("c_identity"), with_topics({"out"})).value();
  run(io, [](executor ex, wasmengine::compilation made, kafka::view input, recorder& sink) -> awaitable<void> {
    const auto factory = (co_await async_wait(std::move(made), ex, use_awaitable)).value();
    auto engine = wasmengine::engine::create(factory).value();
    (co_await async_wait(engine.start().value(), ex, use_awaitable)).value();
    (co_await async_wait(engine.transform(input, sink).value(), ex, use_awaitable)).value();
    (co_await async_wait(engine.stop().value(), ex, use_awaitable)).value();
  }(io.get_executor(), std::move(compilation), batch, out));
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

TEST(Asio, FailuresHaveTheirStory) {
  boost::asio::io_context io;
  bench b("wat_traps");
  recorder out;
  const auto batch = built({"a", "d"});
  ASSERT_TRUE(succeeded(b.start()));
  std::optional<wasmengine::error> why;
  async_wait(b.engine.transform(batch, out).value(), io.get_executor(), [&](const result<void>& r) { why = r.err(); });
  io.run();
  ASSERT_TRUE(why);
  EXPECT_EQ(why->trap(), WASM_TRAP_DIVISION_BY_ZERO);
  EXPECT_EQ(why->record()->index, 1U);
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

TEST(Asio, HostFunctionsAnswerFromTimers) {
  boost::asio::io_context io;
  const asking guest(answering_after(io, 30ms));
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w1", "copied", "w2"});
  const auto begun = std::chrono::steady_clock::now();
  const auto handlers = run(io, success_of(io.get_executor(), engine.transform(batch, out).value()));
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 60ms);
  EXPECT_THAT(out.values(), ElementsAre("w1", "copied", "w2"));
  EXPECT_LE(handlers, 20U) << "nothing is polled while it waits";
}

TEST(Asio, WhatAHostCoroutineThrowsEndsTheGuest) {
  boost::asio::io_context io;
  const asking guest([&io](std::int64_t) {
    return wasmengine::run_on(io.get_executor(), []() -> awaitable<std::int64_t> {
      throw std::runtime_error("the database is asleep");
      co_return 0;
    }());
  });
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w"});
  std::optional<wasmengine::error> why;
  async_wait(engine.transform(batch, out).value(), io.get_executor(), [&](const result<void>& r) { why = r.err(); });
  io.run();
  ASSERT_TRUE(why);
  EXPECT_EQ(why->status(), WASM_STATUS_HOST_FUNCTION_FAILED);
  EXPECT_THAT(why->what(), HasSubstr("the database is asleep"));
}

TEST(Asio, TwoHundredEnginesWaitForTimersTogether) {
  constexpr std::size_t engines = 200;
  boost::asio::io_context io;
  const asking guest(answering_after(io, 100ms));
  const auto batch = built({"w"});
  std::vector<wasmengine::engine> all;
  std::vector<recorder> out(engines);
  std::size_t over = 0;
  for (std::size_t i = 0; i < engines; ++i) {
    all.push_back(guest.started());
    async_wait(all[i].transform(batch, out[i]).value(), io.get_executor(), [&](const result<void>& r) {
      EXPECT_TRUE(r);
      ++over;
    });
  }
  const auto begun = std::chrono::steady_clock::now();
  const auto handlers = io.run();
  EXPECT_EQ(over, engines);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, engines * 100ms / 4) << "they wait side by side";
  // Per engine two polls, and what a coroutine with a timer takes: its start, the timer, its end.
  EXPECT_LE(handlers, 8 * engines);
  for (const auto& o : out) {
    EXPECT_EQ(o.records.size(), 1U);
  }
}

TEST(Asio, PromisesSettledOnAnotherThreadWakeTheLoop) {
  constexpr std::size_t engines = 200;
  boost::asio::io_context io;
  answering_thread thread;
  const asking guest([&thread](std::int64_t, answer a) { thread.add(std::move(a)); });
  const auto batch = built({"w", "w", "w"});
  std::vector<wasmengine::engine> all;
  recorder out;
  std::size_t over = 0;
  for (std::size_t i = 0; i < engines; ++i) {
    all.push_back(guest.started());
    async_wait(all[i].transform(batch, out).value(), io.get_executor(), [&](const result<void>& r) {
      EXPECT_TRUE(r);
      ++over;
    });
  }
  // At most one poll for the beginning, and one per promise.
  EXPECT_LE(io.run(), 4 * engines);
  EXPECT_EQ(over, engines);
  EXPECT_EQ(out.records.size(), 3 * engines);
}

TEST(Asio, NothingIsPolledWhilePending) {
  boost::asio::io_context io;
  unanswered asked;
  const asking guest([&asked](std::int64_t, answer a) { asked.add(std::move(a)); });
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w"});
  bool over = false;
  async_wait(engine.transform(batch, out).value(), io.get_executor(), [&](const result<void>& r) { over = r.has_value(); });
  EXPECT_EQ(io.poll(), 1U);
  const auto before = thread_time();
  EXPECT_EQ(io.run_for(100ms), 0U) << "the loop sleeps, but does not end";
  EXPECT_LT(thread_time() - before, 20ms);
  EXPECT_FALSE(io.stopped()) << "what is pending is outstanding work";
  ASSERT_EQ(asked.all.size(), 1U);
  ASSERT_TRUE(asked.all[0].resolve(std::int64_t{42}));
  EXPECT_EQ(io.poll(), 1U);
  EXPECT_TRUE(over);
  EXPECT_TRUE(io.stopped());
}

TEST(Asio, AGuestThatLoopsDoesNotStarveATimer) {
  boost::asio::io_context io;
  auto config = unhurried;
  config.time_slice_ns = 200'000;
  const asking guest([](std::int64_t n) { return 2 * n; }, config);
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"l"});
  std::optional<wasmengine::error> why;
  boost::asio::steady_timer timer(io);
  int ticks = 0;
  std::function<void()> tick = [&] {
    timer.expires_after(2ms);
    timer.async_wait([&](const boost::system::error_code& e) {
      if (e || why) {
        return;
      }
      if (++ticks == 20) {
        (void)engine.stop().value();
      } else {
        tick();
      }
    });
  };
  tick();
  async_wait(engine.transform(batch, out).value(), io.get_executor(), [&](const result<void>& r) { why = r.err(); });
  const auto handlers = io.run();
  ASSERT_TRUE(why);
  EXPECT_EQ(why->status(), WASM_STATUS_CANCELLED);
  EXPECT_EQ(ticks, 20);
  EXPECT_GE(handlers, 40U) << "between two ticks the guest had its turn";
}

TEST(Asio, StoppingAnEngineCancelsWhatWaits) {
  boost::asio::io_context io;
  unanswered asked;
  const asking guest([&asked](std::int64_t, answer a) { asked.add(std::move(a)); });
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"w"});
  std::optional<wasmengine::error> why;
  async_wait(engine.transform(batch, out).value(), io.get_executor(), [&](const result<void>& r) { why = r.err(); });
  io.poll();
  EXPECT_FALSE(why);
  { auto stopped = engine.stop().value(); }
  io.run();
  ASSERT_TRUE(why);
  EXPECT_EQ(why->status(), WASM_STATUS_CANCELLED);
  EXPECT_TRUE(asked.all[0].resolve(std::int64_t{42})) << "harmless";
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

}  // namespace
