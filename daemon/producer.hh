// SPDX-License-Identifier: Apache-2.0
//
// A producer: transactional, or idempotent for at-least-once.
#pragma once

#include "kafka.hh"
#include "off_loop.hh"

#include <wasm_engine/wasm_engine.hh>

#include <cstdint>
#include <string>
#include <vector>

namespace transformd {

/// Used on its loop's thread. Blocking calls run on threads of a pool.
class producer {
 public:
  /// `settings` has `transactional.id` for a transactional one. `topics` are those of `produce`. Throws `kafka_error`.
  producer(const client_settings& settings, const std::vector<std::string>& topics, client_log& log);

  /// Reaches the cluster. A transactional producer gets its epoch: an older one with the same `transactional.id` is
  /// fenced from then on. Throws after a minute without success, or soon after `stopping` has become true.
  asio::awaitable<void> initialize(asio::thread_pool& pool, const bool& stopping);

  /// Whether `begin` was called and neither `commit` nor `abort` since.
  [[nodiscard]] bool in_transaction() const noexcept { return _in_transaction; }
  void begin();
  /// Commits the output together with the position of the input.
  asio::awaitable<void> commit(asio::thread_pool& pool, offsets next, group_metadata group);
  asio::awaitable<void> abort(asio::thread_pool& pool);

  /// Appends a copy of a record to the output of topic `index`. False if there is no room: wait for `make_room`.
  [[nodiscard]] bool produce(std::size_t index, const wasm_payload& record, std::int64_t timestamp);
  /// Waits until there is room or a moment has passed. Throws as `flush`.
  asio::awaitable<void> make_room(asio::thread_pool& pool);
  /// Waits until the cluster has all output. Throws if a record was refused. For at-least-once: a transaction's commit
  /// does the same.
  asio::awaitable<void> flush(asio::thread_pool& pool);

  /// Frees everything. Output that the cluster does not have yet is dropped.
  asio::awaitable<void> close(asio::thread_pool& pool);

 private:
  void check_refused();

  kafka_client _client;
  std::vector<kafka_topic> _topics;  // Behind the client, so that they are freed first.
  kafka_queue _refused;  // Reports of records that the cluster did not take.
  const bool _transactional;
  bool _in_transaction = false;
};

}  // namespace transformd
