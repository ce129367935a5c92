// SPDX-License-Identifier: Apache-2.0
#include "log.hh"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

namespace transformd {

namespace {

/// Whether standard error took the text. A pipe with room takes this much without blocking.
bool write_at_once(std::string_view text) {
  constexpr std::size_t piece = PIPE_BUF;
  while (!text.empty()) {
    pollfd ready{STDERR_FILENO, POLLOUT, 0};
    if (::poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) {
      return false;
    }
    const auto written = ::write(STDERR_FILENO, text.data(), std::min(text.size(), piece));
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      return false;
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

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
  std::shared_ptr<const std::function<void(const log_entry&)>> forward;
  std::vector<std::weak_ptr<const std::function<void()>>> waiting;
  log_entry entry{0, ms, level, guest, std::string(transform), std::string(text)};
  {
    const std::lock_guard lock(_mutex);
    print(line);
    auto& to = of(transform);
    if (to.recent.size() == kept_lines) {
      to.recent.pop_front();
    }
    entry.number = ++_written;
    to.recent.push_back(entry);
    waiting.swap(to.waiting);
    forward = guest ? to.forward : nullptr;
  }
  // Without the lock: they may write lines themselves.
  for (const auto& one : waiting) {
    if (const auto call = one.lock()) {
      (*call)();
    }
  }
  if (forward) {
    (*forward)(entry);
  }
}

/// A terminal that is stopped, a pipe that nobody reads or a full disk must not stop the daemon.
void logger::print(const std::string& line) {
  if (_unwritten > 0 && write_at_once(fmt::format("({} lines could not be written here)\n", _unwritten))) {
    _unwritten = 0;
  }
  if (_unwritten > 0 || !write_at_once(line)) {
    ++_unwritten;
  }
}

logger::lines& logger::of(std::string_view transform) {
  auto found = _of.find(transform);
  if (found == _of.end()) {
    found = _of.emplace(std::string(transform), lines()).first;
  }
  return found->second;
}

void logger::forward(const std::string& transform, std::function<void(const log_entry&)> to) {
  auto made = to ? std::make_shared<const std::function<void(const log_entry&)>>(std::move(to)) : nullptr;
  const std::lock_guard lock(_mutex);
  of(transform).forward.swap(made);
}

std::shared_ptr<const std::function<void()>> logger::on_next_line(const std::string& transform, std::function<void()> f) {
  auto made = std::make_shared<const std::function<void()>>(std::move(f));
  const std::lock_guard lock(_mutex);
  auto& waiting = of(transform).waiting;
  std::erase_if(waiting, [](const auto& one) { return one.expired(); });
  waiting.push_back(made);
  return made;
}

std::vector<log_entry> logger::recent(const std::string& transform, std::uint64_t from) const {
  const std::lock_guard lock(_mutex);
  const auto found = _of.find(transform);
  if (found == _of.end()) {
    return {};
  }
  const auto first = std::ranges::lower_bound(found->second.recent, from, {}, &log_entry::number);
  return {first, found->second.recent.end()};
}

}  // namespace transformd
