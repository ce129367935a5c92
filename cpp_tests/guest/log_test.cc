// SPDX-License-Identifier: Apache-2.0
//
// What guests print.
#include "support/bench.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::ElementsAre;
using testing::IsEmpty;

namespace {

TEST(Log, PutsALineTogetherFromSeveralWritesOnTwoStreamsAtATime) {
  bench b("c_logger");
  EXPECT_THAT(b.run({"first", "second"}).values(), ElementsAre("first", "second"));
  EXPECT_THAT(b.log->texts(WASM_LOG_SEVERITY_INFO), ElementsAre("record 100: first", "record 101: second"));
  EXPECT_THAT(b.log->texts(WASM_LOG_SEVERITY_WARN), ElementsAre("logger saw 100", "logger saw 101"));
  for (const auto& line : b.log->all()) {
    EXPECT_EQ(line.transform, "tested");
    EXPECT_FALSE(line.continues);
  }
}

TEST(Log, SplitsWhatAGuestPrintsWithNewlinesInIt) {
  bench b("c_logger");
  b.run({"a\n\nb"});
  EXPECT_THAT(b.log->texts(WASM_LOG_SEVERITY_INFO), ElementsAre("record 100: a", "", "b"));
}

TEST(Log, TenMegabytesWithoutANewlineComeInBoundedPieces) {
  bench b("odd_log_flood");
  EXPECT_THAT(b.run({"flood"}).values(), ElementsAre("flood"));
  EXPECT_TRUE(succeeded(b.stop()));
  std::size_t bytes = 0;
  const auto all = b.log->all();
  ASSERT_FALSE(all.empty());
  for (const auto& line : all) {
    EXPECT_LE(line.text.size(), 8U << 10);
    bytes += line.text.size();
  }
  EXPECT_EQ(bytes, 10U << 20);
  EXPECT_TRUE(all.front().continues);
  EXPECT_FALSE(all.back().continues);
}

TEST(Log, LinesAreCutAtTheConfiguredLength) {
  wasm_runtime_config config{};
  config.max_log_line = 64;
  bench b("c_logger", config);
  b.run({std::string(100, 'x')});  // after "record 100: "
  auto lines = b.log->all();
  std::erase_if(lines, [](const auto& line) { return line.severity != WASM_LOG_SEVERITY_INFO; });
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0].text, "record 100: " + std::string(52, 'x'));
  EXPECT_TRUE(lines[0].continues);
  EXPECT_EQ(lines[1].text, std::string(48, 'x'));
  EXPECT_FALSE(lines[1].continues);
}

TEST(Log, BytesThatAreNotUtf8AreEscaped) {
  bench b("odd_log_flood");
  b.run({"utf8"});
  EXPECT_THAT(b.log->texts(WASM_LOG_SEVERITY_INFO), ElementsAre("not \\xff\\xfe UTF-8 \\xc3( nor \\xed\\xa0\\x80"));
}

TEST(Log, LinesThatAreEscapedStayBoundedToo) {
  wasm_runtime_config config{};
  config.max_log_line = 64;
  bench b("c_logger", config);
  b.run({std::string(1'000, '\xff')});
  for (const auto& line : b.log->all()) {
    EXPECT_LE(line.text.size(), 4 * 64U) << "each bad byte becomes four characters";
  }
}

TEST(Log, CharactersAreNotCutInTwo) {
  wasm_runtime_config config{};
  config.max_log_line = 64;
  for (std::size_t shift = 0; shift < 4; ++shift) {
    bench b("c_logger", config);
    std::string text(shift, '.');
    for (int i = 0; i < 50; ++i) {
      text += "\xf0\x9f\x90\xbf";  // four bytes
    }
    b.run({text});
    std::string joined;
    for (const auto& line : b.log->texts(WASM_LOG_SEVERITY_INFO)) {
      joined += line;
    }
    EXPECT_EQ(joined, "record 100: " + text);
  }
}

TEST(Log, ALineWithoutItsNewlineComesOutWhenTheGuestStops) {
  bench b("odd_log_flood");
  b.run({"open"});
  EXPECT_THAT(b.log->all(), IsEmpty());
  EXPECT_TRUE(succeeded(b.stop()));
  EXPECT_THAT(b.log->texts(WASM_LOG_SEVERITY_WARN), ElementsAre("no newline here"));
}

TEST(Log, WithoutALogFunctionLinesAreThrownAway) {
  const auto runtime = wasmengine::runtime::create().value();
  auto engine = wasmengine::engine::create(compile(runtime, "odd_log_flood")).value();
  ASSERT_TRUE(succeeded(finish(engine.start())));
  recorder out;
  const auto batch = built({"flood", "utf8", "open"});
  EXPECT_TRUE(succeeded(finish(engine.transform(batch, out))));
}

TEST(Log, AFunctionThatThrowsEndsNothing) {
  const auto runtime =
      wasmengine::runtime::create({}, [](const wasmengine::log_line&) { throw std::runtime_error("log"); }).value();
  auto engine = wasmengine::engine::create(compile(runtime, "c_logger")).value();
  ASSERT_TRUE(succeeded(finish(engine.start())));
  recorder out;
  const auto batch = built({"a"});
  EXPECT_TRUE(succeeded(finish(engine.transform(batch, out))));
  EXPECT_THAT(out.values(), ElementsAre("a"));
}

}  // namespace
