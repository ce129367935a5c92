//! A guest that makes the host calls which a record's value names, for the target `guest`.
//!
//! The value is a list of calls: a byte for the function, counted from the front of `FUNCTIONS`, and an argument for each of its
//! parameters. An argument is a byte, which may be followed by four more:
//!
//! | byte | argument |
//! | --- | --- |
//! | below 0x40 | itself |
//! | below 0x80 | one of 64 places that nothing else uses |
//! | below 0xC0 | 64 numbers from 63 before the end of the memory up to it |
//! | the rest | the four bytes that follow |
//!
//! Arguments of 64 bits are the same with their sign. After the last call the guest writes a record of the results.

use crate::module::abi::{SCHEMA_REGISTRY, TRANSFORM, WASI};
use core::fmt::Write as _;

/// Host modules, functions, types of parameters (`i`: 32 bits, `l`: 64) and whether there is a result.
pub const FUNCTIONS: &[(&str, &str, &str, bool)] = &[
    (TRANSFORM, "write_record", "ii", true),
    (TRANSFORM, "write_record_with_options", "iiii", true),
    (TRANSFORM, "read_next_record", "iiiii", true),
    (TRANSFORM, "read_batch_header", "iiiiiiiiii", true),
    (SCHEMA_REGISTRY, "get_schema_definition_len", "ii", true),
    (SCHEMA_REGISTRY, "get_schema_definition", "iii", true),
    (SCHEMA_REGISTRY, "get_subject_schema_len", "iiii", true),
    (SCHEMA_REGISTRY, "get_subject_schema", "iiiii", true),
    (SCHEMA_REGISTRY, "create_subject_schema", "iiiii", true),
    (WASI, "args_get", "ii", true),
    (WASI, "args_sizes_get", "ii", true),
    (WASI, "environ_get", "ii", true),
    (WASI, "environ_sizes_get", "ii", true),
    (WASI, "clock_res_get", "ii", true),
    (WASI, "clock_time_get", "ili", true),
    (WASI, "fd_advise", "illi", true),
    (WASI, "fd_allocate", "ill", true),
    (WASI, "fd_close", "i", true),
    (WASI, "fd_datasync", "i", true),
    (WASI, "fd_fdstat_get", "ii", true),
    (WASI, "fd_fdstat_set_flags", "ii", true),
    (WASI, "fd_fdstat_set_rights", "ill", true),
    (WASI, "fd_filestat_get", "ii", true),
    (WASI, "fd_filestat_set_size", "il", true),
    (WASI, "fd_filestat_set_times", "illi", true),
    (WASI, "fd_pread", "iiili", true),
    (WASI, "fd_prestat_get", "ii", true),
    (WASI, "fd_prestat_dir_name", "iii", true),
    (WASI, "fd_pwrite", "iiili", true),
    (WASI, "fd_read", "iiii", true),
    (WASI, "fd_readdir", "iiili", true),
    (WASI, "fd_renumber", "ii", true),
    (WASI, "fd_seek", "ilii", true),
    (WASI, "fd_sync", "i", true),
    (WASI, "fd_tell", "ii", true),
    (WASI, "fd_write", "iiii", true),
    (WASI, "path_create_directory", "iii", true),
    (WASI, "path_filestat_get", "iiiii", true),
    (WASI, "path_filestat_set_times", "iiiilli", true),
    (WASI, "path_link", "iiiiiii", true),
    (WASI, "path_open", "iiiiillii", true),
    (WASI, "path_readlink", "iiiiii", true),
    (WASI, "path_remove_directory", "iii", true),
    (WASI, "path_rename", "iiiiii", true),
    (WASI, "path_symlink", "iiiii", true),
    (WASI, "path_unlink_file", "iii", true),
    (WASI, "poll_oneoff", "iiii", true),
    (WASI, "proc_exit", "i", false),
    (WASI, "random_get", "ii", true),
    (WASI, "sched_yield", "", true),
    (WASI, "sock_accept", "iii", true),
    (WASI, "sock_recv", "iiiiii", true),
    (WASI, "sock_send", "iiiii", true),
    (WASI, "sock_shutdown", "ii", true),
];

/// The guest's memory.
const PAGES: u32 = 3;

/// Where records are read to, where the script of the current one is copied to, and where the places that nothing else uses
/// begin. What the guest writes of its results is an encoded payload: a null key, a value of 128 bytes and no headers.
const RECORD: u32 = 0x1000;
const SCRIPT: u32 = 0x8000;
const PLACES: u32 = 0xC000;
const RESULTS: u32 = 0x200;

/// Bytes of a script.
pub const LONGEST: usize = 1024;

/// The guest in Wasm's text format.
pub fn text() -> String {
    let mut imports = String::new();
    let mut cases = String::new();
    for (index, (module, name, params, has_result)) in FUNCTIONS.iter().enumerate() {
        let types: Vec<_> = params.chars().map(|ty| if ty == 'i' { "i32" } else { "i64" }).collect();
        let (types, result) = (types.join(" "), if *has_result { "(result i32)" } else { "" });
        // Writing to a string does not fail.
        let _ = writeln!(imports, "(import \"{module}\" \"{name}\" (func $f{index} (param {types}) {result}))");
        let arguments = params.chars().map(|ty| if ty == 'i' { "(call $argument)" } else { "(call $long)" });
        let call = format!("(call $f{index} {})", arguments.collect::<String>());
        let call = if *has_result { format!("(call $note {call})") } else { call };
        let _ = writeln!(cases, "(if (i32.eq (local.get $function) (i32.const {index})) (then {call}))");
    }
    let (end, count) = (PAGES << 16, FUNCTIONS.len());
    format!(
        r#"(module
 (import "{TRANSFORM}" "check_abi_version_2" (func))
 (import "{SCHEMA_REGISTRY}" "check_abi_version_0" (func))
 {imports}
 (memory (export "memory") {PAGES})
 (data (i32.const {RESULTS}) "\01\80\02")
 (global $at (mut i32) (i32.const 0))
 (global $end (mut i32) (i32.const 0))
 (global $noted (mut i32) (i32.const 0))
 (func $byte (result i32)
  (if (i32.ge_u (global.get $at) (global.get $end)) (then (return (i32.const 0))))
  (i32.load8_u (global.get $at))
  (global.set $at (i32.add (global.get $at) (i32.const 1))))
 (func $argument (result i32) (local $byte i32)
  (local.set $byte (call $byte))
  (if (i32.lt_u (local.get $byte) (i32.const 0x40)) (then (return (local.get $byte))))
  (if (i32.lt_u (local.get $byte) (i32.const 0x80)) (then
   (return (i32.add (i32.const {PLACES}) (i32.shl (i32.sub (local.get $byte) (i32.const 0x40)) (i32.const 6))))))
  (if (i32.lt_u (local.get $byte) (i32.const 0xC0)) (then
   (return (i32.sub (i32.const {end}) (i32.sub (local.get $byte) (i32.const 0x80))))))
  (i32.or (i32.or (call $byte) (i32.shl (call $byte) (i32.const 8)))
   (i32.or (i32.shl (call $byte) (i32.const 16)) (i32.shl (call $byte) (i32.const 24)))))
 (func $long (result i64) (i64.extend_i32_s (call $argument)))
 (func $note (param $result i32)
  (i32.store (i32.add (i32.const {RESULTS} + 3) (i32.and (global.get $noted) (i32.const 0x7c))) (local.get $result))
  (global.set $noted (i32.add (global.get $noted) (i32.const 4))))
 (func $call (local $function i32)
  (local.set $function (i32.rem_u (call $byte) (i32.const {count})))
  {cases})
 (func (export "_start") (local $size i32)
  (loop $batches
   (drop (call $f3 (i32.const 0) (i32.const 8) (i32.const 16) (i32.const 24) (i32.const 32) (i32.const 40)
    (i32.const 48) (i32.const 56) (i32.const 64) (i32.const 72)))
   (block $last (loop $records
    (local.set $size
     (call $f2 (i32.const 80) (i32.const 88) (i32.const 96) (i32.const {RECORD}) (i32.const 0x4000)))
    (br_if $last (i32.lt_s (local.get $size) (i32.const 0)))
    ;; A null key, two bytes for the length of the value, the script and the count of headers.
    (memory.copy (i32.const {SCRIPT}) (i32.const {RECORD}) (local.get $size))
    (global.set $at (i32.const {SCRIPT} + 3))
    (global.set $end (i32.add (i32.const {SCRIPT} - 1) (local.get $size)))
    (global.set $noted (i32.const 0))
    (block $done (loop $calls
     (br_if $done (i32.ge_u (global.get $at) (global.get $end)))
     (call $call)
     (br $calls)))
    (drop (call $f0 (i32.const {RESULTS}) (i32.const 132)))
    (br $records)))
   (br $batches))))"#
    )
    .replace(&format!("{RESULTS} + 3"), &(RESULTS + 3).to_string())
    .replace(&format!("{SCRIPT} + 3"), &(SCRIPT + 3).to_string())
    .replace(&format!("{SCRIPT} - 1"), &(SCRIPT - 1).to_string())
}
