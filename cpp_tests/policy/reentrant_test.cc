// SPDX-License-Identifier: Apache-2.0
//
// Callbacks that come back to the engine that they are called by: each call answers, and nothing is freed.
#include "support/begin_transform.hh"
#include "support/policy.hh"

#include <gmock/gmock.h>

using namespace testing_support;

namespace {

/// Everything that can be called with an engine, and what must come of it in a callback.
class caller {
 public:
  caller(policed& p, wasmengine::future& operation, wasmengine::future& old)
      : _engine(p.engine.get()), _operation(operation), _old(old) {}

  void operator()(const char* where) {
    SCOPED_TRACE(where);
    ++calls;
    wasm_engine_state state = WASM_ENGINE_STATE_STOPPED;
    EXPECT_EQ(wasm_engine_get_state(_engine, &state, nullptr), WASM_STATUS_OK);
    wasm_engine_stats tally{};
    tally.size = sizeof(tally);
    EXPECT_EQ(wasm_engine_get_stats(_engine, &tally, nullptr), WASM_STATUS_OK);
    wasm_error* last = nullptr;
    EXPECT_EQ(wasm_engine_get_last_error(_engine, &last, nullptr), WASM_STATUS_OK);
    wasm_error_release(last);
    std::uint64_t bytes = 0;
    EXPECT_EQ(wasm_engine_get_memory_size(_engine, &bytes, nullptr), WASM_STATUS_OK);

    wasm_future* future = nullptr;
    EXPECT_EQ(wasm_engine_start(_engine, &future, nullptr), WASM_STATUS_BUSY);
    EXPECT_EQ(wasm_engine_stop(_engine, &future, nullptr), WASM_STATUS_BUSY);
    const auto sink = _sink.raw();
    const auto drops = _sink.drops;
    const auto batch = built({"k"});
    EXPECT_EQ(begin_transform_from(_engine, wasmengine::as_slice(kafka::view(batch)), 0, &sink, &future, nullptr),
              WASM_STATUS_BUSY);
    EXPECT_EQ(_sink.drops, drops + 1);
    EXPECT_EQ(future, nullptr);
    const wasm_engine_policy policy{sizeof(policy), WASM_ON_ERROR_FAIL, 0, 0, 0, nullptr, 0, 0, 0, 0, 0, 0};
    EXPECT_EQ(wasm_engine_set_policy(_engine, &policy, nullptr), WASM_STATUS_BUSY);
    EXPECT_EQ(wasm_engine_release(_engine, nullptr), WASM_STATUS_BUSY);
    for (auto* f : {&_operation, &_old}) {
      if (*f) {
        wasm_poll polled = WASM_POLL_READY;
        EXPECT_EQ(wasm_future_poll(f->get(), nullptr, &polled, nullptr), WASM_STATUS_BUSY);
        EXPECT_EQ(wasm_future_release(f->get(), nullptr), WASM_STATUS_BUSY);
      }
    }
  }

  int calls = 0;

 private:
  wasm_engine* _engine;
  wasmengine::future& _operation;
  wasmengine::future& _old;
  c_sink _sink{[](output_block, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; }};
};

/// A waker whose drop and wake come back.
struct returning_waker {
  caller* call;

  static wasm_waker make(caller& c) {
    return {new returning_waker{&c}, [](void* data) { delete static_cast<returning_waker*>(data); },
            [](void* data) {
              (*static_cast<returning_waker*>(data)->call)("a waker's drop");
              delete static_cast<returning_waker*>(data);
            }};
  }
};

struct returning_timer {
  std::function<void(const char*)> call;
  nanoseconds now() noexcept {
    call("now");
    return time;
  }
  void sleep(nanoseconds t, wasmengine::promise p) {
    call("sleep");
    time += t;
    EXPECT_TRUE(p.resolve());
  }
  nanoseconds time{seconds(5)};
};

TEST(Reentrant, CallsAreRefusedFromSinksTimersWakersAndDrops) {
  policed p(unhurried);
  wasmengine::future operation;
  auto old = p.engine.start().value();
  ASSERT_TRUE(succeeded(finish(p.engine.stop())));
  caller call(p, operation, old);
  returning_timer timer{[&](const char* where) { call(where); }};
  p.engine.set_policy({.on_error = WASM_ON_ERROR_DEAD_LETTER}, timer).value();
  *p.starts = {false, false, true, false, true};

  operation = p.engine.start().value();
  const auto run = [&] {
    for (auto state = WASM_POLL_YIELDED; state != WASM_POLL_READY;) {
      // Wakers that are dropped by a poll, not by a release.
      const auto waker = returning_waker::make(call);
      state = operation.poll(&waker).value();
      EXPECT_NE(state, WASM_POLL_PENDING);
    }
    operation = wasmengine::future();
  };
  run();
  EXPECT_GT(call.calls, 4);
  const auto before = call.calls;

  const auto values = values_with('u', 4, {1, 3});
  const auto batch = built(values);
  recorder out;
  c_sink sink([&](output_block block, wasm_call* c) -> wasm_callback_result {
    call("a sink");
    out(block);
    wasm_promise* promise = nullptr;
    EXPECT_EQ(wasm_call_promise(c, &promise, nullptr), WASM_STATUS_OK);
    EXPECT_EQ(wasm_promise_resolve(promise, nullptr), WASM_STATUS_OK);
    wasm_promise_release(promise);
    return WASM_CALLBACK_RESULT_PENDING;
  });
  sink.on_drop = [&] { call("a sink's drop"); };
  operation = begin(p, batch, sink);
  run();
  EXPECT_GT(call.calls, before + 8);
  EXPECT_EQ(out.values(), values);
  EXPECT_EQ(sink.drops, 1);
  EXPECT_EQ(p.stats().dead_lettered, 2U);
  EXPECT_TRUE(p.works());
  old = wasmengine::future();
}

TEST(Reentrant, CallsAreRefusedFromWhatIsDroppedByAStopARefusalAndTheEnd) {
  policed p(unhurried);
  wasmengine::future operation;
  wasmengine::future none;
  caller call(p, operation, none);
  p.set({.on_error = WASM_ON_ERROR_DEAD_LETTER});
  const auto batch = built({"u"});
  for (const bool stops : {true, false}) {
    ASSERT_TRUE(succeeded(p.start()));
    pending_sink sink;
    sink.on_drop = [&] {
      const auto before = call.calls;
      call("a sink's drop");
      EXPECT_EQ(call.calls, before + 1);
    };
    auto going_on = begin(p, batch, sink);
    while (sink.promise == nullptr) {
      (void)going_on.poll().value();
    }
    ASSERT_EQ(going_on.poll().value(), WASM_POLL_PENDING);
    if (stops) {
      EXPECT_TRUE(succeeded(finish(p.engine.stop())));
    } else {
      going_on = wasmengine::future();
    }
    EXPECT_EQ(sink.drops, 1);
    EXPECT_EQ(p.state(), WASM_ENGINE_STATE_STOPPED);
  }
  EXPECT_EQ(call.calls, 2);

  // A policy that is replaced, and one whose engine goes.
  struct dropped {
    caller* call;
    int* drops;
  };
  int drops = 0;
  const auto table = [&] {
    return wasm_timer{sizeof(wasm_timer), new dropped{&call, &drops},
                      [](void* data) {
                        auto* d = static_cast<dropped*>(data);
                        (*d->call)("a timer's drop");
                        ++*d->drops;
                        delete d;
                      },
                      [](void*) { return std::uint64_t{0}; },
                      [](void*, std::uint64_t, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; }};
  };
  for (int i = 0; i < 2; ++i) {
    const auto timer = table();
    const wasm_engine_policy policy{sizeof(policy), WASM_ON_ERROR_FAIL, 0, 0, 0, &timer, 0, 0, 0, 0, 0, 0};
    ASSERT_EQ(wasm_engine_set_policy(p.engine.get(), &policy, nullptr), WASM_STATUS_OK);
    EXPECT_EQ(drops, i);
  }
  p.engine = wasmengine::engine();
  EXPECT_EQ(drops, 2);
}

TEST(Reentrant, APolicyCannotBeSetByCallbacksOfAnEngineWithoutOne) {
  policed p(unhurried);
  ASSERT_TRUE(succeeded(p.start()));
  const auto set = [&] {
    const wasm_engine_policy policy{sizeof(policy), WASM_ON_ERROR_FAIL, 0, 0, 0, nullptr, 0, 0, 0, 0, 0, 0};
    return wasm_engine_set_policy(p.engine.get(), &policy, nullptr);
  };
  c_sink sink([&](output_block, wasm_call*) -> wasm_callback_result {
    EXPECT_EQ(set(), WASM_STATUS_BUSY);
    return WASM_CALLBACK_RESULT_DONE;
  });
  sink.on_drop = [&] { EXPECT_EQ(set(), WASM_STATUS_BUSY); };
  const auto batch = built({"k", "u"});
  auto operation = begin(p, batch, sink);
  EXPECT_EQ(finish(operation).status, WASM_STATUS_GUEST_TRAP);
  EXPECT_EQ(sink.calls, 1);
  EXPECT_EQ(sink.drops, 1);
  EXPECT_EQ(set(), WASM_STATUS_OK);
}

}  // namespace
