// SPDX-License-Identifier: Apache-2.0
//
// Whether a time limit ends innocent guests on a busy machine: bench-preempted GUEST.wasm [LIMIT_MS [SECONDS]]. Two
// busy processes per processor take two thirds of all of them, while the guest transforms batches whose records take
// next to no time. Each one that is ended for time would be data lost under a policy that skips.
#include "measure.hh"

#include <csignal>
#include <ctime>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace bench;

namespace {

/// Processes that do nothing but keep processors busy, until this is dropped.
class load {
 public:
  explicit load(unsigned processes) {
    for (unsigned n = 0; n < processes; ++n) {
      const pid_t child = fork();
      if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
          (void)getppid();
        }
      }
      _children.push_back(child);
    }
  }
  load(const load&) = delete;
  load& operator=(const load&) = delete;
  ~load() {
    for (const pid_t child : _children) {
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
    }
  }

 private:
  std::vector<pid_t> _children;
};

double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 4) {
    std::fprintf(stderr, "usage: bench-preempted GUEST.wasm [LIMIT_MS [SECONDS]]\n");
    return 2;
  }
  const unsigned long limit = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 20;
  const double seconds = argc > 3 ? std::strtod(argv[3], nullptr) : 30;
  // Forked first: a host must not fork while modules are compiled.
  const load busy(2 * std::thread::hardware_concurrency());
  wasm_runtime_config config{};
  config.record_time_limit_ns = limit * 1'000'000;
  const auto runtime = we::runtime::create(config).value();
  we::prepare_thread(runtime).value();
  auto engine = started(runtime, argv[1]);
  const auto batch = make_batch({1'000, 64});
  auto sink = [](we::output_block) {};
  std::uint64_t batches = 0;
  std::uint64_t ended = 0;
  const auto begun = std::chrono::steady_clock::now();
  const double cpu_begun = cpu_seconds();
  double wall = 0;
  while ((wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count()) < seconds) {
    auto operation = engine.transform(batch, sink).value();
    if (auto done = we::drive(operation); !done) {
      if (done.err().status() != WASM_STATUS_GUEST_TIMEOUT) {
        std::fprintf(stderr, "bench-preempted: %s\n", done.err().what());
        return 1;
      }
      ++ended;
      auto start = engine.start().value();
      we::drive(start).value();
    }
    ++batches;
  }
  std::printf("limit %lu ms: of %llu batches %llu were ended for time; the thread had %.0f %% of a processor\n", limit,
              static_cast<unsigned long long>(batches), static_cast<unsigned long long>(ended),
              100 * (cpu_seconds() - cpu_begun) / wall);
  return 0;
}
