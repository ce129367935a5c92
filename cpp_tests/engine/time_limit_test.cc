// SPDX-License-Identifier: Apache-2.0
//
// Guests that take too long. Nothing here asserts how fast a machine is; where time matters, what is counted is yields.
#include "support/bench.hh"

#include <gmock/gmock.h>

#include <csignal>
#include <unistd.h>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

wasm_runtime_config limits(std::uint64_t record_ms = 400) {
  wasm_runtime_config config{};
  config.record_time_limit_ns = record_ms * 1'000'000;
  return config;
}

void expect_timeout(const outcome& end) {
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TIMEOUT) << end.message();
  ASSERT_TRUE(end.why);
  EXPECT_EQ(end.why->trap(), WASM_TRAP_INTERRUPT);
  // A slice is an eight-hundredth of the limit; but on a busy machine the clock's thread may come late, and long slices
  // are few.
  EXPECT_GE(end.yields, 2);
  EXPECT_EQ(end.pendings, 0);
}

TEST(TimeLimit, EndsALoopInStart) {
  bench b("wat_start_loop", limits());
  const auto end = b.start();
  expect_timeout(end);
  EXPECT_THAT(end.message(), HasSubstr("400 ms"));
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
  expect_timeout(b.start());
}

TEST(TimeLimit, EndsALoopInTheStartSection) {
  bench b("wat_start_section_loop", limits());
  expect_timeout(b.start());
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
}

TEST(TimeLimit, EndsALoopInARecordAfterTheOutputOfTheRecordsBefore) {
  for (const auto& [guest, value] : {std::pair("wat_traps", "l"), std::pair("rust_panic", "spin")}) {
    bench b(guest, limits());
    ASSERT_TRUE(succeeded(b.start()));
    recorder out;
    const auto end = b.transform(kafka::values({"good", value, "never"}), out);
    expect_timeout(end);
    EXPECT_EQ(end.why->record()->index, 1U);
    EXPECT_EQ(end.why->record()->offset, 101);
    EXPECT_FALSE(end.why->backtrace().empty());
    EXPECT_THAT(out.values(), ElementsAre("good"));
    EXPECT_TRUE(works(b));
  }
}

TEST(TimeLimit, EndsAGuestThatAsksForARecordAgainAndAgainWithTooSmallABuffer) {
  bench b("t_dawdle_small_buffer", limits());
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  expect_timeout(b.transform(kafka::values({"x"}), out));
}

TEST(TimeLimit, EndsAGuestThatAsksForRecordsPastTheLastOne) {
  bench b("t_dawdle_past_end", limits());
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  expect_timeout(b.transform(kafka::values({"x"}), out));
}

TEST(TimeLimit, EndsAGuestThatAsksForRecordsBeforeItHasABatch) {
  bench b("t_dawdle_start", limits());
  expect_timeout(b.start());
}

TEST(TimeLimit, EndsAGuestThatWritesWithoutEndAndItsOutputStaysBounded) {
  auto config = limits();
  config.output_buffer_limit = 32 << 10;
  bench b("t_endless_output", config);
  ASSERT_TRUE(succeeded(b.start()));
  std::size_t largest = 0;
  auto sink = [&](output_block block) {
    std::size_t bytes = 0;
    for (const auto& r : block) {
      bytes += r.payload_size;
    }
    largest = std::max(largest, bytes);
  };
  const auto batch = built({std::string(1'000, 'x')});
  const auto end = b.transform(batch, sink);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TIMEOUT) << end.message();
  EXPECT_LE(largest, 32U << 10);
  EXPECT_GT(largest, 0U);
}

TEST(TimeLimit, CountsForEachRecordNotForTheBatch) {
  // Together they take longer than the limit of one.
  bench b("wat_traps", limits(150));
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto many = b.transform(kafka::values(std::vector<std::string>(400'000, "copy me")), out);
  EXPECT_TRUE(succeeded(many));
  EXPECT_THAT(out.records, testing::SizeIs(400'000));
}

TEST(TimeLimit, DoesNotCountTheTimeInWhichTheHostDoesNotPoll) {
  bench b("wat_traps", limits());
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto batch = built({"l"});
  auto operation = b.engine.transform(batch, out).value();
  ASSERT_EQ(operation.poll().value(), WASM_POLL_YIELDED);
  std::this_thread::sleep_for(std::chrono::milliseconds(1'000));
  EXPECT_EQ(operation.poll().value(), WASM_POLL_YIELDED) << "two limits have passed, but not for the guest";
}

TEST(TimeLimit, OfOneGuestDoesNotKeepAnotherEngineOnTheThreadFromItsWork) {
  const auto runtime = wasmengine::runtime::create(limits()).value();
  auto looping = wasmengine::engine::create(compile(runtime, "wat_traps")).value();
  auto honest = wasmengine::engine::create(compile(runtime, "c_identity")).value();
  ASSERT_TRUE(succeeded(finish(looping.start())));
  ASSERT_TRUE(succeeded(finish(honest.start())));
  recorder nothing;
  const auto trap = built({"l"});
  const auto batch = built({"a", "b"});
  auto operation = looping.transform(trap, nothing).value();
  int batches_between_polls = 0;
  for (;;) {
    auto polled = operation.poll();
    if (!polled) {
      EXPECT_EQ(polled.err().status(), WASM_STATUS_GUEST_TIMEOUT);
      break;
    }
    ASSERT_EQ(*polled, WASM_POLL_YIELDED);
    recorder out;
    ASSERT_TRUE(succeeded(finish(honest.transform(batch, out))));
    ASSERT_THAT(out.values(), ElementsAre("a", "b"));
    ++batches_between_polls;
  }
  EXPECT_GE(batches_between_polls, 2);
}

TEST(TimeLimit, HoldsForLongSlicesToo) {
  // A turn lasts for a second. One goes by before the guest is measured, and two use the limit up. A busy machine gives
  // them less of the processor, so there are more.
  auto config = limits(2'000);
  config.time_slice_ns = 1'000'000'000;
  bench b("wat_start_loop", config);
  const auto end = b.start();
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TIMEOUT);
  EXPECT_LE(end.yields, 50);
}

// A poll that never returns cannot be ended from outside, so a child process tries, and an alarm ends it.
TEST(TimeLimitDeathTest, HoldsForLongSlicesBesideARuntimeWithShortOnes) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(
      {
        alarm(30);
        bench quick("c_identity");
        auto config = limits(400);
        config.time_slice_ns = 400'000'000;
        bench slow("wat_start_loop", config);
        const auto end = slow.start();
        _exit(end.status == WASM_STATUS_GUEST_TIMEOUT ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST(TimeLimit, ALongCallOfFdWriteDoesNotStallTheHost) {
  // 2 GiB of log in one call. The host should get its thread back in between, or be spared most of it.
  std::size_t bytes = 0;
  std::size_t most_per_poll = 0;
  auto config = limits(1'000);
  config.max_log_line = 1 << 20;
  const auto runtime =
      wasmengine::runtime::create(config, [&](const wasmengine::log_line& line) { bytes += line.text.size(); }).value();
  auto engine = wasmengine::engine::create(compile(runtime, "t_log_stall")).value();
  ASSERT_TRUE(succeeded(finish(engine.start())));
  recorder out;
  const auto batch = built({"x"});
  auto operation = engine.transform(batch, out).value();
  for (;;) {
    bytes = 0;
    auto polled = operation.poll();
    most_per_poll = std::max(most_per_poll, bytes);
    if (!polled || *polled == WASM_POLL_READY) {
      break;
    }
  }
  EXPECT_LE(most_per_poll, std::size_t{64} << 20);
}

}  // namespace
