// SPDX-License-Identifier: Apache-2.0
//
// Standard error: the guests' log lines, and on a terminal a progress bar below them.
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

/// Guests' lines are queued, and written by the thread that calls `run` or `flush`: a slow terminal does not hold up a
/// guest, whose time is limited.
class console {
 public:
  /// How far the work has come; `total` if that is known.
  struct progress {
    std::uint64_t done = 0;
    std::uint64_t records = 0;
    std::optional<std::uint64_t> total;
    std::string line = {};    ///< How fast it goes on.
    bool line_is_new = false;  ///< Since the last time.
  };

  console(const console&) = delete;

  /// With `lines`, the progress is also shown where standard error is no terminal: its line, when that is new.
  explicit console(bool lines);
  ~console() { clear(); }

  /// On a terminal, says what is going on, until `clear` or until there is something else to show.
  void status(const std::string& text);
  /// Takes status and progress bar off the terminal.
  void clear();

  /// Takes a line of a guest's. Any thread; does not block.
  void log(const wasmengine::log_line& line);

  /// Writes log lines, and draws the progress, until `finish` is called. `poll` is asked about ten times a second.
  void run(const std::function<progress()>& poll);
  /// Any thread.
  void finish();

  /// Writes what is queued.
  void flush();
  /// Writes text for the user, after what is queued.
  void print(const std::string& text);

 private:
  void show(const std::string& text);
  std::string take();

  const bool _terminal;
  const bool _progress_lines;
  bool _status = false;
  std::optional<progress_bar> _bar;
  std::mutex _mutex;
  std::condition_variable _changed;
  std::string _lines;
  std::uint64_t _dropped = 0;
  bool _finished = false;
};

}  // namespace tool
