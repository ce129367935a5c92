// SPDX-License-Identifier: Apache-2.0
//
// Many engines that take turns on one thread: bench-turns [--json] GUEST.wasm ENGINES. Each turn gives the next engine
// one batch of ten records of 1 KiB. With many engines each finds its memory, stack and code's data cold. Engines come
// from the thread's pool. Each row is a process of its own when `make bench` runs it.
#include "measure.hh"

#include <cstring>

using namespace bench;

int main(int argc, char** argv) {
  const bool json = argc > 1 && std::strcmp(argv[1], "--json") == 0;
  if (argc != (json ? 4 : 3)) {
    std::fprintf(stderr, "usage: bench-turns [--json] GUEST.wasm ENGINES\n");
    return 2;
  }
  const char* const path = argv[argc - 2];
  const auto count = static_cast<std::size_t>(std::strtoull(argv[argc - 1], nullptr, 10));
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

  constexpr int records = 10;
  const bytes batch = make_batch({records, 1024});
  std::size_t out = 0;
  auto sink = [&](we::output_block block) { out += block.size(); };
  std::size_t next = 0;
  std::uint64_t turns = 0;
  const auto turn = [&] {
    auto operation = engines[next].transform(batch, sink).value();
    we::drive(operation).value();
    next = next + 1 == count ? 0 : next + 1;
    ++turns;
  };
  for (std::size_t i = 0; i < count; ++i) {
    turn();  // Each engine's first batch touches its memory for the first time.
  }
  out = 0;
  turns = 0;
  std::vector<double> ns;
  const auto begun = std::chrono::steady_clock::now();
  const auto since = [](auto then) {
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - then).count();
  };
  while (since(begun) < 1e9) {
    const auto chunk = std::chrono::steady_clock::now();
    for (int i = 0; i < 256; ++i) {
      turn();
    }
    ns.push_back(since(chunk) / 256 / records);
  }
  if (out != turns * records) {
    std::fprintf(stderr, "bench-turns: records are missing\n");
    return 1;
  }
  const double per_record = median(ns);
  if (json) {
    std::printf("{\"guest\": \"%s\", \"engines\": %zu, \"ns_per_record\": %.1f, \"records_per_second\": %.0f}\n",
                std::string(file_name(path)).c_str(), count, per_record, 1e9 / per_record);
  } else {
    std::printf("%-20s %8zu engines %10.1f ns/record %12.0f records/s\n", std::string(file_name(path)).c_str(), count,
                per_record, 1e9 / per_record);
  }
}
