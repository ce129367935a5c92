// SPDX-License-Identifier: Apache-2.0
#include "session.hh"

#include "protocol.hh"

#include <algorithm>
#include <utility>

namespace wasmengine::remote {

namespace {

using cause = wire::Failure;

/// Output of different records goes into another message from here on.
constexpr std::size_t message_size = 256U << 10;
constexpr std::size_t most_log_bytes = 256U << 10;

/// Refusals of modules and descriptions come again. Shortages may pass.
wire::Failure::Cause cause_of(wasm_status status) {
  return status >= WASM_STATUS_PANIC ? cause::CAUSE_SERVER : cause::CAUSE_REFUSED;
}

}  // namespace

struct session::sink {
  session& s;
  wasm_callback_result operator()(output_block block, output_call call) { return s.deliver(block, call); }
};

session* session::accept(core& c, std::string peer) {
  const std::shared_ptr<session> s(new session(c, c.choose(), std::move(peer)));
  s->_self = s;
  s->StartSendInitialMetadata();  // tells the host that it is connected
  s->_shard.events.call([s] { s->begin(); });
  return s.get();
}

session::session(core& c, shard& s, std::string peer)
    : _core(c), _shard(s), _peer(std::move(peer)), _out(*this, c.config.window) {
  ++_core.counted.streams;  // `streams` was counted when the call was let in
}

session::~session() { --_core.streams; }

void session::begin() {
  _shard.sessions.insert(shared_from_this());
  if (_core.draining) {
    _drains = true;
  }
  read_more();
  _work = serve();
  _work.run(
      [](void* me) noexcept {
        // Not at once: the coroutine still runs.
        static_cast<session*>(me)->_shard.events.call([s = static_cast<session*>(me)->shared_from_this()] { s->ended(); });
      },
      this);
}

task<> session::serve() {
  try {
    const auto first = co_await next();
    if (!first) {
      _out.finish(_drains ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "the server shuts down") : grpc::Status::OK);
      co_return;
    }
    if (!first->has_open()) {
      violation("the first message is not Open");
      co_return;
    }
    const wire::Open& open = first->open();
    _name = open.name();
    _alive = std::chrono::milliseconds(open.alive_interval_ms());
    if (const auto why = examine(open)) {
      fail(cause::CAUSE_REFUSED, *why);
      co_return;
    }
    auto found = co_await deploy(open);
    if (!found) {
      co_return;
    }
    auto made = engine::create(std::move(found->compiled));
    if (!made) {
      fail(cause::CAUSE_SERVER, made.err());
      co_return;
    }
    auto guest = std::move(made).value();
    (void)guest.set_user_data(this);
    if (const auto started = co_await on(_shard.events, guest.start().value()); !started) {
      const auto status = started.err().status();
      fail(status >= WASM_STATUS_PANIC ? cause::CAUSE_SERVER : cause::CAUSE_GUEST, started.err());
      co_return;
    }
    auto message = std::make_unique<wire::ToHost>();
    auto& ready = *message->mutable_ready();
    ready.set_version(std::min(open.version(), newest_version));
    ready.set_library(std::string(version()));
    ready.set_module_sha256(found->hash);
    *ready.mutable_limits() = found->limits;
    ready.set_memory_size(guest.memory_size().value());
    send(std::move(message));
    while (co_await transform(guest)) {
    }
  } catch (const std::exception& e) {
    _core.log(_peer + ", transform \"" + printable(_name) + "\": " + printable(e.what()));
    _out.finish({grpc::StatusCode::INTERNAL, e.what()});
  }
}

task<bool> session::transform(engine& guest) {
  _phase = phase::idle;
  const auto message = co_await next();
  if (!message) {
    if (_drains) {
      fail(cause::CAUSE_SERVER, "the server shuts down");
    } else {
      _out.finish(grpc::Status::OK);
    }
    co_return false;
  }
  _since = clock::now();
  if (!message->has_batch() || message->batch().number() != _batch + 1) {
    violation("the next batch was expected");
    co_return false;
  }
  auto& wanted = *message->mutable_batch();
  if (wanted.size() > wanted.batch().size()) {
    const bool is_whole = co_await receive_rest(wanted);
    if (!is_whole) {
      co_return false;
    }
  }
  _phase = phase::working;
  ++_batch;
  ++_core.counted.batches;
  const auto bytes = std::span(reinterpret_cast<const std::uint8_t*>(wanted.batch().data()), wanted.batch().size());
  if (const auto header = read_batch_header(bytes)) {
    _base_offset = header->base_offset;
  }
  sink output{*this};
  auto transforming = guest.transform_from(bytes, wanted.first_record(), output);
  if (!transforming) {
    fail(cause::CAUSE_GUEST, transforming.err());
    co_return false;
  }
  if (const auto done = co_await on(_shard.events, std::move(*transforming)); !done) {
    send_output();
    fail(cause::CAUSE_GUEST, done.err());
    co_return false;
  }
  auto last = _output ? std::move(_output) : std::make_unique<wire::ToHost>();
  last->mutable_done()->set_batch(_batch);
  last->mutable_done()->set_memory_size(guest.memory_size().value());
  send(std::move(last));
  co_return true;
}

task<bool> session::receive_rest(wire::Batch& batch) {
  if (batch.size() > _core.config.max_batch) {
    _out.finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "the batch has more bytes than the server takes"});
    co_return false;
  }
  _phase = phase::receiving;
  auto& bytes = *batch.mutable_batch();
  while (bytes.size() < batch.size()) {
    const auto piece = co_await next();
    if (!piece) {
      fail(cause::CAUSE_SERVER, _drains ? "the server shuts down" : "the batch ended early");
      co_return false;
    }
    const auto& data = piece->chunk().data();
    if (!piece->has_chunk() || data.empty() || data.size() > max_chunk_size || data.size() > batch.size() - bytes.size()) {
      violation("a piece of the batch was expected");
      co_return false;
    }
    bytes.append(data);
    _since = clock::now();
    if (_alive.count() > 0 && _since - _said >= _alive && !_out.is_sending()) {
      send(std::make_unique<wire::ToHost>());
    }
  }
  co_return true;
}

session::reading session::next() { return {*this}; }

std::unique_ptr<wire::ToServer> session::reading::await_resume() const {
  auto message = std::move(s._received);
  if (message) {
    s.read_more();
  }
  return message;
}

wasm_callback_result session::deliver(output_block block, output_call call) {
  for (std::size_t i = 0; i < block.size();) {
    send_output();
    _output = std::make_unique<wire::ToHost>();
    auto& out = *_output->mutable_output();
    out.set_batch(_batch);
    std::size_t end = i, bytes = 0;
    bool many_topics = false;
    for (; end < block.size(); ++end) {
      if (bytes >= message_size && block[end].input_offset != block[end - 1].input_offset) {
        break;
      }
      bytes += block[end].payload_size;
      many_topics = many_topics || block[end].topic != 0;
    }
    const auto count = static_cast<int>(end - i);
    auto& payloads = *out.mutable_payloads();
    payloads.reserve(bytes);
    out.mutable_sizes()->Reserve(count);
    out.mutable_offsets()->Reserve(count);
    for (; i < end; ++i) {
      const auto& r = block[i];
      payloads.append(reinterpret_cast<const char*>(r.payload), r.payload_size);
      out.add_sizes(r.payload_size);
      out.add_offsets(r.input_offset - _base_offset);
      if (many_topics) {
        out.add_topics(r.topic);
      }
    }
  }
  if (_out.has_room()) {
    return WASM_CALLBACK_RESULT_DONE;
  }
  send_output();
  _out.wait_for_room(call.later().value());
  return WASM_CALLBACK_RESULT_PENDING;
}

void session::log(const log_line& line) {
  // A host that does not read must not make this grow.
  if (_log_bytes > most_log_bytes || _log.log_size() == max_log_lines) {
    return;
  }
  auto& out = *_log.add_log();
  out.set_severity(static_cast<std::uint32_t>(line.severity));
  out.set_source(static_cast<std::uint32_t>(line.source));
  out.set_continues(line.continues);
  out.set_text(std::string(line.text));
  _log_bytes += line.text.size() + sizeof(out);
}

void session::send_output() {
  if (_output) {
    send(std::move(_output));
  }
}

void session::send(std::unique_ptr<wire::ToHost> message) {
  if (_log.log_size() > 0) {
    message->mutable_log()->Swap(_log.mutable_log());
    _log.clear_log();
    _log_bytes = 0;
  }
  _since = _said = clock::now();
  _out.send(std::move(message));
}

void session::violation(const char* what) { _out.finish({grpc::StatusCode::INVALID_ARGUMENT, what}); }

void session::fail(wire::Failure::Cause why, const std::string& text) {
  auto message = std::make_unique<wire::ToHost>();
  message->mutable_failure()->set_cause(why);
  message->mutable_failure()->set_message(text);
  if (why == cause::CAUSE_REFUSED) {
    ++_core.counted.refused;
    _core.log(_peer + ", transform \"" + printable(_name) + "\" refused: " + printable(text));
  }
  send(std::move(message));
  _out.finish(grpc::Status::OK);
}

void session::fail(const error& e) { fail(cause_of(e.status()), e); }

void session::fail(wire::Failure::Cause why, const error& e) {
  auto message = std::make_unique<wire::ToHost>();
  auto& f = *message->mutable_failure();
  f.set_cause(why);
  f.set_status(static_cast<std::uint32_t>(e.status()));
  f.set_message(e.what());
  if (const auto record = e.record()) {
    f.set_record_index(record->index);
    f.set_record_offset(record->offset);
  }
  f.set_trap(static_cast<std::uint32_t>(e.trap()));
  if (const auto code = e.exit_code()) {
    f.set_exit_code(*code);
  }
  for (const auto& frame : e.backtrace()) {
    auto& out = *f.add_frames();
    out.set_index(frame.index);
    out.set_function(std::string(frame.function));
    out.set_file(std::string(frame.file));
    out.set_line(frame.line);
    out.set_column(frame.column);
  }
  f.set_guest_stderr(std::string(e.guest_stderr()));
  if (why == cause::CAUSE_REFUSED) {
    ++_core.counted.refused;
  }
  _core.log(_peer + ", transform \"" + printable(_name) + "\": " + e.status_name() + ": " + printable(e.what()));
  send(std::move(message));
  _out.finish(grpc::Status::OK);
}

bool session::tick() {
  const auto idle_for = clock::now() - _since;
  const bool waits = _phase == phase::opening || _phase == phase::receiving;
  if (waits && idle_for > _core.config.handshake_timeout) {
    const bool receives = _phase == phase::receiving;
    abort({grpc::StatusCode::DEADLINE_EXCEEDED, receives ? "the rest of the batch did not come in time" : "nothing was asked for in time"});
  } else if (_phase == phase::working && ((_alive.count() > 0 && idle_for >= _alive) || _log.log_size() > 0)) {
    if (_out.is_sending()) {
      return true;  // the host does not read
    }
    send(std::make_unique<wire::ToHost>());
  }
  return _phase != phase::idle && _phase != phase::ended;
}

void session::drain() {
  _drains = true;
  if (_phase != phase::working) {
    if (const auto waiter = std::exchange(_reader, nullptr)) {
      waiter.resume();
    }
  }
}

void session::read_more() {
  _incoming = std::make_unique<wire::ToServer>();
  StartRead(_incoming.get());
}

void session::received(bool ok) {
  if (_phase == phase::ended) {
    return;
  }
  if (ok) {
    _received = std::move(_incoming);
  } else {
    _reads_ended = true;
  }
  if (const auto waiter = std::exchange(_reader, nullptr)) {
    waiter.resume();
  }
}

void session::abort(const grpc::Status& status) {
  if (_phase == phase::ended) {
    return;
  }
  _reader = nullptr;
  _out.finish(status);
  _work = task<>();  // ends what is in progress
  ended();
}

void session::ended() {
  if (_phase == phase::ended) {
    return;
  }
  _phase = phase::ended;
  _work = task<>();
  --_shard.load;
  _shard.sessions.erase(shared_from_this());
}

void session::OnReadDone(bool ok) {
  _shard.events.call([s = shared_from_this(), ok] { s->received(ok); });
}

void session::OnWriteDone(bool ok) { _out.sent(ok); }

void session::OnCancel() {
  _shard.events.call([s = shared_from_this()] { s->abort(grpc::Status::CANCELLED); });
}

void session::OnDone() { const auto last = std::move(_self); }

}  // namespace wasmengine::remote
