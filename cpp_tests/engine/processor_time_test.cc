// SPDX-License-Identifier: Apache-2.0
//
// A time limit counts the processor time of the thread. Time in which the thread was preempted or blocked belongs to
// others. A test cannot have a thread preempted, but a host function can block it, and the kernel counts both alike.
// bench/preempted.cc shows the same on a machine that is busy.
#include "support/bench.hh"
#include "support/host_guest.hh"

#include <gtest/gtest.h>

#include <ctime>

namespace we = wasmengine;

namespace {

constexpr std::uint64_t millisecond = 1'000'000;

std::uint64_t processor_time() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

wasm_runtime_config limit(std::uint64_t milliseconds) {
  wasm_runtime_config config{};
  config.record_time_limit_ns = milliseconds * millisecond;
  return config;
}

TEST(ProcessorTime, OfAThreadThatWasBlockedDoesNotEndItsGuest) {
  host_guest::world w(limit(20));
  w.add(
      [](wasm_call*, const wasm_value*, wasm_value* results) {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        results[0].i32 = 1;
        return WASM_CALLBACK_RESULT_DONE;
      },
      false);
  w.start();
  // The second one is measured from its beginning if the first one was.
  for (int n = 0; n < 3; ++n) {
    const auto end = host_guest::drive(w.begin({{1, 2}, {3, 4}}));
    EXPECT_EQ(end.status, WASM_STATUS_OK) << end.message;
  }
  EXPECT_EQ(w.reported.size(), 6U);
}

TEST(ProcessorTime, OfAGuestThatWaitsInManySlicesIsTheGuestsOwn) {
  // Each turn is as long as several limits and takes next to no processor time.
  auto config = limit(5);
  config.time_slice_ns = millisecond;
  host_guest::world w(config);
  int calls = 0;
  w.add(
      [&](wasm_call* call, const wasm_value*, wasm_value*) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        auto promise = host_guest::take_promise(call);
        host_guest::resolve(promise, ++calls);
        return WASM_CALLBACK_RESULT_PENDING;
      },
      true);
  w.start();
  for (int n = 0; n < 5; ++n) {
    const auto end = w.call(1, 2);
    EXPECT_EQ(end.status, WASM_STATUS_OK) << end.message;
  }
  EXPECT_EQ(calls, 5);
}

TEST(ProcessorTime, OfALoopIsItsLimitAtLeast) {
  testing_support::bench b("wat_traps", limit(200));
  ASSERT_TRUE(succeeded(b.start()));
  for (int n = 0; n < 2; ++n) {
    testing_support::recorder out;
    const auto before = processor_time();
    const auto end = b.transform(kafka::values({"good", "l"}), out);
    const auto used = processor_time() - before;
    EXPECT_EQ(end.status, WASM_STATUS_GUEST_TIMEOUT) << end.message();
    EXPECT_EQ(end.why->record()->index, 1U);
    EXPECT_GE(used, 200 * millisecond);
    ASSERT_TRUE(succeeded(b.start()));
  }
}

}  // namespace
