//! A guest's linear memory as host functions see it: every access checked, every complaint with its name.

use super::context::GuestState;
use super::fault::Fault;
use wasmtime::{AsContextMut as _, Caller, Extern};

/// The memory during one host call.
pub struct GuestMemory<'a> {
    bytes: &'a mut [u8],
    call: &'static str,
}

impl<'a> GuestMemory<'a> {
    /// The caller's memory and state. `call` names the host function in errors.
    #[inline(always)]
    pub fn of(caller: &'a mut Caller<'_, GuestState>, call: &'static str) -> Result<(Self, &'a mut GuestState), Fault> {
        let memory = match caller.data().memory {
            Some(memory) => memory,
            None => find(caller)?,
        };
        let (bytes, state) = memory.data_and_store_mut(caller.as_context_mut());
        Ok((Self { bytes, call }, state))
    }

    /// All of it.
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

/// Looks the exported memory up, once per store: the first call may come before instantiation is over.
#[cold]
fn find(caller: &mut Caller<'_, GuestState>) -> Result<wasmtime::Memory, Fault> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory).ok_or(Fault::NoMemory)?;
    caller.data_mut().memory = Some(memory);
    Ok(memory)
}
