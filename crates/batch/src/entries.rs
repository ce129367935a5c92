//! Where the records of a checked batch are: one entry each, in segments from the thread's free list.

use crate::chunk;
use crate::error::Result;
use crate::fallible;
use core::cell::RefCell;
use std::collections::VecDeque;

/// Where a record is and what its own fields say. Compiled guests know this layout.
#[repr(C, align(32))] // within a cache line
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry {
    /// Kafka offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Address of the payload, less `NATIVE`.
    pub start: u64,
    /// Its bytes. `END` behind the last entry of a segment.
    pub size: u32,
    /// The record's attributes.
    pub attributes: u32,
}

/// The address that native ones count from. So no memory begins at null.
pub const NATIVE: u64 = 0x1_0000;

/// The size of no record.
pub const END: u32 = u32::MAX;

/// Entries of records in a segment.
pub const PER_SEGMENT: usize = 1022;

/// Segments of one batch: 4 MiB. Records behind them are looked for again when they are read.
pub const MOST_SEGMENTS: usize = 128;

/// Segments that a thread keeps: as many as one batch can have.
const MOST_KEPT: usize = MOST_SEGMENTS;

/// Entries of one segment with one more at each end: 32 KiB. The first is the one that came before: of the record that
/// was read last. The last has the size `END`.
#[derive(Debug)]
pub struct Segment(Box<[Entry; PER_SEGMENT + 2]>);

thread_local! {
    static FREE: RefCell<Vec<Segment>> = const { RefCell::new(Vec::new()) };
}

/// Frees the segments that this thread keeps.
pub fn release_kept() {
    let _ = FREE.try_with(|free| free.take());
}

fn native(entry: &Entry) -> u64 {
    ((&raw const *entry).expose_provenance() as u64).wrapping_sub(NATIVE)
}

/// How many segments this thread keeps.
#[cfg(test)]
pub fn kept() -> usize {
    FREE.with(|free| free.borrow().len())
}

/// A segment with any content.
#[inline]
fn take() -> Result<Segment> {
    match FREE.try_with(|free| free.try_borrow_mut().ok().and_then(|mut free| free.pop())) {
        Ok(Some(segment)) => Ok(segment),
        _ => make(),
    }
}

#[cold]
fn make() -> Result<Segment> {
    let mut entries = chunk::reserved(PER_SEGMENT + 2)?;
    entries.resize(PER_SEGMENT + 2, Entry::default());
    entries.into_boxed_slice().try_into().map(Segment).map_err(|_| chunk::refused(size_of::<Segment>()))
}

/// Keeps a segment for the thread's next batch.
#[inline]
pub fn give_back(segment: Segment) {
    let _ = FREE.try_with(|free| {
        if let Ok(mut free) = free.try_borrow_mut()
            && free.len() < MOST_KEPT
            && fallible::reserve(&mut free, 1).is_ok()
        {
            free.push(segment);
        }
    });
}

/// The entries of one batch: appended while it is checked, then read from front to back.
#[derive(Debug)]
pub struct Entries {
    /// The segment that is read and, at first, also the one that is filled.
    front: Option<Segment>,
    /// Those behind it.
    others: VecDeque<Segment>,
    /// Entries of the last segment.
    filled: usize,
    /// Place of the next entry in `front`.
    next: usize,
    /// What is used before the thread's free list.
    spare: Option<Segment>,
}

impl Entries {
    /// Room for at most `most` more entries, and for at least one if that is not 0. `fill` says how many were written.
    /// None if there are as many segments as a batch may have.
    #[inline(always)]
    pub fn room(&mut self, most: usize) -> Result<Option<&mut [Entry]>> {
        if self.front.is_none()
            && let Some(spare) = self.spare.take()
        {
            self.begin_with(spare);
        } else if (self.front.is_none() || self.filled == PER_SEGMENT) && !self.add()? {
            return Ok(None);
        }
        let Some(last) = self.others.back_mut().or(self.front.as_mut()) else { return Ok(None) };
        let end = PER_SEGMENT.min(self.filled.saturating_add(most));
        Ok(last.0.get_mut(1 + self.filled..1 + end))
    }

    /// Adds a segment. False if there is none to be had beside those that are there.
    fn add(&mut self) -> Result<bool> {
        if self.front.is_none() {
            self.begin_with(take()?);
        } else {
            if self.others.len() + 1 == MOST_SEGMENTS || fallible::reserve_back(&mut self.others).is_err() {
                return Ok(false);
            }
            let Ok(segment) = take() else { return Ok(false) };
            self.end_last();
            self.others.push_back(segment);
            self.filled = 0;
        }
        Ok(true)
    }

    /// The first segment.
    #[inline(always)]
    fn begin_with(&mut self, segment: Segment) {
        self.front = Some(segment);
        // Nothing is read before `begin`: the segment has entries of other batches.
        (self.filled, self.next) = (0, usize::MAX);
    }

    /// So many entries of the room were written.
    #[inline(always)]
    pub fn fill(&mut self, count: usize) {
        self.filled += count;
    }

    /// All entries are there. `before` is what comes before the first.
    #[inline(always)]
    pub fn begin(&mut self, before: Entry) {
        self.end_last();
        self.next = 1;
        if let Some(front) = &mut self.front {
            front.0[0] = before;
        }
    }

    #[inline(always)]
    fn end_last(&mut self) {
        if let Some(last) = self.others.back_mut().or(self.front.as_mut())
            && let Some(end) = last.0.get_mut(1 + self.filled)
        {
            end.size = END;
        }
    }

    /// The next entry of this segment.
    #[inline(always)]
    pub fn peek(&self) -> Option<&Entry> {
        self.front.as_ref()?.0.get(self.next).filter(|entry| entry.size != END)
    }

    /// Native address of the next entry.
    #[inline(always)]
    pub fn address(&self) -> u64 {
        self.front.as_ref().and_then(|front| front.0.get(self.next)).map_or(0, native)
    }

    /// How many entries of this segment are left.
    #[inline(always)]
    pub fn left_here(&self) -> usize {
        let filled = if self.others.is_empty() { self.filled } else { PER_SEGMENT };
        (filled + 1).saturating_sub(self.next)
    }

    /// The entries before `address`, which is native, have been read. Returns those that were not read before.
    #[inline]
    pub fn advance_to(&mut self, address: u64) -> &[Entry] {
        let Some(front) = &self.front else { return &[] };
        let at = address.wrapping_sub(native(&front.0[0])) as usize / size_of::<Entry>();
        let from = self.next;
        let Some(read) = front.0.get(from..at).filter(|_| at <= PER_SEGMENT + 1) else { return &[] };
        self.next = at;
        read
    }

    /// Goes past the entry that `peek` gave.
    #[inline(always)]
    pub fn advance(&mut self) {
        self.next += 1;
    }

    /// The entry that `advance` went past last. At first the one that `begin` was given.
    #[inline(always)]
    pub fn latest(&self) -> Option<&Entry> {
        self.front.as_ref()?.0.get(self.next.wrapping_sub(1))
    }

    /// Goes to the next segment. False if there is none.
    pub fn enter_next(&mut self) -> bool {
        let Some(segment) = self.others.pop_front() else { return false };
        let latest = self.latest().copied();
        if let Some(front) = self.front.replace(segment) {
            give_back(front);
        }
        self.follow(latest);
        true
    }

    /// All entries were read. Fills the segment with those that `next` finds.
    pub fn refill(&mut self, next: impl FnMut() -> Option<Entry>) -> usize {
        let latest = self.latest().copied();
        let Some(front) = &mut self.front else { return 0 };
        let found = front.0[1..=PER_SEGMENT].iter_mut().zip(core::iter::from_fn(next));
        self.filled = found.map(|(place, entry)| *place = entry).count();
        self.end_last();
        self.follow(latest);
        self.filled
    }

    /// The front segment comes after `latest`.
    fn follow(&mut self, latest: Option<Entry>) {
        self.next = 1;
        if let (Some(front), Some(latest)) = (&mut self.front, latest) {
            front.0[0] = latest;
        }
    }

    /// Whether there is no memory.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.front.is_none() && self.spare.is_none() && self.others.capacity() == 0
    }

    /// Drops the content. One segment stays as a spare one. The thread gets the others.
    #[inline(always)]
    pub fn clear(&mut self) {
        if let Some(front) = self.front.take()
            && let Some(before) = self.spare.replace(front)
        {
            give_back(before);
        }
        if self.others.capacity() > 0 {
            self.others.drain(..).for_each(give_back);
            self.others = VecDeque::new();
        }
        (self.filled, self.next) = (0, usize::MAX);
    }

    /// Lends a segment. So the thread's free list need not be asked for a small batch.
    #[inline]
    pub fn lend(&mut self, segment: Segment) {
        self.spare = Some(segment);
    }

    /// The spare segment.
    #[inline]
    pub fn take_spare(&mut self) -> Option<Segment> {
        self.spare.take()
    }

    /// Gives the spare segment to the thread.
    #[inline]
    pub fn trim(&mut self) {
        if let Some(segment) = self.spare.take() {
            give_back(segment);
        }
    }
}

impl Default for Entries {
    fn default() -> Self {
        Self { front: None, others: VecDeque::new(), filled: 0, next: usize::MAX, spare: None }
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        self.clear();
        self.trim();
    }
}
