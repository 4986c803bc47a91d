use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{Breaker, BreakerConfig, BreakerState, CircuitOpen, Outcome, Pass};

const SECOND: Duration = Duration::from_secs(1);

/// Opens after two failures among the last four calls, for 1 to 8 s.
fn nervous() -> BreakerConfig {
    BreakerConfig { window: 4, failures: 2, open_min: SECOND, open_max: 8 * SECOND, probes: 2 }
}

#[track_caller]
fn call(breaker: &Breaker, now: Instant, outcome: Outcome) {
    breaker.admit(now).ok().unwrap().record(outcome, now);
}

#[track_caller]
fn opened(breaker: &Breaker) -> Instant {
    match breaker.state() {
        BreakerState::Open { until } => until,
        state => panic!("{state:?}"),
    }
}

/// A breaker that has just opened for the first time.
fn open(now: Instant) -> Breaker {
    let breaker = Breaker::new(nervous());
    call(&breaker, now, Outcome::Failure);
    call(&breaker, now, Outcome::Failure);
    breaker
}

#[test]
fn too_many_failures_among_the_latest_calls_open_it() {
    let now = Instant::now();
    let check = |outcomes: &str, closed: bool| {
        let breaker = Breaker::new(nervous());
        for outcome in outcomes.chars() {
            let outcome = if outcome == 'x' { Outcome::Failure } else { Outcome::Success };
            call(&breaker, now, outcome);
        }
        assert_eq!(breaker.state() == BreakerState::Closed, closed, "{outcomes}");
    };
    check("xx", false);
    check("x..x", false);
    check("..........x.x", false);
    check("x...x...x...x", true);
    check("x", true);
}

#[test]
fn while_it_is_open_calls_are_told_when_to_come_back() {
    let now = Instant::now();
    let breaker = open(now);
    let until = opened(&breaker);
    assert!((SECOND..=2 * SECOND).contains(&(until - now)), "{:?}", until - now);
    let refused = |at| breaker.admit(at).err().map(|CircuitOpen { retry_after }| retry_after);
    assert_eq!(refused(now), Some(until - now));
    assert_eq!(refused(until - SECOND / 2), Some(SECOND / 2));
    assert_eq!(refused(until), None);
}

#[test]
fn one_probe_at_a_time_and_enough_of_them_close_it() {
    let breaker = open(Instant::now());
    let now = opened(&breaker);
    let probe = breaker.admit(now).ok().unwrap();
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert_eq!(breaker.admit(now).err(), Some(CircuitOpen { retry_after: SECOND }));
    probe.record(Outcome::Success, now);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    call(&breaker, now, Outcome::Success);
    assert_eq!(breaker.state(), BreakerState::Closed);
    // What was before is forgotten.
    call(&breaker, now, Outcome::Failure);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn a_probe_that_is_given_up_lets_another_take_its_place() {
    let breaker = open(Instant::now());
    let now = opened(&breaker);
    drop(breaker.admit(now).ok().unwrap());
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    call(&breaker, now, Outcome::Success);
    drop(breaker.admit(now).ok().unwrap());
    call(&breaker, now, Outcome::Success);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn each_probe_that_fails_makes_the_next_wait_longer() {
    let mut now = Instant::now();
    let breaker = open(now);
    for (least, most) in [(1, 2), (2, 4), (4, 8), (4, 8), (4, 8)] {
        let until = opened(&breaker);
        let wait = until - now;
        assert!((least * SECOND..=most * SECOND).contains(&wait), "{wait:?}");
        now = until;
        call(&breaker, now, Outcome::Failure);
    }
    // Closed once, it begins anew.
    now = opened(&breaker);
    call(&breaker, now, Outcome::Success);
    call(&breaker, now, Outcome::Success);
    call(&breaker, now, Outcome::Failure);
    call(&breaker, now, Outcome::Failure);
    assert!(opened(&breaker) - now <= 2 * SECOND);
}

#[test]
fn waits_differ() {
    let now = Instant::now();
    let waits: std::collections::HashSet<_> = (0..20).map(|_| opened(&open(now)) - now).collect();
    assert!(waits.len() > 1, "{waits:?}");
}

#[test]
fn calls_that_were_under_way_when_it_opened_say_nothing_new() {
    let now = Instant::now();
    let breaker = Breaker::new(nervous());
    let late: Vec<_> = (0..9).map(|_| breaker.admit(now).ok().unwrap()).collect();
    call(&breaker, now, Outcome::Failure);
    call(&breaker, now, Outcome::Failure);
    let until = opened(&breaker);
    let mut late = late.into_iter();
    for pass in late.by_ref().take(3) {
        pass.record(Outcome::Failure, now + SECOND / 2);
    }
    assert_eq!(opened(&breaker), until);
    call(&breaker, until, Outcome::Success);
    call(&breaker, until, Outcome::Success);
    for pass in late {
        pass.record(Outcome::Failure, until);
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn a_probe_from_before_it_was_closed_says_nothing_of_the_next_one() {
    for outcome in [None, Some(Outcome::Success), Some(Outcome::Failure)] {
        let breaker = open(Instant::now());
        let now = opened(&breaker);
        let stale = breaker.admit(now).ok().unwrap();
        breaker.close();
        assert_eq!((breaker.state(), breaker.openings()), (BreakerState::Closed, 0));
        call(&breaker, now, Outcome::Failure);
        call(&breaker, now, Outcome::Failure);
        let now = opened(&breaker);
        let probe = breaker.admit(now).ok().unwrap();
        match outcome {
            Some(outcome) => stale.record(outcome, now),
            None => drop(stale),
        }
        assert_eq!(breaker.state(), BreakerState::HalfOpen, "{outcome:?}");
        assert!(breaker.admit(now).is_err(), "one probe at a time");
        drop(probe);
        assert!(breaker.admit(now).is_ok());
    }
}

#[test]
fn no_configuration_is_too_odd() {
    let now = Instant::now();
    let none = BreakerConfig {
        window: 0,
        failures: 0,
        open_min: Duration::MAX,
        open_max: Duration::ZERO,
        probes: 0,
    };
    let breaker = Breaker::new(none);
    call(&breaker, now, Outcome::Success);
    assert_eq!(breaker.state(), BreakerState::Closed);
    call(&breaker, now, Outcome::Failure);
    let until = opened(&breaker);
    assert_eq!(until - now, super::DAY);
    call(&breaker, until, Outcome::Success);
    assert_eq!(breaker.state(), BreakerState::Closed);

    let at_once = Breaker::new(BreakerConfig { open_min: Duration::ZERO, ..none });
    for _ in 0..100 {
        call(&at_once, now, Outcome::Failure);
    }

    let off = Breaker::new(BreakerConfig::off());
    for _ in 0..1_000 {
        call(&off, now, Outcome::Failure);
    }
    assert_eq!(off.state(), BreakerState::Closed);
}

#[test]
fn a_pass_may_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    is_send(&Breaker::new(nervous()).admit(Instant::now()).ok());
}

#[test]
fn at_most_one_probe_is_out_whoever_asks() {
    let now = Instant::now();
    // Opens for no time at all and never closes: each call asks to be the probe.
    let breaker = Breaker::new(BreakerConfig {
        failures: 1,
        open_min: Duration::ZERO,
        open_max: Duration::ZERO,
        probes: u32::MAX,
        ..nervous()
    });
    call(&breaker, now, Outcome::Failure);
    let (out, probes) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (breaker, out, probes) = (&breaker, &out, &probes);
            scope.spawn(move || {
                for i in 0..5_000 {
                    let Ok(pass) = breaker.admit(now) else { continue };
                    assert!(pass.probe);
                    assert_eq!(out.fetch_add(1, SeqCst), 0);
                    probes.fetch_add(1, SeqCst);
                    if i % 7 == 0 {
                        std::thread::yield_now();
                    }
                    out.fetch_sub(1, SeqCst);
                    match (thread + i) % 3 {
                        0 => drop(pass),
                        1 => pass.record(Outcome::Success, now),
                        _ => pass.record(Outcome::Failure, now),
                    }
                }
            });
        }
    });
    assert!(probes.into_inner() > 100);
}

#[test]
fn failures_at_the_same_time_open_it_once() {
    let now = Instant::now();
    for _ in 0..200 {
        let breaker = Breaker::new(nervous());
        let passes: Vec<_> = (0..4).map(|_| breaker.admit(now).ok().unwrap()).collect();
        std::thread::scope(|scope| {
            for pass in passes {
                scope.spawn(move || pass.record(Outcome::Failure, now));
            }
        });
        assert!(opened(&breaker) - now <= 2 * SECOND);
    }
}

/// What a breaker is to do, said the long way.
struct Model {
    config: BreakerConfig,
    history: VecDeque<Outcome>,
    state: BreakerState,
    probing: bool,
    successes: u32,
    openings: u32,
    turn: u32,
}

/// How the model let a call through.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Closed { turn: u32 },
    Probe,
}

impl Model {
    fn new(config: BreakerConfig) -> Self {
        let state = BreakerState::Closed;
        let history = VecDeque::new();
        Self { config, history, state, probing: false, successes: 0, openings: 0, turn: 0 }
    }

    fn admit(&mut self, now: Instant) -> Result<Way, Duration> {
        match self.state {
            BreakerState::Closed => return Ok(Way::Closed { turn: self.turn }),
            BreakerState::Open { until } if now < until => return Err(until - now),
            BreakerState::Open { .. } => {
                self.state = BreakerState::HalfOpen;
                self.successes = 0;
            }
            BreakerState::HalfOpen if self.probing => return Err(self.config.open_min),
            BreakerState::HalfOpen => {}
        }
        self.probing = true;
        Ok(Way::Probe)
    }

    /// `true` if the breaker opened.
    fn end(&mut self, way: Way, outcome: Option<Outcome>) -> bool {
        match (way, outcome) {
            (Way::Closed { turn }, Some(outcome)) if turn == self.turn => {
                self.history.push_back(outcome);
                if self.history.len() > self.config.window as usize {
                    self.history.pop_front();
                }
                let failures = self.history.iter().filter(|o| **o == Outcome::Failure).count();
                if outcome == Outcome::Failure && failures >= self.config.failures as usize {
                    self.turn += 1;
                    return true;
                }
            }
            (Way::Closed { .. }, _) => {}
            (Way::Probe, outcome) => {
                self.probing = false;
                match outcome {
                    None => {}
                    Some(Outcome::Failure) => return true,
                    Some(Outcome::Success) => {
                        self.successes += 1;
                        if self.successes == self.config.probes {
                            self.state = BreakerState::Closed;
                            self.history.clear();
                            self.openings = 0;
                            self.turn += 1;
                        }
                    }
                }
            }
        }
        false
    }

    /// The shortest and the longest time for which it may be open now.
    fn opens(&mut self) -> (Duration, Duration) {
        let most = (self.config.open_min * 2_u32.pow(self.openings + 1)).min(self.config.open_max);
        self.openings = (self.openings + 1).min(20);
        ((most / 2).max(self.config.open_min), most)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Admit,
    End { which: prop::sample::Index, outcome: Option<Outcome> },
    Wait(Duration),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        3 => Just(Some(Outcome::Failure)),
        2 => Just(Some(Outcome::Success)),
        1 => Just(None),
    ];
    prop_oneof![
        4 => Just(Step::Admit),
        4 => (any::<prop::sample::Index>(), outcome)
            .prop_map(|(which, outcome)| Step::End { which, outcome }),
        1 => (0..3_000_u64).prop_map(|ms| Step::Wait(Duration::from_millis(ms))),
    ]
}

proptest! {
    #[test]
    fn it_does_what_the_model_says(
        window in 1..=64_u32,
        failures in 1..8_u32,
        probes in 1..4_u32,
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let config = BreakerConfig { window, failures, probes, ..nervous() };
        let (breaker, mut model) = (Breaker::new(config), Model::new(config));
        let mut now = Instant::now();
        let mut out: Vec<(Pass<'_>, Way)> = Vec::new();
        for step in steps {
            match step {
                Step::Wait(time) => now += time,
                Step::Admit => {
                    let expected = model.admit(now);
                    match breaker.admit(now) {
                        Ok(pass) => {
                            let way = expected.unwrap();
                            prop_assert_eq!(pass.probe, way == Way::Probe);
                            out.push((pass, way));
                        }
                        Err(refused) => prop_assert_eq!(Err(refused.retry_after), expected),
                    }
                }
                Step::End { which, outcome } => {
                    if out.is_empty() {
                        continue;
                    }
                    let (pass, way) = out.swap_remove(which.index(out.len()));
                    match outcome {
                        Some(outcome) => pass.record(outcome, now),
                        None => drop(pass),
                    }
                    if model.end(way, outcome) {
                        let until = opened(&breaker);
                        let (least, most) = model.opens();
                        prop_assert!((least..=most).contains(&(until - now)));
                        model.state = BreakerState::Open { until };
                    }
                }
            }
            prop_assert_eq!(breaker.state(), model.state);
        }
    }
}
