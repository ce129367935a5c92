// Time per record of an identity guest through the C++ layer, beside the floor of two plain copies, in one run.
//
//   bench-identity [--shape RECORDSxBYTES] GUEST.wasm [GUEST.wasm ...]
#include "wasm_engine/wasm_engine.hh"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace we = wasmengine;
using bytes = std::vector<std::uint8_t>;

namespace {

constexpr int rounds = 7;
constexpr double seconds_per_round = 0.25;

struct shape {
  int records;
  std::size_t value_size;
};

bytes read_file(const char* path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    std::fprintf(stderr, "bench-identity: cannot read %s\n", path);
    std::exit(2);
  }
  return {std::istreambuf_iterator<char>(in), {}};
}

bytes make_batch(shape s) {
  auto builder = we::batch_builder::create().value();
  const std::string value(s.value_size, 'x');
  for (int i = 0; i < s.records; ++i) {
    builder.add(i, we::payload{std::nullopt, value, {}}).value();
  }
  const auto batch = builder.finish().value();
  return {batch.begin(), batch.end()};
}

/// Nanoseconds per call of `f`, which is called for about a round's time.
template <typename F>
double time_of(F&& f) {
  using clock = std::chrono::steady_clock;
  std::size_t calls = 0;
  const auto start = clock::now();
  double elapsed = 0;
  do {
    for (int i = 0; i < 16; ++i, ++calls) {
      f();
    }
    elapsed = std::chrono::duration<double>(clock::now() - start).count();
  } while (elapsed < seconds_per_round);
  return elapsed * 1e9 / static_cast<double>(calls);
}

/// The work without a sandbox: each payload copied to the guest's place and from there to the output.
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

double time_guest(we::engine& engine, const bytes& batch, int records) {
  std::size_t count = 0;
  auto sink = [&](we::output_block block) { count += block.size(); };
  const double ns = time_of([&] {
    count = 0;
    auto operation = engine.transform(batch, sink).value();
    we::drive(operation).value();
    if (count != static_cast<std::size_t>(records)) {
      std::fprintf(stderr, "bench-identity: %zu records came out of %d\n", count, records);
      std::exit(1);
    }
  });
  return ns / records;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<shape> shapes{{1000, 64}, {1000, 1024}, {100, 16384}, {1, 128}};
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
    std::fprintf(stderr, "usage: bench-identity [--shape RECORDSxBYTES] GUEST.wasm [GUEST.wasm ...]\n");
    return 2;
  }
  wasm_runtime_config config{};
  auto runtime = we::runtime::create(config).value();
  std::vector<we::engine> engines;
  for (int i = 1; i < argc; ++i) {
    auto compilation = runtime.compile(read_file(argv[i]), {"bench", "in", {"out"}, {}}).value();
    we::drive(compilation).value();
    auto engine = we::engine::create(compilation.take().value()).value();
    auto start = engine.start().value();
    we::drive(start).value();
    engines.push_back(std::move(engine));
  }
  std::printf("%-24s %8s %8s %12s %12s %8s\n", "guest", "records", "bytes", "ns/record", "records/s", "x copies");
  for (const shape s : shapes) {
    const bytes batch = make_batch(s);
    // All in turn, round by round, so that noise hits them alike; the median of each.
    std::vector<std::vector<double>> times(engines.size() + 1);
    for (int round = 0; round < rounds; ++round) {
      times[0].push_back(time_copies(s));
      for (std::size_t i = 0; i < engines.size(); ++i) {
        times[i + 1].push_back(time_guest(engines[i], batch, s.records));
      }
    }
    for (auto& t : times) {
      std::sort(t.begin(), t.end());
    }
    const double floor = times[0][rounds / 2];
    for (std::size_t i = 0; i < times.size(); ++i) {
      const double ns = times[i][rounds / 2];
      const std::string name = i == 0 ? "(two copies, native)" : argv[i];
      const auto slash = name.rfind('/');
      std::printf("%-24s %8d %8zu %12.1f %12.0f %8.2f\n", name.substr(slash + 1).c_str(), s.records, s.value_size, ns,
                  1e9 / ns, ns / floor);
    }
  }
}
