# The adapters' suites, one program per event loop; included by CMakeLists.txt. What holds on every loop is in
# adapters/loop_suite.hh. What is not installed is reported as skipped.
set(ADAPTER_SUPPORT "${CMAKE_CURRENT_SOURCE_DIR}/support/bench.cc")

function(prepare_adapter_suite target)
  add_dependencies(${target} wat_guests)
  target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
  target_compile_definitions(${target} PRIVATE
    WASM_ENGINE_TEST_GUESTS="${WASM_ENGINE_GUESTS}" WASM_ENGINE_TEST_WAT="${WAT_DIR}")
  target_link_libraries(${target} PRIVATE wasm_engine Threads::Threads)
endfunction()

# Skipped, with the reason, instead of absent: CTest takes 77 for that.
function(add_skipped_test name why)
  add_test(NAME ${name} COMMAND sh -c "echo '${why}'; exit 77")
  set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77)
endfunction()

# One program with GoogleTest, and once more with sanitizers.
function(add_adapter_suite name)
  add_executable(${name}_suite adapters/${name}_suite.cc ${ADAPTER_SUPPORT})
  prepare_adapter_suite(${name}_suite)
  target_link_libraries(${name}_suite PRIVATE ${ARGN} GTest::gmock GTest::gtest_main)
  discover_tests(${name}_suite 120)

  add_executable(${name}_suite_sanitized adapters/${name}_suite.cc ${ADAPTER_SUPPORT})
  prepare_adapter_suite(${name}_suite_sanitized)
  target_link_libraries(${name}_suite_sanitized PRIVATE ${ARGN} GTest::gmock GTest::gtest_main)
  # GCC 12 suspects its own and Boost's code when it is instrumented.
  target_compile_options(${name}_suite_sanitized PRIVATE ${SANITIZE} -Wno-maybe-uninitialized)
  target_link_options(${name}_suite_sanitized PRIVATE ${SANITIZE})
  add_test(NAME ${name}_sanitized COMMAND ${name}_suite_sanitized --gtest_brief=1)
  set_tests_properties(${name}_sanitized PROPERTIES TIMEOUT 300 LABELS sanitized ENVIRONMENT
    "ASAN_OPTIONS=handle_segv=0:handle_sigfpe=0:handle_sigill=0:use_sigaltstack=0:detect_stack_use_after_return=0:detect_leaks=1:allocator_may_return_null=1;UBSAN_OPTIONS=print_stacktrace=1")
endfunction()

# ---- Boost.Asio ----
find_path(BOOST_ASIO_INCLUDE boost/asio.hpp)
if(BOOST_ASIO_INCLUDE)
  add_adapter_suite(asio)
else()
  add_skipped_test(asio "Boost.Asio is not installed")
endif()

# ---- libuv ----
find_path(LIBUV_INCLUDE uv.h)
find_library(LIBUV_LIBRARY uv)
if(LIBUV_INCLUDE AND LIBUV_LIBRARY)
  add_adapter_suite(libuv "${LIBUV_LIBRARY}")
else()
  add_skipped_test(libuv "libuv is not installed")
endif()

# ---- Seastar ----
# A program of its own, since Seastar runs `main`. The traps on shard 1 and the faults of a blocked signal are why it runs
# with two shards.
find_package(Seastar QUIET)
if(Seastar_FOUND)
  set(SEASTAR_ARGUMENTS --smp 2 --memory 1G --overprovisioned --blocked-reactor-notify-ms 100)
  add_executable(seastar_suite adapters/seastar_suite.cc ${ADAPTER_SUPPORT})
  prepare_adapter_suite(seastar_suite)
  target_link_libraries(seastar_suite PRIVATE Seastar::seastar GTest::gmock)
  add_test(NAME seastar COMMAND seastar_suite ${SEASTAR_ARGUMENTS})

  add_executable(seastar_sharded "${PROJECT_SOURCE_DIR}/examples/seastar_sharded/main.cc")
  target_link_libraries(seastar_sharded PRIVATE wasm_engine Seastar::seastar)
  add_dependencies(seastar_sharded wat_guests)
  add_test(NAME seastar_example COMMAND seastar_sharded --module "${WAT_DIR}/t_later.wasm" ${SEASTAR_ARGUMENTS})
  # Seastar's headers are not free of what -Wextra warns of.
  target_compile_options(seastar_suite PRIVATE -Wno-error)
  target_compile_options(seastar_sharded PRIVATE -Wno-error)
  set_tests_properties(seastar seastar_example PROPERTIES TIMEOUT 120)
else()
  add_skipped_test(seastar "Seastar is not installed; set CMAKE_PREFIX_PATH to where it is")
endif()
