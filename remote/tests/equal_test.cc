// SPDX-License-Identifier: Apache-2.0
//
// A remote guest does what a local one does: output, failures under each policy, log, environment, hot swap, sharing.
#include "support.hh"

#include <filesystem>

using namespace remote_tests;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

namespace {

/// What came out, as text that names the first difference.
std::vector<std::string> described(const recorder& r) {
  std::vector<std::string> all;
  for (const auto& o : r.records) {
    std::string text = std::to_string(o.topic) + " " + std::to_string(o.input_offset) + " " +
                       std::to_string(o.input_timestamp) + " " + o.content.key.value_or("(null)") + " " +
                       o.content.value.value_or("(null)");
    for (const auto& h : o.content.headers) {
      text += " " + h.first + "=" + h.second.value_or("(null)");
    }
    all.push_back(std::move(text));
  }
  return all;
}

/// Both sides' compiled modules, so that a Go guest is compiled once.
std::string code_cache() {
  static const std::string directory = [] {
    const auto path = std::filesystem::path(testing::TempDir()) / ("remote-cache-" + std::to_string(::getpid()));
    std::filesystem::create_directory(path);
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path.string();
  }();
  return directory;
}

struct guest_case {
  const char* guest;
  std::vector<std::string> topics;
  std::vector<std::pair<std::string, std::string>> env;
  std::vector<std::string> values;
};

void PrintTo(const guest_case& c, std::ostream* out) { *out << c.guest; }

class RemoteGuest : public testing::TestWithParam<guest_case> {};

TEST_P(RemoteGuest, GivesWhatALocalOneGives) {
  const auto& c = GetParam();
  auto config = on_loopback();
  config.cache_directory = code_cache();
  served s(config);
  const we::transform_config transform{"tested", "in", c.topics, c.env};
  remote_bench far({.address = s.address()}, {.bytes = module(c.guest)}, transform);

  auto log = std::make_shared<log_lines>();
  const auto runtime = we::runtime::create({}, [log](const we::log_line& line) { log->add(line); }).value();
  runtime.set_code_cache({code_cache()}).value();
  auto near = we::engine::create(compile(runtime, c.guest, transform)).value();
  ASSERT_TRUE(succeeded(far.start()));
  ASSERT_TRUE(succeeded(finish(near.start())));
  for (const auto codec : {WASM_COMPRESSION_NONE, WASM_COMPRESSION_ZSTD}) {
    for (const std::size_t copies : {1U, 40U}) {
      std::vector<std::string> values;
      for (std::size_t i = 0; i < copies; ++i) {
        values.insert(values.end(), c.values.begin(), c.values.end());
      }
      const auto batch = built(values, {100, codec});
      recorder expected, got;
      ASSERT_TRUE(succeeded(finish(near.transform(batch, expected))));
      ASSERT_TRUE(succeeded(far.transform(batch, got)));
      ASSERT_FALSE(expected.records.empty());
      ASSERT_EQ(described(got), described(expected));
      // From the middle, too.
      const auto from = static_cast<std::uint32_t>(values.size() / 2);
      recorder expected_rest, got_rest;
      ASSERT_TRUE(succeeded(finish(near.transform_from(batch, from, expected_rest))));
      ASSERT_TRUE(succeeded(far.transform(batch, got_rest, from)));
      ASSERT_EQ(described(got_rest), described(expected_rest));
    }
  }
  EXPECT_EQ(far.log->texts(WASM_LOG_SEVERITY_INFO), log->texts(WASM_LOG_SEVERITY_INFO));
  EXPECT_EQ(far.log->texts(WASM_LOG_SEVERITY_WARN), log->texts(WASM_LOG_SEVERITY_WARN));
  EXPECT_EQ(far.engine.memory_size().value(), near.memory_size().value());
}

const std::vector<std::string> json{R"({"level":"error","id":1,"email":"a@b","n":7})", R"({"level":"info","id":2,"n":3})",
                                    R"({"level":"error","id":3,"email":"c@d","n":9})"};

INSTANTIATE_TEST_SUITE_P(
    Each, RemoteGuest,
    testing::Values(guest_case{"c_identity", {"out"}, {}, {"a", "", "long " + std::string(5'000, 'x')}},
                    guest_case{"c_tee", {"out"}, {}, {"3 three", "0 none", "9 nine", "1 one"}},
                    guest_case{"c_route", {"a", "b", "c"}, {}, {"t:b\nx", "t:c\ny", "t:a\nz"}},
                    guest_case{"c_logger", {"out"}, {}, {"one", "two"}},
                    guest_case{"cpp_filter", {"out"}, {{"FILTER_FIELD", "level"}, {"FILTER_VALUE", "error"}}, json},
                    guest_case{"cpp_identity", {"out"}, {}, {"a", "b"}},
                    guest_case{"rust_identity", {"out"}, {}, {"a", "b"}},
                    guest_case{"rust_redact", {"out"}, {{"REDACT_FIELDS", "email"}, {"KEEP_FIELD", "level"}, {"KEEP_VALUE", "error"}}, json},
                    guest_case{"go_identity", {"out"}, {}, {"a", "b"}}),
    [](const auto& info) { return std::string(info.param.guest); });

/// What a host sees of failures: how each batch ends, what came out, and the counters.
std::vector<std::string> story(we::engine& engine, wasm_on_error on_error) {
  engine.set_policy({.on_error = on_error}).value();
  std::vector<std::string> out;
  const auto batch = built({"a", "u", "b", "d", "c", "o", "e", "l"}, {100});
  recorder sink;
  std::uint32_t from = 0;
  while (from < 8) {
    if (engine.state().value() == WASM_ENGINE_STATE_STOPPED && finish(engine.start()).status != WASM_STATUS_OK) {
      out.push_back("does not start");
      return out;
    }
    const auto end = finish(engine.transform_from(batch, from, sink));
    if (end.status == WASM_STATUS_OK) {
      break;
    }
    const auto record = end.why->record();
    out.push_back("failed at " + (record ? std::to_string(record->index) + " " + std::to_string(record->offset) : "?"));
    from = record ? record->index + 1 : 8;
  }
  for (const auto& r : sink.records) {
    out.push_back(std::to_string(r.topic) + ":" + std::to_string(r.input_offset) + ":" + r.content.value.value_or("?"));
  }
  const auto stats = engine.stats().value();
  out.push_back("skipped " + std::to_string(stats.skipped) + ", dead letters " + std::to_string(stats.dead_lettered));
  return out;
}

TEST(RemoteFailure, IsTheRecordsUnderEachPolicyAsWithALocalGuest) {
  auto config = on_loopback();
  config.record_time_limit_ns = 50'000'000;  // the letter l loops
  served s(config);
  wasm_runtime_config local{};
  local.record_time_limit_ns = config.record_time_limit_ns;
  for (const auto on_error : {WASM_ON_ERROR_FAIL, WASM_ON_ERROR_SKIP, WASM_ON_ERROR_DEAD_LETTER}) {
    SCOPED_TRACE(on_error);
    bench near("wat_traps", local);
    remote_bench far(s.address(), "wat_traps");
    EXPECT_EQ(story(far.engine, on_error), story(near.engine, on_error));
    ASSERT_THAT(*far.failures, SizeIs(4));
    const auto& first = far.failures->front();
    EXPECT_EQ(first.status, WASM_STATUS_GUEST_TRAP);
    EXPECT_EQ(first.trap, WASM_TRAP_UNREACHABLE);
    EXPECT_EQ(first.record->index, 1U);
    EXPECT_EQ(first.record->offset, 101);
    EXPECT_THAT(first.frames, testing::Not(IsEmpty()));
    EXPECT_EQ(far.failures->back().status, WASM_STATUS_GUEST_TIMEOUT);
  }
}

TEST(RemoteFailure, HasTheServersMessageAndTheGuestsLastWords) {
  served s;
  remote_bench b(s.address(), "rust_panic");
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  const auto end = b.transform(built({"fine", "boom"}), out);
  EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_FAILED);
  EXPECT_THAT(end.message(), HasSubstr("server " + s.address()));
  EXPECT_THAT(end.message(), HasSubstr("guest-trap"));
  EXPECT_THAT(end.message(), HasSubstr("record 1 of the batch (offset 101)"));
  EXPECT_THAT(out.values(), ElementsAre("fine"));
  ASSERT_THAT(*b.failures, SizeIs(1));
  EXPECT_THAT(b.failures->front().guest_stderr, HasSubstr("panicked"));
  EXPECT_EQ(b.state(), WASM_ENGINE_STATE_STOPPED);
}

TEST(RemoteFailure, OfAStartIsTheStarts) {
  served s;
  remote_bench b(s.address(), "wat_start_trap");
  const auto end = b.start();
  EXPECT_EQ(end.status, WASM_STATUS_CUSTOM_ENGINE_FAILED);
  EXPECT_THAT(end.message(), HasSubstr("the remote guest did not start: guest-trap"));
  EXPECT_EQ(b.connection.stats().failed_starts, 1U);
}

TEST(RemoteEngines, AreSharedAndSwapped) {
  served s;
  remote_bench b(s.address(), "c_identity");
  auto first = we::engine::create_shared(b.factory).value();
  auto second = we::engine::create_shared(b.factory).value();
  ASSERT_TRUE(succeeded(finish(first.start())));
  ASSERT_TRUE(succeeded(finish(second.start())));
  EXPECT_TRUE(eventually([&] { return s.running.streams() == 1; })) << "one guest for both";
  recorder a, c;
  ASSERT_TRUE(succeeded(finish(first.transform(built({"a"}), a))));
  ASSERT_TRUE(succeeded(finish(second.transform(built({"c"}), c))));
  EXPECT_THAT(a.values(), ElementsAre("a"));
  EXPECT_THAT(c.values(), ElementsAre("c"));

  // From a remote guest to another, and to one of this computer.
  ASSERT_TRUE(succeeded(b.start()));
  const auto tee = b.connection.create_factory(b.runtime, with_topics({"out"}), {.bytes = module("c_tee")}).value();
  ASSERT_TRUE(succeeded(finish(b.engine.replace(tee))));
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(built({"2x"}), out)));
  EXPECT_THAT(out.values(), ElementsAre("2x", "2x"));
  ASSERT_TRUE(succeeded(finish(b.engine.replace(compile(b.runtime, "c_identity")))));
  ASSERT_TRUE(succeeded(b.transform(built({"3y"}), out)));
  EXPECT_THAT(out.values(), ElementsAre("2x", "2x", "3y"));
}

TEST(RemoteEngines, HundredOnOneConnection) {
  served s;
  remote_bench b(s.address(), "c_tee");
  constexpr std::size_t count = 100;
  std::vector<we::engine> engines;
  std::vector<we::future> starts;
  for (std::size_t i = 0; i < count; ++i) {
    engines.push_back(we::engine::create(b.factory).value());
    starts.push_back(engines.back().start().value());
  }
  for (auto& start : starts) {
    ASSERT_TRUE(succeeded(finish(start)));
  }
  EXPECT_EQ(s.running.streams(), count);
  EXPECT_EQ(b.connection.stats().engines, count);
  std::vector<kafka::bytes> batches;
  std::vector<recorder> outs(count);
  for (std::size_t i = 0; i < count; ++i) {
    batches.push_back(built({"1 " + std::to_string(i), "2 " + std::to_string(i)}));
  }
  for (int round = 0; round < 3; ++round) {
    std::vector<we::future> transforms;
    for (std::size_t i = 0; i < count; ++i) {
      transforms.push_back(engines[i].transform(batches[i], outs[i]).value());
    }
    for (auto& t : transforms) {
      ASSERT_TRUE(succeeded(finish(t)));
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::string one = "1 " + std::to_string(i), two = "2 " + std::to_string(i);
    EXPECT_THAT(outs[i].values(), ElementsAre(one, two, two, one, two, two, one, two, two));
  }
  EXPECT_EQ(b.connection.stats().uploads, 1U) << "the server keeps the module";
  EXPECT_THAT(s.running.metrics(), HasSubstr("wasm_remote_streams 100\n"));
  engines.clear();
  EXPECT_TRUE(eventually([&] { return s.running.streams() == 0 && b.connection.stats().engines == 0; }));
}

TEST(RemoteEngines, OverAUnixSocket) {
  const auto path = std::filesystem::path(testing::TempDir()) / ("remote-" + std::to_string(::getpid()));
  auto config = on_loopback();
  config.listen = {"unix:" + path.string()};
  {
    served s(config);
    remote_bench b(s.address(), "c_identity");
    ASSERT_TRUE(succeeded(b.start()));
    recorder out;
    ASSERT_TRUE(succeeded(b.transform(built({"x"}), out)));
    EXPECT_THAT(out.values(), ElementsAre("x"));
  }
  std::filesystem::remove(path);
}

TEST(RemoteMetrics, AreTheServers) {
  served s;
  remote_bench b(s.address(), "c_identity");
  ASSERT_TRUE(succeeded(b.start()));
  recorder out;
  ASSERT_TRUE(succeeded(b.transform(built({"x", "y"}), out)));
  std::atomic<bool> told = false;
  std::string text;
  b.connection.fetch_metrics([&](we::result<std::string> got) {
    text = got ? std::move(got).value() : got.err().what();
    told = true;
  });
  ASSERT_TRUE(eventually([&] { return told.load(); }));
  EXPECT_THAT(text, HasSubstr("wasm_remote_batches_total 1\n"));
  EXPECT_THAT(text, HasSubstr("wasm_input_records_total{transform=\"tested\",shard="));
  const auto stats = b.connection.stats();
  EXPECT_EQ(stats.starts, 1U);
  EXPECT_EQ(stats.batches, 1U);
  EXPECT_GT(stats.bytes_received, 0U);
}

}  // namespace
