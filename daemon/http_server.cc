// SPDX-License-Identifier: Apache-2.0
#include "http_server.hh"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
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
#include <memory>
#include <system_error>
#include <utility>

namespace transformd {

namespace {

namespace beast = boost::beast;
namespace http = beast::http;

/// A client that is slower is dropped.
constexpr std::chrono::seconds patience{10};
constexpr std::uint64_t largest_body = 64U << 10;

template <typename Protocol>
asio::awaitable<void> converse(typename Protocol::socket socket, control& c) {
  beast::basic_stream<Protocol> stream(std::move(socket));
  beast::flat_buffer buffer(32U << 10);
  try {
    for (;;) {
      stream.expires_after(patience);
      http::request_parser<http::string_body> parser;
      parser.body_limit(largest_body);
      co_await http::async_read(stream, buffer, parser, asio::use_awaitable);
      const auto& request = parser.get();
      // A page of another site in this machine's browser must not give commands.
      auto given = request.find(http::field::origin) != request.end()
                       ? http_answer{403, "application/json", "{\"error\": \"requests of other sites are refused\"}\n"}
                       : c.answer({request.method_string().data(), request.method_string().size()},
                                  {request.target().data(), request.target().size()});
      http::response<http::string_body> response(static_cast<http::status>(given.status), request.version());
      response.set(http::field::content_type, given.type);
      response.set(http::field::cache_control, "no-store");
      response.keep_alive(request.keep_alive());
      response.body() = std::move(given.body);
      response.prepare_payload();
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
asio::awaitable<void> accept(std::shared_ptr<typename Protocol::acceptor> acceptor, control& c) {
  for (;;) {
    boost::system::error_code e;
    auto socket = co_await acceptor->async_accept(asio::redirect_error(asio::use_awaitable, e));
    if (e == asio::error::operation_aborted) {
      co_return;
    }
    if (!e) {
      asio::co_spawn(acceptor->get_executor(), converse<Protocol>(std::move(socket), c), asio::detached);
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
  const auto acceptor = std::make_shared<tcp::acceptor>(loop, tcp::endpoint(asio::ip::make_address(address), port));
  asio::co_spawn(loop, accept<tcp>(acceptor, c), asio::detached);
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
  asio::co_spawn(loop, accept<local>(acceptor, c), asio::detached);
}

}  // namespace transformd
