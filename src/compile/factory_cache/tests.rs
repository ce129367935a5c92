//! One compilation serves all concurrent requests, however they come and go. Unused factories are not kept. The tests
//! hold up the only compile thread, so they decide what happens when.

use super::*;
use crate::base::config::Config;
use crate::host::log::{Line, Sink};
use crate::host::owned::Owned;
use crate::host::waker::wasm_waker;
use crate::system::memory::allocators::Allocators;
use core::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc;

struct SilentLog;
impl Sink for SilentLog {
    fn line(&self, _: &Line<'_>) {}
}

/// A log that makes the cache's compile thread panic.
struct Panics;
impl Sink for Panics {
    fn line(&self, _: &Line<'_>) {
        panic!("a test's");
    }
}

fn runtime(log: Arc<dyn Sink>) -> Arc<Runtime> {
    Arc::new(Runtime::new(Config::default(), log, Allocators::default()).unwrap())
}

fn cache() -> Arc<FactoryCache> {
    FactoryCache::new(runtime(Arc::new(SilentLog)), DEFAULT_IDLE, None)
}

/// A module that no other number has.
fn module(number: u32) -> Vec<u8> {
    let text = r#"(module
        (import "redpanda_transform" "check_abi_version_2" (func))
        (memory (export "memory") 1)
        (func (export "_start") (drop (i32.const NUMBER))))"#;
    wat::parse_str(text.replace("NUMBER", &number.to_string())).unwrap()
}

fn request(transform: Description) -> FactoryRequest {
    FactoryRequest::new(transform, Vec::new()).unwrap()
}

fn named(name: &str) -> FactoryRequest {
    request(Description { name: name.into(), ..Description::default() })
}

/// WakerCounts that were created, woken and dropped.
#[derive(Default)]
struct WakerCounts {
    woken: AtomicU32,
    dropped: AtomicU32,
}

#[allow(unsafe_code)]
impl WakerCounts {
    fn give(self: &Arc<Self>) -> Waker {
        unsafe extern "C" fn wake(data: *mut c_void) {
            // SAFETY: made by `into_raw` below and consumed once.
            let wakers = unsafe { Arc::from_raw(data.cast::<WakerCounts>()) };
            wakers.woken.fetch_add(1, SeqCst);
        }
        unsafe extern "C" fn drop(data: *mut c_void) {
            // SAFETY: as above.
            let wakers = unsafe { Arc::from_raw(data.cast::<WakerCounts>()) };
            wakers.dropped.fetch_add(1, SeqCst);
        }
        let data = Arc::into_raw(self.clone()).cast_mut().cast();
        // SAFETY: the data is a reference that each of the two takes back.
        Waker::new(unsafe { Owned::new(wasm_waker { data, wake: Some(wake), drop: Some(drop) }) })
    }

    fn counts(&self) -> (u32, u32) {
        (self.woken.load(SeqCst), self.dropped.load(SeqCst))
    }
}

/// Holds up the compile thread until it is dropped.
struct HeldThread(#[allow(dead_code)] mpsc::Sender<()>);

impl FactoryCache {
    fn hold(&self) -> HeldThread {
        let (sender, receiver) = mpsc::channel::<()>();
        self.runtime.threads.run(move || _ = receiver.recv()).unwrap();
        HeldThread(sender)
    }

    /// Waits until the compile thread has run all its jobs.
    fn run_all_jobs(&self) {
        let (sender, receiver) = mpsc::channel::<()>();
        self.runtime.threads.run(move || drop(sender)).unwrap();
        assert!(receiver.recv().is_err());
    }

    fn ask(self: &Arc<Self>, key: &str, number: u32) -> Lookup {
        self.get(key.as_bytes(), Some((&module(number), named("t")))).ok().unwrap()
    }

    fn soon(self: &Arc<Self>, key: &str, number: u32) -> Pending<FactoryOutcome, Waker> {
        match self.ask(key, number) {
            Lookup::Soon(receiver) => receiver,
            Lookup::Now(_) => panic!("the factory exists"),
        }
    }

    /// The existing factory.
    fn now(self: &Arc<Self>, key: &str, number: u32) -> Arc<Compiled> {
        match self.ask(key, number) {
            Lookup::Now(compiled) => compiled,
            Lookup::Soon(_) => panic!("the factory does not exist"),
        }
    }

    fn refusal(self: &Arc<Self>, key: &str, wanted: Option<(&[u8], FactoryRequest)>) -> (Status, String) {
        let error = self.get(key.as_bytes(), wanted).err().unwrap();
        (error.status, error.message)
    }

    fn lookups(&self) -> (u64, u64, u64) {
        let counted = self.counted();
        (counted.hits, counted.joined, counted.misses)
    }

    fn executable(&self) -> u64 {
        let mut metrics = crate::metrics::snapshot::RuntimeMetrics::default();
        let shared = &self.runtime.shared;
        metrics.read(&shared.metrics, shared.pooled());
        metrics.executable
    }
}

fn ready(receiver: &Pending<FactoryOutcome, Waker>) -> FactoryOutcome {
    receiver.poll(Waker::none).unwrap()
}

#[test]
fn all_who_ask_at_the_same_time_get_one_compilation_and_are_woken_once() {
    let cache = cache();
    let held = cache.hold();
    let asked: Vec<_> = (0..5).map(|_| (cache.soon("k", 1), Arc::new(WakerCounts::default()))).collect();
    for (receiver, wakers) in &asked {
        assert!(receiver.poll(|| wakers.give()).is_none());
        assert!(receiver.poll(|| wakers.give()).is_none());
        assert_eq!(wakers.counts(), (0, 1));
    }
    assert_eq!((cache.counted().compiling, cache.counted().entries), (1, 0));
    drop(held);
    cache.run_all_jobs();
    let first = ready(&asked[0].0).unwrap();
    for (receiver, wakers) in &asked[1..] {
        assert_eq!(wakers.counts(), (1, 1));
        assert!(Arc::ptr_eq(&first, &ready(receiver).unwrap()), "all get the same factory");
    }
    assert!(Arc::ptr_eq(&first, &cache.now("k", 1)));
    assert_eq!(cache.lookups(), (1, 4, 1));
    let counted = cache.counted();
    assert_eq!((counted.compilations, counted.compiling, counted.entries), (1, 0, 1));
}

#[test]
fn wakers_may_ask_the_cache() {
    struct Asks(Arc<FactoryCache>, mpsc::Sender<bool>);
    #[allow(unsafe_code)]
    unsafe extern "C" fn wake(data: *mut c_void) {
        // SAFETY: made by `into_raw` below and consumed once.
        let Asks(cache, told) = *unsafe { Box::from_raw(data.cast::<Asks>()) };
        // With the lock held, neither call would ever return.
        let there = matches!(cache.get(b"k", None), Ok(Lookup::Now(_)));
        told.send(there && cache.collect(Duration::ZERO) == 0).unwrap();
    }
    let cache = cache();
    let held = cache.hold();
    let (told, hears) = mpsc::channel::<bool>();
    let receiver = cache.soon("k", 1);
    let data = Box::into_raw(Box::new(Asks(cache.clone(), told))).cast();
    #[allow(unsafe_code)]
    // SAFETY: the data is a box that `wake` takes back.
    let waker = Waker::new(unsafe { Owned::new(wasm_waker { data, wake: Some(wake), drop: None }) });
    assert!(receiver.poll(|| waker).is_none());
    drop(held);
    assert!(hears.recv_timeout(Duration::from_secs(60)).unwrap());
}

#[test]
fn failures_go_to_all_and_are_not_kept() {
    let cache = cache();
    let bad = wat::parse_str("(module)").unwrap();
    let ask = || match cache.get(b"k", Some((&bad, named("t")))) {
        Ok(Lookup::Soon(receiver)) => receiver,
        _ => panic!("the factory exists"),
    };
    let held = cache.hold();
    let (one, other) = (ask(), ask());
    drop(held);
    cache.run_all_jobs();
    for receiver in [&one, &other] {
        let error = ready(receiver).err().unwrap();
        assert_eq!(error.status, Status::ModuleNoStart);
        assert!(error.message.contains("transform \"t\""), "{error}");
    }
    assert_eq!((cache.counted().entries, cache.counted().compiling), (0, 0));
    // Another module can have the key now.
    let again = cache.soon("k", 1);
    cache.run_all_jobs();
    assert!(ready(&again).is_ok());
    assert_eq!((cache.lookups(), cache.counted().compilations), ((0, 1, 2), 2));
}

#[test]
fn a_panic_goes_to_all_and_the_cache_goes_on() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("cache");
    let runtime = runtime(Arc::new(Panics));
    runtime.set_code_cache(&path, 1 << 30).unwrap();
    let cache = FactoryCache::new(runtime, DEFAULT_IDLE, None);
    // Its directory has a fault. The compile thread logs that.
    std::fs::remove_dir_all(&path).unwrap();
    let held = cache.hold();
    let (one, other) = (cache.soon("k", 1), cache.soon("k", 1));
    drop(held);
    cache.run_all_jobs();
    for receiver in [&one, &other] {
        assert_eq!(ready(receiver).err().unwrap().status, Status::Panic);
    }
    // Faults are logged once a minute at most.
    let again = cache.soon("k", 1);
    cache.run_all_jobs();
    assert!(ready(&again).is_ok());
    assert_eq!(cache.counted().entries, 1);
}

#[test]
fn a_released_request_does_not_affect_the_others() {
    let cache = cache();
    let held = cache.hold();
    let (first, second) = (cache.soon("k", 1), cache.soon("k", 1));
    let wakers = Arc::new(WakerCounts::default());
    assert!(first.poll(|| wakers.give()).is_none());
    drop(first);
    assert_eq!(wakers.counts(), (0, 1));
    drop(held);
    cache.run_all_jobs();
    assert!(ready(&second).is_ok());
}

#[test]
fn a_compilation_without_requests_is_skipped() {
    let cache = cache();
    let held = cache.hold();
    drop([cache.soon("k", 1), cache.soon("k", 1)]);
    let other = cache.soon("other", 2);
    drop(held);
    cache.run_all_jobs();
    assert!(ready(&other).is_ok());
    let counted = cache.counted();
    assert_eq!((counted.compilations, counted.compiling, counted.entries), (1, 0, 1));
    let again = cache.soon("k", 1);
    cache.run_all_jobs();
    assert!(ready(&again).is_ok(), "the factory can be requested again");
}

#[test]
fn one_who_comes_after_all_others_left_is_waited_for() {
    let cache = cache();
    let held = cache.hold();
    drop(cache.soon("k", 1));
    let last = cache.soon("k", 1);
    drop(held);
    cache.run_all_jobs();
    assert!(ready(&last).is_ok());
    assert_eq!(cache.counted().compilations, 1);
}

#[test]
fn those_who_come_and_go_leave_nothing() {
    let cache = cache();
    let held = cache.hold();
    let first = cache.soon("k", 1);
    for _ in 0..10_000 {
        drop(cache.soon("k", 1));
    }
    {
        let state = cache.state.lock();
        let entry = state.entries.values().next().unwrap();
        let Progress::Compiling(compiling) = &entry.progress else { panic!("the compilation is held up") };
        assert!(compiling.senders.capacity() <= 8, "{}", compiling.senders.capacity());
    }
    drop(held);
    cache.run_all_jobs();
    assert!(ready(&first).is_ok());
}

#[test]
fn a_key_belongs_to_one_module_and_description() {
    let cache = cache();
    let full = || Description {
        name: "t".into(),
        input_topic: "in".into(),
        output_topics: vec!["out".into()],
        environment: vec![("a".into(), "1".into())],
        ..Description::default()
    };
    let held = cache.hold();
    let one = module(1);
    let Ok(Lookup::Soon(receiver)) = cache.get(b"k", Some((&one, request(full())))) else { panic!() };
    type Change = fn(&mut Description);
    let others: [(u32, Change, &str); 7] = [
        (2, |_| {}, "another module (its SHA-256 begins with "),
        (1, |t| t.name = "u".into(), "another name, \"t\""),
        (1, |t| t.input_topic = "x".into(), "another input_topic, \"in\""),
        (1, |t| t.output_topics.clear(), "another list of output_topics"),
        (1, |t| t.environment[0].1 = "2".into(), "another environment"),
        (1, |t| t.limits.memory -= 1, "another set of limits"),
        (1, |t| t.rights.wasi = 1, "another set of rights"),
    ];
    let refused = || {
        for (number, change, message) in &others {
            let mut transform = full();
            change(&mut transform);
            let (status, told) = cache.refusal("k", Some((&module(*number), request(transform))));
            assert_eq!(status, Status::InvalidArgument);
            assert!(told.contains(message), "{told}");
        }
    };
    refused();
    drop(held);
    cache.run_all_jobs();
    assert!(ready(&receiver).is_ok());
    refused();
    assert_eq!(cache.lookups(), (0, 0, 1), "a refused request is not counted");
    // Without a key each of them is another factory.
    for (number, change, _) in &others {
        let mut transform = full();
        change(&mut transform);
        assert!(matches!(cache.get(b"", Some((&module(*number), request(transform)))), Ok(Lookup::Soon(_))));
    }
    assert!(
        matches!(cache.get(b"", Some((&one, request(full())))), Ok(Lookup::Soon(_))),
        "nor is this the factory with a key"
    );
    cache.run_all_jobs();
    assert!(matches!(cache.get(b"k", Some((&one, request(full())))), Ok(Lookup::Now(_))));
}

#[test]
fn without_a_module_only_an_existing_factory_is_found() {
    let cache = cache();
    assert_eq!(cache.refusal("k", None).0, Status::NotCached);
    assert_eq!(cache.refusal("", None).0, Status::InvalidArgument);
    let held = cache.hold();
    let first = cache.soon("k", 1);
    let Ok(Lookup::Soon(second)) = cache.get(b"k", None) else { panic!() };
    drop(first);
    drop(held);
    cache.run_all_jobs();
    let factory = ready(&second).unwrap();
    let Ok(Lookup::Now(there)) = cache.get(b"k", None) else { panic!() };
    assert!(Arc::ptr_eq(&factory, &there));
    assert_eq!(cache.lookups(), (1, 1, 2));
}

#[test]
fn those_who_wait_need_no_cache() {
    let cache = cache();
    let held = cache.hold();
    let receiver = cache.soon("k", 1);
    let (told, hears) = mpsc::channel::<bool>();
    cache.runtime.threads.run(move || drop(told)).unwrap();
    let gone = Arc::downgrade(&cache.runtime);
    drop(cache);
    drop(held);
    assert!(hears.recv_timeout(Duration::from_secs(60)).is_err());
    assert!(ready(&receiver).is_ok());
    // The job's own reference is dropped just after it delivered its result.
    for _ in 0..60_000 {
        if gone.strong_count() == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("the runtime has other owners");
}

#[test]
fn threads_race() {
    let cache = cache();
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let cache = &cache;
            scope.spawn(move || {
                for n in 0..300 {
                    let number = (n + thread) % 3;
                    let found =
                        cache.get(number.to_string().as_bytes(), Some((&module(number), named("t")))).ok().unwrap();
                    let compiled = match found {
                        Lookup::Now(compiled) => Some(compiled),
                        Lookup::Soon(receiver) if n % 2 == 0 => loop {
                            if let Some(outcome) = receiver.poll(Waker::none) {
                                break Some(outcome.unwrap());
                            }
                            std::thread::yield_now();
                        },
                        Lookup::Soon(_) => None,
                    };
                    assert!(compiled.is_none_or(|c| c.transform.name == "t"));
                    if n % 5 == 0 {
                        cache.collect(Duration::ZERO);
                    }
                }
            });
        }
    });
    cache.run_all_jobs();
    let counted = cache.counted();
    assert_eq!(counted.hits + counted.joined + counted.misses, 1200);
    assert_eq!(counted.compiling, 0);
    assert_eq!(counted.entries + counted.collected, counted.compilations);
    cache.collect(Duration::ZERO);
    assert_eq!((cache.counted().entries, cache.executable()), (0, 0));
}

#[test]
fn factories_of_one_module_share_code() {
    let cache = cache();
    let held = cache.hold();
    let ask = |key: &[u8], name| match cache.get(key, Some((&module(1), named(name)))) {
        Ok(Lookup::Soon(receiver)) => receiver,
        _ => panic!("the factory exists"),
    };
    let (one, other) = (ask(b"1", "one"), ask(b"2", "other"));
    drop(held);
    cache.run_all_jobs();
    let (one, other) = (ready(&one).unwrap(), ready(&other).unwrap());
    assert!(core::ptr::eq(one.code().unwrap(), other.code().unwrap()));
    assert_eq!(one.code().unwrap().factories.load(SeqCst), 2, "lent copies do not count");
    let bytes = cache.executable();
    drop(one);
    assert_eq!((cache.collect(Duration::ZERO), cache.executable()), (1, bytes));
    assert_eq!(other.code().unwrap().factories.load(SeqCst), 1);
    drop(other);
    assert_eq!((cache.collect(Duration::ZERO), cache.executable()), (1, 0));
}

mod collect;
