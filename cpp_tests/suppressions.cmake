# Hosts under ThreadSanitizer and valgrind, with the suppressions that ship with the library; included by CMakeLists.txt.
# What they report would be reported to the library's users, too.
set(SUPPRESSIONS "${CMAKE_SOURCE_DIR}/suppressions")

# The sanitizer of GCC 12 cannot run where the kernel spreads the address space far.
find_program(SETARCH setarch)
add_executable(tasks_tsan engine/task_test.cc engine/abort_test.cc engine/abort_callbacks_test.cc)
add_dependencies(tasks_tsan wat_guests)
target_include_directories(tasks_tsan PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
target_compile_definitions(tasks_tsan PRIVATE WASM_ENGINE_TEST_WAT="${WAT_DIR}")
target_compile_options(tasks_tsan PRIVATE -fsanitize=thread -O0 -g1)
target_link_options(tasks_tsan PRIVATE -fsanitize=thread)
target_link_libraries(tasks_tsan PRIVATE wasm_engine GTest::gmock GTest::gtest_main Threads::Threads)
if(SETARCH)
  add_test(NAME tasks_tsan COMMAND "${SETARCH}" -R $<TARGET_FILE:tasks_tsan> --gtest_brief=1)
  set_tests_properties(tasks_tsan PROPERTIES TIMEOUT 300 LABELS sanitized
    ENVIRONMENT "TSAN_OPTIONS=suppressions=${SUPPRESSIONS}/tsan.supp")
else()
  add_skipped_test(tasks_tsan "setarch is not installed")
endif()

# One thread at a time runs there. Without --fair-sched a guest that computes can keep the ticker out until it ends.
find_program(VALGRIND valgrind)
if(VALGRIND)
  add_test(NAME tasks_valgrind
    COMMAND "${VALGRIND}" -q --fair-sched=yes "--suppressions=${SUPPRESSIONS}/valgrind.supp" --smc-check=all-non-file --error-exitcode=9
      --leak-check=full $<TARGET_FILE:wasm_engine_tests> --gtest_brief=1
      "--gtest_filter=Task.*:Abort.OfATransform*:Abort.OfAQueued*")
  set_tests_properties(tasks_valgrind PROPERTIES TIMEOUT 300 LABELS sanitized)
else()
  add_skipped_test(tasks_valgrind "valgrind is not installed")
endif()
