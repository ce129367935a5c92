//! What a guest may take of memory and tables.

use super::context::{Growing, Growth, Local};
use super::memory::MemoryLocation;
use crate::module::record_calls;
use wasmtime::{Error, ResourceLimiter};

/// Tables that a module may have.
pub const MAX_TABLES: usize = 16;

/// Refuses growth past the limits: inside the guest that is the −1 of `memory.grow` and `table.grow`.
pub struct Limits {
    /// Where a refusal is recorded for a later error message.
    pub context: Local,
    /// The memory's size before its last growth and the size it was to have, in case that growth fails.
    pub growing: (usize, usize),
    /// Elements of all tables so far.
    pub table_elements: usize,
    /// Where the memory is. Cleared whenever the memory is about to grow.
    pub memory: Option<MemoryLocation>,
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool, Error> {
        if current == 0 && record_calls::is_window(desired, maximum) {
            return Ok(true);
        }
        self.memory = None;
        // Equal sizes: a growth that is refused here.
        self.growing = (current, current);
        if maximum.is_some_and(|maximum| desired > maximum) {
            // The module's own limit: no concern of ours.
            return Ok(false);
        }
        if desired > self.context.memory_limit() {
            self.context.note_refused_growth(Growth { what: Growing::Memory, size: current, wanted: desired });
            return Ok(false);
        }
        self.growing = (current, desired);
        self.context.note_memory_size(desired);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: Error) -> Result<(), Error> {
        // The system has no memory left: the guest gets −1.
        let (size, wanted) = self.growing;
        self.context.note_memory_size(self.context.memory_size().min(size));
        if wanted > size {
            self.context.note_refused_growth(Growth { what: Growing::MemoryOfSystem, size, wanted });
        }
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool, Error> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let total = self.table_elements.saturating_add(desired.saturating_sub(current));
        if total > self.context.table_limit() {
            let size = self.table_elements;
            self.context.note_refused_growth(Growth { what: Growing::Table, size, wanted: total });
            return Ok(false);
        }
        self.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        record_calls::MEMORIES
    }
}
