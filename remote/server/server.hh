// SPDX-License-Identifier: Apache-2.0
//
// Runs guests for hosts on other computers. `wasm-transform serve` is this with a command line.
#pragma once

#include "wasm_engine/wasm_engine.hh"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wasmengine::remote {

/// TLS of a server. PEM text.
struct server_tls {
  std::string certificate;  ///< With its chain.
  std::string key;
  std::string client_ca;  ///< Hosts must have a certificate of this authority. Empty: they need none.
};

struct server_config {
  std::vector<std::string> listen;  ///< `ADDRESS:PORT` (port 0: any that is free) or `unix:/PATH`.
  std::optional<server_tls> tls = std::nullopt;
  std::string token = {};  ///< Hosts must send it. Empty: they need none.
  /// Beyond this computer hosts must be known by TLS with a token or with certificates, unless this is set.
  bool insecure = false;
  std::string module_directory = {};  ///< Its files NAME.wasm are there by name and by content. Empty: none.
  bool uploads = false;               ///< Hosts may upload modules.
  std::size_t threads = 0;            ///< Event loops. 0: one per core.
  std::size_t max_streams = 1'000;    ///< Engines at a time.
  std::size_t max_modules = 1'000;    ///< Compiled transforms at a time.
  std::uint64_t max_memory = 0;       ///< Linear memory of all guests together. 0: no limit but the two below.
  std::uint64_t upload_bytes = 256U << 20;  ///< Of uploaded modules that are kept.
  std::uint64_t memory_limit = 64U << 20;   ///< Of one guest.
  std::uint64_t record_time_limit_ns = 3'000'000'000;
  std::uint64_t output_buffer_limit = 1U << 20;
  std::uint64_t max_batch = 16U << 20;
  /// Bytes that gRPC holds for all connections, of hosts that are not known yet, too. What does not fit is refused.
  std::uint64_t buffer_bytes = 512U << 20;
  std::size_t window = 1U << 20;  ///< Bytes of output of an engine that wait to be sent before the guest waits.
  /// For `Open`, and for each piece of a module and of a batch.
  std::chrono::milliseconds handshake_timeout{30'000};
  std::string compile_helper = {};  ///< Path. Empty: modules are compiled in this process.
  std::string cache_directory = {};  ///< Of compiled modules. Empty: none.
  std::function<void(std::string_view)> log = {};  ///< Lines about the server. Any thread.
};

class core;

/// Listens from its construction on. Used by one thread.
class server {
 public:
  /// Throws `std::runtime_error` or an `error`.
  explicit server(server_config config);
  server(server&&) = delete;
  /// As `stop` without time.
  ~server();

  /// Where it listens, with the ports that were free.
  [[nodiscard]] const std::vector<std::string>& addresses() const noexcept { return _addresses; }
  /// For metrics.
  [[nodiscard]] const runtime& local_runtime() const noexcept;
  /// All metrics as text for Prometheus.
  [[nodiscard]] std::string metrics() const;
  /// Streams that are open.
  [[nodiscard]] std::size_t streams() const noexcept;

  /// Ends. Streams end behind the batch in progress, and those that take longer than `grace` at once. Blocks.
  void stop(std::chrono::milliseconds grace);

 private:
  class service;

  std::unique_ptr<core> _core;
  std::vector<std::string> _addresses;
  std::unique_ptr<service> _service;
  struct listening;
  std::unique_ptr<listening> _listening;
};

}  // namespace wasmengine::remote
