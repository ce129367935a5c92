//! Tables of callbacks that own the host's data. `{data, drop}` is dropped exactly once, on every path, here only.
#![allow(unsafe_code)]

use core::ffi::c_void;
use core::mem::ManuallyDrop;
use core::ops::Deref;

/// Frees the host's data.
pub type Drop = Option<unsafe extern "C" fn(data: *mut c_void)>;

/// A struct of the header with the fields `data` and `drop`.
pub trait HostData: Copy {
    /// The two fields.
    fn host_data(&self) -> (*mut c_void, Drop);
}

/// Marks structs whose data is not bound to a thread.
///
/// # Safety
///
/// The header says that all callbacks of the struct and `drop` are called on any thread and by several threads at
/// once.
pub unsafe trait AnyThread: HostData {}

/// Implements `HostData` for structs of the header and `AnyThread` for those that declare it.
macro_rules! host_data {
    ($($name:ty $(: $any:ident, $reason:literal)?),* $(,)?) => {
        $(
            impl $crate::host::owned::HostData for $name {
                #[inline]
                fn host_data(&self) -> (*mut core::ffi::c_void, $crate::host::owned::Drop) {
                    (self.data, self.drop)
                }
            }
            $(
                #[doc = $reason]
                // SAFETY: the use of the macro states the reason.
                unsafe impl $crate::host::owned::$any for $name {}
            )?
        )*
    };
}
pub(crate) use host_data;

/// A struct of the host's that the library owns: its data is freed when this goes.
#[derive(Debug)]
pub struct Owned<T: HostData>(T);

// SAFETY: `AnyThread` says that the data may be used and dropped on any thread.
unsafe impl<T: AnyThread> Send for Owned<T> {}
// SAFETY: as above. Several threads may use the data at once.
unsafe impl<T: AnyThread> Sync for Owned<T> {}

impl<T: HostData> Owned<T> {
    /// Takes ownership of the host's data.
    ///
    /// # Safety
    ///
    /// The host passed the struct and its data together and transferred ownership. Its callbacks may be called with
    /// the data until `drop`. `drop` may be called once.
    #[inline]
    pub unsafe fn new(table: T) -> Self {
        Self(table)
    }

    /// Gives up ownership of the data. The last callback receives it.
    #[inline]
    pub fn into_inner(self) -> T {
        ManuallyDrop::new(self).0
    }
}

impl<T: HostData> Deref for Owned<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: HostData> core::ops::Drop for Owned<T> {
    #[inline]
    fn drop(&mut self) {
        if let (data, Some(drop)) = self.0.host_data() {
            // SAFETY: the caller of `new` said that `drop` may be called once. This runs once.
            unsafe { drop(data) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[derive(Clone, Copy)]
    struct Table {
        data: *mut c_void,
        drop: Drop,
    }
    host_data!(Table);

    unsafe extern "C" fn count(data: *mut c_void) {
        // SAFETY: the tests give a cell that outlives the table.
        let drops = unsafe { &*data.cast::<Cell<u32>>() };
        drops.set(drops.get() + 1);
    }

    #[test]
    fn data_is_dropped_once_by_its_last_owner() {
        let drops = Cell::new(0);
        let table = Table { data: core::ptr::from_ref(&drops).cast_mut().cast(), drop: Some(count) };
        // SAFETY: the data lives on and is only counted.
        drop(unsafe { Owned::new(table) });
        assert_eq!(drops.get(), 1);
        // SAFETY: as above.
        let _ = unsafe { Owned::new(table) }.into_inner();
        assert_eq!(drops.get(), 1);
        // SAFETY: as above.
        drop(unsafe { Owned::new(Table { drop: None, ..table }) });
        assert_eq!(drops.get(), 1);
    }
}
