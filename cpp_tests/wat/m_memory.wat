;; Works on its memory as each record's value says, two i32 what and n; writes the result as a record of eight bytes:
;;
;;   0  pages of memory                       3  bytes from 8192 to the end that are not zero
;;   1  memory.grow by n, -1 if refused       4  bytes that were not zero when it started, but for its data at 60000
;;   2  fills from 8192 to the end with n     5  the first byte of its data
;;   6  loads from address n
(module $m_memory
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write_record (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $at_start (mut i64) (i64.const 0))
  (data (i32.const 60000) "data")
  (func $end (result i64) (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16)))
  (func $skips (param $at i64) (result i32)
    (if (i32.and (i32.wrap_i64 (local.get $at)) (i32.const 7)) (then (return (i32.const 0))))
    (i64.eqz (i64.load (i32.wrap_i64 (local.get $at)))))
  ;; Counts bytes from $at that are not zero; looks at eight at a time where it can.
  (func $count (param $at i64) (result i64) (local $found i64) (local $end i64)
    (local.set $end (call $end))
    (block $done
      (loop $again
        (br_if $done (i64.ge_u (local.get $at) (local.get $end)))
        (if (call $skips (local.get $at))
          (then (local.set $at (i64.add (local.get $at) (i64.const 8))))
          (else
            (if (i32.load8_u (i32.wrap_i64 (local.get $at)))
              (then (local.set $found (i64.add (local.get $found) (i64.const 1)))))
            (local.set $at (i64.add (local.get $at) (i64.const 1)))))
        (br $again)))
    (local.get $found))
  (func $do (param $what i32) (param $n i32) (result i64)
    (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
      (br_table $0 $1 $2 $3 $4 $5 $6 (local.get $what)))
      (return (i64.extend_i32_u (memory.size))))
      (return (i64.extend_i32_s (memory.grow (local.get $n)))))
      (memory.fill (i32.const 8192) (local.get $n) (i32.wrap_i64 (i64.sub (call $end) (i64.const 8192))))
      (return (i64.sub (call $end) (i64.const 8192))))
      (return (call $count (i64.const 8192))))
      (return (global.get $at_start)))
      (return (i64.load8_u (i32.const 60000))))
    (i64.load (local.get $n)))
  (func $start (export "_start")
    ;; The four bytes of the data are counted, too.
    (global.set $at_start (i64.sub (call $count (i64.const 0)) (i64.const 4)))
    (loop $batch
      (drop (call $read_batch_header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20)
        (i32.const 24) (i32.const 32) (i32.const 40) (i32.const 48) (i32.const 52)))
      (loop $record
        (if (i32.ge_s (call $read_next_record (i32.const 64) (i32.const 72) (i32.const 80) (i32.const 4096)
              (i32.const 1000)) (i32.const 0))
          (then
            (i64.store (i32.const 1026) (call $do (i32.load (i32.const 4098)) (i32.load (i32.const 4102))))
            ;; No key, a value of eight bytes, no headers.
            (i32.store16 (i32.const 1024) (i32.const 0x1001))
            (drop (call $write_record (i32.const 1024) (i32.const 11)))
            (br $record))))
      (br $batch))))
