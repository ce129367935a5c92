// SPDX-License-Identifier: Apache-2.0
//
// Metrics of engines: states, progress, lag, output by topic, and the code that they have.
#include "support/metrics.hh"
#include "support/policy.hh"
#include "support/replace.hh"

#include <gmock/gmock.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <limits>
#include <thread>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;

namespace {

// ---- States ----

std::vector<std::uint64_t> states(const we::runtime& runtime) {
  const auto m = only(runtime).raw;
  EXPECT_EQ(m.engines,
            m.engines_stopped + m.engines_starting + m.engines_running + m.engines_restarting + m.engines_failed);
  return {m.engines_stopped, m.engines_starting, m.engines_running, m.engines_restarting, m.engines_failed};
}

TEST(EngineStates, AreTheOnesThatLast) {
  bench b("wat_traps");
  EXPECT_THAT(states(b.runtime), ElementsAre(1, 0, 0, 0, 0));
  {
    auto starting = b.engine.start().value();
    EXPECT_THAT(states(b.runtime), ElementsAre(0, 1, 0, 0, 0));
    EXPECT_TRUE(succeeded(finish(starting)));
  }
  EXPECT_THAT(states(b.runtime), ElementsAre(0, 0, 1, 0, 0));
  recorder out;
  EXPECT_TRUE(succeeded(b.transform(built({"good"}), out)));
  EXPECT_THAT(states(b.runtime), ElementsAre(0, 0, 1, 0, 0));
  auto broken = built({"x"});
  broken.back() ^= 1;
  EXPECT_EQ(b.transform(broken, out).status, WASM_STATUS_BATCH_CRC);
  EXPECT_THAT(states(b.runtime), ElementsAre(0, 0, 1, 0, 0)) << "the batch was refused and the guest is there";
  EXPECT_EQ(b.transform(built({"u"}), out).status, WASM_STATUS_GUEST_TRAP);
  EXPECT_THAT(states(b.runtime), ElementsAre(0, 0, 0, 0, 1));
  {
    auto starting = b.engine.start().value();
    EXPECT_THAT(states(b.runtime), ElementsAre(0, 0, 0, 1, 0));
    EXPECT_TRUE(succeeded(finish(starting)));
  }
  EXPECT_THAT(states(b.runtime), ElementsAre(0, 0, 1, 0, 0));
  ASSERT_TRUE(succeeded(b.stop()));
  EXPECT_THAT(states(b.runtime), ElementsAre(1, 0, 0, 0, 0));
  EXPECT_THAT(text(b.runtime), HasSubstr("wasm_engine_states{transform=\"tested\",shard=\"0\",state=\"stopped\"} 1\n"));
}

TEST(EngineStates, OfAnEngineThatWaitsToStartAgainIsRestarting) {
  policed p;
  fake_timer timer;
  timer.holds = true;
  p.set({}, timer);
  p.starts->push_back(false);
  auto starting = p.engine.start().value();
  const auto end = drive(starting, [&] {
    EXPECT_THAT(states(p.runtime), ElementsAre(0, 0, 0, 1, 0));
    timer.wake();
    return true;
  });
  EXPECT_TRUE(succeeded(end));
  EXPECT_THAT(timer.slept, testing::SizeIs(1));
  EXPECT_THAT(states(p.runtime), ElementsAre(0, 0, 1, 0, 0));
}

TEST(EngineStates, ACancelledOperationLeavesAStoppedEngine) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto batch = built({"x"});
  (void)b.engine.transform(batch, out).value();
  EXPECT_THAT(states(b.runtime), ElementsAre(1, 0, 0, 0, 0));
}

TEST(EngineStates, UsersOfASharedEngineAreOne) {
  policed p;
  users two(p.factory, 2);
  two.start();
  EXPECT_THAT(states(p.runtime), ElementsAre(1, 0, 1, 0, 0)) << "the one that is never started is that of the bench";
}

// ---- Progress ----

TEST(ProgressMetrics, IsTheTimeSinceTheLastRecord) {
  bench b("c_identity");
  const auto since = [&] { return std::chrono::nanoseconds(only(b.runtime).raw.since_progress_ns); };
  b.run({"x"});
  EXPECT_LT(since(), std::chrono::seconds(10));
  const auto begin = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const auto later = since();
  EXPECT_GE(later, std::chrono::milliseconds(250)) << "nothing has come meanwhile";
  EXPECT_LE(later, std::chrono::steady_clock::now() - begin + std::chrono::seconds(5));
  // A batch without records is no progress, one with a record is.
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  b.run({"y"});
  EXPECT_LT(since(), std::chrono::milliseconds(550)) << "although the clock had stood still for long";
  auto snapshot = we::metrics::create(b.runtime).value();
  EXPECT_TRUE(snapshot[0].since_progress());
  EXPECT_THAT(text(b.runtime), HasSubstr("wasm_since_progress_seconds{transform=\"tested\",shard=\"0\"} 0"));
}

// ---- Lag ----

TEST(Lag, IsKnownWhereTheHostTellsTheEnd) {
  bench b("c_identity");
  const auto lag = [&] {
    const auto snapshot = we::metrics::create(b.runtime).value();
    return snapshot[0].lag();
  };
  EXPECT_EQ(lag(), std::nullopt);
  EXPECT_THAT(text(b.runtime), Not(HasSubstr("wasm_lag_records")));
  ASSERT_TRUE(b.engine.set_end_offset(40, 200));
  EXPECT_EQ(lag(), 160U);
  b.run({"100", "101", "102"});  // from offset 100 on
  EXPECT_EQ(lag(), 97U);
  ASSERT_TRUE(b.engine.set_end_offset(0, 300)) << "what the engine took counts";
  EXPECT_EQ(lag(), 197U);
  EXPECT_THAT(text(b.runtime), HasSubstr("wasm_lag_records{transform=\"tested\",shard=\"0\"} 197\n"));
  ASSERT_TRUE(b.engine.set_end_offset(0, 50));
  EXPECT_EQ(lag(), 0U) << "it is never negative";
  ASSERT_TRUE(b.engine.clear_end_offset());
  EXPECT_EQ(lag(), std::nullopt);
  ASSERT_TRUE(b.engine.set_end_offset(10, 50)) << "another input";
  EXPECT_EQ(lag(), 40U);
}

TEST(Lag, IsNothingWhenTheLastRecordWasLost) {
  for (const auto on_error : {WASM_ON_ERROR_SKIP, WASM_ON_ERROR_DEAD_LETTER}) {
    policed p(on_error);
    ASSERT_TRUE(p.engine.set_end_offset(100, 102));
    ASSERT_TRUE(succeeded(p.start()));
    recorder out;
    EXPECT_TRUE(succeeded(p.transform(built({"k1", "u1"}), out)));
    EXPECT_EQ(only(p.runtime).raw.lag_records, 0U);
  }
}

TEST(Lag, EndsBehindABatchWhoseLastRecordsAreMissing) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  ASSERT_TRUE(b.engine.set_end_offset(100, 110));
  auto batch = built({"a", "b"});
  // A compacted log keeps the batch's last offset.
  batch[26] = 9;
  kafka::batch::reseal(batch);
  recorder out;
  EXPECT_TRUE(succeeded(b.transform(batch, out)));
  EXPECT_EQ(only(b.runtime).raw.lag_records, 0U);
}

TEST(Lag, OfEnginesAddsUpAndAFailedRecordIsStillToBeDone) {
  policed p;
  auto other = we::engine::create(p.factory).value();
  ASSERT_TRUE(other.set_end_offset(5, 10));
  ASSERT_TRUE(p.engine.set_end_offset(100, 110));
  ASSERT_TRUE(succeeded(p.start()));
  recorder out;
  EXPECT_EQ(p.transform(built({"k1", "u1", "k1"}), out).status, WASM_STATUS_GUEST_TRAP);
  EXPECT_EQ(only(p.runtime).raw.lag_records, 5U + 9U);
  other = {};
  EXPECT_EQ(only(p.runtime).raw.lag_records, 9U);
}

TEST(Lag, IsKeptByAHotSwapAndMayBeToldInCallbacks) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  auto telling = [&](output_block) { b.engine.set_end_offset(0, 150).value(); };
  ASSERT_TRUE(succeeded(b.transform(built({"x"}), telling)));
  EXPECT_EQ(only(b.runtime).raw.lag_records, 49U);
  auto replacing = b.engine.replace(b.factory).value();
  EXPECT_TRUE(succeeded(finish(replacing)));
  EXPECT_EQ(only(b.runtime).raw.lag_records, 49U);
  b.run({"x", "y"});
  EXPECT_EQ(only(b.runtime).raw.lag_records, 48U);
}

TEST(Lag, RefusesWhatIsNoOffset) {
  bench b("c_identity");
  const auto told = [&](std::int64_t next, std::int64_t end) { return b.engine.set_end_offset(next, end).err().status(); };
  EXPECT_EQ(told(-1, 5), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(told(0, -2), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_TRUE(b.engine.set_end_offset(std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::max()));
  EXPECT_EQ(wasm_engine_set_end_offset(nullptr, 0, 0, nullptr), WASM_STATUS_NULL_ARGUMENT);
  std::thread([&] { EXPECT_EQ(told(0, 1), WASM_STATUS_WRONG_THREAD); }).join();
  user shared(b.factory);
  EXPECT_EQ(shared.engine.set_end_offset(0, 1).err().status(), WASM_STATUS_INVALID_STATE);
}

// ---- Output by topic ----

std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> topics(const we::runtime& runtime) {
  std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> out;
  const auto snapshot = we::metrics::create(runtime).value();
  for (const auto m : snapshot) {
    std::uint64_t records = 0;
    std::uint64_t bytes = 0;
    for (const auto& topic : m.topics()) {
      out[std::string(we::as_text(topic.topic))] = {topic.output_records, topic.output_bytes};
      records += topic.output_records;
      bytes += topic.output_bytes;
    }
    EXPECT_EQ(records, m->output_records) << "each record is in one topic";
    EXPECT_EQ(bytes, m->output_bytes);
  }
  return out;
}

TEST(TopicMetrics, TheOnlyTopicHasAll) {
  bench b("c_identity");
  b.run({"a", "bb"});
  const auto bytes = payload_bytes({"a", "bb"});
  EXPECT_THAT(topics(b.runtime), ElementsAre(Pair("out", Pair(2U, bytes))));
  EXPECT_THAT(text(b.runtime),
              HasSubstr("wasm_topic_records_total{transform=\"tested\",shard=\"0\",topic=\"out\"} 2\n"));
}

TEST(TopicMetrics, OfAGuestWithSeveralGoToItsFirstByDefault) {
  bench b("c_identity", {}, with_topics({"one", "two"}));
  std::vector<std::string> values(5'000, std::string(100, 'x'));
  b.run(values);
  EXPECT_THAT(topics(b.runtime),
              ElementsAre(Pair("one", Pair(5'000U, payload_bytes(values))), Pair("two", Pair(0U, 0U))));
}

/// An engine that writes a record to the topic that its value names by index.
struct routing {
  routing() {
    script->outputs = [](const we::input_record& record) {
      const auto value = std::string(*we::payload::read(record.payload()).value().value);
      return std::vector<we::dummy_output>{{payload_of(value), static_cast<std::uint32_t>(value[0] - '0')}};
    };
  }
  we::engine make(const std::vector<std::string>& names) {
    return we::engine::create(we::create_dummy_factory(runtime, with_topics(names), script).value()).value();
  }
  std::shared_ptr<we::dummy_script> script = std::make_shared<we::dummy_script>();
  we::runtime runtime = we::runtime::create().value();
};

TEST(TopicMetrics, AreExactForAnyOrderOfTopicsAndEngines) {
  routing r;
  auto one = r.make({"a", "b", "c"});
  run(one, {"0", "0", "2", "1", "2", "2"});
  EXPECT_THAT(topics(r.runtime), ElementsAre(Pair("a", Pair(2U, payload_bytes({"0", "0"}))),
                                             Pair("b", Pair(1U, payload_bytes({"1"}))),
                                             Pair("c", Pair(3U, payload_bytes({"2", "2", "2"})))));
  // Another version has other topics, and what the first one counted stays.
  auto other = r.make({"c", "d"});
  run(other, {"0", "1"});
  one = {};
  const auto now = topics(r.runtime);
  EXPECT_EQ(now.at("a").first, 2U);
  EXPECT_EQ(now.at("c").first, 4U);
  EXPECT_EQ(now.at("d").first, 1U);
}

TEST(TopicMetrics, CountWhatTheSinkTookOnly) {
  routing r;
  auto engine = r.make({"a", "b"});
  ASSERT_TRUE(succeeded(finish(engine.start())));
  auto refusing = [](output_block, we::output_call) -> wasm_callback_result { return WASM_CALLBACK_RESULT_FAILED; };
  EXPECT_EQ(finish(engine.transform(built({"0", "1"}), refusing)).status, WASM_STATUS_OUTPUT_REJECTED);
  EXPECT_THAT(topics(r.runtime), ElementsAre(Pair("a", Pair(0U, 0U)), Pair("b", Pair(0U, 0U))));
  ASSERT_TRUE(succeeded(finish(engine.start())));
  // A sink that needs time.
  auto later = [](output_block, we::output_call call) -> wasm_callback_result {
    auto promise = call.later().value();
    std::thread([p = std::move(promise)]() mutable { p.resolve().value(); }).detach();
    return WASM_CALLBACK_RESULT_PENDING;
  };
  EXPECT_TRUE(succeeded(finish(engine.transform(built({"0", "1", "1"}), later))));
  EXPECT_EQ(topics(r.runtime).at("a").first, 1U);
  EXPECT_EQ(topics(r.runtime).at("b").first, 2U);
}

TEST(TopicMetrics, OfTopicsThatAreGoneAreBounded) {
  routing r;
  auto staying = r.make({"stays"});
  for (int version = 0; version < 400; ++version) {
    auto engine = r.make({"t" + std::to_string(version)});
    run(engine, {"0"});
  }
  const auto now = topics(r.runtime);
  EXPECT_EQ(now.size(), 256U + 2U) << "256 names, those of all others, and the one that is there";
  EXPECT_EQ(now.at("").first, 400U - 256U);
  EXPECT_EQ(now.at("t0").first, 1U);
}

// ---- Code ----

TEST(CodeMetrics, NameTheModuleThatRuns) {
  bench b("c_identity");
  auto second = we::engine::create(b.factory).value();
  const auto snapshot = we::metrics::create(b.runtime).value();
  const auto codes = snapshot[0].codes();
  ASSERT_EQ(codes.size(), 1U);
  EXPECT_EQ(codes[0].engines, 2U);
  std::string hex;
  for (const auto byte : codes[0].sha256) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", byte);
    hex += two;
  }
  const std::string line = "wasm_transform_info{transform=\"tested\",shard=\"0\",code_sha256=\"" + hex + "\",version=\"" +
                           wasm_library_version() + "\"} 1\n";
  EXPECT_THAT(text(b.runtime), HasSubstr(line));
  // SHA-256 of the module as it is.
  const auto path = testing::TempDir() + "module.wasm";
  const auto bytes = module("c_identity");
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()),
                                              static_cast<std::streamsize>(bytes.size()));
  std::FILE* sum = ::popen(("sha256sum " + path).c_str(), "r");
  ASSERT_NE(sum, nullptr);
  char said[65] = {};
  EXPECT_EQ(std::fread(said, 1, 64, sum), 64U);
  ::pclose(sum);
  EXPECT_EQ(hex, said);
}

TEST(CodeMetrics, ShowBothVersionsDuringAHotSwapAndNoneOfCustomEngines) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  const auto count = [&] {
    const auto snapshot = we::metrics::create(b.runtime).value();
    return snapshot[0].codes().size();
  };
  auto replacing = b.engine.replace(compile(b.runtime, "c_tee")).value();
  EXPECT_EQ(count(), 2U);
  EXPECT_TRUE(succeeded(finish(replacing)));
  EXPECT_EQ(count(), 1U);
  routing r;
  auto custom = r.make({"a"});
  const auto snapshot = we::metrics::create(r.runtime).value();
  EXPECT_EQ(snapshot[0].codes().size(), 0U);
  EXPECT_THAT(text(r.runtime), Not(HasSubstr("wasm_transform_info")));
}

TEST(EngineMetrics, AnOlderHostGetsWhatItKnows) {
  bench b("c_identity");
  b.run({"x"});
  const auto snapshot = we::metrics::create(b.runtime).value();
  wasm_transform_metrics raw{};
  raw.size = offsetof(wasm_transform_metrics, engines_stopped);
  raw.engines_running = 77;
  ASSERT_EQ(wasm_metrics_get(snapshot.get(), 0, &raw, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(raw.input_records, 1U);
  EXPECT_EQ(raw.engines_running, 77U);
}

}  // namespace
