// SPDX-License-Identifier: Apache-2.0
//
// The metrics of a run over HTTP, for Prometheus or curl.
#pragma once

#include "file.hh"

#include <wasm_engine/wasm_engine.hh>

#include <cstdint>
#include <string>
#include <thread>

namespace tool {

/// Where to listen.
struct listen_address {
  std::string host = "127.0.0.1";  ///< A number, without brackets.
  std::uint16_t port = 0;          ///< 0: any that is free.

  /// Reads [ADDRESS:]PORT. Throws `failure`.
  [[nodiscard]] static listen_address parse(const std::string& text);
};

/// Answers `GET /metrics` on a thread of its own until it is destroyed. HTTP/1.1, one request per connection. A client
/// that is slow, sends too much, or sends nonsense holds up nobody else for long: see the limits in the source.
class metrics_server {
 public:
  /// Listens. Throws `failure`. `runtime` must outlive the server.
  metrics_server(const listen_address& address, const wasmengine::runtime& runtime);
  metrics_server(metrics_server&&) = delete;
  ~metrics_server();

  /// Where the metrics are.
  [[nodiscard]] const std::string& url() const noexcept { return _url; }

 private:
  class connection;

  void serve() noexcept;

  const wasmengine::runtime& _runtime;
  descriptor _listening;
  descriptor _stop;  ///< Readable when it is time to go.
  std::string _url;
  std::thread _thread;
};

}  // namespace tool
