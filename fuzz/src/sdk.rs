//! The imports of guests that are built with a transform SDK.

use crate::module::abi::{SCHEMA_REGISTRY, TRANSFORM};
use crate::module::inspect::{ItemKind, Summary};
use crate::module::suspend_points;
use wasm_encoder::{EntityType, ImportSection, Module, TypeSection, ValType};

/// Module, name, number of parameters and of results. All of them are `i32`.
pub const IMPORTS: [(&str, &str, usize, usize); 8] = [
    (TRANSFORM, "check_abi_version_1", 0, 0),
    (TRANSFORM, "read_batch_header", 10, 1),
    (TRANSFORM, "read_next_record", 5, 1),
    (TRANSFORM, "write_record", 2, 1),
    (TRANSFORM, "write_record_with_options", 4, 1),
    (SCHEMA_REGISTRY, "check_abi_version_0", 0, 0),
    (SCHEMA_REGISTRY, "get_schema_definition_len", 2, 1),
    (SCHEMA_REGISTRY, "get_schema_definition", 3, 1),
];

/// A type as `validate` has it.
pub fn signature(params: usize, results: usize) -> String {
    let list = |count| vec!["i32"; count].join(", ");
    format!("({}) -> ({})", list(params), list(results))
}

/// Whether the functions of the SDKs are imported with their types as far as rewriting depends on them.
pub fn fits(summary: &Summary) -> bool {
    summary.imports.iter().all(|import| {
        let known = IMPORTS.iter().find(|(module, name, ..)| (*module, *name) == (&import.module, &import.name));
        let ItemKind::Function(ty) = import.kind else { return known.is_none() };
        match known {
            Some((_, _, params, results)) => summary.signature(ty) == signature(*params, *results),
            None => {
                suspend_points::own(&import.module, &import.name).is_none()
                    || summary.signature(ty).ends_with("-> (i32)")
            }
        }
    })
}

/// A module that has these imports and nothing else: what wasm-smith chooses from.
pub fn module() -> Vec<u8> {
    let (mut types, mut imports) = (TypeSection::new(), ImportSection::new());
    for (index, (module, name, params, results)) in IMPORTS.into_iter().enumerate() {
        types.ty().function(vec![ValType::I32; params], vec![ValType::I32; results]);
        imports.import(module, name, EntityType::Function(index as u32));
    }
    let mut module = Module::new();
    module.section(&types).section(&imports);
    module.finish()
}
