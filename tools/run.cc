// SPDX-License-Identifier: Apache-2.0
//
// Threads of a run. The main thread shows progress. One finds lines in the input. The workers have event loops with
// engines: they make records of the lines and text of the output. One writes that. Between them are bounded queues. One
// more sends requests to a schema registry over HTTP if there is one. One more serves metrics if that is asked for.
#include "run.hh"

#include "checkpoint.hh"
#include "code_cache.hh"
#include "console.hh"
#include "csv_columns.hh"
#include "diagnosis.hh"
#include "event_loop.hh"
#include "exit_code.hh"
#include "file.hh"
#include "http_registry.hh"
#include "input_reader.hh"
#include "input_stream.hh"
#include "interruption.hh"
#include "metrics_server.hh"
#include "module/sha256.hh"
#include "output_files.hh"
#include "output_queue.hh"
#include "record_reader.hh"
#include "record_writer.hh"
#include "remote.hh"
#include "report.hh"
#include "summary_json.hh"
#include "traffic.hh"
#include "worker.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

namespace tool {

namespace {

using clock = std::chrono::steady_clock;

task compile(event_loop& loop, const wasmengine::runtime& runtime, const run_options& o, wasmengine::factory& factory) {
  const auto module = read_module(o.guest);
  wasmengine::transform_config transform{o.name, o.input_topic.value_or("input"), o.output_topics, o.env, o.limits};
  o.allowed.apply(transform);
  auto compilation = o.guest.ends_with(compiled_suffix) ? runtime.load(module, transform).value()
                                                        : runtime.compile(module, transform).value();
  if (const auto done = co_await wasmengine::on(loop, compilation); !done) {
    throw failure(exit_code::module_refused,
                  fmt::format("{}: {}: {}", o.guest, done.err().status_name(), printable(done.err().what())));
  }
  factory = compilation.take().value();
}

wasmengine::runtime make_runtime(const run_options& o, console& out) {
  wasm_runtime_config config{};
  config.memory_limit = o.memory_limit;
  config.record_time_limit_ns = o.record_timeout_ns;
  config.output_buffer_limit = output_buffer_limit;
  config.core_dumps = o.coredump.empty() ? 0 : 1;
  config.perf_map = o.perf_map ? 1 : 0;
  config.debug_info = o.debug_info ? 1 : 0;
  const auto helper = o.compile_helper.empty() ? std::string() : std::filesystem::absolute(o.compile_helper).string();
  config.compile_helper = wasmengine::as_slice(helper);
  config.replay_seed = o.seed;
  // The console has a limit of its own.
  config.log_lines_per_second = std::numeric_limits<std::uint32_t>::max();
  config.log_burst_lines = std::numeric_limits<std::uint32_t>::max();
  auto made = wasmengine::runtime::create(config, [&out](const wasmengine::log_line& line) { out.log(line); });
  if (!made) {
    throw failure(exit_code::usage, printable(made.err().what()));
  }
  auto runtime = std::move(made).value();
  use_code_cache(runtime, o.cache_directory);
  return runtime;
}

/// Gives guests the schema registry that the user named. `http` keeps the client if it is one over HTTP.
void set_schema_registry(const wasmengine::runtime& runtime, const run_options& o, std::optional<http_registry>& http) {
  wasm_schema_registry table{};
  wasm_error* error = nullptr;
  auto status = WASM_STATUS_OK;
  if (const auto* address = std::get_if<registry_address>(&o.schema_registry.which)) {
    table = http.emplace(*address, o.schema_registry.timeout, o.schema_registry.retry).table();
  } else if (std::holds_alternative<memory_registry>(o.schema_registry.which)) {
    status = wasm_schema_registry_in_memory(&table, &error);
  } else {
    return;
  }
  if (status == WASM_STATUS_OK) {
    status = wasm_runtime_set_schema_registry(runtime.get(), &table, &error);
  }
  if (status != WASM_STATUS_OK) {
    throw wasmengine::error(status, error);
  }
}

/// Reports about the guests to the user.
void diagnose(const run_options& o, const std::deque<worker>& workers, const failures& failed,
              const std::function<void(const std::string&)>& remark) {
  if (!o.profile.empty()) {
    std::vector<std::string> profiles;
    for (const auto& w : workers) {
      profiles.push_back(w.profile());
    }
    write_profile(o.profile, profiles);
  }
  if (!o.coredump.empty()) {
    auto why = failed.first_error();
    for (const auto& w : workers) {
      why = why ? why : w.last_loss();
    }
    if (why && why->coredump()) {
      const auto file = write_coredump(o.coredump, o.name, *why);
      remark(fmt::format("the guest's core dump is in {}", file));
      remark("it holds all of the guest's memory, with records and environment: only you can read it");
    }
  }
}

/// Variables may be secrets, which must not get into a file.
std::string checksum(const std::vector<std::pair<std::string, std::string>>& env) {
  std::vector<std::uint8_t> bytes;
  for (const auto& [name, value] : env) {
    for (const auto* text : {&name, &value}) {
      bytes.insert(bytes.end(), text->begin(), text->end());
      bytes.push_back(0);
    }
  }
  return sha256(bytes);
}

/// What makes the run another one if it changes: for checkpoints.
std::string description(const run_options& o) {
  const auto module = read_module(o.guest);
  nlohmann::json run{{"the module", fmt::format("{:016x}", std::hash<std::string_view>{}(
                                                               {reinterpret_cast<const char*>(module.data()), module.size()}))},
                     {"the input", o.input},
                     {"--output", o.output},
                     {"--output-dir", o.output_directory},
                     {"--dead-letter", o.dead_letters},
                     {"--on-error", o.on_error},
                     {"--output-topic", o.output_topics},
                     {"--format", {o.input_format(), o.output_format()}},
                     {"--encoding", o.text},
                     {"--delimiter", static_cast<int>(o.delimiter)},
                     {"--separator", static_cast<int>(o.separator)},
                     {"--columns", o.columns},
                     {"--key-field", o.key_field},
                     {"--headers-field", o.headers_field},
                     {"--output-key-field", o.output_key_field},
                     {"--output-headers-field", o.output_headers_field},
                     {"--input-compression", o.codec},
                     {"--uncommitted", o.uncommitted},
                     {"--ignore-partial-batch", o.partial_batch},
                     {"--origin", o.origin},
                     {"--default-timestamp", o.default_timestamp ? nlohmann::json(*o.default_timestamp) : nlohmann::json()},
                     {"--seed", o.seed},
                     {"--batch-size", o.batch_size},
                     {"--input-topic", o.input_topic.value_or("")},
                     {"--env", checksum(o.env)}};
  // Names of files may have any bytes.
  return run.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

const char* suffix_of(format shape) {
  return shape == format::lines     ? ".txt"
         : shape == format::csv     ? ".csv"
         : shape == format::batches ? ".log"
                                    : ".ndjson";
}

output_files::settings files_of(const run_options& o, const csv_columns& columns) {
  output_files::settings s{o.output, o.output_directory, suffix_of(o.output_format()), o.dead_letters};
  s.places = o.places;
  s.resumable = !o.checkpoint.empty();
  s.batches = o.output_format() == format::batches;
  if (o.output_format() == format::csv) {
    s.header = [&columns] { return columns.header(); };
  }
  return s;
}

record_writer writer_of(const run_options& o, csv_columns& columns) {
  record_writer::settings s;
  s.shape = o.output_format();
  s.topics = o.output_topics;
  s.delimiter = o.delimiter;
  s.columns = &columns;
  s.text = o.output_format() == format::json || o.output_format() == format::csv ? encoding::utf8 : o.text;
  s.key_field = o.output_key_field;
  s.headers_field = o.output_headers_field;
  s.origin = o.origin;
  return record_writer(std::move(s));
}

/// Dead letters are records with the topic that they came from. Its number is the one behind the last topic's.
record_writer letter_writer_of(const run_options& o) {
  record_writer::settings s;
  s.shape = format::records;
  s.text = o.text;
  s.topics = o.output_topics;
  s.topics.push_back(o.input_topic.value_or("input"));
  s.any_bytes = true;
  return record_writer(std::move(s));
}

/// The end of a run that was interrupted: what is unfinished is removed, and the process ends by the signal.
[[noreturn]] void obey(int signal, console& out, output_files& files) {
  out.clear();
  files.remove();
  interruption::end(signal);
}

/// What `--max-errors` says of a whole run.
std::optional<failure> judge_lost(const run_options& o, std::uint64_t lost, std::uint64_t records) {
  if (o.max_errors.allows(lost, records)) {
    return std::nullopt;
  }
  return failure(exit_code::records_lost,
                 fmt::format("{} of {} records were lost and --max-errors allows {}", grouped(lost), grouped(records), o.max_errors.text()));
}

}  // namespace

void run(const run_options& o) {
  console out(o.progress);
  // What the user should know beside the summary. In JSON it is in that.
  std::vector<std::string> remarks;
  const auto remark = [&](const std::string& text) {
    if (o.json) {
      remarks.push_back(text);
    } else {
      out.print(fmt::format("wasm-transform: {}\n", text));
    }
  };
  auto input = open_input(o.input);
  const std::string input_name = o.input == "-" ? "standard input" : o.input;

  csv_columns columns(o.separator, o.origin);
  std::optional<checkpoint> saved;
  std::optional<checkpoint_state> earlier;
  if (!o.checkpoint.empty()) {
    saved.emplace(o.checkpoint, description(o), input_identity(input.get()));
    earlier = saved->read();
    if (earlier && earlier->complete) {
      output_files::finish(files_of(o, columns), o.output_topics, earlier->files);
      saved->remove();
      remark("the run before had done everything");
      if (o.json) {
        out.print(summary_json({}, {o.threads, 0, {}, {}, remarks}));
      }
      if (const auto lost = judge_lost(o, earlier->progress.lost, earlier->progress.records_in)) {
        throw failure(*lost);
      }
      return;
    }
  }

  const auto compile_begin = clock::now();
  out.status("compiling the module …");
  std::optional<http_registry> registry;  // outlives the runtime
  const auto runtime = make_runtime(o, out);
  set_schema_registry(runtime, o, registry);
  std::optional<metrics_server> metrics;
  if (o.metrics_listen) {
    metrics.emplace(*o.metrics_listen, runtime);
    out.clear();
    out.print(fmt::format("wasm-transform: metrics are at {}\n", metrics->url()));
  }
  wasmengine::factory factory;
  event_loop loop;
  if (o.remote.empty()) {
    loop.run(compile(loop, runtime, o, factory));
  } else {
    factory = remote_factory(runtime, o, out);
  }
  const auto begin = clock::now();
  out.clear();

  interruption signals;
  output_files files(files_of(o, columns), o.output_topics);
  if (saved) {
    const output_files::state nothing{std::vector<std::uint64_t>(files.count(), 0)};
    files.set(earlier ? earlier->files : nothing);
    if (!earlier) {
      // So that what is unfinished has a checkpoint from the beginning, and no other run takes it for its own.
      saved->write({{}, nothing, {}, false}, files);
    }
  }
  if (files.on_terminal()) {
    out.hide_progress();
  }
  failures failed;
  const auto writer = writer_of(o, columns);
  const auto letters = letter_writer_of(o);
  std::vector<std::string> input_columns;
  const record_reader::settings shape{o.input_format(), o.input_format() == format::json ? encoding::utf8 : o.text,
                                      o.key_field,      o.headers_field, o.input_topic, o.separator, &input_columns};
  input_reader* reading = nullptr;
  input_stream stream(std::move(input), o.codec, [&reading] { reading->flush(); });
  if (saved && !stream.total()) {
    throw failure(exit_code::usage, "--checkpoint goes with an INPUT that is a file");
  }
  const auto stop_reading = [&stream] { stream.interrupt(); };
  output_queue output(files, stop_reading);
  if (saved) {
    output.set_checkpoint(*saved, [&columns] { return columns.known() ? columns.names() : std::vector<std::string>(); });
  }
  const auto done_before = earlier ? earlier->progress : run_progress();
  // Engines on other computers get batches.
  const bool packs = o.compression != WASM_COMPRESSION_NONE || !o.remote.empty();
  shared common{runtime, factory, o.on_error, o.max_errors, shape, packs, o.compression,
                o.output_format() == format::batches ? std::optional(o.output_compression) : std::nullopt, writer, letters,
                files, output, failed, o.name, input_name, stop_reading, !o.profile.empty(), saved.has_value(), done_before,
                o.default_timestamp};
  common.passed.lost = done_before.lost;
  std::deque<worker> workers;
  for (std::size_t i = 0; i < o.threads; ++i) {
    workers.emplace_back(common, static_cast<std::uint32_t>(i));
  }
  input_reader reader({input_name, o.delimiter, o.uncommitted, o.partial_batch, o.batch_size, done_before}, shape, input_columns, stream,
                      workers, failed, common.passed);
  reading = &reader;
  if (!o.columns.empty()) {
    columns.set(o.columns);
  } else if (earlier && !earlier->columns.empty()) {
    columns.set(earlier->columns);
  } else if (o.input_format() == format::csv) {
    reader.set_on_columns([&] { columns.set(input_columns); });
  }

  std::thread write_thread([&] { output.run(); });
  std::thread rest([&] {
    std::vector<std::thread> threads;
    threads.emplace_back([&] { reader.run(); });
    for (auto& w : workers) {
      threads.emplace_back([&w] { w.run(); });
    }
    for (auto& t : threads) {
      t.join();
    }
    output.close();
    write_thread.join();
    out.finish();
  });
  throughput pace(clock::now());
  out.run([&] {
    if (signals.take()) {
      stream.interrupt();
      for (auto& w : workers) {
        w.interrupt();
      }
    }
    if (signals.is_overdue()) {
      // A thread waits for somebody who does not read our output. What was written is there.
      out.print("wasm-transform: the run does not end: somebody does not take its output\n");
      obey(interruption::signal(), out, files);
    }
    const bool is_new = pace.update(common.passed, failed.count(), clock::now());
    return console::progress{stream.bytes(), common.passed.records_in, stream.total(), pace.line(), is_new};
  });
  rest.join();

  const int signal = interruption::signal();
  auto error = output.error() ? output.error() : failed.first();
  const auto attempt = [&](const auto& f) {
    try {
      f();
    } catch (const failure& e) {
      if (error) {
        remark(e.what());
      } else {
        error = e;
      }
    }
  };
  // After bad input the output is useless. After a guest's failure it is complete up to there.
  const bool is_useful = !error || error->code() == exit_code::guest_failed || error->code() == exit_code::records_lost;
  if (saved && !output.error()) {
    const bool is_complete = !error && signal == 0;
    attempt([&] { output.write_checkpoint(is_complete); });
    if (is_complete) {
      // What could not be committed is tried again by the same command.
      attempt([&] {
        files.commit();
        saved->remove();
      });
    }
  } else if (!saved && is_useful && signal == 0) {
    attempt([&] { files.commit(); });
  }
  attempt([&] { diagnose(o, workers, failed, remark); });
  for (const auto& text : reader.remarks()) {
    remark(fmt::format("{}: {}", input_name, text));
  }
  if (o.json && out.dropped() > 0) {
    remark(fmt::format("{} log lines were dropped: the guests write them faster than they can be shown", out.dropped()));
  }
  if (signal != 0 && saved) {
    remark(fmt::format("the same command goes on from {}", o.checkpoint));
  }
  statistics sum;
  for (const auto& w : workers) {
    sum.merge(w.counted());
  }
  const summary all{o.threads, failed.count(), begin - compile_begin, clock::now() - begin, remarks};
  if (o.json) {
    out.print(summary_json(sum, all));
  } else if (!o.quiet) {
    out.print(report(sum, all));
  }
  if (signal != 0) {
    if (saved) {
      saved.reset();  // and with it the lock's file
    }
    obey(signal, out, files);
  }
  const auto lost = sum.lost() + done_before.lost;
  const auto records = sum.records_in + done_before.records_in;
  if (!error) {
    error = judge_lost(o, lost, records);
  }
  if (error) {
    throw failure(*error);
  }
}

}  // namespace tool
