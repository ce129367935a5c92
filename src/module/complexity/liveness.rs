//! Where a function's locals are live: over how many blocks their values are kept.
//!
//! What compilers make writes a local shortly before it is read. Code that was made to be expensive keeps many locals
//! over thousands of blocks in which they may change. Their instructions are the same. What tells them apart is the
//! usual analysis of live variables, backwards over the structured code until nothing changes. It is made only for
//! functions for which it matters and that are not too large for it.

/// What the analysis needs of a function's code, in its order.
#[derive(Clone, Copy)]
pub enum Step {
    Read(u32),
    Write(u32),
    Block,
    If,
    Loop,
    Else,
    End,
    /// A branch out of so many blocks that may be taken.
    MayBranch(u32),
    /// What is behind it is not reached from here. Comes after the branches that are taken instead.
    Leave,
}

/// More steps are not analysed.
const MOST_STEPS: usize = 1 << 19;

/// Words of sets that an analysis may go through.
const MOST_WORDS: usize = 1 << 20;

/// A set of locals.
type Set = Vec<u64>;

fn unite(set: &mut Set, other: &Set) {
    for (word, other) in set.iter_mut().zip(other) {
        *word |= other;
    }
}

/// A block of which the end was seen already.
struct Open {
    is_loop: bool,
    /// What is live behind it, or at the start of a loop.
    target: Set,
    /// What is live at the start of the second arm of an if.
    otherwise: Option<Set>,
}

/// The steps of one function.
#[derive(Default)]
pub struct Liveness {
    steps: Vec<Step>,
}

impl Liveness {
    pub fn add(&mut self, step: Step) {
        // One too many says that some are missing.
        if self.steps.len() <= MOST_STEPS {
            self.steps.push(step);
        }
    }

    /// How many of `written` locals are live at the start and the end of each block, summed up. None if that would take
    /// too long.
    pub fn live(&self, locals: u64, written: u64) -> Option<u64> {
        let mut numbers = vec![u32::MAX; usize::try_from(locals).ok()?];
        let mut next = 0;
        let (mut sets, mut loops) = (0_usize, 0_usize);
        for step in &self.steps {
            match *step {
                Step::Write(local) => {
                    let number = numbers.get_mut(local as usize)?;
                    if *number == u32::MAX {
                        *number = next;
                        next += 1;
                    }
                }
                Step::Read(_) => {}
                _ => sets += 1,
            }
            loops += usize::from(matches!(step, Step::Loop));
        }
        let words = usize::try_from(written).ok()?.div_ceil(64);
        let round = sets.saturating_mul(words).saturating_add(self.steps.len());
        if self.steps.len() > MOST_STEPS || round > MOST_WORDS {
            return None;
        }
        let mut headers = vec![vec![0; words]; loops];
        // Once more than loops are nested in usual code, and once to see that nothing changes.
        for _ in 0..(MOST_WORDS / round.max(1)).min(8) {
            let (live, changed) = self.round(&numbers, &mut headers, words)?;
            if !changed {
                return Some(live);
            }
        }
        None
    }

    /// Once over the code. `headers`: what is live at the start of each loop as far as it is known.
    fn round(&self, numbers: &[u32], headers: &mut [Set], words: usize) -> Option<(u64, bool)> {
        let (mut sum, mut changed, mut next) = (0_u64, false, headers.len());
        let mut live = vec![0; words];
        let mut open: Vec<Open> = Vec::new();
        // Loops end in another order than they begin.
        let mut starts = self.loops_by_end();
        for step in self.steps.iter().rev() {
            match *step {
                Step::Read(local) => {
                    let number = *numbers.get(local as usize)?;
                    // Nothing for one that is never written.
                    if let Some(word) = live.get_mut(number as usize / 64) {
                        *word |= 1 << (number % 64);
                    }
                }
                Step::Write(local) => {
                    let number = *numbers.get(local as usize)?;
                    if let Some(word) = live.get_mut(number as usize / 64) {
                        *word &= !(1 << (number % 64));
                    }
                }
                Step::End => {
                    sum += count(&live);
                    let of_loop = starts.pop()?;
                    let target = match of_loop {
                        Some(number) => headers.get(number)?.clone(),
                        None => live.clone(),
                    };
                    open.push(Open { is_loop: of_loop.is_some(), target, otherwise: None });
                }
                Step::Else => {
                    let block = open.last_mut()?;
                    let behind = block.target.clone();
                    block.otherwise = Some(core::mem::replace(&mut live, behind));
                }
                Step::Block | Step::If | Step::Loop => {
                    let block = open.pop()?;
                    match step {
                        Step::If => unite(&mut live, block.otherwise.as_ref().unwrap_or(&block.target)),
                        Step::Loop => {
                            next = next.checked_sub(1)?;
                            let header = headers.get_mut(next)?;
                            changed |= *header != live;
                            header.clone_from(&live);
                        }
                        _ => {}
                    }
                    debug_assert!(block.is_loop == matches!(step, Step::Loop));
                    sum += count(&live);
                }
                Step::MayBranch(depth) => {
                    if let Some(block) = open.iter().rev().nth(depth as usize) {
                        unite(&mut live, &block.target);
                    }
                }
                Step::Leave => live.fill(0),
            }
        }
        Some((sum, changed))
    }

    /// For each block in the order of their ends: its number among the loops if it is one.
    fn loops_by_end(&self) -> Vec<Option<usize>> {
        let (mut open, mut ends, mut loops) = (Vec::new(), Vec::new(), 0);
        for step in &self.steps {
            match step {
                Step::Loop => {
                    open.push(Some(loops));
                    loops += 1;
                }
                Step::Block | Step::If => open.push(None),
                Step::End => ends.push(open.pop().unwrap_or(None)),
                _ => {}
            }
        }
        ends
    }
}

fn count(set: &Set) -> u64 {
    set.iter().map(|word| u64::from(word.count_ones())).sum()
}

#[cfg(test)]
mod tests {
    use super::Step::*;
    use super::*;

    fn live(locals: u64, steps: &[Step]) -> Option<u64> {
        let mut liveness = Liveness::default();
        steps.iter().for_each(|&step| liveness.add(step));
        let written = steps.iter().filter(|step| matches!(step, Write(_))).count();
        liveness.live(locals, written as u64)
    }

    #[test]
    fn a_local_is_live_from_its_write_to_its_last_read() {
        // Each function's own end is the last step.
        let cases: [(&str, &[Step], u64); 12] = [
            ("nothing", &[Block, End, End], 0),
            ("never read", &[Write(0), Block, End, End], 0),
            ("within one block", &[Block, Write(0), Read(0), End, End], 0),
            ("over a block", &[Write(0), Block, End, Read(0), End], 2),
            ("only into a block", &[Write(0), Block, Read(0), End, End], 1),
            ("never written", &[Block, End, Read(1), End], 0),
            ("written in one arm", &[Write(0), If, Write(0), Else, End, Read(0), End], 2),
            ("written in both", &[If, Write(0), Else, Write(0), End, Read(0), End], 1),
            ("an if without else", &[Write(0), If, Write(0), End, Read(0), End], 2),
            ("around a loop", &[Write(0), Loop, Read(0), Write(0), MayBranch(0), End, End], 1),
            ("carried by a loop", &[Write(0), Loop, Read(0), Block, End, MayBranch(0), End, End], 3),
            ("a branch that is taken", &[Write(0), Block, MayBranch(0), Leave, Write(0), End, Read(0), End], 2),
        ];
        for (what, steps, expected) in cases {
            assert_eq!(live(2, steps), Some(expected), "{what}");
        }
    }

    #[test]
    fn what_would_take_too_long_is_not_analysed() {
        let nested = |depth: usize| {
            let back = [MayBranch(0), End].repeat(depth);
            [vec![Write(0)], vec![Loop; depth], vec![Read(0)], back, vec![End]].concat()
        };
        assert_eq!(live(1, &nested(5)), Some(9));
        let wide: Vec<_> = (0..50_000).map(Write).chain([Block, End].repeat(1_000)).chain([End]).collect();
        assert_eq!(live(50_000, &wide), None, "too many sets");
        assert_eq!(live(1, &[Block, End].repeat(MOST_STEPS / 2 + 1)), None, "too many steps");
    }
}
