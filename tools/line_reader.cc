// SPDX-License-Identifier: Apache-2.0
#include "line_reader.hh"

#include "exit_code.hh"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace tool {

namespace {
constexpr std::size_t first_size = 256U << 10;
constexpr int idle_ms = 20;
}  // namespace

line_reader::line_reader(descriptor input, std::function<void()> on_idle)
    : _input(std::move(input)),
      _interrupt(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      _on_idle(std::move(on_idle)),
      _buffer(first_size) {
  if (_interrupt.get() < 0) {
    throw std::system_error(errno, std::generic_category(), "eventfd");
  }
  struct stat status {};
  if (::fstat(_input.get(), &status) == 0 && S_ISREG(status.st_mode)) {
    _total = static_cast<std::uint64_t>(status.st_size);
  }
}

std::optional<std::string_view> line_reader::next() {
  for (;;) {
    const char* const from = _buffer.data() + _scanned;
    const auto* newline = static_cast<const char*>(std::memchr(from, '\n', _end - _scanned));
    if (newline == nullptr) {
      _scanned = _end;
      if (fill()) {
        continue;
      }
      if (_begin == _end) {
        return std::nullopt;
      }
    }
    // The last line may lack its newline.
    const auto stop = newline == nullptr ? _end : static_cast<std::size_t>(newline - _buffer.data());
    const std::string_view line(_buffer.data() + _begin, stop - _begin);
    _begin = _scanned = std::min(stop + 1, _end);
    ++_line;
    _bytes += line.size() + 1;
    return line;
  }
}

/// Reads more. False at the end.
bool line_reader::fill() {
  if (_begin > 0) {
    std::memmove(_buffer.data(), _buffer.data() + _begin, _end - _begin);
    _scanned -= _begin;
    _end -= _begin;
    _begin = 0;
  }
  if (_end > max_line) {
    throw failure(exit_code::bad_input, fmt::format("the line is longer than {} MiB", max_line >> 20));
  }
  if (_end == _buffer.size()) {
    _buffer.resize(2 * _buffer.size());
  }
  for (;;) {
    if (!wait()) {
      _begin = _scanned = _end = 0;
      return false;
    }
    const auto got = ::read(_input.get(), _buffer.data() + _end, _buffer.size() - _end);
    if (got >= 0) {
      _end += static_cast<std::size_t>(got);
      return got > 0;
    }
    if (errno != EINTR && errno != EAGAIN) {
      throw failure(exit_code::bad_input, fmt::format("cannot read on: {}", std::strerror(errno)));
    }
  }
}

/// Waits for input. False if interrupted.
bool line_reader::wait() {
  std::array<pollfd, 2> polled{{{_input.get(), POLLIN, 0}, {_interrupt.get(), POLLIN, 0}}};
  int ready = 0;
  for (int timeout = idle_ms; ready <= 0;) {
    ready = ::poll(polled.data(), polled.size(), timeout);
    if (ready == 0) {
      _on_idle();
      timeout = -1;
    } else if (ready < 0 && errno != EINTR) {
      throw std::system_error(errno, std::generic_category(), "poll");
    }
  }
  return polled[1].revents == 0;
}

void line_reader::interrupt() noexcept { (void)::eventfd_write(_interrupt.get(), 1); }

}  // namespace tool
