//! Proves that a rewritten module names the memories that were added in the expansions and nowhere else.

use super::{CONTROL_BYTES, NATIVE_BYTES, Site};
use wasmparser::{DataKind, ExternalKind, FunctionBody, MemoryType, Operator, Parser, Payload};

macro_rules! memory_of {
    (memarg $field:ident $found:ident) => {
        $found($field.memory)
    };
    (mem $field:ident $found:ident) => {
        $found(*$field)
    };
    (dst_mem $field:ident $found:ident) => {
        $found(*$field)
    };
    (src_mem $field:ident $found:ident) => {
        $found(*$field)
    };
    ($other:ident $field:ident $found:ident) => {};
}

macro_rules! define_memories_of {
    ($(@$proposal:ident $op:ident $({ $($field:ident: $type:ty),* })? => $visit:ident ($($annotation:tt)*))*) => {
        /// Tells `found` each memory that an instruction names.
        #[allow(unused_variables)]
        fn memories_of(operator: &Operator<'_>, mut found: impl FnMut(u32)) {
            match operator {
                $(Operator::$op $({ $($field),* })? => { $($(memory_of!($field $field found);)*)? })*
                _ => {}
            }
        }
    };
}

wasmparser::for_each_operator!(define_memories_of);

/// Why a module is not what the rewriting should have made.
type Refusal = String;

/// Checks a module that the two memories were added to. `sites` are in the order of their functions.
pub fn check(module: &[u8], sites: &[Site]) -> Result<(), Refusal> {
    let mut sites = sites;
    let mut function = 0;
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(broken)? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    if matches!(import.map_err(broken)?.ty, wasmparser::TypeRef::Memory(_)) {
                        return Err("it imports a memory".into());
                    }
                }
            }
            Payload::MemorySection(section) => {
                let types: Vec<MemoryType> = section.into_iter().collect::<Result<_, _>>().map_err(broken)?;
                let fixed = |ty: &MemoryType, bytes: usize, memory64: bool| {
                    let pages = bytes as u64 >> ty.page_size_log2.unwrap_or(16);
                    ty.memory64 == memory64 && !ty.shared && ty.initial == pages && ty.maximum == Some(pages)
                };
                let [own, control, native] = &types[..] else {
                    return Err(format!("it has {} memories", types.len()));
                };
                if own.memory64 || !fixed(control, CONTROL_BYTES, false) || !fixed(native, NATIVE_BYTES, true) {
                    return Err("its memories are of other types".into());
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(broken)?;
                    if export.kind == ExternalKind::Memory && export.index != 0 {
                        return Err(format!("it exports memory {}", export.index));
                    }
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    if let DataKind::Active { memory_index: 1.., .. } = data.map_err(broken)?.kind {
                        return Err("data is for a memory that was added".into());
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                let count = sites.iter().take_while(|site| site.function == function).count();
                let (here, others) = sites.split_at(count);
                check_body(&body, here).map_err(|why| format!("function {function} of its code: {why}"))?;
                sites = others;
                function += 1;
            }
            _ => {}
        }
    }
    if sites.is_empty() { Ok(()) } else { Err("expansions are missing".into()) }
}

fn check_body(body: &FunctionBody<'_>, mut sites: &[Site]) -> Result<(), Refusal> {
    let begin = body.range().start;
    let mut reader = body.get_operators_reader().map_err(broken)?;
    while !reader.eof() {
        let at = reader.original_position() - begin;
        let operator = reader.read().map_err(broken)?;
        while sites.first().is_some_and(|site| at >= site.end) {
            sites = &sites[1..];
        }
        let expanded = sites.first().is_some_and(|site| at >= site.start);
        let mut other = None;
        memories_of(&operator, |memory| other = other.or((memory != 0).then_some(memory)));
        if let (Some(memory), false) = (other, expanded) {
            return Err(format!("an instruction at byte {at} names memory {memory}"));
        }
    }
    Ok(())
}

fn broken(e: wasmparser::BinaryReaderError) -> Refusal {
    e.to_string()
}
