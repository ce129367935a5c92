// SPDX-License-Identifier: Apache-2.0
#include "settings.hh"

#include "files.hh"
#include "reader.hh"

#include <algorithm>
#include <map>
#include <stdexcept>

namespace mosquitto_wasm {

namespace {

using namespace std::string_view_literals;

constexpr std::uint64_t any = std::uint64_t{1} << 62;

action read_action(std::string_view value) {
  return read_word<action>(value, {{"drop", action::drop},
                                   {"pass", action::pass},
                                   {"deny", action::deny},
                                   {"dead_letter", action::dead_letter}});
}

void read_output(transform_settings& t, std::string_view value) {
  const auto [name, topic] = split(value);
  const auto taken = [&, name = name](const auto& output) { return output.name == name; };
  if (name.empty() || std::any_of(t.outputs.begin(), t.outputs.end(), taken)) {
    throw std::invalid_argument("an output needs a name of its own");
  }
  t.outputs.push_back({std::string(name), topic_template(topic.empty() ? name : topic)});
}

void read_env(transform_settings& t, std::string_view value) {
  const auto sign = value.find('=');
  if (sign == std::string_view::npos || sign == 0) {
    throw std::invalid_argument("'" + std::string(value) + "' is not NAME=VALUE");
  }
  t.env.emplace_back(value.substr(0, sign), value.substr(sign + 1));
}

void read_key(transform_settings& t, std::string_view value) {
  const auto [word, property] = split(value);
  t.key = read_word<key_source>(
      word, {{"topic", key_source::topic}, {"none", key_source::none}, {"property", key_source::property}});
  if ((t.key == key_source::property) == property.empty()) {
    throw std::invalid_argument("write `topic`, `none` or `property NAME`");
  }
  t.key_property = property;
}

void read_filter(transform_settings& t, std::string_view value) {
  if (!is_filter(std::string(value))) {
    throw std::invalid_argument("'" + std::string(value) + "' is no topic filter");
  }
  t.filters.emplace_back(value);
}

using transform_key = void (*)(transform_settings&, std::string_view);

const std::map<std::string_view, transform_key> transform_keys = {
    {"module", [](auto& t, auto v) { t.module_path = v; }},
    {"filter", read_filter},
    {"output", read_output},
    {"env", read_env},
    {"key", read_key},
    {"retain", [](auto& t, auto v) { t.retain = read_word<bool>(v, {{"keep", true}, {"never", false}}); }},
    {"record_time_ms", [](auto& t, auto v) { t.record_time = std::chrono::milliseconds(read_number(v, 1, 600'000)); }},
    {"memory_limit", [](auto& t, auto v) { t.memory_limit = read_size(v, 64 << 10, std::uint64_t{4} << 30); }},
    {"output_limit", [](auto& t, auto v) { t.output_limit = read_size(v, 1 << 10, 256 << 20); }},
    {"output_messages", [](auto& t, auto v) { t.output_messages = read_number(v, 1, 1'000'000); }},
    {"queue_messages", [](auto& t, auto v) { t.queue_messages = read_number(v, 1, 1'000'000'000); }},
    {"queue_bytes", [](auto& t, auto v) { t.queue_bytes = read_size(v, 1, any); }},
    {"on_error", [](auto& t, auto v) { t.on_error = read_action(v); }},
    {"on_full", [](auto& t, auto v) { t.on_full = read_action(v); }},
    {"dead_letter_topic", [](auto& t, auto v) { t.dead_letter = topic_template(v); }},
};

using plugin_key = void (*)(settings&, std::string_view);

const std::map<std::string_view, plugin_key> plugin_keys = {
    {"budget_us", [](auto& s, auto v) { s.budget = std::chrono::microseconds(read_number(v, 100, 1'000'000)); }},
    {"metrics_interval", [](auto& s, auto v) { s.metrics_interval = std::chrono::seconds(read_number(v, 0, 86400)); }},
    {"wake", [](auto& s, auto v) { s.wake = read_word<bool>(v, {{"signal", true}, {"never", false}}); }},
};

void read_setting(settings& s, std::string_view key, std::string_view value) {
  if (value.empty()) {
    throw std::invalid_argument("it has no value");
  }
  if (key == "transform") {
    const auto name = read_name(value);
    if (std::any_of(s.transforms.begin(), s.transforms.end(), [&](const auto& t) { return t.name == name; })) {
      throw std::invalid_argument("there are two transforms named '" + name + "'");
    }
    s.transforms.emplace_back().name = name;
  } else if (const auto global = plugin_keys.find(key); global != plugin_keys.end()) {
    global->second(s, value);
  } else if (const auto own = transform_keys.find(key); own != transform_keys.end()) {
    if (s.transforms.empty()) {
      throw std::invalid_argument("it belongs behind the line `transform NAME` of its transform");
    }
    own->second(s.transforms.back(), value);
  } else {
    throw std::invalid_argument("there is no such setting");
  }
}

void read_setting_at(settings& s, std::string_view key, std::string_view value, const std::string& where) {
  try {
    read_setting(s, key, value);
  } catch (const std::invalid_argument& e) {
    throw std::runtime_error(where + std::string(key) + ": " + e.what());
  }
}

void read_settings_file(settings& s, const std::string& path) {
  const auto content = read_file(path);
  std::string_view rest = content;
  for (int number = 1; !rest.empty(); ++number) {
    const auto end = rest.find('\n');
    auto line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    line.remove_prefix(std::min(line.find_first_not_of(" \t\r"), line.size()));
    line.remove_suffix(line.size() - std::min(line.find_last_not_of(" \t\r") + 1, line.size()));
    if (!line.empty() && line[0] != '#') {
      const auto [key, value] = split(line);
      read_setting_at(s, key, value, path + ":" + std::to_string(number) + ": ");
    }
  }
}

/// What no single line says.
void check(transform_settings& t) {
  const auto refuse = [&](const char* why) { throw std::runtime_error("transform " + t.name + ": " + why); };
  if (t.module_path.empty()) {
    refuse("it has no `module`");
  }
  if (t.filters.empty()) {
    refuse("it has no `filter`");
  }
  if (t.dead_letter.empty() && (t.on_error == action::dead_letter || t.on_full == action::dead_letter)) {
    refuse("`dead_letter` needs a `dead_letter_topic`");
  }
  if (t.outputs.empty()) {
    t.outputs.push_back({"output", topic_template("{topic}")});
  }
}

}  // namespace

void transform_settings::read_module() {
  try {
    const auto bytes = read_file(module_path);
    module.assign(bytes.begin(), bytes.end());
  } catch (const std::runtime_error& e) {
    throw std::runtime_error("transform " + name + ": module " + e.what());
  }
}

settings read_settings(std::span<const option> options) {
  settings s;
  for (const auto& [key, value] : options) {
    if (key == "config") {
      read_settings_file(s, value);
    } else {
      read_setting_at(s, key, value, "plugin_opt_");
    }
  }
  if (s.transforms.empty()) {
    throw std::runtime_error("there is no transform: set plugin_opt_config or plugin_opt_transform");
  }
  std::for_each(s.transforms.begin(), s.transforms.end(), check);
  return s;
}

}  // namespace mosquitto_wasm
