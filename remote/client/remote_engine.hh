// SPDX-License-Identifier: Apache-2.0
//
// The custom engine that stands for a guest on a server.
#pragma once

#include "stream.hh"

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

namespace wasmengine::remote {

/// Lives on its engine's thread. A stream is there from the start to the stop.
class remote_engine final : public custom_engine {
 public:
  remote_engine(std::shared_ptr<connection> host, std::shared_ptr<const deployment> wanted);
  remote_engine(const remote_engine&) = delete;
  remote_engine& operator=(const remote_engine&) = delete;
  ~remote_engine() override;

  wasm_callback_result start(custom_call call) override;
  wasm_callback_result transform(const batch_work& work, custom_call call) override;
  void stop() noexcept override;
  [[nodiscard]] std::uint64_t memory_size() const noexcept override { return _memory_size; }

 private:
  /// The batch in progress.
  struct progress {
    std::int64_t base_offset;
    std::int64_t last_delta;             ///< Of the last record's offset. The largest number if that is not known.
    std::uint32_t index;                 ///< Of the first record whose output is not whole.
    std::optional<input_record> record;  ///< That record once it was taken.
    std::uint64_t output;                ///< Bytes.
  };
  /// A message that is being written and how far it is.
  struct position {
    stream::message message;
    int line = 0;  ///< Of the log.
    std::size_t record = 0;
    std::size_t byte = 0;
    bool checked = false;
  };

  void begin(const batch_work& work);
  /// Writes what is left of the output in the current message. False if there is no room.
  bool write_output(const batch_work& work);
  /// Takes the next message unless there is a current one, and logs some lines of it. The message when all are logged.
  /// Null if there is none yet, or if other tasks should run first: then `budget` is 0.
  const wire::ToHost* next(custom_call call, int& budget);
  void log(const wire::LogLine& line, custom_call call) const;
  /// The server is ready: checks what it says and keeps it.
  void accept(const wire::Ready& ready);
  [[noreturn]] void start_failed(const std::string& why, bool lost);
  [[noreturn]] void fail(const wire::Failure& failure);
  [[noreturn]] void lose(const std::string& why);
  /// The server does what the protocol forbids.
  [[noreturn]] void violated(const std::string& what);
  void tell(const wire::Failure& failure) const;
  [[nodiscard]] std::string place() const;

  const std::shared_ptr<connection> _connection;
  const std::shared_ptr<const deployment> _wanted;
  std::shared_ptr<stream> _stream;
  stream::clock::time_point _start_until, _connect_until;
  bool _tries_again = false;
  std::string _unreachable;  ///< Why the first attempt to connect failed.
  std::uint64_t _batches = 0;  ///< Of this stream.
  std::uint64_t _max_batch = 0;
  bool _takes_pieces = false;
  std::optional<progress> _progress;
  position _current;
  std::uint64_t _memory_size = 0;
};

}  // namespace wasmengine::remote
