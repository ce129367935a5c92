use super::*;
use proptest::prelude::*;

/// The reserve belongs to the process. One test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn taken(size: usize, align: usize) -> NonNull<u8> {
    let block = NonNull::new(take(size, align)).unwrap();
    assert!(may_own(block.as_ptr()) && super::size(block).unwrap() >= size);
    assert_eq!(block.addr().get() % align, 0);
    block
}

fn fill(block: NonNull<u8>, size: usize, with: u8) {
    // SAFETY: the block has so many bytes.
    unsafe { block.as_ptr().write_bytes(with, size) }
}

fn is_filled(block: NonNull<u8>, size: usize, with: u8) -> bool {
    // SAFETY: `fill` has written them.
    unsafe { core::slice::from_raw_parts(block.as_ptr(), size) }.iter().all(|&byte| byte == with)
}

fn free(block: NonNull<u8>) {
    // SAFETY: the tests give each block back once.
    assert!(unsafe { give_back(block) });
}

#[test]
fn what_is_not_the_reserves_is_refused() {
    let _alone = alone();
    let boxed = Box::new([0u64; 8]);
    let mine = NonNull::from(&*boxed).cast::<u8>();
    assert_eq!(super::size(mine), None);
    // SAFETY: nothing happens to a block that is not the reserve's.
    assert!(!unsafe { give_back(mine) });
}

#[test]
fn a_call_is_refused_only_while_the_reserve_is_used_up() {
    let _alone = alone();
    check().unwrap();
    // More than the first part has.
    let blocks: Vec<_> = (0..3 * FIRST_SIZE / 4096).map(|_| taken(4096, 16)).collect();
    assert!(PRESSED.load(Relaxed));
    assert!(OUTSIDE.load(Relaxed) >= 1);
    // The system has more, so there is room enough again.
    check().unwrap();
    assert!(!PRESSED.load(Relaxed));
    for block in blocks {
        free(block);
    }
    PRESSED.store(true, Relaxed);
    check().unwrap();
    assert_eq!(OUTSIDE.load(Relaxed), 0, "all is given back to the system");
}

#[test]
fn large_blocks_are_mapped_and_unmapped() {
    let _alone = alone();
    let block = taken(300_000, 16);
    assert!(is_filled(block, 300_000, 0));
    fill(block, 300_000, 1);
    free(block);
    assert_eq!(super::size(block), None);
}

#[test]
fn impossible_requests_are_refused() {
    let _alone = alone();
    assert!(take(1 << 62, 1).is_null());
    assert!(take(usize::MAX, 1).is_null());
    assert!(take(1 << 20, 1 << 20).is_null());
    assert!(take(64, 1 << 16).is_null());
}

#[test]
fn a_lease_ends_with_its_last_block() {
    let _alone = alone();
    let before = OUTSIDE.load(Relaxed);
    drop(lease(3 << 20).unwrap());
    assert_eq!(OUTSIDE.load(Relaxed), before);
    let leased = lease(3 << 20).unwrap();
    let class = super::class(2_000_000, 16).unwrap();
    let block = NonNull::new(lock().take(class)).unwrap();
    assert_eq!(region_of(block.addr().get()), Some(leased.0), "there is no other room for a block that large");
    drop(leased);
    fill(block, 2_000_000, 1);
    free(block);
    PRESSED.store(true, Relaxed);
    check().unwrap();
    assert_eq!(OUTSIDE.load(Relaxed), before);
    assert!(lease(usize::MAX).is_err());
}

#[test]
fn several_threads_use_it() {
    let _alone = alone();
    std::thread::scope(|scope| {
        for number in 0..4u8 {
            scope.spawn(move || {
                let mut kept = Vec::new();
                for i in 0..2000usize {
                    let size = 1 + i * 37 % 9000;
                    let block = taken(size, 8);
                    fill(block, size, number);
                    kept.push((block, size));
                    if i % 3 > 0 {
                        let (block, size) = kept.swap_remove(i * 7 % kept.len());
                        assert!(is_filled(block, size, number));
                        free(block);
                    }
                }
                for (block, size) in kept {
                    assert!(is_filled(block, size, number));
                    free(block);
                }
            });
        }
    });
    assert!(lock().regions.iter().all(|region| region.blocks == 0));
}

proptest! {
    #[test]
    fn blocks_never_overlap(steps in proptest::collection::vec((1usize..80_000, 0u32..13, any::<bool>(), any::<u8>()), 1..200)) {
        let _alone = alone();
        let mut kept: Vec<(NonNull<u8>, usize, u8)> = Vec::new();
        for (size, align, frees, with) in steps {
            if frees && !kept.is_empty() {
                let (block, size, with) = kept.swap_remove(size % kept.len());
                prop_assert!(is_filled(block, size, with));
                free(block);
            }
            let block = taken(size, 1 << align);
            fill(block, size, with);
            kept.push((block, size, with));
        }
        for (block, size, with) in kept {
            prop_assert!(is_filled(block, size, with));
            free(block);
        }
        prop_assert!(lock().regions.iter().all(|region| region.blocks == 0));
    }
}
