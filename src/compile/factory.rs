//! A factory: a compiled and linked module from which engines are made.

use crate::base::description::Description;
use crate::base::error::Result;
use crate::compile::request::FactoryRequest;
use crate::compile::runtime::Shared;
use crate::guest::custom::Callbacks;
use crate::guest::program::{Code, LinkedModule, Program};
use crate::metrics::registry::FactoryCount;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// A compiled transform.
pub struct Compiled {
    /// The runtime's part that outlives it.
    pub shared: Arc<Shared>,
    /// The transform's description.
    pub transform: Arc<Description>,
    /// What its engines run.
    pub program: Program,
    count: Arc<Counted>,
    /// For the factory cache that lent this copy. The last field, so that all others are gone when it is dropped.
    _lent: Option<Lent>,
}

/// One factory, however many copies of it are lent.
struct Counted {
    code: Option<Arc<Code>>,
    _of_runtime: FactoryCount,
}

impl Counted {
    fn new(shared: &Shared, code: Option<Arc<Code>>) -> Arc<Self> {
        if let Some(code) = &code {
            code.factories.fetch_add(1, Relaxed);
        }
        Arc::new(Self { code, _of_runtime: shared.metrics.factory() })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(code) = &self.code {
            code.factories.fetch_sub(1, Relaxed);
        }
    }
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
    pub fn new(shared: Arc<Shared>, request: FactoryRequest, code: Arc<Code>) -> Result<Self> {
        let transform = request.transform.clone();
        let pre = request.link(shared.linked()?, &code.module)?;
        let count = Counted::new(&shared, Some(code.clone()));
        Ok(Self { shared, transform, program: Program::Module(LinkedModule { pre, code }), count, _lent: None })
    }

    /// A factory of custom engines. There is nothing to compile.
    pub fn custom(shared: Arc<Shared>, callbacks: Callbacks, transform: Description) -> Result<Self> {
        transform.check()?;
        let count = Counted::new(&shared, None);
        let program = Program::Custom(Arc::new(callbacks));
        Ok(Self { shared, transform: Arc::new(transform), program, count, _lent: None })
    }

    /// Its code unless it is one of custom engines.
    pub fn code(&self) -> Option<&Code> {
        self.count.code.as_deref()
    }

    /// A copy for borrowers. All that they hold of it is gone when `last_released` is set.
    pub fn lend(&self, last_released: LastReleased) -> Self {
        let Self { shared, transform, program, count, _lent: _ } = self;
        Self {
            shared: shared.clone(),
            transform: transform.clone(),
            program: program.clone(),
            count: count.clone(),
            _lent: Some(Lent(last_released)),
        }
    }
}
