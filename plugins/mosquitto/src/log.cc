// SPDX-License-Identifier: Apache-2.0
#include "log.hh"

#include <string_view>

#include <mosquitto.h>
#include <mosquitto_broker.h>

namespace mosquitto_wasm {

namespace {

// The broker cuts lines off after a thousand bytes, its own time stamp included.
constexpr std::size_t longest_line = 900;
// What is kept between two flushes, which are never more than a round of the broker's loop apart.
constexpr std::size_t most_lines = 1000;

int level_of(wasm_log_severity severity) {
  switch (severity) {
    case WASM_LOG_SEVERITY_DEBUG: return MOSQ_LOG_DEBUG;
    case WASM_LOG_SEVERITY_INFO: return MOSQ_LOG_INFO;
    case WASM_LOG_SEVERITY_WARN: return MOSQ_LOG_WARNING;
    default: return MOSQ_LOG_ERR;
  }
}

void log_line(int level, std::string_view line) {
  for (; line.size() > longest_line; line.remove_prefix(longest_line)) {
    mosquitto_log_printf(level, "wasm: %.*s", static_cast<int>(longest_line), line.data());
  }
  mosquitto_log_printf(level, "wasm: %.*s", static_cast<int>(line.size()), line.data());
}

}  // namespace

void log(int level, const std::string& text) {
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto end = rest.find('\n');
    log_line(level, rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
}

void guest_log::add(const wasmengine::log_line& line) {
  const std::lock_guard lock(_mutex);
  if (_lines.size() == most_lines) {
    ++_lost;
    return;
  }
  std::string text(line.transform);
  text.append(text.empty() ? "" : ": ").append(line.text);
  _lines.emplace_back(level_of(line.severity), std::move(text));
}

void guest_log::flush() {
  std::vector<std::pair<int, std::string>> lines;
  std::uint64_t lost = 0;
  {
    const std::lock_guard lock(_mutex);
    if (_lines.empty()) {
      return;
    }
    lines.swap(_lines);
    lost = std::exchange(_lost, 0);
  }
  for (const auto& [level, text] : lines) {
    log(level, text);
  }
  if (lost != 0) {
    log(MOSQ_LOG_WARNING, std::to_string(lost) + " lines of guests were left out");
  }
}

void line_limit::write(int level, std::string text, std::chrono::steady_clock::time_point now) {
  if (now < _next) {
    ++_left_out;
    return;
  }
  if (_left_out != 0) {
    text += " (and " + std::to_string(std::exchange(_left_out, 0)) + " more failures since the last line)";
  }
  log(level, text);
  _next = now + std::chrono::seconds(1);
}

}  // namespace mosquitto_wasm
