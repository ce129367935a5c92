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

transform_config describe(const wire::Open& open) {
  transform_config t{open.name(), open.input_topic(), {open.output_topics().begin(), open.output_topics().end()}, {}};
  for (const auto& v : open.env()) {
    t.env.emplace_back(v.name(), v.value());
  }
  return t;
}

/// What makes a compiled transform the same: module and description.
std::string key_of(const std::string& hash, const wire::Open& open) {
  wire::Open same;
  same.set_module_sha256(hash);
  same.set_name(open.name());
  same.set_input_topic(open.input_topic());
  *same.mutable_output_topics() = open.output_topics();
  *same.mutable_env() = open.env();
  return same.SerializeAsString();
}

/// Refusals of modules and descriptions come again. Shortages may pass.
wire::Failure::Cause cause_of(wasm_status status) {
  return status >= WASM_STATUS_PANIC ? cause::CAUSE_SERVER : cause::CAUSE_REFUSED;
}

grpc::Status violation(const char* what) { return {grpc::StatusCode::INVALID_ARGUMENT, what}; }

}  // namespace

/// Awaits the next message.
struct session::reading {
  session& s;

  [[nodiscard]] bool await_ready() const noexcept { return s._received || s._reads_ended || s._drains; }
  void await_suspend(std::coroutine_handle<> waiter) const noexcept { s._reader = waiter; }
  [[nodiscard]] std::unique_ptr<wire::ToServer> await_resume() const {
    auto message = std::move(s._received);
    if (message) {
      s.read_more();
    }
    return message;
  }
};

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

session::session(core& c, shard& s, std::string peer) : _core(c), _shard(s), _peer(std::move(peer)) {
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
  _work.start(
      [](void* me) noexcept {
        // Not at once: the coroutine still runs.
        static_cast<session*>(me)->_shard.events.call([s = static_cast<session*>(me)->shared_from_this()] { s->ended(); });
      },
      this);
}

task session::serve() {
  try {
    const auto first = co_await next();
    if (!first) {
      finish(_drains ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "the server shuts down") : grpc::Status::OK);
      co_return;
    }
    if (!first->has_open()) {
      finish(violation("the first message is not Open"));
      co_return;
    }
    const wire::Open& open = first->open();
    _name = open.name();
    _alive = std::chrono::milliseconds(open.alive_interval_ms());
    if (const auto why = examine(open)) {
      fail(cause::CAUSE_REFUSED, *why);
      co_return;
    }

    // The module: by name, by content, or uploaded.
    auto hash = open.module_sha256();
    module_bytes module;
    if (!open.module_name().empty()) {
      const auto named = _core.store.by_name(open.module_name());
      if (named && (hash.empty() || hash == named->hash)) {
        hash = named->hash;
        module = named->bytes;
      } else if (hash.empty() || open.module_size() == 0) {
        fail(cause::CAUSE_REFUSED, named ? "the module \"" + open.module_name() + "\" here has other content, with SHA-256 " + hex(named->hash)
                                         : "there is no module \"" + open.module_name() + "\" here");
        co_return;
      }
    }
    const auto key = key_of(hash, open);
    auto compiling = _core.cache.get(key);
    if (!compiling) {
      if (!module) {
        module = _core.store.by_hash(hash);
      }
      if (!module) {
        if (!_core.config.uploads || open.module_size() == 0) {
          fail(cause::CAUSE_REFUSED, "there is no module with SHA-256 " + hex(hash) + " here" +
                                         (_core.config.uploads ? "" : " and uploads are not allowed"));
          co_return;
        }
        auto room = _core.store.reserve(open.module_size());
        if (!room) {
          fail(cause::CAUSE_SERVER, "there is no room for a module of " + std::to_string(open.module_size()) + " bytes");
          co_return;
        }
        auto ask = std::make_unique<wire::ToHost>();
        ask->mutable_need_module();
        send(std::move(ask));
        std::vector<std::uint8_t> bytes;
        while (bytes.size() < open.module_size()) {
          const auto piece = co_await next();
          if (!piece) {
            fail(cause::CAUSE_SERVER, "the upload ended early");
            co_return;
          }
          const auto& data = piece->chunk().data();
          if (!piece->has_chunk() || data.empty() || data.size() > max_chunk_size || data.size() > open.module_size() - bytes.size()) {
            finish(violation("a piece of the module was expected"));
            co_return;
          }
          _since = clock::now();
          bytes.insert(bytes.end(), data.begin(), data.end());
        }
        if (sha256(bytes) != hash) {
          fail(cause::CAUSE_REFUSED, "the module that was uploaded has another SHA-256 than Open says");
          co_return;
        }
        ++_core.counted.uploads;
        _core.log(_peer + " uploaded a module of " + std::to_string(bytes.size()) + " bytes, SHA-256 " + hex(hash));
        module = _core.store.add(hash, std::move(bytes), std::move(*room));
      }
      if (!_core.has_room_for_module()) {
        fail(cause::CAUSE_SERVER, "the server has as many modules as it may have");
        co_return;
      }
      compiling = _core.cache.get(key, *module, describe(open));
      if (!compiling) {
        fail(cause_of(compiling.err().status()), compiling.err());
        co_return;
      }
    }
    _phase = phase::working;
    if (const auto compiled = co_await on(_shard.events, *compiling); !compiled) {
      fail(cause_of(compiled.err().status()), compiled.err());
      co_return;
    }
    auto made = engine::create(compiling.value().take().value());
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
    {
      auto message = std::make_unique<wire::ToHost>();
      auto& ready = *message->mutable_ready();
      ready.set_version(std::min(open.version(), newest_version));
      ready.set_library(std::string(version()));
      ready.set_module_sha256(hash);
      auto& limits = *ready.mutable_limits();
      limits.set_memory(_core.config.memory_limit);
      limits.set_record_time_ns(_core.config.record_time_limit_ns);
      limits.set_output_buffer(_core.config.output_buffer_limit);
      limits.set_batch(_core.config.max_batch);
      ready.set_memory_size(guest.memory_size().value());
      send(std::move(message));
    }
    sink output{*this};
    for (;;) {
      _phase = phase::idle;
      const auto message = co_await next();
      if (!message) {
        break;
      }
      _phase = phase::working;
      _since = clock::now();
      if (!message->has_batch() || message->batch().number() != _batch + 1) {
        finish(violation("the next batch was expected"));
        co_return;
      }
      const auto& wanted = message->batch();
      ++_batch;
      ++_core.counted.batches;
      const auto bytes = std::span(reinterpret_cast<const std::uint8_t*>(wanted.batch().data()), wanted.batch().size());
      if (const auto header = read_batch_header(bytes)) {
        _base_offset = header->base_offset;
      }
      auto transforming = guest.transform_from(bytes, wanted.first_record(), output);
      if (!transforming) {
        fail(cause::CAUSE_GUEST, transforming.err());
        co_return;
      }
      if (const auto done = co_await on(_shard.events, std::move(*transforming)); !done) {
        send_output();
        fail(cause::CAUSE_GUEST, done.err());
        co_return;
      }
      auto last = _output ? std::move(_output) : std::make_unique<wire::ToHost>();
      last->mutable_done()->set_batch(_batch);
      last->mutable_done()->set_memory_size(guest.memory_size().value());
      send(std::move(last));
    }
    if (_drains) {
      fail(cause::CAUSE_SERVER, "the server shuts down");
    } else {
      finish(grpc::Status::OK);
    }
  } catch (const std::exception& e) {
    _core.log(_peer + ", transform \"" + printable(_name) + "\": " + printable(e.what()));
    finish({grpc::StatusCode::INTERNAL, e.what()});
  }
}

session::reading session::next() { return {*this}; }

std::optional<std::string> session::examine(const wire::Open& open) const {
  const auto& c = _core.config;
  if (open.version() < oldest_version || open.oldest_version() > newest_version || open.oldest_version() > open.version()) {
    return "the host speaks versions " + std::to_string(open.oldest_version()) + " to " + std::to_string(open.version()) +
           " of the protocol and the server " + std::to_string(oldest_version) + " to " + std::to_string(newest_version);
  }
  if (!open.module_sha256().empty() && open.module_sha256().size() != hash_size) {
    return "the module's SHA-256 does not have 32 bytes";
  }
  if (open.module_sha256().empty() && open.module_name().empty()) {
    return "no module is named";
  }
  const auto exceeds = [](std::uint64_t most, std::uint64_t has) { return most != 0 && most < has; };
  const auto& most = open.limits();
  if (exceeds(most.memory(), c.memory_limit) || exceeds(most.record_time_ns(), c.record_time_limit_ns) ||
      exceeds(most.output_buffer(), c.output_buffer_limit)) {
    return "guests here may have " + std::to_string(c.memory_limit) + " bytes of memory, " +
           std::to_string(c.record_time_limit_ns) + " ns for a record and " + std::to_string(c.output_buffer_limit) +
           " bytes of output, and the host wants less";
  }
  return std::nullopt;
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
  {
    const std::lock_guard lock(_mutex);
    if (_broken || _outgoing_bytes < _core.config.window) {
      return WASM_CALLBACK_RESULT_DONE;
    }
  }
  send_output();
  auto later = call.later().value();
  const std::lock_guard lock(_mutex);
  if (_broken || _outgoing_bytes < _core.config.window) {
    later.resolve().value();
  } else {
    _room = std::move(later);
  }
  return WASM_CALLBACK_RESULT_PENDING;
}

void session::log(const log_line& line) {
  // A host that does not read must not make this grow.
  if (_log_bytes > most_log_bytes) {
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
  _since = clock::now();
  const std::lock_guard lock(_mutex);
  if (_broken || _finished || _status) {
    return;
  }
  _outgoing_bytes += message->ByteSizeLong();
  _outgoing.push_back(std::move(message));
  if (!_writing) {
    begin_write();
  }
}

void session::fail(wire::Failure::Cause why, const std::string& text) {
  auto message = std::make_unique<wire::ToHost>();
  message->mutable_failure()->set_cause(why);
  message->mutable_failure()->set_message(text);
  if (why == cause::CAUSE_REFUSED) {
    ++_core.counted.refused;
    _core.log(_peer + ", transform \"" + printable(_name) + "\" refused: " + printable(text));
  }
  send(std::move(message));
  finish(grpc::Status::OK);
}

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
  finish(grpc::Status::OK);
}

bool session::tick() {
  const auto idle_for = clock::now() - _since;
  if (_phase == phase::opening && idle_for > _core.config.handshake_timeout) {
    abort({grpc::StatusCode::DEADLINE_EXCEEDED, "nothing was asked for in time"});
  } else if (_phase == phase::working && ((_alive.count() > 0 && idle_for >= _alive) || _log.log_size() > 0)) {
    {
      const std::lock_guard lock(_mutex);
      if (_writing) {
        return true;  // the host does not read
      }
    }
    send(std::make_unique<wire::ToHost>());
  }
  return _phase == phase::opening || _phase == phase::working;
}

void session::drain() {
  _drains = true;
  if (_phase == phase::idle || _phase == phase::opening) {
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
  finish(status);
  _work = task();  // ends what is in progress
  ended();
}

void session::ended() {
  if (_phase == phase::ended) {
    return;
  }
  _phase = phase::ended;
  _work = task();
  --_shard.load;
  _shard.sessions.erase(shared_from_this());
}

void session::OnReadDone(bool ok) {
  _shard.events.call([s = shared_from_this(), ok] { s->received(ok); });
}

void session::OnWriteDone(bool ok) {
  promise room;
  {
    const std::lock_guard lock(_mutex);
    _writing = false;
    _outgoing_bytes -= _outgoing.front()->ByteSizeLong();
    _outgoing.pop_front();
    if (!ok) {
      _broken = true;
      _outgoing.clear();
      _outgoing_bytes = 0;
    }
    if (!_outgoing.empty()) {
      begin_write();
    } else if (_status && !std::exchange(_finished, true)) {
      Finish(*_status);
    }
    if (_outgoing_bytes <= _core.config.window / 2) {
      room = std::move(_room);
      _room = promise();
    }
  }
  if (room) {
    (void)room.resolve();
  }
}

void session::OnCancel() {
  _shard.events.call([s = shared_from_this()] { s->abort(grpc::Status::CANCELLED); });
}

void session::OnDone() { const auto last = std::move(_self); }

void session::finish(const grpc::Status& status) {
  const std::lock_guard lock(_mutex);
  if (_finished || _status) {
    return;
  }
  if (_outgoing.empty() && !_writing) {
    _finished = true;
    Finish(status);
  } else {
    _status = status;
  }
}

void session::begin_write() {
  _writing = true;
  StartWrite(_outgoing.front().get());
}

}  // namespace wasmengine::remote
