//! WASI preview 1 as a transform sees it: `wasmtime-wasi` with nothing to open. Standard output and error go to the
//! host's log.
//!
//! Six calls are our own. `fd_write` to the standard streams goes straight to the log: wasmtime-wasi would copy it
//! twice and need an asynchronous call. `poll_oneoff` would need Tokio's timers: here sleeping returns at once.
//! `clock_time_get` and `clock_res_get` know the guest's clocks and have no time that they could fail for.
//! `random_get` fills the guest's memory in place. `proc_exit` takes every code: wasmtime-wasi refuses some.
//! `wasi_streams` and `wasi_flags` have more.

use super::context::{Context, GuestState};
use super::memory::GuestMemory;
use super::refusal::{Refusal, Why};
use super::{wasi_flags, wasi_streams};
use crate::base::description::Description;
use wasmtime::{Caller, Error, Linker};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};

/// The module's name.
pub const MODULE: &str = crate::module::abi::WASI;

pub(super) const ERRNO_SUCCESS: i32 = 0;
pub(super) const ERRNO_BADF: i32 = 8;
pub(super) const ERRNO_INVAL: i32 = 28;

/// Defines the module.
pub fn define(linker: &mut Linker<GuestState>) -> Result<(), Error> {
    p1::add_to_linker_async(linker, |state: &mut GuestState| &mut state.wasi)?;
    linker.allow_shadowing(true);
    linker.func_wrap(MODULE, "clock_time_get", clock_time_get)?;
    linker.func_wrap(MODULE, "clock_res_get", clock_res_get)?;
    linker.func_wrap(MODULE, "fd_write", fd_write)?;
    linker.func_wrap(MODULE, "poll_oneoff", poll_oneoff)?;
    linker.func_wrap(MODULE, "random_get", random_get)?;
    linker.func_wrap(MODULE, "proc_exit", |code: i32| -> Result<(), Error> { Err(I32Exit(code).into()) })?;
    wasi_streams::define(linker)?;
    wasi_flags::define(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The state of one guest.
pub fn context(transform: &Description) -> WasiP1Ctx {
    WasiCtxBuilder::new().arg(&transform.name).envs(&transform.full_environment()).build_p1()
}

/// Bytes that one `fd_write` takes.
const MOST_PER_WRITE: u32 = 8 << 10;

/// The most I/O vectors or subscriptions of one call. The same as IOV_MAX on Linux.
const MOST_VECTORS: u32 = 1024;

/// Random bytes that one call may ask for. They take some 200 µs, in which the host does not get its thread back.
const MOST_RANDOM: u32 = 256 << 10;

/// `fd_write(fd, iovs, iovs_len, nwritten) -> errno`. Only the standard streams are open. Only two can be written.
fn fd_write(mut caller: Caller<'_, GuestState>, fd: i32, vectors: u32, count: u32, written: u32) -> Result<i32, Error> {
    let stream = match fd {
        1 => 0,
        2 => 1,
        _ => return Ok(ERRNO_BADF),
    };
    if count > MOST_VECTORS {
        return Ok(too_many(&caller, "fd_write", "I/O vectors", count, MOST_VECTORS));
    }
    let (mut memory, state) = GuestMemory::of(&mut caller, "fd_write")?;
    let mut total = 0;
    for i in 0..count {
        // An address past 4 GiB is past any memory. Saturating keeps it there.
        let vector = memory.read("iovs", vectors.saturating_add(i.saturating_mul(8)), 8)?;
        let (start, length) = (le32(vector, 0), le32(vector, 4));
        let taken = length.min(MOST_PER_WRITE - total);
        state.context.log(stream, memory.read("iov", start, taken)?);
        total += taken;
        if total == MOST_PER_WRITE {
            // A short write, which is legal. The guest writes the rest in another call and passes its time limit's
            // check.
            break;
        }
    }
    memory.write("nwritten", written, total.to_le_bytes())?;
    Ok(ERRNO_SUCCESS)
}

const CLOCK_REALTIME: u32 = 0;
const CLOCK_MONOTONIC: u32 = 1;
/// The processor time of the process and of the thread: known to WASI and not provided.
const CLOCKS_WITHOUT_TIME: core::ops::RangeInclusive<u32> = 2..=3;

/// `clock_time_get(id, precision, time) -> errno`.
fn clock_time_get(mut caller: Caller<'_, GuestState>, id: u32, _: u64, time: u32) -> Result<i32, Error> {
    let (mut memory, state) = GuestMemory::of(&mut caller, "clock_time_get")?;
    let now = match id {
        CLOCK_REALTIME => wall_clock(&state.context),
        CLOCK_MONOTONIC => state.context.run_time.monotonic.now(),
        id => return Ok(errno_of_clock(id)),
    };
    memory.write("time", time, now.to_le_bytes())?;
    Ok(ERRNO_SUCCESS)
}

/// `clock_res_get(id, resolution) -> errno`.
fn clock_res_get(mut caller: Caller<'_, GuestState>, id: u32, resolution: u32) -> Result<i32, Error> {
    let (mut memory, state) = GuestMemory::of(&mut caller, "clock_res_get")?;
    let nanoseconds = match id {
        CLOCK_REALTIME => NANOSECONDS_PER_MILLISECOND,
        CLOCK_MONOTONIC => state.context.run_time.monotonic.resolution(),
        id => return Ok(errno_of_clock(id)),
    };
    memory.write("resolution", resolution, nanoseconds.to_le_bytes())?;
    Ok(ERRNO_SUCCESS)
}

fn errno_of_clock(id: u32) -> i32 {
    if CLOCKS_WITHOUT_TIME.contains(&id) { ERRNO_BADF } else { ERRNO_INVAL }
}

const NANOSECONDS_PER_MILLISECOND: u64 = 1_000_000;

/// The timestamp of the current record in nanoseconds. Times before 1970 are 1970. Times past 2554 do not fit: records
/// with microseconds for milliseconds have them.
fn wall_clock(context: &Context) -> u64 {
    let milliseconds = u64::try_from(context.wall_clock()).unwrap_or(0);
    milliseconds.saturating_mul(NANOSECONDS_PER_MILLISECOND)
}

const SUBSCRIPTION_SIZE: u32 = 48;
const EVENT_SIZE: u32 = 32;

/// All flags of a clock's subscription: the time is absolute.
const SUBCLOCKFLAGS: u16 = 1;

const STDIN: u32 = 0;
const OUTPUT: core::ops::RangeInclusive<u32> = 1..=2;
/// The other end of a stream was closed.
const HANGUP: u16 = 1;

/// What `poll_oneoff` waits for.
enum Subscription {
    /// Nanoseconds to go.
    Clock(u64),
    /// Ready at once: errno, bytes that can be read or written, flags.
    Descriptor(i32, u64, u16),
}

impl Subscription {
    /// Reads what lies in the guest's memory. `now` has the time of both clocks. An errno for what no host understands.
    fn parse(bytes: &[u8], now: [u64; 2]) -> Result<Self, i32> {
        // Layout: userdata u64, tag u8, then at 16 the content of the tag.
        match bytes[8] {
            0 => {
                // Clock u32, timeout u64 at 24, precision u64, flags u16 at 40.
                let (id, timeout) = (le32(bytes, 16), le64(bytes, 24));
                let flags = u16::from_le_bytes([bytes[40], bytes[41]]);
                if flags & !SUBCLOCKFLAGS != 0 {
                    return Err(ERRNO_INVAL);
                }
                let absolute = flags & 1 != 0;
                let now = now.get(id as usize).ok_or(ERRNO_INVAL)?;
                Ok(Self::Clock(if absolute { timeout.saturating_sub(*now) } else { timeout }))
            }
            // Input is at its end. Output takes as much as one call does.
            1 if le32(bytes, 16) == STDIN => Ok(Self::Descriptor(ERRNO_SUCCESS, 0, HANGUP)),
            2 if OUTPUT.contains(&le32(bytes, 16)) => Ok(Self::Descriptor(ERRNO_SUCCESS, MOST_PER_WRITE.into(), 0)),
            1 | 2 => Ok(Self::Descriptor(ERRNO_BADF, 0, 0)),
            _ => Err(ERRNO_INVAL),
        }
    }

    /// Nanoseconds until it is ready.
    fn time_left(&self) -> u64 {
        if let Self::Clock(left) = self { *left } else { 0 }
    }
}

/// `poll_oneoff(in, out, nsubscriptions, nevents) -> errno`. As `poll` of POSIX, but nobody waits: if nothing is ready,
/// the monotonic clock advances to the earliest time that was asked for. The wall clock stays the record's.
fn poll_oneoff(
    mut caller: Caller<'_, GuestState>,
    subscriptions: u32,
    events: u32,
    count: u32,
    event_count: u32,
) -> Result<i32, Error> {
    if count == 0 {
        return Ok(ERRNO_INVAL);
    }
    if count > MOST_VECTORS {
        return Ok(too_many(&caller, "poll_oneoff", "subscriptions", count, MOST_VECTORS));
    }
    let (mut memory, state) = GuestMemory::of(&mut caller, "poll_oneoff")?;
    memory.range("out", events, count * EVENT_SIZE)?;
    let clock = &state.context.run_time.monotonic;
    let now = [wall_clock(&state.context), clock.now()];
    let mut wait = u64::MAX;
    for i in 0..count {
        let bytes = memory.read("in", subscriptions.saturating_add(i * SUBSCRIPTION_SIZE), SUBSCRIPTION_SIZE)?;
        match Subscription::parse(bytes, now) {
            Ok(subscription) => wait = wait.min(subscription.time_left()),
            Err(errno) => return Ok(errno),
        }
    }
    let mut ready = 0;
    for i in 0..count {
        let bytes = memory.read("in", subscriptions.saturating_add(i * SUBSCRIPTION_SIZE), SUBSCRIPTION_SIZE)?;
        let (errno, length, flags) = match Subscription::parse(bytes, now) {
            Ok(Subscription::Clock(left)) if left > wait => continue,
            Ok(Subscription::Clock(_)) => (ERRNO_SUCCESS, 0, 0),
            Ok(Subscription::Descriptor(errno, length, flags)) => (errno, length, flags),
            Err(errno) => return Ok(errno),
        };
        // Layout: userdata u64, errno u16, type u8, then at 16 what descriptors have: bytes u64 and flags u16.
        let mut event = [0u8; EVENT_SIZE as usize];
        event[..8].copy_from_slice(&bytes[..8]);
        event[8..10].copy_from_slice(&(errno as u16).to_le_bytes());
        event[10] = bytes[8];
        event[16..24].copy_from_slice(&length.to_le_bytes());
        event[24..26].copy_from_slice(&flags.to_le_bytes());
        memory.range("out", events + ready * EVENT_SIZE, EVENT_SIZE)?.copy_from_slice(&event);
        ready += 1;
    }
    clock.sleep(wait);
    memory.write("nevents", event_count, ready.to_le_bytes())?;
    Ok(ERRNO_SUCCESS)
}

/// `random_get(buf, buf_len) -> errno`.
fn random_get(mut caller: Caller<'_, GuestState>, buffer: u32, length: u32) -> Result<i32, Error> {
    if length > MOST_RANDOM {
        return Ok(too_many(&caller, "random_get", "bytes", length, MOST_RANDOM));
    }
    let (mut memory, state) = GuestMemory::of(&mut caller, "random_get")?;
    state.random.fill(memory.range("buf", buffer, length)?);
    Ok(ERRNO_SUCCESS)
}

/// A limit of the library's: the guest's language would only say that the call failed.
#[cold]
fn too_many(caller: &Caller<'_, GuestState>, call: &'static str, what: &'static str, given: u32, most: u32) -> i32 {
    let why = Why::TooMany { what, given, most };
    caller.data().context.refuse(Refusal { call, code: ERRNO_INVAL, why });
    ERRNO_INVAL
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from(le32(bytes, at)) | u64::from(le32(bytes, at + 4)) << 32
}
