// SPDX-License-Identifier: Apache-2.0
//
// Guests with expanded code for records beside each other, suspended, ended and watched at any point.
#include "support/large_module.hh"
#include "support/memory_modes.hh"
#include "support/replace.hh"
#include "support/scripts.hh"

#include <random>

using namespace record_calls;

namespace {

/// Copies all records.
script copies() {
  script s;
  const auto first = s.read();
  s.write_last();
  s.unless_over(first);
  return s;
}

/// A batch for wat/p_guest.wat, which copies its values.
kafka::bytes values(std::size_t count, std::size_t size) {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < count; ++i) {
    all.push_back("k1-" + std::to_string(i) + std::string(size, '.'));
  }
  return built(all);
}

/// Polls until it is pending or over.
wasm_poll until_pending(we::future& operation) {
  for (;;) {
    const auto polled = operation.poll();
    if (!polled) {
      ADD_FAILURE() << polled.err().what();
      return WASM_POLL_READY;
    }
    if (*polled != WASM_POLL_YIELDED) {
      return *polled;
    }
  }
}

we::future begin_with(we::engine& engine, kafka::view batch, c_sink& sink) {
  we::future operation;
  const auto raw = sink.raw();
  EXPECT_EQ(begin_transform(engine.get(), we::as_slice(batch), &raw, operation.out(), nullptr), WASM_STATUS_OK);
  return operation;
}

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

TEST(RecordEngines, MayBeLookedAtFromAHostFunction) {
  wasm_runtime_config config = unhurried;
  config.core_dumps = 1;
  in_both([](world& w) {
    w.on_report = [&](we::host_call& call) {
      w.note("state", w.engine.state().value());
      w.note("memory", w.engine.memory_size().value());
      const auto stats = w.engine.stats().value();
      w.note("skipped", stats.skipped);
      w.note("input records", only(w.runtime).raw.input_records);
      std::uint8_t* bytes = nullptr;
      EXPECT_EQ(wasm_call_memory(call.get(), buffer, 4'096, &bytes, nullptr), WASM_STATUS_OK);
      w.note(number_of({bytes, 4'096}));
      // What the guest then writes.
      bytes[5] ^= 1;
      const auto stopped = w.engine.stop();
      EXPECT_FALSE(stopped);
      w.note(stopped.err().what());
      const auto begun = w.engine.transform(w.last_report, w);
      EXPECT_FALSE(begun);
      w.note(begun.err().what());
      w.note(w.engine.start_profile().err().what());
    };
    for (const word record : {1, 2, 3, 4, 9}) {
      script s;
      const auto first = s.read();
      s.write_last();
      s.report(buffer, 16);
      s.write_last();
      s.again(first, record);
      const auto rest = s.read();
      s.report(buffer, 16);
      s.unless_over(rest);
      s.hash();
      s.trap();
      w.run(s, small(14));
    }
  }, config);
}

TEST(RecordEngines, AreProfiledWhileTheyRun) {
  wasm_runtime_config config{};
  config.time_slice_ns = 50'000;
  in_both([](world& w) {
    w.start();
    w.engine.start_profile(std::chrono::microseconds(50)).value();
    EXPECT_TRUE(succeeded(w.run(copies(), small(30'000, 30))));
    const auto profile = w.engine.finish_profile().value();
    EXPECT_NE(profile.find("\"run\""), std::string::npos) << profile.substr(0, 2'000);
  }, config);
}

TEST(RecordEngines, TrapWhereverTheirMemoryLies) {
  if (std::getenv("WASM_ENGINE_TEST_MODES") != nullptr) {
    GTEST_SKIP() << "has all modes by itself";
  }
  for (const auto& mode : memory_modes::every_mode) {
    SCOPED_TRACE(mode.name);
    constexpr std::size_t engines = 24;
    world w(false, mode.config({}, engines));
    ASSERT_TRUE(mode.prepare(w.runtime, engines));
    w.engine = {};
    std::vector<we::engine> all;
    // Those that are gone leave holes for those that come.
    for (std::size_t i = 0; i < engines; ++i) {
      all.push_back(we::engine::create(w.factory).value());
      ASSERT_TRUE(succeeded(finish(all.back().start())));
      if (i % 3 == 2) {
        all.erase(all.begin() + static_cast<std::ptrdiff_t>(i / 3));
      }
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      for (const word at : {memory_end, memory_end + 0x1000, 0x4000'0000U, 0x8000'0000U, 0xffff'0000U, 0xffff'ff00U}) {
        script s;
        s.read();
        s.write_last();
        s.read();
        s.hash(at, 64);
        const auto batch = batch_of(s, small(8));
        if (all[i].state().value() == WASM_ENGINE_STATE_STOPPED) {
          ASSERT_TRUE(succeeded(finish(all[i].start())));
        }
        const auto end = finish(all[i].transform(batch, w));
        ASSERT_EQ(end.status, WASM_STATUS_GUEST_TRAP) << end.message();
        ASSERT_EQ(end.why->trap(), WASM_TRAP_MEMORY_OUT_OF_BOUNDS);
      }
    }
    EXPECT_EQ(w.output_records, all.size() * 6);
  }
}

std::uint32_t number(kafka::reader& in) {
  std::uint32_t value = 0;
  for (int shift = 0;; shift += 7) {
    const std::uint32_t byte = in.take(1)[0];
    value |= (byte & 0x7F) << shift;
    if (byte < 0x80) {
      return value;
    }
  }
}

TEST(RecordEngines, HaveCoreDumpsOfTheirOwnMemoryOnly) {
  wasm_runtime_config config{};
  config.core_dumps = 1;
  for (const bool called : {true, false}) {
    world w(called, config);
    script s;
    s.read();
    s.write_last();
    s.put(memory_end - 4, kafka::view(kafka::bytes{'l', 'a', 's', 't'}));
    s.trap();
    const auto end = w.run(s);
    ASSERT_TRUE(end.why && end.why->coredump());
    kafka::reader dump(*end.why->coredump());
    dump.take(8);
    int memories = 0, instances = 0;
    std::uint32_t highest = 0;
    while (!dump.empty()) {
      const auto id = dump.take(1)[0];
      kafka::reader section(dump.take(number(dump)));
      if (id == 5) {
        ++memories;
        ASSERT_EQ(number(section), 1U) << "one memory";
        ASSERT_EQ(section.take(1)[0], 0);
        EXPECT_EQ(number(section), guest_pages);
      } else if (id == 11) {
        for (auto left = number(section); left > 0; --left) {
          ASSERT_EQ(number(section), 0U) << "active data for the first memory";
          ASSERT_EQ(section.take(1)[0], 0x41);
          highest = number(section);
          ASSERT_EQ(section.take(1)[0], 0x0b);
          highest += static_cast<std::uint32_t>(section.take(number(section)).size());
        }
      } else if (id == 0) {
        const auto name = kafka::text(section.take(number(section)));
        if (name == "coreinstances") {
          ++instances;
          ASSERT_EQ(number(section), 1U);
          ASSERT_EQ(section.take(1)[0], 0);
          ASSERT_EQ(number(section), 0U) << "the module";
          ASSERT_EQ(number(section), 1U) << "no other memory than the one that is there";
          ASSERT_EQ(number(section), 0U);
        }
      }
    }
    EXPECT_EQ(memories, 1);
    EXPECT_EQ(instances, 1);
    EXPECT_EQ(highest & 0x1f'ffff, memory_end) << "signed numbers";
  }
}

TEST(RecordModules, OfEachShapeAreTheSame) {
  wasm_runtime_config config = unhurried;
  config.core_dumps = 1;
  for (const auto* guest : {"r_shapes", "c_identity", "cpp_identity", "rust_identity", "t_start_section_reader"}) {
    SCOPED_TRACE(guest);
    in_both([](world& w) {
      for (const std::size_t size : {0, 10, 200, 9'000}) {
        EXPECT_TRUE(succeeded(w.transform(values(700, size))));
        EXPECT_TRUE(succeeded(w.transform(values(70, size), 2)));
      }
      EXPECT_EQ(w.output_records, 4U * 768);
    }, config, guest, std::vector<std::string>{"out", "two"});
  }
}

TEST(RecordModules, FailAtTheSameLines) {
  wasm_runtime_config config = unhurried;
  config.debug_info = 1;
  config.core_dumps = 1;
  // None in Rust: how many of its names are made readable is a matter of time.
  const std::pair<const char*, std::vector<std::string>> guests[] = {
      {"debug_lines_4", {"divide", "fill", "call", "recurse"}},
      {"debug_lines_5", {"divide", "fill", "call", "recurse"}},
      {"wat_traps", {"u", "d", "o", "n", "s", "t", "r"}},
  };
  for (const auto& [guest, ends] : guests) {
    SCOPED_TRACE(guest);
    in_both([&](world& w) {
      for (const auto& end : ends) {
        std::vector<std::string> records(12, "good");
        records[9] = end;
        w.transform(built(records));
        records[1] = end;
        w.transform(built(records));
      }
    }, config, guest);
  }
}

TEST(RecordCalls, ByATableOrATailCallAreTheSame) {
  in_both([](world& w) {
    for (const word how : {0, 1}) {
      script s;
      for (int i = 0; i < 3; ++i) {
        s.read();
        s.write_by_table(buffer, 14, how);
        s.write(buffer, 14);
        s.write_by_table(buffer, 15, how);
        s.write_by_table(buffer, 14, how);
        s.write(buffer, 14);
      }
      s.hash();
      EXPECT_TRUE(succeeded(w.run(s, small(9))));
      s.write_by_table(memory_end - 4, 5, how);
      w.run(s, small(9));
    }
    EXPECT_EQ(w.output_records, 40U) << "without that of the record of the end";
  });
}

/// A module whose bodies of functions have so many more locals, of type i64.
kafka::bytes with_locals(kafka::view module, std::size_t count) {
  wasm_reader in(module);
  kafka::bytes out;
  put(out, in.take(8));
  while (!in.is_over()) {
    const auto id = in.byte();
    const auto content = in.take(in.number());
    kafka::bytes changed(content.begin(), content.end());
    if (id == 10) {
      wasm_reader section(content);
      changed.clear();
      const auto bodies = section.number();
      put_number(changed, bodies);
      for (std::uint32_t i = 0; i < bodies; ++i) {
        wasm_reader body(section.take(section.number()));
        kafka::bytes one;
        put_number(one, body.number() + 1);
        // Behind those that are there.
        kafka::bytes groups;
        wasm_reader counted(body.rest());
        const auto had = one[0] - 1;
        for (int group = 0; group < had; ++group) {
          put_number(groups, counted.number());
          groups.push_back(counted.byte());
        }
        put(one, groups);
        put_number(one, count);
        one.push_back(0x7e);
        put(one, counted.rest());
        put_number(changed, one.size());
        put(changed, one);
      }
    }
    out.push_back(id);
    put_number(out, changed.size());
    put(out, changed);
  }
  return out;
}

TEST(RecordModules, WithAlmostTooManyLocalsAreTheSame) {
  for (const std::size_t locals : {49'900, 49'970, 49'985}) {
    SCOPED_TRACE(locals);
    const auto bytes = with_locals(module("p_guest"), locals);
    wasm_runtime_config config = unhurried;
    config.guest_stack_size = 4 << 20;
    in_both([&](world& w) {
      auto compilation = w.runtime.compile(bytes, with_topics({"out"}));
      ASSERT_TRUE(compilation);
      const auto compiled = finish(*compilation);
      w.note(std::string("compiled: ") + wasm_status_name(compiled.status) + compiled.message());
    }, config, "p_guest");
  }
}

TEST(RecordModules, AsArtifactsAreRefusedOrRun) {
  world with_calls(true, {}, "p_guest");
  world expanded(false, {}, "p_guest");
  for (auto* from : {&with_calls, &expanded}) {
    auto making = from->runtime.precompile(module("p_guest")).value();
    we::drive(making).value();
    const auto artifact = making.take().value();
    for (auto* to : {&with_calls, &expanded}) {
      auto loading = to->runtime.load(artifact.bytes(), with_topics({"out"})).value();
      const auto loaded = we::drive(loading);
      EXPECT_TRUE(loaded || from != to);
      if (loaded) {
        to->engine = we::engine::create(loading.take().value()).value();
        to->output_records = 0;
        EXPECT_TRUE(succeeded(to->transform(values(20, 4))));
        EXPECT_EQ(to->output_records, 20U);
      } else {
        EXPECT_EQ(loaded.err().status(), WASM_STATUS_MODULE_ARTIFACT_INCOMPATIBLE);
      }
    }
  }
}

TEST(RecordModules, WithMemoriesLikeThoseThatAreAddedAreRefused) {
  const kafka::bytes own = {0x00, 26};
  const kafka::bytes control = {0x09, 0x80, 0x01, 0x80, 0x01, 0x00};
  const kafka::bytes native = {0x05, 0x80, 0x80, 0x80, 0x80, 0x08, 0x80, 0x80, 0x80, 0x80, 0x08};
  const std::pair<const char*, std::vector<kafka::bytes>> cases[] = {
      {"two memories", {own, own}},
      {"as it is rewritten", {own, control, native}},
      {"small pages", {{0x08, 100, 0x00}}},
      {"the control", {control}},
      {"64 bits", {{0x04, 26}}},
      {"the native one", {native}},
      {"shared", {{0x03, 26, 26}}},
  };
  for (const auto& [name, memories] : cases) {
    SCOPED_TRACE(name);
    const auto original = module("c_identity");
    wasm_reader in(original);
    kafka::bytes changed;
    put(changed, in.take(8));
    while (!in.is_over()) {
      const auto id = in.byte();
      const auto content = in.take(in.number());
      kafka::bytes section(content.begin(), content.end());
      if (id == 5) {
        section.clear();
        put_number(section, memories.size());
        for (const auto& m : memories) {
          put(section, m);
        }
      }
      changed.push_back(id);
      put_number(changed, section.size());
      put(changed, section);
    }
    for (const std::uint32_t called : {0, 1}) {
      wasm_runtime_config config{};
      config.host_record_calls = called;
      const auto runtime = we::runtime::create(config).value();
      const auto valid = runtime.validate(changed);
      ASSERT_FALSE(valid);
      const std::string why = valid.err().what();
      EXPECT_NE(why.find("memor"), std::string::npos) << why;
      EXPECT_TRUE(valid.err().status() == WASM_STATUS_MODULE_MEMORY64 ||
                  valid.err().status() == WASM_STATUS_MODULE_INVALID) << valid.err().status_name() << " " << why;
      const auto refused = [&](auto begun) {
        const auto end = finish(std::move(begun));
        EXPECT_EQ(end.status, valid.err().status()) << end.message();
      };
      refused(runtime.compile(changed, with_topics({"out"})));
      refused(runtime.precompile(changed));
    }
  }
}

TEST(RecordRandom, ScriptsAreTheSame) {
  wasm_runtime_config config{};
  config.core_dumps = 1;
  // Blocks do not depend on slices. A script without end would depend on its time.
  for (const std::uint64_t limit : {std::uint64_t{2'000}, std::uint64_t{70'000}, std::uint64_t{1} << 20}) {
    config.output_buffer_limit = limit;
    in_both([&](world& w) {
      std::mt19937 random(static_cast<unsigned>(limit));
      const auto below = [&](word n) { return static_cast<word>(random() % n); };
      for (int round = 0; round < 40; ++round) {
        script s;
        const auto place = [&]() -> word {
          switch (below(8)) {
            case 0: return memory_end - below(64);
            case 1: return below(40) == 0 ? 0U - below(20) : memory_end - below(70'000);
            default: return buffer + below(200);
          }
        };
        std::vector<word> options;
        for (const auto* name : {"out", "two", "a topic with a long name", "unknown"}) {
          kafka::bytes one = {1};
          kafka::put_varint(one, static_cast<std::int64_t>(std::string(name).size()));
          kafka::append(one, std::string_view(name));
          options.push_back(s.data(kafka::view(one)));
          options.push_back(static_cast<word>(one.size()));
        }
        std::vector<std::pair<word, word>> payloads;
        for (const std::size_t size : {0, 5, 60, 300, 800, 9'000, 0}) {
          const auto one = kafka::value(std::string(size + below(9), 'r')).encode();
          payloads.emplace_back(s.data(kafka::view(one)), one.size());
        }
        word last_read = 0;
        for (word i = 0; i < 150; ++i) {
          const auto& [from, size] = payloads[below(static_cast<word>(payloads.size()))];
          switch (below(16)) {
            case 0:
            case 1:
            case 2: last_read = s.read(); break;
            case 3: s.read_to(place(), place(), place(), place(), below(3) == 0 ? below(40) : 60'000); break;
            case 4:
            case 5: s.write_last(); break;
            case 6:
            case 7: s.write(from, size); break;
            case 8: s.write(place(), below(40)); break;
            case 9:
            case 10: {
              const auto o = 2 * below(4);
              s.write_with(from, size, options[o], options[o + 1] - (below(9) == 0 ? 1 : 0));
              break;
            }
            case 11: s.copy(place() & ~0xffU, from, std::min<word>(size, 200)); break;
            case 12: s.again(last_read, below(60)); break;
            case 13: s.fill(buffer + below(60), below(256), below(3)); break;
            case 14: s.write_by_table(from, size, below(2)); break;
            default:
              if (below(60) == 0) {
                s.trap();
              } else if (below(4) == 0) {
                s.grow(below(3));
              } else if (below(3) == 0) {
                s.log("a line");
              } else {
                s.time();
              }
          }
        }
        s.hash();
        std::vector<kafka::payload> records;
        for (auto left = below(4) == 0 ? 2'000 : below(300); left > 0; --left) {
          records.push_back(kafka::value(std::string(below(3) == 0 ? below(600) : below(30), 'i')));
        }
        w.transform(batch_of(s, records, {1'000}, 20'000));
        if (round % 10 == 9) {
          finish(w.engine.stop());
        }
      }
      EXPECT_GT(w.output_records, 3'000U);
    }, config, "r_driver", std::vector<std::string>{"out", "two", "a topic with a long name"});
  }
}

}  // namespace
