//! Makes code that can run from a module or an artifact. A module is validated, rewritten and compiled. From an
//! artifact or a cache entry the code is loaded.
//!
//! Whatever a compilation refuses is refused here as well, wherever the code comes from. The checks that depend on
//! the runtime or the factory (limits, rights, host functions with their types and the functions that may wait) are
//! made each time. They use the module itself or the outline that an artifact has. Whatever depends only on the bytes
//! and on Wasmtime's configuration is part of the key. What has the same key is compiled once ([`codes`]).
//!
//! [`codes`]: crate::compile::codes

use crate::base::config::Config;
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::base::text::hex;
use crate::compile::artifacts::{self, check_origin, check_waits, incompatible, refuse_flaw, settings, target};
use crate::compile::code_cache::key::{self, KeyInputs, digest};
use crate::compile::compilation::Compilation;
use crate::compile::link::Linked;
use crate::compile::request::FactoryRequest;
use crate::compile::rewriting::Rewritten;
use crate::compile::runtime::Shared;
use crate::guest::program::Code;
use crate::metrics::code_cache::CodeCacheEvent;
use crate::module::artifact::{Artifact, Digest, Head};
use crate::module::data_image::DataImage;
use crate::module::elements;
use crate::module::inspect::{ItemKind, Summary};
use crate::module::lines::{self, Lines};
use crate::module::suspend_points::{Waits, Wrappers};
use crate::module::validate::check_specification;
use crate::system::memory::image::Image;
use crate::system::memory::refusal;
use crate::system::memory::reserve::{self, Lease};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;
use wasmtime::error::Context as _;
use wasmtime::{Engine, Module};

/// A module with its SHA-256, which is taken once.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    bytes: &'a [u8],
    hash: Digest,
}

impl<'a> Source<'a> {
    /// Takes the hash unless it is known.
    pub fn new(bytes: &'a [u8], hash: Option<Digest>) -> Self {
        Self { bytes, hash: hash.unwrap_or_else(|| digest(bytes)) }
    }
}

/// What a compilation makes.
struct Parts {
    /// Wasmtime's module.
    module: Module,
    /// What was added to it.
    wrappers: Wrappers,
    /// Where its instructions are in its source. Empty unless that was asked for and is known.
    lines: Lines,
    /// What its memories begin with if that is not in the code.
    image: Option<DataImage>,
}

impl Parts {
    /// Code that factories can share. `hash` and `size` are those of its module.
    fn finish(self, shared: &Shared, hash: Digest, size: u64) -> Result<Code> {
        let Self { module, wrappers, lines, image } = self;
        // Here because otherwise the first start would copy all data of the module on its engine's thread.
        let laid_out = module.initialize_copy_on_write_image().and_then(|()| {
            let image = image.map(|image| Image::new(image.start as usize, &image.bytes));
            image.transpose().context("a file in memory could not be made")
        });
        let image = laid_out
            .map_err(|e| refusal::of_wasmtime(&e, Status::System, format!("its data could not be laid out: {e:#}")))?;
        let executable = shared.metrics.executable(module.text().len());
        let (image, factories) = (image.map(Arc::new), AtomicU64::new(0));
        Ok(Code { module, wrappers, lines, image, hash, module_size: size, factories, executable })
    }
}

/// Bytes that a module's interface may need, as an artifact does: what reads modules does not survive a refusal.
fn lease_for_interface(bytes: usize) -> Result<Lease> {
    reserve::lease((1 << 20) + 2 * bytes)
}

/// Bytes that a compilation may need, leased beforehand because neither Cranelift nor what rewrites modules survives a
/// refusal. Measured: 3 MB for a module of 17 kB, 37 MB for one of 1.9 MB and 83 MB for one of 4.4 MB. With a helper
/// the module is validated here and the code comes back.
fn lease(shared: &Shared, module: &[u8]) -> Result<Lease> {
    reserve::lease(if shared.helper.is_some() { (1 << 20) + 8 * module.len() } else { (8 << 20) + 32 * module.len() })
}

/// The code of a module. Compiled, or loaded from the cache, unless another factory has it.
pub fn compile(
    shared: &Shared,
    module: Source<'_>,
    request: &FactoryRequest,
    compilation: &Arc<Compilation>,
) -> Result<Arc<Code>> {
    let begin = Instant::now();
    let _lease = lease_for_interface(module.bytes.len())?;
    let waits = interface(shared, module, request)?;
    let inputs = KeyInputs { waits: &waits, ..ingredients(&shared.compilers.engine, &shared.config, module) };
    let make = || {
        let _lease = lease(shared, module.bytes)?;
        let wanted = Wanted { inputs: &inputs, request, compilation, begin, artifact: false };
        obtain(shared, module.bytes, &wanted)?.0.finish(shared, inputs.module, inputs.module_size)
    };
    shared.share(&inputs.key(), compilation, make)
}

/// A module as an artifact.
pub fn precompile(
    shared: &Shared,
    module: Source<'_>,
    request: &FactoryRequest,
    compilation: &Arc<Compilation>,
) -> Result<Vec<u8>> {
    let begin = Instant::now();
    let _lease = lease(shared, module.bytes)?;
    let waits = interface(shared, module, request)?;
    let inputs = KeyInputs { waits: &waits, ..ingredients(&shared.compilers.engine, &shared.config, module) };
    let wanted = Wanted { inputs: &inputs, request, compilation, begin, artifact: true };
    let (_, artifact) = obtain(shared, module.bytes, &wanted)?;
    artifact.ok_or_else(|| Error::new(Status::Internal, "the module was compiled but has no artifact"))
}

/// Validates what belongs to the factory. Returns how each import waits.
fn interface(shared: &Shared, module: Source<'_>, request: &FactoryRequest) -> Result<Vec<u8>> {
    let summary = shared.validate_interface(module.bytes, request);
    // A module that is refused is a compilation that failed.
    let summary = summary.or_else(|e| shared.metrics.compiling(|| Err(e)))?;
    Ok(waits(&summary, shared.linked()?, request))
}

impl Shared {
    /// Code of another factory or new code.
    fn share(
        &self,
        key: &Digest,
        compilation: &Arc<Compilation>,
        make: impl Fn() -> Result<Code>,
    ) -> Result<Arc<Code>> {
        let (code, is_shared) = self.codes.get(*key, compilation, make)?;
        if is_shared {
            self.metrics.note_shared();
        }
        Ok(code)
    }
}

/// What compiles, in any process.
pub struct Compilers {
    /// The engine whose code runs.
    pub engine: Engine,
    /// What compiles modules with lines if they are asked for. The engine runs its code.
    pub with_positions: Option<Engine>,
}

impl Compilers {
    /// The code as Wasmtime serializes it.
    fn serialized(&self, module: &[u8], rewritten: &Rewritten) -> wasmtime::Result<Vec<u8>> {
        self.with_positions
            .as_ref()
            .filter(|_| rewritten.has_positions)
            .unwrap_or(&self.engine)
            .precompile_module(rewritten.or(module))
    }
}

/// An artifact of a module that another process has validated. `waits` says how each import waits.
pub fn compile_elsewhere(compilers: &Compilers, config: &Config, module: &[u8], waits: &[u8]) -> Result<Vec<u8>> {
    let (summary, read) = Summary::read(module);
    read.map_err(|e| Error::new(Status::ModuleInvalid, format!("the module is malformed: {}", e.0)))?;
    let imports = summary.imports.iter().map(|import| (&*import.module, &*import.name));
    let waiting: HashMap<(&str, &str), Waits> =
        imports.zip(waits).filter_map(|(import, &number)| Some((import, Waits::from_number(number)?))).collect();
    let of = |module: &str, name: &str| waiting.get(&(module, name)).copied();
    let rewritten = Rewritten::new(module, of, config)?;
    let code = compilers.serialized(module, &rewritten).map_err(|e| uncompiled(&e))?;
    let inputs = KeyInputs { waits, ..ingredients(&compilers.engine, config, Source::new(module, None)) };
    let Rewritten { wrappers, lines, image, .. } = &rewritten;
    artifacts::write(config, module, &inputs, wrappers, lines, image.as_ref(), &code)
}

/// Loads an artifact.
pub fn load(
    shared: &Shared,
    artifact: Vec<u8>,
    request: &FactoryRequest,
    compilation: &Arc<Compilation>,
) -> Result<Arc<Code>> {
    let begin = Instant::now();
    // Nothing is compiled. The interface is validated and the code is copied.
    let _lease = lease_for_interface(artifact.len())?;
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
    let summary = shared.validate_interface(&head.outline, request)?;
    check_waits(&summary, &waits(&summary, shared.linked()?, request), &head.waits)?;
    shared.share(&head.key, compilation, || {
        let mut parts = loaded(shared, &artifact)?;
        shared.metrics.code_cache.loaded(begin.elapsed());
        if !shared.config.debug_info {
            parts.lines = Lines::default();
        }
        parts.finish(shared, head.module, head.module_size)
    })
}

fn loaded(shared: &Shared, artifact: &Artifact) -> Result<Parts> {
    let head = &artifact.head;
    let module = deserialize(shared, artifact.code()).map_err(|e| {
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
    Ok(with_head(module, head))
}

/// What is to be obtained.
struct Wanted<'a> {
    inputs: &'a KeyInputs<'a>,
    request: &'a FactoryRequest,
    compilation: &'a Compilation,
    begin: Instant,
    /// Whether an artifact is wanted, too.
    artifact: bool,
}

/// Code and an artifact of it if one was asked for.
fn obtain(shared: &Shared, module: &[u8], wanted: &Wanted<'_>) -> Result<(Parts, Option<Vec<u8>>)> {
    let linked = shared.linked()?;
    let &Wanted { inputs, request, begin, artifact: wants_artifact, .. } = wanted;
    if linked.cache.is_none() && shared.helper.is_none() && !wants_artifact {
        // Without an artifact.
        return Ok((shared.metrics.compiling(|| compile_here(shared, linked, module, request))?, None));
    }
    let Some(cache) = linked.cache.as_deref() else {
        let (code, artifact) = compile_now(shared, linked, module, wanted)?;
        return Ok((code, if wants_artifact { Some(artifact?) } else { None }));
    };
    let (key, transform) = (inputs.key(), &*request.transform.name);
    if let Some(artifact) = cache.find(&key, transform) {
        match deserialize(shared, artifact.code()) {
            Ok(module) => {
                shared.metrics.code_cache.count(CodeCacheEvent::Hit);
                shared.metrics.code_cache.loaded(begin.elapsed());
                let code = with_head(module, &artifact.head);
                return Ok((code, wants_artifact.then(|| artifact.into_bytes())));
            }
            // The entry is good.
            Err(e) if refusal::is_refusal(&e) => return Err(Error::out_of_memory()),
            Err(e) => cache.reject(transform, &format!("the entry {} could not be loaded: {e:#}", hex(&key))),
        }
    }
    shared.metrics.code_cache.count(CodeCacheEvent::Miss);
    let (code, artifact) = compile_now(shared, linked, module, wanted)?;
    match artifact {
        Ok(artifact) => {
            cache.store(&key, &artifact, transform);
            Ok((code, wants_artifact.then_some(artifact)))
        }
        Err(e) if wants_artifact => Err(e),
        Err(e) => {
            cache.fault(transform, &e.message);
            Ok((code, None))
        }
    }
}

/// Code and its artifact, made by the helper if there is one. Without the artifact the code can still run.
fn compile_now(
    shared: &Shared,
    linked: &Linked,
    module: &[u8],
    wanted: &Wanted<'_>,
) -> Result<(Parts, Result<Vec<u8>>)> {
    let &Wanted { inputs, request, compilation, .. } = wanted;
    let Some(helper) = &shared.helper else {
        let code = shared.metrics.compiling(|| compile_here(shared, linked, module, request))?;
        let serialized = code.module.serialize().map_err(|e| unwritten(&e));
        let Parts { wrappers, lines, image, .. } = &code;
        let artifact = serialized.and_then(|bytes| {
            artifacts::write(&shared.config, module, inputs, wrappers, lines, image.as_ref(), &bytes)
        });
        return Ok((code, artifact));
    };
    shared.metrics.compiling(|| {
        check_code(shared, module)?;
        let artifact = helper.compile(&shared.config, module, inputs, compilation)?;
        let module = deserialize(shared, artifact.code()).map_err(|e| uncompiled(&e))?;
        Ok((with_head(module, &artifact.head), Ok(artifact.into_bytes())))
    })
}

fn compile_here(shared: &Shared, linked: &Linked, module: &[u8], request: &FactoryRequest) -> Result<Parts> {
    check_code(shared, module)?;
    let waits = |module: &str, name: &str| request.waits(linked, module, name);
    let rewritten = Rewritten::new(module, waits, &shared.config)?;
    let compiled = if rewritten.has_positions {
        // Another engine compiles it than the one that runs it.
        shared.compilers.serialized(module, &rewritten).and_then(|code| deserialize(shared, &code))
    } else {
        Module::from_binary(&shared.compilers.engine, rewritten.or(module))
    };
    let Rewritten { wrappers, lines, image, .. } = rewritten;
    Ok(Parts { module: compiled.map_err(|e| uncompiled(&e))?, wrappers, lines, image })
}

/// Code with what its head knows.
fn with_head(module: Module, head: &Head) -> Parts {
    Parts { module, wrappers: head.wrappers.clone(), lines: head.lines.clone(), image: head.image.clone() }
}

/// What an artifact need not be checked for again.
fn check_code(shared: &Shared, module: &[u8]) -> Result<()> {
    check_specification(module, shared.config.compile_limit_factor)?;
    elements::check(module)
}

fn uncompiled(e: &wasmtime::Error) -> Error {
    refusal::of_wasmtime(e, Status::ModuleCompile, format!("the module could not be compiled: {e:#}"))
}

fn unwritten(e: &wasmtime::Error) -> Error {
    if refusal::is_refusal(e) { Error::out_of_memory() } else { artifacts::unwritten(e) }
}

/// Wasmtime's module from code that was compiled before.
#[allow(unsafe_code)]
fn deserialize(shared: &Shared, code: &[u8]) -> wasmtime::Result<Module> {
    // SAFETY: the code is what Wasmtime serialized: a moment ago, or earlier and with a checksum that rules out
    // accidental changes. Forgery is ruled out by the cache's directory, in which only this user and root can write,
    // by the embedder as the header requires, or by the socket of a helper that this process has started. Wasmtime
    // itself refuses code of another configuration or processor. Another version of Wasmtime has another version in the
    // head or in the key.
    unsafe { Module::deserialize(&shared.compilers.engine, code) }
}

fn ingredients(engine: &Engine, config: &Config, module: Source<'_>) -> KeyInputs<'static> {
    let lines = config.debug_info && lines::are_in(module.bytes);
    KeyInputs {
        engine: key::engine(engine),
        module: module.hash,
        module_size: module.bytes.len() as u64,
        lines,
        waits: &[],
    }
}

/// How each import waits. Rewriting depends on this.
fn waits(summary: &Summary, linked: &Linked, request: &FactoryRequest) -> Vec<u8> {
    let of = |kind, module, name| match kind {
        ItemKind::Function(_) => Waits::number(request.waits(linked, module, name)),
        _ => 0,
    };
    summary.imports.iter().map(|import| of(import.kind, &import.module, &import.name)).collect()
}

#[cfg(test)]
mod tests;
