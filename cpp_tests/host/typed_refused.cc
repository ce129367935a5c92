// SPDX-License-Identifier: Apache-2.0
//
// Does not compile: REFUSED chooses a host function of a type that is refused, and the compiler's output must contain
// the text beside it. For CTest: PASS_REGULAR_EXPRESSION with -fsyntax-only.
#include <wasm_engine/wasm_engine.hh>

int main() {
  wasmengine::host_module m("m");
#if REFUSED == 1
  m.add("f", [](int*) {});  // cannot take a pointer
#elif REFUSED == 2
  m.add("f", [](std::string_view) -> wasmengine::task<int> { co_return 1; });  // cannot take views of the guest's memory
#elif REFUSED == 3
  m.add("f", [n = 0]() mutable { return ++n; });  // operator\(\) must be const
#elif REFUSED == 4
  m.add("f", [] { return std::string(); });  // cannot return this type
#elif REFUSED == 5
  m.add("f", [](auto x) { return x; });  // an object with one operator\(\)
#elif REFUSED == 6
  m.add("f", [](const int&) {});  // takes numbers by value
#elif REFUSED == 7
  m.add("f", [](std::vector<bool>) {});  // cannot take this type
#elif REFUSED == 8
  m.add("f", [](wasmengine::later<int>) { return 1; });  // takes later<R> takes one, and returns void
#elif REFUSED == 9
  m.add("f", [](const std::string_view&) {});  // views, which are taken by value
#else
  m.add("f", [] {});
#endif
}
