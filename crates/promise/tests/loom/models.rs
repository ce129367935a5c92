//! The models: each is run with every interleaving of its threads.
#![allow(clippy::unwrap_used)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use wasm_engine_promise::oneshot::{Wake, channel};
use wasm_engine_promise::task::{Abort, Begun, Next, TaskState};

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
    assert_eq!(task.state.begin(), Begun::Poll, "of {} times", task.scheduled.load(SeqCst));
    if task.events.load(SeqCst) == wanted {
        assert!(task.state.finish());
        assert!(!task.state.called());
        return true;
    }
    if task.state.pend() == Next::Schedule {
        task.scheduled.fetch_add(1, SeqCst);
        assert!(!task.state.called());
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
        assert!(!task.state.called());
        let wakers: Vec<_> = (0..2)
            .map(|_| {
                let task = task.clone();
                loom::thread::spawn(move || {
                    task.events.fetch_add(1, SeqCst);
                    if task.state.wake() {
                        task.scheduled.fetch_add(1, SeqCst);
                        assert!(!task.state.called());
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

/// An executor that goes, and what its task does with it.
#[derive(Default)]
struct Executor {
    tasks: AtomicUsize,
    is_gone: AtomicBool,
}

impl Executor {
    fn schedule(&self, task: &TaskState) {
        assert!(!self.is_gone.load(SeqCst), "the executor was called after the abort");
        self.tasks.fetch_add(1, SeqCst);
        assert!(!self.is_gone.load(SeqCst), "the abort did not wait for the executor");
        assert!(!task.called());
    }
}

/// A thread wakes a task while another one aborts it.
fn an_abort_waits_for_the_executor_and_is_final() {
    loom::model(|| {
        let shared = Arc::new((TaskState::scheduled(), Executor::default()));
        let (task, executor) = &*shared;
        assert!(!task.called());
        assert_eq!(task.begin(), Begun::Poll);
        assert_eq!(task.pend(), Next::Wait);
        let waking = shared.clone();
        let waker = loom::thread::spawn(move || {
            let (task, executor) = &*waking;
            if task.wake() {
                executor.schedule(task);
            }
        });
        let found = task.abort();
        task.await_calls(1);
        executor.is_gone.store(true, SeqCst);
        let queued = executor.tasks.load(SeqCst);
        assert!(!task.called());
        match found {
            Abort::Waiting => assert_eq!(queued, 0),
            Abort::Queued => {
                assert_eq!(queued, 1);
                assert_eq!(task.begin(), Begun::Aborted);
            }
            other => unreachable!("{other:?}"),
        }
        waker.join().unwrap();
        assert_eq!(executor.tasks.load(SeqCst), queued);
        assert_eq!(task.begin(), Begun::Refused);
    });
}

/// A loop's thread runs a task that a third thread wakes during its poll while another thread aborts it. One of the
/// two cancels the task and afterwards the executor is left alone.
fn an_abort_during_a_poll_is_final() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let shared = Arc::new((TaskState::scheduled(), Executor::default(), AtomicUsize::new(0)));
        assert!(!shared.0.called());
        let waking = shared.clone();
        let waker = loom::thread::spawn(move || {
            let (task, executor, _) = &*waking;
            if task.wake() {
                executor.schedule(task);
            }
        });
        let running = shared.clone();
        let runner = loom::thread::spawn(move || {
            let (task, executor, cancelled) = &*running;
            match task.begin() {
                Begun::Poll => match task.pend() {
                    Next::Wait => {}
                    Next::Schedule => executor.schedule(task),
                    Next::Aborted => {
                        cancelled.fetch_add(1, SeqCst);
                    }
                },
                Begun::Aborted => {}
                Begun::Cancel | Begun::Refused => unreachable!("nothing else runs it"),
            }
        });
        let (task, executor, cancelled) = &*shared;
        let found = task.abort();
        task.await_calls(u32::from(found != Abort::Running));
        executor.is_gone.store(true, SeqCst);
        match found {
            Abort::Waiting | Abort::Queued => {
                cancelled.fetch_add(1, SeqCst);
                assert!(!task.called());
            }
            Abort::Running => {}
            Abort::Over => unreachable!("it does not complete"),
        }
        waker.join().unwrap();
        runner.join().unwrap();
        assert_eq!(cancelled.load(SeqCst), 1);
        assert!(!task.is_called());
    });
}

/// A task that completes while the thread that scheduled it is still inside of the executor.
fn the_end_waits_for_the_executor() {
    loom::model(|| {
        let shared = Arc::new((TaskState::scheduled(), Executor::default()));
        assert!(!shared.0.called());
        assert_eq!(shared.0.begin(), Begun::Poll);
        assert_eq!(shared.0.pend(), Next::Wait);
        let waking = shared.clone();
        let waker = loom::thread::spawn(move || {
            let (task, executor) = &*waking;
            if task.wake() {
                executor.schedule(task);
            }
        });
        let (task, executor) = &*shared;
        if executor.tasks.load(SeqCst) == 1 {
            assert_eq!(task.begin(), Begun::Poll);
            assert!(task.finish());
            task.await_calls(1);
            executor.is_gone.store(true, SeqCst);
            assert!(!task.called());
            assert!(!task.is_called());
        }
        waker.join().unwrap();
    });
}

/// A loop's thread lets a queued task go while another thread aborts it. One of the two drops the completion and the
/// executor is dropped afterwards.
fn a_queued_task_is_let_go_behind_its_abort() {
    loom::model(|| {
        let shared = Arc::new((TaskState::scheduled(), AtomicUsize::new(0), AtomicUsize::new(0)));
        assert!(!shared.0.called());
        let releasing = shared.clone();
        let releaser = loom::thread::spawn(move || {
            let (task, completions, executors) = &*releasing;
            match task.begin() {
                Begun::Poll => {
                    task.end();
                    task.await_calls(0);
                    completions.fetch_add(1, SeqCst);
                }
                Begun::Aborted => task.await_calls(0),
                other => unreachable!("{other:?}"),
            }
            assert_eq!(
                completions.load(SeqCst),
                1,
                "the executor is dropped before the completion or it is dropped twice"
            );
            executors.fetch_add(1, SeqCst);
        });
        let (task, completions, executors) = &*shared;
        match task.abort() {
            Abort::Queued => {
                task.await_calls(1);
                completions.fetch_add(1, SeqCst);
                assert!(!task.called());
            }
            Abort::Running | Abort::Over => task.await_calls(0),
            Abort::Waiting => unreachable!("the executor has it"),
        }
        releaser.join().unwrap();
        assert_eq!(completions.load(SeqCst), 1);
        assert_eq!(executors.load(SeqCst), 1);
    });
}

/// A thread wakes a task whose loop is closed: it ends the task from within the executor while another thread aborts
/// it. The last of the two drops the executor.
fn a_task_that_ends_within_its_executor_leaves_it_to_the_last_call() {
    loom::model(|| {
        let shared = Arc::new((TaskState::scheduled(), AtomicUsize::new(0), AtomicUsize::new(0)));
        assert!(!shared.0.called());
        assert_eq!(shared.0.begin(), Begun::Poll);
        assert_eq!(shared.0.pend(), Next::Wait);
        let drop_executor = |task: &TaskState, completions: &AtomicUsize, executors: &AtomicUsize| {
            assert_eq!(completions.load(SeqCst), 1, "the completion is dropped before its executor");
            executors.fetch_add(1, SeqCst);
            assert!(!task.called());
        };
        let waking = shared.clone();
        let waker = loom::thread::spawn(move || {
            let (task, completions, executors) = &*waking;
            if task.wake() {
                match task.begin() {
                    Begun::Poll => {
                        task.end();
                        completions.fetch_add(1, SeqCst);
                    }
                    Begun::Aborted => {}
                    other => unreachable!("{other:?}"),
                }
                task.leave();
                assert_eq!(executors.load(SeqCst), 0, "the executor was dropped during its call");
                if task.called() {
                    drop_executor(task, completions, executors);
                }
            }
        });
        let (task, completions, executors) = &*shared;
        match task.abort() {
            found @ (Abort::Waiting | Abort::Queued) => {
                task.await_calls(1);
                completions.fetch_add(1, SeqCst);
                if found == Abort::Waiting {
                    executors.fetch_add(1, SeqCst);
                }
                if task.called() {
                    drop_executor(task, completions, executors);
                }
            }
            Abort::Running | Abort::Over => task.await_calls(0),
        }
        waker.join().unwrap();
        assert_eq!(completions.load(SeqCst), 1);
        assert_eq!(executors.load(SeqCst), 1);
        assert!(!task.is_called());
    });
}

/// Runs all models.
pub fn all() {
    let models: [(&str, fn()); 9] = [
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
        ("an abort waits for the executor and is final", an_abort_waits_for_the_executor_and_is_final),
        ("an abort during a poll is final", an_abort_during_a_poll_is_final),
        ("the end waits for the executor", the_end_waits_for_the_executor),
        ("a queued task is let go behind its abort", a_queued_task_is_let_go_behind_its_abort),
        (
            "a task that ends within its executor leaves it to the last call",
            a_task_that_ends_within_its_executor_leaves_it_to_the_last_call,
        ),
    ];
    for (name, model) in models {
        model();
        println!("model {name} ... ok");
    }
    println!("loom: {} passed, 0 failed", models.len());
}
