//! Turns Avro records into JSON, with schemas from the schema registry.
//!
//! A value is in Confluent's wire format: a zero byte, the schema's id in four bytes, big-endian, and the Avro body.
//! Key and headers stay, and null values pass. A value that is not of that format is dropped with a line on stderr;
//! without its schema from the registry the transform fails, since dropping it would lose data. Environment variables,
//! all optional:
//!
//! - `SUBJECT`: before the first record, `SCHEMA` is registered under this subject, and the subject's latest looked up.
//! - `SCHEMA`: the text of that schema; by default that of a reading of a sensor.
//! - `REFERENCES`: schemas that `SCHEMA` refers to, as `NAME=SUBJECT:VERSION`, separated by commas.

use apache_avro::reader::datum::GenericDatumReader;
use redpanda_transform_sdk::{
    on_record_written, BorrowedRecord, RecordWriter, WriteError, WriteEvent,
};
use redpanda_transform_sdk_sr::{
    decode_schema_id, Reference, Schema, SchemaFormat, SchemaId, SchemaRegistryClient,
    SchemaVersion,
};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::env;

const READING: &str = r#"{"type": "record", "name": "Reading", "namespace": "example", "fields": [
    {"name": "sensor", "type": "string"},
    {"name": "celsius", "type": "double"},
    {"name": "note", "type": ["null", "string"], "default": null}]}"#;

fn main() {
    let transform = RefCell::new(Transform::default());
    on_record_written(move |event, writer| transform.borrow_mut().to_json(event, writer));
}

#[derive(Default)]
struct Transform {
    /// Keeps the schemas that it has looked up.
    registry: SchemaRegistryClient,
    registered: bool,
    parsed: HashMap<SchemaId, AvroSchema>,
}

/// A schema, and those that it refers to.
struct AvroSchema {
    schema: apache_avro::Schema,
    referenced: Vec<apache_avro::Schema>,
}

impl Transform {
    fn to_json(&mut self, event: WriteEvent, writer: &mut RecordWriter) -> Result<(), WriteError> {
        if !self.registered {
            if let Ok(subject) = env::var("SUBJECT") {
                self.register(&subject);
            }
            self.registered = true;
        }
        let record = event.record;
        let Some(value) = record.value() else {
            return writer.write(record);
        };
        let Ok((id, body)) = decode_schema_id(value) else {
            eprintln!("avro: dropped a record that does not begin with the id of a schema");
            return Ok(());
        };
        match self.schema(id).decode(body) {
            Ok(json) => writer.write(BorrowedRecord::new_with_headers(
                record.key(),
                Some(json.as_bytes()),
                record.headers().to_vec(),
            )),
            Err(error) => {
                eprintln!(
                    "avro: dropped a record that does not fit schema {}: {error}",
                    id.0
                );
                Ok(())
            }
        }
    }

    fn register(&mut self, subject: &str) {
        let text = env::var("SCHEMA").unwrap_or_else(|_| READING.to_owned());
        let references = env::var("REFERENCES").unwrap_or_default();
        let schema = Schema::new_avro(
            text,
            references.split_terminator(',').map(reference).collect(),
        );
        let created = self
            .registry
            .create_schema(subject, schema)
            .unwrap_or_else(|error| {
                panic!("cannot register the schema under {subject:?}: {error}")
            });
        let latest = self
            .registry
            .lookup_latest_schema(subject)
            .unwrap_or_else(|error| {
                panic!("cannot look up the latest schema of {subject:?}: {error}")
            });
        println!(
            "avro: registered schema {} under {subject:?}, where version {} is the latest, with schema {}",
            created.id().0,
            latest.version().0,
            latest.id().0
        );
    }

    fn schema(&mut self, id: SchemaId) -> &AvroSchema {
        let found = self
            .registry
            .lookup_schema_by_id(id)
            .unwrap_or_else(|error| panic!("cannot look up schema {}: {error}", id.0));
        let registry = &self.registry;
        self.parsed
            .entry(id)
            .or_insert_with(|| AvroSchema::parse(registry, id, &found))
    }
}

impl AvroSchema {
    fn parse(registry: &SchemaRegistryClient, id: SchemaId, schema: &Schema) -> Self {
        let format = *schema.format();
        assert_eq!(
            format,
            SchemaFormat::Avro,
            "schema {} is of another format",
            id.0
        );
        let mut texts = Vec::new();
        look_up_references(registry, schema, &mut BTreeSet::new(), &mut texts);
        match apache_avro::Schema::parse_str_with_list(schema.schema(), &texts) {
            Ok((schema, referenced)) => Self { schema, referenced },
            Err(error) => panic!("schema {} is not valid Avro: {error}", id.0),
        }
    }

    fn decode(&self, mut body: &[u8]) -> Result<String, String> {
        let decode = |body: &mut &[u8]| {
            GenericDatumReader::builder(&self.schema)
                .writer_schemata(self.referenced.iter().chain([&self.schema]).collect())?
                .build()?
                .read_value(body)
        };
        let value = decode(&mut body).map_err(|error| error.to_string())?;
        if !body.is_empty() {
            return Err(format!("{} bytes are left over", body.len()));
        }
        let json = serde_json::Value::try_from(value).map_err(|error| error.to_string())?;
        Ok(json.to_string())
    }
}

/// Collects the texts of all schemas that `schema` refers to, also by way of others.
fn look_up_references(
    registry: &SchemaRegistryClient,
    schema: &Schema,
    seen: &mut BTreeSet<(String, SchemaVersion)>,
    texts: &mut Vec<String>,
) {
    for reference in schema.references() {
        let (subject, version) = (reference.subject(), reference.version());
        if seen.insert((subject.to_owned(), version)) {
            let found = registry
                .lookup_schema_by_version(subject, version)
                .unwrap_or_else(|error| {
                    panic!(
                        "cannot look up version {} of {subject:?}: {error}",
                        version.0
                    )
                });
            look_up_references(registry, found.schema(), seen, texts);
            texts.push(found.schema().schema().to_owned());
        }
    }
}

/// Reads `NAME=SUBJECT:VERSION`.
fn reference(text: &str) -> Reference {
    text.split_once('=')
        .and_then(|(name, rest)| {
            let (subject, version) = rest.rsplit_once(':')?;
            Some(Reference::new(
                name,
                subject,
                SchemaVersion(version.parse().ok()?),
            ))
        })
        .unwrap_or_else(|| panic!("REFERENCES: {text:?} is not of the form NAME=SUBJECT:VERSION"))
}
