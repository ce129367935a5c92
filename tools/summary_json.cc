// SPDX-License-Identifier: Apache-2.0
#include "summary_json.hh"

#include "encoding.hh"

#include <nlohmann/json.hpp>

namespace tool {

std::string summary_json(const statistics& s, const summary& u) {
  const nlohmann::ordered_json all = {
      {"records_in", s.records_in},
      {"bytes_in", s.bytes_in},
      {"batches", s.batches},
      {"records_out", s.records_out},
      {"bytes_out", s.bytes_out},
      {"skipped", s.skipped},
      {"dead_letters", s.dead_letters},
      {"last_loss", s.last_loss.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(printable(s.last_loss))},
      {"errors", u.errors + s.lost()},
      {"compile_ns", u.compile_time.count()},
      {"wall_ns", u.wall_time.count()},
      {"cpu_ns", s.cpu_time.count()},
      {"threads", u.threads},
      {"latency_ns", {{"p50", s.latency.quantile(0.5)}, {"p99", s.latency.quantile(0.99)}, {"max", s.latency.max()}}},
      {"guest_memory_bytes", s.guest_memory},
      {"remarks", u.remarks}};
  return all.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace tool
