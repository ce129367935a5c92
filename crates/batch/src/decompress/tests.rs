use super::*;
use crate::chunk;
use crate::compression::{compress, wasm_compression as Codec};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use proptest::prelude::*;
use std::io::{Read as _, Write as _};

const LIMIT: usize = 64 << 20;

/// Decompresses all of it. `kept` bytes of each full region move to the next one as if a record began there.
fn all(codec: Codec, data: &[u8], limit: usize, kept: usize) -> Result<Vec<u8>> {
    let mut regions = Regions::default();
    regions.begin(limit);
    regions.make_room(0, 0)?;
    let mut decoder = Decoder::new(codec, data)?.unwrap();
    let mut steps = 0;
    loop {
        let before = regions.total();
        match decoder.step(data, &mut regions)? {
            Step::More => {}
            Step::Full => regions.make_room(regions.last().len().saturating_sub(kept), 0)?,
            Step::End => break,
        }
        assert!(regions.total() - before <= chunk::SIZE, "a step is short");
        steps += 1;
        assert!(steps <= 100 + data.len() / 4 + regions.total() / 64, "each step gets on");
    }
    let all: Vec<u8> = (0..regions.count()).flat_map(|i| regions.get(i).unwrap().to_vec()).collect();
    assert_eq!(all.len(), regions.total());
    Ok(all)
}

fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

/// Data of many shapes around the sizes at which something changes.
fn samples() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    for size in [0, 1, 15, 16, 17, 100, 4_095, chunk::SIZE - 1, chunk::SIZE, chunk::SIZE + 1, 200_000, 5_000_000] {
        samples.push(vec![7; size]);
        samples.push(noise(3, size));
        samples.push((0..size).map(|i| (i / 3 % 251) as u8).collect());
        // Repeats at distances of up to 64 KiB between noise.
        let mut mixed = noise(5, size.min(300));
        let mut random = noise(9, size.min(200_000)).into_iter().map(usize::from).cycle();
        while mixed.len() < size {
            let distance = (1 + random.next().unwrap() * random.next().unwrap()).min(mixed.len());
            let from = mixed.len() - distance;
            let count = random.next().unwrap() % 90;
            let piece: Vec<u8> = (0..count).map(|i| mixed[from + i % distance]).collect();
            mixed.extend(piece);
            mixed.push(random.next().unwrap() as u8);
        }
        mixed.truncate(size);
        samples.push(mixed);
    }
    samples
}

#[test]
fn what_is_compressed_comes_back() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        for sample in samples() {
            let mut data = Vec::new();
            compress(codec, &sample, &mut data).unwrap();
            for kept in [0, 1, 1_000, 40_000] {
                let back = all(codec, &data, LIMIT, kept).unwrap();
                assert!(back == sample, "{codec:?}, {} bytes, {kept} kept", sample.len());
            }
            if !sample.is_empty() {
                assert_eq!(all(codec, &data, sample.len() - 1, 0).unwrap_err().kind, Kind::TooLarge);
                let cut = &data[..data.len() - 1];
                assert_eq!(all(codec, cut, LIMIT, 0).unwrap_err().kind, Kind::Decompress, "{codec:?}");
            }
        }
    }
}

/// All kinds of frames that LZ4 has.
fn lz4_frames(sample: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
        for mode in [BlockMode::Independent, BlockMode::Linked] {
            for checked in [false, true] {
                let mut info = FrameInfo::new().block_size(size).block_mode(mode).block_checksums(checked);
                info.content_checksum = checked;
                info.content_size = checked.then_some(sample.len() as u64);
                let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                // In pieces: blocks of many sizes.
                for piece in sample.chunks(100_000) {
                    encoder.write_all(piece).unwrap();
                    encoder.flush().unwrap();
                }
                frames.push(encoder.finish().unwrap());
            }
        }
    }
    frames
}

#[test]
fn every_kind_of_lz4_frame_is_read() {
    for sample in samples() {
        for frame in lz4_frames(&sample) {
            for kept in [0, 30_000] {
                assert!(all(Codec::Lz4, &frame, LIMIT, kept).unwrap() == sample, "{} bytes", sample.len());
            }
        }
    }
}

#[test]
fn lz4_checksums_and_sizes_count() {
    let sample = noise(1, 1_000);
    let frame = lz4_frames(&sample).pop().unwrap();
    for at in 4..frame.len() {
        let mut damaged = frame.clone();
        damaged[at] ^= 1;
        assert!(all(Codec::Lz4, &damaged, LIMIT, 0).is_err(), "byte {at} is protected");
    }
}

/// A frame with these blocks, each stored or compressed.
fn lz4_frame(blocks: &[(bool, &[u8])], end: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x04, 0x22, 0x4d, 0x18, 0x40, 0x40, 0];
    frame[6] = (twox_hash::XxHash32::oneshot(0, &frame[4..6]) >> 8) as u8;
    for (stored, block) in blocks {
        frame.extend((block.len() as u32 | u32::from(*stored) << 31).to_le_bytes());
        frame.extend(*block);
    }
    frame.extend(end);
    frame
}

#[test]
fn lz4_frames_end_where_they_say() {
    let lz4 = |frame: &[u8]| all(Codec::Lz4, frame, LIMIT, 0);
    let end = [0; 4];
    assert_eq!(lz4(&lz4_frame(&[(true, b"abc")], &end)).unwrap(), b"abc");
    assert_eq!(lz4(&lz4_frame(&[(true, b""), (true, b"abc"), (true, b"")], &end)).unwrap(), b"abc", "empty blocks");
    assert_eq!(lz4(&lz4_frame(&[(false, b"\x30abc")], &end)).unwrap(), b"abc");
    // Eight bytes from three before, which overlaps.
    assert_eq!(lz4(&lz4_frame(&[(false, b"\x34abc\x03\0")], &end)).unwrap(), b"abcabcabcab");
    assert_eq!(lz4(&lz4_frame(&[(true, b"abc"), (false, b"\0\x03\0")], &end)).unwrap(), b"abcabca", "linked blocks");
    let two = [lz4_frame(&[(true, b"abc")], &end), lz4_frame(&[], &end)].concat();
    for (frame, why) in [
        (lz4_frame(&[(true, b"abc")], &[]), "no end mark"),
        (lz4_frame(&[(true, b"abc")], &[0, 0, 0, 0, 9]), "bytes follow"),
        (two, "a second frame follows"),
        (lz4_frame(&[(false, b"\x34abc\x04\0")], &end), "begins before"),
        (lz4_frame(&[(false, b"\x34abc\0\0")], &end), "begins before"),
        (lz4_frame(&[(false, b"\x44abc")], &end), "cut off"),
        (lz4_frame(&[(false, b"\x34abc\x03")], &end), "cut off"),
        (lz4_frame(&[(false, b"\xf0\xff")], &end), "cut off"),
        (lz4_frame(&[(true, &[0; 65_537])], &end), "larger than the frame says"),
    ] {
        let error = lz4(&frame).unwrap_err();
        assert!(error.kind == Kind::Decompress && error.message.contains(why), "{error}, not {why}");
    }
    // A block of 64 KiB must not become more.
    let mut bomb = vec![0x1f, b'x', 1, 0];
    bomb.extend([255; 300]);
    bomb.push(0);
    assert!(lz4(&lz4_frame(&[(false, &bomb)], &end)).unwrap_err().message.contains("becomes larger"));
}

#[test]
fn snappy_elements_are_read() {
    let snappy = |data: &[u8]| all(Codec::Snappy, data, LIMIT, 0);
    assert_eq!(snappy(b"\x03\x08abc").unwrap(), b"abc");
    assert_eq!(snappy(b"\x03\xf0\x02abc").unwrap(), b"abc", "a length of its own");
    assert_eq!(snappy(b"\x08\x08abc\x05\x03").unwrap(), b"abcabcab", "a copy of five bytes");
    assert_eq!(snappy(b"\x08\x08abc\x12\x03\0").unwrap(), b"abcabcab", "a distance of two bytes");
    assert_eq!(snappy(b"\x08\x08abc\x13\x03\0\0\0").unwrap(), b"abcabcab", "a distance of four bytes");
    assert_eq!(snappy(b"\0").unwrap(), b"");
    assert_eq!(snappy(b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01").unwrap(), b"", "no blocks");
    for (data, why) in [
        (&b""[..], "cut off"),
        (b"\x04\x08abc", "shorter than it says"),
        (b"\x02\x08abc", "longer than it says"),
        (b"\x03\x08ab", "cut off"),
        (b"\x08\x08abc\x05\x04", "begins before"),
        (b"\x08\x08abc\x05\0", "begins before"),
        (b"\xff\xff\xff\xff\x1f", "size is invalid"),
        (b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x05\x03\x08ab", "cut off"),
    ] {
        let error = snappy(data).unwrap_err();
        assert!(error.kind == Kind::Decompress && error.message.contains(why), "{data:?}: {error}, not {why}");
    }
    // A distance that LZ4 cannot have, across regions.
    let first = noise(2, 300_000);
    let mut data = vec![0xe4, 0xa7, 0x12, 62 << 2, 0xdf, 0x93, 0x04];
    data.extend(&first);
    data.extend([3 | 3 << 2, 0xe0, 0x93, 0x04, 0]);
    let back = snappy(&data).unwrap();
    assert!(back.len() == 300_004 && back[300_000..] == first[..4]);
}

#[test]
fn gzip_members_follow_each_other() {
    let member = |content: &[u8]| {
        let mut data = Vec::new();
        compress(Codec::Gzip, content, &mut data).unwrap();
        data
    };
    let gzip = |data: &[u8]| all(Codec::Gzip, data, LIMIT, 0);
    let large = noise(4, 100_000);
    let two = [member(&large), member(b""), member(b"abc")].concat();
    assert_eq!(gzip(&two).unwrap(), [&large[..], b"abc"].concat());
    assert!(gzip(&[&two[..], b"x"].concat()).unwrap_err().message.contains("cut off"));
    assert!(gzip(&[&two[..], b"0123456789"].concat()).unwrap_err().message.contains("magic"));
    let mut header = flate2::GzBuilder::new()
        .filename("f")
        .comment("c")
        .extra([1, 2, 3])
        .write(Vec::new(), flate2::Compression::fast());
    header.write_all(b"abc").unwrap();
    assert_eq!(gzip(&header.finish().unwrap()).unwrap(), b"abc");
    let mut damaged = member(b"abc");
    for at in damaged.len() - 8..damaged.len() {
        damaged[at] ^= 1;
        assert!(gzip(&damaged).unwrap_err().message.contains("another CRC or size"));
        damaged[at] ^= 1;
    }
}

/// A member whose content is a match of ten bytes that begins before it, and the CRC of `content`.
fn gzip_that_refers_back(content: &[u8]) -> Vec<u8> {
    // Fixed codes, last block: length 10 (264, 7 bits), distance 1 (0, 5 bits), end (256, 7 bits).
    let bits = [1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut data = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    data.extend(bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |all, bit| all << 1 | bit)));
    let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32IsoHdlc);
    crc.update(content);
    data.extend((crc.finalize() as u32).to_le_bytes());
    data.extend((content.len() as u32).to_le_bytes());
    data
}

#[test]
fn gzip_does_not_see_what_its_memory_had_before() {
    let secret = b'S';
    for _ in 0..3 {
        let mut chunks: Vec<_> = (0..4).map(|_| chunk::Chunk::take().unwrap()).collect();
        chunks.iter_mut().for_each(|chunk| chunk.bytes_mut().fill(secret));
        drop(chunks);
        let back = all(Codec::Gzip, &gzip_that_refers_back(&[secret; 10]), LIMIT, 0);
        assert!(back.is_err(), "the match has found the secret");
    }
    let mut before = Vec::new();
    compress(Codec::Gzip, &[secret; 100], &mut before).unwrap();
    let both = [before, gzip_that_refers_back(&[secret; 10])].concat();
    assert!(all(Codec::Gzip, &both, LIMIT, 0).is_err(), "nor has it in the member before");
    let zeros = all(Codec::Gzip, &gzip_that_refers_back(&[0; 10]), LIMIT, 0);
    assert_eq!(zeros.unwrap(), [0; 10], "the test's member is whole");
}

#[test]
fn zstd_windows_beyond_the_batch_are_refused_and_usual_ones_are_not() {
    for (log, limit, works) in [(27, 1 << 20, false), (27, 100 << 20, true), (23, 1 << 20, true)] {
        let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.set_parameter(::zstd::zstd_safe::CParameter::WindowLog(log)).unwrap();
        encoder.write_all(&[7; 70_000]).unwrap();
        encoder.flush().unwrap();
        encoder.write_all(&[7; 100]).unwrap();
        let data = encoder.finish().unwrap();
        match all(Codec::Zstd, &data, limit, 0) {
            Ok(back) => assert!(works && back == [7; 70_100]),
            Err(error) => assert!(!works && error.kind == Kind::TooLarge, "{error}"),
        }
    }
}

#[test]
fn zstd_frames_follow_each_other() {
    let frame = |content: &[u8], level| ::zstd::stream::encode_all(content, level).unwrap();
    let large = vec![5; 3_000_000];
    for data in
        [[frame(b"abc", 3), frame(b"", 1), frame(&large, 3)].concat(), [frame(&large, 19), frame(b"abc", 1)].concat()]
    {
        let mut wanted = Vec::new();
        ::zstd::stream::read::Decoder::new(&data[..]).unwrap().read_to_end(&mut wanted).unwrap();
        assert!(all(Codec::Zstd, &data, LIMIT, 0).unwrap() == wanted);
        assert_eq!(all(Codec::Zstd, &data[..data.len() - 1], LIMIT, 0).unwrap_err().kind, Kind::Decompress);
        assert!(all(Codec::Zstd, &[&data[..], b"abcd"].concat(), LIMIT, 0).is_err());
    }
}

#[test]
fn a_small_batch_takes_no_more_memory_than_a_chunk_whatever_its_frame_announces() {
    // What fits a chunk needs no window. A level of 22 announces 128 MiB.
    let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 22).unwrap();
    encoder.write_all(b"abc").unwrap();
    let data = encoder.finish().unwrap();
    let mut decoder = zstd::Zstd::new(&data).unwrap();
    let mut regions = Regions::default();
    regions.begin(LIMIT);
    regions.make_room(0, 0).unwrap();
    assert_eq!(decoder.step(&data, &mut regions).unwrap(), Step::End);
    assert_eq!(regions.last(), b"abc");
}

proptest! {
    /// Beside the codecs' own decoders. Damaged data fails or gives what they give.
    #[test]
    fn damaged_data_gives_what_other_decoders_give(
        codec in 1u32..4, size in 0usize..3_000, seed: u64, damage in prop::collection::vec((any::<u16>(), 1u8..), 0..3),
    ) {
        let codec = Codec::from_code(codec).unwrap();
        let mut sample = noise(seed, size / 2);
        sample.extend_from_within(..size / 3);
        let mut data = Vec::new();
        compress(codec, &sample, &mut data).unwrap();
        for (at, xor) in damage {
            let at = usize::from(at) % data.len();
            data[at] ^= xor;
        }
        let mut wanted = Vec::new();
        let theirs = match codec {
            Codec::Gzip => flate2::read::MultiGzDecoder::new(&data[..]).read_to_end(&mut wanted).is_ok(),
            Codec::Lz4 => lz4_flex::frame::FrameDecoder::new(&data[..]).read_to_end(&mut wanted).is_ok(),
            _ => return Ok(()),
        };
        if let Ok(ours) = all(codec, &data, LIMIT, 7) {
            prop_assert!(theirs, "they refuse it");
            prop_assert!(ours == wanted);
        }
    }

    #[test]
    fn raw_snappy_blocks_are_read_as_others_read_them(size in 0usize..200_000, seed: u64, damage: Option<(u16, u8)>) {
        let mut sample = noise(seed, size / 2);
        sample.extend_from_within(..size / 3);
        let mut data = snap::raw::Encoder::new().compress_vec(&sample).unwrap();
        if let Some((at, xor)) = damage {
            let at = usize::from(at) % data.len();
            data[at] ^= xor;
        }
        let theirs = snap::raw::Decoder::new().decompress_vec(&data);
        match (all(Codec::Snappy, &data, LIMIT, 7), theirs) {
            (Ok(ours), theirs) => prop_assert!(ours == theirs.unwrap()),
            (Err(_), theirs) => prop_assert!(theirs.is_err()),
        }
    }

    #[test]
    fn garbage_is_survived(codec in 1u32..5, bytes: Vec<u8>) {
        let _ = all(Codec::from_code(codec).unwrap(), &bytes, 1 << 20, 3);
        let mut framed = match codec {
            1 => b"\x1f\x8b\x08\0\0\0\0\0\0\0".to_vec(),
            2 => b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec(),
            3 => lz4_frame(&[], &[]),
            _ => b"\x28\xb5\x2f\xfd".to_vec(),
        };
        framed.extend(&bytes);
        let _ = all(Codec::from_code(codec).unwrap(), &framed, 1 << 20, 3);
    }
}
