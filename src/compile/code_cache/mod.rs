//! A code cache: compiled modules in a directory of the embedder. They need not be compiled again.
//!
//! [`key`] names code and `module::artifact` is its format. [`directory`] decides what is trusted. [`counters`] and
//! [`faults`] report what happens. No failure in here makes a compilation fail. A cache that does not work has the
//! effect of no cache.
//!
//! An entry is written to a temporary file that gets its name when the entry is complete, so any number of threads
//! and processes may share a directory. If two store the same entry, the later one wins. Each store also removes the
//! least recently used entries beyond the limit and the leftovers of writers that died.

pub mod directory;
pub mod faults;
pub mod key;

use crate::base::error::{Error, Result};
use crate::base::status::wasm_status as Status;
use crate::base::text::hex;
use crate::host::log::Sink;
use crate::metrics::code_cache::{CodeCacheCounters, CodeCacheEvent};
use crate::module::artifact::{Artifact, Defect, Digest};
use directory::{Directory, ListedFile, Opened, PROBE, Refusal, TEMPORARY, UnusableEntry, touch};
use faults::Faults;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes that a cache may have if the embedder does not say.
pub const DEFAULT_MAX_BYTES: u64 = 1 << 30;

/// The suffix of entries' names. The key in hexadecimal digits comes before it.
const ENTRY: &str = ".cwasm";

/// A cache.
pub struct Cache {
    directory: Directory,
    max_bytes: u64,
    counters: Arc<CodeCacheCounters>,
    faults: Faults,
}

impl Cache {
    /// Checks the directory and removes entries beyond the limit. Lines of its log have at most `max_line` bytes.
    pub fn new(
        directory: &Path,
        max_bytes: u64,
        counters: Arc<CodeCacheCounters>,
        log: Arc<dyn Sink>,
        max_line: usize,
    ) -> Result<Self> {
        let directory = Directory::new(directory).map_err(|Refusal(why)| {
            Error::new(Status::CodeCacheUnusable, format!("the directory of the code cache cannot be used: {why}"))
        })?;
        let cache = Self { directory, max_bytes, counters, faults: Faults::new(log, max_line) };
        if let Ok(opened) = cache.directory.open() {
            cache.sweep(&opened, "");
        }
        Ok(cache)
    }

    /// The entry with this key if there is a usable one. `transform` is for the log.
    pub fn find(&self, key: &Digest, transform: &str) -> Option<Artifact> {
        let name = entry_name(key);
        let (mut file, size) = match self.open(transform)?.entry(&name) {
            Ok(found) => found?,
            Err(UnusableEntry::Untrusted(why)) => {
                self.reject(transform, &format!("{name} in {} {why} and is not used", self.directory.shown()));
                return None;
            }
            Err(UnusableEntry::Fault(e)) => {
                self.fault(transform, &format!("{name} in {} cannot be opened: {e}", self.directory.shown()));
                return None;
            }
        };
        // A larger entry was written under another limit and would not be kept.
        if size > self.max_bytes {
            self.counters.count(CodeCacheEvent::Rejected);
            return None;
        }
        let bytes = match read(&mut file, size) {
            Ok(bytes) => bytes,
            Err(e) => {
                self.fault(transform, &format!("{name} in {} cannot be read: {e}", self.directory.shown()));
                return None;
            }
        };
        match Artifact::read(bytes) {
            Ok(artifact) if artifact.head.key == *key => {
                touch(&file);
                Some(artifact)
            }
            // Such entries are replaced by the compilation that follows.
            Ok(_) | Err(Defect::Foreign | Defect::Format(_) | Defect::Damaged(_)) => {
                self.counters.count(CodeCacheEvent::Rejected);
                None
            }
        }
    }

    /// Stores an artifact.
    pub fn store(&self, key: &Digest, artifact: &[u8], transform: &str) {
        if artifact.len() as u64 > self.max_bytes {
            let (size, limit) = (artifact.len(), self.max_bytes);
            self.fault(transform, &format!("a module's code has {size} bytes, more than max_bytes ({limit})"));
            return;
        }
        let Some(opened) = self.open(transform) else { return };
        if let Err(e) = write(&opened, key, artifact) {
            self.fault(transform, &format!("no entry could be written to {}: {e}", self.directory.shown()));
            return;
        }
        self.counters.count(CodeCacheEvent::Store);
        self.sweep(&opened, transform);
    }

    /// Counts and logs an entry that passed all checks but could not be used.
    pub fn reject(&self, transform: &str, why: &str) {
        self.counters.count(CodeCacheEvent::Rejected);
        self.faults.log(transform, why);
    }

    /// Something went wrong that is no fault of an entry.
    pub fn fault(&self, transform: &str, what: &str) {
        self.counters.count(CodeCacheEvent::Fault);
        self.faults.log(transform, what);
    }

    fn open(&self, transform: &str) -> Option<Opened> {
        self.directory.open().map_err(|Refusal(why)| self.fault(transform, &why)).ok()
    }

    /// Removes leftovers and then the least recently used entries until the rest fits.
    fn sweep(&self, opened: &Opened, transform: &str) {
        let files = match opened.list() {
            Ok(files) => files,
            Err(e) => {
                return self.fault(transform, &format!("{} cannot be listed: {e}", self.directory.shown()));
            }
        };
        let (entries, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| is_entry(&file.name));
        for file in others {
            if is_temporary(&file.name) {
                opened.collect(&file.name);
            }
        }
        // Another process may do the same. A file that it removed is gone and is not counted twice.
        let evicted =
            too_much(entries, self.max_bytes, now()).iter().filter(|file| opened.remove(&file.name).is_ok()).count();
        self.counters.evicted(evicted as u64);
    }
}

fn entry_name(key: &Digest) -> String {
    hex(key) + ENTRY
}

/// Whether a file is an entry, by its name. Other files in the directory are left alone.
fn is_entry(name: &str) -> bool {
    name.strip_suffix(ENTRY).is_some_and(|key| key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Whether a file was never completed or is being written.
fn is_temporary(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let Some((stem, writer)) = name.strip_suffix(TEMPORARY).and_then(|name| name.split_once('.')) else { return false };
    (stem == PROBE || is_entry(&format!("{stem}{ENTRY}")))
        && writer.split_once('-').is_some_and(|(process, count)| number(process) && number(count))
}

/// The time in the format of entries.
fn now() -> (i64, i64) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs() as i64, since.subsec_nanos().into())
}

/// The least recently used entries that must go. Entries with a time in the future go first: the clock was set back
/// since. Anything stored before the clock reaches that time would otherwise count as older than these entries.
fn too_much(mut entries: Vec<ListedFile>, max_bytes: u64, now: (i64, i64)) -> Vec<ListedFile> {
    let mut total: u64 = entries.iter().map(|entry| entry.size).sum();
    entries.sort_by(|a, b| (a.used <= now, a.used, &a.name).cmp(&(b.used <= now, b.used, &b.name)));
    entries
        .into_iter()
        .take_while(|entry| {
            let go = total > max_bytes;
            total -= entry.size;
            go
        })
        .collect()
}

/// Reads a whole file. It is read and not mapped. What was checked cannot change afterwards. A failing disk or a
/// truncated file ends in an error here and not in a signal. Guests' code never waits for a disk.
fn read(file: &mut File, size: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // The size comes from the file system.
    let room = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(1);
    bytes.try_reserve_exact(room).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
    file.take(size.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write(opened: &Opened, key: &Digest, artifact: &[u8]) -> std::io::Result<()> {
    let mut temporary = opened.temporary(&hex(key))?;
    temporary.file.write_all(artifact)?;
    // So that the time is as fine as that of later uses.
    touch(&temporary.file);
    // Some file systems report only here that the disk is full. The directory is not synced: an entry that is lost with
    // the power costs one compilation.
    temporary.file.sync_data()?;
    temporary.rename(&entry_name(key))?;
    Ok(())
}

#[cfg(test)]
mod tests;
