// SPDX-License-Identifier: Apache-2.0
#include "registry.hh"

#include "values.hh"

#include "../file.hh"

#include <cstdlib>
#include <utility>

namespace tool {

namespace {

constexpr const char* password_variable = "SCHEMA_REGISTRY_PASSWORD";
constexpr const char* token_variable = "SCHEMA_REGISTRY_TOKEN";

/// Of the file if one is named, or of the environment. Empty if there is none.
std::string secret(const std::string& file, const char* variable) {
  if (!file.empty()) {
    return read_token(file);
  }
  const char* const value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

std::chrono::milliseconds to_ms(double ns) { return std::chrono::milliseconds(static_cast<std::int64_t>(ns / 1e6)); }

}  // namespace

void add_registry(CLI::App& command, registry_options& r) {
  auto* registry = command.add_option("--schema-registry", r.url,
                                      "Where guests look up schemas: a Confluent-compatible registry such as "
                                      "http://localhost:8081, or memory: for one that is empty at first (default: none)");
  registry->option_text("URL");
  command
      .add_option("--schema-registry-timeout", r.timeout_ns, "Time for one response of the registry at most (default: 5s)")
      ->transform(duration_value())
      ->option_text("TIME")
      ->needs(registry);
  command
      .add_option("--schema-registry-retry", r.retry_ns,
                  "For how long a registry that is down is tried again before the guest is told, with pauses of 0.1 to 2 s "
                  "(default: 10s)")
      ->transform(duration_value())
      ->option_text("TIME")
      ->needs(registry);
  command
      .add_option("--schema-registry-user", r.user,
                  "The user. The password is $SCHEMA_REGISTRY_PASSWORD or in a file (also: USER:PASSWORD@ in the "
                  "URL, which others can see)")
      ->option_text("USER")
      ->needs(registry);
  command.add_option("--schema-registry-password-file", r.password_file, "The password is the file's one line")
      ->check(CLI::ExistingFile)
      ->option_text("FILE")
      ->needs(registry);
  command
      .add_option("--schema-registry-token-file", r.token_file,
                  "The bearer token is the file's one line (default: $SCHEMA_REGISTRY_TOKEN, if any)")
      ->check(CLI::ExistingFile)
      ->option_text("FILE")
      ->needs(registry);
  command.add_option("--schema-registry-ca", r.ca_file, "Trusts these authorities, PEM, instead of the system's")
      ->check(CLI::ExistingFile)
      ->option_text("FILE")
      ->needs(registry);
}

registry_choice complete_registry(const registry_options& r) {
  if (r.timeout_ns < 1e6 || r.timeout_ns > 3600e9) {
    wrong("--schema-registry-timeout must be from 1ms to an hour");
  }
  if (r.retry_ns < 0 || r.retry_ns > 86'400e9) {
    wrong("--schema-registry-retry must be at most a day");
  }
  registry_choice out{{}, to_ms(r.timeout_ns), to_ms(r.retry_ns)};
  if (!r.url) {
    return out;
  }
  const bool has_secrets = !r.user.empty() || !r.password_file.empty() || !r.token_file.empty() || !r.ca_file.empty();
  if (*r.url == "memory:") {
    if (has_secrets) {
      wrong("--schema-registry memory: goes without user, password, token and authority");
    }
    out.which = memory_registry();
    return out;
  }
  auto address = registry_address::parse(*r.url);
  if (!r.user.empty()) {
    if (address.has_user) {
      wrong("--schema-registry-user: the URL of --schema-registry has a user already");
    }
    address.has_user = true;
    address.user = r.user;
    address.password = secret(r.password_file, password_variable);
  } else if (address.has_user && address.password.empty()) {
    address.password = secret(r.password_file, password_variable);
  } else if (!r.password_file.empty()) {
    wrong(address.has_user ? "--schema-registry-password-file: the URL of --schema-registry has a password already"
                           : "--schema-registry-password-file goes with --schema-registry-user");
  }
  if (!address.has_user) {
    address.token = secret(r.token_file, token_variable);
  } else if (!r.token_file.empty()) {
    wrong("--schema-registry-token-file goes without a user");
  }
  address.ca_file = r.ca_file;
  out.which = std::move(address);
  return out;
}

}  // namespace tool
