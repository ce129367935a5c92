// SPDX-License-Identifier: Apache-2.0
//
// The bytes of the input, decompressed.
#pragma once

#include "decompressor.hh"
#include "file.hh"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

namespace tool {

/// Used by one thread but for what says otherwise.
class input_stream {
 public:
  /// `on_idle` is called when there is no input at the moment, before the stream waits for more.
  input_stream(descriptor input, input_codec codec, std::function<void()> on_idle);

  /// Reads up to `room` bytes. 0 at the end and after `interrupt`. Throws `failure`.
  [[nodiscard]] std::size_t read(char* to, std::size_t room);
  /// Leaves out so many bytes. Throws `failure` if the input is shorter.
  void skip(std::uint64_t bytes);

  /// Bytes that were read from the file, compressed or not. Any thread.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return _bytes; }
  /// Size of the file in bytes if it is one. Any thread.
  [[nodiscard]] std::optional<std::uint64_t> total() const noexcept { return _total; }
  /// The file if it can be read at any place and is not compressed. Otherwise -1. After the first `read`.
  [[nodiscard]] int seekable() const noexcept { return _total && !_decompressor ? _input.get() : -1; }

  /// Ends the input, also while somebody waits for it. Any thread.
  void interrupt() noexcept;
  /// Any thread.
  [[nodiscard]] bool interrupted() const noexcept { return _is_interrupted; }

 private:
  std::size_t read_raw(char* to, std::size_t room);
  std::size_t read_file(char* to, std::size_t room);
  void detect();
  bool wait();

  descriptor _input;
  descriptor _interrupt;
  std::function<void()> _on_idle;
  input_codec _codec;
  std::array<char, magic_size> _begin{};  ///< Read to detect the codec.
  std::size_t _begin_size = 0;
  std::size_t _begin_used = 0;
  std::unique_ptr<decompressor> _decompressor;
  std::atomic<std::uint64_t> _bytes = 0;
  std::atomic<bool> _is_interrupted = false;
  std::optional<std::uint64_t> _total;
};

}  // namespace tool
