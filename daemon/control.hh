// SPDX-License-Identifier: Apache-2.0
//
// What the daemon answers to requests: its state as JSON, its metrics as text, its page, and commands.
#pragma once

#include "log.hh"
#include "off_loop.hh"
#include "server.hh"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace transformd {

struct http_request {
  std::string_view method;
  std::string_view path;   ///< Without the query.
  std::string_view query;  ///< Behind the `?`. Not decoded.
  std::vector<std::uint8_t> body;
};

struct http_answer {
  int status = 200;
  std::string type = "application/json";
  std::string body = {};
};

/// Any thread. `docs/transformd.md` lists the requests.
class control {
 public:
  control(server& s, logger& log) : _server(s), _log(log) {}

  /// Some requests take a while: a deployed module is compiled, and a log is followed. What `request` views must live as
  /// long. Does not throw.
  asio::awaitable<http_answer> answer(http_request request);

  static constexpr std::uint64_t largest_module = 64U << 20;  ///< The library's limit.

  /// Bytes that a request with this method and path may have.
  [[nodiscard]] static std::uint64_t largest_body(std::string_view method, std::string_view path) noexcept;

 private:
  asio::awaitable<http_answer> of_transform(http_request request, std::string_view name, std::string_view what);
  asio::awaitable<http_answer> logs(const transform& of, std::string_view query);
  [[nodiscard]] http_answer ready() const;

  server& _server;
  logger& _log;
};

}  // namespace transformd
