//! Zstandard frames, one or more.
//!
//! What fits a chunk is decompressed in one call, without the window that its frame announces: 2 MiB for a batch of a
//! hundred bytes from Kafka's Java client. Everything else goes through a window of zstd's own, which zstd allocates as
//! one piece. It says so when it cannot.

use super::{Regions, STEP_INPUT, Step, broken, part};
use crate::chunk;
use crate::error::{Error, Kind, Result};
use core::cell::RefCell;
use zstd::zstd_safe::{self, DCtx, InBuffer, OutBuffer, ResetDirective, zstd_sys};

/// Data of at most so many bytes is tried in one call if its frame does not say what it becomes.
const SMALL: usize = 16 << 10;

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
        let at_once = match zstd_safe::get_frame_content_size(data) {
            Ok(Some(size)) => size <= chunk::SIZE as u64,
            _ => data.len() <= SMALL,
        };
        Ok(Self { context: Some(context), at: 0, at_once, streams: false })
    }

    /// Takes a step.
    pub fn step(&mut self, data: &[u8], out: &mut Regions) -> Result<Step> {
        let Some(context) = &mut self.context else { return Ok(Step::End) };
        if core::mem::take(&mut self.at_once) {
            if out.total() == 0 {
                out.make_room(0, 0)?;
            }
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
        self.streams = true;
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
    broken("zstd", zstd_safe::get_error_name(code))
}
