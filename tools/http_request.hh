// SPDX-License-Identifier: Apache-2.0
//
// A request to a schema registry over HTTP: from a guest's call to its promise.
#pragma once

#include "http_registry.hh"

#include <curl/curl.h>
#include <nlohmann/json_fwd.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace tool {

/// One request from a guest's call to the response. The constructor may throw the reason of a failure.
class http_registry::request {
 public:
  /// The registry and the time limits.
  struct target {
    const registry_address& address;  ///< Copied.
    std::chrono::milliseconds timeout;
    std::chrono::milliseconds retry;
  };
  using time_point = std::chrono::steady_clock::time_point;

  [[nodiscard]] static std::unique_ptr<request> schema_by_id(const target& to, std::int32_t id);
  /// Version -1 is the latest.
  [[nodiscard]] static std::unique_ptr<request> subject_schema(const target& to, std::string_view subject,
                                                               std::int32_t version);
  [[nodiscard]] static std::unique_ptr<request> create(const target& to, std::string_view subject,
                                                       const wasm_schema& schema);
  request(request&&) = delete;

  [[nodiscard]] CURL* easy() const noexcept { return _easy.get(); }
  [[nodiscard]] wasm_promise** promise() noexcept { return _promise.out(); }

  /// Whether the request is to be tried again at `when`: the registry is down, and the time for that is not over.
  [[nodiscard]] bool tries_again(CURLcode code) noexcept;
  [[nodiscard]] time_point when() const noexcept { return _when; }

  /// Settles the promise.
  void finish(CURLcode code) noexcept;

 private:
  enum class kind { schema_by_id, subject_schema, create };

  request(kind what, const target& to, const std::string& path, std::int32_t id = 0,
          std::optional<std::string> body = {});

  [[nodiscard]] const char* method() const noexcept { return _body ? "POST" : "GET"; }
  void prepare(const registry_address& address);
  void add_header(const std::string& line);
  bool count(std::size_t size) noexcept;
  static std::size_t take_header(const char* bytes, std::size_t one, std::size_t size, void* self) noexcept;
  static std::size_t take_body(const char* bytes, std::size_t one, std::size_t size, void* self) noexcept;
  [[nodiscard]] long status() const noexcept;
  [[nodiscard]] long redirects() const noexcept;
  /// The target of redirects.
  [[nodiscard]] std::string redirected() const;
  void check_transfer(CURLcode code) const;
  /// The response if it is one.
  [[nodiscard]] nlohmann::json read() const;
  void settle(const nlohmann::json& answer);
  void reject(const std::string& why);

  const kind _kind;
  const std::int32_t _id;
  const bool _has_user;
  const bool _has_token;
  const std::chrono::milliseconds _timeout;
  const time_point _give_up;
  std::chrono::milliseconds _pause{100};
  time_point _when;
  int _tries = 1;
  const std::string _url;
  const std::optional<std::string> _body;
  wasmengine::handle<wasm_promise, wasm_promise_release> _promise;
  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> _headers{nullptr, curl_slist_free_all};
  std::array<char, CURL_ERROR_SIZE> _error{};
  std::string _answer;
  std::size_t _received = 0;
  bool _too_long = false;
  // The first to be destroyed: it has pointers to the others.
  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> _easy{curl_easy_init(), curl_easy_cleanup};
};

}  // namespace tool
