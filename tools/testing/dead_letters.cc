// SPDX-License-Identifier: Apache-2.0
#include "dead_letters.hh"

#include "../encoding.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace tool {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

/// The value of a header. Null if there is none.
json header(const json& letter, const json& key) {
  for (const auto& one : letter.value("headers", json::array())) {
    if (one.value("key", json()) == key) {
      return one.value("value", json());
    }
  }
  return nullptr;
}

std::string compare_one(const json& expected, const json& actual) {
  if (!expected.is_object()) {
    return "it is no JSON object";
  }
  for (const auto& [name, value] : expected.items()) {
    if (name != "headers") {
      const auto found = actual.value(name, json());
      if (found != value) {
        return fmt::format("{}: {} was expected and {} is there", name, value.dump(), found.dump());
      }
      continue;
    }
    for (const auto& one : value) {
      const auto key = one.value("key", json());
      const auto found = header(actual, key);
      if (found != one.value("value", json())) {
        return fmt::format("header {}: {} was expected and {} is there", key.dump(), one.value("value", json()).dump(), found.dump());
      }
    }
  }
  return "";
}

}  // namespace

std::string compare_dead_letters(const std::vector<std::string>& expected, const std::vector<std::string>& actual) {
  std::string text;
  for (std::size_t i = 0; i < std::max(expected.size(), actual.size()); ++i) {
    if (i >= actual.size()) {
      text += fmt::format("dead letter {} is missing: {}\n", i + 1, printable(expected[i]));
    } else if (i >= expected.size()) {
      text += fmt::format("dead letter {} was not expected: {}\n", i + 1, printable(actual[i]));
    } else {
      try {
        if (const auto why = compare_one(json::parse(expected[i]), json::parse(actual[i])); !why.empty()) {
          text += fmt::format("dead letter {}: {}\n", i + 1, printable(why));
        }
      } catch (const json::exception& e) {
        text += fmt::format("dead letter {}: {}\n", i + 1, e.what());
      }
    }
  }
  return text;
}

std::string expectation_of(const std::vector<std::string>& actual) {
  std::string text;
  for (const auto& line : actual) {
    const auto letter = json::parse(line);
    ordered_json kept;
    kept["key"] = letter.value("key", json());
    kept["value"] = letter.value("value", json());
    kept["headers"] = ordered_json::array();
    kept["headers"].push_back({{"key", "wasm-error"}, {"value", header(letter, "wasm-error")}});
    text += kept.dump() + "\n";
  }
  return text;
}

}  // namespace tool
