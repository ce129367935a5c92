//! The pools of memories and stacks that threads reserve for engines of one runtime.
//!
//! A pool belongs to a runtime and a thread. The runtime owns it and the thread finds it without a lock. Memories and
//! stacks taken from the pool keep it alive. The pool goes when the thread releases it or ends or when the runtime
//! goes.

use super::block::{Missing, Source};
use super::slabs::{self, Counts, SlabPool};
use super::stacks::StackPool;
use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use core::cell::RefCell;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};

/// What one thread reserved.
pub struct ThreadPool {
    /// Linear memories.
    pub slabs: SlabPool,
    /// Stacks.
    pub stacks: StackPool,
    engines: u32,
}

/// How large things are.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Bytes of a memory.
    pub memory: usize,
    /// Bytes of a stack.
    pub stack: usize,
    /// As in the configuration.
    pub keep_resident: usize,
}

/// What is reserved in pools: those of all the runtime's threads or that of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pooled {
    /// Pools.
    pub pools: u64,
    /// Engines that they are for.
    pub engines: u64,
    /// Memories of engines.
    pub memories_in_use: u64,
    /// Memories of stopped engines that must be cleaned before they can be taken.
    pub memories_dirty: u64,
    /// Stacks of engines.
    pub stacks_in_use: u64,
}

/// A runtime's pools.
pub struct Pools {
    memories: Source,
    stacks: Source,
    sizes: Sizes,
    all: Mutex<Vec<Arc<ThreadPool>>>,
}

/// One thread's way to its pool of one runtime.
struct Mine {
    pools: Weak<Pools>,
    pool: Weak<ThreadPool>,
}

impl Drop for Mine {
    fn drop(&mut self) {
        if let (Some(pools), Some(pool)) = (self.pools.upgrade(), self.pool.upgrade()) {
            let mut all = pools.all.lock();
            let taken = all.iter().position(|other| Arc::ptr_eq(other, &pool)).map(|at| all.swap_remove(at));
            // Without the lock: this calls the host's allocator, which may call the library.
            drop(all);
            drop(taken);
        }
    }
}

thread_local!(static MINE: RefCell<Vec<Mine>> = const { RefCell::new(Vec::new()) });

impl Pools {
    /// No pools yet.
    pub fn new(memories: Source, stacks: Source, sizes: Sizes) -> Arc<Self> {
        Arc::new(Self { memories, stacks, sizes, all: Mutex::default() })
    }

    /// This thread's pool.
    pub fn mine(self: &Arc<Self>) -> Option<Arc<ThreadPool>> {
        let find = |all: &RefCell<Vec<Mine>>| {
            let all = all.borrow();
            let mine = all.iter().find(|mine| core::ptr::eq(mine.pools.as_ptr(), Arc::as_ptr(self)))?;
            mine.pool.upgrade()
        };
        // At the very end of a thread its list is gone. The thread then has no pool any more.
        MINE.try_with(find).ok().flatten()
    }

    /// Reserves a pool for `engines` engines of this thread.
    pub fn reserve(self: &Arc<Self>, engines: u32) -> Result<()> {
        if let Some(pool) = self.mine() {
            if pool.engines == engines {
                return Ok(());
            }
            let has = pool.engines;
            return Err(Error::new(
                Status::InvalidState,
                format!("this thread has a pool for {has} engines already: release it with wasm_thread_release first"),
            ));
        }
        let Sizes { memory, stack, keep_resident } = self.sizes;
        let refused = |what: &str, bytes: usize, why: Missing| {
            Error::new(Status::System, format!("{what} of {bytes} bytes for {engines} engines: {why}"))
        };
        let slabs = SlabPool::new(&self.memories, memory, engines, keep_resident)
            .map_err(|why| refused("memories", memory, why))?;
        let stacks = StackPool::new(&self.stacks, stack, engines).map_err(|why| refused("stacks", stack, why))?;
        let pool = Arc::new(ThreadPool { slabs, stacks, engines });
        let mine = Mine { pools: Arc::downgrade(self), pool: Arc::downgrade(&pool) };
        self.all.lock().push(pool);
        let kept = MINE.try_with(|all| {
            let mut all = all.borrow_mut();
            // Includes leftovers of runtimes that are gone.
            all.retain(|other| other.pool.strong_count() > 0);
            all.push(mine);
        });
        kept.map_err(|_| Error::new(Status::InvalidState, "the thread is ending and cannot have a pool any more"))
    }

    /// All threads' pools together. Any thread.
    pub fn total(&self) -> Pooled {
        let mut total = Pooled::default();
        for pool in &*self.all.lock() {
            let counts = pool.slabs.counts();
            total.pools += 1;
            total.engines += u64::from(pool.engines);
            total.memories_in_use += u64::from(counts.in_use);
            total.memories_dirty += u64::from(counts.dirty);
            total.stacks_in_use += u64::from(pool.engines - pool.stacks.free());
        }
        total
    }

    /// Releases this thread's pool. Refused while engines use parts of it.
    pub fn release(self: &Arc<Self>) -> Result<()> {
        let Some(pool) = self.mine() else { return Ok(()) };
        let used = pool.slabs.counts().in_use;
        if used > 0 || pool.stacks.free() < pool.engines {
            return Err(Error::new(
                Status::InvalidState,
                format!("{used} engines of this thread still use its pool: stop them first"),
            ));
        }
        drop(pool);
        let mine = MINE.try_with(|all| {
            let mut all = all.borrow_mut();
            let at = all.iter().position(|mine| core::ptr::eq(mine.pools.as_ptr(), Arc::as_ptr(self)));
            at.map(|at| all.swap_remove(at))
        });
        // Outside of the lock: this calls the host's allocator, which may call the library.
        drop(mine);
        Ok(())
    }

    /// Whether an engine can start on this thread now. False if something must be cleaned first: try again. Errors
    /// say what is missing.
    pub fn ready(self: &Arc<Self>) -> Result<bool> {
        let pool = self.mine().ok_or_else(not_prepared)?;
        if pool.stacks.free() == 0 {
            return Err(pool.exhausted("stack"));
        }
        if pool.slabs.has_free() {
            return Ok(true);
        }
        if pool.slabs.counts().dirty == 0 {
            return Err(pool.exhausted("memory"));
        }
        pool.slabs.clean(slabs::AT_ONCE);
        Ok(pool.slabs.has_free())
    }
}

/// The error of a thread without a pool.
pub fn not_prepared() -> Error {
    Error::new(
        Status::ThreadNotPrepared,
        "this thread has no pool of this runtime: call wasm_thread_prepare on it with the number of its engines",
    )
}

impl ThreadPool {
    /// How many engines the pool is for.
    pub fn engines(&self) -> u32 {
        self.engines
    }

    /// The error of a pool from which all is taken.
    pub fn exhausted(&self, what: &str) -> Error {
        let Counts { free, dirty, in_use, .. } = self.slabs.counts();
        let (engines, stacks) = (self.engines, self.stacks.free());
        Error::new(
            Status::PoolExhausted,
            format!(
                "this thread's pool has no {what} left: the pool is for {engines} engines. Memories: {in_use} in use, {free} \
                 free, {dirty} to be cleaned. Stacks: {stacks} free. Stop an engine or prepare the thread for more"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools() -> Arc<Pools> {
        let sizes = Sizes { memory: 64 << 10, stack: 64 << 10, keep_resident: 0 };
        Pools::new(Source::System, Source::System, sizes)
    }

    #[test]
    fn each_thread_has_its_own_pool() {
        let pools = pools();
        assert_eq!(pools.ready().unwrap_err().status, Status::ThreadNotPrepared);
        pools.reserve(2).unwrap();
        pools.reserve(2).unwrap();
        assert_eq!(pools.reserve(3).unwrap_err().status, Status::InvalidState);
        let other = pools.clone();
        std::thread::spawn(move || {
            assert!(other.mine().is_none());
            other.reserve(1).unwrap();
            assert_eq!(other.all.lock().len(), 2);
        })
        .join()
        .unwrap();
        assert_eq!(pools.all.lock().len(), 1, "a thread that ends releases its pool");
        pools.release().unwrap();
        assert_eq!(pools.all.lock().len(), 0);
    }

    #[test]
    fn a_pool_in_use_cannot_be_released() {
        let pools = pools();
        pools.reserve(1).unwrap();
        let pool = pools.mine().unwrap();
        let slab = pool.slabs.take().unwrap();
        assert_eq!(pools.release().unwrap_err().status, Status::InvalidState);
        assert_eq!(pools.ready().unwrap_err().status, Status::PoolExhausted);
        pool.slabs.give_back(slab, 64 << 10);
        assert!(pools.ready().unwrap(), "one step cleans it");
        drop(pool);
        pools.release().unwrap();
    }

    #[test]
    fn a_released_runtime_releases_its_pools() {
        let first = pools();
        first.reserve(1).unwrap();
        let pool = Arc::downgrade(&first.mine().unwrap());
        drop(first);
        assert!(pool.upgrade().is_none());
        let second = pools();
        assert!(second.mine().is_none());
        second.reserve(1).unwrap();
        MINE.with_borrow(|all| assert_eq!(all.len(), 1));
    }
}
