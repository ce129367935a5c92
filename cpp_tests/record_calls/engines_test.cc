// SPDX-License-Identifier: Apache-2.0
//
// Guests with expanded code for records beside each other, suspended and ended at any point.
#include "support/record_engines.hh"
#include "support/replace.hh"

using namespace record_calls;

namespace {

TEST(RecordEngines, TakeTurnsWhileTheirOutputIsWaitedFor) {
  in_both([](world& w) {
    const auto batch = values(3'000, 90);
    const auto others = values(2'000, 33);
    w.start();
    auto other = we::engine::create(w.factory).value();
    EXPECT_TRUE(succeeded(finish(other.start())));
    pending_sink sink;
    auto operation = begin_with(w.engine, batch, sink);
    while (until_pending(operation) == WASM_POLL_PENDING) {
      std::vector<kafka::bytes> before;
      for (const auto& r : sink.block) {
        before.emplace_back(r.payload, r.payload + r.payload_size);
      }
      w.ended(finish(other.transform(others, w)));
      for (std::size_t i = 0; i < before.size(); ++i) {
        const auto& r = sink.block[i];
        ASSERT_TRUE(std::equal(before[i].begin(), before[i].end(), r.payload, r.payload + r.payload_size));
      }
      w(sink.block);
      sink.resolve();
    }
    EXPECT_GT(sink.calls, 4);
  }, unhurried, "p_guest");
}

TEST(RecordEngines, AreStoppedOrGivenUpInTheMiddleAndStartAgain) {
  for (const auto how : {ending::release, ending::stop, ending::engine_release}) {
    in_both([&](world& w) {
      const auto batch = values(3'000, 90);
      for (int blocks = 0; blocks < 4; ++blocks) {
        w.start();
        pending_sink sink;
        {
          auto operation = begin_with(w.engine, batch, sink);
          for (int i = 0; i < blocks; ++i) {
            EXPECT_EQ(until_pending(operation), WASM_POLL_PENDING);
            w(sink.block);
            sink.resolve();
          }
          EXPECT_EQ(until_pending(operation), WASM_POLL_PENDING);
          w(sink.block);
          switch (how) {
            case ending::release: operation = {}; break;
            case ending::stop: EXPECT_TRUE(succeeded(finish(w.engine.stop()))); break;
            default: w.engine = {}; break;
          }
        }
        if (!w.engine) {
          w.engine = we::engine::create(w.factory).value();
        }
        w.note("state", w.engine.state().value());
        if (blocks == 2) {
          w.transform(values(40, 5));
        }
        w.transform(values(400, 5), 3);
        finish(w.engine.stop());
      }
      // What the released engines counted is gone with them.
    }, unhurried, "p_guest");
  }
}

TEST(RecordEngines, AreGivenUpWhenASliceIsOverAndStartAgain) {
  wasm_runtime_config config{};
  config.time_slice_ns = 20'000;
  world w(false, config, "p_guest");
  // Payloads of which each copy is a place where the guest can be suspended.
  const auto batch = values(1'000, 5'000);
  const auto other = values(500, 70);
  for (int i = 0; i < 60; ++i) {
    if (w.engine.state().value() == WASM_ENGINE_STATE_STOPPED) {
      w.start();
    }
    world::shed sink;
    auto operation = w.engine.transform(batch, sink).value();
    for (int polls = 0; polls < i; ++polls) {
      const auto polled = operation.poll();
      if (!polled || *polled == WASM_POLL_READY) {
        break;
      }
    }
    operation = {};
    if (w.engine.state().value() == WASM_ENGINE_STATE_STOPPED) {
      w.start();
    }
    recorder out;
    ASSERT_TRUE(succeeded(finish(w.engine.transform(other, out))));
    ASSERT_EQ(out.records.size(), 500U);
  }
}

TEST(RecordEngines, CopyTheSameInSlicesOfAnyLength) {
  for (const std::uint64_t slice : {20'000, 100'000}) {
    wasm_runtime_config config{};
    config.time_slice_ns = slice;
    in_both([](world& w) {
      for (const auto& [count, size] : {std::pair{9'000, 20}, {3'000, 300}, {500, 4'000}, {100, 40'000}}) {
        EXPECT_TRUE(succeeded(w.run(copies(), small(static_cast<std::size_t>(count), static_cast<std::size_t>(size)))));
      }
      EXPECT_EQ(w.output_records, 12'600U);
    }, config);
  }
}

TEST(RecordEngines, TakeTurnsBySlicesInTheMiddleOfCopies) {
  wasm_runtime_config config{};
  config.time_slice_ns = 20'000;
  world w(false, config, "p_guest");
  struct running {
    we::engine engine;
    kafka::bytes batch;
    recorder out;
    we::future operation;
    std::size_t count;
    int rounds = 0;
  };
  std::deque<running> all;
  for (const auto& [count, size] : {std::pair{400, 4'000}, {60, 30'000}, {2'000, 300}, {3'000, 20}}) {
    auto& r = all.emplace_back();
    r.engine = we::engine::create(w.factory).value();
    ASSERT_TRUE(succeeded(finish(r.engine.start())));
    r.batch = values(static_cast<std::size_t>(count), static_cast<std::size_t>(size));
    r.count = static_cast<std::size_t>(count);
  }
  int yields = 0;
  for (bool again = true; again;) {
    again = false;
    for (auto& r : all) {
      // Long enough for some slices to end, however busy the machine.
      if (r.rounds >= 3 && yields > 10) {
        continue;
      }
      again = true;
      if (!r.operation) {
        r.out = {};
        r.operation = r.engine.transform(r.batch, r.out).value();
      }
      const auto polled = r.operation.poll();
      ASSERT_TRUE(polled) << polled.err().what();
      if (*polled == WASM_POLL_YIELDED) {
        ++yields;
        continue;
      }
      ASSERT_EQ(*polled, WASM_POLL_READY);
      r.operation = {};
      ++r.rounds;
      ASSERT_EQ(r.out.records.size(), r.count);
      for (std::size_t i = 0; i < r.count; ++i) {
        ASSERT_TRUE(r.out.records[i].content.value->starts_with("k1-" + std::to_string(i) + "."));
        ASSERT_EQ(r.out.records[i].input_offset, 100 + static_cast<std::int64_t>(i));
      }
    }
  }
}

TEST(RecordEngines, RunOnSeveralThreadsAtOnce) {
  world w(false, {}, "p_guest");
  const auto work = [&](std::size_t size) {
    auto engine = we::engine::create(w.factory).value();
    EXPECT_TRUE(succeeded(finish(engine.start())));
    const auto batch = values(300, size);
    for (int i = 0; i < 40; ++i) {
      recorder out;
      EXPECT_TRUE(succeeded(finish(engine.transform(batch, out))));
      EXPECT_EQ(out.records.size(), 300U);
      for (std::size_t k = 0; k < out.records.size(); ++k) {
        EXPECT_EQ(out.records[k].content.value->size(), 3 + std::to_string(k).size() + size);
      }
    }
  };
  std::vector<std::thread> threads;
  for (const std::size_t size : {0, 20, 200, 3'000}) {
    threads.emplace_back(work, size);
  }
  for (auto& t : threads) {
    t.join();
  }
}

TEST(RecordEngines, WaitForTheHostAtARecord) {
  in_both([](world& w) {
    auto other = we::engine::create(w.factory).value();
    EXPECT_TRUE(succeeded(finish(other.start())));
    for (const word record : {1, 2, 4, 7, 8}) {
      for (const bool given_up : {true, false}) {
        script s;
        const auto first = s.read();
        s.write_last();
        s.again(first, record - 1);
        s.wait(record);
        s.write_last();
        s.read();
        s.wait(record + 100);
        s.write_last();
        s.read();
        s.hash();
        const auto batch = batch_of(s, small(10));
        if (w.engine.state().value() == WASM_ENGINE_STATE_STOPPED) {
          w.start();
        }
        auto operation = w.engine.transform(batch, w).value();
        EXPECT_EQ(until_pending(operation), WASM_POLL_PENDING);
        w.ended(finish(other.transform(batch_of(copies(), small(60, 30)), w)));
        if (given_up) {
          operation = {};
          w.waiting.reset();
          continue;
        }
        EXPECT_TRUE(w.waiting->resolve(std::int32_t{7}));
        EXPECT_EQ(until_pending(operation), WASM_POLL_PENDING);
        EXPECT_TRUE(w.waiting->resolve(std::int32_t{8}));
        EXPECT_EQ(until_pending(operation), WASM_POLL_READY);
        w.waiting.reset();
      }
    }
  }, unhurried);
}

TEST(RecordEngines, WithSinksThatFailStartAgain) {
  in_both([](world& w) {
    const auto batch = values(3'000, 90);
    for (const int fails_at : {1, 2, 4}) {
      w.start();
      c_sink sink([&](output_block block, wasm_call* call) {
        w(block);
        if (sink.calls == fails_at) {
          wasm_call_fail(call, we::as_slice("no room"), nullptr);
          return WASM_CALLBACK_RESULT_FAILED;
        }
        return WASM_CALLBACK_RESULT_DONE;
      });
      auto operation = begin_with(w.engine, batch, sink);
      const auto end = w.ended(finish(operation));
      EXPECT_EQ(end.status, WASM_STATUS_OUTPUT_REJECTED);
      w.transform(values(100, 5));
      finish(w.engine.stop());
    }
  }, unhurried, "p_guest");
}

TEST(RecordEngines, AreReplacedInTheMiddle) {
  in_both([](world& w) {
    const auto batch = values(3'000, 90);
    w.start();
    auto next = compile(w.runtime, "c_identity");
    pending_sink sink;
    auto operation = begin_with(w.engine, batch, sink);
    EXPECT_EQ(until_pending(operation), WASM_POLL_PENDING);
    auto replacing = w.engine.replace(next).value();
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(replacing.poll());
    }
    do {
      w(sink.block);
      sink.resolve();
    } while (until_pending(operation) == WASM_POLL_PENDING);
    operation = {};
    w.ended(finish(replacing));
    w.transform(batch, 7);
    EXPECT_EQ(w.output_records, 5'993U);
  }, unhurried, "p_guest");
}

TEST(RecordEngines, AreSharedByUsers) {
  in_both([](world& w) {
    // Before the others: it counts, too.
    users all(w.factory, 4);
    all.start();
    std::vector<kafka::bytes> batches;
    for (std::size_t i = 0; i < 12; ++i) {
      batches.push_back(values(3 + 211 * i, 5 + 40 * i));
    }
    for (std::size_t round = 0; round < 3; ++round) {
      for (auto& u : all) {
        if (u.state() == WASM_ENGINE_STATE_STOPPED) {
          u.start();
        }
      }
      all.run();
      for (std::size_t u = 0; u < all.size(); ++u) {
        all[u].transform(batches[4 * round + u], u == 1 ? 2 : 0);
      }
      // One of them does not wait for its turn.
      all[(round + 1) % 4].cancel();
      all.run();
      for (auto& u : all) {
        w.note("records", u.out.records.size());
        for (const auto& r : u.out.records) {
          w.note(std::to_string(r.input_offset) + " " + *r.content.value);
        }
        u.out = {};
      }
    }
  }, unhurried, "p_guest");
}

}  // namespace
