//! Jobs of the compile threads: a module or an artifact becomes a factory, or a module becomes an artifact.

use crate::base::description::Description;
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::compile::compilation::{Compilation, Pending};
use crate::compile::compiler::{self, Code};
use crate::compile::factory::Compiled;
use crate::compile::runtime::{Runtime, Shared};
use crate::compile::threads::Delivery;
use crate::promise::oneshot::{self, Wake};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The factory that a job delivers.
pub type FactoryOutcome = Result<Arc<Compiled>>;

/// The artifact that a job delivers.
pub type ArtifactOutcome = Result<Vec<u8>>;

/// Starts to compile a module.
pub fn compile<W: Wake + 'static>(
    runtime: &Runtime,
    module: Vec<u8>,
    transform: Description,
) -> Result<Pending<FactoryOutcome, W>> {
    transform.check()?;
    start(runtime, move |shared, compilation| {
        compile_now(shared, Arc::new(transform), &module, compilation).map(Arc::new)
    })
}

/// Starts to load an artifact. An artifact is machine code and is trusted to be the output of `precompile`.
pub fn load<W: Wake + 'static>(
    runtime: &Runtime,
    artifact: Vec<u8>,
    transform: Description,
) -> Result<Pending<FactoryOutcome, W>> {
    transform.check()?;
    start(runtime, move |shared, _| {
        let code = compiler::load(&shared, artifact);
        make(shared, Arc::new(transform), code).map(Arc::new)
    })
}

/// Starts to compile a module to an artifact.
pub fn precompile<W: Wake + 'static>(runtime: &Runtime, module: Vec<u8>) -> Result<Pending<ArtifactOutcome, W>> {
    start(runtime, move |shared, compilation| compiler::precompile(&shared, &module, compilation))
}

/// Compiles a module on this thread. The description must have been checked.
pub fn compile_now(
    shared: Arc<Shared>,
    transform: Arc<Description>,
    module: &[u8],
    compilation: &Compilation,
) -> Result<Compiled> {
    let code = compiler::compile(&shared, module, &transform.name, compilation);
    make(shared, transform, code)
}

/// The outcome of a job that panicked.
pub fn panicked() -> Error {
    Error::new(Status::Panic, "the compiler panicked: please report this module")
}

fn make(shared: Arc<Shared>, transform: Arc<Description>, code: Result<Code>) -> Result<Compiled> {
    let code = code.map_err(|e| transform.error(e.status, e.message))?;
    Compiled::new(shared, transform, code)
}

/// Runs a job on a compile thread.
fn start<T: Send + 'static, W: Wake + 'static>(
    runtime: &Runtime,
    job: impl FnOnce(Arc<Shared>, &Compilation) -> Result<T> + Send + 'static,
) -> Result<Pending<Result<T>, W>> {
    // No host function can be added from here on.
    runtime.shared.linked()?;
    let shared = runtime.shared.clone();
    let (mut sender, receiver) = oneshot::channel::<Result<T>, W>(|| Err(panicked()));
    let compilation = Arc::<Compilation>::default();
    let pending = Pending::new(receiver, compilation.join());
    let in_job = compilation.clone();
    let work = move || -> Delivery {
        if sender.is_cancelled() {
            // The future was released while the job was queued.
            return Box::new(|| ());
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| job(shared, &in_job))).unwrap_or_else(|_| Err(panicked()));
        Box::new(move || {
            // The waker is foreign code.
            let _ = catch_unwind(AssertUnwindSafe(move || {
                if let Some(Some(waker)) = sender.send(outcome) {
                    waker.wake();
                }
            }));
        })
    };
    runtime.threads.run_for(&compilation, work)?;
    Ok(pending)
}
