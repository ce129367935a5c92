//! Entries: found, replaced, evicted and stored concurrently.

use super::*;
use crate::host::log::Line;
use crate::module::artifact::Head;
use parking_lot::Mutex;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);
impl Sink for Lines {
    fn line(&self, line: &Line<'_>) {
        self.0.lock().push(format!("{}: {}", line.transform, line.text));
    }
}

struct Bench {
    _scratch: tempfile::TempDir,
    path: PathBuf,
    counters: Arc<CodeCacheCounters>,
    log: Arc<Lines>,
    cache: Cache,
}

fn bench(max_bytes: u64) -> Bench {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("cache");
    let (counters, log) = (Arc::new(CodeCacheCounters::default()), Arc::new(Lines::default()));
    let cache = Cache::new(&path, max_bytes, counters.clone(), log.clone(), 4096).unwrap();
    Bench { _scratch: scratch, path, counters, log, cache }
}

const SIZE: usize = 10_000;

/// Bytes of an entry of size `SIZE`. `fill` distinguishes entries.
fn entry(key: Digest, fill: u8) -> Vec<u8> {
    let head = Head { key, ..Head::default() };
    let overhead = Artifact::write(&head, &[]).len();
    Artifact::write(&head, &vec![fill; SIZE - overhead])
}

fn fill_of(artifact: &Artifact) -> u8 {
    let fill = artifact.code()[0];
    assert!(artifact.code().iter().all(|&b| b == fill));
    fill
}

impl Bench {
    fn file(&self, key: Digest) -> PathBuf {
        self.path.join(entry_name(&key))
    }

    fn store(&self, key: Digest, fill: u8) {
        self.cache.store(&key, &entry(key, fill), "t");
    }

    fn find(&self, key: Digest) -> Option<u8> {
        self.cache.find(&key, "t").map(|artifact| fill_of(&artifact))
    }

    /// Hits and misses are counted by the compiler and not in here.
    fn counts(&self) -> (u64, u64, u64, u64) {
        let c = self.counters.read();
        (c.stores, c.evictions, c.rejected, c.faults)
    }

    fn used(&self, key: Digest, seconds_ago: u64) {
        let file = File::open(self.file(key)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds_ago)).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(&self.path).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn what_was_stored_is_found() {
    let b = bench(1 << 20);
    assert_eq!(b.find([1; 32]), None);
    b.store([1; 32], 7);
    assert_eq!((b.find([1; 32]), b.find([2; 32])), (Some(7), None));
    b.store([1; 32], 8);
    assert_eq!(b.find([1; 32]), Some(8));
    assert_eq!(b.counts(), (2, 0, 0, 0));
    assert_eq!(std::fs::metadata(b.file([1; 32])).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(b.names(), [entry_name(&[1; 32])], "nothing else is left");
}

#[test]
fn entries_that_cannot_be_used_are_ignored_and_replaced() {
    let b = bench(1 << 20);
    let good = entry([1; 32], 7);
    let mut flipped = good.clone();
    flipped[SIZE - 1] ^= 1;
    // An entry was renamed.
    let foreign = entry([2; 32], 7);
    for (n, bytes) in [&[][..], &good[..9], &good[..SIZE - 1], &flipped, b"something else", &foreign].iter().enumerate()
    {
        std::fs::write(b.file([1; 32]), bytes).unwrap();
        assert_eq!(b.find([1; 32]), None, "case {n}");
        b.store([1; 32], 7);
        assert_eq!(b.find([1; 32]), Some(7), "case {n}");
        assert_eq!(b.counts(), (n as u64 + 1, 0, n as u64 + 1, 0));
    }
    assert!(b.log.0.lock().is_empty(), "a damaged entry is replaced without a log line");
}

#[test]
fn untrusted_entries_are_ignored_logged_and_replaced() {
    let b = bench(1 << 20);
    let elsewhere = b.path.with_file_name("elsewhere");
    std::fs::write(&elsewhere, entry([1; 32], 6)).unwrap();
    symlink(&elsewhere, b.file([1; 32])).unwrap();
    assert_eq!(b.find([1; 32]), None);
    b.store([1; 32], 7);
    assert_eq!(b.find([1; 32]), Some(7));
    assert_eq!(std::fs::read(&elsewhere).unwrap(), entry([1; 32], 6), "the link was replaced and not its target");
    std::fs::set_permissions(b.file([1; 32]), std::fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(b.find([1; 32]), None);
    b.store([1; 32], 8);
    assert_eq!(b.find([1; 32]), Some(8));
    assert_eq!(b.counts(), (2, 0, 2, 0));
    let lines = b.log.0.lock();
    assert!(lines[0].starts_with("t: ") && lines[0].contains(" is a symbolic link and is not used"), "{lines:?}");
}

#[test]
fn the_entries_used_longest_ago_go_first() {
    let b = bench(3 * SIZE as u64);
    for n in 1..=3 {
        b.store([n; 32], n);
        b.used([n; 32], 100 - u64::from(n));
    }
    // The oldest is used again. The second is the oldest from here on.
    assert_eq!(b.find([1; 32]), Some(1));
    b.store([4; 32], 4);
    assert_eq!([1, 2, 3, 4].map(|n| b.find([n; 32]).is_some()), [true, false, true, true]);
    assert_eq!(b.counts(), (4, 1, 0, 0));
    // The order of recent uses without a change of the clock: 1, 3, 4.
    b.store([5; 32], 5);
    assert_eq!([1, 3, 4, 5].map(|n| b.find([n; 32]).is_some()), [false, true, true, true]);
    b.store([6; 32], 6);
    assert_eq!([3, 4, 5, 6].map(|n| b.find([n; 32]).is_some()), [false, true, true, true]);
    assert_eq!(b.counts(), (6, 3, 0, 0));
}

#[test]
fn a_clock_that_jumps_costs_no_more_than_the_order() {
    let b = bench(3 * SIZE as u64);
    for n in 1..=3 {
        b.store([n; 32], n);
        let file = File::open(b.file([n; 32])).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(86_400 * u64::from(n))).unwrap();
    }
    // The clock was set back. What is stored now stays and the others go one by one.
    b.store([4; 32], 4);
    assert_eq!([1, 2, 3, 4].map(|n| b.file([n; 32]).exists()), [false, true, true, true]);
    // A found entry gets the current time, whatever its time was.
    assert_eq!(b.find([2; 32]), Some(2));
    b.store([5; 32], 5);
    assert_eq!([2, 3, 4, 5].map(|n| b.find([n; 32]).is_some()), [true, false, true, true]);
    // The clock was set forward by half a century. All entries are old and keep their order.
    for n in [5, 4, 2] {
        let file = File::open(b.file([n; 32])).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(10 - u64::from(n))).unwrap();
    }
    b.store([6; 32], 6);
    assert_eq!([2, 4, 5, 6].map(|n| b.find([n; 32]).is_some()), [true, true, false, true]);
    assert_eq!(b.counts(), (6, 3, 0, 0));
}

#[test]
fn the_limit_holds_to_the_byte() {
    let b = bench(2 * SIZE as u64);
    b.store([1; 32], 1);
    b.store([2; 32], 2);
    assert_eq!(b.counts(), (2, 0, 0, 0), "exactly the limit is not too much");
    let tight = bench(2 * SIZE as u64 - 1);
    tight.store([1; 32], 1);
    tight.store([2; 32], 2);
    assert_eq!(tight.counts(), (2, 1, 0, 0));
    let none = bench(SIZE as u64 - 1);
    none.store([1; 32], 1);
    assert_eq!((none.counts(), none.names().len()), ((0, 0, 0, 1), 0));
    assert!(none.log.0.lock()[0].contains("10000 bytes, more than max_bytes (9999)"), "{:?}", none.log.0.lock());
    // A smaller limit counts from the start.
    let counters = Arc::new(CodeCacheCounters::default());
    Cache::new(&b.path, SIZE as u64, counters.clone(), b.log.clone(), 4096).unwrap();
    assert_eq!((counters.read().evictions, b.names()), (1, vec![entry_name(&[2; 32])]));
}

#[test]
fn leftovers_are_collected_and_files_of_others_left_alone() {
    let b = bench(2 * SIZE as u64);
    let stem = hex(&[1; 32]);
    let left = [format!("{stem}.1-0.tmp"), format!("{stem}.4000000000-12.tmp"), "probe.7-0.tmp".to_owned()];
    let others = ["README", "x.tmp", "x.1-0.tmp", "probe.tmp", "probe.1-.tmp", "x.cwasm", &format!("{stem}.cwasm.bak")];
    for name in left.iter().map(String::as_str).chain(others) {
        std::fs::write(b.path.join(name), vec![0; 3 * SIZE]).unwrap();
    }
    std::fs::create_dir(b.file([9; 32])).unwrap();
    let opened = b.cache.directory.open().unwrap();
    let mut living = opened.temporary(&stem).unwrap();
    living.file.write_all(b"half").unwrap();
    b.store([1; 32], 1);
    let names = b.names();
    for name in &left {
        assert!(!names.contains(name), "{name} is left");
    }
    assert_eq!(
        names.len(),
        others.len() + 3,
        "the others, the directory, the entry, and what is being written: {names:?}"
    );
    assert_eq!(b.counts(), (1, 0, 0, 0));
    living.rename(&entry_name(&[3; 32])).unwrap();
}

#[test]
fn a_faulty_directory_has_the_effect_of_no_cache() {
    let b = bench(1 << 20);
    b.store([1; 32], 1);
    let kept = b.path.with_file_name("kept");
    std::fs::rename(&b.path, &kept).unwrap();
    assert_eq!(b.find([1; 32]), None);
    b.store([1; 32], 1);
    assert_eq!(b.counts(), (1, 0, 0, 2));
    // A file in its place.
    std::fs::write(&b.path, "").unwrap();
    assert_eq!(b.find([1; 32]), None);
    std::fs::remove_file(&b.path).unwrap();
    // The directory is back and everything works again.
    std::fs::rename(&kept, &b.path).unwrap();
    assert_eq!(b.find([1; 32]), Some(1));
    assert_eq!(b.counts(), (1, 0, 0, 3));
    // An entry's place is taken by what cannot be replaced.
    std::fs::create_dir(b.file([2; 32])).unwrap();
    b.store([2; 32], 2);
    assert_eq!((b.find([2; 32]), b.counts()), (None, (1, 0, 1, 4)));
    assert_eq!(b.names().len(), 2, "the temporary file is gone: {:?}", b.names());
    let lines = b.log.0.lock();
    assert_eq!(lines.len(), 1, "logged once in a while: {lines:?}");
    assert!(lines[0].contains(b.path.to_str().unwrap()) && lines[0].contains("cannot be opened"), "{lines:?}");
}

/// Stores and finds entries of two keys for a while. Everything found must be complete.
fn race(cache: &Cache, fill: u8) -> u32 {
    let mut found = 0;
    for n in 0..200u32 {
        let key = [(n % 2) as u8; 32];
        if n % 3 == 0 {
            cache.store(&key, &entry(key, fill), "t");
        } else if let Some(artifact) = cache.find(&key, "t") {
            assert!((1..=9).contains(&fill_of(&artifact)));
            found += 1;
        }
    }
    found
}

/// Room for one entry only, so that evictions take part.
const RACE_ROOM: u64 = SIZE as u64 + SIZE as u64 / 2;

#[test]
fn threads_race() {
    let b = bench(RACE_ROOM);
    let found: u32 = std::thread::scope(|scope| {
        let racing: Vec<_> = (1..=4)
            .map(|n| {
                scope.spawn({
                    let b = &b;
                    move || race(&b.cache, n)
                })
            })
            .collect();
        racing.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(found > 0);
    let (stores, evictions, rejected, faults) = b.counts();
    assert_eq!((stores, rejected, faults), (4 * 67, 0, 0), "{:?}", b.log.0.lock());
    assert!(evictions > 0);
    assert_eq!(b.names().len(), 1, "{:?}", b.names());
}

/// The variable that makes a test the other process of a race.
const RACE: &str = "WASM_ENGINE_TEST_RACE";

#[test]
fn processes_race() {
    if let Some(path) = std::env::var_os(RACE) {
        let (counters, log) = (Arc::new(CodeCacheCounters::default()), Arc::new(Lines::default()));
        let cache = Cache::new(Path::new(&path), RACE_ROOM, counters.clone(), log.clone(), 4096).unwrap();
        race(&cache, (std::process::id() % 9 + 1) as u8);
        let counted = counters.read();
        assert_eq!((counted.stores, counted.rejected, counted.faults), (67, 0, 0), "{:?}", log.0.lock());
        return;
    }
    let b = bench(RACE_ROOM);
    let start = || {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "compile::code_cache::tests::processes_race", "--nocapture"]).env(RACE, &b.path);
        command.stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    let mut racing: Vec<_> = (0..3).map(|_| start()).collect();
    race(&b.cache, 9);
    for process in &mut racing {
        assert!(process.wait().unwrap().success());
    }
    let (stores, _, rejected, faults) = b.counts();
    assert_eq!((stores, rejected, faults), (67, 0, 0), "{:?}", b.log.0.lock());
    b.store([1; 32], 9);
    assert_eq!(b.names().len(), 1, "{:?}", b.names());
}
