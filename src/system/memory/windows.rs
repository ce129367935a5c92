//! Memories of a guest that are windows to memory of the host: its control and the process's memory from `NATIVE` on.
//! The code of expanded calls for records uses them (`module::record_calls`). No instruction of the guest's author can
//! name them.
//!
//! Wasmtime asks for a window where an instance is made and reads once where it is. After that it must not take the
//! window for memory in which a guest's access can fault: it would not know to which of two memories an address
//! belongs. So a window is then shown at an address that no memory has.
//!
//! With the windows goes what the guest's own memory begins with and how large it may become.
#![allow(unsafe_code)]

use super::image::Image;
use crate::batch::entries::NATIVE;
use core::cell::RefCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use wasmtime::{LinearMemory, MemoryType};

/// Addresses that are not canonical: one for each window.
const HIDDEN: [usize; 2] = [0x9000 << 48, 0xA000 << 48];

thread_local! {
    /// What the guest that is being made on this thread is offered.
    static OFFER: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

struct Shared {
    control: NonNull<u8>,
    image: Option<Arc<Image>>,
    limit: usize,
    taken: AtomicBool,
    hidden: AtomicBool,
}

// SAFETY: the image is both already. The pointer is never followed here. It is handed to Wasmtime, whose store stays on
// one thread.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// Windows for the guest that is being made until this is dropped.
pub struct Offer(Arc<Shared>);

impl Offer {
    /// `control` must stay in place for as long as the guest's store exists. `image` is what its memory begins
    /// with. That has `limit` bytes at most.
    pub fn new(control: NonNull<u8>, image: Option<Arc<Image>>, limit: usize) -> Self {
        let (taken, hidden) = (AtomicBool::new(false), AtomicBool::new(false));
        let shared = Arc::new(Shared { control, image, limit, taken, hidden });
        // At the thread's very end there is no offer: the guest is refused its windows.
        let _ = OFFER.try_with(|offer| offer.replace(Some(shared.clone())));
        Self(shared)
    }

    /// The guest is made. Whether it has windows.
    pub fn hide(&self) -> bool {
        self.0.hidden.store(true, Relaxed);
        self.0.taken.load(Relaxed)
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        // Another guest may have been offered windows since: this one may have been suspended.
        let _ = OFFER.try_with(|offer| {
            if let Ok(mut offer) = offer.try_borrow_mut()
                && offer.as_ref().is_some_and(|other| Arc::ptr_eq(other, &self.0))
            {
                *offer = None;
            }
        });
    }
}

/// Whether a memory of this type is a window: the guest's own cannot have such a type.
pub fn is_window(ty: &MemoryType) -> bool {
    ty.is_64() || ty.page_size() == 1
}

/// What the memory begins with that is no window.
pub fn image() -> Option<Arc<Image>> {
    OFFER.try_with(|offer| offer.borrow().as_ref()?.image.clone()).ok()?
}

/// Bytes that this memory may ever have if that is known.
pub fn limit() -> Option<usize> {
    OFFER.try_with(|offer| Some(offer.borrow().as_ref()?.limit)).ok()?
}

/// The window of this type and size.
pub fn take(ty: &MemoryType, bytes: usize) -> Result<Box<dyn LinearMemory>, String> {
    let offer =
        OFFER.try_with(|offer| offer.borrow().clone()).ok().flatten().ok_or("a guest without a host has no windows")?;
    offer.taken.store(true, Relaxed);
    let place = if ty.is_64() { NATIVE as usize } else { offer.control.as_ptr().expose_provenance() };
    Ok(Box::new(Window { place, hidden: HIDDEN[usize::from(ty.is_64())], bytes, shared: offer }))
}

struct Window {
    place: usize,
    hidden: usize,
    bytes: usize,
    shared: Arc<Shared>,
}

// SAFETY: instructions that name the window are those of expansions. They use the control, which `Offer::new` demands
// to stay in place, and addresses that the host wrote there. Its size does not change.
unsafe impl LinearMemory for Window {
    fn byte_size(&self) -> usize {
        self.bytes
    }

    fn byte_capacity(&self) -> usize {
        0
    }

    fn grow_to(&mut self, _: usize) -> wasmtime::Result<()> {
        wasmtime::bail!("a window does not grow")
    }

    fn as_ptr(&self) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(if self.shared.hidden.load(Relaxed) { self.hidden } else { self.place })
    }
}
