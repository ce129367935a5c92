//! Valid modules by wasm-smith, of the kind that the library accepts.

use crate::sdk;
use core::convert::Infallible;
use libfuzzer_sys::arbitrary::{Arbitrary as _, Unstructured};
use wasm_encoder::AbstractHeapType;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_smith::{Config, Module};
use wasmparser::Parser;

/// Makes a module of random choices. `None` if there are too few.
pub fn module(choices: &[u8]) -> Option<Vec<u8>> {
    let mut source = Unstructured::new(choices);
    let config = config(&mut source)?;
    without_extern(&Module::new(config, &mut source).ok()?.to_bytes())
}

/// The same for a module that is to be run: each function ends after so many steps, and all that it leaves behind is
/// exported.
pub fn ending_module(choices: &[u8], steps: u32) -> Option<Vec<u8>> {
    let mut source = Unstructured::new(choices);
    let mut config = config(&mut source)?;
    config.export_everything = true;
    config.max_memory32_bytes = 1 << 20;
    let mut module = Module::new(config, &mut source).ok()?;
    module.ensure_termination(steps).ok()?;
    without_extern(&module.to_bytes())
}

/// What `validate` lets pass, with the functions of the SDKs as imports or with any.
fn config(source: &mut Unstructured<'_>) -> Option<Config> {
    let mut config = Config::arbitrary(source).ok()?;
    config.bulk_memory_enabled = true;
    config.reference_types_enabled = true;
    config.custom_page_sizes_enabled = false;
    config.exceptions_enabled = false;
    config.gc_enabled = false;
    config.memory64_enabled = false;
    config.shared_everything_threads_enabled = false;
    config.threads_enabled = false;
    config.wide_arithmetic_enabled = false;
    config.max_data_segments = 40;
    config.max_imports = 20;
    config.max_memories = 1;
    config.max_memory32_bytes = 4 << 20;
    config.max_table_elements = 10_000;
    config.max_tables = 4;
    if bool::arbitrary(source).ok()? {
        config.available_imports = Some(sdk::module());
    }
    Some(config)
}

/// The library has no external references. wasm-smith makes them wherever it makes references to functions. So they
/// become these.
fn without_extern(module: &[u8]) -> Option<Vec<u8>> {
    struct WithoutExtern;

    impl Reencode for WithoutExtern {
        type Error = Infallible;

        fn abstract_heap_type(
            &mut self,
            ty: wasmparser::AbstractHeapType,
        ) -> Result<AbstractHeapType, Error<Infallible>> {
            Ok(match utils::abstract_heap_type(self, ty) {
                AbstractHeapType::Extern => AbstractHeapType::Func,
                other => other,
            })
        }
    }

    let mut out = wasm_encoder::Module::new();
    WithoutExtern.parse_core_module(&mut out, Parser::new(0), module).ok()?;
    Some(out.finish())
}
