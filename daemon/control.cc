// SPDX-License-Identifier: Apache-2.0
#include "control.hh"

#include "metrics.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <charconv>
#include <cstdint>
#include <utility>

namespace transformd {

namespace {

using nlohmann::json;

std::string printed(const json& what) {
  // Bytes that are no UTF-8 must not end the daemon.
  return what.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

http_answer fault(int status, std::string_view why) { return {status, "application/json", printed({{"error", why}})}; }

json as_json(const worker_status& w) {
  json out{{"state", name_of(w.state)},
           {"records_in", w.records_in},
           {"records_out", w.records_out},
           {"skipped", w.skipped},
           {"dead_lettered", w.dead_lettered},
           {"commits", w.commits},
           {"aborts", w.aborts},
           {"rebalances", w.rebalances},
           {"partitions", json::array()}};
  if (!w.error.empty()) {
    out["error"] = w.error;
  }
  for (const auto& p : w.partitions) {
    out["partitions"].push_back({{"topic", p.name.topic},
                                 {"partition", p.name.partition},
                                 {"position", p.position < 0 ? json() : json(p.position)},
                                 {"lag", p.lag ? json(*p.lag) : json()}});
  }
  return out;
}

json as_json(const transform_status& t, const transform_file& file) {
  json out{{"name", t.name},
           {"state", t.state},
           {"input_topic", file.input_topic},
           {"output_topics", file.output_topics},
           {"group", file.group},
           {"guarantee", file.delivery == guarantee::exactly_once ? "exactly-once" : "at-least-once"},
           {"module", file.module.string()},
           {"module_sha256", t.module_sha256},
           {"workers", json::array()}};
  if (!t.error.empty()) {
    out["error"] = t.error;
  }
  for (const auto& w : t.workers) {
    out["workers"].push_back(as_json(w));
  }
  return out;
}

std::uint64_t number(std::string_view text) {
  std::uint64_t out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

}  // namespace

http_answer control::answer(std::string_view method, std::string_view target) {
  const auto mark = target.find('?');
  const auto path = target.substr(0, mark);
  const auto query = mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
  static constexpr std::string_view prefix = "/transforms/";
  if (path.starts_with(prefix)) {
    const auto rest = path.substr(prefix.size());
    const auto slash = rest.find('/');
    return of_transform(method, rest.substr(0, slash),
                        slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1), query);
  }
  if (method != "GET") {
    return fault(405, "only GET is allowed here");
  }
  if (path == "/healthz") {
    return {200, "text/plain", "ok\n"};
  }
  if (path == "/readyz") {
    return ready();
  }
  if (path == "/metrics") {
    return {200, "text/plain; version=0.0.4", metrics_text(_server)};
  }
  if (path == "/transforms") {
    json all = json::array();
    for (const auto& t : _server.status()) {
      all.push_back(as_json(t, _server.find(t.name)->file()));
    }
    return {200, "application/json", printed({{"transforms", all}})};
  }
  return fault(404, fmt::format("there is nothing at {}", path));
}

http_answer control::of_transform(std::string_view method, std::string_view name, std::string_view what,
                                  std::string_view query) {
  transform* t = _server.find(std::string(name));
  if (t == nullptr) {
    return fault(404, fmt::format("there is no transform `{}`", name));
  }
  const bool command = what == "pause" || what == "resume" || what == "stop";
  if (!command && !what.empty() && what != "logs") {
    return fault(404, fmt::format("a transform has no `{}`", what));
  }
  if (method != (command ? "POST" : "GET")) {
    return fault(405, fmt::format("only {} is allowed here", command ? "POST" : "GET"));
  }
  if (what == "logs") {
    json lines = json::array();
    for (const auto& line : _log.recent(std::string(name), query.starts_with("from=") ? number(query.substr(5)) : 0)) {
      lines.push_back({{"number", line.number},
                       {"time_ms", line.time_ms},
                       {"level", name_of(line.level)},
                       {"source", line.guest ? "guest" : "daemon"},
                       {"text", line.text}});
    }
    return {200, "application/json", printed({{"lines", lines}})};
  }
  if (what == "stop") {
    t->stop([] {});
  } else if (command) {
    t->pause(what == "pause");
  }
  return {command ? 202 : 200, "application/json", printed(as_json(t->status(), t->file()))};
}

/// Whether all transforms do their work.
http_answer control::ready() const {
  std::string why;
  for (const auto& t : _server.status()) {
    if (t.state != "running" && t.state != "paused") {
      why += fmt::format("{}: {}{}\n", t.name, t.state, t.error.empty() ? "" : ": " + t.error);
    }
    for (const auto& w : t.workers) {
      if (w.state == worker_state::starting || w.state == worker_state::retrying) {
        why += fmt::format("{}: {}{}\n", t.name, name_of(w.state), w.error.empty() ? "" : ": " + w.error);
      }
    }
  }
  return {why.empty() ? 200 : 503, "text/plain", why.empty() ? "ready\n" : why};
}

}  // namespace transformd
