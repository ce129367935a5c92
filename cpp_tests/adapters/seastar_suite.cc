// SPDX-License-Identifier: Apache-2.0
//
// Engines on Seastar's shards: a program of its own, since Seastar wants `main`. The tests run on shard 0, one after
// another, in a seastar::thread.
#include "adapters/loop_suite.hh"

#include <wasm_engine/seastar.hh>

#include <seastar/core/app-template.hh>
#include <seastar/core/reactor.hh>
#include <seastar/core/sleep.hh>
#include <seastar/core/smp.hh>
#include <seastar/core/thread.hh>

#include <csignal>

using namespace testing_support;
using namespace std::chrono_literals;
using testing::HasSubstr;
using wasmengine::as_future;
using wasmengine::result;

namespace {

// ---- What holds on every loop ----

/// The shard's own loop, which is there anyway.
struct seastar_loop {
  /// The first poll is `as_future`'s.
  static constexpr bool spawns_later = false;
  /// It looks for work for a while before it sleeps.
  static constexpr bool sleeps = false;
  static constexpr bool counts_turns = false;
  /// The reactor is there until the program ends.
  static constexpr bool goes = false;
  static std::size_t turns_of_timers(std::size_t) { return 0; }
  [[nodiscard]] std::size_t turns() const { return 0; }

  template <typename Future, typename F>
  void spawn(Future operation, F done) {
    using value = wasmengine::detail::value_of<Future>;
    (void)as_future(std::move(operation)).then_wrapped([done = std::move(done)](seastar::future<value> f) mutable {
      done(outcome<value>(std::move(f)));
    });
  }
  void after(std::chrono::milliseconds delay, std::function<void()> what) {
    (void)seastar::sleep(delay).then(std::move(what));
  }
  template <typename F>
  void run_until(F over) {
    while (!over()) {
      seastar::sleep(100us).get();
    }
  }

  auto answering_after(std::chrono::milliseconds delay) {
    return [delay](std::int64_t n) { return seastar::sleep(delay).then([n] { return 2 * n; }); };
  }
  auto failing_after(std::chrono::milliseconds delay, std::string why) {
    return [delay, why](std::int64_t) {
      return seastar::sleep(delay).then([why]() -> std::int64_t { throw std::runtime_error(why); });
    };
  }

 private:
  template <typename T>
  static result<T> outcome(seastar::future<T> f) {
    try {
      if constexpr (std::is_void_v<T>) {
        f.get();
        return {};
      } else {
        return f.get();
      }
    } catch (const wasmengine::error& e) {
      return e;
    }
  }
};

}  // namespace

namespace loop_suite {
INSTANTIATE_TYPED_TEST_SUITE_P(Seastar, EventLoop, seastar_loop);
}  // namespace loop_suite

namespace {

// ---- What only this one has ----

std::int64_t at_once(std::int64_t n) { return 2 * n; }

struct counter {
  std::size_t records = 0;
  void operator()(wasmengine::output_block block) { records += block.size(); }
};

/// How an operation failed, if it did.
std::optional<wasmengine::error> failure(seastar::future<> f) {
  try {
    f.get();
    return std::nullopt;
  } catch (const wasmengine::error& e) {
    return e;
  }
}

bool is_blocked(int signal) {
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  return sigismember(&mask, signal) == 1;
}

/// Another shard, if there is one.
unsigned next_shard() { return 1 % seastar::this_smp_shard_count(); }

TEST(Seastar, AnOperationThatIsOverAtTheFirstPollIsReady) {
  const asking guest(at_once);
  auto engine = guest.started();
  counter out;
  const auto input = built({"a", "w", "b"});
  auto done = as_future(engine.transform(input, out).value());
  EXPECT_TRUE(done.available()) << "without a hop";
  done.get();
  EXPECT_EQ(out.records, 3U);
}

TEST(Seastar, AHostFunctionWhoseFutureIsReadyAnswersAtOnce) {
  const asking guest([](std::int64_t n) { return seastar::make_ready_future<std::int64_t>(2 * n); });
  auto engine = guest.started();
  counter out;
  const auto input = built({"w"});
  auto done = as_future(engine.transform(input, out).value());
  EXPECT_TRUE(done.available());
  done.get();
}

TEST(Seastar, TrapsAreCaughtOnEveryShard) {
  const asking guest(at_once);
  seastar::smp::invoke_on_all([&guest] { wasmengine::prepare_shard(guest.runtime); }).get();
  for (unsigned shard = 0; shard < seastar::this_smp_shard_count(); ++shard) {
    const auto caught = seastar::smp::submit_to(shard, [&guest] {
      return seastar::async([&guest] {
        int right = 0;
        const std::vector<std::pair<const char*, wasm_trap>> traps{
            {"o", WASM_TRAP_MEMORY_OUT_OF_BOUNDS}, {"d", WASM_TRAP_DIVISION_BY_ZERO}, {"u", WASM_TRAP_UNREACHABLE}};
        for (int round = 0; round < 20; ++round) {
          for (const auto& [value, trap] : traps) {
            auto engine = wasmengine::engine::create(guest.factory).value();
            as_future(engine.start().value()).get();
            counter out;
            const auto input = built({"a", value});
            const auto why = failure(as_future(engine.transform(input, out).value()));
            right += why && why->trap() == trap && why->record()->index == 1 ? 1 : 0;
            seastar::sleep(100us).get();
          }
        }
        return right + (is_blocked(SIGFPE) ? 1'000 : 0);
      });
    }).get();
    EXPECT_EQ(caught, 60) << "on shard " << shard;
  }
}

TEST(Seastar, APromiseThatAnotherShardSettlesWakesTheShard) {
  const asking guest([](std::int64_t n, answer a) {
    auto kept = std::make_unique<answer>(std::move(a));
    (void)seastar::smp::submit_to(next_shard(), [n, a = std::move(kept)] { (void)a->resolve(2 * n); });
  });
  auto engine = guest.started();
  counter out;
  const auto input = built({"w", "w", "w"});
  as_future(engine.transform(input, out).value()).get();
  EXPECT_EQ(out.records, 3U);
}

TEST(Seastar, ASinkHoldsTheGuestBack) {
  const asking guest(at_once);
  auto engine = guest.started();
  std::size_t records = 0;
  bool within = false;
  wasmengine::seastar_sink sink([&](wasmengine::output_block block) {
    EXPECT_FALSE(within);
    within = true;
    return seastar::sleep(10ms).then([&, block] {
      // The block is still there.
      for (const auto& r : block) {
        records += r.payload_size > 0 ? 1 : 0;
      }
      within = false;
    });
  });
  const auto input = built({"a", "b"});
  auto done = as_future(engine.transform(input, sink).value());
  EXPECT_FALSE(done.available());
  done.get();
  EXPECT_EQ(records, 2U);

  wasmengine::seastar_sink full([](wasmengine::output_block) -> seastar::future<> {
    throw std::runtime_error("no space left");
  });
  const auto why = failure(as_future(engine.transform(input, full).value()));
  ASSERT_TRUE(why);
  EXPECT_EQ(why->status(), WASM_STATUS_OUTPUT_REJECTED);
  EXPECT_THAT(why->what(), HasSubstr("no space left"));
}

TEST(Seastar, AnotherShardIsRefused) {
  const asking guest(at_once);
  auto engine = guest.started();
  const auto status = seastar::smp::submit_to(next_shard(), [&engine] {
    auto operation = engine.stop();
    return operation ? WASM_STATUS_OK : operation.err().status();
  }).get();
  EXPECT_EQ(status, seastar::this_smp_shard_count() > 1 ? WASM_STATUS_WRONG_THREAD : WASM_STATUS_OK);
}

}  // namespace

int main(int argc, char** argv) {
  // Takes its own arguments out; the rest is Seastar's.
  testing::InitGoogleTest(&argc, argv);
  seastar::app_template app;
  return app.run(argc, argv, [] {
    // The tests' frames are larger than those of most seastar::threads.
    seastar::thread_attributes attributes;
    attributes.stack_size = 1 << 20;
    return seastar::async(attributes, [] {
      if (seastar::this_smp_shard_count() > 1) {
        std::printf("before: shard 1 blocks SIGFPE: %s\n",
                    seastar::smp::submit_to(1, [] { return is_blocked(SIGFPE); }).get() ? "yes" : "no");
      }
      return RUN_ALL_TESTS();
    });
  });
}
