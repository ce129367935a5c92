// SPDX-License-Identifier: Apache-2.0
//
// Metrics of runtimes, versions of the structs, and the text for Prometheus.
#include "support/metrics.hh"

#include <gmock/gmock.h>

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <sstream>

using namespace testing_support;
using testing::HasSubstr;

namespace {

// ---- The runtime's own ----

TEST(RuntimeMetrics, TellOfCompilationsAndCode) {
  const auto runtime = we::runtime::create().value();
  const auto before = we::runtime_metrics(runtime).value();
  EXPECT_EQ(before.compilations, 0U);
  EXPECT_EQ(before.executable_bytes, 0U);
  auto factory = compile(runtime, "c_identity");
  const auto one = we::runtime_metrics(runtime).value();
  EXPECT_EQ(one.compilations, 1U);
  EXPECT_EQ(one.compilations_failed, 0U);
  EXPECT_EQ(one.factories, 1U);
  EXPECT_GT(one.executable_bytes, 500U);
  EXPECT_GT(one.compile_ns, 0U);
  EXPECT_THROW((void)compile(runtime, "wat_no_start"), we::error);
  EXPECT_THROW((void)compile(runtime, "wat_no_start"), we::error);
  EXPECT_EQ(we::runtime_metrics(runtime).value().compilations_failed, 2U);
  EXPECT_EQ(we::runtime_metrics(runtime).value().compilations, 3U);
  EXPECT_THAT(text(runtime), HasSubstr("wasm_compile_errors_total{error=\"module-no-start\"} 2\n"));
  auto engine = we::engine::create(factory).value();
  factory = {};
  EXPECT_EQ(we::runtime_metrics(runtime).value().executable_bytes, one.executable_bytes) << "an engine needs it";
  engine = {};
  EXPECT_EQ(we::runtime_metrics(runtime).value().executable_bytes, 0U);
  EXPECT_EQ(we::runtime_metrics(runtime).value().factories, 0U);
}

TEST(RuntimeMetrics, TellOfPools) {
  wasm_runtime_config config{};
  config.memory_mode = WASM_MEMORY_MODE_THREAD_POOL;
  const auto runtime = we::runtime::create(config).value();
  const auto before = we::runtime_metrics(runtime).value();
  const auto factory = compile(runtime, "c_identity");
  std::thread([&] {
    ASSERT_TRUE(we::prepare_thread(runtime, 3));
    auto engine = we::engine::create(factory).value();
    run(engine, {"x"});
    const auto m = we::runtime_metrics(runtime).value();
    EXPECT_EQ(m.pools, before.pools + 1);
    EXPECT_EQ(m.pool_engines, before.pool_engines + 3);
    EXPECT_EQ(m.pool_memories_in_use, 1U);
    EXPECT_EQ(m.pool_stacks_in_use, 1U);
  }).join();
  EXPECT_EQ(we::runtime_metrics(runtime).value().pools, before.pools);
}

TEST(RuntimeMetrics, TellOfTheProcesssPool) {
  wasm_runtime_config config{};
  config.memory_mode = WASM_MEMORY_MODE_PROCESS_POOL;
  config.pool_engines = 5;
  bench b("c_identity", config);
  b.run({"x"});
  const auto m = we::runtime_metrics(b.runtime).value();
  EXPECT_EQ(m.pools, 1U);
  EXPECT_EQ(m.pool_engines, 5U);
  EXPECT_EQ(m.pool_memories_in_use, 1U);
  EXPECT_EQ(m.pool_stacks_in_use, 1U);
}

TEST(MetricsLifetime, OutliveTheirRuntimeAndKeepNoEngine) {
  std::optional<bench> b("c_identity");
  b->run({"x"});
  auto snapshot = we::metrics::create(b->runtime).value();
  b.reset();
  EXPECT_EQ(snapshot[0]->input_records, 1U) << "as it was read";
  ASSERT_TRUE(snapshot.update());
  ASSERT_EQ(snapshot.size(), 1U) << "once more after its release";
  EXPECT_EQ(snapshot[0]->engines, 0U);
  ASSERT_TRUE(snapshot.update());
  EXPECT_EQ(snapshot.size(), 0U);
  EXPECT_EQ(snapshot.runtime_metrics().engines, 0U);
}

// ---- The border ----

TEST(MetricsLifetime, StructsOfOtherVersionsAreUnderstood) {
  bench b("c_identity");
  const auto snapshot = we::metrics::create(b.runtime).value();
  wasm_transform_metrics m{};
  EXPECT_EQ(wasm_metrics_get(snapshot.get(), 0, &m, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  constexpr std::size_t first_version = offsetof(wasm_transform_metrics, skipped_records);
  m.size = first_version - 1;
  EXPECT_EQ(wasm_metrics_get(snapshot.get(), 0, &m, nullptr), WASM_STATUS_INVALID_STRUCT_SIZE);
  m.size = first_version;
  m.skipped_records = 7;
  EXPECT_EQ(wasm_metrics_get(snapshot.get(), 0, &m, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(m.engines, 1U);
  EXPECT_EQ(m.skipped_records, 7U) << "an older caller has no such field";
  m.size = sizeof(m);
  EXPECT_EQ(wasm_metrics_get(snapshot.get(), 1, &m, nullptr), WASM_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(wasm_metrics_get(snapshot.get(), 0, nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_metrics_get(nullptr, 0, &m, nullptr), WASM_STATUS_NULL_ARGUMENT);
  struct newer {
    wasm_runtime_metrics known;
    std::uint64_t unknown;
  } n{};
  n.known.size = sizeof(n);
  n.unknown = 5;
  EXPECT_EQ(wasm_runtime_get_metrics(b.runtime.get(), &n.known, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(n.known.engines, 1U);
  EXPECT_EQ(n.known.size, sizeof(n));
  EXPECT_EQ(n.unknown, 0U) << "unknown here, so zero";
  EXPECT_EQ(wasm_metrics_update(nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_metrics_create(b.runtime.get(), nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_runtime_metrics_text(b.runtime.get(), nullptr, nullptr), WASM_STATUS_NULL_ARGUMENT);
  EXPECT_EQ(wasm_metrics_count(nullptr), 0U);
  wasm_metrics_release(nullptr);
}

// ---- Text ----

/// What `promtool check metrics` says, and how it ends.
std::pair<int, std::string> promtool(const std::string& metrics) {
  const std::string path = testing::TempDir() + "metrics." + std::to_string(getpid()) + ".txt";
  std::FILE* file = std::fopen(path.c_str(), "w");
  std::fwrite(metrics.data(), 1, metrics.size(), file);
  std::fclose(file);
  std::FILE* tool = popen((WASM_ENGINE_TEST_PROMTOOL " check metrics <" + path + " 2>&1").c_str(), "r");
  std::string said;
  std::array<char, 4096> part{};
  while (const auto got = std::fread(part.data(), 1, part.size(), tool)) {
    said.append(part.data(), got);
  }
  const int status = pclose(tool);
  std::remove(path.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, said};
}

TEST(MetricsText, IsWhatPrometheusReads) {
  bench b("wat_traps", {}, {"we\"ird\\ \n näme{}", "in", {"out"}, {}});
  b.run({"good"});
  recorder out;
  EXPECT_EQ(b.transform(kafka::values({"u"}), out).status, WASM_STATUS_GUEST_TRAP);
  EXPECT_THROW((void)compile(b.runtime, "wat_no_start"), we::error);
  on_shard(b.runtime, 9, [&] {
    auto engine = we::engine::create(b.factory).value();
    run(engine, {"good"});
    const auto [status, said] = promtool(text(b.runtime));
    EXPECT_EQ(status, 0);
    EXPECT_EQ(said, "");
  });
  EXPECT_THAT(text(b.runtime),
              HasSubstr("wasm_input_records_total{transform=\"we\\\"ird\\\\ \\n näme{}\",shard=\"0\"} 2\n"));
  EXPECT_THAT(text(b.runtime), HasSubstr(",shard=\"0\",error=\"guest-trap\"} 1\n"));
  EXPECT_NE(promtool("# TYPE a counter\na 1\n").first, 0) << "else it would accept anything";
}

TEST(MetricsText, SaysWhatTheStructsSay) {
  bench b("c_identity");
  b.run({"a", "b", "c"});
  ASSERT_TRUE(succeeded(b.stop()));
  ASSERT_TRUE(succeeded(b.start()));
  const auto m = only(b.runtime);
  std::map<std::string, double> values;
  std::istringstream lines(text(b.runtime));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with('#')) {
      const auto blank = line.rfind(' ');
      values[line.substr(0, blank)] = std::strtod(line.c_str() + blank, nullptr);
    }
  }
  const std::string labels = "{transform=\"tested\",shard=\"0\"}";
  EXPECT_EQ(values.at("wasm_transform_engines" + labels), 1);
  EXPECT_EQ(values.at("wasm_input_records_total" + labels), 3);
  EXPECT_EQ(values.at("wasm_input_bytes_total" + labels), static_cast<double>(m.raw.input_bytes));
  EXPECT_EQ(values.at("wasm_output_records_total" + labels), 3);
  EXPECT_EQ(values.at("wasm_output_bytes_total" + labels), static_cast<double>(m.raw.output_bytes));
  EXPECT_EQ(values.at("wasm_memory_bytes" + labels), static_cast<double>(m.raw.memory_bytes));
  EXPECT_EQ(values.at("wasm_memory_limit_bytes" + labels), static_cast<double>(m.raw.memory_limit_bytes));
  EXPECT_EQ(values.at("wasm_restarts_total" + labels), 1);
  EXPECT_EQ(values.at("wasm_record_latency_seconds_count" + labels), 3);
  EXPECT_DOUBLE_EQ(values.at("wasm_record_latency_seconds_sum" + labels),
                   static_cast<double>(m.raw.latency_sum_ns) / 1e9);
  EXPECT_DOUBLE_EQ(values.at("wasm_cpu_seconds_total" + labels), static_cast<double>(m.raw.cpu_ns) / 1e9);
  EXPECT_EQ(values.at("wasm_record_latency_seconds_bucket{le=\"+Inf\",transform=\"tested\",shard=\"0\"}"), 3);
  EXPECT_EQ(values.at("wasm_engines"), 1);
  EXPECT_EQ(values.at("wasm_compilations_total"), 1);
}

}  // namespace
