//! Schemas of a schema registry and their encoding for guests.
//!
//! The encoding is that of the transform SDKs. A definition is type (varint: 0 Avro, 1 Protobuf, 2 JSON), sized text
//! and references (count varint; each sized name, sized subject, version varint). A subject's schema is id varint,
//! version varint and definition. A size is a varint. All varints are zigzag.

use crate::batch::varint;

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

fn take_text(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(varint::take(bytes)?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    core::str::from_utf8(text).ok().map(str::to_owned)
}

fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    i32::try_from(varint::take(bytes)?).ok()
}

impl Schema {
    /// Appends the encoding.
    pub fn put(&self, out: &mut Vec<u8>) {
        varint::put(out, self.ty as i64);
        put_text(out, &self.definition);
        varint::put(out, self.references.len() as i64);
        for reference in &self.references {
            put_text(out, &reference.name);
            put_text(out, &reference.subject);
            varint::put(out, reference.version.into());
        }
    }

    /// Reads one encoding and nothing after it.
    pub fn parse(mut bytes: &[u8]) -> Option<Self> {
        let schema = Self::take(&mut bytes)?;
        bytes.is_empty().then_some(schema)
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let ty = wasm_schema_type::from_number(u32::try_from(varint::take(bytes)?).ok()?)?;
        let definition = take_text(bytes)?;
        let count = usize::try_from(varint::take(bytes)?).ok()?;
        // A reference takes at least three bytes. This bounds the cost of a false count.
        if count > bytes.len() / 3 {
            return None;
        }
        let mut references = Vec::with_capacity(count);
        for _ in 0..count {
            let (name, subject) = (take_text(bytes)?, take_text(bytes)?);
            references.push(Reference { name, subject, version: take_i32(bytes)? });
        }
        Some(Self { ty, definition, references })
    }
}

impl SubjectSchema {
    /// Appends the encoding.
    pub fn put(&self, out: &mut Vec<u8>) {
        varint::put(out, self.id.into());
        varint::put(out, self.version.into());
        self.schema.put(out);
    }

    /// Reads one encoding and nothing after it.
    #[cfg(test)]
    pub fn parse(mut bytes: &[u8]) -> Option<Self> {
        let (id, version) = (take_i32(&mut bytes)?, take_i32(&mut bytes)?);
        Some(Self { id, version, schema: Schema::parse(bytes)? })
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
            let mut out = Vec::new();
            whole.put(&mut out);
            prop_assert_eq!(SubjectSchema::parse(&out), Some(whole));
        }

        #[test]
        fn truncated_or_overlong_encodings_are_refused(schema in schema(), cut in 1usize..40) {
            let mut out = Vec::new();
            schema.put(&mut out);
            prop_assert_eq!(Schema::parse(&out[..out.len() - cut.min(out.len())]), None);
            out.push(0);
            prop_assert_eq!(Schema::parse(&out), None);
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
