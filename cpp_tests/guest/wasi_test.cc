// SPDX-License-Identifier: Apache-2.0
//
// WASI as a transform sees it: its clocks and random numbers, and nothing to open. Sleeps are in sleep_test.cc.
#include "support/bench.hh"

#include <gmock/gmock.h>

#include <chrono>
#include <cstring>
#include <set>
#include <thread>

using namespace testing_support;
using testing::ElementsAre;
using testing::SizeIs;

namespace {

// What wat/t_wasi.wat writes.
struct seen {
  std::uint64_t wall, resolution, first, second;
  std::string random;
  std::uint64_t wall_after_sleep;
  std::array<std::uint8_t, 8> errnos;

  explicit seen(const std::string& value) {
    if (value.size() != 64) {
      throw std::runtime_error("not 64 bytes");
    }
    const auto number = [&](std::size_t at) {
      std::uint64_t n = 0;
      std::memcpy(&n, value.data() + at, 8);
      return n;
    };
    wall = number(0);
    resolution = number(8);
    first = number(16);
    second = number(24);
    random = value.substr(32, 16);
    wall_after_sleep = number(48);
    std::memcpy(errnos.data(), value.data() + 56, 8);
  }
};

std::vector<seen> look(bench& b, const kafka::batch& batch) {
  recorder out;
  EXPECT_TRUE(succeeded(b.transform(batch, out)));
  std::vector<seen> all;
  for (const auto& v : out.values()) {
    all.emplace_back(v);
  }
  return all;
}

TEST(Wasi, TheWallClockIsTheTimeOfTheRecordAtHandAlsoAfterASleep) {
  bench b("t_wasi");
  ASSERT_TRUE(succeeded(b.start()));
  const auto all = look(b, kafka::values({"a", "b"}));
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_EQ(all[0].wall, 1'700'000'000'000'000'000U);
  EXPECT_EQ(all[1].wall, 1'700'000'000'001'000'000U);
  EXPECT_EQ(all[1].wall_after_sleep, all[1].wall);
  EXPECT_EQ(all[0].resolution, 1'000'000U);
}

TEST(Wasi, TheWallClockIsTheBrokersForAppendTime) {
  bench b("t_wasi");
  ASSERT_TRUE(succeeded(b.start()));
  auto batch = kafka::values({"a"});
  batch.attributes = kafka::append_time;
  batch.max_timestamp = 1'800'000'000'000;
  EXPECT_EQ(look(b, batch).at(0).wall, 1'800'000'000'000'000'000U);
}

TEST(Wasi, TimesBefore1970AreClampedInsteadOfWrapped) {
  bench b("t_wasi");
  ASSERT_TRUE(succeeded(b.start()));
  auto batch = kafka::values({"a"});
  batch.base_timestamp = -1;
  EXPECT_EQ(look(b, batch).at(0).wall, 0U);
}

// Records whose timestamps are in microseconds or nanoseconds: 64 bits of nanoseconds end in 2554.
TEST(Wasi, AWallClockBeyondItsRangeStopsAtItsEnd) {
  bench b("t_wasi");
  ASSERT_TRUE(succeeded(b.start()));
  const auto wall_at = [&](std::int64_t timestamp) {
    auto batch = kafka::values({"a"});
    batch.base_timestamp = timestamp;
    return look(b, batch).at(0).wall;
  };
  EXPECT_EQ(wall_at(18'446'744'073'709), 18'446'744'073'709'000'000U);
  for (const auto timestamp : {18'446'744'073'710, 1'700'000'000'000'000, 1'700'000'000'000'000'000, INT64_MAX}) {
    EXPECT_EQ(wall_at(timestamp), UINT64_MAX) << timestamp;
  }
}

constexpr std::uint64_t hour = 3'600'000'000'000;

// t_wasi sleeps for an hour per record.
TEST(Wasi, TheMonotonicClockIsTheTimeThatTheEngineRanAndThatTheGuestSlept) {
  bench b("t_wasi");
  ASSERT_TRUE(succeeded(b.start()));
  std::uint64_t last = 0;
  std::uint64_t outside = 0;
  for (int n = 0; n < 3; ++n) {
    const auto begun = std::chrono::steady_clock::now();
    const auto all = look(b, kafka::values({"a", "b"}));
    const std::uint64_t at_most = (std::chrono::steady_clock::now() - begun).count() * 1'001 / 1'000;
    ASSERT_THAT(all, SizeIs(2));
    EXPECT_GT(all[0].first, 0U) << "Go takes that for an error";
    EXPECT_GE(all[0].second, all[0].first);
    EXPECT_GE(all[1].first, all[0].second + hour);
    EXPECT_LE(all[1].second - all[0].first - hour, at_most);
    if (last != 0) {
      EXPECT_GE(all[0].first, last + hour);
      EXPECT_LE(all[0].first - last - hour, outside + at_most - 30'000'000) << "time between batches does not count";
    }
    last = all[1].second;
    const auto idle = std::chrono::steady_clock::now();
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    outside = (std::chrono::steady_clock::now() - idle).count() + at_most;
  }
}

wasm_runtime_config replayed(std::uint64_t seed) {
  wasm_runtime_config config{};
  config.replay_seed = seed;
  return config;
}

TEST(Wasi, RandomNumbersDifferInEachEngineAndAfterEachStart) {
  const auto runtime = wasmengine::runtime::create().value();
  const auto factory = compile(runtime, "t_wasi");
  std::set<std::string> seen_so_far;
  for (int engines = 0; engines < 2; ++engines) {
    auto engine = wasmengine::engine::create(factory).value();
    for (int starts = 0; starts < 2; ++starts) {
      ASSERT_TRUE(succeeded(finish(engine.start())));
      recorder out;
      const auto batch = built({"a", "b"});
      ASSERT_TRUE(succeeded(finish(engine.transform(batch, out))));
      for (const auto& value : out.values()) {
        EXPECT_TRUE(seen_so_far.insert(seen(value).random).second);
      }
      ASSERT_TRUE(succeeded(finish(engine.stop())));
    }
  }
  EXPECT_THAT(seen_so_far, SizeIs(8));
}

TEST(Wasi, RandomNumbersDifferAfterARestartWithinABatch) {
  bench b("t_wasi");
  wasmengine::policy skip;
  skip.on_error = WASM_ON_ERROR_SKIP;
  b.engine.set_policy(skip).value();
  ASSERT_TRUE(succeeded(b.start()));
  const auto all = look(b, kafka::values({"a", "dies", "b"}));
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_NE(all[0].random, all[1].random);
}

TEST(Wasi, GuestsThatAreReplayedSeeTheSameInEachEngineAndAfterEachStart) {
  bench a("t_wasi", replayed(7));
  bench b("t_wasi", replayed(7));
  bench other("t_wasi", replayed(8));
  ASSERT_TRUE(succeeded(a.start()));
  ASSERT_TRUE(succeeded(b.start()));
  ASSERT_TRUE(succeeded(other.start()));
  const auto batch = kafka::values({"a", "b"});
  const auto from_a = look(a, batch);
  const auto from_b = look(b, batch);
  ASSERT_TRUE(succeeded(a.stop()));
  ASSERT_TRUE(succeeded(a.start()));
  const auto again = look(a, batch);
  for (std::size_t i = 0; i < 2; ++i) {
    for (const auto& same : {from_b.at(i), again.at(i)}) {
      EXPECT_EQ(from_a.at(i).random, same.random);
      EXPECT_EQ(from_a.at(i).first, same.first);
      EXPECT_EQ(from_a.at(i).second, same.second);
    }
    EXPECT_EQ(from_a.at(i).second - from_a.at(i).first, 1'000U);
  }
  EXPECT_NE(from_a.at(0).random, from_a.at(1).random);
  EXPECT_NE(from_a.at(0).random, std::string(16, '\0'));
  EXPECT_NE(from_a.at(0).random, look(other, batch).at(0).random);
  const auto next = look(b, batch);
  EXPECT_EQ(next.at(0).first - from_b.at(1).second, hour + 2'000 + 2 * 1'000U) << "two records, and two looks";
}

TEST(Wasi, FilesDirectoriesAndSocketsFailWithTheirErrnos) {
  bench b("t_wasi");
  ASSERT_TRUE(succeeded(b.start()));
  const auto errnos = look(b, kafka::values({"a"})).at(0).errnos;
  constexpr int success = 0;
  constexpr int badf = 8;
  EXPECT_EQ(errnos[0], success) << "fd_read from stdin: end of file";
  EXPECT_EQ(errnos[1], badf) << "fd_prestat_get: no directory is open";
  EXPECT_EQ(errnos[2], badf) << "path_open";
  EXPECT_EQ(errnos[3], badf) << "fd_close";
  EXPECT_THAT(errnos[4], testing::AnyOf(70, 29)) << "fd_seek on stdout: ESPIPE or EINVAL's kin, not success";
  EXPECT_NE(errnos[5], success) << "sock_accept";
  EXPECT_EQ(errnos[6], success) << "poll_oneoff: a sleep returns at once";
  EXPECT_EQ(errnos[7], badf) << "fd_write to what is not open";
}

// What a newer language may pass. Each call of t_wasi_flags, with all bits set and with none.
TEST(Wasi, UnknownFlagsAndNumbersAreAnErrnoAndNoTrap) {
  constexpr int inval = 28;
  bench b("t_wasi_flags");
  const auto out = b.run({"a"}).values();
  ASSERT_THAT(out, SizeIs(1));
  std::vector<int> errnos(out[0].begin(), out[0].end());
  ASSERT_THAT(errnos, SizeIs(38));
  EXPECT_THAT(std::vector(errnos.begin(), errnos.begin() + 19), testing::Each(inval));
  constexpr int badf = 8;
  constexpr int notsock = 57;
  constexpr int notsup = 58;
  constexpr int spipe = 70;
  EXPECT_THAT(std::vector(errnos.begin() + 19, errnos.end()),
              ElementsAre(badf, badf, badf, badf, spipe, badf, badf, badf, badf, notsup, notsock, notsock, notsock, notsock,
                          0, 0, 0, 0, 0))
      << "in the order of the imports; the last are the clocks and three sleeps";
}

TEST(Wasi, ArgumentsAndEnvironmentSayWhatTheHostSaid) {
  auto transform = with_topics({"first", "second"});
  transform.name = "called this";
  transform.input_topic = "source";
  transform.env = {{"COLOUR", "red=blue"}, {"EMPTY", ""}};
  bench b("t_environment", {}, transform);
  const auto out = b.run({"x"}).values();
  ASSERT_THAT(out, SizeIs(2));
  using std::string_literals::operator""s;
  EXPECT_EQ(out[0], "called this\0"s);
  EXPECT_EQ(out[1],
            "COLOUR=red=blue\0EMPTY=\0REDPANDA_INPUT_TOPIC=source\0REDPANDA_OUTPUT_TOPIC_0=first\0REDPANDA_OUTPUT_TOPIC_1=second\0"s);
}

}  // namespace
