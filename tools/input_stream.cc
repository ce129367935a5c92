// SPDX-License-Identifier: Apache-2.0
#include "input_stream.hh"

#include "exit_code.hh"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

namespace tool {

namespace {
constexpr int idle_ms = 20;
}  // namespace

input_stream::input_stream(descriptor input, input_codec codec, std::function<void()> on_idle)
    : _input(std::move(input)),
      _interrupt(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      _on_idle(std::move(on_idle)),
      _codec(codec) {
  if (_interrupt.get() < 0) {
    throw std::system_error(errno, std::generic_category(), "eventfd");
  }
  struct stat status {};
  if (::fstat(_input.get(), &status) == 0 && S_ISREG(status.st_mode)) {
    _total = static_cast<std::uint64_t>(status.st_size);
  }
}

std::size_t input_stream::read(char* to, std::size_t room) {
  if (_codec == input_codec::automatic) {
    detect();
  }
  if (_codec == input_codec::none) {
    return read_raw(to, room);
  }
  if (!_decompressor) {
    _decompressor = decompressor::create(_codec, [this](char* raw, std::size_t size) { return read_raw(raw, size); });
  }
  try {
    return _decompressor->read(to, room);
  } catch (const failure&) {
    // What was interrupted is cut off and not damaged.
    if (_is_interrupted) {
      return 0;
    }
    throw;
  }
}

void input_stream::skip(std::uint64_t bytes) {
  std::vector<char> room(std::min<std::uint64_t>(bytes, 1U << 20));
  while (bytes > 0) {
    const auto got = read(room.data(), std::min<std::uint64_t>(bytes, room.size()));
    if (got == 0 && !_is_interrupted) {
      throw failure(exit_code::bad_input, "the input is shorter than when the checkpoint was written");
    }
    if (got == 0) {
      return;
    }
    bytes -= got;
    // The rest of a file need not be read.
    if (const int file = seekable(); file >= 0 && bytes > 0 && _begin_used == _begin_size) {
      if (_bytes + bytes > *_total) {
        continue;
      }
      if (::lseek(file, static_cast<off_t>(bytes), SEEK_CUR) >= 0) {
        _bytes += bytes;
        return;
      }
    }
  }
}

/// Reads the first bytes to see whether they are compressed.
void input_stream::detect() {
  auto codec = codec_of({});
  while (codec == input_codec::automatic || _begin_size == 0) {
    const auto got = read_file(_begin.data() + _begin_size, _begin.size() - _begin_size);
    _begin_size += got;
    codec = codec_of({_begin.data(), _begin_size});
    if (got == 0 || codec != input_codec::automatic) {
      break;
    }
  }
  _codec = codec == input_codec::automatic ? input_codec::none : codec;
}

std::size_t input_stream::read_raw(char* to, std::size_t room) {
  if (_begin_used < _begin_size) {
    const auto size = std::min(room, _begin_size - _begin_used);
    std::memcpy(to, _begin.data() + _begin_used, size);
    _begin_used += size;
    return size;
  }
  return read_file(to, room);
}

std::size_t input_stream::read_file(char* to, std::size_t room) {
  for (;;) {
    if (!wait()) {
      return 0;
    }
    const auto got = ::read(_input.get(), to, room);
    if (got >= 0) {
      _bytes += static_cast<std::uint64_t>(got);
      return static_cast<std::size_t>(got);
    }
    if (errno != EINTR && errno != EAGAIN) {
      throw failure(exit_code::bad_input, fmt::format("cannot read on: {}", std::strerror(errno)));
    }
  }
}

/// Waits for input. False if interrupted.
bool input_stream::wait() {
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

void input_stream::interrupt() noexcept {
  _is_interrupted = true;
  (void)::eventfd_write(_interrupt.get(), 1);
}

}  // namespace tool
