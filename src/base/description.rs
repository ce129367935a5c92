//! What an embedder says about a transform: its name, topics, environment, limits and rights.

use crate::base::error::{Error, Result};
use crate::base::limits::TransformLimits;
use crate::base::rights::Rights;
use crate::base::status::wasm_status as Status;
use core::fmt;

/// A transform's description. `check` validates it. `Display` names the transform in messages: `transform "NAME"`.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Description {
    /// The name. Also the guest's `argv[0]`. It is part of every log line and error.
    pub name: String,
    /// Where the transform's records come from.
    pub input_topic: String,
    /// Where the transform may write to. The first one is the default.
    pub output_topics: Vec<String>,
    /// The guest's environment without the variables that the library adds.
    pub environment: Vec<(String, String)>,
    /// What its guests may use.
    pub limits: TransformLimits,
    /// What its module may import.
    pub rights: Rights,
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "transform \"{}\"", self.name)
    }
}

/// Where a batch is in its operation, for messages. Empty if that has one batch or none.
#[cold]
pub fn in_call(index: Option<u32>) -> String {
    index.map_or_else(String::new, |index| format!(", batch {index} of the call"))
}

impl Description {
    /// An error about this transform: `transform "NAME": what`.
    #[cold]
    pub fn error(&self, status: Status, what: impl fmt::Display) -> Error {
        Error::new(status, format!("{self}: {what}"))
    }

    /// An error of this transform that belongs to a batch. `index` is that of an operation with several.
    pub fn error_in_batch(&self, index: Option<u32>, status: Status, what: impl fmt::Display) -> Error {
        Error::new(status, format!("{self}{}: {what}", in_call(index))).in_batch(index)
    }

    /// Refuses a description that cannot be passed to a guest.
    pub fn check(&self) -> Result<()> {
        fn no_nul(what: &str, text: &str) -> Result<()> {
            if text.contains('\0') { Err(Error::invalid(format!("{what} contains a NUL byte"))) } else { Ok(()) }
        }
        if self.name.is_empty() {
            return Err(Error::invalid("the transform has no name"));
        }
        no_nul("the transform's name", &self.name)?;
        no_nul("the input topic", &self.input_topic)?;
        for (i, topic) in self.output_topics.iter().enumerate() {
            no_nul("an output topic", topic)?;
            if topic.is_empty() {
                return Err(Error::invalid(format!("output topic {i} has no name")));
            }
            if self.output_topics[..i].contains(topic) {
                return Err(Error::invalid(format!("output topic \"{topic}\" is listed twice")));
            }
        }
        for (key, value) in &self.environment {
            no_nul("an environment variable's name", key)?;
            no_nul("an environment variable's value", value)?;
            if key.is_empty() || key.contains('=') {
                return Err(Error::invalid(format!("\"{key}\" cannot be an environment variable's name")));
            }
            if key.starts_with("REDPANDA_INPUT_TOPIC") || key.starts_with("REDPANDA_OUTPUT_TOPIC") {
                return Err(Error::invalid(format!(
                    "environment variable {key} is set by the library and not by the host"
                )));
            }
        }
        self.rights.check()
    }

    /// The guest's whole environment.
    pub fn full_environment(&self) -> Vec<(String, String)> {
        let mut all = self.environment.clone();
        all.push(("REDPANDA_INPUT_TOPIC".into(), self.input_topic.clone()));
        for (i, topic) in self.output_topics.iter().enumerate() {
            all.push((format!("REDPANDA_OUTPUT_TOPIC_{i}"), topic.clone()));
        }
        all
    }

    /// The index of an output topic.
    #[inline]
    pub fn topic_index(&self, name: &[u8]) -> Option<u32> {
        self.output_topics.iter().position(|topic| topic.as_bytes() == name).map(|i| i as u32)
    }
}
