// SPDX-License-Identifier: Apache-2.0
//
// Many engines that take turns on one thread: bench-turns [--json] [--shape RECORDSxBYTES] GUEST.wasm ENGINES. Each
// turn gives the next engine one batch, of ten records of 1 KiB if no shape is given. With many engines each finds its
// memory, stack and code's data cold. Engines come from the thread's pool. Each row is a process of its own when
// `make bench` runs it. Times are the thread's processor time. `idle` is by how much the batches have let resident
// memory grow, per engine.
#include "measure.hh"

#include <ctime>
#include <cstring>

using namespace bench;

namespace {

double processor_time() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

/// Bytes of the process's resident memory.
double resident() {
  std::ifstream statm("/proc/self/statm");
  double pages = 0;
  statm >> pages >> pages;
  return pages * 4096;
}

}  // namespace

int main(int argc, char** argv) {
  shape s{10, 1024};
  bool json = false;
  for (; argc > 1 && argv[1][0] == '-'; --argc, ++argv) {
    if (std::strcmp(argv[1], "--json") == 0) {
      json = true;
    } else if (argc > 2 && std::strcmp(argv[1], "--shape") == 0 &&
               std::sscanf(argv[2], "%dx%zu", &s.records, &s.value_size) == 2 && s.records > 0) {
      --argc;
      ++argv;
    } else {
      argc = 0;
    }
  }
  if (argc != 3) {
    std::fprintf(stderr, "usage: bench-turns [--json] [--shape RECORDSxBYTES] GUEST.wasm ENGINES\n");
    return 2;
  }
  const char* const path = argv[1];
  const auto count = static_cast<std::size_t>(std::strtoull(argv[2], nullptr, 10));
  wasm_runtime_config config{};
  config.memory_mode = WASM_MEMORY_MODE_THREAD_POOL;
  const auto runtime = we::runtime::create(config).value();
  we::prepare_thread(runtime, count).value();
  auto compiling = runtime.compile(read_file(path), {"turns", "in", {"out"}, {}}).value();
  we::drive(compiling).value();
  const auto factory = compiling.take().value();
  std::vector<we::engine> engines;
  for (std::size_t i = 0; i < count; ++i) {
    engines.push_back(we::engine::create(factory).value());
    auto start = engines.back().start().value();
    we::drive(start).value();
  }

  const bytes batch = make_batch(s);
  const bytes one = make_batch({1, s.value_size});
  std::size_t out = 0;
  auto sink = [&](we::output_block block) { out += block.size(); };
  std::size_t next = 0;
  std::uint64_t turns = 0;
  const auto turn = [&](const bytes& batch) {
    auto operation = engines[next].transform(batch, sink).value();
    we::drive(operation).value();
    next = next + 1 == count ? 0 : next + 1;
    ++turns;
  };
  // The first batches touch the guests' memory for the first time. They are small, so the growth that follows is not
  // theirs.
  for (std::size_t i = 0; i < count; ++i) {
    turn(one);
  }
  const double before = resident();
  for (std::size_t i = 0; i < count; ++i) {
    turn(batch);
  }
  const double idle = (resident() - before) / static_cast<double>(count) / 1024;
  out = 0;
  turns = 0;
  std::vector<double> ns;
  const int per_chunk = std::max(1, 256 * 10 / s.records);
  const auto begun = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - begun < std::chrono::seconds(1)) {
    const double start = processor_time();
    for (int i = 0; i < per_chunk; ++i) {
      turn(batch);
    }
    ns.push_back((processor_time() - start) / per_chunk / s.records);
  }
  if (out != turns * static_cast<std::size_t>(s.records)) {
    std::fprintf(stderr, "bench-turns: records are missing\n");
    return 1;
  }
  const double per_record = median(ns);
  if (json) {
    std::printf("{\"guest\": \"%s\", \"engines\": %zu, \"records\": %d, \"bytes\": %zu, \"ns_per_record\": %.1f, "
                "\"records_per_second\": %.0f, \"idle_kib\": %.1f}\n",
                std::string(file_name(path)).c_str(), count, s.records, s.value_size, per_record, 1e9 / per_record, idle);
  } else {
    std::printf("%-20s %6zu engines %6d x %-6zu %8.1f ns/record %12.0f records/s %8.1f KiB idle\n",
                std::string(file_name(path)).c_str(), count, s.records, s.value_size, per_record, 1e9 / per_record, idle);
  }
}
