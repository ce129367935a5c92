// SPDX-License-Identifier: Apache-2.0
//
// A new version in an engine's place: under a policy, for users of a shared engine, with guests, and what it costs.
#include "support/replace.hh"

#include <gmock/gmock.h>

#include <dirent.h>

#include <fstream>
#include <thread>

using namespace testing_support;
using testing::ElementsAre;

namespace {

TEST(ReplaceUnderPolicy, ABatchWhoseGuestIsRestartedIsTheOldVersionsToItsEnd) {
  deployed d;
  we::dummy_gate restarts;
  d.engine.set_policy({.on_error = WASM_ON_ERROR_SKIP}).value();
  d.start_now();
  d.old->fails_at = 0;
  d.old->delay_start = restarts.hold();
  d.transform(d.batch);
  EXPECT_FALSE(d.user::run());
  ASSERT_EQ(restarts.waiting(), 1U) << "the record is skipped, and the old version started again";
  d.replace();
  d.replacing.poll();
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
  restarts.open();
  EXPECT_TRUE(d.user::run());
  EXPECT_TRUE(d.ok());
  EXPECT_THAT(d.out.values(), ElementsAre("old-y"));
  EXPECT_EQ(d.run(), "new-x");
}

TEST(ReplaceUnderPolicy, ABatchThatEndsWellOrNotIsFollowedByTheNewVersion) {
  for (const bool fails : {false, true}) {
    deployed d;
    we::dummy_gate batches;
    d.engine.set_policy({}).value();
    d.start_now();
    d.old->delay_transform = batches.hold();
    d.transform(d.batch);
    EXPECT_FALSE(d.poll());
    d.replace();
    d.replacing.poll();
    EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
    fails ? batches.fail("why") : batches.open();
    EXPECT_TRUE(d.user::run());
    EXPECT_EQ(d.status(), fails ? WASM_STATUS_CUSTOM_ENGINE_FAILED : WASM_STATUS_OK);
    EXPECT_EQ(d.replacing.woken, 1);
    EXPECT_EQ(d.old->alive, 0) << "at the end of the batch, not at the next one";
    if (fails) {
      d.start_now();
    }
    EXPECT_EQ(d.run(), "new-x");
  }
}

TEST(ReplaceUnderPolicy, AStartThatWaitsAfterFailuresIsOverWithTheNewVersion) {
  deployed d;
  fake_timer timer;
  timer.holds = true;
  d.engine.set_policy({}, timer).value();
  d.old->failing_starts = we::dummy_script::always;
  d.start();
  EXPECT_FALSE(d.user::run());
  ASSERT_EQ(timer.held.size(), 1U);
  d.replace();
  d.replacing.poll();
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
  EXPECT_TRUE(d.user::run()) << "it is woken, and does not wait for the timer any longer";
  EXPECT_TRUE(d.ok());
  EXPECT_EQ(d.state(), WASM_ENGINE_STATE_IDLE);
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_READY);
  EXPECT_EQ(d.replacing.status(), WASM_STATUS_OK);
  EXPECT_EQ(d.run(), "new-x");
  EXPECT_EQ(d.engine.start().err().status(), WASM_STATUS_INVALID_STATE);
}

TEST(ReplaceUnderPolicy, ABatchThatWaitsForAStartGoesOnWithTheNewVersion) {
  deployed d;
  fake_timer timer;
  timer.holds = true;
  d.engine.set_policy({.on_error = WASM_ON_ERROR_SKIP}, timer).value();
  d.start_now();
  d.old->fails_at = 0;
  d.old->failing_starts = we::dummy_script::always;
  d.transform(d.batch);
  EXPECT_FALSE(d.user::run());
  ASSERT_EQ(timer.held.size(), 1U);
  d.replace();
  d.replacing.poll();
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
  EXPECT_TRUE(d.user::run());
  EXPECT_TRUE(d.ok());
  EXPECT_THAT(d.out.values(), ElementsAre("new-y")) << "x was skipped";
  EXPECT_EQ(d.engine.stats().value().skipped, 1U);
}

TEST(ReplaceUnderPolicy, AStartWaitsForTheTimerAgainIfTheNewVersionIsGivenUp) {
  deployed d;
  fake_timer timer;
  timer.holds = true;
  d.engine.set_policy({}, timer).value();
  d.old->failing_starts = 1;
  d.start();
  EXPECT_FALSE(d.user::run());
  d.replace();
  d.replacing.poll();
  d.replacing.operation = we::future();
  EXPECT_FALSE(d.user::run());
  EXPECT_EQ(d.last, WASM_POLL_PENDING);
  timer.wake();
  EXPECT_TRUE(d.user::run());
  EXPECT_TRUE(d.ok());
  EXPECT_EQ(d.run(), "old-x");
}

TEST(ReplaceStopped, OfAStoppedEngineTwiceStillLeavesItsStartToTheHost) {
  deployed d;
  d.replace();
  d.replaced();
  d.replace();
  d.replaced();
  d.start();
  EXPECT_TRUE(d.user::run());
  EXPECT_TRUE(d.ok()) << "it is over at once";
  EXPECT_EQ(d.run(), "new-x");
}

TEST(ReplaceMetrics, GoOnWithTheSameNameAndBeginWithAnother) {
  for (const std::string name : {"tested", "second"}) {
    deployed d(false, name);
    d.start_now();
    EXPECT_EQ(d.run(), "old-x");
    d.replace();
    EXPECT_EQ(all(d.runtime).begin()->second.raw.input_records + all(d.runtime).rbegin()->second.raw.input_records,
              name == "tested" ? 4U : 2U);
    d.replaced();
    EXPECT_EQ(d.run(), "new-x");
    EXPECT_EQ(all(d.runtime).size(), name == "tested" ? 1U : 2U) << "what the old version counted is read once more";
    const auto m = all(d.runtime);
    ASSERT_EQ(m.size(), 1U);
    EXPECT_EQ(m.begin()->first.first, name);
    EXPECT_EQ(m.begin()->second.raw.input_records, name == "tested" ? 4U : 2U);
    EXPECT_EQ(m.begin()->second.raw.engines, 1U);
  }
}

TEST(ReplaceShared, MovesOneUserAndLeavesTheOthers) {
  deployed d(true);
  user other(d.old_factory), third(d.old_factory);
  d.start_now();
  other.start();
  EXPECT_TRUE(other.run());
  third.start();
  EXPECT_TRUE(third.run());
  d.replace();
  d.replaced();
  EXPECT_EQ(d.old->stops, 0U) << "others use it";
  EXPECT_EQ(d.run(), "new-x");
  other.transform(d.batch);
  EXPECT_TRUE(other.run());
  EXPECT_THAT(other.out.values(), ElementsAre("old-x", "old-y"));
  EXPECT_TRUE(succeeded(finish(other.engine.replace(d.new_factory))));
  EXPECT_TRUE(succeeded(finish(third.engine.replace(d.new_factory))));
  EXPECT_EQ(d.old->stops, 1U);
  EXPECT_EQ(d.old->alive, 0);
  EXPECT_EQ(d.fresh->starts, 1U) << "they share the new one, too";
  EXPECT_EQ(d.fresh->alive, 1);
}

TEST(ReplaceShared, GivenUpLeavesTheBatchThatIsGoingOnItsHost) {
  c_engine table;
  custom_bench b(table);
  std::vector<std::pair<wasm_engine*, void*>> seen;
  held_promise promise;
  bool waited = false;
  table.on_transform = [&](wasm_slice bytes, std::uint32_t first, wasm_work* work, wasm_call* call) {
    seen.emplace_back(wasm_call_engine(call), wasm_call_user_data(call));
    return std::exchange(waited, true) ? c_engine::copy(bytes, first, work, call) : promise.take(call);
  };
  user one(b.factory);
  one.engine.set_user_data(&one).value();
  one.start();
  EXPECT_TRUE(one.run());
  const auto batch = built({"x"});
  one.transform(batch);
  EXPECT_FALSE(one.poll());
  {
    auto replacing = one.engine.replace(b.factory).value();
    (void)replacing.poll();
  }
  EXPECT_EQ(promise.resolve(), WASM_STATUS_OK);
  EXPECT_TRUE(one.run());
  EXPECT_TRUE(one.ok());
  EXPECT_THAT(seen, testing::Each(testing::Pair(one.engine.get(), &one)));
  EXPECT_EQ(seen.size(), 2U);
}

TEST(ReplaceShared, WhileTheUserWaitsInTheQueueComesAfterItsBatch) {
  deployed d(true);
  we::dummy_gate batches;
  user other(d.old_factory);
  d.start_now();
  other.start();
  EXPECT_TRUE(other.run());
  d.old->delay_transform = batches.hold();
  other.transform(d.batch);
  EXPECT_FALSE(other.poll());
  d.transform(d.batch);
  EXPECT_FALSE(d.poll());
  d.replace();
  d.replacing.poll();
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
  batches.open();
  EXPECT_TRUE(other.run());
  EXPECT_FALSE(d.user::run());
  batches.open();
  EXPECT_TRUE(d.user::run());
  EXPECT_THAT(d.out.values(), ElementsAre("old-x", "old-y"));
  EXPECT_EQ(d.run(), "new-x");
}

// ---- Guests ----

TEST(ReplaceGuest, SwitchesFromOneModuleToAnother) {
  bench b("c_identity");
  const auto second = compile(b.runtime, "rust_identity");
  const auto broken = compile(b.runtime, "t_exit_start");
  EXPECT_THAT(b.run({"a"}).values(), ElementsAre("a"));
  const auto small = b.engine.memory_size().value();
  const auto failed = finish(b.engine.replace(broken));
  EXPECT_EQ(failed.status, WASM_STATUS_GUEST_EXIT) << failed.message();
  EXPECT_THAT(b.run({"b"}).values(), ElementsAre("b"));
  EXPECT_TRUE(succeeded(finish(b.engine.replace(second))));
  EXPECT_NE(b.engine.memory_size().value(), small);
  EXPECT_THAT(b.run({"c"}).values(), ElementsAre("c"));
}

TEST(ReplaceGuest, RollsBackIfThePoolHasNoRoomForBoth) {
  for (const std::uint32_t room : {1U, 2U}) {
    wasm_runtime_config config{};
    config.memory_mode = WASM_MEMORY_MODE_THREAD_POOL;
    bench b("c_identity", config);
    std::thread([&] {
      ASSERT_TRUE(we::prepare_thread(b.runtime, room, 0));
      auto engine = we::engine::create(b.factory).value();
      ASSERT_TRUE(succeeded(finish(engine.start())));
      const auto replaced = finish(engine.replace(b.factory));
      EXPECT_EQ(replaced.status, room == 1 ? WASM_STATUS_POOL_EXHAUSTED : WASM_STATUS_OK) << replaced.message();
      recorder out;
      EXPECT_TRUE(succeeded(finish(engine.transform(built({"x"}), out))));
      EXPECT_THAT(out.values(), ElementsAre("x"));
    }).join();
  }
}

TEST(ReplaceGuest, IsAwaitedLikeOtherOperations) {
  struct loop {
    std::deque<std::pair<void (*)(void*) noexcept, void*>> queue;
    void post(void (*function)(void*) noexcept, void* argument) noexcept { queue.emplace_back(function, argument); }
  } loop;
  bench b("c_identity");
  const auto second = compile(b.runtime, "cpp_identity");
  EXPECT_THAT(b.run({"a"}).values(), ElementsAre("a"));
  bool done = false;
  we::start([](struct loop& l, bench& on_bench, const we::factory& f, bool& over) -> we::task<void> {
    auto replacing = on_bench.engine.replace(f).value();
    const auto replaced = co_await we::on(l, std::move(replacing));
    EXPECT_TRUE(replaced);
    over = true;
  }(loop, b, second, done));
  while (!loop.queue.empty()) {
    const auto [function, argument] = loop.queue.front();
    loop.queue.pop_front();
    function(argument);
  }
  EXPECT_TRUE(done);
  EXPECT_THAT(b.run({"b"}).values(), ElementsAre("b"));
}

std::size_t resident() {
  std::ifstream statm("/proc/self/statm");
  std::size_t total = 0, pages = 0;
  statm >> total >> pages;
  return pages * 4096;
}

std::size_t open_files() {
  std::size_t count = 0;
  DIR* directory = opendir("/proc/self/fd");
  while (readdir(directory) != nullptr) {
    ++count;
  }
  closedir(directory);
  return count;
}

TEST(ReplaceGuest, TenThousandTimesCostsNoMemoryAndNoFiles) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer holds freed memory back";
#endif
  for (const bool shares : {false, true}) {
    bench b("c_identity");
    const we::factory versions[] = {b.factory, compile(b.runtime, "cpp_identity")};
    auto engine = (shares ? we::engine::create_shared(b.factory) : we::engine::create(b.factory)).value();
    ASSERT_TRUE(succeeded(finish(engine.start())));
    const auto batch = built({"x"});
    std::size_t before = 0, files = 0;
    for (std::size_t i = 0; i < 10'000; ++i) {
      if (i == 1'000) {
        before = resident();
        files = open_files();
      }
      ASSERT_TRUE(succeeded(finish(engine.replace(versions[i % 2]))));
      recorder out;
      ASSERT_TRUE(succeeded(finish(engine.transform(batch, out))));
    }
    EXPECT_LT(resident(), before + (std::size_t{2} << 20)) << "from " << before;
    EXPECT_EQ(open_files(), files);
  }
}

}  // namespace
