// SPDX-License-Identifier: Apache-2.0
#include "daemon_client.hh"

#include "../encoding.hh"
#include "../exit_code.hh"

#include <curl/curl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <memory>
#include <new>
#include <utility>

namespace tool {

namespace {

using nlohmann::json;

constexpr long connect_patience_s = 5;
// A large module may compile for half a minute, and a follower of a log waits for a minute.
constexpr long patience_s = 120;
constexpr long refused_from = 400;

std::size_t take_bytes(const char* bytes, std::size_t, std::size_t size, void* to) noexcept {
  try {
    static_cast<std::string*>(to)->append(bytes, size);
    return size;
  } catch (const std::bad_alloc&) {
    return 0;
  }
}

/// The reason that the daemon gives.
std::string reason(const std::string& body, long status) {
  const auto answer = json::parse(body, nullptr, false);
  if (answer.is_object() && answer.contains("error") && answer["error"].is_string()) {
    return printable(answer["error"].get_ref<const std::string&>());
  }
  return fmt::format("HTTP status {}", status);
}

exit_code code_of(long status) {
  constexpr long conflict = 409;
  constexpr long own_fault = 500;
  return status == conflict || status >= own_fault ? exit_code::other : exit_code::usage;
}

}  // namespace

daemon_client::daemon_client(std::string address) : _address(std::move(address)) {
  if (_address.starts_with("http://") || _address.starts_with("https://")) {
    _base = _address;
    while (_base.ends_with('/')) {
      _base.pop_back();
    }
  } else if (_address.find('/') != std::string::npos) {
    _base = "http://localhost";
    _socket = _address;
  } else {
    const bool port_only = !_address.empty() && _address.find_first_not_of("0123456789") == std::string::npos;
    _base = port_only ? "http://127.0.0.1:" + _address : "http://" + _address;
  }
}

json daemon_client::get(const std::string& target) const { return ask(target, nullptr); }

json daemon_client::post(const std::string& target, std::string_view body) const { return ask(target, &body); }

json daemon_client::ask(const std::string& target, const std::string_view* body) const {
  static const auto initialized = curl_global_init(CURL_GLOBAL_DEFAULT);
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> easy(curl_easy_init(), curl_easy_cleanup);
  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(nullptr, curl_slist_free_all);
  if (initialized != CURLE_OK || !easy) {
    throw failure(exit_code::other, "the HTTP client cannot be started");
  }
  const auto url = _base + target;
  std::string answer;
  std::array<char, CURL_ERROR_SIZE> why{};
  curl_easy_setopt(easy.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy.get(), CURLOPT_ERRORBUFFER, why.data());
  curl_easy_setopt(easy.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy.get(), CURLOPT_CONNECTTIMEOUT, connect_patience_s);
  curl_easy_setopt(easy.get(), CURLOPT_TIMEOUT, patience_s);
  curl_easy_setopt(easy.get(), CURLOPT_USERAGENT, "wasm-transform");
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, take_bytes);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &answer);
  curl_easy_setopt(easy.get(), CURLOPT_NOPROXY, "localhost,127.0.0.1,::1");
  if (!_socket.empty()) {
    curl_easy_setopt(easy.get(), CURLOPT_UNIX_SOCKET_PATH, _socket.c_str());
  }
  if (body != nullptr) {
    headers.reset(curl_slist_append(nullptr, "Content-Type: application/wasm"));
    curl_easy_setopt(easy.get(), CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(easy.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body->size()));
    curl_easy_setopt(easy.get(), CURLOPT_POSTFIELDS, body->data() == nullptr ? "" : body->data());
  }
  if (const auto code = curl_easy_perform(easy.get()); code != CURLE_OK) {
    throw failure(exit_code::other, fmt::format("no answer from wasm-transformd at {}: {}", _address,
                                                why[0] != '\0' ? why.data() : curl_easy_strerror(code)));
  }
  long status = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status >= refused_from) {
    throw failure(code_of(status), reason(answer, status));
  }
  auto parsed = json::parse(answer, nullptr, false);
  if (!parsed.is_object()) {
    throw failure(exit_code::other, fmt::format("what answers at {} is no wasm-transformd", _address));
  }
  return parsed;
}

}  // namespace tool
