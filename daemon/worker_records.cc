// SPDX-License-Identifier: Apache-2.0
//
// The way of records through a worker: from the consumer to the guest, and to the cluster in transactions.
#include "worker.hh"

#include "final_failure.hh"
#include "output_sink.hh"

#include <wasm_engine/asio.hh>

#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <exception>
#include <utility>

namespace transformd {

namespace {

/// Whether the cluster will say the same again.
bool is_final(const kafka_error& e) { return e.code() == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; }

}  // namespace

/// Takes what the consumer's queue has, as far as the guest gets it at once. Whether the queue is empty.
asio::awaitable<bool> worker::take_events() {
  while (!_waiting.full()) {
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
      complain(message->err, fmt::format("{}: {}", _context.file.input_topic, rd_kafka_message_errstr(message)));
      continue;
    }
    if (_waiting.add(std::move(event), *message)) {
      _committed.try_emplace(partition_of(*message), message->offset);
    }
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
      complain(code, text);
      break;
    }
    default: break;
  }
}

/// What cannot be read is told in the state, too: it would look like a topic in which nothing comes.
void worker::complain(rd_kafka_resp_err_t code, const std::string& text) {
  _context.log.write(severity::warn, _label, text);
  switch (code) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED: {
      const std::lock_guard lock(_mutex);
      _status.error = text;
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
    co_await _consumer->assign(_context.blocking, partitions, _context.file.start);
    if (_paused) {
      _consumer->pause();
    }
    _context.log.write(severity::info, _label, fmt::format("worker {} takes{}", _index, names.empty() ? " no partitions" : names));
    if (partitions.cnt > 0) {
      co_await find_positions(partitions);
    }
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
    if (taken && partitions.cnt > 0) {
      _status.error.clear();
    }
  }
  publish_partitions();
}

/// What the state shows until the first record comes. The records do not wait for it to succeed.
asio::awaitable<void> worker::find_positions(const rd_kafka_topic_partition_list_t& partitions) {
  try {
    for (const auto& [name, offset] : co_await _consumer->positions(_context.blocking, partitions)) {
      _committed.try_emplace(name, offset);
    }
  } catch (const kafka_error& e) {
    _context.log.write(severity::warn, _label, e.what());
  }
}

/// Gives the guest what was taken, partition by partition.
asio::awaitable<void> worker::transform_waiting() {
  if (_waiting.empty()) {
    co_return;
  }
  _waiting.sort();
  for (std::size_t i = 0; i < _waiting.size();) {
    const auto records = _waiting.partition(i);
    co_await transform(records);
    i += records.size();
  }
  _waiting.clear();
}

/// Records of one partition.
asio::awaitable<void> worker::transform(std::span<const input_buffer::item> records) {
  if (exactly_once() && !_producer->in_transaction()) {
    _producer->begin();
  }
  if (_commit_at == clock::time_point::max()) {
    _commit_at = clock::now() + _context.file.commit_interval;
  }
  _records.clear();
  for (const auto& i : records) {
    add_record(_records, *i.message);
  }
  output_sink output(*_producer, _loop, _context.blocking, _context.file.output_topics.size(), _pending_out);
  const auto done = co_await wasmengine::async_wait(_engine.transform_records(_records.all(), output).value(),
                                                    _loop.get_executor(), asio::use_awaitable);
  count_losses();
  if (!done) {
    const auto text = fmt::format("{}: {}", done.err().status_name(), done.err().what());
    if (output.failure() && !is_final(*output.failure())) {
      throw kafka_error(*output.failure());
    }
    if (done.err().status() == WASM_STATUS_POLICY_THRESHOLD) {
      throw too_many_lost(text);
    }
    throw final_failure(text);
  }
  const auto& last = *records.back().message;
  _next[partition_of(last)] = last.offset + 1;
  _pending_in += records.size();
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
  const bool committed = co_await try_commit(_next);
  if (!committed) {
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

/// False if the cluster refuses them: everything since the last commit is done again.
asio::awaitable<bool> worker::try_commit(offsets next) {
  std::optional<kafka_error> refused;
  try {
    co_await commit_offsets(std::move(next));
  } catch (const kafka_error& e) {
    if (e.fatal()) {
      throw;
    }
    if (is_final(e)) {
      throw final_failure(fmt::format("{}: raise max.message.bytes of the topic or limit the output (limits: output)", e.what()));
    }
    refused = e;
  }
  if (refused) {
    _context.log.write(severity::warn, _label, refused->what());
    co_await rewind();
  }
  co_return !refused;
}

/// Commits these and, with exactly-once, the output of the transaction, which it begins if there is none.
asio::awaitable<void> worker::commit_offsets(offsets next) {
  if (exactly_once()) {
    if (!_producer->in_transaction()) {
      _producer->begin();
    }
    co_await _producer->commit(_context.blocking, std::move(next), _consumer->group());
  } else {
    co_await _producer->flush(_context.blocking);
    co_await _consumer->commit(_context.blocking, std::move(next));
  }
}

/// Drops everything since the last commit and takes the records again.
asio::awaitable<void> worker::rewind() {
  _commit_at = clock::time_point::max();
  if (_producer->in_transaction()) {
    co_await _producer->abort(_context.blocking);
  }
  _waiting.clear();
  _next.clear();
  _pending_in = _pending_out = _pending_skipped = _pending_letters = 0;
  {
    const std::lock_guard lock(_mutex);
    ++_status.aborts;
  }
  if (_context.file.max_errors) {
    // What was lost comes again and would count twice.
    co_await begin_guest();
  }
  co_await _consumer->seek(_context.blocking, _committed);
}

}  // namespace transformd
