// SPDX-License-Identifier: Apache-2.0
#include "test.hh"

#include "case_run.hh"
#include "report.hh"
#include "watch.hh"

#include "../exit_code.hh"
#include "../guest_run.hh"
#include "../interruption.hh"
#include "../output_files.hh"
#include "../project/build.hh"
#include "../scratch.hh"
#include "../terminal.hh"

#include <fmt/format.h>

#include <algorithm>
#include <unistd.h>

namespace tool {

namespace {

namespace fs = std::filesystem;

/// What is tested, and with which options of `run`.
struct subject {
  std::string name;
  std::string module;
  std::vector<std::string> arguments;
};

subject build_subject(const test_options& o) {
  subject s;
  std::error_code ignored;
  const bool described = o.guest.empty() || fs::exists(fs::path(o.directory) / manifest_name, ignored);
  if (!described) {
    return {fs::path(o.guest).stem(), o.guest, {}};
  }
  const auto p = read_project(o.directory);
  s.name = p.name;
  s.arguments = {"--name", p.name, "--input-topic", p.input_topic};
  for (const auto& topic : p.output_topics) {
    s.arguments.insert(s.arguments.end(), {"--output-topic", topic});
  }
  for (const auto& [key, value] : p.environment) {
    s.arguments.insert(s.arguments.end(), {"--env", fmt::format("{}={}", key, value)});
  }
  s.module = o.guest;
  if (o.guest.empty()) {
    build(p, {o.directory, false, false, o.quiet});
    s.module = p.module();
  }
  return s;
}

std::string indented(const std::string& text) {
  std::string out;
  for (const auto& line : split_lines(text)) {
    out += "  " + line + "\n";
  }
  return out;
}

void show(const case_result& r, const test_options& o, bool coloured) {
  if (r.passed() && o.quiet) {
    return;
  }
  const auto word = r.passed() ? in_colour(coloured, colour::green, "ok") : in_colour(coloured, colour::red, "FAILED");
  fmt::print(stderr, "{} {} ({} ms)\n{}", word, r.name, r.time.count() / 1'000'000, indented(coloured ? r.coloured : r.message));
}

void write_reports(const subject& s, const std::vector<case_result>& results, const test_options& o) {
  if (!o.junit.empty()) {
    output_file file(o.junit);
    file.write(junit(s.name, results));
    file.commit();
  }
  if (o.json) {
    fmt::print("{}", json_results(s.name, results));
  }
}

/// One time.
void test_once(const test_options& o) {
  const auto s = build_subject(o);
  const auto directory = fs::path(o.cases).is_absolute() ? fs::path(o.cases) : fs::path(o.directory) / o.cases;
  const auto cases = read_cases(directory, o.names);
  const scratch_directory scratch;
  const bool coloured = has_colours(STDERR_FILENO);
  const case_settings settings{compile_once(s.module, scratch.path()), s.arguments, scratch.path(), o.update};
  std::vector<case_result> results;
  for (const auto& one : cases) {
    results.push_back(run_case(one, settings));
    show(results.back(), o, coloured);
  }
  write_reports(s, results, o);
  const auto failed = std::count_if(results.begin(), results.end(), [](const auto& r) { return !r.passed(); });
  if (failed != 0) {
    throw failure(exit_code::different, fmt::format("{} of {} cases failed", failed, results.size()));
  }
  if (!o.quiet) {
    fmt::print(stderr, "{} case{} passed\n", results.size(), results.size() == 1 ? "" : "s");
  }
}

}  // namespace

void test(const test_options& o) {
  const interruption signals;
  if (!o.watch) {
    test_once(o);
    return;
  }
  watch files({o.directory, o.guest.empty() ? o.directory : o.guest, fs::path(o.cases).is_absolute() ? o.cases : o.directory});
  for (;; files.wait()) {
    try {
      test_once(o);
    } catch (const failure& e) {
      fmt::print(stderr, "wasm-transform: {}\n", e.what());
    }
    fmt::print(stderr, "waiting for a change; Ctrl-C ends\n");
  }
}

}  // namespace tool
