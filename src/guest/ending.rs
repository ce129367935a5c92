//! What is left to do when a guest has failed, in pieces: its core dump is made and its memory given back.
//!
//! Freeing 64 MiB that were used takes the kernel some 5 ms in one call. So the pages are given back before.
#![allow(unsafe_code)]

use super::context::{Context, GuestState, Suspended};
use super::core_dump;
use super::instance::GuestEnd;
use crate::base::config::{Config, wasm_memory_mode as Mode};
use crate::module::suspend_points::Wrappers;
use core::task::Poll;
use wasmtime::{Error, Instance, Store};

/// Bytes that are given back at a time. Some 80 µs if they were used.
const STEP: usize = 1 << 20;

/// How a guest ends in one runtime.
#[derive(Clone)]
pub struct Ending {
    /// For core dumps if they are on.
    wrappers: Option<Wrappers>,
    /// Bytes of the memory that stay with the memory's pool. None if the memory is of a thread's pool or the host's:
    /// those have their own ways.
    kept: Option<usize>,
}

impl Ending {
    /// For guests with these wrappers.
    pub fn new(config: &Config, wrappers: &Wrappers) -> Self {
        let kept = match config.memory_mode {
            Mode::OnDemand => Some(0),
            Mode::ProcessPool => Some(config.keep_resident),
            Mode::ThreadPool | Mode::Host => None,
        };
        Self { wrappers: config.core_dumps.then(|| wrappers.clone()), kept }
    }

    /// Ends a guest with this result.
    pub async fn finish(
        &self,
        store: &mut Store<GuestState>,
        instance: Option<Instance>,
        result: Result<(), Error>,
    ) -> GuestEnd {
        let context = store.data().context.clone();
        let core_dump = match (&result, &self.wrappers) {
            (Err(error), Some(wrappers)) => {
                core_dump::of(store, error, &context.transform().name, wrappers, || pause(&context)).await
            }
            _ => None,
        };
        if let (Some(kept), Some(instance)) = (self.kept, instance) {
            give_memory_back(store, instance, kept, &context).await;
        }
        GuestEnd { result, core_dump }
    }
}

async fn give_memory_back(store: &mut Store<GuestState>, instance: Instance, kept: usize, context: &Context) {
    let Some(memory) = instance.get_memory(&mut *store, "memory") else { return };
    let (start, size) = (memory.data_ptr(&*store), memory.data_size(&*store));
    // Less than that is soon freed.
    if size <= STEP {
        return;
    }
    for at in (kept.next_multiple_of(STEP)..size).step_by(STEP) {
        // SAFETY: whole pages of the guest's memory. In these modes it is a private mapping, Wasmtime's own or that of
        // `system::memory::mapping`, which the store keeps. The guest has ended, so nobody reads the pages before the
        // mapping is freed or reset. Both work with any content: zeros, or an image's bytes.
        unsafe { libc::madvise(start.add(at).cast(), STEP.min(size - at), libc::MADV_DONTNEED) };
        pause(context).await;
    }
}

/// Gives the thread back if the slice is over, as a guest does at its epoch checks.
async fn pause(context: &Context) {
    if !context.run_time.turn_is_over() {
        return;
    }
    context.run_time.pause();
    context.suspended.set(Some(Suspended::SliceOver));
    let mut again = false;
    core::future::poll_fn(|_| if core::mem::replace(&mut again, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}
