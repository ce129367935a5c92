// SPDX-License-Identifier: Apache-2.0
//
// What the sessions of a server share.
#pragma once

#include "loop.hh"
#include "messages.hh"
#include "module_store.hh"
#include "server.hh"

#include <atomic>
#include <deque>
#include <memory>
#include <set>
#include <string>

namespace wasmengine::remote {

class session;

/// A loop with its sessions. These are used on its thread.
struct shard {
  shard(const runtime& r, std::uint32_t number);

  std::set<std::shared_ptr<session>> sessions;
  std::atomic<std::size_t> load = 0;
  loop events;  // last: its thread uses the others
};

/// Any thread.
class core {
 public:
  explicit core(server_config config);
  core(core&&) = delete;
  ~core();

  /// The loop with the fewest sessions. It counts one more.
  [[nodiscard]] shard& choose();
  /// Why this call is refused. None if it is not.
  [[nodiscard]] std::optional<grpc::Status> refusal(const grpc::CallbackServerContext& context) const;
  /// Whether there is room for another compiled transform.
  [[nodiscard]] bool has_room_for_module() const;
  [[nodiscard]] std::string metrics() const;
  void drain();
  void log(std::string_view line) const noexcept;

  const server_config config;
  const runtime local;
  const factory_cache cache;
  module_store store;
  std::atomic<std::size_t> streams = 0;
  std::atomic<bool> draining = false;
  struct counters {
    std::atomic<std::uint64_t> streams = 0;
    std::atomic<std::uint64_t> refused = 0;
    std::atomic<std::uint64_t> uploads = 0;
    std::atomic<std::uint64_t> batches = 0;
  };
  mutable counters counted;

 private:
  std::deque<shard> _shards;
};

}  // namespace wasmengine::remote
