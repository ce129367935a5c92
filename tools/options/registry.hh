// SPDX-License-Identifier: Apache-2.0
//
// The options of `run` that are about the schema registry.
#pragma once

#include "../options.hh"

#include <optional>
#include <string>

namespace CLI {
class App;
}

namespace tool {

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
void complete_registry(const registry_options& r, run_options& o);

}  // namespace tool
