// SPDX-License-Identifier: Apache-2.0
//
// The guest's memory, the current call and the types that C++ host functions take and return beside plain values.
#pragma once

#include "../coroutine.hh"
#include "../runtime.hh"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace wasmengine {

static_assert(std::endian::native == std::endian::little, "a guest's memory is little-endian");

namespace detail {
/// Trivially copyable classes that hold addresses of the host's memory. Other classes cannot be recognized.
template <typename T>
inline constexpr bool holds_pointer = std::is_pointer_v<T> || std::is_member_pointer_v<T>;
template <typename T, std::size_t N>
inline constexpr bool holds_pointer<std::span<T, N>> = true;
template <typename C, typename Traits>
inline constexpr bool holds_pointer<std::basic_string_view<C, Traits>> = true;
template <typename T>
inline constexpr bool holds_pointer<std::reference_wrapper<T>> = true;
template <typename T>
inline constexpr bool holds_pointer<std::coroutine_handle<T>> = true;
}  // namespace detail

/// What can be in a guest's memory and be used there in place.
template <typename T>
concept guest_object =
    std::is_object_v<T> && std::is_trivially_copyable_v<std::remove_cv_t<T>> &&
    !detail::holds_pointer<std::remove_cv_t<std::remove_all_extents_t<T>>> && !std::same_as<std::remove_cv_t<T>, bool>;

/// What is one Wasm value.
template <typename T>
concept guest_scalar = (std::is_integral_v<T> || std::is_enum_v<T> || std::same_as<T, float> ||
                        std::same_as<T, double>) && sizeof(T) <= 8 && !std::is_const_v<T>;

/// An address in a guest's memory. Not validated yet.
template <guest_object T>
struct guest_ptr {
  std::uint32_t address = 0;
};

/// A range of a guest's memory. Not validated yet.
template <guest_object T>
struct guest_span {
  std::uint32_t address = 0;
  std::uint32_t size = 0;  ///< Number of elements.
};

/// The memory of the guest that is calling. When the host function returns, everything fails and the views end.
class guest_memory {
 public:
  explicit guest_memory(wasm_call* call) noexcept : _call(call) {}

  /// A range of bytes.
  [[nodiscard]] result<std::span<std::uint8_t>> bytes(std::uint32_t address, std::uint64_t size) {
    if (size > std::numeric_limits<std::uint32_t>::max()) {
      return error("the guest gave a range of more than 4 GiB");
    }
    std::uint8_t* first = nullptr;
    auto lent = detail::call([&](wasm_error** e) {
      return wasm_call_memory(_call, address, static_cast<std::uint32_t>(size), &first, e);
    });
    if (!lent) {
      return lent.err();
    }
    return std::span(first, static_cast<std::size_t>(size));
  }

  /// Elements in place. An address that is not aligned is an error.
  template <typename T>
  [[nodiscard]] result<std::span<T>> view(guest_span<T> range) {
    if (range.address % alignof(T) != 0) {
      return error("the guest gave an address that is not aligned to " + std::to_string(alignof(T)) + " bytes");
    }
    auto found = bytes(range.address, std::uint64_t{range.size} * sizeof(T));
    if (!found) {
      return found.err();
    }
    return std::span(reinterpret_cast<T*>(found->data()), range.size);
  }

  [[nodiscard]] result<std::string_view> text(std::uint32_t address, std::uint32_t size) {
    auto found = bytes(address, size);
    if (!found) {
      return found.err();
    }
    return std::string_view(reinterpret_cast<const char*>(found->data()), size);
  }

  /// A copy of an object, whether aligned or not.
  template <typename T>
    requires std::default_initializable<T>
  [[nodiscard]] result<T> read(guest_ptr<T> from) {
    auto found = bytes(from.address, sizeof(T));
    if (!found) {
      return found.err();
    }
    T value{};
    std::memcpy(&value, found->data(), sizeof(T));
    return value;
  }

  /// Writes an object, whether aligned or not.
  template <typename T>
  result<void> write(guest_ptr<T> to, const std::type_identity_t<T>& value) {
    auto found = bytes(to.address, sizeof(T));
    if (!found) {
      return found.err();
    }
    std::memcpy(found->data(), &value, sizeof(T));
    return {};
  }

  /// Writes as many elements as fit into `to`, whether aligned or not. Returns their number.
  template <typename T>
  result<std::uint32_t> write(guest_span<T> to, std::span<const std::type_identity_t<T>> values) {
    const std::size_t count = std::min<std::size_t>(to.size, values.size());
    auto found = bytes(to.address, std::uint64_t{count} * sizeof(T));
    if (!found) {
      return found.err();
    }
    if (count != 0) {
      std::memcpy(found->data(), values.data(), count * sizeof(T));
    }
    return static_cast<std::uint32_t>(count);
  }

 private:
  wasm_call* _call;
};

/// The call that a host function is in. Ends when the function returns.
class host_call {
 public:
  explicit host_call(wasm_call* raw) noexcept : _raw(raw) {}

  [[nodiscard]] guest_memory memory() const noexcept { return guest_memory(_raw); }
  /// The engine whose guest is calling.
  [[nodiscard]] wasm_engine* engine() const noexcept { return wasm_call_engine(_raw); }
  /// The pointer that was given to `engine::set_user_data`. It must have been a `T*`.
  template <typename T>
  [[nodiscard]] T* user_data() const noexcept {
    return static_cast<T*>(wasm_call_user_data(_raw));
  }
  [[nodiscard]] wasm_call* get() const noexcept { return _raw; }

 private:
  wasm_call* _raw;
};

/// The pointer that was given to `engine::set_user_data`. It must have been a `T*`. May be null.
template <typename T>
class engine_data {
 public:
  explicit engine_data(T* data) noexcept : _data(data) {}
  [[nodiscard]] T* get() const noexcept { return _data; }
  [[nodiscard]] T& operator*() const noexcept { return *_data; }
  [[nodiscard]] T* operator->() const noexcept { return _data; }
  [[nodiscard]] explicit operator bool() const noexcept { return _data != nullptr; }

 private:
  T* _data;
};

/// Instead of the object of a member function: the calling engine's user data is the object.
struct per_engine_t {};
inline constexpr per_engine_t per_engine{};

/// The return value of an asynchronous function that finishes with the guest's memory. `finish` runs on the engine's
/// thread when the guest continues and returns the result. If the guest is gone, it is dropped without a call.
template <typename R>
struct with_memory {
  using value_type = R;
  std::function<R(guest_memory&)> finish;
};

/// How host functions wait for a type of future that they cannot simply await. Adapters specialize it.
///
///   using value_type = …;
///     The type of its value or void.
///   template <typename Done> static void then(F future, Done done);
///     Calls done.finish(get) once on any thread. `get` returns the value or throws. `Done` can be moved.
template <typename F>
struct async_traits;

template <typename R>
class later;

}  // namespace wasmengine
