//! Code is compiled once for all who want it at the same time, however they come and go.

use super::*;
use crate::base::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::Duration;

const KEY: Digest = [7; 32];

/// Code that is counted as long as it exists.
struct Counted<'a>(&'a AtomicU64);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

fn wanted() -> (Arc<Compilation>, Interest) {
    let compilation = Arc::<Compilation>::default();
    let interest = compilation.join();
    (compilation, interest)
}

fn never() -> Result<u32> {
    panic!("the code exists")
}

/// Waits until somebody has joined a compilation that has one interest of its own.
fn joined(compilation: &Arc<Compilation>) {
    while compilation.interested() < 2 {
        std::thread::yield_now();
    }
}

#[test]
fn code_stays_as_long_as_somebody_has_it() {
    let codes = Codes::default();
    let (compilation, _interest) = wanted();
    let (first, shared) = codes.get(KEY, &compilation, || Ok(1)).unwrap();
    assert_eq!((*first, shared), (1, false));
    let (second, shared) = codes.get(KEY, &compilation, never).unwrap();
    assert!(shared && Arc::ptr_eq(&first, &second));
    let (other, shared) = codes.get([8; 32], &compilation, || Ok(3)).unwrap();
    assert_eq!((*other, shared), (3, false));
    drop((first, second, other));
    assert_eq!(codes.get(KEY, &compilation, || Ok(2)).map(|(code, shared)| (*code, shared)).unwrap(), (2, false));
    assert_eq!(codes.0.lock().len(), 1, "what is freed leaves no entry for long");
}

/// One compiles until it is told to end and another one joins it. What both get.
fn both(end: impl Fn() -> Result<u32> + Sync, before: impl FnOnce(Interest)) -> (Result<bool>, Result<bool>, u64) {
    let codes = Codes::default();
    let made = AtomicU64::new(0);
    let (first, interest) = wanted();
    std::thread::scope(|scope| {
        let (begin, begun) = mpsc::channel();
        let (go, may_go) = mpsc::channel();
        let may_go = Mutex::new(may_go);
        let (codes, made, end, in_first) = (&codes, &made, &end, first.clone());
        let compiles = scope.spawn(move || {
            codes.get(KEY, &in_first, || {
                made.fetch_add(1, SeqCst);
                begin.send(()).unwrap();
                may_go.lock().recv().unwrap();
                end()
            })
        });
        begun.recv().unwrap();
        let joins = scope.spawn(move || {
            let (second, _interest) = wanted();
            codes.get(KEY, &second, || {
                made.fetch_add(1, SeqCst);
                Ok(2)
            })
        });
        joined(&first);
        before(interest);
        go.send(()).unwrap();
        let of = |got: Result<(Arc<u32>, bool)>| got.map(|(_, shared)| shared);
        let outcomes = (compiles.join(), joins.join());
        let first = outcomes.0.unwrap_or_else(|_| Err(Error::new(Status::Panic, "it did")));
        (of(first), of(outcomes.1.unwrap()), made.load(SeqCst))
    })
}

#[test]
fn who_asks_meanwhile_gets_the_same() {
    let (first, second, made) = both(|| Ok(1), drop);
    assert_eq!((first.unwrap(), second.unwrap(), made), (false, true, 1));
}

#[test]
fn a_failure_and_a_panic_are_those_of_all() {
    let (first, second, made) = both(|| Err(Error::new(Status::ModuleInvalid, "no")), drop);
    assert_eq!(
        (first.unwrap_err().status, second.unwrap_err().status, made),
        (Status::ModuleInvalid, Status::ModuleInvalid, 1)
    );
    let (_, second, made) = both(|| panic!("a test's"), drop);
    assert_eq!((second.unwrap_err().status, made), (Status::Panic, 1));
}

#[test]
fn one_that_was_given_up_before_is_compiled_again() {
    let (first, second, made) = both(|| Err(Error::new(Status::Cancelled, "given up")), drop);
    assert_eq!((first.unwrap_err().status, second.unwrap(), made), (Status::Cancelled, false, 2));
}

#[test]
fn who_joins_keeps_it_wanted_until_they_go() {
    let codes = Codes::default();
    let (first, interest) = wanted();
    let (second, other) = wanted();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (begin, begun) = mpsc::channel();
        let (codes, ended, in_first) = (&codes, &ended, first.clone());
        let compiles = scope.spawn(move || {
            codes.get(KEY, &in_first, || {
                begin.send(()).unwrap();
                while in_first.is_wanted() {
                    std::thread::yield_now();
                }
                assert!(ended.load(SeqCst), "it was wanted");
                Err::<u32, _>(Error::new(Status::Cancelled, "given up"))
            })
        });
        begun.recv().unwrap();
        let in_second = second.clone();
        let joins = scope.spawn(move || codes.get(KEY, &in_second, || Ok(2)));
        joined(&first);
        drop(interest);
        std::thread::sleep(Duration::from_millis(20));
        assert!(first.is_wanted());
        ended.store(true, SeqCst);
        drop(other);
        assert_eq!(compiles.join().unwrap().unwrap_err().status, Status::Cancelled);
        assert_eq!(joins.join().unwrap().unwrap_err().status, Status::Cancelled, "nobody wants it");
    });
    assert!(codes.0.lock().is_empty());
}

#[test]
fn threads_race() {
    let alive = AtomicU64::new(0);
    let (made, shared, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let codes = Codes::default();
    std::thread::scope(|scope| {
        for thread in 0..8u32 {
            let (codes, alive, made, shared, failed) = (&codes, &alive, &made, &shared, &failed);
            scope.spawn(move || {
                let mut kept = Vec::new();
                for n in 0..2_000u32 {
                    let key = [((n + thread) % 3) as u8; 32];
                    let (compilation, interest) = wanted();
                    // Some are given up at once. The others want the code.
                    let interest = (n % 5 > 0).then_some(interest);
                    let got = codes.get(key, &compilation, || {
                        std::thread::yield_now();
                        if n % 7 == 0 {
                            return Err(Error::new(Status::ModuleInvalid, "no"));
                        }
                        if !compilation.is_wanted() {
                            return Err(Error::new(Status::Cancelled, "given up"));
                        }
                        alive.fetch_add(1, SeqCst);
                        Ok(Counted(alive))
                    });
                    match got {
                        Ok((code, was_shared)) => {
                            if was_shared { shared } else { made }.fetch_add(1, SeqCst);
                            kept.push(code);
                        }
                        Err(e) => {
                            assert!(e.status != Status::Cancelled || interest.is_none(), "it was wanted");
                            failed.fetch_add(1, SeqCst);
                        }
                    }
                    if n % 11 == 0 {
                        kept.clear();
                    }
                }
            });
        }
    });
    assert_eq!(made.load(SeqCst) + shared.load(SeqCst) + failed.load(SeqCst), 16_000);
    assert!(made.load(SeqCst) > 0 && shared.load(SeqCst) > 0);
    assert_eq!(alive.load(SeqCst), 0);
    let entries = codes.0.lock();
    assert!(entries.values().all(|entry| matches!(entry, Entry::Compiled(code) if code.strong_count() == 0)));
}
