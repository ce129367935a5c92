// SPDX-License-Identifier: Apache-2.0
//
// Calls for records that are expanded, beside calls of the library (`host_record_calls`), by turns: what compiling and
// machine code cost more and what a record costs less. bench-record-calls GUEST.wasm...
#include "measure.hh"
#include "wasm_engine/metrics.hh"

#include <ctime>
#include <sys/resource.h>

using namespace bench;

namespace {

constexpr int compilations = 5;

double seconds_of_process() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](timeval t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6; };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

double nanoseconds_of_thread() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

/// One of the two ways.
struct way {
  we::runtime runtime;
  std::optional<we::engine> engine;
  double code_kib = 0;
  std::vector<double> compile_ms;
  std::vector<double> ns;

  explicit way(bool calls) : runtime(make(calls)) {}

  static we::runtime make(bool calls) {
    wasm_runtime_config config{};
    config.host_record_calls = calls ? 1 : 0;
    return we::runtime::create(config).value();
  }

  void compile(const bytes& module) {
    const double begin = seconds_of_process();
    auto compiling = runtime.compile(module, {"record-calls", "in", {"out"}, {}}).value();
    we::drive(compiling).value();
    compile_ms.push_back((seconds_of_process() - begin) * 1e3);
    const auto factory = compiling.take().value();
    engine = we::engine::create(factory).value();
    const auto metrics = we::metrics::create(runtime).value();
    code_kib = static_cast<double>(metrics.runtime_metrics().executable_bytes) / 1024;
  }

  void transform(const bytes& batch, int records, int times) {
    std::size_t out = 0;
    auto sink = [&](we::output_block block) { out += block.size(); };
    const double begin = nanoseconds_of_thread();
    for (int i = 0; i < times; ++i) {
      auto operation = engine->transform(batch, sink).value();
      we::drive(operation).value();
    }
    ns.push_back((nanoseconds_of_thread() - begin) / times / records);
  }
};

}  // namespace

int main(int argc, char** argv) {
  std::printf("%-24s %22s %24s %30s %30s\n", "guest", "compile, ms", "code, KiB", "ns/record, 1000x64", "1000x1024");
  for (int i = 1; i < argc; ++i) {
    const bytes module = read_file(argv[i]);
    way called(true);
    way expanded(false);
    for (int round = 0; round < compilations; ++round) {
      called.engine.reset();
      expanded.engine.reset();
      called.compile(module);
      expanded.compile(module);
    }
    const auto pair = [](double before, double after) { std::printf(" %9.1f %9.1f (%.2f)", before, after, after / before); };
    std::printf("%-24s", std::string(file_name(argv[i])).c_str());
    pair(median(called.compile_ms), median(expanded.compile_ms));
    pair(called.code_kib, expanded.code_kib);
    for (way* w : {&called, &expanded}) {
      auto start = w->engine->start().value();
      we::drive(start).value();
    }
    for (const shape s : {shape{1000, 64}, shape{1000, 1024}}) {
      const bytes batch = make_batch(s);
      called.ns.clear();
      expanded.ns.clear();
      for (int round = 0; round < 41; ++round) {
        called.transform(batch, s.records, 50);
        expanded.transform(batch, s.records, 50);
      }
      pair(median(called.ns), median(expanded.ns));
    }
    std::printf("\n");
  }
}
