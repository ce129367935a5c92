// SPDX-License-Identifier: Apache-2.0
//
// Whose a pool is, and how long it lives: threads, runtimes and engines that come and go in every order. And what holds
// of memories in every mode.
#include "support/memory_modes.hh"

#include <gmock/gmock.h>

#include <barrier>
#include <thread>

using namespace memory_modes;

namespace {

constexpr mode pooled = every_mode[1];

std::uint64_t in_use(const we::runtime& runtime) { return we::thread_pool(runtime).value().memories_in_use; }

// ---- Threads ----

TEST(ThreadPools, BelongToTheThreadThatPreparedItself) {
  const auto runtime = exactly(pooled.config()).value();
  const auto factory = compile_guest(runtime, memory_guest);
  ASSERT_TRUE(we::prepare_thread(runtime, 3));
  auto mine = started(factory);
  std::thread([&] {
    auto engine = we::engine::create(factory).value();
    EXPECT_EQ(engine.start().err().status(), WASM_STATUS_THREAD_NOT_PREPARED);
    ASSERT_TRUE(we::prepare_thread(runtime, 5)) << "another number, on another thread";
    ASSERT_TRUE(succeeded(finish(engine.start())));
    const auto pool = we::thread_pool(runtime).value();
    EXPECT_EQ(pool.engines, 5U);
    EXPECT_EQ(pool.memories_in_use, 1U);
    EXPECT_EQ(wasm_thread_release(runtime.get(), nullptr), WASM_STATUS_INVALID_STATE);
    engine = {};
    EXPECT_TRUE(we::release_thread(runtime));
    EXPECT_TRUE(we::release_thread(runtime));
  }).join();
  EXPECT_EQ(we::thread_pool(runtime).value().engines, 3U);
  EXPECT_EQ(in_use(runtime), 1U);
  EXPECT_EQ(ask(mine, dirty_at_start), 0);
}

TEST(ThreadPools, OfFourThreadsWorkAtTheSameTime) {
  const auto runtime = exactly(pooled.config()).value();
  const auto factory = compile_guest(runtime, memory_guest);
  std::barrier together(4);
  const auto work = [&](std::uint32_t number) {
    EXPECT_TRUE(we::prepare_thread(runtime, 3));
    std::vector<we::engine> engines;
    for (int i = 0; i < 3; ++i) {
      engines.push_back(started(factory));
    }
    together.arrive_and_wait();
    EXPECT_EQ(in_use(runtime), 3U);
    for (int round = 0; round < 5; ++round) {
      for (auto& engine : engines) {
        dirty(engine, (2 + static_cast<std::uint64_t>(round)) * mib);
        EXPECT_GT(ask(engine, fill, number), 0);
        EXPECT_EQ(ask(engine, load, mib), 0x0101'0101'0101'0101LL * number);
      }
      ASSERT_TRUE(succeeded(finish(engines[0].stop())));
      ASSERT_TRUE(succeeded(finish(engines[0].start())));
      expect_clean(engines[0], 2 * mib);
      EXPECT_EQ(ask(engines[1], load, mib), 0x0101'0101'0101'0101LL * number);
    }
  };
  std::vector<std::thread> threads;
  for (std::uint32_t i = 1; i <= 4; ++i) {
    threads.emplace_back(work, i);
  }
  for (auto& thread : threads) {
    thread.join();
  }
}

TEST(ThreadPools, OfThreadsThatEndedAreGone) {
  if (sanitized) {
    GTEST_SKIP() << "the sanitizer keeps memory of its own for each thread";
  }
  const auto runtime = exactly(pooled.config()).value();
  const auto factory = compile_guest(runtime, memory_guest);
  const auto one = [&] {
    std::thread([&] {
      // 4 GiB of addresses, and a megabyte that is really used.
      ASSERT_TRUE(we::prepare_thread(runtime, 64));
      auto engine = started(factory);
      dirty(engine, mib);
    }).join();
  };
  for (int i = 0; i < 5; ++i) {
    one();  // malloc's arenas and the stacks that glibc keeps
  }
  const auto size = process_bytes("VmSize");
  const auto resident = process_bytes("VmRSS");
  for (int i = 0; i < 200; ++i) {
    one();
  }
  EXPECT_LT(process_bytes("VmSize"), size + gib);
  EXPECT_LT(process_bytes("VmRSS"), resident + 32 * mib);
}

/// What a thread of C++ keeps to its very end.
struct keepsake {
  we::engine engine;
  ~keepsake() {
    if (engine) {
      EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_IDLE);
      EXPECT_TRUE(finish(engine.stop()).status == WASM_STATUS_OK);
    }
  }
};

TEST(ThreadPools, OutliveEnginesInThreadLocalVariables) {
  const auto runtime = exactly(pooled.config()).value();
  const auto factory = compile_guest(runtime, memory_guest);
  // The library's own thread-local state goes before the variable in one case, after it in the other.
  for (const bool engine_first : {true, false}) {
    std::thread([&] {
      thread_local keepsake kept;
      if (engine_first) {
        kept.engine = we::engine::create(factory).value();
      }
      ASSERT_TRUE(we::prepare_thread(runtime, 2));
      if (!engine_first) {
        kept.engine = we::engine::create(factory).value();
      }
      ASSERT_TRUE(succeeded(finish(kept.engine.start())));
      dirty(kept.engine, mib);
    }).join();
  }
}

TEST(ThreadPools, AnswerWithAStatusAtTheVeryEndOfAThread) {
  const auto runtime = exactly(pooled.config()).value();
  const auto factory = compile_guest(runtime, memory_guest);
  struct late {
    const we::runtime* runtime = nullptr;
    we::engine engine;
    ~late() {
      if (runtime == nullptr) {
        return;
      }
      const auto started = engine.start();
      EXPECT_EQ(started ? WASM_STATUS_OK : started.err().status(), WASM_STATUS_INVALID_STATE)
          << (started ? "" : started.err().what());
      wasm_thread_pool pool{};
      pool.size = sizeof(pool);
      EXPECT_EQ(wasm_thread_get_pool(runtime->get(), &pool, nullptr), WASM_STATUS_THREAD_NOT_PREPARED);
      EXPECT_EQ(wasm_thread_release(runtime->get(), nullptr), WASM_STATUS_OK);
    }
  };
  std::thread([&] {
    // Made before the thread is prepared, so it goes after the library's thread-local state.
    thread_local late last;
    last.runtime = &runtime;
    last.engine = we::engine::create(factory).value();
    ASSERT_TRUE(we::prepare_thread(runtime, 2));
  }).join();
}

// ---- Runtimes ----

TEST(ThreadPools, OfTwoRuntimesAreTwo) {
  const auto first = exactly(pooled.config()).value();
  const auto second = exactly(pooled.config()).value();
  const auto of_first = compile_guest(first, memory_guest);
  const auto of_second = compile_guest(second, memory_guest);
  ASSERT_TRUE(we::prepare_thread(first, 1));
  auto engine = started(of_first);
  auto other = we::engine::create(of_second).value();
  EXPECT_EQ(other.start().err().status(), WASM_STATUS_THREAD_NOT_PREPARED);
  ASSERT_TRUE(we::prepare_thread(second, 2));
  ASSERT_TRUE(succeeded(finish(other.start())));
  EXPECT_EQ(we::thread_pool(first).value().engines, 1U);
  EXPECT_EQ(we::thread_pool(second).value().engines, 2U);
  EXPECT_EQ(in_use(second), 1U);
  auto third = we::engine::create(of_first).value();
  EXPECT_EQ(finish(third.start()).status, WASM_STATUS_POOL_EXHAUSTED) << "what the other has is not for it";
  other = {};
  EXPECT_TRUE(we::release_thread(second));
  EXPECT_EQ(ask(engine, data), 'd');
  EXPECT_EQ(in_use(first), 1U);
}

TEST(ThreadPools, LiveUntilTheLastEngineGoes) {
  const auto idle = process_bytes("VmSize");
  auto runtime = exactly(pooled.config()).value();
  auto factory = compile_guest(runtime, memory_guest);
  ASSERT_TRUE(we::prepare_thread(runtime, 128));
  auto engine = started(factory);
  auto stopped = we::engine::create(factory).value();
  runtime = {};
  factory = {};
  // 8 GiB, which are nowhere else.
  EXPECT_GT(process_bytes("VmSize"), idle + 8 * gib);
  dirty(engine, 3 * mib);
  ASSERT_TRUE(succeeded(finish(engine.stop())));
  ASSERT_TRUE(succeeded(finish(stopped.start()))) << "as long as there are engines, they can start";
  expect_clean(stopped, 3 * mib);
  engine = {};
  EXPECT_GT(process_bytes("VmSize"), idle + 8 * gib);
  stopped = {};
  if (!sanitized) {
    EXPECT_LT(process_bytes("VmSize"), idle + 4 * gib);
  }
}

TEST(ThreadPools, OfARuntimeThatIsReleasedOnAnotherThreadGoThere) {
  const auto idle = process_bytes("VmSize");
  auto runtime = exactly(pooled.config()).value();
  ASSERT_TRUE(we::prepare_thread(runtime, 128));
  std::thread([&] { runtime = {}; }).join();
  if (!sanitized) {
    EXPECT_LT(process_bytes("VmSize"), idle + 4 * gib);
  }
  // Its place in this thread's list is taken by the next one.
  for (int i = 0; i < 50; ++i) {
    const auto next = exactly(pooled.config()).value();
    ASSERT_TRUE(we::prepare_thread(next, 1));
    EXPECT_EQ(we::thread_pool(next).value().engines, 1U);
  }
}

// ---- Memories, in every mode ----

class EveryMemory : public testing::TestWithParam<mode> {};

TEST_P(EveryMemory, OfTheNextGuestIsZeroEverywhere) {
  const std::uint64_t limit = sanitized ? 2 * mib : 8 * mib;
  for (const std::uint64_t keep : {std::uint64_t{1}, std::uint64_t{0}, 100 * kib, 3 * mib, 4 * gib}) {
    wasm_runtime_config base{};
    base.memory_limit = limit;
    base.keep_resident = keep;
    // One place, so that each guest gets the memory of the one before.
    const auto runtime = exactly(GetParam().config(base, 1)).value();
    const auto factory = compile_guest(runtime, memory_guest);
    ASSERT_TRUE(GetParam().prepare(runtime, 1));
    for (const std::uint64_t bytes : {limit, 64 * kib, mib, limit}) {
      auto engine = started(factory);
      expect_clean(engine, limit);
      engine = {};
      engine = started(factory);
      dirty(engine, bytes);
      if (bytes == mib) {
        // One that traps leaves its memory in no other state.
        EXPECT_EQ(try_ask(engine, load, 0xffff'fff0).second.status, WASM_STATUS_GUEST_TRAP);
      }
    }
    auto last = started(factory);
    expect_clean(last, limit);
  }
}

TEST_P(EveryMemory, GrowsToItsLimitAndNotAPageFurther) {
  for (const std::uint64_t limit : {2 * mib, 64 * kib, 2 * mib + 65'535, 192 * kib}) {
    wasm_runtime_config base{};
    base.memory_limit = limit;
    const auto runtime = exactly(GetParam().config(base)).value();
    const auto factory = compile_guest(runtime, memory_guest);
    ASSERT_TRUE(GetParam().prepare(runtime));
    auto engine = started(factory);
    const auto most = static_cast<std::int64_t>(limit / (64 * kib));
    EXPECT_EQ(ask(engine, grow, static_cast<std::uint32_t>(most)), -1) << "one page too many";
    for (std::int64_t now = 1; now < most; ++now) {
      ASSERT_EQ(ask(engine, grow, 1), now);
    }
    EXPECT_EQ(ask(engine, grow, 1), -1);
    EXPECT_EQ(ask(engine, grow, 65'535), -1);
    EXPECT_EQ(ask(engine, grow, 0), most);
    EXPECT_EQ(ask(engine, pages), most);
    EXPECT_EQ(ask(engine, fill, 7), most * 65'536 - 8'192);
    EXPECT_EQ(engine.memory_size().value(), static_cast<std::uint64_t>(most) * 64 * kib);
    // The last eight bytes are there, and the one behind is not, whatever lies there.
    EXPECT_EQ(ask(engine, load, static_cast<std::uint32_t>(most * 65'536 - 8)), 0x0707'0707'0707'0707LL);
    const auto end = try_ask(engine, load, static_cast<std::uint32_t>(most * 65'536 - 7)).second;
    // A trap after growth was refused at the same record is the limit's; this is another record.
    EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP) << end.message();
    EXPECT_EQ(end.why->trap(), WASM_TRAP_MEMORY_OUT_OF_BOUNDS);
  }
}

TEST_P(EveryMemory, StaysWhereItIsWhenItGrows) {
  wasm_runtime_config base{};
  base.memory_limit = 4 * mib;
  std::vector<std::uint8_t*> bases;
  const auto runtime = exactly(GetParam().config(base)).value();
  const auto f = host_guest::raw_host_function(
      [&bases](wasm_call* call, const wasm_value* args, wasm_value* results) -> wasm_callback_result {
        std::uint8_t* first = nullptr;
        const auto size = static_cast<std::uint32_t>(args[0].i32);
        EXPECT_EQ(wasm_call_memory(call, 0, size, &first, nullptr), WASM_STATUS_OK);
        bases.push_back(first);
        std::uint8_t* none = nullptr;
        EXPECT_EQ(wasm_call_memory(call, 1, size, &none, nullptr), WASM_STATUS_GUEST_BAD_CALL);
        first[size - 1] = 1;
        results[0].i32 = 0;
        return WASM_CALLBACK_RESULT_DONE;
      },
      nullptr, "f", host_guest::two_i32, host_guest::one_i32, false);
  ASSERT_EQ(wasm_runtime_register_function(runtime.get(), &f, nullptr), WASM_STATUS_OK);
  std::vector<std::int32_t> grown;
  const auto report = host_guest::raw_host_function(
      [&grown](wasm_call*, const wasm_value* args, wasm_value*) -> wasm_callback_result {
        grown.push_back(args[0].i32);
        return WASM_CALLBACK_RESULT_DONE;
      },
      nullptr, "report", host_guest::one_i32, {}, false);
  ASSERT_EQ(wasm_runtime_register_function(runtime.get(), &report, nullptr), WASM_STATUS_OK);
  const auto factory = compile_guest(runtime, "m_base");
  ASSERT_TRUE(GetParam().prepare(runtime));
  auto engine = started(factory);
  recorder none;
  const auto batch = host_guest::pairs({{0, 0}, {1, 0}, {2, 0}, {60, 0}, {1, 0}, {0, 0}});
  ASSERT_TRUE(succeeded(finish(engine.transform(batch, none))));
  EXPECT_THAT(grown, testing::ElementsAre(1, 1, 2, 4, -1, 64));
  EXPECT_EQ(bases, std::vector<std::uint8_t*>(6, bases.at(0)));
}

INSTANTIATE_TEST_SUITE_P(Modes, EveryMemory, testing::ValuesIn(every_mode), name_of);

}  // namespace
