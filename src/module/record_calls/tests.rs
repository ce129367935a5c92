use super::*;
use crate::module::suspend_points::{self, Changed, Options};
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

const IMPORTS: &str = r#"
    (import "redpanda_transform" "read_batch_header"
        (func $header (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "redpanda_transform" "read_next_record" (func $read (param i32 i32 i32 i32 i32) (result i32)))
    (import "redpanda_transform" "write_record" (func $write (param i32 i32) (result i32)))
    (import "redpanda_transform" "write_record_with_options" (func $to (param i32 i32 i32 i32) (result i32)))"#;

const READ: &str = "(drop (call $read (i32.const 0) (i32.const 8) (i32.const 16) (i32.const 64) (i32.const 99)))";
const WRITE: &str = "(drop (call $write (i32.const 64) (i32.const 9)))";
const TO: &str = "(drop (call $to (i32.const 64) (i32.const 9) (i32.const 0) (i32.const 5)))";

/// A module with these functions that was rewritten.
fn expanded(rest: &str) -> Changed {
    let module = wat::parse_str(format!("(module (type (func)) {IMPORTS} {rest})")).unwrap();
    let changed = suspend_points::add(&module, suspend_points::own, Options { recorder: None, expands: true });
    let changed = changed.unwrap().unwrap();
    Validator::new_with_features(WasmFeatures::all()).validate_all(&changed.module).unwrap();
    changed
}

fn memories(module: &[u8]) -> u32 {
    let sections = Parser::new(0).parse_all(module).map(Result::unwrap);
    sections.filter_map(|payload| if let Payload::MemorySection(s) = payload { Some(s.count()) } else { None }).sum()
}

#[test]
fn calls_are_expanded_where_they_are_direct() {
    for body in [READ, WRITE, TO] {
        let others = "(func (drop (call $write (i32.const 1) (i32.const 2))))";
        let changed = expanded(&format!(r#"(memory (export "memory") 1) (func {body})"#));
        assert!(check(&changed.module, &changed.sites).is_ok());
        // A module that only writes has imported the function that reads, too.
        assert_eq!(changed.sites.len(), 1, "{body}");
        let both = expanded(&format!(r#"(memory (export "memory") 1) (func {body}) {others}"#));
        assert_eq!(both.sites.iter().map(|site| site.function).collect::<Vec<_>>(), [0, 1], "{body}");
        assert!(both.sites.iter().all(|site| site.start < site.end));
        assert_eq!(memories(&both.module) as usize, MEMORIES);
        check(&both.module, &both.sites).unwrap();
    }
}

#[test]
fn a_module_that_cannot_have_them_keeps_its_calls() {
    let body = format!(r#"(func $f {READ} {WRITE})"#);
    for rest in [
        // No memory of its own.
        body.clone(),
        // Nothing calls directly.
        r#"(memory 1) (table 3 funcref) (elem (i32.const 0) $read $write $to) (export "read" (func $read)) (func)"#
            .into(),
        // Runs before the windows are hidden.
        format!("(memory 1) {body} (func $start) (start $start)"),
        // Too many locals.
        format!("(memory 1) (func (local{}) {READ})", " i32".repeat((MOST_LOCALS - ADDED) as usize)),
    ] {
        let module = wat::parse_str(format!("(module (type (func)) {IMPORTS} {rest})")).unwrap();
        let options = Options { recorder: None, expands: true };
        let changed = suspend_points::add(&module, suspend_points::own, options).unwrap().unwrap();
        assert_eq!((changed.sites.len(), memories(&changed.module) as usize), (0, memories(&module) as usize));
    }
}

#[test]
fn only_some_calls_of_an_import_are_expanded() {
    let many = READ.repeat(MOST_SITES as usize + 5);
    let changed = expanded(&format!("(memory 1) (func {many}) (func {READ} {WRITE})"));
    assert_eq!(changed.sites.len(), MOST_SITES as usize + 1);
    assert_eq!(changed.sites.last().unwrap().function, 1);
    check(&changed.module, &changed.sites).unwrap();
}

#[test]
fn functions_keep_their_divided_operations_and_their_locals() {
    let fill = "(memory.fill (i32.const 0) (i32.const 0) (i32.load (i32.const 0)))";
    let body = format!("(func (param i64) (local f32 v128) {fill} {READ} {fill} {TO} (local.set 0 (i64.const 1)))");
    let changed = expanded(&format!("(memory 1) {body}"));
    assert_eq!(changed.sites.len(), 2);
    assert_eq!(changed.wrappers.bulk_operations, [11]);
    check(&changed.module, &changed.sites).unwrap();
}

#[test]
fn an_instruction_that_names_another_memory_outside_of_an_expansion_is_found() {
    let changed = expanded(&format!(r#"(memory (export "memory") 1) (func {READ}) (func {WRITE} {TO})"#));
    check(&changed.module, &changed.sites).unwrap();
    for lost in 0..changed.sites.len() {
        let mut sites = changed.sites.clone();
        let site = sites.remove(lost);
        let why = check(&changed.module, &sites).unwrap_err();
        assert!(why.contains("names memory"), "{why}");
        // One instruction less at either end. The first and the last ones of an expansion name no memory.
        for shorter in [Site { start: site.start + 20, ..site }, Site { end: site.end - 40, ..site }] {
            let mut sites = changed.sites.clone();
            sites[lost] = shorter;
            assert!(check(&changed.module, &sites).is_err(), "{shorter:?} of {site:?}");
        }
    }
    let two = "(memory 1) (memory 192 192 (pagesize 1)) (memory i64 0x8000_0000 0x8000_0000)";
    let cases = [
        ("(func (drop (i32.load 1 (i32.const 0))))", "memory 1"),
        ("(func (drop (i32.load8_u 2 (i64.const 0))))", "memory 2"),
        ("(func (v128.store64_lane 2 0 (i64.const 0) (v128.const i64x2 0 0)))", "memory 2"),
        ("(func (memory.copy 0 2 (i32.const 0) (i64.const 0) (i32.const 1)))", "memory 2"),
        ("(func (memory.copy 2 0 (i64.const 0) (i32.const 0) (i32.const 1)))", "memory 2"),
        ("(func (memory.fill 1 (i32.const 0) (i32.const 0) (i32.const 1)))", "memory 1"),
        ("(func (drop (memory.size 2)))", "memory 2"),
        ("(func (drop (memory.grow 1 (i32.const 0))))", "memory 1"),
        ("(func (memory.init 1 $d (i32.const 0) (i32.const 0) (i32.const 1))) (data $d \"x\")", "memory 1"),
        ("(func (drop (i32.atomic.load 1 (i32.const 0))))", "memory 1"),
        ("(export \"control\" (memory 1))", "exports memory 1"),
        ("(data (memory 1) (i32.const 0) \"x\")", "data"),
        ("(memory 1)", "4 memories"),
    ];
    for (rest, wanted) in cases {
        let module = wat::parse_str(format!("(module {two} {rest})")).unwrap();
        let why = check(&module, &[]).unwrap_err();
        assert!(why.contains(wanted), "{rest}: {why}");
    }
    let good = wat::parse_str(format!("(module {two} (export \"memory\" (memory 0)) (func (drop (memory.size))))"));
    check(&good.unwrap(), &[]).unwrap();
    for types in
        ["", "(memory 1)", "(memory 1) (memory 1) (memory 1)", "(memory 1) (memory 192 (pagesize 1)) (memory i64 1 1)"]
    {
        assert!(check(&wat::parse_str(format!("(module {types} (memory 1))")).unwrap(), &[]).is_err(), "{types}");
    }
}
