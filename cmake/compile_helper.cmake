# The program in whose processes hosts compile modules of strangers. It is of the library's version, so its folder has
# the number of the soname.
include(GNUInstallDirs)

set(WASM_ENGINE_HELPER_DIR "${CMAKE_INSTALL_LIBEXECDIR}/wasm_engine-${PROJECT_VERSION_MAJOR}")
add_executable(wasm-compile-helper "${PROJECT_SOURCE_DIR}/tools/compile_helper.c")
target_link_libraries(wasm-compile-helper PRIVATE wasm_engine)
set_target_properties(wasm-compile-helper PROPERTIES C_STANDARD 11)

if(WASM_ENGINE_INSTALL)
  # Where the library is, also if the whole prefix is moved.
  file(RELATIVE_PATH TO_LIBRARY "/${WASM_ENGINE_HELPER_DIR}" "/${CMAKE_INSTALL_LIBDIR}")
  set_target_properties(wasm-compile-helper PROPERTIES INSTALL_RPATH "$ORIGIN/${TO_LIBRARY}")
  install(TARGETS wasm-compile-helper RUNTIME DESTINATION "${WASM_ENGINE_HELPER_DIR}" COMPONENT runtime)
endif()
