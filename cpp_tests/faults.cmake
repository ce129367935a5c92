# Faults of the system: a host, and scripts/faults.py, which does harm to it. `make faults` does all of it. Here are some of each
# kind; included by CMakeLists.txt.
add_executable(faults_host faults/faults_host.cc)
target_link_libraries(faults_host PRIVATE wasm_engine Threads::Threads)
foreach(kind IN ITEMS calls limits bombs signals kills clock)
  add_test(NAME faults.${kind} COMMAND "${PROJECT_SOURCE_DIR}/scripts/faults.py" $<TARGET_FILE:faults_host>
    "${WASM_ENGINE_GUESTS}/c_identity.wasm" --only ${kind} --few)
  # Containers may not allow ptrace.
  set_tests_properties(faults.${kind} PROPERTIES TIMEOUT 300 SKIP_REGULAR_EXPRESSION "strace cannot trace")
endforeach()

# Everything at once, at random. `make soak` has ten minutes of it.
add_executable(random_host random/random_host.cc)
add_dependencies(random_host wat_guests)
target_include_directories(random_host PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
target_link_libraries(random_host PRIVATE wasm_engine Threads::Threads)
add_test(NAME random.host COMMAND random_host "${WAT_DIR}/t_later.wasm" --seconds 30)
set_tests_properties(random.host PROPERTIES TIMEOUT 300)
