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

#include <atomic>
#include <csignal>
#include <cstdlib>

#include <unistd.h>

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

TEST(Seastar, MetricsHaveTheShardsNumber) {
  const asking guest(at_once);
  const unsigned shard = next_shard();
  const auto text = seastar::smp::submit_to(shard, [&guest] {
    wasmengine::prepare_shard(guest.runtime);
    return seastar::async([&guest] {
      auto engine = wasmengine::engine::create(guest.factory).value();
      as_future(engine.start().value()).get();
      return wasmengine::metrics_text(guest.runtime).value();
    });
  }).get();
  EXPECT_THAT(text, HasSubstr("shard=\"" + std::to_string(shard) + "\""));
}

/// Whether a future fails with an exception of a type.
template <typename E, typename T>
bool fails_with(seastar::future<T> f) {
  try {
    f.get();
    return false;
  } catch (const E&) {
    return true;
  }
}

TEST(Seastar, AnAbortSourceEndsATransformThatWaits) {
  unanswered asked;
  const asking guest([&asked](std::int64_t, answer a) { asked.add(std::move(a)); });
  auto engine = guest.started();
  counter out;
  const auto input = built({"w"});
  seastar::abort_source source;
  auto done = as_future(engine.transform(input, out).value(), source);
  EXPECT_FALSE(done.available());
  source.request_abort();
  EXPECT_TRUE(fails_with<seastar::abort_requested_exception>(std::move(done)));
  EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED) << "the batch is free";
  EXPECT_TRUE(asked.all.at(0).resolve(std::int64_t{42})) << "harmless";
  EXPECT_TRUE(fails_with<seastar::abort_requested_exception>(as_future(engine.start().value(), source)) ||
              engine.state().value() == WASM_ENGINE_STATE_IDLE);
}

TEST(Seastar, AnAbortSourceEndsAGuestThatLoops) {
  const asking guest(at_once);
  auto engine = guest.started();
  counter out;
  const auto input = built({"l"});
  seastar::abort_source source;
  auto done = as_future(engine.transform(input, out).value(), source);
  seastar::sleep(5ms).get();
  EXPECT_FALSE(done.available());
  source.request_abort_ex(std::runtime_error("enough"));
  EXPECT_TRUE(fails_with<std::runtime_error>(std::move(done)));
  EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED);
}

TEST(Seastar, AnAbortSourceEndsACompilation) {
  const auto runtime = wasmengine::runtime::create().value();
  seastar::abort_source source;
  auto compiled = as_future(loop_suite::compilation(runtime, 600), source);
  auto behind = as_future(loop_suite::compilation(runtime, 600), source);
  seastar::sleep(5ms).get();
  source.request_abort();
  EXPECT_TRUE(fails_with<seastar::abort_requested_exception>(std::move(compiled)));
  EXPECT_TRUE(fails_with<seastar::abort_requested_exception>(std::move(behind)));
  EXPECT_TRUE(fails_with<seastar::abort_requested_exception>(as_future(loop_suite::compilation(runtime, 600), source)))
      << "requested before";
  as_future(loop_suite::compilation(runtime, 0)).get();
}

TEST(Seastar, ADeadlineEndsATransform) {
  unanswered asked;
  const asking guest([&asked](std::int64_t, answer a) { asked.add(std::move(a)); });
  auto engine = guest.started();
  counter out;
  const auto input = built({"w"});
  const auto deadline = [](auto after) { return wasmengine::until::time_point::clock::now() + after; };
  EXPECT_TRUE(fails_with<seastar::timed_out_error>(
      wasmengine::with_timeout(deadline(5ms), engine.transform(input, out).value())));
  EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED);
  as_future(engine.start().value()).get();
  auto done = wasmengine::with_timeout(deadline(1h), engine.transform(input, out).value());
  seastar::sleep(1ms).get();
  EXPECT_TRUE(asked.all.at(1).resolve(std::int64_t{42}));
  done.get();
}

/// A batch as a buffer of Seastar's.
seastar::temporary_buffer<char> buffer(const kafka::bytes& batch) {
  return {reinterpret_cast<const char*>(batch.data()), batch.size()};
}

TEST(Seastar, ATransformOwnsItsBatch) {
  unanswered asked;
  const asking guest([&asked](std::int64_t, answer a) { asked.add(std::move(a)); });
  auto engine = guest.started();
  counter out;
  const auto input = built({"a", "w", "b"});
  bool freed = false;
  {
    auto bytes = buffer(input);
    auto* raw = bytes.get_write();
    const auto size = bytes.size();
    auto done = wasmengine::transform(
        engine, seastar::temporary_buffer<char>(raw, size, seastar::make_deleter([&freed, b = std::move(bytes)] { freed = true; })),
        out);
    seastar::sleep(1ms).get();
    EXPECT_FALSE(freed);
    EXPECT_TRUE(asked.all.at(0).resolve(std::int64_t{42}));
    done.get();
  }
  EXPECT_TRUE(freed);
  EXPECT_EQ(out.records, 3U);
  // Cancelled.
  freed = false;
  auto bytes = buffer(input);
  auto* raw = bytes.get_write();
  const auto size = bytes.size();
  seastar::abort_source source;
  auto done = wasmengine::transform(
      engine, seastar::temporary_buffer<char>(raw, size, seastar::make_deleter([&freed, b = std::move(bytes)] { freed = true; })),
      out, source);
  EXPECT_FALSE(freed);
  source.request_abort();
  EXPECT_TRUE(fails_with<seastar::abort_requested_exception>(std::move(done)));
  EXPECT_TRUE(freed);
}

TEST(Seastar, SeveralBatchesAreOneCallThatOwnsThem) {
  unanswered asked;
  const asking guest([&asked](std::int64_t, answer a) { asked.add(std::move(a)); });
  auto engine = guest.started();
  std::vector<std::size_t> records(3);
  wasmengine::seastar_sink sink([&records](output_block block, wasmengine::output_batches batches) {
    wasmengine::for_each_batch(block, batches,
                               [&records](std::uint32_t batch, output_block of) { records[batch] += of.size(); });
    return seastar::sleep(1ms);
  });
  auto done = [&] {
    std::vector<seastar::temporary_buffer<char>> batches;
    for (const auto& values : {std::vector<std::string>{"a"}, {"w", "b"}, {"c"}}) {
      batches.push_back(buffer(built(values)));
    }
    return wasmengine::transform_many(engine, std::move(batches), sink);
  }();
  while (asked.all.empty()) {
    seastar::sleep(1ms).get();
  }
  EXPECT_TRUE(asked.all.at(0).resolve(std::int64_t{42}));
  done.get();
  EXPECT_EQ(records, (std::vector<std::size_t>{1, 2, 1}));
}

TEST(Seastar, ATransformTakesBuffersOfManyKinds) {
  const asking guest(at_once);
  auto engine = guest.started();
  const auto input = built({"a", "w", "b"});
  counter out;
  wasmengine::transform(engine, input, out).get();
  wasmengine::transform(engine, seastar::sstring(reinterpret_cast<const char*>(input.data()), input.size()), out).get();
  EXPECT_EQ(out.records, 6U);
  for (const std::size_t piece : {input.size(), std::size_t{7}, std::size_t{1}}) {
    std::vector<seastar::temporary_buffer<char>> fragments;
    for (std::size_t at = 0; at < input.size(); at += piece) {
      fragments.emplace_back(reinterpret_cast<const char*>(input.data()) + at, std::min(piece, input.size() - at));
    }
    counter each;
    wasmengine::transform(engine, std::move(fragments), each).get();
    EXPECT_EQ(each.records, 3U) << "pieces of " << piece;
  }
  const auto why = failure(wasmengine::transform(engine, std::vector<seastar::temporary_buffer<char>>(), out));
  ASSERT_TRUE(why);
  EXPECT_GE(why->status(), 20) << "an empty batch is refused";
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
      const int failed = RUN_ALL_TESTS();
      // Nobody waits for these. The compile thread must leave the reactor alone when that is gone.
      static const auto runtime = wasmengine::runtime::create().value();
      static std::atomic<int> cancelled = 0;
      for (int i = 0; i < 2; ++i) {
        (void)as_future(loop_suite::compilation(runtime, 600)).then_wrapped([](auto f) {
          try {
            f.get();
          } catch (const wasmengine::error& e) {
            cancelled += e.status() == WASM_STATUS_CANCELLED ? 1 : 0;
          }
        });
      }
      static const bool has_failed = failed != 0;
      std::atexit([] {
        // After the reactor.
        loop_suite::let_compile(runtime);
        if (cancelled != 2 || has_failed) {
          std::fprintf(stderr, "%d of 2 compilations were cancelled when the reactor ended\n", cancelled.load());
          _exit(1);
        }
      });
      return failed;
    });
  });
}
