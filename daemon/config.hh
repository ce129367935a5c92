// SPDX-License-Identifier: Apache-2.0
//
// What a transform's YAML file says.
//
// The file is Redpanda's `transform.yaml` with more members. `transform.schema.json` describes all of them.
#pragma once

#include "kafka.hh"
#include "position.hh"
#include "yaml_reader.hh"  // config_error

#include <wasm_engine/wasm_engine.hh>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace transformd {

enum class guarantee { exactly_once, at_least_once };

/// More lost records than this stop the transform.
struct loss_threshold {
  std::uint32_t records = 0;
  std::uint32_t of = 0;                                   ///< Of so many consecutive ones.
  std::optional<std::chrono::milliseconds> retry_after;  ///< None: it stays stopped.
};

/// A transform as its file has it.
struct transform_file {
  std::filesystem::path path;  ///< Of the file.
  std::string name;
  std::string input_topic;
  std::vector<std::string> output_topics;
  std::vector<std::pair<std::string, std::string>> env;
  std::string module;  ///< A path or an address.
  std::optional<std::string> module_sha256;
  client_settings client;  ///< For consumer and producer, with `bootstrap.servers`.
  std::string group;
  position start;  ///< Where a partition begins in which the group has no position.
  guarantee delivery = guarantee::exactly_once;
  wasm_on_error on_error = WASM_ON_ERROR_FAIL;
  std::string dead_letter_topic;  ///< Of `WASM_ON_ERROR_DEAD_LETTER`.
  std::optional<loss_threshold> max_errors;
  wasmengine::transform_limits limits;
  std::optional<std::vector<wasmengine::allowed_import>> imports;  ///< None: all.
  std::uint32_t wasi_rights = 0;                                   ///< Bits of `wasm_wasi_right`. 0: all.
  std::string log_topic;                                           ///< Empty: none.
  std::chrono::milliseconds commit_interval{100};
  std::size_t workers = 0;  ///< 0: one for each event loop.

  /// `module` for people: without the user and the password of an address.
  [[nodiscard]] std::string module_shown() const;
  /// Whether `module` is an address.
  [[nodiscard]] bool module_is_remote() const noexcept;
  /// All topics that are written to, dead letters last.
  [[nodiscard]] std::vector<std::string> written_topics() const;
};

/// Reads a file. Throws `config_error`.
[[nodiscard]] transform_file read_transform_file(const std::filesystem::path& path);

}  // namespace transformd
