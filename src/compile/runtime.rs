//! A runtime: configuration, the Wasmtime engine and linker made from it, and the threads that compile.

use super::wasmtime_config;
use crate::base::config::{Config, wasm_memory_mode, wasm_signal_check, wasm_trap_mode};
use crate::base::description::Transform;
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::compile::code_cache::Cache;
use crate::guest::context::{Context, GuestState, Local};
use crate::guest::host_function::HostFunction;
use crate::guest::limits::Limits;
use crate::guest::{clock, schema_registry, transform, wasi};
use crate::host::log::Sink;
use crate::host::schema_registry::Registry;
use crate::metrics::registry::Registry as Metrics;
use crate::module::abi;
use crate::module::inspect::{Summary, signature};
use crate::module::suspend_points::{self, Waits};
use crate::module::validate::{self, Bounds, HostFunctions};
use crate::system::memory::block::{Allocator, Source, page};
use crate::system::memory::creators::Provider;
use crate::system::memory::pools::Pooled;
use crate::system::memory::pools::{Pools, Sizes};
use crate::system::ticker;
use crate::system::{fork, signals};
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use wasmtime::{Engine, Extern, Linker, Store};

/// The names of the compile threads begin like this. A number follows.
pub const COMPILE_THREAD_NAME: &str = "wasm-compile-";

/// The part of a runtime that its factories and engines share. They may outlive the runtime.
pub struct Shared {
    /// The configuration.
    pub config: Config,
    /// Wasmtime's engine.
    pub engine: Engine,
    /// Where guests' output goes.
    pub log: Arc<dyn Sink>,
    /// The threads' pools in the memory mode that has them.
    pub pools: Option<Arc<Pools>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is being registered until the first factory is requested.
    registering: Mutex<Option<Registering>>,
    /// All host functions afterwards.
    linked: OnceCell<Linked>,
    _ticker: ticker::Registration,
}

/// The host functions of a runtime that can still get more.
struct Registering {
    linker: Linker<GuestState>,
    functions: HostFunctions,
    waiting: HashSet<(String, String)>,
    registry: Option<Arc<Registry>>,
    cache: Option<Arc<Cache>>,
}

/// The host functions of a runtime.
pub struct Linked {
    /// All of them.
    pub linker: Linker<GuestState>,
    /// The code cache if there is one.
    pub cache: Option<Arc<Cache>>,
    functions: HostFunctions,
    waiting: HashSet<(String, String)>,
}

impl Linked {
    /// Whether and how an import may have to wait.
    pub fn waits(&self, module: &str, name: &str) -> Option<Waits> {
        suspend_points::own(module, name).or_else(|| {
            // Rarely more than a few and only while compiling.
            self.waiting.contains(&(module.to_owned(), name.to_owned())).then_some(Waits::Flag)
        })
    }
}

/// A runtime.
pub struct Runtime {
    /// What factories keep.
    pub shared: Arc<Shared>,
    compilers: Mutex<Option<Compilers>>,
}

/// The compile threads.
struct Compilers {
    pool: Arc<rayon::ThreadPool>,
    /// `fork::generation` in which they were started.
    generation: u64,
}

impl Drop for Compilers {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            // Its threads exist only in the parent. The locks that they held stay locked.
            core::mem::forget(self.pool.clone());
        }
    }
}

impl Runtime {
    /// Makes a runtime.
    pub fn new(config: Config, log: Arc<dyn Sink>, allocators: Allocators) -> Result<Self> {
        config.check()?;
        fork::watch()?;
        let broken = |e: wasmtime::Error| Error::new(Status::System, format!("Wasmtime could not be set up: {e:#}"));
        let provider = allocators.provider(&config)?;
        let engine = Engine::new(&wasmtime_config::make(&config, provider.as_ref())).map_err(|e| {
            if config.memory_mode != wasm_memory_mode::ProcessPool {
                return broken(e);
            }
            let (engines, memory) = (config.pool_engines, config.memory_size());
            let what_to_do = "lower pool_engines, or raise vm.max_map_count and set vm.overcommit_memory to 1";
            let what = format!("the pool for {engines} engines with memories of {memory} bytes could not be made");
            Error::new(Status::System, format!("{what}: {e:#}. If the system refused: {what_to_do}"))
        })?;
        let pools = match provider {
            Some(Provider::Pool(pools)) => Some(pools),
            _ => None,
        };
        let mut linker = Linker::new(&engine);
        transform::define(&mut linker).map_err(broken)?;
        wasi::define(&mut linker).map_err(broken)?;
        let ticker = ticker::register(&engine, clock::tick(&config), config.real_time)
            .map_err(|e| Error::new(Status::System, format!("the ticker's thread could not be started: {e}")))?;
        let registering = Registering {
            linker,
            functions: HostFunctions::default(),
            waiting: HashSet::new(),
            registry: None,
            cache: None,
        };
        let metrics = Metrics::new(&config);
        let shared = Shared {
            config,
            metrics,
            engine,
            log,
            pools,
            registering: Mutex::new(Some(registering)),
            linked: OnceCell::new(),
            _ticker: ticker,
        };
        Ok(Self { shared: Arc::new(shared), compilers: Mutex::new(None) })
    }

    /// Adds a function of the host's.
    pub fn register(&self, function: HostFunction) -> Result<()> {
        // Declared outside, so that a refused function is dropped after the lock is released. Dropping it runs code
        // of the host.
        let mut slot = Some(function);
        self.shared.registering(|registering| {
            let Some(function) = &slot else { return Ok(()) };
            let key = (function.module.clone(), function.name.clone());
            let name = format!("{}.{}", key.0, key.1);
            if RESERVED.contains(&&*key.0) {
                return Err(Error::invalid(format!("module {} is the library's own", key.0)));
            }
            if registering.functions.contains(&key.0, &key.1) {
                return Err(Error::invalid(format!("host function {name} is registered already")));
            }
            registering.functions.add(&key.0, &key.1, function.signature());
            if function.may_wait {
                registering.waiting.insert(key);
            }
            slot.take()
                .map_or(Ok(()), |function| function.define(&mut registering.linker))
                .map_err(|e| Error::new(Status::Internal, format!("host function {name} could not be defined: {e:#}")))
        })
    }

    /// Gives guests a schema registry.
    pub fn set_schema_registry(&self, registry: Registry) -> Result<()> {
        // As above.
        let mut slot = Some(registry);
        self.shared.registering(|registering| match &registering.registry {
            Some(_) => Err(Error::invalid("the runtime has a schema registry already")),
            None => {
                registering.registry = slot.take().map(Arc::new);
                Ok(())
            }
        })
    }

    /// Keeps compiled modules in a directory. They may take up to `max_bytes`.
    pub fn set_code_cache(&self, directory: &Path, max_bytes: u64) -> Result<()> {
        let shared = &self.shared;
        let set = |cache: Option<Arc<Cache>>| {
            shared.registering(|registering| match &registering.cache {
                Some(_) => Err(Error::invalid("the runtime has a cache already")),
                None => {
                    registering.cache = cache;
                    Ok(())
                }
            })
        };
        set(None)?;
        // Made outside of the lock: this takes a while and may call the host's log.
        let (counters, log) = (shared.metrics.code_cache.clone(), shared.log.clone());
        set(Some(Arc::new(Cache::new(directory, max_bytes, counters, log, shared.config.max_log_line)?)))
    }

    /// Validates a module without compiling it.
    pub fn validate(&self, module: &[u8]) -> Result<()> {
        self.shared.validate(module)
    }

    /// Everything that can be told about a module, even a refused one.
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
        let generation = fork::generation();
        let mut compilers = self.compilers.lock();
        let pool = match &*compilers {
            Some(compilers) if compilers.generation == generation => compilers.pool.clone(),
            _ => {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(self.shared.config.compile_threads)
                    .thread_name(|i| format!("{COMPILE_THREAD_NAME}{i}"))
                    .build()
                    .map_err(|e| {
                        Error::new(Status::System, format!("the compile threads could not be started: {e}"))
                    })?;
                let pool = Arc::new(pool);
                *compilers = Some(Compilers { pool: pool.clone(), generation });
                pool
            }
        };
        drop(compilers);
        pool.spawn(job);
        Ok(())
    }
}

/// The host's allocators if it has its own.
#[derive(Default)]
pub struct Allocators {
    /// For linear memories.
    pub memory: Option<Allocator>,
    /// For guests' stacks.
    pub stack: Option<Allocator>,
}

impl Allocators {
    /// The allocator for Wasmtime in the modes in which the library provides memory.
    fn provider(self, config: &Config) -> Result<Option<Provider>> {
        use wasm_memory_mode::{Host, OnDemand, ProcessPool, ThreadPool};
        let source = |allocator: Option<Allocator>| allocator.map_or(Source::System, |a| Source::Host(Arc::new(a)));
        let sizes = Sizes {
            memory: config.memory_size(),
            stack: config.stack_size(page()),
            keep_resident: config.keep_resident,
        };
        match config.memory_mode {
            OnDemand | ProcessPool if self.memory.is_some() || self.stack.is_some() => Err(Error::invalid(
                "memory_allocator and stack_allocator are for the memory modes THREAD_POOL and HOST",
            )),
            OnDemand | ProcessPool => Ok(None),
            Host if self.memory.is_none() => Err(Error::invalid("memory mode HOST needs a memory_allocator")),
            Host => Ok(Some(Provider::Host {
                memories: source(self.memory),
                stacks: source(self.stack),
                memory: sizes.memory,
            })),
            ThreadPool => Ok(Some(Provider::Pool(Pools::new(source(self.memory), source(self.stack), sizes)))),
        }
    }
}

/// Modules that are the library's own.
const RESERVED: [&str; 3] = [abi::TRANSFORM, abi::SCHEMA_REGISTRY, wasi::MODULE];

impl Shared {
    fn registering(&self, change: impl FnOnce(&mut Registering) -> Result<()>) -> Result<()> {
        match &mut *self.registering.lock() {
            Some(registering) => change(registering),
            None => Err(Error::new(
                Status::InvalidState,
                "a module was validated or compiled already; register host functions, schema registry and cache before that",
            )),
        }
    }

    /// The host functions. None can be added after the first call.
    pub fn linked(&self) -> Result<&Linked> {
        self.linked.get_or_try_init(|| {
            let taken = self.registering.lock().take();
            let Some(Registering { mut linker, functions, waiting, registry, cache }) = taken else {
                return Err(Error::new(Status::Internal, "the runtime's host functions could not be linked before"));
            };
            schema_registry::define(&mut linker, registry)
                .map_err(|e| Error::new(Status::Internal, format!("the schema registry could not be linked: {e:#}")))?;
            let functions = list_functions(&linker, functions, self);
            Ok(Linked { linker, cache, functions, waiting })
        })
    }

    /// Prepares the calling thread for running guests: signals, Wasmtime's thread-local state with its alternate
    /// signal stack and a pool for `engines` engines if any.
    pub fn prepare_thread(&self, engines: u32) -> Result<()> {
        self.unblock_signals()?;
        Engine::tls_eager_initialize();
        ticker::Turns::of_this_thread();
        match &self.pools {
            Some(pools) if engines > 0 => pools.reserve(engines),
            None if engines > 0 => Err(Error::invalid("engines can be reserved in memory mode THREAD_POOL only")),
            _ => Ok(()),
        }
    }

    /// The pools in the modes that have them.
    pub fn pooled(&self) -> Pooled {
        match (&self.pools, self.engine.pooling_allocator_metrics()) {
            (Some(pools), _) => pools.total(),
            (None, Some(metrics)) => Pooled {
                pools: 1,
                engines: self.config.pool_engines as u64,
                memories_in_use: metrics.memories() as u64,
                memories_dirty: 0,
                stacks_in_use: metrics.stacks() as u64,
            },
            (None, None) => Pooled::default(),
        }
    }

    /// Unblocks the signals that this runtime uses on the calling thread.
    pub fn unblock_signals(&self) -> Result<()> {
        match self.config.trap_mode {
            wasm_trap_mode::Signals => signals::unblock(),
            wasm_trap_mode::Checks => Ok(()),
        }
    }

    /// Refuses a thread on which a trap would kill the process. The configuration says when to check.
    #[inline]
    pub fn check_signals(&self, starting: bool) -> Result<()> {
        match (self.config.trap_mode, self.config.signal_check) {
            (wasm_trap_mode::Checks, _) => Ok(()),
            (_, wasm_signal_check::Sampled) if !starting => signals::check_sampled(ticker::run_clock()),
            _ => signals::check(),
        }
    }

    /// Validates a module without compiling it.
    pub fn validate(&self, module: &[u8]) -> Result<()> {
        self.judge(module)?;
        validate::check_specification(module)
    }

    /// Validates everything about a module except its code. These checks depend on this runtime and are quick.
    pub fn judge(&self, module: &[u8]) -> Result<Summary> {
        let config = &self.config;
        let (tables, table_elements) = wasmtime_config::tables(config);
        let bounds = Bounds { size: config.max_module_size, memory: config.memory_limit, tables, table_elements };
        validate::check(module, bounds, &self.linked()?.functions)
    }
}

/// The host functions with their types. Wasmtime needs a store to tell the types, so one is made for it.
fn list_functions(linker: &Linker<GuestState>, mut functions: HostFunctions, shared: &Shared) -> HostFunctions {
    let nobody = Arc::new(Transform::default());
    let meter = shared.metrics.detached();
    let context = Rc::new(Context::new(nobody.clone(), &shared.config, shared.log.clone(), meter));
    let local = Local::new(&context);
    let state = GuestState {
        random: wasi::random(),
        limits: Limits { context: local.clone(), previous_size: 0, table_elements: 0, table_limit: 0, memory: None },
        wasi: wasi::context(&nobody, &local),
        context: local,
    };
    let mut store = Store::new(linker.engine(), state);
    let externs: Vec<_> = linker.iter(&mut store).map(|(m, n, e)| (m.to_owned(), n.to_owned(), e)).collect();
    for (module, name, item) in externs {
        // The embedder's functions are listed already, with the types that guests know.
        if let Extern::Func(function) = item
            && !functions.contains(&module, &name)
        {
            let ty = function.ty(&store);
            functions.add(&module, &name, signature(ty.params(), ty.results()));
        }
    }
    functions
}
