//! Filters JSON records and masks some of their fields. Environment variables say how, all of them optional:
//!
//! - `REDACT_FIELDS`: names separated by commas; these top-level fields become `"***"` where they are present.
//! - `KEEP_FIELD`: drops records that lack this top-level field, or where it is null.
//! - `KEEP_VALUE`: also drops those where `KEEP_FIELD` is not this text (`8` for the number 8).
//! - `KEEP_MIN`: also drops those where `KEEP_FIELD` is not a number or is below this one.
//!
//! Key and headers stay. Null values (Kafka's deletions) pass. A value that is not a JSON object is dropped with a
//! line on stderr: it could hold what must not get out.

use redpanda_transform_sdk::{
    on_record_written, BorrowedRecord, RecordWriter, WriteError, WriteEvent,
};
use serde_json::{Map, Value};
use std::env;

fn main() {
    let rules = Rules::from_env();
    on_record_written(move |event, writer| redact(&rules, event, writer));
}

struct Rules {
    mask: Vec<String>,
    keep_field: Option<String>,
    keep_value: Option<String>,
    keep_min: Option<f64>,
}

impl Rules {
    fn from_env() -> Self {
        let mask = env::var("REDACT_FIELDS").unwrap_or_default();
        Rules {
            mask: mask
                .split(',')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            keep_field: env::var("KEEP_FIELD").ok(),
            keep_value: env::var("KEEP_VALUE").ok(),
            keep_min: env::var("KEEP_MIN")
                .ok()
                .map(|min| min.parse().expect("KEEP_MIN must be a number")),
        }
    }

    fn keeps(&self, object: &Map<String, Value>) -> bool {
        let Some(name) = &self.keep_field else {
            return true;
        };
        let field = match object.get(name) {
            None | Some(Value::Null) => return false,
            Some(field) => field,
        };
        let value_fits = match (&self.keep_value, field) {
            (None, _) => true,
            (Some(wanted), Value::String(text)) => text == wanted,
            (Some(wanted), other) => other.to_string() == *wanted,
        };
        let min_fits = match self.keep_min {
            None => true,
            Some(min) => field.as_f64().is_some_and(|number| number >= min),
        };
        value_fits && min_fits
    }

    fn mask(&self, object: &mut Map<String, Value>) {
        for name in &self.mask {
            if let Some(field) = object.get_mut(name) {
                *field = Value::from("***");
            }
        }
    }
}

fn redact(rules: &Rules, event: WriteEvent, writer: &mut RecordWriter) -> Result<(), WriteError> {
    let record = event.record;
    let Some(value) = record.value() else {
        return writer.write(record);
    };
    let mut object: Map<String, Value> = match serde_json::from_slice(value) {
        Ok(object) => object,
        Err(error) => {
            eprintln!("redact: dropped a record that is not a JSON object: {error}");
            return Ok(());
        }
    };
    if !rules.keeps(&object) {
        return Ok(());
    }
    rules.mask(&mut object);
    let masked = Value::Object(object).to_string();
    let headers = record.headers().to_vec();
    writer.write(BorrowedRecord::new_with_headers(
        record.key(),
        Some(masked.as_bytes()),
        headers,
    ))
}
