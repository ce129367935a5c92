// SPDX-License-Identifier: Apache-2.0
#include "replay.hh"

#include "dead_letter.hh"

#include "../bad_line.hh"
#include "../encoding.hh"
#include "../exit_code.hh"
#include "../file.hh"
#include "../guest_run.hh"
#include "../interruption.hh"
#include "../output_files.hh"
#include "../scratch.hh"
#include "../terminal.hh"
#include "../testing/test_case.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <unistd.h>

namespace tool {

namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

/// How a dead letter fared.
struct replayed {
  std::string now;      ///< The error of now. Empty: it went through.
  std::string message;
  bool parses = true;   ///< Whether there was a record for the guest: a line may be none still.
  std::size_t outputs = 0;
};

void write(const fs::path& to, const std::string& text) {
  output_file file(to);
  file.write(text);
  file.commit();
}

std::string read_if_there(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(file, ignored) ? read_text(file) : "";
}

/// A message of `run` names its input, which nobody else knows: `place` stands for it.
std::string with_place(std::string message, const fs::path& input, const std::string& place) {
  const auto name = input.string() + ":";
  for (auto at = message.find(name); at != message.npos; at = message.find(name, at + place.size())) {
    const auto end = message.find_first_not_of("0123456789", at + name.size());
    message.replace(at, std::min(end, message.size()) - at, place);
  }
  return message;
}

replayed replay_one(const dead_letter& letter, const std::string& place, const std::string& module, const replay_options& o,
                    const fs::path& scratch, std::string& output) {
  const auto input = scratch / "record";
  const auto out = scratch / "out";
  const auto dead = scratch / "dead";
  std::error_code ignored;
  fs::remove(dead, ignored);
  fs::remove(out, ignored);
  std::vector<std::string> arguments = {"--on-error", "dead-letter", "--dead-letter", dead, "--max-errors", "100%",
                                        "--encoding", name_of(o.text)};
  if (letter.line) {
    const auto line = input_of_line(letter.how_read, *letter.line);
    write(input, line.text);
    arguments.insert(arguments.end(), line.options.begin(), line.options.end());
  } else {
    write(input, letter.record + "\n");
    arguments.insert(arguments.end(), {"--format", "records"});
  }
  arguments.insert(arguments.end(), o.arguments.begin(), o.arguments.end());
  const auto ended = run_guest(module, input, out, arguments);
  const auto failed = split_lines(read_if_there(dead));
  const auto code = static_cast<exit_code>(ended.code);
  replayed r;
  if (ended.code != 0) {
    if (code == exit_code::usage || code == exit_code::module_refused) {
      throw failure(code, message_of(ended));
    }
    r.now = fmt::format("exit code {}", ended.code);
    r.message = with_place(message_of(ended), input, place);
  } else if (!failed.empty()) {
    const auto again = read_dead_letter(failed.front(), o.text);
    r.now = again.error;
    r.message = again.message;
    r.parses = !again.line;
  }
  // What a run that ended in another way has written is not its output.
  const bool has_output = code == exit_code::done || code == exit_code::guest_failed || code == exit_code::records_lost;
  const auto lines = has_output ? read_if_there(out) : "";
  r.outputs = split_lines(lines).size();
  output += lines;
  return r;
}

std::string name_of(const dead_letter& letter, const std::string& place) {
  if (letter.line) {
    return fmt::format("line {} of the input", letter.line_number);
  }
  return letter.offset.empty() ? place : fmt::format("offset {}", letter.offset);
}

/// What the letter was, and of a line whether it is a record now.
std::string what_it_was(const dead_letter& letter, const replayed& r) {
  const auto before = letter.error.empty() ? "not said why" : letter.error;
  if (letter.line && r.parses) {
    return "; the line was no record and is one now";
  }
  return r.now.empty() ? "; it was " + before : r.now == letter.error ? ", as before" : letter.error.empty() ? "" : "; it was " + before;
}

void print(const dead_letter& letter, const replayed& r, const std::string& place, bool coloured) {
  const auto name = name_of(letter, place);
  if (r.now.empty()) {
    fmt::print("{} {}: {} record{} out{}\n", in_colour(coloured, colour::green, "ok    "), name, r.outputs, r.outputs == 1 ? "" : "s",
               what_it_was(letter, r));
    return;
  }
  // Without the frames of the stack, and indented below.
  std::string first;
  for (const auto& line : split_lines(r.message.substr(0, r.message.find("\n  at ")))) {
    first += "    " + printable(line) + "\n";
  }
  const auto error = r.parses ? r.now : fmt::format("{}: the {} is no record", r.now, letter.line ? "line" : "letter");
  fmt::print("{} {}: {}{}\n{}", in_colour(coloured, colour::red, "FAILED"), name, error, what_it_was(letter, r), first);
}

ordered_json as_json(const dead_letter& letter, const replayed& r, std::size_t line) {
  const auto text = [](const std::string& value) { return value.empty() ? ordered_json() : ordered_json(printable(value)); };
  return {{"line", line},
          {"kind", letter.line ? "line" : "record"},
          {"offset", printable(letter.offset)},
          {"input_line", text(letter.line_number)},
          {"error_before", printable(letter.error)},
          {"error", text(r.now)},
          {"message", printable(r.message)},
          {"is_record", r.parses},
          {"records_out", r.outputs}};
}

}  // namespace

void replay(const replay_options& o) {
  const interruption signals;
  const scratch_directory scratch;
  const auto module = compile_once(o.guest, scratch.path());
  const bool coloured = has_colours(STDOUT_FILENO);
  std::error_code ignored;
  if (!o.output.empty() && fs::equivalent(o.output, o.dead_letters, ignored)) {
    throw failure(exit_code::usage, fmt::format("{} is the dead letters and the output: those that fail still would be gone", o.output));
  }
  std::string output;
  ordered_json all = ordered_json::array();
  std::size_t number = 0;
  std::size_t count = 0;
  std::size_t failed = 0;
  auto arguments = o;
  arguments.arguments.insert(arguments.arguments.begin(), {"--name", fs::path(o.guest).stem()});
  for (const auto& line : split_lines(read_text(o.dead_letters))) {
    ++number;
    if (line.empty()) {
      continue;
    }
    const auto place = fmt::format("{}:{}", o.dead_letters == "-" ? "standard input" : o.dead_letters, number);
    try {
      const auto letter = read_dead_letter(line, o.text);
      const auto r = replay_one(letter, place, module, arguments, scratch.path(), output);
      ++count;
      failed += r.now.empty() ? 0 : 1;
      if (o.json) {
        all.push_back(as_json(letter, r, number));
      } else {
        print(letter, r, place, coloured);
      }
    } catch (const failure& e) {
      throw failure(e.code(), e.code() == exit_code::bad_input ? fmt::format("{}: {}", place, e.what()) : e.what());
    }
  }
  if (!o.output.empty()) {
    write(o.output, output);
  }
  if (o.json) {
    fmt::print("{}\n", all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  if (failed != 0) {
    throw failure(exit_code::different, fmt::format("{} of {} dead letters fail still", failed, count));
  }
}

}  // namespace tool
