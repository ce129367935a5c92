// SPDX-License-Identifier: Apache-2.0
#include "worker.hh"

#include <wasm_engine/asio.hh>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <stdexcept>
#include <utility>

namespace transformd {

namespace {

using std::chrono::milliseconds;

/// Records that are given to the guest at once: one poll of the queue.
constexpr std::size_t most_waiting = 1000;
constexpr std::size_t most_waiting_bytes = 1U << 20;

/// Delays before a worker begins again.
constexpr milliseconds shortest_retry{100};
constexpr milliseconds longest_retry{10'000};

/// A failure after which the worker does not begin again: the transform is wrong and not the cluster.
class final_failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

wasmengine::field field_of(const void* bytes, std::size_t size) {
  if (bytes == nullptr) {
    return std::nullopt;
  }
  return std::string_view(static_cast<const char*>(bytes), size);
}

/// Adds a record that is borrowed.
void add(wasmengine::record_list& to, const rd_kafka_message_t& message) {
  rd_kafka_timestamp_type_t kind{};
  const auto timestamp = rd_kafka_message_timestamp(&message, &kind);
  const auto key = field_of(message.key, message.key_len);
  const auto value = field_of(message.payload, message.len);
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(&message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return to.add(key, value, message.offset, timestamp);
  }
  wasmengine::payload all{key, value, {}};
  const char* name = nullptr;
  const void* content = nullptr;
  std::size_t size = 0;
  for (std::size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &content, &size) == RD_KAFKA_RESP_ERR_NO_ERROR; ++i) {
    all.headers.push_back({name, field_of(content, size)});
  }
  to.add(all, message.offset, timestamp);
}

partition_name name_of(const rd_kafka_message_t& message) {
  return {rd_kafka_topic_name(message.rkt), message.partition};
}

}  // namespace

std::string_view name_of(worker_state state) noexcept {
  switch (state) {
    case worker_state::starting: return "starting";
    case worker_state::running: return "running";
    case worker_state::paused: return "paused";
    case worker_state::retrying: return "retrying";
    case worker_state::failed: return "failed";
    case worker_state::stopped: return "stopped";
  }
  return "unknown";
}

/// Writes the guest's output to the cluster.
class worker::sink {
 public:
  sink(producer& to, asio::io_context& loop, asio::thread_pool& blocking, std::size_t topics, std::uint64_t& written)
      : _to(to), _loop(loop), _blocking(blocking), _topics(topics), _written(written) {}

  wasm_callback_result operator()(wasmengine::parsed_block block, wasmengine::output_call call) {
    if (const auto done = write(block); done == block.size()) {
      return WASM_CALLBACK_RESULT_DONE;
    } else {
      block = block.subspan(done);
    }
    // There is no room: the guest waits and the loop goes on. The block stays until the promise is settled.
    asio::co_spawn(_loop, finish(block, call.later().value(), _alive), asio::detached);
    return WASM_CALLBACK_RESULT_PENDING;
  }

 private:
  std::size_t write(wasmengine::parsed_block block) {
    std::size_t done = 0;
    for (const auto& record : block) {
      if (!_to.produce(record.record.topic, record.payload, record.record.input_timestamp)) {
        break;
      }
      _written += record.record.topic < _topics ? 1 : 0;
      ++done;
    }
    return done;
  }

  asio::awaitable<void> finish(wasmengine::parsed_block rest, wasmengine::promise promise, std::shared_ptr<bool> alive) {
    try {
      while (*alive && !rest.empty()) {
        co_await _to.make_room(_blocking);
        if (!*alive) {
          co_return;
        }
        rest = rest.subspan(write(rest));
      }
      (void)promise.resolve();
    } catch (const std::exception& e) {
      (void)promise.reject(e.what());
    }
  }

  /// The operation may end while `finish` waits.
  struct life {
    life() = default;
    life(life&&) = delete;
    ~life() { *alive = false; }
    std::shared_ptr<bool> alive = std::make_shared<bool>(true);
  };

  producer& _to;
  asio::io_context& _loop;
  asio::thread_pool& _blocking;
  const std::size_t _topics;
  std::uint64_t& _written;
  life _life;
  std::shared_ptr<bool>& _alive = _life.alive;
};

worker::worker(worker_context& context, asio::io_context& loop, std::size_t index)
    : _context(context),
      _loop(loop),
      _index(index),
      _label(context.file.name),
      _client_log{context.log, _label},
      _wake(loop.get_executor()) {}

client_settings worker::consumer_settings() const {
  client_settings out{{"partition.assignment.strategy", "cooperative-sticky"},
                      {"queued.max.messages.kbytes", "16384"}};
  for (const auto& [name, value] : _context.file.client) {
    out[name] = value;
  }
  out["group.id"] = _context.file.group;
  out["enable.auto.commit"] = "false";
  out["enable.auto.offset.store"] = "false";
  out["isolation.level"] = "read_committed";
  out["auto.offset.reset"] = _context.file.from_earliest ? "earliest" : "latest";
  return out;
}

client_settings worker::producer_settings() const {
  // The partitioner of Kafka's own client: equal keys stay together whoever writes them.
  client_settings out{{"partitioner", "murmur2_random"}, {"linger.ms", "5"}, {"delivery.report.only.error", "true"},
                      {"queue.buffering.max.kbytes", "65536"}};
  if (exactly_once()) {
    // A worker that is killed leaves its transaction open for so long, and readers wait for it.
    out["transaction.timeout.ms"] =
        fmt::format("{}", std::max(milliseconds(15'000), 4 * _context.file.commit_interval).count());
  }
  for (const auto& [name, value] : _context.file.client) {
    out[name] = value;
  }
  out["enable.idempotence"] = "true";
  if (exactly_once()) {
    const auto& file = _context.file;
    out["transactional.id"] = fmt::format("{}.{}.{}.{}", file.group, file.name, _context.instance, _index);
  }
  return out;
}

asio::awaitable<void> worker::run() {
  auto retry = shortest_retry;
  while (!_stopping) {
    std::string why;
    bool final = false;
    const auto began = clock::now();
    try {
      co_await session();
      break;
    } catch (const final_failure& e) {
      why = e.what();
      final = true;
    } catch (const std::exception& e) {
      why = e.what();
    }
    if (final) {
      _context.log.write(severity::error, _label, why);
      set_state(worker_state::failed, why);
      _context.on_failed();
      co_return;
    }
    if (_stopping) {
      break;
    }
    if (clock::now() - began > longest_retry) {
      retry = shortest_retry;
    }
    _context.log.write(severity::warn, _label, fmt::format("begins again in {} ms: {}", retry.count(), why));
    set_state(worker_state::retrying, why);
    const auto until = clock::now() + retry;
    while (!_stopping && clock::now() < until) {
      co_await _wake.wait_until(until);
    }
    retry = std::min(retry * 2, longest_retry);
  }
  set_state(worker_state::stopped);
}

void worker::stop() {
  _stopping = true;
  _wake.notify();
}

void worker::pause(bool paused) {
  _pause_asked = paused;
  _wake.notify();
}

worker_status worker::status() const {
  const std::lock_guard lock(_mutex);
  return _status;
}

/// From joining the group to leaving it.
asio::awaitable<void> worker::session() {
  std::exception_ptr thrown;
  try {
    co_await serve();
  } catch (...) {
    thrown = std::current_exception();
  }
  co_await close();
  if (thrown) {
    std::rethrow_exception(thrown);
  }
}

asio::awaitable<void> worker::serve() {
  set_state(worker_state::starting);
  co_await start_guest();
  _producer.emplace(producer_settings(), _context.file.written_topics(), _client_log);
  if (exactly_once()) {
    co_await _producer->initialize(_context.blocking);
  }
  _consumer.emplace(_loop.get_executor(), consumer_settings(), _context.file.input_topic, _wake, _client_log);
  _paused = false;
  keep_alive();
  set_state(worker_state::running);
  while (!_stopping) {
    const bool drained = co_await take_events();
    co_await transform_waiting();
    if (clock::now() >= _commit_at) {
      co_await commit();
    }
    if (_pause_asked != _paused) {
      co_await commit();
      _pause_asked ? _consumer->pause() : _consumer->resume();
      _paused = _pause_asked;
      set_state(_paused ? worker_state::paused : worker_state::running);
    }
    // librdkafka wakes the loop only when an empty queue gets something.
    if (drained) {
      co_await _wake.wait_until(std::min(_commit_at, clock::now() + std::chrono::seconds(1)));
      publish_partitions();
    }
  }
  co_await commit();
}

/// While a transaction takes its time the group must not take the worker for dead.
void worker::keep_alive() {
  // A new timer each time: its handler may be on its way when the session ends.
  _alive = std::make_shared<asio::steady_timer>(_loop, std::chrono::seconds(1));
  _alive->async_wait([this, timer = std::weak_ptr(_alive)](const boost::system::error_code& e) {
    if (!e && !timer.expired()) {
      _consumer->keep_alive();
      keep_alive();
    }
  });
}

asio::awaitable<void> worker::close() {
  _alive.reset();
  if (_producer && _producer->in_transaction()) {
    try {
      co_await _producer->abort(_context.blocking);
    } catch (const kafka_error& e) {
      // The cluster aborts it when its time is over.
      _context.log.write(severity::warn, _label, e.what());
    }
  }
  _waiting.clear();
  _waiting_bytes = 0;
  _committed.clear();
  _next.clear();
  _commit_at = clock::time_point::max();
  _pending_in = _pending_out = _pending_skipped = _pending_letters = 0;
  if (_consumer) {
    co_await _consumer->close(_context.blocking);
    _consumer.reset();
  }
  if (_producer) {
    co_await _producer->close(_context.blocking);
    _producer.reset();
  }
  _engine = {};
  publish_partitions();
}

asio::awaitable<void> worker::start_guest() {
  _engine = wasmengine::engine::create(_context.factory).value();
  _seen_skipped = _seen_letters = 0;
  _engine.set_policy({.on_error = _context.file.on_error}).value();
  const auto started =
      co_await wasmengine::async_wait(_engine.start().value(), _loop.get_executor(), asio::use_awaitable);
  if (!started) {
    throw final_failure(fmt::format("the guest failed when it was started: {}", started.err().what()));
  }
}

/// Takes what the consumer's queue has, as far as the guest gets it at once. Whether the queue is empty.
asio::awaitable<bool> worker::take_events() {
  while (_waiting.size() < most_waiting && _waiting_bytes < most_waiting_bytes) {
    auto event = _consumer->poll();
    if (!event) {
      co_return true;
    }
    if (rd_kafka_event_type(event.get()) != RD_KAFKA_EVENT_FETCH) {
      co_await handle(std::move(event));
      continue;
    }
    const auto* message = rd_kafka_event_message_next(event.get());
    if (message == nullptr) {
      continue;
    }
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      _context.log.write(severity::warn, _label,
                         fmt::format("{}: {}", _context.file.input_topic, rd_kafka_message_errstr(message)));
      continue;
    }
    _committed.try_emplace(name_of(*message), message->offset);
    _waiting_bytes += message->len + message->key_len;
    _waiting.push_back({std::move(event), message});
  }
  co_return false;
}

asio::awaitable<void> worker::handle(kafka_event event) {
  switch (rd_kafka_event_type(event.get())) {
    case RD_KAFKA_EVENT_REBALANCE: co_await rebalance(*event); break;
    case RD_KAFKA_EVENT_ERROR: {
      const auto code = rd_kafka_event_error(event.get());
      const std::string text = rd_kafka_event_error_string(event.get());
      if (code == RD_KAFKA_RESP_ERR__FATAL) {
        throw kafka_error(code, text);
      }
      _context.log.write(severity::warn, _label, text);
      break;
    }
    default: break;
  }
}

/// Partitions come or go. The transaction is finished first: what goes belongs to another worker from then on.
asio::awaitable<void> worker::rebalance(const rd_kafka_event_t& event) {
  auto* raw = const_cast<rd_kafka_event_t*>(&event);
  const auto& partitions = *rd_kafka_event_topic_partition_list(raw);
  const bool taken = rd_kafka_event_error(raw) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
  std::string names;
  for (int i = 0; i < partitions.cnt; ++i) {
    names += fmt::format(" {}/{}", partitions.elems[i].topic, partitions.elems[i].partition);
  }
  if (taken) {
    co_await _consumer->assign(_context.blocking, partitions, !_context.file.from_earliest);
    if (_paused) {
      _consumer->pause();
    }
    _context.log.write(severity::info, _label, fmt::format("worker {} takes{}", _index, names));
  } else {
    const bool lost = _consumer->assignment_lost();
    _context.log.write(severity::info, _label, fmt::format("worker {} {}{}", _index, lost ? "has lost" : "gives up", names));
    const auto forget = [&] {
      for (int i = 0; i < partitions.cnt; ++i) {
        _committed.erase({partitions.elems[i].topic, partitions.elems[i].partition});
      }
    };
    std::exception_ptr thrown;
    try {
      if (lost) {
        // Others have them. What was done with them since the last commit is theirs to do again.
        forget();
        co_await rewind();
      } else {
        co_await transform_waiting();
        co_await commit();
      }
    } catch (...) {
      thrown = std::current_exception();
    }
    // In every case: the group waits for that, and closing the consumer does, too.
    _consumer->unassign(partitions);
    forget();
    if (thrown) {
      std::rethrow_exception(thrown);
    }
  }
  {
    const std::lock_guard lock(_mutex);
    ++_status.rebalances;
  }
  publish_partitions();
}

/// Gives the guest what was taken, partition by partition.
asio::awaitable<void> worker::transform_waiting() {
  if (_waiting.empty()) {
    co_return;
  }
  const auto key = [](const input& i) { return std::pair(i.message->rkt, i.message->partition); };
  std::ranges::stable_sort(_waiting, {}, key);
  for (auto first = _waiting.begin(); first != _waiting.end();) {
    const auto last = std::find_if(first, _waiting.end(), [&](const input& i) { return key(i) != key(*first); });
    co_await transform(&*first, static_cast<std::size_t>(last - first));
    first = last;
  }
  _waiting.clear();
  _waiting_bytes = 0;
}

/// Records of one partition.
asio::awaitable<void> worker::transform(const input* first, std::size_t count) {
  if (exactly_once() && !_producer->in_transaction()) {
    _producer->begin();
  }
  if (_commit_at == clock::time_point::max()) {
    _commit_at = clock::now() + _context.file.commit_interval;
  }
  _records.clear();
  for (const auto* i = first; i != first + count; ++i) {
    add(_records, *i->message);
  }
  sink output(*_producer, _loop, _context.blocking, _context.file.output_topics.size(), _pending_out);
  const auto done = co_await wasmengine::async_wait(_engine.transform_records(_records.all(), output).value(),
                                                    _loop.get_executor(), asio::use_awaitable);
  count_losses();
  if (!done) {
    const auto text = fmt::format("{}: {}", done.err().status_name(), done.err().what());
    if (done.err().status() == WASM_STATUS_OUTPUT_REJECTED) {
      throw kafka_error(RD_KAFKA_RESP_ERR__FAIL, text);
    }
    throw final_failure(text);
  }
  _next[name_of(*first->message)] = first[count - 1].message->offset + 1;
  _pending_in += count;
}

void worker::count_losses() {
  const auto stats = _engine.stats().value();
  _pending_skipped += stats.skipped - std::exchange(_seen_skipped, stats.skipped);
  _pending_letters += stats.dead_lettered - std::exchange(_seen_letters, stats.dead_lettered);
}

/// Commits output and position. If the cluster refuses that, everything since the last commit is done again.
asio::awaitable<void> worker::commit() {
  _commit_at = clock::time_point::max();
  if (_next.empty()) {
    co_return;
  }
  std::optional<kafka_error> refused;
  try {
    if (exactly_once()) {
      co_await _producer->commit(_context.blocking, _next, _consumer->group());
    } else {
      co_await _producer->flush(_context.blocking);
      co_await _consumer->commit(_context.blocking, _next);
    }
  } catch (const kafka_error& e) {
    if (e.fatal()) {
      throw;
    }
    refused = e;
  }
  if (refused) {
    _context.log.write(severity::warn, _label, refused->what());
    co_await rewind();
    co_return;
  }
  for (const auto& [name, offset] : _next) {
    _committed[name] = offset;
  }
  _next.clear();
  {
    const std::lock_guard lock(_mutex);
    ++_status.commits;
    _status.records_in += std::exchange(_pending_in, 0);
    _status.records_out += std::exchange(_pending_out, 0);
    _status.skipped += std::exchange(_pending_skipped, 0);
    _status.dead_lettered += std::exchange(_pending_letters, 0);
  }
  publish_partitions();
}

/// Drops everything since the last commit and takes the records again.
asio::awaitable<void> worker::rewind() {
  _commit_at = clock::time_point::max();
  if (_producer->in_transaction()) {
    co_await _producer->abort(_context.blocking);
  }
  _waiting.clear();
  _waiting_bytes = 0;
  _next.clear();
  _pending_in = _pending_out = _pending_skipped = _pending_letters = 0;
  {
    const std::lock_guard lock(_mutex);
    ++_status.aborts;
  }
  co_await _consumer->seek(_context.blocking, _committed);
}

void worker::set_state(worker_state state, std::string error) {
  const std::lock_guard lock(_mutex);
  _status.state = state;
  _status.error = std::move(error);
}

void worker::publish_partitions() {
  std::vector<partition_status> all;
  if (_consumer) {
    for (const auto& name : _consumer->assigned()) {
      const auto at = _committed.find(name);
      if (at == _committed.end()) {
        all.push_back({name, -1, std::nullopt});
      } else {
        all.push_back({name, at->second, _consumer->lag(name, at->second)});
      }
    }
  }
  const std::lock_guard lock(_mutex);
  _status.partitions = std::move(all);
}

}  // namespace transformd
