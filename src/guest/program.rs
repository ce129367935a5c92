//! What an engine runs: a module that was compiled and linked or callbacks of the embedder.

use super::context::GuestState;
use super::custom::Callbacks;
use crate::metrics::registry::Executable;
use crate::module::artifact::Digest;
use crate::module::lines::Lines;
use crate::module::suspend_points::Wrappers;
use crate::system::memory::image::Image;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use wasmtime::{InstancePre, Module};

/// What engines run.
#[derive(Clone)]
pub enum Program {
    /// A guest.
    Module(LinkedModule),
    /// Callbacks of the embedder's.
    Custom(Arc<Callbacks>),
}

/// A module's code with the host functions of one factory.
#[derive(Clone)]
pub struct LinkedModule {
    /// The linked code and imports.
    pub pre: InstancePre<GuestState>,
    /// What other factories may have too.
    pub code: Arc<Code>,
}

/// A module's code. Factories of one runtime that differ only in their configuration share it.
pub struct Code {
    /// Wasmtime's module.
    pub module: Module,
    /// What was added to the module.
    pub wrappers: Wrappers,
    /// Where its instructions are in its source.
    pub lines: Lines,
    /// What its memories begin with if that is not in the code.
    pub image: Option<Arc<Image>>,
    /// SHA-256 of the module as its author made it.
    pub hash: Digest,
    /// Bytes of that.
    pub module_size: u64,
    /// Factories that have the code.
    pub factories: AtomicU64,
    /// The code as the metrics count it.
    pub executable: Executable,
}
