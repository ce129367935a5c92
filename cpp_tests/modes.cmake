# The tests whose guests depend on the memory, trap and signal mode, once more in each mode, one process a mode (see
# support/modes.cc). Included by CMakeLists.txt. README.md says why these files and these modes.
set(MODE_FILES
  abi/future_test.cc
  abi/wrong_state_test.cc
  compile/code_cache_test.cc
  engine/many_engines_test.cc
  engine/progress_test.cc
  engine/sink_test.cc
  engine/task_test.cc
  engine/transform_and_poll_test.cc
  engine/transform_many_ends_test.cc
  engine/transform_many_test.cc
  guest/bulk_memory_test.cc
  guest/core_dump_test.cc
  guest/end_test.cc
  guest/identity_test.cc
  guest/profile_test.cc
  host/function_test.cc
  host/promise_test.cc
  host/schema_registry_test.cc
  host/typed_async_test.cc
  host/typed_functions_test.cc
  metrics/metrics_test.cc
  policy/dead_letter_test.cc
  policy/failure_test.cc
  policy/reentrant_test.cc
  policy/restart_test.cc
  policy/resume_test.cc
  policy/transform_many_test.cc
  record_calls/engines_test.cc
  record_calls/modules_test.cc
  record_calls/payloads_test.cc
  record_calls/watched_test.cc
  records/offsets_test.cc
  records/parsed_output_test.cc
  records/transform_records_test.cc
  replace/combined_test.cc
  replace/progress_test.cc
  shared/failure_test.cc
  shared/order_test.cc
  shared/random_test.cc
  shared/users_test.cc)
list(TRANSFORM MODE_FILES PREPEND "--file=" OUTPUT_VARIABLE MODE_ARGUMENTS)

# add_mode(MODE[,MODE...] tests that are left out...)
function(add_mode modes)
  string(REPLACE "," "_" name "${modes}")
  # ManyThreads.*: compile threads of the test before may still be ending. GoGuestCache.*: compiling Go takes seconds.
  string(JOIN ":" left_out "ManyThreads.*" "GoGuestCache.*" ${ARGN})
  add_test(NAME mode_${name} COMMAND wasm_engine_tests --gtest_brief=1 "--gtest_filter=-${left_out}" ${MODE_ARGUMENTS})
  set_tests_properties(mode_${name} PROPERTIES TIMEOUT 300 LABELS mode ENVIRONMENT "WASM_ENGINE_TEST_MODES=${modes}")
endfunction()
add_mode(thread-pool,check-signals)
add_mode(host-memory,tight-stacks)
# Its tables have 20,000 elements at most.
add_mode(process-pool GuestMemory.GrowthThatATableRefusesItselfCostsNothing)
add_mode(checks)
