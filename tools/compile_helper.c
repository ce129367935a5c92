// wasm-compile-helper: compiles one module for a host whose `compile_helper` names this program. See wasm_engine.h.
#include <stdio.h>
#include <wasm_engine.h>

int main(void) {
  const int code = wasm_runtime_compile_helper_main();
  fputs("wasm-compile-helper is started by libwasm_engine: name it in compile_helper of wasm_runtime_config\n", stderr);
  return code;
}
