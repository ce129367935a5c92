// SPDX-License-Identifier: Apache-2.0
//
// Engines that are tables of callbacks, when something fails, is stopped, or is called at a wrong time.
#include "support/begin_transform.hh"
#include "support/custom.hh"

#include <gmock/gmock.h>

#include <thread>

using namespace testing_support;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

const std::vector<std::string> five{"a", "b", "c", "d", "e"};

wasm_callback_result failing(wasm_call* call, std::string_view why) {
  EXPECT_EQ(wasm_call_fail(call, we::as_slice(why), nullptr), WASM_STATUS_OK);
  return WASM_CALLBACK_RESULT_FAILED;
}

/// Ways to fail at the record with this index.
enum class way { at_hand, by_call, by_promise, by_promise_at_hand };

struct failer {
  way how;
  std::uint32_t index;
  held_promise& promise;
  bool fails = true;

  wasm_callback_result operator()(wasm_slice, std::uint32_t first, wasm_work* work, wasm_call* call) {
    if (first > index || !fails) {
      return c_engine::copy({}, 0, work, call);
    }
    const bool takes = how == way::at_hand || how == way::by_promise_at_hand;
    wasm_input_record record;
    for (std::uint32_t i = first; i < index + (takes ? 1 : 0); ++i) {
      EXPECT_TRUE(c_engine::next(work, record));
      EXPECT_EQ(c_engine::write(work, record), WASM_STATUS_OK) << "that of the record that fails goes with it";
    }
    if (how == way::at_hand) {
      return failing(call, "because");
    }
    if (how == way::by_call) {
      EXPECT_EQ(wasm_call_fail_record(call, index, we::as_slice("because"), nullptr), WASM_STATUS_OK);
      return WASM_CALLBACK_RESULT_FAILED;
    }
    return promise.take(call);
  }
  /// For when the operation is pending.
  void settle() const {
    EXPECT_EQ(how == way::by_promise ? promise.reject_record(index, "because") : promise.reject("because"),
              WASM_STATUS_OK);
  }
};

template <typename F>
outcome drive(we::future operation, F on_pending) {
  outcome out;
  for (;;) {
    auto polled = operation.poll();
    if (!polled) {
      out.status = polled.err().status();
      out.why = polled.err();
      return out;
    }
    if (*polled == WASM_POLL_READY) {
      return out;
    }
    if (*polled == WASM_POLL_PENDING) {
      on_pending();
    }
  }
}

void fails_at_each_record(way how) {
  for (const auto codec : {WASM_COMPRESSION_NONE, WASM_COMPRESSION_SNAPPY}) {
    for (std::uint32_t at = 0; at < five.size(); ++at) {
      SCOPED_TRACE(at);
      c_engine table;
      held_promise promise;
      const failer fail{how, at, promise};
      table.on_transform = fail;
      custom_bench b(table);
      ASSERT_TRUE(succeeded(b.start()));
      const auto batch = built(five, {100, codec});
      recorder out;
      const auto end = drive(b.engine.transform(batch, out).value(), [&] { fail.settle(); });
      ASSERT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_FAILED);
      EXPECT_THAT(end.message(), AllOf(HasSubstr("transform \"tested\""), HasSubstr("because"),
                                       HasSubstr("record " + std::to_string(at) + " of the batch")));
      ASSERT_TRUE(end.why->record());
      EXPECT_EQ(end.why->record()->index, at);
      EXPECT_EQ(end.why->record()->offset, 100 + at);
      EXPECT_EQ(out.values(), std::vector<std::string>(five.begin(), five.begin() + at));
      EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
      EXPECT_EQ(table.stops, 1);
      // The host goes on behind it.
      ASSERT_TRUE(succeeded(b.start()));
      if (at + 1 < five.size()) {
        ASSERT_TRUE(succeeded(b.transform(batch, out, at + 1)));
      }
      EXPECT_EQ(out.records.size(), five.size() - 1);
    }
  }
}

TEST(CustomEngineFailure, AtTheRecordAtHand) { fails_at_each_record(way::at_hand); }
TEST(CustomEngineFailure, AtARecordThatTheCallNames) { fails_at_each_record(way::by_call); }
TEST(CustomEngineFailure, AtARecordThatThePromiseNames) { fails_at_each_record(way::by_promise); }
TEST(CustomEngineFailure, OfAPromiseAtTheRecordAtHand) { fails_at_each_record(way::by_promise_at_hand); }

TEST(CustomEngineFailure, IsSkippedOrBecomesADeadLetterByPolicy) {
  for (const auto how : {way::at_hand, way::by_call, way::by_promise, way::by_promise_at_hand}) {
    for (const auto on_error : {WASM_ON_ERROR_SKIP, WASM_ON_ERROR_DEAD_LETTER}) {
      for (std::uint32_t at = 0; at < five.size(); ++at) {
        c_engine table;
        held_promise promise;
        const failer fail{how, at, promise};
        table.on_transform = fail;
        custom_bench b(table);
        b.engine.set_policy({.on_error = on_error}).value();
        ASSERT_TRUE(succeeded(b.start()));
        const auto batch = built(five);
        recorder out;
        ASSERT_TRUE(succeeded(drive(b.engine.transform(batch, out).value(), [&] { fail.settle(); })));
        const auto tally = b.engine.stats().value();
        auto expected = five;
        if (on_error == WASM_ON_ERROR_SKIP) {
          expected.erase(expected.begin() + at);
          EXPECT_EQ(tally.skipped, 1U);
        } else {
          EXPECT_EQ(tally.dead_lettered, 1U);
          EXPECT_EQ(out.records[at].topic, 1U);
          EXPECT_EQ(out.records[at].content.headers[2],
                    (std::pair<std::string, kafka::field>("wasm-error", "custom-engine-failed")));
        }
        EXPECT_EQ(out.values(), expected);
        EXPECT_EQ(tally.restarts, 1U);
        EXPECT_EQ(table.starts, 2);
        EXPECT_EQ(table.stops, 1);
      }
    }
  }
}

TEST(CustomEngineFailure, AtARecordThatIsFinishedOrNotThereIsNobodysToSkip) {
  for (const std::uint32_t named : {1U, 5U, 1000U}) {
    c_engine table;
    table.on_transform = [&](wasm_slice, std::uint32_t, wasm_work* work, wasm_call* call) {
      wasm_input_record record;
      for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(c_engine::next(work, record));
      }
      EXPECT_EQ(wasm_call_fail_record(call, named, we::as_slice("because"), nullptr), WASM_STATUS_OK);
      return WASM_CALLBACK_RESULT_FAILED;
    };
    custom_bench b(table);
    b.engine.set_policy({.on_error = WASM_ON_ERROR_SKIP}).value();
    ASSERT_TRUE(succeeded(b.start()));
    recorder out;
    const auto end = b.transform(built(five), out);
    EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_FAILED);
    EXPECT_THAT(end.message(), HasSubstr("at record " + std::to_string(named)));
    EXPECT_FALSE(end.why->record());
    EXPECT_EQ(b.engine.stats().value().skipped, 0U);
  }
}

TEST(CustomEngineFailure, WithoutAnyRecordIsTheBatchs) {
  c_engine table;
  table.on_transform = [&](wasm_slice, std::uint32_t, wasm_work*, wasm_call* call) { return failing(call, "no line"); };
  custom_bench b(table);
  b.engine.set_policy({.on_error = WASM_ON_ERROR_SKIP}).value();
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(built(five), out);
  EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_FAILED);
  EXPECT_THAT(end.message(), HasSubstr("between records: no line"));
}

TEST(CustomEngineFailure, OfAStartIsTold) {
  c_engine table;
  table.on_start = [](wasm_call* call) { return failing(call, "no line"); };
  custom_bench b(table);
  const auto end = b.start();
  EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_FAILED);
  EXPECT_THAT(end.message(), HasSubstr("while it started: no line"));
  EXPECT_EQ(table.stops, 1) << "also an engine whose start failed is stopped";
  table.on_start = {};
  EXPECT_TRUE(succeeded(b.start()));
}

TEST(CustomEngineFailure, IsWhatAnAnswerThatIsNoneCountsAs) {
  c_engine table;
  custom_bench b(table);
  table.on_start = [](wasm_call*) -> wasm_callback_result { return wasm_callback_result{7}; };
  EXPECT_THAT(b.start().message(), HasSubstr("returned 7"));
  table.on_start = [](wasm_call*) -> wasm_callback_result { return WASM_CALLBACK_RESULT_PENDING; };
  EXPECT_THAT(b.start().message(), HasSubstr("without taking a promise"));
  table.on_start = [](wasm_call* call) -> wasm_callback_result {
    held_promise dropped;
    return dropped.take(call);
  };
  EXPECT_THAT(b.start().message(), HasSubstr("dropped its promise"));
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
}

TEST(CustomEngineFailure, NamesNoRecordInOtherCalls) {
  c_engine table;
  held_promise step;
  table.on_start = [&](wasm_call* call) { return step.take(call); };
  custom_bench b(table, unhurried);
  auto started = b.engine.start().value();
  EXPECT_EQ(started.poll().value(), WASM_POLL_PENDING);
  const wasm_value one{.i32 = 1};
  EXPECT_EQ(wasm_promise_resolve_values(step.raw, &one, 1, nullptr), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(step.reject_record(0x80000000U, "why"), WASM_STATUS_INVALID_ARGUMENT);
  table.on_start = {};
  EXPECT_EQ(step.resolve(), WASM_STATUS_OK);
  EXPECT_EQ(started.poll().value(), WASM_POLL_READY);

  held_promise output;
  c_sink sink([&](output_block, wasm_call* call) {
    EXPECT_EQ(wasm_call_fail_record(call, 0, we::as_slice("why"), nullptr), WASM_STATUS_INVALID_ARGUMENT);
    return output.take(call);
  });
  const auto raw = sink.raw();
  const auto batch = built(five);
  we::future operation;
  ASSERT_EQ(begin_transform(b.engine.get(), we::as_slice(batch), &raw, operation.out(), nullptr), WASM_STATUS_OK);
  EXPECT_EQ(operation.poll().value(), WASM_POLL_PENDING);
  EXPECT_EQ(output.reject_record(0, "why"), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(output.resolve(), WASM_STATUS_OK);
  EXPECT_EQ(operation.poll().value(), WASM_POLL_READY);
  // "Again" is for engines only.
  c_sink again([](output_block, wasm_call*) { return WASM_CALLBACK_RESULT_AGAIN; });
  const auto raw_again = again.raw();
  ASSERT_EQ(begin_transform(b.engine.get(), we::as_slice(batch), &raw_again, operation.out(), nullptr),
            WASM_STATUS_OK);
  EXPECT_EQ(operation.poll().err().status(), WASM_STATUS_OUTPUT_REJECTED);
}

// ---- Stopped and released in the middle ----

enum class end { stop, release_engine, release_future };

void ends_in_the_middle(bool of_start, end how) {
  c_engine table;
  held_promise promise;
  const auto wait = [&](wasm_call* call) { return promise.take(call); };
  if (of_start) {
    table.on_start = wait;
  } else {
    table.on_transform = [&](wasm_slice, std::uint32_t, wasm_work*, wasm_call* call) { return wait(call); };
  }
  custom_bench b(table, unhurried);
  auto operation = b.engine.start().value();
  const auto batch = built(five);
  c_sink sink([](output_block, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; });
  table.on_stop = [&] { EXPECT_EQ(sink.drops, 0) << "the sink outlives the engine's work"; };
  if (!of_start) {
    ASSERT_TRUE(succeeded(finish(operation)));
    const auto raw = sink.raw();
    ASSERT_EQ(begin_transform(b.engine.get(), we::as_slice(batch), &raw, operation.out(), nullptr),
              WASM_STATUS_OK);
  }
  waker_tally wakers;
  const auto waker = wakers.give();
  ASSERT_EQ(operation.poll(&waker).value(), WASM_POLL_PENDING);
  const int steps = table.starts + table.transforms;
  switch (how) {
    case end::stop:
      ASSERT_TRUE(succeeded(finish(b.engine.stop())));
      EXPECT_EQ(operation.poll().err().status(), WASM_STATUS_CANCELLED);
      break;
    case end::release_engine:
      b.engine = we::engine();
      EXPECT_EQ(table.releases, 1);
      EXPECT_EQ(operation.poll().err().status(), WASM_STATUS_CANCELLED);
      break;
    case end::release_future:
      operation = we::future();
      EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
      break;
  }
  EXPECT_EQ(table.stops, 1);
  table.on_stop = {};
  EXPECT_EQ(sink.drops, of_start ? 0 : 1);
  EXPECT_EQ(wakers.dropped(), 1);
  EXPECT_EQ(promise.resolve(), WASM_STATUS_OK) << "late, and harmless";
  EXPECT_EQ(table.starts + table.transforms, steps) << "no step after the stop";
  if (how != end::release_engine) {
    table.on_start = {};
    table.on_transform = c_engine::copy;
    ASSERT_TRUE(succeeded(b.start()));
    recorder out;
    ASSERT_TRUE(succeeded(b.transform(batch, out)));
    EXPECT_EQ(out.values(), five);
  }
}

TEST(CustomEngineEnd, StopInAStart) { ends_in_the_middle(true, end::stop); }
TEST(CustomEngineEnd, StopInATransform) { ends_in_the_middle(false, end::stop); }
TEST(CustomEngineEnd, ReleaseInAStart) { ends_in_the_middle(true, end::release_engine); }
TEST(CustomEngineEnd, ReleaseInATransform) { ends_in_the_middle(false, end::release_engine); }
TEST(CustomEngineEnd, AStartGivenUp) { ends_in_the_middle(true, end::release_future); }
TEST(CustomEngineEnd, ATransformGivenUp) { ends_in_the_middle(false, end::release_future); }

TEST(CustomEngineEnd, IsNoneForABatchWhoseSinkStillHasABlock) {
  c_engine table;
  custom_bench b(table, unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  pending_sink sink;
  sink.on_drop = [&] {
    EXPECT_EQ(table.stops, 1);
    for (const auto& record : sink.block) {
      EXPECT_EQ(kafka::payload::decode(we::output_record(record).payload()).value->size(), 1U);
    }
  };
  const auto raw = sink.raw();
  const auto batch = built(five);
  we::future operation;
  ASSERT_EQ(begin_transform(b.engine.get(), we::as_slice(batch), &raw, operation.out(), nullptr), WASM_STATUS_OK);
  EXPECT_EQ(operation.poll().value(), WASM_POLL_PENDING);
  operation = we::future();
  EXPECT_EQ(sink.drops, 1);
}

// ---- Misuse ----

TEST(CustomEngineMisuse, FromEachCallbackTheEngineIsBusy) {
  c_engine table;
  custom_bench b(table);
  const auto batch = built(five);
  we::future* polled = nullptr;
  wasm_engine* const engine = b.engine.get();  // The handle forgets it before it is released.
  c_sink sink([](output_block, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; });
  const auto knock = [&] {
    wasm_future* none = nullptr;
    const auto raw = sink.raw();
    const wasm_engine_policy policy{sizeof(policy), WASM_ON_ERROR_FAIL, 0, 0, 0, nullptr, 0, 0, 0, 0, 0, 0};
    EXPECT_EQ(wasm_engine_start(engine, &none, nullptr), WASM_STATUS_BUSY);
    EXPECT_EQ(begin_transform(engine, we::as_slice(batch), &raw, &none, nullptr), WASM_STATUS_BUSY);
    EXPECT_EQ(std::exchange(sink.drops, 0), 1);
    EXPECT_EQ(wasm_engine_stop(engine, &none, nullptr), WASM_STATUS_BUSY);
    EXPECT_EQ(wasm_engine_replace(engine, b.factory.get(), &none, nullptr), WASM_STATUS_BUSY);
    EXPECT_EQ(wasm_engine_set_policy(engine, &policy, nullptr), WASM_STATUS_BUSY);
    EXPECT_EQ(wasm_engine_release(engine, nullptr), WASM_STATUS_BUSY);
    if (polled != nullptr) {
      EXPECT_EQ(polled->poll().err().status(), WASM_STATUS_BUSY);
      EXPECT_EQ(wasm_future_release(polled->get(), nullptr), WASM_STATUS_BUSY);
    }
  };
  table.on_start = [&](wasm_call*) {
    EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STARTING);
    knock();
    return WASM_CALLBACK_RESULT_DONE;
  };
  table.on_transform = [&](wasm_slice bytes, std::uint32_t first, wasm_work* work, wasm_call* call) {
    knock();
    return c_engine::copy(bytes, first, work, call);
  };
  table.on_stop = knock;
  table.on_release = knock;
  auto started = b.engine.start().value();
  polled = &started;
  EXPECT_EQ(started.poll().value(), WASM_POLL_READY);
  recorder out;
  auto transformed = b.engine.transform(batch, out).value();
  polled = &transformed;
  EXPECT_EQ(transformed.poll().value(), WASM_POLL_READY);
  polled = nullptr;
  EXPECT_EQ(out.values(), five);
  ASSERT_TRUE(succeeded(finish(b.engine.stop())));
  b.engine = we::engine();
  EXPECT_EQ(table.releases, 1);
}

TEST(CustomEngineMisuse, OtherThreadsAreRefused) {
  c_engine table;
  custom_bench b(table);
  std::thread([&] {
    EXPECT_EQ(b.engine.start().err().status(), WASM_STATUS_WRONG_THREAD);
    EXPECT_EQ(b.engine.stop().err().status(), WASM_STATUS_WRONG_THREAD);
    EXPECT_EQ(b.engine.replace(b.factory).err().status(), WASM_STATUS_WRONG_THREAD);
    EXPECT_EQ(wasm_engine_release(b.engine.get(), nullptr), WASM_STATUS_WRONG_THREAD);
  }).join();
  EXPECT_EQ(table.starts, 0);
}

// ---- The C++ layer ----

struct throwing final : we::custom_engine {
  wasm_callback_result transform(const we::batch_work& work, we::custom_call) override {
    while (const auto record = work.next()) {
      if (record->index() == 1) {
        throw std::runtime_error("not this one");
      }
      if (record->index() == 2) {
        throw we::record_failure(4, "not that one");
      }
      EXPECT_TRUE(work.write(record->payload()));
    }
    return WASM_CALLBACK_RESULT_DONE;
  }
};

TEST(CustomEngineInCpp, WhatItThrowsFailsTheRecord) {
  const auto runtime = we::runtime::create().value();
  auto factory =
      we::create_custom_factory(runtime, with_topics({"out"}), [] { return std::make_unique<throwing>(); }).value();
  auto engine = we::engine::create(factory).value();
  engine.set_policy({.on_error = WASM_ON_ERROR_DEAD_LETTER}).value();
  ASSERT_TRUE(succeeded(finish(engine.start())));
  recorder out;
  ASSERT_TRUE(succeeded(finish(engine.transform(built(five), out))));
  EXPECT_THAT(out.values(), ElementsAre("a", "b", "e"));
  ASSERT_EQ(out.records[1].content.headers.size(), 4U);
  EXPECT_THAT(*out.records[1].content.headers[3].second, HasSubstr("not this one"));
  EXPECT_THAT(*out.records[2].content.headers[3].second, HasSubstr("not that one"));
}

TEST(CustomEngineInCpp, ItsPromiseMayNameTheRecord) {
  dummies d;
  we::dummy_gate gate;
  d.script->delay_transform = gate.hold();
  auto engine = we::engine::create(d.factory).value();
  ASSERT_TRUE(succeeded(finish(engine.start())));
  const auto batch = built(five);
  recorder out;
  auto operation = engine.transform(batch, out).value();
  EXPECT_EQ(operation.poll().value(), WASM_POLL_PENDING);
  EXPECT_TRUE(gate.take().reject_record(3, "the line is dead"));
  const auto end = operation.poll().err();
  EXPECT_THAT(end.what(), HasSubstr("record 3 of the batch (offset 103): the line is dead"));
  EXPECT_EQ(end.record()->index, 3U);
}

TEST(CustomEngineInCpp, AMakerThatThrowsOrMakesNoneIsTold) {
  const auto runtime = we::runtime::create().value();
  int made = 0;
  auto factory = we::create_custom_factory(runtime, with_topics({}), [&]() -> std::unique_ptr<we::custom_engine> {
                   if (++made == 1) {
                     throw std::runtime_error("no parts");
                   }
                   return nullptr;
                 }).value();
  EXPECT_THAT(we::engine::create(factory).err().what(), HasSubstr("no parts"));
  EXPECT_THAT(we::engine::create(factory).err().what(), HasSubstr("returned null"));
}

}  // namespace
