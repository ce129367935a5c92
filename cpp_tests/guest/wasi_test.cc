// SPDX-License-Identifier: Apache-2.0
//
// WASI as a transform sees it: deterministic, and with nothing to open.
#include "support/bench.hh"

#include <gmock/gmock.h>

#include <cstring>

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

TEST(Wasi, AWallClockBeyondItsRangeIsNoCrash) {
  bench b("t_wasi");
  ASSERT_TRUE(succeeded(b.start()));
  auto batch = kafka::values({"a"});
  batch.base_timestamp = INT64_MAX;
  EXPECT_THAT(look(b, batch), SizeIs(1));
}

TEST(Wasi, TheMonotonicClockAdvancesAMillisecondPerLook) {
  bench b("t_wasi");
  ASSERT_TRUE(succeeded(b.start()));
  const auto all = look(b, kafka::values({"a", "b"}));
  EXPECT_EQ(all.at(0).second - all.at(0).first, 1'000'000U);
  EXPECT_EQ(all.at(1).first - all.at(0).second, 1'000'000U);
}

TEST(Wasi, ClocksAndRandomNumbersAreTheSameInEachEngineAndAfterEachStart) {
  bench a("t_wasi");
  bench b("t_wasi");
  ASSERT_TRUE(succeeded(a.start()));
  ASSERT_TRUE(succeeded(b.start()));
  const auto batch = kafka::values({"a", "b"});
  const auto from_a = look(a, batch);
  const auto from_b = look(b, batch);
  ASSERT_TRUE(succeeded(a.stop()));
  ASSERT_TRUE(succeeded(a.start()));
  const auto again = look(a, batch);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(from_a.at(i).random, from_b.at(i).random);
    EXPECT_EQ(from_a.at(i).random, again.at(i).random);
    EXPECT_EQ(from_a.at(i).first, again.at(i).first);
  }
  EXPECT_NE(from_a.at(0).random, from_a.at(1).random);
  EXPECT_NE(from_a.at(0).random, std::string(16, '\0'));
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
