// SPDX-License-Identifier: Apache-2.0
//
// A host with one thread per core and a malloc of its own, like Seastar: the library allocates by it, on whichever
// thread; what it frees elsewhere goes home; and when all is released, all is back.
#include "process/core_malloc.hh"
#include "process/interposed.hh"
#include "process/process.hh"
#include "support/asking.hh"

#include <gmock/gmock.h>

#include <array>
#include <barrier>
#include <cstdlib>

using namespace testing_support;
using core_malloc::account;

namespace {

constexpr int cores = 4;
/// Where the cores' arenas begin; those below are for the main thread and the library's threads.
constexpr int first_core = 40;

using accounts = std::array<account, core_malloc::arenas>;

accounts all_accounts() {
  accounts all;
  for (int i = 0; i < core_malloc::arenas; ++i) {
    all[static_cast<std::size_t>(i)] = core_malloc::of(i);
  }
  return all;
}

/// What the cores hand each other.
struct table {
  std::barrier<> everybody{cores};
  wasmengine::runtime runtime;
  std::array<wasmengine::factory, cores> loggers;
  std::array<wasmengine::factory, cores> askers;
  std::array<unanswered, cores> asked;
  std::array<wasmengine::compilation, cores> compilations;
  std::array<std::optional<wasmengine::error>, cores> errors;
  std::atomic<std::size_t> log_bytes{0};
};

/// With log lines, and host.later, which another core answers.
void make_runtime(table& t) {
  wasm_runtime_config config = unhurried;
  config.compile_threads = 2;
  t.runtime = wasmengine::runtime::create(config, [&t](const wasmengine::log_line& line) {
                t.log_bytes += line.text.size();
              }).value();
  wasmengine::host_module host("host");
  host.add("later", [&t](std::int64_t, answer a) {
    t.asked[static_cast<std::size_t>(core_malloc::mine() - first_core)].add(std::move(a));
  });
  t.runtime.add(host).value();
}

/// One core's work. Where it matters, memory is made on one core and given back on the next.
void work(table& t, std::size_t core) {
  core_malloc::use(first_core + static_cast<int>(core));
  const std::size_t next = (core + 1) % cores;
  if (core == 0) {
    make_runtime(t);
  }
  t.everybody.arrive_and_wait();
  t.loggers[core] = compile(t.runtime, "c_logger");
  t.askers[core] = compile(t.runtime, "t_later");
  t.everybody.arrive_and_wait();
  {
    auto logger = wasmengine::engine::create(t.loggers[next]).value();
    auto asker = wasmengine::engine::create(t.askers[next]).value();
    EXPECT_TRUE(succeeded(finish(logger.start())));
    EXPECT_TRUE(succeeded(finish(asker.start())));
    for (int round = 0; round < 25; ++round) {
      recorder out;
      EXPECT_TRUE(succeeded(finish(logger.transform(built({"a line", "another"}), out))));
      EXPECT_EQ(out.records.size(), 2U);

      const auto batch = built({"wait", "a copy"});
      auto operation = asker.transform(batch, out).value();
      waker_tally wakers;
      const auto waker = wakers.give();
      EXPECT_EQ(operation.poll(&waker).value(), WASM_POLL_PENDING);
      t.everybody.arrive_and_wait();
      EXPECT_EQ(t.asked[next].all.size(), 1U);
      EXPECT_TRUE(t.asked[next].all.at(0).resolve(std::int64_t{42}));
      t.asked[next].all.clear();
      t.everybody.arrive_and_wait();
      EXPECT_TRUE(succeeded(finish(operation)));
    }
    // A trap; its story is read and freed elsewhere.
    recorder out;
    auto ended = finish(asker.transform(built({"divide"}), out));
    EXPECT_EQ(ended.status, WASM_STATUS_GUEST_TRAP);
    t.errors[core] = std::move(ended.why);
  }
  t.everybody.arrive_and_wait();
  EXPECT_EQ(t.errors[next]->trap(), WASM_TRAP_DIVISION_BY_ZERO);
  t.errors[next].reset();
  t.loggers[next] = {};
  t.askers[next] = {};
  // Nobody waits for this one: it is dropped wherever it is.
  t.compilations[core] = t.runtime.compile(module("c_identity"), with_topics({"out"})).value();
  t.everybody.arrive_and_wait();
  t.compilations[next] = {};
  t.everybody.arrive_and_wait();
  if (core == cores - 1) {
    t.runtime = {};
  }
}

/// The same work from nothing to nothing.
void run() {
  const auto before = process::threads();
  {
    table t;
    std::vector<std::thread> threads;
    for (std::size_t core = 0; core < cores; ++core) {
      threads.emplace_back([&t, core] { work(t, core); });
    }
    for (auto& thread : threads) {
      thread.join();
    }
    EXPECT_GT(t.log_bytes, 0U);
  }
  EXPECT_TRUE(process::threads_become(before));
}

TEST(CoreMalloc, IsTheLibrarysToo) {
  for (const auto& [function, name] : std::vector<std::pair<void*, const char*>>{
           {reinterpret_cast<void*>(malloc), "malloc"},
           {reinterpret_cast<void*>(free), "free"},
           {reinterpret_cast<void*>(calloc), "calloc"},
           {reinterpret_cast<void*>(realloc), "realloc"},
           {reinterpret_cast<void*>(posix_memalign), "posix_memalign"}}) {
    EXPECT_EQ(process::bound(name), function) << name;
  }
  const auto before = core_malloc::of(core_malloc::mine()).allocations;
  wasm_runtime* runtime = nullptr;
  EXPECT_EQ(wasm_runtime_create(nullptr, &runtime, nullptr), WASM_STATUS_OK);
  EXPECT_GT(core_malloc::of(core_malloc::mine()).allocations, before + 100);
  wasm_runtime_release(runtime);
}

// What a run may leave for good, by name: the ticker's lists, of which one has 24 bytes for each thread that has made
// an engine; parking_lot's table, which grows with the number of threads and keeps its smaller predecessors; rayon's
// deferred garbage, of which some lags a run or two behind; the C library's thread stacks, which it keeps for the next
// threads. All of that is bounded, and none of it comes with every run.
TEST(CoreMalloc, EverythingGoesHome) {
  run();
  run();
  const auto before = all_accounts();
  constexpr int runs = 30;
  for (int i = 0; i < runs; ++i) {
    run();
  }
  const auto after = all_accounts();

  const auto main_arena = static_cast<std::size_t>(core_malloc::mine());
  account others_before;
  account others_after;
  const auto add = [](account& sum, const account& a) {
    sum.blocks += a.blocks;
    sum.bytes += a.bytes;
    sum.allocations += a.allocations;
    sum.freed_elsewhere += a.freed_elsewhere;
  };
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (i < first_core) {
      // Which arena a thread of the library gets is chance.
      add(others_before, i == main_arena ? account{before[i].blocks, before[i].bytes} : before[i]);
      add(others_after, i == main_arena ? account{after[i].blocks, after[i].bytes} : after[i]);
      continue;
    }
    EXPECT_LT(after[i].blocks, before[i].blocks + runs / 2) << "core " << i - first_core;
    EXPECT_LE(after[i].bytes, 8'192) << "core " << i - first_core;
    if (i < first_core + cores) {
      EXPECT_GT(after[i].allocations, before[i].allocations + 1'000);
      EXPECT_GT(after[i].freed_elsewhere, before[i].freed_elsewhere);
    }
  }
  EXPECT_LT(others_after.blocks, others_before.blocks + runs / 2);
  EXPECT_GT(others_after.allocations, others_before.allocations + 1'000) << "by the compile threads";
  EXPECT_GT(others_after.freed_elsewhere, others_before.freed_elsewhere);
}

// The tests' own allocator tells what it must tell.
TEST(CoreMallocDeathTest, RefusesWhatIsNotItsOwn) {
  alignas(16) static char foreign[128];
  void* volatile inside = foreign + 64;
  EXPECT_DEATH(free(inside), "a foreign pointer");
  EXPECT_DEATH(
      {
        void* volatile p = malloc(100);
        free(p);
        free(p);
      },
      "freed twice");
}

}  // namespace
