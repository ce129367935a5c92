//! A guest's linear memory as host functions see it. Every access is checked. Every error names the call.
#![allow(unsafe_code)]

use super::context::GuestState;
use super::fault::Fault;
use core::ptr::NonNull;
use wasmtime::{AsContext as _, Caller, Extern};

/// The memory during one host call.
pub struct GuestMemory<'a> {
    bytes: &'a mut [u8],
    call: &'static str,
}

impl<'a> GuestMemory<'a> {
    /// The caller's memory and state. `call` names the host function in errors.
    #[inline(always)]
    pub fn of(caller: &'a mut Caller<'_, GuestState>, call: &'static str) -> Result<(Self, &'a mut GuestState), Fault> {
        let place = match caller.data().limits.memory {
            Some(place) => place,
            None => find(caller)?,
        };
        let state = caller.data_mut();
        // SAFETY: see `MemoryLocation`. The guest waits for this call. `caller` is borrowed for as long as the slice
        // lives, so the memory has no other user and does not grow. The memory is no part of `state`.
        let bytes = unsafe { core::slice::from_raw_parts_mut(place.start.as_ptr(), place.length) };
        Ok((Self { bytes, call }, state))
    }

    /// The whole memory.
    pub fn into_bytes(self) -> &'a mut [u8] {
        self.bytes
    }

    /// A range to read.
    #[inline]
    pub fn read(&self, what: &'static str, start: u32, length: u32) -> Result<&[u8], Fault> {
        let (from, to) = (start as usize, start as usize + length as usize);
        match self.bytes.get(from..to) {
            Some(range) => Ok(range),
            None => Err(self.outside(what, start, length.into())),
        }
    }

    /// A range to write.
    #[inline]
    pub fn range(&mut self, what: &'static str, start: u32, length: u32) -> Result<&mut [u8], Fault> {
        let (from, to) = (start as usize, start as usize + length as usize);
        if to > self.bytes.len() {
            return Err(self.outside(what, start, length.into()));
        }
        Ok(&mut self.bytes[from..to])
    }

    /// Writes a little-endian integer.
    #[inline]
    pub fn write<const N: usize>(&mut self, what: &'static str, start: u32, value: [u8; N]) -> Result<(), Fault> {
        self.range(what, start, N as u32)?.copy_from_slice(&value);
        Ok(())
    }

    #[cold]
    fn outside(&self, what: &'static str, start: u32, length: u64) -> Fault {
        Fault::Pointer { call: self.call, what, start, length, memory: self.bytes.len() }
    }
}

/// Where a guest's memory is.
///
/// Asking Wasmtime at each call would take some eight dependent loads: a tenth of the time of a small record. A
/// memory only moves or changes its length when it grows. Wasmtime tells the store's limiter before that, and the
/// limiter clears this location.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLocation {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the location belongs to a store like the memory itself and is only used through that store. The pointer is
// right as long as the location is there: `Limits::memory_growing` forgets it before each growth.
unsafe impl Send for MemoryLocation {}

/// Looks the exported memory up: at the first call, which may come before instantiation has completed, and after it
/// has grown.
#[cold]
fn find(caller: &mut Caller<'_, GuestState>) -> Result<MemoryLocation, Fault> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory).ok_or(Fault::NoMemory)?;
    let start = NonNull::new(memory.data_ptr(caller.as_context())).ok_or(Fault::NoMemory)?;
    let place = MemoryLocation { start, length: memory.data_size(caller.as_context()) };
    caller.data_mut().limits.memory = Some(place);
    Ok(place)
}
