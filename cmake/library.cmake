# The target wasm_engine::wasm_engine: the shared library and its headers.
set(WASM_ENGINE_SONAME "libwasm_engine.so.${PROJECT_VERSION_MAJOR}")

add_library(wasm_engine SHARED IMPORTED GLOBAL)
add_library(wasm_engine::wasm_engine ALIAS wasm_engine)
target_include_directories(wasm_engine INTERFACE "${PROJECT_SOURCE_DIR}/include")

if(NOT WASM_ENGINE_LIBRARY)
  find_program(CARGO cargo HINTS "$ENV{HOME}/.cargo/bin" REQUIRED)
  set(WASM_ENGINE_CARGO_TARGET_DIR "${PROJECT_BINARY_DIR}/cargo" CACHE PATH "Where Cargo builds")
  set(WASM_ENGINE_LIBRARY_FILE "${WASM_ENGINE_CARGO_TARGET_DIR}/release/libwasm_engine.so")
  add_custom_target(wasm_engine_cargo ALL
    COMMAND "${CARGO}" build --release --locked --lib --manifest-path "${PROJECT_SOURCE_DIR}/Cargo.toml"
      --target-dir "${WASM_ENGINE_CARGO_TARGET_DIR}"
    BYPRODUCTS "${WASM_ENGINE_LIBRARY_FILE}"
    # Cargo knows what is up to date.
    COMMENT "Cargo builds libwasm_engine.so" USES_TERMINAL VERBATIM)
  add_dependencies(wasm_engine wasm_engine_cargo)
else()
  set(WASM_ENGINE_LIBRARY_FILE "${WASM_ENGINE_LIBRARY}")
endif()
set_target_properties(wasm_engine PROPERTIES
  IMPORTED_LOCATION "${WASM_ENGINE_LIBRARY_FILE}" IMPORTED_SONAME "${WASM_ENGINE_SONAME}")
