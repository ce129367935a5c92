# Faults of the system: a host, and scripts/faults.py, which does harm to it. `make faults` does all of it. Here are some of each
# kind; included by CMakeLists.txt.
add_executable(faults_host faults/faults_host.cc)
target_link_libraries(faults_host PRIVATE wasm_engine Threads::Threads)
foreach(kind IN ITEMS calls limits signals kills clock)
  add_test(NAME faults.${kind} COMMAND "${PROJECT_SOURCE_DIR}/scripts/faults.py" $<TARGET_FILE:faults_host>
    "${WASM_ENGINE_GUESTS}/c_identity.wasm" --only ${kind} --few)
  set_tests_properties(faults.${kind} PROPERTIES TIMEOUT 300)
endforeach()
