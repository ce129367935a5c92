//! The compile threads of a runtime. They start with the first job and again after a fork.

use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::system::fork;
use parking_lot::Mutex;
use std::sync::Arc;

/// The names of the compile threads begin like this. A number follows.
pub const COMPILE_THREAD_NAME: &str = "wasm-compile-";

/// The compile threads.
pub struct CompileThreads {
    count: usize,
    started: Mutex<Option<StartedThreads>>,
}

struct StartedThreads {
    pool: Arc<rayon::ThreadPool>,
    /// `fork::generation` in which they were started.
    generation: u64,
}

impl Drop for StartedThreads {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            // The threads exist only in the parent. The locks that they held stay locked.
            core::mem::forget(self.pool.clone());
        }
    }
}

impl CompileThreads {
    /// `count` threads. None is started before the first job.
    pub fn new(count: usize) -> Self {
        Self { count, started: Mutex::new(None) }
    }

    /// Runs `job` on a compile thread. `job` must not panic: Rayon would abort.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) -> Result<()> {
        self.pool()?.spawn(job);
        Ok(())
    }

    fn pool(&self) -> Result<Arc<rayon::ThreadPool>> {
        let generation = fork::generation();
        let mut started = self.started.lock();
        if let Some(threads) = &*started
            && threads.generation == generation
        {
            return Ok(threads.pool.clone());
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.count)
            .thread_name(|i| format!("{COMPILE_THREAD_NAME}{i}"))
            .build()
            .map_err(|e| Error::new(Status::System, format!("the compile threads could not be started: {e}")))?;
        let pool = Arc::new(pool);
        *started = Some(StartedThreads { pool: pool.clone(), generation });
        Ok(pool)
    }
}
