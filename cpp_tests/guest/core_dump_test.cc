// SPDX-License-Identifier: Apache-2.0
//
// Core dumps of guests that failed: read here byte by byte, as the format's description has it.
#include "support/bench.hh"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>

using namespace testing_support;
using testing::Each;

namespace {

const wasm_runtime_config dumping = [] {
  wasm_runtime_config config{};
  config.core_dumps = 1;
  return config;
}();

std::uint32_t leb(kafka::reader& in) {
  std::uint32_t value = 0;
  for (int shift = 0;; shift += 7) {
    const std::uint32_t byte = in.take(1)[0];
    value |= (byte & 0x7F) << shift;
    if (byte < 0x80) {
      return value;
    }
  }
}

/// Sections by name; those without a name by their number.
std::map<std::string, kafka::bytes> sections(kafka::view dump) {
  kafka::reader in(dump);
  EXPECT_EQ(kafka::text(in.take(8)), std::string("\0asm\1\0\0\0", 8));
  std::map<std::string, kafka::bytes> found;
  while (!in.empty()) {
    const int id = in.take(1)[0];
    kafka::reader content(in.take(leb(in)));
    const auto name = id == 0 ? kafka::text(content.take(leb(content))) : std::to_string(id);
    found.emplace(name, kafka::bytes(content.rest().begin(), content.rest().end()));
  }
  return found;
}

/// Indices of the functions on the stack, innermost first.
std::vector<std::uint32_t> stack(kafka::view dump) {
  const auto all = sections(dump);
  EXPECT_EQ(all.count("corestack"), 1U);
  if (all.count("corestack") == 0) {
    return {};
  }
  kafka::reader in(all.at("corestack"));
  EXPECT_EQ(in.take(1)[0], 0);
  EXPECT_EQ(kafka::text(in.take(leb(in))), "main");
  std::vector<std::uint32_t> functions(leb(in));
  for (auto& function : functions) {
    EXPECT_EQ(in.take(1)[0], 0);
    EXPECT_EQ(leb(in), 0U) << "the instance";
    function = leb(in);
    EXPECT_EQ(leb(in), 0U) << "the place in the function";
    EXPECT_EQ(leb(in), 0U) << "locals";
    EXPECT_EQ(leb(in), 0U) << "operands";
  }
  EXPECT_TRUE(in.empty());
  return functions;
}

std::vector<std::uint32_t> indices(const wasmengine::error& e) {
  std::vector<std::uint32_t> functions;
  for (const auto& f : e.backtrace()) {
    functions.push_back(f.index);
  }
  return functions;
}

std::string all_of(const std::map<std::string, kafka::bytes>& found) {
  std::string names;
  for (const auto& [name, content] : found) {
    names += name + " ";
  }
  return names;
}

/// What guests/wat/traps.wat ends by, at a record that begins with `letter`.
struct end_case {
  const char* name;
  char letter;
};

void PrintTo(const end_case& c, std::ostream* out) { *out << c.name; }

class CoreDumpOfEveryEnd : public testing::TestWithParam<end_case> {};

TEST_P(CoreDumpOfEveryEnd, OfATransformHasADumpWithMemoryAndTheStackOfTheBacktrace) {
  auto config = dumping;
  config.record_time_limit_ns = 50'000'000;
  bench b("wat_traps", config);
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(kafka::values({"good", std::string(1, GetParam().letter) + " marks the spot"}), out);
  ASSERT_TRUE(end.why);
  const auto dump = end.why->coredump();
  ASSERT_TRUE(dump) << end.message();
  const auto found = sections(*dump);
  EXPECT_EQ(all_of(found), "11 5 6 core coreinstances coremodules corestack ");
  EXPECT_EQ(kafka::text(found.at("core")), std::string("\0\6tested", 8));
  EXPECT_NE(kafka::text(found.at("11")).find("marks the spot"), std::string::npos) << "the record, in memory";
  const auto frames = stack(*dump);
  const auto known = indices(*end.why);
  ASSERT_GE(frames.size(), known.size());
  EXPECT_TRUE(std::equal(known.begin(), known.end(), frames.begin()));
  EXPECT_TRUE(works(b));
}

INSTANTIATE_TEST_SUITE_P(
    CoreDump, CoreDumpOfEveryEnd,
    testing::Values(end_case{"Unreachable", 'u'}, end_case{"DivisionByZero", 'd'}, end_case{"MemoryOutOfBounds", 'o'},
                    end_case{"IndirectCallToNull", 'n'}, end_case{"BadSignature", 's'},
                    end_case{"TableOutOfBounds", 't'}, end_case{"StackOverflow", 'r'}, end_case{"Timeout", 'l'}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(CoreDump, OfADeepRecursionHasManyMoreFramesThanTheMessage) {
  bench b("wat_traps", dumping);
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(kafka::values({"r"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_STACK_OVERFLOW);
  EXPECT_EQ(indices(*end.why).size(), 20U);
  const auto frames = stack(end.why->coredump().value());
  ASSERT_EQ(frames.size(), 1000U);
  EXPECT_THAT(std::vector(frames.begin(), frames.begin() + 1000), Each(frames.front()));
}

TEST(CoreDump, OfAGuestOutOfMemoryHasTheMemoryThatItGot) {
  auto config = dumping;
  config.memory_limit = 8 << 20;
  bench b("rust_panic", config);
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(kafka::values({"a", "hog"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_MEMORY_LIMIT) << end.message();
  ASSERT_TRUE(end.why && end.why->coredump());
  const auto found = sections(*end.why->coredump());
  kafka::reader memories(found.at("5"));
  EXPECT_EQ(leb(memories), 1U);
  EXPECT_EQ(memories.take(1)[0] & 6, 0) << "of 32 bits, and not shared";
  const auto pages = leb(memories);
  EXPECT_GE(pages, 16U);
  EXPECT_LE(pages, 128U);
}

TEST(CoreDump, OfAStartThatTrapsIsThereToo) {
  for (const char* guest : {"wat_start_trap", "wat_start_section_trap", "t_exit_start"}) {
    bench b(guest, dumping);
    const auto end = b.start();
    ASSERT_TRUE(end.why) << guest;
    const auto dump = end.why->coredump();
    ASSERT_TRUE(dump) << guest;
    EXPECT_FALSE(stack(*dump).empty()) << guest;
  }
}

TEST(CoreDump, OfACallThatTheHostRefusesEndsAtTheImport) {
  bench b("odd_bad_pointer", dumping);
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(kafka::values({"p0"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_BAD_CALL);
  const auto known = indices(*end.why);
  ASSERT_FALSE(known.empty());
  EXPECT_EQ(stack(end.why->coredump().value()), known) << "without what the library added to the module";
}

TEST(CoreDump, OfAGuestThatCouldNotBeMadeHasNoStack) {
  bench b("wat_data_out_of_bounds", dumping);
  const auto end = b.start();
  ASSERT_TRUE(end.why);
  EXPECT_TRUE(stack(end.why->coredump().value()).empty());
}

TEST(CoreDump, IsNotThereIfTheGuestEndedByItselfWithoutComplaint) {
  for (const char* guest : {"wat_returns", "t_exit_zero"}) {
    bench b(guest, dumping);
    const auto end = b.start();
    ASSERT_TRUE(end.why) << guest;
    EXPECT_EQ(end.why->exit_code(), 0) << guest;
    EXPECT_FALSE(end.why->coredump()) << guest;
  }
}

TEST(CoreDump, IsNotThereUnlessItWasAskedFor) {
  bench b("wat_traps");
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(kafka::values({"u"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP);
  EXPECT_FALSE(end.why->coredump());
}

TEST(CoreDump, IsSharedWithTheErrorsThatAPolicyKeeps) {
  bench b("wat_traps", dumping);
  b.engine.set_policy({.on_error = WASM_ON_ERROR_SKIP}).value();
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(kafka::values({"u", "next"}), out)));
  const auto last = b.engine.last_error().value();
  ASSERT_TRUE(last);
  ASSERT_TRUE(last->coredump());
  EXPECT_FALSE(stack(*last->coredump()).empty());
}

TEST(CoreDump, IsInWhatCKnowsOfTheError) {
  bench b("wat_start_trap", dumping);
  wasm_future* start = nullptr;
  ASSERT_EQ(wasm_engine_start(b.engine.get(), &start, nullptr), WASM_STATUS_OK);
  wasm_poll polled{};
  wasm_error* error = nullptr;
  while (wasm_future_poll(start, nullptr, &polled, &error) == WASM_STATUS_OK) {
  }
  ASSERT_NE(error, nullptr);
  wasm_error_info info{};
  info.size = sizeof(info);
  ASSERT_EQ(wasm_error_get_info(error, &info), WASM_STATUS_OK);
  EXPECT_FALSE(stack(wasmengine::as_bytes(info.core_dump)).empty());
  wasm_error_release(error);
  wasm_future_release(start, nullptr);
}

}  // namespace
