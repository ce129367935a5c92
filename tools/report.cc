// SPDX-License-Identifier: Apache-2.0
#include "report.hh"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <locale>

namespace tool {

namespace {

std::size_t bucket_of(std::uint64_t n) {
  if (n < 16) {
    return n;
  }
  const auto power = static_cast<unsigned>(std::bit_width(n)) - 5;
  return (power + 1) * 16 + (n >> power) - 16;
}

/// The greatest number in a bucket.
std::uint64_t top_of(std::size_t bucket) {
  if (bucket < 16) {
    return bucket;
  }
  const auto power = bucket / 16 - 1;
  return ((bucket % 16 + 17) << power) - 1;
}

std::string duration(std::uint64_t ns) {
  const auto n = static_cast<double>(ns);
  if (ns < 1'000) {
    return fmt::format("{} ns", ns);
  }
  if (ns < 1'000'000) {
    return fmt::format("{:.1f} µs", n / 1e3);
  }
  if (ns < 1'000'000'000) {
    return fmt::format("{:.1f} ms", n / 1e6);
  }
  return fmt::format("{:.2f} s", n / 1e9);
}

double seconds(std::chrono::nanoseconds d) { return std::chrono::duration<double>(d).count(); }

std::uint64_t per_second(std::uint64_t count, std::chrono::nanoseconds time) {
  return time.count() > 0 ? static_cast<std::uint64_t>(static_cast<double>(count) / seconds(time)) : 0;
}

std::string plural(std::uint64_t count, const char* one, const char* many) {
  return fmt::format("{} {}", grouped(count), count == 1 ? one : many);
}

struct thousands : std::numpunct<char> {
  char do_thousands_sep() const override { return ','; }
  std::string do_grouping() const override { return "\3"; }
};

}  // namespace

void histogram::add(std::uint64_t nanoseconds, std::uint64_t times) {
  _buckets[bucket_of(nanoseconds)] += times;
  _count += times;
  _max = std::max(_max, nanoseconds);
}

void histogram::merge(const histogram& other) {
  for (std::size_t i = 0; i < _buckets.size(); ++i) {
    _buckets[i] += other._buckets[i];
  }
  _count += other._count;
  _max = std::max(_max, other._max);
}

std::uint64_t histogram::quantile(double fraction) const {
  const auto wanted = static_cast<double>(_count) * fraction;
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < _buckets.size(); ++i) {
    seen += _buckets[i];
    if (seen > 0 && static_cast<double>(seen) >= wanted) {
      return std::min(top_of(i), _max);
    }
  }
  return _max;
}

void statistics::merge(const statistics& other) {
  records_in += other.records_in;
  bytes_in += other.bytes_in;
  records_out += other.records_out;
  bytes_out += other.bytes_out;
  batches += other.batches;
  skipped += other.skipped;
  dead_letters += other.dead_letters;
  if (!other.last_loss.empty()) {
    last_loss = other.last_loss;
  }
  guest_memory = std::max(guest_memory, other.guest_memory);
  cpu_time += other.cpu_time;
  latency.merge(other.latency);
}

std::string report(const statistics& s, const summary& u) {
  const auto time = duration(static_cast<std::uint64_t>(u.wall_time.count()));
  std::string text;
  const auto line = [&text](const char* name, const std::string& what) {
    text += fmt::format("  {:<13} {}\n", name, what);
  };
  text += "wasm-transform:\n";
  line("records in", fmt::format("{} ({} of keys, values and headers, in {})", grouped(s.records_in),
                                 byte_count(s.bytes_in), plural(s.batches, "batch", "batches")));
  line("records out", fmt::format("{} ({} with their lengths)", grouped(s.records_out), byte_count(s.bytes_out)));
  if (s.skipped > 0) {
    line("skipped", fmt::format("{}; the last: {}", grouped(s.skipped), s.last_loss));
  }
  if (s.dead_letters > 0) {
    line("dead letters", fmt::format("{}; the last: {}", grouped(s.dead_letters), s.last_loss));
  }
  line("wall time", fmt::format("{}, after {} for compiling the module", time,
                                duration(static_cast<std::uint64_t>(u.compile_time.count()))));
  line("records/s",
       fmt::format("{}; per core {} (records in by CPU time of {})", grouped(per_second(s.records_in, u.wall_time)),
                   grouped(per_second(s.records_in, s.cpu_time)), plural(u.threads, "event loop", "event loops")));
  if (s.latency.count() > 0) {
    line("latency",
         fmt::format("p50 {}, p99 {}, max {} per record (a batch's time in the engine, output included, by its "
                     "number of records)",
                     duration(s.latency.quantile(0.5)), duration(s.latency.quantile(0.99)), duration(s.latency.max())));
  }
  line("guest memory",
       fmt::format("{} (the largest of {})", byte_count(s.guest_memory), plural(u.threads, "guest", "guests")));
  line("errors", grouped(u.errors + s.lost()));
  return text;
}

std::string grouped(std::uint64_t number) {
  static const std::locale with_commas(std::locale::classic(), new thousands);
  return fmt::format(with_commas, "{:L}", number);
}

std::string byte_count(std::uint64_t bytes) {
  if (bytes < 1024) {
    return fmt::format("{} bytes", bytes);
  }
  auto n = static_cast<double>(bytes) / 1024;
  const char* unit = "KiB";
  for (const char* larger : {"MiB", "GiB", "TiB"}) {
    if (n < 1024) {
      break;
    }
    n /= 1024;
    unit = larger;
  }
  return fmt::format("{:.1f} {}", n, unit);
}

}  // namespace tool
