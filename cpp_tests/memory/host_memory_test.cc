// SPDX-License-Identifier: Apache-2.0
//
// Memory and stacks that the host gives: what it is asked for, on which thread, what it gets back and when; and what
// happens when it has none.
#include "support/host_allocator.hh"

#include <gmock/gmock.h>

using namespace memory_modes;
using testing::AllOf;
using testing::HasSubstr;

namespace {

constexpr wasm_memory_mode per_engine = WASM_MEMORY_MODE_HOST;
constexpr wasm_memory_mode per_thread = WASM_MEMORY_MODE_THREAD_POOL;
constexpr std::uint64_t limit = 4 * mib;

wasm_runtime_config small(wasm_runtime_config base = {}) {
  base.memory_limit = limit;
  return base;
}

// ---- What is asked for ----

TEST(HostMemory, IsTakenAndGivenBackOncePerEngine) {
  host_allocators host;
  {
    const auto runtime = exactly(host.config(per_engine, small())).value();
    const auto factory = compile_guest(runtime, memory_guest);
    EXPECT_EQ(host.memory.asked + host.stack.asked, 0) << "nothing is taken before an engine starts";
    auto engine = we::engine::create(factory).value();
    for (int i = 1; i <= 5; ++i) {
      ASSERT_TRUE(succeeded(finish(engine.start())));
      EXPECT_EQ(host.memory.live(), 1U);
      EXPECT_EQ(host.stack.live(), 1U);
      EXPECT_EQ(host.memory.asked, i);
      EXPECT_EQ(host.stack.asked, i);
      EXPECT_EQ(host.memory.held().at(0).bytes, limit);
      // 512 KiB for the guest, 256 for the host, a little for the library, and the guard.
      const auto stack = host.stack.held().at(0).bytes;
      EXPECT_GE(stack, (512 + 256 + 16) * kib);
      EXPECT_LE(stack, (512 + 256 + 64) * kib);
      dirty(engine, 64 * kib * static_cast<std::uint64_t>(i));
      ASSERT_TRUE(succeeded(finish(engine.stop())));
      EXPECT_EQ(host.memory.live() + host.stack.live(), 0U);
      EXPECT_EQ(host.memory.released().back().used, 64 * kib * static_cast<std::uint64_t>(i));
    }
    ASSERT_TRUE(succeeded(finish(engine.start())));
    EXPECT_EQ(try_ask(engine, load, 0xffff'fff0).second.status, WASM_STATUS_GUEST_TRAP);
    EXPECT_EQ(host.memory.live() + host.stack.live(), 0U) << "a trap ends it, too";
    EXPECT_EQ(host.memory.drops + host.stack.drops, 0);
    for (const auto& b : host.memory.released()) {
      EXPECT_EQ(b.taken, std::this_thread::get_id());
      EXPECT_EQ(b.given, std::this_thread::get_id());
    }
  }
  host.expect_dropped_once("after everything");
}

TEST(HostMemory, IsOneBlockForEachGuestWhateverItUses) {
  host_allocators host;
  const auto runtime = exactly(host.config(per_engine)).value();
  // It has a table of references to the host's objects.
  auto engine = started(compile_guest(runtime, "odd_hog"));
  EXPECT_EQ(host.memory.live(), 1U);
}

TEST(HostMemory, IsOnlyAsLargeAsTheModuleNeedsAtMost) {
  host_allocators host;
  const auto runtime = exactly(host.config(per_engine)).value();
  // Its memory is declared with a maximum of two pages.
  auto engine = started(compile_guest(runtime, "m_two_pages"));
  EXPECT_EQ(host.memory.held().at(0).bytes, 128 * kib);
  EXPECT_TRUE(succeeded(transform(engine, {"x"})));
}

TEST(HostMemory, IsTakenAndGivenBackOncePerThread) {
  host_allocators host;
  const auto main = std::this_thread::get_id();
  {
    const auto runtime = exactly(host.config(per_thread, small())).value();
    const auto factory = compile_guest(runtime, memory_guest);
    EXPECT_EQ(host.memory.asked + host.stack.asked, 0);
    ASSERT_TRUE(we::prepare_thread(runtime, 3));
    ASSERT_TRUE(we::prepare_thread(runtime, 3));
    EXPECT_EQ(host.memory.asked, 1);
    EXPECT_EQ(host.stack.asked, 1);
    EXPECT_EQ(host.memory.held().at(0).bytes, 3 * limit);
    EXPECT_EQ(host.memory.held().at(0).taken, main);
    EXPECT_GE(host.stack.held().at(0).bytes, 3 * (512 + 256 + 16) * kib);
    std::vector<we::engine> engines;
    for (int i = 0; i < 3; ++i) {
      engines.push_back(started(factory));
      dirty(engines.back(), mib);
    }
    engines.clear();
    EXPECT_EQ(host.memory.asked + host.stack.asked, 2) << "starts and stops ask for nothing";
    std::thread::id other;
    std::thread([&] {
      other = std::this_thread::get_id();
      ASSERT_TRUE(we::prepare_thread(runtime, 1));
      auto engine = started(factory);
      dirty(engine, mib);
    }).join();
    ASSERT_EQ(host.memory.released().size(), 1U) << "when the thread ended";
    EXPECT_EQ(host.memory.released()[0].taken, other);
    EXPECT_EQ(host.memory.released()[0].given, other);
    EXPECT_EQ(host.stack.released().at(0).given, other);
    // What the stop did not clean: at most what the guest had dirtied, of a memory of four times that.
    EXPECT_EQ(host.memory.released()[0].used, mib);
    EXPECT_TRUE(we::release_thread(runtime));
    ASSERT_EQ(host.memory.released().size(), 2U);
    EXPECT_EQ(host.memory.released()[1].given, main);
    EXPECT_LT(host.memory.released()[1].used, 3 * limit);
    EXPECT_GT(host.memory.released()[1].used, 0U);
    ASSERT_TRUE(we::prepare_thread(runtime, 2)) << "another one";
    EXPECT_EQ(host.memory.held().at(0).bytes, 2 * limit);
  }
  EXPECT_EQ(host.memory.released().size(), 3U);
  EXPECT_EQ(host.memory.released()[2].used, 0U) << "nobody used it";
  host.expect_dropped_once("after everything");
}

TEST(HostMemory, IsCleanIfTheHostHadItCleaned) {
  host_allocators host;
  const auto runtime = exactly(host.config(per_thread, small())).value();
  const auto factory = compile_guest(runtime, memory_guest);
  ASSERT_TRUE(we::prepare_thread(runtime, 1));
  auto engine = started(factory);
  dirty(engine, limit);
  engine = {};
  EXPECT_FALSE(we::reclaim_thread(runtime, limit).value());
  ASSERT_TRUE(we::release_thread(runtime));
  EXPECT_EQ(host.memory.released().at(0).used, 0U);
}

TEST(HostMemory, OfAPoolIsZeroForTheNextGuestAndStaysTheHosts) {
  host_allocators host;
  // Pages behind keep_resident would go back to the system; these are not the library's to give.
  wasm_runtime_config tiny{};
  tiny.keep_resident = 1;
  const auto runtime = exactly(host.config(per_thread, small(tiny))).value();
  const auto factory = compile_guest(runtime, memory_guest);
  ASSERT_TRUE(we::prepare_thread(runtime, 1));
  for (int i = 0; i < 4; ++i) {
    auto engine = started(factory);
    expect_clean(engine, limit);
    EXPECT_EQ(ask(engine, fill, 0xff), static_cast<std::int64_t>(limit - 8'192));
  }
}

TEST(HostMemory, AlignmentsAreHeeded) {
  for (const std::uint64_t size : {64 * kib, mib, 2 * mib, 6 * mib}) {
    host_allocators host;
    wasm_runtime_config config{};
    config.memory_limit = size;
    const auto runtime = exactly(host.config(per_thread, config)).value();
    ASSERT_TRUE(we::prepare_thread(runtime, 2));
    // From 2 MiB on huge pages are possible.
    EXPECT_EQ(host.memory.held().at(0).alignment, size >= 2 * mib ? 2 * mib : 4 * kib);
    EXPECT_EQ(host.stack.held().at(0).alignment, 4 * kib);
  }
}

TEST(HostMemory, CanBeLockedByTheHost) {
  // Guards cannot be made in locked memory in the way that is tried first.
  host_allocators host;
  auto locked = mapping;
  locked.allocate = [](void*, std::size_t bytes, std::size_t alignment) {
    void* memory = mapping.allocate(nullptr, bytes, alignment);
    EXPECT_EQ(mlock(memory, bytes), 0);
    return memory;
  };
  for (const auto in : {per_engine, per_thread}) {
    wasm_runtime_config config = small();
    config.memory_limit = mib;
    config.guest_stack_size = 64 * kib;
    config.memory_mode = in;
    config.memory_allocator = &locked;
    config.stack_allocator = &locked;
    const auto runtime = exactly(config).value();
    const auto factory = compile_guest(runtime, memory_guest);
    ASSERT_TRUE(we::prepare_thread(runtime, in == per_thread ? 2 : 0));
    for (int i = 0; i < 3; ++i) {
      auto engine = started(factory);
      expect_clean(engine, mib);
      EXPECT_GT(ask(engine, fill, 1), 0);
    }
    auto traps = started(compile_guest(runtime, "wat_traps"));
    EXPECT_EQ(transform(traps, {"r"}).status, WASM_STATUS_GUEST_STACK_OVERFLOW);
  }
}

// ---- None left ----

TEST(HostMemory, ThatIsUsedUpAtAStartLeavesAnEngineThatCanBeStartedLater) {
  for (const bool memory : {true, false}) {
    host_allocators host;
    {
      const auto runtime = exactly(host.config(per_engine, small())).value();
      auto engine = we::engine::create(compile_guest(runtime, memory_guest, "hungry")).value();
      auto& empty = memory ? host.memory : host.stack;
      empty.left = 0;
      for (int i = 0; i < 3; ++i) {
        const auto end = finish(engine.start());
        EXPECT_EQ(end.status, WASM_STATUS_POOL_EXHAUSTED) << end.message();
        EXPECT_THAT(end.message(), AllOf(HasSubstr("\"hungry\""), HasSubstr(memory ? "memory" : "stack"),
                                         HasSubstr("allocator"), HasSubstr("stop an engine")));
        EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED);
        EXPECT_EQ(host.memory.live() + host.stack.live(), 0U) << "what was there went back";
      }
      empty.left = 1;
      ASSERT_TRUE(succeeded(finish(engine.start())));
      EXPECT_EQ(ask(engine, dirty_at_start), 0);
    }
    host.expect_dropped_once("at the end");
  }
}

TEST(HostMemory, ThatIsUsedUpAtAPreparationLeavesAThreadThatCanBePreparedLater) {
  for (const bool memory : {true, false}) {
    host_allocators host;
    const auto runtime = exactly(host.config(per_thread, small())).value();
    const auto factory = compile_guest(runtime, memory_guest);
    auto& empty = memory ? host.memory : host.stack;
    empty.left = 0;
    const wasm_thread_config two{sizeof(two), 2, 0};
    for (int i = 0; i < 3; ++i) {
      const auto [status, message] = told([&](wasm_error** e) { return wasm_thread_prepare(runtime.get(), &two, e); });
      EXPECT_EQ(status, WASM_STATUS_SYSTEM);
      EXPECT_THAT(message, AllOf(HasSubstr("2 "), HasSubstr(memory ? "memories" : "stacks"), HasSubstr("allocator")));
      EXPECT_EQ(host.memory.live() + host.stack.live(), 0U) << "what was there went back";
    }
    empty.left = 1;
    ASSERT_TRUE(we::prepare_thread(runtime, 2));
    auto engine = started(factory);
    EXPECT_EQ(ask(engine, dirty_at_start), 0);
  }
}

TEST(HostMemory, ThatIsNotAlignedGoesBackAndTheMessageSaysWhy) {
  for (const auto in : {per_engine, per_thread}) {
    for (const bool memory : {true, false}) {
      host_allocators host;
      const auto runtime = exactly(host.config(in, small())).value();
      auto engine = we::engine::create(compile_guest(runtime, memory_guest)).value();
      auto& odd = memory ? host.memory : host.stack;
      odd.shift = 64;
      std::pair<wasm_status, std::string> end;
      if (in == per_thread) {
        const wasm_thread_config one{sizeof(one), 1, 0};
        end = told([&](wasm_error** e) { return wasm_thread_prepare(runtime.get(), &one, e); });
      } else {
        const auto started = finish(engine.start());
        end = {started.status, started.message()};
      }
      EXPECT_EQ(end.first, WASM_STATUS_SYSTEM);
      EXPECT_THAT(end.second, HasSubstr("align")) << "else somebody looks for memory that is there";
      EXPECT_EQ(odd.live(), 0U);
      odd.shift = 0;
      ASSERT_TRUE(we::prepare_thread(runtime, in == per_thread ? 1 : 0));
      EXPECT_TRUE(succeeded(finish(engine.start())));
    }
  }
}

// ---- Dropped once, on every path ----

TEST(HostAllocators, AreDroppedOnceWhenARuntimeIsRefused) {
  struct bad_case {
    const char* name;
    wasm_status status;
    std::function<void(wasm_runtime_config&, host_allocators&)> spoil;
  };
  const bad_case cases[] = {
      {"no such mode", WASM_STATUS_INVALID_ARGUMENT, [](auto& c, auto&) { c.memory_mode = wasm_memory_mode{4}; }},
      {"no such trap mode", WASM_STATUS_INVALID_ARGUMENT, [](auto& c, auto&) { c.trap_mode = wasm_trap_mode{2}; }},
      {"no such signal check", WASM_STATUS_INVALID_ARGUMENT,
       [](auto& c, auto&) { c.signal_check = wasm_signal_check{7}; }},
      {"a mode that takes none", WASM_STATUS_INVALID_ARGUMENT,
       [](auto& c, auto&) { c.memory_mode = WASM_MEMORY_MODE_ON_DEMAND; }},
      {"another", WASM_STATUS_INVALID_ARGUMENT, [](auto& c, auto&) { c.memory_mode = WASM_MEMORY_MODE_PROCESS_POOL; }},
      {"a size that is too small", WASM_STATUS_INVALID_ARGUMENT, [](auto& c, auto&) { c.host_stack_size = 1; }},
      {"no allocate", WASM_STATUS_NULL_ARGUMENT, [](auto&, auto& h) { h.memory_table.allocate = nullptr; }},
      {"no release", WASM_STATUS_NULL_ARGUMENT, [](auto&, auto& h) { h.memory_table.release = nullptr; }},
      {"no allocate of stacks", WASM_STATUS_NULL_ARGUMENT, [](auto&, auto& h) { h.stack_table.allocate = nullptr; }},
      {"no release of stacks", WASM_STATUS_NULL_ARGUMENT, [](auto&, auto& h) { h.stack_table.release = nullptr; }},
  };
  for (const auto& c : cases) {
    host_allocators host;
    auto config = host.config(per_engine);
    c.spoil(config, host);
    wasm_runtime* none = nullptr;
    const auto [status, message] = told([&](wasm_error** e) { return create_exactly(&config, &none, e); });
    EXPECT_EQ(status, c.status) << c.name << ": " << message;
    EXPECT_FALSE(message.empty());
    EXPECT_EQ(none, nullptr);
    host.expect_dropped_once(c.name);
  }
  host_allocators host;
  auto config = host.config(per_engine);
  EXPECT_EQ(create_exactly(&config, nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  host.expect_dropped_once("nowhere to put the runtime");
}

TEST(HostAllocators, OfAWrongSizeAreNotReadButTheOtherIsDropped) {
  for (const std::size_t size : {std::size_t{0}, sizeof(wasm_allocator) - 1, std::size_t{1} << 30}) {
    for (const bool memory : {true, false}) {
      host_allocators host;
      auto config = host.config(per_engine);
      (memory ? host.memory_table : host.stack_table).size = size;
      wasm_runtime* none = nullptr;
      const auto [status, message] = told([&](wasm_error** e) { return create_exactly(&config, &none, e); });
      EXPECT_EQ(status, WASM_STATUS_INVALID_STRUCT_SIZE);
      EXPECT_THAT(message, HasSubstr(memory ? "memory_allocator" : "stack_allocator"));
      EXPECT_EQ(host.memory.drops, memory ? 0 : 1);
      EXPECT_EQ(host.stack.drops, memory ? 1 : 0);
    }
  }
  host_allocators host;
  auto config = host.config(per_engine);
  config.size = 8;
  EXPECT_EQ(create_exactly(&config, nullptr, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  EXPECT_EQ(host.memory.drops + host.stack.drops, 0) << "a config whose size is refused is not read";
}

TEST(HostAllocators, MustBeThereInModeHost) {
  wasm_runtime_config config{};
  config.memory_mode = per_engine;
  EXPECT_EQ(exactly(config).err().status(), WASM_STATUS_INVALID_ARGUMENT);
  host_allocators host;
  config = host.config(per_engine);
  config.memory_allocator = nullptr;
  const auto refused = exactly(config);
  EXPECT_EQ(refused.err().status(), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_THAT(refused.err().what(), HasSubstr("memory_allocator"));
  EXPECT_EQ(host.stack.drops, 1);
}

TEST(HostAllocators, MayBeOneOfTheTwo) {
  for (const auto in : {per_engine, per_thread}) {
    host_allocators host;
    auto config = host.config(in, small());
    config.stack_allocator = nullptr;
    {
      const auto runtime = exactly(config).value();
      ASSERT_TRUE(we::prepare_thread(runtime, in == per_thread ? 1 : 0));
      auto engine = started(compile_guest(runtime, memory_guest));
      EXPECT_EQ(host.memory.live(), 1U);
      expect_clean(engine, mib);
    }
    EXPECT_EQ(host.memory.drops, 1);
    EXPECT_EQ(host.stack.asked + host.stack.drops, 0);
  }
  host_allocators host;
  auto config = host.config(per_thread, small());
  config.memory_allocator = nullptr;
  {
    const auto runtime = exactly(config).value();
    ASSERT_TRUE(we::prepare_thread(runtime, 1));
    auto engine = started(compile_guest(runtime, memory_guest));
    EXPECT_EQ(host.stack.live(), 1U);
  }
  EXPECT_EQ(host.stack.drops, 1);
}

TEST(HostAllocators, MayHaveNoDrop) {
  host_allocators host;
  host.memory_table.drop = nullptr;
  host.stack_table.drop = nullptr;
  const auto runtime = exactly(host.config(per_engine, small())).value();
  auto engine = started(compile_guest(runtime, memory_guest));
  EXPECT_EQ(ask(engine, data), 'd');
}

TEST(HostAllocators, OutliveTheRuntimeAsLongAsItsEnginesDo) {
  for (const auto in : {per_engine, per_thread}) {
    host_allocators host;
    auto runtime = exactly(host.config(in, small())).value();
    auto factory = compile_guest(runtime, memory_guest);
    ASSERT_TRUE(we::prepare_thread(runtime, in == per_thread ? 1 : 0));
    auto engine = started(factory);
    runtime = {};
    factory = {};
    EXPECT_EQ(host.memory.drops + host.stack.drops, 0);
    expect_clean(engine, limit);
    ASSERT_TRUE(succeeded(finish(engine.stop())));
    ASSERT_TRUE(succeeded(finish(engine.start())));
    EXPECT_EQ(host.memory.live(), 1U);
    engine = {};
    host.expect_dropped_once("with the engine");
    EXPECT_EQ(host.memory.released().back().given, std::this_thread::get_id());
  }
}

}  // namespace
