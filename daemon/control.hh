// SPDX-License-Identifier: Apache-2.0
//
// What the daemon answers to requests: its state as JSON, its metrics as text, and commands.
#pragma once

#include "server.hh"
#include "log.hh"

#include <string>
#include <string_view>

namespace transformd {

struct http_answer {
  int status = 200;
  std::string type = "application/json";
  std::string body = {};
};

/// Any thread. `docs/transformd.md` lists the requests.
class control {
 public:
  control(server& s, const logger& log) : _server(s), _log(log) {}

  [[nodiscard]] http_answer answer(std::string_view method, std::string_view target);

 private:
  http_answer of_transform(std::string_view method, std::string_view name, std::string_view what,
                           std::string_view query);
  [[nodiscard]] http_answer ready() const;

  server& _server;
  const logger& _log;
};

}  // namespace transformd
