// SPDX-License-Identifier: Apache-2.0
#include "output_sink.hh"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <utility>

namespace transformd {

output_sink::output_sink(producer& to, asio::io_context& loop, asio::thread_pool& blocking, std::size_t topics,
                         std::uint64_t& written)
    : _to(to), _loop(loop), _blocking(blocking), _topics(topics), _written(written) {}

wasm_callback_result output_sink::operator()(wasmengine::parsed_block block, wasmengine::output_call call) {
  const auto done = write(block);
  if (done == block.size()) {
    return WASM_CALLBACK_RESULT_DONE;
  }
  // There is no room: the guest waits and the loop goes on. The block stays until the promise is settled.
  asio::co_spawn(_loop, finish(block.subspan(done), call.later().value(), _alive), asio::detached);
  return WASM_CALLBACK_RESULT_PENDING;
}

/// Throws what the producer throws, and keeps it.
std::size_t output_sink::write(wasmengine::parsed_block block) {
  std::size_t done = 0;
  try {
    for (const auto& record : block) {
      if (!_to.produce(record.record.topic, record.payload, record.record.input_timestamp)) {
        break;
      }
      _written += record.record.topic < _topics ? 1 : 0;
      ++done;
    }
  } catch (const kafka_error& e) {
    _failure = e;
    throw;
  }
  return done;
}

asio::awaitable<void> output_sink::finish(wasmengine::parsed_block rest, wasmengine::promise promise,
                                          std::shared_ptr<bool> alive) {
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

}  // namespace transformd
