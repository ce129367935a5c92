// SPDX-License-Identifier: Apache-2.0
//
// The configuration: what it says, and how it is read.
#pragma once

#include "topic.hh"

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace mosquitto_wasm {

/// What happens with a message that is not transformed.
enum class action { drop, pass, deny, dead_letter };

/// What a record's key is.
enum class key_source { topic, none, property };

struct output_setting {
  std::string name;  ///< As the guest knows it.
  topic_template topic;
  [[nodiscard]] bool operator==(const output_setting&) const = default;
};

struct transform_settings {
  std::string name;
  std::string module_path;
  std::vector<std::uint8_t> module;  ///< Read by `read_module`.
  std::vector<std::string> filters;
  std::vector<output_setting> outputs;
  std::vector<std::pair<std::string, std::string>> env;
  key_source key = key_source::topic;
  std::string key_property;
  bool retain = true;

  std::chrono::milliseconds record_time{1000};
  std::uint64_t memory_limit = 64 << 20;
  std::uint64_t output_limit = 1 << 20;
  std::uint64_t output_messages = 1000;
  std::uint64_t queue_messages = 1000;
  std::uint64_t queue_bytes = 16 << 20;

  action on_error = action::drop;
  action on_full = action::deny;
  topic_template dead_letter;

  /// Reads the file. Throws std::runtime_error.
  void read_module();
  [[nodiscard]] bool operator==(const transform_settings&) const = default;
};

struct settings {
  std::chrono::microseconds budget{2000};
  std::chrono::seconds metrics_interval{10};
  bool wake = true;
  std::vector<transform_settings> transforms;
};

/// An option of the broker's configuration without its prefix.
using option = std::pair<std::string, std::string>;

/// Reads options and the file that they name. Throws std::runtime_error: where and why.
[[nodiscard]] settings read_settings(std::span<const option> options);

}  // namespace mosquitto_wasm
