// SPDX-License-Identifier: Apache-2.0
#include "remote_engine.hh"

#include "protocol.hh"
#include "wasm_engine/batch.hh"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

namespace wasmengine::remote {

namespace {

/// Messages and lines of logs that a step takes. A server that sends them without end holds up no other task.
constexpr int steps = 256;

/// What the server says about a failure, with its status.
std::string describe(const wire::Failure& f) {
  const auto text = printable_lines(f.message());
  return f.status() == 0 ? text : wasm_status_name(static_cast<wasm_status>(f.status())) + (": " + text);
}

}  // namespace

remote_engine::remote_engine(std::shared_ptr<connection> host,
                             std::shared_ptr<const deployment> wanted)
    : _connection(std::move(host)), _wanted(std::move(wanted)) {}

remote_engine::~remote_engine() { stop(); }

wasm_callback_result remote_engine::start(custom_call call) {
  const auto now = stream::clock::now();
  const auto& config = _connection->config;
  if (!_stream) {
    _start_until = now + config.start_timeout;
    const bool once = config.connect_timeout.count() == 0;
    _connect_until = once ? _start_until : std::min(now + config.connect_timeout, _start_until);
    _tries_again = !once;
    _stream = stream::open(_connection, _wanted, {_connect_until, _start_until}, false);
  }
  int budget = steps;
  while (const auto* const message = next(call, budget)) {
    if (message->has_failure()) {
      tell(message->failure());
      start_failed("the remote guest did not start: " + describe(message->failure()),
                   message->failure().cause() == wire::Failure::CAUSE_SERVER);
    }
    if (message->has_output() || message->has_done()) {
      violated("there is output before the guest is ready");
    }
    if (message->has_ready()) {
      accept(message->ready());
      _current = {};
      _stream->expect_nothing();
      ++_connection->counted.starts;
      return WASM_CALLBACK_RESULT_DONE;
    }
    _current = {};
  }
  if (budget == 0) {
    return WASM_CALLBACK_RESULT_AGAIN;
  }
  if (const auto end = _stream->end()) {
    if (end->why == stream_end::kind::unreachable && now < _connect_until && std::exchange(_tries_again, false)) {
      // gRPC waits between its attempts. When the time for that has passed, the reason of the first one is told.
      const auto why = end->text;
      _stream->close();
      _stream = stream::open(_connection, _wanted, {_connect_until, _start_until}, true);
      _unreachable = why;
    } else {
      start_failed(_unreachable.empty() ? end->text : "there was no connection in time: " + _unreachable,
                   end->why != stream_end::kind::refused);
    }
  }
  _stream->wait(call.later());
  return WASM_CALLBACK_RESULT_PENDING;
}

void remote_engine::accept(const wire::Ready& ready) {
  const auto& open = _wanted->open.open();
  if (ready.version() < oldest_version || ready.version() > newest_version) {
    violated("it chose version " + std::to_string(ready.version()) + " of the protocol, which this host does not speak");
  }
  if (!open.module_sha256().empty() && ready.module_sha256() != open.module_sha256()) {
    violated("it runs another module than the one that was asked for");
  }
  const auto keeps = [](std::uint64_t most, std::uint64_t has) { return most == 0 || (has != 0 && has <= most); };
  const auto &wanted = open.limits(), &limits = ready.limits();
  if (!keeps(wanted.memory(), limits.memory()) || !keeps(wanted.record_time_ns(), limits.record_time_ns()) ||
      !keeps(wanted.output_buffer(), limits.output_buffer())) {
    violated("its guest may have more than the limits that were asked for");
  }
  _takes_pieces = ready.version() >= pieces_version;
  _max_batch = limits.batch();
  _memory_size = ready.memory_size();
}

void remote_engine::begin(const batch_work& work) {
  const auto batch = work.batch();
  const auto header = read_batch_header(batch).value();
  // Some old clients leave it 0.
  const bool known = header.last_offset_delta > 0 || header.record_count == 1;
  _progress = progress{header.base_offset, known ? header.last_offset_delta : std::numeric_limits<std::int64_t>::max(),
                       work.first_record(), std::nullopt, 0};
  if (_max_batch != 0 && batch.size() > _max_batch) {
    // Not lost: another try would end in the same way.
    _progress.reset();
    throw std::runtime_error(place() + "the batch has " + std::to_string(batch.size()) + " bytes and the server takes " +
                             std::to_string(_max_batch));
  }
  _stream->send(++_batches, batch, work.first_record(), _takes_pieces);
  _stream->expect_progress();
}

wasm_callback_result remote_engine::transform(const batch_work& work, custom_call call) {
  if (!_progress) {
    begin(work);
  }
  int budget = steps;
  while (const auto* const found = next(call, budget)) {
    const auto& message = *found;
    if (message.has_ready()) {
      violated("it is ready twice");
    }
    if (message.has_output() && !write_output(work)) {
      return WASM_CALLBACK_RESULT_AGAIN;
    }
    if (message.has_failure()) {
      fail(message.failure());
    }
    if (message.has_done()) {
      if (message.done().batch() != _batches) {
        violated("it is done with batch " + std::to_string(message.done().batch()) + " instead of " + std::to_string(_batches));
      }
      _memory_size = message.done().memory_size();
      _stream->expect_nothing();
      _current = {};
      _progress.reset();
      return WASM_CALLBACK_RESULT_DONE;
    }
    _current = {};
  }
  if (budget == 0) {
    return WASM_CALLBACK_RESULT_AGAIN;
  }
  if (const auto end = _stream->end()) {
    lose(end->text);
  }
  _stream->wait(call.later());
  return WASM_CALLBACK_RESULT_PENDING;
}

bool remote_engine::write_output(const batch_work& work) {
  const auto& out = _current.message->output();
  const auto count = static_cast<std::size_t>(out.sizes_size());
  if (!std::exchange(_current.checked, true)) {
    if (out.batch() != _batches) {
      violated("it has output of batch " + std::to_string(out.batch()) + " instead of " + std::to_string(_batches));
    }
    std::uint64_t bytes = 0;
    for (const auto size : out.sizes()) {
      bytes += size;
    }
    if (bytes != out.payloads().size() || static_cast<std::size_t>(out.offsets_size()) != count ||
        (out.topics_size() != 0 && static_cast<std::size_t>(out.topics_size()) != count)) {
      violated("the parts of its output do not fit together");
    }
    _progress->output += bytes + 32 * count;
    if (_progress->output > _connection->config.max_batch_output) {
      violated("it has more output for a batch than max_batch_output allows");
    }
  }
  const auto* const payloads = reinterpret_cast<const std::uint8_t*>(out.payloads().data());
  auto& p = *_progress;
  for (; _current.record < count; ++_current.record) {
    const auto i = static_cast<int>(_current.record);
    // Not added to the base: the server could make that overflow.
    const auto wanted = out.offsets(i);
    if (wanted > p.last_delta) {
      violated("it has output for offset delta " + std::to_string(wanted) + ", behind the batch");
    }
    const auto delta = [&] { return p.record->offset() - p.base_offset; };
    while (!p.record || delta() < wanted) {
      p.record = work.next();
      if (!p.record) {
        violated("it has output for offset delta " + std::to_string(wanted) + ", behind the batch");
      }
      p.index = p.record->index();
    }
    if (delta() != wanted) {
      violated("it has output for offset delta " + std::to_string(wanted) + ", which is no record that is left");
    }
    const auto topic = out.topics_size() == 0 ? 0 : out.topics(i);
    try {
      if (!work.write({payloads + _current.byte, out.sizes(i)}, topic)) {
        return false;
      }
    } catch (const error& e) {
      if (e.status() == WASM_STATUS_OUT_OF_MEMORY) {
        lose(e.what());
      }
      violated(std::string("its output is refused: ") + e.what());
    }
    _current.byte += out.sizes(i);
  }
  return true;
}

const wire::ToHost* remote_engine::next(custom_call call, int& budget) {
  if (budget == 0) {
    return nullptr;
  }
  if (!_current.message) {
    _current = {_stream->take()};
    if (!_current.message) {
      return nullptr;
    }
  }
  --budget;
  const auto& lines = _current.message->log();
  for (; _current.line < lines.size(); ++_current.line) {
    if (budget == 0) {
      return nullptr;
    }
    --budget;
    log(lines[_current.line], call);
  }
  return _current.message.get();
}

void remote_engine::log(const wire::LogLine& line, custom_call call) const {
  if (!_connection->config.log) {
    return;
  }
  const auto text = printable(line.text());
  // Hosts may rely on the values that there are.
  const auto severity = line.severity() <= WASM_LOG_SEVERITY_ERROR ? static_cast<wasm_log_severity>(line.severity())
                                                                   : WASM_LOG_SEVERITY_INFO;
  const auto source = line.source() == WASM_LOG_SOURCE_LIBRARY ? WASM_LOG_SOURCE_LIBRARY : WASM_LOG_SOURCE_GUEST;
  try {
    _connection->config.log({severity, line.continues(), _wanted->transform.name, text, source, 0, call.engine(),
                             call.user_data()});
  } catch (...) {
    // As with guests: a log that fails ends nothing.
  }
}

void remote_engine::tell(const wire::Failure& f) const {
  if (!_connection->config.on_failure) {
    return;
  }
  remote_failure told{_wanted->transform.name,
                      static_cast<wasm_status>(f.status()),
                      printable_lines(f.message()),
                      f.has_record_index() ? std::optional(record_position{f.record_index(), f.record_offset()}) : std::nullopt,
                      static_cast<wasm_trap>(f.trap()),
                      f.has_exit_code() ? std::optional(f.exit_code()) : std::nullopt,
                      {},
                      printable_lines(f.guest_stderr())};
  for (const auto& frame : f.frames()) {
    told.frames.push_back({frame.index(), printable(frame.function()), printable(frame.file()), frame.line(), frame.column()});
  }
  _connection->config.on_failure(told);
}

void remote_engine::start_failed(const std::string& why, bool lost) {
  ++_connection->counted.failed_starts;
  const auto text = place() + why;
  if (lost) {
    ++_connection->counted.lost;
    throw engine_lost(0, text);
  }
  throw std::runtime_error(text);
}

void remote_engine::fail(const wire::Failure& f) {
  tell(f);
  if (f.cause() == wire::Failure::CAUSE_GUEST && f.has_record_index()) {
    if (f.record_index() < _progress->index) {
      violated("its guest failed at record " + std::to_string(f.record_index()) + " and it has output of later ones");
    }
    throw record_failure(f.record_index(), place() + "the remote guest failed: " + describe(f));
  }
  // No record is named, so none may be skipped.
  lose("the remote guest is gone: " + describe(f));
}

void remote_engine::lose(const std::string& why) {
  ++_connection->counted.lost;
  throw engine_lost(_progress->index, place() + why);
}

void remote_engine::violated(const std::string& what) {
  const auto why = "the server broke the protocol: " + what;
  _stream->fail({stream_end::kind::lost, why});
  if (_progress) {
    lose(why);
  }
  start_failed(why, true);
}

std::string remote_engine::place() const { return "server " + _connection->config.address + ": "; }

void remote_engine::stop() noexcept {
  if (_stream) {
    _stream->close();
    _stream.reset();
  }
  _unreachable.clear();
  _batches = 0;
  _max_batch = 0;
  _takes_pieces = false;
  _progress.reset();
  _current = {};
  _memory_size = 0;
}

}  // namespace wasmengine::remote
