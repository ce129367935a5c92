// SPDX-License-Identifier: Apache-2.0
//
// How the return value of a host function becomes its results: at once or later.
#pragma once

#include "parameters.hh"

namespace wasmengine::detail {

// ---- Return values ----

/// How a type of return value becomes results. `plain` types need no more than `store`.
template <typename R>
struct return_value {
  static constexpr bool known = false;
};

template <wasm_value_type... Types>
struct return_types {
  static constexpr bool known = true;
  static constexpr bool plain = true;
  static constexpr std::array<wasm_value_type, sizeof...(Types)> types{Types...};
};

template <>
struct return_value<void> : return_types<> {};

template <guest_scalar R>
struct return_value<R> : return_types<value_type_of<R>()> {
  static void store(R value, wasm_value* results) noexcept { *results = as_value(value); }
};

template <guest_scalar... R>
struct return_value<std::tuple<R...>> : return_types<value_type_of<R>()...> {
  static void store(const std::tuple<R...>& values, wasm_value* results) noexcept {
    std::apply([&](const R&... each) { ((*results++ = as_value(each)), ...); }, values);
  }
};

/// A type's value and error if it is like std::expected.
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
struct return_value<R> : return_value<typename expected_value<R>::type> {
  static constexpr bool plain = false;
};

template <typename R>
struct return_value<with_memory<R>> : return_value<R> {
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

/// Calls `function` and returns its return value.
template <typename R, typename F>
wasm_callback_result return_with(wasm_call* call, wasm_value* results, F&& function) {
  if constexpr (std::is_void_v<R>) {
    std::forward<F>(function)();
    return WASM_CALLBACK_RESULT_DONE;
  } else {
    R value = std::forward<F>(function)();
    if constexpr (return_value<R>::plain) {
      return_value<R>::store(std::move(value), results);
      return WASM_CALLBACK_RESULT_DONE;
    } else if constexpr (is_with_memory<R>) {
      guest_memory memory(call);
      return return_with<typename R::value_type>(call, results, [&] { return value.finish(memory); });
    } else {
      if (!value.has_value()) {
        return fail(call, why_not(value));
      }
      using inner = typename expected_value<R>::type;
      if constexpr (std::is_void_v<inner>) {
        return WASM_CALLBACK_RESULT_DONE;
      } else {
        return return_with<inner>(call, results, [&]() -> inner { return std::move(*value); });
      }
    }
  }
}

/// Calls `function` and settles a promise with its return value.
template <typename R, typename F>
result<void> settle_with(promise& p, F&& function) {
  if constexpr (std::is_void_v<R>) {
    std::forward<F>(function)();
    return p.resolve(std::span<const wasm_value>());
  } else {
    R value = std::forward<F>(function)();
    if constexpr (return_value<R>::plain) {
      std::array<wasm_value, return_value<R>::types.size()> results;
      return_value<R>::store(std::move(value), results.data());
      return p.resolve(std::span<const wasm_value>(results));
    } else if constexpr (is_with_memory<R>) {
      return p.resolve_with(
          [finish = std::move(value.finish)](wasm_call* call, wasm_value* results) mutable noexcept -> wasm_callback_result {
            try {
              guest_memory memory(call);
              return return_with<typename R::value_type>(call, results, [&] { return finish(memory); });
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

}  // namespace wasmengine::detail

namespace wasmengine {

/// A parameter that a host function may have.
template <typename P>
concept host_parameter = detail::argument<P>::known;

/// What a host function may return, at once or later.
template <typename R>
concept host_return_value = detail::return_value<R>::known;

/// The result of a host function that has a parameter of this type instead of a return value. Settle it once, on any
/// thread, now or later. If it is dropped unsettled, the guest fails.
template <typename R = void>
class later {
 public:
  using value_type = R;
  explicit later(promise p) noexcept : _promise(std::move(p)) {}

  /// Resolves with a value or with a `result`, whose error makes the guest fail.
  template <typename V>
    requires host_return_value<V> && (std::convertible_to<V, R> || !std::is_void_v<R>)
  result<void> resolve(V value) {
    if constexpr (detail::return_value<V>::plain && !std::same_as<V, R>) {
      return detail::settle_with<R>(_promise, [&]() -> R { return static_cast<R>(std::move(value)); });
    } else {
      static_assert(detail::return_value<V>::types == detail::return_value<R>::types, "this value has other Wasm types");
      return detail::settle_with<V>(_promise, [&]() -> V { return std::move(value); });
    }
  }
  result<void> resolve()
    requires std::is_void_v<R>
  {
    return _promise.resolve(std::span<const wasm_value>());
  }
  /// Resolves with what `finish(guest_memory&)` returns when it runs on the engine's thread.
  template <std::invocable<guest_memory&> F>
  result<void> resolve_with(F finish) {
    return resolve_memory(with_memory<R>{std::move(finish)});
  }
  /// Makes the guest fail.
  result<void> reject(std::string_view why) noexcept { return _promise.reject(why); }

 private:
  result<void> resolve_memory(with_memory<R> result) {
    return detail::settle_with<with_memory<R>>(_promise, [&] { return std::move(result); });
  }

  promise _promise;
};

}  // namespace wasmengine
