// SPDX-License-Identifier: Apache-2.0
//
// Redpanda writes what transforms print to the topic _redpanda.transform_logs: the key is the transform's name and the
// value is a LogRecord of OpenTelemetry as JSON. The HTTP Proxy reads topics.
#include "cluster.hh"

#include "../encoding.hh"
#include "../exit_code.hh"
#include "../json_error.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <thread>

namespace tool {

namespace {

using nlohmann::json;

constexpr const char* topic = "_redpanda.transform_logs";
constexpr int most_bytes = 1 << 20;     // of an answer
constexpr int wait_ms = 500;            // for records that are not there yet
constexpr std::int64_t warning = 9;     // severities above are warnings: 13 is what standard error has

struct log_line {
  std::uint64_t time_ns = 0;
  bool is_warning = false;
  std::string text;
  json event;
};

/// Where reading goes on, of a partition.
struct position {
  int partition = 0;
  std::int64_t offset = 0;
};

std::uint64_t number(const json& value) {
  // OpenTelemetry's JSON has numbers of 64 bits as text, Redpanda's as numbers.
  if (value.is_string()) {
    return std::strtoull(value.get<std::string>().c_str(), nullptr, 10);
  }
  return value.is_number() ? value.get<std::uint64_t>() : 0;
}

std::string text_of(const json& record, const char* member) {
  const auto found = record.find(member);
  return found != record.end() && found->is_string() ? decode(encoding::base64, found->get<std::string>()).value_or("") : "";
}

/// Adds the lines of a transform. Throws json::exception.
void take(const json& records, const std::string& name, position& at, std::vector<log_line>& lines) {
  for (const auto& record : records) {
    at.offset = record.value("offset", at.offset) + 1;
    if (text_of(record, "key") != name) {
      continue;
    }
    auto event = json::parse(text_of(record, "value"), nullptr, false);
    if (event.is_object()) {
      const auto body = event.value("body", json::object());
      lines.push_back({number(event.value("timeUnixNano", json())), event.value("severityNumber", std::int64_t{0}) > warning,
                       body.value("stringValue", ""), event});
    }
  }
}

/// False: there is no such partition.
bool read(const logs_options& o, position& at, std::vector<log_line>& lines) {
  for (;;) {
    const auto path = fmt::format("/topics/{}/partitions/{}/records?offset={}&timeout={}&max_bytes={}", topic, at.partition, at.offset,
                                  wait_ms, most_bytes);
    const auto answer = send(o.cluster.address, "GET", path, "", {"Accept: application/vnd.kafka.binary.v2+json"});
    if (answer.status == 404) {
      return false;
    }
    expect_success(answer, "there are no logs");
    const auto records = json::parse(answer.body, nullptr, false);
    if (!records.is_array()) {
      throw failure(exit_code::other, "the records of the HTTP Proxy are no JSON array");
    }
    if (records.empty()) {
      return true;
    }
    try {
      take(records, o.name, at, lines);
    } catch (const json::exception& e) {
      throw failure(exit_code::other, fmt::format("the records of the HTTP Proxy are {}", message_of(e)));
    }
  }
}

void print(const log_line& line, bool as_json) {
  if (as_json) {
    fmt::print("{}\n", line.event.dump());
    return;
  }
  const auto seconds = static_cast<std::time_t>(line.time_ns / 1'000'000'000);
  std::tm parts{};
  std::array<char, 32> time{};
  (void)std::strftime(time.data(), time.size(), "%Y-%m-%dT%H:%M:%SZ", ::gmtime_r(&seconds, &parts));
  auto text = line.text;
  while (text.ends_with('\n')) {
    text.pop_back();
  }
  fmt::print("{} {} {}\n", time.data(), line.is_warning ? "warn" : "info", printable(text));
}

}  // namespace

void logs(const logs_options& o) {
  std::vector<log_line> lines;
  std::vector<position> positions;
  for (int partition = 0;; ++partition) {
    position at{partition, o.offset};
    if (!read(o, at, lines)) {
      break;
    }
    positions.push_back(at);
  }
  if (positions.empty()) {
    throw failure(exit_code::other,
                  fmt::format("there is no topic {}: the cluster has no transforms, or data_transforms_enabled is off", topic));
  }
  std::size_t begin = o.tail && *o.tail < lines.size() ? lines.size() - *o.tail : 0;
  for (;;) {
    for (; begin < lines.size(); ++begin) {
      print(lines[begin], o.cluster.json);
    }
    (void)std::fflush(stdout);
    if (!o.follow) {
      return;
    }
    lines.clear();
    begin = 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(wait_ms));
    for (auto& at : positions) {
      (void)read(o, at, lines);
    }
  }
}

}  // namespace tool
