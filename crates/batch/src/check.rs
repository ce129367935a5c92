//! The check of a batch in steps: its CRC, its codec and its records. A step takes some ten microseconds.

use crate::chunk;
use crate::compression::wasm_compression;
use crate::crc32c;
use crate::cursor::Cursor;
use crate::decompress::{Decoder, Step};
use crate::encode::LargeRecord;
use crate::entries::{END, Entry};
use crate::error::{Error, Kind, Result};
use crate::header::{CRC_START, SIZE};
use crate::payload::HeaderCheck;
use crate::reader::Records;
use crate::record::{self, BAD_PAYLOAD, NoRecord, RawRecord, TOO_SHORT, Times};

/// Bytes whose CRC one step computes.
const CRC_PIECE: usize = 256 << 10;

/// Records that one step looks at.
const RECORDS_PIECE: i32 = 1024;

/// What comes next.
#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    /// There is no batch or it is checked.
    #[default]
    Idle,
    /// The CRC from `at` on.
    Crc,
    /// The part of the header that the CRC covers.
    Header,
    /// Records that are not compressed.
    Plain,
    /// Data is decompressed.
    Decompress,
    /// The last region is parsed as far as it goes.
    Parse,
    /// As `Parse`. All is decompressed.
    ParseEnd,
    /// Records without a batch are encoded.
    Encode,
}

/// A batch that is being checked.
#[derive(Debug, Default)]
pub struct Check {
    stage: Stage,
    limit: usize,
    digest: Option<crc32c::Digest>,
    decoder: Option<Box<Decoder>>,
    /// The record that the reader begins with.
    first: i32,
    /// Records that are checked.
    pub(crate) index: i32,
    /// Where the next one is in its region. Where the CRC continues.
    at: usize,
    /// The headers of the next record.
    headers: Option<HeaderCheck>,
    /// The next record of those without a batch if it takes steps.
    pub(crate) large: Option<Box<LargeRecord>>,
}

impl Check {
    #[cold]
    fn begin_crc(&mut self) {
        self.digest = Some(crc32c::Digest::new());
        self.at = CRC_START;
        self.stage = Stage::Crc;
    }

    /// Records without a batch come.
    pub(crate) fn begin_encoding(&mut self, first: u32, limit: usize) {
        (self.first, self.index, self.at, self.limit) = (first as i32, first as i32, 0, limit);
        self.stage = Stage::Encode;
    }

    /// There is nothing to be checked. Frees what steps need.
    #[inline(always)]
    pub fn end(&mut self) {
        if matches!(self.stage, Stage::Idle) {
            return;
        }
        self.stage = Stage::Idle;
        self.digest = None;
        self.headers = None;
        if self.decoder.is_some() {
            self.decoder = None;
        }
        if self.large.is_some() {
            self.large = None;
        }
    }
}

#[cold]
fn lost() -> Error {
    Error::new(Kind::Internal, "the state of the check is lost")
}

/// How far a region has been parsed.
enum Parsed {
    /// There is more.
    Some,
    /// The next record is not complete. It takes so many bytes, or that is not known (0).
    Incomplete(usize),
    /// There is no record left.
    All,
}

impl<'a> Records<'a> {
    /// Begins with a batch. `first` is the first record to be read. No record of an invalid batch is read. Fails if the
    /// bytes are not one batch. After an error there is no batch.
    #[inline]
    pub fn begin(&mut self, batch: &'a [u8], first: u32, limit: usize, check_crc: bool) -> Result<()> {
        if self.begun {
            self.end();
        }
        if !self.regions.is_empty() {
            self.regions.clear();
        }
        self.begun = true;
        if batch.len() > limit {
            return Err(Error::new(
                Kind::TooLarge,
                format!("the batch has {} bytes, more than max_batch_size ({limit})", batch.len()),
            ));
        }
        self.header.read(batch)?;
        if self.header.total_size != batch.len() as u64 {
            return Err(Error::new(
                Kind::Malformed,
                format!(
                    "the batch has {} bytes, but {} were given. Give one batch at a time",
                    self.header.total_size,
                    batch.len()
                ),
            ));
        }
        self.batch = batch;
        let check = &mut self.check;
        check.limit = limit;
        // If there are fewer, all of them are checked and none is read.
        check.first = i32::try_from(first).unwrap_or(i32::MAX).min(self.header.record_count);
        check.index = 0;
        check.at = 0;
        check.stage = Stage::Header;
        if check_crc {
            if batch.len() > CRC_PIECE {
                check.begin_crc();
            } else {
                self.compare_crc(crc32c::checksum(&batch[CRC_START..])).inspect_err(|_| self.end())?;
            }
        }
        Ok(())
    }

    /// Takes a step of the check. True when the batch is checked and can be read. After an error there is no batch.
    #[inline]
    pub fn check(&mut self) -> Result<bool> {
        self.step().inspect_err(|_| self.end())
    }

    #[inline]
    fn step(&mut self) -> Result<bool> {
        match self.check.stage {
            Stage::Idle => Ok(true),
            // Nearly all batches are small and not compressed. They are checked in one step.
            Stage::Header => match self.check_header()? {
                wasm_compression::None => self.parse_plain(),
                codec => self.begin_decompression(codec),
            },
            Stage::Plain => self.parse_plain(),
            _ => self.step_of_many(),
        }
    }

    /// Steps of large and of compressed batches, and of records that are in none.
    #[cold]
    fn step_of_many(&mut self) -> Result<bool> {
        match self.check.stage {
            Stage::Encode => return self.encode(),
            Stage::Crc => {
                let Some(digest) = &mut self.check.digest else { return Err(lost()) };
                let end = self.batch.len().min(self.check.at + CRC_PIECE);
                digest.update(self.batch.get(self.check.at..end).unwrap_or_default());
                self.check.at = end;
                if end == self.batch.len() {
                    let crc = digest.finish();
                    self.compare_crc(crc)?;
                    self.check.at = 0;
                    self.check.stage = Stage::Header;
                }
            }
            Stage::Decompress => {
                let Some(decoder) = &mut self.check.decoder else { return Err(lost()) };
                let step = decoder.step(self.batch.get(SIZE..).unwrap_or_default(), &mut self.regions)?;
                self.check.stage = match step {
                    Step::More => Stage::Decompress,
                    Step::Full => Stage::Parse,
                    Step::End => Stage::ParseEnd,
                };
            }
            Stage::Parse => match self.parse_last()? {
                Parsed::Some => {}
                Parsed::Incomplete(wanted) => {
                    // More than can come is not reserved.
                    self.regions.check_size(wanted.saturating_sub(chunk::SIZE) as u64)?;
                    let there = self.regions.last().len() - self.check.at;
                    let data = self.batch.get(SIZE..).unwrap_or_default();
                    let most = self.check.decoder.as_ref().map_or(0, |decoder| decoder.most_left(data));
                    if wanted > there.saturating_add(most) {
                        return Err(NoRecord::error(TOO_SHORT, &self.header, self.check.index));
                    }
                    self.regions.make_room(self.check.at, wanted)?;
                    self.check.at = 0;
                    self.check.stage = Stage::Decompress;
                }
                Parsed::All => {
                    self.regions.make_room(self.check.at, 0)?;
                    self.check.at = 0;
                    self.check.stage = Stage::Decompress;
                }
            },
            Stage::ParseEnd => match self.parse_last()? {
                Parsed::Some => {}
                Parsed::Incomplete(_) => return Err(NoRecord::error(TOO_SHORT, &self.header, self.check.index)),
                Parsed::All => return self.checked().map(|()| true),
            },
            Stage::Idle | Stage::Header | Stage::Plain => {}
        }
        Ok(false)
    }

    #[inline]
    fn compare_crc(&self, crc: u32) -> Result<()> {
        if crc == self.header.crc {
            return Ok(());
        }
        let wanted = self.header.crc;
        Err(Error::new(Kind::Crc, format!("the batch's CRC-32C is {wanted:08x}, but its content has {crc:08x}")))
    }

    #[inline]
    fn check_header(&self) -> Result<wasm_compression> {
        let header = &self.header;
        header.check_counts()?;
        if header.is_control() {
            return Err(Error::new(
                Kind::Control,
                "this is a control batch: it holds transaction markers and no records. Leave the batch out",
            ));
        }
        wasm_compression::from_code(header.compression()).ok_or_else(|| {
            Error::new(Kind::Compression, format!("compression code {} is unknown", header.compression()))
        })
    }

    #[cold]
    fn begin_decompression(&mut self, codec: wasm_compression) -> Result<bool> {
        let data = self.batch.get(SIZE..).unwrap_or_default();
        self.regions.begin(self.check.limit);
        self.regions.make_room(0, 0)?;
        // Some producers write nothing at all for no records.
        if data.is_empty() && self.header.record_count == 0 {
            self.check.stage = Stage::ParseEnd;
            return Ok(false);
        }
        self.check.decoder = Decoder::new(codec, data)?.map(Box::new);
        self.check.stage = Stage::Decompress;
        Ok(false)
    }

    #[inline(always)]
    fn parse_plain(&mut self) -> Result<bool> {
        let records = self.batch.get(SIZE..).unwrap_or_default();
        match self.parse(records, 0)? {
            Parsed::All => self.checked().map(|()| true),
            Parsed::Incomplete(_) => Err(NoRecord::error(TOO_SHORT, &self.header, self.check.index)),
            Parsed::Some => {
                self.check.stage = Stage::Plain;
                Ok(false)
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn parse_last(&mut self) -> Result<Parsed> {
        // Out of `self` while it is parsed.
        let regions = core::mem::take(&mut self.regions);
        let parsed = self.parse(regions.last(), regions.count() - 1);
        self.regions = regions;
        parsed
    }

    /// Parses some records of the region with this index.
    #[inline(always)]
    fn parse(&mut self, region: &[u8], place: usize) -> Result<Parsed> {
        let check = &self.check;
        let stopped = if check.headers.is_some() {
            self.parse_headers(region, place)?
        } else if check.index >= check.first && self.left == 0 {
            self.parse_records(region, place)?
        } else {
            self.parse_unread(region)
        };
        let (header, check) = (&self.header, &mut self.check);
        match stopped {
            None => {}
            Some(NoRecord::Unknown(headers)) => {
                check.headers = Some(headers);
                return Ok(Parsed::Some);
            }
            Some(NoRecord::Malformed(what)) => {
                return match record::front(region, check.at) {
                    Some(wanted) => Ok(Parsed::Incomplete(wanted)),
                    None => Err(NoRecord::error(what, header, check.index)),
                };
            }
        }
        if check.index < header.record_count {
            return Ok(Parsed::Some);
        }
        if check.at < region.len() {
            return Err(NoRecord::error("bytes follow the last record", header, header.record_count));
        }
        Ok(Parsed::All)
    }

    /// Parses the next records and remembers where they are.
    #[inline(always)]
    fn parse_records(&mut self, region: &[u8], place: usize) -> Result<Option<NoRecord>> {
        let (header, check) = (&self.header, &mut self.check);
        let (times, largest_delta) = (Times::of(header), header.largest_offset_delta());
        let count = usize::try_from(header.record_count - check.index).unwrap_or(0);
        // Bounded by the bytes: the count is only the header's claim. At the end it makes the error.
        let most = count.min((region.len() - check.at) / record::SMALLEST + 1);
        let Some(room) = self.entries.room(most)? else {
            // From here on records are only checked.
            (self.place, self.unread, self.left) = (place, check.at, count);
            return Ok(self.parse_unread(region));
        };
        let mut rest = Cursor::at(region, check.at);
        let (mut found, mut largest, mut stopped) = (0, self.largest_payload, None);
        let mut end = check.at;
        for entry in room {
            match RawRecord::check(&mut rest, header, largest_delta) {
                Ok(raw) => {
                    end = region.len() - rest.left();
                    *entry = raw.entry(header.base_offset, times);
                    largest = largest.max(raw.payload.len());
                    found += 1;
                }
                Err(none) => {
                    stopped = Some(none);
                    break;
                }
            }
        }
        self.entries.fill(found);
        check.index += found as i32;
        check.at = end;
        self.largest_payload = largest;
        Ok(stopped)
    }

    /// Checks the next part of a record with many headers.
    #[cold]
    fn parse_headers(&mut self, region: &[u8], place: usize) -> Result<Option<NoRecord>> {
        let check = &mut self.check;
        let mut rest = Cursor::at(region, check.at);
        // It was there before, unless the host has changed the batch since.
        let (Some(raw), Some(headers)) = (RawRecord::take(&mut rest), &mut check.headers) else {
            return Ok(Some(NoRecord::Malformed(TOO_SHORT)));
        };
        match headers.step(raw.payload) {
            None => return Ok(None),
            Some(false) => {
                check.headers = None;
                return Ok(Some(NoRecord::Malformed(BAD_PAYLOAD)));
            }
            Some(true) => {}
        }
        if check.index >= check.first && self.left == 0 {
            match self.entries.room(1)? {
                Some([entry, ..]) => {
                    *entry = raw.entry(self.header.base_offset, Times::of(&self.header));
                    self.entries.fill(1);
                }
                _ => {
                    (self.place, self.unread) = (place, check.at);
                    self.left = (self.header.record_count - check.index) as usize;
                }
            }
        }
        check.headers = None;
        check.index += 1;
        check.at = region.len() - rest.left();
        self.largest_payload = self.largest_payload.max(raw.payload.len());
        Ok(None)
    }

    /// Parses the next records, of which nothing is remembered.
    #[cold]
    #[inline(never)]
    fn parse_unread(&mut self, region: &[u8]) -> Option<NoRecord> {
        let (header, check) = (&self.header, &mut self.check);
        let mut rest = Cursor::at(region, check.at);
        let largest_delta = header.largest_offset_delta();
        // The record that the reader begins with begins a step.
        let most = if check.index < check.first { check.first } else { header.record_count };
        let (mut index, mut end, mut largest, mut stopped) = (check.index, check.at, self.largest_payload, None);
        let until = most.min(index.saturating_add(RECORDS_PIECE));
        while index < until {
            match RawRecord::check(&mut rest, header, largest_delta) {
                Ok(raw) => largest = largest.max(raw.payload.len()),
                Err(none) => {
                    stopped = Some(none);
                    break;
                }
            }
            index += 1;
            end = region.len() - rest.left();
        }
        (check.index, check.at, self.largest_payload) = (index, end, largest);
        stopped
    }

    /// All is checked. The reader begins.
    #[inline(always)]
    pub(crate) fn checked(&mut self) -> Result<()> {
        self.check.end();
        if !self.regions.is_empty() {
            self.regions.expose();
        }
        self.entries.begin(Entry { size: END, ..Entry::default() });
        Ok(())
    }
}
