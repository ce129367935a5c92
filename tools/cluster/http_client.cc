// SPDX-License-Identifier: Apache-2.0
#include "http_client.hh"

#include "../encoding.hh"
#include "../exit_code.hh"

#include <curl/curl.h>
#include <fmt/format.h>

#include <array>
#include <memory>
#include <new>

namespace tool {

namespace {

constexpr long most_redirects = 5;
constexpr std::size_t most_bytes = 64U << 20;  // of an answer

std::size_t take(const char* bytes, std::size_t one, std::size_t size, void* to) noexcept {
  try {
    auto& body = *static_cast<std::string*>(to);
    if (body.size() + one * size > most_bytes) {
      return 0;
    }
    body.append(bytes, one * size);
    return one * size;
  } catch (const std::exception&) {
    return 0;
  }
}

template <typename T>
void set(CURL* easy, CURLoption option, T value) {
  if (const auto code = curl_easy_setopt(easy, option, value); code != CURLE_OK) {
    throw failure(exit_code::usage, fmt::format("cannot prepare the request: {}", curl_easy_strerror(code)));
  }
}

}  // namespace

http_answer send(const http_address& to, const char* method, const std::string& path, const std::string& body,
                 const std::vector<std::string>& headers) {
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> handle(curl_easy_init(), curl_easy_cleanup);
  auto* const easy = handle.get();
  if (easy == nullptr) {
    throw std::bad_alloc();
  }
  http_answer answer;
  std::array<char, CURL_ERROR_SIZE> why{};
  const auto url = to.base + path;
  curl_slist* list = nullptr;
  for (const auto& header : headers) {
    list = curl_slist_append(list, header.c_str());
  }
  const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> owned(curl_slist_append(list, "Expect:"), curl_slist_free_all);
  set(easy, CURLOPT_ERRORBUFFER, why.data());
  set(easy, CURLOPT_NOSIGNAL, 1L);
  set(easy, CURLOPT_URL, url.c_str());
  set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  set(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  set(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(to.timeout.count()));
  set(easy, CURLOPT_FOLLOWLOCATION, 1L);
  set(easy, CURLOPT_MAXREDIRS, most_redirects);
  set(easy, CURLOPT_USERAGENT, "wasm-transform");
  set(easy, CURLOPT_CUSTOMREQUEST, method);
  set(easy, CURLOPT_HTTPHEADER, owned.get());
  set(easy, CURLOPT_WRITEFUNCTION, take);
  set(easy, CURLOPT_WRITEDATA, &answer.body);
  if (!body.empty()) {
    set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    set(easy, CURLOPT_POSTFIELDS, body.data());
  }
  if (!to.user.empty()) {
    set(easy, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BASIC));
    set(easy, CURLOPT_USERNAME, to.user.c_str());
    set(easy, CURLOPT_PASSWORD, to.password.c_str());
  }
  if (!to.ca.empty()) {
    set(easy, CURLOPT_CAINFO, to.ca.c_str());
  }
  if (const auto code = curl_easy_perform(easy); code != CURLE_OK) {
    const char* text = why[0] != '\0' ? why.data() : curl_easy_strerror(code);
    throw failure(exit_code::other, fmt::format("{} {}: {}", method, url, printable(text)));
  }
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &answer.status);
  return answer;
}

std::string url_escaped(const std::string& text) {
  const std::unique_ptr<char, decltype(&curl_free)> escaped(
      curl_easy_escape(nullptr, text.data(), static_cast<int>(text.size())), curl_free);
  if (!escaped) {
    throw std::bad_alloc();
  }
  return escaped.get();
}

}  // namespace tool
