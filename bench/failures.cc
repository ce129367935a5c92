// SPDX-License-Identifier: Apache-2.0
//
// The cost of a record on which an engine fails, by the size of its batch: bench-failures [--json]. A custom engine
// fails at each record of 64 B. The policy skips the record or sends it to the dead letters. Then the engine is started
// again. The time per lost record must not grow with the batch, whose records are all checked already.
#include "measure.hh"

#include <sys/resource.h>

#include <cstring>
#include <memory>

using namespace bench;

namespace {

struct failing : we::custom_engine {
  wasm_callback_result transform(const we::batch_work& work, we::custom_call) override {
    if (work.next()) {
      throw std::runtime_error("as it must");
    }
    return WASM_CALLBACK_RESULT_DONE;
  }
};

double processor_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec); };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Microseconds of processor time per lost record.
double lost(we::engine& engine, int records) {
  const bytes batch = make_batch({records, 64});
  const auto before = engine.stats().value();
  auto sink = [](we::output_block) {};
  const double begun = processor_seconds();
  int batches = 0;
  do {
    auto operation = engine.transform(batch, sink).value();
    we::drive(operation).value();
    ++batches;
  } while (processor_seconds() - begun < 1);
  const double spent = processor_seconds() - begun;
  const auto after = engine.stats().value();
  const auto all = static_cast<std::uint64_t>(batches) * static_cast<std::uint64_t>(records);
  if (after.skipped - before.skipped + after.dead_lettered - before.dead_lettered != all) {
    std::fprintf(stderr, "bench-failures: not all records failed\n");
    std::exit(1);
  }
  return spent * 1e6 / static_cast<double>(all);
}

}  // namespace

int main(int argc, char** argv) {
  const bool json = argc > 1 && std::strcmp(argv[1], "--json") == 0;
  const auto runtime = we::runtime::create().value();
  const auto factory = we::create_custom_factory(runtime, {"failures", "in", {"out"}, {}}, [] {
                         return std::make_unique<failing>();
                       }).value();
  for (const auto on_error : {WASM_ON_ERROR_SKIP, WASM_ON_ERROR_DEAD_LETTER}) {
    auto engine = we::engine::create(factory).value();
    engine.set_policy({.on_error = on_error}).value();
    auto start = engine.start().value();
    we::drive(start).value();
    const double small = lost(engine, 1000);
    for (const int records : {1000, 4000, 16000}) {
      const double us = records == 1000 ? small : lost(engine, records);
      const char* const name = on_error == WASM_ON_ERROR_SKIP ? "SKIP" : "DEAD_LETTER";
      if (json) {
        std::printf("{\"on_error\": \"%s\", \"records\": %d, \"us_per_lost_record\": %.3f, \"ratio\": %.2f}\n", name, records,
                    us, us / small);
      } else {
        std::printf("%-12s %6d records %8.2f us per lost record %6.2f x\n", name, records, us, us / small);
      }
    }
  }
}
