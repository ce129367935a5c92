//! WASI preview 1 as a transform sees it: `wasmtime-wasi` with nothing to open and with deterministic clocks and
//! random numbers. Standard output and error go to the host's log.
//!
//! Four calls are our own. `fd_write` to the standard streams goes straight to the log: wasmtime-wasi would copy it
//! twice and need an asynchronous call. `poll_oneoff` would need Tokio's timers: here sleeping returns at once.
//! `random_get` fills the guest's memory in place. `proc_exit` takes every code: wasmtime-wasi refuses some.
//! `wasi_streams` has three more.

use super::context::{GuestState, Local};
use super::memory::GuestMemory;
use super::wasi_streams;
use crate::base::description::Description;
use core::cell::Cell;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use std::time::Duration;
use wasmtime::{Caller, Error, Linker};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, I32Exit, WasiCtxBuilder};

/// The module's name.
pub const MODULE: &str = "wasi_snapshot_preview1";

pub(super) const ERRNO_SUCCESS: i32 = 0;
pub(super) const ERRNO_BADF: i32 = 8;
const ERRNO_INVAL: i32 = 28;

/// Guests get the same random numbers at every start.
const RANDOM_SEED: u64 = 0x7761_736d;

/// Defines the module.
pub fn define(linker: &mut Linker<GuestState>) -> Result<(), Error> {
    p1::add_to_linker_async(linker, |state: &mut GuestState| &mut state.wasi)?;
    linker.allow_shadowing(true);
    linker.func_wrap(MODULE, "fd_write", fd_write)?;
    linker.func_wrap(MODULE, "poll_oneoff", poll_oneoff)?;
    linker.func_wrap(MODULE, "random_get", random_get)?;
    linker.func_wrap(MODULE, "proc_exit", |code: i32| -> Result<(), Error> { Err(I32Exit(code).into()) })?;
    wasi_streams::define(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The state of one guest.
pub fn context(transform: &Description, context: &Local) -> WasiP1Ctx {
    WasiCtxBuilder::new()
        .arg(&transform.name)
        .envs(&transform.full_environment())
        .wall_clock(RecordTime(context.clone()))
        .monotonic_clock(Counter(Cell::new(0)))
        .build_p1()
}

/// A guest's random numbers.
pub fn random() -> SmallRng {
    SmallRng::seed_from_u64(RANDOM_SEED)
}

/// The timestamp of the current record.
struct RecordTime(Local);

impl HostWallClock for RecordTime {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.wall_clock.get()).unwrap_or(0))
    }
}

/// Advances by a millisecond at each reading. A guest that waits for time to pass would otherwise wait forever.
struct Counter(Cell<u64>);

impl HostMonotonicClock for Counter {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        self.0.set(self.0.get() + 1_000_000);
        self.0.get()
    }
}

/// Bytes that one `fd_write` takes.
const MOST_PER_WRITE: u32 = 8 << 10;

/// The most I/O vectors or subscriptions of one call. The same as IOV_MAX on Linux.
const MOST_VECTORS: u32 = 1024;

/// Random bytes that one call may ask for.
const MOST_RANDOM: u32 = 1 << 20;

/// `fd_write(fd, iovs, iovs_len, nwritten) -> errno`. Only the standard streams are open. Only two can be written.
fn fd_write(mut caller: Caller<'_, GuestState>, fd: i32, vectors: u32, count: u32, written: u32) -> Result<i32, Error> {
    let stream = match fd {
        1 => 0,
        2 => 1,
        _ => return Ok(ERRNO_BADF),
    };
    if count > MOST_VECTORS {
        return Ok(ERRNO_INVAL);
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

const SUBSCRIPTION_SIZE: u32 = 48;
const EVENT_SIZE: u32 = 32;
const EVENT_FD_READ: u8 = 1;

/// `poll_oneoff(in, out, nsubscriptions, nevents) -> errno`. Each subscription completes at once: clocks have run
/// out, output can be written and input is at its end.
fn poll_oneoff(
    mut caller: Caller<'_, GuestState>,
    subscriptions: u32,
    events: u32,
    count: u32,
    event_count: u32,
) -> Result<i32, Error> {
    if count == 0 || count > MOST_VECTORS {
        return Ok(ERRNO_INVAL);
    }
    let (mut memory, _) = GuestMemory::of(&mut caller, "poll_oneoff")?;
    memory.range("out", events, count * EVENT_SIZE)?;
    for i in 0..count {
        let subscription = memory.read("in", subscriptions.saturating_add(i * SUBSCRIPTION_SIZE), SUBSCRIPTION_SIZE)?;
        // Layout: userdata u64, tag u8, then at 16 the content of the tag.
        let mut event = [0u8; EVENT_SIZE as usize];
        event[..8].copy_from_slice(&subscription[..8]);
        let tag = subscription[8];
        let errno = if tag == EVENT_FD_READ { ERRNO_BADF } else { ERRNO_SUCCESS };
        event[8..10].copy_from_slice(&(errno as u16).to_le_bytes());
        event[10] = tag;
        memory.range("out", events + i * EVENT_SIZE, EVENT_SIZE)?.copy_from_slice(&event);
    }
    memory.write("nevents", event_count, count.to_le_bytes())?;
    Ok(ERRNO_SUCCESS)
}

/// `random_get(buf, buf_len) -> errno`.
fn random_get(mut caller: Caller<'_, GuestState>, buffer: u32, length: u32) -> Result<i32, Error> {
    if length > MOST_RANDOM {
        return Ok(ERRNO_INVAL);
    }
    let (mut memory, state) = GuestMemory::of(&mut caller, "random_get")?;
    state.random.fill_bytes(memory.range("buf", buffer, length)?);
    Ok(ERRNO_SUCCESS)
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
