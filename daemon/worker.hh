// SPDX-License-Identifier: Apache-2.0
//
// One member of a transform's consumer group: a consumer, a guest and a producer on one event loop.
//
// A worker takes records, gives them to its guest without packing a batch and writes the guest's output. After `commit_interval` it commits
// output and position together. Everything that changes what it owns falls between two transactions.
#pragma once

#include "config.hh"
#include "consumer.hh"
#include "input_buffer.hh"
#include "log.hh"
#include "module_version.hh"
#include "notification.hh"
#include "off_loop.hh"
#include "position.hh"
#include "producer.hh"

#include <wasm_engine/wasm_engine.hh>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace transformd {

/// What a worker is doing.
enum class worker_state { starting, running, paused, retrying, failed, stopped };

[[nodiscard]] std::string_view name_of(worker_state state) noexcept;

/// A partition that a worker has.
struct partition_status {
  partition_name name;
  std::int64_t position = -1;       ///< The next offset, committed. -1: not known yet.
  std::optional<std::int64_t> lag;  ///< Records behind it. None if not known yet.
};

/// A worker as others see it.
struct worker_status {
  worker_state state = worker_state::starting;
  std::string error;  ///< Why it failed, tries again or has nothing to read.
  std::string module_sha256;
  std::vector<partition_status> partitions;
  std::uint64_t records_in = 0;   ///< Committed.
  std::uint64_t records_out = 0;  ///< Committed, without dead letters.
  std::uint64_t skipped = 0;
  std::uint64_t dead_lettered = 0;
  std::uint64_t commits = 0;
  std::uint64_t aborts = 0;
  std::uint64_t rebalances = 0;
};

/// What all workers of a transform share. Outlives them.
struct worker_context {
  const transform_file& file;
  asio::thread_pool& blocking;
  logger& log;
  std::string instance;             ///< Different in each process of a group.
  std::function<void()> on_failed;  ///< A worker will not go on. On its loop's thread.
};

/// A place to go on at.
struct seek_request {
  position to;
  std::optional<std::int32_t> partition;  ///< None: all that the worker has.
};

/// Made, used and destroyed on the loop's thread but for `status`.
class worker {
 public:
  worker(worker_context& context, asio::io_context& loop, std::size_t index, module_ptr module);
  worker(worker&&) = delete;

  /// Until `stop` or a failure that trying again would not mend. Does not throw.
  asio::awaitable<void> run();
  /// Ends after the current transaction.
  void stop();
  /// Takes no records any more, or takes them again, from the next transaction on.
  void pause(bool paused);
  /// Runs this module from the next transaction on.
  void deploy(module_ptr module);
  /// Goes on there from the next transaction on. It is committed as the group's position.
  void seek(seek_request to);

  /// Any thread.
  [[nodiscard]] worker_status status() const;

 private:
  using clock = notification::clock;

  asio::awaitable<void> session();
  asio::awaitable<void> serve();
  asio::awaitable<void> close();
  void keep_alive();
  asio::awaitable<void> obey();
  asio::awaitable<void> begin_guest();
  asio::awaitable<void> seek_as_asked();
  asio::awaitable<bool> seek_now(seek_request to);
  asio::awaitable<bool> take_events();
  asio::awaitable<void> handle(kafka_event event);
  void complain(rd_kafka_resp_err_t code, const std::string& text);
  asio::awaitable<void> rebalance(const rd_kafka_event_t& event);
  asio::awaitable<void> find_positions(const rd_kafka_topic_partition_list_t& partitions);
  asio::awaitable<void> transform_waiting();
  asio::awaitable<void> transform(std::span<const input_buffer::item> records);
  asio::awaitable<void> commit();
  asio::awaitable<bool> try_commit(offsets next);
  asio::awaitable<void> commit_offsets(offsets next);
  asio::awaitable<void> rewind();
  void count_losses();
  void set_state(worker_state state, std::string error = {});
  void publish_partitions();
  [[nodiscard]] bool exactly_once() const noexcept { return _context.file.delivery == guarantee::exactly_once; }

  worker_context& _context;
  asio::io_context& _loop;
  const std::size_t _index;
  const std::string _label;  ///< For the log.
  client_log _client_log;    // Outlives the clients.
  notification _wake;
  std::shared_ptr<asio::steady_timer> _alive;
  std::optional<consumer> _consumer;
  std::optional<producer> _producer;
  module_ptr _module;
  bool _module_is_new = false;  ///< The guest is still one of the module before.
  wasmengine::engine _engine;
  wasmengine::record_list _records;
  input_buffer _waiting;
  offsets _committed;  ///< Where each partition goes on after an abort.
  offsets _next;       ///< Where it goes on after a commit, as far as it differs.
  clock::time_point _commit_at = clock::time_point::max();
  bool _stopping = false;
  bool _pause_asked = false;
  bool _paused = false;
  std::vector<seek_request> _seeks;
  std::uint64_t _pending_in = 0;  ///< Of this transaction, as all that are pending.
  std::uint64_t _pending_out = 0;
  std::uint64_t _seen_skipped = 0;  ///< What the engine's statistics had when they were last read.
  std::uint64_t _seen_letters = 0;
  std::uint64_t _pending_skipped = 0;
  std::uint64_t _pending_letters = 0;

  mutable std::mutex _mutex;
  worker_status _status;
};

}  // namespace transformd
