// SPDX-License-Identifier: Apache-2.0
//
// Options about the schema registry: of `run` and of wasm-transformd.
#pragma once

#include "../http_registry.hh"

#include <chrono>
#include <optional>
#include <string>
#include <variant>

namespace CLI {
class App;
}

namespace tool {

/// A schema registry in memory. Empty at first.
struct memory_registry {};

/// Where guests look up schemas.
struct registry_choice {
  std::variant<std::monostate, memory_registry, registry_address> which;  ///< None: guests have no registry.
  std::chrono::milliseconds timeout{5000};
  std::chrono::milliseconds retry{10'000};
};

/// What the command line says.
struct registry_options {
  std::optional<std::string> url;
  double timeout_ns = 5e9;
  double retry_ns = 10e9;
  std::string user;
  std::string password_file;
  std::string token_file;
  std::string ca_file;
};

void add_registry(CLI::App& command, registry_options& r);

/// Reads the secrets that the options name. Throws `failure`.
[[nodiscard]] registry_choice complete_registry(const registry_options& r);

}  // namespace tool
