// SPDX-License-Identifier: Apache-2.0
#include "console.hh"

#include "encoding.hh"
#include "file.hh"

#include <fmt/format.h>

#include <chrono>
#include <sys/ioctl.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace tool {

namespace {

constexpr std::size_t most_queued = 16U << 20;
constexpr std::chrono::milliseconds frame(100);

const char* name_of(wasm_log_severity severity) {
  switch (severity) {
    case WASM_LOG_SEVERITY_DEBUG:
      return "debug";
    case WASM_LOG_SEVERITY_INFO:
      return "info";
    case WASM_LOG_SEVERITY_WARN:
      return "warn";
    case WASM_LOG_SEVERITY_ERROR:
      break;
  }
  return "error";
}

void write_stderr(const std::string& text) {
  try {
    write_all(STDERR_FILENO, text);
  } catch (const std::system_error&) {
    // There is nowhere left to report it.
  }
}

/// Columns of the terminal.
std::size_t width() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
}

}  // namespace

console::console(bool lines) : _terminal(::isatty(STDERR_FILENO) == 1), _progress_lines(lines && !_terminal) {}

void console::status(const std::string& text) {
  if (_terminal) {
    write_stderr(text);
    _status = true;
  }
}

void console::clear() {
  if (_bar) {
    write_stderr(_bar->hide());
    _bar.reset();
  }
  if (std::exchange(_status, false)) {
    write_stderr("\r\x1b[K");
  }
}

void console::log(const wasmengine::log_line& line) {
  const char* const who = line.source == WASM_LOG_SOURCE_LIBRARY ? "library: " : "";
  auto text = fmt::format("[{}] {}{}: {}{}\n", line.transform, who, name_of(line.severity), printable(line.text),
                          line.continues ? " …" : "");
  const std::lock_guard lock(_mutex);
  if (_lines.size() + text.size() > most_queued) {
    ++_dropped;
    return;
  }
  if (_lines.empty()) {
    _changed.notify_one();
  }
  _lines += text;
}

void console::run(const std::function<progress()>& poll) {
  std::unique_lock lock(_mutex);
  while (!_finished) {
    _changed.wait_for(lock, frame, [this] { return !_lines.empty() || _finished; });
    const auto lines = take();
    lock.unlock();
    const auto now = poll();
    if (_terminal) {
      if (!_bar) {
        _bar.emplace(now.total);
      }
      _bar->set(now.done, now.records);
      _bar->set_line(now.line.substr(0, width() - 1));
    }
    show(lines);
    if (_progress_lines && now.line_is_new) {
      write_stderr(fmt::format("wasm-transform: {}\n", now.line));
    }
    lock.lock();
  }
  lock.unlock();
  flush();
  clear();
}

void console::finish() {
  const std::lock_guard lock(_mutex);
  _finished = true;
  _changed.notify_one();
}

void console::flush() {
  std::unique_lock lock(_mutex);
  const auto lines = take();
  lock.unlock();
  show(lines);
}

void console::print(const std::string& text) {
  flush();
  write_stderr(text);
}

void console::show(const std::string& text) {
  if (_bar) {
    const auto hide = _bar->hide();
    write_stderr(hide + text + _bar->show());
  } else if (!text.empty()) {
    write_stderr(text);
  }
}

/// Writes the queue. Under the lock.
std::string console::take() {
  auto lines = std::exchange(_lines, {});
  if (const auto dropped = std::exchange(_dropped, 0); dropped > 0) {
    _all_dropped += dropped;
    lines += fmt::format(
        "wasm-transform: {} log lines were dropped: the guests write them faster than they can be shown\n", dropped);
  }
  return lines;
}

}  // namespace tool
