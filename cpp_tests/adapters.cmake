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

# add_adapter_suite(NAME LOOP [INCLUDES directories...] [LIBRARIES libraries...]): one program with GoogleTest, and once
# more with sanitizers.
function(add_adapter_suite name loop)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "INCLUDES;LIBRARIES")
  foreach(suite IN ITEMS ${name}_suite ${name}_suite_sanitized)
    add_executable(${suite} adapters/${loop}_suite.cc ${ADAPTER_SUPPORT})
    prepare_adapter_suite(${suite})
    target_include_directories(${suite} SYSTEM PRIVATE ${arg_INCLUDES})
    target_link_libraries(${suite} PRIVATE ${arg_LIBRARIES} GTest::gmock GTest::gtest_main)
  endforeach()
  discover_tests(${name}_suite 120)

  # GCC 12 suspects its own and Boost's code when it is instrumented.
  target_compile_options(${name}_suite_sanitized PRIVATE ${SANITIZE} -Wno-maybe-uninitialized)
  target_link_options(${name}_suite_sanitized PRIVATE ${SANITIZE})
  add_test(NAME ${name}_sanitized COMMAND ${name}_suite_sanitized --gtest_brief=1)
  set_tests_properties(${name}_sanitized PROPERTIES TIMEOUT 300 LABELS sanitized ENVIRONMENT
    "ASAN_OPTIONS=handle_segv=0:handle_sigfpe=0:handle_sigill=0:use_sigaltstack=0:detect_stack_use_after_return=0:detect_leaks=1:allocator_may_return_null=1;UBSAN_OPTIONS=print_stacktrace=1")
endfunction()

# add_compile_test(NAME compiler flags...): adapters/asio_plain.cc compiles.
function(add_compile_test name compiler)
  add_test(NAME ${name} COMMAND "${compiler}" -std=c++20 -Wall -Wextra -Werror -fsyntax-only ${ARGN}
    "-I${CMAKE_SOURCE_DIR}/include" "${CMAKE_CURRENT_SOURCE_DIR}/adapters/asio_plain.cc")
  set_tests_properties(${name} PROPERTIES TIMEOUT 120 LABELS plain)
endfunction()

# ---- Boost.Asio ----
# Debian's own Boost is 1.74, the oldest that is promised. setup.sh unpacks a newer one, which has cancellation slots.
find_path(BOOST_ASIO_INCLUDE boost/asio.hpp)
set(UNPACKED "$ENV{HOME}/.cache/wasm-engine/unpacked")
if(DEFINED ENV{WASM_ENGINE_UNPACKED})
  set(UNPACKED "$ENV{WASM_ENGINE_UNPACKED}")
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(UNPACKED "$ENV{XDG_CACHE_HOME}/wasm-engine/unpacked")
endif()
find_path(NEWER_BOOST_INCLUDE boost/asio/cancellation_signal.hpp PATHS "${UNPACKED}/libboost1.81-dev/usr/include")
find_program(CLANG NAMES clang++ clang++-22)
if(BOOST_ASIO_INCLUDE)
  add_adapter_suite(asio asio)
  add_compile_test(asio_without_coroutines "${CMAKE_CXX_COMPILER}" -fno-coroutines)
  if(CLANG)
    add_compile_test(asio_clang "${CLANG}")
  else()
    add_skipped_test(asio_clang "Clang is not installed")
  endif()
else()
  add_skipped_test(asio "Boost.Asio is not installed")
endif()
if(NEWER_BOOST_INCLUDE)
  add_adapter_suite(asio_newer asio INCLUDES "${NEWER_BOOST_INCLUDE}")
else()
  add_skipped_test(asio_newer "no Boost with cancellation slots: scripts/setup.sh core")
endif()

# ---- libuv ----
find_path(LIBUV_INCLUDE uv.h)
find_library(LIBUV_LIBRARY uv)
if(LIBUV_INCLUDE AND LIBUV_LIBRARY)
  add_adapter_suite(libuv libuv LIBRARIES "${LIBUV_LIBRARY}")
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
  # The standard is the one that Seastar was compiled with: it stands in the features of its target.
  set_property(TARGET seastar_suite seastar_sharded PROPERTY CXX_STANDARD)
  # Seastar's headers are not free of what -Wextra warns of.
  target_compile_options(seastar_suite PRIVATE -Wno-error)
  target_compile_options(seastar_sharded PRIVATE -Wno-error)
  set_tests_properties(seastar seastar_example PROPERTIES TIMEOUT 120)
else()
  add_skipped_test(seastar "Seastar is not installed; set CMAKE_PREFIX_PATH to where it is")
endif()
