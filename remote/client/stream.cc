// SPDX-License-Identifier: Apache-2.0
#include "stream.hh"

#include "protocol.hh"

#include <algorithm>
#include <utility>

namespace wasmengine::remote {

namespace {

using kind = stream_end::kind;

std::string seconds(std::chrono::milliseconds time) {
  auto text = std::to_string(time.count() / 1000);
  if (const auto rest = time.count() % 1000; rest != 0) {
    auto digits = std::to_string(1000 + rest).substr(1);
    digits.erase(digits.find_last_not_of('0') + 1);
    text += "." + digits;
  }
  return text + " s";
}

/// What the end of a call says.
stream_end explain(const grpc::Status& status, bool ready) {
  const auto text = printable(status.error_message());
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return {kind::lost, "the server ended the stream"};
    case grpc::StatusCode::UNAVAILABLE:
      return {ready ? kind::lost : kind::unreachable, text};
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::PERMISSION_DENIED:
      return {kind::refused, "the server refused this host: " + text};
    case grpc::StatusCode::UNIMPLEMENTED:
      return {kind::refused, "this is no wasm-transform serve, or one of another version: " + text};
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return {kind::lost, "a limit was exceeded: " + text};
    case grpc::StatusCode::INVALID_ARGUMENT:
      return {kind::lost, "the server says that this host broke the protocol: " + text};
    default:
      return {kind::lost, "status " + std::to_string(status.error_code()) + " of gRPC: " + text};
  }
}

/// Bytes that a message takes in memory, about. On the wire an empty line of a log has two and an offset one.
std::size_t size_of(const wire::ToHost& m) {
  const auto elements = [](int count, std::size_t size) { return static_cast<std::size_t>(count) * size; };
  const auto& out = m.output();
  return m.ByteSizeLong() + sizeof(m) + elements(m.log_size(), sizeof(wire::LogLine) + sizeof(std::string)) +
         elements(out.sizes_size() + out.topics_size(), sizeof(std::uint32_t)) +
         elements(out.offsets_size(), sizeof(std::int64_t)) +
         elements(m.failure().frames_size(), sizeof(wire::Frame) + 2 * sizeof(std::string));
}

bool is_bloated(const wire::ToHost& m) {
  return m.log_size() > max_log_lines || m.failure().frames_size() > max_frames;
}

}  // namespace

stream::stream(std::shared_ptr<connection> host, std::shared_ptr<const deployment> wanted)
    : _connection(std::move(host)), _wanted(std::move(wanted)), _heard(clock::now()) {
  ++_connection->counted.engines;
}

stream::~stream() { --_connection->counted.engines; }

std::shared_ptr<stream> stream::open(std::shared_ptr<connection> host,
                                     std::shared_ptr<const deployment> wanted, deadlines until, bool patient) {
  const std::shared_ptr<stream> s(new stream(std::move(host), std::move(wanted)));
  s->_self = s;
  s->_connection->prepare(s->_context);
  s->_context.set_wait_for_ready(patient);
  s->_connection->stub->async()->Run(&s->_context, s.get());
  s->AddHold();
  const std::lock_guard lock(s->_mutex);
  s->_deadlines = until;
  s->set_alarm(until.connection);
  s->begin_write(std::make_unique<wire::ToServer>(s->_wanted->open));
  s->begin_read();
  s->StartCall();
  return s;
}

void stream::send(std::uint64_t number, std::span<const std::uint8_t> batch, std::uint32_t first_record,
                  bool in_pieces) {
  std::deque<std::unique_ptr<wire::ToServer>> pieces;
  const auto first_size = in_pieces ? std::min(chunk_size, batch.size()) : batch.size();
  auto& b = *pieces.emplace_back(std::make_unique<wire::ToServer>())->mutable_batch();
  b.set_number(number);
  b.set_batch(batch.data(), first_size);
  b.set_first_record(first_record);
  if (first_size < batch.size()) {
    b.set_size(batch.size());
  }
  for (auto rest = batch.subspan(first_size); !rest.empty(); rest = rest.subspan(std::min(chunk_size, rest.size()))) {
    auto& chunk = *pieces.emplace_back(std::make_unique<wire::ToServer>())->mutable_chunk();
    chunk.set_data(rest.data(), std::min(chunk_size, rest.size()));
  }
  ++_connection->counted.batches;
  _connection->counted.bytes_sent += batch.size();
  const std::lock_guard lock(_mutex);
  if (_end || !_hold) {
    return;
  }
  // `Open` or the module's last piece may still be on its way. A server that is ready has them all the same.
  _queued = std::move(pieces);
  write_more();
}

stream::message stream::take() {
  const std::lock_guard lock(_mutex);
  if (_inbox.empty()) {
    return nullptr;
  }
  auto first = std::move(_inbox.front());
  _inbox.pop_front();
  _inbox_bytes -= size_of(*first);
  if (_paused && _inbox_bytes <= _connection->config.window / 2 && !_end && _hold) {
    _paused = false;
    begin_read();
  }
  return first;
}

std::optional<stream_end> stream::end() {
  const std::lock_guard lock(_mutex);
  return _inbox.empty() ? _end : std::nullopt;
}

void stream::wait(promise p) {
  {
    const std::lock_guard lock(_mutex);
    _heard = clock::now();  // until here the host was busy, not the server
    if (!has_news()) {
      _waiter = std::move(p);
      return;
    }
  }
  (void)p.resolve();
}

void stream::expect_progress() {
  const std::lock_guard lock(_mutex);
  _progress = true;
  _heard = clock::now();
  if (!_alarm && !_end) {
    set_alarm(_heard + _connection->config.progress_timeout);
  }
}

void stream::expect_nothing() {
  const std::lock_guard lock(_mutex);
  _progress = false;
  if (_deadlines) {
    _deadlines.reset();
    _ready = true;
    _alarm.reset();
  }
}

void stream::fail(stream_end end) {
  const std::lock_guard lock(_mutex);
  _inbox.clear();
  _inbox_bytes = 0;
  end_with(std::move(end));
}

void stream::close() noexcept {
  promise dropped;
  {
    const std::lock_guard lock(_mutex);
    dropped = std::move(_waiter);
    _waiter = promise();
    _inbox.clear();
    _inbox_bytes = 0;
    _alarm.reset();
    if (!_end) {
      _end = stream_end{kind::lost, "the engine was stopped"};
      _context.TryCancel();
    }
    release_hold();
  }
}

void stream::begin_read() {
  _reading = std::make_unique<wire::ToHost>();
  StartRead(_reading.get());
}

void stream::begin_write(std::unique_ptr<wire::ToServer> next) {
  _writing = std::move(next);
  StartWrite(_writing.get());
}

void stream::release_hold() {
  if (std::exchange(_hold, false)) {
    RemoveHold();
  }
}

/// The first reason counts. The messages before it still do.
void stream::end_with(stream_end end) {
  if (_end) {
    return;
  }
  _end = std::move(end);
  _alarm.reset();
  _context.TryCancel();
  release_hold();
}

void stream::upload_more() {
  const auto& bytes = _wanted->module.bytes;
  if (_writing || !_uploaded || *_uploaded == bytes.size()) {
    return;
  }
  const auto size = std::min(chunk_size, bytes.size() - *_uploaded);
  auto m = std::make_unique<wire::ToServer>();
  m->mutable_chunk()->set_data(bytes.data() + *_uploaded, size);
  *_uploaded += size;
  _connection->counted.bytes_sent += size;
  if (*_uploaded == bytes.size()) {
    ++_connection->counted.uploads;
  }
  begin_write(std::move(m));
}

void stream::OnWriteDone(bool ok) {
  const std::lock_guard lock(_mutex);
  _writing.reset();
  if (!ok || _end) {
    return;  // `OnDone` says why
  }
  _heard = clock::now();  // a piece has gone out
  write_more();
}

void stream::write_more() {
  if (_writing) {
    return;
  }
  if (_queued.empty()) {
    upload_more();
    return;
  }
  auto next = std::move(_queued.front());
  _queued.pop_front();
  begin_write(std::move(next));
}

void stream::OnReadInitialMetadataDone(bool ok) {
  const std::lock_guard lock(_mutex);
  _connected = _connected || ok;
}

void stream::OnReadDone(bool ok) {
  promise waiter;
  {
    const std::lock_guard lock(_mutex);
    auto m = std::move(_reading);
    if (!ok) {
      release_hold();  // so that `OnDone` comes and says why
      return;
    }
    if (_end) {
      return;
    }
    _heard = clock::now();
    if (m->has_done() || m->has_failure()) {
      _progress = false;  // The server has no more to say, however long the host takes for the output.
    }
    if (m->has_need_module()) {
      if (_uploaded || _ready || _wanted->module.bytes.empty()) {
        end_with({kind::lost, "the server broke the protocol: it asks for the module and should not"});
      } else {
        _uploaded = 0;
        upload_more();
      }
    }
    if (is_bloated(*m)) {
      end_with({kind::lost, "the server broke the protocol: a message has more lines or frames than one may have"});
    }
    if (!_end) {
      _connection->counted.bytes_received += m->output().payloads().size();
      const bool means_something = m->log_size() > 0 || m->has_ready() || m->has_output() || m->has_done() || m->has_failure();
      if (means_something) {
        _inbox_bytes += size_of(*m);
        _inbox.push_back(std::move(m));
      }
      if (_inbox_bytes < _connection->config.window) {
        begin_read();
      } else {
        _paused = true;
      }
    }
    if (has_news()) {
      waiter = std::move(_waiter);
      _waiter = promise();
    }
  }
  if (waiter) {
    (void)waiter.resolve();
  }
}

void stream::OnDone(const grpc::Status& status) {
  std::shared_ptr<stream> self;  // Until the lock is free.
  promise waiter;
  {
    const std::lock_guard lock(_mutex);
    self = std::move(_self);
    if (!_end) {
      _end = explain(status, _ready);
      _alarm.reset();
    }
    waiter = std::move(_waiter);
    _waiter = promise();
  }
  if (waiter) {
    (void)waiter.resolve();
  }
}

void stream::set_alarm(clock::time_point when) {
  // gRPC's alarms go by the wall clock.
  const auto wall = std::chrono::system_clock::now() +
                    std::chrono::duration_cast<std::chrono::system_clock::duration>(when - clock::now());
  _alarm.emplace();
  _alarm->Set(wall, [me = std::weak_ptr(_self)](bool rang) {
    if (const auto s = rang ? me.lock() : nullptr) {
      s->alarm_rang();
    }
  });
}

void stream::alarm_rang() {
  promise waiter;
  {
    const std::lock_guard lock(_mutex);
    if (_end) {
      return;
    }
    const auto now = clock::now();
    const auto& config = _connection->config;
    if (_deadlines) {
      const auto due = _connected ? _deadlines->start : _deadlines->connection;
      if (now < due) {
        set_alarm(due);
        return;
      }
      if (_connected) {
        end_with({kind::lost, "it did not start within " + seconds(config.start_timeout)});
      } else {
        const auto limit = config.connect_timeout.count() == 0 ? config.start_timeout : config.connect_timeout;
        end_with({kind::unreachable, "no connection within " + seconds(limit)});
      }
    } else if (!_progress) {
      _alarm.reset();
      return;
    } else {
      // While there are messages the host is the slow one.
      const auto due = (_inbox.empty() && !_paused ? _heard : now) + config.progress_timeout;
      if (now < due) {
        set_alarm(due);
        return;
      }
      end_with({kind::lost, "the server said nothing for " + seconds(config.progress_timeout)});
    }
    waiter = std::move(_waiter);
    _waiter = promise();
  }
  if (waiter) {
    (void)waiter.resolve();
  }
}

}  // namespace wasmengine::remote
