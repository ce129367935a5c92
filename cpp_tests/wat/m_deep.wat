;; Recurses without end, and at each level does what the first character of a record's value says, so also with the last
;; bytes of its stack:
;;
;;   r  nothing                          s  registers a schema, and gets one
;;   l  logs a line of 8 KiB             t  calls t.wide
;;   o  writes a record of 900 bytes     w  calls t.wait
(module $m_deep
  (import "redpanda_transform" "check_abi_version_1" (func))
  (import "redpanda_schema_registry" "check_abi_version_0" (func))
  (import "redpanda_transform" "read_batch_header"
    (func $read_batch_header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "read_next_record"
    (func $read_next_record (param i32 i32 i32 i32 i32) (result i32)))
  (import "redpanda_transform" "write_record" (func $write_record (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "redpanda_schema_registry" "get_schema_definition_len" (func $def_len (param i32 i32) (result i32)))
  (import "redpanda_schema_registry" "get_schema_definition" (func $def (param i32 i32 i32) (result i32)))
  (import "redpanda_schema_registry" "create_subject_schema" (func $create (param i32 i32 i32 i32 i32) (result i32)))
  (import "t" "wide" (func $wide (param i32) (result i32)))
  (import "t" "wait" (func $wait (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  ;; One part: 8191 bytes and a newline, at 65536.
  (data (i32.const 256) "\00\00\01\00\00\20\00\00")
  ;; Avro, the text "\"int\"" and no reference; and the subject.
  (data (i32.const 1024) "\00\0a\22int\22\00")
  (data (i32.const 1100) "topic-value")
  ;; No key, a value of 900 bytes, no headers.
  (data (i32.const 2048) "\01\88\0e")
  (global $deepest (mut i32) (i32.const 0))
  (func $act (param $what i32)
    (if (i32.eq (local.get $what) (i32.const 0x6c)) (then
      (drop (call $fd_write (i32.const 1) (i32.const 256) (i32.const 1) (i32.const 128)))))
    (if (i32.eq (local.get $what) (i32.const 0x6f)) (then
      (drop (call $write_record (i32.const 2048) (i32.const 904)))))
    (if (i32.eq (local.get $what) (i32.const 0x73)) (then
      (drop (call $create (i32.const 1100) (i32.const 11) (i32.const 1024) (i32.const 8) (i32.const 1200)))
      (drop (call $def_len (i32.load (i32.const 1200)) (i32.const 1204)))
      (drop (call $def (i32.load (i32.const 1200)) (i32.const 1300) (i32.load (i32.const 1204))))))
    (if (i32.eq (local.get $what) (i32.const 0x74)) (then
      (drop (call $wide (i32.const 1)))))
    (if (i32.eq (local.get $what) (i32.const 0x77)) (then
      (drop (call $wait (i32.const 1) (i32.const 2))))))
  (func $deeper (param $what i32) (param $depth i32) (result i32)
    (call $act (local.get $what))
    (i32.add (i32.const 1) (call $deeper (local.get $what) (i32.add (local.get $depth) (i32.const 1)))))
  (func $start (export "_start")
    (memory.fill (i32.const 65536) (i32.const 0x78) (i32.const 8191))
    (i32.store8 (i32.const 73727) (i32.const 10))
    (loop $batch
      (drop (call $read_batch_header (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 16) (i32.const 20)
        (i32.const 24) (i32.const 32) (i32.const 40) (i32.const 48) (i32.const 52)))
      (loop $record
        (if (i32.ge_s (call $read_next_record (i32.const 64) (i32.const 72) (i32.const 80) (i32.const 4096)
              (i32.const 1000)) (i32.const 0))
          (then
            (drop (call $deeper (i32.load8_u (i32.const 4098)) (i32.const 0)))
            (br $record))))
      (br $batch))))
