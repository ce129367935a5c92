//! What a guest's compiled code and the host share while records pass without a call: where the next record is and
//! where output goes. `module::record_calls` has the code. It reads and writes these fields by their places.
//!
//! The host opens the control at the end of a call for a record. From then on the fields say how far the guest has
//! come. Whoever wants to know asks `Context`, which observes the control first. Whoever changes what the guest works
//! on closes it: the guest's next call for a record comes to the host again.

use super::position::Position;
use crate::batch::entries::{END, Entry, NATIVE};
use crate::module::record_calls::MOST_OPTIONS;
use core::cell::Cell;
use core::ptr::NonNull;

/// Addresses are native ones: less `NATIVE`.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Control {
    /// The entry of the next record.
    pub next: Cell<u64>,
    /// Where the next payload goes.
    pub payload: Cell<u64>,
    /// Where payloads must end.
    pub payload_end: Cell<u64>,
    /// Where the next output record goes.
    pub record: Cell<u64>,
    /// Where they end.
    pub record_end: Cell<u64>,
    /// `record` when the record in progress was read.
    pub finished: Cell<u64>,
    /// Where the next output record comes from.
    pub position: Cell<Position>,
    /// Where `options_bytes` are.
    options: Cell<u64>,
    /// The options that were used last.
    options_bytes: Cell<[u8; MOST_OPTIONS]>,
    /// How many of them are options. 0: there are none.
    options_length: Cell<u32>,
    /// The topic that the options name.
    options_topic: Cell<u32>,
    /// Offset of the record in progress.
    pub offset: Cell<i64>,
    /// Its timestamp.
    pub timestamp: Cell<i64>,
}

/// What is behind the entries of no batch.
static NOTHING: [Entry; 2] = [Entry { offset: 0, timestamp: 0, start: 0, size: END, attributes: 0 }; 2];

impl Control {
    /// A closed control. `attach` follows when it is where it stays.
    pub fn new() -> Self {
        let zero = || Cell::new(0);
        let control = Self {
            next: zero(),
            payload: zero(),
            payload_end: zero(),
            record: zero(),
            record_end: zero(),
            finished: zero(),
            position: Cell::default(),
            options: zero(),
            options_bytes: Cell::new([0; MOST_OPTIONS]),
            options_length: Cell::new(0),
            options_topic: Cell::new(0),
            offset: Cell::new(0),
            timestamp: Cell::new(0),
        };
        control.close();
        control
    }

    /// For another guest, which finds the control here.
    pub fn attach(&self) -> NonNull<u8> {
        self.close();
        self.options.set(native(self.options_bytes.as_ptr().cast()));
        self.options_length.set(0);
        NonNull::from(self).cast()
    }

    /// Each call for a record comes to the host.
    #[inline]
    pub fn close(&self) {
        self.next.set(native((&raw const NOTHING[1]).cast()));
        self.close_output();
    }

    /// Each call that writes comes to the host.
    #[inline]
    pub fn close_output(&self) {
        for field in [&self.payload, &self.payload_end, &self.record, &self.record_end, &self.finished] {
            field.set(0);
        }
    }

    /// Whether all addresses are below this native one.
    #[inline]
    pub fn is_within(&self, end: u64) -> bool {
        let highest = self.next.get().max(self.payload_end.get()).max(self.record_end.get()).max(self.options.get());
        highest < end
    }

    /// A record was written with these options, which name this topic.
    #[inline]
    pub fn keep_options(&self, options: &[u8], topic: u32) {
        let mut bytes = [0; MOST_OPTIONS];
        if let Some(place) = bytes.get_mut(..options.len()) {
            place.copy_from_slice(options);
            self.options_bytes.set(bytes);
            self.options_length.set(options.len() as u32);
            self.options_topic.set(topic);
        }
    }
}

/// As the guest's code knows an address.
#[inline]
pub fn native(address: *const u8) -> u64 {
    (address.expose_provenance() as u64).wrapping_sub(NATIVE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sink::wasm_output_record;
    use crate::module::record_calls::{CONTROL_BYTES, control, layout};
    use core::mem::{offset_of, size_of};

    #[test]
    fn compiled_code_knows_the_places_of_all_fields() {
        assert_eq!(size_of::<Control>(), CONTROL_BYTES);
        let control = [
            (offset_of!(Control, next), control::NEXT),
            (offset_of!(Control, payload), control::PAYLOAD),
            (offset_of!(Control, payload_end), control::PAYLOAD_END),
            (offset_of!(Control, record), control::RECORD),
            (offset_of!(Control, record_end), control::RECORD_END),
            (offset_of!(Control, finished), control::FINISHED),
            (offset_of!(Control, position), control::POSITION),
            (offset_of!(Control, options), control::OPTIONS),
            (offset_of!(Control, options_length), control::OPTIONS_LENGTH),
            (offset_of!(Control, options_topic), control::OPTIONS_TOPIC),
            (offset_of!(Control, offset), control::TIMES),
            (offset_of!(Control, timestamp), control::TIMES + 8),
            (offset_of!(Entry, offset), layout::ENTRY_OFFSET),
            (offset_of!(Entry, timestamp), layout::ENTRY_OFFSET + 8),
            (offset_of!(Entry, start), layout::ENTRY_START),
            (offset_of!(Entry, size), layout::ENTRY_SIZE),
            (offset_of!(Entry, attributes), layout::ENTRY_ATTRIBUTES),
            (offset_of!(wasm_output_record, payload), layout::OUTPUT_PAYLOAD),
            (offset_of!(wasm_output_record, payload_size), layout::OUTPUT_PAYLOAD + 8),
            (offset_of!(wasm_output_record, topic), layout::OUTPUT_PAYLOAD + 12),
            (offset_of!(wasm_output_record, input_offset), layout::OUTPUT_OFFSET),
            (offset_of!(wasm_output_record, input_timestamp), layout::OUTPUT_OFFSET + 8),
            (offset_of!(wasm_output_record, input_index), layout::OUTPUT_POSITION),
            (offset_of!(wasm_output_record, ordinal), layout::OUTPUT_POSITION + 4),
            (size_of::<Entry>(), layout::ENTRY as u64),
            (size_of::<wasm_output_record>(), layout::OUTPUT as u64),
        ];
        for (at, (field, place)) in control.into_iter().enumerate() {
            assert_eq!(field as u64, place, "{at}");
        }
    }

    #[test]
    fn options_that_are_too_long_are_not_kept() {
        let control = Control::new();
        control.attach();
        control.keep_options(&[1, 2, 3], 7);
        control.keep_options(&[9; MOST_OPTIONS + 1], 8);
        assert_eq!((control.options_length.get(), control.options_topic.get()), (3, 7));
        assert_eq!(control.options_bytes.get()[..4], [1, 2, 3, 0]);
        control.attach();
        assert_eq!(control.options_length.get(), 0, "another guest knows none");
    }
}
