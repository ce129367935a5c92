# The library as a guest in the host's process: threads, memory, forks, unwinding, and other libraries beside it; included
# by CMakeLists.txt. Programs of their own, because each replaces functions of the system, or must be the first to use the
# library. CTest runs each of their tests in a process of its own.
set(PROCESS_DIR "${CMAKE_CURRENT_SOURCE_DIR}/process")

# add_process_test(NAME seconds sources... [LIBRARIES libraries...])
function(add_process_test name seconds)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "LIBRARIES")
  list(TRANSFORM arg_UNPARSED_ARGUMENTS PREPEND "${PROCESS_DIR}/")
  add_executable(process_${name} ${arg_UNPARSED_ARGUMENTS} support/bench.cc)
  add_dependencies(process_${name} wat_guests)
  target_include_directories(process_${name} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
  target_compile_definitions(process_${name} PRIVATE
    WASM_ENGINE_TEST_GUESTS="${WASM_ENGINE_GUESTS}" WASM_ENGINE_TEST_WAT="${WAT_DIR}")
  target_compile_options(process_${name} PRIVATE -O0 -g1)
  target_link_libraries(process_${name} PRIVATE
    wasm_engine GTest::gmock GTest::gtest_main Threads::Threads ${CMAKE_DL_LIBS} ${arg_LIBRARIES})
  gtest_discover_tests(process_${name} TEST_PREFIX "process." DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT ${seconds})
endfunction()

add_process_test(threads 120 threads_test.cc)
add_process_test(allocations 120 allocations_test.cc counting_malloc.cc)
add_process_test(core_malloc 120 core_malloc_test.cc core_malloc.cc)
add_process_test(unwinder 120 unwinder_test.cc)
add_process_test(fork 120 fork_test.cc)

# A figure, not a test: bench-throws.
add_executable(bench-throws EXCLUDE_FROM_ALL "${CMAKE_SOURCE_DIR}/bench/throws.cc")
target_compile_options(bench-throws PRIVATE -O2)
target_link_libraries(bench-throws PRIVATE wasm_engine Threads::Threads)
