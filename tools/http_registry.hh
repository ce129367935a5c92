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

  /// Reads `http://user:password@host:8081/path`. Throws `failure`.
  [[nodiscard]] static registry_address parse(const std::string& url);
};

/// One thread runs all requests concurrently and settles the promises of the guests that wait for them. Their loops are
/// never blocked.
///
/// It must outlive the runtimes that use it and everything made from them.
class http_registry {
 public:
  http_registry(registry_address address, std::chrono::milliseconds timeout);
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
  void end_finished() noexcept;

  const registry_address _address;
  const std::chrono::milliseconds _timeout;
  CURLM* _multi;
  requests _in_progress;  ///< On the thread only.
  std::mutex _mutex;
  requests _submitted;
  bool _stopping = false;
  std::thread _thread;
};

}  // namespace tool
