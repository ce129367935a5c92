//! The calls of WASI with flags and enumerations. `wasmtime-wasi` converts them before the call. A bit or a number that
//! it does not know is a trap there. Here it is `EINVAL`, as an older host owes a newer guest.
//!
//! Only the standard streams are open. So none of these calls has anything else to do.

use super::context::GuestState;
use super::wasi::{ERRNO_BADF, ERRNO_INVAL, MODULE};
use super::wasi_streams::ERRNO_SPIPE;
use wasmtime::{Error, Linker};

const ERRNO_NOTSOCK: i32 = 57;
const ERRNO_NOTSUP: i32 = 58;

/// All bits that WASI preview 1 knows.
const LOOKUPFLAGS: u32 = 0x1;
const OFLAGS: u32 = 0xF;
const FDFLAGS: u32 = 0x1F;
const FSTFLAGS: u32 = 0xF;
const RIFLAGS: u32 = 0x3;
const SIFLAGS: u32 = 0;
const SDFLAGS: u32 = 0x3;
const RIGHTS: u64 = (1 << 30) - 1;

/// The highest numbers that WASI preview 1 knows.
const WHENCE: u32 = 2;
const ADVICE: u32 = 5;
const SIGNAL: u32 = 30;

/// Descriptors of the standard streams.
const STREAMS: core::ops::RangeInclusive<u32> = 0..=2;

/// Defines them in place of those of `wasmtime-wasi`.
pub fn define(linker: &mut Linker<GuestState>) -> Result<(), Error> {
    linker.func_wrap(MODULE, "fd_advise", |_: u32, _: u64, _: u64, advice: u32| file(advice <= ADVICE))?;
    linker.func_wrap(MODULE, "fd_fdstat_set_flags", |_: u32, flags: u32| file(known(flags, FDFLAGS)))?;
    linker.func_wrap(MODULE, "fd_fdstat_set_rights", |_: u32, base: u64, inheriting: u64| {
        file((base | inheriting) & !RIGHTS == 0)
    })?;
    linker.func_wrap(MODULE, "fd_filestat_set_times", |_: u32, _: u64, _: u64, flags: u32| {
        file(known(flags, FSTFLAGS))
    })?;
    linker.func_wrap(MODULE, "fd_seek", |fd: u32, _: u64, whence: u32, _: u32| {
        stream(whence <= WHENCE, fd, ERRNO_SPIPE)
    })?;
    linker.func_wrap(MODULE, "path_filestat_get", |_: u32, flags: u32, _: u32, _: u32, _: u32| {
        file(known(flags, LOOKUPFLAGS))
    })?;
    linker.func_wrap(
        MODULE,
        "path_filestat_set_times",
        |_: u32, lookup: u32, _: u32, _: u32, _: u64, _: u64, flags: u32| {
            file(known(lookup, LOOKUPFLAGS) && known(flags, FSTFLAGS))
        },
    )?;
    linker.func_wrap(MODULE, "path_link", |_: u32, flags: u32, _: u32, _: u32, _: u32, _: u32, _: u32| {
        file(known(flags, LOOKUPFLAGS))
    })?;
    linker.func_wrap(
        MODULE,
        "path_open",
        |_: u32, lookup: u32, _: u32, _: u32, flags: u32, base: u64, inheriting: u64, fd_flags: u32, _: u32| {
            let rights = (base | inheriting) & !RIGHTS == 0;
            file(known(lookup, LOOKUPFLAGS) && known(flags, OFLAGS) && known(fd_flags, FDFLAGS) && rights)
        },
    )?;
    linker.func_wrap(MODULE, "proc_raise", |signal: u32| if signal <= SIGNAL { ERRNO_NOTSUP } else { ERRNO_INVAL })?;
    linker.func_wrap(MODULE, "sock_accept", |fd: u32, flags: u32, _: u32| {
        stream(known(flags, FDFLAGS), fd, ERRNO_NOTSOCK)
    })?;
    linker.func_wrap(MODULE, "sock_recv", |fd: u32, _: u32, _: u32, flags: u32, _: u32, _: u32| {
        stream(known(flags, RIFLAGS), fd, ERRNO_NOTSOCK)
    })?;
    linker.func_wrap(MODULE, "sock_send", |fd: u32, _: u32, _: u32, flags: u32, _: u32| {
        stream(known(flags, SIFLAGS), fd, ERRNO_NOTSOCK)
    })?;
    linker.func_wrap(MODULE, "sock_shutdown", |fd: u32, how: u32| stream(known(how, SDFLAGS), fd, ERRNO_NOTSOCK))?;
    Ok(())
}

fn known(flags: u32, all: u32) -> bool {
    flags & !all == 0
}

/// A call for files and directories.
fn file(known: bool) -> i32 {
    if known { ERRNO_BADF } else { ERRNO_INVAL }
}

/// A call that fails with `errno` for the standard streams.
fn stream(known: bool, fd: u32, errno: i32) -> i32 {
    match known {
        true if STREAMS.contains(&fd) => errno,
        true => ERRNO_BADF,
        false => ERRNO_INVAL,
    }
}
