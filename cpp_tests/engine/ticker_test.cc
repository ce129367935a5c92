// SPDX-License-Identifier: Apache-2.0
//
// How the thread that ends time slices is scheduled.
#include "support/bench.hh"

#include <gmock/gmock.h>

#include <dirent.h>
#include <sched.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <thread>

using namespace testing_support;

namespace {

/// The policy of the thread `wasm-ticker`, −1 if there is none.
int policy_of_ticker() {
  int policy = -1;
  DIR* tasks = opendir("/proc/self/task");
  while (const auto* entry = readdir(tasks)) {
    std::ifstream file("/proc/self/task/" + std::string(entry->d_name) + "/comm");
    std::string name;
    if (std::getline(file, name) && name == "wasm-ticker") {
      policy = sched_getscheduler(std::atoi(entry->d_name));
    }
  }
  closedir(tasks);
  return policy;
}

/// What it comes to have: waits until that is `wanted`, or a long time.
int policy_after_a_while(int wanted) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (policy_of_ticker() != wanted && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return policy_of_ticker();
}

/// What threads of this process may be.
int best_policy() {
  int policy = SCHED_OTHER;
  std::thread([&] {
    const sched_param lowest{1};
    policy = sched_setscheduler(0, SCHED_FIFO, &lowest) == 0 ? SCHED_FIFO : SCHED_OTHER;
  }).join();
  return policy;
}

TEST(Ticker, IsInRealTimeWhereItMayAndAsLongAsEachRuntimeWantsIt) {
  const int best = best_policy();
  const auto runtime = wasmengine::runtime::create().value();
  EXPECT_EQ(policy_after_a_while(best), best);
  wasm_runtime_config config{};
  config.avoid_real_time = 1;
  {
    const auto shy = wasmengine::runtime::create(config).value();
    EXPECT_EQ(policy_after_a_while(SCHED_OTHER), SCHED_OTHER);
  }
  EXPECT_EQ(policy_after_a_while(best), best);
  config.avoid_real_time = 0;
  config.time_slice_ns = 90'000;
  const auto hasty = wasmengine::runtime::create(config).value();
  EXPECT_EQ(policy_after_a_while(SCHED_OTHER), SCHED_OTHER);
}

TEST(Ticker, LeavesTheThreadThatMakesARuntimeAsItIs) {
  const int before = sched_getscheduler(0);
  const auto runtime = wasmengine::runtime::create().value();
  policy_after_a_while(best_policy());
  EXPECT_EQ(sched_getscheduler(0), before);
}

}  // namespace
