// SPDX-License-Identifier: Apache-2.0
//
// Values of a YAML file. A fault is told with file and line.
#pragma once

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace transformd {

/// A fault in a file. The message has file and line.
class config_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Reads values of one file. `name` is what a message calls the value. Each function throws `config_error`.
class yaml_reader {
 public:
  /// A word and what it means.
  template <typename Value>
  using words = std::span<const std::pair<std::string_view, Value>>;

  /// `path` outlives the reader.
  explicit yaml_reader(const std::filesystem::path& path) : _path(path) {}

  [[noreturn]] void fail(const YAML::Mark& at, const std::string& what) const;

  /// `${NAME}` is replaced by an environment variable, `${file:PATH}` by a file's first line and `$$` by `$`.
  [[nodiscard]] std::string text(const YAML::Node& node, std::string_view name) const;
  /// A legal name of a topic.
  [[nodiscard]] std::string topic(const YAML::Node& node, std::string_view name) const;
  /// `100ms`, `5s` or `2m`. Not zero and at most `most`.
  [[nodiscard]] std::chrono::milliseconds time(const YAML::Node& node, std::string_view name,
                                               std::chrono::milliseconds most) const;
  /// `65536`, `64KiB`, `1MiB` or `4GiB`.
  [[nodiscard]] std::uint64_t size(const YAML::Node& node, std::string_view name, std::uint64_t least,
                                   std::uint64_t most) const;
  /// Milliseconds since 1970: `1767225600000` or `2026-01-01T00:00:00Z`, with seconds' fractions if wanted.
  [[nodiscard]] std::int64_t timestamp(const YAML::Node& node, std::string_view name) const;

  template <typename Number>
  [[nodiscard]] Number number(const YAML::Node& node, std::string_view name, Number least, Number most) const {
    const auto value = text(node, name);
    Number out{};
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
    if (error != std::errc{} || end != value.data() + value.size() || out < least || out > most) {
      fail(node.Mark(), fmt::format("{} is `{}`; it must be a number from {} to {}", name, value, least, most));
    }
    return out;
  }

  template <typename Value>
  [[nodiscard]] Value choice(const YAML::Node& node, std::string_view name, words<Value> of) const {
    const auto value = text(node, name);
    std::string all;
    for (const auto& [word, meaning] : of) {
      if (word == value) {
        return meaning;
      }
      all += fmt::format("{}{}", all.empty() ? "" : ", ", word);
    }
    fail(node.Mark(), fmt::format("{} is `{}`; it must be one of: {}", name, value, all));
  }

  /// Calls `read(key, key_node, value)` for each member of a map in which none is there twice.
  template <typename F>
  void members(const YAML::Node& node, std::string_view name, F read) const {
    if (!node.IsMap()) {
      fail(node.Mark(), fmt::format("{} must be a map", name));
    }
    std::map<std::string, bool, std::less<>> seen;
    for (const auto& item : node) {
      const auto key = text(item.first, fmt::format("a name in {}", name));
      if (!seen.emplace(key, true).second) {
        fail(item.first.Mark(), fmt::format("`{}` is there twice", key));
      }
      read(key, item.first, item.second);
    }
  }

 private:
  [[nodiscard]] std::string expand(const YAML::Node& node, std::string_view from) const;
  [[nodiscard]] std::string lookup(const YAML::Node& node, const std::string& name) const;

  const std::filesystem::path& _path;
};

/// `; is X meant?` for the one of `known` that `name` is most like. Empty if it is like none.
[[nodiscard]] std::string advice(std::string_view name, std::span<const std::string_view> known);

}  // namespace transformd
