// SPDX-License-Identifier: Apache-2.0
//
// Files and lines of the guest's source in the frames of errors.
#include "support/cache.hh"

#include <gmock/gmock.h>

#include <fstream>
#include <random>

using namespace cache_tests;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

namespace {

const wasm_runtime_config with_lines = [] {
  wasm_runtime_config config{};
  config.debug_info = 1;
  return config;
}();

/// The line of guests/debug/lines.c that is marked so.
std::uint32_t line_of(std::string_view mark) {
  const auto source = std::filesystem::path(__FILE__).parent_path() / "../../guests/debug/lines.c";
  std::ifstream file(source);
  const auto wanted = "/* here: " + std::string(mark) + " */";
  std::uint32_t number = 1;
  for (std::string line; std::getline(file, line); ++number) {
    if (line.find(wanted) != std::string::npos) {
      return number;
    }
  }
  throw std::runtime_error(source.string() + " has no " + wanted);
}

std::string at(std::string_view function, std::string_view mark) {
  return std::string(function) + " debug/lines.c:" + std::to_string(line_of(mark));
}

/// Frames as `FUNCTION FILE:LINE`. Without the loop that calls the transform.
std::vector<std::string> places(const wasmengine::error& why) {
  std::vector<std::string> out;
  for (const auto& f : why.backtrace()) {
    if (f.function != "tg_run") {
      out.push_back(std::string(f.function) + " " + std::string(f.file) + ":" + std::to_string(f.line));
    }
  }
  return out;
}

outcome failure(wasmengine::engine& engine, const std::string& record) {
  auto end = finish(engine.start());
  EXPECT_EQ(end.status, WASM_STATUS_OK) << end.message();
  recorder out;
  const auto batch = kafka::values({"good", record}).encode();
  end = finish(engine.transform(batch, out));
  EXPECT_TRUE(end.why) << record;
  EXPECT_EQ(out.values(), std::vector<std::string>{"good"});
  return end;
}

wasmengine::engine engine_of(const wasmengine::runtime& rt, const kafka::bytes& guest) {
  auto compiling = rt.compile(guest, with_topics({"out"})).value();
  wasmengine::drive(compiling).value();
  return wasmengine::engine::create(compiling.take().value()).value();
}

outcome failure(const kafka::bytes& guest, const std::string& record, const wasm_runtime_config& config = with_lines) {
  const auto rt = wasmengine::runtime::create(config).value();
  auto engine = engine_of(rt, guest);
  return failure(engine, record);
}

// ---- Sections ----

struct section {
  std::string name;  ///< Of a custom section.
  kafka::bytes bytes;
  std::size_t content;  ///< Where its content is in the bytes. Without its name.
};

std::size_t leb(const kafka::bytes& bytes, std::size_t& at) {
  std::size_t value = 0;
  for (int shift = 0;; shift += 7) {
    const std::size_t byte = bytes.at(at++);
    value |= (byte & 0x7F) << shift;
    if (byte < 0x80) {
      return value;
    }
  }
}

std::vector<section> sections(const kafka::bytes& module) {
  std::vector<section> out;
  for (std::size_t next = 8; next < module.size();) {
    const auto start = next;
    const bool custom = module[next++] == 0;
    const auto size = leb(module, next);
    const auto end = next + size;
    std::string name;
    if (custom) {
      const auto length = leb(module, next);
      name.assign(module.begin() + next, module.begin() + next + length);
      next += length;
    }
    out.push_back({name, {module.begin() + start, module.begin() + end}, next - start});
    next = end;
  }
  return out;
}

kafka::bytes joined(const std::vector<section>& all) {
  kafka::bytes out{0, 'a', 's', 'm', 1, 0, 0, 0};
  for (const auto& s : all) {
    out.insert(out.end(), s.bytes.begin(), s.bytes.end());
  }
  return out;
}

kafka::bytes stripped(const kafka::bytes& module) {
  auto all = sections(module);
  std::erase_if(all, [](const section& s) { return s.name.starts_with(".debug_"); });
  return joined(all);
}

kafka::bytes artifact_of(const kafka::bytes& module, const wasm_runtime_config& config) {
  const auto rt = wasmengine::runtime::create(config).value();
  auto making = rt.precompile(module).value();
  wasmengine::drive(making).value();
  const auto made = making.take().value();
  const auto bytes = made.bytes();
  return {bytes.begin(), bytes.end()};
}

// ---- Tests ----

class Lines : public testing::TestWithParam<const char*> {};

TEST_P(Lines, OfAnInlinedFunctionAreTheInnermostOnes) {
  const auto end = failure(module(GetParam()), "divide");
  EXPECT_EQ(end.why->trap(), WASM_TRAP_DIVISION_BY_ZERO);
  EXPECT_THAT(places(*end.why), ElementsAre(at("middle", "inlined"), at("on_record", "middle"), at("_start", "start")));
  EXPECT_EQ(end.why->backtrace().at(0).column, 16U) << "of the operator";
  EXPECT_THAT(end.message(), HasSubstr("\n  at middle (debug/lines.c:" + std::to_string(line_of("inlined")) + ")\n"));
}

TEST_P(Lines, AreThoseOfTheCallerWhereTheLibraryDividesAnOperation) {
  const auto end = failure(module(GetParam()), "fill");
  EXPECT_EQ(end.why->trap(), WASM_TRAP_MEMORY_OUT_OF_BOUNDS);
  EXPECT_THAT(places(*end.why), ElementsAre(at("fill", "fill"), at("on_record", "filled"), at("_start", "start")));
}

TEST_P(Lines, OfAHostCallAreTheGuests) {
  const auto end = failure(module(GetParam()), "call");
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_BAD_CALL);
  EXPECT_THAT(places(*end.why), ElementsAre("redpanda_transform.write_record :0", at("call", "call"),
                                            at("on_record", "called"), at("_start", "start")));
}

TEST_P(Lines, OfAStackOverflowAreTheFirstOnesOfTheFunction) {
  const auto end = failure(module(GetParam()), "recurse");
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_STACK_OVERFLOW);
  EXPECT_EQ(places(*end.why).at(0), at("recurse", "recurse"));
}

TEST_P(Lines, AreThereInEachMemoryModeAndWithCoreDumps) {
  for (const auto mode : {WASM_MEMORY_MODE_ON_DEMAND, WASM_MEMORY_MODE_PROCESS_POOL}) {
    for (const auto traps : {WASM_TRAP_MODE_SIGNALS, WASM_TRAP_MODE_CHECKS}) {
      auto config = with_lines;
      config.memory_mode = mode;
      config.trap_mode = traps;
      config.pool_engines = 2;
      config.core_dumps = 1;
      const auto end = failure(module(GetParam()), "divide", config);
      EXPECT_EQ(places(*end.why).at(0), at("middle", "inlined"));
      EXPECT_TRUE(end.why->coredump());
    }
  }
}

TEST_P(Lines, AreThereOnlyIfTheRuntimeWantsThem) {
  const auto end = failure(module(GetParam()), "divide", {});
  EXPECT_THAT(places(*end.why), ElementsAre("middle :0", "on_record :0", "_start :0"));
  EXPECT_THAT(end.message(), Not(HasSubstr("lines.c")));
}

TEST_P(Lines, ComeFromTheCodeCacheToo) {
  scratch dir;
  // A runtime that does not want them has an entry of its own.
  const std::pair<std::uint32_t, counts> turns[] = {
      {0, {0, 1, 1, 0, 0}}, {1, {0, 1, 1, 0, 0}}, {1, {1, 0, 0, 0, 0}}, {0, {1, 0, 0, 0, 0}}};
  for (const auto& [wanted, expected] : turns) {
    wasm_runtime_config config{};
    config.debug_info = wanted;
    const auto rt = wasmengine::runtime::create(config).value();
    rt.set_code_cache({dir.cache.string()}).value();
    auto engine = engine_of(rt, module(GetParam()));
    EXPECT_EQ(of(wasmengine::runtime_metrics(rt).value()), expected);
    EXPECT_EQ(places(*failure(engine, "divide").why).at(0), wanted != 0 ? at("middle", "inlined") : "middle :0");
  }
}

TEST_P(Lines, ComeWithArtifactsIfTheRuntimeThatLoadsThemWantsThem) {
  const auto bytes = artifact_of(module(GetParam()), with_lines);
  for (const std::uint32_t wanted : {0, 1}) {
    wasm_runtime_config config{};
    config.debug_info = wanted;
    const auto rt = wasmengine::runtime::create(config).value();
    auto loading = rt.load(bytes, with_topics({"out"})).value();
    wasmengine::drive(loading).value();
    auto engine = wasmengine::engine::create(loading.take().value()).value();
    EXPECT_EQ(places(*failure(engine, "divide").why).at(0), wanted != 0 ? at("middle", "inlined") : "middle :0");
  }
}

TEST_P(Lines, OfAModuleWithoutDebugInformationChangeNothing) {
  const auto whole = module(GetParam());
  const auto guest = stripped(whole);
  ASSERT_LT(guest.size(), whole.size());
  const auto plain = artifact_of(guest, {});
  EXPECT_EQ(artifact_of(guest, with_lines), plain);
  // Nor does debug information that nobody wants make the code larger.
  EXPECT_EQ(artifact_of(whole, {}).size(), plain.size());
  EXPECT_GT(artifact_of(whole, with_lines).size(), plain.size());
  EXPECT_THAT(places(*failure(guest, "divide").why), ElementsAre("middle :0", "on_record :0", "_start :0"));
}

TEST_P(Lines, ThatAreDamagedAreMissingOrWrongAndNothingElse) {
  const auto whole = sections(module(GetParam()));
  std::mt19937 random(20261129);
  const auto rt = wasmengine::runtime::create(with_lines).value();
  for (int round = 0; round < 30; ++round) {
    auto damaged = whole;
    for (auto& s : damaged) {
      if (!s.name.starts_with(".debug_line")) {
        continue;
      }
      for (int i = 0; i < 1 + round / 3; ++i) {
        s.bytes[s.content + random() % (s.bytes.size() - s.content)] = static_cast<std::uint8_t>(random());
      }
    }
    auto engine = engine_of(rt, joined(damaged));
    const auto end = failure(engine, "divide");
    EXPECT_EQ(end.why->trap(), WASM_TRAP_DIVISION_BY_ZERO);
    EXPECT_EQ(places(*end.why).size(), 3U);
    EXPECT_THAT(end.message(), HasSubstr("integer divide by zero"));
  }
}

INSTANTIATE_TEST_SUITE_P(Dwarf, Lines, testing::Values("debug_lines_4", "debug_lines_5"),
                         [](const auto& chosen) { return std::string(chosen.param).substr(6); });

}  // namespace
