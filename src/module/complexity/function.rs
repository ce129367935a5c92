//! What it costs to compile one function.

use super::costs::*;
use super::liveness::{Liveness, Step};
use crate::base::text::grouped;
use wasmparser::{
    BlockType, CompositeInnerType, FrameKind, FuncValidator, Operator, ValidatorResources, WasmModuleResources,
};

/// The things in a function that are told to its author.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Locals,
    Loops,
    NestedLoops,
    Branches,
    PassedValues,
    TableLooks,
}

impl Part {
    const ALL: usize = 7;

    fn text(self, f: &FunctionParts) -> String {
        let with_locals = |what: String| match f.changed {
            0 => what,
            locals => format!("{what} with {} locals", grouped(locals)),
        };
        match self {
            Self::Code => format!("{} instructions", grouped(f.instructions)),
            Self::Locals => format!("{} locals", grouped(f.locals)),
            Self::Loops => with_locals(format!("{} loops", grouped(f.loops))),
            Self::NestedLoops => with_locals(format!("loops nested {} deep", grouped(f.deepest))),
            Self::Branches => with_locals(format!("{} blocks and branches", grouped(f.blocks + f.branches))),
            Self::PassedValues => format!("{} values that blocks and calls pass on", grouped(f.passed)),
            Self::TableLooks => format!("{} calls through tables and reads of them", grouped(f.table_looks)),
        }
    }
}

/// A block whose end is to come.
#[derive(Clone, Copy, Default)]
struct OpenBlock {
    is_loop: bool,
    /// Branches to it.
    branches: u64,
    /// Those that have different locals.
    merges: u64,
}

/// Loops in loops as usual code has them.
const USUAL_DEPTH: u64 = 4;

/// Branches to one block that are no more than those of usual code.
const FEW_MERGES: u64 = 32;

/// The square of blocks by locals from which on it matters how many of them are live: 14 ms.
const MANY_LIVE: u64 = 2_000_000;

/// Locals that are live at once in usual code. Each one more costs more.
const USUAL_LIVE: u64 = 32;

/// One function while it is read.
pub struct FunctionParts {
    parts: [Cost; Part::ALL],
    instructions: u64,
    locals: u64,
    /// Distinct locals that are written.
    changed: u64,
    /// Blocks, ifs and loops.
    blocks: u64,
    branches: u64,
    loops: u64,
    open: Vec<OpenBlock>,
    /// A local was written since the last branch.
    writes: bool,
    /// The sum of the squares of the branches to each block.
    branches_squared: u64,
    /// Branches to blocks that have many different ones, and the sum of their squares by block.
    merges: u64,
    merges_squared: u64,
    depth: u64,
    deepest: u64,
    /// Loops that are nested deeper than those of usual code.
    deep_loops: u64,
    /// Blocks with parameters or results.
    passing_blocks: u64,
    passed: u64,
    table_looks: u64,
    liveness: Liveness,
}

impl FunctionParts {
    fn part(&mut self, part: Part) -> &mut Cost {
        &mut self.parts[part as usize]
    }

    fn code(&mut self, one: Cost) {
        self.part(Part::Code).add(1, one);
    }

    fn pass(&mut self, values: u64, one: Cost) {
        self.passed += values;
        self.part(Part::PassedValues).add(values, one);
    }

    /// What grows faster than the code.
    pub fn finish(&mut self) {
        let (loops, declared, locals) = (self.loops, self.locals, self.changed + 1);
        let quadratic = |n: u64, picoseconds: u64| n.saturating_mul(n).saturating_mul(picoseconds) / 1000;
        let instructions = quadratic(self.instructions, 10);
        self.part(Part::Code).add(1, each(instructions, 0, 0));
        self.part(Part::Locals).add(declared, LOCAL);
        let time = quadratic(loops, 280_000);
        self.part(Part::Loops).add(1, each(time, 0, 0));
        self.part(Part::Loops).add(loops.saturating_mul(locals), each(1_200, 120, 0));
        let nested = self.deep_loops.saturating_mul(locals);
        self.part(Part::NestedLoops).add(nested, DEEP_LOOP_LOCAL);
        let time = quadratic(self.deep_loops, 2_000).saturating_mul(self.deepest);
        self.part(Part::NestedLoops).add(1, each(time, 0, 0));
        // If all of them were live everywhere.
        let mut live = self.blocks.saturating_mul(locals);
        if self.blocks.saturating_mul(live) > MANY_LIVE
            && let Some(counted) = self.liveness.live(self.locals, self.changed)
        {
            // At the start and the end of each block.
            live = live.min(self.blocks + counted.div_ceil(2));
        }
        let many = live.saturating_sub(self.blocks.saturating_mul(USUAL_LIVE));
        let branching = self.blocks.saturating_mul(live.saturating_mul(5).saturating_add(many.saturating_mul(2)));
        self.part(Part::Branches).add(1, each(branching, 0, 0));
        let merging = self.merges.saturating_mul(3_500) + self.merges_squared.saturating_mul(16) / 10;
        let memory = 100 * self.merges;
        self.part(Part::Branches).add(locals, each(merging, memory, 0));
        let branches = self.branches_squared;
        self.part(Part::Branches).add(branches, each(9, 1, 0));
        let handed_on = self.passing_blocks.saturating_mul(self.passed);
        self.part(Part::PassedValues).add(handed_on, HANDED_ON);
        let edges = (self.blocks + self.branches).saturating_mul(locals);
        self.part(Part::Branches).add(edges, each(150, 60, 0));
        let looks = quadratic(self.table_looks, 17_000);
        self.part(Part::TableLooks).add(1, each(looks, 0, 0));
    }

    /// What the function costs.
    pub fn total(&self) -> Cost {
        let mut total = FUNCTION_BASE;
        for &part in &self.parts {
            total.add(1, part);
        }
        total
    }

    /// What most of `what` is spent for.
    pub fn largest(&self, what: impl Fn(&Cost) -> u64) -> String {
        const PARTS: [Part; Part::ALL] = [
            Part::Code,
            Part::Locals,
            Part::Loops,
            Part::NestedLoops,
            Part::Branches,
            Part::PassedValues,
            Part::TableLooks,
        ];
        let largest = PARTS.into_iter().max_by_key(|&part| what(&self.parts[part as usize]));
        largest.map_or_else(String::new, |part| part.text(self))
    }
}

/// Parameters and results of a type.
pub fn arity(resources: &ValidatorResources, ty: u32) -> (u64, u64) {
    let ty = resources.sub_type_at(ty).map(|ty| &ty.composite_type.inner);
    match ty {
        Some(CompositeInnerType::Func(ty)) => (ty.params().len() as u64, ty.results().len() as u64),
        _ => (0, 0),
    }
}

fn block_arity(resources: &ValidatorResources, ty: BlockType) -> (u64, u64) {
    match ty {
        BlockType::Empty => (0, 0),
        BlockType::Type(_) => (0, 1),
        BlockType::FuncType(ty) => arity(resources, ty),
    }
}

impl FunctionParts {
    /// For a function with so many locals and so many parameters and results.
    pub fn new(locals: u64, interface: u64) -> Self {
        let mut function = Self {
            parts: [Cost::default(); Part::ALL],
            instructions: 0,
            locals,
            changed: 0,
            blocks: 0,
            branches: 0,
            loops: 0,
            open: vec![OpenBlock::default()],
            writes: false,
            branches_squared: 0,
            merges: 0,
            merges_squared: 0,
            depth: 0,
            deepest: 0,
            deep_loops: 0,
            passing_blocks: 0,
            passed: 0,
            table_looks: 0,
            liveness: Liveness::default(),
        };
        function.pass(interface, OPERAND);
        function
    }

    /// A local is written for the first time.
    pub fn change(&mut self) {
        self.changed += 1;
    }

    fn block(&mut self, validator: &FuncValidator<ValidatorResources>, ty: BlockType, kind: FrameKind, cost: Cost) {
        let is_loop = kind == FrameKind::Loop;
        let (params, results) = block_arity(validator.resources(), ty);
        self.pass(params + results, PASSED);
        self.blocks += 1;
        self.passing_blocks += u64::from(params + results > 0);
        self.open.push(OpenBlock { is_loop, ..OpenBlock::default() });
        self.liveness.add(match kind {
            FrameKind::Loop => Step::Loop,
            FrameKind::If => Step::If,
            _ => Step::Block,
        });
        if is_loop {
            self.loops += 1;
            self.depth += 1;
            self.deepest = self.deepest.max(self.depth);
            self.deep_loops += u64::from(self.depth > USUAL_DEPTH);
            self.part(Part::Loops).add(validator.operand_stack_height().into(), LOOP_OPERAND);
            self.part(Part::Loops).add(1, cost);
        } else {
            self.code(cost);
        }
    }

    fn branch(&mut self, validator: &FuncValidator<ValidatorResources>, depth: u32, branch: Cost, passed: Cost) {
        let values = validator.get_control_frame(depth as usize).map_or(0, |frame| {
            let (params, results) = block_arity(validator.resources(), frame.block_type);
            if frame.kind == FrameKind::Loop { params } else { results }
        });
        self.branches += 1;
        self.liveness.add(Step::MayBranch(depth));
        if let Some(target) = self.open.len().checked_sub(1 + depth as usize) {
            self.open[target].branches += 1;
            self.open[target].merges += u64::from(core::mem::take(&mut self.writes));
        }
        self.code(branch);
        self.pass(values, passed);
    }

    fn call(&mut self, validator: &FuncValidator<ValidatorResources>, ty: u32, cost: Cost) {
        let (params, results) = arity(validator.resources(), ty);
        self.code(cost);
        self.pass(params + results, OPERAND);
    }

    fn look(&mut self) {
        self.table_looks += 1;
        self.part(Part::TableLooks).add(1, TABLE_LOOK);
    }

    /// Counts an instruction that is valid. `prefix` is its first byte.
    pub fn count(&mut self, validator: &FuncValidator<ValidatorResources>, operator: &Operator<'_>, prefix: u8) {
        use Operator as O;
        self.instructions += 1;
        match operator {
            O::LocalSet { local_index } | O::LocalTee { local_index } => {
                self.writes = true;
                self.liveness.add(Step::Write(*local_index));
                self.code(SIMPLE);
            }
            O::LocalGet { local_index } => {
                self.liveness.add(Step::Read(*local_index));
                self.code(SIMPLE);
            }
            O::I32Const { .. } | O::I64Const { .. } | O::Drop | O::Nop => self.code(SIMPLE),
            O::Block { blockty } => self.block(validator, *blockty, FrameKind::Block, BLOCK),
            O::If { blockty } => self.block(validator, *blockty, FrameKind::If, IF),
            O::Loop { blockty } => self.block(validator, *blockty, FrameKind::Loop, LOOP),
            O::Else => {
                self.code(BRANCH);
                self.liveness.add(Step::Else);
            }
            O::End => {
                self.liveness.add(Step::End);
                self.code(SIMPLE);
                let Some(block) = self.open.pop() else { return };
                self.depth -= u64::from(block.is_loop);
                self.branches_squared += block.branches * block.branches;
                if block.merges > FEW_MERGES {
                    self.merges += block.merges;
                    self.merges_squared += block.merges * block.merges;
                }
            }
            O::Br { relative_depth } => {
                self.branch(validator, *relative_depth, BRANCH, PASSED);
                self.liveness.add(Step::Leave);
            }
            O::BrIf { relative_depth } | O::BrOnNull { relative_depth } | O::BrOnNonNull { relative_depth } => {
                self.branch(validator, *relative_depth, BRANCH, PASSED)
            }
            O::BrTable { targets } => {
                self.code(BRANCH);
                for target in targets.targets().flatten().chain([targets.default()]) {
                    self.branch(validator, target, TARGET, TARGET_PASSED);
                }
                self.liveness.add(Step::Leave);
            }
            O::Return | O::Unreachable => {
                self.liveness.add(Step::Leave);
                self.code(OTHER);
            }
            O::Call { function_index } | O::ReturnCall { function_index } => {
                let ty = validator.resources().type_index_of_function(*function_index);
                self.call(validator, ty.unwrap_or(u32::MAX), CALL);
            }
            O::CallIndirect { type_index, .. } | O::ReturnCallIndirect { type_index, .. } => {
                self.call(validator, *type_index, CALL);
                self.look();
            }
            O::CallRef { type_index } | O::ReturnCallRef { type_index } => {
                self.call(validator, *type_index, INDIRECT);
            }
            O::TableGet { .. } => self.look(),
            O::RefFunc { .. }
            | O::MemoryGrow { .. }
            | O::MemoryCopy { .. }
            | O::MemoryFill { .. }
            | O::MemoryInit { .. }
            | O::DataDrop { .. }
            | O::TableSet { .. }
            | O::TableGrow { .. }
            | O::TableCopy { .. }
            | O::TableFill { .. }
            | O::TableInit { .. }
            | O::TableSize { .. }
            | O::ElemDrop { .. } => self.code(BULK),
            O::I32Load { .. }
            | O::I64Load { .. }
            | O::F32Load { .. }
            | O::F64Load { .. }
            | O::I32Load8S { .. }
            | O::I32Load8U { .. }
            | O::I32Load16S { .. }
            | O::I32Load16U { .. }
            | O::I64Load8S { .. }
            | O::I64Load8U { .. }
            | O::I64Load16S { .. }
            | O::I64Load16U { .. }
            | O::I64Load32S { .. }
            | O::I64Load32U { .. } => self.code(LOAD),
            O::I32Store { .. }
            | O::I64Store { .. }
            | O::F32Store { .. }
            | O::F64Store { .. }
            | O::I32Store8 { .. }
            | O::I32Store16 { .. }
            | O::I64Store8 { .. }
            | O::I64Store16 { .. }
            | O::I64Store32 { .. } => self.code(STORE),
            O::I32DivS | O::I32DivU | O::I32RemS | O::I32RemU | O::I64DivS | O::I64DivU | O::I64RemS | O::I64RemU => {
                self.code(DIVISION)
            }
            O::I32TruncF32S
            | O::I32TruncF32U
            | O::I32TruncF64S
            | O::I32TruncF64U
            | O::I64TruncF32S
            | O::I64TruncF32U
            | O::I64TruncF64S
            | O::I64TruncF64U
            | O::I32TruncSatF32S
            | O::I32TruncSatF32U
            | O::I32TruncSatF64S
            | O::I32TruncSatF64U
            | O::I64TruncSatF32S
            | O::I64TruncSatF32U
            | O::I64TruncSatF64S
            | O::I64TruncSatF64U => self.code(TRUNCATION),
            _ if prefix == SIMD_PREFIX => self.code(SIMD),
            _ => self.code(OTHER),
        }
    }
}

/// The first byte of SIMD instructions.
const SIMD_PREFIX: u8 = 0xfd;
