;; Calls the schema registry with each record's value, two i32 a and b, and tells the result and the first word of what it
;; got to t.report. a = 0: registers the schema at 1024 under the subject at 1100; 1: length, then bytes, of schema b;
;; 2: of version b of the subject; 3: as 1, but with a buffer that is too small; 4: registers garbage;
;; 5: registers a schema with b empty references.
(module $h_sr
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_schema_registry" "check_abi_version_0" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_schema_registry" "get_schema_definition_len" (func $def_len (param i32 i32) (result i32)))
  (import "redpanda_schema_registry" "get_schema_definition" (func $def (param i32 i32 i32) (result i32)))
  (import "redpanda_schema_registry" "get_subject_schema_len" (func $sub_len (param i32 i32 i32 i32) (result i32)))
  (import "redpanda_schema_registry" "get_subject_schema" (func $sub (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_schema_registry" "create_subject_schema" (func $create (param i32 i32 i32 i32 i32) (result i32)))
  (import "t" "report" (func $report (param i32)))
  (memory (export "memory") 40)
  ;; Avro, the text "\"int\"" and no reference.
  (data (i32.const 1024) "\00\0a\22int\22\00")
  (data (i32.const 1100) "topic-value")
  (func $serve (param $a i32) (param $b i32) (local $count i32)
    (i32.store (i32.const 2000) (i32.const 0))
    (i32.store (i32.const 3000) (i32.const 0))
    (if (i32.eqz (local.get $a)) (then
      (call $report (call $create (i32.const 1100) (i32.const 11) (i32.const 1024) (i32.const 8) (i32.const 2000)))
      (call $report (i32.load (i32.const 2000)))))
    (if (i32.eq (local.get $a) (i32.const 1)) (then
      (call $report (call $def_len (local.get $b) (i32.const 2000)))
      (call $report (call $def (local.get $b) (i32.const 3000) (i32.load (i32.const 2000))))
      (call $report (i32.load (i32.const 3000)))))
    (if (i32.eq (local.get $a) (i32.const 2)) (then
      (call $report (call $sub_len (i32.const 1100) (i32.const 11) (local.get $b) (i32.const 2000)))
      (call $report (call $sub (i32.const 1100) (i32.const 11) (local.get $b) (i32.const 3000)
        (i32.load (i32.const 2000))))
      (call $report (i32.load (i32.const 3000)))))
    (if (i32.eq (local.get $a) (i32.const 3)) (then
      (call $report (call $def (local.get $b) (i32.const 3000) (i32.const 3)))))
    (if (i32.eq (local.get $a) (i32.const 4)) (then
      (call $report (call $create (i32.const 1100) (i32.const 11) (i32.const 1024) (i32.const 5) (i32.const 2000)))))
    (if (i32.eq (local.get $a) (i32.const 5)) (then
      ;; Type 0, an empty text, the count as a varint of three bytes; the references are zeros.
      (local.set $count (i32.shl (local.get $b) (i32.const 1)))
      (i32.store8 (i32.const 65538) (i32.or (i32.const 0x80) (local.get $count)))
      (i32.store8 (i32.const 65539) (i32.or (i32.const 0x80) (i32.shr_u (local.get $count) (i32.const 7))))
      (i32.store8 (i32.const 65540) (i32.shr_u (local.get $count) (i32.const 14)))
      (call $report (call $create (i32.const 1100) (i32.const 11) (i32.const 65536)
        (i32.add (i32.const 5) (i32.mul (i32.const 3) (local.get $b))) (i32.const 2000))))))
  (func $start (export "_start")
    (loop $batch
      (drop (call $read_batch_header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20)
        (i32.const 24) (i32.const 32) (i32.const 40) (i32.const 48) (i32.const 52)))
      (loop $record
        (if (i32.ge_s (call $read_next_record (i32.const 64) (i32.const 72) (i32.const 80) (i32.const 4096)
              (i32.const 1000)) (i32.const 0))
          (then
            (call $serve (i32.load (i32.const 4098)) (i32.load (i32.const 4102)))
            (br $record))))
      (br $batch))))
