;; For each batch: recurses without end, and logs a line at each level, so also with the last bytes of stack.
(module $deep_log
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write_record (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "\08\01\00\00\02\00\00\00x\0a") ;; one part: two bytes at 264
  (func $next_batch (result i32)
    (call $read_batch_header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20) (i32.const 24)
      (i32.const 32) (i32.const 40) (i32.const 48) (i32.const 52)))
  (func $next_record (param $size i32) (result i32)
    (call $read_next_record (i32.const 64) (i32.const 72) (i32.const 80) (i32.const 4096) (local.get $size)))
  (func $deeper (param $depth i32) (result i32)
    (drop (call $fd_write (i32.const 1) (i32.const 256) (i32.const 1) (i32.const 128)))
    (i32.add (i32.const 1) (call $deeper (i32.add (local.get $depth) (i32.const 1)))))
  (func $start (export "_start")
    (loop $forever
      (drop (call $next_batch))
      (drop (call $deeper (i32.const 0)))
      (br $forever))))
