// SPDX-License-Identifier: Apache-2.0
//
// A host to which scripts/faults.py does harm: a system call that fails, a signal in each moment, a limit, a kill.
//
//   faults_host MODULE on-demand|thread-pool|process-pool CACHE|- SOCKET
//
// It says `ready` to SOCKET, a descriptor. For each byte that comes from there it goes through a whole life: a runtime
// with a code cache, compilation, start, 1,000 records, metrics, stop. Then it says how that was in one message: `ok`,
// `error STATUS: MESSAGE` or `wrong WHAT`. The answer goes by send(2), of which the library makes no use, so that harm
// is done to the library alone. What the byte is:
//
//   g  a life          n  a life with a module that no one has seen before
//   s  with a signal a tenth of a millisecond from now on    f  with a fork each millisecond
#include <wasm_engine/metrics.hh>
#include <wasm_engine/records.hh>
#include <wasm_engine/thread.hh>
#include <wasm_engine/wasm_engine.hh>

#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

namespace we = wasmengine;

/// What the library answered. Not what a fault of this host would look like.
struct refused {
  std::string text;
};

template <typename T>
T take(we::result<T> r) {
  if (!r) {
    throw refused{r.err().status_name() + std::string(": ") + r.err().what()};
  }
  if constexpr (!std::is_void_v<T>) {
    return std::move(r).value();
  }
}

struct settings {
  std::vector<std::uint8_t> module;
  wasm_memory_mode mode;
  std::string cache;
};

/// The module with a custom section of its own.
std::vector<std::uint8_t> unseen(std::vector<std::uint8_t> module) {
  std::uint8_t id[16];
  (void)!::getrandom(id, sizeof id, 0);
  module.insert(module.end(), {0, 2 + sizeof id, 1, 'v'});
  module.insert(module.end(), id, id + sizeof id);
  return module;
}

std::string live(const settings& s, const std::vector<std::uint8_t>& module) {
  wasm_runtime_config config{};
  config.memory_mode = s.mode;
  config.pool_engines = s.mode == WASM_MEMORY_MODE_PROCESS_POOL ? 4 : 0;
  config.time_slice_ns = 100'000;
  const auto runtime = take(we::runtime::create(config));
  if (!s.cache.empty()) {
    take(runtime.set_code_cache({s.cache, 0}));
  }
  take(we::prepare_thread(runtime, s.mode == WASM_MEMORY_MODE_THREAD_POOL ? 4 : 0));
  auto compilation = take(runtime.compile(module, {"faults", "in", {"out"}, {}}));
  take(we::drive(compilation));
  const auto factory = take(compilation.take());
  auto engine = take(we::engine::create(factory));
  const auto complete = [](we::result<we::future> begun) {
    auto future = take(std::move(begun));
    take(we::drive(future));
  };
  complete(engine.start());
  constexpr std::size_t count = 1'000;
  std::vector<std::string> values;
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back("value " + std::to_string(i));
  }
  we::record_list records;
  for (std::size_t i = 0; i < count; ++i) {
    records.add(std::nullopt, std::string_view(values[i]), static_cast<std::int64_t>(i), 0);
  }
  std::size_t seen = 0;
  bool same = true;
  auto sink = [&](we::parsed_block block) {
    for (const auto& r : block) {
      const auto& v = r.payload.value;
      const std::string_view got(reinterpret_cast<const char*>(v.data), v.size < 0 ? 0 : static_cast<std::size_t>(v.size));
      same = same && seen < count && got == values[seen];
      ++seen;
    }
  };
  complete(engine.transform_records(records.all(), sink));
  if (seen != count || !same) {
    return "wrong output: " + std::to_string(seen) + " records";
  }
  if (take(we::metrics_text(runtime)).find("faults") == std::string::npos) {
    return "wrong metrics";
  }
  complete(engine.stop());
  return "ok";
}

/// Forks until it is told to stop. The children do nothing.
void fork_until(const std::atomic<bool>& stop) {
  while (!stop) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::_exit(0);
    }
    if (child > 0) {
      (void)::waitpid(child, nullptr, 0);
    }
    ::usleep(1'000);
  }
}

std::string answer(const settings& s, char what) {
  std::atomic<bool> stop{false};
  std::thread forks;
  if (what == 's') {
    struct sigaction nothing {};
    nothing.sa_handler = [](int) {};  // Without SA_RESTART: calls are interrupted.
    nothing.sa_flags = SA_ONSTACK;
    ::sigaction(SIGALRM, &nothing, nullptr);
    const itimerval often{{0, 100}, {0, 100}};
    ::setitimer(ITIMER_REAL, &often, nullptr);
  } else if (what == 'f') {
    forks = std::thread(fork_until, std::cref(stop));
  }
  std::string out;
  try {
    out = live(s, what == 'g' ? s.module : unseen(s.module));
  } catch (const refused& e) {
    out = "error " + e.text;
  } catch (const std::exception& e) {
    out = std::string("error of the host: ") + e.what();
  }
  const itimerval never{};
  ::setitimer(ITIMER_REAL, &never, nullptr);
  stop = true;
  if (forks.joinable()) {
    forks.join();
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fputs("usage: faults_host MODULE on-demand|thread-pool|process-pool CACHE|- SOCKET\n", stderr);
    return 2;
  }
  std::ifstream file(argv[1], std::ios::binary);
  const std::string_view mode = argv[2];
  const settings s{{std::istreambuf_iterator<char>(file), {}},
                   mode == "on-demand"     ? WASM_MEMORY_MODE_ON_DEMAND
                   : mode == "thread-pool" ? WASM_MEMORY_MODE_THREAD_POOL
                                           : WASM_MEMORY_MODE_PROCESS_POOL,
                   argv[3] == std::string_view("-") ? "" : argv[3]};
  const int socket = std::atoi(argv[4]);
  // What a file size limit sends. The call fails, too.
  std::signal(SIGXFSZ, SIG_IGN);
  const auto say = [&](std::string_view text) { (void)!::send(socket, text.data(), text.size(), MSG_NOSIGNAL); };
  say("ready");
  char what = 0;
  while (::recv(socket, &what, 1, 0) == 1) {
    say(answer(s, what));
  }
}
