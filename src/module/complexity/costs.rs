//! What things in a module cost a compilation.

/// An estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Nanoseconds of processor time.
    pub time: u64,
    /// Bytes while one function is compiled.
    pub memory: u64,
    /// Bytes until the module is complete.
    pub kept: u64,
}

/// What one of `count` things costs.
pub(super) const fn each(time: u64, memory: u64, kept: u64) -> Cost {
    Cost { time, memory, kept }
}

impl Cost {
    /// Adds `count` of them.
    pub fn add(&mut self, count: u64, one: Cost) {
        self.time = self.time.saturating_add(count.saturating_mul(one.time));
        self.memory = self.memory.saturating_add(count.saturating_mul(one.memory));
        self.kept = self.kept.saturating_add(count.saturating_mul(one.kept));
    }
}

/// What one function may cost. Several are compiled at once.
pub(super) const FUNCTION: Cost = each(6_000_000_000, 256 << 20, u64::MAX);
/// What all functions may cost together.
pub(super) const MODULE: Cost = each(27_000_000_000, u64::MAX, 500 << 20);

// Costs as `bench-compile` measured them, rounded up: nanoseconds, bytes for the time being, bytes until the end.
pub(super) const FUNCTION_BASE: Cost = each(90_000, 4_000, 5_500);
/// Beyond that for functions that are exported or in a table: another entry.
pub(super) const ESCAPING: Cost = each(95_000, 0, 5_200);
pub(super) const IMPORT: Cost = each(250_000, 0, 20_000);
pub(super) const LOCAL: Cost = each(300, 160, 0);
pub(super) const SIMPLE: Cost = each(500, 200, 15);
pub(super) const OTHER: Cost = each(2_200, 600, 40);
pub(super) const SIMD: Cost = each(6_000, 1_500, 80);
pub(super) const LOAD: Cost = each(4_500, 950, 60);
pub(super) const STORE: Cost = each(2_200, 600, 40);
pub(super) const DIVISION: Cost = each(4_200, 1_700, 140);
pub(super) const TRUNCATION: Cost = each(9_500, 3_200, 500);
pub(super) const CALL: Cost = each(6_500, 1_800, 160);
/// An argument or a result of a call.
pub(super) const OPERAND: Cost = each(6_000, 550, 25);
/// Functions in tables are set up when they are first looked at, by code that is part of each look.
pub(super) const TABLE_LOOK: Cost = each(60_000, 22_000, 700);
pub(super) const INDIRECT: Cost = each(20_000, 3_000, 300);
pub(super) const BULK: Cost = each(16_000, 4_500, 240);
pub(super) const LOOP: Cost = each(43_000, 12_500, 310);
/// A local that changes, for each loop that is nested deeply.
pub(super) const DEEP_LOOP_LOCAL: Cost = each(300_000, 1_000, 0);
/// An operand that is live over a loop.
pub(super) const LOOP_OPERAND: Cost = each(300, 40, 0);
pub(super) const IF: Cost = each(12_000, 1_500, 200);
pub(super) const BLOCK: Cost = each(2_000, 600, 20);
pub(super) const BRANCH: Cost = each(4_000, 600, 40);
pub(super) const TARGET: Cost = each(200, 700, 10);
/// A value that a block or a branch passes on.
pub(super) const PASSED: Cost = each(8_000, 4_000, 30);
/// A value for each block of the function that passes values on: they form chains.
pub(super) const HANDED_ON: Cost = each(25, 17, 0);
/// One that each target of a br_table passes on.
pub(super) const TARGET_PASSED: Cost = each(2_000, 6_000, 8);
/// A byte of a constant expression: of globals, tables, offsets of segments and elements.
pub(super) const CONSTANT_BYTE: Cost = each(300, 0, 120);
/// An item of a segment that is an expression.
pub(super) const ELEMENT_EXPRESSION: Cost = each(30_000, 7_500, 500);
