use super::*;
use proptest::prelude::*;

/// The reserve belongs to the process. One test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

fn taken(layout: Layout) -> NonNull<u8> {
    let block = NonNull::new(take(layout)).unwrap();
    assert!(may_own(block.as_ptr()) && owns(block.as_ptr(), layout));
    assert_eq!(block.addr().get() % layout.align(), 0);
    block
}

fn fill(block: NonNull<u8>, layout: Layout, with: u8) {
    // SAFETY: the block has so many bytes.
    unsafe { block.as_ptr().write_bytes(with, layout.size()) }
}

fn is_filled(block: NonNull<u8>, layout: Layout, with: u8) -> bool {
    // SAFETY: `fill` has written them.
    unsafe { core::slice::from_raw_parts(block.as_ptr(), layout.size()) }.iter().all(|&byte| byte == with)
}

fn free(block: NonNull<u8>, layout: Layout) {
    // SAFETY: the tests give each block back once.
    assert!(unsafe { give_back(block, layout) });
}

#[test]
fn what_is_not_the_reserves_is_refused() {
    let _alone = alone();
    let layout = layout(64, 8);
    let boxed = Box::new([0u64; 8]);
    let mine = NonNull::from(&*boxed).cast::<u8>();
    assert!(!owns(mine.as_ptr(), layout));
    // SAFETY: nothing happens to a block that is not the reserve's.
    assert!(!unsafe { give_back(mine, layout) });
}

#[test]
fn a_call_is_refused_only_while_the_reserve_is_used_up() {
    let _alone = alone();
    check().unwrap();
    let layout = layout(4096, 16);
    // More than the first part has.
    let blocks: Vec<_> = (0..3 * CHUNK / 4096).map(|_| taken(layout)).collect();
    assert!(PRESSED.load(Relaxed));
    assert!(OUTSIDE.load(Relaxed) >= 2);
    // The system has more, so there is room enough again.
    check().unwrap();
    assert!(!PRESSED.load(Relaxed));
    for block in blocks {
        free(block, layout);
    }
    PRESSED.store(true, Relaxed);
    check().unwrap();
    assert_eq!(OUTSIDE.load(Relaxed), 0, "all is given back to the system");
}

#[test]
fn large_blocks_are_mapped_and_unmapped() {
    let _alone = alone();
    let layout = layout(300_000, 16);
    let block = taken(layout);
    assert!(is_filled(block, layout, 0));
    fill(block, layout, 1);
    free(block, layout);
    assert!(!owns(block.as_ptr(), layout));
}

#[test]
fn impossible_layouts_are_refused() {
    let _alone = alone();
    assert!(take(layout(1 << 62, 1)).is_null());
    assert!(take(layout(1 << 20, 1 << 20)).is_null());
    assert!(take(layout(64, 1 << 16)).is_null());
}

#[test]
fn several_threads_use_it() {
    let _alone = alone();
    std::thread::scope(|scope| {
        for number in 0..4u8 {
            scope.spawn(move || {
                let mut kept = Vec::new();
                for i in 0..2000usize {
                    let layout = layout(1 + i * 37 % 9000, 8);
                    let block = taken(layout);
                    fill(block, layout, number);
                    kept.push((block, layout));
                    if i % 3 > 0 {
                        let (block, layout) = kept.swap_remove(i * 7 % kept.len());
                        assert!(is_filled(block, layout, number));
                        free(block, layout);
                    }
                }
                for (block, layout) in kept {
                    assert!(is_filled(block, layout, number));
                    free(block, layout);
                }
            });
        }
    });
    assert_eq!(lock().all, 0);
}

proptest! {
    #[test]
    fn blocks_never_overlap(steps in proptest::collection::vec((1usize..80_000, 0u32..13, any::<bool>(), any::<u8>()), 1..200)) {
        let _alone = alone();
        let mut kept: Vec<(NonNull<u8>, Layout, u8)> = Vec::new();
        for (size, align, frees, with) in steps {
            if frees && !kept.is_empty() {
                let (block, layout, with) = kept.swap_remove(size % kept.len());
                prop_assert!(is_filled(block, layout, with));
                free(block, layout);
            }
            let layout = layout(size, 1 << align);
            let block = taken(layout);
            fill(block, layout, with);
            kept.push((block, layout, with));
        }
        for (block, layout, with) in kept {
            prop_assert!(is_filled(block, layout, with));
            free(block, layout);
        }
        prop_assert_eq!(lock().all, 0);
    }
}
