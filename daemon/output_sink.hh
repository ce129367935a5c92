// SPDX-License-Identifier: Apache-2.0
//
// Writes a guest's output to the cluster.
#pragma once

#include "off_loop.hh"
#include "producer.hh"

#include <wasm_engine/wasm_engine.hh>

#include <boost/asio/io_context.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>

namespace transformd {

/// The sink of one transform operation. On the loop's thread.
class output_sink {
 public:
  /// Counts records of the first `topics` topics in `written`: those behind are dead letters.
  output_sink(producer& to, asio::io_context& loop, asio::thread_pool& blocking, std::size_t topics, std::uint64_t& written);
  output_sink(output_sink&&) = delete;
  ~output_sink() { *_alive = false; }

  wasm_callback_result operator()(wasmengine::parsed_block block, wasmengine::output_call call);

  /// Why the cluster does not take the output.
  [[nodiscard]] const std::optional<kafka_error>& failure() const noexcept { return _failure; }

 private:
  [[nodiscard]] bool produce(const wasm_parsed_record& record);
  std::size_t write(wasmengine::parsed_block block);
  asio::awaitable<void> finish(wasmengine::parsed_block rest, wasmengine::promise promise, std::shared_ptr<bool> alive);

  producer& _to;
  asio::io_context& _loop;
  asio::thread_pool& _blocking;
  const std::size_t _topics;
  std::uint64_t& _written;
  std::optional<kafka_error> _failure;
  const std::shared_ptr<bool> _alive = std::make_shared<bool>(true);  // The operation may end while `finish` waits.
};

}  // namespace transformd
