// SPDX-License-Identifier: Apache-2.0
//
// The values of settings: numbers with units, words, names.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace mosquitto_wasm {

/// All of these throw std::invalid_argument with the reason.

/// A number in this range.
[[nodiscard]] std::uint64_t read_number(std::string_view text, std::uint64_t least, std::uint64_t most);

/// Bytes: a number that may end in K, M or G.
[[nodiscard]] std::uint64_t read_size(std::string_view text, std::uint64_t least, std::uint64_t most);

/// A name that may be a level of a topic: letters, digits, `_`, `-` and `.`.
[[nodiscard]] std::string read_name(std::string_view text);

/// The first word and the rest without the spaces in between.
[[nodiscard]] std::pair<std::string_view, std::string_view> split(std::string_view text);

/// One of some words.
template <typename T>
[[nodiscard]] T read_word(std::string_view text, std::initializer_list<std::pair<std::string_view, T>> words);

[[noreturn]] void refuse_word(std::string_view text, const std::string& words);

template <typename T>
T read_word(std::string_view text, std::initializer_list<std::pair<std::string_view, T>> words) {
  std::string all;
  for (const auto& [word, value] : words) {
    if (word == text) {
      return value;
    }
    all.append(all.empty() ? "" : ", ").append(word);
  }
  refuse_word(text, all);
}

}  // namespace mosquitto_wasm
