//! The host's allocators and what Wasmtime gets from them.

use super::block::{Allocator, Source, page};
use super::creators::Provider;
use super::pools::{Pools, Sizes};
use crate::base::config::{Config, wasm_memory_mode};
use crate::base::error::{Error, Result};
use std::sync::Arc;

/// The host's allocators if it has its own.
#[derive(Default)]
pub struct Allocators {
    /// For linear memories.
    pub memory: Option<Allocator>,
    /// For guests' stacks.
    pub stack: Option<Allocator>,
}

impl Allocators {
    /// The allocator for Wasmtime in the modes in which the library provides memory.
    pub fn provider(self, config: &Config) -> Result<Option<Provider>> {
        use wasm_memory_mode::{Host, OnDemand, ProcessPool, ThreadPool};
        let source = |allocator: Option<Allocator>| allocator.map_or(Source::System, |a| Source::Host(Arc::new(a)));
        let sizes = Sizes {
            memory: config.memory_size(),
            stack: config.stack_size(page()),
            keep_resident: config.keep_resident,
        };
        match config.memory_mode {
            OnDemand | ProcessPool if self.memory.is_some() || self.stack.is_some() => Err(Error::invalid(
                "memory_allocator and stack_allocator are for the memory modes THREAD_POOL and HOST",
            )),
            OnDemand if config.expands_record_calls() => Ok(Some(Provider::Mapped)),
            OnDemand | ProcessPool => Ok(None),
            Host if self.memory.is_none() => Err(Error::invalid("memory mode HOST needs a memory_allocator")),
            Host => Ok(Some(Provider::Host {
                memories: source(self.memory),
                stacks: source(self.stack),
                memory: sizes.memory,
            })),
            ThreadPool => Ok(Some(Provider::Pool(Pools::new(source(self.memory), source(self.stack), sizes)))),
        }
    }
}
