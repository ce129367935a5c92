// SPDX-License-Identifier: Apache-2.0
#include "ctl.hh"

#include "daemon_client.hh"

#include "../encoding.hh"
#include "../exit_code.hh"
#include "../file.hh"
#include "../json_error.hh"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <string_view>

namespace tool {

namespace {

using nlohmann::json;

constexpr int follow_s = 30;

/// Sums a counter over a transform's workers.
std::uint64_t total(const json& transform, const char* name) {
  std::uint64_t sum = 0;
  for (const auto& w : transform.at("workers")) {
    sum += w.value(name, std::uint64_t{0});
  }
  return sum;
}

std::string lag(const json& transform) {
  std::uint64_t sum = 0;
  bool known = false;
  for (const auto& w : transform.at("workers")) {
    for (const auto& p : w.at("partitions")) {
      if (p.at("lag").is_number()) {
        sum += p.at("lag").get<std::uint64_t>();
        known = true;
      }
    }
  }
  return known ? std::to_string(sum) : "-";
}

/// Rows of texts, with columns as wide as they must be.
class table {
 public:
  void add(std::vector<std::string> row) { _rows.push_back(std::move(row)); }

  void print() const {
    std::vector<std::size_t> widths;
    for (const auto& row : _rows) {
      widths.resize(std::max(widths.size(), row.size()));
      for (std::size_t i = 0; i < row.size(); ++i) {
        widths[i] = std::max(widths[i], row[i].size());
      }
    }
    for (const auto& row : _rows) {
      std::string line;
      for (std::size_t i = 0; i < row.size(); ++i) {
        line += fmt::format("{:<{}}", row[i], i + 1 == row.size() ? 0 : widths[i] + 2);
      }
      fmt::print("{}\n", line);
    }
  }

 private:
  std::vector<std::vector<std::string>> _rows;
};

constexpr std::size_t digest_shown = 12;

void print_list(const json& answer) {
  table t;
  t.add({"NAME", "STATE", "IN", "OUT", "LOST", "LAG", "MODULE"});
  for (const auto& one : answer.at("transforms")) {
    t.add({one.value("name", ""), one.value("state", ""), std::to_string(total(one, "records_in")),
           std::to_string(total(one, "records_out")), std::to_string(total(one, "skipped") + total(one, "dead_lettered")),
           lag(one), one.value("module_sha256", "").substr(0, digest_shown)});
  }
  t.print();
}

std::string number_or_dash(const json& value) { return value.is_number() ? value.dump() : "-"; }

void print_status(const json& one) {
  std::string outputs;
  for (const auto& topic : one.at("output_topics")) {
    outputs += (outputs.empty() ? "" : ", ") + topic.get<std::string>();
  }
  table t;
  t.add({"name", one.value("name", "")});
  t.add({"state", one.value("state", "")});
  t.add({"topics", fmt::format("{} -> {}", one.value("input_topic", ""), outputs)});
  t.add({"group", one.value("group", "")});
  t.add({"guarantee", one.value("guarantee", "")});
  t.add({"module", fmt::format("{} {}", one.value("module_sha256", ""), one.value("module", ""))});
  for (const auto* name : {"records_in", "records_out", "skipped", "dead_lettered", "commits", "aborts", "rebalances"}) {
    t.add({name, std::to_string(total(one, name))});
  }
  t.print();
  table partitions;
  partitions.add({"TOPIC", "PARTITION", "POSITION", "LAG", "WORKER", "STATE"});
  std::size_t worker = 0;
  for (const auto& w : one.at("workers")) {
    for (const auto& p : w.at("partitions")) {
      partitions.add({p.value("topic", ""), p.at("partition").dump(), number_or_dash(p.at("position")), number_or_dash(p.at("lag")),
                      std::to_string(worker), w.value("state", "")});
    }
    ++worker;
  }
  fmt::print("\n");
  partitions.print();
  for (const auto& w : one.at("workers")) {
    if (w.contains("error")) {
      fmt::print("\n{}\n", printable(w.at("error").get_ref<const std::string&>()));
    }
  }
  if (one.contains("error")) {
    fmt::print("\n{}\n", printable(one.at("error").get_ref<const std::string&>()));
  }
}

void print_line(const json& line, bool as_json) {
  if (as_json) {
    fmt::print("{}\n", line.dump(-1, ' ', false, json::error_handler_t::replace));
    return;
  }
  const auto ms = line.value("time_ms", std::int64_t{0});
  fmt::print("{:%Y-%m-%dT%H:%M:%S}.{:03}Z {:5} {}{}\n", fmt::gmtime(static_cast<std::time_t>(ms / 1000)), ms % 1000,
             line.value("level", ""), line.value("source", "") == "guest" ? "(guest) " : "",
             printable(line.at("text").get_ref<const std::string&>()));
}

void print_logs(const daemon_client& to, const std::string& path, const ctl_options& o) {
  std::int64_t since = 0;
  if (o.since) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    since = std::chrono::duration_cast<std::chrono::milliseconds>(now - *o.since).count();
  }
  std::uint64_t from = 0;
  for (;;) {
    const auto answer = to.get(fmt::format("{}/logs?from={}&since={}&wait={}", path, from, since, from > 0 ? follow_s : 0));
    for (const auto& line : answer.at("lines")) {
      print_line(line, o.json);
      from = line.value("number", from) + 1;
    }
    if (o.follow && answer.at("lines").empty() && from > 1) {
      // Numbers begin again with the daemon.
      const auto all = to.get(path + "/logs").at("lines");
      if (all.empty() || all.back().value("number", from) + 1 < from) {
        from = 0;
      }
    }
    if (!o.follow) {
      return;
    }
    std::fflush(stdout);
    from = std::max<std::uint64_t>(from, 1);
  }
}

std::string seek_query(const ctl_options& o) {
  std::string query;
  if (o.offset) {
    query = fmt::format("offset={}", *o.offset);
  } else if (o.timestamp) {
    query = fmt::format("timestamp={}", *o.timestamp);
  } else {
    query = o.earliest ? "to=earliest" : "to=latest";
  }
  return o.partition ? fmt::format("{}&partition={}", query, *o.partition) : query;
}

/// What a command did.
void print_done(const json& answer, const ctl_options& o, const char* what) {
  if (o.json) {
    fmt::print("{}\n", answer.dump(2));
  } else {
    fmt::print("{}: {}\n", answer.value("name", ""), what);
  }
}

void ask(const daemon_client& to, const ctl_options& o) {
  const auto path = "/transforms/" + o.transform;
  switch (o.action) {
    case ctl_action::list: {
      const auto answer = to.get("/transforms");
      o.json ? fmt::print("{}\n", answer.dump(2)) : print_list(answer);
      return;
    }
    case ctl_action::status: {
      const auto answer = to.get(path);
      o.json ? fmt::print("{}\n", answer.dump(2)) : print_status(answer);
      return;
    }
    case ctl_action::logs: return print_logs(to, path, o);
    case ctl_action::start: return print_done(to.post(path + "/start"), o, "starts");
    case ctl_action::stop: return print_done(to.post(path + "/stop"), o, "stops after the transaction in hand");
    case ctl_action::pause: return print_done(to.post(path + "/pause"), o, "pauses after the transaction in hand");
    case ctl_action::resume: return print_done(to.post(path + "/resume"), o, "resumes");
    case ctl_action::seek:
      return print_done(to.post(fmt::format("{}/seek?{}", path, seek_query(o))), o, "goes on there after the transaction in hand");
    case ctl_action::deploy: {
      const auto module = read_module(o.module);
      const auto answer = to.post(path + "/deploy", {reinterpret_cast<const char*>(module.data()), module.size()});
      return print_done(answer, o, fmt::format("runs {} from the next transaction on", answer.value("module_sha256", "")).c_str());
    }
    case ctl_action::rollback: {
      const auto answer = to.post(path + "/rollback");
      return print_done(answer, o, fmt::format("runs {} from the next transaction on", answer.value("module_sha256", "")).c_str());
    }
  }
}

void ask_one(const std::string& address, const ctl_options& o) {
  try {
    ask(daemon_client(address), o);
  } catch (const json::exception& e) {
    throw failure(exit_code::other, fmt::format("wasm-transformd at {} answered with {}", address, message_of(e)));
  }
}

}  // namespace

void ctl(const ctl_options& o) {
  if (o.daemons.size() == 1) {
    return ask_one(o.daemons.front(), o);
  }
  // One that refuses does not keep the others from it.
  std::optional<failure> first;
  for (const auto& address : o.daemons) {
    if (!o.json) {
      fmt::print("{}:\n", address);
    }
    try {
      ask_one(address, o);
    } catch (const failure& e) {
      const failure named(e.code(), fmt::format("{}: {}", address, e.what()));
      if (first) {
        fmt::print(stderr, "wasm-transform: {}\n", first->what());
      }
      first = named;
    }
  }
  if (first) {
    throw failure(*first);
  }
}

}  // namespace tool
