// SPDX-License-Identifier: Apache-2.0
//
// Guests' code is not made known to the unwinder: each registered piece makes every C++ throw of the whole process
// slower, whoever throws.
#include "process/interposed.hh"
#include "process/process.hh"
#include "support/bench.hh"

#include <dlfcn.h>
#include <link.h>

#include <array>
#include <atomic>
#include <stdexcept>

using namespace testing_support;

namespace {

std::atomic<int> registered{0};
std::atomic<int> deregistered{0};

template <typename F>
F* system_function(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" void __register_frame(void* frame) {
  ++registered;
  system_function<void(void*)>("__register_frame")(frame);
}
extern "C" void __deregister_frame(void* frame) {
  ++deregistered;
  system_function<void(void*)>("__deregister_frame")(frame);
}

namespace {

/// What the unwinder searches: all objects that are mapped.
int objects() {
  int count = 0;
  dl_iterate_phdr([](dl_phdr_info*, std::size_t, void* c) { return ++*static_cast<int*>(c), 0; }, &count);
  return count;
}

/// Engines of several guests, of which some have worked, one has trapped, and one never ran.
struct population {
  explicit population(int each) : runtime(wasmengine::runtime::create().value()) {
    for (const auto* guest : {"c_identity", "rust_identity", "wat_traps", "c_logger"}) {
      factories.push_back(compile(runtime, guest));
      for (int i = 0; i < each; ++i) {
        engines.push_back(wasmengine::engine::create(factories.back()).value());
      }
    }
    for (std::size_t i = 1; i < engines.size(); ++i) {
      recorder out;
      EXPECT_TRUE(succeeded(finish(engines[i].start())));
      EXPECT_TRUE(succeeded(finish(engines[i].transform(built({"a record"}), out))));
    }
    recorder out;
    EXPECT_EQ(finish(engines[static_cast<std::size_t>(2 * each)].transform(built({"divide"}), out)).status,
              WASM_STATUS_GUEST_TRAP);
  }

  wasmengine::runtime runtime;
  std::vector<wasmengine::factory> factories;
  std::vector<wasmengine::engine> engines;
};

TEST(Unwinder, IsNotTold) {
  // The library could: it is linked to these functions.
  ASSERT_TRUE(process::calls(__register_frame, "__register_frame"));
  ASSERT_TRUE(process::calls(__deregister_frame, "__deregister_frame"));
  const int before = objects();
  {
    const population all(5);
    EXPECT_EQ(objects(), before);
    EXPECT_EQ(registered, 0);
  }
  EXPECT_EQ(objects(), before);
  EXPECT_EQ(registered, 0);
  EXPECT_EQ(deregistered, 0);
}

int deep(int depth) {
  // A frame with something to destroy.
  const std::string text(static_cast<std::size_t>(depth) + 32, 'x');
  if (depth == 0) {
    throw std::runtime_error(text);
  }
  return deep(depth - 1) + static_cast<int>(text.size());
}

TEST(Unwinder, FindsTheHostsFramesOnAllThreads) {
  constexpr int throws = 10'000;
  const population all(2);
  ASSERT_EQ(all.engines.size(), 8U);
  std::array<int, 16> caught{};
  std::vector<std::thread> threads;
  for (auto& count : caught) {
    threads.emplace_back([&count] {
      for (int i = 0; i < throws; ++i) {
        try {
          count += deep(5) != 0 ? 0 : 1;
        } catch (const std::runtime_error& e) {
          count += std::string_view(e.what()).size() == 32 ? 1 : 0;
        }
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  for (const int count : caught) {
    EXPECT_EQ(count, throws);
  }
}

// The C++ layer catches what a sink throws: that, too, is unwinding while a poll is on the stack.
TEST(Unwinder, FindsTheWayOutOfACallback) {
  population all(1);
  for (int i = 0; i < 100; ++i) {
    auto throwing = [](output_block) { throw std::runtime_error("full"); };
    auto& engine = all.engines[1];
    const auto ended = finish(engine.transform(built({"a record"}), throwing));
    ASSERT_EQ(ended.status, WASM_STATUS_OUTPUT_REJECTED);
    ASSERT_NE(ended.message().find("full"), std::string::npos);
    ASSERT_TRUE(succeeded(finish(engine.start())));
  }
}

}  // namespace
