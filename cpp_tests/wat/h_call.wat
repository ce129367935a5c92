;; Calls the host function t.f with each record's value, two i32, and tells the result to t.report.
(module $h_call
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "t" "f" (func $f (param i32 i32) (result i32)))
  (import "t" "report" (func $report (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "hello, host")
  (data (i32.const 2048) "\01\00\00\00\02\00\00\00\03\00\00\00\04\00\00\00")
  (func $start (export "_start")
    (loop $batch
      (drop (call $read_batch_header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20)
        (i32.const 24) (i32.const 32) (i32.const 40) (i32.const 48) (i32.const 52)))
      (loop $record
        (if (i32.ge_s (call $read_next_record (i32.const 64) (i32.const 72) (i32.const 80) (i32.const 4096)
              (i32.const 1000)) (i32.const 0))
          (then
            ;; No key (1 byte), the value's length (1 byte), then the two numbers.
            (call $report (call $f (i32.load (i32.const 4098)) (i32.load (i32.const 4102))))
            (br $record))))
      (br $batch))))
