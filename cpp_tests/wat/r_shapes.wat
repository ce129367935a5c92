;; Copies records by more calls than are expanded, in a function that has long operations on its memory, blocks with
;; results and locals of all types. Imports are in a table and exported. Every sixth record goes to the topic `two`.
(module $shapes
  (type $write_type (func (param i32 i32) (result i32)))
  (import "redpanda_transform" "check_abi_version_2" (func $check_abi_version_2))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record" (func $read (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write (type $write_type)))
  (import "redpanda_transform" "write_record_with_options" (func $with (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 8)
  (data (i32.const 16) "\01\06two\00\00\00")
  ;; Bytes to fill before each copy.
  (data (i32.const 32) "\00\00\02\00")
  (table funcref (elem $write $read $with))
  (export "read" (func $read))
  (export "with" (func $with))
  (func $copies (param $unused i64) (result i32)
    (local $f f32) (local $n i32) (local $d f64) (local $r funcref)
    (loop $again
      (block $over
      (br_if $over (i32.lt_s (local.tee $n (call $read
        (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (i32.const 0x20000))) (i32.const 0)))
      (memory.fill (i32.const 0x40000) (i32.const 0) (i32.load (i32.const 32)))
      (memory.copy (i32.const 0x40000) (i32.const 0x10000) (local.get $n))
      (drop (call $write (i32.const 0x40000) (local.get $n)))
      (br_if $over (i32.lt_s (local.tee $n (call $read
        (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (i32.const 0x20000))) (i32.const 0)))
      (memory.fill (i32.const 0x40000) (i32.const 1) (i32.load (i32.const 32)))
      (memory.copy (i32.const 0x40000) (i32.const 0x10000) (local.get $n))
      (drop (call $write (i32.const 0x40000) (local.get $n)))
      (br_if $over (i32.lt_s (local.tee $n (call $read
        (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (i32.const 0x20000))) (i32.const 0)))
      (memory.fill (i32.const 0x40000) (i32.const 2) (i32.load (i32.const 32)))
      (memory.copy (i32.const 0x40000) (i32.const 0x10000) (local.get $n))
      (drop (call $with (i32.const 0x40000) (local.get $n) (i32.const 16) (i32.const 5)))
      (br_if $over (i32.lt_s (local.tee $n (call $read
        (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (i32.const 0x20000))) (i32.const 0)))
      (memory.fill (i32.const 0x40000) (i32.const 3) (i32.load (i32.const 32)))
      (memory.copy (i32.const 0x40000) (i32.const 0x10000) (local.get $n))
      (drop (call $write (i32.const 0x40000) (local.get $n)))
      (br_if $over (i32.lt_s (local.tee $n (call $read
        (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (i32.const 0x20000))) (i32.const 0)))
      (memory.fill (i32.const 0x40000) (i32.const 4) (i32.load (i32.const 32)))
      (memory.copy (i32.const 0x40000) (i32.const 0x10000) (local.get $n))
      (drop (call $with (i32.const 0x40000) (local.get $n) (i32.const 0) (i32.const 0)))
      (br_if $over (i32.lt_s (local.tee $n (call $read
        (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (i32.const 0x20000))) (i32.const 0)))
      (memory.fill (i32.const 0x40000) (i32.const 5) (i32.load (i32.const 32)))
      (memory.copy (i32.const 0x40000) (i32.const 0x10000) (local.get $n))
      (drop (call_indirect (type $write_type) (i32.const 0x40000) (local.get $n) (i32.const 0)))
      (br_if $over (i32.lt_s (local.tee $n (call $read
        (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (i32.const 0x20000))) (i32.const 0)))
      (memory.fill (i32.const 0x40000) (i32.const 6) (i32.load (i32.const 32)))
      (memory.copy (i32.const 0x40000) (i32.const 0x10000) (local.get $n))
      (drop (call $write (i32.const 0x40000) (local.get $n)))
      (br_if $over (i32.lt_s (local.tee $n (call $read
        (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (i32.const 0x20000))) (i32.const 0)))
      (memory.fill (i32.const 0x40000) (i32.const 7) (i32.load (i32.const 32)))
      (memory.copy (i32.const 0x40000) (i32.const 0x10000) (local.get $n))
      (drop (call $write (i32.const 0x40000) (local.get $n)))
      (br_if $over (i32.lt_s (local.tee $n (call $read
        (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (i32.const 0x20000))) (i32.const 0)))
      (memory.fill (i32.const 0x40000) (i32.const 8) (i32.load (i32.const 32)))
      (memory.copy (i32.const 0x40000) (i32.const 0x10000) (local.get $n))
      (drop (call $with (i32.const 0x40000) (local.get $n) (i32.const 16) (i32.const 5)))
      (br_if $over (i32.lt_s (local.tee $n (call $read
        (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (i32.const 0x20000))) (i32.const 0)))
      (memory.fill (i32.const 0x40000) (i32.const 9) (i32.load (i32.const 32)))
      (memory.copy (i32.const 0x40000) (i32.const 0x10000) (local.get $n))
      (drop (call $write (i32.const 0x40000) (local.get $n)))
      (br_if $over (i32.lt_s (local.tee $n (call $read
        (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (i32.const 0x20000))) (i32.const 0)))
      (memory.fill (i32.const 0x40000) (i32.const 10) (i32.load (i32.const 32)))
      (memory.copy (i32.const 0x40000) (i32.const 0x10000) (local.get $n))
      (drop (call $with (i32.const 0x40000) (local.get $n) (i32.const 0) (i32.const 0)))
      (br_if $over (i32.lt_s (local.tee $n (call $read
        (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (i32.const 0x20000))) (i32.const 0)))
      (memory.fill (i32.const 0x40000) (i32.const 11) (i32.load (i32.const 32)))
      (memory.copy (i32.const 0x40000) (i32.const 0x10000) (local.get $n))
      (drop (call_indirect (type $write_type) (i32.const 0x40000) (local.get $n) (i32.const 0)))
      (br_if $over (i32.lt_s (local.tee $n (call $read
        (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (i32.const 0x20000))) (i32.const 0)))
      (memory.fill (i32.const 0x40000) (i32.const 12) (i32.load (i32.const 32)))
      (memory.copy (i32.const 0x40000) (i32.const 0x10000) (local.get $n))
      (drop (call $write (i32.const 0x40000) (local.get $n)))
      (br_if $over (i32.lt_s (local.tee $n (call $read
        (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (i32.const 0x20000))) (i32.const 0)))
      (memory.fill (i32.const 0x40000) (i32.const 13) (i32.load (i32.const 32)))
      (memory.copy (i32.const 0x40000) (i32.const 0x10000) (local.get $n))
      (drop (call $write (i32.const 0x40000) (local.get $n)))
      (br_if $over (i32.lt_s (local.tee $n (call $read
        (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (i32.const 0x20000))) (i32.const 0)))
      (memory.fill (i32.const 0x40000) (i32.const 14) (i32.load (i32.const 32)))
      (memory.copy (i32.const 0x40000) (i32.const 0x10000) (local.get $n))
      (drop (call $with (i32.const 0x40000) (local.get $n) (i32.const 16) (i32.const 5)))
      (br_if $over (i32.lt_s (local.tee $n (call $read
        (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (i32.const 0x20000))) (i32.const 0)))
      (memory.fill (i32.const 0x40000) (i32.const 15) (i32.load (i32.const 32)))
      (memory.copy (i32.const 0x40000) (i32.const 0x10000) (local.get $n))
      (drop (call $write (i32.const 0x40000) (local.get $n)))
      (br_if $over (i32.lt_s (local.tee $n (call $read
        (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (i32.const 0x20000))) (i32.const 0)))
      (memory.fill (i32.const 0x40000) (i32.const 16) (i32.load (i32.const 32)))
      (memory.copy (i32.const 0x40000) (i32.const 0x10000) (local.get $n))
      (drop (call $with (i32.const 0x40000) (local.get $n) (i32.const 0) (i32.const 0)))
      (br_if $over (i32.lt_s (local.tee $n (call $read
        (i32.const 80) (i32.const 88) (i32.const 96) (i32.const 0x10000) (i32.const 0x20000))) (i32.const 0)))
      (memory.fill (i32.const 0x40000) (i32.const 17) (i32.load (i32.const 32)))
      (memory.copy (i32.const 0x40000) (i32.const 0x10000) (local.get $n))
      (drop (call_indirect (type $write_type) (i32.const 0x40000) (local.get $n) (i32.const 0)))
      (br $again)))
    (drop (i32.add (i32.const 1) (block (result i32) (call $write (i32.const 0) (i32.const 0)))))
    (local.get $n))
  (func (export "_start")
    (call $check_abi_version_2)
    (loop $batches
      (drop (call $read_batch_header
        (i32.const 40) (i32.const 40) (i32.const 48) (i32.const 48) (i32.const 48)
        (i32.const 48) (i32.const 56) (i32.const 56) (i32.const 64) (i32.const 72)))
      (drop (call $copies (i64.const 0)))
      (br $batches))))
