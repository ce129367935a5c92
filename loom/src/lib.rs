//! Nothing: see `tests/model.rs`.
