//! Loading does not bypass any check and reports what differs.

use super::*;
use crate::base::config::{wasm_memory_mode, wasm_trap_mode};
use crate::base::description::Description;
use crate::base::limits::TransformLimits;
use crate::base::rights::{AllowedImport, Rights};
use crate::compile::artifacts::outline;
use crate::compile::code_cache::DEFAULT_MAX_BYTES;
use crate::compile::code_cache::key::REWRITING;
use crate::compile::runtime::Runtime;
use crate::guest::host_function::HostFunction;
use crate::host::log::Line;
use crate::metrics::snapshot::RuntimeMetrics;
use crate::module::artifact::FORMAT;
use crate::system::memory::allocators::Allocators;
use std::sync::Arc;

struct SilentLog;
impl crate::host::log::Sink for SilentLog {
    fn line(&self, _: &Line<'_>) {}
}

fn runtime(config: Config) -> Runtime {
    Runtime::new(config, Arc::new(SilentLog), Allocators::default()).unwrap()
}

const GUEST: &str = r#"(module
    (type $void (func))
    (import "redpanda_transform" "check_abi_version_2" (func (type $void)))
    (import "redpanda_transform" "write_record" (func $write (param i32 i32) (result i32)))
    (table 10 funcref)
    (memory (export "memory") 3)
    (func $_start (export "_start") (drop (call $write (i32.const 1) (i32.const 2)))))"#;

const CALLER: &str = r#"(module
    (type $void (func))
    (import "redpanda_transform" "check_abi_version_2" (func (type $void)))
    (import "host" "ask" (func $ask (param i32) (result i32)))
    (memory (export "memory") 1)
    (func $_start (export "_start") (drop (call $ask (i32.const 1)))))"#;

fn module(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn counted(shared: &Shared) -> RuntimeMetrics {
    let mut metrics = RuntimeMetrics::default();
    metrics.read(&shared.metrics, shared.pooled());
    metrics
}

fn request(name: &str, shared: &Shared) -> FactoryRequest {
    let limits = TransformLimits::of(&shared.config);
    let transform = Description { name: name.into(), limits, ..Description::default() };
    FactoryRequest::new(transform, Vec::new()).unwrap()
}

fn compile(shared: &Shared, module: &[u8], name: &str) -> Result<Arc<Code>> {
    super::compile(shared, Source::new(module, None), &request(name, shared), &Arc::default())
}

fn precompile(shared: &Shared, module: &[u8]) -> Result<Vec<u8>> {
    super::precompile(shared, Source::new(module, None), &request("t", shared), &Arc::default())
}

fn load(shared: &Shared, artifact: Vec<u8>) -> Result<Arc<Code>> {
    super::load(shared, artifact, &request("t", shared), &Arc::default())
}

fn refusal(result: Result<Arc<Code>>) -> (Status, String) {
    let error = result.err().unwrap();
    (error.status, error.message)
}

fn made(config: &Config) -> Vec<u8> {
    precompile(&runtime(config.clone()).shared, &module(GUEST)).unwrap()
}

/// The same artifact with another head or code and a correct checksum.
fn changed(artifact: &[u8], change: impl FnOnce(&mut Head, &mut Vec<u8>)) -> Vec<u8> {
    let artifact = Artifact::read(artifact.to_vec()).unwrap();
    let (mut head, mut code) = (artifact.head.clone(), artifact.code().to_vec());
    change(&mut head, &mut code);
    Artifact::write(&head, &code)
}

#[allow(unsafe_code)]
fn host_function(may_wait: bool, params: usize) -> HostFunction {
    // SAFETY: there is no data.
    unsafe { HostFunction::uncalled("ask", params, may_wait, core::ptr::null_mut(), None) }
}

#[test]
fn what_was_compiled_is_loaded() {
    let shared = runtime(Config::default()).shared;
    let bytes = precompile(&shared, &module(GUEST)).unwrap();
    let compiled = compile(&shared, &module(GUEST), "t").unwrap();
    let loaded = load(&runtime(Config::default()).shared, bytes).unwrap();
    assert_eq!(loaded.wrappers, compiled.wrappers);
    assert_eq!(loaded.wrappers.imports.len(), 1);
    assert_eq!(loaded.module.imports().count(), compiled.module.imports().count());
    let counted = counted(&shared);
    let cache = counted.code_cache;
    assert_eq!((counted.compilations, cache.loads, cache.hits, cache.misses), (2, 0, 0, 0));
}

#[test]
fn an_outline_is_validated_like_its_module() {
    for text in [GUEST, CALLER] {
        let module = module(text);
        let (of_module, of_outline) = (Summary::read(&module), Summary::read(&outline(&module).unwrap()));
        of_outline.1.unwrap();
        let tell = |s: &Summary| {
            format!(
                "{:?} {:?} {:?} {:?} {:?}",
                s.imports,
                s.exports,
                s.memories,
                s.tables,
                s.abi_version("redpanda_transform")
            )
        };
        assert_eq!(tell(&of_module.0), tell(&of_outline.0));
    }
}

#[test]
fn an_artifact_is_refused_if_its_module_would_be() {
    let bytes = made(&Config::default());
    let size = module(GUEST).len();
    for (config, status) in [
        (Config { memory_limit: 2 * 65536, ..Config::default() }, Status::ModuleMemoryLimit),
        (Config { table_limit: 9, ..Config::default() }, Status::ModuleTableLimit),
        (Config { max_module_size: size - 1, ..Config::default() }, Status::ModuleTooLarge),
    ] {
        let shared = runtime(config).shared;
        let (refused, message) = refusal(load(&shared, bytes.clone()));
        assert_eq!((refused, refused), (status, refusal(compile(&shared, &module(GUEST), "t")).0), "{message}");
    }
    load(&runtime(Config { max_module_size: size, ..Config::default() }).shared, bytes).unwrap();
}

#[test]
fn a_hit_is_refused_if_a_compilation_would_be() {
    let scratch = tempfile::tempdir().unwrap();
    let with_cache = |config, function: Option<HostFunction>| {
        let runtime = runtime(config);
        runtime.set_code_cache(&scratch.path().join("cache"), DEFAULT_MAX_BYTES).unwrap();
        if let Some(function) = function {
            runtime.register(function).unwrap();
        }
        runtime.shared
    };
    let first = with_cache(Config::default(), None);
    compile(&first, &module(GUEST), "t").unwrap();
    compile(&first, &module(GUEST), "t").unwrap();
    let counts = counted(&first);
    let cache = counts.code_cache;
    assert_eq!((cache.hits, cache.misses, cache.stores, counts.compilations), (1, 1, 1, 1));
    // None of these changes the key, so the entry exists.
    for (config, status) in [
        (Config { memory_limit: 2 * 65536, ..Config::default() }, Status::ModuleMemoryLimit),
        (Config { table_limit: 9, ..Config::default() }, Status::ModuleTableLimit),
        (Config { max_module_size: 100, ..Config::default() }, Status::ModuleTooLarge),
    ] {
        let shared = with_cache(config, None);
        assert_eq!(refusal(compile(&shared, &module(GUEST), "t")).0, status);
    }
    let shared = with_cache(Config { memory_limit: 3 * 65536, table_limit: 10, ..Config::default() }, None);
    compile(&shared, &module(GUEST), "t").unwrap();
    assert_eq!(shared.metrics.code_cache.read().hits, 1);

    // Host functions: present or absent, of another type, waiting or not.
    let hit = |function| {
        let shared = with_cache(Config::default(), function);
        let compiled = compile(&shared, &module(CALLER), "t");
        let hits = shared.metrics.code_cache.read().hits;
        compiled.map(|code| (hits, code.wrappers.imports.len())).map_err(|e| e.status)
    };
    assert_eq!(hit(Some(host_function(false, 1))), Ok((0, 0)));
    assert_eq!(hit(Some(host_function(false, 1))), Ok((1, 0)));
    assert_eq!(hit(None), Err(Status::ModuleUnknownImport));
    assert_eq!(hit(Some(host_function(false, 2))), Err(Status::ModuleImportSignature));
    assert_eq!(hit(Some(host_function(true, 1))), Ok((0, 1)), "rewritten code is other code");
    assert_eq!(hit(Some(host_function(true, 1))), Ok((1, 1)));
    // Code that was made for other settings has other keys.
    let checks = with_cache(Config { trap_mode: wasm_trap_mode::Checks, ..Config::default() }, None);
    compile(&checks, &module(GUEST), "t").unwrap();
    assert_eq!((checks.metrics.code_cache.read().hits, checks.metrics.code_cache.read().misses), (0, 1));
}

#[test]
fn an_artifact_tells_how_it_was_made() {
    for by_calls in [false, true] {
        let config = Config { expands_record_calls: !by_calls, ..Config::default() };
        let bytes = made(&config);
        let told = runtime(Config::default()).inspect(&bytes).unwrap();
        let of_module = runtime(Config::default()).inspect(&module(GUEST)).unwrap();
        assert_eq!((&told["imports"], &told["exports"]), (&of_module["imports"], &of_module["exports"]));
        let artifact = &told["artifact"];
        let settings = artifact["settings"].as_str().unwrap();
        assert!(
            settings.contains(if by_calls { "host_record_calls 1 " } else { "host_record_calls 0 " }),
            "{settings}"
        );
        assert_eq!(artifact["module_size"], module(GUEST).len());
        assert!(told["refused"].is_null() && of_module["artifact"].is_null());
        let other = changed(&bytes, |head, _| head.target = "riscv64-linux".into());
        let told = runtime(Config::default()).inspect(&other).unwrap();
        assert!(told["refused"]["message"].as_str().unwrap().contains("riscv64-linux"));
    }
    let damaged = made(&Config::default()).split_off(9);
    assert!(runtime(Config::default()).inspect(&[&crate::module::artifact::MAGIC[..], &damaged].concat()).is_err());
}

#[test]
fn foreign_artifacts_are_refused_with_the_difference() {
    let bytes = made(&Config::default());
    let shared = runtime(Config::default()).shared;
    let refused = |bytes: Vec<u8>, what: &str| {
        let (status, message) = refusal(load(&shared, bytes));
        assert_eq!(status, Status::ModuleArtifactIncompatible, "{message}");
        assert!(message.contains(what), "{message} does not say {what}");
    };
    refused(changed(&bytes, |head, _| head.wasmtime = "47.0.1".into()), "by Wasmtime 47.0.1 and this is Wasmtime 4");
    refused(changed(&bytes, |head, _| head.library = "0.0.9".into()), "by version 0.0.9 of this library");
    refused(changed(&bytes, |head, _| head.rewriting += 1), &format!("with rewriting {}. This is", REWRITING + 1));
    refused(changed(&bytes, |head, _| head.target = "riscv64-linux".into()), "made for riscv64-linux and this is ");
    let mut format = bytes.clone();
    format[8] += 1;
    refused(format, &format!("it has format {}", FORMAT + 1));
    refused(
        changed(&bytes, |head, _| head.waits[1] = 0),
        "redpanda_transform.write_record may wait here but might not",
    );
    refused(changed(&bytes, |head, _| head.waits[0] = 1), "check_abi_version_2 may not wait here but might");
    refused(changed(&bytes, |head, _| head.waits.push(0)), "another number of imports");
    // A processor with a feature that this one does not have.
    let feature: &[u8] = b"has_avx512vbmi";
    refused(
        changed(&bytes, |_, code| {
            let at = code.windows(feature.len()).position(|text| text == feature).unwrap() + feature.len();
            // A setting's value: a number for the kind, which is the last of three, and one for the value.
            assert_eq!(code[at], 2);
            code[at + 1] = 1;
            let name = at - feature.len();
            // A feature that no processor has yet, as long as this one.
            code[name..at].copy_from_slice(b"has_avx512none");
        }),
        "has_avx512none",
    );
    for (config, what) in [
        (
            Config { trap_mode: wasm_trap_mode::Checks, ..Config::default() },
            "memory_mode ON_DEMAND, host_record_calls 0 and trap_mode CHECKS. This",
        ),
        (Config { memory_mode: wasm_memory_mode::ThreadPool, ..Config::default() }, "memory_mode THREAD_POOL"),
    ] {
        refused(made(&config), what);
        refused(
            made(&config),
            "This is x86_64-linux with memory_mode ON_DEMAND, host_record_calls 0 and trap_mode SIGNALS",
        );
    }
}

#[test]
fn bytes_that_are_not_an_artifact_are_reported() {
    let shared = runtime(Config::default()).shared;
    let bytes = made(&Config::default());
    for (bytes, what) in [
        (module(GUEST), "wasm_factory_create"),
        (Vec::new(), "not an artifact"),
        (bytes[..bytes.len() - 1].to_vec(), "damaged"),
    ] {
        let (status, message) = refusal(load(&shared, bytes));
        assert_eq!(status, Status::ModuleArtifactDamaged);
        assert!(message.contains(what), "{message}");
    }
    let (status, message) = refusal(compile(&shared, &bytes, "t"));
    assert_eq!(status, Status::ModuleNotWasm);
    assert!(message.contains("wasm_factory_load"), "{message}");
}

#[test]
fn an_entry_that_wasmtime_refuses_is_replaced() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("cache");
    let runtime = runtime(Config::default());
    runtime.set_code_cache(&path, DEFAULT_MAX_BYTES).unwrap();
    let bytes = precompile(&runtime.shared, &module(GUEST)).unwrap();
    let file = std::fs::read_dir(&path).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read(&file).unwrap(), bytes, "an entry is an artifact");
    std::fs::write(&file, changed(&bytes, |_, code| code.truncate(100))).unwrap();
    compile(&runtime.shared, &module(GUEST), "t").unwrap();
    compile(&runtime.shared, &module(GUEST), "t").unwrap();
    let counted = counted(&runtime.shared).code_cache;
    assert_eq!((counted.hits, counted.misses, counted.rejected, counted.stores), (1, 2, 1, 2));
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
}

#[test]
fn factories_of_one_module_share_its_code_wherever_it_comes_from() {
    let shared = runtime(Config::default()).shared;
    let bytes = precompile(&shared, &module(GUEST)).unwrap();
    let (first, second) =
        (compile(&shared, &module(GUEST), "a").unwrap(), compile(&shared, &module(GUEST), "b").unwrap());
    assert!(Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(&first, &load(&shared, bytes.clone()).unwrap()), "an artifact is the same code");
    let counts = counted(&shared);
    assert_eq!((counts.modules, counts.shared_modules, counts.compilations, counts.code_cache.loads), (1, 2, 2, 0));
    assert_eq!(counts.executable, first.executable.bytes());
    assert_eq!((first.hash, first.module_size), (digest(&module(GUEST)), module(GUEST).len() as u64));
    drop((first, second));
    assert_eq!((counted(&shared).modules, counted(&shared).executable), (0, 0));
    let loaded = load(&shared, bytes).unwrap();
    assert!(Arc::ptr_eq(&loaded, &compile(&shared, &module(GUEST), "a").unwrap()));
}

#[test]
fn host_functions_of_a_factory_make_other_code_only_if_they_may_wait() {
    let shared = runtime(Config::default()).shared;
    let with = |may_wait, params| {
        let transform = Description { name: "t".into(), ..Description::default() };
        let request = FactoryRequest::new(transform, vec![host_function(may_wait, params)]).unwrap();
        super::compile(&shared, Source::new(&module(CALLER), None), &request, &Arc::default())
    };
    assert_eq!(refusal(compile(&shared, &module(CALLER), "t")).0, Status::ModuleUnknownImport);
    let (one, other, waiting) = (with(false, 1).unwrap(), with(false, 1).unwrap(), with(true, 1).unwrap());
    assert!(Arc::ptr_eq(&one, &other) && !Arc::ptr_eq(&one, &waiting));
    assert_eq!(refusal(with(false, 2)).0, Status::ModuleImportSignature, "what exists is checked for each factory");
}

#[test]
fn code_that_exists_is_refused_to_who_has_no_right_or_no_room() {
    let shared = runtime(Config::default()).shared;
    let bytes = precompile(&shared, &module(GUEST)).unwrap();
    let _code = compile(&shared, &module(GUEST), "t").unwrap();
    let limits = TransformLimits::of(&shared.config);
    for (limits, status, says) in [
        (TransformLimits { memory: 2 * 65536, ..limits }, Status::ModuleMemoryLimit, "memory_limit (131072)"),
        (TransformLimits { table: 9, ..limits }, Status::ModuleTableLimit, "table_limit (9)"),
    ] {
        let transform = Description { name: "t".into(), limits, ..Description::default() };
        let request = FactoryRequest::new(transform, Vec::new()).unwrap();
        let compiled = super::compile(&shared, Source::new(&module(GUEST), None), &request, &Arc::default());
        for (refused, message) in
            [refusal(compiled), refusal(super::load(&shared, bytes.clone(), &request, &Arc::default()))]
        {
            assert_eq!(refused, status);
            assert!(message.contains(says), "{message}");
        }
    }
    let import = AllowedImport { module: "other".into(), function: String::new() };
    let denied = runtime(Config::default());
    denied.register(host_function(false, 1)).unwrap();
    let transform =
        Description { name: "t".into(), rights: Rights { imports: vec![import], wasi: 0 }, ..Description::default() };
    let request = FactoryRequest::new(transform, Vec::new()).unwrap();
    let of_other = compile(&denied.shared, &module(CALLER), "t").unwrap();
    let compiled = super::compile(&denied.shared, Source::new(&module(CALLER), None), &request, &Arc::default());
    let (status, message) = refusal(compiled);
    assert_eq!(status, Status::ModuleImportDenied);
    assert!(message.contains("no right to: host.ask (allowed_imports does not have it)"), "{message}");
    drop(of_other);
}
