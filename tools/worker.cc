// SPDX-License-Identifier: Apache-2.0
#include "worker.hh"

#include "bad_line.hh"
#include "encoding.hh"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <exception>
#include <limits>
#include <utility>

namespace tool {

namespace {

/// Batches that are larger together are not given to the guest together: they would gain nothing.
constexpr std::size_t most_bytes_of_a_call = 64U << 10;

/// What the library can count of lost records.
constexpr std::uint64_t most_counted_losses = 65'535;

/// Ends the run at the record that would be lost beyond what the user allows. With several workers each allows as many.
wasmengine::policy policy_of(wasm_on_error on_error, const error_limit& limit, std::uint64_t lost) {
  wasmengine::policy policy{.on_error = on_error};
  if (const auto count = limit.count(); count && *count <= most_counted_losses) {
    policy.lost_max = static_cast<std::uint32_t>(*count - std::min(*count, lost));
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

worker::worker(shared& s, std::uint32_t shard)
    : _shared(s), _shard(shard), _reader(s.input), _resume(s.begin.records_behind) {}

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
  _engine.reset();
  _counted.cpu_time = thread_cpu_time() - begin;
}

void worker::interrupt() noexcept {
  _interrupted = true;
  _loop.post([](void* self) noexcept { static_cast<worker*>(self)->stop_engine(); }, this);
}

void worker::stop_engine() noexcept {
  if (_engine) {
    // The operation in progress is told by its next poll.
    (void)_engine->stop();
  }
}

task worker::serve() {
  _engine.emplace(wasmengine::engine::create(_shared.factory).value());
  _engine->set_policy(policy_of(_shared.on_error, _shared.max_errors, _shared.begin.lost)).value();
  std::optional<profiling> profile;
  if (_shared.profile) {
    profile.emplace(*_engine, _profile);
  }
  co_await start();
  for (;;) {
    auto waiting = co_await _input.pop_all();
    if (waiting.empty()) {
      break;
    }
    for (;;) {
      // After a failure the input before it is still finished. Nothing else is begun.
      std::erase_if(waiting, [this, line = _shared.failed.first_line()](const input_batch& batch) {
        return _interrupted || batch.parts.front().line > line;
      });
      if (waiting.empty()) {
        _next_part = 0;
        break;
      }
      if (_engine->state().value() == WASM_ENGINE_STATE_STOPPED) {
        co_await start();
      }
      co_await step(waiting);
      _counted.guest_memory = std::max(_counted.guest_memory, _engine->memory_size().value());
    }
  }
  note_last_loss();
}

task worker::start() {
  if (const auto started = co_await wasmengine::on(_loop, _engine->start().value()); !started && !_interrupted) {
    throw start_failure(started.err());
  }
  _counted.guest_memory = std::max(_counted.guest_memory, _engine->memory_size().value());
}

/// Makes records of the first batch that waits and of those that are small with it, up to the first line that is none.
/// Transforms them. Removes what is done.
task worker::step(std::deque<input_batch>& waiting) {
  guest_input records(_shared.time);
  records.clear();
  _reader.clear();
  const auto resume = std::exchange(_resume, 0);
  std::size_t before = _next_part;  // records of the first batch before those of this step
  std::optional<bad_line> bad;
  std::size_t batch = 0;
  std::size_t part = _next_part;
  for (; batch < waiting.size() && !bad; ++batch) {
    const auto& from = waiting[batch];
    // With checkpoints the same input makes the same calls.
    const bool fits = !_shared.checkpoints && records.bytes() + from.text.size() <= most_bytes_of_a_call;
    if (batch > 0 && (!fits || _shared.failed.any())) {
      break;
    }
    for (part = batch == 0 ? _next_part : 0; part < from.parts.size(); ++part) {
      const auto& p = from.parts[part];
      const auto text = from.text_of(p);
      if (_shared.input.shape == format::batches) {
        if (before + p.records <= resume) {
          before += p.records;
        } else {
          records.add_raw(from, part);
        }
        continue;
      }
      try {
        records.add(_reader.read(text), from, part);
      } catch (const failure& e) {
        if (part < resume) {
          records.clear();
          before = part + 1;
          continue;
        }
        bad = bad_line{&p, std::string(text), e.what()};
        break;
      }
    }
  }
  const auto& first = waiting.front();
  const auto line = first.parts.front().line;
  records.set_first_record(static_cast<std::uint32_t>(resume > before ? resume - before : 0));
  _failed = false;
  if (records.records() > records.first_record()) {
    co_await transform(records, [&](std::size_t done) { mark(first.parts.front().before, before + done); });
    note_losses();
  }
  if (bad && !_failed && !_interrupted) {
    co_await lose(*bad);
    if (!_failed) {
      mark(first.parts.front().before, part + 1);
    }
  }
  note_traffic();
  check_losses(line);
  // Of the last batch that was begun there may be lines left behind the one that is no record.
  const bool failed = _failed || _interrupted;
  const auto over = failed ? std::max<std::size_t>(batch, 1) : bad ? batch - 1 : batch;
  _next_part = bad && !failed ? part + 1 : 0;
  _counted.batches += over;
  waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(over));
  if (!waiting.empty() && _next_part == waiting.front().parts.size()) {
    _next_part = 0;
    ++_counted.batches;
    waiting.pop_front();
  }
}

/// `mark_done` is called with the number of records that are done.
task worker::transform(guest_input& records, const std::function<void(std::size_t)>& mark_done) {
  if (_shared.packs && _shared.input.shape != format::batches) {
    if (const auto refused = records.pack(_shared.compression)) {
      const auto why = fmt::format("{}:{}: {}", _shared.input_name, refused->line, refused->why);
      fail(refused->line, failure(exit_code::bad_input, why));
      co_return;
    }
  }
  // What comes before a block has been submitted: its output is whole.
  const auto mark_progress = [&] {
    if (_shared.checkpoints) {
      const auto at = _engine->progress().value();
      mark_done(std::max<std::size_t>(records.records_before(at.batch, at.record), records.first_record()));
    }
  };
  output_sink output({_shared.writer, _shared.letter_writer, _shared.files, _shared.output, _shared.output_batches,
                      _shared.input.shape == format::json || _shared.input.shape == format::csv},
                     _counted, records, mark_progress);
  const auto begin = std::chrono::steady_clock::now();
  auto operation = records.transform(*_engine, output);
  wasmengine::result<void> done;
  if (operation) {
    done = co_await wasmengine::on(_loop, std::move(*operation));
  } else {
    done = operation.err();
  }
  const auto time = std::chrono::steady_clock::now() - begin;
  if (done) {
    for (std::size_t i = 0; i < records.batches(); ++i) {
      count(records, i, records.records_of(i));
    }
    _counted.latency.add(static_cast<std::uint64_t>(time.count()) / records.records(), records.records());
    mark_done(records.records());
    co_return;
  }
  const auto at = _engine->progress().value();
  for (std::size_t i = 0; i < at.batch && i < records.batches(); ++i) {
    count(records, i, records.records_of(i));
  }
  if (at.batch < records.batches()) {
    count(records, at.batch, std::min<std::size_t>(at.record, records.records_of(at.batch)));
  }
  if (output.is_settled()) {
    mark_progress();
  }
  if (!_interrupted) {
    fail_transform(records, output, done.err());
  }
}

/// A line that is no record ends the run, or it is lost as a record is at which the guest fails.
task worker::lose(const bad_line& bad) {
  const auto line = bad.part->line;
  const auto where = fmt::format("{}:{}: {}", _shared.input_name, line, printable(bad.why));
  if (_shared.on_error == WASM_ON_ERROR_FAIL) {
    fail(line, failure(exit_code::bad_input, where));
    co_return;
  }
  if (const auto most = _shared.max_errors.count(); most && _shared.passed.lost + (lost() - _told.lost) >= *most) {
    ++_lost_lines;
    fail(line, failure(exit_code::records_lost,
                       fmt::format("{}, and --max-errors allows no more than {} lost records", where, grouped(*most))));
    co_return;
  }
  if (_shared.on_error == WASM_ON_ERROR_DEAD_LETTER) {
    const auto file = _shared.files.file_of(_shared.files.topics());
    std::string letter;
    write_letter(bad, letter);
    if (!_shared.output.submit(file, std::move(letter))) {
      co_await _shared.output.room(_loop);
    }
  }
  ++_lost_lines;
  ++_counted.records_in;
  _last_lost_line = where;
  note_losses();
}

/// The line as it is, with what is wrong with it in the headers that the library gives dead letters.
void worker::write_letter(const bad_line& bad, std::string& out) const {
  const auto offset = std::to_string(bad.part->index);
  const auto line = std::to_string(bad.part->line);
  const auto why = bad.why.substr(0, 1024);
  const auto how = how_read(_shared.input);
  std::vector<wasm_header> headers;
  const auto add = [&headers](std::string_view key, std::string_view value) {
    headers.push_back({wasmengine::payload::raw(key), wasmengine::payload::raw(value)});
  };
  add("wasm-transform", _shared.transform);
  add("wasm-offset", offset);
  add("wasm-error", "bad-input");
  add("wasm-error-message", why);
  add("wasm-line", line);
  add(how_read_header, how);
  written_record r;
  r.value = bad.text;
  r.headers = headers;
  r.topic = static_cast<std::uint32_t>(_shared.files.topics());
  using namespace std::chrono;
  r.timestamp = _shared.time.value_or(duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count());
  _shared.letter_writer.write(r, out);
}

std::uint64_t worker::lost() const {
  const auto tally = _engine->stats().value();
  return tally.skipped + tally.dead_lettered + _lost_lines;
}

void worker::note_losses() {
  const auto tally = _engine->stats().value();
  const bool letters = _shared.on_error == WASM_ON_ERROR_DEAD_LETTER;
  _counted.skipped = tally.skipped + (letters ? 0 : _lost_lines);
  _counted.dead_letters = tally.dead_lettered + (letters ? _lost_lines : 0);
}

void worker::note_last_loss() {
  if (const auto last = _engine->last_error().value(); last && _counted.lost() > _lost_lines) {
    const auto text = details(*last);
    _counted.last_loss = text.substr(0, text.find('\n'));
    _last_loss = last;
  } else if (_lost_lines > 0) {
    _counted.last_loss = _last_lost_line;
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
  add(_shared.passed.lost, c.lost(), _told.lost);
}

/// All workers together may have lost more than each of them may.
void worker::check_losses(std::uint64_t line) {
  const auto most = _shared.max_errors.count();
  if (const std::uint64_t lost = _shared.passed.lost; most && lost > *most && !_shared.failed.any()) {
    fail(line, failure(exit_code::records_lost, fmt::format("{} records were lost and --max-errors allows {}",
                                                            grouped(lost), grouped(*most))));
  }
}

void worker::mark(const input_place& place, std::size_t records_behind) {
  if (_shared.checkpoints) {
    _shared.output.mark(
        {place, records_behind, _shared.begin.records_in + _counted.records_in, _shared.begin.lost + lost()});
  }
}

/// The first records of a batch have completed.
void worker::count(const guest_input& records, std::size_t batch, std::size_t records_done) {
  _counted.records_in += records_done - (batch == 0 ? std::min<std::size_t>(records.first_record(), records_done) : 0);
  _counted.bytes_in += records.bytes_of(batch, records_done);
}

void worker::fail(std::uint64_t line, const failure& what, std::optional<wasmengine::error> why) {
  _failed = true;
  _shared.failed.add(line, what, std::move(why));
  _shared.on_failure();
}

/// Names the record by its line of input and by its Kafka coordinates.
void worker::fail_transform(const guest_input& records, const output_sink& output, const wasmengine::error& e) {
  const auto batch = output.error() ? output.batch() : static_cast<std::size_t>(e.batch());
  const bool is_raw = _shared.input.shape == format::batches;
  std::optional<std::size_t> index;
  std::int64_t offset = 0;
  if (output.error()) {
    index = output.index();
    offset = output.offset();
  } else if (const auto record = e.record()) {
    index = record->index;
    offset = record->offset;
  }
  const auto name = [&](std::uint64_t line) {
    return is_raw ? fmt::format("{}: record {}", _shared.input_name, line) : fmt::format("{}:{}", _shared.input_name, line);
  };
  const bool too_many = e.status() == WASM_STATUS_POLICY_THRESHOLD;
  const bool by_guest = e.status() >= WASM_STATUS_GUEST_TRAP && e.status() < WASM_STATUS_OUTPUT_REJECTED;
  const bool by_input = is_raw && e.status() >= WASM_STATUS_BATCH_TRUNCATED && e.status() <= WASM_STATUS_BATCH_TOO_LARGE;
  const auto code = too_many   ? exit_code::records_lost
                    : by_guest ? exit_code::guest_failed
                    : by_input ? exit_code::bad_input
                               : exit_code::other;
  const char* const who = by_guest || too_many ? "the guest" : "the transform";
  if (!index || batch >= records.batches() || *index >= records.records_of(batch)) {
    const auto from = records.origin_of(std::min(batch, records.batches() - 1), 0);
    const auto at = is_raw ? fmt::format(" at byte {}", from.position) : "";
    fail(from.line, failure(code, fmt::format("{}: {} failed with the batch of {} {} to {}{}\n  {}", name(from.first_line), who,
                                              is_raw ? "records" : "lines", from.first_line, from.last_line, at, details(e))),
         e);
    return;
  }
  const auto from = records.origin_of(batch, *index, offset);
  const auto where = fmt::format("{}offset {}, index {} in a batch of {}",
                                 from.partition ? fmt::format("partition {}, ", *from.partition) : "", from.offset,
                                 from.in_batch, from.batch_size);
  if (output.error()) {
    const auto& refused = *output.error();
    fail(from.line, failure(refused.code(), fmt::format("{}: {} ({})", name(from.line), refused.what(), where)));
  } else {
    fail(from.line,
         failure(code, fmt::format("{}: {} failed at this record ({})\n  {}", name(from.line), who, where, details(e))), e);
  }
}

}  // namespace tool
