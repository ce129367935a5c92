// SPDX-License-Identifier: Apache-2.0
//
// Requests to a wasm-transformd.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>

namespace tool {

/// The HTTP API that docs/transformd.md describes, over TCP or a Unix socket.
class daemon_client {
 public:
  /// `HOST:PORT`, an http or https URL, or the path of a socket, which has a slash.
  explicit daemon_client(std::string address);

  /// The answer's JSON. Throws `failure` if the daemon cannot be reached or refuses the request, with its reason.
  [[nodiscard]] nlohmann::json get(const std::string& target) const;
  [[nodiscard]] nlohmann::json post(const std::string& target, std::string_view body = {}) const;

  [[nodiscard]] const std::string& address() const noexcept { return _address; }

 private:
  [[nodiscard]] nlohmann::json ask(const std::string& target, const std::string_view* body) const;

  const std::string _address;
  std::string _base;    ///< The URL without the target.
  std::string _socket;  ///< Empty: TCP.
};

}  // namespace tool
