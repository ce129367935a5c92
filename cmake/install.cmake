# What `cmake --install` puts down: libraries, headers, the files that CMake and pkg-config look for, licences. The
# tool's part is in tools/CMakeLists.txt.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# What is installed finds each other by relative paths.
foreach(PLACE IN ITEMS BINDIR INCLUDEDIR LIBDIR)
  if(IS_ABSOLUTE "${CMAKE_INSTALL_${PLACE}}")
    message(FATAL_ERROR "CMAKE_INSTALL_${PLACE} is ${CMAKE_INSTALL_${PLACE}} but must be relative to CMAKE_INSTALL_PREFIX")
  endif()
endforeach()

set(FULL_NAME "libwasm_engine.so.${PROJECT_VERSION}")
install(PROGRAMS "${WASM_ENGINE_LIBRARY_FILE}" DESTINATION "${CMAKE_INSTALL_LIBDIR}" RENAME "${FULL_NAME}"
  COMPONENT runtime)
# Links as links: the one that programs look for when they start and the one for the linker.
set(LINKS "${PROJECT_BINARY_DIR}/links")
file(MAKE_DIRECTORY "${LINKS}")
file(CREATE_LINK "${FULL_NAME}" "${LINKS}/${WASM_ENGINE_SONAME}" SYMBOLIC)
file(CREATE_LINK "${WASM_ENGINE_SONAME}" "${LINKS}/libwasm_engine.so" SYMBOLIC)
install(FILES "${LINKS}/${WASM_ENGINE_SONAME}" DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT runtime)
install(FILES "${LINKS}/libwasm_engine.so" DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT development)

# Where debuggers look for it, whatever the prefix. Only with --component debug.
install(FILES "${WASM_ENGINE_DEBUG_FILE}" DESTINATION "${CMAKE_INSTALL_LIBDIR}/.debug" RENAME libwasm_engine.so.debug
  COMPONENT debug EXCLUDE_FROM_ALL)
if(WASM_ENGINE_STATIC)
  install(FILES "${WASM_ENGINE_STATIC_FILE}" DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT development)
endif()

install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT development
  FILES_MATCHING PATTERN "*.h" PATTERN "*.hh")

set(PACKAGE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/wasm_engine")
configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/wasm_engineConfig.cmake.in" wasm_engineConfig.cmake
  INSTALL_DESTINATION "${PACKAGE_DIR}" PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR WASM_ENGINE_HELPER_DIR)
# Before 1.0 a minor version may break what the one before it had.
write_basic_package_version_file(wasm_engineConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/wasm_engineConfig.cmake"
  "${CMAKE_CURRENT_BINARY_DIR}/wasm_engineConfigVersion.cmake" DESTINATION "${PACKAGE_DIR}" COMPONENT development)

list(TRANSFORM WASM_ENGINE_STATIC_LIBS PREPEND "-l" OUTPUT_VARIABLE LIBS_PRIVATE)
list(JOIN LIBS_PRIVATE " " LIBS_PRIVATE)
# Relative to the file itself, so that the directory can be moved, as CMake's own package can.
file(RELATIVE_PATH UP "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" UP "${UP}")
configure_file("${CMAKE_CURRENT_LIST_DIR}/wasm_engine.pc.in" wasm_engine.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/wasm_engine.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig"
  COMPONENT development)

file(GLOB LICENCES "${PROJECT_SOURCE_DIR}/LICENSE*" "${PROJECT_SOURCE_DIR}/THIRD-PARTY*")
install(FILES ${LICENCES} "${PROJECT_SOURCE_DIR}/CHANGELOG.md" "${PROJECT_SOURCE_DIR}/sbom.cdx.json"
  DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT runtime)
