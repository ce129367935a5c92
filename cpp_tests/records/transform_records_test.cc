// SPDX-License-Identifier: Apache-2.0
//
// Records that are in no batch: what comes out is what comes out of a batch of them, whatever happens in between.
#include "support/custom.hh"
#include "support/given_records.hh"
#include "support/many.hh"
#include "support/policy.hh"
#include "support/shared.hh"

#include <gmock/gmock.h>

#include <random>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

namespace {

bool same(const std::vector<output>& some, const std::vector<output>& others) {
  return std::equal(some.begin(), some.end(), others.begin(), others.end(), [](const output& a, const output& b) {
    return a.topic == b.topic && a.input_offset == b.input_offset && a.input_timestamp == b.input_timestamp &&
           a.content == b.content;
  });
}

TEST(TransformRecords, GivesWhatABatchOfThemGives) {
  for (const auto* guest : {"c_identity", "rust_identity"}) {
    bench b(guest);
    ASSERT_TRUE(succeeded(b.start()));
    std::mt19937 random(3);
    for (const std::size_t count : {0U, 1U, 2U, 5U, 100U, 1500U, 3000U}) {
      kafka::batch batch;
      batch.base_offset = 7;
      batch.base_timestamp = 1000;
      for (std::size_t i = 0; i < count; ++i) {
        kafka::payload p{random_field(random, false), random_field(random, true), {}};
        for (auto n = random() % 8 == 0 ? random() % 100 : random() % 3; n > 0; --n) {
          p.headers.emplace_back(random_field(random, false).value_or("h"), random_field(random, false));
        }
        batch.records.push_back({static_cast<std::int64_t>(3 * i), static_cast<std::int64_t>(random() % 90) - 40, p});
      }
      batch.max_timestamp = 2000;
      given_records records(batch);
      recorder one, other;
      ASSERT_TRUE(succeeded(b.transform(batch.encode(), one)));
      ASSERT_TRUE(succeeded(finish(b.engine.transform_records(records.all(), other))));
      EXPECT_EQ(one.records.size(), count);
      EXPECT_TRUE(same(one.records, other.records)) << guest << " " << count;
    }
  }
}

TEST(TransformRecords, TheGuestSeesAHeaderOfThem) {
  bench b("t_header");
  ASSERT_TRUE(succeeded(b.start()));
  const auto header = [&](given_records& records, const kafka::batch& same) {
    recorder one, other;
    ASSERT_TRUE(succeeded(finish(b.engine.transform_records(records.all(), one))));
    ASSERT_TRUE(succeeded(b.transform(same.encode(), other)));
    EXPECT_EQ(one.values(), other.values());
  };
  kafka::batch batch;
  batch.base_offset = 5;
  batch.base_timestamp = 60;
  batch.max_timestamp = 90;
  batch.records = {{0, 0, {std::nullopt, "a", {}}}, {2, 30, {std::nullopt, "bcd", {}}}, {9, -7, {}}};
  given_records records(batch);
  header(records, batch);
  given_records none(std::vector<std::string>{});
  kafka::batch empty;
  empty.last_offset_delta = 0;
  header(none, empty);
}

TEST(TransformRecords, OffsetsAndTimesAreAnyNumbersInAnyOrder) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  given_records records(std::vector<std::string>{});
  const std::vector<std::int64_t> numbers{9, -1, INT64_MIN, INT64_MAX, 9, 0};
  for (const auto n : numbers) {
    records.add({std::nullopt, "v", {}}, n, -n - 1);
  }
  recorder out;
  ASSERT_TRUE(succeeded(finish(b.engine.transform_records(records.all(), out))));
  ASSERT_THAT(out.records, SizeIs(numbers.size()));
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    EXPECT_EQ(out.records[i].input_offset, numbers[i]);
    EXPECT_EQ(out.records[i].input_timestamp, -numbers[i] - 1);
  }
}

TEST(TransformRecords, OnePollIsEnoughForFew) {
  bench b("c_identity", unhurried);
  ASSERT_TRUE(succeeded(b.start()));
  given_records records({"a", "b"});
  recorder out;
  auto operation = b.engine.transform_records_and_poll(records.all(), out).value();
  EXPECT_FALSE(operation);
  EXPECT_THAT(out.values(), ElementsAre("a", "b"));
}

TEST(TransformRecords, AMillionRecordsYieldBetweenSteps) {
  wasm_runtime_config config{};
  config.max_batch_size = 256 << 20;
  bench b("c_identity", config);
  ASSERT_TRUE(succeeded(b.start()));
  const std::string value(20, 'x');
  we::record_list list;
  for (int i = 0; i < 1'000'000; ++i) {
    list.add(std::nullopt, value, i, i);
  }
  std::size_t count = 0;
  std::int64_t last = -1;
  auto sink = [&](output_block block) {
    for (const auto& r : block) {
      EXPECT_EQ(r.input_offset, ++last);
      EXPECT_EQ(r.input_timestamp, last);
    }
    count += block.size();
  };
  const auto end = finish(b.engine.transform_records(list.all(), sink));
  EXPECT_TRUE(succeeded(end));
  EXPECT_GT(end.yields, 5);
  EXPECT_EQ(count, 1'000'000U);
  EXPECT_TRUE(works(b));
}

TEST(TransformRecords, AFailureNamesTheRecordAndTheHostGoesOnFromThere) {
  policed p;
  ASSERT_TRUE(succeeded(p.start()));
  given_records records({"k1-0", "k1-1", "u1-2", "k1-3"});
  recorder out;
  const auto end = finish(p.engine.transform_records(records.all(), out));
  EXPECT_EQ(end.status, WASM_STATUS_GUEST_TRAP);
  EXPECT_EQ(end.why->record()->index, 2U);
  EXPECT_EQ(end.why->record()->offset, 102);
  EXPECT_THAT(out.values(), ElementsAre("k1-0", "k1-1"));
  ASSERT_TRUE(succeeded(p.start()));
  recorder rest;
  EXPECT_TRUE(succeeded(finish(p.engine.transform_records(records.all(), rest, 3))));
  EXPECT_THAT(rest.values(), ElementsAre("k1-3"));
}

TEST(TransformRecords, PoliciesTreatThemAsABatch) {
  for (const auto on_error : {WASM_ON_ERROR_SKIP, WASM_ON_ERROR_DEAD_LETTER}) {
    policed one(on_error), other(on_error);
    ASSERT_TRUE(succeeded(one.start()));
    ASSERT_TRUE(succeeded(other.start()));
    const auto values = values_with('u', 60, {0, 7, 8, 30, 59}, '2');
    given_records records(values);
    const auto batch = built(values);
    recorder a, b;
    EXPECT_TRUE(succeeded(finish(one.engine.transform_records(records.all(), a))));
    EXPECT_TRUE(succeeded(other.transform(batch, b)));
    EXPECT_EQ(a.values(), b.values());
    EXPECT_EQ(a.records.size(), on_error == WASM_ON_ERROR_SKIP ? 110U : 115U);
    EXPECT_EQ(one.stats().skipped, other.stats().skipped);
    EXPECT_EQ(one.stats().dead_lettered, other.stats().dead_lettered);
  }
}

TEST(TransformRecords, UsersOfASharedEngineTakeTurns) {
  bench b("c_identity");
  auto first = we::engine::create_shared(b.factory).value();
  auto second = we::engine::create_shared(b.factory).value();
  ASSERT_TRUE(succeeded(finish(first.start())));
  ASSERT_TRUE(succeeded(finish(second.start())));
  given_records one({"a", "b"}), other({"c"});
  recorder x, y;
  auto a = first.transform_records(one.all(), x).value();
  auto c = second.transform_records(other.all(), y).value();
  EXPECT_EQ(c.poll().value(), WASM_POLL_PENDING) << "it waits for its turn";
  EXPECT_TRUE(succeeded(finish(a)));
  EXPECT_TRUE(succeeded(finish(c)));
  EXPECT_THAT(x.values(), ElementsAre("a", "b"));
  EXPECT_THAT(y.values(), ElementsAre("c"));
}

TEST(TransformRecords, ACustomEngineReadsThemOneByOne) {
  c_engine table;
  bool no_batch = false;
  table.on_transform = [&](wasm_slice batch, std::uint32_t first, wasm_work* work, wasm_call* call) {
    no_batch = batch.size == 0 && first == 1;
    return c_engine::copy(batch, first, work, call);
  };
  const auto runtime = we::runtime::create().value();
  const auto raw = table.table();
  const auto name = std::string("tested");
  const wasm_slice topic = we::as_slice(std::string_view("out"));
  wasm_factory_config config{};
  config.size = sizeof(config);
  config.name = we::as_slice(std::string_view(name));
  config.output_topics = &topic;
  config.output_topic_count = 1;
  we::factory factory;
  ASSERT_EQ(wasm_factory_create_custom(runtime.get(), &config, &raw, factory.out(), nullptr), WASM_STATUS_OK);
  auto engine = we::engine::create(factory).value();
  ASSERT_TRUE(succeeded(finish(engine.start())));
  given_records records({"a", "b", "c"});
  recorder out;
  EXPECT_TRUE(succeeded(finish(engine.transform_records(records.all(), out, 1))));
  EXPECT_TRUE(no_batch);
  EXPECT_THAT(out.values(), ElementsAre("b", "c"));
}

TEST(TransformRecords, AHotSwapComesBehindThem) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  given_records records({"a", "b"});
  recorder out, later;
  auto operation = b.engine.transform_records(records.all(), out).value();
  auto swap = b.engine.replace(b.factory).value();
  EXPECT_TRUE(succeeded(finish(operation)));
  EXPECT_TRUE(succeeded(finish(swap)));
  EXPECT_THAT(out.values(), ElementsAre("a", "b"));
  EXPECT_TRUE(succeeded(finish(b.engine.transform_records(records.all(), later))));
  EXPECT_THAT(later.values(), ElementsAre("a", "b"));
}

class RecordsEnded : public testing::TestWithParam<ending> {};

// The operation is ended after each number of polls: before, between and behind the steps that encode.
TEST_P(RecordsEnded, AtEachStep) {
  wasm_runtime_config config{};
  config.time_slice_ns = 20'000;
  const std::string value(3000, 'x');
  for (int polls = 0; polls < 12; ++polls) {
    bench b("c_identity", config);
    ASSERT_TRUE(succeeded(b.start()));
    auto records = std::make_unique<given_records>(std::vector<std::string>(20'000, value));
    sorting_sink sink;
    we::future operation;
    ASSERT_EQ(begin_records(b.engine, records->all(), sink, operation.out()), WASM_STATUS_OK);
    for (int i = 0; i < polls; ++i) {
      ASSERT_EQ(operation.poll().value(), WASM_POLL_YIELDED);
    }
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
    records.reset();
    EXPECT_EQ(sink.drops, 1);
    if (b.engine) {
      ASSERT_TRUE(succeeded(b.start()));
      EXPECT_TRUE(works(b));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, RecordsEnded,
                         testing::Values(ending::release, ending::stop, ending::engine_release),
                         [](const auto& info) { return name_of(info.param); });

TEST(TransformRecords, AnInvalidRecordIsRefusedByItsIndexAndTheEngineIsIdle) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  given_records records({"a", "b", "c"});
  const auto refusal = [&](const wasm_record& bad) {
    std::vector<wasm_record> all(records.all().begin(), records.all().end());
    all[1] = bad;
    sorting_sink sink;
    we::future operation;
    EXPECT_EQ(begin_records(b.engine, all, sink, operation.out()), WASM_STATUS_OK);
    auto end = finish(operation);
    EXPECT_EQ(sink.calls, 0) << "nothing has reached the guest";
    EXPECT_EQ(sink.drops, 1);
    EXPECT_EQ(b.state(), WASM_ENGINE_STATE_IDLE);
    return end;
  };
  const wasm_record fine = records.all()[0];
  auto bad = fine;
  bad.payload.key = {nullptr, 3};
  auto end = refusal(bad);
  EXPECT_EQ(end.status, WASM_STATUS_RECORD_INVALID);
  EXPECT_THAT(end.message(), HasSubstr("transform \"tested\": record 1 is invalid: its key is NULL but its size is 3"));
  bad = fine;
  bad.payload.value.size = -2;
  EXPECT_EQ(refusal(bad).status, WASM_STATUS_RECORD_INVALID);
  bad = fine;
  bad.payload.headers = nullptr;
  bad.payload.header_count = 1;
  EXPECT_EQ(refusal(bad).status, WASM_STATUS_RECORD_INVALID);
  bad.payload.header_count = SIZE_MAX;
  EXPECT_EQ(refusal(bad).status, WASM_STATUS_RECORD_INVALID);
  const wasm_header null_key{{nullptr, -1}, {nullptr, -1}};
  bad.payload.headers = &null_key;
  bad.payload.header_count = 1;
  end = refusal(bad);
  EXPECT_EQ(end.status, WASM_STATUS_RECORD_INVALID);
  EXPECT_THAT(end.message(), HasSubstr("record 1 is invalid: the key of header 0 must not be null"));
  bad.payload.header_count = std::size_t{1} << 50;
  EXPECT_EQ(refusal(bad).status, WASM_STATUS_BATCH_TOO_LARGE) << "more than there can be are not looked at";
  bad = fine;
  bad.payload.value.size = INT64_MAX;
  end = refusal(bad);
  EXPECT_EQ(end.status, WASM_STATUS_BATCH_TOO_LARGE);
  EXPECT_THAT(end.message(), HasSubstr("record 1 takes "));
  EXPECT_TRUE(works(b));
}

TEST(TransformRecords, MisuseHasAStatusAndDropsTheSink) {
  bench b("c_identity");
  given_records records({"a", "b"});
  const auto status = [&](auto change, int drops = 1) {
    sorting_sink sink;
    const auto raw = sink.raw();
    wasm_transform_records_args args{sizeof(args), records.all().data(), records.all().size(), &raw, 0};
    change(args);
    wasm_future* future = nullptr;
    const auto one = wasm_engine_transform_records(b.engine.get(), &args, &future, nullptr);
    EXPECT_EQ(future, nullptr);
    EXPECT_EQ(sink.drops, drops);
    wasm_poll state = WASM_POLL_PENDING;
    EXPECT_EQ(wasm_engine_transform_records_and_poll(b.engine.get(), &args, nullptr, &state, &future, nullptr), one);
    EXPECT_EQ(state, WASM_POLL_PENDING) << "written on success only";
    EXPECT_EQ(future, nullptr);
    return one;
  };
  EXPECT_EQ(status([](auto&) {}), WASM_STATUS_INVALID_STATE) << "it is stopped";
  ASSERT_TRUE(succeeded(b.start()));
  EXPECT_EQ(status([](auto& args) { args.records = nullptr; }), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(status([](auto& args) { args.record_count = SIZE_MAX; }), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(status([](auto& args) { args.first_record = 2; }), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(status([](auto& args) { args.size = 8; }, 0), WASM_STATUS_INVALID_STRUCT_SIZE);
  EXPECT_EQ(status([](auto& args) { args.sink = nullptr; }, 0), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_engine_transform_records(b.engine.get(), nullptr, nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_IDLE);
  EXPECT_TRUE(works(b));
}

}  // namespace
