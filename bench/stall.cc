// SPDX-License-Identifier: Apache-2.0
//
// How long one poll keeps the host's thread when a guest does not give it back: bench-stall [--json] GUEST.wasm with
// the guest of bench/guests/transform_stall.c. Each row is some two seconds of polls of one record that never ends.
//
// "cpu" is the time for which the thread had a processor during the poll. The library is responsible for that. "wall"
// includes the time that other programs took.
#include "measure.hh"

#include <ctime>

#include <cstring>

using namespace bench;

namespace {

constexpr double seconds = 2;

double cpu_us() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) * 1e-3;
}

double wall_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct quantiles {
  double p50, p999, max;
  explicit quantiles(std::vector<double> v) {
    std::sort(v.begin(), v.end());
    p50 = v[v.size() / 2];
    p999 = v[static_cast<std::size_t>(static_cast<double>(v.size() - 1) * 0.999)];
    max = v.back();
  }
};

}  // namespace

int main(int argc, char** argv) {
  const bool json = argc > 1 && std::strcmp(argv[1], "--json") == 0;
  if (argc != (json ? 3 : 2)) {
    std::fprintf(stderr, "usage: bench-stall [--json] GUEST.wasm\n");
    return 2;
  }
  wasm_runtime_config config{};
  config.record_time_limit_ns = 3'600'000'000'000;
  const double slice = 500;  // Microseconds: the default is measured.
  const auto runtime = we::runtime::create(config).value();
  we::prepare_thread(runtime).value();
  if (!json) {
    std::printf("%-12s %7s %9s %9s %9s %9s %9s %9s %9s\n", "guest", "polls", "cpu p50", "p99.9", "max us", "x slice",
                "wall p50", "p99.9", "max us");
  }
  for (const char* const how : {"loop", "fill", "recursion"}) {
    auto engine = started(runtime, argv[argc - 1]);
    auto builder = we::batch_builder::create().value();
    builder.add(1, we::payload{std::nullopt, how, {}}).value();
    const auto batch = builder.finish().value();
    auto sink = [](we::output_block) {};
    auto operation = engine.transform(batch, sink).value();
    // The first polls of fill allocate its memory. They count too.
    std::vector<double> cpu;
    std::vector<double> wall;
    for (const double begun = wall_us(); wall_us() - begun < seconds * 1e6;) {
      const double wall_before = wall_us();
      const double cpu_before = cpu_us();
      const auto state = operation.poll().value();
      cpu.push_back(cpu_us() - cpu_before);
      wall.push_back(wall_us() - wall_before);
      if (state != WASM_POLL_YIELDED) {
        std::fprintf(stderr, "bench-stall: the guest did not yield\n");
        return 1;
      }
    }
    operation = we::future();
    auto stop = engine.stop().value();
    we::drive(stop).value();
    const quantiles c(cpu);
    const quantiles w(wall);
    if (json) {
      std::printf("{\"guest\": \"%s\", \"polls\": %zu, \"slice_us\": %.0f, \"cpu_p50_us\": %.1f, \"cpu_p999_us\": %.1f, "
                  "\"cpu_max_us\": %.1f, \"wall_p50_us\": %.1f, \"wall_p999_us\": %.1f, \"wall_max_us\": %.1f}\n",
                  how, cpu.size(), slice, c.p50, c.p999, c.max, w.p50, w.p999, w.max);
    } else {
      std::printf("%-12s %7zu %9.1f %9.1f %9.1f %9.2f %9.1f %9.1f %9.1f\n", how, cpu.size(), c.p50, c.p999, c.max,
                  c.p999 / slice, w.p50, w.p999, w.max);
    }
  }
}
