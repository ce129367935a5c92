# The target wasm_engine::wasm_engine: the shared library and its headers. WASM_ENGINE_STATIC adds wasm_engine::static.
set(WASM_ENGINE_SONAME "libwasm_engine.so.${PROJECT_VERSION_MAJOR}")
# What the static library needs beside the C library.
set(WASM_ENGINE_STATIC_LIBS gcc_s m)

add_library(wasm_engine SHARED IMPORTED GLOBAL)
add_library(wasm_engine::wasm_engine ALIAS wasm_engine)
target_include_directories(wasm_engine INTERFACE "${PROJECT_SOURCE_DIR}/include")

if(NOT WASM_ENGINE_LIBRARY)
  find_program(CARGO cargo HINTS "$ENV{HOME}/.cargo/bin" REQUIRED)
  set(WASM_ENGINE_CARGO_TARGET_DIR "${PROJECT_BINARY_DIR}/cargo" CACHE PATH "Where Cargo builds")
  set(WASM_ENGINE_LIBRARY_FILE "${WASM_ENGINE_CARGO_TARGET_DIR}/release/libwasm_engine.so")
  set(PACKAGES "")
  if(WASM_ENGINE_STATIC)
    set(PACKAGES --package wasm-engine --package wasm-engine-static)
  endif()
  add_custom_target(wasm_engine_cargo ALL
    COMMAND "${CARGO}" build --release --locked --lib --manifest-path "${PROJECT_SOURCE_DIR}/Cargo.toml"
      --target-dir "${WASM_ENGINE_CARGO_TARGET_DIR}" ${PACKAGES}
    BYPRODUCTS "${WASM_ENGINE_LIBRARY_FILE}" "${WASM_ENGINE_CARGO_TARGET_DIR}/release/libwasm_engine_static.a"
    # Where Cargo finds .cargo/config.toml.
    WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}"
    # Cargo knows what is up to date.
    COMMENT "Cargo builds libwasm_engine.so" USES_TERMINAL VERBATIM)
  add_dependencies(wasm_engine wasm_engine_cargo)
else()
  set(WASM_ENGINE_LIBRARY_FILE "${WASM_ENGINE_LIBRARY}")
endif()
set_target_properties(wasm_engine PROPERTIES
  IMPORTED_LOCATION "${WASM_ENGINE_LIBRARY_FILE}" IMPORTED_SONAME "${WASM_ENGINE_SONAME}")
# Of its symbols and lines, with the same build id.
set(WASM_ENGINE_DEBUG_FILE "${WASM_ENGINE_LIBRARY_FILE}.debug")

if(WASM_ENGINE_STATIC)
  add_library(wasm_engine_static STATIC IMPORTED GLOBAL)
  add_library(wasm_engine::static ALIAS wasm_engine_static)
  target_include_directories(wasm_engine_static INTERFACE "${PROJECT_SOURCE_DIR}/include")
  target_link_libraries(wasm_engine_static INTERFACE ${WASM_ENGINE_STATIC_LIBS})
  if(WASM_ENGINE_LIBRARY)
    # As `make static` makes it, beside the shared one.
    get_filename_component(WASM_ENGINE_STATIC_FILE "${WASM_ENGINE_LIBRARY}" DIRECTORY)
    string(APPEND WASM_ENGINE_STATIC_FILE "/libwasm_engine.a")
  else()
    set(WASM_ENGINE_STATIC_FILE "${PROJECT_BINARY_DIR}/libwasm_engine.a")
    set(ARCHIVE "${WASM_ENGINE_CARGO_TARGET_DIR}/release/libwasm_engine_static.a")
    set(SCRIPT "${PROJECT_SOURCE_DIR}/scripts/static-library.sh")
    add_custom_command(OUTPUT "${WASM_ENGINE_STATIC_FILE}"
      COMMAND "${CMAKE_COMMAND}" -E env "LD=${CMAKE_LINKER}" "AR=${CMAKE_AR}" "NM=${CMAKE_NM}"
        "OBJCOPY=${CMAKE_OBJCOPY}" "${SCRIPT}" "${ARCHIVE}" "${WASM_ENGINE_LIBRARY_FILE}" "${WASM_ENGINE_STATIC_FILE}"
      DEPENDS wasm_engine_cargo "${ARCHIVE}" "${WASM_ENGINE_LIBRARY_FILE}" "${SCRIPT}" VERBATIM)
    add_custom_target(wasm_engine_archive ALL DEPENDS "${WASM_ENGINE_STATIC_FILE}")
    add_dependencies(wasm_engine_static wasm_engine_archive)
  endif()
  set_target_properties(wasm_engine_static PROPERTIES IMPORTED_LOCATION "${WASM_ENGINE_STATIC_FILE}")
endif()
