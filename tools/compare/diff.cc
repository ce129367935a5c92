// SPDX-License-Identifier: Apache-2.0
#include "diff.hh"

#include "../encoding.hh"
#include "../exit_code.hh"
#include "../file.hh"
#include "../guest_run.hh"
#include "../interruption.hh"
#include "../output_files.hh"
#include "../report.hh"
#include "../scratch.hh"
#include "../terminal.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <optional>
#include <sstream>
#include <unistd.h>
#include <utility>

namespace tool {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

/// One of the two.
struct side {
  std::string module;
  fs::path output;
  fs::path places;  ///< What --output-places writes.
  child_result ended;
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;
};

/// The input record that an output record comes from.
struct origin {
  std::uint64_t line = 0;  ///< From 1. 0: the input has no lines.
  std::uint64_t index = 0;
  std::int64_t offset = 0;
  friend bool operator==(const origin&, const origin&) = default;
};

struct output_record {
  std::string text;
  std::optional<origin> from;  ///< None of what the guest wrote before it had a record.
};

/// Where the outputs part. A side that has ended has no record.
struct parting {
  std::uint64_t record = 0;  ///< From 1. 0: what comes before the records, the columns of CSV.
  std::optional<output_record> before;
  std::optional<output_record> after;
};

struct comparison {
  side before;
  side after;
  std::uint64_t same = 0;  ///< Records at the same place.
  std::optional<parting> first;
};

/// Reads the output of a side. Records are as long as their places say: they may have several lines.
class output_reader {
 public:
  explicit output_reader(const side& s) : _output(s.output, std::ios::binary), _places(s.places) {}

  /// What comes before the first record.
  std::string header() {
    std::uint64_t bytes = 0;
    const auto begin = _places.tellg();
    while (const auto place = next_place()) {
      bytes += place->first;
    }
    _places.clear();
    _places.seekg(begin);
    _output.seekg(0, std::ios::end);
    const auto size = static_cast<std::uint64_t>(std::max<std::streamoff>(_output.tellg(), 0));
    _output.clear();
    _output.seekg(0);
    return read(size - std::min(size, bytes));
  }

  std::optional<output_record> next() {
    const auto place = next_place();
    return place ? std::optional(output_record{read(place->first), place->second}) : std::nullopt;
  }

 private:
  /// Bytes and origin.
  std::optional<std::pair<std::uint64_t, std::optional<origin>>> next_place() {
    if (!std::getline(_places, _line)) {
      return std::nullopt;
    }
    std::istringstream numbers(_line);
    std::uint64_t bytes = 0;
    origin from;
    numbers >> bytes;
    const bool has_origin = static_cast<bool>(numbers >> from.line >> from.index >> from.offset);
    return std::pair(bytes, has_origin ? std::optional(from) : std::nullopt);
  }

  std::string read(std::uint64_t size) {
    std::string text(size, '\0');
    _output.read(text.data(), static_cast<std::streamsize>(size));
    text.resize(static_cast<std::size_t>(_output.gcount()));
    return text;
  }

  std::ifstream _output;
  std::ifstream _places;
  std::string _line;
};

/// Both sides see the same clock and the same chance, which would differ from any run to the next. What the user says
/// of them comes behind and counts.
std::vector<std::string> same_world(const std::vector<std::string>& arguments) {
  using namespace std::chrono;
  const auto now = duration_cast<milliseconds>(system_clock::now().time_since_epoch());
  std::vector<std::string> world = {"--default-timestamp", std::to_string(now.count())};
  if (!is_remote(arguments)) {
    world.insert(world.end(), {"--seed", "1"});
  }
  return world;
}

void run_side(side& s, const diff_options& o, const std::vector<std::string>& world, const std::string& input,
              const fs::path& scratch) {
  const auto compiled = compile_once(s.module, scratch);
  auto arguments = world;
  // Both have the same name, which guests can see.
  arguments.insert(arguments.end(), {"--name", "diff", "--output-places", s.places});
  arguments.insert(arguments.end(), o.arguments.begin(), o.arguments.end());
  s.ended = run_guest(compiled, input, s.output, arguments);
  const auto code = static_cast<exit_code>(s.ended.code);
  if (code != exit_code::done && code != exit_code::guest_failed && code != exit_code::records_lost) {
    throw failure(code == exit_code::usage || code == exit_code::bad_input || code == exit_code::module_refused ? code : exit_code::other,
                  fmt::format("{}: {}", s.module, message_of(s.ended)));
  }
}

/// A record without the end of its line.
std::string_view without_end(std::string_view text) { return text.substr(0, text.size() - (text.ends_with('\n') ? 1 : 0)); }

void compare(comparison& c) {
  output_reader before(c.before);
  output_reader after(c.after);
  if (auto a = before.header(), b = after.header(); a != b) {
    c.first = parting{0, output_record{std::move(a), {}}, output_record{std::move(b), {}}};
  }
  for (std::uint64_t record = 1;; ++record) {
    if (record % 4096 == 0) {
      interruption::check();
    }
    auto a = before.next();
    auto b = after.next();
    if (!a && !b) {
      return;
    }
    for (auto [one, of] : {std::pair(&a, &c.before), std::pair(&b, &c.after)}) {
      of->records += *one ? 1 : 0;
      of->bytes += *one ? without_end((*one)->text).size() : 0;
    }
    if (a && b && a->text == b->text) {
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
  const auto text = [](const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); };
  to.push_back(fmt::format("{}: {} -> {}", path.empty() ? "/" : path, text(a), text(b)));
}

std::vector<std::string> members(const parting& p) {
  std::vector<std::string> all;
  if (p.before && p.after) {
    const auto a = json::parse(p.before->text, nullptr, false);
    const auto b = json::parse(p.after->text, nullptr, false);
    if (!a.is_discarded() && !b.is_discarded() && a.is_structured() && b.is_structured()) {
      members(a, b, "", all);
    }
  }
  return all;
}

std::string shown(const output_record& r) { return printable(without_end(r.text)); }

std::string place_of(const output_record& r) {
  if (!r.from) {
    return "no record of the input";
  }
  return r.from->line > 0 ? fmt::format("line {} of the input (offset {})", grouped(r.from->line), r.from->offset)
                          : fmt::format("record {} of the input (offset {})", grouped(r.from->index + 1), r.from->offset);
}

/// What the first record that differs comes from, on one side or on both.
std::string places_of(const parting& p) {
  if (p.record == 0) {
    return "";
  }
  if (p.before && p.after && p.before->from != p.after->from) {
    return fmt::format("  old: from {}\n  new: from {}\n", place_of(*p.before), place_of(*p.after));
  }
  return fmt::format("  from {}\n", place_of(p.before ? *p.before : *p.after));
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
    if (c.first->record == 0) {
      fmt::print("\nthe columns differ:\n");
    } else {
      fmt::print("\nthe first record that differs is number {} of the output:\n{}", grouped(c.first->record), places_of(*c.first));
    }
    const auto line = [coloured](char sign, const std::optional<output_record>& record) {
      fmt::print("{}\n", in_colour(coloured, sign == '-' ? colour::red : colour::green,
                                   fmt::format("{} {}", sign, record ? shown(*record) : "(there are no more)")));
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
    const auto text = [](const std::optional<output_record>& r) { return r ? ordered_json(shown(*r)) : ordered_json(); };
    const auto input = [](const std::optional<output_record>& r) {
      if (!r || !r->from) {
        return ordered_json();
      }
      const auto& from = *r->from;
      const auto line = from.line > 0 ? ordered_json(from.line) : ordered_json();
      return ordered_json{{"line", line}, {"index", from.index}, {"offset", from.offset}};
    };
    all["first_difference"] = {{"record", c.first->record},
                               {"old", text(c.first->before)},
                               {"new", text(c.first->after)},
                               {"old_input", input(c.first->before)},
                               {"new_input", input(c.first->after)},
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
  const interruption signals;
  const scratch_directory scratch;
  const auto input = input_file(o, scratch.path());
  comparison c;
  c.before = {o.before, scratch.path() / "old", scratch.path() / "old.places", {}, 0, 0};
  c.after = {o.after, scratch.path() / "new", scratch.path() / "new.places", {}, 0, 0};
  const auto world = same_world(o.arguments);
  run_side(c.before, o, world, input, scratch.path());
  run_side(c.after, o, world, input, scratch.path());
  compare(c);
  if (o.json) {
    print_json(c);
  } else {
    print_text(c, has_colours(STDOUT_FILENO));
  }
  const bool same_end = c.before.ended.code == c.after.ended.code;
  if (c.first || !same_end) {
    throw failure(exit_code::different,
                  !c.first                ? "the outputs are the same and the ends differ"
                  : c.first->record == 0 ? "the columns of the outputs differ"
                                         : fmt::format("the outputs differ from record {} on; {} records are the same",
                                                       c.first->record, grouped(c.same)));
  }
  if (!o.json) {
    fmt::print("\nthe outputs are the same\n");
  }
}

}  // namespace tool
