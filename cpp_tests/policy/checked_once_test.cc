// SPDX-License-Identifier: Apache-2.0
//
// A batch is checked once, whatever becomes of its records. The tests spoil the checksum after the check. A second
// check would refuse the batch.
#include "support/custom.hh"
#include "support/policy.hh"

#include <gmock/gmock.h>

using namespace testing_support;

namespace {

/// The CRC-32C of a batch.
constexpr std::size_t crc_at = 17;

class CheckedOnce : public testing::TestWithParam<wasm_on_error> {};

std::string name_of(const testing::TestParamInfo<wasm_on_error>& on_error) {
  return on_error.param == WASM_ON_ERROR_SKIP ? "Skip" : "DeadLetter";
}
INSTANTIATE_TEST_SUITE_P(Policies, CheckedOnce, testing::Values(WASM_ON_ERROR_SKIP, WASM_ON_ERROR_DEAD_LETTER), name_of);

TEST_P(CheckedOnce, WhenTheGuestIsStartedAgain) {
  for (const auto codec : codecs) {
    c_engine table;
    custom_bench b(table);
    b.engine.set_policy({.on_error = GetParam()}).value();
    auto batch = with_gaps({"a", "b", "c", "d", "e"}, codec);
    std::vector<std::uint32_t> firsts;
    table.on_transform = [&](wasm_slice, std::uint32_t first, wasm_work* work, wasm_call*) -> wasm_callback_result {
      firsts.push_back(first);
      batch[crc_at] ^= 0xFF;
      wasm_input_record record;
      // Of every two records one is copied, and the next one fails.
      if (!c_engine::next(work, record)) {
        return WASM_CALLBACK_RESULT_DONE;
      }
      EXPECT_EQ(c_engine::write(work, record), WASM_STATUS_OK);
      return c_engine::next(work, record) ? WASM_CALLBACK_RESULT_FAILED : WASM_CALLBACK_RESULT_DONE;
    };
    ASSERT_TRUE(succeeded(b.start()));
    recorder out;
    ASSERT_TRUE(succeeded(b.transform(batch, out)));
    const std::vector<std::string> all{"a", "b", "c", "d", "e"}, copied{"a", "c", "e"};
    EXPECT_EQ(out.values(), GetParam() == WASM_ON_ERROR_SKIP ? copied : all) << "dead letters in their place";
    EXPECT_THAT(firsts, testing::ElementsAre(0, 2, 4));
    const auto stats = b.engine.stats().value();
    EXPECT_EQ(stats.skipped + stats.dead_lettered, 2U);
    EXPECT_EQ(stats.restarts, 2U);
  }
}

}  // namespace
