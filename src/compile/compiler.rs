//! Makes code that can run from a module or an artifact. A module is validated, rewritten and compiled. From an
//! artifact or a cache entry the code is loaded.
//!
//! Whatever a compilation refuses is refused here as well, wherever the code comes from. The checks that depend on
//! the runtime (limits, host functions with their types and the functions that may wait) are made each time. They use
//! the module itself or the outline that an artifact has. Whatever depends only on the bytes and on Wasmtime's
//! configuration is part of the key.

use crate::base::config::Config;
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::base::text::{hex, printable};
use crate::compile::code_cache::key::{self, KeyInputs, REWRITING, digest};
use crate::compile::link::Linked;
use crate::compile::runtime::Shared;
use crate::metrics::code_cache::CodeCacheEvent;
use crate::module::artifact::{Artifact, Defect, FORMAT, Head};
use crate::module::elements;
use crate::module::inspect::{ItemKind, Summary};
use crate::module::lines::{self, Lines, Recorder};
use crate::module::suspend_points::{self, Waits, Wrappers};
use crate::module::validate::check_specification;
use crate::system::memory::refusal;
use crate::system::memory::reserve::{self, Lease};
use std::time::Instant;
use wasm_encoder::{CodeSection, RawSection, SectionId};
use wasmparser::{Parser, Payload};
use wasmtime::{Engine, Module};

/// This library's version.
const LIBRARY: &str = env!("CARGO_PKG_VERSION");
/// Wasmtime's.
const WASMTIME: &str = env!("WASMTIME_VERSION");

/// Code that can run.
pub struct Code {
    /// Wasmtime's module.
    pub module: Module,
    /// What was added to it.
    pub wrappers: Wrappers,
    /// Where its instructions are in its source. Empty unless that was asked for and is known.
    pub lines: Lines,
}

/// Bytes that a compilation may need, leased beforehand because neither Cranelift nor what rewrites modules survives a
/// refusal. Measured: 3 MB for a module of 17 kB, 37 MB for one of 1.9 MB and 83 MB for one of 4.4 MB.
fn lease(module: &[u8]) -> Result<Lease> {
    reserve::lease((8 << 20) + 32 * module.len())
}

/// Bytes that reading a module's lines may need beside that. Most are for the largest header of a unit.
const LINES: usize = 64 << 20;

/// Compiles a module or loads it from the cache. `transform` is for the log.
pub fn compile(shared: &Shared, module: &[u8], transform: &str) -> Result<Code> {
    let _lease = lease(module)?;
    obtain(shared, module, transform, false).map(|(code, _)| code)
}

/// The same as an artifact.
pub fn precompile(shared: &Shared, module: &[u8]) -> Result<Vec<u8>> {
    let _lease = lease(module)?;
    let (_, artifact) = obtain(shared, module, "", true)?;
    artifact.ok_or_else(|| Error::new(Status::Internal, "the module was compiled but has no artifact"))
}

/// Loads an artifact.
pub fn load(shared: &Shared, artifact: Vec<u8>) -> Result<Code> {
    let begin = Instant::now();
    // Nothing is compiled. The interface is validated and the code is copied.
    let _lease = reserve::lease((1 << 20) + 2 * artifact.len())?;
    let artifact = Artifact::read(artifact).map_err(refuse_flaw)?;
    let head = &artifact.head;
    check_origin(head)?;
    // Of the module. The outline is shorter.
    if head.module_size > shared.config.max_module_size as u64 {
        return Err(Error::new(
            Status::ModuleTooLarge,
            format!(
                "the module has {} bytes, more than max_module_size ({})",
                head.module_size, shared.config.max_module_size
            ),
        ));
    }
    let summary = shared.validate_interface(&head.outline)?;
    check_waits(&summary, shared.linked()?, &head.waits)?;
    let module = deserialize(shared, &artifact).map_err(|e| {
        if refusal::is_refusal(&e) {
            return Error::out_of_memory();
        }
        incompatible(format!(
            "{e:#}. It was made on {} with {}. This is {} with {}",
            head.target,
            head.settings,
            target(),
            settings(&shared.config)
        ))
    })?;
    shared.metrics.code_cache.loaded(begin.elapsed());
    let lines = if shared.config.debug_info { artifact.head.lines } else { Lines::default() };
    Ok(Code { module, wrappers: artifact.head.wrappers, lines })
}

/// Code and an artifact of it if one was asked for.
fn obtain(shared: &Shared, module: &[u8], transform: &str, wanted: bool) -> Result<(Code, Option<Vec<u8>>)> {
    let begin = Instant::now();
    // A module that is refused is a compilation that failed.
    let summary = shared.validate_interface(module).or_else(|e| shared.metrics.compiling(|| Err(e)))?;
    let linked = shared.linked()?;
    let Some(cache) = linked.cache.as_deref() else {
        let code = compile_now(shared, linked, module)?;
        let artifact = || {
            write(shared, module, &KeyInputs { waits: &waits(&summary, linked), ..ingredients(shared, module) }, &code)
        };
        let artifact = wanted.then(artifact).transpose()?;
        return Ok((code, artifact));
    };
    let waits = waits(&summary, linked);
    let ingredients = KeyInputs { waits: &waits, ..ingredients(shared, module) };
    let key = ingredients.key();
    if let Some(artifact) = cache.find(&key, transform) {
        match deserialize(shared, &artifact) {
            Ok(module) => {
                shared.metrics.code_cache.count(CodeCacheEvent::Hit);
                shared.metrics.code_cache.loaded(begin.elapsed());
                let (wrappers, lines) = (artifact.head.wrappers.clone(), artifact.head.lines.clone());
                return Ok((Code { module, wrappers, lines }, wanted.then(|| artifact.into_bytes())));
            }
            // The entry is good.
            Err(e) if refusal::is_refusal(&e) => return Err(Error::out_of_memory()),
            Err(e) => cache.reject(transform, &format!("the entry {} could not be loaded: {e:#}", hex(&key))),
        }
    }
    shared.metrics.code_cache.count(CodeCacheEvent::Miss);
    let code = compile_now(shared, linked, module)?;
    match write(shared, module, &ingredients, &code) {
        Ok(artifact) => {
            cache.store(&key, &artifact, transform);
            Ok((code, wanted.then_some(artifact)))
        }
        Err(e) if wanted => Err(e),
        Err(e) => {
            cache.fault(transform, &e.message);
            Ok((code, None))
        }
    }
}

fn compile_now(shared: &Shared, linked: &Linked, module: &[u8]) -> Result<Code> {
    let made = || {
        check_specification(module, shared.config.compile_limit_factor)?;
        elements::check(module)?;
        let broken = |e: &dyn core::fmt::Display| {
            Error::new(Status::ModuleCompile, format!("the module could not be rewritten: {e}"))
        };
        let with_positions = shared.compiler_with_positions.as_ref();
        let _lease = with_positions.map(|_| reserve::lease(LINES)).transpose()?;
        let mut located = with_positions.and_then(|engine| Some((engine, Recorder::new(module)?)));
        let recorder = located.as_mut().map(|(_, recorder)| recorder);
        let rewritten =
            suspend_points::add(module, |module, name| linked.waits(module, name), recorder).map_err(|e| broken(&e))?;
        let is_rewritten = rewritten.is_some();
        let (code, wrappers) = rewritten.map_or((None, Wrappers::default()), |(code, wrappers)| (Some(code), wrappers));
        let code = code.as_deref().unwrap_or(module);
        let compiled = match &located {
            Some((engine, _)) => compile_with_positions(shared, engine, code),
            None => Module::from_binary(&shared.engine, code),
        };
        let compiled = compiled.map_err(|e| {
            let what = format!("the module could not be compiled: {e:#}");
            refusal::of_wasmtime(&e, Status::ModuleCompile, what)
        })?;
        let lines = match located {
            Some((_, recorder)) if is_rewritten => recorder.finish(),
            Some((_, recorder)) => recorder.unchanged(module).map_err(|e| broken(&e))?,
            None => Lines::default(),
        };
        Ok(Code { module: compiled, wrappers, lines })
    };
    shared.metrics.compiling(made)
}

/// Compiles with another engine than the one that runs the code.
#[allow(unsafe_code)]
fn compile_with_positions(shared: &Shared, compiler: &Engine, module: &[u8]) -> wasmtime::Result<Module> {
    let code = compiler.precompile_module(module)?;
    // SAFETY: Wasmtime has just made the code. It refuses code of other settings.
    unsafe { Module::deserialize(&shared.engine, code) }
}

/// Wasmtime's module from code that was compiled before.
#[allow(unsafe_code)]
fn deserialize(shared: &Shared, artifact: &Artifact) -> wasmtime::Result<Module> {
    // SAFETY: the code is what Wasmtime serialized. The checksum rules out accidental changes. Forgery is ruled out
    // by the cache's directory, in which only this user and root can write, or by the embedder as the header
    // requires. Wasmtime itself refuses code of another configuration or processor. Another version of Wasmtime has
    // another version in the head or in the key.
    unsafe { Module::deserialize(&shared.engine, artifact.code()) }
}

fn ingredients(shared: &Shared, module: &[u8]) -> KeyInputs<'static> {
    let (engine, size) = (key::engine(&shared.engine), module.len() as u64);
    let lines = shared.config.debug_info && lines::are_in(module);
    KeyInputs { engine, module: digest(module), module_size: size, lines, waits: &[] }
}

/// How each import waits. Rewriting depends on this.
fn waits(summary: &Summary, linked: &Linked) -> Vec<u8> {
    let number = |waits| match waits {
        None => 0,
        Some(Waits::Value) => 1,
        Some(Waits::Flag) => 2,
    };
    let of =
        |kind, module, name| if matches!(kind, ItemKind::Function(_)) { number(linked.waits(module, name)) } else { 0 };
    summary.imports.iter().map(|import| of(import.kind, &import.module, &import.name)).collect()
}

/// An artifact of the new code.
fn write(shared: &Shared, module: &[u8], ingredients: &KeyInputs<'_>, code: &Code) -> Result<Vec<u8>> {
    let broken = |e: &dyn core::fmt::Display| {
        Error::new(Status::ModuleCompile, format!("the compiled module could not be turned into an artifact: {e:#}"))
    };
    let head = Head {
        wasmtime: WASMTIME.into(),
        library: LIBRARY.into(),
        rewriting: REWRITING,
        target: target(),
        settings: settings(&shared.config),
        key: ingredients.key(),
        module: ingredients.module,
        module_size: ingredients.module_size,
        waits: ingredients.waits.to_vec(),
        wrappers: code.wrappers.clone(),
        lines: code.lines.clone(),
        outline: outline(module).map_err(|e| broken(&e))?,
    };
    Ok(Artifact::write(
        &head,
        &code
            .module
            .serialize()
            .map_err(|e| if refusal::is_refusal(&e) { Error::out_of_memory() } else { broken(&e) })?,
    ))
}

/// A module's interface without its code and data. `validate::check` has the same result for it.
fn outline(module: &[u8]) -> Result<Vec<u8>, wasmparser::BinaryReaderError> {
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

fn target() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

/// The settings that code depends on, as text for messages about an artifact that does not fit.
fn settings(config: &Config) -> String {
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
    format!("memory_mode {memory} and trap_mode {traps}")
}

fn incompatible(why: impl core::fmt::Display) -> Error {
    Error::new(
        Status::ModuleArtifactIncompatible,
        format!("the artifact does not fit this runtime: compile its module again. The reason: {why}"),
    )
}

fn refuse_flaw(flaw: Defect) -> Error {
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
fn check_origin(head: &Head) -> Result<()> {
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

/// Refuses code that was rewritten for other host functions than this runtime's.
fn check_waits(summary: &Summary, linked: &Linked, theirs: &[u8]) -> Result<()> {
    let ours = waits(summary, linked);
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

#[cfg(test)]
mod tests;
