// SPDX-License-Identifier: Apache-2.0
//
// A stream on the server: one guest. gRPC's threads bring messages, the coroutine `serve` on the shard's loop does the
// rest.
#pragma once

#include "core.hh"
#include "outbox.hh"

#include <chrono>
#include <coroutine>
#include <memory>
#include <optional>
#include <string>

namespace wasmengine::remote {

/// gRPC owns it until its `OnDone` and the shard until `serve` has ended.
class session final : public grpc::ServerBidiReactor<wire::ToServer, wire::ToHost>,
                      public std::enable_shared_from_this<session> {
 public:
  /// Begins to serve a call.
  static session* accept(core& c, std::string peer);
  session(session&&) = delete;
  ~session() override;

  // ---- The loop's thread ----

  /// False if there will be nothing to do before a message comes.
  bool tick();
  /// The stream ends behind the batch in progress.
  void drain();
  /// A line of the guest.
  void log(const log_line& line);

 private:
  using clock = std::chrono::steady_clock;
  /// `receiving`: the rest of a batch comes.
  enum class phase { opening, idle, receiving, working, ended };
  /// What a host asked for.
  struct deployed {
    factory compiled;
    std::string hash;
    wire::Limits limits;
  };
  /// Awaits the next message.
  struct reading {
    session& s;

    [[nodiscard]] bool await_ready() const noexcept { return s._received || s._reads_ended || s._drains; }
    void await_suspend(std::coroutine_handle<> waiter) const noexcept { s._reader = waiter; }
    [[nodiscard]] std::unique_ptr<wire::ToServer> await_resume() const;
  };
  struct sink;

  session(core& c, shard& s, std::string peer);

  // ---- gRPC's threads ----

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // ---- The loop's thread ----

  void begin();
  task<> serve();
  /// Serves the next batch. False when the stream ends.
  task<bool> transform(engine& guest);
  /// The rest of a batch that comes in pieces. False when the stream ends.
  task<bool> receive_rest(wire::Batch& batch);
  void read_more();
  void received(bool ok);
  /// The next message of the host. Null at the end of the stream and when the server shuts down.
  [[nodiscard]] reading next();
  wasm_callback_result deliver(output_block block, output_call call);
  void send(std::unique_ptr<wire::ToHost> message);
  void send_output();
  /// The host broke the protocol.
  void violation(const char* what);
  void fail(wire::Failure::Cause cause, const std::string& why);
  void fail(wire::Failure::Cause cause, const error& why);
  void fail(const error& why);
  void abort(const grpc::Status& status);
  void ended();

  // In deploy.cc.

  /// What is wrong with what the host asks for. None if nothing is.
  [[nodiscard]] static std::optional<std::string> examine(const wire::Open& open);
  /// What the guest may have.
  [[nodiscard]] wire::Limits limits_of(const wire::Open& open) const;
  /// The compiled transform. None after a failure, which was sent.
  task<std::optional<deployed>> deploy(const wire::Open& open);
  /// The module from the host. Null after a failure, which was sent.
  task<module_bytes> upload(const wire::Open& open);

  core& _core;
  shard& _shard;
  const std::string _peer;
  std::shared_ptr<session> _self;  ///< gRPC's reference.

  task<> _work;
  phase _phase = phase::opening;
  clock::time_point _since = clock::now();  ///< When the phase began, or something came or was sent last.
  clock::time_point _said = _since;         ///< When something was sent last.
  std::unique_ptr<wire::ToServer> _incoming;
  std::unique_ptr<wire::ToServer> _received;
  bool _reads_ended = false;
  std::coroutine_handle<> _reader;
  bool _drains = false;
  std::string _name;
  std::chrono::milliseconds _alive{0};
  std::uint64_t _batch = 0;
  std::int64_t _base_offset = 0;
  std::unique_ptr<wire::ToHost> _output;  ///< Not sent yet: what ends the batch may go with it.
  wire::ToHost _log;
  std::size_t _log_bytes = 0;
  outbox _out;
};

}  // namespace wasmengine::remote
