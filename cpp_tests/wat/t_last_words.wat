;; Does what the first byte of a record's value says: w writes the value to standard error as a line; n writes it
;; without a newline and dies; d dies; t asks for ten million elements of a table and dies; m asks for a gigabyte of memory
;; and dies; r asks for 262,145 random bytes and dies. Other records are dropped.
(module $last_words
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write_record (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (table $table 1 funcref)
  (data (i32.const 300) "\n")
  (func $print (param $start i32) (param $size i32)
    (i32.store (i32.const 400) (local.get $start))
    (i32.store (i32.const 404) (local.get $size))
    (drop (call $fd_write (i32.const 2) (i32.const 400) (i32.const 1) (i32.const 408))))
  ;; Values have at most 63 bytes: key and value have lengths of one byte, and there are no headers.
  (func $record (param $size i32)
    (local $kind i32)
    (local.set $kind (i32.load8_u (i32.const 4098)))
    (if (i32.or (i32.eq (local.get $kind) (i32.const 119)) (i32.eq (local.get $kind) (i32.const 110)))
      (then (call $print (i32.const 4098) (i32.sub (local.get $size) (i32.const 3)))))
    (if (i32.eq (local.get $kind) (i32.const 119)) (then (call $print (i32.const 300) (i32.const 1)) return))
    (if (i32.eq (local.get $kind) (i32.const 116))
      (then (drop (table.grow $table (ref.null func) (i32.const 10000000)))))
    (if (i32.eq (local.get $kind) (i32.const 109)) (then (drop (memory.grow (i32.const 16384)))))
    (if (i32.eq (local.get $kind) (i32.const 114)) (then (drop (call $random_get (i32.const 0) (i32.const 262145)))))
    unreachable)
  (func $start (export "_start")
    (local $size i32)
    (loop $batch
      (drop (call $read_batch_header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20)
        (i32.const 24) (i32.const 32) (i32.const 40) (i32.const 48) (i32.const 52)))
      (loop $next
        (local.set $size (call $read_next_record (i32.const 64) (i32.const 72) (i32.const 80) (i32.const 4096)
          (i32.const 100000)))
        (br_if $batch (i32.lt_s (local.get $size) (i32.const 0)))
        (call $record (local.get $size))
        (br $next)))))
