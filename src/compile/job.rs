//! Jobs of the compile threads: a module or an artifact becomes a factory, or a module becomes an artifact.

use crate::base::description::Description;
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::compile::compiler::{self, Code};
use crate::compile::factory::Compiled;
use crate::compile::runtime::{Runtime, Shared};
use crate::promise::oneshot::{self, Receiver, Wake};
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
) -> Result<Receiver<FactoryOutcome, W>> {
    transform.check()?;
    start(runtime, move |shared| compile_now(shared, Arc::new(transform), &module).map(Arc::new))
}

/// Starts to load an artifact. An artifact is machine code and is trusted to be the output of `precompile`.
pub fn load<W: Wake + 'static>(
    runtime: &Runtime,
    artifact: Vec<u8>,
    transform: Description,
) -> Result<Receiver<FactoryOutcome, W>> {
    transform.check()?;
    start(runtime, move |shared| {
        let code = compiler::load(&shared, artifact);
        make(shared, Arc::new(transform), code).map(Arc::new)
    })
}

/// Starts to compile a module to an artifact.
pub fn precompile<W: Wake + 'static>(runtime: &Runtime, module: Vec<u8>) -> Result<Receiver<ArtifactOutcome, W>> {
    start(runtime, move |shared| compiler::precompile(&shared, &module))
}

/// Compiles a module on this thread. The description must have been checked.
pub fn compile_now(shared: Arc<Shared>, transform: Arc<Description>, module: &[u8]) -> Result<Compiled> {
    let code = compiler::compile(&shared, module, &transform.name);
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
    job: impl FnOnce(Arc<Shared>) -> Result<T> + Send + 'static,
) -> Result<Receiver<Result<T>, W>> {
    // No host function can be added from here on.
    runtime.shared.linked()?;
    let shared = runtime.shared.clone();
    let (mut sender, receiver) = oneshot::channel::<Result<T>, W>(|| Err(panicked()));
    runtime.threads.run(move || {
        // A panic drops the sender before it sends. The outcome is then `panicked`.
        let _ = catch_unwind(AssertUnwindSafe(move || {
            if sender.is_cancelled() {
                // The future was released while the job was queued.
                return;
            }
            if let Some(Some(waker)) = sender.send(job(shared)) {
                waker.wake();
            }
        }));
    })?;
    Ok(receiver)
}
