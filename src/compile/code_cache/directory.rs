//! The directory of a code cache: its required owner and all operations on it.
//!
//! It contains machine code that will be run. Only this user and root may be able to put files there. When a cache is
//! set up, symbolic links in the path are resolved once. Every directory on the resolved path must belong to this
//! user or root. Neither group nor others may be able to write to it. Above the cache's own directory a sticky
//! directory such as `/tmp` is accepted. Each later use opens the directory anew. It does not follow a symbolic link
//! in its place, and it checks the opened directory's owner and mode again. The directories above are not checked
//! again: only this user or root could have changed them. Entries are opened relative to the opened directory and
//! never through a symbolic link. They must be regular files under the same restriction.
//!
//! Access control lists count as far as the mode shows them. On Linux it does: the group's bits are their mask.

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The directory's place.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

/// The directory, opened and checked.
pub struct Opened {
    fd: OwnedFd,
}

/// A refusal in words with the path and what to do.
#[derive(Debug)]
pub struct Refusal(pub String);

/// Permissions for others than the owner to change something.
const OTHERS_WRITE: Mode = Mode::WGRP.union(Mode::WOTH);

/// Owner, mode and kind of a file or directory that must be trusted.
#[derive(Clone, Copy, Debug)]
pub struct Permissions {
    /// The owner.
    pub owner: u32,
    /// Mode and kind as `stat` returns them.
    pub mode: u32,
}

impl Permissions {
    fn of(stat: &Stat) -> Self {
        Self { owner: stat.st_uid, mode: stat.st_mode }
    }

    /// Why a user other than `user` or root could change it. `above` is for the directories above the cache's own.
    pub fn objection(self, user: u32, above: bool) -> Option<String> {
        let mode = Mode::from_raw_mode(self.mode);
        if self.owner != user && self.owner != 0 {
            return Some(format!(
                "belongs to user {} but must belong to user {user} (as whom this process runs) or to root",
                self.owner
            ));
        }
        if mode.intersects(OTHERS_WRITE) && !(above && mode.contains(Mode::SVTX)) {
            return Some(format!(
                "can be changed by others than its owner (mode {:04o}): run chmod go-w on it",
                mode.as_raw_mode()
            ));
        }
        None
    }
}

impl Directory {
    /// Checks a directory and its path and whether files can be written to it. If only the last part of the path is
    /// missing, it is created for this user alone.
    pub fn new(path: &Path) -> Result<Self, Refusal> {
        let shown = path.display();
        let resolved = match path.canonicalize() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                use std::os::unix::fs::DirBuilderExt as _;
                std::fs::DirBuilder::new().mode(0o700).create(path).and_then(|()| path.canonicalize()).map_err(|e| {
                    Refusal(format!("{shown} does not exist and cannot be created: {e}. Create it beforehand"))
                })?
            }
            other => other.map_err(|e| Refusal(format!("{shown} cannot be reached: {e}")))?,
        };
        let user = geteuid().as_raw();
        for above in resolved.ancestors().skip(1) {
            // A resolved path has no links: a link found now was added meanwhile.
            let stat = rustix::fs::lstat(above)
                .map_err(|e| Refusal(format!("{}, above {shown}, cannot be examined: {e}", above.display())))?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                return Err(Refusal(format!("{}, above {shown}, is not a directory any more", above.display())));
            }
            if let Some(why) = Permissions::of(&stat).objection(user, true) {
                return Err(Refusal(format!("{}, above {shown}, {why}", above.display())));
            }
        }
        let directory = Self { path: resolved };
        directory.open()?.probe().map_err(|e| {
            Refusal(format!("{} cannot be written to: {e}. Give this user permission and room", directory.shown()))
        })?;
        Ok(directory)
    }

    /// The resolved path for messages.
    pub fn shown(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    /// Opens the directory and checks it.
    pub fn open(&self) -> Result<Opened, Refusal> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let refusal = |e: Errno| Refusal(format!("{} cannot be opened: {e}", self.shown()));
        let fd = rustix::fs::open(&self.path, flags, Mode::empty()).map_err(refusal)?;
        let stat = rustix::fs::fstat(&fd).map_err(refusal)?;
        match Permissions::of(&stat).objection(geteuid().as_raw(), false) {
            None => Ok(Opened { fd }),
            Some(why) => Err(Refusal(format!("{} {why}", self.shown()))),
        }
    }
}

/// A file in the directory listing.
#[derive(Clone, Debug)]
pub struct ListedFile {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// When it was written or touched, in seconds and nanoseconds since 1970.
    pub used: (i64, i64),
}

impl Opened {
    /// Opens an entry for reading if it exists. The second value is its size. An error says why the entry cannot be
    /// used.
    pub fn entry(&self, name: &str) -> Result<Option<(File, u64)>, UnusableEntry> {
        // Without blocking, in case the entry is a FIFO.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(UnusableEntry::Untrusted("is a symbolic link".into())),
            Err(Errno::NXIO) => return Err(UnusableEntry::Untrusted("is not a regular file".into())),
            Err(e) => return Err(UnusableEntry::Fault(e)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(UnusableEntry::Fault)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(UnusableEntry::Untrusted("is not a regular file".into()));
        }
        match Permissions::of(&stat).objection(geteuid().as_raw(), false) {
            Some(why) => Err(UnusableEntry::Untrusted(why)),
            None => Ok(Some((File::from(fd), stat.st_size as u64))),
        }
    }

    /// Creates a temporary file with a unique name. It is locked for as long as it is open. The lock says that its
    /// writer is alive: the system releases the lock however a process ends.
    pub fn temporary(&self, stem: &str) -> Result<Temporary<'_>, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let process = std::process::id();
        for number in 0..u32::MAX {
            let name = format!("{stem}.{process}-{number}{TEMPORARY}");
            let fd = match rustix::fs::openat(&self.fd, &name, flags, Mode::RUSR | Mode::WUSR) {
                Ok(fd) => fd,
                // Of another thread or of a process with the same number in another container.
                Err(Errno::EXIST) => continue,
                Err(e) => return Err(e),
            };
            let mut temporary = Temporary { directory: self, name, file: File::from(fd), done: false };
            // In between, another process may have removed it as a leftover.
            match rustix::fs::flock(&temporary.file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if rustix::fs::fstat(&temporary.file)?.st_nlink > 0 => return Ok(temporary),
                Ok(()) | Err(Errno::WOULDBLOCK) => temporary.done = true,
                Err(e) => return Err(e),
            }
        }
        Err(Errno::EXIST)
    }

    /// Removes a temporary file if its writer is gone. True if it was removed.
    pub fn collect(&self, name: &str) -> bool {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let Ok(fd) = rustix::fs::openat(&self.fd, name, flags, Mode::empty()) else { return false };
        if rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).is_err() {
            return false;
        }
        // The name may belong to another file by now. It cannot change from here on: a process needs the lock to
        // change it.
        let same = match (rustix::fs::fstat(&fd), rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)) {
            (Ok(ours), Ok(named)) => (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino),
            _ => false,
        };
        same && self.remove(name).is_ok()
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) -> Result<(), Errno> {
        rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())
    }

    /// All regular files and symbolic links. Files that disappear meanwhile are left out.
    pub fn list(&self) -> Result<Vec<ListedFile>, Errno> {
        let mut files = Vec::new();
        for item in Dir::read_from(&self.fd)? {
            let item = item?;
            let Ok(name) = item.file_name().to_str() else { continue };
            let Ok(stat) = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Symlink) {
                let used = (stat.st_mtime, stat.st_mtime_nsec as i64);
                files.push(ListedFile { name: name.to_owned(), size: stat.st_size as u64, used });
            }
        }
        Ok(files)
    }

    /// Whether files can be written.
    fn probe(&self) -> std::io::Result<()> {
        use std::io::Write as _;
        let mut probe = self.temporary(PROBE)?;
        probe.file.write_all(b"?")
    }
}

/// How the names of temporary files end.
pub const TEMPORARY: &str = ".tmp";
/// How the name of one begins that only shows whether files can be written.
pub const PROBE: &str = "probe";

/// Why an entry cannot be used.
#[derive(Debug)]
pub enum UnusableEntry {
    /// Others could have written it.
    Untrusted(String),
    /// The system refused.
    Fault(Errno),
}

/// A temporary file. It is removed when dropped unless it was given its final name.
pub struct Temporary<'a> {
    directory: &'a Opened,
    name: String,
    /// The file, open for writing.
    pub file: File,
    done: bool,
}

impl Temporary<'_> {
    /// Gives the file its final name and replaces any file of that name.
    pub fn rename(mut self, name: &str) -> Result<(), Errno> {
        rustix::fs::renameat(&self.directory.fd, &self.name, &self.directory.fd, name)?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.done {
            // If that fails as well, it is collected as a leftover.
            let _ = self.directory.remove(&self.name);
        }
    }
}

/// Records that a file was used now. The resolution is finer than that of the file system's clock, so that the order
/// is right.
pub fn touch(file: &File) {
    // The user cannot touch a file of root's or a file on a read-only file system. Such an entry is evicted earlier.
    let _ = file.set_modified(SystemTime::now());
}

#[cfg(test)]
mod tests;
