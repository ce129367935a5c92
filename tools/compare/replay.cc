// SPDX-License-Identifier: Apache-2.0
#include "replay.hh"

#include "../encoding.hh"
#include "../exit_code.hh"
#include "../file.hh"
#include "../guest_run.hh"
#include "../output_files.hh"
#include "../scratch.hh"
#include "../terminal.hh"
#include "../testing/test_case.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <unistd.h>

namespace tool {

namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr std::string_view added = "wasm-";  // Headers that dead letters have and their records had not begin so.

/// A record that was a dead letter, and how it fared.
struct replayed {
  std::string offset;  ///< Of the input, if the letter says.
  std::string before;  ///< The error that made it a dead letter.
  std::string now;     ///< The error of now. Empty: it went through.
  std::string message;
  std::size_t outputs = 0;
};

std::string header(const ordered_json& letter, std::string_view name, encoding text) {
  if (const auto headers = letter.find("headers"); headers != letter.end() && headers->is_array()) {
    for (const auto& one : *headers) {
      if (one.value("key", "") == name && one.contains("value") && one.at("value").is_string()) {
        return decode(text, one.at("value").get<std::string>()).value_or("");
      }
    }
  }
  return "";
}

/// The record as it was before it failed.
ordered_json record_of(ordered_json letter) {
  if (const auto headers = letter.find("headers"); headers != letter.end() && headers->is_array()) {
    ordered_json own = ordered_json::array();
    for (const auto& one : *headers) {
      const auto& key = one.value("key", ordered_json());
      if (!key.is_string() || !key.get<std::string>().starts_with(added)) {
        own.push_back(one);
      }
    }
    *headers = own;
  }
  letter.erase("topic");  // It names the input topic, which the user may have changed.
  return letter;
}

void write(const fs::path& to, const std::string& text) {
  output_file file(to);
  file.write(text);
  file.commit();
}

std::string read_if_there(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(file, ignored) ? read_text(file) : "";
}

replayed replay_one(const ordered_json& letter, const std::string& module, const replay_options& o, const fs::path& scratch,
                    std::string& output) {
  replayed r{header(letter, "wasm-offset", o.text), header(letter, "wasm-error", o.text), "", "", 0};
  const auto input = scratch / "record";
  const auto out = scratch / "out";
  const auto dead = scratch / "dead";
  std::error_code ignored;
  fs::remove(dead, ignored);
  write(input, record_of(letter).dump() + "\n");
  std::vector<std::string> arguments = {"--format",      "records", "--on-error",   "dead-letter",
                                        "--dead-letter", dead,      "--max-errors", "100%", "--encoding", name_of(o.text)};
  arguments.insert(arguments.end(), o.arguments.begin(), o.arguments.end());
  const auto ended = run_guest(module, input, out, arguments);
  const auto failed = read_if_there(dead);
  if (ended.code != 0) {
    const auto code = static_cast<exit_code>(ended.code);
    if (code == exit_code::usage || code == exit_code::module_refused) {
      throw failure(code, message_of(ended));
    }
    r.now = fmt::format("exit code {}", ended.code);
    r.message = message_of(ended);
  } else if (!failed.empty()) {
    const auto again = ordered_json::parse(failed);
    r.now = header(again, "wasm-error", o.text);
    r.message = header(again, "wasm-error-message", o.text);
  }
  const auto lines = read_if_there(out);
  r.outputs = split_lines(lines).size();
  output += lines;
  return r;
}

void print(const replayed& r, std::size_t number, bool coloured) {
  const auto place = r.offset.empty() ? fmt::format("dead letter {}", number) : fmt::format("offset {}", r.offset);
  if (r.now.empty()) {
    fmt::print("{} {}: {} record{} out; it was {}\n", in_colour(coloured, colour::green, "ok    "), place, r.outputs,
               r.outputs == 1 ? "" : "s", r.before.empty() ? "not said why" : r.before);
    return;
  }
  // Without the frames of the stack, and indented below.
  std::string first;
  for (const auto& line : split_lines(r.message.substr(0, r.message.find("\n  at ")))) {
    first += "    " + printable(line) + "\n";
  }
  fmt::print("{} {}: {}{}\n{}", in_colour(coloured, colour::red, "FAILED"), place, r.now,
             r.before == r.now ? ", as before" : r.before.empty() ? "" : fmt::format("; it was {}", r.before), first);
}

}  // namespace

void replay(const replay_options& o) {
  const scratch_directory scratch;
  const auto module = compile_once(o.guest, scratch.path());
  const bool coloured = has_colours(STDOUT_FILENO);
  std::string output;
  ordered_json all = ordered_json::array();
  std::size_t number = 0;
  std::size_t failed = 0;
  auto arguments = o;
  arguments.arguments.insert(arguments.arguments.begin(), {"--name", fs::path(o.guest).stem()});
  for (const auto& line : split_lines(read_text(o.dead_letters))) {
    if (line.empty()) {
      continue;
    }
    const auto letter = ordered_json::parse(line, nullptr, false);
    if (!letter.is_object()) {
      throw failure(exit_code::bad_input, fmt::format("{}:{}: it is no JSON object", o.dead_letters, number + 1));
    }
    const auto r = replay_one(letter, module, arguments, scratch.path(), output);
    ++number;
    failed += r.now.empty() ? 0 : 1;
    if (o.json) {
      all.push_back({{"offset", r.offset}, {"error_before", r.before}, {"error", r.now.empty() ? ordered_json() : ordered_json(r.now)},
                     {"message", printable(r.message)}, {"records_out", r.outputs}});
    } else {
      print(r, number, coloured);
    }
  }
  if (!o.output.empty()) {
    write(o.output, output);
  }
  if (o.json) {
    fmt::print("{}\n", all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  if (failed != 0) {
    throw failure(exit_code::different, fmt::format("{} of {} dead letters fail still", failed, number));
  }
}

}  // namespace tool
