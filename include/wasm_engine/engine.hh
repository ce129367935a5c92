// SPDX-License-Identifier: Apache-2.0
//
// Engines: one running guest that gets batches.
#pragma once

#include "policy.hh"
#include "records.hh"
#include "runtime.hh"

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace wasmengine {

/// One record that a guest wrote. `wasmengine::payload` parses it. Lives as long as its block.
class output_record {
 public:
  explicit output_record(const wasm_output_record& raw) noexcept : _raw(&raw) {}
  [[nodiscard]] std::span<const std::uint8_t> payload() const noexcept { return {_raw->payload, _raw->payload_size}; }
  /// Index in the transform's output topics.
  [[nodiscard]] std::uint32_t topic() const noexcept { return _raw->topic; }
  /// Offset and timestamp of the input record that it belongs to.
  [[nodiscard]] std::int64_t input_offset() const noexcept { return _raw->input_offset; }
  [[nodiscard]] std::int64_t input_timestamp() const noexcept { return _raw->input_timestamp; }
  /// Index of that input record in its batch. `no_record` for what was written before the first one.
  [[nodiscard]] std::uint32_t input_index() const noexcept { return _raw->input_index; }
  /// 0, 1, 2 … among the output records of that input record.
  [[nodiscard]] std::uint32_t ordinal() const noexcept { return _raw->ordinal; }
  static constexpr std::uint32_t no_record = UINT32_MAX;

 private:
  const wasm_output_record* _raw;
};

/// A block of output.
using output_block = std::span<const wasm_output_record>;

/// A block of output whose records are taken apart.
using parsed_block = std::span<const wasm_parsed_record>;

/// How many records of a block belong to which batch of the call, in the order of the block.
using output_batches = std::span<const wasm_output_batch>;

/// The call of a sink. A sink that cannot finish at once gets a promise from it.
class output_call {
 public:
  explicit output_call(wasm_call* raw) noexcept : _raw(raw) {}

  /// A promise for this call. The sink then returns `WASM_CALLBACK_RESULT_PENDING`. The block stays valid until the
  /// promise is settled.
  [[nodiscard]] result<promise> later() noexcept {
    return detail::make<promise>([&](wasm_promise** out, wasm_error** e) { return wasm_call_promise(_raw, out, e); });
  }

  /// The batches of the block. Valid as long as the block.
  [[nodiscard]] output_batches batches() const noexcept {
    const wasm_output_batch* first = nullptr;
    std::size_t count = 0;
    (void)wasm_call_output_batches(_raw, &first, &count, nullptr);
    return {first, count};
  }

 private:
  wasm_call* _raw;
};

/// Calls `function(std::uint32_t batch, output_block records)` for each batch that has records in a block.
template <typename F>
  requires std::invocable<F&, std::uint32_t, output_block>
void for_each_batch(output_block block, output_batches batches, F&& function) {
  for (const auto& b : batches) {
    function(b.batch, block.first(b.record_count));
    block = block.subspan(b.record_count);
  }
}

/// Bytes of several batches: any range of what becomes a span of bytes. Not a range that makes containers as it goes.
template <typename R>
concept batch_range =
    std::ranges::input_range<R> &&
    std::convertible_to<std::ranges::range_reference_t<R>, std::span<const std::uint8_t>> &&
    (std::is_lvalue_reference_v<std::ranges::range_reference_t<R>> ||
     std::ranges::borrowed_range<std::ranges::range_reference_t<R>>);

namespace detail {

/// Takes blocks of this type in one of the forms of `output_function`.
template <typename S, typename Block>
concept block_function =
    std::is_invocable_r_v<wasm_callback_result, S&, Block, output_call> ||
    (std::invocable<S&, Block, output_batches> && std::is_void_v<std::invoke_result_t<S&, Block, output_batches>>) ||
    (std::invocable<S&, Block> && std::is_void_v<std::invoke_result_t<S&, Block>>);

}  // namespace detail

/// Receives output. `void(output_block)` or `void(output_block, output_batches)` if it always finishes at once.
/// `wasm_callback_result(output_block, output_call)` if not. An exception fails the transform. With `parsed_block`
/// instead of `output_block` the sink gets each record's key, value and headers. One that takes both gets the former.
template <typename S>
concept output_function = !std::is_const_v<S> && (detail::block_function<S, output_block> ||
                                                  detail::block_function<S, parsed_block>);

namespace detail {

template <output_function S, typename Record>
wasm_callback_result sink_trampoline(void* data, const Record* records, std::size_t count, wasm_call* call) noexcept {
  using block_type = std::span<const Record>;
  auto& sink = *static_cast<S*>(data);
  const block_type block(records, count);
  try {
    if constexpr (std::is_invocable_r_v<wasm_callback_result, S&, block_type, output_call>) {
      return sink(block, output_call(call));
    } else if constexpr (std::invocable<S&, block_type, output_batches>) {
      sink(block, output_call(call).batches());
      return WASM_CALLBACK_RESULT_DONE;
    } else {
      sink(block);
      return WASM_CALLBACK_RESULT_DONE;
    }
  } catch (const std::exception& e) {
    forget_unwound_frames();
    (void)wasm_call_fail(call, as_slice(e.what()), nullptr);
    return WASM_CALLBACK_RESULT_FAILED;
  } catch (...) {
    return WASM_CALLBACK_RESULT_FAILED;
  }
}

/// The C form of several batches. Few of them take no memory.
class slices {
 public:
  template <batch_range R>
  explicit slices(R&& batches) {
    for (auto&& batch : batches) {
      const auto slice = as_slice(std::span<const std::uint8_t>(batch));
      if (_count < _few.size()) {
        _few[_count] = slice;
      } else {
        if (_many.empty()) {
          _many.assign(_few.begin(), _few.end());
        }
        _many.push_back(slice);
      }
      ++_count;
    }
  }

  /// Lives as long as this.
  [[nodiscard]] std::span<const wasm_slice> all() const noexcept {
    return _many.empty() ? std::span(_few).first(_count) : std::span(_many);
  }

 private:
  std::array<wasm_slice, 16> _few{};
  std::vector<wasm_slice> _many;
  std::size_t _count = 0;
};

template <output_function S>
[[nodiscard]] wasm_output_sink sink_of(void* data, void (*drop)(void*)) noexcept {
  if constexpr (block_function<S, output_block>) {
    return {sizeof(wasm_output_sink), data, drop, sink_trampoline<S, wasm_output_record>, nullptr};
  } else {
    return {sizeof(wasm_output_sink), data, drop, nullptr, sink_trampoline<S, wasm_parsed_record>};
  }
}

/// A sink that outlives its operation.
template <output_function S>
[[nodiscard]] wasm_output_sink borrowed_sink(S& sink) noexcept {
  return sink_of<S>(&sink, nullptr);
}

/// A sink that the operation owns.
template <output_function S>
[[nodiscard]] wasm_output_sink owned_sink(S&& sink) {
  return sink_of<S>(new S(std::move(sink)), [](void* data) { delete static_cast<S*>(data); });
}

}  // namespace detail

/// One running guest. Tied to the thread that made it: use and destroy it there.
class engine {
 public:
  engine() noexcept = default;

  /// A stopped engine that belongs to the calling thread.
  [[nodiscard]] static result<engine> create(const factory& f) noexcept {
    return detail::make<engine>(
        [&](wasm_engine** out, wasm_error** e) { return wasm_engine_create(f.get(), nullptr, out, e); });
  }

  /// A stopped user of the one engine that the calling thread shares for this factory. See `wasm_engine_config`.
  [[nodiscard]] static result<engine> create_shared(const factory& f) noexcept {
    const wasm_engine_config config{sizeof(config), 1};
    return detail::make<engine>(
        [&](wasm_engine** out, wasm_error** e) { return wasm_engine_create(f.get(), &config, out, e); });
  }

  /// Hot swap: replaces the engine by one of another factory without a stop. See `wasm_engine_replace`.
  [[nodiscard]] result<future> replace(const factory& f) noexcept {
    return detail::make<future>(
        [&](wasm_future** out, wasm_error** e) { return wasm_engine_replace(get(), f.get(), out, e); });
  }

  /// Starts the guest.
  [[nodiscard]] result<future> start() noexcept {
    return detail::make<future>([&](wasm_future** out, wasm_error** e) { return wasm_engine_start(get(), out, e); });
  }

  /// Gives the guest a batch. `batch` and `sink` are borrowed: both must live until the operation has completed.
  template <output_function S>
  [[nodiscard]] result<future> transform(std::span<const std::uint8_t> batch, S& sink) noexcept {
    return transform_from(batch, 0, sink);
  }

  /// As above with a sink that the operation owns.
  template <output_function S>
    requires(!std::is_lvalue_reference_v<S>)
  [[nodiscard]] result<future> transform(std::span<const std::uint8_t> batch, S&& sink) {
    return transform_from(batch, 0, std::move(sink));
  }

  /// Gives the guest a batch from the record with index `first_record` on. After a failure a host continues behind the
  /// failed record with it or tries that record again.
  template <output_function S>
  [[nodiscard]] result<future> transform_from(std::span<const std::uint8_t> batch, std::uint32_t first_record,
                                              S& sink) noexcept {
    return begin(batch, first_record, detail::borrowed_sink(sink));
  }

  /// As above with a sink that the operation owns.
  template <output_function S>
    requires(!std::is_lvalue_reference_v<S>)
  [[nodiscard]] result<future> transform_from(std::span<const std::uint8_t> batch, std::uint32_t first_record,
                                              S&& sink) {
    return begin(batch, first_record, detail::owned_sink(std::move(sink)));
  }

  /// Gives the guest a batch and polls at once. The future is empty if the transform has completed. Both must live
  /// until it has completed. `waker` may be null and is consumed. See `wasm_engine_transform_and_poll`.
  template <output_function S>
  [[nodiscard]] result<future> transform_and_poll(std::span<const std::uint8_t> batch, S& sink,
                                                 const wasm_waker* waker = nullptr) noexcept {
    const wasm_output_sink raw = detail::borrowed_sink(sink);
    const wasm_transform_args args{sizeof(args), as_slice(batch), &raw, 0};
    wasm_poll state = WASM_POLL_READY;
    return detail::make<future>([&](wasm_future** out, wasm_error** e) {
      return wasm_engine_transform_and_poll(get(), &args, waker, &state, out, e);
    });
  }

  /// Gives the guest several batches in one call. See `wasm_engine_transform_many`. The batches' bytes and `sink` are
  /// borrowed until the operation has completed. The range itself is not. `first_record` is one of the first batch.
  /// `error::batch` names the batch that failed and `output_call::batches` tells whose records a block has.
  template <batch_range R, output_function S>
  [[nodiscard]] result<future> transform_many(R&& batches, S& sink, std::uint32_t first_record = 0) {
    const detail::slices slices(std::forward<R>(batches));
    return begin_many(slices.all(), first_record, detail::borrowed_sink(sink));
  }

  /// As above with a sink that the operation owns.
  template <batch_range R, output_function S>
    requires(!std::is_lvalue_reference_v<S>)
  [[nodiscard]] result<future> transform_many(R&& batches, S&& sink, std::uint32_t first_record = 0) {
    const detail::slices slices(std::forward<R>(batches));
    return begin_many(slices.all(), first_record, detail::owned_sink(std::move(sink)));
  }

  /// Gives the guest several batches and polls at once, as `transform_and_poll`.
  template <batch_range R, output_function S>
  [[nodiscard]] result<future> transform_many_and_poll(R&& batches, S& sink, const wasm_waker* waker = nullptr) {
    const detail::slices slices(std::forward<R>(batches));
    const wasm_output_sink raw = detail::borrowed_sink(sink);
    const wasm_transform_many_args args{sizeof(args), slices.all().data(), slices.all().size(), &raw, 0};
    wasm_poll state = WASM_POLL_READY;
    return detail::make<future>([&](wasm_future** out, wasm_error** e) {
      return wasm_engine_transform_many_and_poll(get(), &args, waker, &state, out, e);
    });
  }

  /// Gives the guest records that are in no batch. See `wasm_engine_transform_records`. The array, all that it points
  /// to and `sink` are borrowed until the operation has completed. `record_list` makes such arrays.
  template <output_function S>
  [[nodiscard]] result<future> transform_records(std::span<const wasm_record> records, S& sink,
                                                std::uint32_t first_record = 0) noexcept {
    return begin_records(records, first_record, detail::borrowed_sink(sink));
  }

  /// As above with a sink that the operation owns.
  template <output_function S>
    requires(!std::is_lvalue_reference_v<S>)
  [[nodiscard]] result<future> transform_records(std::span<const wasm_record> records, S&& sink,
                                                std::uint32_t first_record = 0) {
    return begin_records(records, first_record, detail::owned_sink(std::move(sink)));
  }

  /// Gives the guest records and polls at once, as `transform_and_poll`.
  template <output_function S>
  [[nodiscard]] result<future> transform_records_and_poll(std::span<const wasm_record> records, S& sink,
                                                         const wasm_waker* waker = nullptr) noexcept {
    const wasm_output_sink raw = detail::borrowed_sink(sink);
    const wasm_transform_records_args args{sizeof(args), records.data(), records.size(), &raw, 0};
    wasm_poll state = WASM_POLL_READY;
    return detail::make<future>([&](wasm_future** out, wasm_error** e) {
      return wasm_engine_transform_records_and_poll(get(), &args, waker, &state, out, e);
    });
  }

  /// Stops the guest in any state.
  [[nodiscard]] result<future> stop() noexcept {
    return detail::make<future>([&](wasm_future** out, wasm_error** e) { return wasm_engine_stop(get(), out, e); });
  }

  /// Sets what happens from now on when the guest fails. The engine must be stopped. Without a timer no start is tried
  /// again and none waits.
  result<void> set_policy(const policy& p) noexcept { return detail::set_policy(get(), p, nullptr); }

  /// As above with a timer that outlives the engine.
  template <restart_timer T>
    requires(!std::is_const_v<T>)
  result<void> set_policy(const policy& p, T& timer) noexcept {
    const wasm_timer raw{sizeof(raw), &timer, nullptr, detail::timer_now<T>, detail::timer_sleep<T>};
    return detail::set_policy(get(), p, &raw);
  }

  /// As above with a timer that the engine owns.
  template <restart_timer T>
    requires(!std::is_lvalue_reference_v<T>)
  result<void> set_policy(const policy& p, T&& timer) {
    const wasm_timer raw{sizeof(raw), new T(std::move(timer)), [](void* data) { delete static_cast<T*>(data); },
                         detail::timer_now<T>, detail::timer_sleep<T>};
    return detail::set_policy(get(), p, &raw);
  }

  /// The engine's statistics since it was made.
  [[nodiscard]] result<wasm_engine_stats> stats() const noexcept {
    wasm_engine_stats stats{};
    stats.size = sizeof(stats);
    auto got = detail::call([&](wasm_error** e) { return wasm_engine_get_stats(get(), &stats, e); });
    if (!got) {
      return got.err();
    }
    return stats;
  }

  /// How far the last transform has come: the first input record whose output the sink does not have whole. Any time.
  [[nodiscard]] result<wasm_engine_progress> progress() const noexcept {
    wasm_engine_progress progress{sizeof(progress), 0, 0, 0, 0};
    auto got = detail::call([&](wasm_error** e) { return wasm_engine_get_progress(get(), &progress, e); });
    if (!got) {
      return got.err();
    }
    return progress;
  }

  /// Why a start or a transform last failed under a policy, also if the policy continued. None if nothing has failed.
  [[nodiscard]] result<std::optional<error>> last_error() const noexcept {
    wasm_error* last = nullptr;
    auto got = detail::call([&](wasm_error** e) { return wasm_engine_get_last_error(get(), &last, e); });
    if (!got) {
      return got.err();
    }
    return last == nullptr ? std::optional<error>() : std::optional(error(wasm_error_status(last), last));
  }

  /// Starts to profile the guest. Its stack is sampled at this interval of its running time.
  result<void> start_profile(std::chrono::nanoseconds interval = std::chrono::milliseconds(1)) noexcept {
    return detail::call([&](wasm_error** e) {
      return wasm_engine_start_profile(get(), static_cast<std::uint64_t>(interval.count()), e);
    });
  }

  /// Ends the profile and returns it as JSON for Firefox's profiler.
  [[nodiscard]] result<std::string> finish_profile() {
    handle<wasm_bytes, wasm_bytes_release> text;
    auto done = detail::call([&](wasm_error** e) { return wasm_engine_finish_profile(get(), text.out(), e); });
    if (!done) {
      return done.err();
    }
    return std::string(as_text(wasm_bytes_view(text.get())));
  }

  /// Attaches a pointer of the host for its host functions: `host_call::user_data`, `per_engine`, `engine_data`. The
  /// library never dereferences or frees it.
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

  /// Where the engine continues, until it has taken a record, and where its input ends: for the metrics' lag. Cheap.
  result<void> set_end_offset(std::int64_t next_offset, std::int64_t end_offset) noexcept {
    return detail::call(
        [&](wasm_error** e) { return wasm_engine_set_end_offset(get(), next_offset, end_offset, e); });
  }
  /// There is no lag any more.
  result<void> clear_end_offset() noexcept { return set_end_offset(0, -1); }

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(_raw); }
  [[nodiscard]] wasm_engine* get() const noexcept { return _raw.get(); }
  [[nodiscard]] wasm_engine** out() noexcept { return _raw.out(); }

 private:
  [[nodiscard]] result<future> begin(std::span<const std::uint8_t> batch, std::uint32_t first_record,
                                     const wasm_output_sink& sink) noexcept {
    const wasm_transform_args args{sizeof(args), as_slice(batch), &sink, first_record};
    return detail::make<future>(
        [&](wasm_future** out, wasm_error** e) { return wasm_engine_transform(get(), &args, out, e); });
  }

  [[nodiscard]] result<future> begin_many(std::span<const wasm_slice> batches, std::uint32_t first_record,
                                          const wasm_output_sink& sink) noexcept {
    const wasm_transform_many_args args{sizeof(args), batches.data(), batches.size(), &sink, first_record};
    return detail::make<future>(
        [&](wasm_future** out, wasm_error** e) { return wasm_engine_transform_many(get(), &args, out, e); });
  }

  [[nodiscard]] result<future> begin_records(std::span<const wasm_record> records, std::uint32_t first_record,
                                             const wasm_output_sink& sink) noexcept {
    const wasm_transform_records_args args{sizeof(args), records.data(), records.size(), &sink, first_record};
    return detail::make<future>(
        [&](wasm_future** out, wasm_error** e) { return wasm_engine_transform_records(get(), &args, out, e); });
  }

  // A refusal (another thread or one of the engine's own callbacks) leaks the engine. It is an error of the program and
  // a leak is better than a crash.
  static void release(wasm_engine* raw) noexcept { detail::check_release(wasm_engine_release(raw, nullptr), "engine"); }

  handle<wasm_engine, release> _raw;
};

}  // namespace wasmengine
