// SPDX-License-Identifier: Apache-2.0
#include "config.hh"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <span>
#include <string_view>

namespace transformd {

namespace {

/// A transaction may take four times as long, and Kafka's default allows 15 minutes.
constexpr std::chrono::milliseconds longest_commit_interval{180'000};

/// A file that is being read: says where a fault is.
class reader {
 public:
  explicit reader(const std::filesystem::path& path) : _path(path) {}

  [[noreturn]] void fail(const YAML::Mark& at, const std::string& what) const {
    if (at.is_null()) {
      throw config_error(fmt::format("{}: {}", _path.string(), what));
    }
    throw config_error(fmt::format("{}:{}: {}", _path.string(), at.line + 1, what));
  }

  [[nodiscard]] std::string text(const YAML::Node& node, std::string_view name) const {
    if (!node.IsScalar()) {
      fail(node.Mark(), fmt::format("{} must be text", name));
    }
    auto value = expand(node, node.Scalar());
    if (value.find('\0') != std::string::npos) {
      fail(node.Mark(), fmt::format("{} has a NUL", name));
    }
    return value;
  }

  [[nodiscard]] std::string topic(const YAML::Node& node, std::string_view name) const {
    auto value = text(node, name);
    const auto legal = [](unsigned char c) { return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-'; };
    if (value.empty() || value.size() > 249 || !std::ranges::all_of(value, legal)) {
      fail(node.Mark(), fmt::format("{}: `{}` is no name of a topic: 1 to 249 letters, digits, `.`, `_` and `-`", name,
                                    value));
    }
    return value;
  }

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

  [[nodiscard]] std::chrono::milliseconds time(const YAML::Node& node, std::string_view name,
                                               std::chrono::milliseconds most) const {
    const auto value = text(node, name);
    static constexpr std::array<std::pair<std::string_view, std::int64_t>, 3> units{
        {{"ms", 1}, {"s", 1000}, {"m", 60'000}}};
    std::int64_t count = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), count);
    const std::string_view unit(end, value.data() + value.size());
    const auto* found = std::ranges::find(units, unit, &std::pair<std::string_view, std::int64_t>::first);
    if (error != std::errc{} || found == units.end() || count < 1 || count > most.count() / found->second) {
      fail(node.Mark(), fmt::format("{} is `{}`; it must be a time such as 100ms, 5s or 2m and at most {} s", name, value,
                                    most.count() / 1000));
    }
    return std::chrono::milliseconds(count * found->second);
  }

  template <typename Value>
  [[nodiscard]] Value choice(const YAML::Node& node, std::string_view name,
                             std::span<const std::pair<std::string_view, Value>> of) const {
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

 private:
  /// `${NAME}` stands for an environment variable and `${file:PATH}` for a file's first line: passwords are not in the
  /// file itself. `$$` is a `$`.
  [[nodiscard]] std::string expand(const YAML::Node& node, std::string_view from) const {
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

  [[nodiscard]] std::string lookup(const YAML::Node& node, const std::string& name) const {
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

  const std::filesystem::path& _path;
};

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

void read_env(const reader& in, const YAML::Node& node, transform_file& out) {
  if (!node.IsMap()) {
    in.fail(node.Mark(), "env must be a map of names and values");
  }
  for (const auto& item : node) {
    out.env.emplace_back(in.text(item.first, "a name in env"), in.text(item.second, "a value in env"));
  }
}

void read_client(const reader& in, const YAML::Node& node, transform_file& out) {
  if (!node.IsMap()) {
    in.fail(node.Mark(), "client must be a map of librdkafka's settings");
  }
  // What the guarantees rest on.
  static constexpr std::array<std::string_view, 8> ours{
      "group.id",           "transactional.id",   "enable.auto.commit", "enable.auto.offset.store",
      "enable.idempotence", "isolation.level",    "auto.offset.reset",  "enable.partition.eof"};
  for (const auto& item : node) {
    const auto name = in.text(item.first, "a name in client");
    const auto value = in.text(item.second, "a value in client");
    if (std::ranges::find(ours, name) != ours.end()) {
      in.fail(item.first.Mark(), fmt::format("client: {} is set by the daemon", name));
    }
    try {
      check_setting(name, value);
    } catch (const kafka_error& e) {
      in.fail(item.first.Mark(), fmt::format("client: {}: {}", name, e.what()));
    }
    out.client[name] = value;
  }
}

void read_on_error(const reader& in, const YAML::Node& node, transform_file& out) {
  if (node.IsMap()) {
    for (const auto& item : node) {
      if (in.text(item.first, "on-error") != "dead-letter-topic") {
        in.fail(item.first.Mark(), "on-error is fail, skip or a map with dead-letter-topic");
      }
      out.on_error = WASM_ON_ERROR_DEAD_LETTER;
      out.dead_letter_topic = in.topic(item.second, "dead-letter-topic");
    }
    if (out.dead_letter_topic.empty()) {
      in.fail(node.Mark(), "on-error has no dead-letter-topic");
    }
    return;
  }
  static constexpr std::array<std::pair<std::string_view, wasm_on_error>, 2> words{
      {{"fail", WASM_ON_ERROR_FAIL}, {"skip", WASM_ON_ERROR_SKIP}}};
  out.on_error = in.choice<wasm_on_error>(node, "on-error", words);
}

void read_member(const reader& in, const std::string& name, const YAML::Node& node, transform_file& out) {
  static constexpr std::array<std::pair<std::string_view, bool>, 2> starts{{{"earliest", true}, {"latest", false}}};
  static constexpr std::array<std::pair<std::string_view, guarantee>, 2> guarantees{
      {{"exactly-once", guarantee::exactly_once}, {"at-least-once", guarantee::at_least_once}}};
  using read = void (*)(const reader&, const YAML::Node&, transform_file&);
  static const std::map<std::string, read, std::less<>> members{
      {"name", [](auto& i, auto& n, auto& o) { o.name = i.topic(n, "name"); }},
      {"description", [](auto& i, auto& n, auto&) { (void)i.text(n, "description"); }},
      {"language", [](auto& i, auto& n, auto&) { (void)i.text(n, "language"); }},
      {"input-topic", [](auto& i, auto& n, auto& o) { o.input_topic = i.topic(n, "input-topic"); }},
      {"output-topic", [](auto& i, auto& n, auto& o) { o.output_topics = {i.topic(n, "output-topic")}; }},
      {"output-topics",
       [](auto& i, auto& n, auto& o) {
         if (!n.IsSequence() || n.size() == 0) {
           i.fail(n.Mark(), "output-topics must be a list of topics");
         }
         o.output_topics.clear();
         for (const auto& topic : n) {
           o.output_topics.push_back(i.topic(topic, "output-topics"));
         }
       }},
      {"env", [](auto& i, auto& n, auto& o) { read_env(i, n, o); }},
      {"compression", [](auto& i, auto& n, auto& o) { o.client["compression.type"] = i.text(n, "compression"); }},
      {"module", [](auto& i, auto& n, auto& o) { o.module = o.path.parent_path() / i.text(n, "module"); }},
      {"module-sha256",
       [](auto& i, auto& n, auto& o) {
         const auto digest = i.text(n, "module-sha256");
         const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
         if (digest.size() != 64 || !std::ranges::all_of(digest, hex)) {
           i.fail(n.Mark(), "module-sha256 must have 64 hexadecimal digits");
         }
         o.module_sha256 = digest;
       }},
      {"brokers", [](auto& i, auto& n, auto& o) { o.client["bootstrap.servers"] = i.text(n, "brokers"); }},
      {"client", [](auto& i, auto& n, auto& o) { read_client(i, n, o); }},
      {"group", [](auto& i, auto& n, auto& o) { o.group = i.text(n, "group"); }},
      {"start", [](auto& i, auto& n, auto& o) { o.from_earliest = i.template choice<bool>(n, "start", starts); }},
      {"guarantee",
       [](auto& i, auto& n, auto& o) { o.delivery = i.template choice<guarantee>(n, "guarantee", guarantees); }},
      {"on-error", [](auto& i, auto& n, auto& o) { read_on_error(i, n, o); }},
      {"commit-interval", [](auto& i, auto& n, auto& o) { o.commit_interval = i.time(n, "commit-interval", longest_commit_interval); }},
      {"workers",
       [](auto& i, auto& n, auto& o) {
         o.workers = i.template number<std::size_t>(n, "workers", 1, 1024);
       }},
  };
  if (const auto found = members.find(name); found != members.end()) {
    return found->second(in, node, out);
  }
  std::string advice;
  for (const auto& [known, read] : members) {
    if (distance(name, known) <= 2) {
      advice = fmt::format("; is `{}` meant?", known);
    }
  }
  in.fail(node.Mark(), fmt::format("there is no member `{}`{}", name, advice));
}

}  // namespace

std::vector<std::string> transform_file::written_topics() const {
  auto all = output_topics;
  if (!dead_letter_topic.empty()) {
    all.push_back(dead_letter_topic);
  }
  return all;
}

transform_file read_transform_file(const std::filesystem::path& path) {
  transform_file out;
  out.path = path;
  const reader in(out.path);
  YAML::Node root;
  try {
    std::ifstream file(path);
    if (!file) {
      throw config_error(path.string() + ": cannot be read");
    }
    root = YAML::Load(file);
  } catch (const YAML::Exception& e) {
    in.fail(e.mark, e.msg);
  }
  if (!root.IsMap()) {
    in.fail(root.Mark(), "the file must be a map of the members that docs/transformd.md lists");
  }
  std::map<std::string, YAML::Mark> seen;
  for (const auto& item : root) {
    const auto name = in.text(item.first, "a member's name");
    if (!seen.emplace(name, item.first.Mark()).second) {
      in.fail(item.first.Mark(), fmt::format("`{}` is there twice", name));
    }
    read_member(in, name, item.second, out);
  }
  const auto need = [&](bool there, const char* what) {
    if (!there) {
      in.fail(YAML::Mark::null_mark(), fmt::format("there is no `{}`", what));
    }
  };
  need(!out.name.empty(), "name");
  need(!out.input_topic.empty(), "input-topic");
  need(!out.output_topics.empty(), "output-topics");
  need(!out.module.empty(), "module");
  need(out.client.contains("bootstrap.servers"), "brokers");
  try {
    check_setting("compression.type", out.client.contains("compression.type") ? out.client["compression.type"] : "none");
  } catch (const kafka_error& e) {
    in.fail(seen["compression"], fmt::format("compression: {}", e.what()));
  }
  if (out.group.empty()) {
    out.group = "wasm-transform-" + out.name;
  }
  return out;
}

}  // namespace transformd
