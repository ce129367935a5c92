// SPDX-License-Identifier: Apache-2.0
//
// Policies that stop: thresholds of lost records and of restarts, and the circuit that opens and closes.
#include "support/many.hh"
#include "support/metrics.hh"
#include "support/replace.hh"

#include <gmock/gmock.h>

#include <random>

using namespace testing_support;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

namespace {

constexpr auto skip = WASM_ON_ERROR_SKIP;
constexpr auto letter = WASM_ON_ERROR_DEAD_LETTER;

// ---- Lost records ----

class LossThresholdUnder : public testing::TestWithParam<wasm_on_error> {};
INSTANTIATE_TEST_SUITE_P(OnError, LossThresholdUnder, testing::Values(skip, letter),
                         [](const auto& info) { return info.param == skip ? "Skip" : "DeadLetter"; });

TEST_P(LossThresholdUnder, StopsBeforeMoreRecordsAreLostThanItAllows) {
  policed p;
  p.set(losing(2, 10, GetParam()));
  ASSERT_TRUE(succeeded(p.start()));
  recorder out;
  const std::vector<std::string> values{"k1-0", "u1-1", "k1-2", "u1-3", "k1-4", "x1-5", "k1-6"};
  const auto end = p.transform(built(values), out);
  ASSERT_EQ(end.status, WASM_STATUS_POLICY_THRESHOLD);
  EXPECT_EQ(end.why->record()->index, 5U);
  EXPECT_EQ(end.why->record()->offset, 105);
  EXPECT_EQ(end.why->cause(), WASM_STATUS_GUEST_EXIT);
  EXPECT_EQ(end.why->exit_code(), 3);
  EXPECT_THAT(end.message(),
              AllOf(HasSubstr("transform \"tested\": the policy stopped the guest at record 5 of the batch (offset 105), "
                              "which is not lost: 2 of the last 10 records were lost and no more may be"),
                    HasSubstr("The circuit is open: the next start tries again"), HasSubstr("guest-exit: ")));
  // All before is delivered, and nothing of the record itself.
  const std::vector<std::string> kept{"k1-0", "k1-2", "k1-4"};
  const std::vector<std::string> all(values.begin(), values.begin() + 5);
  EXPECT_EQ(out.values(), GetParam() == skip ? kept : all);
  EXPECT_EQ(p.stats().skipped + p.stats().dead_lettered, 2U);
  EXPECT_EQ(p.stats().restarts, 2U);
  EXPECT_EQ(p.stats().stops, 1U);
  EXPECT_EQ(p.stats().circuit, WASM_CIRCUIT_OPEN);
  EXPECT_EQ(p.state(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_EQ(p.last_error(), "policy-threshold");
  // Progress is exact: the host goes on behind the record, and nothing comes twice or is missing.
  ASSERT_TRUE(succeeded(p.start()));
  EXPECT_EQ(p.stats().circuit, WASM_CIRCUIT_HALF_OPEN);
  EXPECT_TRUE(succeeded(p.transform(built(values), out, 6)));
  EXPECT_EQ(out.values().back(), "k1-6");
  EXPECT_EQ(out.values().size(), (GetParam() == skip ? kept : all).size() + 1);
}

TEST(LossThreshold, OfZeroLosesNothing) {
  policed p;
  p.set(losing(0, 1));
  ASSERT_TRUE(succeeded(p.start()));
  recorder out;
  const auto end = p.transform(built({"k1", "u1"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_POLICY_THRESHOLD);
  EXPECT_THAT(end.message(), HasSubstr("no record may be lost"));
  EXPECT_EQ(p.stats().skipped, 0U);
}

TEST(LossThreshold, LooksAtTheLastRecordsOnly) {
  policed p;
  p.set(losing(1, 5));
  ASSERT_TRUE(succeeded(p.start()));
  recorder out;
  // One of each five: for ever.
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(succeeded(p.transform(built({"k1", "k1", "u1"}), out)));
    EXPECT_TRUE(succeeded(p.transform(built({"k1", "k1"}), out)));
  }
  EXPECT_EQ(p.stats().skipped, 4U);
  // The second of the last five, over the border of two batches.
  EXPECT_TRUE(succeeded(p.transform(built({"k1", "k1", "u1"}), out)));
  const auto end = p.transform(built({"k1", "k1", "k1", "u1"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_POLICY_THRESHOLD);
  EXPECT_EQ(end.why->record()->index, 3U);
}

TEST(LossThreshold, CountsOverTheBatchesOfACallAndNamesTheBatch) {
  policed p;
  p.set(losing(1, 8));
  ASSERT_TRUE(succeeded(p.start()));
  sorting_sink sink;
  const auto all = batches_of({{"k1-0"}, {"u1", "k1-1"}, {"k1-2", "k1-3"}, {"k1-4", "u1", "k1-5"}, {"k1-6"}});
  auto operation = many(p.engine, all, sink);
  const auto end = finish(operation);
  EXPECT_EQ(end.status, WASM_STATUS_POLICY_THRESHOLD);
  EXPECT_EQ(end.why->batch(), 3U);
  EXPECT_EQ(end.why->record()->index, 1U);
  EXPECT_THAT(end.message(), HasSubstr("batch 3 of the call"));
  EXPECT_THAT(sink.kept.values(3), ElementsAre("k1-4"));
  EXPECT_THAT(sink.kept.values(4), IsEmpty());
}

TEST(LossThreshold, IsNotForgottenByStopAndStart) {
  policed p;
  p.set(losing(1, 100));
  recorder out;
  ASSERT_TRUE(succeeded(p.start()));
  EXPECT_TRUE(succeeded(p.transform(built({"u1"}), out)));
  ASSERT_TRUE(succeeded(finish(p.engine.stop())));
  ASSERT_TRUE(succeeded(p.start()));
  EXPECT_EQ(p.stats().circuit, WASM_CIRCUIT_CLOSED);
  EXPECT_EQ(p.transform(built({"u1"}), out).status, WASM_STATUS_POLICY_THRESHOLD);
}

TEST(LossThreshold, BeginsAnewWithANewPolicy) {
  policed p;
  recorder out;
  for (int i = 0; i < 3; ++i) {
    p.set(losing(1, 100));
    EXPECT_EQ(p.stats().circuit, WASM_CIRCUIT_CLOSED);
    ASSERT_TRUE(succeeded(p.start()));
    EXPECT_TRUE(succeeded(p.transform(built({"u1"}), out)));
    EXPECT_EQ(p.transform(built({"u1"}), out).status, WASM_STATUS_POLICY_THRESHOLD);
  }
  EXPECT_EQ(p.stats().stops, 3U);
}

TEST(LossThreshold, ALetterThatIsNotTakenIsNoLoss) {
  policed p;
  p.set(losing(1, 100, letter));
  ASSERT_TRUE(succeeded(p.start()));
  c_sink refuses([](output_block, wasm_call*) { return WASM_CALLBACK_RESULT_FAILED; });
  const auto batch = built({"u1"});
  auto operation = begin(p, batch, refuses);
  EXPECT_EQ(finish(operation).status, WASM_STATUS_OUTPUT_REJECTED);
  EXPECT_EQ(p.stats().circuit, WASM_CIRCUIT_CLOSED);
  ASSERT_TRUE(succeeded(p.start()));
  recorder out;
  EXPECT_TRUE(succeeded(p.transform(batch, out)));
  EXPECT_EQ(p.stats().dead_lettered, 1U);
}

TEST(LossThreshold, DoesNotConcernFailuresOfTheHost) {
  policed p;
  p.set(losing(0, 1));
  ASSERT_TRUE(succeeded(p.start()));
  recorder out;
  EXPECT_EQ(p.transform(built({"h"}), out).status, WASM_STATUS_HOST_FUNCTION_FAILED);
  EXPECT_EQ(p.stats().circuit, WASM_CIRCUIT_CLOSED);
}

// ---- Restarts ----

policy restarting(std::uint32_t max, seconds window, wasm_on_error on_error = skip) {
  policy p;
  p.on_error = on_error;
  p.backoff_min = p.backoff_max = seconds(1);
  p.restart_max = max;
  p.restart_window = window;
  return p;
}

TEST(RestartThreshold, EndsStartsThatWouldBeTriedForEver) {
  policed p;
  fake_timer timer;
  p.set(restarting(3, seconds(100), WASM_ON_ERROR_FAIL), timer);
  p.starts->assign(50, false);
  const auto end = p.start();
  EXPECT_EQ(end.status, WASM_STATUS_POLICY_THRESHOLD);
  EXPECT_EQ(end.why->cause(), WASM_STATUS_GUEST_TRAP);
  EXPECT_FALSE(end.why->record());
  EXPECT_THAT(end.message(), AllOf(HasSubstr("3 restarts in 100s are behind it and no more may be"),
                                   HasSubstr("the next start waits 60s"), HasSubstr("while it started")));
  EXPECT_EQ(p.stats().restarts, 3U);
  EXPECT_EQ(p.stats().circuit, WASM_CIRCUIT_OPEN);
  EXPECT_EQ(p.state(), WASM_ENGINE_STATE_STOPPED);
  // Half-open: one failure is enough.
  EXPECT_EQ(p.start().status, WASM_STATUS_POLICY_THRESHOLD);
  EXPECT_EQ(p.stats().restarts, 4U);
  p.starts->clear();
  EXPECT_TRUE(succeeded(p.start()));
}

TEST(RestartThreshold, LooksAtTheLastTimeOnly) {
  policed p;
  fake_timer timer;
  p.set(restarting(2, seconds(10)), timer);
  ASSERT_TRUE(succeeded(p.start()));
  recorder out;
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(succeeded(p.transform(built({"u1", "k1"}), out))) << i;
    timer.time += seconds(5);
  }
  EXPECT_TRUE(succeeded(p.transform(built({"u1", "k1"}), out)));
  timer.time += seconds(4);
  const auto end = p.transform(built({"k1-0", "u1"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_POLICY_THRESHOLD);
  EXPECT_EQ(end.why->record()->index, 1U);
  EXPECT_EQ(out.values().back(), "k1-0");
  EXPECT_EQ(p.stats().skipped, 6U);
}

TEST(RestartThreshold, CountsAGuestThatEndsBetweenTwoRecords) {
  policed p;
  fake_timer timer;
  p.set(restarting(1, seconds(10)), timer);
  ASSERT_TRUE(succeeded(p.start()));
  recorder out;
  const auto end = p.transform(built({"b1-0", "k1-1", "b1-2", "k1-3"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_POLICY_THRESHOLD);
  EXPECT_FALSE(end.why->record()) << "it was between two";
  EXPECT_THAT(out.values(), ElementsAre("b1-0", "k1-1", "b1-2"));
  EXPECT_EQ(p.stats().skipped, 0U);
}

TEST(RestartThreshold, WithinABatchNamesTheBatchThatComesNext) {
  policed p;
  fake_timer timer;
  p.set(restarting(2, seconds(100)), timer);
  ASSERT_TRUE(succeeded(p.start()));
  p.starts->assign(10, false);
  recorder out;
  const auto end = p.transform(built({"k1-0", "u1", "k1-2"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_POLICY_THRESHOLD);
  EXPECT_FALSE(end.why->record());
  EXPECT_THAT(out.values(), ElementsAre("k1-0"));
  EXPECT_EQ(p.stats().skipped, 1U) << "that one was lost before";
}

TEST(RestartThreshold, DoesNotCountStartsOfTheHost) {
  policed p;
  fake_timer timer;
  p.set(restarting(0, seconds(1000), WASM_ON_ERROR_FAIL), timer);
  recorder out;
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(succeeded(p.start()));
    EXPECT_EQ(p.transform(built({"u1"}), out).status, WASM_STATUS_GUEST_TRAP);
  }
  p.starts->push_back(false);
  const auto end = p.start();
  EXPECT_EQ(end.status, WASM_STATUS_POLICY_THRESHOLD);
  EXPECT_THAT(end.message(), HasSubstr("it may not be started again"));
}

// ---- Other engines ----

TEST(ThresholdOfSharedEngines, EachUserHasItsOwn) {
  policed p;
  user bad(p.factory);
  user good(p.factory);
  for (auto* u : {&bad, &good}) {
    u->engine.set_policy(losing(1, 10)).value();
    u->start();
    EXPECT_TRUE(u->run());
  }
  const auto poison = built({"k1", "u1"});
  const auto fine = built({"k1", "k1"});
  bad.transform(poison);
  EXPECT_TRUE(bad.run());
  EXPECT_TRUE(bad.ok());
  good.transform(fine);
  EXPECT_TRUE(good.run());
  // The other one's records do not push the loss out of the window.
  for (int i = 0; i < 10; ++i) {
    good.transform(fine);
    EXPECT_TRUE(good.run());
  }
  bad.transform(poison);
  EXPECT_TRUE(bad.run());
  EXPECT_EQ(bad.status(), WASM_STATUS_POLICY_THRESHOLD);
  EXPECT_EQ(bad.engine.stats().value().circuit, WASM_CIRCUIT_OPEN);
  EXPECT_EQ(good.engine.stats().value().circuit, WASM_CIRCUIT_CLOSED);
  good.transform(poison);
  EXPECT_TRUE(good.run());
  EXPECT_TRUE(good.ok()) << "its first loss";
  EXPECT_EQ(only(p.runtime).raw.circuits_open, 1U);
  bad.release();
  EXPECT_EQ(only(p.runtime).raw.circuits_open, 0U);
}

TEST(ThresholdOfCustomEngines, IsTheSame) {
  const auto runtime = we::runtime::create().value();
  auto script = std::make_shared<we::dummy_script>();
  script->fails_at = 0;
  auto engine = we::engine::create(we::create_dummy_factory(runtime, with_topics({"out"}), script).value()).value();
  engine.set_policy(losing(1, 4)).value();
  ASSERT_TRUE(succeeded(finish(engine.start())));
  recorder out;
  EXPECT_TRUE(succeeded(finish(engine.transform(built({"bad", "a", "b", "c"}), out))));
  EXPECT_TRUE(succeeded(finish(engine.transform(built({"bad", "d"}), out)))) << "the first one is four records away";
  const auto end = finish(engine.transform(built({"bad", "e"}), out));
  EXPECT_EQ(end.status, WASM_STATUS_POLICY_THRESHOLD);
  EXPECT_EQ(end.why->cause(), WASM_STATUS_CUSTOM_ENGINE_FAILED);
  EXPECT_EQ(end.why->record()->index, 0U);
  EXPECT_THAT(out.values(), ElementsAre("a", "b", "c", "d"));
}

TEST(Threshold, AHotSwapClosesTheCircuit) {
  policed p;
  p.set(losing(1, 100));
  ASSERT_TRUE(succeeded(p.start()));
  recorder out;
  EXPECT_EQ(p.transform(built({"u1", "u1"}), out).status, WASM_STATUS_POLICY_THRESHOLD);
  EXPECT_EQ(only(p.runtime).raw.circuits_open, 1U);
  auto replacing = p.engine.replace(p.factory).value();
  EXPECT_TRUE(succeeded(finish(replacing)));
  EXPECT_EQ(p.state(), WASM_ENGINE_STATE_IDLE);
  EXPECT_EQ(p.stats().circuit, WASM_CIRCUIT_CLOSED);
  EXPECT_EQ(only(p.runtime).raw.circuits_open, 0U);
  EXPECT_TRUE(succeeded(p.transform(built({"u1"}), out))) << "the window is empty, too";
  EXPECT_EQ(p.transform(built({"u1"}), out).status, WASM_STATUS_POLICY_THRESHOLD);
  EXPECT_EQ(p.stats().stops, 2U);
}

TEST(Threshold, MetricsShowCircuitsAndStops) {
  policed p;
  p.set(losing(0, 1, skip, 2));
  ASSERT_TRUE(succeeded(p.start()));
  recorder out;
  EXPECT_EQ(p.transform(built({"u1"}), out).status, WASM_STATUS_POLICY_THRESHOLD);
  auto m = only(p.runtime);
  EXPECT_EQ(m.raw.circuits_open, 1U);
  EXPECT_EQ(m.raw.circuits_half_open, 0U);
  EXPECT_EQ(m.raw.policy_stops, 1U);
  EXPECT_EQ(m.raw.engines_failed, 1U);
  EXPECT_THAT(m.errors, ElementsAre(testing::Pair(WASM_STATUS_GUEST_TRAP, 1))) << "each failure counts once";
  EXPECT_THAT(text(p.runtime), AllOf(HasSubstr("wasm_policy_stops_total{transform=\"tested\",shard=\"0\"} 1\n"),
                                     HasSubstr("wasm_circuits{transform=\"tested\",shard=\"0\",state=\"open\"} 1\n")));
  ASSERT_TRUE(succeeded(p.start()));
  EXPECT_EQ(only(p.runtime).raw.circuits_open, 0U);
  EXPECT_EQ(only(p.runtime).raw.circuits_half_open, 1U);
  EXPECT_TRUE(succeeded(p.transform(built({"k1", "k1"}), out)));
  EXPECT_EQ(only(p.runtime).raw.circuits_half_open, 0U);
}

// ---- Random sequences ----

TEST(Threshold, DecidesAsTheDefinitionDoesForAnySequenceAndAnyCut) {
  std::mt19937 random(7);
  const auto one_of = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
  int stops = 0;
  for (int round = 0; round < 12; ++round) {
    const auto window = static_cast<std::uint32_t>(2 + one_of(12));
    const auto max = static_cast<std::uint32_t>(one_of(static_cast<int>(window)));
    const auto half_open = static_cast<std::uint32_t>(1 + one_of(5));
    policed p;
    p.set(losing(max, window, round % 2 == 0 ? skip : letter, half_open));
    ASSERT_TRUE(succeeded(p.start()));
    // The definition: what was lost of all records since the circuit was closed.
    std::vector<bool> lost;
    std::uint32_t trial = 0;
    auto circuit = WASM_CIRCUIT_CLOSED;
    std::uint64_t lost_in_all = 0;
    for (int i = 0; i < 25; ++i) {
      batches all;
      std::vector<std::string> values;
      std::vector<std::size_t> batch_of;
      for (int b = 1 + one_of(3), at = 0; at < b; ++at) {
        std::vector<std::string> some;
        for (int n = 1 + one_of(6); n > 0; --n) {
          some.push_back(one_of(6) == 0 ? "u1" : "k1");
          values.push_back(some.back());
          batch_of.push_back(static_cast<std::size_t>(at));
        }
        all.push_back(built(some));
      }
      std::optional<std::size_t> stopped;
      for (std::size_t at = 0; at < values.size() && !stopped; ++at) {
        if (values[at] == "k1") {
          lost.push_back(false);
          if (circuit == WASM_CIRCUIT_HALF_OPEN && ++trial == half_open) {
            circuit = WASM_CIRCUIT_CLOSED;
            lost.clear();
          }
          continue;
        }
        const auto from = lost.size() >= window ? lost.size() - (window - 1) : 0;
        const auto recent = std::count(lost.begin() + static_cast<std::ptrdiff_t>(from), lost.end(), true);
        if (circuit == WASM_CIRCUIT_HALF_OPEN || recent + 1 > static_cast<std::ptrdiff_t>(max)) {
          stopped = at;
          circuit = WASM_CIRCUIT_OPEN;
        } else {
          lost.push_back(true);
          ++lost_in_all;
        }
      }
      sorting_sink sink;
      auto operation = many(p.engine, all, sink);
      const auto end = finish(operation);
      ASSERT_EQ(end.status, stopped ? WASM_STATUS_POLICY_THRESHOLD : WASM_STATUS_OK) << end.message();
      ASSERT_EQ(p.stats().skipped + p.stats().dead_lettered, lost_in_all);
      ASSERT_EQ(p.stats().circuit, circuit);
      if (stopped) {
        ++stops;
        EXPECT_EQ(end.why->batch(), batch_of[*stopped]);
        const auto first = std::find(batch_of.begin(), batch_of.end(), batch_of[*stopped]) - batch_of.begin();
        EXPECT_EQ(end.why->record()->index, *stopped - static_cast<std::size_t>(first));
        ASSERT_TRUE(succeeded(p.start()));
        circuit = WASM_CIRCUIT_HALF_OPEN;
        trial = 0;
      }
    }
  }
  EXPECT_GT(stops, 20);
}

// ---- Misuse ----

TEST(SetThreshold, RefusesWhatCannotHold) {
  policed p;
  fake_timer timer;
  const auto refused = [&](const policy& wrong, const char* why, bool with_timer = true) {
    const auto set = with_timer ? p.engine.set_policy(wrong, timer) : p.engine.set_policy(wrong);
    ASSERT_FALSE(set);
    EXPECT_EQ(set.err().status(), WASM_STATUS_INVALID_ARGUMENT);
    EXPECT_THAT(set.err().what(), HasSubstr(why));
  };
  refused(losing(5, 5), "less than lost_window");
  refused(losing(1, 0), "less than lost_window");
  refused(losing(65'536, 100'000), "at most 65535");
  refused(losing(1, 2, WASM_ON_ERROR_FAIL), "loses records");
  refused(restarting(1, seconds(0)), "restart_window_ns is 0");
  refused(restarting(65'536, seconds(1)), "at most 65535");
  refused(restarting(1, seconds(1)), "needs a timer", false);
  auto limits = losing(1, 2);
  limits.open = seconds(1);
  refused(limits, "needs a timer", false);
  refused({.on_error = skip, .half_open_records = 1}, "need lost_window or restart_window_ns");
  refused({.on_error = skip, .open = seconds(1)}, "need lost_window or restart_window_ns");
  ASSERT_TRUE(p.engine.set_policy(losing(65'535, 0xffff'ffff)));
  EXPECT_TRUE(p.works());
  EXPECT_EQ(p.engine.set_policy(losing(1, 2)).err().status(), WASM_STATUS_INVALID_STATE) << "it is started";
}

TEST(SetThreshold, APolicyOfAnOlderHeaderHasNone) {
  policed p;
  wasm_engine_policy raw{};
  raw.on_error = skip;
  raw.size = offsetof(wasm_engine_policy, lost_max);
  raw.lost_window = 1;  // behind its end
  ASSERT_EQ(wasm_engine_set_policy(p.engine.get(), &raw, nullptr), WASM_STATUS_OK);
  ASSERT_TRUE(succeeded(p.start()));
  recorder out;
  EXPECT_TRUE(succeeded(p.transform(built({"u1", "u1"}), out)));
  wasm_engine_stats stats{};
  stats.size = offsetof(wasm_engine_stats, stops);
  stats.stops = 77;
  ASSERT_EQ(wasm_engine_get_stats(p.engine.get(), &stats, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(stats.skipped, 2U);
  EXPECT_EQ(stats.stops, 77U) << "an older host has no room for it";
}

}  // namespace
