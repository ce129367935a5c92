//! gzip members (RFC 1952), one or more.

use super::{Regions, Step, broken, le32, part};
use crate::chunk::{self, Chunk};
use crate::error::{Error, Result};
use crc_fast::{CrcAlgorithm, Digest};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// Bits of a member's flags.
const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
/// Header bytes without extra fields.
const HEADER: usize = 10;

/// How far back deflate refers.
const DISTANCE: usize = 32 << 10;

/// Compressed bytes that a step reads at most. Reading tables takes 100 ns per byte.
const STEP_INPUT: usize = 1 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A member begins.
    Header,
    /// Its data.
    Data,
    /// What the window has goes to the regions first.
    Drain { ended: bool },
}

/// The state of a decompression.
pub struct Gzip {
    at: usize,
    stage: Stage,
    /// One element. A vector because its allocation may fail.
    inflater: Vec<DecompressorOxide>,
    /// A ring. deflate refers to 32 KiB before.
    window: Chunk,
    /// Where the next byte goes in the window.
    end: usize,
    /// What is not in the regions yet begins here.
    begin: usize,
    crc: Digest,
    /// Bytes of the member, modulo 2³².
    size: u32,
}

impl core::fmt::Debug for Gzip {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Gzip").field("at", &self.at).field("stage", &self.stage).finish_non_exhaustive()
    }
}

fn truncated() -> Error {
    broken("gzip", "it is cut off")
}

fn digest() -> Digest {
    Digest::new(CrcAlgorithm::Crc32IsoHdlc)
}

impl Gzip {
    /// Before the first member.
    pub fn new() -> Result<Self> {
        let mut inflater = chunk::reserved(1)?;
        inflater.push(DecompressorOxide::new());
        let mut window = Chunk::take()?;
        // Other batches' data is not there to be referred to.
        window.bytes_mut()[chunk::SIZE - DISTANCE..].fill(0);
        Ok(Self { at: 0, stage: Stage::Header, inflater, window, end: 0, begin: 0, crc: digest(), size: 0 })
    }

    /// Bytes that are read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Takes a step.
    pub fn step(&mut self, data: &[u8], out: &mut Regions) -> Result<Step> {
        match self.stage {
            Stage::Header => self.member(data)?,
            Stage::Data => self.inflate(data)?,
            Stage::Drain { ended } => {
                let there = &self.window.bytes()[self.begin..self.end];
                let taken = out.put(there)?;
                self.begin += taken;
                if taken < there.len() {
                    return Ok(if taken == 0 { Step::Full } else { Step::More });
                }
                if self.end == chunk::SIZE {
                    self.end = 0;
                }
                self.begin = self.end;
                self.stage = Stage::Data;
                if ended {
                    self.trailer(data)?;
                    self.stage = Stage::Header;
                    if self.at == data.len() {
                        return Ok(Step::End);
                    }
                }
            }
        }
        Ok(Step::More)
    }

    /// Reads the header of a member.
    fn member(&mut self, data: &[u8]) -> Result<()> {
        let member = data.get(self.at..).unwrap_or_default();
        let header: &[u8; HEADER] = member.first_chunk().ok_or_else(truncated)?;
        let [0x1f, 0x8b, method, flags, ..] = *header else {
            return Err(broken("gzip", "a member does not begin with gzip's magic"));
        };
        if method != 8 || flags & 0xe0 != 0 {
            return Err(broken("gzip", "a member has an unknown method or flag"));
        }
        let mut at = HEADER;
        if flags & EXTRA != 0 {
            let size: [u8; 2] = *member[at..].first_chunk().ok_or_else(truncated)?;
            at += 2 + usize::from(u16::from_le_bytes(size));
        }
        for text in [NAME, COMMENT] {
            if flags & text != 0 {
                // Kafka's clients write none. A long one would take a step.
                let end = part(member, at, STEP_INPUT).iter().position(|&byte| byte == 0);
                at += 1 + end.ok_or_else(|| broken("gzip", "a member's name or comment is cut off or too long"))?;
            }
        }
        if flags & HEADER_CRC != 0 {
            let mut crc = digest();
            crc.update(member.get(..at).ok_or_else(truncated)?);
            let wanted: [u8; 2] = *member[at..].first_chunk().ok_or_else(truncated)?;
            if crc.finalize() as u16 != u16::from_le_bytes(wanted) {
                return Err(broken("gzip", "a member's header has another CRC"));
            }
            at += 2;
        }
        if at > member.len() {
            return Err(truncated());
        }
        self.at += at;
        self.crc = digest();
        // A member does not refer to the one before. The inflater does not notice.
        let window = self.window.bytes_mut();
        for back in 1..=DISTANCE.min(self.size as usize) {
            window[self.end.wrapping_sub(back) % chunk::SIZE] = 0;
        }
        self.size = 0;
        for inflater in &mut self.inflater {
            inflater.init();
        }
        self.stage = Stage::Data;
        Ok(())
    }

    /// Fills the window.
    fn inflate(&mut self, data: &[u8]) -> Result<()> {
        let input = part(data, self.at, STEP_INPUT);
        let flags = if self.at + input.len() < data.len() { TINFL_FLAG_HAS_MORE_INPUT } else { 0 };
        let Some(inflater) = self.inflater.first_mut() else { return Err(truncated()) };
        let (status, read, written) = decompress(inflater, input, self.window.bytes_mut(), self.end, flags);
        self.at += read;
        let end = self.end + written;
        let new = &self.window.bytes()[self.end..end];
        self.crc.update(new);
        self.size = self.size.wrapping_add(new.len() as u32);
        self.end = end;
        self.stage = match status {
            TINFLStatus::Done => Stage::Drain { ended: true },
            TINFLStatus::HasMoreOutput => Stage::Drain { ended: false },
            TINFLStatus::NeedsMoreInput if read > 0 => Stage::Drain { ended: false },
            TINFLStatus::NeedsMoreInput | TINFLStatus::FailedCannotMakeProgress => return Err(truncated()),
            _ => return Err(broken("gzip", "the deflate stream is damaged")),
        };
        Ok(())
    }

    /// Checks the end of a member.
    fn trailer(&mut self, data: &[u8]) -> Result<()> {
        let crc = le32(data, self.at).ok_or_else(truncated)?;
        let size = le32(data, self.at + 4).ok_or_else(truncated)?;
        if crc != self.crc.finalize() as u32 || size != self.size {
            return Err(broken("gzip", "a member has another CRC or size than its end says"));
        }
        self.at += 8;
        Ok(())
    }
}
