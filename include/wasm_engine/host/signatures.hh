// SPDX-License-Identifier: Apache-2.0
//
// What can be registered as a host function, its C++ signature and the kinds of futures that it may return.
#pragma once

#include "return_values.hh"

namespace wasmengine::detail {

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

/// A registered function object. Counted because a runtime and coroutines that outlive it hold it.
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

/// `P` is a pointer to the object. It may be smart.
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
  using return_type = R;
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
/// Of a lambda or of another object with one operator().
template <typename F>
  requires requires { &F::operator(); }
struct signature<F> : signature<decltype(&F::operator())> {};

}  // namespace wasmengine::detail
