// SPDX-License-Identifier: Apache-2.0
#include "http_registry.hh"

#include "encoding.hh"
#include "exit_code.hh"

#include <curl/curl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <limits>
#include <optional>
#include <pthread.h>
#include <stdexcept>
#include <utility>
#include <vector>

namespace tool {

namespace {

using nlohmann::json;

constexpr std::size_t longest_answer = 16U << 20;
constexpr std::size_t longest_excerpt = 300;
constexpr long most_redirects = 5;
constexpr const char* media_type = "application/vnd.schemaregistry.v1+json";

using curl_text = std::unique_ptr<char, decltype(&curl_free)>;
using curl_url = std::unique_ptr<CURLU, decltype(&curl_url_cleanup)>;
using curl_easy = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;
using curl_headers = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;
using owned_promise = wasmengine::handle<wasm_promise, wasm_promise_release>;

/// Why a request came to nothing.
struct refused : std::runtime_error {
  using runtime_error::runtime_error;
};

/// Text from elsewhere, fit for a line of the log.
std::string excerpt(std::string_view text) {
  auto line = printable(text.substr(0, longest_excerpt));
  std::replace(line.begin(), line.end(), '\n', ' ');
  return text.size() > longest_excerpt ? line + " …" : line;
}

std::optional<std::string> part(CURLU* url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, which, &text, flags) != CURLUE_OK) {
    return std::nullopt;
  }
  return std::string(curl_text(text, curl_free).get());
}

std::string escape(std::string_view text) {
  // Segments of dots mean something else in a path.
  if (text == "." || text == "..") {
    return text.size() == 1 ? "%2E" : "%2E%2E";
  }
  if (text.empty()) {
    return {};
  }
  if (text.size() > static_cast<std::size_t>(std::numeric_limits<int>::max() / 3)) {
    throw refused("the name of the subject is too long");
  }
  const curl_text escaped(curl_easy_escape(nullptr, text.data(), static_cast<int>(text.size())), curl_free);
  if (!escaped) {
    throw std::bad_alloc();
  }
  return escaped.get();
}

std::string text_member(const json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) {
    throw refused(fmt::format("the answer has no text \"{}\"", name));
  }
  return found->get<std::string>();
}

std::int32_t int_member(const json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number_integer()) {
    throw refused(fmt::format("the answer has no integer \"{}\"", name));
  }
  const bool large = found->is_number_unsigned() && found->get<std::uint64_t>() > std::uint64_t{INT32_MAX};
  if (large || found->get<std::int64_t>() < INT32_MIN) {
    throw refused(fmt::format("\"{}\" in the answer is out of range: {}", name, found->dump()));
  }
  return found->get<std::int32_t>();
}

bool is_absent(const json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null();
}

constexpr std::array type_names = {"AVRO", "PROTOBUF", "JSON"};
static_assert(WASM_SCHEMA_TYPE_AVRO == 0 && WASM_SCHEMA_TYPE_PROTOBUF == 1 && WASM_SCHEMA_TYPE_JSON == 2);

/// A schema in an answer, and what its parts are stored in.
class schema_answer {
 public:
  explicit schema_answer(const json& object) : _definition(text_member(object, "schema")) {
    const auto type = is_absent(object, "schemaType") ? type_names[0] : text_member(object, "schemaType");
    const auto known = std::find(type_names.begin(), type_names.end(), type);
    if (known == type_names.end()) {
      throw refused(fmt::format("the schema is of an unknown type: {}", excerpt(type)));
    }
    if (!is_absent(object, "references")) {
      const auto& references = object["references"];
      if (!references.is_array()) {
        throw refused("\"references\" in the answer is not an array");
      }
      for (const auto& r : references) {
        _texts.push_back(text_member(r, "name"));
        _texts.push_back(text_member(r, "subject"));
        _references.push_back({wasmengine::as_slice(*std::prev(_texts.end(), 2)),
                               wasmengine::as_slice(_texts.back()), int_member(r, "version")});
      }
    }
    _type = static_cast<std::uint32_t>(known - type_names.begin());
  }
  schema_answer(schema_answer&&) = delete;

  /// Valid as long as this.
  [[nodiscard]] wasm_schema get() const noexcept {
    return {_type, wasmengine::as_slice(_definition), _references.data(), _references.size()};
  }

 private:
  std::string _definition;
  std::uint32_t _type;
  std::list<std::string> _texts;
  std::vector<wasm_schema_reference> _references;
};

std::string post_body(const wasm_schema& schema) {
  json body{{"schema", wasmengine::as_text(schema.definition)}};
  if (schema.schema_type != WASM_SCHEMA_TYPE_AVRO) {
    body["schemaType"] = type_names.at(schema.schema_type);
  }
  for (std::size_t i = 0; i < schema.reference_count; ++i) {
    const auto& r = schema.references[i];
    body["references"].push_back({{"name", wasmengine::as_text(r.name)},
                                  {"subject", wasmengine::as_text(r.subject)},
                                  {"version", r.version}});
  }
  return body.dump();
}

template <typename T>
void set(CURL* easy, CURLoption option, T value) {
  if (const auto code = curl_easy_setopt(easy, option, value); code != CURLE_OK) {
    throw refused(fmt::format("cannot prepare the request: {}", curl_easy_strerror(code)));
  }
}

}  // namespace

registry_address registry_address::parse(const std::string& text) {
  // The text may have a password in it, so messages do not repeat it.
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

/// One question, from when a guest asks it to its answer.
class http_registry::request {
 public:
  enum class kind { schema_by_id, subject_schema, create };

  request(kind what, const http_registry& registry, const std::string& path, std::int32_t id = 0,
          std::optional<std::string> body = {})
      : _kind(what),
        _id(id),
        _has_user(registry._address.has_user),
        _timeout(registry._timeout),
        _url(registry._address.base + path),
        _body(std::move(body)) {
    prepare(registry);
  }
  request(request&&) = delete;

  [[nodiscard]] CURL* easy() const noexcept { return _easy.get(); }
  [[nodiscard]] wasm_promise** promise() noexcept { return _promise.out(); }

  /// Settles the promise.
  void finish(CURLcode code) noexcept {
    try {
      try {
        check_transfer(code);
        settle(read());
      } catch (const refused& e) {
        reject(fmt::format("{} {}{}: {}", method(), _url, redirected(), e.what()));
      }
    } catch (...) {
      // Out of memory: dropped, the promise counts as rejected.
    }
  }

 private:
  [[nodiscard]] const char* method() const noexcept { return _body ? "POST" : "GET"; }

  void prepare(const http_registry& registry) {
    auto* const easy = _easy.get();
    if (easy == nullptr) {
      throw std::bad_alloc();
    }
    set(easy, CURLOPT_PRIVATE, this);
    set(easy, CURLOPT_ERRORBUFFER, _error.data());
    set(easy, CURLOPT_NOSIGNAL, 1L);
    set(easy, CURLOPT_QUICK_EXIT, 1L);
    set(easy, CURLOPT_URL, _url.c_str());
    set(easy, CURLOPT_PATH_AS_IS, 1L);
    set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    set(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(_timeout.count()));
    set(easy, CURLOPT_FOLLOWLOCATION, 1L);
    set(easy, CURLOPT_MAXREDIRS, most_redirects);
    set(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    set(easy, CURLOPT_POSTREDIR, static_cast<long>(CURL_REDIR_POST_ALL));
    set(easy, CURLOPT_USERAGENT, "wasm-transform");
    set(easy, CURLOPT_WRITEFUNCTION, take_body);
    set(easy, CURLOPT_WRITEDATA, this);
    set(easy, CURLOPT_HEADERFUNCTION, take_header);
    set(easy, CURLOPT_HEADERDATA, this);
    if (_has_user) {
      set(easy, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BASIC));
      set(easy, CURLOPT_USERNAME, registry._address.user.c_str());
      set(easy, CURLOPT_PASSWORD, registry._address.password.c_str());
    }
    add_header(fmt::format("Accept: {}, application/json", media_type));
    if (_body) {
      add_header(fmt::format("Content-Type: {}", media_type));
      add_header("Expect:");  // not worth another round trip
      set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(_body->size()));
      set(easy, CURLOPT_POSTFIELDS, _body->data());
    }
    set(easy, CURLOPT_HTTPHEADER, _headers.get());
  }

  void add_header(const std::string& line) {
    auto* const more = curl_slist_append(_headers.get(), line.c_str());
    if (more == nullptr) {
      throw std::bad_alloc();
    }
    (void)_headers.release();
    _headers.reset(more);
  }

  bool count(std::size_t size) noexcept {
    _received += size;
    _too_long = _received > longest_answer;
    return !_too_long;
  }

  static std::size_t take_header(const char*, std::size_t, std::size_t size, void* self) noexcept {
    return static_cast<request*>(self)->count(size) ? size : 0;
  }

  static std::size_t take_body(const char* bytes, std::size_t, std::size_t size, void* self) noexcept {
    auto& r = *static_cast<request*>(self);
    try {
      if (!r.count(size)) {
        return 0;
      }
      r._answer.append(bytes, size);
      return size;
    } catch (...) {
      return 0;
    }
  }

  [[nodiscard]] long status() const noexcept {
    long status = 0;
    curl_easy_getinfo(_easy.get(), CURLINFO_RESPONSE_CODE, &status);
    return status;
  }

  [[nodiscard]] long redirects() const noexcept {
    long count = 0;
    curl_easy_getinfo(_easy.get(), CURLINFO_REDIRECT_COUNT, &count);
    return count;
  }

  /// Where redirects led.
  [[nodiscard]] std::string redirected() const {
    const char* url = nullptr;
    curl_easy_getinfo(_easy.get(), CURLINFO_EFFECTIVE_URL, &url);
    return redirects() > 0 && url != nullptr ? fmt::format(", redirected to {}", excerpt(url)) : "";
  }

  void check_transfer(CURLcode code) const {
    if (_too_long) {
      throw refused(fmt::format("the answer is longer than {} MiB", longest_answer >> 20));
    }
    if (code == CURLE_OPERATION_TIMEDOUT) {
      throw refused(fmt::format("no {}answer within {} (--schema-registry-timeout)", _received > 0 ? "complete " : "",
                                _timeout));
    }
    if (code == CURLE_UNSUPPORTED_PROTOCOL && redirects() == 0) {
      throw refused(fmt::format("the answer is not HTTP{}", _url.starts_with("http:") ? "; is it https there?" : ""));
    }
    if (code != CURLE_OK) {
      throw refused(_error[0] != '\0' ? excerpt(_error.data()) : curl_easy_strerror(code));
    }
  }

  /// The answer, if it is one.
  [[nodiscard]] json read() const {
    const auto status = this->status();
    auto answer = json::parse(_answer, nullptr, false);
    if (status >= 200 && status < 300) {
      if (!answer.is_object()) {
        throw refused(fmt::format("HTTP status {}, but the answer is not from a schema registry: {}", status,
                                  _answer.empty() ? "it is empty" : excerpt(_answer)));
      }
      return answer;
    }
    auto why = fmt::format("HTTP status {}", status);
    if (status == 401) {
      why += _has_user ? " (user or password is wrong)"
                       : " (credentials go into the URL: --schema-registry http://USER:PASSWORD@HOST)";
    }
    if (answer.is_object() && answer.contains("error_code") && answer["error_code"].is_number_integer()) {
      why += fmt::format(", error {}", answer["error_code"].dump());
    }
    if (answer.is_object() && answer.contains("message") && answer["message"].is_string()) {
      why += ": " + excerpt(answer["message"].get_ref<const std::string&>());
    } else if (!_answer.empty()) {
      why += ": " + excerpt(_answer);
    }
    throw refused(why);
  }

  void settle(const json& answer) {
    using wasmengine::detail::call;
    auto* const promise = _promise.get();
    if (_kind == kind::create) {
      wasm_value id{};
      id.i32 = int_member(answer, "id");
      check(call([&](wasm_error** e) { return wasm_promise_resolve_values(promise, &id, 1, e); }));
      return;
    }
    const schema_answer found(answer);
    wasm_subject_schema schema{_id, 0, found.get()};
    if (_kind == kind::subject_schema) {
      schema.id = int_member(answer, "id");
      schema.version = int_member(answer, "version");
    }
    check(call([&](wasm_error** e) { return wasm_promise_resolve_schema(promise, &schema, e); }));
  }

  static void check(const wasmengine::result<void>& done) {
    if (!done) {
      throw refused(done.err().what());
    }
  }

  void reject(const std::string& why) {
    (void)wasmengine::detail::call(
        [&](wasm_error** e) { return wasm_promise_reject(_promise.get(), wasmengine::as_slice(why), e); });
  }

  const kind _kind;
  const std::int32_t _id;
  const bool _has_user;
  const std::chrono::milliseconds _timeout;
  const std::string _url;
  const std::optional<std::string> _body;
  owned_promise _promise;
  curl_headers _headers{nullptr, curl_slist_free_all};
  std::array<char, CURL_ERROR_SIZE> _error{};
  std::string _answer;
  std::size_t _received = 0;
  bool _too_long = false;
  curl_easy _easy{curl_easy_init(), curl_easy_cleanup};  // the first to go: it has pointers to the others
};

/// The C table's.
struct http_registry::functions {
  /// Sends what `make` makes, and promises its answer.
  template <typename Make>
  static std::uint32_t ask(void* data, wasm_call* call, Make&& make) noexcept {
    try {
      auto& registry = *static_cast<http_registry*>(data);
      std::unique_ptr<request> r = make(registry);
      wasmengine::detail::call([&](wasm_error** e) { return wasm_call_promise(call, r->promise(), e); }).value();
      registry.submit(std::move(r));
      return WASM_ANSWER_PENDING;
    } catch (const std::exception& e) {
      (void)wasm_call_fail(call, wasmengine::as_slice(std::string_view(e.what())), nullptr);
      return WASM_ANSWER_FAILED;
    }
  }

  static std::uint32_t get_schema(void* data, std::int32_t id, wasm_call* call) noexcept {
    return ask(data, call, [&](auto& registry) {
      return std::make_unique<request>(request::kind::schema_by_id, registry, fmt::format("/schemas/ids/{}", id), id);
    });
  }

  static std::uint32_t get_subject_schema(void* data, wasm_slice subject, std::int32_t version,
                                          wasm_call* call) noexcept {
    return ask(data, call, [&](auto& registry) {
      return std::make_unique<request>(request::kind::subject_schema, registry,
                                       fmt::format("/subjects/{}/versions/{}", escape(wasmengine::as_text(subject)),
                                                   version == -1 ? "latest" : std::to_string(version)));
    });
  }

  static std::uint32_t create_schema(void* data, wasm_slice subject, const wasm_schema* schema,
                                     wasm_call* call) noexcept {
    return ask(data, call, [&](auto& registry) {
      return std::make_unique<request>(request::kind::create, registry,
                                       fmt::format("/subjects/{}/versions", escape(wasmengine::as_text(subject))), 0,
                                       post_body(*schema));
    });
  }
};

http_registry::http_registry(registry_address address, std::chrono::milliseconds timeout)
    : _address(std::move(address)), _timeout(timeout) {
  static const auto initialized = curl_global_init(CURL_GLOBAL_DEFAULT);
  _multi = initialized == CURLE_OK ? curl_multi_init() : nullptr;
  if (_multi == nullptr) {
    throw failure(exit_code::other, "the HTTP client cannot be started");
  }
  // A connection that breaks must not end the process, and signals are for other threads. The thread inherits the mask.
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
    int running = 0;
    curl_multi_perform(_multi, &running);
    end_finished();
    // Until there is something to read or write, a timeout, or `curl_multi_wakeup`.
    curl_multi_poll(_multi, nullptr, 0, 60'000, nullptr);
  }
  for (const auto& r : _going_on) {
    curl_multi_remove_handle(_multi, r->easy());
  }
  _going_on.clear();
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
      _going_on.splice(_going_on.end(), submitted, submitted.begin());
    } else {
      r.finish(CURLE_OUT_OF_MEMORY);
      submitted.pop_front();
    }
  }
}

void http_registry::end_finished() noexcept {
  int left = 0;
  while (const auto* message = curl_multi_info_read(_multi, &left)) {
    auto* const easy = message->easy_handle;
    const auto code = message->data.result;  // gone with the handle
    const auto at = std::find_if(_going_on.begin(), _going_on.end(), [&](const auto& r) { return r->easy() == easy; });
    curl_multi_remove_handle(_multi, easy);
    (*at)->finish(code);
    _going_on.erase(at);
  }
}

}  // namespace tool
