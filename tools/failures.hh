// SPDX-License-Identifier: Apache-2.0
//
// What ends a run.
#pragma once

#include "exit_code.hh"

#include <wasm_engine/wasm_engine.hh>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>
#include <optional>

namespace tool {

/// The failure of a run. Of several failures the one at the first line of input counts. Any thread.
class failures {
 public:
  /// `line` 0 is before all input. `why` is the library's error if there is one.
  void add(std::uint64_t line, const failure& what, std::optional<wasmengine::error> why = {});

  /// The line of the first failure. The greatest number if there is none.
  [[nodiscard]] std::uint64_t first_line() const noexcept { return _first_line; }
  [[nodiscard]] bool any() const noexcept { return first_line() != none; }
  [[nodiscard]] std::size_t count() const;
  [[nodiscard]] std::optional<failure> first() const;
  /// The library's error of that failure.
  [[nodiscard]] std::optional<wasmengine::error> first_error() const;

 private:
  static constexpr auto none = std::numeric_limits<std::uint64_t>::max();
  mutable std::mutex _mutex;
  std::atomic<std::uint64_t> _first_line = none;
  std::optional<failure> _first;
  std::optional<wasmengine::error> _first_error;
  std::size_t _count = 0;
};

}  // namespace tool
