// SPDX-License-Identifier: Apache-2.0
//
// Which record an output belongs to, and how far a transform has come: ended anywhere and resumed from there, each
// record's output is there once.
#include "support/custom.hh"
#include "support/many.hh"
#include "support/policy.hh"

#include <gmock/gmock.h>

#include <random>
#include <thread>
#include <tuple>

using namespace testing_support;
using testing::ElementsAre;

namespace {

using place = std::tuple<std::uint32_t, std::uint32_t>;

std::vector<place> places(output_block block) {
  std::vector<place> out;
  for (const auto& raw : block) {
    const wasmengine::output_record r(raw);
    out.emplace_back(r.input_index(), r.ordinal());
  }
  return out;
}

/// A sink that keeps where its records come from.
struct placing {
  void operator()(output_block block) {
    for (const auto& at : places(block)) {
      all.push_back(at);
    }
    ++blocks;
  }
  std::vector<place> all;
  int blocks = 0;
};

constexpr auto none = wasmengine::output_record::no_record;

TEST(OutputPosition, IsTheInputsIndexAndAnOrdinal) {
  for (const std::uint32_t by_calls : {0, 1}) {
    wasm_runtime_config config{};
    config.host_record_calls = by_calls;
    bench b("c_tee", config);
    ASSERT_TRUE(succeeded(b.start()));
    const auto batch = built({"2a", "0b", "3c", "0d", "1e", "2f", "1g", "0h", "0i", "2j"});
    for (const std::uint32_t from : {0U, 2U, 5U}) {
      placing sink;
      ASSERT_TRUE(succeeded(finish(b.engine.transform_from(batch, from, sink))));
      std::vector<place> wanted{{0, 0}, {0, 1}, {2, 0}, {2, 1}, {2, 2}, {4, 0}, {5, 0}, {5, 1}, {6, 0}, {9, 0}, {9, 1}};
      std::erase_if(wanted, [&](const place& at) { return std::get<0>(at) < from; });
      EXPECT_EQ(sink.all, wanted) << from << by_calls;
    }
  }
}

TEST(OutputPosition, GoesOnInTheNextBlockOfTheSameRecord) {
  for (const std::uint32_t by_calls : {0, 1}) {
    wasm_runtime_config config{};
    config.host_record_calls = by_calls;
    config.output_buffer_limit = 64 << 10;
    bench b("c_tee", config);
    ASSERT_TRUE(succeeded(b.start()));
    std::vector<std::string> values(12, "1a");
    values[3] = "9" + std::string(20'000, '.');
    placing sink;
    ASSERT_TRUE(succeeded(b.transform(built(values), sink)));
    std::vector<place> wanted;
    for (std::uint32_t i = 0; i < values.size(); ++i) {
      for (std::uint32_t k = 0; k < (i == 3 ? 9U : 1U); ++k) {
        wanted.emplace_back(i, k);
      }
    }
    EXPECT_EQ(sink.all, wanted);
    EXPECT_GT(sink.blocks, 3);
  }
}

TEST(OutputPosition, CountsInBatchesOfAnySize) {
  for (const std::size_t count : {1'022, 1'023, 3'000, 140'000}) {
    bench b("c_identity");
    ASSERT_TRUE(succeeded(b.start()));
    placing sink;
    ASSERT_TRUE(succeeded(b.transform(built(std::vector<std::string>(count, "v")), sink)));
    ASSERT_EQ(sink.all.size(), count);
    for (std::uint32_t i = 0; i < count; ++i) {
      ASSERT_EQ(sink.all[i], place(i, 0));
    }
  }
}

TEST(OutputPosition, IsOfNoRecordBeforeTheFirst) {
  policed p(WASM_ON_ERROR_FAIL);
  ASSERT_TRUE(succeeded(p.start()));
  auto batch = kafka::values({"k1", "k2", "k1", "k1", "k1", "k1"});
  batch.leader_epoch = 2;
  placing sink;
  ASSERT_TRUE(succeeded(p.transform(batch.encode(), sink, 1)));
  EXPECT_THAT(sink.all, ElementsAre(place(none, 0), place(1, 0), place(1, 1), place(2, 0), place(3, 0), place(4, 0),
                                    place(5, 0)));
}

TEST(OutputPosition, OfADeadLetterIsBehindWhatTheSinkHas) {
  wasm_runtime_config config{};
  config.output_buffer_limit = 64 << 10;
  for (const bool parts : {false, true}) {
    policed p(WASM_ON_ERROR_DEAD_LETTER, config);
    ASSERT_TRUE(succeeded(p.start()));
    auto batch = kafka::values({"k1", "k1", "u9", "k1"});
    batch.leader_epoch = parts ? 3 : 0;
    placing sink;
    ASSERT_TRUE(succeeded(p.transform(batch.encode(), sink)));
    std::vector<place> wanted{{0, 0}, {1, 0}};
    // Nine copies of 8 KiB are delivered in parts, of which the last is dropped.
    const auto letter = std::find_if(sink.all.begin(), sink.all.end(), [](const place& at) { return at > place(2, 0); });
    const std::uint32_t had = parts ? static_cast<std::uint32_t>(std::count_if(
                                          letter, sink.all.end(), [](const place& at) { return std::get<0>(at) == 2; }))
                                    : 0;
    EXPECT_EQ(had > 0, parts);
    for (std::uint32_t k = 0; k <= had; ++k) {
      wanted.emplace_back(2, k);
    }
    wanted.emplace_back(3, 0);
    EXPECT_EQ(sink.all, wanted);
  }
}

TEST(OutputPosition, IsThatOfCustomEnginesToo) {
  c_engine engine;
  engine.on_transform = [](wasm_slice, std::uint32_t, wasm_work* work, wasm_call*) -> wasm_callback_result {
    wasm_input_record record;
    for (std::uint32_t copies = 0; c_engine::next(work, record); ++copies) {
      for (std::uint32_t i = 0; i < copies % 3; ++i) {
        EXPECT_EQ(c_engine::write(work, record), WASM_STATUS_OK);
      }
    }
    return WASM_CALLBACK_RESULT_DONE;
  };
  custom_bench b(engine);
  ASSERT_TRUE(succeeded(b.start()));
  placing sink;
  ASSERT_TRUE(succeeded(b.transform(built({"a", "b", "c", "d", "e"}), sink)));
  EXPECT_THAT(sink.all, ElementsAre(place(1, 0), place(2, 0), place(2, 1), place(4, 0)));
}

// ---- How far it has come ----

wasm_engine_progress progress(const wasmengine::engine& engine) { return engine.progress().value(); }

MATCHER_P3(IsAt, batch, record, offset, "") {
  *result_listener << arg.batch << "." << arg.record << " at " << arg.next_offset << " " << arg.has_offset;
  return arg.batch == batch && arg.record == record && arg.has_offset == (offset < 0 ? 0U : 1U) &&
         arg.next_offset == (offset < 0 ? 0 : offset);
}

TEST(Progress, IsReadAtAnyTime) {
  bench b("c_tee", unhurried);
  EXPECT_THAT(progress(b.engine), IsAt(0U, 0U, -1));
  ASSERT_TRUE(succeeded(b.start()));
  EXPECT_THAT(progress(b.engine), IsAt(0U, 0U, -1));
  std::vector<std::string> values(3'000, "1");
  values[0] = values[1] = "0";
  const batches all{built(values, {500}), built({"1", "0"}, {9'000})};
  pending_sink sink;
  std::uint32_t before = 0;
  auto operation = many(b.engine, all, sink, 1);
  EXPECT_THAT(progress(b.engine), IsAt(0U, 1U, -1)) << "not checked";
  while (operation.poll().value() != WASM_POLL_READY) {
    const auto at = progress(b.engine);
    if (at.batch == 0) {
      EXPECT_THAT(at, IsAt(0U, sink.block.front().input_index, sink.block.front().input_offset)) << "not accepted yet";
    }
    EXPECT_GE(at.record + 10'000 * at.batch, before);
    before = at.record + 10'000 * at.batch;
    if (sink.promise != nullptr) {
      sink.resolve();
    }
  }
  EXPECT_GT(sink.calls, 1);
  EXPECT_THAT(progress(b.engine), IsAt(2U, 0U, 9'002));
  ASSERT_TRUE(succeeded(b.stop()));
  EXPECT_THAT(progress(b.engine), IsAt(2U, 0U, 9'002)) << "also of a stopped engine";
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(built({"1"}, {70}), out)));
  EXPECT_THAT(progress(b.engine), IsAt(1U, 0U, 71));
}

TEST(Progress, InTheSinkIsThatBeforeItsBlock) {
  bench b("c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  int calls = 0;
  auto sink = [&](output_block block) {
    ++calls;
    EXPECT_THAT(progress(b.engine), IsAt(0U, block.front().input_index, block.front().input_offset));
  };
  ASSERT_TRUE(succeeded(b.transform(built(std::vector<std::string>(5'000, "v")), sink)));
  EXPECT_GT(calls, 2);
}

TEST(Progress, NamesTheRecordAtWhichAGuestFails) {
  policed p;
  ASSERT_TRUE(succeeded(p.start()));
  recorder out;
  EXPECT_EQ(p.transform(built({"k0", "k1", "k0", "u1", "k1"}), out).status, WASM_STATUS_GUEST_TRAP);
  EXPECT_THAT(progress(p.engine), IsAt(0U, 3U, 103));
  ASSERT_TRUE(succeeded(p.start()));
  EXPECT_THAT(progress(p.engine), IsAt(0U, 3U, 103)) << "until the next transform";
  EXPECT_EQ(p.transform(built({"k1", "b1", "k1"}, {50}), out).status, WASM_STATUS_GUEST_TRAP);
  EXPECT_THAT(progress(p.engine), IsAt(0U, 2U, 52)) << "it failed between two records";
  ASSERT_TRUE(succeeded(p.start()));
  const batches all{built({"k1"}, {5}), kafka::bytes(70), built({"k1"}, {7})};
  sorting_sink sink;
  auto operation = many(p.engine, all, sink);
  EXPECT_FALSE(succeeded(finish(operation)));
  EXPECT_THAT(progress(p.engine), IsAt(1U, 0U, 6)) << "of a batch that was refused, the one before tells";
  EXPECT_FALSE(succeeded(p.transform(kafka::bytes(70), out)));
  EXPECT_THAT(progress(p.engine), IsAt(0U, 0U, -1));
}

TEST(Progress, CountsWhatAPolicyLost) {
  for (const auto on_error : {WASM_ON_ERROR_SKIP, WASM_ON_ERROR_DEAD_LETTER}) {
    policed p(on_error);
    ASSERT_TRUE(succeeded(p.start()));
    pending_sink sink;
    const batches all{built({"k1", "u1", "u1", "k1"}, {100}), built({"u1"}, {200})};
    auto operation = many(p.engine, all, sink);
    std::vector<place> seen;
    for (;;) {
      const auto at = progress(p.engine);
      if (seen.empty() || seen.back() != place(at.batch, at.record)) {
        EXPECT_TRUE(seen.empty() || seen.back() < place(at.batch, at.record));
        seen.emplace_back(at.batch, at.record);
      }
      if (sink.promise != nullptr) {
        EXPECT_EQ(at.next_offset, sink.block.front().input_offset) << "also of a letter that is not accepted";
        sink.resolve();
      } else if (operation.poll().value() == WASM_POLL_READY) {
        break;
      }
    }
    EXPECT_THAT(seen, testing::IsSupersetOf({place(0, 0), place(0, 2), place(0, 3)}));
    EXPECT_THAT(progress(p.engine), IsAt(2U, 0U, 201));
  }
}

TEST(Progress, OfAUserOfASharedEngineIsTheUsersOwn) {
  policed p({}, {"out"});
  auto one = wasmengine::engine::create_shared(p.factory).value();
  auto two = wasmengine::engine::create_shared(p.factory).value();
  ASSERT_TRUE(succeeded(finish(one.start())));
  ASSERT_TRUE(succeeded(finish(two.start())));
  const auto first = built(std::vector<std::string>(3, "k1"), {10});
  const auto second = built({"k0", "k1", "u1"}, {20});
  pending_sink sink;
  wasmengine::future holds;
  const auto raw = sink.raw();
  ASSERT_EQ(begin_transform(one.get(), wasmengine::as_slice(kafka::view(first)), &raw, holds.out(), nullptr),
            WASM_STATUS_OK);
  ASSERT_EQ(holds.poll().value(), WASM_POLL_PENDING);
  recorder out;
  auto waits = two.transform_from(second, 1, out).value();
  EXPECT_EQ(waits.poll().value(), WASM_POLL_PENDING);
  EXPECT_THAT(progress(one), IsAt(0U, 0U, 10));
  EXPECT_THAT(progress(two), IsAt(0U, 1U, -1)) << "it has not had its turn";
  sink.resolve();
  EXPECT_TRUE(succeeded(finish(holds)));
  EXPECT_THAT(progress(one), IsAt(1U, 0U, 13));
  EXPECT_EQ(finish(waits).status, WASM_STATUS_GUEST_TRAP);
  EXPECT_THAT(progress(two), IsAt(0U, 2U, 22));
  EXPECT_THAT(progress(one), IsAt(1U, 0U, 13)) << "whatever the other did";
}

TEST(Progress, MisuseIsAStatus) {
  bench b("c_identity");
  wasm_engine_progress at{};
  EXPECT_EQ(wasm_engine_get_progress(b.engine.get(), &at, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  at.size = sizeof(at);
  EXPECT_EQ(wasm_engine_get_progress(nullptr, &at, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_engine_get_progress(b.engine.get(), nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  std::thread([&] {
    EXPECT_EQ(wasm_engine_get_progress(b.engine.get(), &at, nullptr), WASM_STATUS_WRONG_THREAD);
  }).join();
  EXPECT_EQ(wasm_engine_get_progress(b.engine.get(), &at, nullptr), WASM_STATUS_OK);
}

// ---- Ended anywhere and resumed ----

/// A host that stores the output that it has accepted together with the progress.
class checkpointing {
 public:
  checkpointing(std::function<wasmengine::engine()> make, std::vector<std::vector<std::string>> values, unsigned seed)
      : _make(std::move(make)), _values(std::move(values)), _random(seed) {
    for (std::size_t i = 0; i < _values.size(); ++i) {
      _all.push_back(built(_values[i], {base(i), i % 3 == 1 ? WASM_COMPRESSION_LZ4 : WASM_COMPRESSION_NONE}));
    }
    _engine = _make();
  }

  /// Until all batches have completed. Returns how many times it was ended before.
  int run() {
    int ended = 0;
    while (_batch < _all.size() && ended < 10'000 && !testing::Test::HasFatalFailure()) {
      once();
      ++ended;
    }
    EXPECT_EQ(_batch, _all.size());
    return ended;
  }

  [[nodiscard]] static std::int64_t base(std::size_t batch) { return 10'000 * (static_cast<std::int64_t>(batch) + 1); }

  /// Batch, index and ordinal of what was accepted.
  std::vector<std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>> accepted;

 private:
  void keep(output_block block, std::span<const wasm_output_batch> runs, std::uint32_t begin) {
    for (const auto& run : runs) {
      for (const auto& r : block.first(run.record_count)) {
        accepted.emplace_back(begin + run.batch, r.input_index, r.ordinal);
      }
      block = block.subspan(run.record_count);
    }
  }

  void once() {
    if (!_engine) {
      _engine = _make();
    }
    if (_engine.state().value() == WASM_ENGINE_STATE_STOPPED) {
      ASSERT_TRUE(succeeded(finish(_engine.start())));
    }
    wasm_promise* promise = nullptr;
    output_block block;
    std::vector<wasm_output_batch> runs;
    const auto begin = _batch;
    c_sink sink([&](output_block b, wasm_call* call) -> wasm_callback_result {
      const wasm_output_batch* first = nullptr;
      std::size_t count = 0;
      EXPECT_EQ(wasm_call_output_batches(call, &first, &count, nullptr), WASM_STATUS_OK);
      if (_random() % 2 == 0) {
        keep(b, {first, count}, begin);
        return WASM_CALLBACK_RESULT_DONE;
      }
      block = b;
      runs.assign(first, first + count);
      EXPECT_EQ(wasm_call_promise(call, &promise, nullptr), WASM_STATUS_OK);
      return WASM_CALLBACK_RESULT_PENDING;
    });
    const batches rest(_all.begin() + begin, _all.end());
    auto operation = many(_engine, rest, sink, _record);
    auto most = 1 + _random() % 12;
    bool over = false;
    for (unsigned step = 0; step < most && !over; ++step) {
      auto polled = operation.poll();
      if (!polled) {
        // Without a policy the host goes on behind the record.
        const auto at = polled.err().record();
        ASSERT_TRUE(at) << polled.err().what();
        advance(begin);
        EXPECT_EQ(at->index, _record);
        EXPECT_EQ(polled.err().batch(), _batch - begin);
        lost.emplace_back(_batch, _record);
        ++_record;
        over = true;
      } else if (*polled == WASM_POLL_READY) {
        advance(begin);
        EXPECT_EQ(_batch, _all.size());
        over = true;
      } else if (promise != nullptr && _random() % 8 != 0) {
        keep(block, runs, begin);
        EXPECT_EQ(wasm_promise_resolve(promise, nullptr), WASM_STATUS_OK);
        wasm_promise_release(std::exchange(promise, nullptr));
        // What is accepted counts when a poll has seen it.
        most = std::max<decltype(most)>(most, step + 2);
      }
    }
    if (!over) {
      const bool drop = _random() % 2 == 0;
      if (promise != nullptr || drop) {
        operation = {};
      } else {
        EXPECT_TRUE(succeeded(finish(_engine.stop())));
      }
      wasm_promise_release(std::exchange(promise, nullptr));
      advance(begin);
    }
    if (_record == count()) {
      ++_batch;
      _record = 0;
    }
  }

  [[nodiscard]] std::uint32_t count() const {
    return _batch < _values.size() ? static_cast<std::uint32_t>(_values[_batch].size()) : UINT32_MAX;
  }

  void advance(std::uint32_t begin) {
    const auto at = progress(_engine);
    if (at.has_offset == 1) {
      const auto batch = begin + at.batch;
      const bool first = at.record == 0 && batch > begin;
      EXPECT_TRUE(at.next_offset == base(batch) + at.record ||
                  (first && at.next_offset == base(batch - 1) + static_cast<std::int64_t>(_values[batch - 1].size())))
          << batch << " " << at.record << " " << at.next_offset;
    }
    EXPECT_GE(place(begin + at.batch, at.record), place(_batch, _record));
    _batch = begin + at.batch;
    _record = at.record;
  }

  std::function<wasmengine::engine()> _make;
  std::vector<std::vector<std::string>> _values;
  batches _all;
  wasmengine::engine _engine;
  std::mt19937 _random;
  std::uint32_t _batch = 0;
  std::uint32_t _record = 0;

 public:
  std::vector<place> lost;
};

std::vector<std::vector<std::string>> some_values(std::mt19937& random, bool fails) {
  std::vector<std::vector<std::string>> out(1 + random() % 4);
  for (auto& values : out) {
    const std::size_t count = random() % 3 == 0 ? 3'000 : 1 + random() % 40;
    while (values.size() < count) {
      const auto copies = random() % 4;
      const bool bad = fails && random() % (count > 100 ? 1'000 : 20) == 0;
      values.push_back(std::string(bad ? "u" : "k") + std::to_string(copies) + std::string(random() % 100, '.'));
    }
  }
  return out;
}

void expect_each_once(const checkpointing& host, const std::vector<std::vector<std::string>>& values,
                      wasm_on_error on_error) {
  decltype(host.accepted) wanted;
  for (std::uint32_t b = 0; b < values.size(); ++b) {
    for (std::uint32_t i = 0; i < values[b].size(); ++i) {
      const bool bad = values[b][i][0] == 'u';
      const auto copies = bad ? (on_error == WASM_ON_ERROR_DEAD_LETTER ? 1 : 0) : values[b][i][1] - '0';
      for (int k = 0; k < copies; ++k) {
        wanted.emplace_back(b, i, static_cast<std::uint32_t>(k));
      }
    }
  }
  EXPECT_EQ(host.accepted, wanted);
}

TEST(ProgressProperty, EachRecordsOutputIsThereOnceWhereverATransformEnds) {
  int ended = 0;
  for (unsigned seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    wasm_runtime_config config{};
    config.host_record_calls = seed % 2;
    config.time_slice_ns = seed % 3 == 0 ? 20'000 : 2'000'000'000;
    const auto on_error = static_cast<wasm_on_error>(seed / 2 % 3);
    const auto values = some_values(random, true);
    policed p(config);
    checkpointing host(
        [&] {
          auto engine = seed % 5 == 4 ? wasmengine::engine::create_shared(p.factory).value()
                                      : wasmengine::engine::create(p.factory).value();
          if (on_error != WASM_ON_ERROR_FAIL) {
            engine.set_policy({.on_error = on_error}).value();
          }
          return engine;
        },
        values, seed);
    ended += host.run();
    SCOPED_TRACE(seed);
    expect_each_once(host, values, on_error);
  }
  EXPECT_GT(ended, 200);
}

}  // namespace
