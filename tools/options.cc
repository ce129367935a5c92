// SPDX-License-Identifier: Apache-2.0
#include "options.hh"

#include "exit_code.hh"
#include "format_options.hh"
#include "option_values.hh"
#include "registry_options.hh"
#include "suggestion.hh"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <set>

namespace tool {

namespace {

constexpr const char* exit_codes =
    "Exit codes:\n"
    "  0  done\n"
    "  1  any other failure, such as a full disk\n"
    "  2  wrong usage\n"
    "  3  the module was refused\n"
    "  4  the guest failed or wrote what the output format cannot express; the output of the records before that is\n"
    "     kept, with several threads or partitions also that of some after it; not for records that --on-error loses\n"
    "  5  bad input data; output files are not written, standard output has the output before that\n"
    "  6  --on-error lost more records than --max-errors allows; the output of the others is kept\n";

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
    "Output files get their names when they are complete. Guests' output and a summary go to standard error. A signal\n"
    "ends the run with summary, profile and dead letters. A second one ends it at once.\n"
    "\n";

constexpr const char* about_precompile =
    "The file is for this version of wasm-transform and for processors with at least the features of this one. `run`\n"
    "refuses it elsewhere. It is machine code: anyone who can change it can run any code as the user who runs it.\n"
    "\n";

void add_compile_helper(CLI::App& command, std::string& program) {
  command
      .add_option("--compile-helper", program,
                  "Compiles the module in a process of its own, which may take 60 s of processor time and 2 GiB: the path "
                  "of wasm-compile-helper (default: none)")
      ->option_text("PATH");
}

void add_guest(CLI::App& command, std::string& guest) {
  command.add_option("GUEST", guest, "The module, such as transform.wasm")
      ->required()
      ->check(CLI::ExistingFile)
      ->option_text("FILE");
}

void add_memory_limit(CLI::App& command, std::uint64_t& limit) {
  command.add_option("--memory-limit", limit, "Linear memory of one guest at most, such as 64MiB (the default)")
      ->transform(size_value())
      ->option_text("SIZE");
}

void add_rights(CLI::App& command, rights& allowed) {
  static const std::map<std::string, wasm_wasi_right> names = {
      {"none", WASM_WASI_RIGHT_BASE},   {"arguments", WASM_WASI_RIGHT_ARGUMENTS}, {"environment", WASM_WASI_RIGHT_ENVIRONMENT},
      {"clocks", WASM_WASI_RIGHT_CLOCKS}, {"random", WASM_WASI_RIGHT_RANDOM},       {"output", WASM_WASI_RIGHT_OUTPUT},
      {"sleep", WASM_WASI_RIGHT_SLEEP},   {"files", WASM_WASI_RIGHT_FILES},         {"sockets", WASM_WASI_RIGHT_SOCKETS}};
  command
      .add_option("--allow", allowed.allow,
                  "What the module may import beside records and WASI, such as redpanda_schema_registry or "
                  "MODULE.FUNCTION; repeat for more, none for nothing (default: everything)")
      ->option_text("MODULE[.FUNCTION]")
      ->allow_extra_args(false);
  command
      .add_option_function<std::vector<std::string>>(
          "--wasi",
          [&allowed](const std::vector<std::string>& words) {
            for (const auto& word : words) {
              const auto found = names.find(word);
              if (found == names.end()) {
                throw CLI::ValidationError("--wasi", fmt::format("\"{}\" is no right", word));
              }
              allowed.wasi |= found->second;
            }
          },
          "What the module may import of WASI: a list of arguments, environment, clocks, random, output, sleep, files "
          "and sockets, or none (default: all)")
      ->delimiter(',')
      ->option_text("LIST")
      ->allow_extra_args(false);
}

struct parsed {
  run_options run;
  validate_options validate;
  inspect_options inspect;
  precompile_options precompile;
  serve_options serve;
  double serve_record_timeout_ns = 3e9;
  double grace_ns = 10e9;
  std::vector<std::string> env;
  double record_timeout_ns = 3e9;
  registry_options registry;
  std::optional<std::string> metrics_listen;
  std::optional<std::string> max_errors;
};

void add_run(CLI::App& app, parsed& p) {
  auto& command = *app.add_subcommand("run", "Runs records through a guest.");
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
  add_rights(command, o.allowed);
  add_registry(command, p.registry);
  command.add_option("--threads,-j", o.threads, "Event loops, each with a guest of its own (default: 1)")
      ->check(CLI::Range(1, 256))
      ->option_text("N");
  command.add_flag("--progress", o.progress,
                   "Shows records per second, errors and lag while it runs, also where standard error is no terminal: a "
                   "line each second");
  command
      .add_option("--coredump", o.coredump,
                  "If the guest fails, where its core dump goes; in a directory it is NAME.coredump (default: none)")
      ->option_text("FILE|DIR");
  command
      .add_option("--profile", o.profile, "Where the guest's profile goes, JSON for https://profiler.firefox.com (default: "
                                          "none)")
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

void add_serve(CLI::App& app, parsed& p) {
  auto& command = *app.add_subcommand("serve", "Runs guests for hosts on other computers, over gRPC.");
  auto& o = p.serve;
  command
      .add_option("--listen", o.listen,
                  "Where hosts connect: ADDRESS:PORT, with PORT 0 any that is free, or unix:/PATH; repeat for more (default: "
                  "127.0.0.1:7070)")
      ->option_text("ADDRESS")
      ->allow_extra_args(false);
  command.add_option("--module-dir", o.module_directory, "The files NAME.wasm in it are the modules that hosts can name")
      ->check(CLI::ExistingDirectory)
      ->option_text("DIR");
  command.add_flag("--allow-uploads", o.uploads, "Hosts may upload modules");
  auto* certificate = command.add_option("--tls-cert", o.tls_certificate, "The server's certificate with its chain, PEM");
  certificate->check(CLI::ExistingFile)->option_text("FILE");
  auto* key = command.add_option("--tls-key", o.tls_key, "Its key, PEM");
  key->check(CLI::ExistingFile)->option_text("FILE")->needs(certificate);
  certificate->needs(key);
  command.add_option("--tls-client-ca", o.tls_client_ca, "Hosts must have a certificate of this authority, PEM")
      ->check(CLI::ExistingFile)
      ->option_text("FILE")
      ->needs(certificate);
  command.add_option("--token-file", o.token_file, "Hosts must send the token that is the file's one line")
      ->check(CLI::ExistingFile)
      ->option_text("FILE");
  command.add_flag("--insecure", o.insecure, "Also without TLS and without a token on addresses that others can reach");
  command.add_option("--threads,-j", o.threads, "Event loops (default: one per core)")
      ->check(CLI::Range(1, 1024))
      ->option_text("N");
  command.add_option("--max-streams", o.max_streams, "Engines at a time (default: 1000)")
      ->check(CLI::Range(1, 10'000'000))
      ->option_text("N");
  command.add_option("--max-modules", o.max_modules, "Compiled transforms at a time (default: 1000)")
      ->check(CLI::Range(1, 10'000'000))
      ->option_text("N");
  add_memory_limit(command, o.memory_limit);
  command.add_option("--max-memory", o.max_memory, "Linear memory of all guests, such as 8GiB: fewer engines (default: no limit)")
      ->transform(size_value())
      ->option_text("SIZE");
  command.add_option("--upload-memory", o.upload_memory, "Uploaded modules that are kept (default: 256MiB)")
      ->transform(size_value())
      ->option_text("SIZE");
  command.add_option("--max-batch", o.max_batch, "A batch as it comes (default: 16MiB)")
      ->transform(size_value())
      ->option_text("SIZE");
  command
      .add_option("--record-timeout", p.serve_record_timeout_ns, "Time for one record at most, such as 500ms (default: 3s)")
      ->transform(duration_value())
      ->option_text("TIME");
  command
      .add_option("--grace", p.grace_ns, "At SIGTERM, time for batches that are in progress (default: 10s)")
      ->transform(duration_value())
      ->option_text("TIME");
  command.add_option("--cache-dir", o.cache_directory, "Keeps compiled modules in this directory, for the next time")
      ->option_text("DIR");
  add_compile_helper(command, o.compile_helper);
  command
      .add_option("--metrics-listen", p.metrics_listen, "Serves http://ADDR:PORT/metrics for Prometheus (default: none)")
      ->option_text("[ADDR:]PORT");
}

/// Checks that the parser cannot do itself and options that follow from others.
run_options complete(parsed& p) {
  auto& o = p.run;
  check_formats(o);
  if ((o.on_error == WASM_ON_ERROR_DEAD_LETTER) == o.dead_letters.empty()) {
    wrong("--on-error dead-letter and --dead-letter FILE go together");
  }
  if (!o.dead_letters.empty() && o.output_directory.empty() && o.dead_letters == o.output) {
    wrong("--dead-letter and --output are the same");
  }
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
  if (!o.remote.empty() && (!o.profile.empty() || !o.coredump.empty() || p.registry.url)) {
    wrong("--remote goes without --profile, --coredump and --schema-registry");
  }
  complete_registry(p.registry, o);
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

serve_options complete_serve(parsed& p) {
  auto& o = p.serve;
  if (o.listen.empty()) {
    o.listen.emplace_back("127.0.0.1:7070");
  }
  if (p.serve_record_timeout_ns < 1e6 || p.serve_record_timeout_ns > 86'400e9) {
    wrong("--record-timeout must be from 1ms to a day");
  }
  o.record_timeout_ns = static_cast<std::uint64_t>(p.serve_record_timeout_ns);
  if (p.grace_ns < 0 || p.grace_ns > 86'400e9) {
    wrong("--grace must be at most a day");
  }
  o.grace = std::chrono::milliseconds(static_cast<std::int64_t>(p.grace_ns / 1e6));
  if (o.memory_limit < (64U << 10) || o.memory_limit > (std::uint64_t{4} << 30)) {
    wrong("--memory-limit must be from 64KiB to 4GiB");
  }
  if (o.max_memory != 0 && o.max_memory < o.memory_limit) {
    wrong("--max-memory must be at least --memory-limit");
  }
  if (o.max_batch < 1024 || o.max_batch > (1U << 30)) {
    wrong("--max-batch must be from 1KiB to 1GiB");
  }
  if (p.metrics_listen) {
    o.metrics_listen = listen_address::parse(*p.metrics_listen);
  }
  return o;
}

void add_all(CLI::App& app, parsed& p) {
  app.name("wasm-transform");
  app.set_version_flag("--version", std::string(wasm_library_version()));
  app.require_subcommand(1);
  add_run(app, p);
  add_serve(app, p);
  auto& validate = *app.add_subcommand("validate", "Validates a module: whether it would be accepted and if not, why.");
  add_guest(validate, p.validate.guest);
  add_memory_limit(validate, p.validate.memory_limit);
  add_rights(validate, p.validate.allowed);
  auto& inspect = *app.add_subcommand("inspect", "Describes a module, also one that would be refused.");
  add_guest(inspect, p.inspect.guest);
  inspect.add_flag("--json", p.inspect.json, "As JSON");
  auto& precompile = *app.add_subcommand("precompile", "Compiles a module to a file that `run` starts at once.");
  add_guest(precompile, p.precompile.guest);
  precompile.add_option("--output,-o", p.precompile.output, "The compiled module, such as transform.cwasm")
      ->required()
      ->option_text("FILE");
  add_memory_limit(precompile, p.precompile.memory_limit);
  add_compile_helper(precompile, p.precompile.compile_helper);
  app.footer(exit_codes);
  app.get_subcommand("run")->footer(std::string(about_formats) + about_run + exit_codes);
  validate.footer(exit_codes);
  inspect.footer(exit_codes);
  precompile.footer(std::string(about_precompile) + exit_codes);
}

constexpr const char* about = "Runs WebAssembly data transforms on records, outside of a broker.\n";

}  // namespace

void visit_options(const std::function<void(CLI::App&)>& visit) {
  parsed p;
  CLI::App app{about};
  add_all(app, p);
  visit(app);
}

std::optional<options> parse_options(int argc, char** argv) {
  parsed p;
  CLI::App app{about};
  add_all(app, p);

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    app.exit(e);
    return std::nullopt;
  } catch (const CLI::ParseError& e) {
    wrong(explain(e, app, argc, argv));
  }
  if (app.got_subcommand("serve")) {
    return complete_serve(p);
  }
  if (app.got_subcommand("validate")) {
    return p.validate;
  }
  if (app.got_subcommand("inspect")) {
    return p.inspect;
  }
  if (app.got_subcommand("precompile")) {
    if (!p.precompile.output.ends_with(compiled_suffix)) {
      wrong(fmt::format("--output must end with {}, by which `run` knows compiled modules", compiled_suffix));
    }
    return p.precompile;
  }
  return complete(p);
}

}  // namespace tool
