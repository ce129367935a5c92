// SPDX-License-Identifier: Apache-2.0
//
// Guests with expanded code for records that are looked at: by host functions, by a profile, by a core dump, and where
// they trap.
#include "support/memory_modes.hh"
#include "support/record_engines.hh"

using namespace record_calls;

namespace {

TEST(RecordWatched, MayBeLookedAtFromAHostFunction) {
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

TEST(RecordWatched, AreProfiledWhileTheyRun) {
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

TEST(RecordWatched, TrapWhereverTheirMemoryLies) {
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

TEST(RecordWatched, HaveCoreDumpsOfTheirOwnMemoryOnly) {
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

}  // namespace
