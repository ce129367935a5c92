// SPDX-License-Identifier: Apache-2.0
//
// What a transform's YAML file says.
//
// The file is Redpanda's `transform.yaml` with more members. `transform.schema.json` describes all of them.
#pragma once

#include "kafka.hh"

#include <wasm_engine/wasm_engine.hh>

#include <chrono>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace transformd {

/// A fault in a file. The message has file and line.
class config_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class guarantee { exactly_once, at_least_once };

/// A transform as its file has it.
struct transform_file {
  std::filesystem::path path;  ///< Of the file.
  std::string name;
  std::string input_topic;
  std::vector<std::string> output_topics;
  std::vector<std::pair<std::string, std::string>> env;
  std::filesystem::path module;
  std::optional<std::string> module_sha256;
  client_settings client;  ///< For consumer and producer, with `bootstrap.servers`.
  std::string group;
  bool from_earliest = true;  ///< Where a partition begins in which the group has no position.
  guarantee delivery = guarantee::exactly_once;
  wasm_on_error on_error = WASM_ON_ERROR_FAIL;
  std::string dead_letter_topic;  ///< Of `WASM_ON_ERROR_DEAD_LETTER`.
  std::chrono::milliseconds commit_interval{100};
  std::size_t workers = 0;  ///< 0: one for each event loop.

  /// All topics that are written to, dead letters last.
  [[nodiscard]] std::vector<std::string> written_topics() const;
};

/// Reads a file. Throws `config_error`.
[[nodiscard]] transform_file read_transform_file(const std::filesystem::path& path);

}  // namespace transformd
