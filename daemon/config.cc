// SPDX-License-Identifier: Apache-2.0
#include "config.hh"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <span>
#include <string_view>

namespace transformd {

namespace {

/// A transaction may take four times as long, and Kafka's default allows 15 minutes.
constexpr std::chrono::milliseconds longest_commit_interval{180'000};
constexpr std::uint64_t largest_output = 1U << 30;

using node = const YAML::Node&;
using in_file = const yaml_reader&;
using read = void (*)(in_file, node, transform_file&);
/// The members of a map and what reads them.
using member_table = std::span<const std::pair<std::string_view, read>>;

void read_members(in_file in, node from, std::string_view name, member_table known, transform_file& out) {
  in.members(from, name, [&](const std::string& key, node at, node value) {
    const auto found = std::ranges::find(known, key, &std::pair<std::string_view, read>::first);
    if (found == known.end()) {
      std::vector<std::string_view> names;
      for (const auto& [word, reader] : known) {
        names.push_back(word);
      }
      auto help = advice(key, names);
      if (help.empty() && names.size() <= 5) {
        help = fmt::format("; it has {}", fmt::join(names, ", "));
      }
      in.fail(at.Mark(), fmt::format("{} has no member `{}`{}", name, key, help));
    }
    found->second(in, value, out);
  });
}

void read_env(in_file in, node from, transform_file& out) {
  in.members(from, "env", [&](const std::string& key, node, node value) {
    out.env.emplace_back(key, in.text(value, "a value in env"));
  });
}

void read_client(in_file in, node from, transform_file& out) {
  // What the guarantees rest on.
  static constexpr std::array<std::string_view, 8> ours{
      "group.id",           "transactional.id", "enable.auto.commit", "enable.auto.offset.store",
      "enable.idempotence", "isolation.level",  "auto.offset.reset",  "enable.partition.eof"};
  in.members(from, "client", [&](const std::string& name, node at, node item) {
    const auto value = in.text(item, "a value in client");
    if (std::ranges::find(ours, name) != ours.end()) {
      in.fail(at.Mark(), fmt::format("client: {} is set by the daemon", name));
    }
    try {
      check_setting(name, value);
    } catch (const kafka_error& e) {
      in.fail(at.Mark(), fmt::format("client: {}: {}", name, e.what()));
    }
    out.client[name] = value;
  });
}

void read_output_topics(in_file in, node from, transform_file& out) {
  if (!from.IsSequence() || from.size() == 0) {
    in.fail(from.Mark(), "output-topics must be a list of topics");
  }
  out.output_topics.clear();
  for (const auto& topic : from) {
    out.output_topics.push_back(in.topic(topic, "output-topics"));
  }
}

void read_sha256(in_file in, node from, transform_file& out) {
  const auto digest = in.text(from, "module-sha256");
  const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (digest.size() != 64 || !std::ranges::all_of(digest, hex)) {
    in.fail(from.Mark(), "module-sha256 must have 64 hexadecimal digits");
  }
  out.module_sha256 = digest;
}

void read_start(in_file in, node from, transform_file& out) {
  if (from.IsMap()) {
    static constexpr std::array<std::pair<std::string_view, read>, 2> members{
        {{"offset",
          [](in_file i, node n, transform_file& o) {
            o.start = {position::kind::offset, i.number<std::int64_t>(n, "offset", 0, INT64_MAX)};
          }},
         {"timestamp", [](in_file i, node n, transform_file& o) {
            o.start = {position::kind::timestamp, i.timestamp(n, "timestamp")};
          }}}};
    if (from.size() != 1) {
      in.fail(from.Mark(), "start is earliest, latest, {offset: NUMBER} or {timestamp: TIME}");
    }
    return read_members(in, from, "start", members, out);
  }
  static constexpr std::array<std::pair<std::string_view, position::kind>, 2> words{
      {{"earliest", position::kind::earliest}, {"latest", position::kind::latest}}};
  out.start = {in.choice<position::kind>(from, "start", words)};
}

void read_on_error(in_file in, node from, transform_file& out) {
  if (from.IsMap()) {
    static constexpr std::array<std::pair<std::string_view, read>, 1> members{
        {{"dead-letter-topic", [](in_file i, node n, transform_file& o) {
            o.on_error = WASM_ON_ERROR_DEAD_LETTER;
            o.dead_letter_topic = i.topic(n, "dead-letter-topic");
          }}}};
    read_members(in, from, "on-error", members, out);
    if (out.dead_letter_topic.empty()) {
      in.fail(from.Mark(), "on-error has no dead-letter-topic");
    }
    return;
  }
  static constexpr std::array<std::pair<std::string_view, wasm_on_error>, 2> words{
      {{"fail", WASM_ON_ERROR_FAIL}, {"skip", WASM_ON_ERROR_SKIP}}};
  out.on_error = in.choice<wasm_on_error>(from, "on-error", words);
}

void read_max_errors(in_file in, node from, transform_file& out) {
  static constexpr std::array<std::pair<std::string_view, read>, 3> members{
      {{"records",
        [](in_file i, node n, transform_file& o) {
          o.max_errors->records = i.number<std::uint32_t>(n, "max-errors: records", 0, 65'535);
        }},
       {"of",
        [](in_file i, node n, transform_file& o) {
          o.max_errors->of = i.number<std::uint32_t>(n, "max-errors: of", 1, UINT32_MAX);
        }},
       {"retry-after", [](in_file i, node n, transform_file& o) {
          o.max_errors->retry_after = i.time(n, "max-errors: retry-after", std::chrono::hours(24));
        }}}};
  out.max_errors.emplace();
  read_members(in, from, "max-errors", members, out);
  if (out.max_errors->of == 0) {
    in.fail(from.Mark(), "max-errors has no `of`: more than `records` lost of `of` consecutive records stop the transform");
  }
  if (out.max_errors->records >= out.max_errors->of) {
    in.fail(from.Mark(), "max-errors: `records` must be less than `of`");
  }
}

void read_limits(in_file in, node from, transform_file& out) {
  static constexpr std::array<std::pair<std::string_view, read>, 5> members{
      {{"memory",
        [](in_file i, node n, transform_file& o) {
          o.limits.memory = i.size(n, "limits: memory", 64U << 10, std::uint64_t{4} << 30);
        }},
       {"table",
        [](in_file i, node n, transform_file& o) {
          o.limits.table = i.number<std::uint64_t>(n, "limits: table", 1, UINT32_MAX);
        }},
       {"record-time",
        [](in_file i, node n, transform_file& o) {
          o.limits.record_time = i.time(n, "limits: record-time", std::chrono::minutes(10));
        }},
       {"output",
        [](in_file i, node n, transform_file& o) {
          o.limits.output_buffer = i.size(n, "limits: output", 1024, largest_output);
        }},
       {"log-rate", [](in_file i, node n, transform_file& o) {
          o.limits.log_lines_per_second = i.number<std::uint32_t>(n, "limits: log-rate", 1, 1'000'000);
          o.limits.log_burst_lines = o.limits.log_lines_per_second;
        }}}};
  read_members(in, from, "limits", members, out);
}

void read_imports(in_file in, node from, transform_file& out) {
  if (!from.IsSequence()) {
    in.fail(from.Mark(), "imports must be a list of MODULE or MODULE.FUNCTION");
  }
  out.imports.emplace();
  for (const auto& item : from) {
    const auto text = in.text(item, "imports");
    const auto dot = text.find('.');
    out.imports->push_back({text.substr(0, dot), dot == std::string::npos ? "" : text.substr(dot + 1)});
  }
}

void read_wasi(in_file in, node from, transform_file& out) {
  static constexpr std::array<std::pair<std::string_view, wasm_wasi_right>, 8> words{
      {{"arguments", WASM_WASI_RIGHT_ARGUMENTS},
       {"environment", WASM_WASI_RIGHT_ENVIRONMENT},
       {"clocks", WASM_WASI_RIGHT_CLOCKS},
       {"random", WASM_WASI_RIGHT_RANDOM},
       {"output", WASM_WASI_RIGHT_OUTPUT},
       {"sleep", WASM_WASI_RIGHT_SLEEP},
       {"files", WASM_WASI_RIGHT_FILES},
       {"sockets", WASM_WASI_RIGHT_SOCKETS}}};
  if (!from.IsSequence()) {
    in.fail(from.Mark(), "wasi must be a list");
  }
  out.wasi_rights = WASM_WASI_RIGHT_BASE;
  for (const auto& item : from) {
    out.wasi_rights |= in.choice<wasm_wasi_right>(item, "wasi", words);
  }
}

void read_guarantee(in_file in, node from, transform_file& out) {
  static constexpr std::array<std::pair<std::string_view, guarantee>, 2> words{
      {{"exactly-once", guarantee::exactly_once}, {"at-least-once", guarantee::at_least_once}}};
  out.delivery = in.choice<guarantee>(from, "guarantee", words);
}

constexpr std::array<std::pair<std::string_view, read>, 23> members{{
    {"name", [](in_file i, node n, transform_file& o) { o.name = i.topic(n, "name"); }},
    {"description", [](in_file i, node n, transform_file&) { (void)i.text(n, "description"); }},
    {"language", [](in_file i, node n, transform_file&) { (void)i.text(n, "language"); }},
    {"input-topic", [](in_file i, node n, transform_file& o) { o.input_topic = i.topic(n, "input-topic"); }},
    {"output-topic", [](in_file i, node n, transform_file& o) { o.output_topics = {i.topic(n, "output-topic")}; }},
    {"output-topics", read_output_topics},
    {"env", read_env},
    {"compression", [](in_file i, node n, transform_file& o) { o.client["compression.type"] = i.text(n, "compression"); }},
    {"module", [](in_file i, node n, transform_file& o) { o.module = i.text(n, "module"); }},
    {"module-sha256", read_sha256},
    {"brokers", [](in_file i, node n, transform_file& o) { o.client["bootstrap.servers"] = i.text(n, "brokers"); }},
    {"client", read_client},
    {"group", [](in_file i, node n, transform_file& o) { o.group = i.text(n, "group"); }},
    {"start", read_start},
    {"guarantee", read_guarantee},
    {"on-error", read_on_error},
    {"max-errors", read_max_errors},
    {"limits", read_limits},
    {"imports", read_imports},
    {"wasi", read_wasi},
    {"log-topic", [](in_file i, node n, transform_file& o) { o.log_topic = i.topic(n, "log-topic"); }},
    {"commit-interval",
     [](in_file i, node n, transform_file& o) { o.commit_interval = i.time(n, "commit-interval", longest_commit_interval); }},
    {"workers", [](in_file i, node n, transform_file& o) { o.workers = i.number<std::size_t>(n, "workers", 1, 1024); }},
}};

}  // namespace

bool transform_file::module_is_remote() const noexcept {
  return module.starts_with("http://") || module.starts_with("https://");
}

std::string transform_file::module_shown() const {
  if (!module_is_remote()) {
    return module;
  }
  const auto host = module.find("//") + 2;
  const auto path = module.find('/', host);
  const auto at = module.substr(0, path).rfind('@');
  return at == std::string::npos || at < host ? module : module.substr(0, host) + module.substr(at + 1);
}

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
  const yaml_reader in(out.path);
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
  read_members(in, root, "the file", members, out);
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
    in.fail(root["compression"].Mark(), fmt::format("compression: {}", e.what()));
  }
  if (out.module_is_remote() && !out.module_sha256) {
    in.fail(root["module"].Mark(), "a module with an address needs `module-sha256`");
  }
  if (!out.module_is_remote()) {
    out.module = (path.parent_path() / out.module).string();
  }
  if (out.max_errors && out.on_error == WASM_ON_ERROR_FAIL) {
    in.fail(root["max-errors"].Mark(), "max-errors needs `on-error: skip` or a dead letter topic: otherwise no record is lost");
  }
  if (out.group.empty()) {
    out.group = "wasm-transform-" + out.name;
  }
  return out;
}

}  // namespace transformd
