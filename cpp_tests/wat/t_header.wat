;; For each batch, writes what read_batch_header said: 56 bytes of fields in its order, unpadded, then its result.
(module $header
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write_record (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "\01\70") ;; no key, a value of 56 bytes; the 0 after it is "no headers"
  (func $start (export "_start")
    (loop $forever
      (i32.store (i32.const 310) (call $read_batch_header
        (i32.const 258) (i32.const 266) (i32.const 270) (i32.const 274) (i32.const 276) (i32.const 280) (i32.const 288)
        (i32.const 296) (i32.const 304) (i32.const 306)))
      (drop (call $write_record (i32.const 256) (i32.const 59)))
      (br $forever))))
