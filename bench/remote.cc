// SPDX-License-Identifier: Apache-2.0
//
// A guest on a server beside the same guest here: over loopback TCP and over a unix socket, with batches of 1, 100 and
// 1,000 records of 64 B and 1 KiB. The server is in a process of its own. All by turns, round by round: the medians of
// the rounds count. What came out is counted.
//
//   bench-remote SERVER GUEST.wasm         SERVER: remote_test_server
#include "measure.hh"

#include <wasm_engine/remote_engine.hh>

#include <array>
#include <csignal>
#include <cstring>
#include <functional>
#include <memory>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace bench;

namespace {

constexpr int turns = 15;
constexpr double seconds_per_turn = 0.05;

/// A server process. It ends with this.
class server {
 public:
  server(std::string program, std::string listen) {
    int out[2];
    if (::pipe(out) != 0) {
      std::exit(2);
    }
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    ::posix_spawn_file_actions_addclose(&actions, out[0]);
    char* const arguments[] = {program.data(), listen.data(), nullptr};
    if (::posix_spawn(&_pid, program.c_str(), &actions, nullptr, arguments, environ) != 0) {
      std::fprintf(stderr, "cannot start %s\n", program.c_str());
      std::exit(2);
    }
    ::close(out[1]);
    for (char c = 0; ::read(out[0], &c, 1) == 1 && c != '\n';) {
      _address += c;
    }
    ::close(out[0]);
  }
  server(const server&) = delete;
  server& operator=(const server&) = delete;
  ~server() {
    ::kill(_pid, SIGKILL);
    ::waitpid(_pid, nullptr, 0);
  }
  [[nodiscard]] const std::string& address() const { return _address; }

 private:
  pid_t _pid = 0;
  std::string _address;
};

we::engine started(const we::factory& factory) {
  auto engine = we::engine::create(factory).value();
  auto start = engine.start().value();
  we::drive(start).value();
  return engine;
}

/// Nanoseconds per batch in one turn.
double turn(we::engine& engine, const bytes& batch, int records) {
  using clock = std::chrono::steady_clock;
  std::size_t count = 0, calls = 0;
  auto sink = [&](we::output_block block) { count += block.size(); };
  const auto begin = clock::now();
  double elapsed = 0;
  do {
    auto operation = engine.transform(batch, sink).value();
    we::drive(operation).value();
    ++calls;
    elapsed = std::chrono::duration<double>(clock::now() - begin).count();
  } while (elapsed < seconds_per_turn);
  if (count != calls * static_cast<std::size_t>(records)) {
    std::fprintf(stderr, "%zu records came out of %zu\n", count, calls * static_cast<std::size_t>(records));
    std::exit(1);
  }
  return elapsed * 1e9 / static_cast<double>(calls);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: bench-remote SERVER GUEST.wasm\n");
    return 2;
  }
  const auto path = "/tmp/bench-remote-" + std::to_string(::getpid());
  const server tcp(argv[1], "127.0.0.1:0"), local(argv[1], "unix:" + path);
  const auto module = read_file(argv[2]);
  const auto runtime = we::runtime::create().value();
  const we::transform_config transform{"bench", "in", {"out"}, {}};
  auto compilation = runtime.compile(module, transform).value();
  we::drive(compilation).value();
  std::vector<we::engine> engines;
  engines.push_back(started(compilation.take().value()));
  for (const auto& address : {tcp.address(), local.address()}) {
    const auto connection = we::remote_connection::create({.address = address}).value();
    engines.push_back(started(connection.create_factory(runtime, transform, {.name = {}, .bytes = module}).value()));
  }
  std::printf("%8s %6s  %12s  %12s %8s %10s  %12s %8s %10s\n", "records", "bytes", "here us", "TCP us", "x", "ns/record",
              "unix us", "x", "ns/record");
  for (const std::size_t size : {std::size_t{64}, std::size_t{1024}}) {
    for (const int records : {1, 100, 1000}) {
      const auto batch = make_batch({records, size});
      std::array<std::vector<double>, 3> times;
      for (int i = 0; i < turns; ++i) {
        for (std::size_t e = 0; e < engines.size(); ++e) {
          times[e].push_back(turn(engines[e], batch, records));
        }
      }
      const double here = median(times[0]), by_tcp = median(times[1]), by_unix = median(times[2]);
      std::printf("%8d %6zu  %12.2f  %12.1f %8.1f %10.0f  %12.1f %8.1f %10.0f\n", records, size, here / 1e3, by_tcp / 1e3,
                  by_tcp / here, by_tcp / records, by_unix / 1e3, by_unix / here, by_unix / records);
    }
  }
  engines.clear();
  ::unlink(path.c_str());
}
