// SPDX-License-Identifier: Apache-2.0
//
// The limit of what guests write to the log, and whose a line is.
#include "support/bench.hh"

#include <wasm_engine/metrics.hh>

#include <gmock/gmock.h>

#include <algorithm>
#include <limits>

namespace we = wasmengine;
using namespace testing_support;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;

namespace {

/// Hardly more than a burst: one line a second.
wasm_runtime_config limited(std::uint32_t burst) {
  wasm_runtime_config config{};
  config.log_lines_per_second = 1;
  config.log_burst_lines = burst;
  return config;
}

std::uint64_t suppressed(const we::runtime& runtime) {
  const auto snapshot = we::metrics::create(runtime).value();
  return snapshot[0]->log_suppressed_lines;
}

std::size_t from(const log_lines& log, wasm_log_source source) {
  const auto all = log.all();
  return static_cast<std::size_t>(
      std::count_if(all.begin(), all.end(), [&](const auto& line) { return line.source == source; }));
}

/// The sum of what the library's lines tell.
std::uint64_t told(const log_lines& log) {
  std::uint64_t sum = 0;
  for (const auto& line : log.all()) {
    if (line.source == WASM_LOG_SOURCE_LIBRARY) {
      auto number = line.text.substr(0, line.text.find(' '));
      std::erase(number, ',');
      sum += std::stoull(number);
    }
  }
  return sum;
}

TEST(LogLimit, ABurstPassesAndWhatIsSuppressedIsCounted) {
  bench b("c_logger", limited(10));
  b.run(std::vector<std::string>(1'000, "x"));
  const auto passed = from(*b.log, WASM_LOG_SOURCE_GUEST);
  EXPECT_GE(passed, 10U);
  EXPECT_LT(passed, 1'000U);
  EXPECT_EQ(passed + suppressed(b.runtime), 2'000U) << "two lines for each record";
  EXPECT_EQ(b.log->all().front().text, "logger saw 100") << "the first ones pass";
}

TEST(LogLimit, OneLineTellsHowManyThereWereWhenLinesFlowAgain) {
  wasm_runtime_config config{};
  config.log_lines_per_second = 1'000;
  config.log_burst_lines = 1;
  bench b("c_logger", config);
  // Suppresses some, and goes on until one passes again.
  const auto begun = std::chrono::steady_clock::now();
  while (from(*b.log, WASM_LOG_SOURCE_LIBRARY) == 0) {
    b.run(std::vector<std::string>(100, "x"));
    ASSERT_LT(std::chrono::steady_clock::now() - begun, patience);
  }
  const auto all = b.log->all();
  const auto at =
      std::find_if(all.begin(), all.end(), [](const auto& l) { return l.source == WASM_LOG_SOURCE_LIBRARY; });
  EXPECT_THAT(at->text, MatchesRegex("[0-9,]+ lines? of transform \"tested\" w(as|ere) suppressed: .*"));
  EXPECT_EQ(at->severity, WASM_LOG_SEVERITY_WARN);
  ASSERT_NE(at + 1, all.end());
  EXPECT_EQ((at + 1)->source, WASM_LOG_SOURCE_GUEST) << "the line that passed comes behind";
}

TEST(LogLimit, NothingThatWasSuppressedStaysUntold) {
  bench b("c_logger", limited(1));
  b.run(std::vector<std::string>(700, "x"));
  const auto count = suppressed(b.runtime);
  EXPECT_GT(count, 0U);
  ASSERT_TRUE(succeeded(b.stop()));
  b.engine = {};
  EXPECT_EQ(told(*b.log), count) << "at the latest when the last engine is released";
  EXPECT_EQ(from(*b.log, WASM_LOG_SOURCE_GUEST) + count, 1'400U);
}

TEST(LogLimit, NumbersAreGroupedForReaders) {
  wasm_runtime_config config = limited(1);
  bench b("c_logger", config);
  b.run(std::vector<std::string>(2'000, "x"));
  b.engine = {};
  const auto all = b.log->all();
  EXPECT_THAT(all.back().text, MatchesRegex("[0-9],[0-9][0-9][0-9] lines of transform \"tested\" were suppressed: .*"));
}

TEST(LogLimit, EnginesOfOneTransformShareIt) {
  bench b("c_logger", limited(20));
  auto second = we::engine::create(b.factory).value();
  ASSERT_TRUE(succeeded(finish(second.start())));
  b.run(std::vector<std::string>(500, "x"));
  const auto before = from(*b.log, WASM_LOG_SOURCE_GUEST);
  recorder out;
  const auto batch = built(std::vector<std::string>(500, "x"));
  ASSERT_TRUE(succeeded(finish(second.transform(batch, out))));
  EXPECT_EQ(from(*b.log, WASM_LOG_SOURCE_GUEST) + suppressed(b.runtime), 2'000U);
  const auto all = b.log->all();
  const auto others = std::count_if(all.begin(), all.end(), [&](const auto& l) { return l.engine == second.get(); });
  EXPECT_GE(before, 20U);
  EXPECT_LT(others, 500) << "no burst of its own";
}

TEST(LogLimit, TransformsHaveTheirOwn) {
  bench b("c_logger", limited(4));
  auto other = we::engine::create(compile(b.runtime, "c_logger", {"other", "in", {"out"}, {}})).value();
  b.run(std::vector<std::string>(100, "x"));
  ASSERT_TRUE(succeeded(finish(other.start())));
  recorder out;
  const auto batch = built({"x", "y"});
  ASSERT_TRUE(succeeded(finish(other.transform(batch, out))));
  const auto all = b.log->all();
  EXPECT_EQ(std::count_if(all.begin(), all.end(), [](const auto& l) { return l.transform == "other"; }), 4);
}

TEST(LogLimit, ThePartsOfALineCountAsLines) {
  wasm_runtime_config config = limited(10);
  bench b("odd_log_flood", config);
  b.run({"flood"});
  ASSERT_TRUE(succeeded(b.stop()));
  EXPECT_EQ(from(*b.log, WASM_LOG_SOURCE_GUEST) + suppressed(b.runtime), (10U << 20) / (8U << 10));
  EXPECT_GT(suppressed(b.runtime), 0U);
}

TEST(LogLimit, IsGenerousByDefaultAndCanBeLifted) {
  bench b("c_logger");
  b.run(std::vector<std::string>(2'500, "x"));
  EXPECT_EQ(from(*b.log, WASM_LOG_SOURCE_GUEST), 5'000U) << "the burst";
  EXPECT_EQ(suppressed(b.runtime), 0U);
  wasm_runtime_config config{};
  config.log_lines_per_second = std::numeric_limits<std::uint32_t>::max();
  bench all("c_logger", config);
  all.run(std::vector<std::string>(20'000, "x"));
  EXPECT_EQ(from(*all.log, WASM_LOG_SOURCE_GUEST), 40'000U);
}

TEST(LogLine, TellsTheEngineItsDataAndItsShard) {
  bench b("c_logger");
  int mine = 0;
  std::thread([&] {
    ASSERT_TRUE(we::prepare_thread(b.runtime, 0, 5));
    auto engine = we::engine::create(b.factory).value();
    ASSERT_TRUE(engine.set_user_data(&mine));
    const auto* const raw = engine.get();
    ASSERT_TRUE(succeeded(finish(engine.start())));
    recorder out;
    const auto batch = built({"x"});
    ASSERT_TRUE(succeeded(finish(engine.transform(batch, out))));
    const auto all = b.log->all();
    ASSERT_EQ(all.size(), 2U);
    for (const auto& line : all) {
      EXPECT_EQ(line.source, WASM_LOG_SOURCE_GUEST);
      EXPECT_EQ(line.engine, raw);
      EXPECT_EQ(line.user_data, &mine);
      EXPECT_EQ(line.shard, 5U);
    }
  }).join();
  b.run({"y"});
  EXPECT_EQ(b.log->all().back().engine, b.engine.get());
  EXPECT_EQ(b.log->all().back().shard, 0U);
}

TEST(LogLine, HasItsSize) {
  std::size_t size = 0;
  wasm_runtime_config config{};
  config.size = sizeof(config);
  config.log = {&size, nullptr, [](void* data, const wasm_log_line* line) {
                  *static_cast<std::size_t*>(data) = line->size;
                }};
  wasm_runtime* raw = nullptr;
  ASSERT_EQ(wasm_runtime_create(&config, &raw, nullptr), WASM_STATUS_OK);
  {
    we::runtime runtime;
    *runtime.out() = raw;
    auto engine = we::engine::create(compile(runtime, "c_logger")).value();
    ASSERT_TRUE(succeeded(finish(engine.start())));
    recorder out;
    const auto batch = built({"x"});
    ASSERT_TRUE(succeeded(finish(engine.transform(batch, out))));
  }
  EXPECT_EQ(size, sizeof(wasm_log_line));
}

}  // namespace
