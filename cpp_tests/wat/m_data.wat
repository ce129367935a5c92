;; Tells what is in its memory as each record's value says, two i32 what and n; writes the result as a record of eight
;; bytes:
;;
;;   0  a hash (FNV-1a) of the bytes from n to the end     4  memory.grow by n
;;   1  the byte at n, which becomes 0xee                  5  traps
;;   2  eight bytes at n after memory.init of "passive"
;;   3  data.drop of that
;;
;; Below 8192 it has what it works with. Tests add active segments and pages: memory/data_image_test.cc.
(module $m_data
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write_record (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data $passive "passive!")
  (func $hash (param $at i32) (result i64) (local $hash i64) (local $end i32)
    (local.set $end (i32.shl (memory.size) (i32.const 16)))
    (local.set $hash (i64.const 0xcbf29ce484222325))
    (loop $again
      (local.set $hash
        (i64.mul (i64.xor (local.get $hash) (i64.load8_u (local.get $at))) (i64.const 0x100000001b3)))
      (br_if $again (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (local.get $end))))
    (local.get $hash))
  (func $exchange (param $at i32) (result i64) (local $before i64)
    (local.set $before (i64.load8_u (local.get $at)))
    (i32.store8 (local.get $at) (i32.const 0xee))
    (local.get $before))
  (func $do (param $what i32) (param $n i32) (result i64)
    (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
      (br_table $0 $1 $2 $3 $4 $5 (local.get $what)))
      (return (call $hash (local.get $n))))
      (return (call $exchange (local.get $n))))
      (memory.init $passive (local.get $n) (i32.const 0) (i32.const 8))
      (return (i64.load (local.get $n))))
      (data.drop $passive)
      (return (i64.const 0)))
      (return (i64.extend_i32_s (memory.grow (local.get $n)))))
    (unreachable))
  (func $start (export "_start")
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
