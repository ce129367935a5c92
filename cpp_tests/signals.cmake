# Signal handlers and faults of the host's, in children: processes in which nobody made a runtime before. Included by
# CMakeLists.txt. Not run sanitized, because the sanitizer has handlers of its own.
add_executable(signals_handlers signals/handlers_test.cc support/bench.cc)
add_dependencies(signals_handlers wat_guests)
target_include_directories(signals_handlers PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
target_compile_definitions(signals_handlers PRIVATE
  WASM_ENGINE_TEST_GUESTS="${WASM_ENGINE_GUESTS}" WASM_ENGINE_TEST_WAT="${WAT_DIR}")
target_compile_options(signals_handlers PRIVATE -O0 -g1)
target_link_libraries(signals_handlers PRIVATE wasm_engine GTest::gmock GTest::gtest_main Threads::Threads)
discover_tests(signals_handlers 120 TEST_PREFIX "signals.")
