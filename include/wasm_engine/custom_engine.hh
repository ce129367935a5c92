// SPDX-License-Identifier: Apache-2.0
//
// Custom engines: the host's own code instead of a guest.
#pragma once

#include "runtime.hh"

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

namespace wasmengine {

/// A record of the current batch. `wasmengine::payload` parses it. Lives until the operation has completed.
class input_record {
 public:
  explicit input_record(const wasm_input_record& raw) noexcept : _raw(raw) {}
  [[nodiscard]] std::span<const std::uint8_t> payload() const noexcept { return {_raw.payload, _raw.payload_size}; }
  /// Index in the batch, from 0.
  [[nodiscard]] std::uint32_t index() const noexcept { return _raw.index; }
  [[nodiscard]] std::int64_t offset() const noexcept { return _raw.offset; }
  [[nodiscard]] std::int64_t timestamp() const noexcept { return _raw.timestamp; }

 private:
  wasm_input_record _raw;
};

/// Thrown by a custom engine that fails at a later record than the one that it took last.
class record_failure : public std::runtime_error {
 public:
  record_failure(std::uint32_t index, const std::string& why) : std::runtime_error(why), _index(index) {}
  [[nodiscard]] std::uint32_t index() const noexcept { return _index; }

 private:
  std::uint32_t _index;
};

/// Thrown by a custom engine that lost what it runs on. The record with index `index` is not finished and not the
/// cause: no policy skips it. The operation fails with `WASM_STATUS_CUSTOM_ENGINE_LOST`.
class engine_lost : public std::runtime_error {
 public:
  engine_lost(std::uint32_t index, const std::string& why) : std::runtime_error(why), _index(index) {}
  [[nodiscard]] std::uint32_t index() const noexcept { return _index; }

 private:
  std::uint32_t _index;
};

/// The current step of a custom engine. A step that cannot finish at once gets a promise from it.
class custom_call {
 public:
  explicit custom_call(wasm_call* raw) noexcept : _raw(raw) {}

  /// A promise for this step. The step then returns `WASM_CALLBACK_RESULT_PENDING`. It is called again when the promise
  /// is resolved.
  [[nodiscard]] promise later() const {
    return detail::make<promise>([&](wasm_promise** out, wasm_error** e) {
             return wasm_call_promise(_raw, out, e);
           }).value();
  }
  /// The user data of the engine that the step belongs to.
  [[nodiscard]] void* user_data() const noexcept { return wasm_call_user_data(_raw); }
  [[nodiscard]] wasm_engine* engine() const noexcept { return wasm_call_engine(_raw); }
  [[nodiscard]] wasm_call* get() const noexcept { return _raw; }

 private:
  wasm_call* _raw;
};

/// The batch of a custom engine's step. Valid until the step returns.
class batch_work {
 public:
  batch_work(wasm_work* raw, std::span<const std::uint8_t> batch, std::uint32_t first_record) noexcept
      : _raw(raw), _batch(batch), _first(first_record) {}

  /// The checked batch as its host gave it. Lives until the operation has completed.
  [[nodiscard]] std::span<const std::uint8_t> batch() const noexcept { return _batch; }
  [[nodiscard]] std::uint32_t first_record() const noexcept { return _first; }

  /// The next record from `first_record` on if there is one. The previous one is finished then.
  [[nodiscard]] std::optional<input_record> next() const {
    wasm_input_record record{};
    detail::call([&](wasm_error** e) { return wasm_work_next(_raw, &record, e); }).value();
    return record.payload == nullptr ? std::nullopt : std::optional(input_record(record));
  }

  /// Writes a payload to an output topic for the record that was taken last. False if the earlier output must go to the
  /// host first. Return `WASM_CALLBACK_RESULT_AGAIN` then and write it in the next step. Throws an `error` for a
  /// payload that cannot be written at all.
  [[nodiscard]] bool write(std::span<const std::uint8_t> payload, std::uint32_t topic = 0) const {
    auto written = detail::call([&](wasm_error** e) { return wasm_work_write(_raw, as_slice(payload), topic, e); });
    if (!written && written.err().status() == WASM_STATUS_OUTPUT_FULL) {
      return false;
    }
    written.value();
    return true;
  }

 private:
  wasm_work* _raw;
  std::span<const std::uint8_t> _batch;
  std::uint32_t _first;
};

/// A custom engine. See `wasm_custom_engine`. Made, used and destroyed on its engine's thread. An exception fails the
/// step.
class custom_engine {
 public:
  custom_engine() = default;
  custom_engine(const custom_engine&) = delete;
  custom_engine& operator=(const custom_engine&) = delete;
  virtual ~custom_engine() = default;

  /// A step of the start: `WASM_CALLBACK_RESULT_DONE`, `…_AGAIN` or `…_PENDING` with a promise of the call.
  virtual wasm_callback_result start(custom_call) { return WASM_CALLBACK_RESULT_DONE; }
  /// A step of a transform. Results as for `start`.
  virtual wasm_callback_result transform(const batch_work& work, custom_call call) = 0;
  /// Stops in any state. When this returns, the batch must not be accessed any more.
  virtual void stop() noexcept {}
  /// Bytes of memory that the engine has.
  [[nodiscard]] virtual std::uint64_t memory_size() const noexcept { return 0; }
};

/// Makes one custom engine for each `engine` of the factory. Called on their threads, several at once.
using custom_engine_maker = std::function<std::unique_ptr<custom_engine>()>;

namespace detail {

/// Runs a callback. An exception fails the call with its text.
template <typename F>
wasm_callback_result guarded(wasm_call* call, F&& f) noexcept {
  try {
    return f();
  } catch (const record_failure& e) {
    (void)wasm_call_fail_record(call, e.index(), as_slice(e.what()), nullptr);
  } catch (const engine_lost& e) {
    (void)wasm_call_lose_engine(call, e.index(), as_slice(e.what()), nullptr);
  } catch (const std::exception& e) {
    (void)wasm_call_fail(call, as_slice(e.what()), nullptr);
  } catch (...) {
  }
  return WASM_CALLBACK_RESULT_FAILED;
}

inline custom_engine& as_custom_engine(void* data) noexcept { return *static_cast<custom_engine*>(data); }

}  // namespace detail

/// A factory of engines from `make`. For `engine`, policies, sinks and metrics they are like guests.
[[nodiscard]] inline result<factory> create_custom_factory(const runtime& r, const transform_config& t,
                                                           custom_engine_maker make) {
  const wasm_custom_engine table{
      sizeof(table),
      new custom_engine_maker(std::move(make)),
      [](void* data) noexcept { delete static_cast<custom_engine_maker*>(data); },
      [](void* data, void** engine_data, wasm_call* call) noexcept {
        return detail::guarded(call, [&]() -> wasm_callback_result {
          auto made = (*static_cast<custom_engine_maker*>(data))();
          if (!made) {
            throw std::runtime_error("the maker of the custom engine returned null");
          }
          *engine_data = made.release();
          return WASM_CALLBACK_RESULT_DONE;
        });
      },
      [](void* data, wasm_call* call) noexcept {
        return detail::guarded(
            call, [&]() -> wasm_callback_result { return detail::as_custom_engine(data).start(custom_call(call)); });
      },
      [](void* data, wasm_slice batch, std::uint32_t first, wasm_work* work, wasm_call* call) noexcept {
        return detail::guarded(call, [&]() -> wasm_callback_result {
          return detail::as_custom_engine(data).transform(batch_work(work, as_bytes(batch), first), custom_call(call));
        });
      },
      [](void* data) noexcept { detail::as_custom_engine(data).stop(); },
      [](void* data) noexcept { delete static_cast<custom_engine*>(data); },
      [](void* data) noexcept { return detail::as_custom_engine(data).memory_size(); }};
  return detail::with_raw(t, {}, [&](const wasm_factory_config& config) {
    return detail::make<factory>([&](wasm_factory** out, wasm_error** e) {
      return wasm_factory_create_custom(r.get(), &config, &table, out, e);
    });
  });
}

}  // namespace wasmengine
