//! A factory: a compiled and linked module from which engines are made.

use crate::base::description::Description;
use crate::base::error::Result;
use crate::base::status::wasm_status as Status;
use crate::compile::compiler::Code;
use crate::compile::runtime::Shared;
use crate::guest::custom::Callbacks;
use crate::guest::program::{LinkedModule, Program};
use crate::metrics::registry::Executable;
use crate::system::memory::image::Image;
use crate::system::memory::refusal::is_refusal;
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use wasmtime::error::Context as _;

/// A compiled transform.
pub struct Compiled {
    /// The runtime's part that outlives it.
    pub shared: Arc<Shared>,
    /// The transform's description.
    pub transform: Arc<Description>,
    /// What its engines run.
    pub program: Program,
    /// Its code as the metrics count it.
    pub executable: Arc<Executable>,
    /// For the factory cache that lent this copy. The last field, so that all others are gone when it is dropped.
    _lent: Option<Lent>,
}

/// When a borrowed factory was last released. Empty while it is in use.
pub type LastReleased = Arc<OnceLock<Instant>>;

/// Records the time when it is dropped.
struct Lent(LastReleased);

impl Drop for Lent {
    fn drop(&mut self) {
        // It is dropped once, so the cell is empty.
        let _ = self.0.set(Instant::now());
    }
}

impl Compiled {
    /// A factory from code: links it.
    pub fn new(shared: Arc<Shared>, transform: Arc<Description>, code: Code) -> Result<Self> {
        let Code { module, hash, wrappers, lines, image } = code;
        let pre = shared.linked()?.linker.instantiate_pre(&module).map_err(|e| {
            let status = if is_refusal(&e) { Status::OutOfMemory } else { Status::ModuleUnknownImport };
            transform.error(status, format_args!("the module could not be linked: {e:#}"))
        })?;
        // Here because otherwise the first start would copy all data of the module on its engine's thread.
        let laid_out = module.initialize_copy_on_write_image().and_then(|()| {
            let image = image.map(|image| Image::new(image.start as usize, &image.bytes));
            image.transpose().context("a file in memory could not be made")
        });
        let image = laid_out.map_err(|e| {
            let status = if is_refusal(&e) { Status::OutOfMemory } else { Status::System };
            transform.error(status, format_args!("its data could not be laid out: {e:#}"))
        })?;
        let executable = Arc::new(shared.metrics.executable(module.text().len()));
        let program = Program::Module(LinkedModule { pre, hash, wrappers, lines, image: image.map(Arc::new) });
        Ok(Self { shared, transform, program, executable, _lent: None })
    }

    /// A factory of custom engines. There is nothing to compile.
    pub fn custom(shared: Arc<Shared>, callbacks: Callbacks, transform: Description) -> Result<Self> {
        transform.check()?;
        let executable = Arc::new(shared.metrics.executable(0));
        let program = Program::Custom(Arc::new(callbacks));
        Ok(Self { shared, transform: Arc::new(transform), program, executable, _lent: None })
    }

    /// A copy for borrowers. All that they hold of it is gone when `last_released` is set.
    pub fn lend(&self, last_released: LastReleased) -> Self {
        let Self { shared, transform, program, executable, _lent: _ } = self;
        Self {
            shared: shared.clone(),
            transform: transform.clone(),
            program: program.clone(),
            executable: executable.clone(),
            _lent: Some(Lent(last_released)),
        }
    }
}
