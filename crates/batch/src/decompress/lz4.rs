//! One LZ4 frame. Not read by the `lz4_flex` crate, whose decoder allocates twice what the frame announces as its
//! largest block (8 MiB for some clients, also for a batch of a hundred bytes) and decodes a block in one call.
//!
//! Kafka's own reader stops at the end of the first frame. Data behind it would be lost there, so it is refused here.

use super::regions::{Regions, put_short, repeat_before, repeat_short, repeat_within};
use super::{STEP_INPUT, Step, broken, le32, part};
use crate::error::{Error, Result};
use core::hash::Hasher as _;
use twox_hash::XxHash32;

const MAGIC: u32 = 0x184d_2204;
/// Bits of the frame's flags.
const INDEPENDENT: u8 = 1 << 5;
const BLOCK_HASH: u8 = 1 << 4;
const SIZE: u8 = 1 << 3;
const HASH: u8 = 1 << 2;
const RESERVED: u8 = 1 << 1;
const DICTIONARY: u8 = 1;
/// The highest bit of a block's size.
const STORED: u32 = 1 << 31;

/// Bytes that a step writes at most.
const STEP_OUTPUT: usize = 32 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Frame,
    /// The size of a block comes next.
    Between,
    /// In a block that is not compressed.
    Stored,
    /// In a compressed block.
    Compressed,
    End,
}

/// The state of a decompression.
#[derive(Debug)]
pub struct Lz4 {
    at: usize,
    stage: Stage,
    flags: u8,
    largest_block: usize,
    /// What the frame says it becomes.
    size: Option<u64>,
    hash: XxHash32,
    /// Of the block as far as it is read.
    block_hash: XxHash32,
    /// Where the block ends.
    end: usize,
    /// Bytes that the block has given.
    given: usize,
    /// Bytes of the literal that follows at `at`.
    literal: usize,
    /// Length of the match behind the literal as its token has it.
    token: u8,
    /// Bytes of a match from `distance` before.
    matched: usize,
    distance: usize,
}

impl Lz4 {
    /// Before the frame.
    pub fn new() -> Self {
        Self {
            at: 0,
            stage: Stage::Frame,
            flags: 0,
            largest_block: 0,
            size: None,
            hash: XxHash32::with_seed(0),
            block_hash: XxHash32::with_seed(0),
            end: 0,
            given: 0,
            literal: 0,
            token: 0,
            matched: 0,
            distance: 0,
        }
    }

    /// Bytes that are read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Takes a step.
    pub fn step(&mut self, data: &[u8], out: &mut Regions) -> Result<Step> {
        match self.stage {
            Stage::Frame => self.frame(data, out)?,
            Stage::Between => return self.between(data, out),
            Stage::Stored | Stage::Compressed => {
                let (written, begun) = (out.last().len(), self.at);
                let step = if self.stage == Stage::Stored { self.stored(data, out)? } else { self.block(data, out)? };
                if self.flags & HASH != 0 {
                    self.hash.write(out.last().get(written..).unwrap_or_default());
                }
                if self.flags & BLOCK_HASH != 0 && self.stage != Stage::Between {
                    self.block_hash.write(data.get(begun..self.at).unwrap_or_default());
                }
                return Ok(step);
            }
            Stage::End => return Ok(Step::End),
        }
        Ok(Step::More)
    }

    fn frame(&mut self, data: &[u8], out: &Regions) -> Result<()> {
        match le32(data, 0) {
            Some(MAGIC) => {}
            None => return Err(cut_off()),
            _ => return Err(broken("lz4", "it does not begin with the magic of an LZ4 frame")),
        }
        let &[flags, blocks] = part(data, 4, 2) else { return Err(cut_off()) };
        if flags >> 6 != 1 || flags & RESERVED != 0 || blocks & 0x8f != 0 || blocks >> 4 < 4 {
            return Err(broken("lz4", "the frame has an unknown version, flag or block size"));
        }
        if flags & DICTIONARY != 0 {
            return Err(broken("lz4", "the frame needs a dictionary"));
        }
        self.flags = flags;
        self.largest_block = 1 << (2 * (blocks >> 4) + 8);
        self.at = 6;
        if flags & SIZE != 0 {
            let size = part(data, self.at, 8).first_chunk().ok_or_else(cut_off)?;
            let size = u64::from_le_bytes(*size);
            out.check_size(size)?;
            self.size = Some(size);
            self.at += 8;
        }
        let hash = XxHash32::oneshot(0, part(data, 4, self.at - 4)) >> 8;
        if *data.get(self.at).ok_or_else(cut_off)? != hash as u8 {
            return Err(broken("lz4", "the frame's header has another checksum"));
        }
        self.at += 1;
        self.stage = Stage::Between;
        Ok(())
    }

    /// Reads the size of a block or the end of the frame.
    fn between(&mut self, data: &[u8], out: &Regions) -> Result<Step> {
        let size = le32(data, self.at).ok_or_else(|| broken("lz4", "the frame has no end mark"))?;
        self.at += 4;
        if size == 0 {
            return self.frame_end(data, out);
        }
        let bytes = (size & !STORED) as usize;
        if bytes > self.largest_block {
            return Err(broken("lz4", "a block is larger than the frame says"));
        }
        self.block_hash = XxHash32::with_seed(0);
        self.end = self.at.checked_add(bytes).filter(|&end| end <= data.len()).ok_or_else(cut_off)?;
        self.given = 0;
        self.stage = if size & STORED != 0 { Stage::Stored } else { Stage::Compressed };
        Ok(Step::More)
    }

    fn frame_end(&mut self, data: &[u8], out: &Regions) -> Result<Step> {
        if self.flags & HASH != 0 {
            if le32(data, self.at).ok_or_else(cut_off)? != self.hash.finish_32() {
                return Err(broken("lz4", "the frame has another checksum than its end says"));
            }
            self.at += 4;
        }
        if self.size.is_some_and(|size| size != out.total() as u64) {
            return Err(broken("lz4", "the frame has another size than its header says"));
        }
        match le32(data, self.at) {
            Some(MAGIC) => {
                return Err(broken("lz4", "a second frame follows, which Kafka's readers do not read"));
            }
            _ if self.at < data.len() => return Err(broken("lz4", "bytes follow the frame")),
            _ => {}
        }
        self.stage = Stage::End;
        Ok(Step::End)
    }

    /// The block has ended.
    fn block_end(&mut self, data: &[u8]) -> Result<Step> {
        if self.flags & BLOCK_HASH != 0 {
            if le32(data, self.end).ok_or_else(cut_off)? != self.block_hash.finish_32() {
                return Err(broken("lz4", "a block has another checksum than its end says"));
            }
            self.at = self.end + 4;
        }
        self.stage = Stage::Between;
        Ok(Step::More)
    }

    fn stored(&mut self, data: &[u8], out: &mut Regions) -> Result<Step> {
        if self.at == self.end {
            return self.block_end(data);
        }
        let count = out.put(part(data, self.at, (self.end - self.at).min(STEP_OUTPUT)))?;
        self.at += count;
        Ok(if count == 0 { Step::Full } else { Step::More })
    }

    fn block(&mut self, data: &[u8], out: &mut Regions) -> Result<Step> {
        let (begin, before) = (self.at, out.total());
        while self.at - begin < STEP_INPUT && out.total() - before < STEP_OUTPUT {
            if self.literal > 0 {
                let count = out.put(part(data, self.at, self.literal))?;
                if count == 0 {
                    return Ok(Step::Full);
                }
                self.literal -= count;
                self.at += count;
                self.give(count)?;
                if self.literal == 0 && self.at < self.end {
                    self.matches(&data[..self.end], out.total())?;
                }
            } else if self.matched > 0 {
                let count = out.repeat(self.distance, self.matched)?;
                if count == 0 {
                    return Ok(Step::Full);
                }
                self.matched -= count;
                self.give(count)?;
            } else if self.at < self.end {
                self.sequences(&data[..self.end], out)?;
            } else if self.at > begin {
                // What was read is hashed first.
                break;
            } else {
                return self.block_end(data);
            }
        }
        Ok(Step::More)
    }

    #[inline(always)]
    fn give(&mut self, count: usize) -> Result<()> {
        self.given += count;
        if self.given > self.largest_block {
            return Err(broken("lz4", "a block becomes larger than the frame says"));
        }
        Ok(())
    }

    /// Reads sequences as long as they are all in the last region and then the head of one that is not. `block` takes
    /// that one.
    fn sequences(&mut self, input: &[u8], out: &mut Regions) -> Result<()> {
        let until = input.len().min(self.at + STEP_INPUT);
        let total = out.total();
        // A match begins at most so many bytes before what this block has given.
        let before = if self.flags & INDEPENDENT != 0 { 0 } else { total - self.given };
        let (mut at, mut given) = (self.at, self.given);
        out.write(|previous, bytes, begin| {
            let mut filled = begin;
            // A sequence that does not fit is not taken.
            while at < until && filled - begin < STEP_OUTPUT {
                let token = input[at];
                let (mut literal, mut matched) = (usize::from(token >> 4), usize::from(token & 15));
                let mut next = at + 1;
                if literal == 15 {
                    let Some(long) = long(input, &mut next) else { break };
                    literal += long;
                }
                let literals = next;
                let Some(&[low, high]) = input.get(literals + literal..).and_then(|rest| rest.first_chunk()) else {
                    break;
                };
                let distance = usize::from(u16::from_le_bytes([low, high]));
                next = literals + literal + 2;
                if matched == 15 {
                    let Some(long) = long(input, &mut next) else { break };
                    matched += long;
                }
                matched += 4;
                let middle = filled + literal;
                if distance == 0 || distance > before + given + literal || middle > bytes.len() {
                    break;
                }
                if literal > 16 || put_short(bytes, filled, &input[literals..]).is_none() {
                    bytes[filled..middle].copy_from_slice(&input[literals..literals + literal]);
                }
                let copied = match distance <= middle {
                    true if matched <= 64 => repeat_short(bytes, middle, distance, matched),
                    true => (middle + matched <= bytes.len()).then(|| repeat_within(bytes, middle, distance, matched)),
                    false => repeat_before(previous, bytes, middle, distance, matched),
                };
                if copied.is_none() {
                    break;
                }
                at = next;
                filled += literal + matched;
                given += literal + matched;
            }
            Ok(filled)
        })?;
        self.at = at;
        self.given = given;
        self.give(0)?;
        if at < until && out.total() - total < STEP_OUTPUT {
            self.literals(input)?;
            if self.literal == 0 && self.at < input.len() {
                self.matches(input, out.total())?;
            }
        }
        Ok(())
    }

    /// Reads a token and the length of its literals.
    fn literals(&mut self, input: &[u8]) -> Result<()> {
        self.token = *input.get(self.at).ok_or_else(cut_off)?;
        self.at += 1;
        let count = usize::from(self.token >> 4);
        self.literal = if count == 15 { 15 + self.long(input)? } else { count };
        if self.literal > input.len() - self.at {
            return Err(cut_off());
        }
        Ok(())
    }

    /// Reads the match behind the literals. So much of the frame has come.
    fn matches(&mut self, input: &[u8], total: usize) -> Result<()> {
        let &[low, high] = input[self.at..].first_chunk().ok_or_else(cut_off)?;
        self.at += 2;
        self.distance = usize::from(u16::from_le_bytes([low, high]));
        let count = usize::from(self.token & 15);
        self.matched = 4 + if count == 15 { 15 + self.long(input)? } else { count };
        let there = if self.flags & INDEPENDENT != 0 { self.given } else { total };
        if self.distance == 0 || self.distance > there {
            return Err(broken("lz4", "a match begins before its block"));
        }
        Ok(())
    }

    /// The rest of a length.
    fn long(&mut self, input: &[u8]) -> Result<usize> {
        let mut at = self.at;
        let count = long(input, &mut at).ok_or_else(|| match input.len() - self.at {
            // A length of a block or more has so many bytes.
            0..LONGEST => cut_off(),
            _ => broken("lz4", "a block becomes larger than the frame says"),
        })?;
        self.at = at;
        Ok(count)
    }
}

/// Bytes of the longest length: of a block of 4 MiB.
const LONGEST: usize = (4 << 20) / 255 + 1;

/// The rest of a length at `at`. None if it is cut off or larger than any block.
#[inline(always)]
fn long(input: &[u8], at: &mut usize) -> Option<usize> {
    let rest = input.get(*at..)?;
    let full = rest.iter().take(LONGEST).take_while(|&&byte| byte == 255).count();
    let last = usize::from(*rest.get(full)?);
    *at += full + 1;
    (last < 255).then_some(full * 255 + last)
}

#[cold]
fn cut_off() -> Error {
    broken("lz4", "it is cut off")
}
