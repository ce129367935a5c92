//! A value that is set once by any thread and awaited by one poller. This is the library's promise.
//!
//! There are four states. *empty*: there is no waker. *waiting*: a waker is registered. *woken*: the value is set.
//! *cancelled*: the receiver is gone or has taken the value. Each registered waker is consumed exactly once. It is
//! woken, or dropped when it is no longer needed. Both happen outside the lock, so a waker may call back into the
//! library.

use crate::sync::{Arc, Mutex};

/// Tells the owner of a future to poll again. Dropping the waker tells the owner that no wake-up will come.
pub trait Wake: Send {
    /// Consumes the waker and tells its owner to poll.
    fn wake(self);
}

enum ChannelState<T, W> {
    Empty,
    Waiting(W),
    Woken(T),
    Cancelled,
}

/// The end that sets the value. Dropping it without a value sets `abandoned`.
pub struct Sender<T, W: Wake> {
    state: Arc<Mutex<ChannelState<T, W>>>,
    abandoned: Option<fn() -> T>,
}

/// The end that waits.
pub struct Receiver<T, W: Wake> {
    state: Arc<Mutex<ChannelState<T, W>>>,
}

/// A pair of ends. `abandoned` makes the value of a sender that is dropped before it sends.
pub fn channel<T, W: Wake>(abandoned: fn() -> T) -> (Sender<T, W>, Receiver<T, W>) {
    let state = Arc::new(Mutex::new(ChannelState::Empty));
    (Sender { state: state.clone(), abandoned: Some(abandoned) }, Receiver { state })
}

impl<T, W: Wake> Sender<T, W> {
    /// Sets the value. `None` if a value was set before. The caller must wake the returned waker. It should no longer
    /// hold this sender by then: waking runs foreign code, which may drop the sender.
    ///
    /// If the receiver is gone, the value counts as set and is dropped.
    #[must_use]
    pub fn send(&mut self, value: T) -> Option<Option<W>> {
        self.abandoned.take()?;
        Some(self.complete(value))
    }

    /// Whether the receiver is gone.
    pub fn is_cancelled(&self) -> bool {
        matches!(*self.state.lock(), ChannelState::Cancelled)
    }

    /// Whether a value was set.
    pub fn has_sent(&self) -> bool {
        self.abandoned.is_none()
    }

    fn complete(&self, value: T) -> Option<W> {
        let previous = {
            let mut state = self.state.lock();
            match &*state {
                ChannelState::Cancelled => return None,
                _ => core::mem::replace(&mut *state, ChannelState::Woken(value)),
            }
        };
        match previous {
            ChannelState::Waiting(waker) => Some(waker),
            _ => None,
        }
    }
}

impl<T, W: Wake> Drop for Sender<T, W> {
    fn drop(&mut self) {
        if let Some(abandoned) = self.abandoned.take()
            && let Some(waker) = self.complete(abandoned())
        {
            waker.wake();
        }
    }
}

impl<T, W: Wake> Receiver<T, W> {
    /// The value if it is set. Otherwise stores the waker and drops the previous one.
    ///
    /// Returns `None` and drops the waker after the value was taken.
    pub fn poll(&self, waker: impl FnOnce() -> W) -> Option<T> {
        let mut state = self.state.lock();
        match core::mem::replace(&mut *state, ChannelState::Cancelled) {
            ChannelState::Woken(value) => Some(value),
            ChannelState::Cancelled => None,
            previous @ (ChannelState::Empty | ChannelState::Waiting(_)) => {
                *state = ChannelState::Waiting(waker());
                drop(state);
                drop(previous);
                None
            }
        }
    }
}

impl<T, W: Wake> Receiver<T, W> {
    /// Stops waiting. Returns the stored waker if there is one.
    pub fn close(self) -> Option<W> {
        // Outside of the lock: dropping a value may run foreign code.
        let previous = core::mem::replace(&mut *self.state.lock(), ChannelState::Cancelled);
        match previous {
            ChannelState::Waiting(waker) => Some(waker),
            _ => None,
        }
    }
}

impl<T, W: Wake> Drop for Receiver<T, W> {
    fn drop(&mut self) {
        let previous = core::mem::replace(&mut *self.state.lock(), ChannelState::Cancelled);
        drop(previous);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    #[derive(Default)]
    struct WakerCounts {
        woken: AtomicU32,
        dropped: AtomicU32,
    }
    struct CountingWaker(Arc<WakerCounts>, bool);
    impl Wake for CountingWaker {
        fn wake(mut self) {
            self.1 = true;
            self.0.woken.fetch_add(1, SeqCst);
        }
    }
    impl Drop for CountingWaker {
        fn drop(&mut self) {
            if !self.1 {
                self.0.dropped.fetch_add(1, SeqCst);
            }
        }
    }
    fn waker(counts: &Arc<WakerCounts>) -> impl FnOnce() -> CountingWaker + use<> {
        let counts = counts.clone();
        move || CountingWaker(counts, false)
    }
    fn send<T, W: Wake>(sender: &mut Sender<T, W>, value: T) -> bool {
        let sent = sender.send(value);
        let first = sent.is_some();
        if let Some(waker) = sent.flatten() {
            waker.wake();
        }
        first
    }
    fn woken_and_dropped(counts: &WakerCounts) -> (u32, u32) {
        (counts.woken.load(SeqCst), counts.dropped.load(SeqCst))
    }

    #[test]
    fn sent_before_the_first_poll_is_ready_and_takes_no_waker() {
        let counts = Arc::new(WakerCounts::default());
        let (mut sender, receiver) = channel(|| 0);
        assert!(send(&mut sender, 7));
        assert_eq!(receiver.poll(waker(&counts)), Some(7));
        assert_eq!(woken_and_dropped(&counts), (0, 0));
    }

    #[test]
    fn each_waker_is_woken_or_dropped_exactly_once() {
        let counts = Arc::new(WakerCounts::default());
        let (mut sender, receiver) = channel(|| 0);
        assert_eq!(receiver.poll(waker(&counts)), None);
        assert_eq!(receiver.poll(waker(&counts)), None);
        assert_eq!(woken_and_dropped(&counts), (0, 1), "the second poll replaces the first waker");
        assert!(send(&mut sender, 7));
        assert!(!send(&mut sender, 8), "a second value is refused");
        assert_eq!(woken_and_dropped(&counts), (1, 1));
        assert_eq!(receiver.poll(waker(&counts)), Some(7));
        assert_eq!(woken_and_dropped(&counts), (1, 1));
    }

    #[test]
    fn a_dropped_sender_sends_the_abandoned_value_and_wakes() {
        let counts = Arc::new(WakerCounts::default());
        let (sender, receiver) = channel(|| -1);
        assert_eq!(receiver.poll(waker(&counts)), None);
        drop(sender);
        assert_eq!(woken_and_dropped(&counts), (1, 0));
        assert_eq!(receiver.poll(waker(&counts)), Some(-1));
    }

    #[test]
    fn a_dropped_receiver_drops_its_waker_and_makes_sending_harmless() {
        let counts = Arc::new(WakerCounts::default());
        let (mut sender, receiver) = channel(|| 0);
        assert_eq!(receiver.poll(waker(&counts)), None);
        drop(receiver);
        assert_eq!(woken_and_dropped(&counts), (0, 1));
        assert!(send(&mut sender, 1));
        assert_eq!(woken_and_dropped(&counts), (0, 1));
    }

    #[test]
    fn a_waker_may_poll_from_within_wake() {
        struct Again(Arc<Mutex<Option<i32>>>, Arc<Receiver<i32, Again>>);
        impl Wake for Again {
            fn wake(self) {
                *self.0.lock() = self.1.poll(|| panic!("the value is there"));
            }
        }
        let seen = Arc::new(Mutex::new(None));
        let (mut sender, receiver) = channel(|| 0);
        let receiver = Arc::new(receiver);
        let (a, b) = (seen.clone(), receiver.clone());
        assert_eq!(receiver.poll(move || Again(a, b)), None);
        assert!(send(&mut sender, 5));
        assert_eq!(*seen.lock(), Some(5));
    }

    #[test]
    fn racing_ends_never_lose_a_value() {
        for _ in 0..2_000 {
            let counts = Arc::new(WakerCounts::default());
            let (mut sender, receiver) = channel(|| 0);
            let other = std::thread::spawn(move || send(&mut sender, 3));
            let mut polls = 0;
            let value = loop {
                polls += 1;
                if let Some(value) = receiver.poll(waker(&counts)) {
                    break value;
                }
                std::thread::yield_now();
            };
            assert_eq!(value, 3);
            assert!(other.join().unwrap());
            let (woken, dropped) = woken_and_dropped(&counts);
            assert_eq!(woken + dropped, polls - 1, "every waker of a pending poll was consumed once");
        }
    }
}
