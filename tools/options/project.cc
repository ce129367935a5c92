// SPDX-License-Identifier: Apache-2.0
//
// Options of the commands about a project: init, build and test.
#include "commands.hh"
#include "values.hh"

#include "../project/build.hh"
#include "../project/init.hh"
#include "../testing/test.hh"

#include <memory>

namespace tool {

namespace {

constexpr const char* about_init =
    "The project has a transform, a case for its tests, a file for CI and a README. It builds offline with the compiler of\n"
    "its language alone. With --sdk redpanda it is written with Redpanda's module for Go instead, which the first build fetches.\n"
    "The files are yours.\n"
    "\n"
    "Examples:\n"
    "  wasm-transform init --language go rekey\n"
    "  cd rekey && wasm-transform test\n"
    "  wasm-transform init --language go --sdk redpanda rekey\n"
    "\n";

constexpr const char* about_build =
    "The module is build/NAME.wasm. Debug information is removed and names of functions stay, because messages have them.\n"
    "wasm-opt makes it smaller and faster if that is installed. A module that hosts would refuse ends with exit code 3.\n"
    "\n"
    "Compilers:\n"
    "  c, cpp   clang with wasi-libc: $CC or $CXX, that of $WASI_SDK_PATH, or clang and clang-NN on PATH.\n"
    "  rust     rustc on PATH or /usr/bin/rustc, with a standard library for wasm32-wasip1 or wasm32-wasi, or with Debian's\n"
    "           sources of it, which take a minute the first time.\n"
    "  go       Go 1.21 or later, with GOOS=wasip1.\n"
    "  js       As for C, with the sources of QuickJS: $QUICKJS_SOURCE or those of Cargo's crate rquickjs-sys. They take half a\n"
    "           minute the first time.\n"
    "\n"
    "Examples:\n"
    "  wasm-transform build\n"
    "  wasm-transform build --debug && wasm-transform run build/NAME.wasm --debug-info < lines.txt\n"
    "\n";

constexpr const char* about_test =
    "A case is files in the directory of the cases, tests by default:\n"
    "  NAME.in    The input.\n"
    "  NAME.out   What must come out. Without the file: nothing.\n"
    "  NAME.env   Variables of the transform's environment, NAME=VALUE a line.\n"
    "  NAME.args  More options of `run`, one a line, as in --format=records.\n"
    "  NAME.dead  Dead letters that must come out, a JSON object a line. Members that it has are compared, headers by their\n"
    "             keys. The case then runs with --on-error dead-letter.\n"
    "  NAME.fail  The run must fail at a record, with a message that has each of these lines. NAME.out is what comes before.\n"
    "Records without a timestamp have the time 0, and --seed is 1, unless options say otherwise.\n"
    "all.env and all.args are for all cases. Name, topics and variables come from transform.json.\n"
    "\n"
    "Examples:\n"
    "  wasm-transform test\n"
    "  wasm-transform test --update capitals\n"
    "  wasm-transform test --junit build/junit.xml --cases ci/cases\n"
    "  wasm-transform test --guest build/rekey.wasm --watch\n"
    "\n";

}  // namespace

action add_init(CLI::App& app) {
  auto& command = *app.add_subcommand("init", "Makes a project for a new transform.");
  auto o = std::make_shared<init_options>();
  command.add_option("NAME", o->name, "The transform's name: small letters, digits, '-' and '_'")
      ->required()
      ->check(CLI::Validator([](std::string& name) { return wrong_with_name(name); }, "NAME"))
      ->option_text("NAME");
  command.add_option("--language,-l", o->language, "c, cpp, go, js or rust (the default)")
      ->transform(one_of<language>(languages()))
      ->option_text("LANGUAGE");
  command.add_option("--sdk", o->sdk, "bundled (the default), or redpanda: Redpanda's own, for go")
      ->transform(one_of<sdk>({{"bundled", sdk::bundled}, {"redpanda", sdk::redpanda}}))
      ->option_text("SDK");
  command.add_option("--directory", o->directory, "Where it is made (default: the name)")->option_text("DIR");
  command.add_flag("--json", o->json, "Writes what was made as JSON");
  command.footer(std::string(about_init) + exit_codes);
  return [o] { init(*o); };
}

action add_build(CLI::App& app) {
  auto& command = *app.add_subcommand("build", "Builds the module of a project.");
  auto o = std::make_shared<build_options>();
  command.add_option("DIRECTORY", o->directory, "The project (default: the current directory)")
      ->check(CLI::ExistingDirectory)
      ->option_text("DIR");
  command.add_flag("--debug,-g", o->debug, "With debug information, for --debug-info, and without wasm-opt");
  command.add_flag("--json", o->json, "Writes what was built to standard output as JSON");
  command.add_flag("--quiet,-q", o->quiet, "Says nothing unless something fails");
  command.footer(std::string(about_build) + exit_codes);
  return [o] { build(*o); };
}

action add_test(CLI::App& app) {
  auto& command = *app.add_subcommand("test", "Builds a project and runs the cases of its tests.");
  auto o = std::make_shared<test_options>();
  command.add_option("CASE", o->names, "The cases to run (default: all)")->option_text("NAME");
  command.add_option("--directory", o->directory, "The project (default: the current directory)")
      ->check(CLI::ExistingDirectory)
      ->option_text("DIR");
  command.add_option("--guest", o->guest, "Tests this module and builds nothing; there need be no project")
      ->check(CLI::ExistingFile)
      ->option_text("FILE");
  command.add_option("--cases", o->cases, "Where the cases are (default: tests)")->option_text("DIR");
  command.add_flag("--update", o->update, "Writes down what comes out as what must come out");
  command.add_option("--junit", o->junit, "Writes the results as JUnit's XML")->option_text("FILE");
  command.add_flag("--json", o->json, "Writes the results to standard output as JSON");
  command.add_flag("--watch", o->watch, "Builds and tests again whenever a file of the project changes, until it is interrupted");
  command.add_flag("--quiet,-q", o->quiet, "Names failed cases only");
  command.footer(std::string(about_test) + exit_codes);
  return [o] { test(*o); };
}

}  // namespace tool
