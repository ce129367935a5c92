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

/// A member of what may be no object. Null if there is none.
json member(const json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  return object.is_object() && found != object.end() ? *found : json();
}

/// The value of a header. Null if there is none. Of several the last one, because a dead letter's own are the last.
json header(const json& letter, const json& key) {
  json value;
  for (const auto& one : member(letter, "headers")) {
    if (member(one, "key") == key) {
      value = member(one, "value");
    }
  }
  return value;
}

std::string compare_one(const json& expected, const json& actual) {
  if (!expected.is_object()) {
    return "what is expected is no JSON object";
  }
  for (const auto& [name, value] : expected.items()) {
    if (name != "headers") {
      const auto found = member(actual, name.c_str());
      if (found != value) {
        return fmt::format("{}: {} was expected and {} is there", name, value.dump(), found.dump());
      }
      continue;
    }
    for (const auto& one : value) {
      const auto key = member(one, "key");
      const auto found = header(actual, key);
      if (found != member(one, "value")) {
        return fmt::format("header {}: {} was expected and {} is there", key.dump(), member(one, "value").dump(), found.dump());
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
      // The expected one may be no JSON, which `compare_one` says.
      const auto why = compare_one(json::parse(expected[i], nullptr, false), json::parse(actual[i], nullptr, false));
      if (!why.empty()) {
        text += fmt::format("dead letter {}: {}\n", i + 1, printable(why));
      }
    }
  }
  return text;
}

std::string expectation_of(const std::vector<std::string>& actual) {
  std::string text;
  for (const auto& line : actual) {
    const auto letter = json::parse(line, nullptr, false);
    ordered_json kept;
    kept["key"] = member(letter, "key");
    kept["value"] = member(letter, "value");
    kept["headers"] = ordered_json::array();
    kept["headers"].push_back({{"key", "wasm-error"}, {"value", header(letter, "wasm-error")}});
    text += kept.dump() + "\n";
  }
  return text;
}

}  // namespace tool
