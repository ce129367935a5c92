;; For each record, two i32 a and b: grows its memory by a pages, tells the result to t.report, and calls t.f with the end
;; of its memory and b.
(module $m_base
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "t" "f" (func $f (param i32 i32) (result i32)))
  (import "t" "report" (func $report (param i32)))
  (memory (export "memory") 1)
  (func $start (export "_start")
    (loop $batch
      (drop (call $read_batch_header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20)
        (i32.const 24) (i32.const 32) (i32.const 40) (i32.const 48) (i32.const 52)))
      (loop $record
        (if (i32.ge_s (call $read_next_record (i32.const 64) (i32.const 72) (i32.const 80) (i32.const 4096)
              (i32.const 1000)) (i32.const 0))
          (then
            (call $report (memory.grow (i32.load (i32.const 4098))))
            (drop (call $f (i32.shl (memory.size) (i32.const 16)) (i32.load (i32.const 4102))))
            (br $record))))
      (br $batch))))
