// SPDX-License-Identifier: Apache-2.0
//
// Memory mode THREAD_POOL: pools that threads reserve, how they are used up, counted, cleaned and given back.
#include "support/memory_modes.hh"

#include "process/process.hh"

#include <gmock/gmock.h>

using namespace memory_modes;
using testing::AllOf;
using testing::HasSubstr;

namespace {

constexpr mode pooled = every_mode[1];

wasm_runtime_config limited(std::uint64_t memory_limit) {
  wasm_runtime_config config{};
  config.memory_limit = memory_limit;
  // All is wiped in place, so that cleaning takes many steps.
  config.keep_resident = memory_limit;
  return pooled.config(config);
}

/// The numbers of this thread's pool, and that they add up.
wasm_thread_pool numbers(const we::runtime& runtime) {
  const auto pool = we::thread_pool(runtime).value();
  EXPECT_EQ(pool.memories_free + pool.memories_dirty + pool.memories_in_use, pool.engines);
  return pool;
}

std::pair<wasm_status, std::string> prepared(const we::runtime& runtime, std::uint64_t engines) {
  const wasm_thread_config config{sizeof(config), engines, 0};
  return told([&](wasm_error** e) { return wasm_thread_prepare(runtime.get(), &config, e); });
}

wasm_status pool_status(const we::runtime& runtime) {
  wasm_thread_pool pool{};
  pool.size = sizeof(pool);
  return wasm_thread_get_pool(runtime.get(), &pool, nullptr);
}

// ---- Preparation ----

TEST(ThreadPool, StartsNothingOnAThreadThatIsNotPrepared) {
  const auto runtime = exactly(pooled.config()).value();
  auto engine = we::engine::create(compile_guest(runtime, memory_guest)).value();
  const auto refused = engine.start();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.err().status(), WASM_STATUS_THREAD_NOT_PREPARED);
  EXPECT_THAT(refused.err().what(), HasSubstr("wasm_thread_prepare"));
  EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_EQ(prepared(runtime, 0).first, WASM_STATUS_OK) << "without a pool";
  EXPECT_EQ(wasm_thread_prepare(runtime.get(), nullptr, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(engine.start().err().status(), WASM_STATUS_THREAD_NOT_PREPARED) << "so there is still none";
  bool more = false;
  EXPECT_EQ(wasm_thread_reclaim(runtime.get(), 1, &more, nullptr), WASM_STATUS_THREAD_NOT_PREPARED);
  EXPECT_EQ(pool_status(runtime), WASM_STATUS_THREAD_NOT_PREPARED);
  EXPECT_EQ(wasm_thread_release(runtime.get(), nullptr), WASM_STATUS_OK) << "none is fine";
  ASSERT_EQ(prepared(runtime, 1).first, WASM_STATUS_OK);
  EXPECT_TRUE(succeeded(finish(engine.start())));
  EXPECT_EQ(ask(engine, data), 'd');
}

TEST(ThreadPool, IsReservedOnceAndNotChangedByTheWay) {
  const auto runtime = exactly(pooled.config()).value();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(prepared(runtime, 5).first, WASM_STATUS_OK);
  }
  for (const std::uint64_t other : {1U, 4U, 6U, 1U << 20}) {
    const auto [status, message] = prepared(runtime, other);
    EXPECT_EQ(status, WASM_STATUS_INVALID_STATE);
    EXPECT_THAT(message, AllOf(HasSubstr("5"), HasSubstr("wasm_thread_release")));
  }
  EXPECT_EQ(wasm_thread_prepare(runtime.get(), nullptr, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(numbers(runtime).engines, 5U);
}

TEST(ThreadPool, IsForItsModeOnly) {
  for (const auto& other : every_mode) {
    if (other.memory == WASM_MEMORY_MODE_THREAD_POOL) {
      continue;
    }
    const auto runtime = exactly(other.config()).value();
    const auto [status, message] = prepared(runtime, 1);
    EXPECT_EQ(status, WASM_STATUS_INVALID_ARGUMENT) << other.name;
    EXPECT_THAT(message, HasSubstr("THREAD_POOL"));
    EXPECT_EQ(prepared(runtime, 0).first, WASM_STATUS_OK);
    EXPECT_EQ(wasm_thread_prepare(runtime.get(), nullptr, nullptr), WASM_STATUS_OK);
    EXPECT_EQ(pool_status(runtime), WASM_STATUS_THREAD_NOT_PREPARED);
    EXPECT_EQ(wasm_thread_release(runtime.get(), nullptr), WASM_STATUS_OK);
  }
}

TEST(ThreadPool, RefusesConfigsOfNoSize) {
  const auto runtime = exactly(pooled.config()).value();
  for (const std::size_t size : {std::size_t{0}, std::size_t{8}, std::size_t{15}, std::size_t{1} << 40}) {
    const wasm_thread_config config{size, 1, 0};
    EXPECT_EQ(wasm_thread_prepare(runtime.get(), &config, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  }
  EXPECT_EQ(pool_status(runtime), WASM_STATUS_THREAD_NOT_PREPARED);
}

TEST(ThreadPool, OfAnAbsurdSizeIsRefusedAndLeavesNothingBehind) {
  const auto runtime = exactly(pooled.config()).value();
  const auto factory = compile_guest(runtime, memory_guest);
  const auto before = process_bytes("VmSize");
  for (const std::uint64_t engines : {(1ULL << 20) + 1, 1ULL << 31, (1ULL << 32) - 1, 1ULL << 32, 1ULL << 40, ~0ULL}) {
    const auto [status, message] = prepared(runtime, engines);
    EXPECT_EQ(status, WASM_STATUS_INVALID_ARGUMENT);
    EXPECT_THAT(message, HasSubstr(std::to_string(engines)));
  }
  // No address space has room for so many memories of 4 GiB.
  auto config = pooled.config();
  config.memory_limit = 4 * gib;
  const auto large = exactly(config).value();
  const auto [status, message] = prepared(large, 1U << 20);
  EXPECT_EQ(status, WASM_STATUS_SYSTEM);
  EXPECT_THAT(message, AllOf(HasSubstr(std::to_string(1U << 20)), HasSubstr(std::to_string(4 * gib))));
  EXPECT_EQ(pool_status(large), WASM_STATUS_THREAD_NOT_PREPARED);
  EXPECT_LT(process_bytes("VmSize"), before + 16 * mib);
  EXPECT_EQ(pool_status(runtime), WASM_STATUS_THREAD_NOT_PREPARED);
  ASSERT_EQ(prepared(runtime, 1).first, WASM_STATUS_OK);
  auto engine = started(factory);
  EXPECT_EQ(ask(engine, data), 'd');
}

TEST(ThreadPool, OfEnginesWithoutEndIsRefused) {
  if (sanitized) {
    GTEST_SKIP() << "takes more memory than the sanitizer leaves";
  }
  // In a child: there is address space for so many small memories, but no room for lists of them.
  EXPECT_EQ(process::in_child([] {
              const auto runtime = exactly(limited(64 * kib)).value();
              const auto [status, message] = prepared(runtime, 1U << 30);
              EXPECT_THAT(status, testing::AnyOf(WASM_STATUS_SYSTEM, WASM_STATUS_INVALID_ARGUMENT));
              EXPECT_THAT(message, HasSubstr("1073741824"));
              EXPECT_EQ(pool_status(runtime), WASM_STATUS_THREAD_NOT_PREPARED);
              EXPECT_EQ(prepared(runtime, 1).first, WASM_STATUS_OK);
            }),
            "exit 0");
}

// ---- Used up, counted, cleaned ----

TEST(ThreadPool, ThatIsUsedUpSaysSoAndWorksAgainAfterOneStop) {
  const auto runtime = exactly(pooled.config()).value();
  const auto factory = compile_guest(runtime, memory_guest, "the-fourth");
  ASSERT_EQ(prepared(runtime, 3).first, WASM_STATUS_OK);
  std::vector<we::engine> engines;
  for (int i = 0; i < 3; ++i) {
    engines.push_back(started(factory));
  }
  auto fourth = we::engine::create(factory).value();
  for (int i = 0; i < 3; ++i) {
    const auto end = finish(fourth.start());
    EXPECT_EQ(end.status, WASM_STATUS_POOL_EXHAUSTED);
    EXPECT_THAT(end.message(), AllOf(HasSubstr("\"the-fourth\""), HasSubstr("for 3 engines"), HasSubstr("3 in use"),
                                     HasSubstr("0 free"), HasSubstr("0 to be cleaned")));
    EXPECT_EQ(fourth.state().value(), WASM_ENGINE_STATE_STOPPED);
    EXPECT_EQ(numbers(runtime).memories_in_use, 3U);
  }
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(succeeded(finish(engines[1].stop())));
    ASSERT_TRUE(succeeded(finish(fourth.start())));
    EXPECT_EQ(ask(fourth, dirty_at_start), 0);
    EXPECT_EQ(finish(engines[1].start()).status, WASM_STATUS_POOL_EXHAUSTED);
    ASSERT_TRUE(succeeded(finish(fourth.stop())));
    ASSERT_TRUE(succeeded(finish(engines[1].start())));
  }
}

TEST(ThreadPool, IsCountedRightAtEveryStage) {
  const auto runtime = exactly(limited(16 * mib)).value();
  const auto factory = compile_guest(runtime, memory_guest);
  ASSERT_EQ(prepared(runtime, 2).first, WASM_STATUS_OK);
  const auto expect = [&](std::uint64_t in_use, std::uint64_t dirty, std::uint64_t bytes, const char* when) {
    const auto now = numbers(runtime);
    EXPECT_EQ(now.size, sizeof(now)) << when;
    EXPECT_EQ(now.engines, 2U) << when;
    EXPECT_EQ(now.memory_bytes, 16 * mib) << when;
    EXPECT_EQ(now.memories_in_use, in_use) << when;
    EXPECT_EQ(now.memories_dirty, dirty) << when;
    EXPECT_EQ(now.dirty_bytes, bytes) << when;
    EXPECT_EQ(now.stacks_free, 2 - in_use) << when;
  };
  expect(0, 0, 0, "at first");
  auto a = we::engine::create(factory).value();
  expect(0, 0, 0, "with an engine");
  auto starting = a.start().value();
  expect(0, 0, 0, "before the first poll");
  ASSERT_TRUE(succeeded(finish(starting)));
  expect(1, 0, 0, "started");
  auto b = started(factory);
  expect(2, 0, 0, "both started");
  dirty(a, 10 * mib);
  expect(2, 0, 0, "grown");
  ASSERT_TRUE(succeeded(finish(a.stop())));
  expect(1, 1, 10 * mib - 256 * kib, "stopped, and 256 KiB cleaned");
  ASSERT_EQ(try_ask(b, load, 0xffff'fff0).second.status, WASM_STATUS_GUEST_TRAP);
  expect(0, 1, 10 * mib - 448 * kib, "the other trapped, was cleaned first, because it is small, and cleaning went on");
  EXPECT_TRUE(we::reclaim_thread(runtime, 10 * mib - 512 * kib).value());
  expect(0, 1, 64 * kib, "nearly clean");
  EXPECT_FALSE(we::reclaim_thread(runtime, 64 * kib).value());
  expect(0, 0, 0, "all clean");
  ASSERT_TRUE(succeeded(finish(b.start())));
  b = {};
  expect(0, 0, 0, "released while it ran, and small enough to be clean at once");
  {
    starting = a.start().value();
    EXPECT_EQ(finish(a.stop()).status, WASM_STATUS_OK);
  }
  expect(0, 0, 0, "stopped before its start was polled");
}

TEST(ThreadPool, TakesOneMemoryForEachGuestWhateverItUses) {
  const auto runtime = exactly(pooled.config()).value();
  ASSERT_EQ(prepared(runtime, 1).first, WASM_STATUS_OK);
  // The last one has a table of references to the host's objects.
  for (const auto* name : {"c_identity", "rust_identity", "cpp_identity", "odd_hog"}) {
    auto engine = we::engine::create(compile_guest(runtime, name)).value();
    EXPECT_TRUE(succeeded(finish(engine.start()))) << name;
    EXPECT_EQ(numbers(runtime).memories_in_use, 1U) << name;
    engine = {};
    EXPECT_FALSE(we::reclaim_thread(runtime, 64 * mib).value());
  }
}

TEST(ThreadPool, IsToldToCallersOfEveryVersion) {
  const auto runtime = exactly(pooled.config()).value();
  ASSERT_EQ(prepared(runtime, 3).first, WASM_STATUS_OK);
  struct {
    wasm_thread_pool known;
    std::array<std::uint64_t, 3> later;
  } pool;
  std::memset(&pool, 0xff, sizeof(pool));
  pool.known.size = sizeof(pool) - 8;
  ASSERT_EQ(wasm_thread_get_pool(runtime.get(), &pool.known, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(pool.known.size, sizeof(pool) - 8);
  EXPECT_EQ(pool.known.engines, 3U);
  EXPECT_EQ(pool.known.stacks_free, 3U);
  EXPECT_THAT(pool.later, testing::ElementsAre(0, 0, ~0ULL)) << "what a newer version has more is zeroed, and no more";
  for (const std::size_t size : {std::size_t{0}, sizeof(pool.known) - 1, std::size_t{1} << 20}) {
    std::memset(&pool, 0xff, sizeof(pool));
    pool.known.size = size;
    EXPECT_EQ(wasm_thread_get_pool(runtime.get(), &pool.known, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
    EXPECT_EQ(pool.known.engines, ~0ULL) << "written on success only";
  }
  EXPECT_EQ(wasm_thread_get_pool(runtime.get(), nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_thread_get_pool(nullptr, &pool.known, nullptr), WASM_STATUS_NULL_ARGUMENT);
}

TEST(ThreadPool, IsCleanedInStepsOf64KibAndNoFurtherThanAsked) {
  const auto runtime = exactly(limited(4 * mib)).value();
  const auto factory = compile_guest(runtime, memory_guest);
  ASSERT_EQ(prepared(runtime, 1).first, WASM_STATUS_OK);
  auto engine = started(factory);
  dirty(engine, 4 * mib);
  ASSERT_TRUE(succeeded(finish(engine.stop())));
  auto left = numbers(runtime).dirty_bytes;
  ASSERT_EQ(left, 4 * mib - 256 * kib);
  const std::pair<std::size_t, std::uint64_t> steps[] = {
      {0, 0}, {1, 64 * kib}, {64 * kib - 1, 64 * kib}, {64 * kib, 64 * kib}, {64 * kib + 1, 128 * kib}, {mib, mib}};
  for (const auto& [asked, cleaned] : steps) {
    bool more = false;
    ASSERT_EQ(wasm_thread_reclaim(runtime.get(), asked, &more, nullptr), WASM_STATUS_OK);
    EXPECT_EQ(numbers(runtime).dirty_bytes, left - cleaned) << "asked for " << asked;
    EXPECT_TRUE(more);
    left = numbers(runtime).dirty_bytes;
  }
  EXPECT_EQ(wasm_thread_reclaim(runtime.get(), left - 64 * kib, nullptr, nullptr), WASM_STATUS_OK) << "more may be NULL";
  EXPECT_EQ(numbers(runtime).memories_dirty, 1U);
  bool more = true;
  ASSERT_EQ(wasm_thread_reclaim(runtime.get(), ~std::size_t{0}, &more, nullptr), WASM_STATUS_OK);
  EXPECT_FALSE(more);
  EXPECT_EQ(numbers(runtime).memories_free, 1U);
  EXPECT_FALSE(we::reclaim_thread(runtime, 1).value()) << "with nothing to do";
  EXPECT_TRUE(succeeded(finish(engine.start())));
  expect_clean(engine, 4 * mib);
}

TEST(ThreadPool, GivesPagesBackInLargerSteps) {
  auto config = limited(40 * mib);
  config.keep_resident = 64 * kib;
  const auto runtime = exactly(config).value();
  const auto factory = compile_guest(runtime, memory_guest);
  ASSERT_EQ(prepared(runtime, 1).first, WASM_STATUS_OK);
  auto engine = started(factory);
  dirty(engine, 40 * mib);
  ASSERT_TRUE(succeeded(finish(engine.stop())));
  auto left = numbers(runtime).dirty_bytes;
  EXPECT_LE(left, 40 * mib - 256 * kib);
  EXPECT_GE(left, 40 * mib - 4 * mib) << "but a stop must not take long";
  EXPECT_TRUE(we::reclaim_thread(runtime, 64 * kib).value());
  EXPECT_GE(left - numbers(runtime).dirty_bytes, 64 * kib);
  EXPECT_LE(left - numbers(runtime).dirty_bytes, mib);
  auto start = engine.start().value();
  EXPECT_EQ(start.poll().value(), WASM_POLL_YIELDED);
  ASSERT_TRUE(succeeded(finish(start)));
  expect_clean(engine, 40 * mib);
}

TEST(ThreadPool, StartsFromDirtyMemoriesByAndByAndYieldsInBetween) {
  const auto runtime = exactly(limited(40 * mib)).value();
  const auto factory = compile_guest(runtime, memory_guest);
  ASSERT_EQ(prepared(runtime, 1).first, WASM_STATUS_OK);
  auto engine = started(factory);
  dirty(engine, 40 * mib);
  ASSERT_TRUE(succeeded(finish(engine.stop())));
  auto start = engine.start().value();
  auto left = numbers(runtime).dirty_bytes;
  EXPECT_EQ(left, 40 * mib - 256 * kib);
  while (left > 256 * kib) {
    ASSERT_EQ(start.poll().value(), WASM_POLL_YIELDED);
    const auto now = numbers(runtime).dirty_bytes;
    // A poll whose slice was over before it began cleans nothing.
    EXPECT_TRUE(left - now == 256 * kib || left == now) << left - now;
    left = now;
    EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STARTING);
  }
  EXPECT_TRUE(succeeded(finish(start)));
  expect_clean(engine, 40 * mib);
}

TEST(ThreadPool, GivesTheOneCleanedMemoryToOneOfTwoThatWait) {
  const auto runtime = exactly(limited(4 * mib)).value();
  const auto factory = compile_guest(runtime, memory_guest);
  ASSERT_EQ(prepared(runtime, 1).first, WASM_STATUS_OK);
  auto first = started(factory);
  dirty(first, 4 * mib);
  ASSERT_TRUE(succeeded(finish(first.stop())));
  auto second = we::engine::create(factory).value();
  auto a = first.start().value();
  auto b = second.start().value();
  EXPECT_EQ(a.poll().value(), WASM_POLL_YIELDED);
  EXPECT_TRUE(succeeded(finish(b)));
  EXPECT_EQ(finish(a).status, WASM_STATUS_POOL_EXHAUSTED);
  EXPECT_EQ(first.state().value(), WASM_ENGINE_STATE_STOPPED);
  expect_clean(second, 4 * mib);
}

// ---- Given back ----

TEST(ThreadPool, IsNotReleasedUnderItsEngines) {
  const auto runtime = exactly(pooled.config()).value();
  const auto factory = compile_guest(runtime, memory_guest);
  ASSERT_EQ(prepared(runtime, 2).first, WASM_STATUS_OK);
  auto engine = started(factory);
  const auto [status, message] = told([&](wasm_error** e) { return wasm_thread_release(runtime.get(), e); });
  EXPECT_EQ(status, WASM_STATUS_INVALID_STATE);
  EXPECT_THAT(message, HasSubstr("1 engine"));
  EXPECT_EQ(ask(engine, dirty_at_start), 0) << "nothing happened";
  EXPECT_EQ(numbers(runtime).memories_in_use, 1U);
  ASSERT_TRUE(succeeded(finish(engine.stop())));
  EXPECT_EQ(wasm_thread_release(runtime.get(), nullptr), WASM_STATUS_OK);
  EXPECT_EQ(pool_status(runtime), WASM_STATUS_THREAD_NOT_PREPARED);
  EXPECT_EQ(engine.start().err().status(), WASM_STATUS_THREAD_NOT_PREPARED);
  ASSERT_EQ(prepared(runtime, 7).first, WASM_STATUS_OK) << "with another number";
  EXPECT_EQ(numbers(runtime).engines, 7U);
  EXPECT_TRUE(succeeded(finish(engine.start())));
  EXPECT_EQ(ask(engine, data), 'd');
}

TEST(ThreadPool, ThatGoesBeforeAStartIsPolledLeavesTheStartGoingOn) {
  const auto runtime = exactly(pooled.config()).value();
  auto engine = we::engine::create(compile_guest(runtime, memory_guest)).value();
  ASSERT_EQ(prepared(runtime, 1).first, WASM_STATUS_OK);
  auto start = engine.start().value();
  if (wasm_thread_release(runtime.get(), nullptr) == WASM_STATUS_OK) {
    const auto polled = start.poll();
    ASSERT_FALSE(polled);
    EXPECT_EQ(polled.err().status(), WASM_STATUS_THREAD_NOT_PREPARED);
    // A status from 1 to 19: the operation goes on as if the call had not been made.
    EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STARTING);
    ASSERT_EQ(prepared(runtime, 1).first, WASM_STATUS_OK);
  }
  EXPECT_TRUE(succeeded(finish(start)));
}

}  // namespace
