// SPDX-License-Identifier: Apache-2.0
//
// Guests that die at a record, under each policy: what the sink has, what is counted, and where the host goes on.
#include "support/policy.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

constexpr std::size_t many = 5;

/// The loop without end ends soon, and nothing else does.
const wasm_runtime_config hurried = [] {
  wasm_runtime_config config{};
  config.record_time_limit_ns = 300'000'000;
  return config;
}();

const wasm_runtime_config& config_of(const death& d) {
  static const wasm_runtime_config plain{};
  return d.letter == 'l' ? hurried : plain;
}

/// Records at which the guest is killed: each, unless that takes long.
std::vector<std::size_t> places(const death& d) {
  return d.letter == 'l' ? std::vector<std::size_t>{0, many - 1} : std::vector<std::size_t>{0, 1, 2, 3, 4};
}

std::vector<std::int64_t> offsets(const recorder& out) {
  std::vector<std::int64_t> all;
  for (const auto& r : out.records) {
    all.push_back(r.input_offset);
  }
  return all;
}

class EveryGuestDeath : public testing::TestWithParam<std::tuple<death, wasm_compression>> {};

TEST_P(EveryGuestDeath, UnderFailNamesTheRecordAndTheHostGoesOnBehindItOrTriesItAgain) {
  const auto& [d, codec] = GetParam();
  policed p(WASM_ON_ERROR_FAIL, config_of(d));
  for (const auto at : places(d)) {
    const auto values = values_with(d.letter, many, {at}, '3');
    const auto batch = with_gaps(values, codec);
    recorder out;
    ASSERT_TRUE(succeeded(p.start()));
    auto end = p.transform(batch, out);
    const auto before = survivors({values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at)});
    const auto is_named = [&] {
      EXPECT_EQ(end.status, d.status) << end.message();
      EXPECT_EQ(end.why->record()->index, at);
      EXPECT_EQ(end.why->record()->offset, gap_offset(at));
      EXPECT_EQ(p.state(), WASM_ENGINE_STATE_STOPPED);
      EXPECT_EQ(out.values(), before) << "everything before it, and nothing of it or behind it";
    };
    is_named();
    // The same record once more: it dies again, and says where in the whole batch.
    ASSERT_TRUE(succeeded(p.start()));
    end = p.transform(batch, out, static_cast<std::uint32_t>(at));
    is_named();
    ASSERT_TRUE(succeeded(p.start()));
    end = p.transform(batch, out, static_cast<std::uint32_t>(at) + 1);
    if (at + 1 == many) {
      EXPECT_EQ(end.status, WASM_STATUS_INVALID_ARGUMENT) << "there is no record behind the last";
    } else {
      EXPECT_TRUE(succeeded(end));
    }
    EXPECT_EQ(p.state(), WASM_ENGINE_STATE_IDLE);
    EXPECT_EQ(out.values(), survivors(values));
    ASSERT_TRUE(succeeded(finish(p.engine.stop())));
  }
  EXPECT_EQ(p.stats().skipped + p.stats().dead_lettered, 0U);
}

TEST_P(EveryGuestDeath, UnderSkipLosesThatRecordAndNothingElse) {
  const auto& [d, codec] = GetParam();
  policed p(WASM_ON_ERROR_SKIP, config_of(d));
  ASSERT_TRUE(succeeded(p.start()));
  std::uint64_t lost = 0;
  for (const auto at : places(d)) {
    const auto values = values_with(d.letter, many, {at}, '3');
    recorder out;
    EXPECT_TRUE(succeeded(p.transform(with_gaps(values, codec), out)));
    EXPECT_EQ(out.values(), survivors(values));
    const auto seen = offsets(out);
    EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
    EXPECT_EQ(p.state(), WASM_ENGINE_STATE_IDLE);
    ++lost;
    EXPECT_EQ(p.stats().skipped, lost);
    EXPECT_EQ(p.stats().restarts, lost);
  }
  EXPECT_EQ(p.stats().dead_lettered, 0U);
  EXPECT_EQ(p.last_error(), wasm_status_name(d.status));
  EXPECT_EQ(p.engine.last_error().value()->record()->index, many - 1);
}

TEST_P(EveryGuestDeath, UnderDeadLetterPutsThatRecordInItsPlace) {
  const auto& [d, codec] = GetParam();
  policed p(WASM_ON_ERROR_DEAD_LETTER, config_of(d));
  ASSERT_TRUE(succeeded(p.start()));
  for (const auto at : places(d)) {
    const auto values = values_with(d.letter, many, {at});
    recorder out;
    EXPECT_TRUE(succeeded(p.transform(with_gaps(values, codec), out)));
    EXPECT_EQ(out.values(), values) << "each once: what it died of is the letter";
    ASSERT_EQ(out.records.size(), many);
    for (std::size_t i = 0; i < many; ++i) {
      EXPECT_EQ(out.records[i].input_offset, gap_offset(i));
      EXPECT_EQ(out.records[i].input_timestamp, 1'700'000'000'000 + static_cast<std::int64_t>(i));
      EXPECT_EQ(out.records[i].topic, i == at ? 1U : 0U);
    }
    const auto& headers = out.records[at].content.headers;
    ASSERT_EQ(headers.size(), 4U);
    EXPECT_EQ(headers[1].second, std::to_string(gap_offset(at)));
    EXPECT_EQ(headers[2].second, wasm_status_name(d.status));
  }
  EXPECT_EQ(p.stats().dead_lettered, places(d).size());
  EXPECT_EQ(p.stats().skipped, 0U);
}

/// Each death in each codec. But a timeout takes its time. What a codec changes is the same for all deaths: how the rest
/// of the batch is found again.
std::vector<std::tuple<death, wasm_compression>> every_death() {
  std::vector<std::tuple<death, wasm_compression>> all;
  for (const auto& d : deaths) {
    for (const auto codec : codecs) {
      if (d.status != WASM_STATUS_GUEST_TIMEOUT || codec == WASM_COMPRESSION_NONE) {
        all.emplace_back(d, codec);
      }
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Deaths, EveryGuestDeath, testing::ValuesIn(every_death()),
                         [](const auto& info) {
                           return std::get<0>(info.param).name + codec_name(std::get<1>(info.param));
                         });

// ---- Several poison records ----

TEST(SkipPolicy, OfSeveralRecordsLosesThemAll) {
  policed p(WASM_ON_ERROR_SKIP);
  ASSERT_TRUE(succeeded(p.start()));
  const std::vector<std::vector<std::size_t>> all = {{0, 1}, {1, 2}, {3, 4}, {0, 4}, {0, 2, 4}, {0, 1, 2, 3, 4}};
  std::uint64_t lost = 0;
  for (const auto& poisoned : all) {
    const auto values = values_with('u', many, poisoned, '2');
    recorder out;
    EXPECT_TRUE(succeeded(p.transform(built(values), out)));
    EXPECT_EQ(out.values(), survivors(values));
    lost += poisoned.size();
    EXPECT_EQ(p.stats().skipped, lost);
    EXPECT_EQ(p.stats().restarts, lost);
    EXPECT_TRUE(p.works());
  }
}

TEST(FailPolicy, OfTwoInARowIsGoneOnFromEachTime) {
  policed p(WASM_ON_ERROR_FAIL);
  const auto values = values_with('x', many, {1, 2});
  const auto batch = built(values);
  recorder out;
  std::vector<std::uint32_t> named;
  std::uint32_t from = 0;
  for (;;) {
    ASSERT_TRUE(succeeded(p.start()));
    const auto end = p.transform(batch, out, from);
    if (end.status == WASM_STATUS_OK) {
      break;
    }
    ASSERT_TRUE(end.why->record());
    named.push_back(end.why->record()->index);
    from = named.back() + 1;
  }
  EXPECT_THAT(named, ElementsAre(1, 2));
  EXPECT_EQ(out.values(), survivors(values));
  EXPECT_EQ(p.stats().restarts, 2U);
}

// ---- Output in several blocks ----

TEST(SkipPolicy, BetweenBlocksHandsEachRecordOverOnce) {
  wasm_runtime_config config{};
  config.output_buffer_limit = 8 << 10;
  for (const auto on_error : {WASM_ON_ERROR_FAIL, WASM_ON_ERROR_SKIP}) {
    policed p(on_error, config);
    ASSERT_TRUE(succeeded(p.start()));
    std::vector<std::string> values;
    for (std::size_t i = 0; i < 120; ++i) {
      values.push_back(std::string(i % 50 == 49 ? "u4-" : "k4-") + std::to_string(i) + std::string(300, 'x'));
    }
    const auto batch = built(values);
    recorder out;
    auto end = p.transform(batch, out);
    while (on_error == WASM_ON_ERROR_FAIL && end.status != WASM_STATUS_OK) {
      ASSERT_EQ(end.status, WASM_STATUS_GUEST_TRAP);
      ASSERT_TRUE(succeeded(p.start()));
      end = p.transform(batch, out, end.why->record()->index + 1);
    }
    EXPECT_TRUE(succeeded(end));
    EXPECT_EQ(out.values(), survivors(values));
    EXPECT_GT(out.block_bytes.size(), 10U);
  }
}

TEST(SkipPolicy, OfARecordWhoseOutputExceedsTheLimitIsPreceededByPartsOfIt) {
  wasm_runtime_config config{};
  config.output_buffer_limit = 32 << 10;
  policed p(WASM_ON_ERROR_SKIP, config);
  ASSERT_TRUE(succeeded(p.start()));
  auto batch = kafka::values({"k1", "u9", "k1"});
  batch.leader_epoch = 3;
  recorder out;
  EXPECT_TRUE(succeeded(p.transform(batch.encode(), out)));
  const auto seen = offsets(out);
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 100), 1);
  EXPECT_LT(std::count(seen.begin(), seen.end(), 101), 9) << "the rest of it was dropped";
  EXPECT_GT(std::count(seen.begin(), seen.end(), 101), 0) << "nine times 8 KiB do not fit";
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 102), 1);
}

// ---- Deaths between records ----

TEST(BetweenRecords, NothingIsLostAndTheBatchGoesOn) {
  for (const auto on_error : {WASM_ON_ERROR_SKIP, WASM_ON_ERROR_DEAD_LETTER}) {
    policed p(on_error);
    ASSERT_TRUE(succeeded(p.start()));
    for (std::size_t at = 0; at < many; ++at) {
      const auto values = values_with('b', many, {at});
      recorder out;
      EXPECT_TRUE(succeeded(p.transform(built(values), out)));
      EXPECT_EQ(out.values(), values) << "at the last one, after all records";
      EXPECT_EQ(p.state(), WASM_ENGINE_STATE_IDLE);
    }
    EXPECT_EQ(p.stats().restarts, many);
    EXPECT_EQ(p.stats().skipped + p.stats().dead_lettered, 0U);
  }
}

TEST(BetweenRecords, UnderFailTheErrorNamesNoneAndTheSinkHasWhatWasFinished) {
  policed p(WASM_ON_ERROR_FAIL);
  ASSERT_TRUE(succeeded(p.start()));
  recorder out;
  const auto batch = built({"k1-0", "b1-1", "k1-2"});
  const auto end = p.transform(batch, out);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP);
  EXPECT_FALSE(end.why->record());
  EXPECT_THAT(offsets(out), ElementsAre(100, 101));
  ASSERT_TRUE(succeeded(p.start()));
  EXPECT_TRUE(succeeded(p.transform(batch, out, 2)));
  EXPECT_THAT(out.values(), ElementsAre("k1-0", "b1-1", "k1-2"));
}

TEST(BetweenRecords, AGuestThatNeverTakesARecordFailsTheTransform) {
  for (const auto on_error : {WASM_ON_ERROR_FAIL, WASM_ON_ERROR_SKIP, WASM_ON_ERROR_DEAD_LETTER}) {
    policed p(on_error);
    ASSERT_TRUE(succeeded(p.start()));
    auto batch = kafka::values({"k1-0", "k1-1"});
    batch.leader_epoch = 1;
    recorder out;
    const auto end = p.transform(batch.encode(), out);
    EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP) << end.message();
    EXPECT_FALSE(end.why->record());
    EXPECT_THAT(out.records, IsEmpty());
    EXPECT_EQ(p.state(), WASM_ENGINE_STATE_STOPPED);
    EXPECT_EQ(p.stats().skipped + p.stats().dead_lettered + p.stats().restarts, 0U);
    EXPECT_TRUE(p.works());
  }
}

TEST(BetweenRecords, AGuestThatGivesABadPointerForItsHeaderFailsTheTransform) {
  bench b("odd_bad_pointer");
  b.engine.set_policy({.on_error = WASM_ON_ERROR_SKIP}).value();
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(built({"good", "a0"}), out)));
  const auto end = b.transform(built({"next"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_BAD_CALL) << end.message();
  EXPECT_THAT(out.values(), ElementsAre("good"));
  EXPECT_TRUE(works(b));
}

// ---- What is not the guest's doing ----

TEST(HostFailure, FunctionsThatFailAreNoPoison) {
  for (const auto on_error : {WASM_ON_ERROR_FAIL, WASM_ON_ERROR_SKIP, WASM_ON_ERROR_DEAD_LETTER}) {
    policed p(on_error);
    ASSERT_TRUE(succeeded(p.start()));
    recorder out;
    const auto end = p.transform(built({"k1-0", "h1-1", "k1-2"}), out);
    EXPECT_EQ(end.status, WASM_STATUS_HOST_FUNCTION_FAILED);
    EXPECT_EQ(end.why->record()->index, 1U);
    EXPECT_THAT(end.message(), HasSubstr("the host has no answer"));
    EXPECT_THAT(out.values(), ElementsAre("k1-0"));
    EXPECT_EQ(p.stats().skipped + p.stats().dead_lettered + p.stats().restarts, 0U);
    EXPECT_EQ(p.state(), WASM_ENGINE_STATE_STOPPED);
  }
}

TEST(HostFailure, SinksThatFailAreNoPoison) {
  for (const auto on_error : {WASM_ON_ERROR_SKIP, WASM_ON_ERROR_DEAD_LETTER}) {
    policed p(on_error);
    ASSERT_TRUE(succeeded(p.start()));
    c_sink sink([](output_block, wasm_call*) { return WASM_CALLBACK_RESULT_FAILED; });
    const auto batch = built({"k1-0", "u1-1", "k1-2"});
    auto operation = begin(p, batch, sink);
    const auto end = finish(operation);
    EXPECT_EQ(end.status, WASM_STATUS_OUTPUT_REJECTED);
    EXPECT_EQ(sink.calls, 1) << "the output before the trap is what it refused";
    EXPECT_EQ(sink.drops, 1);
    EXPECT_EQ(p.stats().skipped + p.stats().dead_lettered + p.stats().restarts, 0U);
    EXPECT_TRUE(p.works());
  }
}

}  // namespace
