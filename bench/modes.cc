// SPDX-License-Identifier: Apache-2.0
//
// Time per record in each memory and trap mode as a ratio to the default, all in turn in one run: bench-modes
// GUEST.wasm... The last row of each shape checks the signal mask in each poll.
#include "measure.hh"

using namespace bench;

namespace {

struct mode {
  const char* name;
  wasm_memory_mode memory;
  wasm_trap_mode traps;
  wasm_signal_check check;
};
constexpr mode modes[] = {
    {"on-demand", WASM_MEMORY_MODE_ON_DEMAND, WASM_TRAP_MODE_SIGNALS, WASM_SIGNAL_CHECK_SAMPLED},
    {"thread-pool", WASM_MEMORY_MODE_THREAD_POOL, WASM_TRAP_MODE_SIGNALS, WASM_SIGNAL_CHECK_SAMPLED},
    {"process-pool", WASM_MEMORY_MODE_PROCESS_POOL, WASM_TRAP_MODE_SIGNALS, WASM_SIGNAL_CHECK_SAMPLED},
    {"no signals", WASM_MEMORY_MODE_ON_DEMAND, WASM_TRAP_MODE_CHECKS, WASM_SIGNAL_CHECK_SAMPLED},
    {"mask in each poll", WASM_MEMORY_MODE_ON_DEMAND, WASM_TRAP_MODE_SIGNALS, WASM_SIGNAL_CHECK_EACH_POLL},
};

}  // namespace

int main(int argc, char** argv) {
  std::printf("%-18s %-20s %8s %8s %10s %10s\n", "mode", "guest", "records", "bytes", "ns/record", "x default");
  for (int i = 1; i < argc; ++i) {
    std::vector<we::runtime> runtimes;
    std::vector<we::engine> engines;
    for (const auto& m : modes) {
      wasm_runtime_config config{};
      config.memory_mode = m.memory;
      config.trap_mode = m.traps;
      config.signal_check = m.check;
      runtimes.push_back(we::runtime::create(config).value());
      we::prepare_thread(runtimes.back(), m.memory == WASM_MEMORY_MODE_THREAD_POOL ? 1 : 0).value();
      engines.push_back(started(runtimes.back(), argv[i]));
    }
    for (const shape s : {shape{1000, 64}, shape{1000, 1024}, shape{1, 128}}) {
      const bytes batch = make_batch(s);
      std::vector<std::vector<double>> times(engines.size());
      for (int round = 0; round < rounds; ++round) {
        for (std::size_t m = 0; m < engines.size(); ++m) {
          times[m].push_back(time_guest(engines[m], batch, s.records));
        }
      }
      for (std::size_t m = 0; m < engines.size(); ++m) {
        std::printf("%-18s %-20s %8d %8zu %10.1f %10.2f\n", modes[m].name, std::string(file_name(argv[i])).c_str(),
                    s.records, s.value_size, median(times[m]), median(times[m]) / median(times[0]));
      }
    }
  }
}
