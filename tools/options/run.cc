// SPDX-License-Identifier: Apache-2.0
#include "commands.hh"
#include "files.hh"
#include "formats.hh"
#include "registry.hh"
#include "values.hh"

#include "../run.hh"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <set>

namespace tool {

namespace {

constexpr const char* about_run =
    "Threads: each has its own event loop and guest. A partition is always on the same thread. So are records with the\n"
    "same key that have no partition. Only their order is kept. With more than one thread or partition, lines of\n"
    "different partitions or keys come out in any order. Records that have neither are in no order on several\n"
    "threads.\n"
    "\n"
    "A guest that fails at a record (it traps, exits, takes too long, hits a limit) ends the run unless --on-error says\n"
    "to continue: the guest is started again and the batch continues behind that record. Dead letters are in the format\n"
    "records whatever --format says, with NAME_base64 for what is not UTF-8. They are appended to the file as records\n"
    "are lost. They have the topic that they came from and the details in added headers: wasm-transform, wasm-offset,\n"
    "wasm-error, wasm-error-message and, if the guest wrote to standard error, wasm-stderr. A line that is no record is\n"
    "lost in the same way: it is the value then, wasm-error is bad-input, and wasm-line is its number.\n"
    "\n"
    "Each record that is lost that way, dropped or a dead letter, is an error of the summary. Any such record makes the\n"
    "exit code 6, after all input was read. --max-errors N allows N: the run ends before one more is lost, with several\n"
    "threads soon after. --max-errors P% allows a share of the records read and is judged at the end. 100% allows all.\n"
    "\n"
    "Compiled modules: with --cache-dir they are kept in a directory and need not be compiled again. The directory must\n"
    "belong to you or root and must not be writable by others. A guest whose name ends with .cwasm is the output of\n"
    "`wasm-transform precompile`. It is machine code: run none that you do not trust like a program.\n"
    "\n"
    "Examples:\n"
    "  wasm-transform run guest.wasm lines.txt > out.txt\n"
    "  wasm-transform run guest.wasm topic.ndjson --format records -o out.ndjson --env LEVEL=2\n"
    "  wasm-transform run guest.wasm lines.txt --on-error dead-letter --dead-letter dead.ndjson --max-errors 1%\n"
    "  wasm-transform run guest.wasm lines.txt --profile profile.svg --quiet > /dev/null\n"
    "\n"
    "Output files get their names when they are complete. Guests' output and a summary go to standard error. A signal\n"
    "ends the run with summary, profile and dead letters. A second one ends it at once.\n"
    "\n";

struct parsed {
  run_options run;
  std::vector<std::string> env;
  double record_timeout_ns = 3e9;
  registry_options registry;
  std::optional<std::string> metrics_listen;
  std::optional<std::string> max_errors;
};

void add_options(CLI::App& command, parsed& p) {
  auto& o = p.run;
  add_guest(command, o.guest);
  command.add_option("INPUT", o.input, "Where records come from; - is standard input (the default)")
      ->option_text("FILE");
  auto* file = command.add_option("--output,-o", o.output, "Where they go; - is standard output (the default)");
  file->option_text("FILE");
  command
      .add_option("--output-dir", o.output_directory,
                  "Where they go, in a file per topic: TOPIC.txt, .csv, .log for batches, or .ndjson (.jsonl if that is too long)")
      ->option_text("DIR")
      ->excludes(file);

  add_formats(command, o);

  auto* on_error = command.add_option("--on-error", o.on_error,
                                      "What happens at a record at which the guest fails, and at a line that is no "
                                      "record: fail ends the run (the default), skip drops it, dead-letter writes it to a "
                                      "file of its own");
  on_error
      ->transform(one_of<wasm_on_error>({{"fail", WASM_ON_ERROR_FAIL},
                                         {"skip", WASM_ON_ERROR_SKIP},
                                         {"dead-letter", WASM_ON_ERROR_DEAD_LETTER}}))
      ->option_text("WHAT");
  command.add_option("--dead-letter", o.dead_letters, "Where dead letters go, behind what is there; - is standard output")
      ->option_text("FILE")
      ->needs(on_error);
  command
      .add_option("--max-errors", p.max_errors,
                  "Records that --on-error may lose without exit code 6: a number, at which the run ends early, or a "
                  "share such as 0.5% (default: none, and the run goes on)")
      ->option_text("N|P%")
      ->needs(on_error);

  command.add_option("--name", o.name, "The transform's name (default: the file's, without its ending)")
      ->option_text("NAME");
  command.add_option("--input-topic", o.input_topic, "What the guest knows as its input topic (default: input)")
      ->check(topic_name())
      ->option_text("TOPIC");
  command.add_option("--output-topic", o.output_topics, "An output topic; repeat for more (default: output)")
      ->check(topic_name())
      ->option_text("TOPIC")
      ->allow_extra_args(false);
  command.add_option("--env", p.env, "A variable of the guest's environment; repeat for more")
      ->check(assignment())
      ->option_text("NAME=VALUE")
      ->allow_extra_args(false);

  command
      .add_option("--cache-dir", o.cache_directory, "Keeps compiled modules in this directory, for the next time")
      ->option_text("DIR");
  command.add_option("--batch-size", o.batch_size, "Records in a batch at most (default: 1000)")
      ->check(CLI::Range(1, 1'000'000))
      ->option_text("N");
  command.add_option("--compression", o.compression, "Of the batches: none (the default), gzip, snappy, lz4 or zstd")
      ->transform(one_of<wasm_compression>({{"none", WASM_COMPRESSION_NONE},
                                            {"gzip", WASM_COMPRESSION_GZIP},
                                            {"snappy", WASM_COMPRESSION_SNAPPY},
                                            {"lz4", WASM_COMPRESSION_LZ4},
                                            {"zstd", WASM_COMPRESSION_ZSTD}}))
      ->option_text("CODEC");
  add_memory_limit(command, o.memory_limit);
  command
      .add_option("--record-timeout", p.record_timeout_ns, "Time for one record at most, such as 500ms (default: 3s)")
      ->transform(duration_value())
      ->option_text("TIME");
  command.add_option("--table-limit", o.limits.table, "Elements of the guest's tables at most (default: 1048576)")
      ->check(CLI::Range(1, 1 << 20))
      ->option_text("N");
  command
      .add_option("--output-limit", o.limits.output_buffer, "Size of one output record at most, such as 64KiB (default: all)")
      ->transform(size_value())
      ->option_text("SIZE");
  command.add_option("--log-rate", o.limits.log_lines_per_second, "Lines per second that the guest may log (default: all)")
      ->check(CLI::Range(1, 1'000'000))
      ->option_text("N");
  command
      .add_option("--seed", o.seed,
                  "What the guest takes for chance and for the time that passes depends on this number and the input alone "
                  "(default: the system's)")
      ->check(CLI::PositiveNumber)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
      ->option_text("N");
  add_rights(command, o.allowed);
  add_registry(command, p.registry);
  command.add_option("--threads,-j", o.threads, "Event loops, each with a guest of its own (default: 1)")
      ->check(CLI::Range(1, 256))
      ->option_text("N");
  command.add_flag("--json", o.json, "Writes the summary and an error as JSON, a line each, to standard error");
  command.add_flag("--quiet,-q", o.quiet, "Writes no summary");
  command.add_flag("--progress", o.progress,
                   "Shows records per second, errors and lag while it runs, also where standard error is no terminal: a "
                   "line each second");
  command
      .add_option("--coredump", o.coredump,
                  "If the guest fails, where its core dump goes; in a directory it is NAME.coredump (default: none)")
      ->option_text("FILE|DIR");
  command
      .add_option("--profile", o.profile, "Where the guest's profile goes, JSON for https://profiler.firefox.com, or a "
                                          "flame graph if the name ends with .svg (default: none)")
      ->option_text("FILE");
  command.add_flag("--debug-info", o.debug_info,
                   "Errors name file and line of the guest's source if the module has debug information");
  add_compile_helper(command, o.compile_helper);
  auto* remote = command.add_option("--remote", o.remote, "Runs the guest on the computer where `wasm-transform serve` has this "
                                                          "address; the module is uploaded if that has none with its content");
  remote->option_text("ADDRESS");
  command.add_option("--remote-ca", o.remote_ca, "Connects by TLS and trusts this authority, PEM; - are the system's")
      ->option_text("FILE")
      ->needs(remote);
  command.add_option("--remote-token-file", o.remote_token, "The server's token is the file's one line")
      ->check(CLI::ExistingFile)
      ->option_text("FILE")
      ->needs(remote);
  command.add_flag("--perf-map", o.perf_map, "Lists the guest's functions in /tmp/perf-PID.map, for perf report");
  command
      .add_option("--metrics-listen", p.metrics_listen,
                  "While it runs, serves http://ADDR:PORT/metrics for Prometheus; ADDR is 127.0.0.1 unless given, PORT 0 "
                  "is any that is free, and standard error has the address (default: none)")
      ->option_text("[ADDR:]PORT");
}

/// Checks that the parser cannot do itself and options that follow from others.
run_options complete(parsed& p) {
  auto& o = p.run;
  check_formats(o);
  if ((o.on_error == WASM_ON_ERROR_DEAD_LETTER) == o.dead_letters.empty()) {
    wrong("--on-error dead-letter and --dead-letter FILE go together");
  }
  check_files(o);
  if (p.max_errors) {
    const auto limit = error_limit::parse(*p.max_errors);
    if (!limit) {
      wrong(fmt::format("--max-errors: \"{}\" is neither a number nor a share from 0% to 100%", *p.max_errors));
    }
    if (o.on_error == WASM_ON_ERROR_FAIL) {
      wrong("--max-errors goes with --on-error skip or dead-letter: fail loses no record");
    }
    o.max_errors = *limit;
  }
  if (p.record_timeout_ns < 1e6 || p.record_timeout_ns > 86'400e9) {
    wrong("--record-timeout must be from 1ms to a day");
  }
  o.record_timeout_ns = static_cast<std::uint64_t>(p.record_timeout_ns);
  if (!o.remote.empty() && (!o.profile.empty() || !o.coredump.empty() || p.registry.url || o.seed != 0)) {
    wrong("--remote goes without --profile, --coredump, --schema-registry and --seed");
  }
  o.schema_registry = complete_registry(p.registry);
  if (p.metrics_listen) {
    o.metrics_listen = listen_address::parse(*p.metrics_listen);
  }
  if (o.memory_limit < (64U << 10) || o.memory_limit > (std::uint64_t{4} << 30)) {
    wrong("--memory-limit must be from 64KiB to 4GiB");
  }
  if (o.limits.output_buffer != 0 && (o.limits.output_buffer < 1024 || o.limits.output_buffer > output_buffer_limit)) {
    wrong(fmt::format("--output-limit must be from 1KiB to {}MiB", output_buffer_limit >> 20));
  }
  if (o.limits.log_lines_per_second != 0) {
    o.limits.log_burst_lines = o.limits.log_lines_per_second;
  }
  if (o.name.empty()) {
    o.name = std::filesystem::path(o.guest).stem();
  }
  if (o.output_topics.empty()) {
    o.output_topics.emplace_back("output");
  }
  if (std::set(o.output_topics.begin(), o.output_topics.end()).size() != o.output_topics.size()) {
    wrong("--output-topic: the same topic is named twice");
  }
  for (const auto& assigned : p.env) {
    const auto equals = assigned.find('=');
    o.env.emplace_back(assigned.substr(0, equals), assigned.substr(equals + 1));
  }
  return o;
}

}  // namespace

action add_run(CLI::App& app) {
  auto& command = *app.add_subcommand("run", "Runs records through a guest.");
  auto p = std::make_shared<parsed>();
  add_options(command, *p);
  command.footer(std::string(about_formats) + about_run + exit_codes);
  return [p] { run(complete(*p)); };
}

}  // namespace tool
