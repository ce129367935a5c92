// SPDX-License-Identifier: Apache-2.0
//! Kafka's record batches, uncompressed: what bench/contenders/batch.hh does for the contenders in C++.

/// A record; it points into its batch.
pub struct Record<'a> {
    /// Of the payload: the key with its length.
    before: &'a [u8],
    pub value: &'a [u8],
    /// Of the payload: the headers with their count.
    behind: &'a [u8],
}

impl Record<'_> {
    /// Bytes of this record's payload with another value.
    pub fn payload_size(&self, value: usize) -> usize {
        self.before.len() + varint_size(value) + value + self.behind.len()
    }
}

fn varint_size(value: usize) -> usize {
    let mut z = value << 1;
    let mut size = 1;
    while z >= 0x80 {
        z >>= 7;
        size += 1;
    }
    size
}

fn take_varint(rest: &mut &[u8]) -> Result<i64, &'static str> {
    let mut z = 0u64;
    for shift in (0..70).step_by(7) {
        let (&byte, behind) = rest.split_first().ok_or("a varint is cut off")?;
        *rest = behind;
        z |= u64::from(byte & 0x7F).wrapping_shl(shift);
        if byte < 0x80 {
            return Ok((z >> 1) as i64 ^ -((z & 1) as i64));
        }
    }
    Err("a varint is too long")
}

fn take<'a>(rest: &mut &'a [u8], size: usize) -> Result<&'a [u8], &'static str> {
    let (front, behind) = rest.split_at_checked(size).ok_or("the batch is cut off")?;
    *rest = behind;
    Ok(front)
}

/// A length and as many bytes; null is empty.
fn take_sized<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], &'static str> {
    let size = take_varint(rest)?;
    take(rest, usize::try_from(size.max(0)).unwrap_or(usize::MAX))
}

/// The records of a batch as on the wire; its CRC is not looked at.
pub fn read_records(batch: &[u8]) -> Result<Vec<Record<'_>>, &'static str> {
    let mut rest = batch.get(61..).ok_or("the batch is cut off")?;
    if batch[22] & 7 != 0 {
        return Err("the batch is compressed");
    }
    let mut records = Vec::new();
    while !rest.is_empty() {
        let mut one = take_sized(&mut rest)?;
        take(&mut one, 1)?;
        take_varint(&mut one)?;
        take_varint(&mut one)?;
        let payload = one;
        take_sized(&mut one)?;
        let before = &payload[..payload.len() - one.len()];
        let value = take_sized(&mut one)?;
        records.push(Record { before, value, behind: one });
    }
    Ok(records)
}

/// Appends the input record with another value, in the form in which the driver compares output.
pub fn canonical(out: &mut Vec<u8>, topic: u32, record: &Record<'_>, value: &[u8]) {
    out.extend(topic.to_le_bytes());
    out.extend((record.payload_size(value.len()) as u32).to_le_bytes());
    out.extend(record.before);
    let mut z = value.len() << 1;
    while z >= 0x80 {
        out.push(z as u8 | 0x80);
        z >>= 7;
    }
    out.push(z as u8);
    out.extend(value);
    out.extend(record.behind);
}
