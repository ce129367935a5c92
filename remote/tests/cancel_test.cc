// SPDX-License-Identifier: Apache-2.0
//
// Operations that are given up at every stage: nothing is left on either side. And back-pressure.
#include "support.hh"

#include <random>

using namespace remote_tests;
using testing::HasSubstr;

namespace {

/// Nothing is left on either side.
testing::AssertionResult is_clean(const served& s, const remote_bench& b) {
  if (eventually([&] { return s.running.streams() == 0 && b.connection.stats().engines == 0; })) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << s.running.streams() << " streams on the server, " << b.connection.stats().engines
                                     << " on the host";
}

/// Polls with a waker until it is not pending or `limit` has passed.
void poll_for(we::future& operation, std::chrono::milliseconds limit) {
  waker_tally wakers;
  const auto until = std::chrono::steady_clock::now() + limit;
  while (std::chrono::steady_clock::now() < until) {
    const auto waker = wakers.give();
    const auto polled = operation.poll(&waker);
    if (!polled || *polled == WASM_POLL_READY) {
      break;
    }
    std::this_thread::sleep_for(1ms);
  }
  operation = we::future();
}

TEST(RemoteCancel, OfAStartAtEveryStage) {
  served s;
  const auto rust = module("rust_redact");  // takes a while to upload and to compile
  for (const auto limit : {0ms, 1ms, 2ms, 5ms, 10ms, 20ms, 50ms, 100ms}) {
    auto transform = with_topics({"out"});
    transform.name = "tested" + std::to_string(limit.count());  // another compilation
    remote_bench b({.address = s.address()}, {.bytes = rust}, transform);
    auto operation = b.engine.start().value();
    poll_for(operation, limit);
    EXPECT_TRUE(succeeded(finish(b.engine.stop())));
    EXPECT_TRUE(is_clean(s, b));
  }
}

TEST(RemoteCancel, OfAStartThatIsNeverPolled) {
  served s;
  remote_bench b(s.address(), "c_identity");
  { const auto operation = b.engine.start().value(); }
  EXPECT_TRUE(is_clean(s, b));
  EXPECT_EQ(b.connection.stats().engines, 0U);
}

enum class how { release_future, stop, release_engine, release_engine_first };

TEST(RemoteCancel, OfATransformAtEveryStageByEachWay) {
  served s;
  const auto values = numbered(2'000, 1'000);
  const auto batch = built(values);
  for (const auto way : {how::release_future, how::stop, how::release_engine, how::release_engine_first}) {
    for (const auto limit : {0ms, 1ms, 3ms, 10ms, 30ms}) {
      SCOPED_TRACE(testing::Message() << static_cast<int>(way) << " after " << limit.count() << " ms");
      we::remote_config config{.address = s.address()};
      config.window = 64U << 10;
      remote_bench b(config, {.bytes = module("c_identity")});
      ASSERT_TRUE(succeeded(b.start()));
      recorder out;
      auto operation = b.engine.transform(batch, out).value();
      waker_tally wakers;
      const auto until = std::chrono::steady_clock::now() + limit;
      while (std::chrono::steady_clock::now() < until) {
        const auto waker = wakers.give();
        const auto polled = operation.poll(&waker);
        if (!polled || *polled == WASM_POLL_READY) {
          break;
        }
        std::this_thread::sleep_for(200us);
      }
      switch (way) {
        case how::release_future:
          operation = we::future();
          break;
        case how::stop:
          EXPECT_TRUE(succeeded(finish(b.engine.stop())));
          break;
        case how::release_engine:
          operation = we::future();
          b.engine = we::engine();
          break;
        case how::release_engine_first:
          b.engine = we::engine();
          break;
      }
      operation = we::future();
      b.engine = we::engine();
      EXPECT_TRUE(is_clean(s, b));
    }
  }
}

TEST(RemoteCancel, WhileTheSinkWaits) {
  served s;
  remote_bench b(s.address(), "c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  gate_sink sink;
  const auto batch = built(numbered(5'000, 1'000));
  auto operation = b.engine.transform(batch, sink).value();
  ASSERT_TRUE(eventually([&] {
    (void)operation.poll();
    return sink.waits();
  }));
  operation = we::future();
  sink.open();
  EXPECT_TRUE(succeeded(finish(b.engine.stop())));
  EXPECT_TRUE(is_clean(s, b));
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(built({"fresh"}), out)));
  EXPECT_EQ(out.values(), std::vector<std::string>{"fresh"});
}

TEST(RemoteCancel, OfEverythingAtRandom) {
  served s;
  remote_bench b(s.address(), "c_tee");
  std::vector<std::string> values;
  for (int i = 0; i < 300; ++i) {
    values.push_back("3" + std::string(500, 'x'));
  }
  const auto batch = built(values);
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    auto engine = we::engine::create(b.factory).value();
    auto start = engine.start().value();
    if (random() % 4 == 0) {
      poll_for(start, std::chrono::milliseconds(random() % 4));
      continue;
    }
    ASSERT_TRUE(succeeded(finish(start)));
    recorder out;
    auto transform = engine.transform(batch, out).value();
    if (random() % 3 == 0) {
      ASSERT_TRUE(succeeded(finish(transform)));
      ASSERT_EQ(out.records.size(), 900U);
    } else {
      poll_for(transform, std::chrono::milliseconds(random() % 8));
    }
  }
  EXPECT_TRUE(is_clean(s, b));
}

TEST(RemoteCancel, OfTheConnectionWithEnginesOfItsOwn) {
  served s;
  auto b = std::make_unique<remote_bench>(s.address(), "c_identity");
  ASSERT_TRUE(succeeded(b->start()));
  b->connection = we::remote_connection();
  recorder out;
  EXPECT_TRUE(succeeded(b->transform(built({"x"}), out))) << "the factory keeps it";
  b.reset();
  EXPECT_TRUE(eventually([&] { return s.running.streams() == 0; }));
}

TEST(RemotePressure, OfASinkThatWaitsBoundsWhatBothSidesHold) {
  auto config = on_loopback();
  config.window = 128U << 10;
  served s(config);
  we::remote_config host{.address = s.address()};
  host.window = 128U << 10;
  remote_bench b(host, {.bytes = module("c_tee")});
  ASSERT_TRUE(succeeded(b.start()));
  std::vector<std::string> values;
  for (int i = 0; i < 1'500; ++i) {
    values.push_back("9" + std::string(999, 'x'));  // 13 MB come out
  }
  gate_sink sink;
  std::uint64_t held = 0;
  const auto end = interrupted(b, built(values), sink, [&] {
    std::uint64_t before = 0;
    // Until nothing comes any more.
    do {
      before = held;
      std::this_thread::sleep_for(200ms);
      held = b.connection.stats().bytes_received;
    } while (held != before);
  });
  ASSERT_TRUE(succeeded(end));
  // Taken by the library's output buffer, the window and a message beyond it.
  EXPECT_LT(held, (1U << 20) + 2 * (128U << 10) + 2 * (256U << 10));
  EXPECT_EQ(sink.out.records.size(), 13'500U);
  EXPECT_GT(b.connection.stats().bytes_received, 13'500'000U);
}

TEST(RemotePressure, OfOneEngineDoesNotHoldTheOthersUp) {
  served s;
  remote_bench b(s.address(), "c_identity");
  auto other = we::engine::create(b.factory).value();
  ASSERT_TRUE(succeeded(b.start()));
  ASSERT_TRUE(succeeded(finish(other.start())));
  gate_sink sink;
  const auto batch = built(numbered(10'000, 1'000));
  auto held_up = b.engine.transform(batch, sink).value();
  ASSERT_TRUE(eventually([&] {
    (void)held_up.poll();
    return sink.waits();
  }));
  std::this_thread::sleep_for(200ms);  // the windows are full
  recorder out;
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(succeeded(finish(other.transform(built(numbered(100, 1'000)), out))));
  }
  sink.open();
  ASSERT_TRUE(succeeded(finish(held_up)));
  EXPECT_EQ(sink.out.records.size(), 10'000U);
}

}  // namespace
