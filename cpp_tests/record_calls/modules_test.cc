// SPDX-License-Identifier: Apache-2.0
//
// Modules of any shape with expanded code for records, artifacts of them, modules with memories like those that are
// added, and scripts at random.
#include "support/large_module.hh"
#include "support/record_engines.hh"

#include <gmock/gmock.h>

#include <random>

using namespace record_calls;
using testing::AllOf;
using testing::HasSubstr;

namespace {

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
    const auto told = from->runtime.inspect(artifact.bytes()).value();
    const std::string setting = from == &with_calls ? "host_record_calls 1 " : "host_record_calls 0 ";
    EXPECT_THAT(told, AllOf(HasSubstr("\"settings\":"), HasSubstr(setting)));
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
        EXPECT_THAT(loaded.err().what(), AllOf(HasSubstr("host_record_calls 0 "), HasSubstr("host_record_calls 1 ")));
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
