//! Why a host call returned an error code to the guest. The guest often knows only the number: from Redpanda's SDKs it
//! is `Unknown(-3)`. So the host's log has one line, and the error of a guest that ends at that record says it too.

use crate::base::description::Description;
use crate::base::text::shortened;
use core::fmt::{self, Write as _};

/// Bytes of a name that a guest passed. Kafka's topics have at most 249.
const LONGEST_NAME: usize = 249;

/// Bytes of a reason that the host gave.
const LONGEST_REASON: usize = 512;

/// Topics that are listed.
const MOST_TOPICS: usize = 8;

/// A refusal. Made only when a call fails: it is turned to text later and not for each.
#[derive(Debug)]
pub struct Refusal {
    /// The host function.
    pub call: &'static str,
    /// What it returned.
    pub code: i32,
    /// Why.
    pub why: Why,
}

/// The reason of a refusal.
#[derive(Debug)]
pub enum Why {
    /// There is no batch or the batch has ended.
    NoBatch,
    /// The next record is larger than the guest's buffer.
    Buffer {
        /// Bytes of the record.
        record: usize,
        /// Bytes of the buffer.
        room: u32,
    },
    /// The guest wrote a record above the limit.
    TooLarge {
        /// Bytes of the record.
        record: usize,
        /// The limit.
        limit: usize,
    },
    /// The guest wrote something else than a record.
    Malformed {
        /// Bytes of the record.
        record: usize,
        /// The part that is wrong.
        part: &'static str,
    },
    /// The guest wrote with options that cannot be read.
    Options(&'static str),
    /// The guest wrote to a topic that is no output.
    Topic(Box<str>),
    /// The guest wrote to the default topic of a transform without outputs.
    NoTopic,
    /// The host has no schema registry.
    NoRegistry,
    /// A request to the schema registry that cannot be read.
    Request(&'static str),
    /// The schema is larger than the guest's buffer.
    SchemaBuffer {
        /// Bytes of the encoded schema.
        schema: usize,
        /// Bytes of the buffer.
        room: u32,
    },
    /// The schema registry failed with this reason.
    Registry(Box<str>),
    /// More at once than a call takes.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        given: u32,
        /// How many a call takes.
        most: u32,
    },
}

impl Why {
    /// For a topic with this name.
    pub fn topic(name: &[u8]) -> Self {
        Self::Topic(shortened(name, LONGEST_NAME).into())
    }

    /// For a reason of the schema registry's.
    pub fn registry(why: &str) -> Self {
        Self::Registry(shortened(why.as_bytes(), LONGEST_REASON).into())
    }
}

impl Refusal {
    /// The text, which names the outputs of `transform`.
    pub fn text(&self, transform: &Description) -> String {
        let mut text = format!("{} returned {}: {}", self.call, self.code, self.why);
        if let Why::Topic(_) = self.why {
            // Writing to a string does not fail.
            let _ = write!(text, " {}", Outputs(&transform.output_topics));
        }
        text
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBatch => f.write_str("there is no batch now"),
            Self::Buffer { record, room } => {
                write!(f, "the next record has {record} bytes and the guest's buffer {room}")
            }
            Self::TooLarge { record, limit } => {
                write!(f, "the record has {record} bytes and output_buffer_limit is {limit}")
            }
            Self::Malformed { record, part } => write!(f, "the {record} bytes are no record: {part}"),
            Self::Options(why) => write!(f, "its options are malformed: {why}"),
            Self::Topic(name) => write!(f, "\"{name}\" is no output topic:"),
            Self::NoTopic => f.write_str("the transform has no output topic"),
            Self::NoRegistry => f.write_str("the host has no schema registry"),
            Self::Request(why) => f.write_str(why),
            Self::SchemaBuffer { schema, room } => {
                write!(f, "the schema has {schema} bytes and the guest's buffer {room}")
            }
            Self::Registry(why) => write!(f, "schema registry: {why}"),
            Self::TooMany { what, given, most } => write!(f, "{given} {what} are more than {most}"),
        }
    }
}

/// The topics that a guest may choose from.
struct Outputs<'a>(&'a [String]);

impl fmt::Display for Outputs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the transform has none");
        }
        f.write_str("the transform has ")?;
        for (i, topic) in self.0.iter().take(MOST_TOPICS).enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}\"{}\"", shortened(topic.as_bytes(), LONGEST_NAME))?;
        }
        match self.0.len().saturating_sub(MOST_TOPICS) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_refused_with_the_choices_and_texts_are_bounded() {
        let refusal = |name: &[u8]| Refusal { call: "write", code: -3, why: Why::topic(name) };
        let with = |topics: usize, name: char| Description {
            output_topics: (0..topics).map(|i| format!("{i}{}", name.to_string().repeat(5000))).collect(),
            ..Description::default()
        };
        assert_eq!(
            refusal(b"x").text(&with(0, 'a')),
            "write returned -3: \"x\" is no output topic: the transform has none"
        );
        let two = Description { output_topics: vec!["a".into(), "b".into()], ..Description::default() };
        assert_eq!(
            refusal(b"").text(&two),
            "write returned -3: \"\" is no output topic: the transform has \"a\", \"b\""
        );
        let many = refusal(&[b'y'; 100_000]).text(&with(1000, '\u{e9}'));
        assert!(many.ends_with(" and 992 more") && many.len() < 3000, "{}", many.len());
    }
}
