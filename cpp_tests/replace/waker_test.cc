// SPDX-License-Identifier: Apache-2.0
//
// What wakers and refused calls may find and do: the engine is released under a call, a future's poll is refused,
// another user is stopped.
#include "support/replace.hh"
#include "support/shared.hh"

#include <gmock/gmock.h>

using namespace testing_support;

namespace {

TEST(SharedWaker, MayReleaseTheEngineThatIsBeingStopped) {
  dummies d;
  we::dummy_gate gate;
  wasm_engine* stopped = nullptr;
  wasm_engine_config config{sizeof(config), 1};
  ASSERT_EQ(wasm_engine_create(d.factory.get(), &config, &stopped, nullptr), WASM_STATUS_OK);
  wasm_future* operation = nullptr;
  const auto poll = [&] {
    wasm_poll state = WASM_POLL_YIELDED;
    while (state == WASM_POLL_YIELDED) {
      EXPECT_EQ(wasm_future_poll(operation, nullptr, &state, nullptr), WASM_STATUS_OK);
    }
    return state;
  };
  ASSERT_EQ(wasm_engine_start(stopped, &operation, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(poll(), WASM_POLL_READY);
  EXPECT_EQ(wasm_future_release(operation, nullptr), WASM_STATUS_OK);
  user waits(d.factory);
  waits.start();
  EXPECT_TRUE(waits.run());

  d.script->delay_transform = gate.hold();
  const auto batch = built({"x"});
  c_sink sink([](output_block, wasm_call*) { return WASM_CALLBACK_RESULT_DONE; });
  const auto raw = sink.raw();
  const wasm_transform_args args{sizeof(args), we::as_slice(kafka::view(batch)), &raw, 0};
  ASSERT_EQ(wasm_engine_transform(stopped, &args, &operation, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(poll(), WASM_POLL_PENDING);
  waits.transform(batch);
  EXPECT_FALSE(waits.poll()) << "it waits for its turn";
  waits.on_wake = [&] {
    EXPECT_EQ(wasm_future_release(operation, nullptr), WASM_STATUS_OK);
    EXPECT_EQ(wasm_engine_release(stopped, nullptr), WASM_STATUS_OK);
  };
  wasm_future* stop = nullptr;
  ASSERT_EQ(wasm_engine_stop(stopped, &stop, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(waits.woken, 1);
  EXPECT_EQ(sink.drops, 1);
  wasm_poll state = WASM_POLL_PENDING;
  EXPECT_EQ(wasm_future_poll(stop, nullptr, &state, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(state, WASM_POLL_READY);
  EXPECT_EQ(wasm_future_release(stop, nullptr), WASM_STATUS_OK);
}

TEST(SharedMetrics, CountTheCheckOfABatchWhenItsTurnComes) {
  dummies d;
  we::dummy_gate gate;
  users all(d.factory, 2);
  all.start();
  d.script->delay_transform = gate.hold();
  const auto batch = built({"x"});
  all[0].transform(batch);
  EXPECT_FALSE(all[0].poll());
  const auto large = built(std::vector<std::string>(1000, std::string(200, 'x')));
  const auto before = only(d.runtime).raw.cpu_ns;
  all[1].transform(large);
  EXPECT_FALSE(all[1].poll());
  EXPECT_EQ(only(d.runtime).raw.cpu_ns, before) << "it waits";
  d.script->delay_transform = {};
  gate.open();
  all.run();
  EXPECT_TRUE(all[1].ok());
  EXPECT_GT(only(d.runtime).raw.cpu_ns, before);
}

TEST(SharedWaker, MayStopTheUserWhoseStartWokeIt) {
  dummies d;
  we::dummy_gate gate;
  users all(d.factory, 2);
  all.start();
  d.script->delay_transform = gate.hold();
  const auto batch = built({"x"});
  all[0].transform(batch);
  EXPECT_FALSE(all[0].poll());
  all[1].transform(batch);
  // The guest fails with the first user's batch. The second one's operation starts it again.
  gate.fail("as it must");
  EXPECT_TRUE(all[0].poll());
  user third(d.factory);
  third.start();
  EXPECT_FALSE(third.poll()) << "the start waits as well";
  third.on_wake = [&] { EXPECT_TRUE(all[1].engine.stop()); };
  for (int i = 0; i < 4 && third.woken == 0; ++i) {
    EXPECT_FALSE(all[1].poll());
  }
  EXPECT_EQ(third.woken, 1);
  EXPECT_TRUE(all[1].poll());
  EXPECT_EQ(all[1].status(), WASM_STATUS_CANCELLED) << "and not that it was polled once too often";
}

TEST(ReplaceWaker, StaysWhenAPollIsRefused) {
  deployed d;
  d.start_now();
  we::dummy_gate gate;
  d.old->delay_transform = gate.hold();
  d.transform(d.batch);
  EXPECT_FALSE(d.poll());
  d.replace();
  while (d.replacing.poll() == WASM_POLL_YIELDED) {
  }
  ASSERT_EQ(d.replacing.status(), WASM_STATUS_OK);
  const auto dropped = d.replacing.dropped;
  d.old->delay_transform = [&](we::promise p) {
    // A callback of the engine itself, which is told that the engine is busy.
    EXPECT_EQ(d.replacing.poll(), WASM_POLL_READY);
    EXPECT_EQ(d.replacing.status(), WASM_STATUS_BUSY);
    p.resolve().value();
  };
  gate.open();
  EXPECT_TRUE(d.user::run());
  EXPECT_EQ(d.replacing.woken, 1) << "of the poll before the one that was refused";
  EXPECT_LE(d.replacing.dropped, dropped + 1);
  EXPECT_EQ(d.replacing.poll(), WASM_POLL_READY);
}

TEST(ReplaceStart, IsStillOverAtOnceAfterATransformThatWasRefused) {
  deployed d;
  d.replace();
  d.replaced();
  EXPECT_EQ(d.engine.transform_from(d.batch, 99, d.out).err().status(), WASM_STATUS_INVALID_ARGUMENT);
  d.start();
  EXPECT_TRUE(d.user::run());
  EXPECT_TRUE(d.ok()) << (d.end ? d.end->what() : "");
}

}  // namespace
