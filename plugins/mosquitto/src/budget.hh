// SPDX-License-Identifier: Apache-2.0
//
// What guests may take of one round of the broker's loop.
#pragma once

#include <chrono>
#include <cstdint>

namespace mosquitto_wasm {

using clock = std::chrono::steady_clock;

/// Both are bounded: the time in which guests run, and the messages that the broker must publish for them.
class budget {
 public:
  void set_limit(clock::duration limit) noexcept { _limit = limit; }
  [[nodiscard]] bool left() const noexcept { return _spent < _limit && _published < most_published; }
  void spend(clock::duration time) noexcept { _spent += time; }
  void publish() noexcept { ++_published; }
  /// The next round begins.
  void renew() noexcept {
    _spent = {};
    _published = 0;
  }

 private:
  static constexpr std::uint32_t most_published = 1000;

  clock::duration _limit{};
  clock::duration _spent{};
  std::uint32_t _published = 0;
};

}  // namespace mosquitto_wasm
