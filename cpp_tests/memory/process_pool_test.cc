// SPDX-License-Identifier: Apache-2.0
//
// Memory mode PROCESS_POOL: one pool for all threads.
#include "support/memory_modes.hh"

#include <gmock/gmock.h>

#include <barrier>
#include <thread>

using namespace memory_modes;
using testing::AllOf;
using testing::HasSubstr;

namespace {

constexpr mode pooled = every_mode[3];

wasm_runtime_config with_engines(std::uint64_t engines, std::uint64_t memory_limit = 0) {
  wasm_runtime_config config{};
  config.memory_limit = memory_limit;
  return pooled.config(config, engines);
}

TEST(ProcessPool, ThatIsUsedUpSaysSoAndWorksAgainAfterOneStop) {
  const auto runtime = exactly(with_engines(2)).value();
  const auto factory = compile_guest(runtime, memory_guest, "the-third");
  auto first = started(factory);
  auto second = started(factory);
  auto third = we::engine::create(factory).value();
  for (int i = 0; i < 10; ++i) {
    const auto end = finish(third.start());
    EXPECT_EQ(end.status, WASM_STATUS_POOL_EXHAUSTED);
    EXPECT_THAT(end.message(), AllOf(HasSubstr("\"the-third\""), HasSubstr("pool_engines"), HasSubstr("2")));
    EXPECT_EQ(third.state().value(), WASM_ENGINE_STATE_STOPPED);
    ASSERT_TRUE(succeeded(finish(second.stop())));
    ASSERT_TRUE(succeeded(finish(third.start())));
    expect_clean(third, mib);
    dirty(third, 2 * mib);
    EXPECT_EQ(finish(second.start()).status, WASM_STATUS_POOL_EXHAUSTED);
    third = we::engine::create(factory).value();
    ASSERT_TRUE(succeeded(finish(second.start())));
    EXPECT_EQ(ask(first, dirty_bytes), 4);
  }
}

TEST(ProcessPool, IsSharedByThreads) {
  const auto runtime = exactly(with_engines(8, 4 * mib)).value();
  const auto factory = compile_guest(runtime, memory_guest);
  std::barrier together(4);
  std::atomic<int> refused = 0;
  const auto work = [&] {
    for (int round = 0; round < 20; ++round) {
      auto a = started(factory);
      auto b = started(factory);
      dirty(a, mib);
      expect_clean(b, mib);
    }
    // Eight places are all taken now.
    auto a = started(factory);
    auto b = started(factory);
    together.arrive_and_wait();
    auto c = we::engine::create(factory).value();
    refused += finish(c.start()).status == WASM_STATUS_POOL_EXHAUSTED ? 1 : 0;
    together.arrive_and_wait();
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back(work);
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(refused, 4);
}

TEST(ProcessPool, HasPlaceForAsManyEnginesAsItSays) {
  // Whatever the guests: these have no table, a table, many functions, and one of references to the host's objects.
  for (const auto* name : {memory_guest, "c_identity", "wat_traps", "rust_identity", "cpp_identity", "odd_hog"}) {
    const auto runtime = exactly(with_engines(6)).value();
    const auto factory = compile_guest(runtime, name);
    std::vector<we::engine> engines;
    for (int i = 0; i < 6; ++i) {
      engines.push_back(we::engine::create(factory).value());
      EXPECT_TRUE(succeeded(finish(engines.back().start()))) << name << ", number " << i;
    }
  }
}

TEST(ProcessPool, SaysSoIfAModulesTablesDoNotFit) {
  const auto runtime = exactly(with_engines(1)).value();
  // Two tables; and one of 2,000,000 elements.
  for (const auto* name : {"t_table_budget", "t_big_table"}) {
    const auto judged = runtime.validate(guest(name));
    ASSERT_FALSE(judged) << name;
    EXPECT_EQ(judged.err().status(), WASM_STATUS_MODULE_TABLE_LIMIT) << judged.err().what();
    auto compilation = runtime.compile(guest(name), {"tested", "in", {}, {}}).value();
    EXPECT_EQ(we::drive(compilation).err().status(), WASM_STATUS_MODULE_TABLE_LIMIT);
  }
}

TEST(ProcessPool, HasTablesOf20000Elements) {
  for (const auto& [limit, most] : {std::pair{0, 20'000}, {100'000, 20'000}, {5'500, 5'000}}) {
    auto config = with_engines(2);
    config.table_limit = static_cast<std::uint64_t>(limit);
    const auto runtime = exactly(config).value();
    auto engine = started(compile_guest(runtime, "odd_hog"));
    recorder out;
    const auto batch = built({"table"});
    ASSERT_TRUE(succeeded(finish(engine.transform(batch, out))));
    EXPECT_THAT(out.values(), testing::ElementsAre(std::to_string(most))) << "growth is refused inside the guest";
  }
}

TEST(ProcessPool, TooLargeForTheMachineIsRefusedWithAReason) {
  for (const std::uint64_t limit : {64 * kib, 64 * mib, 4 * gib}) {
    auto config = with_engines(1'000'000, limit);
    config.size = sizeof(config);
    wasm_runtime* none = nullptr;
    const auto before = process_bytes("VmSize");
    const auto [status, message] = told([&](wasm_error** e) { return create_exactly(&config, &none, e); });
    EXPECT_EQ(status, WASM_STATUS_SYSTEM) << message;
    EXPECT_EQ(none, nullptr);
    // Whoever reads it must learn which of their numbers is too large.
    EXPECT_THAT(message, AllOf(HasSubstr("1000000"), HasSubstr("pool_engines"))) << message;
    EXPECT_LT(process_bytes("VmSize"), before + gib) << "nothing is left of it";
  }
}

TEST(ProcessPool, OfMoreEnginesThanThereCanBeIsRefused) {
  for (const std::uint64_t engines : {(1ULL << 20) + 1, 1ULL << 40, ~0ULL}) {
    auto config = with_engines(engines);
    const auto made = exactly(config);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.err().status(), WASM_STATUS_INVALID_ARGUMENT);
    EXPECT_THAT(made.err().what(), AllOf(HasSubstr("pool_engines"), HasSubstr("1048576")));
  }
}

TEST(ProcessPool, NeedsNoPreparation) {
  const auto runtime = exactly(with_engines(0)).value();
  const auto factory = compile_guest(runtime, memory_guest);
  std::thread([&] {
    auto engine = started(factory);
    EXPECT_EQ(ask(engine, data), 'd');
  }).join();
}

TEST(ProcessPool, LivesUntilTheLastEngineGoes) {
  const auto idle = process_bytes("VmSize");
  auto runtime = exactly(with_engines(20)).value();
  auto factory = compile_guest(runtime, memory_guest);
  auto engine = we::engine::create(factory).value();
  runtime = {};
  factory = {};
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(succeeded(finish(engine.start())));
    expect_clean(engine, mib);
    ASSERT_TRUE(succeeded(finish(engine.stop())));
  }
  EXPECT_GT(process_bytes("VmSize"), idle + 40 * gib);
  engine = {};
  if (!sanitized) {
    EXPECT_LT(process_bytes("VmSize"), idle + 4 * gib);
  }
}

}  // namespace
