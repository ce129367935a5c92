// SPDX-License-Identifier: Apache-2.0
//
// Children of fork(), in which only the forking thread lives on: the library's threads must come back in a child that
// needs them, and nobody may wait for those that are gone. A host forks while none of its other threads is in the
// library.
#include "process/process.hh"
#include "support/asking.hh"
#include "support/data_guest.hh"

#include <gmock/gmock.h>

#include <array>
#include <chrono>
#include <string>
#include <thread>

using namespace testing_support;
using process::child;
using process::in_child;
using process::plus;
using process::threads;
using process::threads_become;

namespace {

constexpr const char* fine = "exit 0";

/// Short slices, so that the ticker is at work often; and limits that a test can wait for.
const wasm_runtime_config busy = [] {
  wasm_runtime_config config{};
  config.time_slice_ns = 50'000;
  config.record_time_limit_ns = 100'000'000;
  config.compile_threads = 2;
  return config;
}();

/// Everything, from nothing to nothing.
void use_from_nothing() {
  const auto before = threads();
  {
    bench b("c_identity", busy);
    EXPECT_TRUE(works(b));
    EXPECT_TRUE(threads_become(plus(before, {"wasm-compile-0", "wasm-compile-1", "wasm-ticker"})));
  }
  EXPECT_TRUE(threads_become(before));
}

/// Whether the time limit ends a guest that loops.
void expect_limits(wasmengine::engine& engine) {
  if (engine.state().value() == WASM_ENGINE_STATE_STOPPED) {
    EXPECT_TRUE(succeeded(finish(engine.start())));
  }
  recorder out;
  EXPECT_EQ(finish(engine.transform(built({"loop"}), out)).status, WASM_STATUS_GUEST_TIMEOUT);
}

/// Whether the engine's guest copies a record.
void expect_copies(wasmengine::engine& engine) {
  if (engine.state().value() == WASM_ENGINE_STATE_STOPPED) {
    EXPECT_TRUE(succeeded(finish(engine.start())));
  }
  recorder out;
  EXPECT_TRUE(succeeded(finish(engine.transform(built({"a record"}), out))));
  EXPECT_THAT(out.values(), testing::ElementsAre("a record"));
}

void expect_compiles(const wasmengine::runtime& runtime) {
  const auto factory = compile(runtime, "c_tee");
  auto engine = wasmengine::engine::create(factory).value();
  expect_copies(engine);
}

TEST(Fork, BeforeTheFirstUse) {
  EXPECT_EQ(in_child(use_from_nothing), fine);
  use_from_nothing();
  EXPECT_EQ(in_child(use_from_nothing), fine);
}

TEST(Fork, SharesTheDataOfModules) {
  using namespace data_guest;
  const auto runtime = wasmengine::runtime::create().value();
  const auto factory = compiled(runtime, with_data(pages_of_much, much()));
  auto engine = started(factory);
  const auto change = [&](wasmengine::engine& changed) {
    for (std::uint32_t at = first; at < pages_of_much * 64 * kib; at += page) {
      (void)ask_data(changed, exchange, at);
    }
    EXPECT_NE(ask_data(changed, hash_from, first), expected_hash());
  };
  EXPECT_EQ(in_child([&] {
              EXPECT_EQ(ask_data(engine, hash_from, first), expected_hash());
              change(engine);
              expect_much(factory);
              expect_much(compiled(runtime, with_data(pages_of_much, much())));
            }),
            fine);
  EXPECT_EQ(ask_data(engine, hash_from, first), expected_hash());
  change(engine);
  EXPECT_EQ(in_child([&] { expect_much(factory); }), fine);
  expect_much(factory);
}

TEST(Fork, AfterEverythingWasReleased) {
  use_from_nothing();
  EXPECT_EQ(in_child(use_from_nothing), fine);
  use_from_nothing();
}

/// A random number of a guest of t_wasi.
std::string random_of(wasmengine::engine& engine) {
  recorder out;
  EXPECT_TRUE(succeeded(finish(engine.transform(built({"x"}), out))));
  return out.values().at(0).substr(32, 16);
}

TEST(Fork, ParentAndChildHaveDifferentRandomNumbers) {
  bench b("t_wasi");
  ASSERT_TRUE(succeeded(b.start()));
  random_of(b.engine);  // So the guest has a generator, of which the child gets a copy.
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  EXPECT_EQ(in_child([&] {
              const auto random = random_of(b.engine);
              EXPECT_EQ(write(ends[1], random.data(), random.size()), 16);
            }),
            fine);
  std::string of_child(16, ' ');
  ASSERT_EQ(read(ends[0], of_child.data(), of_child.size()), 16);
  EXPECT_NE(random_of(b.engine), of_child);
  close(ends[0]);
  close(ends[1]);
}

/// A parent whose library is at work, with the ticker awake or asleep.
class ForkOf : public testing::TestWithParam<bool> {
 protected:
  ForkOf() : all(plus(threads(), {"wasm-compile-0", "wasm-compile-1", "wasm-ticker"})), b("wat_traps", busy) {
    expect_copies(b.engine);
    EXPECT_TRUE(threads_become(all));
    if (!GetParam()) {
      // The ticker sleeps when nothing has been polled for some 20 ms.
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
  }
  /// The parent lives on as if nothing had happened.
  ~ForkOf() override {
    EXPECT_EQ(threads(), all);
    expect_copies(b.engine);
    expect_limits(b.engine);
    expect_compiles(b.runtime);
  }

  process::strings all;
  bench b;
};

INSTANTIATE_TEST_SUITE_P(A, ForkOf, testing::Values(true, false),
                         [](const auto& awake) { return awake.param ? "BusyParent" : "QuietParent"; });

TEST_P(ForkOf, ChildThatEndsAtOnce) { EXPECT_EQ(in_child([] {}), fine); }

TEST_P(ForkOf, ChildThatExitsWithEverythingAlive) {
  EXPECT_EQ(child([] {}, [] { std::exit(7); }).ending(), "exit 7");
}

TEST_P(ForkOf, ChildThatReleasesEverything) {
  EXPECT_EQ(in_child([&] {
              b.engine = {};
              b.factory = {};
              b.runtime = {};
              EXPECT_EQ(threads().size(), 1U);
            }),
            fine);
}

TEST_P(ForkOf, ChildThatStartsAgain) {
  EXPECT_EQ(in_child([] {
              const auto alone = threads();
              {
                bench another("wat_traps", busy);
                expect_copies(another.engine);
                expect_limits(another.engine);
              }
              // What was inherited is alive, and keeps the ticker.
              EXPECT_TRUE(threads_become(plus(alone, {"wasm-ticker"})));
            }),
            fine);
}

TEST_P(ForkOf, ChildThatReleasesEverythingAndStartsAgain) {
  EXPECT_EQ(in_child([&] {
              b.engine = {};
              b.factory = {};
              b.runtime = {};
              use_from_nothing();
            }),
            fine);
}

TEST_P(ForkOf, ChildThatGoesOn) {
  EXPECT_EQ(in_child([&] { expect_copies(b.engine); }), fine);
}

TEST_P(ForkOf, ChildWhoseGuestLoops) {
  EXPECT_EQ(in_child([&] {
              expect_limits(b.engine);
              expect_copies(b.engine);
            }),
            fine);
}

TEST_P(ForkOf, ChildWhoseGuestTraps) {
  EXPECT_EQ(in_child([&] {
              recorder out;
              EXPECT_EQ(finish(b.engine.transform(built({"out of bounds"}), out)).status, WASM_STATUS_GUEST_TRAP);
              expect_copies(b.engine);
            }),
            fine);
}

TEST_P(ForkOf, ChildThatCompiles) {
  EXPECT_EQ(in_child([&] { expect_compiles(b.runtime); }), fine);
}

TEST_P(ForkOf, ChildThatDoesAllOfIt) {
  EXPECT_EQ(in_child([&] {
              expect_copies(b.engine);
              expect_compiles(b.runtime);
              expect_limits(b.engine);
              EXPECT_TRUE(threads_become(all)) << "as many as the parent has";
              b.engine = {};
              b.factory = {};
              b.runtime = {};
              EXPECT_TRUE(process::eventually([] { return threads().size() == 1; }));
            }),
            fine);
}

TEST_P(ForkOf, Grandchild) {
  EXPECT_EQ(in_child([&] {
              expect_copies(b.engine);
              EXPECT_EQ(in_child([&] {
                          expect_compiles(b.runtime);
                          expect_limits(b.engine);
                        }),
                        fine);
              expect_limits(b.engine);
            }),
            fine);
}

// Whatever the ticker is doing when it is left behind: a lock that it held would be held for ever.
TEST_P(ForkOf, AHundredChildren) {
  for (int i = 0; i < 100; ++i) {
    expect_copies(b.engine);
    const auto ending = in_child([&] {
      expect_copies(b.engine);
      b.engine = {};
      b.factory = {};
      b.runtime = {};
    });
    ASSERT_EQ(ending, fine);
  }
}

// Hosts start other programs at any time: a child that only ends may be forked while a module is compiled, too.
TEST(Fork, ChildThatEndsAtOnceWhileAModuleIsCompiled) {
  bench b("c_identity", busy);
  for (int i = 0; i < 20; ++i) {
    auto compiling = b.runtime.compile(module("rust_identity"), with_topics({"out"})).value();
    ASSERT_EQ(in_child([] {}), fine);
    ASSERT_TRUE(succeeded(finish(compiling)));
  }
  expect_copies(b.engine);
}

// Both sides get their answers; each has a copy of the guest and of the promise.
TEST(Fork, ChildThatUsesAFactoryCache) {
  auto runtime = wasmengine::runtime::create(busy).value();
  auto cache = wasmengine::factory_cache::create(runtime).value();
  const auto get = [&](std::string_view guest) {
    auto compilation = cache.get(guest, module(guest), with_topics({"out"})).value();
    EXPECT_TRUE(wasmengine::drive(compilation));
    return wasmengine::engine::create(compilation.take().value()).value();
  };
  auto engine = get("c_identity");
  expect_copies(engine);
  const auto use = [&] {
    auto there = get("c_identity");
    expect_copies(there);
    auto compiled = get("c_tee");
    expect_copies(compiled);
    compiled = {};
    EXPECT_EQ(cache.collect().value(), 1U) << "the other is used";
    EXPECT_EQ(cache.stats().value().entries, 1U);
  };
  EXPECT_EQ(in_child(use), fine);
  EXPECT_EQ(in_child([&] {
              use();
              cache = {};
              runtime = {};
              expect_copies(engine);
            }), fine);
  use();
}

TEST(Fork, WhileAGuestWaits) {
  unanswered asked;
  const asking guest([&](std::int64_t, answer a) { asked.add(std::move(a)); }, unhurried);
  auto engine = guest.started();
  recorder out;
  const auto batch = built({"wait"});
  auto operation = engine.transform(batch, out).value();
  ASSERT_EQ(operation.poll().value(), WASM_POLL_PENDING);
  const auto go_on = [&] {
    EXPECT_TRUE(asked.all.at(0).resolve(std::int64_t{42}));
    asked.all.clear();
    EXPECT_EQ(operation.poll().value(), WASM_POLL_READY);
    EXPECT_THAT(out.values(), testing::ElementsAre("wait"));
    operation = {};
    engine = {};
  };
  EXPECT_EQ(in_child(go_on), fine);
  go_on();
}

}  // namespace
