//! What is dropped and when.

use super::*;

fn hour() -> Duration {
    Duration::from_secs(3600)
}

#[test]
fn only_unused_factories_are_collected() {
    let cache = cache();
    let (one, two) = (cache.soon("1", 1), cache.soon("2", 2));
    cache.run_all_jobs();
    let both = cache.executable();
    let used = ready(&one).unwrap();
    let of_two = ready(&two).unwrap();
    assert_eq!(cache.collect(Duration::ZERO), 0);
    drop(of_two);
    assert_eq!(cache.collect(hour()), 0, "not yet");
    assert_eq!(cache.collect(Duration::ZERO), 1);
    assert!(cache.executable() < both && cache.executable() > 0);
    assert_eq!(cache.refusal("2", None).0, Status::NotCached);
    assert!(Arc::ptr_eq(&used, &cache.now("1", 1)));
    drop(used);
    assert_eq!(cache.collect(Duration::ZERO), 1);
    assert_eq!(cache.executable(), 0);
    assert_eq!((cache.counted().entries, cache.counted().collected), (0, 2));
}

#[test]
fn an_untaken_result_counts_as_used_until_its_future_is_released() {
    let cache = cache();
    let receiver = cache.soon("k", 1);
    cache.run_all_jobs();
    assert_eq!(cache.collect(Duration::ZERO), 0);
    drop(receiver);
    assert_eq!(cache.collect(Duration::ZERO), 1);
}

#[test]
fn time_counts_from_the_end_of_the_last_use() {
    let cache = cache();
    let receiver = cache.soon("k", 1);
    cache.run_all_jobs();
    drop(receiver);
    let begin = Instant::now();
    let at = |time, idle| {
        let mut state = cache.state.lock();
        let collected = cache.collect_at(&mut state, time, idle);
        drop(state);
        collected.len()
    };
    // Later it is used once more.
    let used = cache.now("k", 1);
    assert_eq!(at(begin + 2 * hour(), Duration::ZERO), 0, "it is used");
    let also_used = cache.now("k", 1);
    drop(used);
    assert_eq!(at(begin + 2 * hour(), Duration::ZERO), 0, "it is still used");
    let before = Instant::now();
    drop(also_used);
    assert_eq!(at(before + hour(), hour()), 0, "the hour began with the end of the last use");
    assert_eq!(at(Instant::now() + hour(), hour()), 1);
}

#[test]
fn a_request_collects_due_factories_but_not_its_own() {
    let cache = FactoryCache::new(runtime(Arc::new(SilentLog)), Duration::from_nanos(1), Some(hour()));
    // Else the thread may have begun the first before it is given up.
    let thread = cache.hold();
    drop((cache.soon("1", 1), cache.soon("2", 2)));
    drop(thread);
    let third = cache.soon("3", 3);
    let fourth = cache.soon("4", 4);
    cache.run_all_jobs();
    drop((third, fourth));
    drop(cache.now("3", 3));
    assert_eq!(cache.counted().collected, 0, "the interval is not over");
    let Some(past) = Instant::now().checked_sub(2 * hour()) else { return };
    cache.state.lock().collected_at = past;
    let used = cache.now("3", 3);
    assert_eq!(cache.counted().collected, 1, "the fourth");
    drop(used);
    assert_eq!(cache.refusal("4", None).0, Status::NotCached);
    assert_eq!(cache.counted().collected, 1, "the interval began anew");
}
