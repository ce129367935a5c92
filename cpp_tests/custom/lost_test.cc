// SPDX-License-Identifier: Apache-2.0
//
// Custom engines that lose what they run on: no policy skips a record for that, and the host continues where it was.
#include "support/custom.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

const std::vector<std::string> five{"a", "b", "c", "d", "e"};

wasm_callback_result losing(wasm_call* call, std::uint32_t index) {
  EXPECT_EQ(wasm_call_lose_engine(call, index, we::as_slice("the line is dead"), nullptr), WASM_STATUS_OK);
  return WASM_CALLBACK_RESULT_FAILED;
}

TEST(CustomEngineLost, SkipsNothingUnderAnyPolicyAndTheHostContinuesAtTheRecord) {
  for (const auto on_error : {WASM_ON_ERROR_FAIL, WASM_ON_ERROR_SKIP, WASM_ON_ERROR_DEAD_LETTER}) {
    for (std::uint32_t at = 0; at < five.size(); ++at) {
      for (const bool takes : {false, true}) {
        SCOPED_TRACE(testing::Message() << on_error << " " << at << " " << takes);
        c_engine table;
        bool lost = false;
        table.on_transform = [&](wasm_slice, std::uint32_t first, wasm_work* work, wasm_call* call) {
          if (lost) {
            return c_engine::copy({}, 0, work, call);
          }
          lost = true;
          wasm_input_record record;
          for (std::uint32_t i = first; i < at + (takes ? 1 : 0); ++i) {
            EXPECT_TRUE(c_engine::next(work, record));
            EXPECT_EQ(c_engine::write(work, record), WASM_STATUS_OK) << "that of the record itself is not delivered";
          }
          return losing(call, at);
        };
        custom_bench b(table);
        b.engine.set_policy({.on_error = on_error}).value();
        ASSERT_TRUE(succeeded(b.start()));
        const auto batch = built(five);
        recorder out;
        const auto end = b.transform(batch, out);
        ASSERT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_LOST);
        EXPECT_STREQ(wasm_status_name(end.status), "custom-engine-lost");
        EXPECT_THAT(end.message(), AllOf(HasSubstr("transform \"tested\""), HasSubstr("the line is dead")));
        ASSERT_TRUE(end.why->record());
        EXPECT_EQ(end.why->record()->index, at);
        EXPECT_EQ(end.why->record()->offset, 100 + at);
        EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
        ASSERT_TRUE(succeeded(b.start()));
        ASSERT_TRUE(succeeded(b.transform(batch, out, end.why->record()->index)));
        EXPECT_EQ(out.values(), five) << "each once";
        const auto stats = b.engine.stats().value();
        EXPECT_EQ(stats.skipped + stats.dead_lettered, 0U);
      }
    }
  }
}

TEST(CustomEngineLost, WhileItStarts) {
  c_engine table;
  custom_bench b(table);
  table.on_start = [](wasm_call* call) { return losing(call, 7); };
  const auto end = b.start();
  EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_LOST);
  EXPECT_THAT(end.message(), HasSubstr("while it started: the line is dead"));
  EXPECT_FALSE(end.why->record());
  table.on_start = nullptr;
  EXPECT_TRUE(succeeded(b.start()));
}

TEST(CustomEngineLost, TheLastReasonOfACallCounts) {
  c_engine table;
  custom_bench b(table);
  ASSERT_TRUE(succeeded(b.start()));
  table.on_transform = [](wasm_slice, std::uint32_t, wasm_work*, wasm_call* call) {
    (void)losing(call, 2);
    (void)wasm_call_fail_record(call, 1, we::as_slice("no: its own fault"), nullptr);
    return WASM_CALLBACK_RESULT_FAILED;
  };
  recorder out;
  const auto end = b.transform(built(five), out);
  EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_FAILED);
  EXPECT_EQ(end.why->record()->index, 1U);
}

TEST(CustomEngineLost, IsRefusedElsewhereAndForBadArguments) {
  c_engine table;
  custom_bench b(table);
  ASSERT_TRUE(succeeded(b.start()));
  wasm_status no_call{}, too_large{};
  table.on_transform = [&](wasm_slice batch, std::uint32_t first, wasm_work* work, wasm_call* call) {
    no_call = wasm_call_lose_engine(nullptr, 0, {}, nullptr);
    too_large = wasm_call_lose_engine(call, 1U << 31, {}, nullptr);
    return c_engine::copy(batch, first, work, call);
  };
  c_sink sink([](output_block, wasm_call* call) {
    EXPECT_EQ(wasm_call_lose_engine(call, 0, we::as_slice("why"), nullptr), WASM_STATUS_INVALID_ARGUMENT);
    return WASM_CALLBACK_RESULT_DONE;
  });
  const auto raw = sink.raw();
  const auto batch = built(five);
  we::future operation;
  ASSERT_EQ(begin_transform(b.engine.get(), we::as_slice(batch), &raw, operation.out(), nullptr), WASM_STATUS_OK);
  EXPECT_TRUE(succeeded(finish(operation))) << "a refused call has no effect";
  EXPECT_EQ(sink.calls, 1);
  EXPECT_EQ(no_call, WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(too_large, WASM_STATUS_INVALID_ARGUMENT);
}

struct loser final : we::custom_engine {
  wasm_callback_result transform(const we::batch_work& work, we::custom_call) override {
    EXPECT_TRUE(work.write(work.next()->payload()));
    throw we::engine_lost(1, "gone");
  }
};

TEST(CustomEngineLost, ByAnExceptionOfTheCppLayer) {
  const auto runtime = we::runtime::create().value();
  auto factory = we::create_custom_factory(runtime, with_topics({"out"}), [] { return std::make_unique<loser>(); }).value();
  auto engine = we::engine::create(factory).value();
  ASSERT_TRUE(succeeded(finish(engine.start())));
  recorder out;
  const auto end = finish(engine.transform(built(five), out));
  EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_LOST);
  EXPECT_EQ(end.why->record()->index, 1U);
  EXPECT_THAT(out.values(), ElementsAre("a"));
}

}  // namespace
