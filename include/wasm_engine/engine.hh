// SPDX-License-Identifier: Apache-2.0
//
// Engines: one running guest, fed with batches.
#pragma once

#include "runtime.hh"

#include <concepts>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace wasmengine {

/// One record that a guest wrote; `wasmengine::payload` takes it apart. Lives as long as the block that it is in.
class output_record {
 public:
  explicit output_record(const wasm_output_record& raw) noexcept : _raw(&raw) {}
  [[nodiscard]] std::span<const std::uint8_t> payload() const noexcept { return {_raw->payload, _raw->payload_size}; }
  /// Index in the transform's output topics.
  [[nodiscard]] std::uint32_t topic() const noexcept { return _raw->topic; }
  /// Offset and time of the input record that it came from.
  [[nodiscard]] std::int64_t input_offset() const noexcept { return _raw->input_offset; }
  [[nodiscard]] std::int64_t input_timestamp() const noexcept { return _raw->input_timestamp; }

 private:
  const wasm_output_record* _raw;
};

/// A block of output.
using output_block = std::span<const wasm_output_record>;

/// The call that a sink is in: where it gets a promise if it cannot finish at once.
class output_call {
 public:
  explicit output_call(wasm_call* raw) noexcept : _raw(raw) {}

  /// A promise for this call; the sink then returns `WASM_ANSWER_PENDING`, and the block stays until it is settled.
  [[nodiscard]] result<promise> later() noexcept {
    return detail::make<promise>([&](wasm_promise** out, wasm_error** e) { return wasm_call_promise(_raw, out, e); });
  }

 private:
  wasm_call* _raw;
};

/// Takes output: `void(output_block)` if it always finishes at once, `wasm_answer(output_block, output_call)` if not. What
/// it throws fails the transform.
template <typename S>
concept output_function =
    !std::is_const_v<S> &&
    (std::is_invocable_r_v<wasm_answer, S&, output_block, output_call> ||
     (std::invocable<S&, output_block> && std::is_void_v<std::invoke_result_t<S&, output_block>>));

namespace detail {

template <output_function S>
std::uint32_t sink_trampoline(void* data, const wasm_output_record* records, std::size_t count,
                              wasm_call* call) noexcept {
  auto& sink = *static_cast<S*>(data);
  const output_block block(records, count);
  try {
    if constexpr (std::is_invocable_r_v<wasm_answer, S&, output_block, output_call>) {
      return sink(block, output_call(call));
    } else {
      sink(block);
      return WASM_ANSWER_DONE;
    }
  } catch (const std::exception& e) {
    (void)wasm_call_fail(call, as_slice(e.what()), nullptr);
    return WASM_ANSWER_FAILED;
  } catch (...) {
    return WASM_ANSWER_FAILED;
  }
}

}  // namespace detail

/// One running guest. Tied to the thread that made it; destroy it there.
class engine {
 public:
  engine() noexcept = default;

  /// A stopped engine that belongs to the calling thread.
  [[nodiscard]] static result<engine> create(const factory& f) noexcept {
    return detail::make<engine>(
        [&](wasm_engine** out, wasm_error** e) { return wasm_engine_create(f.get(), out, e); });
  }

  /// Starts the guest.
  [[nodiscard]] result<future> start() noexcept {
    return detail::make<future>([&](wasm_future** out, wasm_error** e) { return wasm_engine_start(get(), out, e); });
  }

  /// Gives the guest a batch. Both must live until the operation is over: `batch` is borrowed, and so is `sink`.
  template <output_function S>
  [[nodiscard]] result<future> transform(std::span<const std::uint8_t> batch, S& sink) noexcept {
    return begin(batch, {sizeof(wasm_output_sink), &sink, nullptr, detail::sink_trampoline<S>});
  }

  /// The same with a sink that the operation owns.
  template <output_function S>
    requires(!std::is_lvalue_reference_v<S>)
  [[nodiscard]] result<future> transform(std::span<const std::uint8_t> batch, S&& sink) {
    return begin(batch, {sizeof(wasm_output_sink), new S(std::move(sink)),
                         [](void* data) { delete static_cast<S*>(data); }, detail::sink_trampoline<S>});
  }

  /// Stops the guest, whatever it is doing.
  [[nodiscard]] result<future> stop() noexcept {
    return detail::make<future>([&](wasm_future** out, wasm_error** e) { return wasm_engine_stop(get(), out, e); });
  }

  /// Attaches a pointer of the host's, for its host functions: `host_call::user_data`, `per_engine`, `engine_data`. The
  /// library never follows it.
  result<void> set_user_data(void* user_data) noexcept {
    return detail::call([&](wasm_error** e) { return wasm_engine_set_user_data(get(), user_data, e); });
  }

  [[nodiscard]] result<wasm_engine_state> state() const noexcept {
    wasm_engine_state state = WASM_ENGINE_STATE_STOPPED;
    auto got = detail::call([&](wasm_error** e) { return wasm_engine_get_state(get(), &state, e); });
    if (!got) {
      return got.err();
    }
    return state;
  }

  /// Bytes of the guest's linear memory.
  [[nodiscard]] result<std::uint64_t> memory_size() const noexcept {
    std::uint64_t bytes = 0;
    auto got = detail::call([&](wasm_error** e) { return wasm_engine_get_memory_size(get(), &bytes, e); });
    if (!got) {
      return got.err();
    }
    return bytes;
  }

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(_raw); }
  [[nodiscard]] wasm_engine* get() const noexcept { return _raw.get(); }
  [[nodiscard]] wasm_engine** out() noexcept { return _raw.out(); }

 private:
  [[nodiscard]] result<future> begin(std::span<const std::uint8_t> batch, const wasm_output_sink& sink) noexcept {
    return detail::make<future>([&](wasm_future** out, wasm_error** e) {
      return wasm_engine_transform(get(), as_slice(batch), &sink, out, e);
    });
  }

  // A refusal (foreign thread, own callback) leaks the engine: an error of the program, and the lesser evil.
  static void release(wasm_engine* raw) noexcept { (void)wasm_engine_release(raw, nullptr); }

  handle<wasm_engine, release> _raw;
};

}  // namespace wasmengine
