// SPDX-License-Identifier: Apache-2.0
//
// Output taken apart for the sink: what it says, how long it lives, and that much of it takes steps.
#include "support/given_records.hh"
#include "support/many.hh"
#include "support/policy.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

namespace {

TEST(ParsedOutput, IsWhatTheEncodedRecordsSay) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  std::mt19937 random(5);
  given_records records(std::vector<std::string>{});
  for (int i = 0; i < 5000; ++i) {
    kafka::payload p{random_field(random, true), random_field(random, false), {}};
    for (auto n = random() % 4; n > 0; --n) {
      p.headers.emplace_back("k" + std::to_string(n), random_field(random, false));
    }
    records.add(std::move(p), i, 0);
  }
  for (int round = 0; round < 2; ++round) {
    parsed_recorder out;
    ASSERT_TRUE(succeeded(finish(b.engine.transform_records(records.all(), out))));
    EXPECT_TRUE(std::equal(out.records.begin(), out.records.end(), records.content.begin(), records.content.end()));
  }
  parsed_recorder plain, of_many;
  const auto batch = built({"a", "b"});
  ASSERT_TRUE(succeeded(finish(b.engine.transform(batch, plain))));
  EXPECT_THAT(plain.offsets, ElementsAre(100, 101));
  const batches all{batch, batch};
  ASSERT_TRUE(succeeded(finish(b.engine.transform_many(all, of_many))));
  EXPECT_THAT(of_many.offsets, ElementsAre(100, 101, 100, 101));
}

TEST(ParsedOutput, ADeadLetterComesTakenApart) {
  policed p(WASM_ON_ERROR_DEAD_LETTER);
  ASSERT_TRUE(succeeded(p.start()));
  given_records records({"k1", "u1", "k1"});
  parsed_recorder out;
  EXPECT_TRUE(succeeded(finish(p.engine.transform_records(records.all(), out))));
  ASSERT_THAT(out.records, SizeIs(3));
  EXPECT_EQ(out.records[1].value, "u1");
  EXPECT_EQ(out.records[1].headers.front().first, "wasm-transform");
}

TEST(ParsedOutput, ABlockStaysWhileTheSinkWaitsAndUntilItIsDropped) {
  for (const bool stops : {false, true}) {
    bench b("c_identity");
    ASSERT_TRUE(succeeded(b.start()));
    struct world {
      we::parsed_block block;
      wasm_promise* promise = nullptr;
      parsed_recorder read;
      int drops = 0;
    } w;
    const wasm_output_sink raw{
        sizeof(raw), &w,
        [](void* data) {
          auto& me = *static_cast<world*>(data);
          ++me.drops;
          if (me.promise != nullptr) {
            me.read(me.block);
          }
        },
        [](void*, const wasm_output_record*, std::size_t, wasm_call*) -> wasm_callback_result {
          ADD_FAILURE() << "the other callback gets everything";
          return WASM_CALLBACK_RESULT_FAILED;
        },
        [](void* data, const wasm_parsed_record* records, std::size_t count, wasm_call* call) -> wasm_callback_result {
          auto& me = *static_cast<world*>(data);
          me.block = {records, count};
          EXPECT_EQ(wasm_call_promise(call, &me.promise, nullptr), WASM_STATUS_OK);
          return WASM_CALLBACK_RESULT_PENDING;
        }};
    given_records records({"a", "b"});
    const wasm_transform_records_args args{sizeof(args), records.all().data(), 2, &raw, 0};
    we::future operation;
    ASSERT_EQ(wasm_engine_transform_records(b.engine.get(), &args, operation.out(), nullptr), WASM_STATUS_OK);
    ASSERT_EQ(operation.poll().value(), WASM_POLL_PENDING);
    // Another engine of the thread takes its own memory meanwhile.
    bench other("c_identity");
    ASSERT_TRUE(succeeded(other.start()));
    given_records others({"x", "y", "z"});
    parsed_recorder out;
    ASSERT_TRUE(succeeded(finish(other.engine.transform_records(others.all(), out))));
    if (stops) {
      EXPECT_TRUE(succeeded(finish(b.engine.stop())));
    } else {
      w.read(w.block);
      EXPECT_EQ(wasm_promise_resolve(w.promise, nullptr), WASM_STATUS_OK);
      wasm_promise_release(std::exchange(w.promise, nullptr));
      EXPECT_TRUE(succeeded(finish(operation)));
    }
    EXPECT_EQ(w.drops, 1);
    ASSERT_THAT(w.read.records, SizeIs(2));
    EXPECT_EQ(w.read.records[1].value, "b");
    wasm_promise_release(w.promise);
  }
}

TEST(ParsedOutput, ASinkThatFailsFailsTheTransform) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  given_records records({"a"});
  auto sink = [](we::parsed_block) { throw std::runtime_error("no room"); };
  const auto end = finish(b.engine.transform_records(records.all(), sink));
  EXPECT_EQ(end.status, WASM_STATUS_OUTPUT_REJECTED);
  EXPECT_THAT(end.message(), HasSubstr("no room"));
}

// ---- Many headers ----

/// A record with so many headers.
kafka::payload with_headers(std::size_t count) {
  kafka::payload p{"key", "value", {}};
  for (std::size_t i = 0; i < count; ++i) {
    p.headers.emplace_back(i % 3 == 0 ? "h" : "", i % 2 == 0 ? kafka::field("x") : std::nullopt);
  }
  return p;
}

TEST(ParsedOutput, OfManyHeadersIsTheSameInAnyNumberOfSteps) {
  for (const std::uint64_t slice : {20'000U, 2'000'000'000U}) {
    wasm_runtime_config config{};
    config.time_slice_ns = slice;
    bench b("c_identity", config);
    ASSERT_TRUE(succeeded(b.start()));
    given_records records(std::vector<std::string>{});
    for (const std::size_t count : {0U, 3U, 2'048U, 100'000U, 1U, 5'000U, 0U}) {
      records.add(with_headers(count), 7, 0);
    }
    parsed_recorder out;
    const auto end = finish(b.engine.transform_records(records.all(), out));
    ASSERT_TRUE(succeeded(end));
    EXPECT_TRUE(std::equal(out.records.begin(), out.records.end(), records.content.begin(), records.content.end()));
    parsed_recorder small;
    given_records one({"a"});
    ASSERT_TRUE(succeeded(finish(b.engine.transform_records(one.all(), small))));
    EXPECT_THAT(small.records, SizeIs(1)) << "nothing is left of the large block";
  }
}

// A dead letter takes one step in each poll, so its steps can be counted.
TEST(ParsedOutput, ADeadLetterWithManyHeadersTakesSteps) {
  policed p(WASM_ON_ERROR_DEAD_LETTER, unhurried);
  ASSERT_TRUE(succeeded(p.start()));
  given_records records(std::vector<std::string>{});
  auto letter = with_headers(100'000);
  letter.value = "u1";
  records.add({std::nullopt, "k1", {}}, 0, 0);
  records.add(letter, 1, 0);
  records.add({std::nullopt, "k1", {}}, 2, 0);
  parsed_recorder out;
  auto operation = p.engine.transform_records(records.all(), out).value();
  std::vector<std::uint32_t> at;
  int yields = 0;
  for (;;) {
    const auto polled = operation.poll().value();
    const auto progress = p.engine.progress().value();
    if (at.empty() || at.back() != progress.record) {
      at.push_back(progress.record);
    }
    if (polled == WASM_POLL_READY) {
      break;
    }
    ++yields;
  }
  EXPECT_GT(yields, 100'000 / 2'048);
  ASSERT_THAT(out.records, SizeIs(3));
  EXPECT_THAT(out.offsets, ElementsAre(0, 1, 2));
  EXPECT_EQ(out.records[1].headers.size(), 100'004U);
  EXPECT_TRUE(std::is_sorted(at.begin(), std::prev(at.end()))) << "the letter counts when the sink has it";
  EXPECT_EQ(p.stats().dead_lettered, 1U);
}

class ParsedEnded : public testing::TestWithParam<ending> {};

// The operation is ended after each number of polls, between the steps that take a block apart, too.
TEST_P(ParsedEnded, AtEachStep) {
  wasm_runtime_config config{};
  config.time_slice_ns = 20'000;
  const auto content = with_headers(100'000);
  bool before = false, after = false;
  for (int polls = 0; polls < 400 && !after; polls += 7) {
    bench b("c_identity", config);
    ASSERT_TRUE(succeeded(b.start()));
    given_records records(std::vector<std::string>{});
    records.add(content, 0, 0);
    struct world {
      int calls = 0, drops = 0;
    } w;
    const wasm_output_sink raw{sizeof(raw), &w, [](void* data) { ++static_cast<world*>(data)->drops; }, nullptr,
                               [](void* data, const wasm_parsed_record*, std::size_t, wasm_call*) -> wasm_callback_result {
                                 ++static_cast<world*>(data)->calls;
                                 return WASM_CALLBACK_RESULT_DONE;
                               }};
    const wasm_transform_records_args args{sizeof(args), records.all().data(), 1, &raw, 0};
    we::future operation;
    ASSERT_EQ(wasm_engine_transform_records(b.engine.get(), &args, operation.out(), nullptr), WASM_STATUS_OK);
    for (int i = 0; i < polls && !after; ++i) {
      after = operation.poll().value() == WASM_POLL_READY;
    }
    before = before || !after;
    EXPECT_EQ(w.calls, after ? 1 : w.calls);
    switch (GetParam()) {
      case ending::release:
        operation = {};
        break;
      case ending::stop:
        EXPECT_TRUE(succeeded(finish(b.engine.stop())));
        break;
      case ending::engine_release:
        b.engine = {};
        break;
    }
    EXPECT_EQ(w.drops, 1);
    if (b.engine) {
      ASSERT_TRUE(b.state() == WASM_ENGINE_STATE_IDLE || succeeded(b.start()));
      EXPECT_TRUE(works(b));
    }
  }
  EXPECT_TRUE(before);
}

INSTANTIATE_TEST_SUITE_P(Ways, ParsedEnded,
                         testing::Values(ending::release, ending::stop, ending::engine_release),
                         [](const auto& info) { return name_of(info.param); });

}  // namespace
