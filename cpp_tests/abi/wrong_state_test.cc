// SPDX-License-Identifier: Apache-2.0
//
// Calls at the wrong time or place: on another thread, in the wrong state, from inside a callback. Each gives a status,
// and nothing else happens.
#include "support/begin_transform.hh"
#include "support/c_sink.hh"

#include <gmock/gmock.h>

#include <pthread.h>
#include <unistd.h>

using namespace testing_support;
using testing::AllOf;
using testing::HasSubstr;

namespace {

wasm_callback_result done(output_block, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; }

// ---- Threads ----

TEST(WrongThread, IsRefusedByEveryFunctionOfAnEngineAndItsFutures) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  const auto batch = built({"a"});
  recorder out;
  auto operation = b.engine.transform(batch, out).value();
  auto stopped = wasmengine::engine::create(b.factory).value();
  auto over = stopped.stop().value();
  std::thread([&] {
    wasm_engine* engine = b.engine.get();
    wasm_future* future = nullptr;
    wasm_poll state{};
    wasm_engine_state engine_state{};
    std::uint64_t bytes = 0;
    c_sink sink(done);
    const auto raw = sink.raw();
    EXPECT_EQ(wasm_engine_start(engine, &future, nullptr), WASM_STATUS_WRONG_THREAD);
    EXPECT_EQ(begin_transform(engine, wasmengine::as_slice(batch), &raw, &future, nullptr), WASM_STATUS_WRONG_THREAD);
    EXPECT_EQ(wasm_engine_stop(engine, &future, nullptr), WASM_STATUS_WRONG_THREAD);
    EXPECT_EQ(wasm_engine_get_state(engine, &engine_state, nullptr), WASM_STATUS_WRONG_THREAD);
    EXPECT_EQ(wasm_engine_get_memory_size(engine, &bytes, nullptr), WASM_STATUS_WRONG_THREAD);
    EXPECT_EQ(wasm_engine_release(engine, nullptr), WASM_STATUS_WRONG_THREAD);
    for (auto* f : {operation.get(), over.get()}) {
      EXPECT_EQ(wasm_future_poll(f, nullptr, &state, nullptr), WASM_STATUS_WRONG_THREAD);
      EXPECT_EQ(wasm_future_release(f, nullptr), WASM_STATUS_WRONG_THREAD);
    }
    EXPECT_EQ(future, nullptr);
    EXPECT_EQ(sink.drops, 1);
  }).join();
  EXPECT_TRUE(succeeded(finish(operation))) << "nothing happened to the operation";
  EXPECT_THAT(out.values(), testing::ElementsAre("a"));
  EXPECT_TRUE(succeeded(finish(over)));
}

// Its stack and its control block are the next thread's. Their address is no proof of who calls.
TEST(WrongThread, AThreadThatTakesThePlaceOfTheOwnerIsRefused) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  // In a process of its own because nobody can release the engine.
  EXPECT_EXIT(
      {
        bench b("c_identity", unhurried);
        wasm_engine* engine = nullptr;
        wasm_future* future = nullptr;
        const void* place = nullptr;
        std::thread([&] {
          place = reinterpret_cast<const void*>(pthread_self());
          if (wasm_thread_prepare(b.runtime.get(), nullptr, nullptr) != WASM_STATUS_OK ||
              wasm_engine_create(b.factory.get(), nullptr, &engine, nullptr) != WASM_STATUS_OK ||
              wasm_engine_start(engine, &future, nullptr) != WASM_STATUS_OK) {
            _exit(2);
          }
        }).join();
        int successors = 0;
        for (int i = 0; i < 100; ++i) {
          std::thread([&] {
            successors += reinterpret_cast<const void*>(pthread_self()) == place ? 1 : 0;
            wasm_poll state{};
            if (wasm_future_poll(future, nullptr, &state, nullptr) != WASM_STATUS_WRONG_THREAD ||
                wasm_future_release(future, nullptr) != WASM_STATUS_WRONG_THREAD ||
                wasm_engine_release(engine, nullptr) != WASM_STATUS_WRONG_THREAD) {
              _exit(3);
            }
          }).join();
        }
        _exit(successors > 0 ? 0 : 4);
      },
      testing::ExitedWithCode(0), "");
}

TEST(WrongThread, PollsThatComeWhileTheOwnerWorksDoNoHarm) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  pending_sink sink;
  const auto batch = built({"a"});
  auto operation = begin(b, batch, sink);
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) {
      wasm_engine_state state{};
      EXPECT_EQ(wasm_engine_get_state(b.engine.get(), &state, nullptr), WASM_STATUS_WRONG_THREAD);
      wasm_future* future = nullptr;
      EXPECT_EQ(wasm_engine_stop(b.engine.get(), &future, nullptr), WASM_STATUS_WRONG_THREAD);
      wasm_poll polled{};
      EXPECT_EQ(wasm_future_poll(operation.get(), nullptr, &polled, nullptr), WASM_STATUS_WRONG_THREAD);
    }
  });
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_EQ(operation.poll().value(), WASM_POLL_PENDING);
  }
  stop = true;
  other.join();
  sink.resolve();
  EXPECT_TRUE(succeeded(finish(operation)));
}

// ---- States ----

TEST(WrongState, TransformBeforeStartAndAfterStop) {
  bench b("c_identity", unhurried);
  recorder out;
  const auto batch = built({"a"});
  const auto refused = [&] {
    auto begun = b.engine.transform(batch, out);
    ASSERT_FALSE(begun);
    EXPECT_EQ(begun.err().status(), WASM_STATUS_INVALID_STATE);
    EXPECT_THAT(begun.err().what(), HasSubstr("stopped"));
  };
  refused();
  ASSERT_TRUE(succeeded(b.start()));
  ASSERT_TRUE(succeeded(b.stop()));
  refused();
}

TEST(WrongState, StartOrTransformWhileTheEngineStarts) {
  bench b("wat_start_loop");
  auto operation = b.engine.start().value();
  recorder out;
  const auto batch = built({"a"});
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(b.engine.start().err().status(), WASM_STATUS_INVALID_STATE);
    EXPECT_EQ(b.engine.transform(batch, out).err().status(), WASM_STATUS_INVALID_STATE);
    ASSERT_EQ(operation.poll().value(), WASM_POLL_YIELDED);
  }
}

TEST(WrongState, StartWhenStarted) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  EXPECT_EQ(b.engine.start().err().status(), WASM_STATUS_INVALID_STATE);
  EXPECT_TRUE(works(b));
}

TEST(WrongState, StartOrTransformDuringATransform) {
  bench b("wat_traps");
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto batch = built({"l"});
  auto operation = b.engine.transform(batch, out).value();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(b.engine.start().err().status(), WASM_STATUS_INVALID_STATE);
    EXPECT_EQ(b.engine.transform(batch, out).err().status(), WASM_STATUS_INVALID_STATE);
    EXPECT_EQ(b.state(), WASM_ENGINE_STATE_TRANSFORMING);
    ASSERT_EQ(operation.poll().value(), WASM_POLL_YIELDED);
  }
}

TEST(WrongState, PollAfterReady) {
  bench b("c_identity", unhurried);
  auto start = b.engine.start().value();
  ASSERT_EQ(start.poll().value(), WASM_POLL_READY);
  EXPECT_EQ(start.poll().err().status(), WASM_STATUS_INVALID_STATE);
  auto stop = b.engine.stop().value();
  ASSERT_EQ(stop.poll().value(), WASM_POLL_READY);
  EXPECT_EQ(stop.poll().err().status(), WASM_STATUS_INVALID_STATE);
}

TEST(WrongState, StopTwiceIsFine) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.stop()));
  ASSERT_TRUE(succeeded(b.start()));
  ASSERT_TRUE(succeeded(b.stop()));
  ASSERT_TRUE(succeeded(b.stop()));
}

TEST(WrongState, AnEnginesFutureHasNoFactory) {
  bench b("c_identity", unhurried);
  auto start = b.engine.start().value();
  wasm_factory* factory = nullptr;
  EXPECT_EQ(wasm_future_take_factory(start.get(), &factory, nullptr), WASM_STATUS_NO_RESULT);
  EXPECT_TRUE(succeeded(finish(start)));
}

TEST(WrongState, ABatchThatIsRefusedLeavesTheEngineAsItWas) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  auto damaged = built({"a"});
  damaged.back() ^= 1;
  recorder out;
  const auto end = b.transform(damaged, out);
  EXPECT_EQ(end.status, WASM_STATUS_BATCH_CRC);
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_IDLE);
  EXPECT_TRUE(works(b));
}

// ---- From inside callbacks ----

struct attempts {
  std::vector<wasm_status> statuses;

  void make(wasm_engine* engine, wasm_future* future, kafka::view batch) {
    wasm_future* made = nullptr;
    wasm_poll state{};
    c_sink sink(done);
    const auto raw = sink.raw();
    statuses.push_back(wasm_engine_start(engine, &made, nullptr));
    statuses.push_back(begin_transform(engine, wasmengine::as_slice(batch), &raw, &made, nullptr));
    statuses.push_back(wasm_engine_stop(engine, &made, nullptr));
    statuses.push_back(wasm_engine_release(engine, nullptr));
    statuses.push_back(wasm_future_poll(future, nullptr, &state, nullptr));
    statuses.push_back(wasm_future_release(future, nullptr));
    EXPECT_EQ(sink.drops, 1);
    EXPECT_EQ(made, nullptr);
  }
};

TEST(Reentry, FromTheSinkIsBusy) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  attempts tried;
  wasmengine::future operation;
  const auto batch = built({"a"});
  c_sink sink([&](output_block, wasm_call*) {
    tried.make(b.engine.get(), operation.get(), batch);
    return WASM_CALLBACK_RESULT_DONE;
  });
  operation = begin(b, batch, sink);
  EXPECT_EQ(operation.poll().value(), WASM_POLL_READY);
  EXPECT_THAT(tried.statuses, AllOf(testing::SizeIs(6), testing::Each(WASM_STATUS_BUSY)));
  EXPECT_TRUE(works(b));
}

TEST(Reentry, FromTheLogIsBusy) {
  attempts tried;
  wasmengine::engine engine;
  wasmengine::future operation;
  const auto batch = built({"a"});
  const auto runtime = wasmengine::runtime::create(unhurried, [&](const wasmengine::log_line&) {
                         if (tried.statuses.empty()) {
                           tried.make(engine.get(), operation.get(), batch);
                         }
                       }).value();
  engine = wasmengine::engine::create(compile(runtime, "c_logger")).value();
  ASSERT_TRUE(succeeded(finish(engine.start())));
  recorder out;
  operation = engine.transform(batch, out).value();
  EXPECT_EQ(operation.poll().value(), WASM_POLL_READY);
  EXPECT_THAT(tried.statuses, AllOf(testing::SizeIs(6), testing::Each(WASM_STATUS_BUSY)));
}

TEST(Reentry, FromTheDropOfASinkIsBusyHoweverTheOperationEnded) {
  bench b("wat_traps");
  for (const auto* value : {"a", "u"}) {
    if (b.state() == WASM_ENGINE_STATE_STOPPED) {
      ASSERT_TRUE(succeeded(b.start()));
    }
    attempts tried;
    wasmengine::future operation;
    const auto batch = built({value});
    c_sink sink(done);
    sink.on_drop = [&] { tried.make(b.engine.get(), operation.get(), batch); };
    operation = begin(b, batch, sink);
    for (auto polled = operation.poll(); polled && *polled == WASM_POLL_YIELDED;) {
      polled = operation.poll();
    }
    EXPECT_THAT(tried.statuses, AllOf(testing::SizeIs(6), testing::Each(WASM_STATUS_BUSY))) << value;
  }
}

TEST(Reentry, OfAnotherEngineFromASinkIsAllowed) {
  bench a("c_identity", unhurried);
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(a.start()));
  ASSERT_TRUE(succeeded(b.start()));
  recorder inner;
  const auto batch = built({"a"});
  c_sink sink([&](output_block, wasm_call*) {
    EXPECT_TRUE(succeeded(b.transform(batch, inner)));
    return WASM_CALLBACK_RESULT_DONE;
  });
  auto operation = begin(a, batch, sink);
  EXPECT_TRUE(succeeded(finish(operation)));
  EXPECT_THAT(inner.values(), testing::ElementsAre("a"));
}

TEST(Reentry, TheStateMayBeAskedForFromASink) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  c_sink sink([&](output_block, wasm_call*) {
    EXPECT_EQ(b.state(), WASM_ENGINE_STATE_TRANSFORMING);
    EXPECT_GT(b.engine.memory_size().value(), 0U);
    return WASM_CALLBACK_RESULT_DONE;
  });
  const auto batch = built({"a"});
  auto operation = begin(b, batch, sink);
  EXPECT_TRUE(succeeded(finish(operation)));
}

}  // namespace
