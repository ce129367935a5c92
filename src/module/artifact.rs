//! Compiled code with its description as bytes: an entry of the code cache or an artifact that the embedder keeps.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..8 | `MAGIC` |
//! | 8..12 | `FORMAT` |
//! | 12..16 | size of the head |
//! | 16..24 | size of everything |
//! | 24..56 | SHA-256 of everything else |
//! | 56.. | the head: the fields of `Head` in order; text and lists with their length before them |
//! | then | the code, as Wasmtime serializes it |
//!
//! All numbers are little-endian. Wasmtime reads the code with few checks of its own. The checksum proves that the
//! code is unchanged. It does not prove who wrote it.

use crate::module::data_image::DataImage;
use crate::module::lines::Lines;
use crate::module::suspend_points::Wrappers;
use core::ops::Range;
use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub type Digest = [u8; 32];

/// How each artifact begins: neither text nor Wasm nor ELF.
pub const MAGIC: &[u8; 8] = b"\xc3wasmaot";
/// Raised with each change of the format.
pub const FORMAT: u32 = 5;

const CHECKSUM: Range<usize> = 24..56;
/// Bytes before the head.
const FIXED: usize = CHECKSUM.end;

/// What is known about compiled code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Wasmtime's version.
    pub wasmtime: String,
    /// This library's.
    pub library: String,
    /// `key::REWRITING`.
    pub rewriting: u32,
    /// Architecture and system, such as `x86_64-linux`.
    pub target: String,
    /// The runtime's settings that the code depends on, as text.
    pub settings: String,
    /// The entry's name in a cache.
    pub key: Digest,
    /// SHA-256 of the module.
    pub module: Digest,
    /// Bytes of the module.
    pub module_size: u64,
    /// How each import waits.
    pub waits: Vec<u8>,
    /// What was added to the module.
    pub wrappers: Wrappers,
    /// The lines of its source if they were asked for and it has any.
    pub lines: Lines,
    /// What its memories begin with if that is not in the code.
    pub image: Option<DataImage>,
    /// The module's sections of types, imports, functions, tables, memories and exports: everything that validation
    /// needs.
    pub outline: Vec<u8>,
}

/// An artifact with a correct checksum.
pub struct Artifact {
    /// The head.
    pub head: Head,
    bytes: Vec<u8>,
    code: usize,
}

/// Why bytes are no artifact that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Defect {
    /// They do not begin like one.
    Foreign,
    /// They have another format.
    Format(u32),
    /// The bytes are a damaged artifact. The text says what is wrong.
    Damaged(&'static str),
}

impl Artifact {
    /// Validates bytes: sizes, checksum and head. Costs about as much as reading them once.
    pub fn read(bytes: Vec<u8>) -> Result<Self, Defect> {
        if bytes.len() < MAGIC.len() || !bytes.starts_with(MAGIC) {
            return Err(Defect::Foreign);
        }
        let Some((fixed, rest)) = bytes.split_at_checked(FIXED) else { return Err(Defect::Damaged("it is cut short")) };
        let mut fields = Reader(&fixed[MAGIC.len()..]);
        let (format, head_size, total) = (fields.u32()?, fields.u32()?, fields.u64()?);
        if format != FORMAT {
            return Err(Defect::Format(format));
        }
        if total != bytes.len() as u64 {
            return Err(Defect::Damaged("its size has changed"));
        }
        if checksum(&bytes) != bytes[CHECKSUM] {
            return Err(Defect::Damaged("its checksum does not match its content"));
        }
        let head_size = head_size as usize;
        let mut reader = Reader(rest.get(..head_size).ok_or(Defect::Damaged("its head is cut short"))?);
        let head = Head::read(&mut reader)?;
        if !reader.0.is_empty() {
            return Err(Defect::Damaged("its head is too long"));
        }
        Ok(Self { head, code: FIXED + head_size, bytes })
    }

    /// An artifact from its parts.
    pub fn write(head: &Head, code: &[u8]) -> Vec<u8> {
        let image = head.image.as_ref().map_or(0, |image| image.bytes.len());
        let lists = head.lines.bytes().len() + image + head.outline.len();
        let mut bytes = Vec::with_capacity(FIXED + 4096 + lists + code.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.resize(FIXED, 0);
        head.write(&mut bytes);
        let head_size = (bytes.len() - FIXED) as u32;
        bytes.extend_from_slice(code);
        let total = bytes.len() as u64;
        bytes[12..16].copy_from_slice(&head_size.to_le_bytes());
        bytes[16..24].copy_from_slice(&total.to_le_bytes());
        let checksum = checksum(&bytes);
        bytes[CHECKSUM].copy_from_slice(&checksum);
        bytes
    }

    /// The code for Wasmtime.
    pub fn code(&self) -> &[u8] {
        &self.bytes[self.code..]
    }

    /// All bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

fn checksum(bytes: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(&bytes[..CHECKSUM.start]);
    hash.update(&bytes[CHECKSUM.end..]);
    hash.finalize().into()
}

impl Head {
    fn write(&self, out: &mut Vec<u8>) {
        let list = |out: &mut Vec<u8>, bytes: &[u8]| {
            out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            out.extend_from_slice(bytes);
        };
        list(out, self.wasmtime.as_bytes());
        list(out, self.library.as_bytes());
        out.extend_from_slice(&self.rewriting.to_le_bytes());
        list(out, self.target.as_bytes());
        list(out, self.settings.as_bytes());
        out.extend_from_slice(&self.key);
        out.extend_from_slice(&self.module);
        out.extend_from_slice(&self.module_size.to_le_bytes());
        list(out, &self.waits);
        out.extend_from_slice(&self.wrappers.first.to_le_bytes());
        out.extend_from_slice(&(self.wrappers.imports.len() as u32).to_le_bytes());
        for (index, name) in &self.wrappers.imports {
            out.extend_from_slice(&index.to_le_bytes());
            list(out, name.as_bytes());
        }
        list(out, &self.wrappers.bulk_operations);
        list(out, self.lines.bytes());
        let (start, image) = self.image.as_ref().map_or((0, &[][..]), |image| (image.start, &image.bytes));
        out.extend_from_slice(&start.to_le_bytes());
        list(out, image);
        list(out, &self.outline);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Defect> {
        Ok(Self {
            wasmtime: reader.text()?,
            library: reader.text()?,
            rewriting: reader.u32()?,
            target: reader.text()?,
            settings: reader.text()?,
            key: reader.array()?,
            module: reader.array()?,
            module_size: reader.u64()?,
            waits: reader.list()?.to_vec(),
            wrappers: Wrappers {
                first: reader.u32()?,
                imports: (0..reader.u32()?)
                    .map(|_| Ok((reader.u32()?, reader.text()?)))
                    .collect::<Result<_, Defect>>()?,
                bulk_operations: reader.list()?.to_vec(),
            },
            lines: Lines::from_bytes(reader.list()?),
            image: reader.image()?,
            outline: reader.list()?.to_vec(),
        })
    }
}

/// Reads numbers and lists and never reads past the end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Defect> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Defect::Damaged("its head is cut short"))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Defect> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, Defect> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Defect> {
        self.array().map(u64::from_le_bytes)
    }

    fn list(&mut self) -> Result<&'a [u8], Defect> {
        let size = self.u32()?;
        self.bytes(size as usize)
    }

    /// An image without bytes is none.
    fn image(&mut self) -> Result<Option<DataImage>, Defect> {
        let (start, bytes) = (self.u32()?, self.list()?);
        Ok((!bytes.is_empty()).then(|| DataImage { start, bytes: bytes.into() }))
    }

    fn text(&mut self) -> Result<String, Defect> {
        core::str::from_utf8(self.list()?)
            .map(str::to_owned)
            .map_err(|_| Defect::Damaged("its head has text that is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            wasmtime: "1.2.3".into(),
            library: "4.5.6".into(),
            rewriting: 7,
            target: "x86_64-linux".into(),
            settings: "as ever".into(),
            key: [8; 32],
            module: [9; 32],
            module_size: 1 << 40,
            waits: vec![0, 1, 2],
            wrappers: Wrappers {
                first: 5,
                imports: vec![(1, "a.b".into()), (2, "c.d".into())],
                bulk_operations: vec![8, 17],
            },
            lines: Lines::from_bytes(&[1, 2, 3]),
            image: Some(DataImage { start: 1 << 31, bytes: [4, 5, 6].into() }),
            outline: b"\0asm\x01\0\0\0".to_vec(),
        }
    }

    const CODE: [u8; 10_000] = [0xa5; 10_000];

    #[test]
    fn what_was_written_is_read() {
        for code in [&CODE[..], &[]] {
            let bytes = Artifact::write(&head(), code);
            let artifact = Artifact::read(bytes.clone()).unwrap();
            assert_eq!((&artifact.head, artifact.code()), (&head(), code));
            assert_eq!(artifact.into_bytes(), bytes);
        }
        assert_eq!(Artifact::read(Artifact::write(&Head::default(), &[])).unwrap().head, Head::default());
    }

    #[test]
    fn a_flip_of_any_byte_is_noticed() {
        let bytes = Artifact::write(&head(), &CODE);
        let code = bytes.len() - CODE.len();
        // Every byte before the code and a sample of the bytes in it.
        for at in (0..code).chain((code..bytes.len()).step_by(97)).chain([bytes.len() - 1]) {
            for flip in [1, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                let flaw = Artifact::read(damaged).err();
                match at {
                    0..8 => assert_eq!(flaw, Some(Defect::Foreign), "byte {at}"),
                    8..12 => assert!(matches!(flaw, Some(Defect::Format(_))), "byte {at}: {flaw:?}"),
                    _ => assert!(matches!(flaw, Some(Defect::Damaged(_))), "byte {at}: {flaw:?}"),
                }
            }
        }
    }

    #[test]
    fn every_shorter_or_longer_length_is_noticed() {
        let bytes = Artifact::write(&head(), &CODE);
        for length in 0..bytes.len() {
            let flaw = Artifact::read(bytes[..length].to_vec()).err();
            match length {
                0..8 => assert_eq!(flaw, Some(Defect::Foreign), "{length} bytes"),
                _ => assert!(matches!(flaw, Some(Defect::Damaged(_))), "{length} bytes: {flaw:?}"),
            }
        }
        for more in [1, 4096] {
            let mut longer = bytes.clone();
            longer.resize(bytes.len() + more, 0);
            assert!(matches!(Artifact::read(longer).err(), Some(Defect::Damaged(_))));
        }
    }

    #[test]
    fn a_head_with_false_lengths_is_refused_although_its_checksum_matches() {
        let bytes = Artifact::write(&head(), &CODE);
        let head_end = bytes.len() - CODE.len();
        // Makes each four-byte number in the head huge, and the size of the head itself.
        for at in (FIXED..head_end - 4).chain([12]) {
            let mut lying = bytes.clone();
            lying[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            let sum = checksum(&lying);
            lying[CHECKSUM].copy_from_slice(&sum);
            // Reading must return without a panic and without memory for bytes that do not exist. Most are refused.
            if let Ok(artifact) = Artifact::read(lying) {
                assert_ne!(artifact.head, head(), "byte {at}");
            }
        }
    }
}
