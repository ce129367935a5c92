# The library as a guest in the host's process: threads, memory, forks, unwinding, and other libraries beside it;
# included by CMakeLists.txt. Programs of their own, because each replaces functions of the system, or must be the first
# to use the library. CTest runs each of their tests in a process of its own.
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
  discover_tests(process_${name} ${seconds} TEST_PREFIX "process.")
endfunction()

add_process_test(threads 120 threads_test.cc)
add_process_test(allocations 120 allocations_test.cc counting_malloc.cc)
add_process_test(shortage 300 shortage_test.cc failing_malloc.cc)
add_process_test(core_malloc 120 core_malloc_test.cc core_malloc.cc)
add_process_test(unwinder 120 unwinder_test.cc)
add_process_test(fork 120 fork_test.cc)
add_process_test(soak 300 soak_test.cc)

# ---- dlopen ----
foreach(name IN ITEMS dlopen_cycles dlopen_ends)
  add_executable(process_${name} "${PROCESS_DIR}/${name}.c" "${PROCESS_DIR}/dlopen_host.c")
  add_dependencies(process_${name} wat_guests)
  target_include_directories(process_${name} PRIVATE
    $<TARGET_PROPERTY:wasm_engine,INTERFACE_INCLUDE_DIRECTORIES>)
  target_link_libraries(process_${name} PRIVATE ${CMAKE_DL_LIBS} Threads::Threads)
endforeach()
add_test(NAME process.dlopen.cycles
  COMMAND process_dlopen_cycles "${WASM_ENGINE_LIBRARY}" "${WAT_DIR}/t_later.wasm")
set_tests_properties(process.dlopen.cycles PROPERTIES TIMEOUT 300 ENVIRONMENT
  "GLIBC_TUNABLES=glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0:glibc.malloc.arena_max=1")

# process.dlopen.WHAT.HOW ends with this status, and says nothing.
function(add_end_test what how status)
  add_test(NAME process.dlopen.${what}.${how}
    COMMAND sh -c "\"$0\" \"$@\" 2>&1; test $? = ${status} && echo 'as it must'"
      $<TARGET_FILE:process_dlopen_ends> "${WASM_ENGINE_LIBRARY}" "${WAT_DIR}/t_later.wasm" ${what} ${how})
  set_tests_properties(process.dlopen.${what}.${how} PROPERTIES TIMEOUT 60 PASS_REGULAR_EXPRESSION "^as it must\n$")
endfunction()
foreach(what IN ITEMS runtime engine suspended nothing used renewed)
  add_end_test(${what} return 42)
  add_end_test(${what} exit 42)
endforeach()
# Engines are of the main thread, so no other one can use or release them.
foreach(what IN ITEMS runtime engine suspended)
  add_end_test(${what} thread 42)
endforeach()
add_end_test(suspended fault 43)
add_end_test(suspended fault-open 43)

# ---- Wasmtime's own C API ----
set(WASMTIME_C_API "" CACHE PATH "Where libwasmtime.so and include/ are; `make peers` builds them")
if(EXISTS "${WASMTIME_C_API}/libwasmtime.so")
  add_library(wasmtime_c_api SHARED IMPORTED)
  set_target_properties(wasmtime_c_api PROPERTIES IMPORTED_LOCATION "${WASMTIME_C_API}/libwasmtime.so")
  target_include_directories(wasmtime_c_api INTERFACE "${WASMTIME_C_API}/include")
  add_process_test(beside_wasmtime 120 beside_wasmtime_test.cc LIBRARIES wasmtime_c_api)
else()
  add_skipped_test(process.beside_wasmtime "the C API of Wasmtime was not built: make peers")
endif()

# A figure, not a test: bench-throws.
add_executable(bench-throws EXCLUDE_FROM_ALL "${PROJECT_SOURCE_DIR}/bench/throws.cc")
target_compile_options(bench-throws PRIVATE -O2)
target_link_libraries(bench-throws PRIVATE wasm_engine Threads::Threads)
