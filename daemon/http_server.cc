// SPDX-License-Identifier: Apache-2.0
#include "http_server.hh"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/address_v4.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/stream_traits.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/http.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace transformd {

namespace {

namespace beast = boost::beast;
namespace http = beast::http;

/// A client that is slower is dropped.
constexpr std::chrono::seconds patience{10};
constexpr std::chrono::seconds patience_with_bodies{60};

/// What the page may load: itself.
constexpr const char* content_policy = "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// The name of a `Host` field without its port.
std::string_view host_of(std::string_view field) {
  if (field.starts_with('[')) {
    return field.substr(0, field.find(']') + 1);
  }
  return field.substr(0, field.find(':'));
}

/// A page of another site in this machine's browser must not read or command: neither by its own requests, which have an
/// `Origin`, nor by a name of its own for this address.
bool is_foreign(const http::request<http::string_body>& request, bool on_loopback) {
  if (request.find(http::field::origin) != request.end()) {
    return true;
  }
  const auto field = request[http::field::host];
  const auto host = host_of({field.data(), field.size()});
  boost::system::error_code e;
  const auto address = asio::ip::make_address_v4(host, e);
  const bool own = host.empty() || host == "localhost" || host == "[::1]" || (!e && address.is_loopback());
  return on_loopback && !own;
}

template <typename Protocol>
asio::awaitable<void> converse(typename Protocol::socket socket, control& c, bool on_loopback) {
  beast::basic_stream<Protocol> stream(std::move(socket));
  beast::flat_buffer buffer(32U << 10);
  try {
    for (;;) {
      stream.expires_after(patience);
      http::request_parser<http::string_body> parser;
      // What it may have is known after its header.
      parser.body_limit(std::numeric_limits<std::uint64_t>::max());
      co_await http::async_read_header(stream, buffer, parser, asio::use_awaitable);
      auto& request = parser.get();
      const std::string_view method(request.method_string().data(), request.method_string().size());
      const std::string_view target(request.target().data(), request.target().size());
      const auto mark = target.find('?');
      const auto path = target.substr(0, mark);
      const auto largest = control::largest_body(method, path);
      if (parser.content_length().value_or(0) > largest) {
        http::response<http::string_body> refusal(http::status::payload_too_large, request.version());
        refusal.set(http::field::content_type, "application/json");
        refusal.keep_alive(false);
        refusal.body() = "{\"error\": \"the body is too large\"}\n";
        refusal.prepare_payload();
        co_await http::async_write(stream, refusal, asio::use_awaitable);
        break;
      }
      parser.body_limit(largest);
      stream.expires_after(patience_with_bodies);
      co_await http::async_read(stream, buffer, parser, asio::use_awaitable);
      http_answer given;
      if (is_foreign(request, on_loopback)) {
        given = {403, "application/json", "{\"error\": \"requests of other sites are refused\"}\n"};
      } else {
        http_request asked{method, path, mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1),
                           {request.body().begin(), request.body().end()}};
        std::string().swap(request.body());
        stream.expires_never();
        given = co_await c.answer(std::move(asked));
      }
      http::response<http::string_body> response(static_cast<http::status>(given.status), request.version());
      response.set(http::field::content_type, given.type);
      response.set(http::field::cache_control, "no-store");
      response.set("Content-Security-Policy", content_policy);
      response.keep_alive(request.keep_alive());
      response.body() = std::move(given.body);
      response.prepare_payload();
      stream.expires_after(patience);
      co_await http::async_write(stream, response, asio::use_awaitable);
      if (!response.keep_alive()) {
        break;
      }
    }
  } catch (const std::exception&) {
    // The client went away or sent what is no request.
  }
}

template <typename Protocol>
asio::awaitable<void> accept(std::shared_ptr<typename Protocol::acceptor> acceptor, control& c, bool on_loopback) {
  for (;;) {
    boost::system::error_code e;
    auto socket = co_await acceptor->async_accept(asio::redirect_error(asio::use_awaitable, e));
    if (e == asio::error::operation_aborted) {
      co_return;
    }
    if (!e) {
      asio::co_spawn(acceptor->get_executor(), converse<Protocol>(std::move(socket), c, on_loopback), asio::detached);
    } else {
      // Without descriptors it would fail again at once.
      asio::steady_timer pause(acceptor->get_executor(), std::chrono::milliseconds(100));
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, e));
    }
  }
}

}  // namespace

std::uint16_t serve_tcp(asio::io_context& loop, const std::string& address, std::uint16_t port, control& c) {
  using tcp = asio::ip::tcp;
  const tcp::endpoint at(asio::ip::make_address(address), port);
  const auto acceptor = std::make_shared<tcp::acceptor>(loop, at);
  asio::co_spawn(loop, accept<tcp>(acceptor, c, at.address().is_loopback()), asio::detached);
  return acceptor->local_endpoint().port();
}

void serve_unix(asio::io_context& loop, const std::string& path, control& c) {
  using local = asio::local::stream_protocol;
  boost::system::error_code refused;
  local::socket probe(loop);
  probe.connect(local::endpoint(path), refused);
  struct stat status{};
  if (refused == asio::error::connection_refused && ::lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) {
    ::unlink(path.c_str());
  }
  // Only this user may give commands.
  const auto mask = ::umask(0177);
  const auto acceptor = std::make_shared<local::acceptor>(loop);
  boost::system::error_code e;
  acceptor->open(local(), e) || acceptor->bind(local::endpoint(path), e) ||
      acceptor->listen(asio::socket_base::max_listen_connections, e);
  ::umask(mask);
  if (e) {
    throw std::system_error(e.value(), std::generic_category(), path);
  }
  asio::co_spawn(loop, accept<local>(acceptor, c, false), asio::detached);
}

}  // namespace transformd
