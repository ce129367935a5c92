// SPDX-License-Identifier: Apache-2.0
//
// A member of a consumer group.
#pragma once

#include "event_queue.hh"
#include "kafka.hh"
#include "off_loop.hh"
#include "position.hh"

#include <cstdint>
#include <optional>
#include <set>
#include <string>

namespace transformd {

/// Used on its loop's thread.
class consumer {
 public:
  /// Joins the group. `settings` has `group.id`. Throws `kafka_error`.
  consumer(const asio::any_io_executor& loop, const client_settings& settings, const std::string& topic,
           notification& on_events, client_log& log);

  /// The next event. Empty if there is none now.
  [[nodiscard]] kafka_event poll() noexcept { return _queue->poll(); }

  /// Tells the group that this member is alive though it takes no events now: `max.poll.interval.ms` begins again.
  void keep_alive() noexcept { (void)kafka_event(rd_kafka_queue_poll(_nothing.get(), 0)); }

  /// Whether the partitions of a revocation belong to others already.
  [[nodiscard]] bool assignment_lost() const noexcept { return rd_kafka_assignment_lost(_client.get()) != 0; }
  /// Takes partitions as an event of the group says. Those in which the group has no position begin at `start`, which
  /// becomes the position: the next member must not begin at a later end.
  asio::awaitable<void> assign(asio::thread_pool& pool, const rd_kafka_topic_partition_list_t& added, position start);
  /// Gives partitions up.
  void unassign(const rd_kafka_topic_partition_list_t& removed);
  /// Whether the group has said what this member has, be it nothing.
  [[nodiscard]] bool joined() const noexcept { return _joined; }
  /// What is assigned.
  [[nodiscard]] const std::set<partition_name>& assigned() const noexcept { return _assigned; }

  void pause();
  void resume();

  /// Goes on at these offsets. What was fetched from behind them is dropped. Takes a moment.
  asio::awaitable<void> seek(asio::thread_pool& pool, offsets to);

  /// The offsets of `at` in what is assigned: in one partition or in all.
  asio::awaitable<offsets> find(asio::thread_pool& pool, position at, std::optional<std::int32_t> partition);

  /// The group's positions in these partitions, as far as it has any.
  asio::awaitable<offsets> positions(asio::thread_pool& pool, const rd_kafka_topic_partition_list_t& of);

  /// Commits offsets outside of a transaction.
  asio::awaitable<void> commit(asio::thread_pool& pool, offsets next);

  /// For a transaction's offsets.
  [[nodiscard]] group_metadata group() const {
    return group_metadata(rd_kafka_consumer_group_metadata(_client.get()));
  }

  /// Records between `next` and the end that was seen last. None before the first fetch.
  [[nodiscard]] std::optional<std::int64_t> lag(const partition_name& of, std::int64_t next) const;

  /// Leaves the group and frees everything.
  asio::awaitable<void> close(asio::thread_pool& pool);

 private:
  [[nodiscard]] bool cooperative() const noexcept;

  kafka_client _client;
  std::optional<event_queue> _queue;
  kafka_queue _nothing;
  std::set<partition_name> _assigned;
  bool _paused = false;
  bool _joined = false;
};

}  // namespace transformd
