;; Calls the host function t.f before it asks for the first batch.
(module $h_start
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "t" "f" (func $f (param i32 i32) (result i32)))
  (import "t" "report" (func $report (param i32)))
  (memory (export "memory") 1)
  (func $start (export "_start")
    (call $report (call $f (i32.const 1) (i32.const 2)))
    (loop $batch
      (drop (call $read_batch_header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20)
        (i32.const 24) (i32.const 32) (i32.const 40) (i32.const 48) (i32.const 52)))
      (br $batch))))
