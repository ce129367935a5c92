//! What is rewritten and the origin of the added functions.

use super::*;

const GUEST: &str = r#"(module
    (type $void (func))
    (import "redpanda_transform" "check_abi_version_2" (func (type $void)))
    (import "redpanda_transform" "write_record" (func $write (param i32 i32) (result i32)))
    (table 2 funcref)
    (elem (i32.const 0) $write $_start)
    (memory (export "memory") 1)
    (export "write" (func $write))
    (func $_start (export "_start") (drop (call $write (i32.const 1) (i32.const 2)))))"#;

#[test]
fn every_reference_goes_to_the_wrapper_and_the_result_is_valid() {
    let module = wat::parse_str(GUEST).unwrap();
    let Changed { module: out, wrappers, .. } = add(&module, own, Options::default()).unwrap().unwrap();
    wasmparser::validate(&out).unwrap();
    let mut calls = Vec::new();
    for payload in Parser::new(0).parse_all(&out) {
        match payload.unwrap() {
            Payload::CodeSectionEntry(body) => calls.push(
                body.get_operators_reader()
                    .unwrap()
                    .into_iter()
                    .filter_map(|op| match op.unwrap() {
                        wasmparser::Operator::Call { function_index } => Some(function_index),
                        _ => None,
                    })
                    .collect::<Vec<_>>(),
            ),
            Payload::ExportSection(exports) => {
                let write = exports.into_iter().map(Result::unwrap).find(|e| e.name == "write").unwrap();
                assert_eq!(write.index, 3);
            }
            Payload::ElementSection(elements) => {
                let element = elements.into_iter().next().unwrap().unwrap();
                let wasmparser::ElementItems::Functions(items) = element.items else { unreachable!() };
                assert_eq!(items.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [3, 2]);
            }
            _ => {}
        }
    }
    // _start calls the wrapper. The wrapper calls the import and the suspend point. The suspend point calls nothing.
    assert_eq!(calls, [vec![3], vec![1, 4, 1], vec![]]);
    assert_eq!(wrappers.origin(2), Origin::Own);
    assert_eq!(wrappers.origin(3), Origin::Import(1, "redpanda_transform.write_record".into()));
    assert_eq!(wrappers.origin(4), Origin::SuspendHere);
}

#[test]
fn an_import_with_a_flag_gets_another_type_and_its_wrapper_the_old_one() {
    let module = wat::parse_str(
        r#"(module
            (type $void (func))
            (import "host" "other" (func (param i32)))
            (import "host" "two" (func $two (param i64) (result f32 i64)))
            (func (export "f") (param i64) (result f32 i64) (call $two (local.get 0))))"#,
    )
    .unwrap();
    let waits = |_: &str, name: &str| (name == "two").then_some(Waits::Flag);
    let Changed { module: out, wrappers, .. } = add(&module, waits, Options::default()).unwrap().unwrap();
    wasmparser::validate(&out).unwrap();
    let (summary, read) = crate::module::inspect::Summary::read(&out);
    read.unwrap();
    use crate::module::inspect::ItemKind;
    let signature = |kind: ItemKind| match kind {
        ItemKind::Function(ty) => summary.signature(ty),
        _ => unreachable!(),
    };
    assert_eq!(signature(summary.imports[0].kind), "(i32) -> ()");
    assert_eq!(signature(summary.imports[1].kind), "(i64) -> (f32, i64, i32)");
    assert_eq!(signature(*summary.export("f").unwrap()), "(i64) -> (f32, i64)");
    assert_eq!(wrappers.origin(3), Origin::Import(1, "host.two".into()));
}

#[test]
fn types_in_recursion_groups_keep_their_places() {
    let module = wat::parse_str(
        r#"(module
            (rec (type $void (func)) (type $write (func (param i32 i32) (result i32))))
            (import "redpanda_transform" "write_record" (func $write (type $write)))
            (func (export "_start") (type $void) (drop (call $write (i32.const 1) (i32.const 2)))))"#,
    )
    .unwrap();
    let out = add(&module, own, Options::default()).unwrap().unwrap().module;
    wasmparser::validate(&out).unwrap();
}

#[test]
fn a_module_that_never_waits_is_left_alone() {
    let module = wat::parse_str("(module (func))").unwrap();
    assert!(add(&module, own, Options::default()).unwrap().is_none());
}

#[test]
fn added_functions_are_told_apart_whatever_was_added() {
    let all = Wrappers { first: 5, imports: vec![(1, "a.b".into())], bulk_operations: vec![11, 10, 17] };
    let import = Origin::Import(1, "a.b".into());
    let bulk = ["memory.fill", "memory.copy", "table.fill"].map(Origin::BulkOperation);
    let origins = |wrappers: &Wrappers| (4..11).map(|function| wrappers.origin(function)).collect::<Vec<_>>();
    let [fill, copy, table] = bulk;
    assert_eq!(origins(&all), [Origin::Own, import, Origin::SuspendHere, fill, copy, table, Origin::Own]);
    let only_bulk = Wrappers { imports: vec![], ..all.clone() };
    let [fill, copy, table] = ["memory.fill", "memory.copy", "table.fill"].map(Origin::BulkOperation);
    assert_eq!(origins(&only_bulk)[1..5], [fill, copy, table, Origin::Own]);
    let only_waiting = Wrappers { bulk_operations: vec![], ..all };
    assert_eq!(origins(&only_waiting)[2..5], [Origin::SuspendHere, Origin::Own, Origin::Own]);
    assert!(origins(&Wrappers::default()).iter().all(|origin| *origin == Origin::Own));
}
