// SPDX-License-Identifier: Apache-2.0
//
// Sinks: what they may answer, when, from where, and what becomes of their promises.
#include "support/begin_transform.hh"
#include "support/c_sink.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

outcome transform(bench& b, const std::vector<std::string>& values, c_sink& sink) {
  const auto batch = built(values);
  auto operation = begin(b, batch, sink);
  return finish(operation);
}

TEST(Sink, ThatAnswersPendingIsWaitedForAndItsBlockStays) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  std::vector<std::thread> threads;
  c_sink sink([&](output_block block, wasm_call* call) -> wasm_callback_result {
    wasm_promise* promise = nullptr;
    EXPECT_EQ(wasm_call_promise(call, &promise, nullptr), WASM_STATUS_OK);
    threads.emplace_back([&out, block, promise] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      out(block);
      EXPECT_EQ(wasm_promise_resolve(promise, nullptr), WASM_STATUS_OK);
      wasm_promise_release(promise);
    });
    return WASM_CALLBACK_RESULT_PENDING;
  });
  const std::vector<std::string> in(2'000, std::string(500, 'x'));
  const auto end = transform(b, in, sink);
  for (auto& t : threads) {
    t.join();
  }
  EXPECT_TRUE(succeeded(end));
  EXPECT_EQ(out.values(), in);
  EXPECT_GT(end.pendings, 3) << "a megabyte comes in several blocks";
  EXPECT_EQ(sink.drops, 1);
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_IDLE);
}

TEST(Sink, ThatIsPendingKeepsTheGuestFromRunning) {
  wasm_runtime_config config{};
  config.output_buffer_limit = 8 << 10;
  bench b("c_tee", config);
  ASSERT_TRUE(succeeded(b.start()));
  pending_sink sink;
  const auto batch = built(std::vector<std::string>(50, "9" + std::string(500, 'x')));
  auto operation = begin(b, batch, sink);
  std::size_t records = 0;
  for (;;) {
    const auto state = operation.poll().value();
    if (state == WASM_POLL_READY) {
      break;
    }
    if (state == WASM_POLL_YIELDED) {
      continue;
    }
    const auto calls = sink.calls;
    std::size_t bytes = 0;
    for (const auto& r : sink.block) {
      bytes += r.payload_size;
    }
    EXPECT_LE(bytes, 8U << 10);
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(operation.poll().value(), WASM_POLL_PENDING);
    }
    EXPECT_EQ(sink.calls, calls);
    records += sink.block.size();
    sink.resolve();
  }
  EXPECT_EQ(records, 450U);
}

TEST(Sink, MayResolveItsPromiseBeforeItReturns) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  c_sink sink([](output_block, wasm_call* call) -> wasm_callback_result {
    wasm_promise* promise = nullptr;
    EXPECT_EQ(wasm_call_promise(call, &promise, nullptr), WASM_STATUS_OK);
    EXPECT_EQ(wasm_promise_resolve(promise, nullptr), WASM_STATUS_OK);
    wasm_promise_release(promise);
    return WASM_CALLBACK_RESULT_PENDING;
  });
  const auto end = transform(b, {"a"}, sink);
  EXPECT_TRUE(succeeded(end));
  EXPECT_EQ(end.pendings, 0);
}

TEST(Sink, MayTakeAPromiseAndFinishAtOnceAllTheSame) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  wasm_promise* promise = nullptr;
  c_sink sink([&](output_block, wasm_call* call) -> wasm_callback_result {
    EXPECT_EQ(wasm_call_promise(call, &promise, nullptr), WASM_STATUS_OK);
    return WASM_CALLBACK_RESULT_DONE;
  });
  EXPECT_TRUE(succeeded(transform(b, {"a"}, sink)));
  EXPECT_EQ(wasm_promise_reject(promise, {}, nullptr), WASM_STATUS_OK) << "nobody waits for it";
  wasm_promise_release(promise);
  EXPECT_TRUE(works(b));
}

TEST(Sink, ThatRejectsItsPromiseFailsTheTransformWithItsReason) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  c_sink sink([](output_block, wasm_call* call) -> wasm_callback_result {
    wasm_promise* promise = nullptr;
    EXPECT_EQ(wasm_call_promise(call, &promise, nullptr), WASM_STATUS_OK);
    EXPECT_EQ(wasm_promise_reject(promise, wasmengine::as_slice("the disk is full"), nullptr), WASM_STATUS_OK);
    wasm_promise_release(promise);
    return WASM_CALLBACK_RESULT_PENDING;
  });
  const auto end = transform(b, {"a"}, sink);
  EXPECT_EQ(end.status, WASM_STATUS_OUTPUT_REJECTED);
  EXPECT_THAT(end.message(), HasSubstr("the disk is full"));
  EXPECT_EQ(sink.drops, 1);
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_TRUE(works(b));
}

TEST(Sink, ThatDropsItsPromiseFailsTheTransformAndNeverHangsIt) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  std::thread later;
  c_sink sink([&](output_block, wasm_call* call) -> wasm_callback_result {
    wasm_promise* promise = nullptr;
    EXPECT_EQ(wasm_call_promise(call, &promise, nullptr), WASM_STATUS_OK);
    later = std::thread([promise] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      wasm_promise_release(promise);
    });
    return WASM_CALLBACK_RESULT_PENDING;
  });
  const auto end = transform(b, {"a"}, sink);
  later.join();
  EXPECT_EQ(end.status, WASM_STATUS_OUTPUT_REJECTED);
  EXPECT_THAT(end.message(), HasSubstr("dropped"));
  EXPECT_TRUE(works(b));
}

TEST(Sink, ThatFailsAnswersNonsenseOrPendingWithoutAPromiseFailsTheTransform) {
  bench b("c_identity", unhurried);
  for (const auto answer : {WASM_CALLBACK_RESULT_FAILED, WASM_CALLBACK_RESULT_PENDING, WASM_CALLBACK_RESULT_AGAIN,
                            wasm_callback_result{UINT32_MAX}}) {
    ASSERT_TRUE(succeeded(b.start()));
    c_sink sink([answer](output_block, wasm_call*) { return answer; });
    const auto end = transform(b, {"a"}, sink);
    EXPECT_EQ(end.status, WASM_STATUS_OUTPUT_REJECTED) << answer;
    EXPECT_EQ(sink.calls, 1);
    EXPECT_EQ(sink.drops, 1);
    EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
  }
  EXPECT_TRUE(works(b));
}

TEST(Sink, ThatFailsInTheMiddleIsNotCalledAgain) {
  wasm_runtime_config config{};
  config.output_buffer_limit = 4 << 10;
  bench b("c_identity", config);
  ASSERT_TRUE(succeeded(b.start()));
  int left = 3;
  c_sink sink([&left](output_block, wasm_call*) { return --left > 0 ? WASM_CALLBACK_RESULT_DONE : WASM_CALLBACK_RESULT_FAILED; });
  EXPECT_EQ(transform(b, std::vector<std::string>(500, std::string(200, 'x')), sink).status, WASM_STATUS_OUTPUT_REJECTED);
  EXPECT_EQ(sink.calls, 3);
  EXPECT_TRUE(works(b));
}

TEST(Sink, ThatTakesTwoPromisesIsRefusedTheSecondOrWaitsForIt) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  wasm_promise* first = nullptr;
  wasm_promise* second = nullptr;
  c_sink sink([&](output_block, wasm_call* call) -> wasm_callback_result {
    EXPECT_EQ(wasm_call_promise(call, &first, nullptr), WASM_STATUS_OK);
    (void)wasm_call_promise(call, &second, nullptr);
    return WASM_CALLBACK_RESULT_PENDING;
  });
  const auto batch = built({"a"});
  auto operation = begin(b, batch, sink);
  ASSERT_EQ(operation.poll().value(), WASM_POLL_PENDING);
  for (auto* promise : {first, second}) {
    if (promise != nullptr) {
      EXPECT_EQ(wasm_promise_resolve(promise, nullptr), WASM_STATUS_OK);
    }
    wasm_promise_release(promise);
  }
  EXPECT_EQ(operation.poll().value(), WASM_POLL_READY);
}

TEST(SinkPromise, IsSettledOnce) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  pending_sink sink;
  const auto batch = built({"a"});
  auto operation = begin(b, batch, sink);
  ASSERT_EQ(operation.poll().value(), WASM_POLL_PENDING);
  EXPECT_EQ(wasm_promise_resolve(sink.promise, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(wasm_promise_resolve(sink.promise, nullptr), WASM_STATUS_PROMISE_SETTLED);
  EXPECT_EQ(wasm_promise_reject(sink.promise, wasmengine::as_slice("late"), nullptr), WASM_STATUS_PROMISE_SETTLED);
  EXPECT_EQ(operation.poll().value(), WASM_POLL_READY);
}

TEST(SinkPromise, MayBeSettledWhenFutureEngineFactoryAndRuntimeAreGone) {
  for (const bool resolves : {true, false}) {
    auto b = std::make_unique<bench>("c_identity", unhurried);
    ASSERT_TRUE(succeeded(b->start()));
    pending_sink sink;
    const auto batch = built({"a"});
    auto operation = begin(*b, batch, sink);
    ASSERT_EQ(operation.poll().value(), WASM_POLL_PENDING);
    operation = wasmengine::future();
    b.reset();
    std::thread([&] {
      EXPECT_EQ(resolves ? wasm_promise_resolve(sink.promise, nullptr)
                         : wasm_promise_reject(sink.promise, wasmengine::as_slice("why"), nullptr),
                WASM_STATUS_OK);
      EXPECT_EQ(wasm_promise_resolve(sink.promise, nullptr), WASM_STATUS_PROMISE_SETTLED);
    }).join();
  }
}

TEST(SinkPromise, AReasonThatIsNotUtf8IsEscaped) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  pending_sink sink;
  const auto batch = built({"a"});
  auto operation = begin(b, batch, sink);
  ASSERT_EQ(operation.poll().value(), WASM_POLL_PENDING);
  EXPECT_EQ(wasm_promise_reject(sink.promise, wasmengine::as_slice("full\xff"), nullptr), WASM_STATUS_OK);
  const auto polled = operation.poll();
  ASSERT_FALSE(polled);
  EXPECT_EQ(polled.err().status(), WASM_STATUS_OUTPUT_REJECTED);
  EXPECT_THAT(polled.err().what(), testing::HasSubstr("full\\xff"));
}

TEST(SinkPromise, SettledByOtherThreadsWhileTheEngineThreadPollsAndReleases) {
  bench b("c_identity", unhurried);
  for (int i = 0; i < 300; ++i) {
    if (b.state() == WASM_ENGINE_STATE_STOPPED) {
      ASSERT_TRUE(succeeded(b.start()));
    }
    pending_sink sink;
    waker_tally wakers;
    const auto batch = built({"a"});
    auto operation = begin(b, batch, sink);
    auto waker = wakers.give();
    ASSERT_EQ(operation.poll(&waker).value(), WASM_POLL_PENDING);
    std::thread settler([&] { EXPECT_EQ(wasm_promise_resolve(sink.promise, nullptr), WASM_STATUS_OK); });
    if (i % 2 == 0) {
      for (bool ready = false; !ready;) {
        waker = wakers.give();
        ready = operation.poll(&waker).value() == WASM_POLL_READY;
      }
    }
    operation = wasmengine::future();
    settler.join();
    EXPECT_EQ(wakers.alive(), 0);
    EXPECT_EQ(sink.drops, 1);
  }
}

TEST(Sink, OutputBeforeATrapIsWaitedForBeforeTheErrorComes) {
  bench b("wat_traps", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  pending_sink sink;
  const auto batch = built({"a", "u"});
  auto operation = begin(b, batch, sink);
  ASSERT_EQ(operation.poll().value(), WASM_POLL_PENDING);
  EXPECT_EQ(sink.block.size(), 1U);
  sink.resolve();
  const auto end = finish(operation);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP);
  EXPECT_EQ(end.why->record()->index, 1U);
  EXPECT_EQ(sink.drops, 1);
}

TEST(Sink, IsDroppedOnceAlsoIfTheTransformIsRefused) {
  bench b("c_identity", unhurried);
  const auto refused = [&](kafka::view batch, wasm_engine* engine, bool with_future, wasm_status expected) {
    c_sink sink([](output_block, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; });
    const auto raw = sink.raw();
    wasm_future* future = nullptr;
    EXPECT_EQ(begin_transform(engine, wasmengine::as_slice(batch), &raw, with_future ? &future : nullptr, nullptr),
              expected);
    EXPECT_EQ(future, nullptr);
    EXPECT_EQ(sink.drops, 1);
    EXPECT_EQ(sink.calls, 0);
  };
  const auto batch = built({"a"});
  refused(batch, b.engine.get(), true, WASM_STATUS_INVALID_STATE);
  ASSERT_TRUE(succeeded(b.start()));
  refused(batch, nullptr, true, WASM_STATUS_NULL_ARGUMENT);
  refused(batch, b.engine.get(), false, WASM_STATUS_NULL_ARGUMENT);
  std::thread([&] { refused(batch, b.engine.get(), true, WASM_STATUS_WRONG_THREAD); }).join();
  EXPECT_TRUE(works(b));
}

TEST(Sink, IsDroppedOnceIfTheBatchIsRefused) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  for (int i = 0; i < 2; ++i) {
    c_sink sink([](output_block, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; });
    const auto raw = sink.raw();
    wasm_future* future = nullptr;
    ASSERT_EQ(begin_transform(b.engine.get(), wasm_slice{}, &raw, &future, nullptr), WASM_STATUS_OK) << i;
    wasm_poll state{};
    EXPECT_EQ(wasm_future_poll(future, nullptr, &state, nullptr), WASM_STATUS_BATCH_TRUNCATED);
    EXPECT_EQ(sink.drops, 1);
    EXPECT_EQ(sink.calls, 0);
    EXPECT_EQ(b.engine.state().value(), WASM_ENGINE_STATE_IDLE) << "its guest has seen nothing of the batch";
    EXPECT_EQ(wasm_future_poll(future, nullptr, &state, nullptr), WASM_STATUS_INVALID_STATE);
    EXPECT_EQ(wasm_future_release(future, nullptr), WASM_STATUS_OK);
    EXPECT_TRUE(works(b));
  }
}

TEST(Sink, MayHaveNoDropFunction) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  const wasm_output_sink raw{sizeof raw, nullptr, nullptr,
                             [](void*, const wasm_output_record*, std::size_t, wasm_call*) -> wasm_callback_result {
                               return WASM_CALLBACK_RESULT_DONE;
                             },
                             nullptr};
  const auto batch = built({"a"});
  wasmengine::future operation;
  ASSERT_EQ(begin_transform(b.engine.get(), wasmengine::as_slice(batch), &raw, operation.out(), nullptr),
            WASM_STATUS_OK);
  EXPECT_TRUE(succeeded(finish(operation)));
}

}  // namespace
