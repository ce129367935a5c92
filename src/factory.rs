//! A factory: a module compiled and linked, from which engines are made.

use crate::error::{Error, Result};
use crate::guest::context::GuestState;
use crate::metrics::registry::Executable;
use crate::module::suspend_points::{self, Wrappers};
use crate::oneshot::{self, Receiver, Wake};
use crate::runtime::{Runtime, Shared};
use crate::status::wasm_status as Status;
use crate::transform::Transform;
use std::sync::Arc;
use wasmtime::{InstancePre, Module};

/// A compiled transform.
pub struct Compiled {
    /// The runtime's part that outlives it.
    pub shared: Arc<Shared>,
    /// Whose code it is.
    pub transform: Arc<Transform>,
    /// Code and imports, linked.
    pub pre: InstancePre<GuestState>,
    /// What was added to the module.
    pub wrappers: Wrappers,
    /// Its code, as the metrics count it.
    pub executable: Executable,
}

/// A factory, as a compile job delivers it.
pub type Outcome = Result<Arc<Compiled>>;

/// Checks a transform's description and starts to compile its module on a compile thread.
pub fn compile<W: Wake + 'static>(
    runtime: &Runtime,
    module: Vec<u8>,
    transform: Transform,
) -> Result<Receiver<Outcome, W>> {
    transform.check()?;
    // From here on, no host function can be added.
    runtime.shared.linked()?;
    let shared = runtime.shared.clone();
    let (mut sender, receiver) = oneshot::channel::<Outcome, W>(|| {
        Err(Error::new(Status::Panic, "the compiler panicked; please report this module"))
    });
    runtime.compile(move || {
        // Should this panic, the sender is dropped unsent, and that is the outcome. Rayon would abort otherwise.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            if sender.is_cancelled() {
                // Its future was released while it was queued.
                return;
            }
            let metrics = shared.metrics.clone();
            let outcome = metrics.compiling(|| compile_now(shared, &module, transform));
            drop(module);
            if let Some(Some(waker)) = sender.send(outcome) {
                waker.wake();
            }
        }));
    })?;
    Ok(receiver)
}

fn compile_now(shared: Arc<Shared>, module: &[u8], transform: Transform) -> Outcome {
    let name = transform.name.clone();
    let named = |status, what: String| Error::new(status, format!("transform \"{name}\": {what}"));
    shared.validate(module).map_err(|e| named(e.status, e.message))?;
    let linked = shared.linked()?;
    let rewritten = suspend_points::add(module, |module, name| linked.waits(module, name))
        .map_err(|e| named(Status::ModuleCompile, format!("the module could not be rewritten: {e}")))?;
    let (code, wrappers) = rewritten.map_or((None, Wrappers::default()), |(code, wrappers)| (Some(code), wrappers));
    let module = Module::from_binary(&shared.engine, code.as_deref().unwrap_or(module))
        .map_err(|e| named(Status::ModuleCompile, format!("the module could not be compiled: {e:#}")))?;
    let pre = linked
        .linker
        .instantiate_pre(&module)
        .map_err(|e| named(Status::ModuleUnknownImport, format!("the module could not be linked: {e:#}")))?;
    let executable = shared.metrics.executable(module.text().len());
    Ok(Arc::new(Compiled { shared, transform: Arc::new(transform), pre, wrappers, executable }))
}
