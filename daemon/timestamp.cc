// SPDX-License-Identifier: Apache-2.0
#include "timestamp.hh"

#include <charconv>
#include <ctime>
#include <string_view>

namespace transformd {

namespace {

std::optional<std::int64_t> parse_date(const std::string& text) {
  std::tm at{};
  const char* rest = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &at);
  if (rest == nullptr) {
    return std::nullopt;
  }
  std::int64_t fraction = 0;
  if (*rest == '.') {
    std::int64_t digit = 100;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, digit /= 10) {
      fraction += (*rest - '0') * digit;
    }
  }
  if (std::string_view(rest) != "Z") {
    return std::nullopt;
  }
  const auto seconds = std::int64_t{::timegm(&at)};
  // Kafka takes negative ones for something else.
  return seconds < 0 ? std::nullopt : std::optional(seconds * 1000 + fraction);
}

}  // namespace

std::optional<std::int64_t> parse_timestamp(const std::string& text) {
  if (const auto date = parse_date(text)) {
    return date;
  }
  std::int64_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc{} || end != text.data() + text.size() || out < 0) {
    return std::nullopt;
  }
  return out;
}

}  // namespace transformd
