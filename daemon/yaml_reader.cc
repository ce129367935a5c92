// SPDX-License-Identifier: Apache-2.0
#include "yaml_reader.hh"

#include "timestamp.hh"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <vector>

namespace transformd {

namespace {

/// A number and what stands behind it.
struct quantity {
  std::uint64_t count = 0;
  std::string_view unit;
};

std::optional<quantity> parse_quantity(std::string_view text) {
  quantity out;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out.count);
  if (error != std::errc{}) {
    return std::nullopt;
  }
  out.unit = text.substr(static_cast<std::size_t>(end - text.data()));
  return out;
}

/// The quantity in units of one, if it is one of `units` and at most `most`.
std::optional<std::uint64_t> scaled(std::string_view text, yaml_reader::words<std::uint64_t> units, std::uint64_t most) {
  const auto parsed = parse_quantity(text);
  if (!parsed) {
    return std::nullopt;
  }
  for (const auto& [unit, factor] : units) {
    if (unit == parsed->unit) {
      return parsed->count > most / factor ? std::nullopt : std::optional(parsed->count * factor);
    }
  }
  return std::nullopt;
}

/// How many letters must be changed to get from one word to the other.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) {
    row[j] = j;
  }
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t before = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto here = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, before + (a[i - 1] == b[j - 1] ? 0U : 1U)});
      before = here;
    }
  }
  return row.back();
}

}  // namespace

std::string advice(std::string_view name, std::span<const std::string_view> known) {
  std::size_t least = 3;
  std::string_view best;
  for (const auto word : known) {
    if (const auto d = distance(name, word); d < least) {
      least = d;
      best = word;
    }
  }
  return best.empty() ? "" : fmt::format("; is `{}` meant?", best);
}

void yaml_reader::fail(const YAML::Mark& at, const std::string& what) const {
  if (at.is_null()) {
    throw config_error(fmt::format("{}: {}", _path.string(), what));
  }
  throw config_error(fmt::format("{}:{}: {}", _path.string(), at.line + 1, what));
}

std::string yaml_reader::text(const YAML::Node& node, std::string_view name) const {
  if (!node.IsScalar()) {
    fail(node.Mark(), fmt::format("{} must be text", name));
  }
  auto value = expand(node, node.Scalar());
  if (value.find('\0') != std::string::npos) {
    fail(node.Mark(), fmt::format("{} has a NUL", name));
  }
  return value;
}

std::string yaml_reader::topic(const YAML::Node& node, std::string_view name) const {
  auto value = text(node, name);
  const auto legal = [](unsigned char c) { return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-'; };
  if (value.empty() || value == "." || value == ".." || value.size() > 249 || !std::ranges::all_of(value, legal)) {
    fail(node.Mark(), fmt::format("{}: `{}` is no name of a topic: 1 to 249 letters, digits, `.`, `_` and `-`", name, value));
  }
  return value;
}

std::chrono::milliseconds yaml_reader::time(const YAML::Node& node, std::string_view name,
                                            std::chrono::milliseconds most) const {
  static constexpr std::array<std::pair<std::string_view, std::uint64_t>, 3> units{{{"ms", 1}, {"s", 1000}, {"m", 60'000}}};
  const auto value = text(node, name);
  const auto parsed = scaled(value, units, static_cast<std::uint64_t>(most.count()));
  if (!parsed || *parsed == 0) {
    fail(node.Mark(), fmt::format("{} is `{}`; it must be a time such as 100ms, 5s or 2m and at most {} s", name, value,
                                  most.count() / 1000));
  }
  return std::chrono::milliseconds(*parsed);
}

std::uint64_t yaml_reader::size(const YAML::Node& node, std::string_view name, std::uint64_t least,
                                std::uint64_t most) const {
  static constexpr std::array<std::pair<std::string_view, std::uint64_t>, 4> units{
      {{"", 1}, {"KiB", 1U << 10}, {"MiB", 1U << 20}, {"GiB", 1U << 30}}};
  const auto value = text(node, name);
  const auto parsed = scaled(value, units, most);
  if (!parsed || *parsed < least) {
    fail(node.Mark(),
         fmt::format("{} is `{}`; it must be a size such as 65536, 64KiB or 1MiB, from {} to {} bytes", name, value, least, most));
  }
  return *parsed;
}

std::int64_t yaml_reader::timestamp(const YAML::Node& node, std::string_view name) const {
  const auto value = text(node, name);
  if (const auto at = parse_timestamp(value)) {
    return *at;
  }
  fail(node.Mark(), fmt::format("{} is `{}`; it must be a time such as 2026-01-01T00:00:00Z or milliseconds since 1970", name,
                                value));
}

std::string yaml_reader::expand(const YAML::Node& node, std::string_view from) const {
  std::string out;
  while (!from.empty()) {
    const auto dollar = from.find('$');
    out += from.substr(0, dollar);
    if (dollar == std::string_view::npos) {
      break;
    }
    from.remove_prefix(dollar);
    if (from.starts_with("$$")) {
      out += '$';
      from.remove_prefix(2);
      continue;
    }
    const auto end = from.find('}');
    if (!from.starts_with("${") || end == std::string_view::npos) {
      fail(node.Mark(), "`$` begins `${NAME}` or `${file:PATH}`; write `$$` for a dollar sign");
    }
    out += lookup(node, std::string(from.substr(2, end - 2)));
    from.remove_prefix(end + 1);
  }
  return out;
}

std::string yaml_reader::lookup(const YAML::Node& node, const std::string& name) const {
  if (name.starts_with("file:")) {
    const auto path = _path.parent_path() / name.substr(5);
    std::ifstream file(path);
    std::string line;
    if (!file || (!std::getline(file, line) && !file.eof())) {
      fail(node.Mark(), fmt::format("cannot read {}", path.string()));
    }
    return line;
  }
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) {
    fail(node.Mark(), fmt::format("the environment variable {} is not set", name));
  }
  return value;
}

}  // namespace transformd
