// SPDX-License-Identifier: Apache-2.0
//
// A client for a schema registry over HTTP with Confluent's API.
#pragma once

#include <wasm_engine/wasm_engine.hh>

#include <chrono>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

using CURLM = void;

namespace tool {

/// The address of a registry and its credentials.
struct registry_address {
  std::string base;  ///< Without user and password and without a slash at the end: fit for messages.
  std::string user;
  std::string password;
  bool has_user = false;
  std::string token;    ///< A bearer token. Empty for none.
  std::string ca_file;  ///< Authorities to trust, PEM. Empty for the system's.

  /// Reads `http://user:password@host:8081/path`. Throws `failure`.
  [[nodiscard]] static registry_address parse(const std::string& url);
};

/// One thread runs all requests concurrently and settles the promises of the guests that wait for them. Their loops are
/// never blocked.
///
/// It must outlive the runtimes that use it and everything made from them.
class http_registry {
 public:
  /// `timeout` is for one request. One to a registry that is down is tried again for the time `retry`.
  http_registry(registry_address address, std::chrono::milliseconds timeout, std::chrono::milliseconds retry);
  http_registry(http_registry&&) = delete;
  ~http_registry();

  /// For `wasm_runtime_set_schema_registry`. Borrows this object.
  [[nodiscard]] wasm_schema_registry table() noexcept;

 private:
  class request;
  using requests = std::list<std::unique_ptr<request>>;
  struct functions;

  void submit(std::unique_ptr<request> r);
  void run() noexcept;
  void begin_submitted() noexcept;
  void begin_waiting() noexcept;
  void end_finished() noexcept;
  [[nodiscard]] int milliseconds_to_wait() const noexcept;

  const registry_address _address;
  const std::chrono::milliseconds _timeout;
  const std::chrono::milliseconds _retry;
  CURLM* _multi;
  requests _in_progress;  ///< On the thread only.
  requests _waiting;      ///< On the thread only: those that are tried again later.
  std::mutex _mutex;
  requests _submitted;
  bool _stopping = false;
  std::thread _thread;
};

}  // namespace tool
