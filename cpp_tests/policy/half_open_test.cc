// SPDX-License-Identifier: Apache-2.0
//
// A circuit that is tried again: when, and what closes it or opens it anew, with a timer and without one.
#include "support/custom.hh"
#include "support/metrics.hh"
#include "support/policy.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

namespace {

constexpr auto skip = WASM_ON_ERROR_SKIP;

TEST(HalfOpen, ClosesAfterEnoughRecordsInAnyNumberOfBatches) {
  policed p;
  p.set(losing(0, 1, skip, 3));
  ASSERT_TRUE(succeeded(p.start()));
  recorder out;
  EXPECT_EQ(p.transform(built({"u1"}), out).status, WASM_STATUS_POLICY_THRESHOLD);
  ASSERT_TRUE(succeeded(p.start()));
  EXPECT_TRUE(succeeded(p.transform(built({"k1", "k1"}), out)));
  EXPECT_EQ(p.stats().circuit, WASM_CIRCUIT_HALF_OPEN);
  EXPECT_TRUE(succeeded(p.transform(built({"k1"}), out)));
  EXPECT_EQ(p.stats().circuit, WASM_CIRCUIT_CLOSED);
}

TEST(HalfOpen, OpensAgainAtTheFirstFailure) {
  policed p;
  p.set(losing(5, 10, skip, 3));
  recorder out;
  ASSERT_TRUE(succeeded(p.start()));
  EXPECT_EQ(p.transform(built({"u1", "u1", "u1", "u1", "u1", "u1"}), out).status, WASM_STATUS_POLICY_THRESHOLD);
  // One at a record, one between two, and one that comes late enough.
  for (const std::vector<std::string>& values : {std::vector<std::string>{"k1", "u1"}, {"k1", "b1", "k1"}}) {
    ASSERT_TRUE(succeeded(p.start()));
    const auto end = p.transform(built(values), out);
    EXPECT_EQ(end.status, WASM_STATUS_POLICY_THRESHOLD);
    EXPECT_THAT(end.message(), HasSubstr("half-open"));
    EXPECT_EQ(p.stats().circuit, WASM_CIRCUIT_OPEN);
  }
  EXPECT_EQ(p.stats().stops, 3U);
  EXPECT_EQ(p.stats().skipped, 5U);
  ASSERT_TRUE(succeeded(p.start()));
  EXPECT_TRUE(succeeded(p.transform(built({"k1", "k1", "k1", "u1"}), out)));
  EXPECT_EQ(p.stats().circuit, WASM_CIRCUIT_CLOSED) << "three were enough, and the window is empty";
  EXPECT_EQ(p.stats().skipped, 6U);
}

TEST(HalfOpen, ComesWhenTheTimerSaysSo) {
  policed p;
  fake_timer timer;
  auto limits = losing(0, 1);
  limits.open = seconds(50);
  limits.backoff_min = nanoseconds(1);
  limits.backoff_max = nanoseconds(1);
  p.set(limits, timer);
  ASSERT_TRUE(succeeded(p.start()));
  EXPECT_THAT(timer.slept, IsEmpty());
  recorder out;
  const auto end = p.transform(built({"u1"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_POLICY_THRESHOLD);
  EXPECT_THAT(end.message(), HasSubstr("the next start waits 50s"));
  timer.time += seconds(20);
  timer.holds = true;
  auto starting = p.engine.start().value();
  int pendings = 0;
  const auto started = drive(starting, [&] {
    ++pendings;
    EXPECT_EQ(p.stats().circuit, WASM_CIRCUIT_OPEN);
    timer.wake();
    return true;
  });
  EXPECT_TRUE(succeeded(started));
  EXPECT_EQ(pendings, 1);
  EXPECT_THAT(timer.slept, ElementsAre(seconds(30)));
  EXPECT_EQ(p.stats().circuit, WASM_CIRCUIT_HALF_OPEN);
}

TEST(HalfOpen, WaitsAMinuteByDefaultAndTheBackoffIfThatIsLonger) {
  policed p;
  fake_timer timer;
  p.set(losing(0, 1), timer);
  ASSERT_TRUE(succeeded(p.start()));
  recorder out;
  EXPECT_EQ(p.transform(built({"u1"}), out).status, WASM_STATUS_POLICY_THRESHOLD);
  ASSERT_TRUE(succeeded(p.start()));
  EXPECT_THAT(timer.slept, ElementsAre(seconds(60)));
  auto limits = losing(0, 1);
  limits.backoff_min = limits.backoff_max = std::chrono::hours(1);
  ASSERT_TRUE(succeeded(finish(p.engine.stop())));
  p.set(limits, timer);
  ASSERT_TRUE(succeeded(p.start()));
  EXPECT_EQ(p.transform(built({"u1"}), out).status, WASM_STATUS_POLICY_THRESHOLD);
  ASSERT_TRUE(succeeded(p.start()));
  ASSERT_THAT(timer.slept, SizeIs(2));
  EXPECT_GE(timer.slept[1], std::chrono::minutes(30));
}

// ---- Without a timer ----

/// A circuit that is open.
struct opened : policed {
  opened() {
    set(losing(0, 1, skip, 3));
    EXPECT_TRUE(succeeded(start()));
    EXPECT_EQ(transform(built({"u1"}), out).status, WASM_STATUS_POLICY_THRESHOLD);
    EXPECT_EQ(circuit(), WASM_CIRCUIT_OPEN);
  }
  [[nodiscard]] wasm_circuit circuit() const { return stats().circuit; }
  recorder out;
};

TEST(HalfOpenWithoutATimer, IsEachStartOfTheHost) {
  opened p;
  for (std::uint64_t stops = 1; stops < 5; ++stops) {
    EXPECT_EQ(p.stats().stops, stops);
    ASSERT_TRUE(succeeded(p.start())) << "at once";
    EXPECT_EQ(p.circuit(), WASM_CIRCUIT_HALF_OPEN);
    const auto end = p.transform(built({"k1", "u1"}), p.out);
    EXPECT_EQ(end.status, WASM_STATUS_POLICY_THRESHOLD);
    EXPECT_THAT(end.message(), HasSubstr("after 1 of 3 records"));
    EXPECT_THAT(end.message(), HasSubstr("the next start tries again"));
    EXPECT_EQ(p.circuit(), WASM_CIRCUIT_OPEN);
  }
}

TEST(HalfOpenWithoutATimer, AStartThatFailsOpensItAgain) {
  opened p;
  p.starts->assign({false, true});
  const auto end = p.start();
  EXPECT_EQ(end.status, WASM_STATUS_POLICY_THRESHOLD) << end.message();
  EXPECT_THAT(end.message(), HasSubstr("after 0 of 3 records"));
  EXPECT_EQ(p.circuit(), WASM_CIRCUIT_OPEN);
  EXPECT_EQ(p.stats().stops, 2U);
  EXPECT_EQ(p.state(), WASM_ENGINE_STATE_STOPPED);
  ASSERT_TRUE(succeeded(p.start()));
  EXPECT_EQ(p.circuit(), WASM_CIRCUIT_HALF_OPEN);
  EXPECT_TRUE(succeeded(p.transform(built({"k1", "k1", "k1"}), p.out)));
  EXPECT_EQ(p.circuit(), WASM_CIRCUIT_CLOSED);
}

TEST(HalfOpenWithoutATimer, AFailureThatLosesNoRecordOpensItAgain) {
  opened p;
  ASSERT_TRUE(succeeded(p.start()));
  // It fails between two records, before any has passed.
  const auto end = p.transform(built({"b1", "k1"}), p.out);
  EXPECT_EQ(end.status, WASM_STATUS_POLICY_THRESHOLD) << end.message();
  EXPECT_EQ(p.circuit(), WASM_CIRCUIT_OPEN);
  EXPECT_EQ(p.stats().stops, 2U);
}

TEST(HalfOpenWithoutATimer, WhatIsNoFailureOfTheGuestDecidesNothing) {
  opened p;
  ASSERT_TRUE(succeeded(p.start()));
  EXPECT_FALSE(succeeded(p.transform(kafka::bytes(70), p.out)));
  EXPECT_EQ(p.state(), WASM_ENGINE_STATE_IDLE) << "the batch was refused";
  EXPECT_EQ(p.circuit(), WASM_CIRCUIT_HALF_OPEN);
  auto full = [](output_block) { throw std::runtime_error("no room"); };
  EXPECT_EQ(p.transform(built({"k1"}), full).status, WASM_STATUS_OUTPUT_REJECTED);
  EXPECT_EQ(p.circuit(), WASM_CIRCUIT_HALF_OPEN);
  ASSERT_TRUE(succeeded(p.start()));
  EXPECT_EQ(p.circuit(), WASM_CIRCUIT_HALF_OPEN) << "it has not been closed or opened";
  ASSERT_TRUE(succeeded(finish(p.engine.stop())));
  EXPECT_EQ(p.circuit(), WASM_CIRCUIT_HALF_OPEN) << "nor by a stop";
  ASSERT_TRUE(succeeded(p.start()));
  EXPECT_TRUE(succeeded(p.transform(built({"k1", "k1", "k1"}), p.out)));
  EXPECT_EQ(p.circuit(), WASM_CIRCUIT_CLOSED);
}

TEST(HalfOpenWithoutATimer, ClosesBeforeAFailureBehindEnoughRecords) {
  opened p;
  ASSERT_TRUE(succeeded(p.start()));
  const auto end = p.transform(built({"k1", "k1", "k1", "u1"}), p.out);
  EXPECT_EQ(end.status, WASM_STATUS_POLICY_THRESHOLD) << "no record may be lost";
  EXPECT_THAT(end.message(), testing::Not(HasSubstr("half-open")));
  EXPECT_EQ(p.stats().stops, 2U);
  EXPECT_EQ(p.circuit(), WASM_CIRCUIT_OPEN);
}

}  // namespace
