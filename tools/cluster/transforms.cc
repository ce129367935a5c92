// SPDX-License-Identifier: Apache-2.0
//
// The admin API: POST /v1/transform/deploy with JSON and the module behind it, GET /v1/transform, PUT
// /v1/transform/NAME/meta and DELETE /v1/transform/NAME.
#include "cluster.hh"

#include "../encoding.hh"
#include "../exit_code.hh"
#include "../file.hh"
#include "../json_error.hh"
#include "../json_text.hh"
#include "../report.hh"
#include "../terminal.hh"

#include <wasm_engine/wasm_engine.hh>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <map>
#include <unistd.h>

namespace tool {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* transforms = "/v1/transform";

std::string path_of(const std::string& name) { return fmt::format("{}/{}", transforms, url_escaped(name)); }

/// The broker's form of where a transform begins.
ordered_json offset_of(const std::string& from) {
  if (from == "latest" || from == "earliest") {
    return {{"format", from == "latest" ? "from_end" : "from_start"}, {"value", 0}};
  }
  std::int64_t number = 0;
  const auto* end = from.data() + from.size();
  const auto read = std::from_chars(from.data() + 1, end, number);
  const auto sign = from.front();
  if (from.size() < 2 || read.ec != std::errc() || read.ptr != end || number < 0 || (sign != '+' && sign != '-' && sign != '@')) {
    throw failure(exit_code::usage, fmt::format("--from: \"{}\" is neither latest, earliest, +N, -N nor @MILLISECONDS", from));
  }
  return {{"format", sign == '@' ? "timestamp" : sign == '+' ? "from_start" : "from_end"}, {"value", number}};
}

project what_to_deploy(const deploy_options& o) {
  std::error_code ignored;
  const bool described = std::filesystem::exists(std::filesystem::path(o.directory) / manifest_name, ignored);
  project p;
  if (o.guest.empty() || described) {
    p = read_project(o.directory);
  } else {
    p.name = std::filesystem::path(o.guest).stem();
  }
  p.name = o.name.empty() ? p.name : o.name;
  p.input_topic = o.input_topic.empty() ? p.input_topic : o.input_topic;
  p.output_topics = o.output_topics.empty() ? p.output_topics : o.output_topics;
  for (const auto& [key, value] : o.environment) {
    std::erase_if(p.environment, [&key = key](const auto& one) { return one.first == key; });
    p.environment.emplace_back(key, value);
  }
  return p;
}

ordered_json description(const project& p, const deploy_options& o) {
  ordered_json all = {{"name", p.name}, {"input_topic", p.input_topic}, {"output_topics", p.output_topics}};
  if (!p.environment.empty()) {
    auto& variables = all["environment"] = ordered_json::array();
    for (const auto& [key, value] : p.environment) {
      variables.push_back({{"key", key}, {"value", value}});
    }
  }
  if (!o.from.empty()) {
    all["offset"] = offset_of(o.from);
  }
  return all;
}

void set_paused(const named_options& o, bool paused) {
  const ordered_json body = {{"is_paused", paused}};
  const auto answer = send(o.cluster.address, "PUT", path_of(o.name) + "/meta", body.dump(), {"Content-Type: application/json"});
  expect_success(answer, fmt::format("{} was not {}", o.name, paused ? "paused" : "resumed"));
  if (!o.cluster.quiet) {
    fmt::print(stderr, "{} is {}\n", o.name, paused ? "paused" : "resumed");
  }
}

std::string status_of(const json& transform, bool coloured) {
  std::map<std::string, int> counts;
  for (const auto& one : transform.value("status", json::array())) {
    ++counts[one.value("status", "unknown")];
  }
  std::string text;
  for (const auto& [status, count] : counts) {
    const auto word = fmt::format("{} {}", count, printable(status));
    text += (text.empty() ? "" : ", ") + in_colour(coloured && status == "errored", colour::red, word);
  }
  return text.empty() ? "no partitions" : text;
}

std::string joined(const json& names) {
  std::string text;
  for (const auto& one : names) {
    text += (text.empty() ? "" : ",") + one.get<std::string>();
  }
  return printable(text);
}

/// A row for each transform. Throws json::exception.
std::string rows_of(const json& all, bool coloured) {
  std::string rows;
  for (const auto& one : all) {
    std::int64_t lag = 0;
    for (const auto& partition : one.value("status", json::array())) {
      lag += partition.value("lag", std::int64_t{0});
    }
    rows += fmt::format("{:<24} {:<24} {:<24} {:>10}  {}\n", printable(one.value("name", "")), printable(one.value("input_topic", "")),
                        joined(one.value("output_topics", json::array())), lag, status_of(one, coloured));
  }
  return rows;
}

/// The broker takes text in JSON only.
void check_text(const project& p) {
  for (const auto& [key, value] : p.environment) {
    if (!is_utf8(key) || !is_utf8(value)) {
      throw failure(exit_code::usage, fmt::format("the variable {} is not valid UTF-8", printable(key)));
    }
  }
  if (!is_utf8(p.name)) {
    throw failure(exit_code::usage, fmt::format("the name {} is not valid UTF-8", printable(p.name)));
  }
}

}  // namespace

void expect_success(const http_answer& answer, const std::string& what) {
  if (answer.status >= 200 && answer.status < 300) {
    return;
  }
  const auto said = json::parse(answer.body, nullptr, false);
  const auto why = said.is_object() && said.contains("message") && said.at("message").is_string() ? said.at("message").get<std::string>()
                                                                                                    : answer.body.substr(0, 300);
  const char* help = answer.status == 401 || answer.status == 403 ? "; see --user and --password-file" : "";
  throw failure(exit_code::other, fmt::format("{}: the broker answered {}{}{}{}", what, answer.status, why.empty() ? "" : ": ",
                                              printable(why), help));
}

void deploy(const deploy_options& o) {
  const auto p = what_to_deploy(o);
  check_text(p);
  const auto path = o.guest.empty() ? p.module().string() : o.guest;
  const auto module = read_module(path);
  const auto runtime = wasmengine::runtime::create().value();
  if (const auto accepted = runtime.validate(module); !accepted) {
    throw failure(exit_code::module_refused,
                  fmt::format("{}: {}: {}", path, accepted.err().status_name(), printable(accepted.err().what())));
  }
  const auto judged = judge_for_broker(p, module, o.limits);
  for (const auto& warning : judged.warnings) {
    if (!o.cluster.json) {  // whose result has them
      fmt::print(stderr, "{} {}\n", in_colour(has_colours(STDERR_FILENO), colour::yellow, "warning:"), printable(warning));
    }
  }
  if (!judged.errors.empty()) {
    std::string text = fmt::format("{}: no broker can run it", path);
    for (const auto& error : judged.errors) {
      text += "\n  " + printable(error);
    }
    throw failure(exit_code::module_refused, text);
  }
  const auto about = description(p, o);
  if (!o.dry_run) {
    auto body = about.dump();
    body.append(reinterpret_cast<const char*>(module.data()), module.size());
    const auto answer = send(o.cluster.address, "POST", std::string(transforms) + "/deploy", body, {"Content-Type: application/json+wasm"});
    expect_success(answer, fmt::format("{} was not deployed", p.name));
  }
  if (o.cluster.json) {
    ordered_json result = {{"deployed", !o.dry_run}, {"transform", about}, {"size", module.size()}, {"warnings", judged.warnings}};
    fmt::print("{}\n", result.dump(2));
  } else if (!o.cluster.quiet) {
    fmt::print(stderr, "{} ({}), {} -> {}, {}\n", p.name, byte_count(module.size()), p.input_topic, joined(p.output_topics),
               o.dry_run ? "would be deployed" : "is deployed");
  }
}

void list(const cluster_options& o) {
  const auto answer = send(o.address, "GET", transforms, "", {"Accept: application/json"});
  expect_success(answer, "there is no list of transforms");
  const auto all = json::parse(answer.body, nullptr, false);
  if (!all.is_array()) {
    throw failure(exit_code::other, "the broker's list of transforms is no JSON array");
  }
  if (o.json) {
    fmt::print("{}\n", all.dump(2));
    return;
  }
  std::string rows;
  try {
    rows = rows_of(all, has_colours(STDOUT_FILENO));
  } catch (const json::exception& e) {
    throw failure(exit_code::other, fmt::format("the broker's list of transforms is {}", message_of(e)));
  }
  fmt::print("{:<24} {:<24} {:<24} {:>10}  {}\n{}", "NAME", "INPUT", "OUTPUT", "LAG", "STATUS", rows);
}

void pause(const named_options& o) { set_paused(o, true); }
void resume(const named_options& o) { set_paused(o, false); }

void remove(const named_options& o) {
  expect_success(send(o.cluster.address, "DELETE", path_of(o.name), "", {}), fmt::format("{} was not deleted", o.name));
  if (!o.cluster.quiet) {
    fmt::print(stderr, "{} is deleted\n", o.name);
  }
}

}  // namespace tool
