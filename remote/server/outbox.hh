// SPDX-License-Identifier: Apache-2.0
//
// What a stream on the server sends: messages one after another, and its end.
#pragma once

#include "messages.hh"

#include "wasm_engine/wasm_engine.hh"

#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>

namespace wasmengine::remote {

/// Any thread.
class outbox {
 public:
  using reactor = grpc::ServerBidiReactor<wire::ToServer, wire::ToHost>;

  /// Sends by `stream`, which outlives this. With `window` bytes on their way there is no room for more output.
  outbox(reactor& stream, std::size_t window) : _stream(stream), _window(window) {}
  outbox(const outbox&) = delete;
  outbox& operator=(const outbox&) = delete;

  /// Sends behind what waits. Nothing when the stream ends or the host is gone.
  void send(std::unique_ptr<wire::ToHost> message);
  /// Ends the stream behind what waits. Once: the first end counts.
  void finish(const grpc::Status& status);
  /// Whether something is on its way. A host that does not read leaves it so.
  [[nodiscard]] bool is_sending() const;
  /// Whether more output may come.
  [[nodiscard]] bool has_room() const;
  /// Resolves the promise when there is room, perhaps at once.
  void wait_for_room(promise later);
  /// gRPC has sent a message, or cannot send any more.
  void sent(bool ok);

 private:
  void begin_write();  // with the mutex
  [[nodiscard]] bool room() const { return _broken || _bytes < _window; }

  reactor& _stream;
  const std::size_t _window;
  mutable std::mutex _mutex;
  std::deque<std::unique_ptr<wire::ToHost>> _messages;
  std::size_t _bytes = 0;
  bool _writing = false;
  bool _broken = false;    ///< Nothing can be sent any more.
  bool _finished = false;  ///< gRPC was told the end.
  std::optional<grpc::Status> _end;  ///< As soon as everything was sent.
  promise _waiter;
};

}  // namespace wasmengine::remote
