// SPDX-License-Identifier: Apache-2.0
//
// What the contenders of `make bench` share: their arguments, the loop that is timed, and the line that they print.
//
//   bench-NAME --work identity|filter|redact|route --input BATCH [--guest MODULE] [--threads N] [--seconds S]
//              [--output FILE] [--no-crc]
//
// BATCH is one Kafka record batch as on the wire. Each of N threads has an engine, plugin or instance of its own and
// puts the batch through it, over and over, for S seconds. One line of JSON goes to standard output. FILE gets the
// output records of one more batch, from the same engine, in the form that batch.hh describes.
//
// Time is taken of chunks of some half a millisecond, or of one batch if that takes longer, and the median of the
// chunks counts. It is the processor's time of the thread: other programs on the machine and helper threads of a
// contender's are not in it. Time by the clock is given, too. With several threads their rates are added; "waits" is
// how often they gave their processor up of themselves: if they never do, they do not wait for each other, and
// processor time is all there is.
#pragma once

#include "batch.hh"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <memory>
#include <string_view>
#include <thread>

#include <ctime>

#include <sys/resource.h>

namespace bench {

struct options {
  std::string work = "identity";
  std::string guest;
  std::string input;
  std::string output;
  unsigned threads = 1;
  double seconds = 0.25;
  bool no_crc = false;
};

inline options parse_options(int argc, char** argv) {
  options o;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--no-crc") {
      o.no_crc = true;
      continue;
    }
    if (++i == argc) {
      fail(std::string(name) + " needs a value");
    }
    if (name == "--work") {
      o.work = argv[i];
    } else if (name == "--guest") {
      o.guest = argv[i];
    } else if (name == "--input") {
      o.input = argv[i];
    } else if (name == "--output") {
      o.output = argv[i];
    } else if (name == "--threads") {
      o.threads = static_cast<unsigned>(std::max(1, std::atoi(argv[i])));
    } else if (name == "--seconds") {
      o.seconds = std::atof(argv[i]);
    } else {
      fail("unknown option " + std::string(name));
    }
  }
  if (o.input.empty()) {
    fail("--input is missing");
  }
  return o;
}

/// What came out.
struct tally {
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;  ///< Of payloads.
  std::uint64_t seen = 0;   ///< So that no compiler can leave the looking out.

  /// Looks at an output record, as a host that passes it on would.
  void look(const std::uint8_t* data, std::size_t size) {
    seen += data[0] + std::uint64_t{data[size - 1]};
  }
};

template <typename T>
void keep(const T& value) {
  asm volatile("" : : "g"(&value) : "memory");
}

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// What one thread measured.
struct measured {
  std::vector<double> ns_per_batch;       ///< Of each chunk: processor time,
  std::vector<double> wall_ns_per_batch;  ///< and time by the clock.
  std::uint64_t batches = 0;
  long waits = 0;
  tally out;
};

/// Nanoseconds of a clock.
inline double now(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

/// How often the calling thread gave its processor up of itself.
inline long waits() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nvcsw;
}

template <typename Worker>
void measure(Worker& worker, double seconds, measured& m) {
  const long waits_before = waits();
  const double begun = now(CLOCK_MONOTONIC);
  std::size_t per_chunk = 1;
  double fastest = 1e18;
  do {
    const double wall = now(CLOCK_MONOTONIC);
    const double chunk = now(CLOCK_THREAD_CPUTIME_ID);
    for (std::size_t i = 0; i < per_chunk; ++i) {
      worker.batch(m.out);
    }
    const double ns = (now(CLOCK_THREAD_CPUTIME_ID) - chunk) / static_cast<double>(per_chunk);
    m.wall_ns_per_batch.push_back((now(CLOCK_MONOTONIC) - wall) / static_cast<double>(per_chunk));
    m.ns_per_batch.push_back(ns);
    m.batches += per_chunk;
    fastest = std::min(fastest, ns);
    const auto fit = static_cast<std::size_t>(5e5 / fastest);
    if (fit > 2 * per_chunk) {  // The first chunks find out how many batches make one; they do not count.
      per_chunk = fit;
      m.ns_per_batch.clear();
      m.wall_ns_per_batch.clear();
    }
  } while (now(CLOCK_MONOTONIC) - begun < seconds * 1e9 || m.ns_per_batch.empty());
  m.waits = waits() - waits_before;
  keep(m.out);
}

/// Runs a contender. `make` gives a worker for the calling thread: `batch(tally&)` puts the batch through, and
/// `collect(canonical&)` does so and keeps the output.
template <typename Make>
int run(const char* name, const char* version, const options& o, std::size_t records_in, Make make) {
  std::vector<measured> all(o.threads);
  std::barrier together(static_cast<std::ptrdiff_t>(o.threads));
  const auto thread = [&](unsigned index) {
    auto worker = make();
    measured warm;
    measure(*worker, std::min(0.05, o.seconds / 4), warm);
    together.arrive_and_wait();
    measure(*worker, o.seconds, all[index]);
    together.arrive_and_wait();
    if (index == 0 && !o.output.empty()) {
      canonical out;
      worker->collect(out);
      out.write(o.output);
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < o.threads; ++i) {
    threads.emplace_back(thread, i);
  }
  thread(0);
  for (auto& t : threads) {
    t.join();
  }
  double rate = 0;
  double wall_rate = 0;
  measured sum;
  double fastest = 1e18;
  for (auto& m : all) {
    rate += 1 / median(m.ns_per_batch);
    wall_rate += 1 / median(m.wall_ns_per_batch);
    fastest = std::min(fastest, *std::min_element(m.ns_per_batch.begin(), m.ns_per_batch.end()));
    sum.batches += m.batches;
    sum.waits += m.waits;
    sum.out.records += m.out.records;
    sum.out.bytes += m.out.bytes;
  }
  const auto n = static_cast<double>(records_in);
  std::printf("{\"contender\": \"%s\", \"version\": \"%s\", \"threads\": %u, \"batches\": %llu, \"records_in\": %zu, "
              "\"ns_per_record\": %.3f, \"wall_ns_per_record\": %.3f, \"fastest_ns_per_record\": %.3f, \"waits\": %ld, "
              "\"output_records\": %llu, \"output_bytes\": %llu}\n",
              name, version, o.threads, static_cast<unsigned long long>(sum.batches), records_in, 1 / rate / n,
              1 / wall_rate / n, fastest / n, sum.waits, static_cast<unsigned long long>(sum.out.records),
              static_cast<unsigned long long>(sum.out.bytes));
  return 0;
}

}  // namespace bench
