// SPDX-License-Identifier: Apache-2.0
//
// Time per record of an identity guest through the C++ layer compared with the minimum of two plain copies in one run.
//
//   bench-identity [--json] [--shape RECORDSxBYTES] GUEST.wasm [GUEST.wasm ...]
#include "measure.hh"

#include <cstring>

using namespace bench;

namespace {

/// The work without a sandbox: each payload is copied to the guest's place and from there to the output.
double time_copies(shape s) {
  const std::size_t size = s.value_size + 6;
  bytes in(size * static_cast<std::size_t>(s.records), 1);
  bytes middle(size);
  bytes out(in.size());
  return time_of([&] {
           for (int i = 0; i < s.records; ++i) {
             std::memcpy(middle.data(), in.data() + static_cast<std::size_t>(i) * size, size);
             asm volatile("" ::: "memory");
             std::memcpy(out.data() + static_cast<std::size_t>(i) * size, middle.data(), size);
             asm volatile("" ::: "memory");
           }
         }) /
         s.records;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<shape> shapes{{1000, 64}, {1000, 1024}, {100, 16384}, {1, 128}};
  const bool json = argc > 1 && std::strcmp(argv[1], "--json") == 0;
  if (json) {
    ++argv;
    --argc;
  }
  if (argc > 2 && std::strcmp(argv[1], "--shape") == 0) {
    shape only{};
    if (std::sscanf(argv[2], "%dx%zu", &only.records, &only.value_size) != 2 || only.records < 1) {
      std::fprintf(stderr, "bench-identity: %s is not RECORDSxBYTES\n", argv[2]);
      return 2;
    }
    shapes = {only};
    argv += 2;
    argc -= 2;
  }
  if (argc < 2) {
    std::fprintf(stderr, "usage: bench-identity [--json] [--shape RECORDSxBYTES] GUEST.wasm [GUEST.wasm ...]\n");
    return 2;
  }
  wasm_runtime_config config{};
  auto runtime = we::runtime::create(config).value();
  std::vector<we::engine> engines;
  for (int i = 1; i < argc; ++i) {
    engines.push_back(started(runtime, argv[i]));
  }
  if (!json) std::printf("%-24s %8s %8s %12s %12s %8s\n", "guest", "records", "bytes", "ns/record", "records/s", "x copies");
  for (const shape s : shapes) {
    const bytes batch = make_batch(s);
    // All in turn, round by round, so that noise affects all alike. The median of each.
    std::vector<std::vector<double>> times(engines.size() + 1);
    for (int round = 0; round < rounds; ++round) {
      times[0].push_back(time_copies(s));
      for (std::size_t i = 0; i < engines.size(); ++i) {
        times[i + 1].push_back(time_guest(engines[i], batch, s.records));
      }
    }
    const double floor = median(times[0]);
    for (std::size_t i = 0; i < times.size(); ++i) {
      const double ns = median(times[i]);
      const std::string name(i == 0 ? "(two copies, native)" : file_name(argv[i]));
      if (json) {
        std::printf("{\"guest\": \"%s\", \"records\": %d, \"bytes\": %zu, \"ns\": %.1f, \"times_copies\": %.2f}\n",
                    name.c_str(), s.records, s.value_size, ns, ns / floor);
        continue;
      }
      std::printf("%-24s %8d %8zu %12.1f %12.0f %8.2f\n", name.c_str(), s.records, s.value_size, ns, 1e9 / ns, ns / floor);
    }
  }
}
