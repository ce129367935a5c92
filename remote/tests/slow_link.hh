// SPDX-License-Identifier: Apache-2.0
//
// A link between a host and a server that lets only some bytes through.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace remote_tests {

/// Listens on a port and carries bytes to and from a server's.
class slow_link {
 public:
  /// `pace`: bytes in ten milliseconds towards the server. `most`: bytes after which it carries none in that direction.
  slow_link(const std::string& server, std::size_t pace, std::size_t most = SIZE_MAX)
      : _server(server), _pace(pace), _most(most), _listening(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in at = loopback(0);
    socklen_t size = sizeof(at);
    small_buffers(_listening);
    (void)::bind(_listening, reinterpret_cast<sockaddr*>(&at), size);
    (void)::listen(_listening, 8);
    (void)::getsockname(_listening, reinterpret_cast<sockaddr*>(&at), &size);
    _address = "127.0.0.1:" + std::to_string(ntohs(at.sin_port));
    _thread = std::thread([this] { carry(); });
  }
  slow_link(const slow_link&) = delete;
  slow_link& operator=(const slow_link&) = delete;
  ~slow_link() {
    _over = true;
    _thread.join();
    ::close(_listening);
  }
  [[nodiscard]] const std::string& address() const { return _address; }

 private:
  struct pair {
    int host, server;
    std::size_t carried = 0;
  };

  static sockaddr_in loopback(int port) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    at.sin_port = htons(static_cast<std::uint16_t>(port));
    return at;
  }
  /// So that little is on its way.
  static void small_buffers(int fd) {
    const int size = 32 << 10;
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
  }

  /// Carries at most so many bytes. False at the end.
  static bool move(int from, int to, std::size_t most, std::size_t& moved) {
    std::vector<char> bytes(most);
    const auto got = ::recv(from, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got <= 0) {
      return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    }
    moved += static_cast<std::size_t>(got);
    for (ssize_t sent = 0; sent < got;) {
      const auto now = ::send(to, bytes.data() + sent, static_cast<std::size_t>(got - sent), MSG_NOSIGNAL);
      if (now <= 0) {
        return false;
      }
      sent += now;
    }
    return true;
  }

  void carry() {
    std::vector<pair> pairs;
    while (!_over) {
      pollfd waiting{_listening, POLLIN, 0};
      if (::poll(&waiting, 1, 10) > 0) {
        const int host = ::accept(_listening, nullptr, nullptr);
        const int server = ::socket(AF_INET, SOCK_STREAM, 0);
        const auto at = loopback(std::stoi(_server.substr(_server.rfind(':') + 1)));
        (void)::connect(server, reinterpret_cast<const sockaddr*>(&at), sizeof(at));
        pairs.push_back({host, server});
      }
      for (auto it = pairs.begin(); it != pairs.end();) {
        std::size_t back = 0;
        const auto room = std::min(_pace, _most - std::min(_most, it->carried));
        const bool goes_on = (room == 0 || move(it->host, it->server, room, it->carried)) &&
                             move(it->server, it->host, 1U << 20, back);
        if (goes_on) {
          ++it;
          continue;
        }
        ::close(it->host);
        ::close(it->server);
        it = pairs.erase(it);
      }
    }
    for (const auto& p : pairs) {
      ::close(p.host);
      ::close(p.server);
    }
  }

  const std::string _server;
  const std::size_t _pace, _most;
  const int _listening;
  std::string _address;
  std::atomic<bool> _over = false;
  std::thread _thread;
};

}  // namespace remote_tests
