// SPDX-License-Identifier: Apache-2.0
#include "http_registry.hh"

#include "encoding.hh"
#include "exit_code.hh"
#include "http_request.hh"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <iterator>
#include <optional>
#include <pthread.h>
#include <utility>

namespace tool {

namespace {

using curl_text = std::unique_ptr<char, decltype(&curl_free)>;
using curl_url = std::unique_ptr<CURLU, decltype(&curl_url_cleanup)>;

std::optional<std::string> part(CURLU* url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, which, &text, flags) != CURLUE_OK) {
    return std::nullopt;
  }
  return std::string(curl_text(text, curl_free).get());
}

}  // namespace

registry_address registry_address::parse(const std::string& text) {
  // The text may contain a password. So messages do not repeat it.
  const auto wrong = [](std::string_view why) {
    return failure(exit_code::usage, fmt::format("--schema-registry: {}; it must be memory: or like "
                                                 "http://localhost:8081 or https://USER:PASSWORD@HOST/PATH",
                                                 why));
  };
  const curl_url url(::curl_url(), curl_url_cleanup);
  if (!url) {
    throw std::bad_alloc();
  }
  if (const auto code = curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0); code != CURLUE_OK) {
    throw wrong(code == CURLUE_BAD_SCHEME ? "the URL has no scheme" : curl_url_strerror(code));
  }
  const auto scheme = part(url.get(), CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") {
    throw wrong(fmt::format("{} is neither http nor https", printable(scheme.value_or(""))));
  }
  if (part(url.get(), CURLUPART_QUERY) || part(url.get(), CURLUPART_FRAGMENT)) {
    throw wrong("the URL has a query or a fragment");
  }
  registry_address address;
  const auto user = part(url.get(), CURLUPART_USER, CURLU_URLDECODE);
  const auto password = part(url.get(), CURLUPART_PASSWORD, CURLU_URLDECODE);
  address.has_user = user || password;
  address.user = user.value_or("");
  address.password = password.value_or("");
  curl_url_set(url.get(), CURLUPART_USER, nullptr, 0);
  curl_url_set(url.get(), CURLUPART_PASSWORD, nullptr, 0);
  address.base = part(url.get(), CURLUPART_URL).value();
  while (address.base.ends_with('/')) {
    address.base.pop_back();
  }
  return address;
}

/// The functions of the C table.
struct http_registry::functions {
  /// Sends the request of `make` and returns pending.
  template <typename Make>
  static wasm_callback_result ask(void* data, wasm_call* call, Make&& make) noexcept {
    try {
      auto& registry = *static_cast<http_registry*>(data);
      std::unique_ptr<request> r = make(request::target{registry._address, registry._timeout, registry._retry});
      wasmengine::detail::call([&](wasm_error** e) { return wasm_call_promise(call, r->promise(), e); }).value();
      registry.submit(std::move(r));
      return WASM_CALLBACK_RESULT_PENDING;
    } catch (const std::exception& e) {
      (void)wasm_call_fail(call, wasmengine::as_slice(std::string_view(e.what())), nullptr);
      return WASM_CALLBACK_RESULT_FAILED;
    }
  }

  static wasm_callback_result get_schema(void* data, std::int32_t id, wasm_call* call) noexcept {
    return ask(data, call, [&](const auto& to) { return request::schema_by_id(to, id); });
  }

  static wasm_callback_result get_subject_schema(void* data, wasm_slice subject, std::int32_t version,
                                                 wasm_call* call) noexcept {
    return ask(data, call,
               [&](const auto& to) { return request::subject_schema(to, wasmengine::as_text(subject), version); });
  }

  static wasm_callback_result create_schema(void* data, wasm_slice subject, const wasm_schema* schema,
                                            wasm_call* call) noexcept {
    return ask(data, call, [&](const auto& to) { return request::create(to, wasmengine::as_text(subject), *schema); });
  }
};

http_registry::http_registry(registry_address address, std::chrono::milliseconds timeout, std::chrono::milliseconds retry)
    : _address(std::move(address)), _timeout(timeout), _retry(retry) {
  static const auto initialized = curl_global_init(CURL_GLOBAL_DEFAULT);
  _multi = initialized == CURLE_OK ? curl_multi_init() : nullptr;
  if (_multi == nullptr) {
    throw failure(exit_code::other, "the HTTP client cannot be started");
  }
  // A broken connection must not end the process and signals are for other threads. The thread inherits the mask.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  try {
    _thread = std::thread([this] { run(); });
  } catch (...) {
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    curl_multi_cleanup(_multi);
    throw;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

http_registry::~http_registry() {
  {
    const std::lock_guard lock(_mutex);
    _stopping = true;
  }
  curl_multi_wakeup(_multi);
  _thread.join();
  _submitted.clear();
  curl_multi_cleanup(_multi);
}

wasm_schema_registry http_registry::table() noexcept {
  return {sizeof(wasm_schema_registry), this,
          nullptr,                      functions::get_schema,
          functions::get_subject_schema, functions::create_schema};
}

void http_registry::submit(std::unique_ptr<request> r) {
  {
    const std::lock_guard lock(_mutex);
    _submitted.push_back(std::move(r));
  }
  curl_multi_wakeup(_multi);
}

/// The body of the thread. Allocates nothing itself.
void http_registry::run() noexcept {
  for (;;) {
    {
      const std::lock_guard lock(_mutex);
      if (_stopping) {
        break;
      }
    }
    begin_submitted();
    begin_waiting();
    int running = 0;
    curl_multi_perform(_multi, &running);
    end_finished();
    // Until there is something to read or write, until a timeout or until `curl_multi_wakeup`.
    curl_multi_poll(_multi, nullptr, 0, milliseconds_to_wait(), nullptr);
  }
  for (const auto& r : _in_progress) {
    curl_multi_remove_handle(_multi, r->easy());
  }
  _in_progress.clear();
  _waiting.clear();
}

void http_registry::begin_submitted() noexcept {
  requests submitted;
  {
    const std::lock_guard lock(_mutex);
    submitted.swap(_submitted);
  }
  while (!submitted.empty()) {
    auto& r = *submitted.front();
    if (curl_multi_add_handle(_multi, r.easy()) == CURLM_OK) {
      _in_progress.splice(_in_progress.end(), submitted, submitted.begin());
    } else {
      r.finish(CURLE_OUT_OF_MEMORY);
      submitted.pop_front();
    }
  }
}

/// Begins requests again whose pause is over.
void http_registry::begin_waiting() noexcept {
  const auto now = std::chrono::steady_clock::now();
  for (auto at = _waiting.begin(); at != _waiting.end();) {
    const auto next = std::next(at);
    if ((*at)->when() <= now) {
      if (curl_multi_add_handle(_multi, (*at)->easy()) == CURLM_OK) {
        _in_progress.splice(_in_progress.end(), _waiting, at);
      } else {
        (*at)->finish(CURLE_OUT_OF_MEMORY);
        _waiting.erase(at);
      }
    }
    at = next;
  }
}

int http_registry::milliseconds_to_wait() const noexcept {
  constexpr std::int64_t longest = 60'000;
  std::int64_t wait = longest;
  for (const auto& r : _waiting) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(r->when() - std::chrono::steady_clock::now());
    wait = std::clamp<std::int64_t>(left.count(), 0, wait);
  }
  return static_cast<int>(wait);
}

void http_registry::end_finished() noexcept {
  int left = 0;
  while (const auto* message = curl_multi_info_read(_multi, &left)) {
    auto* const easy = message->easy_handle;
    const auto code = message->data.result;  // gone with the handle
    const auto at = std::find_if(_in_progress.begin(), _in_progress.end(), [&](const auto& r) { return r->easy() == easy; });
    curl_multi_remove_handle(_multi, easy);
    if ((*at)->tries_again(code)) {
      _waiting.splice(_waiting.end(), _in_progress, at);
      continue;
    }
    (*at)->finish(code);
    _in_progress.erase(at);
  }
}

}  // namespace tool
