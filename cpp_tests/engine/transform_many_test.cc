// SPDX-License-Identifier: Apache-2.0
//
// Several batches in one call: order, output by batch, time slices, and misuse of the C functions.
#include "support/custom.hh"
#include "support/many.hh"
#include "support/metrics.hh"
#include "support/policy.hh"

#include <gmock/gmock.h>

#include <random>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

namespace {

using strings = std::vector<std::string>;

const strings five{"a", "b", "c", "d", "e"};

/// A poll by hand.
wasm_poll poll(wasmengine::future& operation) { return operation.poll().value(); }

TEST(TransformMany, SmallBatchesShareABlockThatSaysWhoseItsRecordsAre) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  const auto all = batches_of({{"a"}, {"b", "c"}, {}, {"d"}, {}});
  sorting_sink sink;
  auto operation = many(b.engine, all, sink);
  const auto end = finish(operation);
  EXPECT_TRUE(succeeded(end));
  EXPECT_EQ(end.polls, 1);
  EXPECT_EQ(sink.calls, 1);
  EXPECT_EQ(sink.drops, 1);
  EXPECT_THAT(sink.kept.values(0), ElementsAre("a"));
  EXPECT_THAT(sink.kept.values(1), ElementsAre("b", "c"));
  EXPECT_THAT(sink.kept.values(2), IsEmpty());
  EXPECT_THAT(sink.kept.values(3), ElementsAre("d"));
  EXPECT_EQ(sink.kept.all[3].records[0].input_offset, 100) << "offsets repeat";
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_IDLE);
  EXPECT_TRUE(works(b));
}

TEST(TransformMany, OneBatchIsATransform) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  const auto all = batches_of({{"a", "b"}});
  sorting_sink sink;
  auto operation = many(b.engine, all, sink, 1);
  EXPECT_TRUE(succeeded(finish(operation)));
  EXPECT_THAT(sink.kept.values(0), ElementsAre("b"));

  sorting_sink plain;
  auto single = begin(b, all[0], plain);
  EXPECT_TRUE(succeeded(finish(single)));
  EXPECT_THAT(plain.kept.values(0), ElementsAre("a", "b")) << "a transform's block is that of batch 0";
}

TEST(TransformMany, TheFirstRecordIsOneOfTheFirstBatch) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  const auto all = batches_of({five, five});
  sorting_sink sink;
  auto operation = many(b.engine, all, sink, 3);
  EXPECT_TRUE(succeeded(finish(operation)));
  EXPECT_THAT(sink.kept.values(0), ElementsAre("d", "e"));
  EXPECT_EQ(sink.kept.values(1), five);
}

// Batches of all sizes and codecs give what they give one by one.
TEST(TransformMany, GivesWhatOneByOneGives) {
  for (const auto* guest : {"c_identity", "rust_identity"}) {
    bench b(guest);
    ASSERT_TRUE(succeeded(b.start()));
    std::mt19937 random(7);
    for (int round = 0; round < 6; ++round) {
      batches all;
      const auto count = 2 + random() % 40;
      while (all.size() < count) {
        strings values;
        const auto kind = random() % 8;
        const std::size_t records = kind == 0 ? 0 : kind == 1 ? 1500 : kind == 2 ? 5000 : 1 + random() % 4;
        while (values.size() < records) {
          const auto size = kind == 3 ? 50'000 : random() % 100;
          values.emplace_back(size, static_cast<char>('a' + random() % 26));
        }
        const auto codec = random() % 3 == 0 ? codecs[random() % 5] : WASM_COMPRESSION_NONE;
        all.push_back(built(values, {static_cast<std::int64_t>(random() % 3), codec}));
      }
      sorting_sink sink;
      auto operation = many(b.engine, all, sink);
      ASSERT_TRUE(succeeded(finish(operation)));
      for (std::uint32_t i = 0; i < all.size(); ++i) {
        recorder alone;
        ASSERT_TRUE(succeeded(b.transform(all[i], alone)));
        EXPECT_EQ(sink.kept.values(i), alone.values()) << i;
      }
    }
  }
}

TEST(TransformMany, ThousandsOfBatchesAreToldApart) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  batches all;
  for (int i = 0; i < 3000; ++i) {
    all.push_back(built({std::to_string(i)}));
  }
  sorting_sink sink;
  auto operation = many(b.engine, all, sink);
  EXPECT_TRUE(succeeded(finish(operation)));
  for (std::uint32_t i = 0; i < all.size(); ++i) {
    ASSERT_THAT(sink.kept.values(i), ElementsAre(std::to_string(i)));
  }
  EXPECT_LT(sink.calls, 300) << "they share blocks";
}

TEST(TransformMany, OutputOfOneRecordThatTakesManyBlocksIsItsBatchs) {
  wasm_runtime_config config{};
  config.output_buffer_limit = 1 << 20;
  policed p(config);
  ASSERT_TRUE(succeeded(p.start()));
  auto large = kafka::values({"k9", "k9", "k9"});
  large.leader_epoch = 3;
  const batches all{built({"k1"}), large.encode(), built({"k2"}), large.encode()};
  sorting_sink sink;
  auto operation = many(p.engine, all, sink);
  EXPECT_TRUE(succeeded(finish(operation)));
  EXPECT_THAT(sink.kept.values(0), ElementsAre("k1"));
  EXPECT_THAT(sink.kept.values(1), SizeIs(27));
  EXPECT_THAT(sink.kept.values(2), ElementsAre("k2", "k2"));
  EXPECT_THAT(sink.kept.values(3), SizeIs(27));
}

TEST(TransformMany, AGuestThatWritesBeforeTheFirstRecordWritesForItsBatch) {
  policed p;
  ASSERT_TRUE(succeeded(p.start()));
  auto counted = kafka::values({"k1", "k1"});
  counted.leader_epoch = 2;
  const batches all{counted.encode(), counted.encode()};
  sorting_sink sink;
  auto operation = many(p.engine, all, sink);
  EXPECT_TRUE(succeeded(finish(operation)));
  EXPECT_THAT(sink.kept.values(0), ElementsAre("2", "k1", "k1"));
  EXPECT_THAT(sink.kept.values(1), ElementsAre("2", "k1", "k1"));
}

// A guest that takes its time. When a poll yields, the sink has what is complete.
TEST(TransformMany, YieldsBetweenSlicesAndHasDeliveredWhatIsComplete) {
  wasm_runtime_config config{};
  config.time_slice_ns = 200'000;
  bench b("c_identity", config);
  ASSERT_TRUE(succeeded(b.start()));
  batches all;
  for (int i = 0; i < 20'000; ++i) {
    all.push_back(built({std::string(64, 'x')}));
  }
  sorting_sink sink;
  auto operation = many(b.engine, all, sink);
  int yields = 0;
  std::size_t before = 0;
  for (;;) {
    const auto state = poll(operation);
    if (state == WASM_POLL_READY) {
      break;
    }
    ASSERT_EQ(state, WASM_POLL_YIELDED);
    yields += 1;
    EXPECT_GE(sink.kept.all.size(), before);
    before = sink.kept.all.size();
  }
  EXPECT_GT(yields, 1) << "20,000 batches take longer than a slice of 0.2 ms";
  EXPECT_EQ(sink.kept.all.size(), all.size());
}

TEST(TransformMany, TimeLimitsAreThoseOfTheRecords) {
  wasm_runtime_config config{};
  config.record_time_limit_ns = 400'000'000;
  policed p(config);
  ASSERT_TRUE(succeeded(p.start()));
  const auto all = batches_of({{"k1"}, {"k1", "l1"}, {"k1"}});
  sorting_sink sink;
  auto operation = many(p.engine, all, sink);
  const auto end = finish(operation);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TIMEOUT);
  EXPECT_EQ(end.why->batch(), 1U);
  EXPECT_EQ(end.why->record()->index, 1U);
  EXPECT_THAT(sink.kept.values(0), ElementsAre("k1"));
  EXPECT_THAT(sink.kept.values(1), ElementsAre("k1"));
}

TEST(TransformMany, CountsRecordsOfAllBatches) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  const auto all = batches_of({{"a"}, {"b", "c"}, {"d"}});
  sorting_sink sink;
  auto operation = many(b.engine, all, sink);
  EXPECT_TRUE(succeeded(finish(operation)));
  const auto seen = only(b.runtime);
  EXPECT_EQ(seen.raw.input_records, 4U);
  EXPECT_EQ(seen.raw.output_records, 4U);
  EXPECT_EQ(seen.observed, 4U);
}

TEST(TransformMany, AtOnceNeedsNoFuture) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  const auto one = built({"a"}), other = built({"b"});
  const wasm_slice slices[] = {wasmengine::as_slice(kafka::view(one)), wasmengine::as_slice(kafka::view(other))};
  sorting_sink sink;
  const auto raw = sink.raw();
  waker_tally wakers;
  const auto waker = wakers.give();
  wasm_transform_many_args args{sizeof(args), slices, 2, &raw, 0};
  wasm_poll state{};
  wasm_future* future = reinterpret_cast<wasm_future*>(alignof(std::max_align_t));
  EXPECT_EQ(wasm_engine_transform_many_and_poll(b.engine.get(), &args, &waker, &state, &future, nullptr),
            WASM_STATUS_OK);
  EXPECT_EQ(state, WASM_POLL_READY);
  EXPECT_EQ(future, nullptr);
  EXPECT_EQ(wakers.dropped(), 1);
  EXPECT_EQ(sink.drops, 1);
  EXPECT_THAT(sink.kept.values(1), ElementsAre("b"));
}

TEST(TransformMany, MisuseUsesTheSinkUpAndBeginsNothing) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  bench stopped("c_identity");
  const auto batch = built({"a"});
  const wasm_slice good[] = {wasmengine::as_slice(kafka::view(batch)), wasmengine::as_slice(kafka::view(batch))};
  const wasm_slice bad[] = {good[0], {nullptr, 5}};
  sorting_sink sink;
  const auto raw = sink.raw();
  int drops = 0;
  const auto refused = [&](wasm_engine* engine, const wasm_slice* slices, std::size_t count, std::uint32_t first,
                           wasm_status expected) {
    wasm_future* const untouched = reinterpret_cast<wasm_future*>(alignof(std::max_align_t));
    for (const bool polls : {false, true}) {
      wasm_future* future = untouched;
      wasm_poll state{};
      const wasm_transform_many_args args{sizeof(args), slices, count, &raw, first};
      EXPECT_EQ(polls ? wasm_engine_transform_many_and_poll(engine, &args, nullptr, &state, &future, nullptr)
                      : wasm_engine_transform_many(engine, &args, &future, nullptr),
                expected);
      EXPECT_EQ(future, untouched) << "written on success only";
      EXPECT_EQ(sink.drops, ++drops);
    }
  };
  refused(nullptr, good, 2, 0, WASM_STATUS_NULL_ARGUMENT);
  refused(b.engine.get(), nullptr, 2, 0, WASM_STATUS_NULL_ARGUMENT);
  refused(b.engine.get(), bad, 2, 0, WASM_STATUS_NULL_ARGUMENT);
  refused(b.engine.get(), good, 0, 0, WASM_STATUS_INVALID_ARGUMENT);
  refused(b.engine.get(), nullptr, 0, 0, WASM_STATUS_INVALID_ARGUMENT);
  refused(b.engine.get(), good, std::size_t{1} << 33, 0, WASM_STATUS_INVALID_ARGUMENT);
  refused(b.engine.get(), good, 2, 1, WASM_STATUS_INVALID_ARGUMENT);
  refused(stopped.engine.get(), good, 2, 0, WASM_STATUS_INVALID_STATE);
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_IDLE);

  wasm_future* future = nullptr;
  wasm_transform_many_args args{sizeof(args), good, 2, &raw, 0};
  EXPECT_EQ(wasm_engine_transform_many(b.engine.get(), &args, nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(sink.drops, ++drops);
  args.size = 8;
  EXPECT_EQ(wasm_engine_transform_many(b.engine.get(), &args, &future, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  EXPECT_EQ(wasm_engine_transform_many(b.engine.get(), nullptr, &future, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(sink.drops, drops) << "a sink that could not be read";
  wasm_output_sink incomplete = raw;
  incomplete.records = nullptr;
  args.size = sizeof(args);
  args.sink = &incomplete;
  EXPECT_EQ(wasm_engine_transform_many(b.engine.get(), &args, &future, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(sink.drops, ++drops);
  EXPECT_TRUE(works(b));
}

TEST(TransformMany, OnlyASinksCallHasBatches) {
  c_engine table;
  wasm_status status = WASM_STATUS_OK;
  wasm_status without = WASM_STATUS_OK;
  table.on_transform = [&](wasm_slice, std::uint32_t, wasm_work*, wasm_call* call) -> wasm_callback_result {
    const wasm_output_batch* runs = nullptr;
    std::size_t count = 0;
    status = wasm_call_output_batches(call, &runs, &count, nullptr);
    without = wasm_call_output_batches(call, nullptr, &count, nullptr);
    return WASM_CALLBACK_RESULT_DONE;
  };
  custom_bench b(table);
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  EXPECT_TRUE(succeeded(b.transform(built({"a"}), out)));
  EXPECT_EQ(status, WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(without, WASM_STATUS_NULL_ARGUMENT);
}

}  // namespace
