//! Host data: what the library was lent and must drop exactly once, and what a sink has received.

use super::with;
use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::rc::Rc;
use std::sync::Mutex;
use wasm_engine_fuzz::batch::payload::Payload;
use wasm_engine_fuzz::host::sink::wasm_output_record;

/// The `data` of a callback table. Lives until the end of the script, so that a use after the drop is noticed.
pub struct Object {
    what: &'static str,
    ended: AtomicU32,
    received: Mutex<Received>,
}

/// What a sink has received.
#[derive(Default)]
struct Received {
    /// Index and ordinal of the last record.
    last: Option<(u32, u32)>,
    count: u32,
    /// The values of the batch, and how many records a guest makes of those that it gets.
    values: &'static [u8],
    expected: u32,
}

/// Data that is to be dropped.
pub fn make(what: &'static str) -> Rc<Object> {
    let object = Rc::new(Object { what, ended: AtomicU32::new(0), received: Mutex::default() });
    with(|world| world.objects.push(object.clone()));
    object
}

/// A sink for the records of a batch with these values from the first one on.
pub fn sink(values: &'static [u8], first: u32) -> Rc<Object> {
    let object = make("sink");
    let taken = values.iter().skip(first as usize);
    let expected = taken.map(|value| u32::from(value & 7)).sum();
    *object.received.lock().expect("no panic") = Received { values, expected, ..Received::default() };
    object
}

impl Object {
    /// For the library.
    pub fn data(self: &Rc<Self>) -> *mut c_void {
        Rc::as_ptr(self).cast_mut().cast()
    }

    /// The object behind `data`.
    ///
    /// # Safety
    ///
    /// `data` is of an object of this script.
    pub unsafe fn of<'a>(data: *mut c_void) -> &'a Self {
        // SAFETY: the caller's promise. It lives until the end of the script.
        unsafe { &*data.cast::<Self>() }
    }

    /// A callback of the table was called.
    pub fn used(&self) {
        assert_eq!(self.ended.load(SeqCst), 0, "a {} was used after its end", self.what);
    }

    /// `drop`, or what stands for it, was called.
    pub fn end(&self) {
        assert_eq!(self.ended.fetch_add(1, SeqCst), 0, "a {} ended twice", self.what);
    }

    /// At the end of the script.
    pub fn check_ended(&self) {
        assert_eq!(self.ended.load(SeqCst), 1, "a {} was not dropped", self.what);
    }

    /// Checks a block: records of the batch, in their order, each with the next ordinal and the value of its input.
    pub fn receive(&self, records: &[wasm_output_record]) {
        self.used();
        let mut received = self.received.lock().expect("no panic");
        assert!(!records.is_empty(), "a block has a record");
        for record in records {
            // SAFETY: payloads are lent for the callback.
            let payload = unsafe { core::slice::from_raw_parts(record.payload, record.payload_size as usize) };
            let parsed = Payload::parse(payload).expect("output is well-formed");
            let value = parsed.value.and_then(|value| value.first());
            let input = received.values.get(record.input_index as usize);
            assert_eq!(value, input, "the value of record {}", record.input_index);
            let place = (record.input_index, record.ordinal);
            let expected = match received.last {
                Some((index, ordinal)) if index == record.input_index => (index, ordinal + 1),
                Some((index, _)) => {
                    assert!(index < record.input_index, "{place:?} after record {index}");
                    (record.input_index, 0)
                }
                None => (record.input_index, 0),
            };
            assert_eq!(place, expected, "ordinals have no gap");
            received.last = Some(place);
            received.count += 1;
        }
    }

    /// A transform without a policy is ready: the guest's output is complete.
    pub fn check_complete(&self) {
        let received = self.received.lock().expect("no panic");
        assert_eq!(received.count, received.expected, "records of {:?}", received.values);
    }
}
