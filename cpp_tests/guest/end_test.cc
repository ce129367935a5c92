// SPDX-License-Identifier: Apache-2.0
//
// How guests end: traps, exits, lack of memory or stack, bad pointers. Each leaves an engine that starts again.
#include "support/bench.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

std::vector<std::string> frames(const outcome& end) {
  std::vector<std::string> names;
  for (const auto& f : end.why.value().backtrace()) {
    names.emplace_back(f.function);
  }
  return names;
}

// ---- Before the first batch ----

TEST(GuestStart, FailsWhenTheGuestTrapsAndTheBacktraceHasNames) {
  bench b("wat_start_trap");
  const auto end = b.start();
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP);
  EXPECT_EQ(end.why->trap(), WASM_TRAP_UNREACHABLE);
  EXPECT_EQ(end.why->record(), std::nullopt);
  EXPECT_EQ(end.why->exit_code(), std::nullopt);
  EXPECT_THAT(frames(end), ElementsAre("main", "start"));
  EXPECT_THAT(end.message(), AllOf(HasSubstr("\"tested\""), HasSubstr("while it started"), HasSubstr("at main")));
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_EQ(b.start().status, WASM_STATUS_GUEST_TRAP) << "and it can be tried again";
}

TEST(GuestStart, FailsWhenTheStartSectionTraps) {
  bench b("wat_start_section_trap");
  const auto end = b.start();
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP) << end.message();
  EXPECT_EQ(end.why->trap(), WASM_TRAP_UNREACHABLE);
}

TEST(GuestStart, FailsWhenADataSegmentDoesNotFit) {
  bench b("wat_data_out_of_bounds");
  const auto end = b.start();
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP) << end.message();
  EXPECT_EQ(end.why->trap(), WASM_TRAP_MEMORY_OUT_OF_BOUNDS);
}

TEST(GuestStart, FailsWhenTheGuestReturnsWithExitCodeZero) {
  bench b("wat_returns");
  const auto end = b.start();
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_EXIT);
  EXPECT_EQ(end.why->exit_code(), 0);
  EXPECT_EQ(end.why->trap(), WASM_TRAP_NONE);
}

TEST(GuestStart, FailsWhenTheGuestExits) {
  bench b("t_exit_start");
  const auto end = b.start();
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_EXIT);
  EXPECT_EQ(end.why->exit_code(), 7);
}

// ---- In the middle of a batch ----

struct trap_case {
  const char* name;
  char letter;
  wasm_status status;
  wasm_trap trap;
  const char* innermost;
};

void PrintTo(const trap_case& c, std::ostream* out) { *out << c.name; }

class EveryGuestTrap : public testing::TestWithParam<trap_case> {};

TEST_P(EveryGuestTrap, EndsTheGuestAfterTheOutputOfTheRecordsBeforeAndLeavesAnEngineThatStartsAgain) {
  const auto& c = GetParam();
  bench b("wat_traps");
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(kafka::values({"good", "better", std::string(1, c.letter), "never"}), out);
  EXPECT_EQ(end.status, c.status) << end.message();
  EXPECT_EQ(end.why->trap(), c.trap) << end.message();
  ASSERT_TRUE(end.why->record());
  EXPECT_EQ(end.why->record()->index, 2U);
  EXPECT_EQ(end.why->record()->offset, 102);
  EXPECT_THAT(out.values(), ElementsAre("good", "better"));
  const auto names = frames(end);
  ASSERT_FALSE(names.empty());
  EXPECT_EQ(names.front(), c.innermost);
  EXPECT_THAT(end.message(), AllOf(HasSubstr("record 2"), HasSubstr("102"), HasSubstr(c.innermost)));
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_TRUE(works(b));
}

INSTANTIATE_TEST_SUITE_P(
    Traps, EveryGuestTrap,
    testing::Values(trap_case{"Unreachable", 'u', WASM_STATUS_GUEST_TRAP, WASM_TRAP_UNREACHABLE, "unreachable"},
                    trap_case{"DivisionByZero", 'd', WASM_STATUS_GUEST_TRAP, WASM_TRAP_DIVISION_BY_ZERO, "divide"},
                    trap_case{"IntegerOverflow", 'v', WASM_STATUS_GUEST_TRAP, WASM_TRAP_INTEGER_OVERFLOW, "overflow"},
                    trap_case{"BadConversion", 'f', WASM_STATUS_GUEST_TRAP, WASM_TRAP_BAD_CONVERSION, "to_integer"},
                    trap_case{"MemoryOutOfBounds", 'o', WASM_STATUS_GUEST_TRAP, WASM_TRAP_MEMORY_OUT_OF_BOUNDS, "load"},
                    trap_case{"IndirectCallToNull", 'n', WASM_STATUS_GUEST_TRAP,
                              WASM_TRAP_INDIRECT_CALL_TO_NULL, "call_element"},
                    trap_case{"BadSignature", 's', WASM_STATUS_GUEST_TRAP, WASM_TRAP_BAD_SIGNATURE, "call_element"},
                    trap_case{"TableOutOfBounds", 't', WASM_STATUS_GUEST_TRAP,
                              WASM_TRAP_TABLE_OUT_OF_BOUNDS, "call_element"},
                    trap_case{"StackOverflow", 'r', WASM_STATUS_GUEST_STACK_OVERFLOW,
                              WASM_TRAP_STACK_OVERFLOW, "recurse"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(GuestTrap, AtTheFirstRecordGivesNoOutputAndDropsWhatThatRecordWrote) {
  bench b("odd_bad_pointer");  // p0: writes nothing before it fails
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(kafka::values({"p0", "next"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_BAD_CALL);
  EXPECT_EQ(end.why->record()->index, 0U);
  EXPECT_THAT(out.records, IsEmpty());
}

TEST(GuestTrap, LosesTheOutputOfTheFailingRecordEvenIfThatWroteSome) {
  // The record "9..." is written nine times, and the time limit strikes in the endless copy of the first record.
  wasm_runtime_config config{};
  config.output_buffer_limit = 512 << 10;
  bench b("rust_panic", config);
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(kafka::values({"a", "b", "boom", "c"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP);
  EXPECT_EQ(end.why->trap(), WASM_TRAP_UNREACHABLE);
  EXPECT_EQ(end.why->record()->index, 2U);
  EXPECT_THAT(out.values(), ElementsAre("a", "b"));
  EXPECT_TRUE(works(b));
}

TEST(GuestTrap, OfARustPanicHasADemangledBacktraceAndItsMessageInTheLog) {
  bench b("rust_panic");
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(kafka::values({"boom"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP);
  EXPECT_THAT(frames(end), testing::Contains(HasSubstr("panic")));
  EXPECT_THAT(b.log->texts(WASM_LOG_SEVERITY_WARN), testing::Contains(HasSubstr("boom, as the record asked")));
}

TEST(GuestTrap, RestartsWithFreshMemoryEachTime) {
  bench b("rust_panic");
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(succeeded(b.start()));
    recorder out;
    ASSERT_EQ(b.transform(kafka::values({"a", "boom"}), out).status, WASM_STATUS_GUEST_TRAP);
    ASSERT_THAT(out.values(), ElementsAre("a"));
  }
}

TEST(GuestExit, WithCodeThreeEndsTheGuest) {
  bench b("rust_panic");
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(kafka::values({"a", "exit3", "b"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_EXIT);
  EXPECT_EQ(end.why->exit_code(), 3);
  EXPECT_EQ(end.why->trap(), WASM_TRAP_NONE);
  EXPECT_EQ(end.why->record()->index, 1U);
  EXPECT_THAT(out.values(), ElementsAre("a"));
  EXPECT_TRUE(works(b));
}

TEST(GuestExit, WithCodeZeroIsAnEndToo) {
  bench b("rust_panic");
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(kafka::values({"exit0"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_EXIT);
  EXPECT_EQ(end.why->exit_code(), 0);
  EXPECT_TRUE(works(b));
}

TEST(GuestStack, InfiniteRecursionInRustEndsTheGuestWithItsOwnStatus) {
  bench b("rust_panic");
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(kafka::values({"a", "recurse"}), out);
  // A Rust guest has a stack of its own in linear memory; which of the two runs out first is the compiler's business.
  EXPECT_THAT(end.status, AnyOf(WASM_STATUS_GUEST_STACK_OVERFLOW, WASM_STATUS_GUEST_TRAP)) << end.message();
  EXPECT_THAT(out.values(), ElementsAre("a"));
  EXPECT_TRUE(works(b));
}

TEST(GuestStack, LogFunctionsHaveTheHostStackEvenWhenTheGuestsIsUsedUp) {
  std::size_t lines = 0;
  auto greedy = [&lines](const wasmengine::log_line&) {
    volatile char space[128 << 10];  // half of the default host_stack_size
    for (std::size_t i = 0; i < sizeof space; i += 1'024) {
      space[i] = static_cast<char>(i);
    }
    ++lines;
  };
  const auto runtime = wasmengine::runtime::create({}, greedy).value();
  auto engine = wasmengine::engine::create(compile(runtime, "t_deep_log")).value();
  ASSERT_TRUE(succeeded(finish(engine.start())));
  recorder out;
  const auto batch = built({"x"});
  const auto end = finish(engine.transform(batch, out));
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_STACK_OVERFLOW) << end.message();
  EXPECT_GT(lines, 100U);
}

TEST(GuestMemory, OfAHogIsRefusedInsideTheGuestAndAnAbortOverThatIsReportedAsTheMemoryLimit) {
  wasm_runtime_config config{};
  config.memory_limit = 8 << 20;
  bench b("rust_panic", config);
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(kafka::values({"a", "hog"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_MEMORY_LIMIT) << end.message();
  EXPECT_THAT(end.message(), HasSubstr("8388608"));
  EXPECT_THAT(out.values(), ElementsAre("a"));
  EXPECT_TRUE(works(b));
}

TEST(GuestMemory, GrowsUpToTheLimitInWholePagesAndNoFurther) {
  for (const std::uint64_t limit : {8ULL << 20, (8ULL << 20) + 65'535, 2ULL << 20}) {
    wasm_runtime_config config{};
    config.memory_limit = limit;
    bench b("odd_hog", config);
    EXPECT_THAT(b.run({"memory", "lives on"}).values(), ElementsAre(std::to_string(limit / 65'536), "lives on"));
    EXPECT_EQ(b.engine.memory_size().value(), limit / 65'536 * 65'536);
  }
}

TEST(GuestMemory, OfTablesIsLimitedToo) {
  wasm_runtime_config config{};
  config.table_limit = 5'500;
  bench b("odd_hog", config);
  EXPECT_THAT(b.run({"table"}).values(), ElementsAre("5000"));
}

TEST(GuestMemory, GrowthThatATableRefusesItselfCostsNothing) {
  bench b("t_table_budget");
  EXPECT_THAT(b.run({"x"}).values(), ElementsAre("y"));
}

TEST(GuestMemory, SizeIsZeroWithoutAGuest) {
  bench b("rust_panic");
  EXPECT_EQ(b.engine.memory_size().value(), 0U);
  ASSERT_TRUE(succeeded(b.start()));
  EXPECT_GE(b.engine.memory_size().value(), 65'536U);
  ASSERT_TRUE(succeeded(b.stop()));
  EXPECT_EQ(b.engine.memory_size().value(), 0U) << "after a stop";
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  ASSERT_EQ(b.transform(kafka::values({"boom"}), out).status, WASM_STATUS_GUEST_TRAP);
  EXPECT_EQ(b.engine.memory_size().value(), 0U) << "after a trap";
}

// ---- Pointers out of bounds, in every host call ----

class GuestPointer : public testing::TestWithParam<std::string> {};

TEST_P(GuestPointer, OutOfBoundsEndsTheGuestOrGivesItAnErrorAndTouchesNothing) {
  const auto& value = GetParam();
  bench b("odd_bad_pointer");
  ASSERT_TRUE(succeeded(b.start()));
  const bool ends_batch = value[0] >= 'a' && value[0] <= 'j';
  const bool registry = value[0] >= 'r' && value[0] <= 'z';
  recorder out;
  auto end = b.transform(ends_batch ? kafka::values({"good", value}) : kafka::values({"good", value, "more"}), out);
  if (ends_batch) {
    // The bad read_batch_header is the one that waits for the next batch: that is when its pointers are used.
    ASSERT_TRUE(succeeded(end));
    end = b.transform(kafka::values({"next"}), out);
  }
  if (registry) {
    // Not enabled, says every call, before it looks at anything.
    ASSERT_TRUE(succeeded(end));
    EXPECT_THAT(out.reports(), ElementsAre("-1"));
  } else {
    EXPECT_EQ(end.status, WASM_STATUS_GUEST_BAD_CALL) << end.message();
    EXPECT_EQ(end.why->trap(), WASM_TRAP_HOST);
    EXPECT_THAT(end.message(), HasSubstr("outside"));
    EXPECT_THAT(out.values(), ElementsAre("good"));
    for (const auto& f : end.why->backtrace()) {
      EXPECT_NE(f.function, "") << "a frame that is not the guest's: index " << f.index;
    }
  }
  EXPECT_TRUE(works(b));
}

std::vector<std::string> every_pointer() {
  std::vector<std::string> all;
  for (const std::string_view letters{"abcdefghijklmnopqrstuvwxyzABC"}; const char letter : letters) {
    all.push_back({letter, '0'});
    all.push_back({letter, '1'});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Pointers, GuestPointer, testing::ValuesIn(every_pointer()), [](const auto& info) {
  return std::string(info.param[0] < 'a' ? "Wasi_" : "Abi_") + info.param;
});

}  // namespace
