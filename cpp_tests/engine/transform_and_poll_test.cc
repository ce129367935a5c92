// SPDX-License-Identifier: Apache-2.0
//
// Transforms that begin and are polled in one call.
#include "support/asking.hh"
#include "support/bench.hh"
#include "support/c_sink.hh"
#include "support/driver.hh"

#include <gmock/gmock.h>

#include <pthread.h>
#include <signal.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace testing_support;
using testing::ElementsAre;
using testing::SizeIs;

namespace {

/// What a call gave.
struct attempt {
  attempt(wasm_engine* engine, kafka::view batch, c_sink& sink, const wasm_waker* waker = nullptr,
          std::uint32_t first_record = 0) {
    const auto raw_sink = sink.raw();
    wasm_future* raw = untouched;
    const wasm_transform_args args{sizeof(args), wasmengine::as_slice(batch), &raw_sink, first_record};
    status = wasm_engine_transform_and_poll(engine, &args, waker, &state, &raw, nullptr);
    EXPECT_EQ(raw == untouched, status != WASM_STATUS_OK) << "written on success only";
    operation = wasmengine::future(status == WASM_STATUS_OK ? raw : nullptr);
  }
  static inline wasm_future* const untouched = reinterpret_cast<wasm_future*>(alignof(std::max_align_t));

  wasm_status status;
  wasm_poll state = WASM_POLL_PENDING;
  wasmengine::future operation;
};

/// A sink that keeps everything.
struct keeping : c_sink {
  keeping()
      : c_sink([this](output_block block, wasm_call*) -> wasm_callback_result {
          kept(block);
          return WASM_CALLBACK_RESULT_DONE;
        }) {}
  recorder kept;
};

struct AtOnce : testing::Test {
  AtOnce() : guest([this](std::int64_t, answer a) { asked.push_back(std::move(a)); }, unhurried) {}

  std::vector<answer> asked;
  asking guest;
  waker_tally wakers;
  keeping sink;
};

TEST_F(AtOnce, ABatchThatIsOverNeedsNoFuture) {
  const auto engine = guest.started();
  const auto batch = built({"a", "b"});
  const auto waker = wakers.give();
  const attempt got(engine.get(), batch, sink, &waker);
  EXPECT_EQ(got.status, WASM_STATUS_OK);
  EXPECT_EQ(got.state, WASM_POLL_READY);
  EXPECT_FALSE(got.operation);
  EXPECT_THAT(sink.kept.values(), ElementsAre("a", "b"));
  EXPECT_EQ(sink.drops, 1);
  EXPECT_EQ(wakers.dropped(), 1);
  EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_IDLE);
}

TEST_F(AtOnce, GoesOnFromTheRecordThatIsAskedFor) {
  const auto engine = guest.started();
  const auto batch = built({"a", "b", "c"});
  const attempt got(engine.get(), batch, sink, nullptr, 2);
  EXPECT_EQ(got.state, WASM_POLL_READY);
  EXPECT_THAT(sink.kept.values(), ElementsAre("c"));
}

TEST_F(AtOnce, OneThatWaitsForTheHostGivesAFuture) {
  const auto engine = guest.started();
  const auto batch = built({"w"});
  const auto waker = wakers.give();
  attempt got(engine.get(), batch, sink, &waker);
  ASSERT_EQ(got.status, WASM_STATUS_OK);
  EXPECT_EQ(got.state, WASM_POLL_PENDING);
  ASSERT_TRUE(got.operation);
  EXPECT_EQ(wakers.alive(), 1);
  ASSERT_THAT(asked, SizeIs(1));
  ASSERT_TRUE(asked[0].resolve(std::int64_t{42}));
  EXPECT_EQ(wakers.woken(), 1);
  EXPECT_TRUE(succeeded(finish(got.operation)));
  EXPECT_THAT(sink.kept.values(), ElementsAre("w"));
  EXPECT_EQ(sink.drops, 1);
}

TEST_F(AtOnce, OneThatIsReleasedIsCancelled) {
  const auto engine = guest.started();
  const auto batch = built({"w"});
  attempt got(engine.get(), batch, sink);
  ASSERT_TRUE(got.operation);
  got.operation = {};
  EXPECT_EQ(sink.drops, 1);
  EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED);
}

TEST_F(AtOnce, AFailureLeavesNothing) {
  const auto engine = guest.started();
  const auto batch = built({"a", "u"});
  const auto waker = wakers.give();
  const attempt got(engine.get(), batch, sink, &waker);
  EXPECT_EQ(got.status, WASM_STATUS_GUEST_TRAP);
  EXPECT_THAT(sink.kept.values(), ElementsAre("a"));
  EXPECT_EQ(sink.drops, 1);
  EXPECT_EQ(wakers.dropped(), 1);
  EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED);
}

TEST_F(AtOnce, MisuseUsesSinkAndWakerUp) {
  const auto stopped = guest.engine();
  const auto engine = guest.started();
  const auto batch = built({"a"});
  const auto refused = [&](wasm_engine* e, kafka::view bytes, std::uint32_t first, wasm_status expected) {
    const auto waker = wakers.give();
    const int drops = sink.drops;
    EXPECT_EQ(attempt(e, bytes, sink, &waker, first).status, expected);
    EXPECT_EQ(sink.drops, drops + 1);
    EXPECT_EQ(wakers.dropped(), wakers.given());
  };
  refused(nullptr, batch, 0, WASM_STATUS_NULL_ARGUMENT);
  refused(stopped.get(), batch, 0, WASM_STATUS_INVALID_STATE);
  refused(engine.get(), {}, 0, WASM_STATUS_BATCH_TRUNCATED);
  refused(engine.get(), batch, 1, WASM_STATUS_INVALID_ARGUMENT);
  keeping another;
  EXPECT_EQ(attempt(engine.get(), batch, another).state, WASM_POLL_READY) << "none of it harmed the engine";

  keeping unused;
  const auto raw = unused.raw();
  wasm_poll state{};
  wasm_future* future = nullptr;
  wasm_transform_args args{sizeof(args), wasmengine::as_slice(batch), &raw, 0};
  EXPECT_EQ(wasm_engine_transform_and_poll(engine.get(), &args, nullptr, nullptr, &future, nullptr),
            WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_engine_transform_and_poll(engine.get(), &args, nullptr, &state, nullptr, nullptr),
            WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(unused.drops, 2);
  EXPECT_EQ(wasm_engine_transform_and_poll(engine.get(), nullptr, nullptr, &state, &future, nullptr),
            WASM_STATUS_NULL_ARGUMENT);
  args.size = 8;
  EXPECT_EQ(wasm_engine_transform_and_poll(engine.get(), &args, nullptr, &state, &future, nullptr),
            WASM_STATUS_INVALID_STRUCT_SIZE);
  EXPECT_EQ(unused.drops, 2) << "a sink that could not be read";
  EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_IDLE) << "nothing had begun";
}

TEST_F(AtOnce, TheSinkCannotReleaseTheEngineUnderTheCall) {
  auto engine = guest.started();
  const auto batch = built({"a"});
  wasm_status released = WASM_STATUS_OK;
  sink.on_drop = [&] { released = wasm_engine_release(engine.get(), nullptr); };
  EXPECT_EQ(attempt(engine.get(), batch, sink).state, WASM_POLL_READY);
  EXPECT_EQ(released, WASM_STATUS_BUSY);
}

TEST_F(AtOnce, IsOneCallInCppToo) {
  auto engine = guest.started();
  const auto batch = built({"a"});
  recorder out;
  EXPECT_FALSE(engine.transform_and_poll(batch, out).value()) << "an empty future";
  EXPECT_THAT(out.values(), ElementsAre("a"));
  const auto waiting = built({"w"});
  EXPECT_TRUE(engine.transform_and_poll(waiting, out).value());
}

TEST_F(AtOnce, WorksUnderAPolicyAndForUsersOfASharedEngine) {
  auto governed = guest.engine();
  governed.set_policy({.on_error = WASM_ON_ERROR_SKIP}).value();
  ASSERT_TRUE(succeeded(finish(governed.start())));
  const auto poison = built({"a", "u", "b"});
  attempt skipping(governed.get(), poison, sink);
  ASSERT_EQ(skipping.status, WASM_STATUS_OK);
  ASSERT_TRUE(skipping.operation) << "the guest is started again, which takes more polls";
  EXPECT_TRUE(succeeded(finish(skipping.operation)));
  EXPECT_THAT(sink.kept.values(), ElementsAre("a", "b"));

  auto mine = wasmengine::engine::create_shared(guest.factory).value();
  auto yours = wasmengine::engine::create_shared(guest.factory).value();
  ASSERT_TRUE(succeeded(finish(mine.start())));
  ASSERT_TRUE(succeeded(finish(yours.start())));
  const auto waits = built({"w"});
  const auto copies = built({"c"});
  keeping my_sink;
  keeping your_sink;
  attempt first(mine.get(), waits, my_sink);
  EXPECT_EQ(first.state, WASM_POLL_PENDING);
  attempt second(yours.get(), copies, your_sink);
  EXPECT_EQ(second.state, WASM_POLL_PENDING) << "it waits for its turn";
  ASSERT_TRUE(asked.back().resolve(std::int64_t{42}));
  EXPECT_TRUE(succeeded(finish(first.operation)));
  EXPECT_TRUE(succeeded(finish(second.operation)));
  EXPECT_THAT(my_sink.kept.values(), ElementsAre("w"));
  EXPECT_THAT(your_sink.kept.values(), ElementsAre("c"));
}

TEST_F(AtOnce, WhatCanBeMendedIsLeftToTheNextPoll) {
  wasm_runtime_config config = unhurried;
  config.signal_check = WASM_SIGNAL_CHECK_EACH_POLL;
  const asking watched([](std::int64_t n) { return 2 * n; }, config);
  const auto engine = watched.started();
  const auto batch = built({"a"});
  sigset_t fault;
  sigemptyset(&fault);
  sigaddset(&fault, SIGFPE);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &fault, nullptr), 0);
  attempt got(engine.get(), batch, sink);
  // In some modes of the whole suite (support/modes.cc) no signal is needed.
  const char* modes = std::getenv("WASM_ENGINE_TEST_MODES");
  if (modes != nullptr && std::string_view(modes).find("checks") != std::string_view::npos) {
    ASSERT_EQ(pthread_sigmask(SIG_UNBLOCK, &fault, nullptr), 0);
    EXPECT_EQ(got.state, WASM_POLL_READY);
    return;
  }
  EXPECT_EQ(got.status, WASM_STATUS_OK);
  EXPECT_EQ(got.state, WASM_POLL_YIELDED);
  ASSERT_TRUE(got.operation);
  EXPECT_EQ(got.operation.poll().err().status(), WASM_STATUS_SIGNALS_BLOCKED);
  ASSERT_EQ(pthread_sigmask(SIG_UNBLOCK, &fault, nullptr), 0);
  EXPECT_TRUE(succeeded(finish(got.operation)));
  EXPECT_THAT(sink.kept.values(), ElementsAre("a"));
}

}  // namespace
