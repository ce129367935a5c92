//! A factory: a compiled and linked module from which engines are made.

use crate::base::description::Transform;
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::compile::compiler::{self, Code};
use crate::compile::runtime::{Runtime, Shared};
use crate::guest::custom::Callbacks;
use crate::guest::program::{LinkedModule, Program};
use crate::metrics::registry::Executable;
use crate::promise::oneshot::{self, Receiver, Wake};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// A compiled transform.
pub struct Compiled {
    /// The runtime's part that outlives it.
    pub shared: Arc<Shared>,
    /// The transform's description.
    pub transform: Arc<Transform>,
    /// What its engines run.
    pub program: Program,
    /// Its code as the metrics count it.
    pub executable: Arc<Executable>,
    /// For the factory cache that lent this copy. The last field, so that all others are gone when it is dropped.
    _lent: Option<Lent>,
}

/// When a borrowed factory was last released. Empty while it is in use.
pub type CameBack = Arc<OnceLock<Instant>>;

/// Records the time when it is dropped.
struct Lent(CameBack);

impl Drop for Lent {
    fn drop(&mut self) {
        // It is dropped once, so the cell is empty.
        let _ = self.0.set(Instant::now());
    }
}

impl Compiled {
    /// A copy for borrowers. All that they hold of it is gone when `last_released` is set.
    pub fn lend(&self, came_back: CameBack) -> Self {
        let Self { shared, transform, program, executable, _lent: _ } = self;
        Self {
            shared: shared.clone(),
            transform: transform.clone(),
            program: program.clone(),
            executable: executable.clone(),
            _lent: Some(Lent(came_back)),
        }
    }
}

/// The factory that a compile job delivers.
pub type Outcome = Result<Arc<Compiled>>;

/// The artifact that a compile job delivers.
pub type Precompiled = Result<Vec<u8>>;

/// Checks a transform's description and starts to compile its module on a compile thread.
pub fn compile<W: Wake + 'static>(
    runtime: &Runtime,
    module: Vec<u8>,
    transform: Transform,
) -> Result<Receiver<Outcome, W>> {
    transform.check()?;
    start(runtime, move |shared| compile_now(shared, Arc::new(transform), &module).map(Arc::new))
}

/// Compiles on this thread. The description must have been checked.
pub fn compile_now(shared: Arc<Shared>, transform: Arc<Transform>, module: &[u8]) -> Result<Compiled> {
    make(shared, transform, |shared, name| compiler::compile(shared, module, name))
}

/// What becomes of a compilation that panicked.
pub fn panicked() -> Error {
    Error::new(Status::Panic, "the compiler panicked; please report this module")
}

/// The same from an artifact of the module. An artifact is machine code and is trusted to be the output of
/// `precompile`.
pub fn load<W: Wake + 'static>(
    runtime: &Runtime,
    artifact: Vec<u8>,
    transform: Transform,
) -> Result<Receiver<Outcome, W>> {
    transform.check()?;
    let load = |shared: &Shared, _: &str| compiler::load(shared, artifact);
    start(runtime, move |shared| make(shared, Arc::new(transform), load).map(Arc::new))
}

/// A factory of engines that are the embedder's own. There is nothing to compile.
pub fn custom(runtime: &Runtime, callbacks: Callbacks, transform: Transform) -> Outcome {
    transform.check()?;
    let shared = runtime.shared.clone();
    let executable = Arc::new(shared.metrics.executable(0));
    let program = Program::Custom(Arc::new(callbacks));
    Ok(Arc::new(Compiled { shared, transform: Arc::new(transform), program, executable, _lent: None }))
}

/// Starts to compile a module to an artifact.
pub fn precompile<W: Wake + 'static>(runtime: &Runtime, module: Vec<u8>) -> Result<Receiver<Precompiled, W>> {
    start(runtime, move |shared| compiler::precompile(&shared, &module))
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
    runtime.compile(move || {
        // A panic drops the sender before it sends, and that is the outcome. Rayon would abort otherwise.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
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

/// A factory from code.
fn make(
    shared: Arc<Shared>,
    transform: Arc<Transform>,
    code: impl FnOnce(&Shared, &str) -> Result<Code>,
) -> Result<Compiled> {
    let name = transform.name.clone();
    let named = |status, what: String| Error::new(status, format!("transform \"{name}\": {what}"));
    let Code { module, wrappers } = code(&shared, &transform.name).map_err(|e| named(e.status, e.message))?;
    let pre = shared
        .linked()?
        .linker
        .instantiate_pre(&module)
        .map_err(|e| named(Status::ModuleUnknownImport, format!("the module could not be linked: {e:#}")))?;
    let executable = Arc::new(shared.metrics.executable(module.text().len()));
    let program = Program::Module(LinkedModule { pre, wrappers });
    Ok(Compiled { shared, transform, program, executable, _lent: None })
}
