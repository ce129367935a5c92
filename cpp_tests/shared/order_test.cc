// SPDX-License-Identifier: Apache-2.0
//
// One engine for all users on a thread: who drives it, in which order, and when it comes and goes.
#include "support/shared.hh"

#include <gmock/gmock.h>

#include <thread>

using namespace testing_support;
using testing::ElementsAre;
using testing::SizeIs;

namespace {

const std::vector<std::string> five{"a", "b", "c", "d", "e"};

TEST(SharedEngineOrder, IsOneForAllUsersOfAThread) {
  dummies d;
  users all(d.factory, 3);
  EXPECT_EQ(d.script->alive, 1);
  all.start();
  EXPECT_EQ(d.script->starts, 1U);
  const auto batch = built(five);
  for (auto& u : all) {
    u.transform(batch);
  }
  all.run();
  for (auto& u : all) {
    EXPECT_TRUE(u.ok());
    EXPECT_EQ(u.out.values(), five);
    EXPECT_EQ(u.state(), WASM_ENGINE_STATE_IDLE);
  }
  EXPECT_EQ(d.script->transforms, 3U);
}

TEST(SharedEngineOrder, RunsGuests) {
  bench b("c_identity");
  users all(b.factory, 4);
  all.start();
  for (int i = 0; i < 10; ++i) {
    std::vector<kafka::bytes> batches;
    for (auto& u : all) {
      batches.push_back(built({std::to_string(i), std::to_string(batches.size())}));
      u.out = {};
      u.transform(batches.back());
    }
    all.run();
    for (std::size_t k = 0; k < all.size(); ++k) {
      EXPECT_THAT(all[k].out.values(), ElementsAre(std::to_string(i), std::to_string(k)));
    }
  }
  EXPECT_GT(all[0].engine.memory_size().value(), 0U);
  EXPECT_EQ(all[0].engine.memory_size().value(), all[3].engine.memory_size().value());
  EXPECT_EQ(b.engine.memory_size().value(), 0U) << "an engine of its own is another one";
}

TEST(SharedEngineOrder, StartsOnceForAllWhoWait) {
  dummies d;
  we::dummy_gate gate;
  d.script->delay_start = gate.hold();
  users all(d.factory, 3);
  for (auto& u : all) {
    u.start();
  }
  all.run();
  for (auto& u : all) {
    EXPECT_EQ(u.last, WASM_POLL_PENDING);
    EXPECT_EQ(u.state(), WASM_ENGINE_STATE_STARTING);
  }
  gate.open();
  EXPECT_EQ(all[0].woken, 1) << "it drives";
  EXPECT_EQ(all[1].woken + all[2].woken, 0);
  EXPECT_TRUE(all[0].run());
  EXPECT_TRUE(all[0].ok());
  EXPECT_EQ(all[1].woken, 1);
  EXPECT_EQ(all[2].woken, 1) << "not only the next one: there is nothing to wait for";
  EXPECT_TRUE(all[2].run());
  EXPECT_TRUE(all[1].run());
  EXPECT_EQ(d.script->starts, 1U);
}

TEST(SharedEngineOrder, ThatRunsIsStartedAtOnce) {
  dummies d;
  we::dummy_gate gate;
  users all(d.factory, 3);
  all[0].start();
  EXPECT_TRUE(all[0].run());
  d.script->delay_transform = gate.hold();
  const auto batch = built(five);
  all[0].transform(batch);
  all.run();
  all[1].start();
  EXPECT_TRUE(all[1].poll()) << "also while it transforms for somebody else";
  EXPECT_TRUE(all[1].ok());
  EXPECT_EQ(all[1].state(), WASM_ENGINE_STATE_IDLE);
  EXPECT_EQ(d.script->starts, 1U);
}

TEST(SharedEngineOrder, IsNotHeldUpByAStartThatNobodyPolls) {
  dummies d;
  users all(d.factory, 3);
  all[0].start();
  all[1].start();
  EXPECT_TRUE(all[0].run());
  all[2].start();
  const auto batch = built(five);
  all[0].transform(batch);
  EXPECT_TRUE(all[0].run()) << "two starts were begun before, and not polled";
  EXPECT_EQ(all[0].out.values(), five);
  EXPECT_TRUE(all[2].run());
  EXPECT_TRUE(all[1].run());
}

TEST(SharedEngineOrder, ServesUsersInTheOrderInWhichTheyCame) {
  dummies d;
  users all(d.factory, 3);
  all.start();
  std::vector<std::string> order;
  d.script->outputs = [&](const we::input_record& record) {
    order.emplace_back(*we::payload::read(record.payload()).value().value);
    return std::vector<we::dummy_output>();
  };
  we::dummy_gate gate;
  d.script->delay_transform = gate.hold();
  const kafka::bytes batches[] = {built({"0"}), built({"1"}), built({"2"})};
  int left[] = {100, 100, 100};
  for (std::size_t i = 0; i < 3; ++i) {
    all[i].transform(batches[i]);
  }
  for (;;) {
    all.run();
    if (gate.waiting() > 0) {
      ASSERT_EQ(gate.waiting(), 1U) << "one batch at a time";
      gate.open();
      continue;
    }
    bool any = false;
    for (std::size_t i = 0; i < 3; ++i) {
      if (!all[i].going_on && --left[i] > 0) {
        all[i].transform(batches[i]);
        any = true;
      }
    }
    if (!any) {
      break;
    }
    // Whoever is done comes back at once, behind the others.
    for (bool turned = true; turned;) {
      turned = false;
      for (std::size_t i = 0; i < 3; ++i) {
        if (all[i].going_on && all[i].worth_polling) {
          all[i].poll();
          turned = true;
        }
        if (gate.waiting() > 0) {
          gate.open();
          turned = true;
        }
        if (!all[i].going_on && left[i] > 1) {
          --left[i];
          all[i].transform(batches[i]);
          turned = true;
        }
      }
    }
  }
  ASSERT_THAT(order, SizeIs(300));
  for (std::size_t i = 0; i < order.size(); ++i) {
    EXPECT_EQ(order[i], std::to_string(i % 3)) << i;
  }
}

TEST(SharedEngineOrder, WakesWhoeverIsNextOnceForEachPendingPoll) {
  dummies d;
  we::dummy_gate gate;
  users all(d.factory, 3);
  all.start();
  d.script->delay_transform = gate.hold();
  const auto batch = built(five);
  for (auto& u : all) {
    u.woken = u.dropped = u.pending = u.polls = 0;
    u.transform(batch);
  }
  all.run();
  for (int i = 0; i < 4; ++i) {
    EXPECT_FALSE(all[1].poll()) << "it is not its turn";
  }
  EXPECT_EQ(all[1].pending, 5);
  EXPECT_EQ(all[1].dropped, 4) << "each poll gives another waker";
  EXPECT_EQ(all[1].woken, 0);
  gate.open();
  EXPECT_TRUE(all[0].run());
  EXPECT_EQ(all[1].woken, 1);
  EXPECT_EQ(all[2].woken, 0) << "it is not the turn of the last one yet";
  EXPECT_FALSE(all[1].run());
  gate.open();
  EXPECT_TRUE(all[1].run());
  EXPECT_EQ(all[2].woken, 1);
  EXPECT_FALSE(all[2].run());
  gate.open();
  EXPECT_TRUE(all[2].run());
  for (auto& u : all) {
    EXPECT_EQ(u.woken + u.dropped, u.polls) << "every waker went out once";
    EXPECT_EQ(u.out.values(), five);
  }
}

TEST(SharedEngineOrder, WaitsForAUserThatIsNotPolled) {
  dummies d;
  users all(d.factory, 2);
  all.start();
  const auto batch = built(five);
  all[0].transform(batch);
  all[1].transform(batch);
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(all[1].poll());
    EXPECT_EQ(all[1].last, WASM_POLL_PENDING);
  }
  all[0].cancel();
  EXPECT_EQ(all[1].woken, 1);
  EXPECT_TRUE(all[1].run());
  EXPECT_TRUE(all[1].ok());
  EXPECT_EQ(all[1].out.values(), five);
}

TEST(SharedEngineOrder, IsStoppedWithItsLastUserThatIsStarted) {
  dummies d;
  d.script->memory_size = 77;
  users all(d.factory, 3);
  all.start();
  all[0].stop();
  EXPECT_EQ(all[0].state(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_EQ(all[1].state(), WASM_ENGINE_STATE_IDLE);
  all[1].release();
  EXPECT_EQ(d.script->stops, 0U);
  EXPECT_EQ(all[2].engine.memory_size().value(), 77U);
  all[2].stop();
  EXPECT_EQ(d.script->stops, 1U);
  EXPECT_EQ(all[2].engine.memory_size().value(), 0U);
  EXPECT_EQ(d.script->alive, 1) << "it is there to be started again";
  all[0].start();
  EXPECT_TRUE(all[0].run());
  EXPECT_EQ(d.script->starts, 2U);
  all[0].release();
  all[2].release();
  EXPECT_EQ(d.script->alive, 0) << "the last user takes it along";
  user later(d.factory);
  EXPECT_EQ(d.script->alive, 1);
}

TEST(SharedEngineOrder, GoesWithItsLastUserAlsoIfAFutureIsLeft) {
  dummies d;
  auto engine = d.shared();
  auto started = engine.start().value();
  engine = we::engine();
  EXPECT_EQ(d.script->alive, 0);
  EXPECT_EQ(started.poll().err().status(), WASM_STATUS_CANCELLED);
  engine = d.shared();
  EXPECT_EQ(d.script->alive, 1);
}

TEST(SharedEngineOrder, IsAnotherOneForEachFactoryAndEachThread) {
  dummies d;
  const auto other = d.another();
  user a(d.factory);
  user b(other);
  EXPECT_EQ(d.script->alive, 2);
  auto own = we::engine::create(d.factory).value();
  EXPECT_EQ(d.script->alive, 3);

  // The script is for one thread at a time; the table counts for itself.
  c_engine table;
  custom_bench bench(table);
  auto here = we::engine::create_shared(bench.factory).value();
  std::thread([&] {
    auto there = we::engine::create_shared(bench.factory).value();
    auto second = we::engine::create_shared(bench.factory).value();
    EXPECT_EQ(table.creates, 3) << "one of the bench's own, one here, one there";
    ASSERT_TRUE(succeeded(finish(there.start())));
    EXPECT_EQ(here.start().err().status(), WASM_STATUS_WRONG_THREAD);
  }).join();
  EXPECT_EQ(table.releases, 1);
  ASSERT_TRUE(succeeded(finish(here.start())));
  EXPECT_EQ(table.starts, 2);
}

TEST(SharedEngineOrder, TwoThreadsWorkAtOnce) {
  bench b("c_identity");
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      ASSERT_TRUE(we::prepare_thread(b.runtime, 0, 0));
      users all(b.factory, 5);
      all.start();
      const auto batch = built(five);
      for (int i = 0; i < 200; ++i) {
        for (auto& u : all) {
          u.out = {};
          u.transform(batch);
        }
        all.run();
        for (auto& u : all) {
          ASSERT_TRUE(u.ok());
          ASSERT_EQ(u.out.values(), five);
        }
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
}

TEST(SharedEngineOrder, HasAThousandUsers) {
  dummies d;
  users all(d.factory, 1000);
  all.start();
  EXPECT_EQ(d.script->starts, 1U);
  const auto batch = built({"x"});
  for (int round = 0; round < 3; ++round) {
    for (auto& u : all) {
      u.transform(batch);
    }
    all.run();
  }
  for (auto& u : all) {
    EXPECT_TRUE(u.ok());
    EXPECT_EQ(u.out.records.size(), 3U);
    EXPECT_EQ(u.woken + u.dropped, u.polls);
  }
  EXPECT_EQ(d.script->transforms, 3000U);
  // They leave in the middle, from both ends and in between.
  for (auto& u : all) {
    u.transform(batch);
  }
  for (auto& u : all) {
    u.poll();
  }
  for (std::size_t i = 0; i < all.size(); i += 2) {
    all[i * 7 % 1000].release();
  }
  all.run();
  std::size_t done = 0;
  for (auto& u : all) {
    done += u.ok() && u.engine ? 1 : 0;
  }
  EXPECT_GE(done, 500U);
  while (!all.empty()) {
    all.pop_front();
  }
  EXPECT_EQ(d.script->alive, 0);
}

}  // namespace
