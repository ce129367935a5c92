// SPDX-License-Identifier: Apache-2.0
//
// Many engines in one process, several threads, several runtimes, and who may go before whom.
#include "support/c_sink.hh"

#include <gmock/gmock.h>

#include <dirent.h>

#include <cstdio>

using namespace testing_support;
using testing::ElementsAre;

namespace {

std::size_t threads_of_this_process() {
  std::size_t count = 0;
  DIR* tasks = opendir("/proc/self/task");
  while (const auto* entry = readdir(tasks)) {
    count += entry->d_name[0] != '.' ? 1U : 0U;
  }
  closedir(tasks);
  return count;
}

TEST(ManyEngines, AThousandInOneProcessTakeTurns) {
  const auto runtime = wasmengine::runtime::create().value();
  const auto factory = compile(runtime, "c_tee");
  std::vector<wasmengine::engine> engines;
  for (int i = 0; i < 1'000; ++i) {
    engines.push_back(wasmengine::engine::create(factory).value());
    ASSERT_TRUE(succeeded(finish(engines.back().start())));
  }
  const auto batch = built({"2 each"});
  std::vector<recorder> out(engines.size());
  for (int round = 0; round < 3; ++round) {
    std::vector<wasmengine::future> going_on;
    for (std::size_t i = 0; i < engines.size(); ++i) {
      going_on.push_back(engines[i].transform(batch, out[i]).value());
    }
    for (auto& operation : going_on) {
      ASSERT_TRUE(succeeded(finish(operation)));
    }
  }
  for (const auto& o : out) {
    ASSERT_EQ(o.records.size(), 6U);
  }
}

TEST(ManyEngines, LoopingOnesTakeTurnsToo) {
  const auto runtime = wasmengine::runtime::create().value();
  const auto factory = compile(runtime, "wat_traps");
  const auto batch = built({"l"});
  std::vector<wasmengine::engine> engines;
  std::vector<wasmengine::future> going_on;
  recorder nothing;
  for (int i = 0; i < 30; ++i) {
    engines.push_back(wasmengine::engine::create(factory).value());
    ASSERT_TRUE(succeeded(finish(engines.back().start())));
    going_on.push_back(engines.back().transform(batch, nothing).value());
  }
  for (int round = 0; round < 5; ++round) {
    for (auto& operation : going_on) {
      ASSERT_EQ(operation.poll().value(), WASM_POLL_YIELDED);
    }
  }
}

TEST(ManyEngines, StartAndStopOverAndOverWithoutLeaks) {
  const auto runtime = wasmengine::runtime::create().value();
  const auto factory = compile(runtime, "c_identity");
  const auto resident = [] {
    std::size_t pages = 0;
    std::size_t resident_pages = 0;
    std::FILE* file = std::fopen("/proc/self/statm", "r");
    EXPECT_EQ(std::fscanf(file, "%zu %zu", &pages, &resident_pages), 2);
    std::fclose(file);
    return resident_pages * 4'096;
  };
  const auto batch = built({std::string(100'000, 'x')});
  const auto cycle = [&](int times) {
    for (int i = 0; i < times; ++i) {
      auto engine = wasmengine::engine::create(factory).value();
      ASSERT_TRUE(succeeded(finish(engine.start())));
      recorder out;
      ASSERT_TRUE(succeeded(finish(engine.transform(batch, out))));
    }
  };
  cycle(100);
  const auto before = resident();
  cycle(2'000);
  EXPECT_LT(resident(), before + (64U << 20));
}

TEST(ManyThreads, TwoWithEnginesFromOneFactory) {
  const auto runtime = wasmengine::runtime::create().value();
  const auto factory = compile(runtime, "rust_identity");
  const auto work = [&factory](const std::string& name) {
    const auto mine = factory;  // another reference
    for (int e = 0; e < 3; ++e) {
      auto engine = wasmengine::engine::create(mine).value();
      ASSERT_TRUE(succeeded(finish(engine.start())));
      for (int i = 0; i < 200; ++i) {
        recorder out;
        const auto batch = built({name, std::to_string(i)});
        ASSERT_TRUE(succeeded(finish(engine.transform(batch, out))));
        ASSERT_THAT(out.values(), ElementsAre(name, std::to_string(i)));
      }
    }
  };
  std::thread a(work, "a");
  std::thread b(work, "b");
  a.join();
  b.join();
}

TEST(ManyThreads, EachWithTrapsOfItsOwn) {
  const auto runtime = wasmengine::runtime::create().value();
  const auto factory = compile(runtime, "wat_traps");
  const auto work = [&factory](const char* letter, wasm_trap trap) {
    for (int i = 0; i < 30; ++i) {
      auto engine = wasmengine::engine::create(factory).value();
      ASSERT_TRUE(succeeded(finish(engine.start())));
      recorder out;
      const auto batch = built({letter});
      const auto end = finish(engine.transform(batch, out));
      ASSERT_EQ(end.why->trap(), trap);
    }
  };
  std::thread a(work, "o", WASM_TRAP_MEMORY_OUT_OF_BOUNDS);
  std::thread b(work, "r", WASM_TRAP_STACK_OVERFLOW);
  std::thread c(work, "d", WASM_TRAP_DIVISION_BY_ZERO);
  a.join();
  b.join();
  c.join();
}

TEST(ManyThreads, ThatBlockSignalsUnblockTheOnesThatTrapsNeed) {
  const auto runtime = wasmengine::runtime::create().value();
  const auto factory = compile(runtime, "wat_traps");
  std::thread([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    ASSERT_EQ(wasm_thread_unblock_signals(runtime.get(), nullptr), WASM_STATUS_OK);
    sigset_t now;
    pthread_sigmask(SIG_SETMASK, nullptr, &now);
    for (const int signal : {SIGSEGV, SIGILL, SIGFPE}) {
      EXPECT_EQ(sigismember(&now, signal), 0);
    }
    for (const int signal : {SIGINT, SIGUSR1, SIGALRM, SIGTERM}) {
      EXPECT_EQ(sigismember(&now, signal), 1) << "others stay as they are";
    }
    auto engine = wasmengine::engine::create(factory).value();
    ASSERT_TRUE(succeeded(finish(engine.start())));
    recorder out;
    for (const auto* letter : {"u", "o", "d", "r"}) {
      const auto batch = built({letter});
      EXPECT_NE(finish(engine.transform(batch, out)).status, WASM_STATUS_OK);
      ASSERT_TRUE(succeeded(finish(engine.start())));
    }
  }).join();
}

TEST(ManyThreads, NoneIsStartedByGuestsAndNoneIsLeftOver) {
  const auto before = threads_of_this_process();
  {
    bench b("t_wasi");
    ASSERT_TRUE(succeeded(b.start()));
    const auto with_runtime = threads_of_this_process();
    recorder out;
    ASSERT_TRUE(succeeded(b.transform(kafka::values({"a", "b"}), out)));
    EXPECT_EQ(threads_of_this_process(), with_runtime) << "no call of WASI starts a thread";
    EXPECT_LE(with_runtime, before + 2) << "a ticker and a compiler";
  }
  // Compile threads end by themselves, after the runtime has gone.
  for (int i = 0; i < 2'000 && threads_of_this_process() > before; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(threads_of_this_process(), before);
}

TEST(EngineLifetime, RuntimeAndFactoryMayGoBeforeTheEngine) {
  auto runtime = wasmengine::runtime::create().value();
  auto factory = compile(runtime, "c_identity");
  runtime = wasmengine::runtime();
  auto engine = wasmengine::engine::create(factory).value();
  factory = wasmengine::factory();
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(succeeded(finish(engine.start())));
    recorder out;
    const auto batch = built({"a"});
    ASSERT_TRUE(succeeded(finish(engine.transform(batch, out))));
    EXPECT_THAT(out.values(), ElementsAre("a"));
    ASSERT_TRUE(succeeded(finish(engine.stop())));
  }
}

TEST(EngineLifetime, TimeLimitsHoldAfterTheRuntimeIsGone) {
  wasm_runtime_config config{};
  config.record_time_limit_ns = 400'000'000;
  auto runtime = wasmengine::runtime::create(config).value();
  auto engine = wasmengine::engine::create(compile(runtime, "wat_start_loop")).value();
  runtime = wasmengine::runtime();
  EXPECT_EQ(finish(engine.start()).status, WASM_STATUS_GUEST_TIMEOUT);
}

TEST(EngineLifetime, SeveralRuntimesComeAndGo) {
  std::vector<std::unique_ptr<bench>> all;
  for (int i = 0; i < 8; ++i) {
    wasm_runtime_config config{};
    config.time_slice_ns = 100'000U << i;
    all.push_back(std::make_unique<bench>("c_identity", config));
    EXPECT_TRUE(works(*all.front()));
    EXPECT_TRUE(works(*all.back()));
    if (i % 3 == 2) {
      all.erase(all.begin());
    }
  }
  for (auto& b : all) {
    EXPECT_TRUE(works(*b));
  }
}

TEST(EngineLifetime, ThePanicFreeOrderOfDestructionIsAnyOrder) {
  for (int order = 0; order < 6; ++order) {
    auto b = std::make_unique<bench>("c_identity", unhurried);
    ASSERT_TRUE(succeeded(b->start()));
    pending_sink sink;
    const auto batch = built({"a"});
    auto operation = begin(*b, batch, sink);
    ASSERT_EQ(operation.poll().value(), WASM_POLL_PENDING);
    const std::array<std::function<void()>, 3> release = {
        [&] { b->engine = wasmengine::engine(); }, [&] { operation = wasmengine::future(); },
        [&] { wasm_promise_release(std::exchange(sink.promise, nullptr)); }};
    constexpr int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (const int which : orders[order]) {
      release[static_cast<std::size_t>(which)]();
    }
    EXPECT_EQ(sink.drops, 1);
  }
}

}  // namespace
