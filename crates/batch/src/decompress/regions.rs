//! Decompressed records in memory. A region is a chunk that begins and ends with a whole record. A record that is
//! larger than a chunk has a region of its own.

use crate::chunk::{self, Chunk};
use crate::error::{Error, Kind, Result};
use crate::fallible;

/// Chunks, or as much memory, that are freed at once.
pub const FREED_AT_ONCE: usize = 4;

/// Regions in one part of the list. The list is in parts so that none is large.
const PART: usize = 1024;

/// Bytes of a large region that are made writable at once. Zeroing all of it at once would take long.
const GROWTH: usize = 32 << 10;

/// The decompressed part of a batch.
#[derive(Debug, Default)]
pub struct Regions {
    parts: Vec<Vec<Region>>,
    /// Regions in all parts.
    count: usize,
    /// Bytes that came so far.
    total: usize,
    limit: usize,
}

/// Memory of a region.
#[derive(Debug)]
enum Memory {
    Chunk(Chunk),
    /// For one record. The capacity is reserved. Its length is what can be written.
    Large(Vec<u8>),
}

/// A piece of memory and what is in it.
#[derive(Debug)]
struct Region {
    memory: Memory,
    /// Bytes that are written.
    filled: usize,
    /// Where its first byte is in all data.
    begin: usize,
}

impl Region {
    fn chunk(begin: usize) -> Result<Self> {
        Ok(Self { memory: Memory::Chunk(Chunk::take()?), filled: 0, begin })
    }

    /// For a record of `size` bytes.
    fn large(size: usize, begin: usize) -> Result<Self> {
        Ok(Self { memory: Memory::Large(chunk::reserved(size)?), filled: 0, begin })
    }

    fn bytes(&self) -> &[u8] {
        match &self.memory {
            Memory::Chunk(chunk) => chunk.bytes(),
            Memory::Large(bytes) => bytes,
        }
    }

    /// All that can be written now and what is written. The room is empty only if the region is full.
    fn writable(&mut self) -> (&mut [u8], &mut usize) {
        let bytes = match &mut self.memory {
            Memory::Chunk(chunk) => chunk.bytes_mut(),
            Memory::Large(bytes) => {
                if self.filled == bytes.len() {
                    // Within the capacity: the bytes stay where they are.
                    bytes.resize(bytes.capacity().min(self.filled + GROWTH), 0);
                }
                bytes
            }
        };
        (bytes, &mut self.filled)
    }
}

impl Regions {
    /// Empty. At most `limit` bytes will come.
    pub fn begin(&mut self, limit: usize) {
        self.clear();
        self.limit = limit;
    }

    /// Gives the memory back.
    pub fn clear(&mut self) {
        (self.total, self.count) = (0, 0);
        match &mut self.parts[..] {
            // What a few regions need is kept: records without a batch have them each time.
            [few] if few.capacity() <= FREED_AT_ONCE => few.clear(),
            _ => self.parts = Vec::new(),
        }
    }

    /// Gives some of the memory back. True if there is none left. Freeing all of a large batch at once takes
    /// milliseconds.
    pub fn free_some(&mut self) -> bool {
        let mut freed = 0;
        while let Some(part) = self.parts.last_mut() {
            match part.pop() {
                Some(region) => {
                    freed += region.bytes().len();
                    self.count -= 1;
                }
                None => drop(self.parts.pop()),
            }
            if freed >= FREED_AT_ONCE * chunk::SIZE {
                break;
            }
        }
        self.parts.is_empty()
    }

    /// Whether there are none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many there are.
    #[inline(always)]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Nothing is written any more: entries may lead to the bytes. An address that was taken before may be that of a
    /// reference which a later write has ended.
    #[inline(never)]
    pub fn expose(&self) {
        for region in self.parts.iter().flatten() {
            region.bytes().as_ptr().expose_provenance();
        }
    }

    /// What is in the region with this index.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let region = self.parts.get(index / PART)?.get(index % PART)?;
        region.bytes().get(..region.filled)
    }

    /// What is in the last region.
    pub fn last(&self) -> &[u8] {
        self.count().checked_sub(1).and_then(|last| self.get(last)).unwrap_or_default()
    }

    /// Bytes that may come.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes of all data so far.
    pub fn total(&self) -> usize {
        self.total
    }

    fn last_mut(&mut self) -> Option<&mut Region> {
        self.parts.last_mut()?.last_mut()
    }

    fn push(&mut self, region: Region) -> Result<()> {
        if self.parts.last().is_none_or(|last| last.len() == PART) {
            fallible::reserve(&mut self.parts, 1).map_err(|_| chunk::refused(size_of::<Vec<Region>>()))?;
            // Most batches need one or two.
            self.parts.push(chunk::reserved(4)?);
        }
        if let Some(last) = self.parts.last_mut() {
            fallible::reserve(last, 1).map_err(|_| chunk::refused(PART * size_of::<Region>()))?;
            last.push(region);
            self.count += 1;
        }
        Ok(())
    }

    /// Makes room when the last region is full. Its bytes from `at` on belong to a record that is not complete and move
    /// to the next region. `wanted` is what that record takes if that is known.
    pub fn make_room(&mut self, at: usize, wanted: usize) -> Result<()> {
        let total = self.total;
        let Some(last) = self.last_mut() else {
            let region = Region::chunk(0)?;
            return self.push(region);
        };
        let begin = last.begin + at;
        let rest = total - begin;
        let mut next = if wanted > chunk::SIZE { Region::large(wanted, begin)? } else { Region::chunk(begin)? };
        if let Some(tail) = last.bytes().get(at..last.filled) {
            let mut copied = 0;
            while copied < rest {
                let (room, filled) = next.writable();
                let count = room.len().saturating_sub(*filled).min(rest - copied);
                if count == 0 {
                    return Err(Error::new(Kind::Internal, "a record that is not complete fills its region"));
                }
                room[*filled..*filled + count].copy_from_slice(&tail[copied..copied + count]);
                *filled += count;
                copied += count;
            }
        }
        last.filled = at;
        if at == 0 {
            // Nothing is left in it.
            *last = next;
            return Ok(());
        }
        self.push(next)
    }

    /// Has `write` write to the room in the last region. It gets what is before that region, the region's bytes and how
    /// many of them are written and returns how many are then. False if there is no room.
    pub fn write(&mut self, write: impl FnOnce(&[u8], &mut [u8], usize) -> Result<usize>) -> Result<bool> {
        // What is before is for speed: it may be empty.
        let Some((last, before)) = self.parts.last_mut().and_then(|part| part.split_last_mut()) else {
            return Ok(false);
        };
        let before = before.last().and_then(|region| region.bytes().get(..region.filled)).unwrap_or_default();
        let (bytes, filled) = last.writable();
        if *filled == bytes.len() {
            return Ok(false);
        }
        let begun = *filled;
        *filled = write(before, bytes, begun)?.clamp(begun, bytes.len());
        self.total += *filled - begun;
        if self.total > self.limit { Err(too_large(self.limit)) } else { Ok(true) }
    }

    /// Bytes that may still come.
    #[inline(always)]
    pub fn left(&self) -> usize {
        self.limit.saturating_sub(self.total)
    }

    /// The bytes of the last region and how many are written.
    #[inline(always)]
    pub fn last_bytes(&mut self) -> (&mut [u8], usize) {
        match self.last_mut() {
            Some(Region { memory: Memory::Chunk(chunk), filled, .. }) => (chunk.bytes_mut(), *filled),
            Some(Region { memory: Memory::Large(bytes), filled, .. }) => (bytes, *filled),
            None => (&mut [], 0),
        }
    }

    /// So many bytes of `last_bytes` are written now.
    #[inline(always)]
    pub fn fill_last(&mut self, filled: usize) {
        let Some(last) = self.last_mut() else { return };
        let more = filled.saturating_sub(last.filled);
        last.filled += more;
        self.total += more;
    }

    /// Refuses an announced size.
    pub fn check_size(&self, more: u64) -> Result<()> {
        if more > (self.limit - self.total.min(self.limit)) as u64 { Err(too_large(self.limit)) } else { Ok(()) }
    }

    /// Appends some of `data` and returns how much. 0 if there is no room.
    pub fn put(&mut self, data: &[u8]) -> Result<usize> {
        let mut count = 0;
        self.write(|_, bytes, filled| {
            count = data.len().min(bytes.len() - filled);
            bytes[filled..filled + count].copy_from_slice(&data[..count]);
            Ok(filled + count)
        })?;
        Ok(count)
    }

    /// Appends some of the `count` bytes that begin `distance` before the end. The distance may be less than the count:
    /// what was appended is then appended again. Returns how much. 0 if there is no room. The distance is positive and
    /// not larger than `total`.
    pub fn repeat(&mut self, distance: usize, count: usize) -> Result<usize> {
        let from = self.total - distance;
        if self.last_mut().is_some_and(|last| from >= last.begin) {
            let mut copied = 0;
            self.write(|_, bytes, filled| {
                copied = count.min(bytes.len() - filled);
                repeat_within(bytes, filled, distance, copied);
                Ok(filled + copied)
            })?;
            return Ok(copied);
        }
        // In an earlier region: nothing overlaps.
        let mut piece = [0; 256];
        let taken = self.earlier(from, &mut piece[..count.min(256).min(distance)]);
        self.put(&piece[..taken])
    }

    /// Copies what is at `from` in all data, as far as it is in one region.
    fn earlier(&self, from: usize, to: &mut [u8]) -> usize {
        let begins_before = |region: &Region| region.begin <= from;
        let after = self.parts.partition_point(|part| part.first().is_some_and(begins_before));
        let Some(part) = after.checked_sub(1).and_then(|at| self.parts.get(at)) else { return 0 };
        let after = part.partition_point(begins_before);
        let Some(region) = after.checked_sub(1).and_then(|at| part.get(at)) else { return 0 };
        // The rest of a region that was moved is in the next one.
        let there = region.bytes().get(from - region.begin..region.filled).unwrap_or_default();
        let count = there.len().min(to.len());
        to[..count].copy_from_slice(&there[..count]);
        count
    }
}

/// Appends `count` bytes that begin `distance` before `end`.
#[inline]
pub fn repeat_within(bytes: &mut [u8], end: usize, distance: usize, count: usize) {
    let from = end - distance;
    if distance >= count {
        bytes.copy_within(from..from + count, end);
    } else if distance == 1 {
        let byte = bytes[from];
        bytes[end..end + count].fill(byte);
    } else {
        // Doubles what is there.
        let mut done = 0;
        while done < count {
            let piece = (distance + done).min(count - done);
            bytes.copy_within(from..from + piece, end + done);
            done += piece;
        }
    }
}

/// As `repeat_within` for a short count. Writes up to 32 bytes more. None if there is no room for them.
#[inline(always)]
pub fn repeat_short(bytes: &mut [u8], end: usize, distance: usize, count: usize) -> Option<()> {
    // Copying a fixed number of bytes is faster than copying the right number.
    if distance >= 32 && count <= 32 {
        let (before, room) = bytes.split_at_mut_checked(end)?;
        let piece: [u8; 32] = *before.get(end.checked_sub(distance)?..)?.first_chunk()?;
        *room.first_chunk_mut()? = piece;
        return Some(());
    }
    let from = end.checked_sub(distance)?;
    if distance < 16 {
        (end + count <= bytes.len()).then(|| repeat_within(bytes, end, distance, count))
    } else {
        let mut done = 0;
        while done < count {
            let piece: [u8; 16] = *bytes.get(from + done..)?.first_chunk()?;
            *bytes.get_mut(end + done..)?.first_chunk_mut()? = piece;
            done += 16;
        }
        Some(())
    }
}

/// As `repeat_short` with what begins before the region. None also if not all of it does.
#[inline(always)]
pub fn repeat_before(before: &[u8], bytes: &mut [u8], end: usize, distance: usize, count: usize) -> Option<()> {
    let from = (before.len() + end).checked_sub(distance)?;
    let piece = before.get(from..from + count)?;
    bytes.get_mut(end..end + count)?.copy_from_slice(piece);
    Some(())
}

/// Appends `count` bytes of `from`, at most 16. Writes 16. None if there is no room for them or not as much to read.
#[inline(always)]
pub fn put_short(bytes: &mut [u8], end: usize, from: &[u8]) -> Option<()> {
    let piece: [u8; 16] = *from.first_chunk()?;
    *bytes.get_mut(end..)?.first_chunk_mut()? = piece;
    Some(())
}

#[cold]
fn too_large(limit: usize) -> Error {
    Error::new(Kind::TooLarge, format!("the batch decompresses to more than max_batch_size ({limit} bytes)"))
}
