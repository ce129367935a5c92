//! Snappy blocks, in the framing of xerial's Java library or one without a frame.

use super::regions::{Regions, put_short, repeat_before, repeat_short};
use super::{STEP_INPUT, Step, broken, part};
use crate::error::{Error, Result};

/// xerial's magic. The version and the lowest compatible version follow (both big-endian).
pub const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
/// Bytes of xerial's header.
pub const XERIAL_HEADER: usize = 16;

/// The state of a decompression.
#[derive(Debug)]
pub struct Snappy {
    framed: bool,
    at: usize,
    /// Where the block ends.
    end: usize,
    /// Bytes that the block is still to give.
    left: usize,
    /// Bytes that the block has given.
    given: usize,
    /// Bytes of the literal that follows at `at`.
    literal: usize,
    /// Bytes of a copy from `distance` before.
    copy: usize,
    distance: usize,
}

impl Snappy {
    /// Before the first block.
    pub fn new(data: &[u8]) -> Self {
        let framed = data.len() >= XERIAL_HEADER && data.starts_with(XERIAL_MAGIC);
        let at = if framed { XERIAL_HEADER } else { 0 };
        Self { framed, at, end: at, left: 0, given: 0, literal: 0, copy: 0, distance: 0 }
    }

    /// Bytes that are read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Takes a step.
    pub fn step(&mut self, data: &[u8], out: &mut Regions) -> Result<Step> {
        let (begin, before) = (self.at, out.total());
        while self.at - begin < STEP_INPUT && out.total() - before < STEP_INPUT * 8 {
            if self.literal > 0 {
                let count = out.put(part(data, self.at, self.literal))?;
                if count == 0 {
                    return Ok(Step::Full);
                }
                self.literal -= count;
                self.at += count;
            } else if self.copy > 0 {
                let count = out.repeat(self.distance, self.copy)?;
                if count == 0 {
                    return Ok(Step::Full);
                }
                self.copy -= count;
            } else if self.at < self.end {
                self.elements(data, out)?;
            } else if self.left > 0 {
                return Err(broken("snappy", "a block is shorter than it says"));
            } else if self.at == data.len() && (self.framed || self.at > 0) {
                return Ok(Step::End);
            } else {
                self.block(data, out)?;
            }
        }
        Ok(Step::More)
    }

    /// The next block begins.
    fn block(&mut self, data: &[u8], out: &Regions) -> Result<()> {
        self.end = data.len();
        if self.framed {
            let size = part(data, self.at, 4).first_chunk().map(|size| u32::from_be_bytes(*size) as usize);
            self.at += 4;
            let end = size.and_then(|size| self.at.checked_add(size)).filter(|&end| end <= data.len());
            self.end = end.ok_or_else(|| broken("snappy", "a block is cut off"))?;
        }
        let mut size = 0u64;
        for shift in (0..).step_by(7) {
            let byte = self.byte(data)?;
            if shift > 28 {
                return Err(broken("snappy", "a block's size is invalid"));
            }
            size |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        if size > u64::from(u32::MAX) {
            return Err(broken("snappy", "a block's size is invalid"));
        }
        out.check_size(size)?;
        self.left = size as usize;
        self.given = 0;
        Ok(())
    }

    fn byte(&mut self, data: &[u8]) -> Result<u8> {
        if self.at >= self.end {
            return Err(cut_off());
        }
        self.at += 1;
        data.get(self.at - 1).copied().ok_or_else(cut_off)
    }

    /// Reads short elements as long as they are all in the last region and then the head of one that is not. `step`
    /// takes that one.
    fn elements(&mut self, data: &[u8], out: &mut Regions) -> Result<()> {
        let input = data.get(..self.end).unwrap_or(data);
        let until = self.at.saturating_add(STEP_INPUT).min(input.len());
        let (mut at, mut given) = (self.at, self.given);
        let size = self.given + self.left;
        out.write(|before, bytes, mut filled| {
            // An element that does not fit is not taken.
            while at < until {
                let tag = input[at];
                let count;
                if tag & 3 == 0 {
                    count = usize::from(tag >> 2) + 1;
                    if count > 16 || given + count > size || put_short(bytes, filled, &input[at + 1..]).is_none() {
                        break;
                    }
                    at += 1 + count;
                } else {
                    let Some(&[low, high]) = input[at + 1..].first_chunk() else { break };
                    let (distance, head);
                    (count, distance, head) = match tag & 3 {
                        1 => (usize::from(tag >> 2 & 7) + 4, usize::from(tag & 0xe0) << 3 | usize::from(low), 2),
                        2 => (usize::from(tag >> 2) + 1, usize::from(u16::from_le_bytes([low, high])), 3),
                        _ => break,
                    };
                    let fits = distance > 0 && distance <= given && given + count <= size;
                    let copied = match fits {
                        true if distance <= filled => repeat_short(bytes, filled, distance, count),
                        true => repeat_before(before, bytes, filled, distance, count),
                        false => None,
                    };
                    if copied.is_none() {
                        break;
                    }
                    at += head;
                }
                filled += count;
                given += count;
            }
            Ok(filled)
        })?;
        self.left = size - given;
        (self.at, self.given) = (at, given);
        if at < until { self.element(input) } else { Ok(()) }
    }

    /// Reads the head of an element.
    fn element(&mut self, input: &[u8]) -> Result<()> {
        let at = self.at;
        let tag = *input.get(at).ok_or_else(cut_off)?;
        let size = usize::from(tag >> 2);
        let more = |from: usize, count: usize| -> Result<usize> {
            let bytes = input.get(from..from + count).ok_or_else(cut_off)?;
            Ok(bytes.iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte)))
        };
        let count = match tag & 3 {
            0 => {
                let (extra, count) = match size {
                    60.. => (size - 59, more(at + 1, size - 59)?),
                    _ => (0, size),
                };
                self.at = at + 1 + extra;
                self.literal = count + 1;
                if self.literal > input.len() - self.at {
                    return Err(cut_off());
                }
                self.literal
            }
            1 => {
                self.distance = (size & 0x38) << 5 | more(at + 1, 1)?;
                self.copy = (size & 7) + 4;
                self.at = at + 2;
                self.copy
            }
            tag => {
                let bytes = if tag == 2 { 2 } else { 4 };
                self.distance = more(at + 1, bytes)?;
                self.copy = size + 1;
                self.at = at + 1 + bytes;
                self.copy
            }
        };
        if tag & 3 != 0 && (self.distance == 0 || self.distance > self.given) {
            return Err(broken("snappy", "a copy begins before its block"));
        }
        if count > self.left {
            return Err(broken("snappy", "a block is longer than it says"));
        }
        self.left -= count;
        self.given += count;
        Ok(())
    }
}

#[cold]
fn cut_off() -> Error {
    broken("snappy", "a block is cut off")
}
