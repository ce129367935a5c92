// SPDX-License-Identifier: Apache-2.0
//
// Options of the commands that compare: diff, bench and replay.
#include "commands.hh"
#include "values.hh"

#include "../bench/bench.hh"
#include "../compare/diff.hh"
#include "../compare/replay.hh"

#include <memory>

namespace tool {

namespace {

constexpr const char* about_diff =
    "Both modules get the same input, each in a process of its own. The numbers of CPU time and memory are those of the\n"
    "processes, with compiled modules. Records of the outputs are compared in their order. Both see the same clock and the\n"
    "same chance: records without a timestamp get the time at which `diff` began, and --seed is 1, unless options say\n"
    "otherwise.\n"
    "\n"
    "Examples:\n"
    "  wasm-transform diff old.wasm new.wasm lines.txt\n"
    "  wasm-transform diff old.wasm new.wasm topic.ndjson -- --format records --env LEVEL=2\n"
    "  wasm-transform diff old.wasm new.wasm topic.ndjson -- --format records --on-error skip --max-errors 100%\n"
    "\n";

constexpr const char* about_bench =
    "Times are processor time of the thread that runs the guest, the least of many rounds. The identity copies records and is\n"
    "what a transform costs at least. Compare ratios of two runs and not nanoseconds: they depend on the machine and on what\n"
    "else it does. `slower:` of --fail-if compares the ratios to the identity, `larger:` the guest's memory.\n"
    "\n"
    "Examples:\n"
    "  wasm-transform bench build/rekey.wasm\n"
    "  wasm-transform bench build/rekey.wasm lines.txt --save before.json\n"
    "  wasm-transform bench build/rekey.wasm lines.txt --against before.json --fail-if slower:10% --fail-if larger:20%\n"
    "\n";

constexpr const char* about_replay =
    "Each record that was a dead letter goes through the guest alone, without the headers that `run` has added and with a\n"
    "guest that starts anew. A line that was no record is read again as it was read then.\n"
    "\n"
    "Examples:\n"
    "  wasm-transform run old.wasm lines.txt --on-error dead-letter --dead-letter dead.ndjson > out.txt\n"
    "  wasm-transform replay new.wasm dead.ndjson --output mended.ndjson\n"
    "  wasm-transform replay new.wasm dead.ndjson --encoding base64 -- --env LEVEL=2\n"
    "\n";

void add_run_options(CLI::App& command, std::vector<std::string>& arguments) {
  command.add_option("RUN_OPTION", arguments, "After --: options of `run`, such as --format records")->option_text("OPTION");
}

}  // namespace

action add_diff(CLI::App& app) {
  auto& command = *app.add_subcommand("diff", "Compares what two modules make of the same input.");
  auto o = std::make_shared<diff_options>();
  command.add_option("OLD", o->before, "The module as it was")->required()->check(CLI::ExistingFile)->option_text("FILE");
  command.add_option("NEW", o->after, "The module as it is")->required()->check(CLI::ExistingFile)->option_text("FILE");
  command.add_option("INPUT", o->input, "Where records come from; - is standard input")->required()->option_text("FILE");
  add_run_options(command, o->arguments);
  command.add_flag("--json", o->json, "As JSON");
  command.footer(std::string(about_diff) + exit_codes);
  return [o] { diff(*o); };
}

action add_bench(CLI::App& app) {
  auto& command = *app.add_subcommand("bench", "Measures what a record costs, beside a module that copies it.");
  auto o = std::make_shared<bench_options>();
  add_guest(command, o->guest);
  auto* input = command.add_option("INPUT", o->input, "A file whose lines are the records (default: JSON objects are made)");
  input->check(CLI::ExistingFile)->option_text("FILE");
  command.add_option("--sizes", o->sizes, "Sizes of made records, such as 64,1KiB,16KiB (the default)")
      ->delimiter(',')
      ->transform(size_value())
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 20))
      ->option_text("LIST")
      ->allow_extra_args(false)
      ->excludes(input);
  command.add_option("--env", o->env, "A variable of the guest's environment; repeat for more")
      ->check(assignment())
      ->option_text("NAME=VALUE")
      ->allow_extra_args(false);
  command.add_option("--output-topic", o->output_topics, "An output topic; repeat for more (default: output)")
      ->check(topic_name())
      ->option_text("TOPIC")
      ->allow_extra_args(false);
  add_memory_limit(command, o->memory_limit);
  command.add_option("--seconds", o->seconds, "Time for each size and module (default: 0.5)")
      ->check(CLI::Range(0.01, 600.0))
      ->option_text("N");
  command.add_option("--save", o->save, "Writes the result to a file, for --against")->option_text("FILE");
  auto* against = command.add_option("--against", o->against, "A result to compare with");
  against->check(CLI::ExistingFile)->option_text("FILE");
  command.add_option("--fail-if", o->fail_if, "slower:P% or larger:P%: exit code 7 if it is by more; repeat for both")
      ->option_text("LIMIT")
      ->allow_extra_args(false)
      ->needs(against);
  command.add_flag("--json", o->json, "As JSON");
  command.footer(std::string(about_bench) + exit_codes);
  return [o] { bench(*o); };
}

action add_replay(CLI::App& app) {
  auto& command = *app.add_subcommand("replay", "Runs dead letters through a module, one by one.");
  auto o = std::make_shared<replay_options>();
  add_guest(command, o->guest);
  command.add_option("DEADLETTERS", o->dead_letters, "What --dead-letter of `run` wrote; - is standard input")
      ->required()
      ->option_text("FILE");
  add_run_options(command, o->arguments);
  command.add_option("--encoding", o->text, "utf8 (the default), base64 or hex: that of the run which wrote the dead letters")
      ->transform(one_of<encoding>({{"utf8", encoding::utf8}, {"base64", encoding::base64}, {"hex", encoding::hex}}))
      ->option_text("ENCODING");
  command.add_option("--output,-o", o->output, "Where the output goes, in the format records (default: nowhere)")->option_text("FILE");
  command.add_flag("--json", o->json, "As JSON");
  command.footer(std::string(about_replay) + exit_codes);
  return [o] { replay(*o); };
}

}  // namespace tool
