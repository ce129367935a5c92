// SPDX-License-Identifier: Apache-2.0
#include "log.hh"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

namespace transformd {

std::string_view name_of(severity level) noexcept {
  switch (level) {
    case severity::debug: return "debug";
    case severity::info: return "info";
    case severity::warn: return "warn";
    case severity::error: return "error";
  }
  return "unknown";
}

void logger::write(severity level, std::string_view transform, std::string_view text, bool guest) {
  if (level < _least) {
    return;
  }
  const auto now = std::chrono::system_clock::now();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  const auto line = fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z {:5} {}{}{}\n",
                                fmt::gmtime(std::chrono::system_clock::to_time_t(now)), ms % 1000, name_of(level),
                                transform, guest ? " (guest): " : (transform.empty() ? "" : ": "), text);
  const std::lock_guard lock(_mutex);
  std::fwrite(line.data(), 1, line.size(), stderr);
  auto found = _recent.find(transform);
  if (found == _recent.end()) {
    found = _recent.emplace(std::string(transform), std::deque<log_entry>()).first;
  }
  auto& lines = found->second;
  if (lines.size() == kept_lines) {
    lines.pop_front();
  }
  lines.push_back({++_written, ms, level, guest, std::string(transform), std::string(text)});
}

std::vector<log_entry> logger::recent(const std::string& transform, std::uint64_t from) const {
  const std::lock_guard lock(_mutex);
  const auto found = _recent.find(transform);
  if (found == _recent.end()) {
    return {};
  }
  const auto first = std::ranges::lower_bound(found->second, from, {}, &log_entry::number);
  return {first, found->second.end()};
}

}  // namespace transformd
