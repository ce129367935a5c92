//! Jobs of the compile threads: a module or an artifact becomes a factory, or a module becomes an artifact.

use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::compile::compilation::{Compilation, Pending};
use crate::compile::compiler::{self, Source};
use crate::compile::factory::Compiled;
use crate::compile::request::FactoryRequest;
use crate::compile::runtime::{Runtime, Shared};
use crate::compile::threads::Delivery;
use crate::guest::program::Code;
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
    request: FactoryRequest,
) -> Result<Pending<FactoryOutcome, W>> {
    request.check_names(runtime.shared.linked()?)?;
    start(runtime, move |shared, compilation| {
        let code = compile_now(&shared, Source::new(&module, None), &request, compilation)?;
        Compiled::new(shared, request, code).map(Arc::new)
    })
}

/// Starts to load an artifact. An artifact is machine code and is trusted to be the output of `precompile`.
pub fn load<W: Wake + 'static>(
    runtime: &Runtime,
    artifact: Vec<u8>,
    request: FactoryRequest,
) -> Result<Pending<FactoryOutcome, W>> {
    request.check_names(runtime.shared.linked()?)?;
    start(runtime, move |shared, compilation| {
        let code = named(&request, compiler::load(&shared, artifact, &request, compilation))?;
        Compiled::new(shared, request, code).map(Arc::new)
    })
}

/// Starts to compile a module to an artifact.
pub fn precompile<W: Wake + 'static>(
    runtime: &Runtime,
    module: Vec<u8>,
    request: FactoryRequest,
) -> Result<Pending<ArtifactOutcome, W>> {
    request.check_names(runtime.shared.linked()?)?;
    start(runtime, move |shared, compilation| {
        let made = compiler::precompile(&shared, Source::new(&module, None), &request, compilation);
        if request.transform.name.is_empty() { made } else { named(&request, made) }
    })
}

/// The code of a module, compiled on this thread unless it exists.
pub fn compile_now(
    shared: &Shared,
    module: Source<'_>,
    request: &FactoryRequest,
    compilation: &Arc<Compilation>,
) -> Result<Arc<Code>> {
    named(request, compiler::compile(shared, module, request, compilation))
}

/// The outcome for one of those who wanted it.
fn named<T>(request: &FactoryRequest, made: Result<T>) -> Result<T> {
    made.map_err(|e| request.transform.error(e.status, e.message))
}

/// The outcome of a job that panicked.
pub fn panicked() -> Error {
    Error::new(Status::Panic, "the compiler panicked: please report this module")
}

/// Runs a job on a compile thread.
fn start<T: Send + 'static, W: Wake + 'static>(
    runtime: &Runtime,
    job: impl FnOnce(Arc<Shared>, &Arc<Compilation>) -> Result<T> + Send + 'static,
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
