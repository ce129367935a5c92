//! Does a little of everything that a transform may do, for each record: makes garbage, keeps maps, sleeps, asks for
//! the time and for random numbers, and now and then logs.
//!
//! The output's value is the input's, how often its last three bytes have come so far, and the time in milliseconds.

use redpanda_transform_sdk::{
    on_record_written, BorrowedRecord, RecordWriter, WriteError, WriteEvent,
};
use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Records with one line of log.
const LOG_EVERY: u64 = 10_000;

#[derive(Default)]
struct Soak {
    seen: u64,
    words: HashMap<String, u64>,
    garbage: Vec<Vec<u8>>,
    last: Option<Instant>,
}

fn main() {
    let soak = RefCell::new(Soak::default());
    on_record_written(move |event, writer| soak.borrow_mut().apply(event, writer));
}

impl Soak {
    fn apply(&mut self, event: WriteEvent, writer: &mut RecordWriter) -> Result<(), WriteError> {
        self.seen += 1;
        if self.seen % 64 == 0 {
            self.garbage.clear();
        }
        // A number that is random by the hash's key.
        let random = RandomState::new().build_hasher().finish() as usize;
        self.garbage.push(vec![self.seen as u8; 1 + random % 8192]);

        let begin = Instant::now();
        assert!(
            self.last.is_none_or(|last| last < begin),
            "the clock stands still"
        );
        thread::sleep(Duration::from_millis(1));
        let slept = begin.elapsed();
        assert!(
            slept >= Duration::from_millis(1) && slept < Duration::from_secs(60),
            "a millisecond took {slept:?}"
        );
        self.last = Some(begin);

        let value = String::from_utf8_lossy(event.record.value().unwrap_or_default()).into_owned();
        let word = value[value.len().saturating_sub(3)..].to_uppercase();
        let count = self.words.entry(word).or_default();
        *count += 1;
        let time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        // A map that lives for a record.
        let parts: BTreeMap<usize, String> = [value.clone(), count.to_string(), time.to_string()]
            .into_iter()
            .enumerate()
            .collect();
        let out = parts.into_values().collect::<Vec<_>>().join(":");
        if self.seen % LOG_EVERY == 1 {
            eprintln!("{} records, {} words", self.seen, self.words.len());
        }
        writer.write(BorrowedRecord::new(
            event.record.key(),
            Some(out.as_bytes()),
        ))
    }
}
