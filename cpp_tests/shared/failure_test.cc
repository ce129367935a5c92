// SPDX-License-Identifier: Apache-2.0
//
// One engine for all users on a thread, when something fails or somebody leaves: whose affair it is, and that the
// others go on.
#include "support/begin_transform.hh"
#include "support/c_sink.hh"
#include "support/policy.hh"
#include "support/shared.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

const std::vector<std::string> five{"a", "b", "c", "d", "e"};

TEST(SharedEngineFailure, IsTheAffairOfTheUserWhoseBatchItWas) {
  for (std::size_t who = 0; who < 3; ++who) {
    for (std::uint32_t at = 0; at < 5; ++at) {
      dummies d;
      users all(d.factory, 3);
      all.start();
      const auto batch = built(five);
      unsigned batches = 0;
      bool armed = true;
      d.script->outputs = [&](const we::input_record& record) {
        batches += record.index() == 0 ? 1 : 0;
        if (batches == who + 1 && record.index() == at && std::exchange(armed, false)) {
          throw std::runtime_error("this one");
        }
        return std::vector<we::dummy_output>{{{record.payload().begin(), record.payload().end()}}};
      };
      for (auto& u : all) {
        u.transform(batch);
      }
      all.run();
      for (std::size_t i = 0; i < 3; ++i) {
        if (i == who) {
          EXPECT_EQ(all[i].status(), WASM_STATUS_CUSTOM_ENGINE_FAILED);
          EXPECT_EQ(all[i].end->record()->index, at);
          EXPECT_EQ(all[i].out.values(), std::vector<std::string>(five.begin(), five.begin() + at));
          EXPECT_EQ(all[i].state(), WASM_ENGINE_STATE_STOPPED);
        } else {
          EXPECT_TRUE(all[i].ok());
          EXPECT_EQ(all[i].out.values(), five);
          EXPECT_EQ(all[i].state(), WASM_ENGINE_STATE_IDLE);
        }
        EXPECT_EQ(all[i].woken + all[i].dropped, all[i].polls);
      }
      EXPECT_EQ(d.script->starts, who < 2 ? 2U : 1U) << "the next one in the queue starts it again, if there is one";
      // The one that failed starts again, which is over at once if another has the engine started.
      all[who].start();
      EXPECT_TRUE(all[who].run());
      EXPECT_TRUE(all[who].ok());
      EXPECT_EQ(d.script->starts, 2U);
      all[who].transform(batch, at);
      all.run();
      EXPECT_TRUE(all[who].ok());
      EXPECT_EQ(all[who].out.values(), five);
    }
  }
}

TEST(SharedEngineFailure, OfTheOnlyUserIsAsWithAnEngineOfItsOwn) {
  dummies d;
  d.script->fails_at = 3;
  users all(d.factory, 1);
  all.start();
  const auto batch = built(five);
  all[0].transform(batch);
  all.run();
  EXPECT_EQ(all[0].status(), WASM_STATUS_CUSTOM_ENGINE_FAILED);
  EXPECT_EQ(all[0].state(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_EQ(d.script->stops, 1U);
  recorder out;
  EXPECT_EQ(all[0].engine.transform(batch, out).err().status(), WASM_STATUS_INVALID_STATE);
}

TEST(SharedEngineFailure, OfTheStartThatAnotherMadeNecessaryIsTheNextOnes) {
  dummies d;
  users all(d.factory, 4);
  all.start();
  const auto batch = built(five);
  d.script->fails_at = 0;
  d.script->failures = 1;
  d.script->failing_starts = 2;
  for (auto& u : all) {
    u.transform(batch);
  }
  all.run();
  EXPECT_THAT(all[0].end->what(), HasSubstr("this record fails"));
  EXPECT_THAT(all[1].end->what(), HasSubstr("this start fails"));
  EXPECT_THAT(all[2].end->what(), HasSubstr("this start fails"));
  EXPECT_EQ(all[2].state(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_TRUE(all[2].out.records.empty());
  EXPECT_TRUE(all[3].ok()) << "the next one tries again";
  EXPECT_EQ(all[3].out.values(), five);
}

TEST(SharedEngineFailure, OfEveryStartIsTriedAndToldByEachUser) {
  policed p;
  p.starts->assign(3, false);
  users all(p.factory, 3);
  for (auto& u : all) {
    u.start();
  }
  all.run();
  for (auto& u : all) {
    EXPECT_EQ(u.status(), WASM_STATUS_GUEST_TRAP);
    EXPECT_EQ(u.state(), WASM_ENGINE_STATE_STOPPED);
  }
  all.start();
}

TEST(SharedEngineFailure, OfAGuestCostsOthersNoRecord) {
  for (const auto& death : deaths) {
    SCOPED_TRACE(death.name);
    wasm_runtime_config config{};
    config.record_time_limit_ns = 50'000'000;
    policed p(config);
    users all(p.factory, 3);
    all.start();
    const auto good = built(values_with('u', 6, {}));
    const auto bad = built(values_with(death.letter, 6, {2}));
    all[0].transform(good);
    all[1].transform(bad);
    all[2].transform(good);
    all.run();
    EXPECT_TRUE(all[0].ok());
    EXPECT_EQ(all[1].status(), death.status);
    EXPECT_EQ(all[1].end->record()->index, 2U);
    EXPECT_TRUE(all[2].ok());
    EXPECT_EQ(all[2].out.values().size(), 6U);
  }
}

TEST(SharedEngineFailure, OfASinkIsItsUsersOwn) {
  dummies d;
  users all(d.factory, 2);
  all.start();
  const auto batch = built(five);
  auto refuses = [](output_block) { throw std::runtime_error("no thanks"); };
  auto first = all[0].engine.transform(batch, refuses).value();
  all[1].transform(batch);
  EXPECT_FALSE(all[1].poll());
  EXPECT_EQ(first.poll().err().status(), WASM_STATUS_OUTPUT_REJECTED);
  all.run();
  EXPECT_EQ(all[1].out.values(), five);
}

TEST(SharedEngineFailure, IsHandledByEachUsersOwnPolicy) {
  policed p;
  users all(p.factory, 3);
  all[0].engine.set_policy({.on_error = WASM_ON_ERROR_SKIP}).value();
  all[1].engine.set_policy({.on_error = WASM_ON_ERROR_DEAD_LETTER}).value();
  all.start();
  const auto values = values_with('u', 6, {1, 3});
  const auto batch = built(values);
  for (auto& u : all) {
    u.transform(batch);
  }
  all.run();
  EXPECT_TRUE(all[0].ok());
  EXPECT_EQ(all[0].out.values(), survivors(values));
  EXPECT_EQ(all[0].engine.stats().value().skipped, 2U);
  EXPECT_TRUE(all[1].ok());
  EXPECT_EQ(all[1].out.values(), values) << "with the letters";
  EXPECT_EQ(all[1].engine.stats().value().dead_lettered, 2U);
  EXPECT_EQ(all[1].engine.stats().value().skipped, 0U);
  EXPECT_EQ(all[2].status(), WASM_STATUS_GUEST_TRAP);
  EXPECT_EQ(all[2].engine.stats().value().restarts, 0U);
  EXPECT_EQ(all[0].engine.last_error().value()->status(), WASM_STATUS_GUEST_TRAP);
}

// The guest is idle then, but for the other one.
TEST(SharedEngineFailure, OfADeadLetterStopsItsUserAlsoIfAnotherRunsTheGuestAgain) {
  policed p;
  users all(p.factory, 2);
  all[0].engine.set_policy({.on_error = WASM_ON_ERROR_DEAD_LETTER}).value();
  all.start();
  pending_sink sink;
  const auto raw = sink.raw();
  const auto failing = built({"u"});
  const auto good = built({"a"});
  we::future operation;
  ASSERT_EQ(begin_transform(all[0].engine.get(), we::as_slice(failing), &raw, operation.out(), nullptr), WASM_STATUS_OK);
  wasm_poll state = WASM_POLL_YIELDED;
  while (state == WASM_POLL_YIELDED) {
    state = operation.poll().value();
  }
  ASSERT_EQ(state, WASM_POLL_PENDING) << "with its letter";
  all[1].transform(good);
  EXPECT_TRUE(all[1].run());
  ASSERT_TRUE(all[1].ok()) << all[1].end->what();
  EXPECT_EQ(wasm_promise_reject(sink.promise, we::as_slice("full"), nullptr), WASM_STATUS_OK);
  EXPECT_EQ(finish(operation).status, WASM_STATUS_OUTPUT_REJECTED);
  EXPECT_EQ(sink.drops, 1);
  EXPECT_EQ(all[0].state(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_EQ(all[1].state(), WASM_ENGINE_STATE_IDLE);
  all[0].start();
  EXPECT_TRUE(all[0].run());
  EXPECT_TRUE(all[0].ok()) << "the guest runs";
  all[0].transform(good);
  EXPECT_TRUE(all[0].run());
  EXPECT_TRUE(all[0].ok());
}

// ---- Leaving in the middle ----

enum class way { release_future, stop, release };

void leave(user& u, way how) {
  switch (how) {
    case way::release_future: return u.cancel();
    case way::stop: return u.stop();
    case way::release: return u.release();
  }
}

constexpr way ways[] = {way::release_future, way::stop, way::release};

TEST(SharedEngineLeaving, InTheMiddleOfABatchIsNobodyElsesAffair) {
  for (const auto how : ways) {
    SCOPED_TRACE(static_cast<int>(how));
    dummies d;
    we::dummy_gate gate;
    users all(d.factory, 3);
    all.start();
    d.script->delay_transform = gate.hold();
    const auto batch = built(five);
    for (auto& u : all) {
      u.transform(batch);
    }
    all.run();
    leave(all[0], how);
    EXPECT_EQ(d.script->stops, 1U) << "the engine has seen part of a batch that goes away";
    EXPECT_EQ(all[1].woken, 1);
    EXPECT_EQ(all[2].woken, 0);
    gate.open();  // That of the batch that went away, without effect.
    for (int i = 0; i < 2; ++i) {
      all.run();
      gate.open();
    }
    all.run();
    EXPECT_EQ(all[1].out.values(), five);
    EXPECT_EQ(all[2].out.values(), five);
    EXPECT_EQ(d.script->starts, 2U);
    if (how != way::release) {
      EXPECT_EQ(all[0].state(), WASM_ENGINE_STATE_STOPPED);
      if (how == way::stop) {
        EXPECT_TRUE(all[0].poll());
        EXPECT_EQ(all[0].status(), WASM_STATUS_CANCELLED);
      }
    }
  }
}

TEST(SharedEngineLeaving, WhileItWaitsDisturbsNobody) {
  for (const auto how : ways) {
    SCOPED_TRACE(static_cast<int>(how));
    dummies d;
    we::dummy_gate gate;
    users all(d.factory, 3);
    all.start();
    d.script->delay_transform = gate.hold();
    const auto batch = built(five);
    int drops = 0;
    c_sink sink([](output_block, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; });
    sink.on_drop = [&] { ++drops; };
    all[0].transform(batch);
    const auto raw = sink.raw();
    we::future waiting;
    ASSERT_EQ(begin_transform(all[1].engine.get(), we::as_slice(batch), &raw, waiting.out(), nullptr),
              WASM_STATUS_OK);
    all[1].operation = std::move(waiting);
    all[1].going_on = all[1].worth_polling = true;
    all[2].transform(batch);
    all.run();
    leave(all[1], how);
    EXPECT_EQ(drops, 1) << "the sink of a batch that never begins";
    EXPECT_EQ(all[1].woken, 0);
    EXPECT_EQ(all[1].dropped, all[1].polls);
    EXPECT_EQ(all[2].woken, 0) << "it is not its turn yet";
    gate.open();
    all[0].run();
    EXPECT_EQ(all[2].woken, 1);
    all[2].run();
    gate.open();
    EXPECT_TRUE(all[2].run());
    EXPECT_EQ(all[0].out.values(), five);
    EXPECT_EQ(all[2].out.values(), five);
    EXPECT_EQ(d.script->starts, 1U) << "the engine was not disturbed";
    EXPECT_EQ(d.script->transforms, 2U);
  }
}

TEST(SharedEngineLeaving, OfWhoeverStartsItLeavesTheStartToTheNext) {
  for (const auto how : ways) {
    SCOPED_TRACE(static_cast<int>(how));
    dummies d;
    we::dummy_gate gate;
    d.script->delay_start = gate.hold();
    users all(d.factory, 3);
    for (auto& u : all) {
      u.start();
    }
    all.run();
    leave(all[0], how);
    EXPECT_EQ(all[1].woken, 1);
    EXPECT_FALSE(all[1].run());
    EXPECT_EQ(d.script->starts, 2U);
    gate.open();
    gate.open();
    all[1].run();
    all[2].run();
    EXPECT_TRUE(all[1].ok());
    EXPECT_TRUE(all[2].ok());
  }
}

TEST(SharedEngineLeaving, OfAllStopsIt) {
  for (const auto how : ways) {
    dummies d;
    we::dummy_gate gate;
    users all(d.factory, 3);
    all.start();
    d.script->delay_transform = gate.hold();
    const auto batch = built(five);
    for (auto& u : all) {
      u.transform(batch);
    }
    all.run();
    for (const std::size_t i : {1U, 2U, 0U}) {
      EXPECT_EQ(d.script->stops, 0U);
      leave(all[i], how);
    }
    EXPECT_EQ(d.script->stops, 1U);
    EXPECT_EQ(d.script->transforms, 1U);
  }
}

TEST(SharedEngineLeaving, IsPossibleForOthersFromWithinAUsersCallbacks) {
  dummies d;
  users all(d.factory, 4);
  all.start();
  const auto batch = built(five);
  int calls = 0;
  auto sink = [&](output_block) {
    ++calls;
    // The user at work is busy; the others are not, and may come, wait and go.
    EXPECT_EQ(all[0].engine.stop().err().status(), WASM_STATUS_BUSY);
    recorder out;
    EXPECT_EQ(all[0].engine.transform(batch, out).err().status(), WASM_STATUS_BUSY);
    EXPECT_FALSE(all[1].poll());
    all[2].stop();
    all[2].start();
    EXPECT_TRUE(all[2].run());
    all[2].transform(batch);
    EXPECT_FALSE(all[2].poll());
    all[3].release();
    user another(d.factory);
    another.start();
    EXPECT_TRUE(another.run());
  };
  auto first = all[0].engine.transform(batch, sink).value();
  all[1].transform(batch);
  EXPECT_EQ(first.poll().value(), WASM_POLL_READY);
  EXPECT_EQ(calls, 1);
  all.run();
  EXPECT_EQ(all[1].out.values(), five);
  EXPECT_EQ(all[2].out.values(), five);
  EXPECT_EQ(d.script->starts, 1U);
}

TEST(SharedEngineLeaving, ASinkThatIsDroppedMayReleaseOtherUsers) {
  dummies d;
  we::dummy_gate gate;
  users all(d.factory, 3);
  all.start();
  d.script->delay_transform = gate.hold();
  const auto batch = built(five);
  c_sink sink([](output_block, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; });
  sink.on_drop = [&] {
    all[1].release();
    all[2].release();
  };
  const auto raw = sink.raw();
  we::future operation;
  ASSERT_EQ(begin_transform(all[0].engine.get(), we::as_slice(batch), &raw, operation.out(), nullptr),
            WASM_STATUS_OK);
  all[1].transform(batch);
  all[2].transform(batch);
  EXPECT_EQ(operation.poll().value(), WASM_POLL_PENDING);
  all.run();
  operation = we::future();
  EXPECT_EQ(sink.drops, 1);
  EXPECT_EQ(all[0].state(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_EQ(d.script->stops, 1U);
  all[0].release();
  EXPECT_EQ(d.script->alive, 0);
}

TEST(SharedEngineLeaving, AMakerThatMakesUsersOfItsOwnFactoryIsNotLost) {
  c_engine table;
  custom_bench b(table);
  we::engine inner;
  table.on_create = [&](wasm_call*) {
    if (table.creates == 2) {
      inner = we::engine::create_shared(b.factory).value();
    }
    return WASM_CALLBACK_RESULT_DONE;
  };
  auto outer = we::engine::create_shared(b.factory).value();
  EXPECT_EQ(table.creates, 3);
  EXPECT_EQ(table.releases, 1) << "two were made, and one is enough";
  ASSERT_TRUE(succeeded(finish(outer.start())));
  EXPECT_EQ(table.starts, 1);
  ASSERT_TRUE(succeeded(finish(inner.start())));
  EXPECT_EQ(table.starts, 1);
}

}  // namespace
