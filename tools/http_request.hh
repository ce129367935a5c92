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
  /// The registry and the time limit.
  struct target {
    const registry_address& address;  ///< Copied.
    std::chrono::milliseconds timeout;
  };

  [[nodiscard]] static std::unique_ptr<request> schema_by_id(const target& to, std::int32_t id);
  /// Version -1 is the latest.
  [[nodiscard]] static std::unique_ptr<request> subject_schema(const target& to, std::string_view subject,
                                                               std::int32_t version);
  [[nodiscard]] static std::unique_ptr<request> create(const target& to, std::string_view subject,
                                                       const wasm_schema& schema);
  request(request&&) = delete;

  [[nodiscard]] CURL* easy() const noexcept { return _easy.get(); }
  [[nodiscard]] wasm_promise** promise() noexcept { return _promise.out(); }

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
  const std::chrono::milliseconds _timeout;
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
