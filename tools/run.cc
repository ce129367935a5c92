// SPDX-License-Identifier: Apache-2.0
//
// Threads of a run. The main thread shows progress. One reads lines and makes batches of them. The workers have event
// loops with engines. One writes output. Between them are bounded queues. One more sends requests to a schema registry
// over HTTP if there is one. One more serves metrics if that is asked for.
#include "run.hh"

#include "batcher.hh"
#include "console.hh"
#include "diagnosis.hh"
#include "event_loop.hh"
#include "exit_code.hh"
#include "file.hh"
#include "http_registry.hh"
#include "line_reader.hh"
#include "metrics_server.hh"
#include "output_files.hh"
#include "output_queue.hh"
#include "record_reader.hh"
#include "record_writer.hh"
#include "remote.hh"
#include "report.hh"
#include "traffic.hh"
#include "worker.hh"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <deque>
#include <filesystem>
#include <limits>
#include <optional>
#include <thread>
#include <vector>

namespace tool {

namespace {

using clock = std::chrono::steady_clock;

std::atomic<int> signal_caught = 0;
static_assert(std::atomic<int>::is_always_lock_free);

/// From here on SIGINT and SIGTERM leave time to remove unfinished files.
void catch_signals() {
  struct sigaction action {};
  action.sa_handler = [](int number) { signal_caught = number; };
  action.sa_flags = SA_RESTART | SA_RESETHAND;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

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
  // The console has a limit of its own.
  config.log_lines_per_second = std::numeric_limits<std::uint32_t>::max();
  config.log_burst_lines = std::numeric_limits<std::uint32_t>::max();
  auto made = wasmengine::runtime::create(config, [&out](const wasmengine::log_line& line) { out.log(line); });
  if (!made) {
    throw failure(exit_code::usage, printable(made.err().what()));
  }
  auto runtime = std::move(made).value();
  if (!o.cache_directory.empty()) {
    if (const auto set = runtime.set_code_cache({o.cache_directory}); !set) {
      throw failure(exit_code::usage, fmt::format("--cache-dir: {}", printable(set.err().what())));
    }
  }
  return runtime;
}

/// Gives guests the schema registry that the user named. `http` keeps the client if it is one over HTTP.
void set_schema_registry(const wasmengine::runtime& runtime, const run_options& o, std::optional<http_registry>& http) {
  wasm_schema_registry table{};
  wasm_error* error = nullptr;
  auto status = WASM_STATUS_OK;
  if (const auto* address = std::get_if<registry_address>(&o.schema_registry)) {
    table = http.emplace(*address, o.schema_registry_timeout).table();
  } else if (std::holds_alternative<memory_registry>(o.schema_registry)) {
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

/// The body of the reading thread.
class reading {
 public:
  reading(const run_options& o, descriptor input, failures& failed, std::string input_name, std::deque<worker>& workers,
          traffic& passed)
      : _passed(passed),
        _failed(failed),
        _input_name(std::move(input_name)),
        _workers(workers),
        _records({o.shape, o.text, o.key_field, o.input_topic}),
        _batches({workers.size(), o.batch_size, o.compression},
                 [this](std::size_t worker, input_batch batch) { _workers[worker].input().push(std::move(batch)); }),
        _lines(std::move(input), [this] { _batches.flush(); }) {}

  [[nodiscard]] line_reader& lines() noexcept { return _lines; }

  void run() noexcept {
    try {
      read();
      _batches.flush();
    } catch (const std::exception& e) {
      _failed.add(_lines.line(), failure(exit_code::other, e.what()));
    }
    for (auto& w : _workers) {
      w.input().close();
    }
  }

 private:
  void read() {
    std::uint64_t line = 1;
    try {
      for (; !_failed.any(); ++line) {
        const auto text = _lines.next();
        if (!text) {
          return;
        }
        if (const auto record = _records.read(*text)) {
          // Before the record is in a batch. No other thread writes.
          auto& read = _passed.records_read;
          read.store(read.load(std::memory_order_relaxed) + 1, std::memory_order_release);
          _batches.add(*record, line);
        }
      }
    } catch (const failure& e) {
      _failed.add(line, failure(e.code(), fmt::format("{}:{}: {}", _input_name, line, printable(e.what()))));
    }
  }

  traffic& _passed;
  failures& _failed;
  const std::string _input_name;
  std::deque<worker>& _workers;
  record_reader _records;
  batcher _batches;
  line_reader _lines;
};

/// Ends the process with the signal that it received after unfinished files were removed.
void obey_signal(console& out, output_files& files) {
  if (const int number = signal_caught; number != 0) {
    out.clear();
    files.remove();
    ::raise(number);
  }
}

/// Reports about the guests to the user.
void diagnose(const run_options& o, const std::deque<worker>& workers, const failures& failed, console& out) {
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
      out.print(fmt::format("wasm-transform: the guest's core dump is in {}\n", file));
    }
  }
}

}  // namespace

void run(const run_options& o) {
  console out(o.progress);
  auto input = open_input(o.input);
  const std::string input_name = o.input == "-" ? "standard input" : o.input;

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

  catch_signals();
  output_files files({o.output, o.output_directory, o.shape == format::lines ? ".txt" : ".ndjson", o.dead_letters},
                     o.output_topics);
  output_queue output(files);
  failures failed;
  const record_writer writer(o.shape, o.text, o.output_topics);
  // Their number is the one behind the last topic's. They name the topic that they came from.
  auto topics = o.output_topics;
  topics.push_back(o.input_topic.value_or("input"));
  const record_writer letters(format::records, o.text, topics, "a dead letter has");
  line_reader* lines = nullptr;
  shared common{runtime, factory, o.on_error, o.max_errors, writer, letters, files, output, failed, input_name,
                [&lines] { lines->interrupt(); }, !o.profile.empty()};
  std::deque<worker> workers;
  for (std::size_t i = 0; i < o.threads; ++i) {
    workers.emplace_back(common, static_cast<std::uint32_t>(i));
  }
  reading reader(o, std::move(input), failed, input_name, workers, common.passed);
  lines = &reader.lines();

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
    obey_signal(out, files);
    const bool is_new = pace.update(common.passed, failed.count(), clock::now());
    return console::progress{lines->bytes(), common.passed.records_in, lines->total(), pace.line(), is_new};
  });
  rest.join();

  auto error = output.error() ? output.error() : failed.first();
  // After bad input the output is useless. After a guest's failure it is complete up to there.
  if (!error || error->code() == exit_code::guest_failed || error->code() == exit_code::records_lost) {
    files.commit();
  }
  try {
    diagnose(o, workers, failed, out);
  } catch (const failure& e) {
    if (error) {
      out.print(fmt::format("wasm-transform: {}\n", e.what()));
    } else {
      error = e;
    }
  }
  statistics sum;
  for (const auto& w : workers) {
    sum.merge(w.counted());
  }
  out.print(report(sum, {o.threads, failed.count(), begin - compile_begin, clock::now() - begin}));
  if (!error && !o.max_errors.allows(sum.lost(), sum.records_in)) {
    error = failure(exit_code::records_lost, fmt::format("{} of {} records were lost and --max-errors allows {}",
                                                         grouped(sum.lost()), grouped(sum.records_in), o.max_errors.text()));
  }
  if (error) {
    throw failure(*error);
  }
}

}  // namespace tool
