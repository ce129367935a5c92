// SPDX-License-Identifier: Apache-2.0
#include "reader.hh"

#include <algorithm>
#include <charconv>
#include <stdexcept>

namespace mosquitto_wasm {

namespace {

std::string range(std::uint64_t least, std::uint64_t most) {
  return std::to_string(least) + " to " + std::to_string(most);
}

}  // namespace

std::uint64_t read_number(std::string_view text, std::uint64_t least, std::uint64_t most) {
  std::uint64_t number = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (fault != std::errc() || end != text.data() + text.size() || number < least || number > most) {
    throw std::invalid_argument("'" + std::string(text) + "' is not a number from " + range(least, most));
  }
  return number;
}

std::uint64_t read_size(std::string_view text, std::uint64_t least, std::uint64_t most) {
  static constexpr std::string_view units = "KMG";
  const auto unit = text.empty() ? std::string_view::npos : units.find(text.back());
  const auto shift = unit == std::string_view::npos ? 0 : 10 * (unit + 1);
  const auto digits = shift == 0 ? text : text.substr(0, text.size() - 1);
  std::uint64_t number = 0;
  const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (fault != std::errc() || end != digits.data() + digits.size() || number > (most >> shift) ||
      (number << shift) < least) {
    throw std::invalid_argument("'" + std::string(text) + "' is not a size from " + range(least, most) +
                                " bytes, with K, M or G behind the number if you like");
  }
  return number << shift;
}

std::string read_name(std::string_view text) {
  const bool good = !text.empty() && text.size() <= 100 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  });
  if (!good) {
    throw std::invalid_argument("'" + std::string(text) + "' is no name: up to 100 letters, digits, '_', '-' and '.'");
  }
  return std::string(text);
}

std::pair<std::string_view, std::string_view> split(std::string_view text) {
  const auto end = std::min(text.find_first_of(" \t"), text.size());
  const auto rest = std::min(text.find_first_not_of(" \t", end), text.size());
  return {text.substr(0, end), text.substr(rest)};
}

void refuse_word(std::string_view text, const std::string& words) {
  throw std::invalid_argument("'" + std::string(text) + "' is none of: " + words);
}

}  // namespace mosquitto_wasm
