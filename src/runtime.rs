//! A runtime: configuration, the Wasmtime engine and linker made from it, and the threads that compile.

use crate::config::Config;
use crate::error::{Error, Result};
use crate::guest::context::{Context, GuestState, Local};
use crate::guest::limits::Limits;
use crate::guest::{clock, schema_registry, transform, wasi};
use crate::log::Sink;
use crate::module::inspect::{Summary, signature};
use crate::module::validate::{self, Bounds, HostFunctions};
use crate::status::wasm_status as Status;
use crate::ticker;
use crate::transform::Transform;
use once_cell::sync::OnceCell;
use serde_json::{Value, json};
use std::rc::Rc;
use std::sync::Arc;
use wasmtime::{Engine, Extern, Linker, OptLevel, Store};

/// Names of the compile threads begin like this; a number follows.
pub const COMPILE_THREAD_NAME: &str = "wasm-compile-";

/// What a runtime shares with its factories and engines, which may outlive it.
pub struct Shared {
    /// The configuration.
    pub config: Config,
    /// Wasmtime's engine.
    pub engine: Engine,
    /// All host functions.
    pub linker: Linker<GuestState>,
    /// Where guests' output goes.
    pub log: Arc<dyn Sink>,
    host_functions: HostFunctions,
    _ticker: ticker::Registration,
}

/// A runtime.
pub struct Runtime {
    /// What factories keep.
    pub shared: Arc<Shared>,
    compilers: OnceCell<rayon::ThreadPool>,
}

impl Runtime {
    /// Makes a runtime.
    pub fn new(config: Config, log: Arc<dyn Sink>) -> Result<Self> {
        config.check()?;
        let broken = |e: wasmtime::Error| Error::new(Status::System, format!("Wasmtime could not be set up: {e:#}"));
        let engine = Engine::new(&wasmtime_config(&config)).map_err(broken)?;
        let mut linker = Linker::new(&engine);
        transform::define(&mut linker).map_err(broken)?;
        schema_registry::define(&mut linker).map_err(broken)?;
        wasi::define(&mut linker).map_err(broken)?;
        let host_functions = list_functions(&linker, &config, &log);
        let period = config.time_slice.min(config.record_time_limit) / clock::TICKS_PER_SLICE as u32;
        let ticker = ticker::register(&engine, period)
            .map_err(|e| Error::new(Status::System, format!("the ticker's thread could not be started: {e}")))?;
        let shared = Shared { config, engine, linker, log, host_functions, _ticker: ticker };
        Ok(Self { shared: Arc::new(shared), compilers: OnceCell::new() })
    }

    /// Judges a module without compiling it.
    pub fn validate(&self, module: &[u8]) -> Result<()> {
        self.shared.validate(module)
    }

    /// Everything that can be told about a module, also about one that is refused.
    pub fn inspect(&self, module: &[u8]) -> Value {
        let (summary, _) = Summary::read(module);
        let mut document = summary.to_json();
        document["refused"] = match self.validate(module) {
            Ok(()) => Value::Null,
            Err(e) => json!({ "status": e.status.name().to_string_lossy(), "message": e.message }),
        };
        document
    }

    /// Runs `job` on a compile thread.
    pub fn compile(&self, job: impl FnOnce() + Send + 'static) -> Result<()> {
        let pool = self.compilers.get_or_try_init(|| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(self.shared.config.compile_threads)
                .thread_name(|i| format!("{COMPILE_THREAD_NAME}{i}"))
                .build()
                .map_err(|e| Error::new(Status::System, format!("the compile threads could not be started: {e}")))
        })?;
        pool.spawn(job);
        Ok(())
    }
}

impl Shared {
    /// Judges a module without compiling it.
    pub fn validate(&self, module: &[u8]) -> Result<()> {
        let config = &self.config;
        let bounds =
            Bounds { size: config.max_module_size, memory: config.memory_limit, table_elements: config.table_limit };
        validate::check(module, bounds, &self.host_functions)?;
        wasmtime::Module::validate(&self.engine, module)
            .map_err(|e| Error::new(Status::ModuleInvalid, format!("the module is not valid: {e:#}")))
    }
}

fn wasmtime_config(config: &Config) -> wasmtime::Config {
    let mut wasmtime = wasmtime::Config::new();
    wasmtime
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .max_wasm_stack(config.guest_stack)
        .async_stack_size(config.guest_stack + config.host_stack)
        .memory_may_move(false)
        // Else each registration of a module would make every C++ throw of the process slower.
        .native_unwind_info(false)
        // Backtraces name functions; offsets into a rewritten module would mislead.
        .generate_address_map(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false);
    wasmtime
}

/// The host functions with their types. Wasmtime tells types only with a store at hand, so one is made for it.
fn list_functions(linker: &Linker<GuestState>, config: &Config, log: &Arc<dyn Sink>) -> HostFunctions {
    let nobody = Arc::new(Transform::default());
    let context = Rc::new(Context::new(nobody.clone(), config, log.clone()));
    let local = Local::new(&context);
    let state = GuestState {
        memory: None,
        limits: Limits { context: local.clone(), table_elements: 0, table_limit: 0 },
        wasi: wasi::context(&nobody, &local),
        context: local,
    };
    let mut store = Store::new(linker.engine(), state);
    let externs: Vec<_> = linker.iter(&mut store).map(|(m, n, e)| (m.to_owned(), n.to_owned(), e)).collect();
    let mut functions = HostFunctions::default();
    for (module, name, item) in externs {
        if let Extern::Func(function) = item {
            let ty = function.ty(&store);
            functions.add(&module, &name, signature(ty.params(), ty.results()));
        }
    }
    functions
}
