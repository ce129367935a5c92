;; Loops for ever in the start section, which runs while the module is instantiated, before _start.
(module $start_section_loop
  (import "redpanda_transform" "check_abi_version_1" (func))
  (memory (export "memory") 1)
  (func $initialize
    (loop $forever (br $forever)))
  (start $initialize)
  (func $start (export "_start")))
