// SPDX-License-Identifier: Apache-2.0
//
// A file that says how far a run has come: --checkpoint.
#pragma once

#include "batcher.hh"
#include "file_lock.hh"
#include "input_identity.hh"
#include "output_files.hh"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tool {

/// Up to where the input is done. Who goes on reads from `place` and so makes the same batches again. Messages name
/// records by their place in a batch.
struct run_progress {
  input_place place;                 ///< Where a batch begins. What is before it is done.
  std::uint64_t records_behind = 0;  ///< So many records behind it are done too.
  std::uint64_t records_in = 0;    ///< Records done, and of those the lost ones.
  std::uint64_t lost = 0;
};

/// What a checkpoint holds: the progress, and the sizes that the output files had then.
struct checkpoint_state {
  run_progress progress;
  output_files::state files;
  std::vector<std::string> columns;  ///< Of CSV that is written.
  bool complete = false;             ///< The output is whole. Only its names are missing.
};

/// Writes a state now and then, after the output that it tells of is on the disk. Only its owner can read it. Used by
/// one thread at a time, and by one process: `PATH.lock` is locked as long as it exists.
class checkpoint {
 public:
  /// `run` describes the run: a checkpoint of another one is refused. Throws `failure` if another process has it.
  checkpoint(std::string path, std::string run, input_identity input);

  /// What an earlier run left behind. None if there is no file. Throws `failure`.
  [[nodiscard]] std::optional<checkpoint_state> read() const;
  /// Whether a state should be written: some time has passed since the last one, or there is much output since.
  [[nodiscard]] bool is_due(const checkpoint_state& s) const noexcept;
  /// Throws `failure`.
  void write(const checkpoint_state& s, output_files& files);
  /// The run is done. Throws `failure`.
  void remove() const;

 private:
  std::string _path;
  std::string _run;
  input_identity _input;
  file_lock _lock;
  std::chrono::steady_clock::time_point _last = std::chrono::steady_clock::now();
  std::uint64_t _bytes = 0;  ///< Of the files when the last state was written.
};

}  // namespace tool
