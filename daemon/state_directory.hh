// SPDX-License-Identifier: Apache-2.0
//
// Deployed modules on disk: they survive the process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace transformd {

/// Keeps other processes out of a directory as long as it exists.
class directory_lock {
 public:
  /// Makes the directory if it is not there. Throws `config_error` if another process has it.
  explicit directory_lock(const std::filesystem::path& root);
  directory_lock(directory_lock&&) = delete;
  ~directory_lock();

 private:
  int _fd;
};

/// One transform's part of `--state-dir`. Each call blocks.
///
/// `NAME/current.wasm` is the module that runs, `NAME/previous.wasm` the one before and `NAME/file.sha256` the SHA-256 of
/// the module in the transform's file at that time. A file that names another module since then wins.
class state_directory {
 public:
  struct modules {
    std::vector<std::uint8_t> current;
    std::vector<std::uint8_t> previous;  ///< Empty if there was none.
    std::string file_sha256;
  };

  state_directory(const std::filesystem::path& root, const std::string& transform) : _path(root / transform) {}

  /// What was deployed while the file's module was the one with `file_sha256`. If either is not known: the last
  /// deployed. Nothing if there is no such. Throws if it cannot be read.
  [[nodiscard]] std::optional<modules> load(const std::string& file_sha256) const;

  /// Keeps two modules. Throws if they cannot be written.
  void store(std::span<const std::uint8_t> current, std::span<const std::uint8_t> previous, const std::string& file_sha256) const;

 private:
  std::filesystem::path _path;
};

}  // namespace transformd
