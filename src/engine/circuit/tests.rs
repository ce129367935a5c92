use super::*;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

const NONE: Thresholds = Thresholds {
    lost_max: 0,
    lost_window: 0,
    restart_max: 0,
    restart_window: Duration::ZERO,
    half_open_records: 0,
    open: Duration::ZERO,
};

/// What happens to a record, or between two.
#[derive(Clone, Copy, PartialEq)]
enum Event {
    Passes,
    Fails,
    /// Between two records.
    Ends,
    /// Seconds.
    Waits(u64),
    /// The host starts the engine after the circuit opened.
    Starts,
}

/// The definition: everything that happened since the circuit closed is remembered and counted each time.
#[derive(Default)]
struct Naive {
    state: wasm_circuit,
    /// Whether each record was lost.
    records: Vec<bool>,
    restarts: Vec<u64>,
    trial: u32,
    now: u64,
}

impl Naive {
    fn step(&mut self, event: Event, t: &Thresholds) {
        match event {
            Event::Passes => {
                self.records.push(false);
                if self.state == wasm_circuit::HalfOpen {
                    self.trial += 1;
                    if self.trial == t.half_open_records {
                        *self = Self { now: self.now, ..Self::default() };
                    }
                }
            }
            Event::Fails => self.fail(true, t),
            Event::Ends => self.fail(false, t),
            Event::Waits(seconds) => self.now += seconds,
            Event::Starts => {
                self.state = wasm_circuit::HalfOpen;
                self.trial = 0;
            }
        }
    }

    fn fail(&mut self, loses: bool, t: &Thresholds) {
        let lost = self.records.iter().rev().take(t.lost_window as usize - usize::from(t.lost_window > 0));
        let too_many = loses && t.lost_window > 0 && lost.filter(|lost| **lost).count() as u32 + 1 > t.lost_max;
        let window = t.restart_window.as_secs();
        let recent = self.restarts.iter().filter(|&&at| self.now - at < window).count() as u32;
        let too_often = window > 0 && recent + 1 > t.restart_max;
        if self.state == wasm_circuit::HalfOpen || too_many || too_often {
            self.state = wasm_circuit::Open;
            return;
        }
        if loses {
            self.records.push(true);
        }
        self.restarts.push(self.now);
    }
}

#[test]
fn it_decides_as_the_definition_does_however_records_are_cut_into_batches() {
    let mut random = SmallRng::seed_from_u64(17);
    let mut seen = [0u32; 3];
    for round in 0..2_000 {
        let lost_window = if round % 4 == 0 { 0 } else { random.random_range(1..30) };
        let windows = lost_window > 0;
        let restart_window = if windows && random.random() { 0 } else { random.random_range(1..20) };
        let t = Thresholds {
            lost_max: if windows { random.random_range(0..lost_window) } else { 0 },
            lost_window,
            restart_max: if restart_window > 0 { random.random_range(0..6) } else { 0 },
            restart_window: Duration::from_secs(restart_window),
            half_open_records: random.random_range(1..12),
            open: Duration::from_secs(5),
        };
        let failing = random.random_range(0.01..0.6);
        let (mut naive, mut circuit) = (Naive::default(), Circuit::new(t, true, true).unwrap().unwrap());
        // Records that a circuit has not been told of yet.
        let mut untold = 0;
        for _ in 0..300 {
            let event = match random.random::<f64>() {
                _ if naive.state == wasm_circuit::Open => Event::Starts,
                p if p < failing * 0.8 => Event::Fails,
                p if p < failing => Event::Ends,
                p if p < failing + 0.1 => Event::Waits(random.random_range(0..8)),
                _ => Event::Passes,
            };
            let before = naive.state;
            naive.step(event, &t);
            let now = Duration::from_secs(naive.now);
            match event {
                Event::Passes => untold += 1,
                Event::Waits(_) => {}
                Event::Starts => circuit.try_again(),
                Event::Fails | Event::Ends => {
                    circuit.pass(core::mem::take(&mut untold));
                    match circuit.go_on(event == Event::Fails, now) {
                        Ok(()) if event == Event::Fails => circuit.lose(),
                        Ok(()) => {}
                        Err(_) => circuit.open(Some(now)),
                    }
                }
            }
            // A batch ends anywhere.
            if random.random_bool(0.2) {
                circuit.pass(core::mem::take(&mut untold));
            }
            if untold == 0 {
                assert_eq!(circuit.state(), naive.state, "{t:?}");
            }
            if before != naive.state {
                seen[naive.state as usize] += 1;
            }
        }
    }
    assert!(seen.iter().all(|&times| times > 1_000), "{seen:?}");
}

#[test]
fn thresholds_that_cannot_hold_are_refused() {
    let lost = Thresholds { lost_max: 1, lost_window: 2, ..NONE };
    let restarts = Thresholds { restart_max: 1, restart_window: Duration::from_secs(1), ..NONE };
    let made = |t, has_timer, loses| Circuit::new(t, has_timer, loses).map(|circuit| circuit.is_some());
    assert!(!made(NONE, false, false).unwrap());
    assert!(made(lost, false, true).unwrap() && made(restarts, true, false).unwrap());
    let most = Thresholds { lost_max: MOST_KEPT, lost_window: u32::MAX, ..NONE };
    assert!(made(most, false, true).unwrap());
    let refused = [
        (Thresholds { lost_max: 2, ..lost }, true, true, "less than lost_window"),
        (Thresholds { lost_window: 0, ..lost }, true, true, "less than lost_window"),
        (Thresholds { lost_max: MOST_KEPT + 1, ..most }, true, true, "at most 65535"),
        (Thresholds { restart_max: MOST_KEPT + 1, ..restarts }, true, true, "at most 65535"),
        (Thresholds { restart_window: Duration::ZERO, ..restarts }, true, true, "restart_window_ns is 0"),
        (lost, true, false, "loses records"),
        (restarts, false, true, "needs a timer"),
        (Thresholds { open: Duration::from_secs(1), ..lost }, false, true, "needs a timer"),
        (Thresholds { open: Duration::from_secs(1), ..NONE }, true, true, "lost_window or"),
        (Thresholds { half_open_records: 1, ..NONE }, true, true, "lost_window or"),
    ];
    for (thresholds, has_timer, loses, why) in refused {
        let error = made(thresholds, has_timer, loses).unwrap_err();
        assert!(error.message.contains(why), "{error} {why}");
    }
}

#[test]
fn an_open_circuit_waits_for_what_is_left_and_ends_of_time_do_not_overflow() {
    let t = Thresholds { lost_window: 1, open: Duration::from_secs(5), ..NONE };
    let mut circuit = Circuit::new(t, true, true).unwrap().unwrap();
    let at = Duration::from_secs;
    assert_eq!(circuit.left(at(0)), Duration::ZERO);
    circuit.open(Some(at(10)));
    assert_eq!((circuit.left(at(10)), circuit.left(at(12)), circuit.left(at(20))), (at(5), at(3), at(0)));
    assert_eq!(circuit.left(at(9)), at(6), "a clock that went back");
    circuit.open(Some(Duration::MAX));
    assert_eq!(circuit.left(Duration::MAX), Duration::ZERO);
    circuit.open(None);
    assert_eq!(circuit.left(at(0)), Duration::ZERO);
    circuit.try_again();
    assert_eq!(circuit.state(), wasm_circuit::HalfOpen);
    circuit.close();
    assert_eq!(circuit.state(), wasm_circuit::Closed);
    circuit.try_again();
    assert_eq!(circuit.state(), wasm_circuit::Closed, "it was not open");
}
