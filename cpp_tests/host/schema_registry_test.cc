// SPDX-License-Identifier: Apache-2.0
//
// The schema registry module: none, in memory, and the host's own, which answers later.
#include "support/host_guest.hh"

#include <gmock/gmock.h>

using namespace host_guest;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

/// "\0\x0a\"in…": what begins the encoded schema, and a subject's schema with id 1 and version 1.
constexpr std::int32_t definition_word = 0x6922'0a00;
constexpr std::int32_t subject_word = 0x0a00'0202;

constexpr std::uint32_t create = 0, by_id = 1, by_subject = 2, too_small = 3, garbage = 4,
                        references = 5;

struct sr_world : world {
  explicit sr_world(bool in_memory) {
    add_report();
    if (in_memory) {
      EXPECT_TRUE(runtime.set_schema_registry_in_memory());
    }
  }
};

TEST(SchemaRegistry, NotEnabled) {
  sr_world w(false);
  w.start("h_sr");
  EXPECT_EQ(drive(w.begin({{create, 0}, {by_id, 1}, {by_subject, 1}})).message, "");
  EXPECT_THAT(w.reported, ElementsAre(-1, 0, -1, -1, 0, -1, -1, 0));
}

TEST(SchemaRegistry, InMemory) {
  sr_world w(true);
  w.start("h_sr");
  EXPECT_EQ(drive(w.begin({{create, 0}, {by_id, 1}, {by_subject, 1}, {by_subject, 0xffff'ffffU}, {create, 0}})).message,
            "");
  EXPECT_THAT(w.reported, ElementsAre(0, 1,                      // registered, with id 1
                                      0, 8, definition_word,     // by id
                                      0, 10, subject_word,       // by version
                                      0, 10, subject_word,       // the latest
                                      0, 1));                    // the same once more
}

TEST(SchemaRegistry, WhatIsNotThereIsAnErrorForTheGuest) {
  sr_world w(true);
  w.start("h_sr");
  EXPECT_EQ(drive(w.begin({{by_id, 9}, {by_id, 0}, {by_id, 0x8000'0000U}, {by_subject, 1}, {create, 0}, {by_subject, 7},
                           {too_small, 1}, {garbage, 0}}))
                .message,
            "");
  EXPECT_THAT(w.reported, ElementsAre(-2, -2, 0, -2, -2, 0, -2, -2, 0, -2, -2, 0, 0, 1, -2, -2, 0, -2, -2));
  EXPECT_THAT(w.log, testing::Contains(HasSubstr("id 9")));
}

TEST(SchemaRegistry, TakesSchemasOfAMebibyteAndNoLarger) {
  sr_world w(true);
  w.start("h_sr");
  // Three bytes each: in the host's memory they would be some thirty times as large.
  EXPECT_EQ(drive(w.begin({{references, 349'000}, {references, 350'000}})).message, "");
  EXPECT_THAT(w.reported, ElementsAre(0, -2));
}

TEST(SchemaRegistry, IsSharedByEnginesOfARuntime) {
  sr_world w(true);
  w.start("h_sr");
  auto other = we::engine::create(w.factory).value();
  ASSERT_EQ(drive(other.start()).message, "");
  EXPECT_EQ(w.call(create, 0).message, "");
  const auto batch = pairs({{by_id, 1}});
  EXPECT_EQ(drive(other.transform(batch, w.sink)).message, "");
  EXPECT_THAT(w.reported, ElementsAre(0, 1, 0, 8, definition_word));
}

TEST(SchemaRegistry, CanBeSetOnceAndInTime) {
  sr_world w(true);
  EXPECT_EQ(w.runtime.set_schema_registry_in_memory().err().status(), WASM_STATUS_INVALID_ARGUMENT);
  w.start("h_sr");
  EXPECT_EQ(w.runtime.set_schema_registry_in_memory().err().status(), WASM_STATUS_INVALID_STATE);
}

/// A registry that keeps its promises, counts its drops, and remembers what it was asked.
struct later_registry {
  std::vector<owned_promise> promises;
  std::vector<std::string> asked;
  std::atomic<int> drops{0};
  wasm_callback_result answer = WASM_CALLBACK_RESULT_PENDING;

  wasm_callback_result ask(std::string what, wasm_call* call) {
    asked.push_back(std::move(what));
    if (answer == WASM_CALLBACK_RESULT_PENDING) {
      promises.push_back(take_promise(call));
    }
    return answer;
  }

  wasm_schema_registry table() {
    return {sizeof(wasm_schema_registry), this, [](void* data) { ++static_cast<later_registry*>(data)->drops; },
            [](void* data, std::int32_t id, wasm_call* call) {
              return static_cast<later_registry*>(data)->ask("id " + std::to_string(id), call);
            },
            [](void* data, wasm_slice subject, std::int32_t version, wasm_call* call) {
              return static_cast<later_registry*>(data)->ask(
                  std::string(we::as_text(subject)) + " " + std::to_string(version), call);
            },
            [](void* data, wasm_slice subject, const wasm_schema* schema, wasm_call* call) {
              return static_cast<later_registry*>(data)->ask(
                  std::string(we::as_text(subject)) + ": " + std::string(we::as_text(schema->definition)), call);
            }};
  }
};

wasm_subject_schema int_schema() {
  wasm_subject_schema s{};
  s.id = 1;
  s.version = 1;
  s.schema.schema_type = WASM_SCHEMA_TYPE_AVRO;
  s.schema.definition = we::as_slice("\"int\"");
  return s;
}

TEST(OwnRegistry, AnswersLaterFromAnotherThread) {
  later_registry r;
  {
    sr_world w(false);
    ASSERT_TRUE(w.runtime.set_schema_registry(r.table()));
    w.start("h_sr");
    auto operation = w.begin({{create, 0}, {by_id, 5}, {by_subject, 3}}).value();
    wakers wake;
    const auto poll = [&] {
      return step(operation, &wake).value();
    };
    ASSERT_EQ(poll(), WASM_POLL_PENDING);
    std::thread([&] { EXPECT_EQ(resolve(r.promises.at(0), 5), WASM_STATUS_OK); }).join();
    ASSERT_EQ(poll(), WASM_POLL_PENDING);
    const auto s = int_schema();
    EXPECT_EQ(wasm_promise_resolve_schema(r.promises.at(1).get(), &s, nullptr), WASM_STATUS_OK);
    ASSERT_EQ(poll(), WASM_POLL_PENDING);
    EXPECT_EQ(wasm_promise_resolve_schema(r.promises.at(2).get(), &s, nullptr), WASM_STATUS_OK);
    ASSERT_EQ(poll(), WASM_POLL_READY);
    EXPECT_EQ(wake.woken, 3);
    EXPECT_EQ(wake.dropped, 1);
    EXPECT_THAT(w.reported, ElementsAre(0, 5, 0, 8, definition_word, 0, 10, subject_word));
    EXPECT_THAT(r.asked, ElementsAre("topic-value: \"int\"", "id 5", "topic-value 3")) << "asked once for size and bytes";
    w.runtime = {};
    w.factory = {};
    EXPECT_EQ(r.drops, 0);
  }
  EXPECT_EQ(r.drops, 1);
}

TEST(OwnRegistry, RejectionAndDroppedPromiseAreErrorsForTheGuest) {
  later_registry r;
  sr_world w(false);
  ASSERT_TRUE(w.runtime.set_schema_registry(r.table()));
  w.start("h_sr");
  auto operation = w.begin({{by_id, 5}}).value();
  ASSERT_EQ(step(operation).value(), WASM_POLL_PENDING);
  EXPECT_EQ(wasm_promise_reject(r.promises.at(0).get(), we::as_slice("HTTP 500"), nullptr), WASM_STATUS_OK);
  ASSERT_EQ(step(operation).value(), WASM_POLL_PENDING) << "the guest asks once more, for the bytes";
  r.promises.at(1).reset();
  ASSERT_EQ(step(operation).value(), WASM_POLL_READY);
  EXPECT_THAT(w.reported, ElementsAre(-2, -2, 0));
  EXPECT_THAT(w.log, testing::Contains(HasSubstr("HTTP 500")));
}

TEST(OwnRegistry, AWrongKindOfAnswerIsAStatus) {
  later_registry r;
  sr_world w(false);
  ASSERT_TRUE(w.runtime.set_schema_registry(r.table()));
  w.start("h_sr");
  auto operation = w.begin({{by_id, 5}}).value();
  ASSERT_EQ(step(operation).value(), WASM_POLL_PENDING);
  auto* p = r.promises.at(0).get();
  EXPECT_EQ(resolve(r.promises.at(0), 5), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(wasm_promise_resolve(p, nullptr), WASM_STATUS_INVALID_ARGUMENT);
  std::atomic<int> drops{0};
  const auto c = continuation([](auto...) { return WASM_CALLBACK_RESULT_DONE; }, &drops);
  EXPECT_EQ(wasm_promise_resolve_with(p, &c, nullptr), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(drops, 1);
  auto s = int_schema();
  s.schema.schema_type = wasm_schema_type{17};
  EXPECT_EQ(wasm_promise_resolve_schema(p, &s, nullptr), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(wasm_promise_resolve_schema(p, nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  s = int_schema();
  EXPECT_EQ(wasm_promise_resolve_schema(p, &s, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(step(operation).value(), WASM_POLL_READY);
  EXPECT_THAT(w.reported, ElementsAre(0, 8, definition_word));
}

/// A registry that has its answers at hand. Answers that do not fit are refused, and do not count.
wasm_schema_registry ready_registry() {
  wasm_schema_registry table{};
  table.size = sizeof(table);
  table.get_schema = [](void*, std::int32_t, wasm_call* call) {
    auto s = int_schema();
    EXPECT_EQ(wasm_call_return_schema(call, &s, nullptr), WASM_STATUS_OK);
    EXPECT_EQ(wasm_call_return_schema(call, nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
    EXPECT_EQ(wasm_call_return_schema_id(call, 9, nullptr), WASM_STATUS_INVALID_ARGUMENT);
    s.schema.schema_type = wasm_schema_type{17};
    EXPECT_EQ(wasm_call_return_schema(call, &s, nullptr), WASM_STATUS_INVALID_ARGUMENT);
    return WASM_CALLBACK_RESULT_DONE;
  };
  table.get_subject_schema = [](void*, wasm_slice, std::int32_t, wasm_call* call) {
    const auto s = int_schema();
    EXPECT_EQ(wasm_call_return_schema(call, &s, nullptr), WASM_STATUS_OK);
    return WASM_CALLBACK_RESULT_DONE;
  };
  table.create_schema = [](void*, wasm_slice, const wasm_schema*, wasm_call* call) {
    const auto s = int_schema();
    EXPECT_EQ(wasm_call_return_schema_id(call, 7, nullptr), WASM_STATUS_OK);
    EXPECT_EQ(wasm_call_return_schema(call, &s, nullptr), WASM_STATUS_INVALID_ARGUMENT);
    return WASM_CALLBACK_RESULT_DONE;
  };
  return table;
}

TEST(OwnRegistry, AnswersAtOnce) {
  sr_world w(false);
  ASSERT_TRUE(w.runtime.set_schema_registry(ready_registry()));
  w.start("h_sr");
  EXPECT_EQ(drive(w.begin({{create, 0}, {by_id, 5}, {by_subject, 3}})).message, "");
  EXPECT_THAT(w.reported, ElementsAre(0, 7, 0, 8, definition_word, 0, 10, subject_word));
}

TEST(OwnRegistry, AnswersOnlyItsOwnCalls) {
  const auto s = int_schema();
  EXPECT_EQ(wasm_call_return_schema(nullptr, &s, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_call_return_schema_id(nullptr, 7, nullptr), WASM_STATUS_NULL_ARGUMENT);
  world w;
  w.add([&](wasm_call* call, const wasm_value*, wasm_value* results) {
    EXPECT_EQ(wasm_call_return_schema(call, &s, nullptr), WASM_STATUS_INVALID_STATE);
    EXPECT_EQ(wasm_call_return_schema_id(call, 7, nullptr), WASM_STATUS_INVALID_STATE);
    results[0].i32 = 1;
    return WASM_CALLBACK_RESULT_DONE;
  }, false);
  w.start();
  EXPECT_EQ(w.call(0, 0).message, "");
}

TEST(OwnRegistry, ThatIsDoneWithoutAnAnswerFails) {
  for (const auto answer : {WASM_CALLBACK_RESULT_DONE, WASM_CALLBACK_RESULT_FAILED, wasm_callback_result{9}}) {
    later_registry r;
    r.answer = answer;
    sr_world w(false);
    ASSERT_TRUE(w.runtime.set_schema_registry(r.table()));
    w.start("h_sr");
    EXPECT_EQ(w.call(by_id, 5).message, "");
    EXPECT_THAT(w.reported, ElementsAre(-2, -2, 0));
  }
}

TEST(OwnRegistry, OutstandingWhenTheEngineGoes) {
  later_registry r;
  sr_world w(false);
  ASSERT_TRUE(w.runtime.set_schema_registry(r.table()));
  w.start("h_sr");
  auto operation = w.begin({{by_id, 5}}).value();
  ASSERT_EQ(step(operation).value(), WASM_POLL_PENDING);
  operation = {};
  const auto s = int_schema();
  EXPECT_EQ(wasm_promise_resolve_schema(r.promises.at(0).get(), &s, nullptr), WASM_STATUS_OK);
  // The next run of the guest does not see the answer to the last one's question.
  ASSERT_EQ(drive(w.engine.start()).message, "");
  operation = w.begin({{by_id, 6}}).value();
  ASSERT_EQ(step(operation).value(), WASM_POLL_PENDING);
  EXPECT_THAT(r.asked, ElementsAre("id 5", "id 6"));
  operation = {};
  w.close();
  EXPECT_EQ(r.drops, 1);
}

TEST(OwnRegistry, RefusedTablesAreDropped) {
  later_registry r;
  sr_world w(true);
  EXPECT_FALSE(w.runtime.set_schema_registry(r.table()));
  EXPECT_EQ(r.drops, 1);
  sr_world other(false);
  auto table = r.table();
  table.create_schema = nullptr;
  EXPECT_EQ(other.runtime.set_schema_registry(table).err().status(), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(r.drops, 2);
  table.size = 16;
  EXPECT_EQ(wasm_runtime_set_schema_registry(other.runtime.get(), &table, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
}

}  // namespace
