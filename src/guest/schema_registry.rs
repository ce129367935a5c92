//! The host module `redpanda_schema_registry`.
//!
//! A guest makes each request twice: first for the size of the response and then for its bytes. The response is kept
//! in between. While the registry works, the guest is suspended as in `write_record`: see `guest::transform`.

use super::context::{GuestState, HostCall, Suspended};
use super::fault::Fault;
use super::memory::GuestMemory;
use super::refusal::{Refusal, Why};
use crate::batch::fallible;
use crate::host::call::{Ended, Settled, wasm_call};
use crate::host::schema::{Schema, Unread};
use crate::host::schema_registry::SchemaRegistry;
use crate::module::abi::{SCHEMA_REGISTRY, SCHEMA_REGISTRY_WAITING, WOULD_BLOCK};
use std::sync::Arc;
use wasmtime::{AsContextMut as _, Caller, Error, Linker};

const OK: i32 = 0;
/// The schema registry is not enabled.
const NOT_ENABLED: i32 = -1;
/// Anything else.
const FAILED: i32 = -2;

/// Bytes of a schema or a subject that a guest may send. A list of references takes some thirty times as much in the
/// host's memory as in the guest's.
const MOST_BYTES: u32 = 1 << 20;

/// What a guest asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Question {
    Definition(i32),
    Subject(String, i32),
    Create(String, Schema),
}

/// The last request of a guest and the response once it is available.
#[derive(Default)]
pub struct Lookup {
    question: Option<Question>,
    /// Encoded for the guest. For `create` the id.
    answer: Option<Answer>,
}

#[derive(Clone, Debug)]
enum Answer {
    Encoded(Vec<u8>),
    Id(i32),
}

type Registered = Option<Arc<SchemaRegistry>>;

/// Defines the module.
pub fn define(linker: &mut Linker<GuestState>, registry: Registered) -> Result<(), Error> {
    linker.func_wrap(SCHEMA_REGISTRY, "check_abi_version_0", || {})?;
    let r = registry.clone();
    linker.func_wrap(
        SCHEMA_REGISTRY,
        SCHEMA_REGISTRY_WAITING[0],
        move |caller: Caller<'_, GuestState>, id: i32, length: u32| {
            ask(
                caller,
                &r,
                SCHEMA_REGISTRY_WAITING[0],
                |_| Ok(Ok(Question::Definition(id))),
                |memory, answer| answer.length(memory, length),
            )
        },
    )?;
    let r = registry.clone();
    linker.func_wrap(
        SCHEMA_REGISTRY,
        SCHEMA_REGISTRY_WAITING[1],
        move |caller: Caller<'_, GuestState>, id: i32, buffer: u32, size: u32| {
            ask(
                caller,
                &r,
                SCHEMA_REGISTRY_WAITING[1],
                |_| Ok(Ok(Question::Definition(id))),
                |memory, answer| answer.bytes(memory, buffer, size),
            )
        },
    )?;
    let r = registry.clone();
    linker.func_wrap(
        SCHEMA_REGISTRY,
        SCHEMA_REGISTRY_WAITING[2],
        move |caller: Caller<'_, GuestState>, subject: u32, subject_length: u32, version: i32, length: u32| {
            ask(
                caller,
                &r,
                SCHEMA_REGISTRY_WAITING[2],
                |memory| Ok(text(memory, "subject", subject, subject_length)?.map(|s| Question::Subject(s, version))),
                |memory, answer| answer.length(memory, length),
            )
        },
    )?;
    let r = registry.clone();
    linker.func_wrap(
        SCHEMA_REGISTRY,
        SCHEMA_REGISTRY_WAITING[3],
        move |caller: Caller<'_, GuestState>,
              subject: u32,
              subject_length: u32,
              version: i32,
              buffer: u32,
              size: u32| {
            ask(
                caller,
                &r,
                SCHEMA_REGISTRY_WAITING[3],
                |memory| Ok(text(memory, "subject", subject, subject_length)?.map(|s| Question::Subject(s, version))),
                |memory, answer| answer.bytes(memory, buffer, size),
            )
        },
    )?;
    linker.func_wrap(
        SCHEMA_REGISTRY,
        SCHEMA_REGISTRY_WAITING[4],
        move |caller: Caller<'_, GuestState>, subject: u32, subject_length: u32, buffer: u32, size: u32, id: u32| {
            ask(
                caller,
                &registry,
                SCHEMA_REGISTRY_WAITING[4],
                |memory| {
                    let subject = text(memory, "subject", subject, subject_length)?;
                    let bytes = memory.read("buffer", buffer, size)?;
                    let schema = match (size <= MOST_BYTES).then(|| Schema::parse(bytes)) {
                        Some(Err(Unread::Refused)) => return Err(Fault::OutOfMemory),
                        Some(Ok(schema)) => Ok(schema),
                        Some(Err(_)) => Err("the schema is malformed"),
                        None => Err("the schema has more than 1,048,576 bytes"),
                    };
                    Ok(subject.and_then(|subject| Ok(Question::Create(subject, schema?))))
                },
                |memory, answer| answer.id(memory, id),
            )
        },
    )?;
    Ok(())
}

/// What a guest passed, or what is wrong with it.
type Passed<T> = Result<T, &'static str>;

fn text(memory: &GuestMemory<'_>, what: &'static str, start: u32, length: u32) -> Result<Passed<String>, Fault> {
    let bytes = memory.read(what, start, length)?;
    if length > MOST_BYTES {
        return Ok(Err("the subject has more than 1,048,576 bytes"));
    }
    match core::str::from_utf8(bytes) {
        Ok(text) => Ok(Ok(fallible::text(text)?)),
        Err(_) => Ok(Err("the subject is not UTF-8")),
    }
}

/// For a kept answer of another kind.
const OTHER_ANSWER: Why = Why::Request("the schema registry's response belongs to another request");

impl Answer {
    fn length(&self, memory: &mut GuestMemory<'_>, out: u32) -> Result<Result<i32, Why>, Fault> {
        let Self::Encoded(bytes) = self else { return Ok(Err(OTHER_ANSWER)) };
        memory.write("length", out, (bytes.len() as u32).to_le_bytes())?;
        Ok(Ok(OK))
    }

    fn bytes(&self, memory: &mut GuestMemory<'_>, buffer: u32, size: u32) -> Result<Result<i32, Why>, Fault> {
        let Self::Encoded(bytes) = self else { return Ok(Err(OTHER_ANSWER)) };
        if bytes.len() > size as usize {
            return Ok(Err(Why::SchemaBuffer { schema: bytes.len(), room: size }));
        }
        memory.range("buffer", buffer, bytes.len() as u32)?.copy_from_slice(bytes);
        Ok(Ok(bytes.len() as i32))
    }

    fn id(&self, memory: &mut GuestMemory<'_>, out: u32) -> Result<Result<i32, Why>, Fault> {
        let Self::Id(id) = self else { return Ok(Err(OTHER_ANSWER)) };
        memory.write("schema id", out, id.to_le_bytes())?;
        Ok(Ok(OK))
    }
}

/// One call of a guest. Reads its request and serves it from the kept response or from the registry. Suspends the
/// guest until the registry has responded.
fn ask(
    mut caller: Caller<'_, GuestState>,
    registry: &Registered,
    name: &'static str,
    question: impl FnOnce(&GuestMemory<'_>) -> Result<Passed<Question>, Fault>,
    reply: impl FnOnce(&mut GuestMemory<'_>, &Answer) -> Result<Result<i32, Why>, Fault>,
) -> Result<i32, Error> {
    let Some(registry) = registry else {
        let refusal = Refusal { call: name, code: NOT_ENABLED, why: Why::NoRegistry };
        caller.data().context.refuse(refusal);
        return Ok(NOT_ENABLED);
    };
    let (mut memory, state) = GuestMemory::of(&mut caller, name)?;
    let context = &state.context;
    // Back from a suspension: the promise of the question in `schemas` is settled.
    let settled = match context.host_call.take() {
        HostCall::Settled(settled) => Some(settled),
        HostCall::None | HostCall::Waiting(_) => None,
    };
    let mut lookup = context.schemas.borrow_mut();
    let answer = match settled {
        Some(settled) => lookup.read(settled)?,
        None => {
            let asked = match question(&memory)? {
                Ok(asked) => asked,
                Err(why) => {
                    drop(lookup);
                    context.refuse(Refusal { call: name, code: FAILED, why: Why::Request(why) });
                    return Ok(FAILED);
                }
            };
            match lookup.answer.take() {
                Some(kept) if lookup.question.as_ref() == Some(&asked) => Ok(kept),
                _ => {
                    let mut call =
                        wasm_call::of_registry(context.owner.get(), context.user_data.get(), asked.creates());
                    let ended = asked.put_to(registry, &mut call)?;
                    lookup.question = Some(asked);
                    match ended {
                        Ended::Done => match call.take_schema() {
                            Some(settled) => lookup.read(settled)?,
                            None => Err("the schema registry returned done without a schema".into()),
                        },
                        Ended::Failed(why) => Err(why),
                        Ended::Pending(waiting) => {
                            context.host_call.set(HostCall::Waiting(waiting));
                            context.suspended.set(Some(Suspended::ForHost));
                            drop(lookup);
                            caller.as_context_mut().set_epoch_deadline(0);
                            return Ok(WOULD_BLOCK);
                        }
                    }
                }
            }
        }
    };
    match answer {
        Ok(answer) => {
            let replied = reply(&mut memory, &answer)?;
            // Only a question for a size is followed by one for the same answer.
            lookup.answer = name.ends_with("_len").then_some(answer);
            drop(lookup);
            Ok(replied.unwrap_or_else(|why| {
                context.refuse(Refusal { call: name, code: FAILED, why });
                FAILED
            }))
        }
        Err(why) => {
            drop(lookup);
            context.refuse(Refusal { call: name, code: FAILED, why: Why::registry(&why) });
            Ok(FAILED)
        }
    }
}

impl Question {
    /// Whether the response is an id and not a schema.
    fn creates(&self) -> bool {
        matches!(self, Self::Create(..))
    }

    /// Asks the host.
    fn put_to(&self, registry: &SchemaRegistry, call: &mut wasm_call) -> Result<Ended, Fault> {
        let answer = match self {
            Self::Definition(id) => registry.get_schema(*id, call),
            Self::Subject(subject, version) => registry.get_subject_schema(subject, *version, call),
            Self::Create(subject, schema) => registry.create_schema(subject, schema, call)?,
        };
        Ok(call.ended(answer, "the schema registry"))
    }
}

impl Lookup {
    /// The response to the current request in the guest's encoding, or why there is none.
    fn read(&self, settled: Settled) -> Result<Result<Answer, String>, Fault> {
        Ok(match (&self.question, settled) {
            (_, Settled::Rejected(why)) => Err(why),
            (Some(Question::Definition(_)), Settled::Schema(found)) => Ok(Answer::Encoded(found.schema.encoded()?)),
            (Some(Question::Subject(..)), Settled::Schema(found)) => Ok(Answer::Encoded(found.encoded()?)),
            (Some(Question::Create(..)), Settled::Values(values)) if values.len() == 1 => {
                Ok(Answer::Id(values[0].as_i32()))
            }
            _ => Err("the schema registry's response belongs to another request".into()),
        })
    }
}
