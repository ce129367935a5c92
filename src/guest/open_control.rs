//! The control of a guest that reads and writes records without a call: opened at the end of a call, observed by
//! whoever wants to know how far the guest has come, and closed by whoever changes what the guest works on.

use super::context::Context;
use super::progress::Progress;
use super::work::Work;
use core::cell::{Ref, RefMut};

impl Context {
    /// A time slice has ended in the guest's own code, or the guest goes on or is gone. Only debug builds want to know.
    #[inline]
    pub fn note_between(&self, between: bool) {
        if cfg!(debug_assertions) {
            self.between.set(between);
        }
    }

    /// What the guest is working on, to be changed. The guest's next call for a record comes to the host. Only while
    /// the guest is in a call or gone: where a time slice has ended it may be between two writes to the control.
    #[inline]
    pub fn work(&self) -> RefMut<'_, Work> {
        debug_assert!(!self.open.get() || !self.between.get(), "the guest may be between two writes to the control");
        let mut work = self.work.borrow_mut();
        if self.open.get() {
            self.close(&mut work);
        }
        work
    }

    /// As `work`. None if it is lent.
    pub fn try_work(&self) -> Option<RefMut<'_, Work>> {
        let mut work = self.work.try_borrow_mut().ok()?;
        if self.open.get() {
            self.close(&mut work);
        }
        Some(work)
    }

    /// What the guest is working on, to be looked at.
    pub fn see(&self) -> Ref<'_, Work> {
        if self.open.get() {
            self.observe(&mut self.work.borrow_mut());
        }
        self.work.borrow()
    }

    /// How far the operation has come. None if the work is being changed.
    pub fn progress(&self) -> Option<Progress> {
        if self.open.get() {
            self.observe(&mut *self.work.try_borrow_mut().ok()?);
        }
        Some(self.work.try_borrow().ok()?.progress())
    }

    #[inline(never)]
    fn close(&self, work: &mut Work) {
        self.observe(work);
        self.control.close();
        self.open.set(false);
    }

    /// Notes how far the guest has come without a call.
    fn observe(&self, work: &mut Work) {
        if self.open.get()
            && let Some(latest) = work.observe(&self.control)
        {
            self.wall_clock.set(latest);
            self.refused_growth.set(None);
            // It began since the last look: the limit is too generous by one look at most.
            self.run_time.restart();
        }
    }

    /// From now on the guest reads and writes usual records without a call. Nothing if they are few.
    #[inline]
    pub fn open(&self, work: &mut Work) {
        if self.expanded.get() && work.open(&self.control, self.has_topic) {
            self.open.set(true);
        }
    }

    /// Whether the guest may be reading or writing records without a call.
    pub fn is_open(&self) -> bool {
        self.open.get()
    }

    /// A guest was made whose code uses the control.
    pub fn note_expanded(&self) {
        self.expanded.set(true);
    }

    /// Counts input and output since the last call.
    #[inline]
    pub fn count_passed(&self) {
        let mut work = self.work.borrow_mut();
        self.observe(&mut work);
        self.meter.pass(core::mem::take(&mut work.taken), work.output.take_accepted());
        if work.left_at.is_none()
            && let Some(next) = work.batch.next_offset()
        {
            self.meter.note_next(next);
        }
    }
}
