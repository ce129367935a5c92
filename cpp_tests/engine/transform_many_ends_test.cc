// SPDX-License-Identifier: Apache-2.0
//
// Several batches in one call that wait, fail, are refused or are ended in the middle. Policies are in
// policy/transform_many_test.cc.
#include "support/asking.hh"
#include "support/many.hh"
#include "support/policy.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

namespace {

using strings = std::vector<std::string>;

/// A poll by hand.
wasm_poll poll(wasmengine::future& operation) { return operation.poll().value(); }

class TransformManyRefused : public testing::TestWithParam<std::tuple<std::size_t, wasm_compression>> {};

TEST_P(TransformManyRefused, ABatchEndsTheOperationBehindThoseBeforeIt) {
  const auto [bad, codec] = GetParam();
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  batches all;
  for (std::size_t i = 0; i < 4; ++i) {
    all.push_back(built({std::to_string(i)}, {100, codec}));
  }
  all[bad][17] ^= 0xFF;
  sorting_sink sink;
  auto operation = many(b.engine, all, sink);
  const auto end = finish(operation);
  EXPECT_EQ(end.status, WASM_STATUS_BATCH_CRC);
  EXPECT_THAT(end.message(),
              HasSubstr("transform \"tested\", batch " + std::to_string(bad) + " of the call: the batch's CRC"));
  EXPECT_EQ(end.why->batch(), bad);
  for (std::uint32_t i = 0; i < 4; ++i) {
    EXPECT_THAT(sink.kept.values(i), SizeIs(i < bad ? 1 : 0));
  }
  EXPECT_EQ(sink.drops, 1);
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_IDLE) << "nothing of it has reached the guest";
  EXPECT_TRUE(works(b));
}

INSTANTIATE_TEST_SUITE_P(Batches, TransformManyRefused,
                         testing::Combine(testing::Values(0, 1, 3),
                                          testing::Values(WASM_COMPRESSION_NONE, WASM_COMPRESSION_LZ4)),
                         [](const auto& info) {
                           return codec_name(std::get<1>(info.param)) + std::to_string(std::get<0>(info.param));
                         });

TEST(ManyFailures, AFailureNamesBatchAndRecordAndTheHostGoesOnFromThere) {
  policed p;
  ASSERT_TRUE(succeeded(p.start()));
  const auto all = batches_of({{"k1-0", "k1-1"}, {"k1-2", "k1-3", "u1-4", "k1-5"}, {"k1-6"}});
  sorting_sink sink;
  auto operation = many(p.engine, all, sink);
  const auto end = finish(operation);
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP);
  EXPECT_THAT(end.message(),
              HasSubstr("transform \"tested\", batch 1 of the call, record 2 of the batch (offset 102): "));
  EXPECT_EQ(end.why->batch(), 1U);
  EXPECT_EQ(end.why->record()->index, 2U);
  EXPECT_EQ(end.why->record()->offset, 102);
  EXPECT_THAT(sink.kept.values(0), ElementsAre("k1-0", "k1-1"));
  EXPECT_THAT(sink.kept.values(1), ElementsAre("k1-2", "k1-3"));
  EXPECT_THAT(sink.kept.values(2), IsEmpty());
  EXPECT_EQ(p.state(), WASM_ENGINE_STATE_STOPPED);

  ASSERT_TRUE(succeeded(p.start()));
  sorting_sink rest;
  const batches left{all[1], all[2]};
  auto again = many(p.engine, left, rest, 3);
  EXPECT_TRUE(succeeded(finish(again)));
  EXPECT_THAT(rest.kept.values(0), ElementsAre("k1-5"));
  EXPECT_THAT(rest.kept.values(1), ElementsAre("k1-6"));
}

TEST(ManyFailures, AnErrorOfAnotherCallNamesNoBatch) {
  policed p;
  ASSERT_TRUE(succeeded(p.start()));
  const auto batch = built({"u1"});
  recorder out;
  const auto end = p.transform(batch, out);
  EXPECT_EQ(end.why->batch(), 0U);
  EXPECT_THAT(end.message(), HasSubstr("transform \"tested\", record 0 of the batch"));
}

TEST(ManyFailures, ARefusedWriteIsLoggedWithItsBatch) {
  wasm_runtime_config config{};
  config.output_buffer_limit = 4 << 10;
  policed p(config);
  ASSERT_TRUE(succeeded(p.start()));
  auto large = kafka::values({"k1"});
  large.leader_epoch = 3;
  const batches all{built({"k1"}), large.encode()};
  sorting_sink sink;
  auto operation = many(p.engine, all, sink);
  EXPECT_TRUE(succeeded(finish(operation)));
  EXPECT_THAT(p.log->texts(WASM_LOG_SEVERITY_WARN),
              ElementsAre(
                  HasSubstr("batch 1 of the call, record 0 of the batch (offset 100): write_record returned -3")));
}

struct ManyWaiting : testing::Test {
  ManyWaiting() : guest([this](std::int64_t, answer a) { asked.push_back(std::move(a)); }, unhurried) {}

  std::vector<answer> asked;
  asking guest;
};

TEST_F(ManyWaiting, ThePollThatWaitsHasDeliveredTheBatchesBefore) {
  const auto engine = guest.started();
  const auto all = batches_of({{"a"}, {"b"}, {"c", "w"}, {"e"}});
  sorting_sink sink;
  auto operation = many(engine, all, sink);
  EXPECT_EQ(poll(operation), WASM_POLL_PENDING);
  EXPECT_EQ(sink.calls, 1);
  EXPECT_THAT(sink.kept.values(0), ElementsAre("a"));
  EXPECT_THAT(sink.kept.values(1), ElementsAre("b"));
  ASSERT_THAT(asked, SizeIs(1));
  ASSERT_TRUE(asked[0].resolve(std::int64_t{42}));
  EXPECT_TRUE(succeeded(finish(operation)));
  EXPECT_THAT(sink.kept.values(2), ElementsAre("c", "w"));
  EXPECT_THAT(sink.kept.values(3), ElementsAre("e"));
}

TEST_F(ManyWaiting, ASinkThatWaitsKeepsTheBlockAndItsBatches) {
  const auto engine = guest.started();
  const auto all = batches_of({{"a"}, {"w"}, {"b"}});
  std::span<const wasm_output_batch> runs;
  pending_sink sink;
  sink.on_records = [&runs, take = sink.on_records](output_block block, wasm_call* call) {
    const wasm_output_batch* first = nullptr;
    std::size_t count = 0;
    EXPECT_EQ(wasm_call_output_batches(call, &first, &count, nullptr), WASM_STATUS_OK);
    runs = {first, count};
    return take(block, call);
  };
  by_batch kept;
  auto operation = many(engine, all, sink);
  EXPECT_EQ(poll(operation), WASM_POLL_PENDING) << "for the sink";
  EXPECT_EQ(poll(operation), WASM_POLL_PENDING);
  kept.add(sink.block, runs);
  EXPECT_THAT(kept.values(0), ElementsAre("a"));
  sink.resolve();
  EXPECT_EQ(poll(operation), WASM_POLL_PENDING) << "for the host function";
  ASSERT_THAT(asked, SizeIs(1));
  ASSERT_TRUE(asked[0].resolve(std::int64_t{42}));
  EXPECT_EQ(poll(operation), WASM_POLL_PENDING) << "for the sink";
  kept.add(sink.block, runs);
  EXPECT_THAT(kept.values(1), ElementsAre("w"));
  EXPECT_THAT(kept.values(2), ElementsAre("b"));
  sink.resolve();
  EXPECT_EQ(poll(operation), WASM_POLL_READY);
  EXPECT_EQ(sink.drops, 1);
}

TEST_F(ManyWaiting, AtOnceGivesAFutureIfItWaits) {
  const auto engine = guest.started();
  const auto one = built({"a"}), other = built({"w"});
  const wasm_slice slices[] = {wasmengine::as_slice(kafka::view(one)), wasmengine::as_slice(kafka::view(other))};
  sorting_sink sink;
  const auto raw = sink.raw();
  wasm_transform_many_args args{sizeof(args), slices, 2, &raw, 0};
  wasm_poll state{};
  wasmengine::future future;
  EXPECT_EQ(wasm_engine_transform_many_and_poll(engine.get(), &args, nullptr, &state, future.out(), nullptr),
            WASM_STATUS_OK);
  EXPECT_EQ(state, WASM_POLL_PENDING);
  ASSERT_THAT(asked, SizeIs(1));
  ASSERT_TRUE(asked[0].resolve(std::int64_t{42}));
  EXPECT_TRUE(succeeded(finish(future)));
  EXPECT_THAT(sink.kept.values(1), ElementsAre("w"));
}

class ManyEnded : public testing::TestWithParam<ending> {};

// At each poll the operation is ended. The sink may read its block until it is dropped.
TEST_P(ManyEnded, InTheMiddle) {
  const auto all = batches_of({{"k2-0"}, {"k2-1"}, {"k2-2", "k2-3"}});
  int steps = 0;
  for (bool over = false; !over; ++steps) {
    ASSERT_LT(steps, 100);
    policed p(unhurried);
    ASSERT_TRUE(succeeded(p.start()));
    pending_sink sink;
    recorder read;
    sink.on_drop = [&] {
      if (sink.promise != nullptr) {
        read(sink.block);
      }
    };
    auto operation = many(p.engine, all, sink);
    auto last = WASM_POLL_YIELDED;
    for (int i = 0; i < steps && !over; ++i) {
      if (last == WASM_POLL_PENDING) {
        sink.resolve();
      }
      last = poll(operation);
      over = last == WASM_POLL_READY;
    }
    switch (GetParam()) {
      case ending::release:
        operation = {};
        break;
      case ending::stop:
        EXPECT_TRUE(succeeded(finish(p.engine.stop())));
        break;
      case ending::engine_release:
        p.engine = {};
        break;
    }
    EXPECT_EQ(sink.drops, 1);
    EXPECT_THAT(read.values(), SizeIs(sink.promise != nullptr ? 8 : 0));
    operation = {};
    if (!p.engine) {
      p.engine = wasmengine::engine::create(p.factory).value();
    }
    EXPECT_TRUE(p.works());
  }
  EXPECT_GE(steps, 3);
}

INSTANTIATE_TEST_SUITE_P(Ways, ManyEnded, testing::Values(ending::release, ending::stop, ending::engine_release),
                         [](const auto& info) { return std::string(name_of(info.param)); });

TEST(ManyFailures, ASinkThatFailsNamesTheFirstBatchThatItDidNotTake) {
  for (const bool later : {false, true}) {
    bench b("c_identity", unhurried);
    ASSERT_TRUE(succeeded(b.start()));
    const strings large(3, std::string(60'000, 'x'));  // a block each two
    const auto all = batches_of({{"a"}, large, large, {"b"}});
    by_batch kept;
    c_sink sink([&](output_block block, wasm_call* call) -> wasm_callback_result {
      const wasm_output_batch* runs = nullptr;
      std::size_t count = 0;
      EXPECT_EQ(wasm_call_output_batches(call, &runs, &count, nullptr), WASM_STATUS_OK);
      if (runs[count - 1].batch < 2) {
        kept.add(block, {runs, count});
        return WASM_CALLBACK_RESULT_DONE;
      }
      if (!later) {
        EXPECT_EQ(wasm_call_fail(call, wasmengine::as_slice("the disk is full"), nullptr), WASM_STATUS_OK);
        return WASM_CALLBACK_RESULT_FAILED;
      }
      wasm_promise* promise = nullptr;
      EXPECT_EQ(wasm_call_promise(call, &promise, nullptr), WASM_STATUS_OK);
      EXPECT_EQ(wasm_promise_reject(promise, wasmengine::as_slice("the disk is full"), nullptr), WASM_STATUS_OK);
      wasm_promise_release(promise);
      return WASM_CALLBACK_RESULT_PENDING;
    });
    auto operation = many(b.engine, all, sink);
    const auto end = finish(operation);
    EXPECT_EQ(end.status, WASM_STATUS_OUTPUT_REJECTED);
    EXPECT_THAT(end.message(), HasSubstr("batch " + std::to_string(end.why->batch()) +
                                         " of the call: its output was not taken: the disk is full"));
    EXPECT_THAT(end.why->batch(), AnyOf(1U, 2U)) << "that of the block's first record";
    EXPECT_THAT(kept.values(0), ElementsAre("a"));
    EXPECT_EQ(kept.values(1).size() == 3, end.why->batch() == 2U);
    EXPECT_EQ(sink.drops, 1);
    EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
    EXPECT_TRUE(works(b));
  }
}

}  // namespace
