//! Modules before they run: inspected, validated, estimated and rewritten, within budgets of memory and time.
//!
//! Bytes that begin as a module are one. Others are random choices, by which wasm-smith makes a valid module.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use wasm_engine_fuzz::base::rights::Rights;
use wasm_engine_fuzz::base::status::wasm_status as Status;
use wasm_engine_fuzz::batch::crc32c;
use wasm_engine_fuzz::budget;
use wasm_engine_fuzz::module::bulk_memory::PieceSizes;
use wasm_engine_fuzz::module::inspect::Summary;
use wasm_engine_fuzz::module::suspend_points::{self, Options, Waits};
use wasm_engine_fuzz::module::validate::{self, Bounds, HostFunctions, Imports};
use wasm_engine_fuzz::module::{data_image, data_segments, elements, record_calls};
use wasm_engine_fuzz::{sdk, smith};

/// What a module may take before it is compiled, for each begun MiB of it.
const MEMORY: usize = 64 << 20;
const TIME: Duration = Duration::from_millis(100);

fuzz_target!(|bytes: &[u8]| {
    let (module, is_made) = if bytes.starts_with(b"\0asm") {
        (bytes.to_vec(), false)
    } else {
        let Some(module) = smith::module(bytes) else { return };
        (module, true)
    };
    let mebibytes = (module.len() >> 20) + 1;
    let (memory, time) = (MEMORY * mebibytes, TIME * mebibytes as u32);
    let fits = budget::within(memory, time, || {
        let (summary, _) = Summary::read(&module);
        assert!(summary.to_json().to_string().len() < memory);
        let _ = summary.language();
        sdk::fits(&summary)
    });
    budget::within(memory, time, || check_outside(&module));
    let valid = budget::within(memory, time, || validate::check_specification(&module, 1));
    if is_made && let Err(error) = &valid {
        assert_eq!(error.status, Status::ModuleTooComplex, "{}", error.message);
    }
    // Other types are refused before a module is rewritten.
    if valid.is_ok() && fits && budget::within(memory, time, || elements::check(&module)).is_ok() {
        budget::within(memory, time, || rewrite(&module, crc32c::checksum(&module)));
    }
});

fn check_outside(module: &[u8]) {
    let (mut runtime, own) = (HostFunctions::default(), HostFunctions::default());
    for (module, name, params, results) in sdk::IMPORTS {
        runtime.add(module, name, sdk::signature(params, results));
    }
    let rights = Rights::default();
    let imports = Imports { runtime: &runtime, own: &own, rights: &rights };
    let bounds = Bounds { size: 64 << 20, memory: 64 << 20, tables: 4, table_elements: 100_000 };
    if let Err(error) = validate::check(module, bounds, imports) {
        assert!(error.message.len() < 10_000, "{}", error.message);
        assert!(!error.message.contains(char::is_control), "{}", error.message);
    }
}

/// As `compile::rewriting` does. A rewritten module is valid.
fn rewrite(module: &[u8], choices: u32) {
    let taken = data_image::take(module).expect("a valid module can be read");
    let (taken, image) = taken.unzip();
    let module = taken.as_deref().unwrap_or(module);
    let joined = if image.is_none() { data_segments::join(module).expect("a valid module can be read") } else { None };
    let module = joined.as_deref().unwrap_or(module);
    let waits = |module: &str, name: &str| match (module.len() ^ name.len()) % 3 {
        0 => suspend_points::own(module, name),
        1 => Some(Waits::Flag),
        _ => None,
    };
    let options = Options { recorder: None, expands: choices & 1 == 0 };
    let sizes = match choices >> 1 & 3 {
        0 => PieceSizes { bytes: 1, elements: 1 },
        1 => PieceSizes { bytes: 7, elements: 5 },
        _ => PieceSizes::default(),
    };
    let changed = suspend_points::add_with(module, waits, options, sizes).expect("a valid module can be rewritten");
    let Some(changed) = changed else { return };
    let checked = if changed.sites.is_empty() {
        validate::check_specification(&changed.module, u32::MAX).map_err(|error| error.message)
    } else {
        record_calls::check(&changed.module, &changed.sites)
    };
    checked.expect("a rewritten module is valid");
}
