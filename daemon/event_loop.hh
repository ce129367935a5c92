// SPDX-License-Identifier: Apache-2.0
//
// A thread with an event loop on which workers run.
#pragma once

#include <wasm_engine/wasm_engine.hh>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <cstdint>
#include <thread>

namespace transformd {

namespace asio = boost::asio;

/// Runs until it is destroyed.
class event_loop {
 public:
  event_loop(const wasmengine::runtime& runtime, std::uint32_t shard)
      : _work(_context.get_executor()), _thread([this, &runtime, shard] {
          wasmengine::prepare_thread(runtime, 0, shard).value();
          _context.run();
        }) {}
  event_loop(event_loop&&) = delete;
  ~event_loop() {
    _work.reset();
    _thread.join();
  }

  [[nodiscard]] asio::io_context& context() noexcept { return _context; }

 private:
  asio::io_context _context{1};
  asio::executor_work_guard<asio::io_context::executor_type> _work;
  std::thread _thread;
};

}  // namespace transformd
