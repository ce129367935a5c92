// SPDX-License-Identifier: Apache-2.0
//
// One stream: one guest on the server. The engine's thread and gRPC's threads meet here and nowhere else.
#pragma once

#include "connection.hh"

#include <grpcpp/alarm.h>

#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace wasmengine::remote {

/// Why a stream has ended.
struct stream_end {
  enum class kind {
    unreachable,  ///< There was no connection. Nothing was sent.
    lost,         ///< The connection or the server is gone or does not keep to the protocol.
    refused,      ///< The server does not want this host or what it asks for.
  };
  kind why;
  std::string text;
};

/// States: opening (until `Ready`), then messages in both directions, then ended. An end is final. gRPC owns the stream
/// until its `OnDone`. The engine owns it until `close`, after which nothing of the host's is touched.
class stream final : public grpc::ClientBidiReactor<wire::ToServer, wire::ToHost> {
 public:
  using clock = std::chrono::steady_clock;
  using message = std::unique_ptr<wire::ToHost>;

  /// Opens a stream. `patient`: while there is no connection it waits for one.
  struct deadlines {
    clock::time_point connection;
    clock::time_point start;
  };
  static std::shared_ptr<stream> open(std::shared_ptr<connection> host,
                                      std::shared_ptr<const deployment> wanted, deadlines until, bool patient);
  stream(stream&&) = delete;
  ~stream() override;

  // ---- The engine's thread ----

  /// Sends a batch, in pieces if the server knows them. The bytes are copied.
  void send(std::uint64_t number, std::span<const std::uint8_t> batch, std::uint32_t first_record, bool in_pieces);
  /// The next message. None if there is none yet or none will come.
  message take();
  /// Why it ended. None as long as there are messages.
  std::optional<stream_end> end();
  /// Keeps the promise until something is there. If something is there already, the promise is resolved at once.
  void wait(promise p);
  /// From now on silence of the server for `progress_timeout` ends the stream, as often as `wait` is called.
  void expect_progress();
  /// Nothing is expected.
  void expect_nothing();
  /// Ends the stream for a reason of the engine's.
  void fail(stream_end end);
  /// Cancels. No promise is settled any more.
  void close() noexcept;

 private:
  stream(std::shared_ptr<connection> host, std::shared_ptr<const deployment> wanted);

  void OnReadInitialMetadataDone(bool ok) override;
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  // All of these with the mutex.
  void begin_read();
  void begin_write(std::unique_ptr<wire::ToServer> next);
  void write_more();
  void upload_more();
  void release_hold();
  void end_with(stream_end end);
  [[nodiscard]] bool has_news() const { return !_inbox.empty() || _end.has_value(); }
  void set_alarm(clock::time_point when);
  void alarm_rang();

  const std::shared_ptr<connection> _connection;
  const std::shared_ptr<const deployment> _wanted;
  grpc::ClientContext _context;
  std::shared_ptr<stream> _self;  ///< gRPC's reference.

  std::mutex _mutex;
  message _reading;           ///< Where gRPC writes the next message.
  bool _paused = false;       ///< Nothing is read because the inbox is full.
  std::deque<message> _inbox;
  std::size_t _inbox_bytes = 0;
  std::unique_ptr<wire::ToServer> _writing;  ///< What gRPC sends.
  std::deque<std::unique_ptr<wire::ToServer>> _queued;  ///< What comes behind it.
  std::optional<std::size_t> _uploaded;      ///< Bytes of the module that were sent if the server wants it.
  promise _waiter;
  std::optional<stream_end> _end;
  bool _hold = true;  ///< The engine's thread may begin operations of gRPC.
  bool _ready = false;
  std::optional<grpc::Alarm> _alarm;
  std::optional<deadlines> _deadlines;  ///< As long as it starts.
  bool _connected = false;
  bool _progress = false;                      ///< A batch is in progress.
  clock::time_point _heard;                    ///< When progress was made last.
};

}  // namespace wasmengine::remote
