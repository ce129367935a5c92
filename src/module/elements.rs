//! Elements of tables and segments that Wasmtime sets up one by one when a guest starts.
//!
//! Usually there are none: functions at constant places of a table are set up when they are first called. For the
//! others Wasmtime compiles code without an epoch check, which takes some 80 ns per element. So their number is
//! limited.

use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use wasmparser::{
    BinaryReaderError, ConstExpr, Element, ElementItems, ElementKind, Operator, Parser, Payload, TableInit, TableType,
};

/// The most such elements: some 0.6 ms.
const MOST: u64 = 8 << 10;

/// Wasmtime's limit for tables that are set up lazily.
const LARGEST_LAZY_TABLE: u64 = 1 << 20;

/// Refuses modules whose start would take too long. `module` must be valid.
pub fn check(module: &[u8]) -> Result<()> {
    let count = count(module)
        .map_err(|e| Error::new(Status::ModuleInvalid, format!("the module's elements cannot be read: {e}")))?;
    if count <= MOST {
        return Ok(());
    }
    Err(Error::new(
        Status::ModuleTableLimit,
        format!(
            "the module has {count} elements that must be set up one by one when it starts: {MOST} are allowed. Those \
             are in passive segments, in segments whose offset or items are computed or in tables with a computed \
             initial value"
        ),
    ))
}

fn count(module: &[u8]) -> core::result::Result<u64, BinaryReaderError> {
    let mut count: u64 = 0;
    let mut tables = Vec::new();
    // Segments are applied in order. If one is not lazy then all behind it are not.
    let mut lazy = true;
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::TableSection(section) => {
                for table in section {
                    let table = table?;
                    let mut is_computed = false;
                    if let TableInit::Expr(value) = &table.init
                        && (!is_function(value)? || table.ty.initial > LARGEST_LAZY_TABLE)
                    {
                        is_computed = true;
                        count = count.saturating_add(table.ty.initial);
                    }
                    tables.push((table.ty, is_computed));
                }
            }
            Payload::ElementSection(section) => {
                for element in section {
                    let element = element?;
                    let items = match &element.items {
                        ElementItems::Functions(items) => items.count(),
                        ElementItems::Expressions(_, items) => items.count(),
                    };
                    let counts = match element.kind {
                        ElementKind::Declared => false,
                        ElementKind::Passive => true,
                        ElementKind::Active { .. } => {
                            lazy = lazy && is_lazy(&element, items, &tables)?;
                            !lazy
                        }
                    };
                    if counts {
                        count = count.saturating_add(items.into());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(count)
}

/// `tables` says of each whether its initial value is computed. A guest imports none.
fn is_lazy(
    element: &Element<'_>,
    items: u32,
    tables: &[(TableType, bool)],
) -> core::result::Result<bool, BinaryReaderError> {
    let ElementKind::Active { table_index, offset_expr } = &element.kind else { return Ok(false) };
    let mut operators = offset_expr.get_operators_reader();
    let (Operator::I32Const { value }, Operator::End) = (operators.read()?, operators.read()?) else {
        return Ok(false);
    };
    let end = u64::from(value as u32) + u64::from(items);
    let Some((table, false)) = tables.get(table_index.unwrap_or(0) as usize) else { return Ok(false) };
    let size = table.initial;
    Ok(matches!(element.items, ElementItems::Functions(_)) && end <= size.min(LARGEST_LAZY_TABLE))
}

fn is_function(value: &ConstExpr<'_>) -> core::result::Result<bool, BinaryReaderError> {
    let mut operators = value.get_operators_reader();
    Ok(matches!((operators.read()?, operators.read()?), (Operator::RefFunc { .. }, Operator::End)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(fields: &str) -> u64 {
        let module =
            format!("(module (func $f) (global $at i32 (i32.const 1)) (global $g funcref (ref.func $f)) {fields})");
        let module = wat::parse_str(module).unwrap();
        assert_eq!(check(&module).is_ok(), count(&module).unwrap() <= MOST, "{fields}");
        count(&module).unwrap()
    }

    #[test]
    fn only_what_is_set_up_by_code_counts() {
        for (fields, expected) in [
            ("", 0),
            ("(table 9 funcref) (elem (i32.const 0) $f $f $f) (elem declare func $f)", 0),
            ("(table 9 funcref) (elem func $f $f)", 2),
            ("(table 9 funcref) (elem (global.get $at) $f $f)", 2),
            ("(table 9 funcref) (elem (i32.const 0) funcref (ref.null func) (ref.func $f))", 2),
            // Behind one that may trap.
            ("(table 9 funcref) (elem (i32.const 8) $f $f) (elem (i32.const 0) $f $f $f)", 5),
            ("(table 1000000 funcref (ref.func $f))", 0),
            ("(table 9 funcref (global.get $g))", 9),
            ("(table 1048577 funcref (ref.func $f))", 1_048_577),
            ("(table 8192 funcref (global.get $g))", 8192),
            // What follows a segment for a table with a computed value is not lazy either.
            (
                "(table $a 1 funcref (global.get $g)) (elem (table $a) (i32.const 0) func $f) \
                 (table $b 9 funcref) (elem (table $b) (i32.const 0) func $f $f)",
                1 + 1 + 2,
            ),
            ("(table 8193 funcref (global.get $g))", 8193),
        ] {
            assert_eq!(counted(fields), expected, "{fields}");
        }
    }
}
