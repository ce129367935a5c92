// SPDX-License-Identifier: Apache-2.0
//
// The metrics of a run over HTTP for Prometheus or curl.
#pragma once

#include "file.hh"

#include <wasm_engine/wasm_engine.hh>

#include <cstdint>
#include <string>
#include <thread>

namespace tool {

/// The address to listen on.
struct listen_address {
  std::string host = "127.0.0.1";  ///< A number without brackets.
  std::uint16_t port = 0;          ///< 0: any that is free.

  /// Reads [ADDRESS:]PORT. Throws `failure`.
  [[nodiscard]] static listen_address parse(const std::string& text);
};

/// Serves `GET /metrics` on its own thread until it is destroyed. HTTP/1.1 with one request per connection. A slow
/// client, a large request or an invalid one blocks the other clients only briefly: see the limits in the source.
class metrics_server {
 public:
  /// Starts to listen. Throws `failure`. `runtime` must outlive the server.
  metrics_server(const listen_address& address, const wasmengine::runtime& runtime);
  metrics_server(metrics_server&&) = delete;
  ~metrics_server();

  /// The URL of the metrics.
  [[nodiscard]] const std::string& url() const noexcept { return _url; }

 private:
  class connection;

  void serve() noexcept;

  const wasmengine::runtime& _runtime;
  descriptor _listening;
  descriptor _stop;  ///< Readable when the server is to stop.
  std::string _url;
  std::thread _thread;
};

}  // namespace tool
