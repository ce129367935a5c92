// SPDX-License-Identifier: Apache-2.0
//
// One engine for all users on a thread: each has the contract of an engine of its own.
#include "support/metrics.hh"
#include "support/shared.hh"

#include <gmock/gmock.h>

#include <thread>

using namespace testing_support;
using testing::ElementsAre;
using testing::SizeIs;

namespace {

const std::vector<std::string> five{"a", "b", "c", "d", "e"};

TEST(SharedEngineUsers, LetsAWakerPollOtherUsers) {
  dummies d;
  we::dummy_gate gate;
  users all(d.factory, 4);
  all.start();
  d.script->delay_transform = gate.hold();
  const auto batch = built(five);
  for (auto& u : all) {
    u.transform(batch);
  }
  all.run();
  std::size_t polled = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    // Whoever is woken has all the others polled, from within its waker, also the one that wakes it.
    all[i].on_wake = [&, i] {
      for (std::size_t k = 0; k < 4; ++k) {
        if (k != i && all[k].going_on && all[k].operation.get() != nullptr) {
          const auto seen = all[k].operation.poll();
          polled += seen && *seen == WASM_POLL_PENDING ? 1 : 0;
          EXPECT_TRUE(seen || seen.err().status() == WASM_STATUS_BUSY || seen.err().status() == WASM_STATUS_INVALID_STATE);
        }
        if (k != i) {
          EXPECT_TRUE(all[k].engine.state());
        }
      }
    };
  }
  gate.open();
  EXPECT_TRUE(all[0].run());
  EXPECT_GT(polled, 0U);
  for (auto& u : all) {
    u.on_wake = {};
  }
  for (std::size_t i = 1; i < 4; ++i) {
    // A poll without a waker took the place of one with.
    EXPECT_FALSE(all[i].poll());
    gate.open();
    EXPECT_TRUE(all[i].run());
    EXPECT_EQ(all[i].out.values(), five);
  }
}

TEST(SharedEngineUsers, ShowsCallbacksTheUserWhoseTurnItIs) {
  c_engine table;
  custom_bench b(table);
  std::vector<std::pair<wasm_engine*, void*>> seen;
  table.on_transform = [&](wasm_slice batch, std::uint32_t first, wasm_work* work, wasm_call* call) {
    seen.emplace_back(wasm_call_engine(call), wasm_call_user_data(call));
    return c_engine::copy(batch, first, work, call);
  };
  users all(b.factory, 3);
  for (auto& u : all) {
    u.engine.set_user_data(&u).value();
  }
  all.start();
  const auto batch = built(five);
  for (auto& u : all) {
    u.transform(batch);
  }
  all.run();
  ASSERT_THAT(seen, SizeIs(3));
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(seen[i].first, all[i].engine.get());
    EXPECT_EQ(seen[i].second, &all[i]);
  }
  // The one whose turn it is may change it at any time, and others do not change it for this one.
  held_promise promise;
  bool waited = false;
  table.on_transform = [&](wasm_slice bytes, std::uint32_t first, wasm_work* work, wasm_call* call) {
    seen.emplace_back(wasm_call_engine(call), wasm_call_user_data(call));
    return std::exchange(waited, true) ? c_engine::copy(bytes, first, work, call) : promise.take(call);
  };
  int mark = 0;
  int other = 0;
  all[2].transform(batch);
  EXPECT_FALSE(all[2].poll());
  EXPECT_EQ(seen.back().second, &all[2]);
  all[2].engine.set_user_data(&mark).value();
  all[1].engine.set_user_data(&other).value();
  EXPECT_EQ(promise.resolve(), WASM_STATUS_OK);
  EXPECT_TRUE(all[2].run());
  EXPECT_EQ(seen.back().second, &mark);
}

TEST(SharedEngineUsers, WakesNobodyWhoseFutureAnotherWakeReleased) {
  dummies d;
  we::dummy_gate gate;
  d.script->delay_start = gate.hold();
  users all(d.factory, 3);
  for (auto& u : all) {
    u.start();
    EXPECT_FALSE(u.poll());
  }
  all[1].on_wake = [&] { all[2].cancel(); };
  gate.open();
  EXPECT_TRUE(all[0].run());
  EXPECT_EQ(all[1].woken, 1);
  EXPECT_EQ(all[2].woken, 0);
  EXPECT_EQ(all[2].dropped, 1);
}

TEST(SharedEngineUsers, CountsTheBatchesThatWait) {
  dummies d;
  we::dummy_gate gate;
  d.script->delay_transform = gate.hold();
  users all(d.factory, 4);
  all.start();
  const auto batch = built(five);
  const auto queued = [&] { return only(d.runtime).raw.queued_batches; };
  for (std::uint64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(queued(), i == 0 ? 0 : i - 1) << "the first one does not wait";
    all[i].transform(batch);
    all[i].poll();
  }
  EXPECT_EQ(queued(), 3U);
  all[1].cancel();
  EXPECT_EQ(queued(), 2U);
  gate.open();
  EXPECT_TRUE(all[0].run());
  all[2].run();
  EXPECT_EQ(queued(), 1U) << "it is at work";
  all[2].stop();
  all[3].stop();
  EXPECT_EQ(queued(), 0U);
}

TEST(SharedEngineUsers, CountsAsOneEngine) {
  dummies d;
  users all(d.factory, 3);
  all.start();
  const auto batch = built(five);
  for (auto& u : all) {
    u.transform(batch);
  }
  all.run();
  auto m = only(d.runtime);
  EXPECT_EQ(m.raw.engines, 1U);
  EXPECT_EQ(m.raw.input_records, 15U);
  EXPECT_EQ(m.raw.restarts, 0U);
  d.script->fails_at = 0;
  d.script->failures = 1;
  for (auto& u : all) {
    u.transform(batch);
  }
  all.run();
  m = only(d.runtime);
  EXPECT_EQ(m.errors[WASM_STATUS_CUSTOM_ENGINE_FAILED], 1U);
  EXPECT_EQ(m.raw.restarts, 1U);
}

/// Does something at the very end of a thread, after everything that the library keeps for it is gone.
struct last_words {
  std::function<void()> say;
  ~last_words() { say(); }
};

TEST(SharedEngineUsers, IsLeftButNotMadeAtTheVeryEndOfAThread) {
  c_engine table;
  custom_bench b(table);
  int said = 0;
  std::thread([&] {
    // Made before the library is first used here, so it goes after what the library keeps.
    thread_local last_words last;
    auto kept = std::make_shared<we::engine>();
    last.say = [&, kept] {
      ++said;
      const auto late = we::engine::create_shared(b.factory);
      EXPECT_EQ(late.err().status(), WASM_STATUS_INVALID_STATE);
      EXPECT_EQ(kept->state().value(), WASM_ENGINE_STATE_IDLE);
      *kept = we::engine();
      EXPECT_EQ(table.stops, 1);
      EXPECT_EQ(table.releases, 1);
    };
    *kept = we::engine::create_shared(b.factory).value();
    ASSERT_TRUE(succeeded(finish(kept->start())));
  }).join();
  EXPECT_EQ(said, 1);
}

TEST(SharedEngineUsers, RefusesABatchWithoutHarmAlsoWhileOthersAreInFront) {
  dummies d;
  users all(d.factory, 2);
  all.start();
  const auto batch = built(five);
  auto broken = batch;
  broken.back() ^= 1;
  for (int i = 0; i < 2; ++i) {
    recorder out;
    EXPECT_EQ(all[1].engine.transform_from(batch, 5, out).err().status(), WASM_STATUS_INVALID_ARGUMENT);
    EXPECT_EQ(all[1].state(), WASM_ENGINE_STATE_IDLE);
    if (i == 0) {
      EXPECT_EQ(finish(all[1].engine.transform(broken, out)).status, WASM_STATUS_BATCH_CRC);
    } else {
      all[0].transform(batch);
      auto operation = all[1].engine.transform(broken, out).value();
      EXPECT_EQ(operation.poll().value(), WASM_POLL_PENDING) << "its turn comes later";
      all.run();
      EXPECT_EQ(finish(operation).status, WASM_STATUS_BATCH_CRC);
    }
    EXPECT_EQ(all[1].state(), WASM_ENGINE_STATE_IDLE) << "only the batch was refused";
  }
  EXPECT_EQ(only(d.runtime).errors[WASM_STATUS_BATCH_CRC], 2U);
  all[1].transform(batch, 3);
  all.run();
  EXPECT_THAT(all[1].out.values(), ElementsAre("d", "e"));
}

TEST(SharedEngineUsers, RefusesWhatAnEngineOfItsOwnWould) {
  dummies d;
  user u(d.factory);
  const auto batch = built(five);
  recorder out;
  EXPECT_EQ(u.engine.transform(batch, out).err().status(), WASM_STATUS_INVALID_STATE);
  u.start();
  EXPECT_EQ(u.engine.start().err().status(), WASM_STATUS_INVALID_STATE);
  EXPECT_EQ(u.engine.transform(batch, out).err().status(), WASM_STATUS_INVALID_STATE);
  EXPECT_EQ(u.engine.set_policy({}).err().status(), WASM_STATUS_INVALID_STATE);
  EXPECT_TRUE(u.run());
  u.transform(batch);
  EXPECT_EQ(u.engine.start().err().status(), WASM_STATUS_INVALID_STATE);
  EXPECT_TRUE(u.run());
  std::thread([&] {
    EXPECT_EQ(u.engine.stop().err().status(), WASM_STATUS_WRONG_THREAD);
    EXPECT_EQ(wasm_engine_release(u.engine.get(), nullptr), WASM_STATUS_WRONG_THREAD);
  }).join();
  wasm_engine* none = nullptr;
  wasm_engine_config config{sizeof(config), 1};
  EXPECT_EQ(wasm_engine_create(nullptr, &config, &none, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_engine_create(d.factory.get(), &config, nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  config.shared = 2;
  EXPECT_EQ(wasm_engine_create(d.factory.get(), &config, &none, nullptr), WASM_STATUS_INVALID_ARGUMENT);
  config = {8, 1};
  EXPECT_EQ(wasm_engine_create(d.factory.get(), &config, &none, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  EXPECT_EQ(none, nullptr);
}

TEST(SharedEngineUsers, IsDrivenByTheLibrarysTasksToo) {
  struct loop {
    std::deque<std::pair<void (*)(void*) noexcept, void*>> queue;
    void post(void (*function)(void*) noexcept, void* argument) noexcept { queue.emplace_back(function, argument); }
  } loop;
  dummies d;
  users all(d.factory, 10);
  all.start();
  const auto batch = built(five);
  int done = 0;
  for (auto& u : all) {
    ASSERT_TRUE(we::spawn(loop, u.engine.transform(batch, u.out).value(), [&](const we::result<void>& r) {
      done += r ? 1 : 0;
    }));
  }
  std::size_t runs = 0;
  for (; !loop.queue.empty(); ++runs) {
    const auto [function, argument] = loop.queue.front();
    loop.queue.pop_front();
    function(argument);
  }
  EXPECT_EQ(done, 10);
  EXPECT_LE(runs, 20U) << "each task is run once to get into the queue, and once when it is its turn";
}

}  // namespace
