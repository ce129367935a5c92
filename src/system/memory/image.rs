//! Bytes that guests' memories begin with. A page is shared by all memories until one writes to it.
//!
//! They are in a file in memory that nothing can change. A fork shares it like the memories themselves.
#![allow(unsafe_code)]

use super::block::page;
use core::ptr::NonNull;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use std::fs::File;
use std::io::Error;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;

/// An image. It has a descriptor. What was mapped of it stays without it.
pub struct Image {
    file: File,
    /// Where its first page comes in a memory.
    place: usize,
    /// Bytes of its pages.
    size: usize,
}

impl Image {
    /// Of bytes that come to `start` in a memory. What is around them in the first and the last page is zero.
    pub fn new(start: usize, bytes: &[u8]) -> Result<Self, Error> {
        let before = start % page();
        let place = start - before;
        let size = (before + bytes.len()).next_multiple_of(page());
        // Past this limit the system sends a signal that ends the process.
        if getrlimit(Resource::Fsize).current.is_some_and(|most| most < size as u64) {
            return Err(Errno::FBIG.into());
        }
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let create = |flags| rustix::fs::memfd_create(c"wasm-data", flags);
        // Before Linux 6.3 there is no such flag. Where it is demanded the file cannot be made without it.
        let file = match create(flags | MemfdFlags::NOEXEC_SEAL) {
            Err(Errno::INVAL) => create(flags),
            made => made,
        };
        let file = File::from(file?);
        file.set_len(size as u64)?;
        file.write_all_at(bytes, before as u64)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Self { file, place, size })
    }

    /// Puts the pages into a memory of so many bytes. An error if they do not fit.
    ///
    /// # Safety
    ///
    /// The memory is whole pages of a mapping of the caller's. Nobody refers to what is in it.
    pub unsafe fn map(&self, memory: NonNull<u8>, bytes: usize) -> Result<(), Error> {
        if self.place.checked_add(self.size).is_none_or(|end| end > bytes) {
            return Err(Errno::INVAL.into());
        }
        let flags = libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: within the memory, which is the caller's to change. All of its pages are in the file, which never
        // becomes shorter.
        let mapped = unsafe {
            let start = memory.as_ptr().add(self.place);
            libc::mmap(start.cast(), self.size, access, flags, self.file.as_raw_fd(), 0)
        };
        if mapped == libc::MAP_FAILED { Err(Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::memory::mapping::Mapping;
    use std::io::{ErrorKind, Write as _};
    use wasmtime::LinearMemory as _;

    fn bytes(mapping: &Mapping) -> &[u8] {
        // SAFETY: so many can be read. Nothing writes to them meanwhile.
        unsafe { core::slice::from_raw_parts(mapping.as_ptr(), mapping.byte_size()) }
    }

    fn write(mapping: &Mapping, at: usize, byte: u8) {
        assert!(at < mapping.byte_size());
        // SAFETY: within the memory, of which nobody has a reference.
        unsafe { mapping.as_ptr().add(at).write(byte) };
    }

    #[test]
    fn memories_begin_with_it_and_keep_their_own_copies() {
        let page = page();
        for (start, length) in [(0, 1), (1, 2 * page), (page - 1, 2), (page, page), (3, 2 * page - 3), (page + 5, 7)] {
            let image = Image::new(start, &vec![7; length]).unwrap();
            let size = 4 * page;
            let new = || Mapping::new(size, 8 * page, page, Some(&image)).unwrap();
            let mut expected = vec![0; size];
            expected[start..start + length].fill(7);
            let (first, mut second) = (new(), new());
            write(&first, start, 9);
            write(&first, size - 1, 9);
            assert_eq!(bytes(&second), expected);
            second.grow_to(6 * page).unwrap();
            expected.resize(6 * page, 0);
            assert_eq!(bytes(&second), expected);
            assert_eq!((bytes(&first)[start], bytes(&first)[size - 1]), (9, 9));
            // Without the image.
            drop(first);
            let third = new();
            drop(image);
            assert_eq!(bytes(&third), &expected[..size]);
        }
    }

    #[test]
    fn one_that_does_not_fit_is_an_error() {
        let page = page();
        for start in [page, 3 * page - 1, 3 * page, usize::MAX - 2 * page] {
            let image = Image::new(start, &[1; 2]).unwrap();
            assert_eq!(Mapping::new(3 * page, 3 * page, 0, Some(&image)).is_ok(), start == page, "{start}");
        }
    }

    #[test]
    fn nothing_can_change_it() {
        let mut image = Image::new(5, b"as it is").unwrap();
        assert_eq!(image.file.write(b"x").unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert!(image.file.set_len(0).is_err() && image.file.set_len(1 << 20).is_err());
        assert!(rustix::fs::fcntl_add_seals(&image.file, SealFlags::WRITE).is_err());
    }
}
