// SPDX-License-Identifier: Apache-2.0
//
// One call of a host function in its C++ form: from the guest's values to its results.
#pragma once

#include "signatures.hh"

namespace wasmengine::detail {

// ---- Calls ----

/// What a future's adapter calls at the future's end. If it is dropped instead, the call fails.
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

/// An asynchronous call in progress. Freed by the later of the two: the call that began it or the future's end.
template <typename V, typename F>
class call_in_progress {
 public:
  using value_type = V;

  call_in_progress(shared_function* function, F future) : _function(function), _future(std::move(future)) { function->keep(); }
  call_in_progress(const call_in_progress&) = delete;

  /// Begins. Returns the result if it is available already.
  wasm_callback_result begin(wasm_call* call, wasm_value* results) {
    listen();
    if (_done.load(std::memory_order_acquire)) {
      return at_once(call, results);
    }
    if (wasm_call_promise(call, _promise.out(), nullptr) != WASM_STATUS_OK) {
      return leave(WASM_CALLBACK_RESULT_FAILED, call, results);
    }
    return leave(WASM_CALLBACK_RESULT_PENDING, call, results);
  }

  /// The future has completed. `get` returns its value or throws.
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
    if (_done.exchange(true, std::memory_order_acq_rel)) {
      // The call has returned: `_promise` is set unless it could not be taken.
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
            auto* me = static_cast<call_in_progress*>(data);
            me->finish([me] { return me->_future.take(); });
          },
          this);
    } else {
      async_traits<F>::then(std::move(_future), done_once<call_in_progress>(this));
    }
  }

  /// The call is about to return. If the future has completed before, its result is returned now.
  wasm_callback_result leave(wasm_callback_result otherwise, wasm_call* call, wasm_value* results) {
    return _done.exchange(true, std::memory_order_acq_rel) ? at_once(call, results) : otherwise;
  }

  V take() {
    if (_thrown) {
      std::rethrow_exception(_thrown);
    }
    if constexpr (!std::is_void_v<V>) {
      return std::move(*_value);
    }
  }

  wasm_callback_result at_once(wasm_call* call, wasm_value* results) {
    const std::unique_ptr<call_in_progress> over(this);
    return return_with<V>(call, results, [this]() -> V { return take(); });
  }

  void settle() noexcept {
    try {
      auto settled = settle_with<V>(_promise, [this]() -> V { return take(); });
      if (!settled && settled.err().status() == WASM_STATUS_INVALID_UTF8) {
        reject(_promise, "it failed with a text that is not UTF-8");
      }
    } catch (...) {
      tell_exception([this](std::string_view why) { reject(_promise, why); });
    }
  }

  kept<shared_function> _function;
  F _future;
  promise _promise;
  /// Set by the first of the two.
  std::atomic<bool> _done{false};
  std::conditional_t<std::is_void_v<V>, std::optional<nothing>, std::optional<V>> _value;
  std::exception_ptr _thrown;
};

/// The value of the parameter `later<V>` if there is one.
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

  /// All of the above for tests and for uses that must not fail to compile.
  static consteval bool fits() {
    if constexpr (parameters_known && host_return_value<final_type>) {
      return later_fits && no_views() && (argument<P>::types.size() + ... + 0) <= 32 &&
             return_value<final_type>::types.size() <= 16;
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

  /// Reports in words what does not fit.
  static consteval void check() {
    (check_parameter<P>(), ...);
    static_assert(host_return_value<final_type>,
                  "a host function cannot return this type: void, bool, numbers, enums, std::tuple of those, and "
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
    std::array<wasm_value_type, (argument<P>::types.size() + ... + 0)> all{};
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
  static wasm_callback_result call(void* data, wasm_call* raw, const wasm_value* args, wasm_value* results) noexcept {
    auto* bound = static_cast<bound_function<F>*>(static_cast<shared_function*>(data));
    try {
      return call_indexed(*bound, raw, args, results, std::index_sequence_for<P...>());
    } catch (...) {
      return tell_exception([&](std::string_view why) { return fail(raw, why); });
    }
  }

 private:
  template <typename F, std::size_t... I>
  static wasm_callback_result call_indexed(bound_function<F>& bound, wasm_call* raw, [[maybe_unused]] const wasm_value* args,
                                  wasm_value* results, std::index_sequence<I...>) {
    [[maybe_unused]] const arrival from{raw};
    std::tuple<argument<P>...> arguments;
    if (!(std::get<I>(arguments).read(from, args + begin_of<I>(), I) && ...)) {
      return WASM_CALLBACK_RESULT_FAILED;
    }
    const auto invoke = [&]() -> R { return bound.function(raw, std::get<I>(arguments).pass()...); };
    if constexpr (awaits) {
      return begin(bound, invoke(), raw, results);
    } else {
      const wasm_callback_result done = return_with<R>(raw, results, invoke);
      if (done == WASM_CALLBACK_RESULT_DONE) {
        (std::get<I>(arguments).finish(), ...);
      }
      return takes_later && done == WASM_CALLBACK_RESULT_DONE ? WASM_CALLBACK_RESULT_PENDING : done;
    }
  }

  /// Passes the call to `call_in_progress`.
  template <typename Future>
  static wasm_callback_result begin(shared_function& bound, Future future, wasm_call* raw, wasm_value* results) {
    if constexpr (known_future<R> || std::same_as<R, task<final_type>>) {
      return (new call_in_progress<final_type, R>(&bound, std::move(future)))->begin(raw, results);
    } else {
      return (new call_in_progress<final_type, task<final_type>>(&bound, awaited_task<R, final_type>(std::move(future))))
          ->begin(raw, results);
    }
  }
};

template <typename F>
concept has_signature = requires { typename signature<F>::type; };

}  // namespace wasmengine::detail
