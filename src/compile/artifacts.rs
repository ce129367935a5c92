//! What an artifact says of itself: written with new code, and read to tell whether it fits a runtime.

use crate::base::config::Config;
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::base::text::{hex, printable};
use crate::batch::fallible;
use crate::compile::code_cache::key::{KeyInputs, REWRITING};
use crate::module::artifact::{Artifact, Defect, FORMAT, Head};
use crate::module::data_image::DataImage;
use crate::module::inspect::Summary;
use crate::module::lines::Lines;
use crate::module::suspend_points::Wrappers;
use serde_json::{Value, json};
use wasm_encoder::{CodeSection, RawSection, SectionId};
use wasmparser::{Parser, Payload};

/// This library's version.
const LIBRARY: &str = env!("CARGO_PKG_VERSION");
/// Wasmtime's.
const WASMTIME: &str = env!("WASMTIME_VERSION");
/// Both in words.
pub const VERSIONS: &str = concat!("version ", env!("CARGO_PKG_VERSION"), " with Wasmtime ", env!("WASMTIME_VERSION"));

/// An artifact of the new code.
pub fn write(
    config: &Config,
    module: &[u8],
    inputs: &KeyInputs<'_>,
    wrappers: &Wrappers,
    lines: &Lines,
    image: Option<&DataImage>,
    code: &[u8],
) -> Result<Vec<u8>> {
    let head = Head {
        wasmtime: WASMTIME.into(),
        library: LIBRARY.into(),
        rewriting: REWRITING,
        target: target(),
        settings: settings(config),
        key: inputs.key(),
        module: inputs.module,
        module_size: inputs.module_size,
        waits: inputs.waits.to_vec(),
        wrappers: wrappers.clone(),
        lines: lines.clone(),
        image: image.cloned(),
        outline: outline(module).map_err(|e| unwritten(&e))?,
    };
    Ok(Artifact::write(&head, code))
}

/// There is no artifact of the new code.
pub fn unwritten(e: &dyn core::fmt::Display) -> Error {
    Error::new(Status::ModuleCompile, format!("the compiled module could not be turned into an artifact: {e:#}"))
}

/// A module's interface without its code and data. `validate::check` has the same result for it.
pub fn outline(module: &[u8]) -> Result<Vec<u8>, wasmparser::BinaryReaderError> {
    const KEPT: [SectionId; 6] = [
        SectionId::Type,
        SectionId::Import,
        SectionId::Function,
        SectionId::Table,
        SectionId::Memory,
        SectionId::Export,
    ];
    /// No locals and `end`.
    const EMPTY_BODY: [u8; 2] = [0, 0x0b];
    let mut out = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if let Payload::CodeSectionStart { count, .. } = payload {
            // Functions cannot be read without bodies.
            let mut code = CodeSection::new();
            for _ in 0..count {
                code.raw(&EMPTY_BODY);
            }
            out.section(&code);
        } else if let Some((id, range)) = payload.as_section()
            && KEPT.iter().any(|&kept| u8::from(kept) == id)
        {
            out.section(&RawSection { id, data: &module[range] });
        }
    }
    Ok(out.finish())
}

/// The kind of machine.
pub fn target() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

/// The settings that code depends on, as text for messages about an artifact that does not fit.
pub fn settings(config: &Config) -> String {
    use crate::base::config::{wasm_memory_mode as Mode, wasm_trap_mode as Traps};
    let memory = match config.memory_mode {
        Mode::OnDemand => "ON_DEMAND".to_owned(),
        Mode::ThreadPool => "THREAD_POOL".to_owned(),
        Mode::Host => "HOST".to_owned(),
        Mode::ProcessPool => {
            format!("PROCESS_POOL (pool_engines {}, memory_limit {})", config.pool_engines, config.memory_limit)
        }
    };
    let traps = match config.trap_mode {
        Traps::Signals => "SIGNALS",
        Traps::Checks => "CHECKS",
    };
    let by_calls = u32::from(!config.expands_record_calls);
    format!("memory_mode {memory}, host_record_calls {by_calls} and trap_mode {traps}")
}

/// An artifact that does not fit.
pub fn incompatible(why: impl core::fmt::Display) -> Error {
    Error::new(
        Status::ModuleArtifactIncompatible,
        format!("the artifact does not fit this runtime: compile its module again. The reason: {why}"),
    )
}

/// Bytes that are no artifact.
pub fn refuse_flaw(flaw: Defect) -> Error {
    match flaw {
        Defect::Foreign => Error::new(
            Status::ModuleArtifactDamaged,
            "this is not an artifact of wasm_runtime_precompile: a module is for wasm_factory_create",
        ),
        Defect::Damaged(why) => {
            Error::new(Status::ModuleArtifactDamaged, format!("the artifact is damaged: {why}. Create it again"))
        }
        Defect::Format(format) => {
            incompatible(format!("it has format {format} but this version of the library has {FORMAT}"))
        }
    }
}

/// Versions and the kind of machine. Wasmtime itself compares only the first number of a version.
pub fn check_origin(head: &Head) -> Result<()> {
    if head.wasmtime != WASMTIME {
        let theirs = printable(&head.wasmtime);
        return Err(incompatible(format!("it was made by Wasmtime {theirs} and this is Wasmtime {WASMTIME}")));
    }
    if (head.library.as_str(), head.rewriting) != (LIBRARY, REWRITING) {
        return Err(incompatible(format!(
            "it was made by version {} of this library with rewriting {}. This is {LIBRARY} with \
             rewriting {REWRITING}",
            printable(&head.library),
            head.rewriting
        )));
    }
    if head.target != target() {
        return Err(incompatible(format!("it was made for {} and this is {}", printable(&head.target), target())));
    }
    Ok(())
}

/// Refuses code that was rewritten for other host functions than those of this runtime and factory.
pub fn check_waits(summary: &Summary, ours: &[u8], theirs: &[u8]) -> Result<()> {
    if ours == theirs {
        return Ok(());
    }
    let differs = summary.imports.iter().zip(ours.iter().zip(theirs)).find(|(_, (ours, theirs))| ours != theirs);
    Err(incompatible(match differs {
        Some((import, (&ours, _))) => {
            let name = printable(&format!("{}.{}", import.module, import.name));
            let (here, there) = if ours > 0 { ("may wait", "might not") } else { ("may not wait", "might") };
            format!("host function {name} {here} here but {there} where it was made")
        }
        None => "it has another number of imports".to_owned(),
    }))
}

/// Describes an artifact as `wasm_runtime_inspect` does a module: what its interface says, and how it was made. Fails
/// if the bytes are none.
pub fn inspect(bytes: &[u8]) -> Result<Value> {
    let copy = fallible::copy_large(bytes).map_err(|_| Error::out_of_memory())?;
    let artifact = Artifact::read(copy).map_err(refuse_flaw)?;
    let Head { wasmtime, library, rewriting, target, settings, module, module_size, .. } = &artifact.head;
    let (summary, _) = Summary::read(&artifact.head.outline);
    let mut document = summary.to_json();
    document["size"] = json!(bytes.len());
    document["code_size"] = json!(artifact.code().len());
    document["artifact"] = json!({
        "library": printable(library),
        "wasmtime": printable(wasmtime),
        "rewriting": rewriting,
        "target": printable(target),
        "settings": printable(settings),
        "module": hex(module),
        "module_size": module_size,
    });
    document["refused"] = match check_origin(&artifact.head) {
        Ok(()) => Value::Null,
        Err(e) => json!({ "status": e.status.name().to_string_lossy(), "message": e.message }),
    };
    Ok(document)
}
