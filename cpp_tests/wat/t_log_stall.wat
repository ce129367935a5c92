;; Logs 2 GiB in a single call of fd_write: 64 parts that are all the same 32 MiB. Then copies nothing.
(module $log_stall
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write_record (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 513)
  (func $next_batch (result i32)
    (call $read_batch_header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20) (i32.const 24)
      (i32.const 32) (i32.const 40) (i32.const 48) (i32.const 52)))
  (func $next_record (param $size i32) (result i32)
    (call $read_next_record (i32.const 64) (i32.const 72) (i32.const 80) (i32.const 4096) (local.get $size)))
  (func $start (export "_start") (local $i i32)
    (drop (call $next_batch))
    (loop $parts
      (i32.store (i32.add (i32.const 8192) (i32.mul (local.get $i) (i32.const 8))) (i32.const 0))
      (i32.store (i32.add (i32.const 8196) (i32.mul (local.get $i) (i32.const 8))) (i32.const 33554400))
      (br_if $parts (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 64))))
    (drop (call $fd_write (i32.const 1) (i32.const 8192) (i32.const 64) (i32.const 4000)))
    (loop $forever (drop (call $next_batch)) (br $forever))))
