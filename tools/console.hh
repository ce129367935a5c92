// SPDX-License-Identifier: Apache-2.0
//
// Standard error: the guests' log lines and on a terminal a progress bar below them.
#pragma once

#include "progress_bar.hh"

#include <wasm_engine/wasm_engine.hh>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

namespace tool {

/// Guests' lines are queued. The thread that calls `run` or `flush` writes them. So a slow terminal does not delay a
/// guest, whose time is limited.
class console {
 public:
  /// The progress. `total` if that is known.
  struct progress {
    std::uint64_t done = 0;
    std::uint64_t records = 0;
    std::optional<std::uint64_t> total;
    std::string line = {};    ///< The rates.
    bool line_is_new = false;  ///< Since the last time.
  };

  console(const console&) = delete;

  /// With `lines` the progress is also shown if standard error is no terminal: its line when that is new.
  explicit console(bool lines);
  ~console() { clear(); }

  /// Shows no progress from now on: the terminal shows the output.
  void hide_progress() noexcept { _terminal = false; }

  /// On a terminal shows the current activity until `clear` or until there is something else to show.
  void status(const std::string& text);
  /// Removes status and progress bar from the terminal.
  void clear();

  /// Takes a line of a guest. Any thread. Does not block.
  void log(const wasmengine::log_line& line);

  /// Writes log lines and draws the progress until `finish` is called. Calls `poll` about ten times a second.
  void run(const std::function<progress()>& poll);
  /// Any thread.
  void finish();

  /// Writes the queued lines.
  void flush();
  /// Lines of guests that were not shown. After `run`.
  [[nodiscard]] std::uint64_t dropped() const noexcept { return _all_dropped; }
  /// Writes text for the user after the queued lines.
  void print(const std::string& text);

 private:
  void show(const std::string& text);
  std::string take();

  bool _terminal;
  const bool _progress_lines;
  bool _status = false;
  std::optional<progress_bar> _bar;
  std::mutex _mutex;
  std::condition_variable _changed;
  std::string _lines;
  std::uint64_t _dropped = 0;
  std::uint64_t _all_dropped = 0;
  bool _finished = false;
};

}  // namespace tool
