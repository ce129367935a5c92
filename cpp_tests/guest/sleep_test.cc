// SPDX-License-Identifier: Apache-2.0
//
// Guests that sleep, wait for descriptors, or look at the clock until time has passed: `poll_oneoff` as the `poll` of
// POSIX, in which nobody waits.
#include "support/bench.hh"

#include <gmock/gmock.h>

#include <cstring>

using namespace testing_support;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

namespace {

constexpr std::uint64_t second = 1'000'000'000;
constexpr std::uint64_t record_time = 1'700'000'000 * second;
constexpr std::uint32_t realtime = 0;
constexpr std::uint32_t monotonic = 1;
constexpr int success = 0;
constexpr int badf = 8;
constexpr int inval = 28;

template <typename T>
void put(std::string& to, std::size_t at, T value) {
  std::memcpy(to.data() + at, &value, sizeof value);
}

template <typename T>
T get(std::string_view from, std::size_t at) {
  T value;
  std::memcpy(&value, from.data() + at, sizeof value);
  return value;
}

/// WASI's subscription to a clock.
std::string clock(std::uint64_t name, std::uint32_t id, std::uint64_t timeout, bool absolute = false) {
  std::string s(48, '\0');
  put(s, 0, name);
  put(s, 16, id);
  put(s, 24, timeout);
  put(s, 40, static_cast<std::uint16_t>(absolute));
  return s;
}

/// WASI's subscription to a descriptor.
std::string descriptor(std::uint64_t name, bool write, std::uint32_t number) {
  std::string s(48, '\0');
  put(s, 0, name);
  put(s, 8, static_cast<std::uint8_t>(write ? 2 : 1));
  put(s, 16, number);
  return s;
}

struct event {
  std::uint64_t name;
  std::uint16_t error;
  std::uint8_t type;
  std::uint64_t bytes;
  std::uint16_t flags;
  bool operator==(const event&) const = default;
};

std::ostream& operator<<(std::ostream& to, const event& e) {
  return to << "event " << e.name << " errno " << e.error << " type " << int{e.type} << " " << e.bytes
            << " bytes, flags " << e.flags;
}

/// What wat/t_poll.wat writes.
struct waited {
  int error;
  std::array<int, 3> clock_errors;
  std::uint64_t before, after, wall;
  std::vector<event> events;

  explicit waited(std::string_view value) {
    if (value.size() != 160) {
      throw std::runtime_error("not 160 bytes");
    }
    error = get<std::uint8_t>(value, 0);
    clock_errors = {get<std::uint8_t>(value, 1), get<std::uint8_t>(value, 2), get<std::uint8_t>(value, 3)};
    before = get<std::uint64_t>(value, 8);
    after = get<std::uint64_t>(value, 16);
    wall = get<std::uint64_t>(value, 24);
    for (auto n = get<std::uint32_t>(value, 4); n > 0; --n) {
      const auto e = value.substr(32 + 32 * events.size(), 32);
      events.push_back({get<std::uint64_t>(e, 0), get<std::uint16_t>(e, 8), get<std::uint8_t>(e, 10),
                        get<std::uint64_t>(e, 16), get<std::uint16_t>(e, 24)});
    }
  }
  [[nodiscard]] std::uint64_t passed() const { return after - before; }
};

/// In a replay each look at the clock takes a microsecond: poll_oneoff looks once, and the guest once behind it.
constexpr std::uint64_t looks = 2'000;

class Sleep : public testing::Test {
 protected:
  static wasm_runtime_config replayed() {
    wasm_runtime_config config{};
    config.replay_seed = 1;
    return config;
  }
  waited wait(const std::string& subscriptions) {
    if (b.state() == WASM_ENGINE_STATE_STOPPED) {
      EXPECT_TRUE(succeeded(b.start()));
    }
    recorder out;
    EXPECT_TRUE(succeeded(b.transform(kafka::values({subscriptions}), out)));
    return waited(out.values().at(0));
  }
  bench b{"t_poll", replayed()};
};

TEST_F(Sleep, AdvancesTheMonotonicClockByWhatWasAskedAndLeavesTheWallClock) {
  for (const auto id : {realtime, monotonic}) {
    for (const auto time : {std::uint64_t{0}, std::uint64_t{1}, second, second * 86'400 * 36'500}) {
      const auto w = wait(clock(7, id, time));
      EXPECT_EQ(w.passed(), time + looks);
      EXPECT_EQ(w.wall, record_time);
      EXPECT_THAT(w.events, ElementsAre(event{7, success, 0, 0, 0}));
    }
  }
}

TEST_F(Sleep, UntilATimeAdvancesToThatTime) {
  const auto now = wait(clock(1, monotonic, 0)).after;
  const auto w = wait(clock(1, monotonic, now + 60 * second, true));
  EXPECT_EQ(w.after, now + 60 * second + looks / 2);
  EXPECT_THAT(w.events, SizeIs(1));
  EXPECT_EQ(wait(clock(1, realtime, record_time + 5 * second, true)).passed(), 5 * second + looks);
  // Times that have passed.
  for (const auto id : {realtime, monotonic}) {
    const auto past = wait(clock(3, id, 1, true));
    EXPECT_EQ(past.passed(), looks);
    EXPECT_THAT(past.events, ElementsAre(event{3, success, 0, 0, 0}));
  }
}

TEST_F(Sleep, EndsAtTheEarliestOfSeveralTimesAndOnlyThatIsReported) {
  const auto w = wait(clock(1, monotonic, 60 * second) + clock(2, monotonic, second) + clock(3, realtime, second) +
                      clock(4, realtime, 2 * second));
  EXPECT_EQ(w.passed(), second + looks);
  EXPECT_THAT(w.events, ElementsAre(event{2, success, 0, 0, 0}, event{3, success, 0, 0, 0}));
}

TEST_F(Sleep, DoesNotComeToPassWhileADescriptorIsReady) {
  const auto w = wait(clock(1, monotonic, 60 * second) + descriptor(2, false, 0) + descriptor(3, true, 1) +
                      clock(4, monotonic, 0));
  EXPECT_EQ(w.passed(), looks);
  EXPECT_THAT(w.events, ElementsAre(event{2, success, 1, 0, 1}, event{3, success, 2, 8'192, 0},
                                    event{4, success, 0, 0, 0}));
}

TEST_F(Sleep, OnDescriptorsThatAreNotOpenIsAnError) {
  const auto w =
      wait(descriptor(1, false, 1) + descriptor(2, true, 0) + descriptor(3, false, 3) + descriptor(4, true, 99));
  EXPECT_THAT(w.events, ElementsAre(event{1, badf, 1, 0, 0}, event{2, badf, 2, 0, 0}, event{3, badf, 1, 0, 0},
                                    event{4, badf, 2, 0, 0}));
}

TEST_F(Sleep, OnWhatNoHostKnowsIsAnErrorAndTakesNoTime) {
  auto unknown = clock(1, monotonic, second);
  put(unknown, 8, std::uint8_t{3});
  for (const auto& odd : {unknown, clock(1, 2, second), clock(1, 4'000'000'000, second)}) {
    const auto w = wait(clock(9, monotonic, second) + odd);
    EXPECT_EQ(w.error, inval);
    EXPECT_EQ(w.passed(), looks);
    EXPECT_THAT(w.events, IsEmpty());
  }
}

TEST_F(Sleep, ForeverStopsTheClockAtItsEnd) {
  const auto w = wait(clock(1, monotonic, UINT64_MAX) + clock(2, realtime, UINT64_MAX, true));
  EXPECT_EQ(w.after, std::uint64_t{INT64_MAX});
  EXPECT_EQ(wait(clock(1, monotonic, 1)).after, std::uint64_t{INT64_MAX});
}

TEST_F(Sleep, ClocksOfProcessorTimeAreRefusedAndOthersUnknown) {
  EXPECT_THAT(wait(clock(1, monotonic, 0)).clock_errors, ElementsAre(badf, inval, badf));
}

TEST_F(Sleep, LooksPassTimeEvenInAReplay) {
  EXPECT_EQ(wait("").passed(), 5'000'000U);
}

// The first hour would take an hour, and once took 4 s of the record's time.
TEST(SleepInRealTime, OfManyHoursIsNoTimeForTheLimit) {
  wasm_runtime_config config{};
  config.record_time_limit_ns = 100'000'000;
  bench b("t_poll", config);
  const auto out = b.run(std::vector<std::string>(1'000, clock(1, monotonic, 3'600 * second))).values();
  ASSERT_THAT(out, SizeIs(1'000));
  std::uint64_t last = 0;
  for (const auto& value : out) {
    const waited w(value);
    EXPECT_GE(w.passed(), 3'600 * second);
    EXPECT_LT(w.passed(), 3'601 * second);
    EXPECT_GE(w.before, last);
    last = w.after;
  }
}

TEST(SleepInRealTime, AGuestThatSpinsUntilTimeHasPassedGetsOn) {
  bench b("t_poll");
  const auto out = b.run({"", ""}).values();
  ASSERT_THAT(out, SizeIs(2));
  for (const auto& value : out) {
    EXPECT_GE(waited(value).passed(), 5'000'000U);
  }
}

}  // namespace
