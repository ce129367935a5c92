// SPDX-License-Identifier: Apache-2.0
//
// Dead letters: what is in them, byte for byte, and sinks that take their time over them.
#include "support/policy.hh"

#include <gmock/gmock.h>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

namespace {

/// What the letter of `content` must be, but for the message, which is taken from it.
kafka::payload expected_letter(kafka::payload content, const kafka::payload& letter, std::int64_t offset,
                               const char* status) {
  const auto message = letter.headers.empty() ? kafka::field() : letter.headers.back().second;
  content.headers.insert(content.headers.end(), {{"wasm-transform", "tested"},
                                                 {"wasm-offset", std::to_string(offset)},
                                                 {"wasm-error", status},
                                                 {"wasm-error-message", message}});
  return content;
}

TEST(DeadLetter, HasTheRecordByteForByteAndItsOwnHeadersFirst) {
  const std::string binary("u\0\xff\x80", 4);
  const std::vector<kafka::payload> contents = {
      {std::nullopt, "u", {}},
      {"key", "u", {}},
      {"", "u", {{"", std::nullopt}}},
      {"key", binary, {{"h", "1"}, {"h", std::nullopt}, {"wasm-offset", "mine"}, {"empty", ""}}},
      {std::nullopt, "u" + std::string(2'000'000, 'x'), {}},
  };
  policed p(WASM_ON_ERROR_DEAD_LETTER);
  ASSERT_TRUE(succeeded(p.start()));
  kafka::batch batch;
  batch.base_offset = 1'000'000'000'000;
  batch.base_timestamp = 77;
  batch.max_timestamp = 900;
  for (const auto& c : contents) {
    const auto i = static_cast<std::int64_t>(batch.records.size());
    batch.records.push_back({3 * i, 10 * i, c});
  }
  std::vector<kafka::bytes> seen;
  auto sink = [&](output_block block) {
    ASSERT_EQ(block.size(), 1U) << "a letter comes alone";
    const wasmengine::output_record r(block[0]);
    const auto i = static_cast<std::int64_t>(seen.size());
    EXPECT_EQ(r.topic(), 1U) << "behind the last output topic";
    EXPECT_EQ(r.input_offset(), batch.base_offset + 3 * i);
    EXPECT_EQ(r.input_timestamp(), 77 + 10 * i);
    seen.emplace_back(r.payload().begin(), r.payload().end());
  };
  EXPECT_TRUE(succeeded(p.transform(batch.encode(), sink)));
  ASSERT_EQ(seen.size(), contents.size());
  for (std::size_t i = 0; i < seen.size(); ++i) {
    const auto letter = kafka::payload::decode(seen[i]);
    const auto offset = batch.base_offset + 3 * static_cast<std::int64_t>(i);
    const auto expected = expected_letter(contents[i], letter, offset, "guest-trap");
    EXPECT_TRUE(seen[i] == expected.encode()) << i;
    EXPECT_THAT(letter.headers.back().second.value(),
                StartsWith("transform \"tested\", record " + std::to_string(i) + " of the batch"));
  }
  EXPECT_EQ(p.stats().dead_lettered, contents.size());
}

TEST(DeadLetter, GoesToTheOutputBehindTheLastTopic) {
  for (const std::size_t topics : {0U, 1U, 3U}) {
    policed p({}, std::vector<std::string>{"a", "b", "c"});
    if (topics != 3) {
      p.factory = compile(p.runtime, "p_guest", with_topics(std::vector<std::string>(topics, "a")));
      p.engine = wasmengine::engine::create(p.factory).value();
    }
    p.set({.on_error = WASM_ON_ERROR_DEAD_LETTER});
    ASSERT_TRUE(succeeded(p.start()));
    recorder out;
    EXPECT_TRUE(succeeded(p.transform(built({"u"}), out)));
    ASSERT_EQ(out.records.size(), 1U);
    EXPECT_EQ(out.records[0].topic, topics);
  }
}

TEST(DeadLetter, CarriesTheBrokersTimeAndTheFirstPartOfALongMessage) {
  policed p(WASM_ON_ERROR_DEAD_LETTER);
  ASSERT_TRUE(succeeded(p.start()));
  auto batch = kafka::values({"r"});
  batch.attributes = kafka::append_time;
  batch.max_timestamp = 1'800'000'000'000;
  recorder out;
  EXPECT_TRUE(succeeded(p.transform(batch.encode(), out)));
  ASSERT_EQ(out.records.size(), 1U);
  EXPECT_EQ(out.records[0].input_timestamp, 1'800'000'000'000);
  const auto& headers = out.records[0].content.headers;
  const std::string whole = p.engine.last_error().value()->what();
  EXPECT_EQ(headers[2].second, "guest-stack-overflow");
  EXPECT_EQ(headers[3].second, whole.substr(0, 1024));
}

TEST(DeadLetter, HasWhatTheGuestWroteToStandardErrorAndTheRefusedWrite) {
  wasm_runtime_config config{};
  config.output_buffer_limit = 4 << 10;
  policed p(config);
  for (const auto* guest : {"rust_panic", "odd_bad_write"}) {
    p.factory = compile(p.runtime, guest);
    p.engine = wasmengine::engine::create(p.factory).value();
    p.set({.on_error = WASM_ON_ERROR_DEAD_LETTER});
    ASSERT_TRUE(succeeded(p.start()));
    recorder out;
    EXPECT_TRUE(succeeded(p.transform(built({"boom", std::string(5'000, 'x'), "boom"}), out)));
    ASSERT_EQ(out.records.size(), 3U);
    const bool rust = guest == std::string_view("rust_panic");
    const auto& headers = out.records[rust ? 0 : 1].content.headers;
    ASSERT_EQ(headers.size(), 5U);
    EXPECT_EQ(headers[4].first, "wasm-stderr");
    if (rust) {
      EXPECT_THAT(headers[4].second.value(), testing::EndsWith(":26:\nboom, as the record asked"));
    } else {
      EXPECT_EQ(headers[4].second, "bad_write: write failed");
      EXPECT_THAT(headers[3].second.value(),
                  HasSubstr("write_record returned -3: the record has 5004 bytes and output_buffer_limit is 4096"));
    }
  }
}

TEST(DeadLetter, IsWaitedForBehindTheOutputBeforeIt) {
  policed p(WASM_ON_ERROR_DEAD_LETTER);
  ASSERT_TRUE(succeeded(p.start()));
  const auto values = values_with('u', 4, {1, 2});
  const auto batch = built(values);
  pending_sink sink;
  recorder out;
  auto operation = begin(p, batch, sink);
  const auto end = drive(operation, [&] {
    EXPECT_EQ(p.state(), WASM_ENGINE_STATE_TRANSFORMING);
    const auto counted = p.stats().dead_lettered;
    out(sink.block);
    EXPECT_EQ(counted, out.records.size() < 2 ? 0 : out.records.size() - 2) << "counted when it was taken";
    sink.resolve();
    return true;
  });
  EXPECT_TRUE(succeeded(end));
  EXPECT_EQ(end.pendings, 4);
  EXPECT_EQ(out.values(), values);
  EXPECT_EQ(sink.drops, 1);
  EXPECT_EQ(p.stats().dead_lettered, 2U);
  EXPECT_EQ(p.state(), WASM_ENGINE_STATE_IDLE);
}

TEST(DeadLetter, ThatIsNotTakenFailsTheTransform) {
  enum class way { fails, rejects, drops, nonsense };
  for (const auto how : {way::fails, way::rejects, way::drops, way::nonsense}) {
    policed p(WASM_ON_ERROR_DEAD_LETTER);
    ASSERT_TRUE(succeeded(p.start()));
    recorder out;
    c_sink sink([&](output_block block, wasm_call* call) -> wasm_callback_result {
      if (block[0].topic == 0) {
        out(block);
        return WASM_CALLBACK_RESULT_DONE;
      }
      wasm_promise* promise = nullptr;
      switch (how) {
        case way::fails:
          EXPECT_EQ(wasm_call_fail(call, wasmengine::as_slice("the disk is full"), nullptr), WASM_STATUS_OK);
          return WASM_CALLBACK_RESULT_FAILED;
        case way::rejects:
          EXPECT_EQ(wasm_call_promise(call, &promise, nullptr), WASM_STATUS_OK);
          EXPECT_EQ(wasm_promise_reject(promise, wasmengine::as_slice("the disk is full"), nullptr), WASM_STATUS_OK);
          break;
        case way::drops:
          EXPECT_EQ(wasm_call_promise(call, &promise, nullptr), WASM_STATUS_OK);
          break;
        case way::nonsense:
          return wasm_callback_result{7};
      }
      wasm_promise_release(promise);
      return WASM_CALLBACK_RESULT_PENDING;
    });
    const auto batch = built({"k1-0", "u1-1", "k1-2"});
    auto operation = begin(p, batch, sink);
    const auto end = finish(operation);
    EXPECT_EQ(end.status, WASM_STATUS_OUTPUT_REJECTED) << end.message();
    if (how == way::fails || how == way::rejects) {
      EXPECT_THAT(end.message(), HasSubstr("the disk is full"));
    }
    EXPECT_THAT(out.values(), ElementsAre("k1-0"));
    EXPECT_EQ(sink.drops, 1);
    EXPECT_EQ(p.stats().dead_lettered, 0U) << "nobody took it";
    EXPECT_EQ(p.state(), WASM_ENGINE_STATE_STOPPED);
    EXPECT_EQ(p.engine.last_error().value()->status(), WASM_STATUS_OUTPUT_REJECTED) << "not the trap before it";
    EXPECT_TRUE(p.works());
  }
}

class DeadLetterEnded : public testing::TestWithParam<ending> {};

// A sink reads what it was given until it is dropped, so the library must keep it until then.
TEST_P(DeadLetterEnded, AtEachStepTheSinkMayReadItsBlockUntilItIsDroppedOnce) {
  const auto batch = built(values_with('u', 4, {0, 2}, '2'));
  int steps = 0;
  for (bool over = false; !over; ++steps) {
    ASSERT_LT(steps, 1'000) << "it does not end";
    policed p(unhurried);
    p.set({.on_error = WASM_ON_ERROR_DEAD_LETTER});
    ASSERT_TRUE(succeeded(p.start()));
    pending_sink sink;
    recorder given;
    recorder read;
    sink.on_records = [&given, take = sink.on_records](output_block block, wasm_call* call) {
      given = {};
      given(block);
      return take(block, call);
    };
    sink.on_drop = [&] {
      if (sink.promise != nullptr) {
        read(sink.block);
      }
    };
    waker_tally wakers;
    auto operation = begin(p, batch, sink);
    auto last = WASM_POLL_YIELDED;
    for (int i = 0; i < steps && !over; ++i) {
      if (last == WASM_POLL_PENDING) {
        sink.resolve();
      }
      const auto waker = wakers.give();
      last = operation.poll(&waker).value();
      over = last == WASM_POLL_READY;
    }
    const bool reads = sink.promise != nullptr;
    switch (GetParam()) {
      case ending::release:
        operation = wasmengine::future();
        break;
      case ending::stop:
        EXPECT_TRUE(succeeded(finish(p.engine.stop())));
        break;
      case ending::engine_release:
        p.engine = wasmengine::engine();
        break;
    }
    EXPECT_EQ(sink.drops, 1);
    EXPECT_EQ(wakers.alive(), 0);
    EXPECT_EQ(read.values(), reads ? given.values() : std::vector<std::string>());
    if (sink.promise != nullptr) {
      sink.resolve();  // late, and harmless
    }
    if (operation && !over) {
      const auto polled = operation.poll();
      ASSERT_FALSE(polled);
      EXPECT_EQ(polled.err().status(), WASM_STATUS_CANCELLED);
    }
    operation = wasmengine::future();
    if (!p.engine) {
      p.engine = wasmengine::engine::create(p.factory).value();
    }
    EXPECT_EQ(p.state(), over && GetParam() == ending::release ? WASM_ENGINE_STATE_IDLE : WASM_ENGINE_STATE_STOPPED);
    EXPECT_TRUE(p.works());
  }
  EXPECT_GT(steps, 10) << "letters, starts and blocks are steps";
}

INSTANTIATE_TEST_SUITE_P(Ways, DeadLetterEnded, testing::Values(ending::release, ending::stop, ending::engine_release),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
