// SPDX-License-Identifier: Apache-2.0
//
// Engines on another computer, where `wasm-transform serve` runs. To be linked with wasm_engine::remote, which needs
// gRPC.
//
//     auto connection = we::remote_connection::create({.address = "transforms:7070", .tls = tls, .token =
// token}).value();
//     auto factory = connection.create_factory(runtime, transform, {.bytes = module}).value();   // not compiled here
//     auto engine = we::engine::create(factory).value();                                         // as any other engine
//
// docs/remote-engines.md has what holds when the connection is lost.
#pragma once

#include "custom_engine.hh"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace wasmengine {

namespace remote {
class connection;
}

/// TLS to a server. Certificates and keys are PEM text.
struct remote_tls {
  std::string ca;           ///< Whom to trust. Empty: the system's authorities.
  std::string certificate;  ///< Of this host with its chain, for servers that want one. Empty: none.
  std::string key;          ///< Of that certificate.
  std::string server_name;  ///< In the server's certificate if it is not the one of the address.
};

/// Why a remote guest failed, as its server told.
struct remote_failure {
  std::string transform;
  wasm_status status;  ///< On the server. For example `WASM_STATUS_GUEST_TRAP`.
  std::string message;
  std::optional<record_position> record;
  wasm_trap trap;
  std::optional<std::int32_t> exit_code;
  struct frame {
    std::uint32_t index;
    std::string function;
    std::string file;
    std::uint32_t line;
    std::uint32_t column;
  };
  std::vector<frame> frames;  ///< The innermost is the first.
  std::string guest_stderr;
};

/// A server and how to use it.
struct remote_config {
  std::string address;  ///< `HOST:PORT`, `[ADDRESS]:PORT` or `unix:/PATH`.
  std::optional<remote_tls> tls = std::nullopt;
  std::string token = {};        ///< For servers that want one. Empty: none.
  bool allow_plaintext = false;  ///< Without `tls` only loopback and unix sockets are allowed unless this is set.
  /// For how long a start tries to connect. 0: once.
  std::chrono::milliseconds connect_timeout{5'000};
  /// Time for a whole start: connecting, upload, compilation and the guest's own start.
  std::chrono::milliseconds start_timeout{60'000};
  /// A server is lost if for so long nothing comes from it and no piece of the batch goes out to it while a batch is in
  /// progress. At least 100 ms. Servers say something four times as often, also while a guest takes its time.
  std::chrono::milliseconds progress_timeout{30'000};
  /// Between two attempts to connect. They double and vary at random by a fifth.
  std::chrono::milliseconds backoff_min{100};
  std::chrono::milliseconds backoff_max{10'000};
  /// Bytes of output that an engine holds before it reads on. One message more may be there.
  std::size_t window = 1U << 20;
  /// Bytes of a message of the server at most. An output record must fit in it.
  std::size_t max_message = 16U << 20;
  /// Bytes of output for one batch at most, with 32 more for each record. A server that sends more is lost.
  std::uint64_t max_batch_output = 1U << 30;
  /// The most that guests may have. 0: what the server gives. The lowest of these, of the transform's own limits and of
  /// the server's holds.
  std::uint64_t memory_limit = 0;
  std::uint64_t record_time_limit_ns = 0;
  /// Takes log lines of guests. Called on the engines' threads while their futures are polled.
  log_function log = {};
  /// Is told each failure of a guest before the operation fails. Called on the engines' threads. Must not throw.
  std::function<void(const remote_failure&)> on_failure = {};
};

/// A module: by content, by name or both.
struct remote_module {
  std::string name = {};                 ///< A file NAME.wasm of the server's folder.
  std::vector<std::uint8_t> bytes = {};  ///< Uploaded if the server has no module with this content.
};

/// What a connection did since it was made.
struct remote_stats {
  std::uint64_t engines;        ///< Streams that are open now: engines that are started or starting.
  std::uint64_t starts;         ///< Starts that succeeded.
  std::uint64_t failed_starts;
  std::uint64_t lost;           ///< Starts and transforms that ended because the server was lost.
  std::uint64_t uploads;        ///< Modules that were sent.
  std::uint64_t batches;        ///< Batches that were sent.
  std::uint64_t bytes_sent;     ///< Of batches and modules.
  std::uint64_t bytes_received; ///< Of output.
};

/// A connection to a server for any number of engines. Any thread. Copies share one. It connects when the first engine
/// starts, and again when it was lost.
class remote_connection {
 public:
  remote_connection() noexcept = default;

  /// Checks the config. Does not connect.
  [[nodiscard]] static result<remote_connection> create(remote_config config);

  /// A factory of engines whose guests run on the server. The runtime is this host's: policies, metrics and the limit
  /// of output are its. A factory keeps the connection.
  [[nodiscard]] result<factory> create_factory(const runtime& r, const transform_config& t, remote_module module) const;

  /// Asks for the server's metrics in Prometheus's text format. `done` is called once on one of gRPC's threads. It must
  /// not throw or block.
  void fetch_metrics(std::function<void(result<std::string>)> done,
                     std::chrono::milliseconds timeout = std::chrono::seconds(5)) const;

  [[nodiscard]] remote_stats stats() const noexcept;
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(_shared); }

 private:
  explicit remote_connection(std::shared_ptr<remote::connection> s) noexcept : _shared(std::move(s)) {}

  std::shared_ptr<remote::connection> _shared;
};

}  // namespace wasmengine
