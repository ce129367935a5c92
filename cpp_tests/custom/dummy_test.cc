// SPDX-License-Identifier: Apache-2.0
//
// The dummy that the C++ layer gives to tests of hosts.
#include "support/custom.hh"

#include <gmock/gmock.h>

#include <thread>

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

const std::vector<std::string> five{"a", "b", "c", "d", "e"};

struct one_dummy : dummies {
  explicit one_dummy(const wasm_runtime_config& config = {}) : dummies(config) {}
  we::engine engine = we::engine::create(factory).value();
  outcome start() { return finish(engine.start()); }
  outcome transform(recorder& out) { return finish(engine.transform(built(five), out)); }
};

TEST(Dummy, CopiesRecordsAndCountsWhatWasDone) {
  one_dummy d;
  EXPECT_EQ(d.script->alive, 1);
  ASSERT_TRUE(succeeded(d.start()));
  for (int i = 0; i < 3; ++i) {
    recorder out;
    ASSERT_TRUE(succeeded(d.transform(out)));
    EXPECT_EQ(out.values(), five);
  }
  EXPECT_EQ(d.script->starts, 1U);
  EXPECT_EQ(d.script->transforms, 3U);
  EXPECT_EQ(d.script->records, 15U);
  d.engine = we::engine();
  EXPECT_EQ(d.script->stops, 1U);
  EXPECT_EQ(d.script->alive, 0);
}

TEST(Dummy, WritesWhatTheScriptSays) {
  one_dummy d;
  d.script->outputs = [](const we::input_record& record) {
    std::vector<we::dummy_output> out(record.index() % 3);
    for (auto& o : out) {
      o.payload = payload_of(*we::payload::read(record.payload()).value().value);
    }
    return out;
  };
  ASSERT_TRUE(succeeded(d.start()));
  recorder out;
  ASSERT_TRUE(succeeded(d.transform(out)));
  EXPECT_THAT(out.values(), ElementsAre("b", "c", "c", "e"));
}

TEST(Dummy, WritesMoreThanTheBufferHolds) {
  wasm_runtime_config config{};
  config.output_buffer_limit = 4096;
  one_dummy d(config);
  d.script->outputs = [](const we::input_record&) {
    return std::vector<we::dummy_output>(20, {payload_of(std::string(1000, 'x'))});
  };
  ASSERT_TRUE(succeeded(d.start()));
  recorder out;
  ASSERT_TRUE(succeeded(d.transform(out)));
  EXPECT_EQ(out.records.size(), 100U);
}

TEST(Dummy, FailsAtARecordOnceOrAlways) {
  one_dummy d;
  d.script->fails_at = 2;
  d.script->failures = 1;
  ASSERT_TRUE(succeeded(d.start()));
  recorder out;
  const auto end = d.transform(out);
  EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_FAILED);
  EXPECT_EQ(end.why->record()->index, 2U);
  EXPECT_THAT(out.values(), ElementsAre("a", "b"));
  ASSERT_TRUE(succeeded(d.start()));
  EXPECT_TRUE(succeeded(d.transform(out)));
  d.script->failures = we::dummy_script::always;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(d.transform(out).status, WASM_STATUS_CUSTOM_ENGINE_FAILED);
    ASSERT_TRUE(succeeded(d.start()));
  }
}

TEST(Dummy, FailsToStartAsOftenAsTheScriptSays) {
  one_dummy d;
  d.script->failing_starts = 2;
  EXPECT_EQ(d.start().status, WASM_STATUS_CUSTOM_ENGINE_FAILED);
  EXPECT_THAT(d.start().message(), HasSubstr("this start fails"));
  EXPECT_TRUE(succeeded(d.start()));
  EXPECT_EQ(d.script->starts, 3U);
}

TEST(Dummy, WaitsAtAGate) {
  one_dummy d;
  we::dummy_gate gate;
  d.script->delay_start = d.script->delay_transform = gate.hold();
  auto started = d.engine.start().value();
  EXPECT_EQ(started.poll().value(), WASM_POLL_PENDING);
  ASSERT_EQ(gate.waiting(), 1U);
  gate.open();
  EXPECT_EQ(started.poll().value(), WASM_POLL_READY);
  recorder out;
  const auto batch = built(five);
  auto operation = d.engine.transform(batch, out).value();
  EXPECT_EQ(operation.poll().value(), WASM_POLL_PENDING);
  EXPECT_TRUE(out.records.empty());
  gate.open();
  EXPECT_EQ(operation.poll().value(), WASM_POLL_READY);
  EXPECT_EQ(out.values(), five);
  operation = d.engine.transform(batch, out).value();
  EXPECT_EQ(operation.poll().value(), WASM_POLL_PENDING);
  gate.fail("the line is dead");
  EXPECT_THAT(operation.poll().err().what(), HasSubstr("the line is dead"));
  EXPECT_THROW(gate.open(), std::logic_error);
  EXPECT_EQ(d.script->starts, 1U);
  EXPECT_EQ(d.script->transforms, 2U);
}

TEST(Dummy, ThatIsStoppedWhileItWaitsBeginsAnew) {
  one_dummy d;
  we::dummy_gate gate;
  ASSERT_TRUE(succeeded(d.start()));
  d.script->delay_transform = gate.hold();
  recorder out;
  const auto batch = built(five);
  {
    auto operation = d.engine.transform(batch, out).value();
    EXPECT_EQ(operation.poll().value(), WASM_POLL_PENDING);
  }
  gate.open();
  d.script->delay_transform = {};
  ASSERT_TRUE(succeeded(d.start()));
  ASSERT_TRUE(succeeded(d.transform(out)));
  EXPECT_EQ(out.values(), five);
}

TEST(Dummy, IsWokenByATimerOfAnotherThread) {
  one_dummy d;
  std::vector<std::thread> timers;
  d.script->delay_transform = [&](we::promise p) {
    timers.emplace_back([p = std::move(p)]() mutable { EXPECT_TRUE(p.resolve()); });
  };
  ASSERT_TRUE(succeeded(d.start()));
  for (int i = 0; i < 20; ++i) {
    recorder out;
    ASSERT_TRUE(succeeded(d.transform(out)));
    EXPECT_EQ(out.values(), five);
  }
  for (auto& timer : timers) {
    timer.join();
  }
}

}  // namespace
