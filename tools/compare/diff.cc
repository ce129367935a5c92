// SPDX-License-Identifier: Apache-2.0
#include "diff.hh"

#include "../encoding.hh"
#include "../exit_code.hh"
#include "../file.hh"
#include "../guest_run.hh"
#include "../output_files.hh"
#include "../report.hh"
#include "../scratch.hh"
#include "../terminal.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <optional>
#include <unistd.h>

namespace tool {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

/// One of the two.
struct side {
  std::string module;
  fs::path output;
  child_result ended;
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;
};

/// Where the outputs part. A side that has ended has no line.
struct parting {
  std::uint64_t record = 0;  ///< From 1.
  std::optional<std::string> before;
  std::optional<std::string> after;
};

struct comparison {
  side before;
  side after;
  std::uint64_t same = 0;  ///< Records at the same place.
  std::optional<parting> first;
};

std::optional<std::string> next(std::ifstream& from) {
  std::string line;
  return std::getline(from, line) ? std::optional(std::move(line)) : std::nullopt;
}

void run_side(side& s, const diff_options& o, const std::string& input, const fs::path& scratch) {
  const auto compiled = compile_once(s.module, scratch);
  auto arguments = o.arguments;
  // Both have the same name, which guests can see.
  arguments.insert(arguments.begin(), {"--name", "diff"});
  s.ended = run_guest(compiled, input, s.output, arguments);
  const auto code = static_cast<exit_code>(s.ended.code);
  if (code != exit_code::done && code != exit_code::guest_failed && code != exit_code::records_lost) {
    throw failure(code == exit_code::usage || code == exit_code::bad_input || code == exit_code::module_refused ? code : exit_code::other,
                  fmt::format("{}: {}", s.module, message_of(s.ended)));
  }
}

void compare(comparison& c) {
  std::ifstream before(c.before.output);
  std::ifstream after(c.after.output);
  for (std::uint64_t record = 1;; ++record) {
    auto a = next(before);
    auto b = next(after);
    if (!a && !b) {
      return;
    }
    for (auto [line, of] : {std::pair(&a, &c.before), std::pair(&b, &c.after)}) {
      of->records += *line ? 1 : 0;
      of->bytes += *line ? (*line)->size() : 0;
    }
    if (a == b) {
      ++c.same;
    } else if (!c.first) {
      c.first = parting{record, std::move(a), std::move(b)};
    }
  }
}

/// The parts of two JSON values that differ, with their paths.
void members(const json& a, const json& b, const std::string& path, std::vector<std::string>& to) {
  if (a == b || to.size() >= 20) {
    return;
  }
  if (a.is_object() && b.is_object()) {
    for (const auto& [key, value] : a.items()) {
      members(value, b.contains(key) ? b.at(key) : json(), path + "/" + key, to);
    }
    for (const auto& [key, value] : b.items()) {
      if (!a.contains(key)) {
        members(json(), value, path + "/" + key, to);
      }
    }
    return;
  }
  if (a.is_array() && b.is_array() && a.size() == b.size()) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      members(a[i], b[i], fmt::format("{}/{}", path, i), to);
    }
    return;
  }
  to.push_back(fmt::format("{}: {} -> {}", path.empty() ? "/" : path, a.dump(), b.dump()));
}

std::vector<std::string> members(const parting& p) {
  std::vector<std::string> all;
  if (p.before && p.after) {
    const auto a = json::parse(*p.before, nullptr, false);
    const auto b = json::parse(*p.after, nullptr, false);
    if (!a.is_discarded() && !b.is_discarded() && a.is_structured() && b.is_structured()) {
      members(a, b, "", all);
    }
  }
  return all;
}

std::string how_it_ended(const side& s) {
  return s.ended.code == 0 ? "done" : s.ended.code == static_cast<int>(exit_code::guest_failed) ? "failed" : "lost records";
}

double seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

void row(const char* name, const std::string& before, const std::string& after, const std::string& note = {}) {
  fmt::print("{:<14} {:>16} {:>16}  {}\n", name, before, after, note);
}

std::string ratio(double before, double after) { return before > 0 ? fmt::format("x {:.2f}", after / before) : ""; }

void print_text(const comparison& c, bool coloured) {
  const auto& a = c.before;
  const auto& b = c.after;
  row("", "old", "new");
  row("end", how_it_ended(a), how_it_ended(b));
  row("records out", grouped(a.records), grouped(b.records));
  row("bytes out", grouped(a.bytes), grouped(b.bytes));
  row("CPU time", fmt::format("{:.3f} s", seconds(a.ended.cpu_time)), fmt::format("{:.3f} s", seconds(b.ended.cpu_time)),
      ratio(seconds(a.ended.cpu_time), seconds(b.ended.cpu_time)));
  row("memory", byte_count(a.ended.memory), byte_count(b.ended.memory),
      ratio(static_cast<double>(a.ended.memory), static_cast<double>(b.ended.memory)));
  if (c.first) {
    fmt::print("\nthe first record that differs is number {} of the output:\n", grouped(c.first->record));
    const auto line = [coloured](char sign, const std::optional<std::string>& text) {
      fmt::print("{}\n", in_colour(coloured, sign == '-' ? colour::red : colour::green,
                                   fmt::format("{} {}", sign, text ? printable(*text) : "(there are no more)")));
    };
    line('-', c.first->before);
    line('+', c.first->after);
    for (const auto& member : members(*c.first)) {
      fmt::print("  {}\n", printable(member));
    }
  }
  for (const auto* s : {&a, &b}) {
    if (s->ended.code != 0) {
      fmt::print("\n{}: {}\n", s->module, message_of(s->ended));
    }
  }
}

ordered_json as_json(const side& s) {
  return {{"module", s.module},           {"exit_code", s.ended.code},
          {"records", s.records},         {"bytes", s.bytes},
          {"cpu_seconds", seconds(s.ended.cpu_time)}, {"memory_bytes", s.ended.memory},
          {"error", s.ended.code == 0 ? ordered_json() : ordered_json(printable(message_of(s.ended)))}};
}

void print_json(const comparison& c) {
  ordered_json all = {{"same_records", c.same}, {"old", as_json(c.before)}, {"new", as_json(c.after)}, {"first_difference", nullptr}};
  if (c.first) {
    const auto text = [](const std::optional<std::string>& line) { return line ? ordered_json(printable(*line)) : ordered_json(); };
    all["first_difference"] = {{"record", c.first->record}, {"old", text(c.first->before)}, {"new", text(c.first->after)},
                               {"members", members(*c.first)}};
  }
  fmt::print("{}\n", all.dump(2, ' ', false, json::error_handler_t::replace));
}

/// Standard input is read once and both want it.
std::string input_file(const diff_options& o, const fs::path& scratch) {
  if (o.input != "-") {
    return o.input;
  }
  const auto kept = scratch / "input";
  output_file file(kept);
  file.write(read_text("-"));
  file.commit();
  return kept;
}

}  // namespace

void diff(const diff_options& o) {
  const scratch_directory scratch;
  const auto input = input_file(o, scratch.path());
  comparison c;
  c.before = {o.before, scratch.path() / "old", {}, 0, 0};
  c.after = {o.after, scratch.path() / "new", {}, 0, 0};
  run_side(c.before, o, input, scratch.path());
  run_side(c.after, o, input, scratch.path());
  compare(c);
  if (o.json) {
    print_json(c);
  } else {
    print_text(c, has_colours(STDOUT_FILENO));
  }
  const bool same_end = c.before.ended.code == c.after.ended.code;
  if (c.first || !same_end) {
    throw failure(exit_code::different,
                  c.first ? fmt::format("the outputs differ from record {} on; {} records are the same", c.first->record, grouped(c.same))
                          : "the outputs are the same and the ends differ");
  }
  if (!o.json) {
    fmt::print("\nthe outputs are the same\n");
  }
}

}  // namespace tool
