// SPDX-License-Identifier: Apache-2.0
//
// Guests that fill or copy much of their memory at once: one operation, but no reason to keep the host's thread.
#include "support/bench.hh"

#include <gmock/gmock.h>

#include <algorithm>
#include <cctype>

using namespace testing_support;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

namespace {

constexpr std::string_view guest = "t_bulk_memory";

/// The shortest slice: an operation on 63 MiB, which takes milliseconds, has many.
const wasm_runtime_config hurried = [] {
  wasm_runtime_config config{};
  config.time_slice_ns = 20'000;
  return config;
}();

/// An operation, and the record that wants it.
struct bulk_operation {
  const char* name;
  char letter;
};

void PrintTo(const bulk_operation& o, std::ostream* out) { *out << o.name; }

class BulkMemoryDivided : public testing::TestWithParam<bulk_operation> {};

TEST_P(BulkMemoryDivided, OperationIsSuspendedInTheMiddleAndItsResultIsRight) {
  const std::string operation(1, GetParam().letter);
  // Whether all is well, and the answer.
  const std::string question{static_cast<char>(std::toupper(GetParam().letter)), '?'};
  const std::string answer{question[0], 'y'};
  bench b(guest, hurried);
  ASSERT_TRUE(succeeded(b.start()));
  // A guest that is not suspended inside yields once, when the operation is over, or twice. On a busy machine the clock
  // may come late, so more is enough if it happens once.
  int most_yields = 0;
  for (int tries = 0; tries < 100 && most_yields < 4; ++tries) {
    b.run({"p"});
    recorder out;
    const auto end = b.transform(kafka::values({operation}), out);
    ASSERT_TRUE(succeeded(end));
    most_yields = std::max(most_yields, end.yields);
    ASSERT_THAT(b.run({question}).values(), ElementsAre(answer));
  }
  EXPECT_GE(most_yields, 4);
}

INSTANTIATE_TEST_SUITE_P(BulkMemory, BulkMemoryDivided,
                         testing::Values(bulk_operation{"Fill", 'f'}, bulk_operation{"CopyUpwards", 'u'},
                                         bulk_operation{"CopyDownwards", 'd'}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(BulkMemory, OutOfBoundsTrapsInTheGuestsFunctionBeforeAnythingIsWritten) {
  auto config = hurried;
  config.core_dumps = 1;
  for (const auto& [value, function] : {std::pair("o", "fill"), std::pair("c", "copy")}) {
    bench b(guest, config);
    ASSERT_TRUE(succeeded(b.start()));
    recorder out;
    // What would be copied are Zs, too.
    const auto end = b.transform(kafka::values({"kept", std::string(value) + "ZZZZZZZZ"}), out);
    EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP) << end.message();
    ASSERT_TRUE(end.why);
    EXPECT_EQ(end.why->trap(), WASM_TRAP_MEMORY_OUT_OF_BOUNDS);
    EXPECT_EQ(end.why->record()->index, 1U);
    const auto frames = end.why->backtrace();
    ASSERT_GE(frames.size(), 3U);
    EXPECT_EQ(frames[0].function, function);
    EXPECT_EQ(frames[1].function, "on_record");
    EXPECT_THAT(out.values(), ElementsAre("kept"));
    const auto dump = kafka::text(end.why->coredump().value());
    EXPECT_EQ(dump.find("ZZZZZZZZ"), dump.rfind("ZZZZZZZZ")) << "there is only what was read";
    EXPECT_TRUE(succeeded(b.start()));
    EXPECT_THAT(b.run({"f", "F?"}).values(), ElementsAre("f", "Fy"));
  }
}

TEST(BulkMemory, OneOperationAfterTheOtherEndsAtTheTimeLimitInTheGuestsFunction) {
  auto config = hurried;
  config.record_time_limit_ns = 100'000'000;
  bench b(guest, config);
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(kafka::values({"kept", "l"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TIMEOUT) << end.message();
  ASSERT_TRUE(end.why);
  const auto frames = end.why->backtrace();
  ASSERT_GE(frames.size(), 3U);
  // The former nearly always; or between two of them.
  EXPECT_THAT(frames[0].function, AnyOf("fill", "size", "end", "fill_forever"));
  EXPECT_THAT(end.message(), Not(HasSubstr("at function")));
  EXPECT_THAT(out.values(), ElementsAre("kept"));
}

TEST(BulkMemory, AProfileNamesTheOperation) {
  auto config = hurried;
  config.record_time_limit_ns = 100'000'000;
  bench b(guest, config);
  ASSERT_TRUE(succeeded(b.start()));
  b.engine.start_profile().value();
  recorder out;
  EXPECT_EQ(b.transform(kafka::values({"l"}), out).status, WASM_STATUS_GUEST_TIMEOUT);
  const auto profile = b.engine.finish_profile().value();
  EXPECT_THAT(profile, HasSubstr("\"memory.fill\""));
  EXPECT_THAT(profile, Not(HasSubstr("\"function ")));
}

}  // namespace
