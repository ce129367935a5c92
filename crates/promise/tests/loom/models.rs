//! The models: each is run with every interleaving of its threads.
#![allow(clippy::unwrap_used)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use wasm_engine_promise::oneshot::{Wake, channel};
use wasm_engine_promise::task::TaskState;

/// Counts what becomes of wakers.
#[derive(Default)]
struct WakerCounts {
    woken: AtomicUsize,
    dropped: AtomicUsize,
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

fn wake(sent: Option<Option<CountingWaker>>) -> bool {
    let first = sent.is_some();
    if let Some(waker) = sent.flatten() {
        waker.wake();
    }
    first
}

fn a_value_sent_during_a_poll_is_received_or_wakes() {
    loom::model(|| {
        let counts = Arc::new(WakerCounts::default());
        let (mut sender, receiver) = channel(|| 0);
        let other = loom::thread::spawn(move || assert!(wake(sender.send(7))));
        let mut polls = 0;
        let mut value = None;
        for _ in 0..2 {
            polls += 1;
            let t = counts.clone();
            value = receiver.poll(|| CountingWaker(t, false));
            if value.is_some() {
                polls -= 1;
                break;
            }
        }
        other.join().unwrap();
        if value.is_none() {
            assert_eq!(counts.woken.load(SeqCst), 1, "a pending poll was never woken");
            value = receiver.poll(|| unreachable!());
        }
        assert_eq!(value, Some(7));
        assert_eq!(counts.woken.load(SeqCst) + counts.dropped.load(SeqCst), polls);
    });
}

fn a_dropped_sender_wakes_too() {
    loom::model(|| {
        let counts = Arc::new(WakerCounts::default());
        let (sender, receiver) = channel(|| -1);
        let other = loom::thread::spawn(move || drop(sender));
        let t = counts.clone();
        let early = receiver.poll(|| CountingWaker(t, false));
        other.join().unwrap();
        assert_eq!(early.or_else(|| receiver.poll(|| unreachable!())), Some(-1));
        assert_eq!(counts.dropped.load(SeqCst), 0);
    });
}

fn a_receiver_dropped_during_a_send_leaves_no_waker_behind() {
    loom::model(|| {
        let counts = Arc::new(WakerCounts::default());
        let (mut sender, receiver) = channel(|| 0);
        let t = counts.clone();
        assert_eq!(receiver.poll(|| CountingWaker(t, false)), None);
        let other = loom::thread::spawn(move || assert!(wake(sender.send(7))));
        drop(receiver);
        other.join().unwrap();
        assert_eq!(counts.woken.load(SeqCst) + counts.dropped.load(SeqCst), 1);
    });
}

/// A task whose poll completes after `events` wake-ups. The thread that schedules the task runs it, as an executor
/// would.
struct Scheduled {
    state: TaskState,
    events: AtomicUsize,
    scheduled: AtomicUsize,
}

fn run(task: &Scheduled, wanted: usize) -> bool {
    let ok = task.state.begin();
    if !ok {
        panic!("runs {} events {} wake {}", task.scheduled.load(SeqCst), task.events.load(SeqCst), task.state.wake());
    }
    if task.events.load(SeqCst) == wanted {
        task.state.finish();
        return true;
    }
    if task.state.pend() {
        task.scheduled.fetch_add(1, SeqCst);
    }
    false
}

fn wake_ups_during_a_poll_are_not_lost_and_never_schedule_twice() {
    // Three threads: with more than three preemptions there are too many interleavings.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let task = Arc::new(Scheduled {
            state: TaskState::scheduled(),
            events: AtomicUsize::new(0),
            scheduled: AtomicUsize::new(1),
        });
        let wakers: Vec<_> = (0..2)
            .map(|_| {
                let task = task.clone();
                loom::thread::spawn(move || {
                    task.events.fetch_add(1, SeqCst);
                    if task.state.wake() {
                        task.scheduled.fetch_add(1, SeqCst);
                    }
                })
            })
            .collect();
        let mut runs = 1;
        let mut done = run(&task, 2);
        for waker in wakers {
            waker.join().unwrap();
        }
        while !done {
            assert_eq!(task.scheduled.load(SeqCst), runs + 1, "lost or scheduled twice");
            runs += 1;
            done = run(&task, 2);
        }
        assert_eq!(task.scheduled.load(SeqCst), runs);
    });
}

/// Runs all models.
pub fn all() {
    let models: [(&str, fn()); 4] = [
        ("a value sent during a poll is received or wakes", a_value_sent_during_a_poll_is_received_or_wakes),
        ("a dropped sender wakes too", a_dropped_sender_wakes_too),
        (
            "a receiver dropped during a send leaves no waker behind",
            a_receiver_dropped_during_a_send_leaves_no_waker_behind,
        ),
        (
            "wake-ups during a poll are not lost and never schedule twice",
            wake_ups_during_a_poll_are_not_lost_and_never_schedule_twice,
        ),
    ];
    for (name, model) in models {
        model();
        println!("model {name} ... ok");
    }
    println!("loom: {} passed, 0 failed", models.len());
}
