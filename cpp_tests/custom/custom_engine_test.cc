// SPDX-License-Identifier: Apache-2.0
//
// Engines that are tables of callbacks: what is called when, output, back-pressure, answers that come later, and
// misuse.
#include "support/begin_transform.hh"
#include "support/custom.hh"
#include "support/metrics.hh"

#include <gmock/gmock.h>

#include <thread>

using namespace testing_support;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

namespace {

const std::vector<std::string> five{"a", "b", "c", "d", "e"};

/// A transform whose input topic has its name, with one output topic or none.
wasm_factory_config described(wasm_slice name, const wasm_slice* topic = nullptr) {
  wasm_factory_config config{};
  config.size = sizeof(config);
  config.name = name;
  config.input_topic = name;
  config.output_topics = topic;
  config.output_topic_count = topic != nullptr ? 1 : 0;
  return config;
}

TEST(CustomEngine, CopiesRecordsAsAGuestWould) {
  c_engine table;
  custom_bench b(table);
  ASSERT_TRUE(succeeded(b.start()));
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_IDLE);
  for (const auto codec : {WASM_COMPRESSION_NONE, WASM_COMPRESSION_LZ4, WASM_COMPRESSION_ZSTD}) {
    recorder out;
    ASSERT_TRUE(succeeded(b.transform(built(five, {100, codec}), out)));
    EXPECT_EQ(out.values(), five);
    EXPECT_THAT(out.block_bytes, SizeIs(1)) << "one call of the sink";
    for (std::size_t i = 0; i < five.size(); ++i) {
      EXPECT_EQ(out.records[i].input_offset, 100 + static_cast<std::int64_t>(i));
      EXPECT_EQ(out.records[i].input_timestamp, 1'700'000'000'000 + static_cast<std::int64_t>(i));
    }
  }
}

TEST(CustomEngine, SeesTheBatchAsItCameAndTheRecordsFromTheFirstOneThatIsWanted) {
  c_engine table;
  const auto batch = built(five, {100, WASM_COMPRESSION_GZIP});
  table.on_transform = [&](wasm_slice seen, std::uint32_t first, wasm_work* work, wasm_call*) {
    EXPECT_EQ(seen.data, batch.data()) << "it is not copied";
    EXPECT_EQ(seen.size, batch.size());
    EXPECT_EQ(first, 3U);
    wasm_input_record record;
    for (std::uint32_t i = 3; i < 5; ++i) {
      EXPECT_TRUE(c_engine::next(work, record));
      EXPECT_EQ(record.index, i);
      EXPECT_EQ(record.offset, 100 + i);
      EXPECT_EQ(c_engine::write(work, record), WASM_STATUS_OK);
    }
    EXPECT_FALSE(c_engine::next(work, record));
    EXPECT_FALSE(c_engine::next(work, record)) << "the end stays the end";
    return WASM_CALLBACK_RESULT_DONE;
  };
  custom_bench b(table);
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(batch, out, 3)));
  EXPECT_THAT(out.values(), ElementsAre("d", "e"));
}

TEST(CustomEngine, IsCreatedStartedStoppedReleasedAndDroppedOnceEach) {
  c_engine table;
  {
    custom_bench b(table);
    EXPECT_EQ(table.creates, 1);
    EXPECT_EQ(table.starts, 0);
    ASSERT_TRUE(succeeded(b.start()));
    ASSERT_TRUE(succeeded(finish(b.engine.stop())));
    EXPECT_EQ(table.stops, 1);
    ASSERT_TRUE(succeeded(finish(b.engine.stop())));
    EXPECT_EQ(table.stops, 1) << "it was stopped already";
    ASSERT_TRUE(succeeded(b.start()));
    EXPECT_EQ(table.creates, 1);
    b.factory = we::factory();
    EXPECT_EQ(table.drops, 0) << "an engine is left";
    b.engine = we::engine();
    EXPECT_EQ(table.stops, 2);
    EXPECT_EQ(table.releases, 1);
    EXPECT_EQ(table.drops, 1);
  }
  EXPECT_EQ(table.drops, 1);
}

TEST(CustomEngine, WithoutCreateIsNotReleasedSinceNothingWasMade) {
  c_engine table;
  {
    const auto runtime = we::runtime::create().value();
    auto raw = table.table();
    raw.create = nullptr;
    const wasm_slice out = we::as_slice(std::string_view("out"));
    const auto config = described(we::as_slice(std::string_view("raw")), &out);
    wasm_factory* made = nullptr;
    ASSERT_EQ(wasm_factory_create_custom(runtime.get(), &config, &raw, &made, nullptr), WASM_STATUS_OK);
    const we::factory factory(made);
    auto first = we::engine::create(factory).value();
    auto second = we::engine::create(factory).value();
    EXPECT_TRUE(succeeded(finish(first.start())));
  }
  EXPECT_EQ(table.starts, 1);
  EXPECT_EQ(table.releases, 0);
  EXPECT_EQ(table.drops, 1);
}

TEST(CustomEngine, IsReleasedWithItsEngineAlsoIfAFutureOfItIsLeft) {
  c_engine table;
  custom_bench b(table);
  auto started = b.engine.start().value();
  b.engine = we::engine();
  EXPECT_EQ(table.releases, 1);
  EXPECT_EQ(started.poll().err().status(), WASM_STATUS_CANCELLED);
  b.factory = we::factory();
  started = we::future();
  EXPECT_EQ(table.drops, 1);
}

TEST(CustomEngine, WhoseTableIsRefusedIsDroppedOnce) {
  const auto runtime = we::runtime::create().value();
  wasm_factory* out = nullptr;
  const auto name = we::as_slice("t");
  const std::array<std::uint8_t, 1> code{0};
  const auto good = described(name);
  wasm_factory_config with_module = good, nameless = good;
  with_module.module = we::as_slice(code);
  nameless.name = {};
  const auto refused = [&](const wasm_runtime* r, const wasm_factory_config* config, wasm_factory** o, bool complete) {
    c_engine table;
    auto raw = table.table();
    if (!complete) {
      raw.transform = nullptr;
    }
    const auto status = wasm_factory_create_custom(r, config, &raw, o, nullptr);
    EXPECT_EQ(table.drops, 1) << wasm_status_name(status);
    return status;
  };
  EXPECT_EQ(refused(nullptr, &good, &out, true), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(refused(runtime.get(), nullptr, &out, true), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(refused(runtime.get(), &good, nullptr, true), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(refused(runtime.get(), &good, &out, false), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(refused(runtime.get(), &with_module, &out, true), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(refused(runtime.get(), &nameless, &out, true), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(out, nullptr);
}

TEST(CustomEngine, WhoseTableHasNoSizeIsNotReadAtAll) {
  const auto runtime = we::runtime::create().value();
  wasm_factory* out = nullptr;
  const auto name = we::as_slice("t");
  const auto config = described(name);
  EXPECT_EQ(wasm_factory_create_custom(runtime.get(), &config, nullptr, &out, nullptr), WASM_STATUS_NULL_ARGUMENT);
  c_engine table;
  auto raw = table.table();
  for (const std::size_t size : {std::size_t{0}, sizeof(raw) - 1, std::size_t{1} << 20}) {
    raw.size = size;
    EXPECT_EQ(wasm_factory_create_custom(runtime.get(), &config, &raw, &out, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  }
  EXPECT_EQ(table.drops, 0);
}

TEST(CustomEngine, NeedsNoCallbackButTransform) {
  const auto runtime = we::runtime::create().value();
  const auto name = we::as_slice("t");
  const wasm_slice topic = we::as_slice("out");
  const auto config = described(name, &topic);
  wasm_custom_engine raw{};
  raw.size = sizeof(raw);
  int mark = 0;
  raw.data = &mark;
  raw.transform = [](void* data, wasm_slice batch, std::uint32_t first, wasm_work* work, wasm_call* call) {
    ++*static_cast<int*>(data);
    return c_engine::copy(batch, first, work, call);
  };
  we::factory factory;
  ASSERT_EQ(wasm_factory_create_custom(runtime.get(), &config, &raw, factory.out(), nullptr), WASM_STATUS_OK);
  auto engine = we::engine::create(factory).value();
  ASSERT_TRUE(succeeded(finish(engine.start())));
  recorder out;
  ASSERT_TRUE(succeeded(finish(engine.transform(built(five), out))));
  EXPECT_EQ(out.values(), five);
  EXPECT_EQ(mark, 1) << "without create, the callbacks get the table's data";
  EXPECT_EQ(engine.memory_size().value(), 0U);
  ASSERT_TRUE(succeeded(finish(engine.stop())));
}

TEST(CustomEngine, ThatDoesNotWantToBeMadeIsNone) {
  c_engine table;
  custom_bench b(table);
  table.on_create = [](wasm_call* call) {
    EXPECT_EQ(wasm_call_engine(call), nullptr);
    (void)wasm_call_fail(call, we::as_slice("no room"), nullptr);
    return WASM_CALLBACK_RESULT_FAILED;
  };
  const auto refused = we::engine::create(b.factory);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.err().status(), WASM_STATUS_CUSTOM_ENGINE_FAILED);
  EXPECT_THAT(refused.err().what(), HasSubstr("transform \"tested\""));
  EXPECT_THAT(refused.err().what(), HasSubstr("no room"));
  held_promise promise;
  table.on_create = [&](wasm_call* call) { return promise.take(call); };
  EXPECT_THAT(we::engine::create(b.factory).err().what(), HasSubstr("must return done or failed at once"));
  EXPECT_EQ(promise.resolve(), WASM_STATUS_OK) << "nobody waits";
  table.on_create = [](wasm_call*) { return WASM_CALLBACK_RESULT_AGAIN; };
  EXPECT_FALSE(we::engine::create(b.factory));
  b.engine = we::engine();
  EXPECT_EQ(table.releases, 1) << "those that were not made are not released";
}

TEST(CustomEngine, AnswersFromAnotherThread) {
  c_engine table;
  std::vector<std::thread> threads;
  bool waited = false;
  const auto wait = [&](wasm_call* call) -> wasm_callback_result {
    if (std::exchange(waited, !waited)) {
      return WASM_CALLBACK_RESULT_DONE;
    }
    wasm_promise* promise = nullptr;
    EXPECT_EQ(wasm_call_promise(call, &promise, nullptr), WASM_STATUS_OK);
    threads.emplace_back([promise] {
      EXPECT_EQ(wasm_promise_resolve(promise, nullptr), WASM_STATUS_OK);
      wasm_promise_release(promise);
    });
    return WASM_CALLBACK_RESULT_PENDING;
  };
  table.on_start = wait;
  table.on_transform = [&](wasm_slice batch, std::uint32_t first, wasm_work* work, wasm_call* call) {
    const auto answer = wait(call);
    return answer == WASM_CALLBACK_RESULT_DONE ? c_engine::copy(batch, first, work, call) : answer;
  };
  custom_bench b(table);
  ASSERT_TRUE(succeeded(b.start()));
  for (int i = 0; i < 50; ++i) {
    recorder out;
    ASSERT_TRUE(succeeded(b.transform(built(five), out)));
    EXPECT_EQ(out.values(), five);
  }
  EXPECT_EQ(table.starts, 2);
  EXPECT_EQ(table.transforms, 100) << "each step is called again when its promise is resolved";
  for (auto& thread : threads) {
    thread.join();
  }
}

TEST(CustomEngine, ThatWaitsIsNotCalledBeforeItsPromiseIsSettled) {
  c_engine table;
  held_promise promise;
  table.on_start = [&](wasm_call* call) -> wasm_callback_result {
    return table.starts == 1 ? promise.take(call) : WASM_CALLBACK_RESULT_DONE;
  };
  custom_bench b(table);
  auto started = b.engine.start().value();
  waker_tally wakers;
  for (int i = 0; i < 3; ++i) {
    const auto waker = wakers.give();
    EXPECT_EQ(started.poll(&waker).value(), WASM_POLL_PENDING);
  }
  EXPECT_EQ(table.starts, 1);
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STARTING);
  EXPECT_EQ(wakers.alive(), 1);
  EXPECT_EQ(promise.resolve(), WASM_STATUS_OK);
  EXPECT_EQ(wakers.woken(), 1);
  EXPECT_EQ(wasm_promise_resolve(promise.raw, nullptr), WASM_STATUS_PROMISE_SETTLED);
  EXPECT_EQ(started.poll().value(), WASM_POLL_READY);
  EXPECT_EQ(table.starts, 2);
}

TEST(CustomEngine, ThatWantsToBeCalledAgainLetsOthersHaveTheirTurn) {
  c_engine table;
  table.on_start = [&](wasm_call*) -> wasm_callback_result { return table.starts < 3 ? WASM_CALLBACK_RESULT_AGAIN : WASM_CALLBACK_RESULT_DONE; };
  custom_bench b(table);
  auto started = b.engine.start().value();
  EXPECT_EQ(started.poll().value(), WASM_POLL_YIELDED);
  EXPECT_EQ(started.poll().value(), WASM_POLL_YIELDED);
  EXPECT_EQ(started.poll().value(), WASM_POLL_READY);
}

TEST(CustomEngine, KnowsItsEngineAndUserDataButNoGuestsMemory) {
  c_engine table;
  custom_bench b(table);
  int mark = 0;
  b.engine.set_user_data(&mark).value();
  const auto look = [&](wasm_call* call) {
    EXPECT_EQ(wasm_call_engine(call), b.engine.get());
    EXPECT_EQ(wasm_call_user_data(call), &mark);
    std::uint8_t* bytes = nullptr;
    EXPECT_EQ(wasm_call_memory(call, 0, 1, &bytes, nullptr), WASM_STATUS_GUEST_BAD_CALL);
    return WASM_CALLBACK_RESULT_DONE;
  };
  table.on_start = look;
  table.on_transform = [&](wasm_slice, std::uint32_t, wasm_work*, wasm_call* call) { return look(call); };
  table.memory = 4321;
  ASSERT_TRUE(succeeded(b.start()));
  EXPECT_EQ(b.engine.memory_size().value(), 4321U);
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(built(five), out)));
  EXPECT_THAT(out.records, SizeIs(0));
  ASSERT_TRUE(succeeded(finish(b.engine.stop())));
  EXPECT_EQ(b.engine.memory_size().value(), 0U);
}

// ---- Output ----

/// Copies each record, as often as it takes to get it out.
struct copier {
  std::optional<wasm_input_record> held;
  wasm_callback_result operator()(wasm_slice, std::uint32_t, wasm_work* work, wasm_call*) {
    wasm_input_record record{};
    for (;;) {
      if (!held) {
        if (!c_engine::next(work, record)) {
          return WASM_CALLBACK_RESULT_DONE;
        }
        held = record;
      }
      const auto status = c_engine::write(work, *held);
      if (status == WASM_STATUS_OUTPUT_FULL) {
        return WASM_CALLBACK_RESULT_AGAIN;
      }
      EXPECT_EQ(status, WASM_STATUS_OK);
      held.reset();
    }
  }
};

TEST(CustomEngine, FeelsTheSinksBackPressure) {
  c_engine table;
  table.on_transform = copier();
  wasm_runtime_config config{};
  config.output_buffer_limit = 4096;
  custom_bench b(table, config);
  ASSERT_TRUE(succeeded(b.start()));
  const std::vector<std::string> values(20, std::string(1000, 'x'));
  const auto batch = built(values);
  pending_sink sink;
  const auto raw = sink.raw();
  we::future operation;
  ASSERT_EQ(begin_transform(b.engine.get(), we::as_slice(batch), &raw, operation.out(), nullptr), WASM_STATUS_OK);
  std::size_t records = 0;
  for (;;) {
    waker_tally wakers;
    const auto waker = wakers.give();
    const auto state = operation.poll(&waker).value();
    if (state == WASM_POLL_READY) {
      break;
    }
    if (state == WASM_POLL_PENDING) {
      const int calls = table.transforms;
      EXPECT_EQ(operation.poll().value(), WASM_POLL_PENDING);
      EXPECT_EQ(table.transforms, calls) << "while the host is not done with a block, no step is called";
      EXPECT_LE(sink.block.size(), 4U);
      records += sink.block.size();
      sink.resolve();
    }
  }
  EXPECT_EQ(records, values.size());
  EXPECT_GE(sink.calls, 5);
  EXPECT_EQ(table.transforms, sink.calls) << "each full buffer costs one more step";
  EXPECT_EQ(sink.drops, 1);
}

TEST(CustomEngine, WhoseOutputIsNotTakenIsStopped) {
  c_engine table;
  custom_bench b(table);
  ASSERT_TRUE(succeeded(b.start()));
  auto sink = [](output_block) { throw std::runtime_error("no thanks"); };
  const auto end = b.transform(built(five), sink);
  EXPECT_EQ(end.status, WASM_STATUS_OUTPUT_REJECTED);
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
  EXPECT_EQ(table.stops, 1);
}

TEST(CustomEngine, IsToldWhatItCannotWrite) {
  c_engine table;
  table.on_transform = [&](wasm_slice, std::uint32_t, wasm_work* work, wasm_call*) {
    wasm_input_record record;
    EXPECT_TRUE(c_engine::next(work, record));
    EXPECT_EQ(c_engine::write(work, record, 2), WASM_STATUS_INVALID_ARGUMENT) << "there are topics 0 and 1";
    EXPECT_EQ(wasm_work_write(work, we::as_slice("no payload"), 0, nullptr), WASM_STATUS_BATCH_MALFORMED);
    EXPECT_EQ(wasm_work_write(work, {}, 0, nullptr), WASM_STATUS_BATCH_MALFORMED);
    const auto large = payload_of(std::string(5000, 'x'));
    EXPECT_EQ(wasm_work_write(work, we::as_slice(large), 0, nullptr), WASM_STATUS_INVALID_ARGUMENT);
    EXPECT_EQ(wasm_work_write(nullptr, {}, 0, nullptr), WASM_STATUS_NULL_ARGUMENT);
    EXPECT_EQ(wasm_work_next(nullptr, &record, nullptr), WASM_STATUS_NULL_ARGUMENT);
    EXPECT_EQ(wasm_work_next(work, nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
    EXPECT_EQ(c_engine::write(work, record, 1), WASM_STATUS_OK);
    return WASM_CALLBACK_RESULT_DONE;
  };
  wasm_runtime_config config{};
  config.output_buffer_limit = 4096;
  custom_bench b(table, config, {"one", "two"});
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(built(five), out)));
  ASSERT_THAT(out.records, SizeIs(1));
  EXPECT_EQ(out.records[0].topic, 1U);
}

TEST(CustomEngine, NeverSeesABatchThatIsRefused) {
  c_engine table;
  custom_bench b(table);
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  auto broken = built(five);
  broken.back() ^= 1;
  EXPECT_EQ(b.transform(broken, out).status, WASM_STATUS_BATCH_CRC);
  EXPECT_EQ(b.transform(built(five), out, 5).status, WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(table.transforms, 0);
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_IDLE);
}

TEST(CustomEngine, IsMeasuredLikeAGuest) {
  c_engine table;
  table.memory = 1000;
  custom_bench b(table);
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(built(five), out)));
  auto m = only(b.runtime);
  EXPECT_EQ(m.raw.input_records, 5U);
  EXPECT_EQ(m.raw.output_records, 5U);
  EXPECT_EQ(m.raw.input_bytes, payload_bytes(five));
  EXPECT_EQ(m.raw.output_bytes, payload_bytes(five));
  EXPECT_EQ(m.raw.memory_bytes, 1000U);
  EXPECT_EQ(m.observed, 5U);
  // One that takes the batch as a whole has taken its records, too.
  table.on_transform = [](wasm_slice, std::uint32_t, wasm_work*, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; };
  ASSERT_TRUE(succeeded(b.transform(built(five), out, 2)));
  EXPECT_EQ(only(b.runtime).raw.input_records, 8U);
  table.on_transform = [](wasm_slice, std::uint32_t, wasm_work*, wasm_call*) { return WASM_CALLBACK_RESULT_FAILED; };
  EXPECT_EQ(b.transform(built(five), out).status, WASM_STATUS_CUSTOM_ENGINE_FAILED);
  ASSERT_TRUE(succeeded(b.start()));
  m = only(b.runtime);
  EXPECT_EQ(m.errors[WASM_STATUS_CUSTOM_ENGINE_FAILED], 1U);
  EXPECT_EQ(m.raw.restarts, 1U);
}

TEST(CustomEngine, NeedsNoPoolOfItsThread) {
  c_engine table;
  wasm_runtime_config config{};
  config.memory_mode = WASM_MEMORY_MODE_THREAD_POOL;
  custom_bench b(table, config);
  std::thread([&] {
    auto engine = we::engine::create(b.factory).value();
    ASSERT_TRUE(succeeded(finish(engine.start())));
    recorder out;
    ASSERT_TRUE(succeeded(finish(engine.transform(built(five), out))));
    EXPECT_EQ(out.values(), five);
  }).join();
}

}  // namespace
