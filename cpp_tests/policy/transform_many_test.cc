// SPDX-License-Identifier: Apache-2.0
//
// Several batches in one call under a policy, for users of a shared engine and during a hot swap: the batches behind a
// failure follow.
#include "support/many.hh"
#include "support/replace.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

namespace {

TEST(ManyUnderPolicy, SkipsARecordAndGoesOnWithTheRestOfItsBatchAndThoseBehindIt) {
  for (const auto& death : deaths) {
    wasm_runtime_config config{};
    config.record_time_limit_ns = 400'000'000;
    policed p(WASM_ON_ERROR_SKIP, config);
    ASSERT_TRUE(succeeded(p.start()));
    const std::string bad{death.letter, '0'};
    const auto all = batches_of({{"k1-0"}, {"k1-1", bad, "k1-2"}, {"k1-3", bad}, {bad}, {"k1-4"}});
    sorting_sink sink;
    auto operation = many(p.engine, all, sink);
    EXPECT_TRUE(succeeded(finish(operation))) << death.name;
    EXPECT_THAT(sink.kept.values(0), ElementsAre("k1-0"));
    EXPECT_THAT(sink.kept.values(1), ElementsAre("k1-1", "k1-2"));
    EXPECT_THAT(sink.kept.values(2), ElementsAre("k1-3"));
    EXPECT_THAT(sink.kept.values(3), IsEmpty());
    EXPECT_THAT(sink.kept.values(4), ElementsAre("k1-4"));
    EXPECT_EQ(sink.drops, 1);
    EXPECT_EQ(p.stats().skipped, 3U);
    EXPECT_EQ(p.stats().restarts, 3U);
    EXPECT_EQ(p.engine.last_error().value()->batch(), 3U);
    EXPECT_EQ(p.state(), WASM_ENGINE_STATE_IDLE);
    EXPECT_TRUE(p.works());
  }
}

TEST(ManyUnderPolicy, TheLastRecordOfAllMayBeSkipped) {
  policed p(WASM_ON_ERROR_SKIP);
  ASSERT_TRUE(succeeded(p.start()));
  const auto all = batches_of({{"k1-0"}, {"u0"}});
  sorting_sink sink;
  auto operation = many(p.engine, all, sink);
  EXPECT_TRUE(succeeded(finish(operation)));
  EXPECT_EQ(p.stats().skipped, 1U);
  EXPECT_EQ(p.state(), WASM_ENGINE_STATE_IDLE);
}

TEST(ManyUnderPolicy, DeadLettersBelongToTheirBatches) {
  policed p(WASM_ON_ERROR_DEAD_LETTER);
  ASSERT_TRUE(succeeded(p.start()));
  const auto all = batches_of({{"k1-0"}, {"k1-1", "u1-2"}, {"u1-3", "k1-4"}});
  sorting_sink sink;
  auto operation = many(p.engine, all, sink);
  EXPECT_TRUE(succeeded(finish(operation)));
  EXPECT_THAT(sink.kept.values(1), ElementsAre("k1-1", "u1-2"));
  EXPECT_THAT(sink.kept.values(2), ElementsAre("u1-3", "k1-4"));
  const auto& letter = sink.kept.all[2].records[0];
  EXPECT_EQ(letter.topic, 1U);
  ASSERT_THAT(letter.content.headers, SizeIs(testing::Ge(4U)));
  EXPECT_THAT(letter.content.headers[3].second.value(), HasSubstr("batch 2 of the call, record 0 of the batch"));
  EXPECT_EQ(p.stats().dead_lettered, 2U);
}

TEST(ManyUnderPolicy, ADeadLetterThatIsNotTakenNamesItsBatch) {
  for (const bool later : {false, true}) {
    policed p(WASM_ON_ERROR_DEAD_LETTER);
    ASSERT_TRUE(succeeded(p.start()));
    by_batch kept;
    c_sink sink([&](output_block block, wasm_call* call) -> wasm_callback_result {
      if (block[0].topic == 0) {
        kept(block, call);
        return WASM_CALLBACK_RESULT_DONE;
      }
      if (!later) {
        return WASM_CALLBACK_RESULT_FAILED;
      }
      wasm_promise* promise = nullptr;
      EXPECT_EQ(wasm_call_promise(call, &promise, nullptr), WASM_STATUS_OK);
      wasm_promise_release(promise);
      return WASM_CALLBACK_RESULT_PENDING;
    });
    const auto all = batches_of({{"k1-0"}, {"u1-1"}, {"k1-2"}});
    auto operation = many(p.engine, all, sink);
    const auto end = finish(operation);
    EXPECT_EQ(end.status, WASM_STATUS_OUTPUT_REJECTED);
    EXPECT_EQ(end.why->batch(), 1U);
    EXPECT_THAT(kept.values(0), ElementsAre("k1-0"));
  }
}

// Batches behind a failure are not checked twice, nor before their turn: their checksums are spoiled after the check.
TEST(ManyUnderPolicy, ABatchIsCheckedOnceAndInItsTurn) {
  for (const auto codec : codecs) {
    c_engine table;
    custom_bench b(table);
    b.engine.set_policy({.on_error = WASM_ON_ERROR_SKIP}).value();
    batches all;
    for (int i = 0; i < 3; ++i) {
      all.push_back(with_gaps({"a", "b", "c"}, codec));
    }
    all[2][17] ^= 0xFF;
    int calls = 0;
    table.on_transform = [&](wasm_slice, std::uint32_t, wasm_work* work, wasm_call*) -> wasm_callback_result {
      const auto current = static_cast<std::size_t>(calls++ / 2);
      if (calls % 2 == 1) {
        all[current][17] ^= 0xFF;  // it is checked by now
        if (current == 1) {
          all[2][17] ^= 0xFF;  // good again before its turn
        }
      }
      wasm_input_record record;
      EXPECT_TRUE(c_engine::next(work, record));
      if (calls % 2 == 1) {
        return WASM_CALLBACK_RESULT_FAILED;
      }
      do {
        EXPECT_EQ(c_engine::write(work, record), WASM_STATUS_OK);
      } while (c_engine::next(work, record));
      return WASM_CALLBACK_RESULT_DONE;
    };
    ASSERT_TRUE(succeeded(b.start()));
    sorting_sink sink;
    auto operation = many(b.engine, all, sink);
    ASSERT_TRUE(succeeded(finish(operation)));
    EXPECT_EQ(calls, 6);
    for (std::uint32_t i = 0; i < 3; ++i) {
      EXPECT_THAT(sink.kept.values(i), ElementsAre("b", "c"));
    }
  }
}

TEST(ManyUnderPolicy, ARefusedBatchBehindARestartLeavesTheEngineIdle) {
  policed p(WASM_ON_ERROR_SKIP);
  ASSERT_TRUE(succeeded(p.start()));
  auto all = batches_of({{"u0"}, {"k1-1"}, {"k1-2"}});
  all[1][17] ^= 0xFF;
  sorting_sink sink;
  auto operation = many(p.engine, all, sink);
  const auto end = finish(operation);
  EXPECT_EQ(end.status, WASM_STATUS_BATCH_CRC);
  EXPECT_EQ(end.why->batch(), 1U);
  EXPECT_EQ(p.state(), WASM_ENGINE_STATE_IDLE);
  EXPECT_TRUE(p.works());
}

TEST(ManyUnderPolicy, AGuestThatFailsBeforeTheFirstRecordOfABatchFailsTheCallThere) {
  policed p(WASM_ON_ERROR_SKIP);
  ASSERT_TRUE(succeeded(p.start()));
  auto deadly = kafka::values({"k1"});
  deadly.leader_epoch = 1;
  const batches all{built({"k1-0"}), deadly.encode(), built({"k1-1"})};
  sorting_sink sink;
  auto operation = many(p.engine, all, sink);
  const auto end = finish(operation);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP);
  EXPECT_THAT(end.message(), HasSubstr("batch 1 of the call, between records"));
  EXPECT_EQ(end.why->batch(), 1U);
  EXPECT_FALSE(end.why->record());
  EXPECT_THAT(sink.kept.values(0), ElementsAre("k1-0"));
  EXPECT_EQ(p.stats().restarts, 0U) << "it would fail again";
}

TEST(ManyUnderPolicy, RecordsThatWereFinishedStayFinished) {
  policed p(WASM_ON_ERROR_SKIP);
  ASSERT_TRUE(succeeded(p.start()));
  const auto all = batches_of({{"b1-0", "k1-1"}, {"b1-2"}, {"k1-3"}});
  sorting_sink sink;
  auto operation = many(p.engine, all, sink);
  EXPECT_TRUE(succeeded(finish(operation)));
  EXPECT_THAT(sink.kept.values(0), ElementsAre("b1-0", "k1-1"));
  EXPECT_THAT(sink.kept.values(1), ElementsAre("b1-2"));
  EXPECT_THAT(sink.kept.values(2), ElementsAre("k1-3"));
  EXPECT_EQ(p.stats().skipped, 0U);
  EXPECT_EQ(p.stats().restarts, 2U);
}

TEST(ManyUnderPolicy, WaitsForTheTimerBetweenFailedStarts) {
  policed p;
  fake_timer timer;
  timer.holds = true;
  p.set({.on_error = WASM_ON_ERROR_SKIP}, timer);
  ASSERT_TRUE(succeeded(p.start()));
  const auto all = batches_of({{"k1-0"}, {"u0"}, {"k1-1"}});
  *p.starts = {false, false, true};
  sorting_sink sink;
  auto operation = many(p.engine, all, sink);
  const auto end = drive(operation, [&] {
    EXPECT_THAT(sink.kept.values(0), ElementsAre("k1-0"));
    timer.wake();
    return true;
  });
  EXPECT_TRUE(succeeded(end));
  EXPECT_EQ(end.pendings, 2);
  EXPECT_THAT(sink.kept.values(2), ElementsAre("k1-1"));
}

TEST(ManyUnderPolicy, AFailedRestartNamesTheBatchThatWouldHaveFollowed) {
  const struct {
    std::vector<std::vector<std::string>> batches;
    std::uint64_t next;
  } cases[] = {
      {{{"k1-0"}, {"k1-1", "u0", "k1-2"}, {"k1-3"}}, 1},
      {{{"k1-0"}, {"k1-1", "u0"}, {"k1-2"}}, 2},
      {{{"k1-0"}, {"u0"}}, 2},
  };
  for (const auto& c : cases) {
    policed p(WASM_ON_ERROR_SKIP);
    ASSERT_TRUE(succeeded(p.start()));
    const auto all = batches_of(c.batches);
    *p.starts = {false};
    sorting_sink sink;
    auto operation = many(p.engine, all, sink);
    const auto end = finish(operation);
    ASSERT_NE(end.status, WASM_STATUS_OK);
    EXPECT_EQ(end.why->batch(), c.next);
    EXPECT_THAT(sink.kept.values(0), ElementsAre("k1-0")) << "what has completed was delivered";
    EXPECT_TRUE(p.works());
  }
}

class ManyEndedUnderPolicy : public testing::TestWithParam<ending> {};

TEST_P(ManyEndedUnderPolicy, AtEachPoll) {
  const auto all = batches_of({{"k1-0"}, {"u2-1", "k1-2"}, {"k1-3", "u1-4"}, {"k1-5"}});
  int steps = 0;
  for (bool over = false; !over; ++steps) {
    ASSERT_LT(steps, 1'000);
    policed p(unhurried);
    p.set({.on_error = WASM_ON_ERROR_DEAD_LETTER});
    ASSERT_TRUE(succeeded(p.start()));
    pending_sink sink;
    auto operation = many(p.engine, all, sink);
    auto last = WASM_POLL_YIELDED;
    for (int i = 0; i < steps && !over; ++i) {
      if (last == WASM_POLL_PENDING) {
        sink.resolve();
      }
      last = operation.poll().value();
      over = last == WASM_POLL_READY;
    }
    switch (GetParam()) {
      case ending::release:
        operation = {};
        break;
      case ending::stop:
        EXPECT_TRUE(succeeded(finish(p.engine.stop())));
        break;
      case ending::engine_release:
        p.engine = {};
        break;
    }
    EXPECT_EQ(sink.drops, 1);
    operation = {};
    if (!p.engine) {
      p.engine = wasmengine::engine::create(p.factory).value();
    }
    EXPECT_TRUE(p.works());
  }
  EXPECT_GT(steps, 8) << "letters, starts and blocks are steps";
}

INSTANTIATE_TEST_SUITE_P(Ways, ManyEndedUnderPolicy,
                         testing::Values(ending::release, ending::stop, ending::engine_release),
                         [](const auto& info) { return std::string(name_of(info.param)); });

TEST(ManyOfSharedEngine, HoldTheirTurnAsOne) {
  dummies d;
  users all(d.factory, 2);
  all.start();
  const auto first = batches_of({{"a"}, {"b"}, {"c"}});
  const auto second = batches_of({{"d"}, {"e"}});
  sorting_sink mine, yours;
  auto one = many(all[0].engine, first, mine);
  auto other = many(all[1].engine, second, yours);
  EXPECT_EQ(only(d.runtime).raw.queued_batches, 2U) << "of the second user";
  waker_tally wakers;
  const auto waker = wakers.give();
  EXPECT_EQ(other.poll(&waker).value(), WASM_POLL_PENDING);
  EXPECT_TRUE(succeeded(finish(one)));
  EXPECT_EQ(wakers.woken(), 1);
  EXPECT_EQ(mine.kept.all.size(), 3U);
  EXPECT_TRUE(yours.kept.all.empty());
  EXPECT_TRUE(succeeded(finish(other)));
  EXPECT_EQ(only(d.runtime).raw.queued_batches, 0U);
  EXPECT_THAT(yours.kept.values(1), ElementsAre("e"));
}

TEST(ManyOfSharedEngine, ThatIsReleasedInTheQueueIsNotCountedAnyMore) {
  dummies d;
  users all(d.factory, 2);
  all.start();
  const auto first = batches_of({{"a"}, {"b"}});
  sorting_sink mine, yours;
  auto one = many(all[0].engine, first, mine);
  auto other = many(all[1].engine, first, yours);
  EXPECT_EQ(only(d.runtime).raw.queued_batches, 2U);
  other = {};
  EXPECT_EQ(yours.drops, 1);
  EXPECT_EQ(only(d.runtime).raw.queued_batches, 0U);
  EXPECT_TRUE(succeeded(finish(one)));
}

TEST(ManyOfSharedEngine, AFailureIsThatOfItsUser) {
  policed p;
  users all(p.factory, 2);
  all.start();
  const auto first = batches_of({{"k1-0"}, {"u0"}, {"k1-1"}});
  const auto second = batches_of({{"k1-2"}, {"k1-3"}});
  sorting_sink mine, yours;
  auto one = many(all[0].engine, first, mine);
  auto other = many(all[1].engine, second, yours);
  const auto end = finish(one);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP);
  EXPECT_EQ(end.why->batch(), 1U);
  EXPECT_TRUE(succeeded(finish(other)));
  EXPECT_THAT(yours.kept.values(1), ElementsAre("k1-3"));
}

TEST(ManyOfSharedEngine, UnderAPolicyQueuesTheRestWithTheBatchesBehindIt) {
  policed p;
  users all(p.factory, 2);
  all[0].engine.set_policy({.on_error = WASM_ON_ERROR_SKIP}).value();
  all.start();
  const auto first = batches_of({{"k1-0"}, {"u0", "k1-1"}, {"k1-2"}});
  const auto second = batches_of({{"k1-3"}});
  sorting_sink mine, yours;
  auto one = many(all[0].engine, first, mine);
  auto other = many(all[1].engine, second, yours);
  bool ready = false, other_ready = false;
  for (int i = 0; i < 100 && !(ready && other_ready); ++i) {
    ready = ready || one.poll().value() == WASM_POLL_READY;
    other_ready = other_ready || other.poll().value() == WASM_POLL_READY;
  }
  EXPECT_TRUE(ready && other_ready);
  EXPECT_THAT(mine.kept.values(0), ElementsAre("k1-0"));
  EXPECT_THAT(mine.kept.values(1), ElementsAre("k1-1"));
  EXPECT_THAT(mine.kept.values(2), ElementsAre("k1-2"));
  EXPECT_THAT(yours.kept.values(0), ElementsAre("k1-3"));
  EXPECT_EQ(only(p.runtime).raw.queued_batches, 0U);
}

TEST(ManyAndReplace, TheNewVersionFollowsTheCall) {
  deployed d;
  d.start_now();
  we::dummy_gate gate;
  d.old->delay_transform = gate.hold();
  const auto all = batches_of({{"a"}, {"b"}, {"c"}});
  sorting_sink sink;
  auto operation = many(d.engine, all, sink);
  EXPECT_EQ(operation.poll().value(), WASM_POLL_PENDING);
  d.replace();
  d.replacing.poll();
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
  gate.open();
  d.old->delay_transform = {};
  EXPECT_TRUE(succeeded(finish(operation)));
  for (std::uint32_t i = 0; i < 3; ++i) {
    EXPECT_THAT(sink.kept.values(i), ElementsAre(HasSubstr("old-")));
  }
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_READY);
  EXPECT_EQ(d.run(), "new-x");
}

TEST(ManyAndReplace, TheNewVersionTakesOverWhatARestartLeaves) {
  deployed d;
  we::dummy_gate restarts;
  fake_timer timer;
  timer.holds = true;
  d.engine.set_policy({.on_error = WASM_ON_ERROR_SKIP}, timer).value();
  d.start_now();
  d.old->fails_at = 0;
  d.old->failures = 1;
  d.old->failing_starts = 1;
  const auto all = batches_of({{"a", "b"}, {"c"}});
  sorting_sink sink;
  auto operation = many(d.engine, all, sink);
  auto last = WASM_POLL_YIELDED;
  for (int i = 0; i < 10 && last == WASM_POLL_YIELDED; ++i) {
    last = operation.poll().value();
  }
  ASSERT_EQ(last, WASM_POLL_PENDING) << "it waits for the timer";
  d.replace();
  d.replacing.poll();
  d.replacing.poll();
  EXPECT_TRUE(succeeded(finish(operation)));
  EXPECT_THAT(sink.kept.values(0), ElementsAre("new-b"));
  EXPECT_THAT(sink.kept.values(1), ElementsAre("new-c"));
}

}  // namespace
