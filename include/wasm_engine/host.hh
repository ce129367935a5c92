// SPDX-License-Identifier: Apache-2.0
//
// Host functions in C++. The type of a C++ function is read at compile time and becomes the type that the guest
// imports.
//
//   wasmengine::host_module geo("geo");
//   geo.add<&geo_database::country>("country", database);   // a member function
//   geo.add<&distance>("distance");                         // a function
//   geo.add("now", [] { return now_in_milliseconds(); });   // a lambda
//   runtime.add(geo).value();                               // for all guests
//   transform.add(geo);                                     // for those of one transform_config
//
// What a C++ parameter is in the guest. Other types do not compile.
//
//   bool                                 i32; true unless 0
//   integers and enums up to 32 bits     i32; a value that does not fit is a trap
//   integers and enums of 64 bits        i64
//   float, double                        f32, f64
//   std::span<T>, std::span<const T>     i32 address, i32 number of elements      } the guest's memory itself while the
//   std::span<T, N>                      i32 address                              } function runs; a misaligned address
//   std::string_view                     i32 address, i32 number of bytes         } is a trap
//   T&                                   i32 address; read before the call and written back after it if it succeeds
//   const T&, T a class                  i32 address
//   std::vector<T>, std::string          as span and string_view, but copied
//   guest_ptr<T>, guest_span<T>          i32 address, and i32 number of elements; for guest_memory
//   guest_memory&, host_call&            nothing: access to the guest's memory and to the call
//   engine_data<T>                       nothing: the pointer of `engine::set_user_data`
//   later<R>                             nothing: the result R is given later; the function returns void
//
// In memory T is trivially copyable and no pointer and no bool. Ranges outside of the guest's memory are traps.
//
// Return types: void, a bool, number or enum, a std::tuple of those for several results or a result<R>. Also any type
// like std::expected (has_value(), operator* and err() or error()). The error becomes a trap. An exception becomes a
// trap with what().
//
// A function is asynchronous if it has a parameter `later<R>` or returns `task<R>` or anything else that can be awaited
// or that `async_traits` knows. The guest may be suspended in it. Such a coroutine runs to its end even if its guest is
// gone. So it must not have views of the guest's memory: use `std::string` and `std::vector` instead of
// `std::string_view`, `std::span` and references. To write to the guest's memory at the end it takes a `guest_ptr` or
// `guest_span` and returns a `with_memory<R>`. The library keeps the function object until the coroutine ends if it is
// a lambda. It also keeps the object of a std::shared_ptr. The lifetime of everything else is up to the host.
//
// Functions are called on the threads of engines and on the guests' stacks: see `host_stack_size`. Several threads may
// call them at once. So a lambda must be const. They must not block.
#pragma once

#include "host/calls.hh"

namespace wasmengine {

/// What `host_module::add` takes: a function, a pointer to a member function or an object with one const operator().
/// Its parameters and its return value must have a meaning in the guest.
template <typename F>
concept host_callable =
    detail::has_signature<F> && detail::host_signature<typename detail::signature<F>::type>::fits();

/// Functions that guests import from one module. Copies share the functions. A module can be given to several runtimes.
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

  /// A member function of an object that must outlive all calls: `add<&my_class::method>("name", object)`.
  template <auto Function, typename T>
    requires std::is_member_function_pointer_v<decltype(Function)> &&
             std::derived_from<T, std::remove_const_t<typename detail::signature<decltype(Function)>::object_type>>
  host_module& add(std::string name, T& object) {
    using traits = detail::signature<decltype(Function)>;
    return put<typename traits::type>(std::move(name), detail::member_call<Function, T*>{&object});
  }

  /// A member function of an object that is kept alive.
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

  /// A lambda or another object with one operator() or a pointer to a function.
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
  friend struct transform_config;

  template <typename Signature, typename F>
  host_module& put(std::string name, F function) {
    using checked = detail::host_signature<Signature>;
    checked::check();
    if constexpr (checked::fits()) {
      constexpr auto params = checked::params();
      constexpr auto results = detail::return_value<typename checked::final_type>::types;
      _functions.push_back(
          {_name, std::move(name), std::vector<wasm_value_type>(params.begin(), params.end()),
           std::vector<wasm_value_type>(results.begin(), results.end()), checked::may_wait,
           std::shared_ptr<detail::shared_function>(new detail::bound_function<F>(std::move(function)),
                                                    detail::give_up()),
           [](detail::shared_function* function) { function->keep(); },
           [](void* data) { static_cast<detail::shared_function*>(data)->give_up(); }, &checked::template call<F>});
    }
    return *this;
  }

  std::string _name;
  std::vector<detail::host_function_entry> _functions;
};

inline result<void> runtime::add(const host_module& module) const {
  for (const auto& f : module._functions) {
    f.function->keep();
    const auto raw = f.raw();
    auto registered = detail::call([&](wasm_error** e) { return wasm_runtime_register_function(get(), &raw, e); });
    if (!registered) {
      return registered;
    }
  }
  return {};
}

inline transform_config& transform_config::add(const host_module& module) {
  functions.insert(functions.end(), module._functions.begin(), module._functions.end());
  return *this;
}

}  // namespace wasmengine
