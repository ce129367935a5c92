//! Record batches whose lengths and CRC are right: parsed records, compressed or not, damaged or not.
//!
//! The first byte says what the others are. Mutations reach all codecs by that, and what stands behind decompression.
//!
//! | bits | meaning |
//! | --- | --- |
//! | 0..3 | the codec's number, of which some do not exist |
//! | 3..5 | a whole batch; records that are compressed here; compressed bytes; records of a builder, of which one byte is changed |
//! | 5 | the batch is read from a later record on |
//! | 6 | the batch is checked by a reader that has checked another one |
//! | 7 | the length in the header stays |
#![no_main]

use libfuzzer_sys::fuzz_target;
use wasm_engine_fuzz::batch::builder::Builder;
use wasm_engine_fuzz::batch::compression::{compress, wasm_compression as Codec};
use wasm_engine_fuzz::batch::crc32c;
use wasm_engine_fuzz::batch::error::{Error, Kind};
use wasm_engine_fuzz::batch::header::{CRC_START, SIZE};
use wasm_engine_fuzz::batch::payload::{Payload, is_valid};
use wasm_engine_fuzz::batch::reader::Records;

/// `max_batch_size`.
const LIMIT: usize = 1 << 20;

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// A record as it is read: attributes, timestamp, offset and payload.
type Read = (u8, i64, i64, Vec<u8>);

fuzz_target!(|bytes: &[u8]| {
    let Some((&mode, rest)) = bytes.split_first() else { return };
    let Some(mut batch) = batch(mode, rest) else { return };
    seal(&mut batch, mode & 0x80 == 0);

    let mut reader = Records::default();
    if mode & 0x40 != 0 {
        // What an earlier batch leaves behind makes no difference.
        let _ = records(&mut reader, EARLIER.with(Clone::clone), 0);
    }
    let read = records(&mut reader, batch.clone(), 0);
    let fresh = records(&mut Records::default(), batch.clone(), 0);
    match (&read, &fresh) {
        (Ok(read), Ok(fresh)) => assert_eq!(read, fresh),
        (Err(error), Err(fresh)) => assert_eq!(error.message, fresh.message),
        (read, fresh) => panic!("{read:?}, with a new reader {fresh:?}"),
    }
    let first = if mode & 0x20 != 0 { u32::from(rest.last().copied().unwrap_or(0)) } else { 1 };
    let later = records(&mut Records::default(), batch, first);
    match read {
        Ok(read) => {
            let rest = later.expect("the records before are checked, too");
            assert!(rest.iter().eq(read.iter().skip(first as usize)));
            repacked(&read);
        }
        Err(error) => {
            assert!(!matches!(error.kind, Kind::OutOfMemory | Kind::Internal | Kind::Crc), "{error}");
            assert!(later.is_err());
        }
    }
});

thread_local!(static EARLIER: Vec<u8> = {
    let mut builder = Builder::new(Codec::Lz4, 7, Some(8));
    for size in [0, 1, 5000, 70_000] {
        let mut payload = Vec::new();
        Payload { value: Some(&vec![b'x'; size]), ..Payload::default() }.put(&mut payload);
        builder.add(None, 0, &payload).expect("it fits");
    }
    builder.finish().expect("it fits").to_vec()
});

fn batch(mode: u8, rest: &[u8]) -> Option<Vec<u8>> {
    let (number, codec) = (mode & 7, Codec::from_code(u32::from(mode & 7)));
    match mode >> 3 & 3 {
        0 => Some(rest.to_vec()),
        1 => {
            let (count, records) = rest.split_first_chunk::<2>()?;
            let mut batch = header(number, u16::from_be_bytes(*count), u16::MAX);
            compress(codec?, records, &mut batch).expect("what fits into memory can be compressed");
            Some(batch)
        }
        2 => {
            let (count, compressed) = rest.split_first_chunk::<2>()?;
            let mut batch = header(number, u16::from_be_bytes(*count), u16::MAX);
            batch.extend_from_slice(compressed);
            Some(batch)
        }
        _ => {
            let (at, rest) = rest.split_first_chunk::<3>()?;
            let mut batch = built(codec?, rest);
            let place = usize::from(u16::from_be_bytes([at[0], at[1]])) % batch.len();
            batch[place] ^= at[2];
            Some(batch)
        }
    }
}

/// A header with this codec, number of records and last offset delta.
fn header(codec: u8, count: u16, last: u16) -> Vec<u8> {
    let mut header = vec![0; SIZE];
    header[16] = 2;
    header[22] = codec;
    header[25..27].copy_from_slice(&last.to_be_bytes());
    header[59..61].copy_from_slice(&count.to_be_bytes());
    header
}

/// A batch of a builder. It is checked here, too: what is built can be read.
fn built(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    let mut builder = Builder::new(codec, 1000, None);
    let mut payloads = Vec::new();
    for chunk in bytes.chunks(17).take(60) {
        let (key, value) = chunk.split_at(chunk.len() / 3);
        // Some are long, so that regions end within them.
        let value = value.repeat(if chunk[0] == 0xF1 { 6000 } else { 1 });
        let headers = if chunk[0] & 1 == 0 { vec![(key, None), (key, Some(&value[..1]))] } else { Vec::new() };
        let mut payload = Vec::new();
        Payload { key: (chunk[0] & 2 == 0).then_some(key), value: Some(&value), headers }.put(&mut payload);
        if builder.add(None, i64::from(chunk[0]), &payload).is_ok() {
            payloads.push(payload);
        }
    }
    let batch = builder.finish().expect("what fits into memory can be compressed").to_vec();
    if let Ok(read) = records(&mut Records::default(), batch.clone(), 0) {
        assert!(read.iter().map(|record| &record.3).eq(payloads.iter()));
    } else {
        let size: usize = payloads.iter().map(Vec::len).sum();
        assert!(size + 30 * payloads.len() > LIMIT, "what is built can be read");
    }
    batch
}

/// Makes the CRC fit and, if wanted, the length.
fn seal(batch: &mut [u8], length: bool) {
    if batch.len() < SIZE {
        return;
    }
    if length {
        let length = (batch.len() - 12) as u32;
        batch[8..12].copy_from_slice(&length.to_be_bytes());
    }
    let crc = crc32c::checksum(&batch[CRC_START..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// Checks a batch and reads its records from `first` on.
fn records(reader: &mut Records<'static>, batch: Vec<u8>, first: u32) -> Result<Vec<Read>, Error> {
    // The reader keeps no reference behind `end`.
    // SAFETY: the batch lives until then, below.
    let lent: &'static [u8] = unsafe { core::slice::from_raw_parts(batch.as_ptr(), batch.len()) };
    let read = read(reader, lent, first);
    reader.end();
    while !reader.free_some() {}
    drop(batch);
    read
}

fn read(reader: &mut Records<'static>, batch: &'static [u8], first: u32) -> Result<Vec<Read>, Error> {
    reader.begin(batch, first, LIMIT, true)?;
    while !reader.check()? {}
    let (count, largest) = (reader.header.record_count, reader.largest_payload);
    let mut all = Vec::new();
    while let Some(record) = reader.peek() {
        assert!(is_valid(record.payload));
        all.push((record.attributes, record.timestamp, record.offset, record.payload.to_vec()));
        reader.advance();
    }
    assert_eq!(all.len(), (count as usize).saturating_sub(first as usize));
    if first == 0 {
        assert_eq!(largest, all.iter().map(|record| record.3.len()).max().unwrap_or(0));
    }
    Ok(all)
}

/// The same records in a batch of some codec. Those that a builder refuses are left out: offsets that go back.
fn repacked(read: &[Read]) {
    let base = read.first().map_or(0, |record| record.2);
    let size: usize = read.iter().map(|record| record.3.len()).sum();
    let mut builder = Builder::new(CODECS[size % CODECS.len()], base, None);
    let kept: Vec<_> =
        read.iter().filter(|(_, time, offset, payload)| builder.add(Some(*offset), *time, payload).is_ok()).collect();
    let batch = builder.finish().expect("what fits into memory can be compressed").to_vec();
    match records(&mut Records::default(), batch, 0) {
        Ok(again) => {
            let same = |(a, b): (&Read, &&Read)| (a.1, a.2, &a.3) == (b.1, b.2, &b.3);
            assert!(again.len() == kept.len() && again.iter().zip(&kept).all(same));
        }
        // Offsets and times may take more bytes here.
        Err(error) => assert_eq!(error.kind, Kind::TooLarge, "{error}"),
    }
}
