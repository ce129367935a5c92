//! The host module `redpanda_transform`: batches in and records out.
//!
//! All of its functions are synchronous and typed. That makes them fast. Three of them may have to wait. Those return
//! `WOULD_BLOCK` and set the guest's epoch deadline to now. The module was rewritten when it was compiled
//! (`module::suspend_points`) so that each call of them goes through a wrapper. The wrapper calls the function. As long
//! as that would block, the wrapper enters an empty function and calls again. In the empty function Wasmtime's epoch
//! check suspends the guest.

use super::batch::Stage;
use super::context::{Context, GuestState, Suspended};
use super::fault::Fault;
use super::memory::GuestMemory;
use super::refusal::{Refusal, Why};
use super::work::Work;
use crate::batch::payload::{self, HeaderCheck, Validity};
use crate::batch::varint;
use crate::guest::output::Pushed;
use crate::module::abi::{TRANSFORM, WOULD_BLOCK};
use core::cell::RefMut;
use wasmtime::{AsContextMut as _, Caller, Error, Linker};

/// No active transform or no record left.
const NO_RECORD: i32 = -1;
/// The buffer is too small or malformed.
const BAD_BUFFER: i32 = -2;
/// The write is not possible.
const BAD_WRITE: i32 = -3;

/// Bytes of options. A topic's name is far shorter.
const LONGEST_OPTIONS: usize = 64 << 10;

/// The only option: the topic's name follows.
const OPTION_TOPIC: u8 = 1;

/// Defines the module.
pub fn define(linker: &mut Linker<GuestState>) -> Result<(), Error> {
    linker.func_wrap(TRANSFORM, "check_abi_version_1", || {})?;
    linker.func_wrap(TRANSFORM, "check_abi_version_2", || {})?;
    linker.func_wrap(TRANSFORM, "read_batch_header", read_batch_header)?;
    linker.func_wrap(TRANSFORM, "read_next_record", read_next_record)?;
    linker.func_wrap(TRANSFORM, "write_record", |caller: Caller<'_, GuestState>, buffer: u32, length: u32| {
        write(caller, "write_record", buffer, length, None)
    })?;
    linker.func_wrap(
        TRANSFORM,
        "write_record_with_options",
        |caller: Caller<'_, GuestState>, buffer: u32, length: u32, options: u32, options_length: u32| {
            write(caller, "write_record_with_options", buffer, length, Some((options, options_length)))
        },
    )?;
    Ok(())
}

/// Makes the guest's next function entry a suspension.
#[cold]
#[inline(never)]
fn suspend(caller: &mut Caller<'_, GuestState>, why: Suspended) -> i32 {
    caller.data().context.suspended.set(Some(why));
    caller.as_context_mut().set_epoch_deadline(0);
    WOULD_BLOCK
}

#[allow(clippy::too_many_arguments)] // the ABI's own
fn read_batch_header(
    mut caller: Caller<'_, GuestState>,
    base_offset: u32,
    record_count: u32,
    partition_leader_epoch: u32,
    attributes: u32,
    last_offset_delta: u32,
    base_timestamp: u32,
    max_timestamp: u32,
    producer_id: u32,
    producer_epoch: u32,
    base_sequence: u32,
) -> Result<i32, Error> {
    let (mut memory, state) = GuestMemory::of(&mut caller, "read_batch_header")?;
    let context: &Context = &state.context;
    let mut work = context.work();
    if work.batch.stage != Stage::Given {
        context.run_time.check()?;
        let Work { batch, output, .. } = &mut *work;
        context.finish_record(output);
        batch.end();
        context.forget();
        if let Err(why) = work.give_next(context) {
            drop(work);
            return Ok(suspend(&mut caller, why));
        }
    }
    let batch = &mut work.batch;
    let header = &batch.records.header;
    memory.write("base_offset", base_offset, header.base_offset.to_le_bytes())?;
    memory.write("record_count", record_count, header.record_count.to_le_bytes())?;
    memory.write("partition_leader_epoch", partition_leader_epoch, header.partition_leader_epoch.to_le_bytes())?;
    memory.write("attributes", attributes, header.attributes.to_le_bytes())?;
    memory.write("last_offset_delta", last_offset_delta, header.last_offset_delta.to_le_bytes())?;
    memory.write("base_timestamp", base_timestamp, header.base_timestamp.to_le_bytes())?;
    memory.write("max_timestamp", max_timestamp, header.max_timestamp.to_le_bytes())?;
    memory.write("producer_id", producer_id, header.producer_id.to_le_bytes())?;
    memory.write("producer_epoch", producer_epoch, header.producer_epoch.to_le_bytes())?;
    memory.write("base_sequence", base_sequence, header.base_sequence.to_le_bytes())?;
    context.set_wall_clock(batch.first_timestamp);
    context.run_time.monotonic.take_batch(header.record_count as u32);
    context.run_time.restart();
    batch.stage = Stage::Announced;
    Ok(batch.records.largest_payload as i32)
}

fn read_next_record(
    mut caller: Caller<'_, GuestState>,
    attributes: u32,
    timestamp: u32,
    offset: u32,
    buffer: u32,
    length: u32,
) -> Result<i32, Error> {
    let (mut memory, state) = GuestMemory::of(&mut caller, "read_next_record")?;
    let context: &Context = &state.context;
    let mut work = context.work();
    // A call that takes no record must not restart the time limit. Otherwise a guest could run forever.
    context.run_time.check()?;
    if work.batch.stage != Stage::Announced {
        return refuse(context, work, "read_next_record", NO_RECORD, Why::NoBatch);
    }
    let Work { batch, output, taken, .. } = &mut *work;
    if core::mem::take(&mut batch.in_record) {
        context.finish_record(output);
    }
    let Some(record) = batch.peek() else { return Ok(NO_RECORD) };
    let size = record.payload.len();
    if size > length as usize {
        return refuse(context, work, "read_next_record", BAD_BUFFER, Why::Buffer { record: size, room: length });
    }
    memory.write("attributes", attributes, [record.attributes])?;
    memory.write("timestamp", timestamp, record.timestamp.to_le_bytes())?;
    memory.write("offset", offset, record.offset.to_le_bytes())?;
    let target = memory.range("buffer", buffer, size as u32)?;
    batch.take(&record);
    taken.records += 1;
    taken.bytes += size as u64;
    context.run_time.restart();
    context.set_wall_clock(record.timestamp);
    // Last because it is a call. Everything else would have to be kept across it.
    // In one piece: a suspend point here would cost each record of any size a twelfth of its instructions.
    target.copy_from_slice(record.payload);
    context.open(&mut work);
    Ok(size as i32)
}

/// Instantiated once per function that writes. So one has nothing of the other's options.
#[inline(always)]
fn write(
    mut caller: Caller<'_, GuestState>,
    call: &'static str,
    buffer: u32,
    length: u32,
    options: Option<(u32, u32)>,
) -> Result<i32, Error> {
    let (memory, state) = GuestMemory::of(&mut caller, call)?;
    let context: &Context = &state.context;
    let mut work = context.work();
    if work.batch.stage != Stage::Announced {
        return refuse(context, work, call, NO_RECORD, Why::NoBatch);
    }
    let Work { batch, output, checked, .. } = &mut *work;
    let payload = memory.read("buffer", buffer, length)?;
    let topic = match options {
        None => None,
        Some((start, length)) => match parse_options(memory.read("options", start, length)?) {
            Ok(topic) => topic,
            Err(why) => return refuse(context, work, call, BAD_BUFFER, Why::Options(why)),
        },
    };
    // Before the payload is read: otherwise a guest could have gigabytes read in a call that nothing interrupts.
    if payload.len() > output.limit() {
        return refuse_large(context, work, call, payload.len());
    }
    match payload::validity(payload) {
        Validity::Valid => {}
        Validity::Invalid => return refuse_malformed(context, work, call, payload),
        Validity::Unknown(begun) => match check_some(context, checked, begun, payload) {
            Some(true) => {}
            Some(false) => return refuse_malformed(context, work, call, payload),
            None => {
                context.run_time.check()?;
                drop(work);
                return Ok(suspend(&mut caller, Suspended::SliceOver));
            }
        },
    }
    let index = match topic {
        None => context.default_topic(),
        Some(name) => context.transform().topic_index(name),
    };
    let Some(index) = index else {
        return refuse(context, work, call, BAD_WRITE, topic.map_or(Why::NoTopic, Why::topic));
    };
    match output.push(payload, index, batch.origin(context.latest_time())) {
        Pushed::Stored => {
            batch.position = batch.position.next();
            if let Some((start, length)) = options {
                context.control.keep_options(memory.read("options", start, length)?, index);
            }
            context.open(&mut work);
            Ok(length as i32)
        }
        Pushed::TooLarge => refuse_large(context, work, call, payload.len()),
        Pushed::OutOfMemory => Err(Fault::OutOfMemory.into()),
        Pushed::Full => {
            // The suspension that follows does not check the time. So a guest that only writes is measured here.
            context.run_time.check()?;
            drop(work);
            Ok(suspend(&mut caller, Suspended::ForOutput))
        }
    }
}

/// The guest gets an error code. The host is told why.
#[cold]
#[inline(never)]
fn refuse(context: &Context, work: RefMut<'_, Work>, call: &'static str, code: i32, why: Why) -> Result<i32, Error> {
    // The log line needs the current record.
    drop(work);
    context.refuse(Refusal { call, code, why });
    Ok(code)
}

#[cold]
#[inline(never)]
fn refuse_large(context: &Context, work: RefMut<'_, Work>, call: &'static str, size: usize) -> Result<i32, Error> {
    let why = Why::TooLarge { record: size, limit: work.output.limit() };
    refuse(context, work, call, BAD_WRITE, why)
}

#[cold]
#[inline(never)]
fn refuse_malformed(
    context: &Context,
    work: RefMut<'_, Work>,
    call: &'static str,
    payload: &[u8],
) -> Result<i32, Error> {
    let why = Why::Malformed { record: payload.len(), part: payload::malformed_part(payload) };
    refuse(context, work, call, BAD_BUFFER, why)
}

/// Checks a payload with many headers in steps. None if the guest's slice is over before. The guest then calls again
/// with the same buffer, which it cannot have changed.
#[cold]
#[inline(never)]
fn check_some(
    context: &Context,
    checked: &mut Option<HeaderCheck>,
    begun: HeaderCheck,
    payload: &[u8],
) -> Option<bool> {
    let mut check = checked.take().unwrap_or(begun);
    loop {
        let result = check.step(payload);
        if result.is_some() {
            return result;
        }
        if context.run_time.turn_is_over() {
            *checked = Some(check);
            return None;
        }
    }
}

/// The topic that options name. `Ok(None)` for the default. An error says why options are malformed.
fn parse_options(mut options: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    if options.len() > LONGEST_OPTIONS {
        return Err("they have more than 65,536 bytes");
    }
    let Some((&tag, rest)) = options.split_first() else { return Ok(None) };
    if tag != OPTION_TOPIC {
        return Err("the only option is 1, a topic's name");
    }
    options = rest;
    let length = varint::take(&mut options).and_then(|length| usize::try_from(length).ok());
    if length != Some(options.len()) {
        return Err("the length of the topic's name is not that of the rest");
    }
    if core::str::from_utf8(options).is_err() {
        return Err("the topic's name is not UTF-8");
    }
    Ok(Some(options))
}
