;; Calls host functions at wrong times and tells, in one record, what they returned, one signed byte each:
;; before the first batch: write_record, read_next_record; in the batch: read_next_record with no room, with room,
;; past the end (the batch must have one record); a write of nothing; a write after the last record.
(module $protocol
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write_record (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "\01\0e")          ;; no key, a value of 7 bytes
  (data (i32.const 512) "\01\02x\00")     ;; a valid payload
  (func $next_batch (result i32)
    (call $read_batch_header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20) (i32.const 24)
      (i32.const 32) (i32.const 40) (i32.const 48) (i32.const 52)))
  (func $next_record (param $size i32) (result i32)
    (call $read_next_record (i32.const 64) (i32.const 72) (i32.const 80) (i32.const 4096) (local.get $size)))
  (func $start (export "_start")
    (i32.store8 (i32.const 258) (call $write_record (i32.const 512) (i32.const 4)))
    (i32.store8 (i32.const 259) (call $next_record (i32.const 1000)))
    (drop (call $next_batch))
    (i32.store8 (i32.const 260) (call $next_record (i32.const 0)))
    (i32.store8 (i32.const 261) (call $next_record (i32.const 1000)))
    (i32.store8 (i32.const 262) (call $next_record (i32.const 1000)))
    (i32.store8 (i32.const 263) (call $write_record (i32.const 512) (i32.const 0)))
    (i32.store8 (i32.const 264) (call $write_record (i32.const 512) (i32.const 4)))
    (drop (call $write_record (i32.const 256) (i32.const 10)))
    (loop $forever (drop (call $next_batch)) (br $forever))))
