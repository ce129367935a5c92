// SPDX-License-Identifier: Apache-2.0
//
// How the parameters of host functions are read from Wasm values and the guest's memory.
#pragma once

#include "../sanitizer.hh"
#include "guest_memory.hh"

namespace wasmengine::detail {

// ---- Failing ----

/// Text that is not UTF-8 is written with escapes.
inline std::string escaped(std::string_view text) {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      out += c;
    } else {
      out += {'\\', 'x', digits[byte >> 4U], digits[byte & 15U]};
    }
  }
  return out;
}

inline wasm_callback_result fail(wasm_call* call, std::string_view why) noexcept {
  if (wasm_call_fail(call, as_slice(why), nullptr) == WASM_STATUS_INVALID_UTF8) {
    try {
      (void)wasm_call_fail(call, as_slice(escaped(why)), nullptr);
    } catch (...) {
    }
  }
  return WASM_CALLBACK_RESULT_FAILED;
}

inline void reject(promise& p, std::string_view why) noexcept {
  auto rejected = p.reject(why);
  if (!rejected && rejected.err().status() == WASM_STATUS_INVALID_UTF8) {
    try {
      (void)p.reject(escaped(why));
    } catch (...) {
    }
  }
}

/// Calls `tell` with the text of the exception in progress.
template <typename F>
auto tell_exception(F&& tell) noexcept {
  try {
    throw;
  } catch (const std::exception& e) {
    forget_unwound_frames();
    return tell(std::string_view(e.what()));
  } catch (...) {
    forget_unwound_frames();
    return tell(std::string_view("it threw something that is not a std::exception"));
  }
}

template <typename E>
std::string error_text(const E& e) {
  if constexpr (std::derived_from<E, std::exception>) {
    return e.what();
  } else if constexpr (std::convertible_to<const E&, std::string_view>) {
    return std::string(std::string_view(e));
  } else if constexpr (requires { { e.message() } -> std::convertible_to<std::string>; }) {
    return e.message();
  } else if constexpr (std::is_enum_v<E> || std::is_integral_v<E>) {
    return "error " + std::to_string(static_cast<long long>(e));
  } else {
    return "it failed";
  }
}

// ---- Values ----

template <typename T>
struct representation {
  using type = T;
};
template <typename T>
  requires std::is_enum_v<T>
struct representation<T> {
  using type = std::underlying_type_t<T>;
};

template <guest_scalar T>
constexpr wasm_value_type value_type_of() noexcept {
  if constexpr (std::same_as<T, float>) {
    return WASM_VALUE_TYPE_F32;
  } else if constexpr (std::same_as<T, double>) {
    return WASM_VALUE_TYPE_F64;
  } else {
    return sizeof(T) == 8 ? WASM_VALUE_TYPE_I64 : WASM_VALUE_TYPE_I32;
  }
}

template <guest_scalar T>
wasm_value as_value(T value) noexcept {
  wasm_value out{};
  if constexpr (std::same_as<T, float>) {
    out.f32 = value;
  } else if constexpr (std::same_as<T, double>) {
    out.f64 = value;
  } else if constexpr (sizeof(T) == 8) {
    out.i64 = static_cast<std::int64_t>(value);
  } else {
    out.i32 = static_cast<std::int32_t>(value);
  }
  return out;
}

// ---- Parameters ----

/// A call while its parameters are read.
struct arrival {
  wasm_call* call;

  bool fail(std::size_t argument, std::string_view why) const noexcept {
    try {
      std::string text = "argument " + std::to_string(argument + 1) + ": ";
      detail::fail(call, text.append(why));
    } catch (...) {
    }
    return false;
  }

  /// The range. Null after the call has failed.
  [[nodiscard]] std::uint8_t* lend(std::size_t argument, std::uint32_t address, std::uint64_t size,
                                   std::size_t alignment) const noexcept {
    std::uint8_t* first = nullptr;
    if (address % alignment != 0) [[unlikely]] {
      misaligned(argument, address, alignment);
      return nullptr;
    }
    if (size > std::numeric_limits<std::uint32_t>::max() ||
        wasm_call_memory(call, address, static_cast<std::uint32_t>(size), &first, nullptr) != WASM_STATUS_OK)
        [[unlikely]] {
      outside(argument, address, size);
      return nullptr;
    }
    return first;
  }

 private:
  [[gnu::cold]] void misaligned(std::size_t argument, std::uint32_t address, std::size_t alignment) const noexcept {
    try {
      (void)fail(argument, "the guest gave the address " + std::to_string(address) + ", which is not aligned to " +
                               std::to_string(alignment) + " bytes");
    } catch (...) {
    }
  }

  [[gnu::cold]] void outside(std::size_t argument, std::uint32_t address, std::uint64_t size) const noexcept {
    std::uint8_t* first = nullptr;
    const auto part = static_cast<std::uint32_t>(std::min<std::uint64_t>(size, 0xffff'ffffU));
    auto lent = detail::call([&](wasm_error** e) { return wasm_call_memory(call, address, part, &first, e); });
    try {
      (void)fail(argument, part == size && !lent ? std::string(lent.err().what())
                                                 : "the guest gave a pointer outside of its memory: " +
                                                       std::to_string(size) + " bytes at " + std::to_string(address));
    } catch (...) {
    }
  }
};

/// One argument of one call. It is read from Wasm values, passed to the function and finished after it. `types` are the
/// Wasm values that it is read from. `in_call` says that it ends with the call.
template <typename P>
struct argument {
  static constexpr bool known = false;
};

template <wasm_value_type... Types>
struct wasm_types {
  static constexpr bool known = true;
  static constexpr bool in_call = false;
  static constexpr std::array<wasm_value_type, sizeof...(Types)> types{Types...};
  void finish() const noexcept {}
};

template <guest_scalar P>
struct argument<P> : wasm_types<value_type_of<P>()> {
  P value{};

  bool read(const arrival& from, const wasm_value* args, std::size_t number) noexcept {
    using raw = typename representation<P>::type;
    if constexpr (std::same_as<raw, bool>) {
      value = static_cast<P>(args->i32 != 0);
    } else if constexpr (std::same_as<P, float>) {
      value = args->f32;
    } else if constexpr (std::same_as<P, double>) {
      value = args->f64;
    } else if constexpr (sizeof(raw) == 8) {
      value = static_cast<P>(args->i64);
    } else if constexpr (sizeof(raw) == 4) {
      value = static_cast<P>(args->i32);
    } else {
      const auto narrow = static_cast<raw>(args->i32);
      if (static_cast<std::int32_t>(narrow) != args->i32) [[unlikely]] {
        return refuse(from, args->i32, number);
      }
      value = static_cast<P>(narrow);
    }
    return true;
  }
  P pass() noexcept { return value; }

 private:
  [[gnu::cold]] static bool refuse(const arrival& from, std::int32_t value, std::size_t number) noexcept {
    using raw = typename representation<P>::type;
    try {
      (void)from.fail(number, std::to_string(value) + " does not fit into " +
                                  (std::is_signed_v<raw> ? "a signed" : "an unsigned") + " integer of " +
                                  std::to_string(sizeof(raw) * 8) + " bits");
    } catch (...) {
    }
    return false;
  }
};

using address_and_size = wasm_types<WASM_VALUE_TYPE_I32, WASM_VALUE_TYPE_I32>;
using address_only = wasm_types<WASM_VALUE_TYPE_I32>;

inline std::uint32_t unsigned_of(wasm_value value) noexcept { return static_cast<std::uint32_t>(value.i32); }

template <guest_object T>
struct argument<std::span<T>> : address_and_size {
  static constexpr bool in_call = true;
  std::span<T> value;

  bool read(const arrival& from, const wasm_value* args, std::size_t number) noexcept {
    const std::size_t count = unsigned_of(args[1]);
    auto* first = from.lend(number, unsigned_of(args[0]), std::uint64_t{count} * sizeof(T), alignof(T));
    value = {reinterpret_cast<T*>(first), first == nullptr ? 0 : count};
    return first != nullptr;
  }
  std::span<T> pass() noexcept { return value; }
};

template <guest_object T, std::size_t N>
  requires(N != std::dynamic_extent)
struct argument<std::span<T, N>> : address_only {
  static constexpr bool in_call = true;
  T* first = nullptr;

  bool read(const arrival& from, const wasm_value* args, std::size_t number) noexcept {
    first = reinterpret_cast<T*>(from.lend(number, unsigned_of(*args), std::uint64_t{N} * sizeof(T), alignof(T)));
    return first != nullptr;
  }
  std::span<T, N> pass() noexcept { return std::span<T, N>(first, N); }
};

template <>
struct argument<std::string_view> : address_and_size {
  static constexpr bool in_call = true;
  std::string_view value;

  bool read(const arrival& from, const wasm_value* args, std::size_t number) noexcept {
    const auto* first = from.lend(number, unsigned_of(args[0]), unsigned_of(args[1]), 1);
    value = {reinterpret_cast<const char*>(first), first == nullptr ? 0 : unsigned_of(args[1])};
    return first != nullptr;
  }
  std::string_view pass() noexcept { return value; }
};

template <guest_object T>
  requires std::default_initializable<T> && (!std::is_const_v<T>)
struct argument<std::vector<T>> : address_and_size {
  std::vector<T> value;

  bool read(const arrival& from, const wasm_value* args, std::size_t number) {
    const std::size_t count = unsigned_of(args[1]);
    const auto* first = from.lend(number, unsigned_of(args[0]), std::uint64_t{count} * sizeof(T), 1);
    if (first == nullptr) {
      return false;
    }
    value.resize(count);
    if (count != 0) {
      std::memcpy(value.data(), first, count * sizeof(T));
    }
    return true;
  }
  std::vector<T> pass() noexcept { return std::move(value); }
};

template <>
struct argument<std::string> : address_and_size {
  std::string value;

  bool read(const arrival& from, const wasm_value* args, std::size_t number) {
    const auto* first = from.lend(number, unsigned_of(args[0]), unsigned_of(args[1]), 1);
    if (first == nullptr) {
      return false;
    }
    value.assign(reinterpret_cast<const char*>(first), unsigned_of(args[1]));
    return true;
  }
  std::string pass() noexcept { return std::move(value); }
};

/// Through a copy so that it need not be aligned.
template <guest_object T>
  requires std::default_initializable<std::remove_const_t<T>> && (!std::is_const_v<T> || std::is_class_v<T>)
struct argument<T&> : address_only {
  static constexpr bool in_call = true;
  std::remove_const_t<T> value{};
  std::uint8_t* place = nullptr;

  bool read(const arrival& from, const wasm_value* args, std::size_t number) noexcept {
    place = from.lend(number, unsigned_of(*args), sizeof(T), 1);
    if (place != nullptr) {
      std::memcpy(&value, place, sizeof(T));
    }
    return place != nullptr;
  }
  T& pass() noexcept { return value; }
  void finish() const noexcept {
    if constexpr (!std::is_const_v<T>) {
      std::memcpy(place, &value, sizeof(T));
    }
  }
};

template <typename T>
struct argument<guest_ptr<T>> : address_only {
  guest_ptr<T> value;
  bool read(const arrival&, const wasm_value* args, std::size_t) noexcept {
    value = {unsigned_of(*args)};
    return true;
  }
  guest_ptr<T> pass() noexcept { return value; }
};

template <typename T>
struct argument<guest_span<T>> : address_and_size {
  guest_span<T> value;
  bool read(const arrival&, const wasm_value* args, std::size_t) noexcept {
    value = {unsigned_of(args[0]), unsigned_of(args[1])};
    return true;
  }
  guest_span<T> pass() noexcept { return value; }
};

/// Accessors of the call.
template <typename T>
  requires std::same_as<T, guest_memory> || std::same_as<T, host_call>
struct argument<T&> : wasm_types<> {
  static constexpr bool in_call = true;
  std::optional<T> value;
  bool read(const arrival& from, const wasm_value*, std::size_t) noexcept {
    value.emplace(from.call);
    return true;
  }
  T& pass() noexcept { return *value; }
};

template <typename T>
struct argument<engine_data<T>> : wasm_types<> {
  T* value = nullptr;
  bool read(const arrival& from, const wasm_value*, std::size_t) noexcept {
    value = static_cast<T*>(wasm_call_user_data(from.call));
    return true;
  }
  engine_data<T> pass() noexcept { return engine_data<T>(value); }
};

template <typename R>
struct argument<later<R>> : wasm_types<> {
  promise value;
  bool read(const arrival& from, const wasm_value*, std::size_t) noexcept {
    return wasm_call_promise(from.call, value.out(), nullptr) == WASM_STATUS_OK;
  }
  later<R> pass() noexcept { return later<R>(std::move(value)); }
};

template <typename P>
inline constexpr bool is_later = false;
template <typename R>
inline constexpr bool is_later<later<R>> = true;

}  // namespace wasmengine::detail
