// SPDX-License-Identifier: Apache-2.0
//
// Metrics of transforms: that what is counted is what happened.
#include "support/metrics.hh"
#include "support/policy.hh"

#include <gmock/gmock.h>

#include <atomic>
#include <limits>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;

namespace {

// ---- Exact counts ----

TEST(Metrics, AreExactAfterKnownWork) {
  bench b("c_identity");
  const std::vector<std::string> small{"a", "bb"};
  const std::vector<std::string> large(1'000, std::string(1'000, 'x'));
  b.run(small);
  b.run(large);
  b.run({"ccc"});
  const auto m = only(b.runtime);
  const auto bytes = payload_bytes(small) + payload_bytes(large) + payload_bytes({"ccc"});
  EXPECT_EQ(m.raw.engines, 1U);
  EXPECT_EQ(m.raw.input_records, 1'003U);
  EXPECT_EQ(m.raw.input_bytes, bytes);
  EXPECT_EQ(m.raw.output_records, 1'003U);
  EXPECT_EQ(m.raw.output_bytes, bytes);
  EXPECT_EQ(m.observed, 1'003U);
  EXPECT_EQ(m.raw.restarts, 0U);
  EXPECT_EQ(m.raw.log_suppressed_lines, 0U);
  EXPECT_THAT(m.errors, IsEmpty());
  EXPECT_GT(m.raw.latency_sum_ns, 0U);
  EXPECT_GT(m.raw.cpu_ns, m.raw.latency_sum_ns) << "the start took time, too";
}

TEST(Metrics, CountEachRecordOfSmallBatchesAlthoughNotAllAreTimed) {
  bench b("c_identity");
  for (int i = 0; i < 1'000; ++i) {
    b.run({"x"});
  }
  const auto m = only(b.runtime);
  EXPECT_EQ(m.raw.input_records, 1'000U);
  EXPECT_EQ(m.raw.output_records, 1'000U);
  EXPECT_EQ(m.observed, 1'000U);
}

TEST(Metrics, ASingleRecordIsInTheBucketOfItsLatency) {
  bench b("c_logger");
  b.run({"x"});
  const auto snapshot = we::metrics::create(b.runtime).value();
  const auto m = snapshot[0];
  ASSERT_EQ(m.latency().size(), 26U);
  std::uint64_t lowest = 0;
  for (const auto& bucket : m.latency()) {
    if (bucket.records == 1) {
      EXPECT_GT(m->latency_sum_ns, lowest);
      EXPECT_LE(m->latency_sum_ns, bucket.end_ns);
    } else {
      EXPECT_EQ(bucket.records, 0U);
    }
    EXPECT_GT(bucket.end_ns, lowest);
    lowest = bucket.end_ns;
  }
  EXPECT_EQ(lowest, std::numeric_limits<std::uint64_t>::max());
}

TEST(Metrics, MemoryIsWhatTheEnginesHaveNow) {
  wasm_runtime_config config{};
  config.memory_limit = 2U << 20;
  bench b("c_identity", config);
  auto second = we::engine::create(b.factory).value();
  EXPECT_EQ(only(b.runtime).raw.memory_bytes, 0U) << "nothing is started";
  EXPECT_EQ(only(b.runtime).raw.memory_limit_bytes, 4U << 20);
  b.run({"x"});
  run(second, {"x"});
  EXPECT_EQ(only(b.runtime).raw.memory_bytes, b.engine.memory_size().value() + second.memory_size().value());
  EXPECT_GT(second.memory_size().value(), 0U);
  ASSERT_TRUE(succeeded(b.stop()));
  EXPECT_EQ(only(b.runtime).raw.memory_bytes, second.memory_size().value());
  EXPECT_EQ(only(b.runtime).raw.engines, 2U) << "it is stopped, but there";
  second = {};
  EXPECT_EQ(only(b.runtime).raw.memory_bytes, 0U);
  EXPECT_EQ(only(b.runtime).raw.memory_limit_bytes, 2U << 20);
}

TEST(Metrics, RestartsAreStartsAfterTheFirstOfAnEngine) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  auto second = we::engine::create(b.factory).value();
  ASSERT_TRUE(succeeded(finish(second.start())));
  EXPECT_EQ(only(b.runtime).raw.restarts, 0U);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(succeeded(b.stop()));
    ASSERT_TRUE(succeeded(b.start()));
  }
  EXPECT_EQ(only(b.runtime).raw.restarts, 3U);
}

// ---- Errors ----

TEST(Metrics, CountEachFailedOperationOnceByItsStatus) {
  bench b("wat_traps");
  recorder out;
  ASSERT_TRUE(succeeded(b.start()));
  EXPECT_EQ(b.transform(kafka::values({"good", "u", "never"}), out).status, WASM_STATUS_GUEST_TRAP);
  auto m = only(b.runtime);
  EXPECT_THAT(m.errors, ElementsAre(Pair(WASM_STATUS_GUEST_TRAP, 1)));
  EXPECT_EQ(m.raw.input_records, 2U) << "the one that it failed at was taken";
  EXPECT_EQ(m.raw.output_records, 1U);
  EXPECT_EQ(m.observed, 2U);

  ASSERT_TRUE(succeeded(b.start()));
  auto broken = built({"x"});
  broken.back() ^= 1;
  EXPECT_EQ(b.transform(broken, out).status, WASM_STATUS_BATCH_CRC);
  EXPECT_EQ(b.transform(broken, out).status, WASM_STATUS_BATCH_CRC);
  EXPECT_THAT(only(b.runtime).errors, ElementsAre(Pair(WASM_STATUS_GUEST_TRAP, 1), Pair(WASM_STATUS_BATCH_CRC, 2)));

  auto refusing = [](output_block, we::output_call) -> wasm_callback_result { return WASM_CALLBACK_RESULT_FAILED; };
  EXPECT_EQ(b.transform(built({"good"}), refusing).status, WASM_STATUS_OUTPUT_REJECTED);
  m = only(b.runtime);
  EXPECT_EQ(m.errors.at(WASM_STATUS_OUTPUT_REJECTED), 1U);
  EXPECT_EQ(m.raw.output_records, 1U) << "what the sink did not accept is not output";
  EXPECT_EQ(m.raw.input_records, 3U);
}

TEST(Metrics, RecordsThatAPolicyTakesOutAreCounted) {
  policed skipping(WASM_ON_ERROR_SKIP);
  policed lettering(WASM_ON_ERROR_DEAD_LETTER);
  recorder out;
  const auto batch = built({"a", "u", "b", "x", "c"});
  for (auto* p : {&skipping, &lettering}) {
    ASSERT_TRUE(succeeded(p->start()));
    ASSERT_TRUE(succeeded(p->transform(batch, out)));
  }
  const auto skipped = only(skipping.runtime).raw;
  EXPECT_EQ(skipped.skipped_records, 2U);
  EXPECT_EQ(skipped.dead_lettered_records, 0U);
  EXPECT_EQ(skipped.queued_batches, 0U);
  const auto lettered = only(lettering.runtime).raw;
  EXPECT_EQ(lettered.skipped_records, 0U);
  EXPECT_EQ(lettered.dead_lettered_records, 2U);
  EXPECT_THAT(text(skipping.runtime), HasSubstr("wasm_skipped_records_total{transform=\"tested\",shard=\"0\"} 2\n"));
  EXPECT_THAT(text(lettering.runtime),
              HasSubstr("wasm_dead_lettered_records_total{transform=\"tested\",shard=\"0\"} 2\n"));
  EXPECT_THAT(text(lettering.runtime), HasSubstr("wasm_queued_batches{transform=\"tested\",shard=\"0\"} 0\n"));
  // A letter that was not taken is none.
  c_sink refuses([](we::output_block, wasm_call*) { return WASM_CALLBACK_RESULT_FAILED; });
  const auto letter = built({"u"});
  auto operation = begin(lettering, letter, refuses);
  EXPECT_EQ(finish(operation).status, WASM_STATUS_OUTPUT_REJECTED);
  EXPECT_EQ(only(lettering.runtime).raw.dead_lettered_records, 2U);
}

TEST(Metrics, FailedStartsCount) {
  bench b("wat_start_trap");
  EXPECT_EQ(b.start().status, WASM_STATUS_GUEST_TRAP);
  EXPECT_EQ(b.start().status, WASM_STATUS_GUEST_TRAP);
  EXPECT_THAT(only(b.runtime).errors, ElementsAre(Pair(WASM_STATUS_GUEST_TRAP, 2)));
  EXPECT_EQ(only(b.runtime).raw.restarts, 1U);
}

TEST(Metrics, ACancelledOperationCountsOnceHoweverItIsCancelledAndHoweverOftenPolled) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto batch = built({"x"});
  {
    auto stopped = b.engine.transform(batch, out).value();
    ASSERT_TRUE(succeeded(b.stop()));
    EXPECT_EQ(stopped.poll().err().status(), WASM_STATUS_CANCELLED);
  }
  EXPECT_THAT(only(b.runtime).errors, ElementsAre(Pair(WASM_STATUS_CANCELLED, 1)));
  ASSERT_TRUE(succeeded(b.start()));
  (void)b.engine.transform(batch, out).value();  // released at once
  EXPECT_THAT(only(b.runtime).errors, ElementsAre(Pair(WASM_STATUS_CANCELLED, 2)));
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
  ASSERT_TRUE(succeeded(b.stop()));
  EXPECT_THAT(only(b.runtime).errors, ElementsAre(Pair(WASM_STATUS_CANCELLED, 2))) << "there was nothing to cancel";

  auto second = we::engine::create(b.factory).value();
  ASSERT_TRUE(succeeded(finish(second.start())));
  auto released = second.transform(batch, out).value();
  second = {};
  EXPECT_THAT(only(b.runtime).errors, ElementsAre(Pair(WASM_STATUS_CANCELLED, 3)));
  EXPECT_EQ(only(b.runtime).raw.engines, 1U) << "although a future of the other is still there";
}

TEST(Metrics, MisuseIsNoFailure) {
  bench b("c_identity");
  recorder out;
  const auto batch = built({"x"});
  EXPECT_EQ(finish(b.engine.transform(batch, out)).status, WASM_STATUS_INVALID_STATE);
  ASSERT_TRUE(succeeded(b.start()));
  EXPECT_EQ(finish(b.engine.start()).status, WASM_STATUS_INVALID_STATE);
  std::thread([&] { EXPECT_EQ(finish(b.engine.start()).status, WASM_STATUS_WRONG_THREAD); }).join();
  EXPECT_THAT(only(b.runtime).errors, IsEmpty());
}

// ---- Adding up, and going ----

TEST(Metrics, EnginesOfOneNameAndShardAddUpAndShardsAreApart) {
  bench b("c_identity");
  b.run({"x", "y"});
  auto second = we::engine::create(b.factory).value();
  run(second, {"z"});
  on_shard(b.runtime, 7, [&] {
    auto first = we::engine::create(b.factory).value();
    auto other = we::engine::create(compile(b.runtime, "c_identity", {"other", "in", {"out"}, {}})).value();
    run(first, {"1", "2", "3"});
    run(other, {"4", "5", "6", "7"});
    const auto m = all(b.runtime);
    ASSERT_EQ(m.size(), 3U);
    EXPECT_EQ(m.at({"tested", 0}).raw.engines, 2U);
    EXPECT_EQ(m.at({"tested", 0}).raw.input_records, 3U);
    EXPECT_EQ(m.at({"tested", 7}).raw.engines, 1U);
    EXPECT_EQ(m.at({"tested", 7}).raw.input_records, 3U);
    EXPECT_EQ(m.at({"other", 7}).raw.input_records, 4U);
    EXPECT_EQ(we::runtime_metrics(b.runtime).value().engines, 4U);
  });
  EXPECT_EQ(all(b.runtime).size(), 3U) << "what was released is read once more";
  EXPECT_EQ(only(b.runtime).raw.input_records, 3U) << "and disappears then";
}

TEST(Metrics, AThreadKeepsItsShardUntilItGetsAnother) {
  bench b("c_identity");
  on_shard(b.runtime, 3, [&] {
    ASSERT_TRUE(we::prepare_thread(b.runtime));
    auto engine = we::engine::create(b.factory).value();
    ASSERT_TRUE(we::prepare_thread(b.runtime, 0, 4));
    auto later = we::engine::create(b.factory).value();
    const auto m = all(b.runtime);
    EXPECT_EQ(m.count({"tested", 3}), 1U) << "0 changes nothing";
    EXPECT_EQ(m.count({"tested", 4}), 1U);
  });
}

TEST(Metrics, WhatAReleasedEngineCountedStaysWhileAnotherOfItsNameLives) {
  bench b("c_identity");
  auto second = we::engine::create(b.factory).value();
  run(second, {"1", "2"});
  b.run({"3"});
  const auto before = only(b.runtime);
  second = {};
  const auto after = only(b.runtime);
  EXPECT_EQ(after.raw.engines, 1U);
  EXPECT_EQ(after.raw.input_records, 3U);
  EXPECT_EQ(after.raw.output_bytes, before.raw.output_bytes);
  EXPECT_EQ(after.observed, 3U);
  EXPECT_GE(after.raw.cpu_ns, before.raw.cpu_ns);
  b.engine = {};
  EXPECT_EQ(only(b.runtime).raw.engines, 0U) << "it is read once more";
  EXPECT_THAT(all(b.runtime), IsEmpty());
  EXPECT_THAT(text(b.runtime), Not(HasSubstr("transform=")));
  b.engine = we::engine::create(b.factory).value();
  EXPECT_EQ(only(b.runtime).raw.input_records, 0U) << "it begins anew";
}

TEST(Metrics, RuntimesAreApart) {
  bench one("c_identity");
  bench two("c_identity");
  one.run({"x"});
  EXPECT_EQ(only(one.runtime).raw.input_records, 1U);
  EXPECT_EQ(only(two.runtime).raw.input_records, 0U);
}

TEST(Metrics, CountersNeverGoBackWhileEnginesComeAndGoAndWork) {
  bench b("c_identity");
  constexpr std::uint32_t shards = 2;
  constexpr int rounds = 30;
  constexpr int batches = 20;
  std::atomic<std::uint32_t> begun = 0;
  std::atomic<std::uint32_t> done = 0;
  std::atomic<bool> read = false;
  std::vector<std::thread> workers;
  for (std::uint32_t shard = 1; shard <= shards; ++shard) {
    workers.emplace_back([&, shard] {
      ASSERT_TRUE(we::prepare_thread(b.runtime, 0, shard));
      const auto staying = we::engine::create(b.factory).value();
      ++begun;
      for (int round = 0; round < rounds; ++round) {
        auto engine = we::engine::create(b.factory).value();
        for (int i = 0; i < batches; ++i) {
          run(engine, {"1", "2", "3"});
        }
      }
      ++done;
      while (!read) {  // the series must not go before its last numbers were read
        std::this_thread::yield();
      }
    });
  }
  while (begun < shards) {
    std::this_thread::yield();
  }
  auto snapshot = we::metrics::create(b.runtime).value();
  std::map<key, std::vector<std::uint64_t>> last;
  int readings = 0;
  for (bool over = false; !over; ++readings) {
    over = done == shards;
    ASSERT_TRUE(snapshot.update());
    for (const auto m : snapshot) {
      const numbers n(m);
      const std::vector<std::uint64_t> now{m->cpu_ns,       m->latency_sum_ns, m->input_records, m->input_bytes,
                                           m->output_bytes, m->output_records, m->restarts,      n.observed};
      auto& before = last[key(m.transform(), m.shard())];
      for (std::size_t i = 0; i < before.size(); ++i) {
        ASSERT_GE(now[i], before[i]) << "number " << i << " of shard " << m.shard();
      }
      before = now;
    }
  }
  for (std::uint32_t shard = 1; shard <= shards; ++shard) {
    EXPECT_EQ((last[{"tested", shard}][2]), std::uint64_t{3} * rounds * batches);
    EXPECT_EQ((last[{"tested", shard}][7]), std::uint64_t{3} * rounds * batches);
  }
  read = true;
  for (auto& worker : workers) {
    worker.join();
  }
  EXPECT_GT(readings, 1);
}

}  // namespace
