// SPDX-License-Identifier: Apache-2.0
//
// A host with a thread per core: thread_per_core GUEST.wasm [THREADS [ENGINES]]
//
// Each thread has an event loop and engines of its own, and makes up batches for them.
//
//   memory     mode THREAD_POOL: each thread reserves its guests' memories and stacks once, from the host's allocators
//              (memory.hh), and reclaims those of stopped guests when its loop is idle (loop.hh)
//   policies   a record at which a guest fails is skipped; a guest that does not start is tried again (shard.hh)
//   metrics    GET /metrics on the loopback interface, at the port that is printed
//   hot swap   SIGHUP reads and compiles the file again, and each engine gets the new guest between two batches
//   stopping   SIGINT and SIGTERM
#include "memory.hh"
#include "shard.hh"

#include <wasm_engine/wasm_engine.hh>

#include <arpa/inet.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cerrno>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

namespace {

int checked(int result, const char* what) {
  if (result < 0) {
    throw std::system_error(errno, std::generic_category(), what);
  }
  return result;
}

/// Begins to listen on the loopback interface, at a port that the system chooses.
int listen_on_loopback() {
  const int fd = checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  checked(bind(fd, reinterpret_cast<sockaddr*>(&address), size), "bind");
  checked(listen(fd, 16), "listen");
  checked(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
  log("metrics at http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/metrics");
  return fd;
}

/// Answers one request. Metrics are read while the engines run on their threads.
void answer(int listener, const we::runtime& runtime, const page_allocator& memories) {
  const int client = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  const timeval patience{1, 0};
  setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  char request[4096];
  const ssize_t size = recv(client, request, sizeof request, 0);
  std::string reply = "HTTP/1.0 404 Not Found\r\n\r\n";
  if (size > 0 && std::string_view(request, static_cast<std::size_t>(size)).starts_with("GET /metrics ")) {
    reply = "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n" + we::metrics_text(runtime).value() +
            "# HELP host_guest_memory_bytes Address space of the pools.\n# TYPE host_guest_memory_bytes gauge\n" +
            "host_guest_memory_bytes " + std::to_string(memories.bytes()) + "\n";
  }
  (void)send(client, reply.data(), reply.size(), MSG_NOSIGNAL);
  close(client);
}

/// Compiles the file as it is now. The main thread has no engines and may wait for that.
we::result<we::factory> compile(const we::runtime& runtime, const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<std::uint8_t> module{std::istreambuf_iterator<char>(file), {}};
  auto compiling = runtime.compile(module, {"example", "in", {"out"}, {}});
  if (!compiling) {
    return compiling.err();
  }
  const auto done = we::drive(compiling.value());
  return done ? compiling.value().take() : done.err();
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) {
    std::cerr << "usage: thread_per_core GUEST.wasm [THREADS [ENGINES]]\n";
    return 2;
  }
  const unsigned threads = argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : std::thread::hardware_concurrency();
  const unsigned engines = argc > 3 ? static_cast<unsigned>(std::atoi(argv[3])) : 4;

  sigset_t signals;  // Blocked on all threads. Never SIGSEGV, SIGILL or SIGFPE: they are guests' traps.
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    sigaddset(&signals, signal);
  }
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  page_allocator memories, stacks;
  const wasm_allocator memory_table = memories.table(), stack_table = stacks.table();
  wasm_runtime_config config{};
  config.memory_mode = WASM_MEMORY_MODE_THREAD_POOL;
  config.memory_limit = 4 << 20;
  config.memory_allocator = &memory_table;
  config.stack_allocator = &stack_table;
  const auto runtime = we::runtime::create(config).value();
  auto factory = compile(runtime, argv[1]).value();

  std::vector<std::unique_ptr<shard>> shards;
  for (unsigned i = 0; i < threads; ++i) {
    shards.push_back(std::make_unique<shard>(runtime, factory, i, engines));
  }
  pollfd ready[] = {{listen_on_loopback(), POLLIN, 0}, {signalfd(-1, &signals, SFD_CLOEXEC), POLLIN, 0}};
  for (bool stopping = false; !stopping;) {
    checked(poll(ready, 2, -1), "poll");
    signalfd_siginfo signal{};
    if (ready[0].revents != 0) {
      answer(ready[0].fd, runtime, memories);
    }
    if (ready[1].revents != 0 && read(ready[1].fd, &signal, sizeof signal) == sizeof signal) {
      stopping = signal.ssi_signo != SIGHUP;
      if (!stopping) {
        auto renewed = compile(runtime, argv[1]);
        if (!renewed) {
          log(std::string("the guests stay as they are: ") + renewed.err().what());
          continue;
        }
        factory = *renewed;
      }
      for (auto& each : shards) {
        stopping ? each->post_stop() : each->post_swap(factory);
      }
    }
  }
  for (auto& each : shards) {
    each->join();
  }
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
