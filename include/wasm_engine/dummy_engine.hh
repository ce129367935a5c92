// SPDX-License-Identifier: Apache-2.0
//
// An engine that follows a test's script. For testing hosts without guests.
#pragma once

#include "custom_engine.hh"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace wasmengine {

/// A record that a dummy writes.
struct dummy_output {
  std::vector<std::uint8_t> payload;  ///< Encoded as a Kafka record's key, value and headers.
  std::uint32_t topic = 0;
};

/// What a dummy does and its statistics. Shared by the test and all dummies of a factory, which must be on one thread
/// then. Without any setting a dummy is ready at once and copies each record to the first topic.
struct dummy_script {
  static constexpr unsigned always = std::numeric_limits<unsigned>::max();

  /// What is written for a record instead of a copy.
  std::function<std::vector<dummy_output>(const input_record&)> outputs;
  /// The index in the batch of a record at which transforms fail and the number of transforms that fail.
  std::optional<std::uint32_t> fails_at;
  unsigned failures = always;
  /// How many of the next starts fail.
  unsigned failing_starts = 0;
  /// Takes the promise for which each start and each transform waits first. The test (`dummy_gate`) or a timer resolves
  /// it.
  std::function<void(promise)> delay_start;
  std::function<void(promise)> delay_transform;
  std::uint64_t memory_size = 0;

  unsigned starts = 0;      ///< Starts that began.
  unsigned transforms = 0;  ///< Batches that were received.
  unsigned records = 0;     ///< Records that were taken.
  unsigned stops = 0;
  int alive = 0;  ///< Dummies that exist.
};

/// Holds promises until a test resolves them: `script->delay_transform = gate.hold()`. Must outlive the script.
class dummy_gate {
 public:
  [[nodiscard]] std::function<void(promise)> hold() {
    return [this](promise p) { _held.push_back(std::move(p)); };
  }
  [[nodiscard]] std::size_t waiting() const noexcept { return _held.size(); }
  /// Resolves the oldest promise. Throws if there is none.
  void open() { take().resolve().value(); }
  /// Rejects it instead.
  void fail(std::string_view why) { take().reject(why).value(); }
  /// Releases it to the caller. For example to another thread.
  [[nodiscard]] promise take() {
    if (_held.empty()) {
      throw std::logic_error("nothing waits at this gate");
    }
    promise first = std::move(_held.front());
    _held.pop_front();
    return first;
  }

 private:
  std::deque<promise> _held;
};

/// An engine that follows a script.
class dummy_engine final : public custom_engine {
 public:
  explicit dummy_engine(std::shared_ptr<dummy_script> script) : _script(std::move(script)) { ++_script->alive; }
  dummy_engine(const dummy_engine&) = delete;
  dummy_engine& operator=(const dummy_engine&) = delete;
  ~dummy_engine() override { --_script->alive; }

  wasm_callback_result start(custom_call call) override {
    if (!_waited) {
      ++_script->starts;
      if (wait(_script->delay_start, call)) {
        return WASM_CALLBACK_RESULT_PENDING;
      }
    }
    _waited = false;
    if (use_up(_script->failing_starts)) {
      throw std::runtime_error("the script says that this start fails");
    }
    return WASM_CALLBACK_RESULT_DONE;
  }

  wasm_callback_result transform(const batch_work& work, custom_call call) override {
    if (!_begun) {
      _begun = true;
      ++_script->transforms;
      if (wait(_script->delay_transform, call)) {
        return WASM_CALLBACK_RESULT_PENDING;
      }
    }
    for (;;) {
      for (; _written < _outputs.size(); ++_written) {
        if (!work.write(_outputs[_written].payload, _outputs[_written].topic)) {
          return WASM_CALLBACK_RESULT_AGAIN;
        }
      }
      forget();
      const auto record = work.next();
      if (!record) {
        return WASM_CALLBACK_RESULT_DONE;
      }
      _begun = true;
      ++_script->records;
      if (_script->fails_at == record->index() && use_up(_script->failures)) {
        throw std::runtime_error("the script says that this record fails");
      }
      if (_script->outputs) {
        _outputs = _script->outputs(*record);
      } else {
        _outputs.push_back({{record->payload().begin(), record->payload().end()}, 0});
      }
    }
  }

  void stop() noexcept override {
    ++_script->stops;
    forget();
  }

  [[nodiscard]] std::uint64_t memory_size() const noexcept override { return _script->memory_size; }

 private:
  bool wait(const std::function<void(promise)>& delay, custom_call call) {
    if (delay) {
      _waited = true;
      delay(call.later());
    }
    return _waited;
  }
  static bool use_up(unsigned& times) noexcept {
    if (times > 0 && times != dummy_script::always) {
      --times;
      return true;
    }
    return times == dummy_script::always;
  }
  void forget() noexcept {
    _outputs.clear();
    _written = 0;
    _begun = _waited = false;
  }

  std::shared_ptr<dummy_script> _script;
  std::vector<dummy_output> _outputs;
  std::size_t _written = 0;
  bool _begun = false;   ///< The current transform is not in its first step.
  bool _waited = false;  ///< The current start is not in its first step.
};

/// A factory of dummies that follow `script`.
[[nodiscard]] inline result<factory> create_dummy_factory(const runtime& r, const transform_config& t,
                                                          std::shared_ptr<dummy_script> script) {
  return create_custom_factory(
      r, t, [s = std::move(script)]() -> std::unique_ptr<custom_engine> { return std::make_unique<dummy_engine>(s); });
}

}  // namespace wasmengine
