//! Errors that come from a lack of memory.

use crate::base::error::Error;
use crate::base::status::wasm_status as Status;
use rustix::io::Errno;

/// Whether memory was refused: by an allocator or by the system.
pub fn is_refusal(error: &wasmtime::Error) -> bool {
    let refused = |cause: &(dyn core::error::Error + 'static)| {
        cause.downcast_ref::<Errno>() == Some(&Errno::NOMEM)
            || cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::OutOfMemory)
    };
    error.is::<wasmtime::OutOfMemory>() || error.chain().any(refused)
}

/// An error of Wasmtime. Its status is `otherwise` unless memory was refused.
pub fn of_wasmtime(error: &wasmtime::Error, otherwise: Status, message: impl Into<String>) -> Error {
    if is_refusal(error) {
        return Error::new(Status::OutOfMemory, format!("memory was refused, try again later: {}", message.into()));
    }
    Error::new(otherwise, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_found_below_their_contexts() {
        let raw = std::io::Error::from_raw_os_error;
        for error in [
            wasmtime::Error::from(Errno::NOMEM).context("mmap"),
            wasmtime::Error::from(raw(libc::ENOMEM)).context("mmap").context("instance"),
            wasmtime::Error::from(wasmtime::OutOfMemory::new(7)),
        ] {
            assert!(is_refusal(&error), "{error:#}");
        }
        for error in [
            wasmtime::Error::from(Errno::AGAIN),
            wasmtime::Error::from(raw(libc::EINVAL)),
            wasmtime::Error::msg("out of memory"),
        ] {
            assert!(!is_refusal(&error), "{error:#}");
        }
    }
}
