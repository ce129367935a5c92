// SPDX-License-Identifier: Apache-2.0
#include "traffic.hh"

#include "report.hh"

#include <fmt/format.h>

namespace tool {

bool throughput::update(const traffic& t, std::uint64_t errors, time_point now) {
  const auto time = now - _then;
  if (time < std::chrono::seconds(1)) {
    return false;
  }
  const counts is{t.records_in, t.bytes_in, t.records_out, t.bytes_out};
  const double seconds = std::chrono::duration<double>(time).count();
  const auto rate = [&](std::uint64_t counts::* which) {
    return static_cast<std::uint64_t>(static_cast<double>(is.*which - _before.*which) / seconds);
  };
  // Read last so that it is no less than the input.
  const std::uint64_t read = t.records_read;
  _line = fmt::format("in {}/s, {}/s; out {}/s, {}/s; errors {}; lag {}", grouped(rate(&counts::records_in)),
                      byte_count(rate(&counts::bytes_in)), grouped(rate(&counts::records_out)),
                      byte_count(rate(&counts::bytes_out)), grouped(t.lost + errors),
                      grouped(read - is.records_in));
  _before = is;
  _then = now;
  return true;
}

}  // namespace tool
