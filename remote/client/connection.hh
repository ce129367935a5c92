// SPDX-License-Identifier: Apache-2.0
//
// A channel of gRPC with its configuration and counters. Engines and their streams share it.
#pragma once

#include "messages.hh"
#include "wasm_engine/remote_engine.hh"

#include <atomic>
#include <memory>
#include <string>

namespace wasmengine::remote {

/// What the engines of a connection share.
class connection {
 public:
  struct counters {
    std::atomic<std::uint64_t> engines = 0;
    std::atomic<std::uint64_t> starts = 0;
    std::atomic<std::uint64_t> failed_starts = 0;
    std::atomic<std::uint64_t> lost = 0;
    std::atomic<std::uint64_t> uploads = 0;
    std::atomic<std::uint64_t> batches = 0;
    std::atomic<std::uint64_t> bytes_sent = 0;
    std::atomic<std::uint64_t> bytes_received = 0;
  };

  /// The last owner may be one of gRPC's threads, on which gRPC cannot close a channel, or a host's, which must not wait
  /// for gRPC's. So a thread of its own closes it.
  static std::shared_ptr<connection> create(remote_config config);

  /// Metadata of a call.
  void prepare(grpc::ClientContext& context) const;

  const remote_config config;
  const std::unique_ptr<wire::Engines::Stub> stub;
  counters counted;

 private:
  explicit connection(remote_config config);
};

/// What a factory's engines ask their server for.
struct deployment {
  transform_config transform;
  remote_module module;
  /// `Open` as each stream sends it.
  wire::ToServer open;
};

}  // namespace wasmengine::remote
