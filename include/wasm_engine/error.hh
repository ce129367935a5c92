// SPDX-License-Identifier: Apache-2.0
//
// Errors and results that have them.
#pragma once

#include "handle.hh"

#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace wasmengine {

/// The position of a record in the batch that was being transformed.
struct record_position {
  std::uint32_t index;
  std::int64_t offset;
};

/// A frame of a guest's call stack.
struct frame {
  std::string_view function;  ///< Empty if the module has no names. Lives as long as the error.
  std::uint32_t index;
  std::string_view file;     ///< Of the source. Empty if that is not known: see `wasm_error_location`.
  std::uint32_t line = 0;    ///< 0 if it is not known.
  std::uint32_t column = 0;  ///< 0 if it is not known.
};

/// An error with its details. Copies share them. Any thread may use it.
class error final : public std::exception {
 public:
  /// Takes over what a C function returned. `raw` may be null if the caller did not ask for details.
  explicit error(wasm_status status, wasm_error* raw = nullptr) noexcept : _status(status) {
    if (raw != nullptr) {
      // The deleter runs even if the control block cannot be allocated.
      try {
        _raw = std::shared_ptr<wasm_error>(raw, wasm_error_release);
      } catch (...) {
      }
    }
  }

  /// An error of the host. A host function returns it to make the guest fail with this text.
  explicit error(std::string why)
      : _status(WASM_STATUS_HOST_FUNCTION_FAILED), _text(std::make_shared<const std::string>(std::move(why))) {}

  /// An error of the C++ layer itself.
  error(wasm_status status, std::string why)
      : _status(status), _text(std::make_shared<const std::string>(std::move(why))) {}

  [[nodiscard]] wasm_status status() const noexcept { return _status; }
  /// Fixed name of the status. For example `guest-trap`.
  [[nodiscard]] const char* status_name() const noexcept { return wasm_status_name(_status); }
  /// What happened, to which transform, at which record and what to do.
  [[nodiscard]] const char* what() const noexcept override {
    if (_text) {
      return _text->c_str();
    }
    return _raw ? wasm_error_message(_raw.get()) : wasm_status_name(_status);
  }
  [[nodiscard]] wasm_trap trap() const noexcept { return info().trap; }
  /// The guest's exit code if it ended by itself.
  [[nodiscard]] std::optional<std::int32_t> exit_code() const noexcept {
    const auto known = info();
    return known.has_exit_code ? std::optional(known.exit_code) : std::nullopt;
  }
  /// The record that the guest was working on if there was one.
  [[nodiscard]] std::optional<record_position> record() const noexcept {
    const auto known = info();
    return known.has_record ? std::optional(record_position{known.record_index, known.record_offset}) : std::nullopt;
  }
  /// Index of the batch in the call that gave several. The batches before it have completed. 0 if there was one.
  [[nodiscard]] std::uint64_t batch() const noexcept { return info().batch_index; }
  /// With `WASM_STATUS_POLICY_THRESHOLD`: the status with which the guest failed last. Otherwise `WASM_STATUS_OK`.
  [[nodiscard]] wasm_status cause() const noexcept { return info().cause; }
  /// The guest's core dump if the runtime's `core_dumps` is set and there is one. Lives as long as the error and its
  /// copies.
  [[nodiscard]] std::optional<std::span<const std::uint8_t>> coredump() const noexcept {
    const auto dump = info().core_dump;
    return dump.size != 0 ? std::optional(as_bytes(dump)) : std::nullopt;
  }
  /// What the guest wrote to standard error last at that record: usually why it ended. See `wasm_error_info`. Lives as
  /// long as the error and its copies.
  [[nodiscard]] std::string_view guest_stderr() const noexcept { return as_text(info().guest_stderr); }
  /// Why a host call returned an error code to the guest last at that record. Empty if none did.
  [[nodiscard]] std::string_view refusal() const noexcept { return as_text(info().refusal); }
  /// Bytes of the guest's memory at its end. 0 if no guest ended.
  [[nodiscard]] std::uint64_t memory_size() const noexcept { return info().memory_size; }
  /// Bytes that the guest's memory was last refused to grow to at that record. 0 if it was not.
  [[nodiscard]] std::uint64_t memory_wanted() const noexcept { return info().memory_wanted; }
  /// The guest's call stack. The innermost frame is the first.
  [[nodiscard]] std::vector<frame> backtrace() const {
    std::vector<frame> frames;
    for (std::size_t i = 0, n = info().frame_count; i < n; ++i) {
      wasm_frame raw{};
      if (wasm_error_frame(_raw.get(), i, &raw) == WASM_STATUS_OK) {
        wasm_location place{};
        place.size = sizeof(place);
        (void)wasm_error_location(_raw.get(), i, &place);
        frames.push_back({as_text(raw.function), raw.function_index, as_text(place.file), place.line, place.column});
      }
    }
    return frames;
  }

 private:
  /// All zero if there is only a status.
  [[nodiscard]] wasm_error_info info() const noexcept {
    wasm_error_info known{};
    known.size = sizeof(known);
    (void)wasm_error_get_info(_raw.get(), &known);
    return known;
  }

  wasm_status _status;
  std::shared_ptr<wasm_error> _raw;
  std::shared_ptr<const std::string> _text;
};

/// A value or an error. Like C++23's std::expected as far as it is needed here.
template <typename T>
class [[nodiscard]] result {
 public:
  result(T value) noexcept : _state(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit on purpose
  result(error e) noexcept : _state(std::in_place_index<1>, std::move(e)) {}      // NOLINT

  [[nodiscard]] bool has_value() const noexcept { return _state.index() == 0; }
  [[nodiscard]] explicit operator bool() const noexcept { return has_value(); }

  /// The value. Throws the error if there is none.
  [[nodiscard]] T& value() & {
    check();
    return std::get<0>(_state);
  }
  [[nodiscard]] T value() && {
    check();
    return std::get<0>(std::move(_state));
  }
  /// The error. Only if there is no value.
  [[nodiscard]] const error& err() const noexcept { return *std::get_if<1>(&_state); }

  [[nodiscard]] const T& value() const& {
    check();
    return std::get<0>(_state);
  }
  [[nodiscard]] const T& operator*() const noexcept { return *std::get_if<0>(&_state); }
  [[nodiscard]] const T* operator->() const noexcept { return std::get_if<0>(&_state); }
  [[nodiscard]] T& operator*() noexcept { return *std::get_if<0>(&_state); }
  [[nodiscard]] T* operator->() noexcept { return std::get_if<0>(&_state); }

 private:
  void check() const {
    if (!has_value()) {
      throw err();
    }
  }
  std::variant<T, error> _state;
};

/// Success or an error.
template <>
class [[nodiscard]] result<void> {
 public:
  result() noexcept = default;
  result(error e) noexcept : _error(std::move(e)) {}  // NOLINT: implicit on purpose

  [[nodiscard]] bool has_value() const noexcept { return !_error.has_value(); }
  [[nodiscard]] explicit operator bool() const noexcept { return has_value(); }
  /// Throws the error if there is one.
  void value() const {
    if (_error) {
      throw *_error;
    }
  }
  /// The error. Only if there is one.
  [[nodiscard]] const error& err() const noexcept { return *_error; }

 private:
  std::optional<error> _error;
};

namespace detail {

/// Calls a C function with an `error` out-parameter last.
template <typename F>
[[nodiscard]] result<void> call(F&& function) noexcept {
  wasm_error* raw = nullptr;
  const wasm_status status = function(&raw);
  if (status == WASM_STATUS_OK) {
    return {};
  }
  return error(status, raw);
}

/// Calls a C function that makes a handle.
template <typename Owner, typename F>
[[nodiscard]] result<Owner> make(F&& function) noexcept {
  Owner owner;
  auto made = call([&](wasm_error** e) { return function(owner.out(), e); });
  if (!made) {
    return made.err();
  }
  return owner;
}

}  // namespace detail

}  // namespace wasmengine
