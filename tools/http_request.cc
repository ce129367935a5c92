// SPDX-License-Identifier: Apache-2.0
#include "http_request.hh"

#include "encoding.hh"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <iterator>
#include <limits>
#include <list>
#include <new>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

namespace tool {

namespace {

using nlohmann::json;

constexpr std::size_t longest_answer = 16U << 20;
constexpr std::size_t longest_excerpt = 300;
constexpr long most_redirects = 5;
constexpr std::chrono::milliseconds longest_pause(2000);
constexpr const char* media_type = "application/vnd.schemaregistry.v1+json";

using curl_text = std::unique_ptr<char, decltype(&curl_free)>;

/// Why a request failed.
struct refused : std::runtime_error {
  using runtime_error::runtime_error;
};

/// External text, fit for a line of the log.
std::string excerpt(std::string_view text) {
  auto line = printable(text.substr(0, longest_excerpt));
  std::replace(line.begin(), line.end(), '\n', ' ');
  return text.size() > longest_excerpt ? line + " …" : line;
}

std::string escape(std::string_view text) {
  // Segments of dots have another meaning in a path.
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
    throw refused(fmt::format("the response has no text \"{}\"", name));
  }
  return found->get<std::string>();
}

std::int32_t int_member(const json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number_integer()) {
    throw refused(fmt::format("the response has no integer \"{}\"", name));
  }
  const bool large = found->is_number_unsigned() && found->get<std::uint64_t>() > std::uint64_t{INT32_MAX};
  if (large || found->get<std::int64_t>() < INT32_MIN) {
    throw refused(fmt::format("\"{}\" in the response is out of range: {}", name, found->dump()));
  }
  return found->get<std::int32_t>();
}

bool is_absent(const json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null();
}

constexpr std::array type_names = {"AVRO", "PROTOBUF", "JSON"};
static_assert(WASM_SCHEMA_TYPE_AVRO == 0 && WASM_SCHEMA_TYPE_PROTOBUF == 1 && WASM_SCHEMA_TYPE_JSON == 2);

/// A schema in a response and the storage of its parts.
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
        throw refused("\"references\" in the response is not an array");
      }
      for (const auto& r : references) {
        _texts.push_back(text_member(r, "name"));
        _texts.push_back(text_member(r, "subject"));
        _references.push_back({wasmengine::as_slice(*std::prev(_texts.end(), 2)),
                               wasmengine::as_slice(_texts.back()), int_member(r, "version")});
      }
    }
    _type = static_cast<wasm_schema_type>(known - type_names.begin());
  }
  schema_answer(schema_answer&&) = delete;

  /// Valid as long as this object.
  [[nodiscard]] wasm_schema get() const noexcept {
    return {_type, wasmengine::as_slice(_definition), _references.data(), _references.size()};
  }

 private:
  std::string _definition;
  wasm_schema_type _type;
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

void check(const wasmengine::result<void>& done) {
  if (!done) {
    throw refused(done.err().what());
  }
}

}  // namespace

http_registry::request::request(kind what, const target& to, const std::string& path, std::int32_t id,
                                std::optional<std::string> body)
    : _kind(what),
      _id(id),
      _has_user(to.address.has_user),
      _has_token(!to.address.token.empty()),
      _timeout(to.timeout),
      _give_up(std::chrono::steady_clock::now() + to.retry),
      _url(to.address.base + path),
      _body(std::move(body)) {
  prepare(to.address);
}

auto http_registry::request::schema_by_id(const target& to, std::int32_t id) -> std::unique_ptr<request> {
  return std::unique_ptr<request>(new request(kind::schema_by_id, to, fmt::format("/schemas/ids/{}", id), id));
}

auto http_registry::request::subject_schema(const target& to, std::string_view subject, std::int32_t version)
    -> std::unique_ptr<request> {
  return std::unique_ptr<request>(new request(kind::subject_schema, to,
                                              fmt::format("/subjects/{}/versions/{}", escape(subject),
                                                          version == -1 ? "latest" : std::to_string(version))));
}

auto http_registry::request::create(const target& to, std::string_view subject, const wasm_schema& schema)
    -> std::unique_ptr<request> {
  return std::unique_ptr<request>(new request(
      kind::create, to, fmt::format("/subjects/{}/versions", escape(subject)), 0, post_body(schema)));
}

bool http_registry::request::tries_again(CURLcode code) noexcept {
  const auto status = this->status();
  const bool is_down = code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_GOT_NOTHING ||
                       code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_OPERATION_TIMEDOUT ||
                       (code == CURLE_OK && (status == 429 || status == 502 || status == 503 || status == 504));
  const auto now = std::chrono::steady_clock::now();
  if (!is_down || _too_long || now + _pause > _give_up) {
    return false;
  }
  // Between a half of the pause and all of it, so that many hosts do not come at once.
  thread_local std::minstd_rand random(std::random_device{}());
  const auto half = _pause.count() / 2;
  _when = now + std::chrono::milliseconds(half + std::uniform_int_distribution<std::int64_t>(0, half)(random));
  _pause = std::min(2 * _pause, longest_pause);
  _answer.clear();
  _received = 0;
  _error[0] = '\0';
  ++_tries;
  return true;
}

void http_registry::request::finish(CURLcode code) noexcept {
  try {
    try {
      check_transfer(code);
      settle(read());
    } catch (const refused& e) {
      reject(fmt::format("{} {}{}: {}{}", method(), _url, redirected(), e.what(),
                         _tries > 1 ? fmt::format(", after {} attempts", _tries) : ""));
    }
  } catch (...) {
    // Out of memory: the promise is dropped, which counts as rejected.
  }
}

void http_registry::request::prepare(const registry_address& address) {
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
    set(easy, CURLOPT_USERNAME, address.user.c_str());
    set(easy, CURLOPT_PASSWORD, address.password.c_str());
  }
  if (_has_token) {
    // Not sent to where a redirect may lead: curl keeps this one to the first host.
    set(easy, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BEARER));
    set(easy, CURLOPT_XOAUTH2_BEARER, address.token.c_str());
  }
  if (!address.ca_file.empty()) {
    set(easy, CURLOPT_CAINFO, address.ca_file.c_str());
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

void http_registry::request::add_header(const std::string& line) {
  auto* const more = curl_slist_append(_headers.get(), line.c_str());
  if (more == nullptr) {
    throw std::bad_alloc();
  }
  (void)_headers.release();
  _headers.reset(more);
}

bool http_registry::request::count(std::size_t size) noexcept {
  _received += size;
  _too_long = _received > longest_answer;
  return !_too_long;
}

std::size_t http_registry::request::take_header(const char*, std::size_t, std::size_t size, void* self) noexcept {
  return static_cast<request*>(self)->count(size) ? size : 0;
}

std::size_t http_registry::request::take_body(const char* bytes, std::size_t, std::size_t size, void* self) noexcept {
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

long http_registry::request::status() const noexcept {
  long status = 0;
  curl_easy_getinfo(_easy.get(), CURLINFO_RESPONSE_CODE, &status);
  return status;
}

long http_registry::request::redirects() const noexcept {
  long count = 0;
  curl_easy_getinfo(_easy.get(), CURLINFO_REDIRECT_COUNT, &count);
  return count;
}

std::string http_registry::request::redirected() const {
  const char* url = nullptr;
  curl_easy_getinfo(_easy.get(), CURLINFO_EFFECTIVE_URL, &url);
  return redirects() > 0 && url != nullptr ? fmt::format(", redirected to {}", excerpt(url)) : "";
}

void http_registry::request::check_transfer(CURLcode code) const {
  if (_too_long) {
    throw refused(fmt::format("the response is longer than {} MiB", longest_answer >> 20));
  }
  if (code == CURLE_OPERATION_TIMEDOUT) {
    throw refused(fmt::format("no {}response within {} (--schema-registry-timeout)", _received > 0 ? "complete " : "",
                              _timeout));
  }
  if (code == CURLE_UNSUPPORTED_PROTOCOL && redirects() == 0) {
    throw refused(fmt::format("the response is not HTTP{}", _url.starts_with("http:") ? "; is it https there?" : ""));
  }
  if (code != CURLE_OK) {
    throw refused(_error[0] != '\0' ? excerpt(_error.data()) : curl_easy_strerror(code));
  }
}

json http_registry::request::read() const {
  const auto status = this->status();
  auto answer = json::parse(_answer, nullptr, false);
  if (status >= 200 && status < 300) {
    if (!answer.is_object()) {
      throw refused(fmt::format("HTTP status {}, but the response is not from a schema registry: {}", status,
                                _answer.empty() ? "it is empty" : excerpt(_answer)));
    }
    return answer;
  }
  auto why = fmt::format("HTTP status {}", status);
  if (status == 401) {
    why += _has_user    ? " (user or password is wrong)"
           : _has_token ? " (the token is wrong)"
                        : " (credentials: --schema-registry-user, --schema-registry-token-file, or in the URL: "
                          "--schema-registry http://USER:PASSWORD@HOST)";
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

void http_registry::request::settle(const json& answer) {
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

void http_registry::request::reject(const std::string& why) {
  (void)wasmengine::detail::call(
      [&](wasm_error** e) { return wasm_promise_reject(_promise.get(), wasmengine::as_slice(why), e); });
}

}  // namespace tool
