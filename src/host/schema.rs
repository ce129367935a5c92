//! Schemas of a schema registry and their encoding for guests.
//!
//! The encoding is that of the transform SDKs. A definition is type (varint: 0 Avro, 1 Protobuf, 2 JSON), sized text
//! and references (count varint; each sized name, sized subject, version varint). A subject's schema is id varint,
//! version varint and definition. A size is a varint. All varints are zigzag.

use crate::batch::{fallible, varint};
use std::collections::TryReserveError;

/// The language of a schema. The numbers are those of the guest ABI.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum wasm_schema_type {
    /// Apache Avro.
    Avro = 0,
    /// Protocol Buffers.
    Protobuf = 1,
    /// JSON Schema.
    Json = 2,
}

impl wasm_schema_type {
    /// The type of a number.
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Avro, Self::Protobuf, Self::Json].into_iter().find(|&ty| ty as u32 == number)
    }
}

/// A reference to another schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The name by which the schema refers to the other.
    pub name: String,
    /// The other's subject.
    pub subject: String,
    /// The other's version.
    pub version: i32,
}

/// A schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Its language.
    pub ty: wasm_schema_type,
    /// Its text.
    pub definition: String,
    /// The schemas that this one refers to.
    pub references: Vec<Reference>,
}

/// A schema with its place in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectSchema {
    /// The schema's id. Unique in the registry.
    pub id: i32,
    /// Number of the schema within its subject.
    pub version: i32,
    /// The schema.
    pub schema: Schema,
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    varint::put(out, text.len() as i64);
    out.extend_from_slice(text.as_bytes());
}

/// Why there is no schema.
#[derive(Debug, PartialEq, Eq)]
pub enum Unread {
    /// The bytes are no encoding of one.
    Malformed,
    /// There was no memory for it.
    Refused,
}

impl From<TryReserveError> for Unread {
    fn from(_: TryReserveError) -> Self {
        Self::Refused
    }
}

fn take_number<N: TryFrom<i64>>(bytes: &mut &[u8]) -> Result<N, Unread> {
    varint::take(bytes).and_then(|number| N::try_from(number).ok()).ok_or(Unread::Malformed)
}

fn take_text(bytes: &mut &[u8]) -> Result<String, Unread> {
    let length = take_number(bytes)?;
    let (text, rest) = bytes.split_at_checked(length).ok_or(Unread::Malformed)?;
    *bytes = rest;
    Ok(fallible::text(core::str::from_utf8(text).map_err(|_| Unread::Malformed)?)?)
}

impl Schema {
    /// Appends the encoding.
    fn put(&self, out: &mut Vec<u8>) {
        varint::put(out, self.ty as i64);
        put_text(out, &self.definition);
        varint::put(out, self.references.len() as i64);
        for reference in &self.references {
            put_text(out, &reference.name);
            put_text(out, &reference.subject);
            varint::put(out, reference.version.into());
        }
    }

    /// No fewer bytes than the encoding has.
    fn encoded_size(&self) -> usize {
        /// Of a varint.
        const MOST: usize = 10;
        let reference = |r: &Reference| r.name.len() + r.subject.len() + 3 * MOST;
        self.definition.len() + 3 * MOST + self.references.iter().map(reference).sum::<usize>()
    }

    /// The encoding.
    pub fn encoded(&self) -> Result<Vec<u8>, TryReserveError> {
        let mut out = fallible::vec(self.encoded_size())?;
        self.put(&mut out);
        Ok(out)
    }

    /// Reads one encoding and nothing after it.
    pub fn parse(mut bytes: &[u8]) -> Result<Self, Unread> {
        let schema = Self::take(&mut bytes)?;
        if bytes.is_empty() { Ok(schema) } else { Err(Unread::Malformed) }
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, Unread> {
        let ty = wasm_schema_type::from_number(take_number(bytes)?).ok_or(Unread::Malformed)?;
        let definition = take_text(bytes)?;
        let count = take_number(bytes)?;
        // A reference takes at least three bytes. This bounds the cost of a false count.
        if count > bytes.len() / 3 {
            return Err(Unread::Malformed);
        }
        let mut references = fallible::vec(count)?;
        for _ in 0..count {
            let (name, subject) = (take_text(bytes)?, take_text(bytes)?);
            references.push(Reference { name, subject, version: take_number(bytes)? });
        }
        Ok(Self { ty, definition, references })
    }
}

impl SubjectSchema {
    /// The encoding.
    pub fn encoded(&self) -> Result<Vec<u8>, TryReserveError> {
        let mut out = fallible::vec(self.schema.encoded_size() + 20)?;
        varint::put(&mut out, self.id.into());
        varint::put(&mut out, self.version.into());
        self.schema.put(&mut out);
        Ok(out)
    }

    /// Reads one encoding and nothing after it.
    #[cfg(test)]
    pub fn parse(mut bytes: &[u8]) -> Result<Self, Unread> {
        let (id, version) = (take_number(&mut bytes)?, take_number(&mut bytes)?);
        Ok(Self { id, version, schema: Schema::parse(bytes)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schema() -> impl Strategy<Value = Schema> {
        let reference =
            (".*", ".*", any::<i32>()).prop_map(|(name, subject, version)| Reference { name, subject, version });
        (0u32..3, ".*", proptest::collection::vec(reference, 0..4)).prop_map(|(ty, definition, references)| Schema {
            ty: wasm_schema_type::from_number(ty).unwrap(),
            definition,
            references,
        })
    }

    proptest! {
        #[test]
        fn round_trip(id: i32, version: i32, schema in schema()) {
            let whole = SubjectSchema { id, version, schema };
            let out = whole.encoded().unwrap();
            prop_assert!(out.len() <= whole.schema.encoded_size() + 20);
            prop_assert_eq!(SubjectSchema::parse(&out), Ok(whole));
        }

        #[test]
        fn truncated_or_overlong_encodings_are_refused(schema in schema(), cut in 1usize..40) {
            let mut out = schema.encoded().unwrap();
            prop_assert_eq!(Schema::parse(&out[..out.len() - cut.min(out.len())]), Err(Unread::Malformed));
            out.push(0);
            prop_assert_eq!(Schema::parse(&out), Err(Unread::Malformed));
        }

        #[test]
        fn garbage_does_no_harm(bytes: Vec<u8>) {
            let _ = SubjectSchema::parse(&bytes);
        }
    }

    #[test]
    fn known_encoding() {
        let mut out = Vec::new();
        Schema { ty: wasm_schema_type::Protobuf, definition: "x".into(), references: vec![] }.put(&mut out);
        assert_eq!(out, [2, 2, b'x', 0]);
    }
}
