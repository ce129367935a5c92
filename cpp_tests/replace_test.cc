// SPDX-License-Identifier: Apache-2.0
//
// A new version in an engine's place, while it works.
#include "support/metrics.hh"
#include "support/policy.hh"
#include "support/shared.hh"

#include <gmock/gmock.h>

#include <dirent.h>

#include <fstream>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

/// Two versions, which write their name in front of each value.
struct versions {
  explicit versions(const std::string& second_name = "tested") {
    auto transform = with_topics({"out"});
    old_factory = we::create_dummy_factory(runtime, transform, script(old, "old-")).value();
    transform.name = second_name;
    new_factory = we::create_dummy_factory(runtime, transform, script(fresh, "new-")).value();
  }
  static std::shared_ptr<we::dummy_script> script(std::shared_ptr<we::dummy_script>& s, const std::string& prefix) {
    s->outputs = [prefix](const we::input_record& record) {
      const auto value = *we::payload::read(record.payload()).value().value;
      return std::vector<we::dummy_output>{{payload_of(prefix + std::string(value))}};
    };
    return s;
  }

  std::shared_ptr<we::dummy_script> old = std::make_shared<we::dummy_script>();
  std::shared_ptr<we::dummy_script> fresh = std::make_shared<we::dummy_script>();
  we::runtime runtime = we::runtime::create().value();
  we::factory old_factory, new_factory;
};

/// An engine that transforms a batch whenever it is asked.
struct deployed : versions, user {
  explicit deployed(bool shares = false, const std::string& second_name = "tested")
      : versions(second_name),
        user((shares ? we::engine::create_shared(old_factory) : we::engine::create(old_factory)).value()) {}

  void replace() { replacing.begin_with(engine.replace(new_factory)); }

  /// A future with its waker, polled when it is worth it.
  struct watched {
    void begin_with(we::result<we::future> begun) {
      ASSERT_TRUE(begun) << begun.err().what();
      operation = std::move(begun).value();
      woken = dropped = polls = 0;
    }
    wasm_poll poll() {
      ++polls;
      const wasm_waker waker{this, [](void* self) { ++static_cast<watched*>(self)->woken; },
                             [](void* self) { ++static_cast<watched*>(self)->dropped; }};
      auto polled = operation.poll(&waker);
      why = polled ? std::nullopt : std::optional(polled.err());
      return polled ? *polled : WASM_POLL_READY;
    }
    [[nodiscard]] wasm_status status() const { return why ? why->status() : WASM_STATUS_OK; }
    ~watched() { operation = we::future(); }
    we::future operation;
    std::optional<we::error> why;
    int woken = 0, dropped = 0, polls = 0;
  } replacing;

  /// Runs one batch and tells which version it met.
  std::string run() {
    out = {};
    transform(batch);
    worth_polling = true;
    user::run();
    EXPECT_TRUE(ok()) << (end ? end->what() : "");
    return out.records.empty() ? "nothing" : out.values().front();
  }
  void start_now() {
    start();
    EXPECT_TRUE(user::run());
    EXPECT_TRUE(ok());
  }
  /// Polls until the new version is there.
  void replaced() {
    for (int i = 0; i < 3; ++i) {
      if (replacing.poll() == WASM_POLL_READY) {
        EXPECT_EQ(replacing.status(), WASM_STATUS_OK);
        return;
      }
    }
    ADD_FAILURE() << "it was not replaced";
  }

  kafka::bytes batch = built({"x", "y"});
};

struct Replace : testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Engines, Replace, testing::Bool(),
                         [](const auto& param) { return param.param ? "Shared" : "Own"; });

TEST_P(Replace, PutsTheNewVersionInPlaceAtTheEndOfTheBatchThatIsGoingOn) {
  deployed d(GetParam());
  we::dummy_gate batches, starts;
  d.start_now();
  d.old->delay_transform = batches.hold();
  d.fresh->delay_start = starts.hold();
  d.transform(d.batch);
  EXPECT_FALSE(d.poll());
  d.replace();
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING) << "it starts";
  EXPECT_EQ(d.fresh->starts, 1U);
  starts.open();
  EXPECT_EQ(d.replacing.woken, 1);
  EXPECT_NE(d.replacing.poll(), WASM_POLL_READY);
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING) << "it waits for the batch";
  EXPECT_EQ(d.old->stops, 0U);
  EXPECT_EQ(d.state(), WASM_ENGINE_STATE_TRANSFORMING);
  batches.open();
  EXPECT_TRUE(d.user::run());
  EXPECT_THAT(d.out.values(), ElementsAre("old-x", "old-y")) << "the whole batch is the old version's";
  EXPECT_EQ(d.replacing.woken, 2);
  EXPECT_EQ(d.old->stops, 1U);
  EXPECT_EQ(d.old->alive, 0) << "it is freed";
  EXPECT_EQ(d.run(), "new-x") << "whether or not anybody polls the future";
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_READY);
  EXPECT_EQ(d.replacing.status(), WASM_STATUS_OK);
  EXPECT_EQ(d.replacing.woken + d.replacing.dropped, d.replacing.polls);
  EXPECT_EQ(d.fresh->starts, 1U);
}

TEST_P(Replace, FeedsTheOldVersionWhileTheNewOneStarts) {
  deployed d(GetParam());
  we::dummy_gate starts;
  d.fresh->delay_start = starts.hold();
  d.start_now();
  d.replace();
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
    EXPECT_EQ(d.run(), "old-x");
  }
  starts.open();
  EXPECT_EQ(d.run(), "old-x") << "nobody has polled the start";
  d.replaced();
  EXPECT_EQ(d.run(), "new-x");
  EXPECT_EQ(d.old->starts, 1U);
}

TEST_P(Replace, RollsBackIfTheNewVersionDoesNotStart) {
  deployed d(GetParam());
  d.start_now();
  d.fresh->failing_starts = 1;
  d.replace();
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_READY);
  EXPECT_EQ(d.replacing.status(), WASM_STATUS_CUSTOM_ENGINE_FAILED);
  EXPECT_THAT(d.replacing.why->what(), HasSubstr("this start fails"));
  EXPECT_EQ(d.fresh->alive, 0);
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_READY);
  EXPECT_EQ(d.replacing.status(), WASM_STATUS_INVALID_STATE) << "it is over";
  EXPECT_EQ(d.run(), "old-x");
  EXPECT_EQ(d.old->stops, 0U);
  d.replace();
  d.replaced();
  EXPECT_EQ(d.run(), "new-x");
}

TEST_P(Replace, IsGivenUpWithItsFuture) {
  for (const bool started : {false, true}) {
    deployed d(GetParam());
    we::dummy_gate batches, starts;
    d.start_now();
    d.old->delay_transform = batches.hold();
    d.fresh->delay_start = starts.hold();
    d.transform(d.batch);
    EXPECT_FALSE(d.poll());
    d.replace();
    EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
    if (started) {
      starts.open();
      d.replacing.poll();
      EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
    }
    d.replacing.operation = we::future();
    EXPECT_EQ(d.replacing.woken + d.replacing.dropped, d.replacing.polls);
    EXPECT_EQ(d.fresh->alive, 0);
    EXPECT_EQ(d.fresh->stops, 1U);
    batches.open();
    EXPECT_TRUE(d.user::run());
    d.old->delay_transform = {};
    EXPECT_EQ(d.run(), "old-x");
  }
}

TEST_P(Replace, IsCancelledByStoppingOrReleasingTheEngine) {
  for (const bool releases : {false, true}) {
    for (const bool started : {false, true}) {
      deployed d(GetParam());
      we::dummy_gate batches, starts;
      d.start_now();
      d.old->delay_transform = batches.hold();
      d.fresh->delay_start = starts.hold();
      d.transform(d.batch);
      EXPECT_FALSE(d.poll());
      d.replace();
      EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
      if (started) {
        starts.open();
        d.replacing.poll();
        EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
      }
      releases ? d.release() : d.stop();
      EXPECT_EQ(d.replacing.woken + d.replacing.dropped, d.replacing.polls) << "its waker is given back";
      EXPECT_EQ(d.old->stops, 1U);
      EXPECT_EQ(d.fresh->stops, 1U);
      EXPECT_EQ(d.fresh->alive, 0);
      EXPECT_EQ(d.replacing.poll(), WASM_POLL_READY);
      EXPECT_EQ(d.replacing.status(), WASM_STATUS_CANCELLED);
      EXPECT_EQ(d.operation.poll().err().status(), WASM_STATUS_CANCELLED);
      if (!releases) {
        EXPECT_EQ(d.state(), WASM_ENGINE_STATE_STOPPED);
        d.old->delay_transform = {};
        d.start_now();
        EXPECT_EQ(d.run(), "old-x");
      }
    }
  }
}

TEST_P(Replace, StartsAnEngineThatWasStopped) {
  deployed d(GetParam());
  d.replace();
  EXPECT_EQ(d.state(), WASM_ENGINE_STATE_STOPPED);
  d.replaced();
  EXPECT_EQ(d.old->starts, 0U);
  EXPECT_EQ(d.state(), WASM_ENGINE_STATE_IDLE);
  d.start_now();
  EXPECT_EQ(d.fresh->starts, 1U) << "it was over at once";
  EXPECT_EQ(d.engine.start().err().status(), WASM_STATUS_INVALID_STATE) << "but once only";
  EXPECT_EQ(d.run(), "new-x");
  d.stop();
  d.start_now();
  EXPECT_EQ(d.run(), "new-x");
}

TEST_P(Replace, TakesOverFromAVersionThatFailed) {
  for (const bool polled : {false, true}) {
    deployed d(GetParam());
    we::dummy_gate batches;
    d.start_now();
    d.old->delay_transform = batches.hold();
    d.old->fails_at = 1;
    d.transform(d.batch);
    EXPECT_FALSE(d.poll());
    d.replace();
    d.replacing.poll();
    EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
    batches.open();
    EXPECT_TRUE(d.user::run());
    EXPECT_EQ(d.status(), WASM_STATUS_CUSTOM_ENGINE_FAILED);
    if (polled) {
      EXPECT_EQ(d.replacing.poll(), WASM_POLL_READY);
    }
    // The host knows its engine to be stopped, and does what it always does.
    d.start_now();
    EXPECT_EQ(d.run(), "new-x");
    EXPECT_EQ(d.fresh->starts, 1U);
    EXPECT_EQ(d.old->starts, 1U);
  }
}

TEST_P(Replace, TakesOverAfterATransformThatWasGivenUp) {
  deployed d(GetParam());
  we::dummy_gate batches;
  d.start_now();
  d.old->delay_transform = batches.hold();
  d.transform(d.batch);
  EXPECT_FALSE(d.poll());
  d.replace();
  d.replacing.poll();
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_PENDING);
  d.cancel();
  EXPECT_EQ(d.replacing.woken, 1);
  d.start_now();
  EXPECT_EQ(d.run(), "new-x");
}

TEST_P(Replace, IsOneAtATime) {
  deployed d(GetParam());
  we::dummy_gate starts;
  d.fresh->delay_start = starts.hold();
  d.start_now();
  d.replace();
  const auto second = d.engine.replace(d.old_factory);
  EXPECT_EQ(second.err().status(), WASM_STATUS_INVALID_STATE);
  EXPECT_THAT(second.err().what(), HasSubstr("going on already"));
  d.replacing.poll();
  starts.open();
  d.replaced();
  // And back again.
  d.replacing.begin_with(d.engine.replace(d.old_factory));
  d.replaced();
  EXPECT_EQ(d.run(), "old-x");
  wasm_future* none = nullptr;
  EXPECT_EQ(wasm_engine_replace(d.engine.get(), nullptr, &none, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_engine_replace(nullptr, d.old_factory.get(), &none, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_engine_replace(d.engine.get(), d.old_factory.get(), nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
}

TEST_P(Replace, DoesNotTakeFuturesOfTheOldVersionForThoseOfTheNewOne) {
  deployed d(GetParam());
  we::dummy_gate batches;
  d.old->delay_transform = d.fresh->delay_transform = batches.hold();
  std::deque<recorder> outs(5);
  std::vector<we::future> stale;
  for (auto& out : outs) {
    d.start_now();
    stale.push_back(d.engine.transform(d.batch, out).value());
    EXPECT_EQ(stale.back().poll().value(), WASM_POLL_PENDING);
    d.stop();
  }
  d.replace();
  d.replaced();
  for (int i = 0; i < 4; ++i) {
    d.transform(d.batch);
    EXPECT_FALSE(d.poll());
    for (auto& f : stale) {
      if (f.get() != nullptr && i == 3) {
        EXPECT_EQ(f.poll().err().status(), WASM_STATUS_CANCELLED);
      }
    }
    while (batches.waiting() > 0) {
      batches.open();
    }
    EXPECT_TRUE(d.user::run());
    EXPECT_TRUE(d.ok());
  }
}

TEST_P(Replace, IsBusyFromCallbacks) {
  deployed d(GetParam());
  d.start_now();
  auto sink = [&](output_block) {
    EXPECT_EQ(d.engine.replace(d.new_factory).err().status(), WASM_STATUS_BUSY);
    EXPECT_EQ(d.replacing.poll(), WASM_POLL_READY);
    EXPECT_EQ(d.replacing.status(), WASM_STATUS_BUSY);
    EXPECT_EQ(wasm_future_release(d.replacing.operation.get(), nullptr), WASM_STATUS_BUSY);
  };
  d.replace();
  EXPECT_TRUE(succeeded(finish(d.engine.transform(d.batch, sink))));
  wasm_engine* const engine = d.engine.get();
  d.fresh->delay_start = [&](we::promise p) {
    wasm_future* none = nullptr;
    EXPECT_EQ(wasm_engine_stop(engine, &none, nullptr), WASM_STATUS_BUSY);
    EXPECT_EQ(wasm_engine_release(engine, nullptr), WASM_STATUS_BUSY);
    EXPECT_EQ(wasm_future_release(d.replacing.operation.get(), nullptr), WASM_STATUS_BUSY);
    EXPECT_EQ(d.engine.replace(d.new_factory).err().status(), WASM_STATUS_BUSY);
    EXPECT_TRUE(p.resolve());
  };
  d.replaced();
  EXPECT_EQ(d.run(), "new-x");
}

TEST_P(Replace, KeepsPolicyTallyAndUserData) {
  c_engine old, fresh;
  custom_bench b(old);
  custom_bench c(fresh);
  auto engine = (GetParam() ? we::engine::create_shared(b.factory) : we::engine::create(b.factory)).value();
  int mark = 0;
  engine.set_user_data(&mark).value();
  engine.set_policy({.on_error = WASM_ON_ERROR_SKIP}).value();
  const auto fails_at_the_first = [&](wasm_slice, std::uint32_t first, wasm_work* work, wasm_call* call) -> std::uint32_t {
    EXPECT_EQ(wasm_call_user_data(call), &mark);
    EXPECT_EQ(wasm_call_engine(call), engine.get());
    if (first == 0) {
      (void)wasm_call_fail_record(call, 0, we::as_slice("why"), nullptr);
      return WASM_ANSWER_FAILED;
    }
    return c_engine::copy({}, 0, work, call);
  };
  old.on_transform = fresh.on_transform = fails_at_the_first;
  const auto batch = built({"a", "b"});
  ASSERT_TRUE(succeeded(finish(engine.start())));
  recorder out;
  ASSERT_TRUE(succeeded(finish(engine.transform(batch, out))));
  ASSERT_TRUE(succeeded(finish(engine.replace(c.factory))));
  ASSERT_TRUE(succeeded(finish(engine.transform(batch, out))));
  EXPECT_THAT(out.values(), ElementsAre("b", "b"));
  EXPECT_EQ(engine.tally().value().skipped, 2U);
  EXPECT_EQ(engine.tally().value().restarts, 2U) << "a replacement is none";
  EXPECT_EQ(old.starts, 2);
  EXPECT_EQ(fresh.starts, 2);
  b.engine = we::engine();
  b.factory = we::factory();
  EXPECT_EQ(old.drops, 1) << "nothing holds the old version";
}

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
  EXPECT_TRUE(d.poll()) << "it does not wait any longer";
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
  timer.wake();
  EXPECT_TRUE(d.user::run());
  EXPECT_TRUE(d.ok());
  EXPECT_THAT(d.out.values(), ElementsAre("new-y")) << "x was skipped";
  EXPECT_EQ(d.engine.tally().value().skipped, 1U);
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
