//! Which imports a transform has no right to.

use super::abi;
use crate::base::rights::{Rights, wasm_wasi_right as Wasi};

/// The right that an import lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// `allowed_imports` does not have it.
    Import,
    /// `wasi_rights` does not have this.
    Wasi(Wasi),
}

/// How the marker functions of the SDKs' host modules begin. They do nothing.
const MARKER: &str = "check_abi_version_";

/// What an import lacks, if anything.
pub fn lacking(rights: &Rights, module: &str, name: &str) -> Option<Lacking> {
    match module {
        abi::TRANSFORM => None,
        abi::WASI => {
            let right = of_wasi(name);
            (rights.wasi != 0 && right != Wasi::Base && rights.wasi & right as u32 == 0).then_some(Lacking::Wasi(right))
        }
        _ => {
            let marker = module == abi::SCHEMA_REGISTRY && name.starts_with(MARKER);
            let allows = |function: &str| function.is_empty() || function == name || marker;
            let imports = &rights.imports;
            let allowed = imports.iter().any(|import| import.module == module && allows(&import.function));
            (!imports.is_empty() && !allowed).then_some(Lacking::Import)
        }
    }
}

/// The right that a function of WASI belongs to.
fn of_wasi(name: &str) -> Wasi {
    match name {
        "args_get" | "args_sizes_get" => Wasi::Arguments,
        "environ_get" | "environ_sizes_get" => Wasi::Environment,
        "clock_time_get" | "clock_res_get" => Wasi::Clocks,
        "random_get" => Wasi::Random,
        "fd_write" => Wasi::Output,
        "poll_oneoff" => Wasi::Sleep,
        "proc_exit"
        | "proc_raise"
        | "sched_yield"
        | "fd_close"
        | "fd_fdstat_get"
        | "fd_fdstat_set_flags"
        | "fd_prestat_get"
        | "fd_prestat_dir_name"
        | "fd_read"
        | "fd_seek"
        | "fd_tell" => Wasi::Base,
        _ if name.starts_with("sock_") => Wasi::Sockets,
        _ => Wasi::Files,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rights::AllowedImport;

    fn allowing(list: &[(&str, &str)]) -> Rights {
        let import =
            |&(module, function): &(&str, &str)| AllowedImport { module: module.into(), function: function.into() };
        Rights { imports: list.iter().map(import).collect(), wasi: 0 }
    }

    #[test]
    fn without_a_list_everything_is_allowed_and_with_one_what_is_in_it() {
        for (module, name) in [("geo", "find"), (abi::SCHEMA_REGISTRY, "get_schema"), (abi::WASI, "path_open")] {
            assert_eq!(lacking(&Rights::default(), module, name), None);
        }
        let some = allowing(&[("geo", "find"), ("all", "")]);
        let of = |module, name| lacking(&some, module, name);
        assert_eq!((of("geo", "find"), of("all", "x"), of(abi::TRANSFORM, "write_record")), (None, None, None));
        assert_eq!((of("geo", "other"), of("more", "find")), (Some(Lacking::Import), Some(Lacking::Import)));
        assert_eq!(of(abi::SCHEMA_REGISTRY, "check_abi_version_0"), Some(Lacking::Import));
        let registry = allowing(&[(abi::SCHEMA_REGISTRY, "get_subject_schema")]);
        assert_eq!(lacking(&registry, abi::SCHEMA_REGISTRY, "check_abi_version_0"), None);
        assert_eq!(lacking(&registry, abi::SCHEMA_REGISTRY, "create_subject_schema"), Some(Lacking::Import));
        assert_eq!(of(abi::WASI, "random_get"), None, "the list is not about WASI");
    }

    #[test]
    fn each_right_of_wasi_has_its_functions() {
        let functions = [
            ("args_get", Wasi::Arguments),
            ("environ_sizes_get", Wasi::Environment),
            ("clock_res_get", Wasi::Clocks),
            ("random_get", Wasi::Random),
            ("fd_write", Wasi::Output),
            ("poll_oneoff", Wasi::Sleep),
            ("fd_pwrite", Wasi::Files),
            ("path_open", Wasi::Files),
            ("sock_send", Wasi::Sockets),
        ];
        for (name, right) in functions {
            for given in Wasi::ALL {
                let rights = Rights { imports: Vec::new(), wasi: given as u32 };
                let expected = (given != right).then_some(Lacking::Wasi(right));
                assert_eq!(lacking(&rights, abi::WASI, name), expected, "{name} with {given:?}");
                assert_eq!(lacking(&rights, abi::WASI, "proc_exit"), None);
            }
        }
    }
}
