// SPDX-License-Identifier: Apache-2.0
#include "metrics_server.hh"

#include "exit_code.hh"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <list>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace tool {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::size_t most_connections = 32;  ///< Further ones wait in the system's queue.
constexpr std::size_t longest_request = 8U << 10;
constexpr std::chrono::seconds patience(5);  ///< From the connection to the last byte of the response.
constexpr std::chrono::milliseconds pause_after_trouble(100);

[[noreturn]] void refuse(const listen_address& at, const char* what) {
  const auto why = std::generic_category().message(errno);
  throw failure(exit_code::other, fmt::format("--metrics-listen {}:{}: {}: {}", at.host, at.port, what, why));
}

struct address {
  sockaddr_storage bytes{};
  socklen_t size = 0;
};

/// The address in the system's form. Empty if it is not an address.
address resolve(const listen_address& at) {
  address out;
  auto& v4 = reinterpret_cast<sockaddr_in&>(out.bytes);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(out.bytes);
  if (::inet_pton(AF_INET, at.host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(at.port);
    out.size = sizeof(v4);
  } else if (::inet_pton(AF_INET6, at.host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(at.port);
    out.size = sizeof(v6);
  }
  return out;
}

std::uint16_t port_of(int fd) {
  sockaddr_storage bytes{};
  socklen_t size = sizeof(bytes);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&bytes), &size);
  return ntohs(bytes.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(bytes).sin6_port
                                           : reinterpret_cast<sockaddr_in&>(bytes).sin_port);
}

std::string answer(std::string_view status, std::string_view type, std::string_view body, bool with_body) {
  return fmt::format(
      "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n"
      "{}\r\n{}",
      status, type, body.size(), status.starts_with("405") ? "Allow: GET, HEAD\r\n" : "", with_body ? body : "");
}

std::string error(std::string_view status) { return answer(status, "text/plain", fmt::format("{}\n", status), true); }

/// The response to a request. Only the first line counts.
std::string answer(std::string_view request, const wasmengine::runtime& runtime) {
  const auto line = request.substr(0, request.find_first_of("\r\n"));
  const auto first = line.find(' ');
  const auto last = line.rfind(' ');
  if (first == 0 || first == std::string_view::npos || last <= first + 1 ||
      !line.substr(last + 1).starts_with("HTTP/1.")) {
    return error("400 Bad Request");
  }
  const auto method = line.substr(0, first);
  const auto target = line.substr(first + 1, last - first - 1);
  if (method != "GET" && method != "HEAD") {
    return error("405 Method Not Allowed");
  }
  if (target.substr(0, target.find('?')) != "/metrics") {
    return error("404 Not Found");
  }
  const auto text = wasmengine::metrics_text(runtime);
  if (!text) {
    return error("500 Internal Server Error");
  }
  return answer("200 OK", "text/plain; version=0.0.4; charset=utf-8", *text, method == "GET");
}

/// Whether the request's head is complete.
bool complete(std::string_view request) {
  return request.find("\r\n\r\n") != std::string_view::npos || request.find("\n\n") != std::string_view::npos;
}

}  // namespace

listen_address listen_address::parse(const std::string& text) {
  listen_address out;
  const auto colon = text.rfind(':');
  std::string_view port = text;
  if (colon != std::string::npos) {
    out.host = text.substr(0, colon);
    port.remove_prefix(colon + 1);
    if (out.host.size() > 2 && out.host.front() == '[' && out.host.back() == ']') {
      out.host = out.host.substr(1, out.host.size() - 2);
    }
  }
  const auto [end, trouble] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (port.empty() || trouble != std::errc() || end != port.data() + port.size() || resolve(out).size == 0) {
    throw failure(exit_code::usage, fmt::format("--metrics-listen {}: it must be [ADDRESS:]PORT, such as 9102 or "
                                                "[::1]:9102\nRun with --help for more information.",
                                                text));
  }
  return out;
}

/// One client: its request is read and its response is written.
class metrics_server::connection {
 public:
  explicit connection(descriptor socket) noexcept : _socket(std::move(socket)) {}

  [[nodiscard]] pollfd wanted() const noexcept {
    return {_socket.get(), static_cast<short>(_answer.empty() ? POLLIN : POLLOUT), 0};
  }
  [[nodiscard]] clock::time_point end() const noexcept { return _end; }

  /// Continues. False when it has completed.
  bool run(const wasmengine::runtime& runtime) {
    return (!_answer.empty() || read(runtime)) && (_answer.empty() || write());
  }

 private:
  /// Reads what is available. False if the client is gone.
  bool read(const wasmengine::runtime& runtime) {
    std::array<char, 4096> bytes{};
    const auto got = ::recv(_socket.get(), bytes.data(), bytes.size(), 0);
    if (got <= 0) {
      return got < 0 && (errno == EAGAIN || errno == EINTR);
    }
    // After the response further input is read and dropped. Closing before that would reset the connection.
    if (!_answered) {
      _request.append(bytes.data(), static_cast<std::size_t>(got));
      if (_request.size() > longest_request) {
        _answer = error("431 Request Header Fields Too Large");
      } else if (complete(_request)) {
        _answer = answer(_request, runtime);
      }
    }
    return true;
  }

  bool write() {
    const auto put = ::send(_socket.get(), _answer.data() + _written, _answer.size() - _written, MSG_NOSIGNAL);
    if (put < 0) {
      return errno == EAGAIN || errno == EINTR;
    }
    _written += static_cast<std::size_t>(put);
    if (_written == _answer.size()) {
      _answered = true;
      _answer.clear();
      return ::shutdown(_socket.get(), SHUT_WR) == 0;
    }
    return true;
  }

  descriptor _socket;
  clock::time_point _end = clock::now() + patience;
  std::string _request;
  std::string _answer;
  std::size_t _written = 0;
  bool _answered = false;
};

metrics_server::metrics_server(const listen_address& at, const wasmengine::runtime& runtime) : _runtime(runtime) {
  const auto address = resolve(at);
  _listening = descriptor(::socket(address.bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int yes = 1;
  ::setsockopt(_listening.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (::bind(_listening.get(), reinterpret_cast<const sockaddr*>(&address.bytes), address.size) != 0 ||
      ::listen(_listening.get(), SOMAXCONN) != 0) {
    refuse(at, "cannot listen");
  }
  _stop = descriptor(::eventfd(0, EFD_CLOEXEC));
  if (_stop.get() < 0) {
    refuse(at, "cannot listen");
  }
  const bool v6 = address.bytes.ss_family == AF_INET6;
  _url = fmt::format("http://{}{}{}:{}/metrics", v6 ? "[" : "", at.host, v6 ? "]" : "", port_of(_listening.get()));
  _thread = std::thread([this] { serve(); });
}

metrics_server::~metrics_server() {
  const std::uint64_t one = 1;
  while (::write(_stop.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
  _thread.join();
}

void metrics_server::serve() noexcept {
  std::list<connection> connections;
  std::vector<pollfd> ready;
  bool pausing = false;
  while (true) {
    try {
      auto end = clock::time_point::max();
      ready.assign({{_stop.get(), POLLIN, 0}, {_listening.get(), POLLIN, 0}});
      if (pausing || connections.size() >= most_connections) {
        ready[1].events = 0;
      }
      for (const auto& c : connections) {
        ready.push_back(c.wanted());
        end = std::min(end, c.end());
      }
      if (pausing) {
        end = std::min(end, clock::now() + pause_after_trouble);
      }
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - clock::now());
      const bool waits = end != clock::time_point::max();
      ::poll(ready.data(), ready.size(), waits ? static_cast<int>(std::max<std::int64_t>(left.count(), 0)) : -1);
      if (ready[0].revents != 0) {
        return;
      }
      std::size_t at = 2;
      std::erase_if(connections, [&](connection& c) {
        const bool event = ready[at++].revents != 0;
        return (event && !c.run(_runtime)) || clock::now() >= c.end();
      });
      pausing = false;
      if (ready[1].revents != 0) {
        descriptor socket(::accept4(_listening.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (socket.get() >= 0) {
          connections.emplace_back(std::move(socket));
        } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
          pausing = true;  // such as no descriptor left: asking again at once would find the same
        }
      }
    } catch (const std::exception&) {
      // Out of memory. The next request may need less.
      connections.clear();
    }
  }
}

}  // namespace tool
