// SPDX-License-Identifier: Apache-2.0
//
// Lines for the broker's log.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <wasm_engine/wasm_engine.hh>

namespace mosquitto_wasm {

/// Writes a line, or several if it is too long for the broker. Only on the broker's thread.
void log(int level, const std::string& text);

/// Lines of guests. They come on guests' stacks, and some from other threads: none of them may call the broker. So they
/// are kept until `flush`.
class guest_log {
 public:
  void add(const wasmengine::log_line& line);
  /// Only on the broker's thread.
  void flush();

 private:
  std::mutex _mutex;
  std::vector<std::pair<int, std::string>> _lines;
  std::uint64_t _lost = 0;
};

/// Lets one line a second through and counts the others.
class line_limit {
 public:
  /// Writes the line or counts it.
  void write(int level, std::string text, std::chrono::steady_clock::time_point now);

 private:
  std::chrono::steady_clock::time_point _next{};
  std::uint64_t _left_out = 0;
};

}  // namespace mosquitto_wasm
