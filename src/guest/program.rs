//! What an engine runs: a module that was compiled and linked or callbacks of the embedder.

use super::context::GuestState;
use super::custom::Callbacks;
use crate::module::artifact::Digest;
use crate::module::lines::Lines;
use crate::module::suspend_points::Wrappers;
use crate::system::memory::image::Image;
use std::sync::Arc;
use wasmtime::InstancePre;

/// What engines run.
#[derive(Clone)]
pub enum Program {
    /// A guest.
    Module(LinkedModule),
    /// Callbacks of the embedder's.
    Custom(Arc<Callbacks>),
}

/// A module's code.
#[derive(Clone)]
pub struct LinkedModule {
    /// The linked code and imports.
    pub pre: InstancePre<GuestState>,
    /// SHA-256 of the module as its author made it.
    pub hash: Digest,
    /// What was added to the module.
    pub wrappers: Wrappers,
    /// Where its instructions are in its source.
    pub lines: Lines,
    /// What its memories begin with if that is not in the code.
    pub image: Option<Arc<Image>>,
}
