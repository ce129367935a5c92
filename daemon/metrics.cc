// SPDX-License-Identifier: Apache-2.0
#include "metrics.hh"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <iterator>

namespace transformd {

namespace {

struct counter {
  const char* name;
  const char* help;
  std::uint64_t worker_status::*value;
};

constexpr std::array<counter, 7> counters{{
    {"records_in_total", "Input records whose position is committed.", &worker_status::records_in},
    {"records_out_total", "Output records that are committed. Dead letters are not among them.",
     &worker_status::records_out},
    {"records_skipped_total", "Records at which the guest failed and that were dropped.", &worker_status::skipped},
    {"records_dead_lettered_total", "Records at which the guest failed and that are in the dead letter topic.",
     &worker_status::dead_lettered},
    {"commits_total", "Commits of output and position.", &worker_status::commits},
    {"aborts_total", "Times that everything since the last commit was dropped and done again.", &worker_status::aborts},
    {"rebalances_total", "Times that partitions came or went.", &worker_status::rebalances},
}};

void head(std::string& out, const char* name, const char* help, const char* type) {
  fmt::format_to(std::back_inserter(out), "# HELP wasm_transformd_{} {}\n# TYPE wasm_transformd_{} {}\n", name, help,
                 name, type);
}

}  // namespace

std::string metrics_text(const server& s) {
  auto out = wasmengine::metrics_text(s.runtime()).value();
  const auto all = s.status();
  const auto to = std::back_inserter(out);
  for (const auto& c : counters) {
    head(out, c.name, c.help, "counter");
    for (const auto& t : all) {
      std::uint64_t sum = 0;
      for (const auto& w : t.workers) {
        sum += w.*c.value;
      }
      fmt::format_to(to, "wasm_transformd_{}{{transform=\"{}\"}} {}\n", c.name, t.name, sum);
    }
  }
  head(out, "log_lines_dropped_total", "Lines of guests for which the log topic's client had no room.", "counter");
  for (const auto& t : all) {
    fmt::format_to(to, "wasm_transformd_log_lines_dropped_total{{transform=\"{}\"}} {}\n", t.name, t.log_lines_dropped);
  }
  head(out, "lag", "Records behind the committed position of a partition, as far as it is known.", "gauge");
  for (const auto& t : all) {
    for (const auto& w : t.workers) {
      for (const auto& p : w.partitions) {
        if (p.lag) {
          fmt::format_to(to, "wasm_transformd_lag{{transform=\"{}\",topic=\"{}\",partition=\"{}\"}} {}\n", t.name,
                         p.name.topic, p.name.partition, *p.lag);
        }
      }
    }
  }
  head(out, "workers", "Workers by state.", "gauge");
  for (const auto& t : all) {
    for (const auto state : {worker_state::starting, worker_state::running, worker_state::paused,
                             worker_state::retrying, worker_state::failed, worker_state::stopped}) {
      std::uint64_t count = 0;
      for (const auto& w : t.workers) {
        count += w.state == state ? 1 : 0;
      }
      fmt::format_to(to, "wasm_transformd_workers{{transform=\"{}\",state=\"{}\"}} {}\n", t.name, name_of(state), count);
    }
  }
  return out;
}

}  // namespace transformd
