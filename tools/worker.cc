// SPDX-License-Identifier: Apache-2.0
#include "worker.hh"

#include "encoding.hh"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <exception>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace tool {

namespace {

/// Batches that are larger together are not given to the guest together: they would gain nothing.
constexpr std::size_t most_bytes_of_a_call = 64U << 10;

/// What the library can count of lost records.
constexpr std::uint64_t most_counted_losses = 65'535;

/// Ends the run at the record that would be lost beyond what the user allows. With several workers each allows as many.
wasmengine::policy policy_of(wasm_on_error on_error, const error_limit& limit) {
  wasmengine::policy policy{.on_error = on_error};
  if (const auto count = limit.count(); count && *count <= most_counted_losses) {
    policy.lost_max = static_cast<std::uint32_t>(*count);
    policy.lost_window = std::numeric_limits<std::uint32_t>::max();
  }
  return policy;
}

std::chrono::nanoseconds thread_cpu_time() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

/// The library's message, indented below ours.
std::string details(const wasmengine::error& e) {
  std::string text;
  for (const char c : fmt::format("{}: {}", e.status_name(), printable(e.what()))) {
    text += c;
    if (c == '\n') {
      text += "  ";
    }
  }
  while (text.ends_with('\n') || text.ends_with(' ')) {
    text.pop_back();
  }
  return text;
}

}  // namespace

void failures::add(std::uint64_t line, const failure& what, std::optional<wasmengine::error> why) {
  const std::lock_guard lock(_mutex);
  ++_count;
  if (line < _first_line) {
    _first = what;
    _first_error = std::move(why);
    _first_line = line;
  }
}

std::size_t failures::count() const {
  const std::lock_guard lock(_mutex);
  return _count;
}

std::optional<failure> failures::first() const {
  const std::lock_guard lock(_mutex);
  return _first;
}

std::optional<wasmengine::error> failures::first_error() const {
  const std::lock_guard lock(_mutex);
  return _first_error;
}

/// A guest that could not be started.
class start_failure : public failure {
 public:
  explicit start_failure(const wasmengine::error& why)
      : failure(exit_code::guest_failed,
                fmt::format("the guest failed when it was started, before it got any record\n  {}", details(why))),
        _why(why) {}
  [[nodiscard]] const wasmengine::error& why() const noexcept { return _why; }

 private:
  wasmengine::error _why;
};

/// Profiles an engine's guest for as long as it lives.
class profiling {
 public:
  profiling(wasmengine::engine& engine, std::string& profile) : _engine(engine), _profile(profile) {
    _engine.start_profile().value();
  }
  profiling(profiling&&) = delete;
  ~profiling() {
    try {
      _profile = _engine.finish_profile().value();
    } catch (const std::exception&) {
      // There is none then. The user is told so.
    }
  }

 private:
  wasmengine::engine& _engine;
  std::string& _profile;
};

/// Turns the output of the first batches of `all` into lines.
class worker::sink {
 public:
  sink(shared& s, statistics& counted, const std::deque<input_batch>& all) : _shared(s), _counted(counted), _all(all) {}

  /// Called while the engine is polled. An exception fails the transform.
  wasm_callback_result operator()(wasmengine::output_block block, wasmengine::output_call call) {
    std::vector<std::string> lines(_shared.files.count());
    wasmengine::for_each_batch(block, call.batches(), [&](std::uint32_t batch, wasmengine::output_block records) {
      for (auto raw = records.begin(); raw != records.end() && !_error; ++raw) {
        const wasmengine::output_record record(*raw);
        // After a failure what came before is written.
        write(batch, record, lines[_shared.files.file_of(record.topic())]);
      }
    });
    bool room = true;
    for (std::size_t file = 0; file < lines.size(); ++file) {
      if (!lines[file].empty()) {
        room = _shared.output.submit(file, std::move(lines[file])) && room;
      }
    }
    if (_error) {
      return WASM_CALLBACK_RESULT_FAILED;
    }
    if (room) {
      return WASM_CALLBACK_RESULT_DONE;
    }
    auto promise = call.later().value();
    _shared.output.when_room(std::move(promise));
    return WASM_CALLBACK_RESULT_PENDING;
  }

  /// Why the sink failed and at which input record of which batch.
  [[nodiscard]] const std::optional<failure>& error() const noexcept { return _error; }
  [[nodiscard]] std::int64_t offset() const noexcept { return _at; }
  [[nodiscard]] std::size_t batch() const noexcept { return _batch; }

 private:
  void write(std::size_t batch, const wasmengine::output_record& record, std::string& lines) {
    const auto before = lines.size();
    try {
      const bool letter = !_shared.files.is_topic(record.topic());
      (letter ? _shared.letter_writer : _shared.writer).write(record, _all[batch].partition, lines);
      if (letter) {
        return;
      }
    } catch (const failure& e) {
      lines.resize(before);
      _error = e;
      _at = record.input_offset();
      _batch = batch;
      return;
    }
    ++_counted.records_out;
    _counted.bytes_out += record.payload().size();
  }

  shared& _shared;
  statistics& _counted;
  const std::deque<input_batch>& _all;
  std::optional<failure> _error;
  std::int64_t _at = 0;
  std::size_t _batch = 0;
};

void worker::run() noexcept {
  const auto begin = thread_cpu_time();
  try {
    wasmengine::prepare_thread(_shared.runtime, 0, _shard).value();
    _loop.run(serve());
  } catch (const start_failure& e) {
    fail(0, e, e.why());
  } catch (const failure& e) {
    fail(0, e);
  } catch (const wasmengine::error& e) {
    fail(0, failure(exit_code::other, details(e)));
  } catch (const std::exception& e) {
    fail(0, failure(exit_code::other, e.what()));
  }
  _input.abandon();
  _counted.cpu_time = thread_cpu_time() - begin;
}

task worker::serve() {
  auto engine = wasmengine::engine::create(_shared.factory).value();
  engine.set_policy(policy_of(_shared.on_error, _shared.max_errors)).value();
  std::optional<profiling> profile;
  if (_shared.profile) {
    profile.emplace(engine, _profile);
  }
  co_await start(engine);
  for (;;) {
    auto waiting = co_await _input.pop_all();
    if (waiting.empty()) {
      break;
    }
    for (;;) {
      // After a failure the input before it is still finished. Nothing else is begun.
      std::erase_if(waiting, [line = _shared.failed.first_line()](const input_batch& batch) {
        return batch.origins.front().line > line;
      });
      if (waiting.empty()) {
        break;
      }
      if (engine.state().value() == WASM_ENGINE_STATE_STOPPED) {
        co_await start(engine);
      }
      const auto line = waiting.front().origins.front().line;
      co_await transform(engine, waiting);
      note_losses(engine);
      note_traffic();
      check_losses(line);
      _counted.guest_memory = std::max(_counted.guest_memory, engine.memory_size().value());
    }
  }
  note_last_loss(engine);
}

void worker::note_losses(const wasmengine::engine& engine) {
  const auto tally = engine.stats().value();
  _counted.skipped = tally.skipped;
  _counted.dead_letters = tally.dead_lettered;
}

void worker::note_last_loss(const wasmengine::engine& engine) {
  if (const auto last = engine.last_error().value(); last && _counted.skipped + _counted.dead_letters > 0) {
    const auto text = details(*last);
    _counted.last_loss = text.substr(0, text.find('\n'));
    _last_loss = last;
  }
}

/// Publishes the counts since the last call.
void worker::note_traffic() {
  const auto& c = _counted;
  const auto add = [](std::atomic<std::uint64_t>& to, std::uint64_t now, std::uint64_t& told) {
    to += now - std::exchange(told, now);
  };
  add(_shared.passed.records_in, c.records_in, _told.records_in);
  add(_shared.passed.bytes_in, c.bytes_in, _told.bytes_in);
  add(_shared.passed.records_out, c.records_out, _told.records_out);
  add(_shared.passed.bytes_out, c.bytes_out, _told.bytes_out);
  add(_shared.passed.lost, c.skipped + c.dead_letters, _told.lost);
}

/// All workers together may have lost more than each of them may.
void worker::check_losses(std::uint64_t line) {
  const auto most = _shared.max_errors.count();
  if (const std::uint64_t lost = _shared.passed.lost; most && lost > *most && !_shared.failed.any()) {
    fail(line, failure(exit_code::records_lost, fmt::format("{} records were lost and --max-errors allows {}",
                                                            grouped(lost), grouped(*most))));
  }
}

task worker::start(wasmengine::engine& engine) {
  if (const auto started = co_await wasmengine::on(_loop, engine.start().value()); !started) {
    throw start_failure(started.err());
  }
  _counted.guest_memory = std::max(_counted.guest_memory, engine.memory_size().value());
}

/// Transforms the first batch and those that are small with it. Removes what has completed or failed.
task worker::transform(wasmengine::engine& engine, std::deque<input_batch>& waiting) {
  std::vector<std::span<const std::uint8_t>> batches;
  std::size_t bytes = 0;
  std::size_t records = 0;
  for (auto& batch : waiting) {
    for (const auto& o : batch.origins) {
      bytes += o.size;
    }
    if (!batches.empty() && bytes > most_bytes_of_a_call) {
      break;
    }
    batches.push_back(batch.records.finish().value());
    records += batch.origins.size();
  }
  sink output(_shared, _counted, waiting);

  const auto begin = std::chrono::steady_clock::now();
  auto operation = engine.transform_many(batches, output);
  wasmengine::result<void> done;
  if (operation) {
    done = co_await wasmengine::on(_loop, std::move(*operation));
  } else {
    done = operation.err();
  }
  const auto time = std::chrono::steady_clock::now() - begin;
  // A batch that failed is over, too.
  std::size_t over = batches.size();
  if (!done) {
    const auto failed = output.error() ? output.batch() : static_cast<std::size_t>(done.err().batch());
    over = std::min(failed, batches.size() - 1);
    fail_transform(waiting[over], output, done.err());
  }
  for (std::size_t i = 0; i < over; ++i) {
    count(waiting[i], waiting[i].origins.size());
  }
  if (done) {
    _counted.latency.add(static_cast<std::uint64_t>(time.count()) / records, records);
  }
  const auto gone = std::min(over + (done ? 0 : 1), waiting.size());
  waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(gone));
}

/// The first `records` of the batch have completed.
void worker::count(const input_batch& batch, std::size_t records) {
  _counted.batches += 1;
  _counted.records_in += records;
  for (std::size_t i = 0; i < records; ++i) {
    _counted.bytes_in += batch.origins[i].size;
  }
}

void worker::fail(std::uint64_t line, const failure& what, std::optional<wasmengine::error> why) {
  _shared.failed.add(line, what, std::move(why));
  _shared.on_failure();
}

/// Names the record by its line of input and by its Kafka coordinates.
void worker::fail_transform(const input_batch& batch, const sink& output, const wasmengine::error& e) {
  const auto& origins = batch.origins;
  auto at = origins.end();
  if (output.error()) {
    at = std::find_if(origins.begin(), origins.end(), [&](const auto& o) { return o.offset == output.offset(); });
  } else if (const auto record = e.record(); record && record->index < origins.size()) {
    at = origins.begin() + record->index;
  }
  const auto name = [&](std::uint64_t line) { return fmt::format("{}:{}", _shared.input_name, line); };
  const bool too_many = e.status() == WASM_STATUS_POLICY_THRESHOLD;
  const bool by_guest = e.status() >= WASM_STATUS_GUEST_TRAP && e.status() < WASM_STATUS_OUTPUT_REJECTED;
  const auto code = too_many ? exit_code::records_lost : by_guest ? exit_code::guest_failed : exit_code::other;
  const char* const who = by_guest || too_many ? "the guest" : "the transform";
  if (at == origins.end()) {
    count(batch, 0);
    fail(origins.front().line,
         failure(code, fmt::format("{}: {} failed with the batch of lines {} to {}\n  {}", name(origins.front().line),
                                   who, origins.front().line, origins.back().line, details(e))),
         e);
    return;
  }
  const auto index = static_cast<std::size_t>(at - origins.begin());
  count(batch, index);
  const auto where = fmt::format("{}offset {}, index {} in a batch of {}",
                                 batch.partition ? fmt::format("partition {}, ", *batch.partition) : "", at->offset,
                                 index, origins.size());
  if (output.error()) {
    const auto& refused = *output.error();
    fail(at->line, failure(refused.code(), fmt::format("{}: {} ({})", name(at->line), refused.what(), where)));
  } else {
    fail(at->line,
         failure(code, fmt::format("{}: {} failed at this record ({})\n  {}", name(at->line), who, where, details(e))), e);
  }
}

}  // namespace tool
