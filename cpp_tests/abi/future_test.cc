// SPDX-License-Identifier: Apache-2.0
//
// Futures at every stage of their lives: released, cancelled, polled once too often, and what becomes of wakers.
#include "support/c_sink.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::ElementsAre;

namespace {

wasm_callback_result done(output_block, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; }

wasm_status status_of(const wasmengine::result<wasm_poll>& r) { return r ? WASM_STATUS_OK : r.err().status(); }

// ---- Release ----

TEST(FutureRelease, OfAStartBeforeItsFirstPollLeavesAStoppedEngine) {
  bench b("c_identity", unhurried);
  {
    auto operation = b.engine.start().value();
    EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STARTING);
  }
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_TRUE(works(b));
}

TEST(FutureRelease, OfAStartThatYieldedLeavesAStoppedEngine) {
  bench b("wat_start_loop");
  for (int i = 0; i < 3; ++i) {
    auto operation = b.engine.start().value();
    ASSERT_EQ(operation.poll().value(), WASM_POLL_YIELDED);
    ASSERT_EQ(operation.poll().value(), WASM_POLL_YIELDED);
    operation = wasmengine::future();
    EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
    EXPECT_EQ(b.engine.memory_size().value(), 0U);
  }
}

TEST(FutureRelease, OfAStartThatIsReadyLeavesTheEngineIdle) {
  bench b("c_identity", unhurried);
  {
    auto operation = b.engine.start().value();
    ASSERT_EQ(operation.poll().value(), WASM_POLL_READY);
  }
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_IDLE);
  EXPECT_TRUE(works(b));
}

TEST(FutureRelease, OfATransformBeforeItsFirstPollDropsTheSinkAndStopsTheEngine) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  c_sink sink(done);
  const auto batch = built({"a"});
  {
    auto operation = begin(b, batch, sink);
    EXPECT_EQ(b.state(), WASM_ENGINE_STATE_TRANSFORMING);
    EXPECT_EQ(sink.drops, 0);
  }
  EXPECT_EQ(sink.calls, 0);
  EXPECT_EQ(sink.drops, 1);
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_TRUE(works(b));
}

TEST(FutureRelease, OfATransformThatYieldedDropsTheSinkAndStopsTheEngine) {
  bench b("wat_traps");
  ASSERT_TRUE(succeeded(b.start()));
  c_sink sink(done);
  const auto batch = built({"a", "l"});
  {
    auto operation = begin(b, batch, sink);
    ASSERT_EQ(operation.poll().value(), WASM_POLL_YIELDED);
  }
  EXPECT_EQ(sink.drops, 1);
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_TRUE(works(b));
}

TEST(FutureRelease, OfATransformWhosePromiseIsPendingDropsTheSinkAndLeavesThePromiseHarmless) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  pending_sink sink;
  waker_tally wakers;
  const auto batch = built({"a"});
  {
    auto operation = begin(b, batch, sink);
    const auto waker = wakers.give();
    ASSERT_EQ(operation.poll(&waker).value(), WASM_POLL_PENDING);
    EXPECT_EQ(wakers.alive(), 1);
  }
  EXPECT_EQ(sink.drops, 1);
  EXPECT_EQ(wakers.dropped(), 1);
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
  sink.resolve();
  EXPECT_EQ(wakers.woken(), 0);
  EXPECT_TRUE(works(b));
}

TEST(FutureRelease, OfATransformThatIsReadyLeavesTheEngineIdle) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  c_sink sink(done);
  const auto batch = built({"a"});
  {
    auto operation = begin(b, batch, sink);
    ASSERT_EQ(operation.poll().value(), WASM_POLL_READY);
    EXPECT_EQ(sink.drops, 1) << "dropped when the operation is over, not when the future goes";
  }
  EXPECT_EQ(sink.drops, 1);
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_IDLE);
  EXPECT_TRUE(works(b));
}

TEST(FutureRelease, OfATransformThatFailedLeavesAnEngineThatWasRestartedMeanwhileAlone) {
  bench b("wat_traps");
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto batch = built({"u"});
  auto failed = b.engine.transform(batch, out).value();
  while (failed.poll()) {  // yields, if the machine is busy
  }
  ASSERT_TRUE(succeeded(b.start()));
  failed = wasmengine::future();
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_IDLE);
  EXPECT_TRUE(works(b));
}

TEST(FutureRelease, OfAStopBeforeItsPollIsFine) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  { auto operation = b.engine.stop().value(); }
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_TRUE(works(b));
}

TEST(FutureRelease, InAnyOrderAndNumberDoesNotConfuseTheEngine) {
  bench b("c_identity", unhurried);
  for (int i = 0; i < 50; ++i) {
    auto start = b.engine.start().value();
    if (i % 3 == 0) {
      start = wasmengine::future();
      start = b.engine.start().value();
    }
    ASSERT_EQ(start.poll().value(), WASM_POLL_READY);
    recorder out;
    const auto batch = built({"a"});
    auto transform = b.engine.transform(batch, out).value();
    if (i % 2 == 0) {
      start = wasmengine::future();
    }
    ASSERT_EQ(transform.poll().value(), WASM_POLL_READY);
    auto stop = b.engine.stop().value();
    if (i % 5 == 0) {
      transform = wasmengine::future();
    }
    ASSERT_EQ(stop.poll().value(), WASM_POLL_READY);
    EXPECT_THAT(out.values(), ElementsAre("a"));
  }
}

// ---- Stop and release of the engine under a future ----

TEST(Cancellation, StoppingTheEngineCancelsAStart) {
  bench b("wat_start_loop");
  auto start = b.engine.start().value();
  ASSERT_EQ(start.poll().value(), WASM_POLL_YIELDED);
  ASSERT_TRUE(succeeded(b.stop()));
  EXPECT_EQ(status_of(start.poll()), WASM_STATUS_CANCELLED);
  EXPECT_EQ(status_of(start.poll()), WASM_STATUS_INVALID_STATE) << "it is over now";
}

TEST(Cancellation, StoppingTheEngineCancelsATransformAndDropsSinkAndWaker) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  pending_sink sink;
  waker_tally wakers;
  const auto batch = built({"a"});
  auto operation = begin(b, batch, sink);
  const auto waker = wakers.give();
  ASSERT_EQ(operation.poll(&waker).value(), WASM_POLL_PENDING);
  ASSERT_TRUE(succeeded(b.stop()));
  EXPECT_EQ(sink.drops, 1);
  EXPECT_EQ(wakers.alive(), 0) << "nothing will settle this poll any more";
  ASSERT_TRUE(succeeded(b.start()));
  EXPECT_EQ(status_of(operation.poll()), WASM_STATUS_CANCELLED) << "although the engine runs again";
  sink.resolve();
  EXPECT_TRUE(works(b));
}

TEST(Cancellation, ReleasingTheEngineCancelsItsFutures) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  pending_sink sink;
  waker_tally wakers;
  const auto batch = built({"a"});
  auto operation = begin(b, batch, sink);
  auto waker = wakers.give();
  ASSERT_EQ(operation.poll(&waker).value(), WASM_POLL_PENDING);
  b.engine = wasmengine::engine();
  EXPECT_EQ(sink.drops, 1);
  EXPECT_EQ(wakers.alive(), 0);
  waker = wakers.give();
  EXPECT_EQ(status_of(operation.poll(&waker)), WASM_STATUS_CANCELLED);
  EXPECT_EQ(wakers.alive(), 0);
  sink.resolve();
}

TEST(Cancellation, EverythingMayGoBeforeTheFuture) {
  auto b = std::make_unique<bench>("wat_traps");
  ASSERT_TRUE(succeeded(b->start()));
  c_sink sink(done);
  const auto batch = built({"l"});
  auto operation = begin(*b, batch, sink);
  ASSERT_EQ(operation.poll().value(), WASM_POLL_YIELDED);
  b.reset();
  EXPECT_EQ(sink.drops, 1);
  EXPECT_EQ(status_of(operation.poll()), WASM_STATUS_CANCELLED);
}

// ---- Wakers ----

TEST(Wakers, OfPollsThatAreReadyYieldOrFailAreDroppedBeforeThePollReturns) {
  bench b("wat_traps");
  ASSERT_TRUE(succeeded(b.start()));
  waker_tally wakers;
  recorder out;
  const auto batch = built({"l"});
  auto operation = b.engine.transform(batch, out).value();
  for (int i = 1; i <= 5; ++i) {
    const auto waker = wakers.give();
    ASSERT_EQ(operation.poll(&waker).value(), WASM_POLL_YIELDED);
    EXPECT_EQ(wakers.dropped(), i);
  }
  auto stop = b.engine.stop().value();
  auto waker = wakers.give();
  ASSERT_EQ(stop.poll(&waker).value(), WASM_POLL_READY);
  EXPECT_EQ(wakers.dropped(), 6);
  waker = wakers.give();
  EXPECT_EQ(status_of(operation.poll(&waker)), WASM_STATUS_CANCELLED);
  EXPECT_EQ(wakers.dropped(), 7);
  waker = wakers.give();
  EXPECT_EQ(status_of(operation.poll(&waker)), WASM_STATUS_INVALID_STATE);
  EXPECT_EQ(wakers.dropped(), 8);
  EXPECT_EQ(wakers.woken(), 0);
}

TEST(Wakers, OfWrongCallsAreDroppedToo) {
  waker_tally wakers;
  auto waker = wakers.give();
  wasm_poll state{};
  EXPECT_EQ(wasm_future_poll(nullptr, &waker, &state, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wakers.dropped(), 1);
  bench b("c_identity", unhurried);
  auto operation = b.engine.start().value();
  waker = wakers.give();
  EXPECT_EQ(wasm_future_poll(operation.get(), &waker, nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wakers.dropped(), 2);
  waker = wakers.give();
  std::thread([&] { EXPECT_EQ(status_of(operation.poll(&waker)), WASM_STATUS_WRONG_THREAD); }).join();
  EXPECT_EQ(wakers.dropped(), 3);
  EXPECT_EQ(operation.poll().value(), WASM_POLL_READY) << "wrong calls leave the operation as it was";
}

TEST(Wakers, EachPollOfAPendingFutureReplacesTheOneBefore) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  pending_sink sink;
  waker_tally wakers;
  const auto batch = built({"a"});
  auto operation = begin(b, batch, sink);
  for (int i = 0; i < 4; ++i) {
    const auto waker = wakers.give();
    ASSERT_EQ(operation.poll(&waker).value(), WASM_POLL_PENDING);
    EXPECT_EQ(wakers.dropped(), i);
  }
  sink.resolve();
  EXPECT_EQ(wakers.woken(), 1);
  EXPECT_EQ(wakers.dropped(), 3);
  EXPECT_EQ(operation.poll().value(), WASM_POLL_READY);
  EXPECT_EQ(sink.calls, 1) << "a pending block is not handed over again";
}

TEST(Wakers, MayBeNullOrWithoutFunctions) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  pending_sink sink;
  const auto batch = built({"a"});
  auto operation = begin(b, batch, sink);
  const wasm_waker empty{};
  ASSERT_EQ(operation.poll(&empty).value(), WASM_POLL_PENDING);
  ASSERT_EQ(operation.poll(nullptr).value(), WASM_POLL_PENDING);
  ASSERT_EQ(operation.poll(&empty).value(), WASM_POLL_PENDING);
  sink.resolve();
  EXPECT_EQ(operation.poll().value(), WASM_POLL_READY);
}

TEST(Wakers, MayPollTheFutureOnItsOwnThread) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  pending_sink sink;
  const auto batch = built({"a"});
  auto operation = begin(b, batch, sink);
  struct context {
    wasmengine::future& operation;
    int ready = 0;
  } c{operation};
  const wasm_waker waker{&c,
                         [](void* data) {
                           auto* c = static_cast<context*>(data);
                           c->ready += c->operation.poll().value() == WASM_POLL_READY ? 1 : 0;
                         },
                         nullptr};
  ASSERT_EQ(operation.poll(&waker).value(), WASM_POLL_PENDING);
  sink.resolve();
  EXPECT_EQ(c.ready, 1);
}

TEST(Wakers, OfACompilationAreWokenOnceFromItsThread) {
  const auto runtime = wasmengine::runtime::create().value();
  waker_tally wakers;
  auto compilation = runtime.compile(module("rust_identity"), with_topics({"out"})).value();
  auto first = wakers.give();
  if (compilation.poll(&first).value() == WASM_POLL_PENDING) {
    ASSERT_TRUE(wakers.wait(patience));
    EXPECT_EQ(wakers.woken(), 1);
    auto second = wakers.give();
    EXPECT_EQ(compilation.poll(&second).value(), WASM_POLL_READY);
  }
  EXPECT_EQ(wakers.alive(), 0);
}

}  // namespace
