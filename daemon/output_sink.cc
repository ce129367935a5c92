// SPDX-License-Identifier: Apache-2.0
#include "output_sink.hh"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace transformd {

namespace {

/// The record without what makes a dead letter long: what the error and the guest's standard error say.
class short_letter {
 public:
  explicit short_letter(const wasm_payload& whole) : _record(whole) {
    for (const auto& h : std::span(whole.headers, whole.header_count)) {
      const auto name = std::string_view(reinterpret_cast<const char*>(h.key.data), static_cast<std::size_t>(h.key.size));
      if (name != "wasm-error-message" && name != "wasm-stderr") {
        _headers.push_back(h);
      }
    }
    _record.headers = _headers.data();
    _record.header_count = _headers.size();
  }

  [[nodiscard]] const wasm_payload& get() const noexcept { return _record; }

 private:
  std::vector<wasm_header> _headers;
  wasm_payload _record;
};

}  // namespace

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
      if (!produce(record)) {
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

bool output_sink::produce(const wasm_parsed_record& record) {
  const auto topic = record.record.topic;
  const auto timestamp = record.record.input_timestamp;
  try {
    return _to.produce(topic, record.payload, timestamp);
  } catch (const kafka_error& e) {
    if (topic < _topics || e.code() != RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
      throw;
    }
  }
  return _to.produce(topic, short_letter(record.payload).get(), timestamp);
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
  } catch (const kafka_error& e) {
    if (*alive) {
      _failure = e;
    }
    (void)promise.reject(e.what());
  } catch (const std::exception& e) {
    (void)promise.reject(e.what());
  }
}

}  // namespace transformd
