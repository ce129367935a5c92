// SPDX-License-Identifier: Apache-2.0
//
// Functions of the host's that guests call: a C++ function's type is read at compile time, and becomes the type that the
// guest imports.
//
//   wasmengine::host_module geo("geo");
//   geo.add<&geo_database::country>("country", database);   // a member function
//   geo.add<&distance>("distance");                         // a function
//   geo.add("now", [] { return now_in_milliseconds(); });   // a lambda
//   runtime.add(geo).value();
//
// What a C++ parameter is in the guest; other types do not compile:
//
//   bool                                 i32; anything but 0 is true
//   integers and enums up to 32 bits     i32; a value that does not fit is a trap
//   integers and enums of 64 bits        i64
//   float, double                        f32, f64
//   std::span<T>, std::span<const T>     i32 address, i32 number of elements      } of the guest's memory itself, while
//   std::span<T, N>                      i32 address                              } the function runs; a misaligned
//   std::string_view                     i32 address, i32 number of bytes         } address is a trap
//   T&                                   i32 address: read before the call, written back after it, if it succeeds
//   const T&, T a class                  i32 address
//   std::vector<T>, std::string          as span and string_view, but copied
//   guest_ptr<T>, guest_span<T>          i32 address, and i32 number of elements: for guest_memory
//   guest_memory&, host_call&            nothing: access to the guest's memory, and to the call
//   engine_data<T>                       nothing: the pointer of `engine::set_user_data`
//   later<R>                             nothing: the answer R comes later; the function returns void
//
// In memory T is trivially copyable, no pointer and no bool. Ranges outside of the guest's memory are traps.
//
// What it returns: void, a bool, number or enum, a std::tuple of those for several results, or result<R> (or whatever has
// has_value(), operator*, and err() or error()), whose error becomes a trap. What it throws becomes a trap with what().
//
// It is asynchronous, so that the guest may be suspended in it, if it has a parameter `later<R>`, or returns `task<R>`,
// or anything else that can be awaited, or that `async_traits` knows. Such a coroutine runs to its end also when its
// guest is gone meanwhile, so it must not have views of the guest's memory: `std::string` and `std::vector` instead of
// `std::string_view`, `std::span` and references. To write to the guest's memory at the end it takes a `guest_ptr` or
// `guest_span` and gives a `with_memory<R>`. Everything else that it needs is the host's care, except for the function
// object, if it is a lambda, or what a std::shared_ptr to the object holds: that lives until the coroutine ends.
//
// Functions are called on the threads of engines, on several at once if there are, so a lambda must be const; and on the
// guests' stacks: see `host_stack_size`. They must not block.
#pragma once

#include "coroutine.hh"
#include "runtime.hh"

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
/// Trivially copyable classes that hold addresses of the host's memory. Nobody can tell for other people's classes.
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

/// What can lie in a guest's memory and be used there as it is.
template <typename T>
concept guest_object =
    std::is_object_v<T> && std::is_trivially_copyable_v<std::remove_cv_t<T>> &&
    !detail::holds_pointer<std::remove_cv_t<std::remove_all_extents_t<T>>> && !std::same_as<std::remove_cv_t<T>, bool>;

/// What is one Wasm value.
template <typename T>
concept guest_scalar = (std::is_integral_v<T> || std::is_enum_v<T> || std::same_as<T, float> ||
                        std::same_as<T, double>) && sizeof(T) <= 8 && !std::is_const_v<T>;

/// An address in a guest's memory, which was not looked at yet.
template <guest_object T>
struct guest_ptr {
  std::uint32_t address = 0;
};

/// A range of a guest's memory, which was not looked at yet.
template <guest_object T>
struct guest_span {
  std::uint32_t address = 0;
  std::uint32_t size = 0;  ///< Number of elements.
};

/// The memory of the guest that is calling. Everything fails, and the views end, when the host function returns.
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

  /// Elements in place; an address that is not aligned is an error.
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

  /// A copy of an object, aligned or not.
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

  /// Writes an object, aligned or not.
  template <typename T>
  result<void> write(guest_ptr<T> to, const std::type_identity_t<T>& value) {
    auto found = bytes(to.address, sizeof(T));
    if (!found) {
      return found.err();
    }
    std::memcpy(found->data(), &value, sizeof(T));
    return {};
  }

  /// Writes as many elements as fit into `to`, aligned or not; gives their number.
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

/// The call that a host function is in; ends when the function returns.
class host_call {
 public:
  explicit host_call(wasm_call* raw) noexcept : _raw(raw) {}

  [[nodiscard]] guest_memory memory() const noexcept { return guest_memory(_raw); }
  /// The engine whose guest is calling.
  [[nodiscard]] wasm_engine* engine() const noexcept { return wasm_call_engine(_raw); }
  /// What was given to `engine::set_user_data`, which must have been a `T*`.
  template <typename T>
  [[nodiscard]] T* user_data() const noexcept {
    return static_cast<T*>(wasm_call_user_data(_raw));
  }
  [[nodiscard]] wasm_call* get() const noexcept { return _raw; }

 private:
  wasm_call* _raw;
};

/// The pointer that was given to `engine::set_user_data`, which must have been a `T*`; may be null.
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

/// The answer of an asynchronous function that finishes with the guest's memory at hand: `finish` runs on the engine's
/// thread when the guest goes on, and gives the result. It is dropped uncalled if the guest is gone.
template <typename R>
struct with_memory {
  using value_type = R;
  std::function<R(guest_memory&)> finish;
};

/// How host functions wait for a type of future that they cannot simply await; adapters specialize it.
///
///   using value_type = …;                                   what it gives, or void
///   template <typename Done> static void then(F future, Done done);   calls done.finish(get) once, on any thread, with a
///                                                            function that gives the value or throws. `Done` can be moved.
template <typename F>
struct async_traits;

template <typename R>
class later;

namespace detail {

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

inline wasm_answer fail(wasm_call* call, std::string_view why) noexcept {
  if (wasm_call_fail(call, as_slice(why), nullptr) == WASM_STATUS_INVALID_UTF8) {
    try {
      (void)wasm_call_fail(call, as_slice(escaped(why)), nullptr);
    } catch (...) {
    }
  }
  return WASM_ANSWER_FAILED;
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

/// Calls `tell` with the text of the exception that is being handled.
template <typename F>
auto tell_exception(F&& tell) noexcept {
  try {
    throw;
  } catch (const std::exception& e) {
    return tell(std::string_view(e.what()));
  } catch (...) {
    return tell(std::string_view("it threw something that is no std::exception"));
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
constexpr std::uint32_t value_type_of() noexcept {
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

/// A call on its way through the parameters.
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

  /// The range, or null after the call has failed.
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

/// One argument of one call: read from Wasm values, passed to the function, finished after it. `types` are the values that
/// it is read from; `in_call` says that it ends with the call.
template <typename P>
struct argument {
  static constexpr bool known = false;
};

template <std::uint32_t... Types>
struct wasm_types {
  static constexpr bool known = true;
  static constexpr bool in_call = false;
  static constexpr std::array<std::uint32_t, sizeof...(Types)> types{Types...};
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

/// Through a copy, so that it need not be aligned.
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

// ---- Answers ----

/// How a type of answer becomes results. `plain` ones need no more than `store`.
template <typename R>
struct answer {
  static constexpr bool known = false;
};

template <std::uint32_t... Types>
struct answer_types {
  static constexpr bool known = true;
  static constexpr bool plain = true;
  static constexpr std::array<std::uint32_t, sizeof...(Types)> types{Types...};
};

template <>
struct answer<void> : answer_types<> {};

template <guest_scalar R>
struct answer<R> : answer_types<value_type_of<R>()> {
  static void store(R value, wasm_value* results) noexcept { *results = as_value(value); }
};

template <guest_scalar... R>
struct answer<std::tuple<R...>> : answer_types<value_type_of<R>()...> {
  static void store(const std::tuple<R...>& values, wasm_value* results) noexcept {
    std::apply([&](const R&... each) { ((*results++ = as_value(each)), ...); }, values);
  }
};

/// A type's value and error, if it is like std::expected.
template <typename R>
concept expected_like = !guest_scalar<R> && requires(R& r) {
  { r.has_value() } -> std::convertible_to<bool>;
  *r;
} && (requires(R& r) { r.err(); } || requires(R& r) { r.error(); });

template <typename R>
struct expected_value {
  using type = std::remove_cvref_t<decltype(*std::declval<R&>())>;
};
template <>
struct expected_value<result<void>> {
  using type = void;
};

template <typename R>
  requires std::same_as<R, result<void>> || expected_like<R>
struct answer<R> : answer<typename expected_value<R>::type> {
  static constexpr bool plain = false;
};

template <typename R>
struct answer<with_memory<R>> : answer<R> {
  static constexpr bool plain = false;
};

template <typename R>
inline constexpr bool is_with_memory = false;
template <typename R>
inline constexpr bool is_with_memory<with_memory<R>> = true;

template <typename R>
std::string why_not(const R& failed) {
  if constexpr (requires { failed.err(); }) {
    return error_text(failed.err());
  } else {
    return error_text(failed.error());
  }
}

/// Calls `function`, and answers with what it returns.
template <typename R, typename F>
wasm_answer answer_with(wasm_call* call, wasm_value* results, F&& function) {
  if constexpr (std::is_void_v<R>) {
    std::forward<F>(function)();
    return WASM_ANSWER_DONE;
  } else {
    R value = std::forward<F>(function)();
    if constexpr (answer<R>::plain) {
      answer<R>::store(std::move(value), results);
      return WASM_ANSWER_DONE;
    } else if constexpr (is_with_memory<R>) {
      guest_memory memory(call);
      return answer_with<typename R::value_type>(call, results, [&] { return value.finish(memory); });
    } else {
      if (!value.has_value()) {
        return fail(call, why_not(value));
      }
      using inner = typename expected_value<R>::type;
      if constexpr (std::is_void_v<inner>) {
        return WASM_ANSWER_DONE;
      } else {
        return answer_with<inner>(call, results, [&]() -> inner { return std::move(*value); });
      }
    }
  }
}

/// Calls `function`, and settles a promise with what it returns.
template <typename R, typename F>
result<void> settle_with(promise& p, F&& function) {
  if constexpr (std::is_void_v<R>) {
    std::forward<F>(function)();
    return p.resolve(std::span<const wasm_value>());
  } else {
    R value = std::forward<F>(function)();
    if constexpr (answer<R>::plain) {
      std::array<wasm_value, answer<R>::types.size()> results;
      answer<R>::store(std::move(value), results.data());
      return p.resolve(std::span<const wasm_value>(results));
    } else if constexpr (is_with_memory<R>) {
      return p.resolve_with(
          [finish = std::move(value.finish)](wasm_call* call, wasm_value* results) mutable noexcept -> wasm_answer {
            try {
              guest_memory memory(call);
              return answer_with<typename R::value_type>(call, results, [&] { return finish(memory); });
            } catch (...) {
              return tell_exception([&](std::string_view why) { return fail(call, why); });
            }
          });
    } else {
      if (!value.has_value()) {
        return p.reject(why_not(value));
      }
      using inner = typename expected_value<R>::type;
      if constexpr (std::is_void_v<inner>) {
        return p.resolve(std::span<const wasm_value>());
      } else {
        return settle_with<inner>(p, [&]() -> inner { return std::move(*value); });
      }
    }
  }
}

}  // namespace detail

/// A parameter that a host function can have.
template <typename P>
concept host_parameter = detail::argument<P>::known;

/// What a host function can answer, at once or later.
template <typename R>
concept host_answer = detail::answer<R>::known;

/// The answer of a host function that takes one of these instead of returning something. Settle it once, on any thread, now
/// or later; dropped unsettled it makes the guest fail.
template <typename R = void>
class later {
 public:
  using value_type = R;
  explicit later(promise p) noexcept : _promise(std::move(p)) {}

  /// Answers with a value, or with a `result`, whose error makes the guest fail.
  template <typename V>
    requires host_answer<V> && (std::convertible_to<V, R> || !std::is_void_v<R>)
  result<void> resolve(V value) {
    if constexpr (detail::answer<V>::plain && !std::same_as<V, R>) {
      return detail::settle_with<R>(_promise, [&]() -> R { return static_cast<R>(std::move(value)); });
    } else {
      static_assert(detail::answer<V>::types == detail::answer<R>::types, "this answer has other Wasm types");
      return detail::settle_with<V>(_promise, [&]() -> V { return std::move(value); });
    }
  }
  result<void> resolve()
    requires std::is_void_v<R>
  {
    return _promise.resolve(std::span<const wasm_value>());
  }
  /// Answers with what `finish(guest_memory&)` gives when it runs on the engine's thread.
  template <std::invocable<guest_memory&> F>
  result<void> resolve_with(F finish) {
    return resolve_memory(with_memory<R>{std::move(finish)});
  }
  /// Makes the guest fail.
  result<void> reject(std::string_view why) noexcept { return _promise.reject(why); }

 private:
  result<void> resolve_memory(with_memory<R> answer) {
    return detail::settle_with<with_memory<R>>(_promise, [&] { return std::move(answer); });
  }

  promise _promise;
};

namespace detail {

// ---- Futures ----

template <typename A>
concept awaiter = requires(A& a, std::coroutine_handle<> h) {
  { a.await_ready() } -> std::convertible_to<bool>;
  a.await_suspend(h);
  a.await_resume();
};

template <typename A>
concept member_awaitable = requires(A&& a) { { static_cast<A&&>(a).operator co_await() } -> awaiter; };
template <typename A>
concept free_awaitable = requires(A&& a) { { operator co_await(static_cast<A&&>(a)) } -> awaiter; };

template <typename A>
struct awaited;
template <member_awaitable A>
struct awaited<A> {
  using type = decltype(std::declval<A&&>().operator co_await().await_resume());
};
template <typename A>
  requires(!member_awaitable<A> && free_awaitable<A>)
struct awaited<A> {
  using type = decltype(operator co_await(std::declval<A&&>()).await_resume());
};
template <typename A>
  requires(!member_awaitable<A> && !free_awaitable<A> && awaiter<A>)
struct awaited<A> {
  using type = decltype(std::declval<A&>().await_resume());
};

template <typename F>
concept known_future = requires { typename async_traits<F>::value_type; };

template <typename F>
concept plain_awaitable = !known_future<F> && std::is_class_v<F> && requires { typename awaited<F>::type; };

template <typename R>
struct async_value {
  static constexpr bool asynchronous = false;
  using type = R;
};
template <known_future R>
struct async_value<R> {
  static constexpr bool asynchronous = true;
  using type = typename async_traits<R>::value_type;
};
template <plain_awaitable R>
struct async_value<R> {
  static constexpr bool asynchronous = true;
  using type = std::remove_cvref_t<typename awaited<R>::type>;
};

template <typename A, typename V>
task<V> awaited_task(A awaitable) {
  co_return co_await std::move(awaitable);
}

// ---- Function objects ----

/// What is registered: counted, because a runtime, and coroutines that outlive it, hold it.
class shared_function {
 public:
  shared_function() noexcept = default;
  shared_function(const shared_function&) = delete;
  void keep() noexcept { _references.fetch_add(1, std::memory_order_relaxed); }
  void give_up() noexcept {
    if (_references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      delete this;
    }
  }

 protected:
  virtual ~shared_function() = default;

 private:
  std::atomic<std::uint32_t> _references{1};
};

struct give_up {
  void operator()(shared_function* f) const noexcept { f->give_up(); }
};
template <typename B>
using kept = std::unique_ptr<B, give_up>;

/// `F` is called with the raw call first.
template <typename F>
class bound_function final : public shared_function {
 public:
  explicit bound_function(F f) : function(std::move(f)) {}
  const F function;
};

template <typename F>
struct plain_call {
  F function;
  template <typename... A>
  decltype(auto) operator()(wasm_call*, A&&... args) const {
    return std::invoke(function, std::forward<A>(args)...);
  }
};

template <auto Function>
struct static_call {
  template <typename... A>
  decltype(auto) operator()(wasm_call*, A&&... args) const {
    return std::invoke(Function, std::forward<A>(args)...);
  }
};

/// `P` is a pointer to the object, smart or not.
template <auto Function, typename P>
struct member_call {
  P object;
  template <typename... A>
  decltype(auto) operator()(wasm_call*, A&&... args) const {
    return std::invoke(Function, *object, std::forward<A>(args)...);
  }
};

template <auto Function, typename T>
struct engine_member_call {
  template <typename... A>
  decltype(auto) operator()(wasm_call* call, A&&... args) const {
    auto* object = static_cast<T*>(wasm_call_user_data(call));
    if (object == nullptr) {
      throw std::logic_error("the engine has no user data, which should be the object of this function");
    }
    return std::invoke(Function, *object, std::forward<A>(args)...);
  }
};

template <typename R, typename C, typename... P>
struct signature_of {
  using answer_type = R;
  using object_type = C;
};

template <typename F>
struct signature;
template <typename R, typename... P>
struct signature<R (*)(P...)> : signature_of<R, void, P...> {
  using type = R(P...);
};
template <typename R, typename... P>
struct signature<R (*)(P...) noexcept> : signature<R (*)(P...)> {};
template <typename R, typename C, typename... P>
struct signature<R (C::*)(P...)> : signature_of<R, C, P...> {
  using type = R(P...);
};
template <typename R, typename C, typename... P>
struct signature<R (C::*)(P...) const> : signature_of<R, const C, P...> {
  using type = R(P...);
};
template <typename R, typename C, typename... P>
struct signature<R (C::*)(P...) noexcept> : signature<R (C::*)(P...)> {};
template <typename R, typename C, typename... P>
struct signature<R (C::*)(P...) const noexcept> : signature<R (C::*)(P...) const> {};
/// Of a lambda, or of another object with one operator().
template <typename F>
  requires requires { &F::operator(); }
struct signature<F> : signature<decltype(&F::operator())> {};

// ---- Calls ----

/// What a future's adapter calls at the future's end; if it is dropped instead, the call fails.
template <typename C>
class done_once {
 public:
  explicit done_once(C* whom) noexcept : _whom(whom) {}
  template <typename G>
  void finish(G get) noexcept {
    _whom.release()->finish(std::move(get));
  }

 private:
  struct dropped {
    void operator()(C* whom) const noexcept {
      whom->finish([]() -> typename C::value_type { throw std::runtime_error("its future was dropped"); });
    }
  };
  std::unique_ptr<C, dropped> _whom;
};

/// An asynchronous call that is not over. Owned by whoever comes second: the call that began it, or the future's end.
template <typename V, typename F>
class going_on {
 public:
  using value_type = V;

  going_on(shared_function* function, F future) : _function(function), _future(std::move(future)) { function->keep(); }
  going_on(const going_on&) = delete;

  /// Begins; gives the answer if it is there already.
  wasm_answer begin(wasm_call* call, wasm_value* results) {
    listen();
    if (_over.load(std::memory_order_acquire)) {
      return at_once(call, results);
    }
    if (wasm_call_promise(call, _promise.out(), nullptr) != WASM_STATUS_OK) {
      return leave(WASM_ANSWER_FAILED, call, results);
    }
    return leave(WASM_ANSWER_PENDING, call, results);
  }

  /// The future is over; `get` gives its value or throws.
  template <typename G>
  void finish(G get) noexcept {
    try {
      if constexpr (std::is_void_v<V>) {
        get();
        _value.emplace();
      } else {
        _value.emplace(get());
      }
    } catch (...) {
      _thrown = std::current_exception();
    }
    finished();
  }

  void finished() noexcept {
    if (_over.exchange(true, std::memory_order_acq_rel)) {
      // The call has left: `_promise` is there, unless it could not be taken.
      if (_promise) {
        settle();
      }
      delete this;
    }
  }

 private:
  struct nothing {};

  void listen() {
    if constexpr (std::same_as<F, task<V>>) {
      _future.run(
          [](void* data) noexcept {
            auto* me = static_cast<going_on*>(data);
            me->finish([me] { return me->_future.take(); });
          },
          this);
    } else {
      async_traits<F>::then(std::move(_future), done_once<going_on>(this));
    }
  }

  /// The call is about to return; the other side is told, unless it was faster.
  wasm_answer leave(wasm_answer otherwise, wasm_call* call, wasm_value* results) {
    return _over.exchange(true, std::memory_order_acq_rel) ? at_once(call, results) : otherwise;
  }

  V take() {
    if (_thrown) {
      std::rethrow_exception(_thrown);
    }
    if constexpr (!std::is_void_v<V>) {
      return std::move(*_value);
    }
  }

  wasm_answer at_once(wasm_call* call, wasm_value* results) {
    const std::unique_ptr<going_on> over(this);
    return answer_with<V>(call, results, [this]() -> V { return take(); });
  }

  void settle() noexcept {
    try {
      auto settled = settle_with<V>(_promise, [this]() -> V { return take(); });
      if (!settled && settled.err().status() == WASM_STATUS_INVALID_UTF8) {
        reject(_promise, "it failed, with a text that is not UTF-8");
      }
    } catch (...) {
      tell_exception([this](std::string_view why) { reject(_promise, why); });
    }
  }

  kept<shared_function> _function;
  F _future;
  promise _promise;
  /// Set by whoever comes first.
  std::atomic<bool> _over{false};
  std::conditional_t<std::is_void_v<V>, std::optional<nothing>, std::optional<V>> _value;
  std::exception_ptr _thrown;
};

/// The value of the parameter `later<V>`, if there is one.
template <typename Otherwise, typename... P>
struct later_value {
  using type = Otherwise;
};
template <typename Otherwise, typename First, typename... P>
struct later_value<Otherwise, First, P...> : later_value<Otherwise, P...> {};
template <typename Otherwise, typename V, typename... P>
struct later_value<Otherwise, later<V>, P...> {
  using type = V;
};

template <typename Signature>
struct host_signature;

template <typename R, typename... P>
struct host_signature<R(P...)> {
  static constexpr bool takes_later = (is_later<P> || ...);
  static constexpr bool awaits = async_value<R>::asynchronous;
  static constexpr bool may_wait = takes_later || awaits;

  static constexpr bool parameters_known = (host_parameter<P> && ...);
  /// What the guest gets in the end.
  using final_type = typename later_value<typename async_value<R>::type, P...>::type;

  static consteval bool no_views() {
    if constexpr (awaits && parameters_known) {
      return (!argument<P>::in_call && ...);
    } else {
      return true;
    }
  }

  static constexpr bool later_fits = !takes_later || (std::is_void_v<R> && (std::size_t{is_later<P>} + ... + 0) == 1);

  /// All of the above, for tests and for those who must know without an error.
  static consteval bool fits() {
    if constexpr (parameters_known && host_answer<final_type>) {
      return later_fits && no_views() && (argument<P>::types.size() + ... + 0) <= 32 &&
             answer<final_type>::types.size() <= 16;
    } else {
      return false;
    }
  }

  template <typename T>
  static consteval void check_parameter() {
    static_assert(!std::is_pointer_v<T>,
                  "a host function cannot take a pointer: take std::span<T>, std::string_view, T&, or guest_ptr<T>");
    static_assert(!std::is_rvalue_reference_v<T>, "a host function cannot take an rvalue reference");
    static_assert(!(std::is_lvalue_reference_v<T> && std::is_const_v<std::remove_reference_t<T>> &&
                    !std::is_class_v<std::remove_cvref_t<T>>),
                  "a host function takes numbers by value, not by const reference; T& is an address in the guest");
    static_assert(std::is_pointer_v<T> || std::is_reference_v<T> || host_parameter<T>,
                  "a host function cannot take this type: the table at the top of wasm_engine/host.hh has those that it can");
    static_assert(!std::is_lvalue_reference_v<T> || host_parameter<T> ||
                      (std::is_const_v<std::remove_reference_t<T>> && !std::is_class_v<std::remove_cvref_t<T>>),
                  "a host function can refer to trivially copyable, default-constructible objects other than bool, "
                  "pointers and views, which are taken by value, and to guest_memory and host_call");
  }

  /// Says in words what does not fit.
  static consteval void check() {
    (check_parameter<P>(), ...);
    static_assert(host_answer<final_type>,
                  "a host function cannot answer with this type: void, bool, numbers, enums, std::tuple of those, and "
                  "result<R>, with_memory<R>; later by task<R>, another awaitable, or a parameter later<R>");
    static_assert(later_fits, "a host function that takes later<R> takes one, and returns void");
    static_assert(no_views(),
                  "a host function that returns a task or future cannot take views of the guest's memory, which may be "
                  "gone when it goes on: take std::string, std::vector<T>, guest_ptr<T> or guest_span<T>, and give "
                  "with_memory<R> to write");
    if constexpr (parameters_known) {
      static_assert((argument<P>::types.size() + ... + 0) <= 32, "a host function has at most 32 Wasm parameters");
    }
  }

  static constexpr auto params() {
    std::array<std::uint32_t, (argument<P>::types.size() + ... + 0)> all{};
    std::size_t n = 0;
    [[maybe_unused]] const auto add = [&](const auto& types) {
      for (const auto type : types) {
        all[n++] = type;
      }
    };
    (add(argument<P>::types), ...);
    return all;
  }

  /// Where the values of argument `I` begin.
  template <std::size_t I>
  static consteval std::size_t begin_of() {
    constexpr std::array<std::size_t, sizeof...(P) + 1> sizes{argument<P>::types.size()...};
    std::size_t n = 0;
    for (std::size_t i = 0; i < I; ++i) {
      n += sizes[i];
    }
    return n;
  }

  /// What the library calls.
  template <typename F>
  static std::uint32_t call(void* data, wasm_call* raw, const wasm_value* args, wasm_value* results) noexcept {
    auto* bound = static_cast<bound_function<F>*>(static_cast<shared_function*>(data));
    try {
      return call_indexed(*bound, raw, args, results, std::index_sequence_for<P...>());
    } catch (...) {
      return tell_exception([&](std::string_view why) { return fail(raw, why); });
    }
  }

 private:
  template <typename F, std::size_t... I>
  static wasm_answer call_indexed(bound_function<F>& bound, wasm_call* raw, [[maybe_unused]] const wasm_value* args,
                                  wasm_value* results, std::index_sequence<I...>) {
    [[maybe_unused]] const arrival from{raw};
    std::tuple<argument<P>...> arguments;
    if (!(std::get<I>(arguments).read(from, args + begin_of<I>(), I) && ...)) {
      return WASM_ANSWER_FAILED;
    }
    const auto invoke = [&]() -> R { return bound.function(raw, std::get<I>(arguments).pass()...); };
    if constexpr (awaits) {
      return begin(bound, invoke(), raw, results);
    } else {
      const wasm_answer done = answer_with<R>(raw, results, invoke);
      if (done == WASM_ANSWER_DONE) {
        (std::get<I>(arguments).finish(), ...);
      }
      return takes_later && done == WASM_ANSWER_DONE ? WASM_ANSWER_PENDING : done;
    }
  }

  /// Gives the call into the hands of `going_on`.
  template <typename Future>
  static wasm_answer begin(shared_function& bound, Future future, wasm_call* raw, wasm_value* results) {
    if constexpr (known_future<R> || std::same_as<R, task<final_type>>) {
      return (new going_on<final_type, R>(&bound, std::move(future)))->begin(raw, results);
    } else {
      return (new going_on<final_type, task<final_type>>(&bound, awaited_task<R, final_type>(std::move(future))))
          ->begin(raw, results);
    }
  }
};

template <typename F>
concept has_signature = requires { typename signature<F>::type; };

}  // namespace detail

/// What `host_module::add` takes: a function, a pointer to a member function, or an object with one const operator(), whose
/// parameters and answer have a meaning in the guest.
template <typename F>
concept host_callable =
    detail::has_signature<F> && detail::host_signature<typename detail::signature<F>::type>::fits();

/// Functions that guests import from one module. Copies share the functions; a module can be given to several runtimes.
class host_module {
 public:
  explicit host_module(std::string name) : _name(std::move(name)) {}

  /// A function: `add<&distance>("distance")`.
  template <auto Function>
    requires std::is_pointer_v<decltype(Function)>
  host_module& add(std::string name) {
    using traits = detail::signature<decltype(Function)>;
    return put<typename traits::type>(std::move(name), detail::static_call<Function>{});
  }

  /// A member function of an object, which must outlive all calls: `add<&my_class::method>("name", object)`.
  template <auto Function, typename T>
    requires std::is_member_function_pointer_v<decltype(Function)> &&
             std::derived_from<T, std::remove_const_t<typename detail::signature<decltype(Function)>::object_type>>
  host_module& add(std::string name, T& object) {
    using traits = detail::signature<decltype(Function)>;
    return put<typename traits::type>(std::move(name), detail::member_call<Function, T*>{&object});
  }

  /// A member function of an object that is kept.
  template <auto Function, typename T>
    requires std::is_member_function_pointer_v<decltype(Function)>
  host_module& add(std::string name, std::shared_ptr<T> object) {
    using traits = detail::signature<decltype(Function)>;
    return put<typename traits::type>(std::move(name),
                                      detail::member_call<Function, std::shared_ptr<T>>{std::move(object)});
  }

  /// A member function of the object that the calling engine has as its user data.
  template <auto Function>
    requires std::is_member_function_pointer_v<decltype(Function)>
  host_module& add(std::string name, per_engine_t) {
    using traits = detail::signature<decltype(Function)>;
    return put<typename traits::type>(std::move(name),
                                      detail::engine_member_call<Function, typename traits::object_type>{});
  }

  /// A lambda, or another object with one operator(); or a pointer to a function.
  template <typename F>
  host_module& add(std::string name, F function) {
    static_assert(detail::has_signature<F>, "a host function is a function or an object with one operator()");
    if constexpr (detail::has_signature<F>) {
      using traits = detail::signature<F>;
      if constexpr (std::is_class_v<F>) {
        static_assert(std::is_const_v<typename traits::object_type>,
                      "a host function may be called by several threads at once, so its operator() must be const");
      }
      return put<typename traits::type>(std::move(name), detail::plain_call<F>{std::move(function)});
    } else {
      return *this;
    }
  }

  [[nodiscard]] const std::string& name() const noexcept { return _name; }

 private:
  friend class runtime;

  struct entry {
    std::string name;
    std::vector<std::uint32_t> params;
    std::vector<std::uint32_t> results;
    bool may_wait;
    std::shared_ptr<detail::shared_function> function;
    std::uint32_t (*call)(void*, wasm_call*, const wasm_value*, wasm_value*);
  };

  template <typename Signature, typename F>
  host_module& put(std::string name, F function) {
    using checked = detail::host_signature<Signature>;
    checked::check();
    if constexpr (checked::fits()) {
      constexpr auto params = checked::params();
      constexpr auto results = detail::answer<typename checked::final_type>::types;
      _functions.push_back(
          {std::move(name), std::vector<std::uint32_t>(params.begin(), params.end()),
           std::vector<std::uint32_t>(results.begin(), results.end()), checked::may_wait,
           std::shared_ptr<detail::shared_function>(new detail::bound_function<F>(std::move(function)),
                                                    detail::give_up()),
           &checked::template call<F>});
    }
    return *this;
  }

  std::string _name;
  std::vector<entry> _functions;
};

inline result<void> runtime::add(const host_module& module) const {
  for (const auto& f : module._functions) {
    f.function->keep();
    const wasm_host_function raw{
        sizeof(raw), as_slice(module._name), as_slice(f.name), f.params.data(), f.params.size(), f.results.data(),
        f.results.size(), f.may_wait ? 1U : 0U, f.function.get(),
        [](void* data) { static_cast<detail::shared_function*>(data)->give_up(); }, f.call};
    auto registered = detail::call([&](wasm_error** e) { return wasm_runtime_register(get(), &raw, e); });
    if (!registered) {
      return registered;
    }
  }
  return {};
}

}  // namespace wasmengine
