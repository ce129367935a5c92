// SPDX-License-Identifier: Apache-2.0
//
// Requests to a broker over HTTP, one at a time.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace tool {

/// Where a broker is, and who asks.
struct http_address {
  std::string base;  ///< As in `http://localhost:9644`, without a slash at its end.
  std::string user;
  std::string password;
  std::string ca;    ///< File with the authority that is trusted. Empty: the system's.
  std::chrono::milliseconds timeout{10'000};
};

struct http_answer {
  long status = 0;
  std::string body;
};

/// Sends a request and returns what was answered, whatever its status. A broker may send it on to another one, which
/// gets the password only if it has the same name. Throws `failure` if there was no answer.
[[nodiscard]] http_answer send(const http_address& to, const char* method, const std::string& path, const std::string& body,
                               const std::vector<std::string>& headers);

/// For a part of a path.
[[nodiscard]] std::string url_escaped(const std::string& text);

}  // namespace tool
