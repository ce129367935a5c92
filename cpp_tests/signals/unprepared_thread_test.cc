// SPDX-License-Identifier: Apache-2.0
//
// Operations that the library polls, on threads that cannot run guests; and what a host's allocator may do when it
// goes.
#include "support/bench.hh"

#include <gmock/gmock.h>

#include <pthread.h>
#include <signal.h>

#include <cstdlib>
#include <deque>
#include <functional>
#include <thread>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

/// A loop that runs what is posted to it until nothing is left.
struct small_loop {
  std::deque<std::pair<void (*)(void*) noexcept, void*>> posted;
  void post(void (*run)(void*) noexcept, void* data) noexcept { posted.emplace_back(run, data); }
  void run() {
    while (!posted.empty()) {
      const auto [run, data] = posted.front();
      posted.pop_front();
      run(data);
    }
  }
};

void mask(int how, int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  pthread_sigmask(how, &set, nullptr);
}

TEST(UnpreparedThread, CompletesWhatWasSpawnedWithTheReasonAndCanDoItAgain) {
  std::thread([] {
    const auto runtime = wasmengine::runtime::create().value();
    auto engine = wasmengine::engine::create(compile(runtime, "c_identity")).value();
    small_loop loop;
    mask(SIG_BLOCK, SIGSEGV);
    std::vector<wasm_status> ends;
    const auto done = [&](wasmengine::result<void> outcome, wasmengine::future operation) {
      ends.push_back(outcome ? WASM_STATUS_OK : outcome.err().status());
      if (!outcome) {
        EXPECT_THAT(outcome.err().what(), HasSubstr("SIGSEGV is blocked"));
        EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STARTING) << "the operation is not over";
        ASSERT_TRUE(wasmengine::unblock_signals(runtime));
        ASSERT_TRUE(wasmengine::spawn(loop, std::move(operation), [&](wasmengine::result<void> again) {
          ends.push_back(again ? WASM_STATUS_OK : again.err().status());
        }));
      }
    };
    ASSERT_TRUE(wasmengine::spawn(loop, engine.start().value(), done));
    loop.run();
    EXPECT_THAT(ends, ElementsAre(WASM_STATUS_SIGNALS_BLOCKED, WASM_STATUS_OK));
    EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_IDLE);
  }).join();
}

TEST(UnpreparedThread, CancelsWhatWasSpawnedIfNobodyWantsItBack) {
  std::thread([] {
    const auto runtime = wasmengine::runtime::create().value();
    auto engine = wasmengine::engine::create(compile(runtime, "c_identity")).value();
    small_loop loop;
    mask(SIG_BLOCK, SIGILL);
    int ends = 0;
    ASSERT_TRUE(wasmengine::spawn(loop, engine.start().value(), [&](wasmengine::result<void> outcome) {
      ++ends;
      EXPECT_EQ(outcome.err().status(), WASM_STATUS_SIGNALS_BLOCKED);
    }));
    loop.run();
    EXPECT_EQ(ends, 1);
    EXPECT_EQ(engine.state().value(), WASM_ENGINE_STATE_STOPPED);
    mask(SIG_UNBLOCK, SIGILL);
    EXPECT_TRUE(succeeded(finish(engine.start())));
  }).join();
}

/// An allocator whose end releases another runtime, as a host's object that owns one would.
struct owner {
  wasm_runtime* other = nullptr;
  int* drops;

  static void drop(void* data) {
    auto* self = static_cast<owner*>(data);
    wasm_runtime_release(self->other);
    ++*self->drops;
    delete self;
  }
};

TEST(HostAllocatorEnd, MayReleaseAnotherRuntimeWhenItGoes) {
  int drops = 0;
  auto* data = new owner{nullptr, &drops};
  ASSERT_EQ(wasm_runtime_create(nullptr, &data->other, nullptr), WASM_STATUS_OK);
  const wasm_allocator allocator{
      sizeof(allocator), data, owner::drop,
      [](void*, std::size_t bytes, std::size_t alignment) -> void* {
        void* memory = std::aligned_alloc(alignment, bytes);
        if (memory != nullptr) {
          std::memset(memory, 0, bytes);
        }
        return memory;
      },
      [](void*, void* memory, std::size_t, std::size_t) { std::free(memory); }};
  wasm_runtime_config config{};
  config.memory_limit = 1 << 20;
  config.memory_mode = WASM_MEMORY_MODE_HOST;
  config.memory_allocator = &allocator;
  auto runtime = wasmengine::runtime::create(config).value();
  EXPECT_EQ(drops, 0);
  runtime = {};
  EXPECT_EQ(drops, 1);
}

}  // namespace
