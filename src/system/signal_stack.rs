//! The alternate signal stack of a thread that runs guests: where the handlers of traps run.
//!
//! Wasmtime makes one for a thread that has none of this size, and panics if the system refuses the memory. So a thread
//! gets one here first and a refusal is an error.
#![allow(unsafe_code)]

use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::system::memory::block::page;
use core::cell::RefCell;
use core::mem::MaybeUninit;
use core::ptr::null_mut;
use std::io;

/// With less Wasmtime makes its own.
const SIZE: usize = 64 * 4096;

thread_local! {
    /// Goes with its thread.
    static STACK: RefCell<Option<Stack>> = const { RefCell::new(None) };
}

/// A stack above a guard page.
struct Stack {
    mapping: *mut libc::c_void,
    size: usize,
}

/// Gives the calling thread a stack of `SIZE` bytes unless it has one.
pub fn ensure() -> Result<()> {
    let now = current();
    if now.ss_flags & libc::SS_DISABLE == 0 && now.ss_size >= SIZE {
        return Ok(());
    }
    let refused = |why: io::Error| {
        Error::new(
            Status::OutOfMemory,
            format!("the system refused memory for an alternate signal stack of this thread: {why}"),
        )
    };
    let guard = page();
    let size = guard + SIZE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let mapping =
        unsafe { libc::mmap(null_mut(), size, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
    if mapping == libc::MAP_FAILED {
        return Err(refused(io::Error::last_os_error()));
    }
    let stack = Stack { mapping, size };
    // SAFETY: within the mapping.
    let bytes = unsafe { mapping.byte_add(guard) };
    // SAFETY: the mapping's pages above the guard. Nothing uses them yet.
    if unsafe { libc::mprotect(bytes, SIZE, libc::PROT_READ | libc::PROT_WRITE) } != 0 {
        return Err(refused(io::Error::last_os_error()));
    }
    let new = libc::stack_t { ss_sp: bytes, ss_flags: 0, ss_size: SIZE };
    // SAFETY: the memory is the thread's until `Stack` is dropped, which takes it away first.
    if unsafe { libc::sigaltstack(&raw const new, null_mut()) } != 0 {
        let why = io::Error::last_os_error();
        // EPERM on a thread that is in a signal's handler.
        return Err(Error::new(
            Status::System,
            format!("the thread's alternate signal stack cannot be changed now: {why}"),
        ));
    }
    // Otherwise the stack goes at once.
    let kept = STACK.try_with(|place| *place.borrow_mut() = Some(stack));
    kept.map_err(|_| Error::new(Status::InvalidState, "the thread is ending: no guest can run on it any more"))
}

/// The calling thread's.
fn current() -> libc::stack_t {
    let mut now = MaybeUninit::<libc::stack_t>::zeroed();
    // SAFETY: the call only writes `now`, and zeroes are a stack_t that is disabled by its size if it does not.
    unsafe {
        libc::sigaltstack(core::ptr::null(), now.as_mut_ptr());
        now.assume_init()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let now = current();
        let of_this = self.mapping as usize..self.mapping as usize + self.size;
        if of_this.contains(&(now.ss_sp as usize)) {
            let none = libc::stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
            // SAFETY: from here on handlers run on the thread's own stack. Not on the one that was there before: its
            // memory may be gone.
            unsafe { libc::sigaltstack(&raw const none, null_mut()) };
        }
        // SAFETY: the whole mapping. The kernel does not use it any more.
        unsafe { libc::munmap(self.mapping, self.size) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_thread(test: impl FnOnce() + Send + 'static) {
        std::thread::spawn(test).join().unwrap();
    }

    #[test]
    fn wasmtime_makes_none_of_its_own() {
        on_a_thread(|| {
            ensure().unwrap();
            let given = current();
            assert_eq!((given.ss_flags, given.ss_size), (0, SIZE));
            wasmtime::Engine::tls_eager_initialize();
            ensure().unwrap();
            assert_eq!(current().ss_sp, given.ss_sp);
        });
    }

    #[test]
    fn none_is_left_when_it_goes() {
        on_a_thread(|| {
            ensure().unwrap();
            STACK.take();
            assert_ne!(current().ss_flags & libc::SS_DISABLE, 0);
        });
    }

    /// What a host's thread-local destructor gets that comes after ours.
    #[test]
    fn a_thread_that_is_ending_gets_none() {
        struct AtTheEnd(Option<std::sync::mpsc::Sender<(Result<()>, libc::c_int)>>);
        impl Drop for AtTheEnd {
            fn drop(&mut self) {
                let made = ensure();
                self.0.take().map(|sender| sender.send((made, current().ss_flags)));
            }
        }
        thread_local!(static END: RefCell<AtTheEnd> = const { RefCell::new(AtTheEnd(None)) });
        let (sender, receiver) = std::sync::mpsc::channel();
        on_a_thread(move || {
            // Destructors run from the last to the first that was registered.
            END.with_borrow_mut(|end| end.0 = Some(sender));
            ensure().unwrap();
        });
        let (made, flags) = receiver.recv().unwrap();
        assert_eq!(made.unwrap_err().status, Status::InvalidState);
        assert_ne!(flags & libc::SS_DISABLE, 0);
    }

    #[test]
    fn a_large_one_of_the_host_stays() {
        on_a_thread(|| {
            let mut bytes = vec![0u8; 2 * SIZE];
            let host = libc::stack_t { ss_sp: bytes.as_mut_ptr().cast(), ss_flags: 0, ss_size: bytes.len() };
            let mut before = MaybeUninit::<libc::stack_t>::zeroed();
            // SAFETY: `bytes` outlives its use as a stack, which the second call ends.
            unsafe { libc::sigaltstack(&raw const host, before.as_mut_ptr()) };
            ensure().unwrap();
            assert_eq!(current().ss_sp, host.ss_sp);
            // SAFETY: initialized by the call above.
            unsafe { libc::sigaltstack(before.as_ptr(), null_mut()) };
        });
    }
}
