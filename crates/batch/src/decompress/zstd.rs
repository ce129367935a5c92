//! Zstandard frames, one or more.
//!
//! What fits a chunk is decompressed in one call, without the window that its frame announces: 2 MiB for a batch of a
//! hundred bytes from Kafka's Java client. Everything else goes through a window of zstd's own, which zstd allocates as
//! one piece. It says so when it cannot.

use super::{Regions, STEP_INPUT, Step, broken, part};
use crate::chunk;
use crate::error::{Error, Kind, Result};
use core::cell::RefCell;
use zstd::zstd_safe::{self, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, zstd_sys};

/// Data of at most so many bytes in so few blocks is tried in one call.
const SMALL: usize = 16 << 10;
const FEW_BLOCKS: usize = 8;

/// The logarithm of the largest window that is always permitted: what RFC 8878 recommends.
const WINDOW: u32 = 23;

/// Bytes that a step writes at most: no more than zstd decodes at once.
const STEP_OUTPUT: usize = 64 << 10;

thread_local! {
    /// A context that has no window. Making one costs more than a small batch.
    static KEPT: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
}

/// Frees the context that this thread keeps.
pub fn release_kept() {
    let _ = KEPT.try_with(|kept| kept.take());
}

/// The state of a decompression.
pub struct Zstd {
    /// `Some` until it is dropped.
    context: Option<DCtx<'static>>,
    at: usize,
    /// All of it is tried in one call.
    at_once: bool,
    /// It has a window.
    streams: bool,
}

impl core::fmt::Debug for Zstd {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Zstd").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Zstd {
    /// Before the first frame.
    pub fn new(data: &[u8]) -> Result<Self> {
        let kept = KEPT.try_with(|kept| kept.try_borrow_mut().ok().and_then(|mut kept| kept.take())).ok().flatten();
        let context = match kept.or_else(DCtx::try_create) {
            Some(context) => context,
            None => return Err(chunk::refused(chunk::SIZE * 3 / 2)),
        };
        let fits = !matches!(zstd_safe::get_frame_content_size(data), Ok(Some(size)) if size > chunk::SIZE as u64);
        let at_once = fits && data.len() <= SMALL && blocks(data).is_some_and(|blocks| blocks <= FEW_BLOCKS);
        Ok(Self { context: Some(context), at: 0, at_once, streams: false })
    }

    /// Bytes that are read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Takes a step.
    pub fn step(&mut self, data: &[u8], out: &mut Regions) -> Result<Step> {
        let Some(context) = &mut self.context else { return Ok(Step::End) };
        if core::mem::take(&mut self.at_once) {
            let mut ended = false;
            out.write(|_, bytes, filled| match context.decompress(&mut bytes[filled..], data) {
                Ok(count) => {
                    ended = true;
                    Ok(filled + count)
                }
                // What it has written so far counts for nothing.
                Err(code) if is(code, zstd_sys::ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall) => Ok(filled),
                Err(code) => Err(error(code)),
            })?;
            if ended {
                return Ok(Step::End);
            }
            context.reset(ResetDirective::SessionOnly).map_err(error)?;
        }
        if !core::mem::replace(&mut self.streams, true) {
            let window = out.limit().next_power_of_two().ilog2().clamp(WINDOW, 27);
            context.set_parameter(DParameter::WindowLogMax(window)).map_err(error)?;
        }
        let mut input = InBuffer::around(part(data, self.at, STEP_INPUT));
        let (mut left, mut written) = (0, 0);
        let has_room = out.write(|_, bytes, filled| {
            let end = bytes.len().min(filled + STEP_OUTPUT);
            let mut output = OutBuffer::around(&mut bytes[filled..end]);
            left = context.decompress_stream(&mut output, &mut input).map_err(error)?;
            written = output.pos();
            Ok(filled + written)
        })?;
        if !has_room {
            return Ok(Step::Full);
        }
        self.at += input.pos();
        match (self.at == data.len(), left == 0) {
            (true, true) => Ok(Step::End),
            // zstd has no output left either.
            (true, false) if input.pos() == 0 && written == 0 => Err(broken("zstd", "it is cut off")),
            _ => Ok(Step::More),
        }
    }
}

impl Drop for Zstd {
    fn drop(&mut self) {
        // A window is too large to be kept.
        if !self.streams
            && let Some(mut context) = self.context.take()
            && context.reset(ResetDirective::SessionOnly).is_ok()
        {
            let _ = KEPT.try_with(|kept| {
                if let Ok(mut kept) = kept.try_borrow_mut() {
                    *kept = Some(context);
                }
            });
        }
    }
}

/// Blocks of a frame. None if it is not one whole frame and nothing else.
fn blocks(data: &[u8]) -> Option<usize> {
    let flags = *data.get(4)?;
    let one_segment = flags & 0x20 != 0;
    let window = usize::from(!one_segment);
    let dictionary = [0, 1, 2, 4][usize::from(flags & 3)];
    let size = [usize::from(one_segment), 2, 4, 8][usize::from(flags >> 6)];
    let checksum = if flags & 4 != 0 { 4 } else { 0 };
    let mut at = 5 + window + dictionary + size;
    for count in 1.. {
        let &[low, middle, high] = data.get(at..)?.first_chunk()?;
        let head = u32::from_le_bytes([low, middle, high, 0]);
        // A block of one byte that is repeated says how often.
        at += 3 + if head >> 1 & 3 == 1 { 1 } else { (head >> 3) as usize };
        if head & 1 != 0 {
            return (at + checksum == data.len()).then_some(count);
        }
    }
    None
}

fn is(code: usize, error: zstd_sys::ZSTD_ErrorCode) -> bool {
    code.wrapping_neg() == error as usize
}

#[cold]
fn error(code: usize) -> Error {
    if is(code, zstd_sys::ZSTD_ErrorCode::ZSTD_error_memory_allocation) {
        return Error::new(
            Kind::OutOfMemory,
            "the allocator refused the window of the batch's zstd data; try again later",
        );
    }
    if is(code, zstd_sys::ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge) {
        return Error::new(
            Kind::TooLarge,
            "the batch's zstd frame wants a window that is larger than both 8 MiB and max_batch_size (at most 128 MiB)",
        );
    }
    broken("zstd", zstd_safe::get_error_name(code))
}
