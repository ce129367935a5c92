//! A runtime: its configuration and everything that its factories and engines share.

use crate::base::config::{Config, wasm_memory_mode, wasm_signal_check, wasm_trap_mode};
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::base::text::printable;
use crate::compile::artifacts;
use crate::compile::code_cache::Cache;
use crate::compile::codes::Codes;
use crate::compile::compiler::Compilers;
use crate::compile::helper::Helper;
use crate::compile::link::{Linked, Linking};
use crate::compile::request::FactoryRequest;
use crate::compile::threads::CompileThreads;
use crate::compile::wasmtime_config;
use crate::guest::clock;
use crate::guest::host_function::HostFunction;
use crate::guest::program::Code;
use crate::host::log::Sink;
use crate::host::schema_registry::SchemaRegistry;
use crate::metrics::registry::MetricsRegistry;
use crate::module::artifact::MAGIC;
use crate::module::elements;
use crate::module::inspect::Summary;
use crate::module::validate::{self, Bounds};
use crate::system::memory::allocators::Allocators;
use crate::system::memory::creators::Provider;
use crate::system::memory::pools::{Pooled, Pools};
use crate::system::memory::refusal;
use crate::system::memory::reserve::{self, Lease};
use crate::system::processors::Processors;
use crate::system::{fork, signals, ticker};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use wasmtime::Engine;

/// The part of a runtime that its factories and engines share. They may outlive the runtime.
pub struct Shared {
    /// The configuration.
    pub config: Config,
    /// Wasmtime's engines.
    pub compilers: Compilers,
    /// Where guests' output goes.
    pub log: Arc<dyn Sink>,
    /// The threads' pools in the memory mode that has them.
    pub pools: Option<Arc<Pools>>,
    /// The metrics.
    pub metrics: Arc<MetricsRegistry>,
    /// Who compiles if it is not this process.
    pub helper: Option<Helper>,
    /// The code that factories have.
    pub codes: Codes<Code>,
    /// The host functions.
    linking: Linking,
    _ticker: ticker::Registration,
}

/// A runtime.
pub struct Runtime {
    /// The part that factories keep.
    pub shared: Arc<Shared>,
    /// The threads that compile.
    pub threads: CompileThreads,
}

impl Runtime {
    /// Makes a runtime.
    pub fn new(config: Config, log: Arc<dyn Sink>, allocators: Allocators) -> Result<Self> {
        config.check()?;
        let helper = config.compile_helper.clone().map(Helper::new).transpose()?;
        fork::watch()?;
        let broken = |e: wasmtime::Error| {
            refusal::of_wasmtime(&e, Status::System, format!("Wasmtime could not be set up: {e:#}"))
        };
        let provider = allocators.provider(&config)?;
        let settings = wasmtime_config::make(&config, provider.as_ref());
        let engine = Engine::new(&settings).map_err(|e| {
            if config.memory_mode != wasm_memory_mode::ProcessPool {
                return broken(e);
            }
            let (engines, memory) = (config.pool_engines, config.memory_size());
            let what_to_do = "lower pool_engines or raise vm.max_map_count and set vm.overcommit_memory to 1";
            let what = format!("the pool for {engines} engines with memories of {memory} bytes could not be created");
            Error::new(Status::System, format!("{what}: {e:#}. If the system refused: {what_to_do}"))
        })?;
        let with_positions = || Engine::new(&wasmtime_config::with_positions(&settings)).map_err(broken);
        let with_positions = config.debug_info.then(with_positions).transpose()?;
        let pools = match provider {
            Some(Provider::Pool(pools)) => Some(pools),
            _ => None,
        };
        let compilers = Compilers { engine: engine.clone(), with_positions };
        let linking = Linking::new(&engine).map_err(broken)?;
        let processors = config.processors.as_deref().map(processors).transpose()?;
        let ticker = ticker::register(&engine, clock::tick(&config), config.real_time, processors.as_ref());
        let ticker = ticker.map_err(|e| {
            // EAGAIN is what `pthread_create` says of memory, too.
            let status = match e.kind() {
                ErrorKind::OutOfMemory | ErrorKind::WouldBlock => Status::OutOfMemory,
                _ => Status::System,
            };
            Error::new(status, format!("the ticker's thread could not be started: {e}"))
        })?;
        let threads = CompileThreads::new(config.compile_threads, processors);
        let metrics = MetricsRegistry::new();
        let shared = Shared {
            config,
            metrics,
            compilers,
            log,
            pools,
            helper,
            codes: Codes::default(),
            linking,
            _ticker: ticker,
        };
        Ok(Self { shared: Arc::new(shared), threads })
    }

    /// Adds a function of the host.
    pub fn register(&self, function: HostFunction) -> Result<()> {
        self.shared.linking.register(function)
    }

    /// Gives guests a schema registry.
    pub fn set_schema_registry(&self, registry: SchemaRegistry) -> Result<()> {
        self.shared.linking.set_schema_registry(registry)
    }

    /// Keeps compiled modules in a directory. They may take up to `max_bytes`.
    pub fn set_code_cache(&self, directory: &Path, max_bytes: u64) -> Result<()> {
        let Shared { config, metrics, log, linking, .. } = &*self.shared;
        let make = || Cache::new(directory, max_bytes, metrics.code_cache.clone(), log.clone(), config.max_log_line);
        linking.set_code_cache(make)
    }

    /// Validates a module without compiling it.
    pub fn validate(&self, module: &[u8], request: &FactoryRequest) -> Result<()> {
        request.check_names(self.shared.linked()?)?;
        let _lease = lease(module)?;
        self.shared.validate(module, request)
    }

    /// Describes a module, even a refused one, or an artifact.
    pub fn inspect(&self, module: &[u8]) -> Result<Value> {
        let _lease = lease(module)?;
        if module.starts_with(MAGIC) {
            return artifacts::inspect(module);
        }
        let (summary, _) = Summary::read(module);
        let mut document = summary.to_json();
        document["refused"] = match self.shared.validate(module, &FactoryRequest::of_runtime(&self.shared.config)) {
            Ok(()) => Value::Null,
            Err(e) => json!({ "status": e.status.name().to_string_lossy(), "message": e.message }),
        };
        Ok(document)
    }
}

/// The processors that the host names.
fn processors(list: &str) -> Result<Processors> {
    let refuse = |why: &dyn core::fmt::Display| {
        let list = printable(list);
        Error::invalid(format!("config field processors is \"{list}\": {why}"))
    };
    let named = Processors::parse(list).map_err(|why| refuse(&why))?;
    let checked = named.check().map_err(|e| Error::new(Status::System, format!("no thread could be started: {e}")))?;
    checked.map_err(|e| refuse(&format_args!("no thread of this process may run there: {e}")))?;
    Ok(named)
}

/// Bytes that a module's description may need. What reads modules does not survive a refusal.
fn lease(module: &[u8]) -> Result<Lease> {
    reserve::lease((1 << 20) + 2 * module.len())
}

impl Shared {
    /// The linked host functions. None can be added after the first call.
    pub fn linked(&self) -> Result<&Linked> {
        self.linking.linked(&self.config, &self.log, || self.metrics.detached())
    }

    /// Prepares the calling thread for running guests: signals, Wasmtime's thread-local state with its alternate
    /// signal stack and a pool for `engines` engines if any.
    pub fn prepare_thread(&self, engines: u32) -> Result<()> {
        self.unblock_signals()?;
        signals::initialize_thread()?;
        ticker::ActivePolls::of_this_thread();
        match &self.pools {
            Some(pools) if engines > 0 => pools.reserve(engines),
            None if engines > 0 => Err(Error::invalid("engines can be reserved in memory mode THREAD_POOL only")),
            _ => Ok(()),
        }
    }

    /// The pools in the modes that have them.
    pub fn pooled(&self) -> Pooled {
        match (&self.pools, self.compilers.engine.pooling_allocator_metrics()) {
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
    fn validate(&self, module: &[u8], request: &FactoryRequest) -> Result<()> {
        self.validate_interface(module, request)?;
        validate::check_specification(module, self.config.compile_limit_factor)?;
        elements::check(module)
    }

    /// Validates everything about a module except its code. These checks depend on this runtime and on the transform
    /// and are quick.
    pub fn validate_interface(&self, module: &[u8], request: &FactoryRequest) -> Result<Summary> {
        let (tables, elements) = wasmtime_config::tables(&self.config);
        let limits = &request.transform.limits;
        let bounds = Bounds {
            size: self.config.max_module_size,
            memory: limits.memory,
            tables,
            table_elements: elements.min(limits.table),
        };
        validate::check(module, bounds, request.imports(self.linked()?))
    }
}
