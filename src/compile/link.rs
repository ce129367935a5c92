//! The host functions of a runtime: registered first and linked with the first module.

use crate::base::config::Config;
use crate::base::description::Description;
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::compile::code_cache::Cache;
use crate::guest::context::{Context, GuestState, Local};
use crate::guest::host_function::HostFunction;
use crate::guest::limits::Limits;
use crate::guest::random::Random;
use crate::guest::{schema_registry, transform, wasi};
use crate::host::log::Sink;
use crate::host::schema_registry::SchemaRegistry;
use crate::metrics::meter::Meter;
use crate::module::abi;
use crate::module::inspect::signature;
use crate::module::suspend_points::{self, Waits};
use crate::module::validate::HostFunctions;
use crate::system::memory::refusal;
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use wasmtime::{Engine, Extern, Linker, Store};

/// Modules that are the library's own.
pub const RESERVED: [&str; 3] = [abi::TRANSFORM, abi::SCHEMA_REGISTRY, wasi::MODULE];

/// The host functions of a runtime in both of their states.
pub struct Linking {
    /// `None` after the first module.
    registering: Mutex<Option<Registering>>,
    linked: OnceCell<Linked>,
}

/// The host functions that are registered so far.
struct Registering {
    linker: Linker<GuestState>,
    functions: HostFunctions,
    waiting: HashSet<(String, String)>,
    registry: Option<Arc<SchemaRegistry>>,
    cache: Option<Arc<Cache>>,
}

/// The linked host functions of a runtime.
pub struct Linked {
    /// All of them.
    pub linker: Linker<GuestState>,
    /// The code cache if there is one.
    pub cache: Option<Arc<Cache>>,
    /// Their types.
    pub functions: HostFunctions,
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

impl Linking {
    /// The library's own functions.
    pub fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine);
        transform::define(&mut linker)?;
        wasi::define(&mut linker)?;
        let registering = Registering {
            linker,
            functions: HostFunctions::default(),
            waiting: HashSet::new(),
            registry: None,
            cache: None,
        };
        Ok(Self { registering: Mutex::new(Some(registering)), linked: OnceCell::new() })
    }

    /// Adds a function of the host.
    pub fn register(&self, function: HostFunction) -> Result<()> {
        // This reference is kept until the lock is released. The linker drops its own if it refuses the function, and
        // dropping the last one runs code of the host.
        let function = Arc::new(function);
        self.change(|registering| {
            let key = (function.module.clone(), function.name.clone());
            let name = format!("{}.{}", key.0, key.1);
            if RESERVED.contains(&&*key.0) {
                return Err(Error::invalid(format!("module {} is reserved for the library", key.0)));
            }
            if registering.functions.contains(&key.0, &key.1) {
                return Err(Error::invalid(format!("host function {name} is registered already")));
            }
            let (signature, may_wait) = (function.signature(), function.may_wait);
            function.clone().define(&mut registering.linker).map_err(|e| {
                let what = format!("host function {name} could not be defined: {e:#}");
                refusal::of_wasmtime(&e, Status::Internal, what)
            })?;
            registering.functions.add(&key.0, &key.1, signature);
            if may_wait {
                registering.waiting.insert(key);
            }
            Ok(())
        })
    }

    /// Gives guests a schema registry.
    pub fn set_schema_registry(&self, registry: SchemaRegistry) -> Result<()> {
        // Declared outside, so that a refused registry is dropped after the lock is released: as above.
        let mut slot = Some(registry);
        self.change(|registering| match &registering.registry {
            Some(_) => Err(Error::invalid("the runtime has a schema registry already")),
            None => {
                registering.registry = slot.take().map(Arc::new);
                Ok(())
            }
        })
    }

    /// Keeps compiled modules in the code cache that `make` returns.
    pub fn set_code_cache(&self, make: impl FnOnce() -> Result<Cache>) -> Result<()> {
        let set = |cache: Option<Arc<Cache>>| {
            self.change(|registering| match &registering.cache {
                Some(_) => Err(Error::invalid("the runtime has a code cache already")),
                None => {
                    registering.cache = cache;
                    Ok(())
                }
            })
        };
        set(None)?;
        // Made outside of the lock: this takes a while and may call the host's log.
        set(Some(Arc::new(make()?)))
    }

    fn change(&self, change: impl FnOnce(&mut Registering) -> Result<()>) -> Result<()> {
        match &mut *self.registering.lock() {
            Some(registering) => change(registering),
            None => Err(Error::new(
                Status::InvalidState,
                "too late: set host functions, schema registry and code cache before a module is validated or compiled",
            )),
        }
    }

    /// Links the host functions at the first call. None can be added afterwards. `meter` is for a context that is not
    /// used.
    pub fn linked(&self, config: &Config, log: &Arc<dyn Sink>, meter: impl FnOnce() -> Meter) -> Result<&Linked> {
        self.linked.get_or_try_init(|| {
            let mut slot = self.registering.lock();
            let lost = || Error::new(Status::Internal, "the runtime's host functions could not be linked before");
            let registering = slot.as_ref().ok_or_else(lost)?;
            // On a copy: if memory is refused now, the next module tries again.
            let mut linker = registering.linker.clone();
            schema_registry::define(&mut linker, registering.registry.clone()).map_err(|e| {
                let what = format!("the schema registry could not be linked: {e:#}");
                refusal::of_wasmtime(&e, Status::Internal, what)
            })?;
            let Registering { functions, waiting, cache, .. } = slot.take().ok_or_else(lost)?;
            drop(slot);
            let functions = list_functions(&linker, functions, config, log, meter());
            Ok(Linked { linker, cache, functions, waiting })
        })
    }
}

/// The host functions with their types. Wasmtime needs a store to tell the types, so one is made for it.
fn list_functions(
    linker: &Linker<GuestState>,
    mut functions: HostFunctions,
    config: &Config,
    log: &Arc<dyn Sink>,
    meter: Meter,
) -> HostFunctions {
    let description = Arc::new(Description::default());
    let context = Rc::new(Context::new(description.clone(), config, log.clone(), meter));
    let local = Local::new(&context);
    let state = GuestState {
        random: Random::new(None),
        limits: Limits { context: local.clone(), growing: (0, 0), table_elements: 0, memory: None },
        wasi: wasi::context(&description),
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

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use super::*;
    use core::ffi::c_void;
    use core::sync::atomic::{AtomicU32, Ordering};

    /// What a host function's `drop` uses.
    struct Host {
        linking: Linking,
        drops: AtomicU32,
        locked: AtomicU32,
    }

    impl Host {
        /// How often `drop` was called, and how often of these under the lock.
        fn counted(&self) -> (u32, u32) {
            (self.drops.load(Ordering::Relaxed), self.locked.load(Ordering::Relaxed))
        }
    }

    unsafe extern "C" fn drop_data(data: *mut c_void) {
        // SAFETY: the test passes its `Host`, which is never freed.
        let host = unsafe { &*data.cast::<Host>() };
        host.drops.fetch_add(1, Ordering::Relaxed);
        host.locked.fetch_add(host.linking.registering.is_locked().into(), Ordering::Relaxed);
    }

    fn function(host: &'static Host, name: &str) -> HostFunction {
        // SAFETY: `drop_data` only reads and counts.
        unsafe { HostFunction::uncalled(name, 0, false, core::ptr::from_ref(host).cast_mut().cast(), Some(drop_data)) }
    }

    #[test]
    fn a_refused_function_is_dropped_without_the_lock() {
        let linking = Linking::new(&Engine::default()).unwrap();
        // Its own functions refer to it, also if an assertion fails.
        let host: &Host = Box::leak(Box::new(Host { linking, drops: AtomicU32::new(0), locked: AtomicU32::new(0) }));
        // The linker itself has a function of this name, so it refuses another, as it would without memory.
        host.linking
            .change(|registering| {
                registering.linker.func_wrap("host", "taken", || {}).unwrap();
                Ok(())
            })
            .unwrap();
        let refused = host.linking.register(function(host, "taken")).unwrap_err();
        assert_eq!(refused.status, Status::Internal, "{}", refused.message);
        assert_eq!(host.counted(), (1, 0));
        host.linking.register(function(host, "once")).unwrap();
        assert_eq!(host.counted(), (1, 0));
        host.linking.register(function(host, "once")).unwrap_err();
        assert_eq!(host.counted(), (2, 0));
        // The registered one keeps the host's data until the linker goes.
        let registering = host.linking.registering.lock().take();
        drop(registering);
        assert_eq!(host.counted(), (3, 0));
    }
}
