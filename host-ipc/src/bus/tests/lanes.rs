//! The rules of a queue, for any course of things.

use std::collections::HashMap;

use proptest::prelude::*;

use crate::{
    Origin,
    bus::lanes::{Ended, LaneLimits, Lanes, Turn, Verdict},
};

const LIMITS: LaneLimits =
    LaneLimits { sources_at_once: 2, attempts_max: 3, away_max: 4, events_max: 12, bytes_max: 100 };

fn source(n: usize) -> Origin {
    Origin::outside(&n.to_string()).unwrap()
}

#[test]
fn an_item_goes_back_if_there_is_no_room() {
    let mut lanes = Lanes::new(LaneLimits { events_max: 2, ..LIMITS });
    assert_eq!(lanes.push(&source(0), 'a', 60), Ok(()));
    assert_eq!(lanes.push(&source(1), 'b', 41), Err('b'));
    assert_eq!(lanes.push(&source(1), 'b', usize::MAX), Err('b'));
    assert_eq!(lanes.push(&source(1), 'b', 40), Ok(()));
    assert_eq!(lanes.push(&source(1), 'c', 0), Err('c'));
    let (turn, _) = lanes.next().unwrap();
    assert_eq!(lanes.settle(&turn, Ended::Handled), Verdict::Over { item: 'a', attempts: 1 });
    assert_eq!(lanes.push(&source(1), 'c', 60), Ok(()));
}

#[test]
fn a_turn_is_good_once() {
    let mut lanes = Lanes::new(LIMITS);
    lanes.push(&source(0), 'a', 1).unwrap();
    lanes.push(&source(0), 'b', 1).unwrap();
    let (turn, _) = lanes.next().unwrap();
    assert_eq!(lanes.settle(&turn, Ended::FailedForNow), Verdict::Rest { looks: 1 });
    assert_eq!(lanes.settle(&turn, Ended::Handled), Verdict::Stale);
    assert!(lanes.next().is_none(), "it rests");
    lanes.wake(&turn);
    lanes.wake(&turn);
    let (next, item) = lanes.next().unwrap();
    assert_eq!(*item, 'a');
    lanes.wake(&turn);
    assert!(lanes.next().is_none(), "the old turn does not free the new one");
    assert_eq!(lanes.settle(&turn, Ended::Handled), Verdict::Stale);
    assert_eq!(lanes.settle(&next, Ended::FailedForNow), Verdict::Rest { looks: 2 });
    lanes.wake(&turn);
    assert!(lanes.next().is_none(), "nor does it end the new rest");
    lanes.wake(&next);
    let (last, _) = lanes.next().unwrap();
    assert_eq!(lanes.settle(&last, Ended::Failed), Verdict::Over { item: 'a', attempts: 3 });
}

#[test]
fn what_is_taken_out_comes_in_order_of_arrival() {
    let mut lanes = Lanes::new(LIMITS);
    for (n, item) in [(0, 'a'), (1, 'b'), (0, 'c'), (2, 'd'), (1, 'e')] {
        lanes.push(&source(n), item, 1).unwrap();
    }
    let (turn, _) = lanes.next().unwrap();
    let (other, _) = lanes.next().unwrap();
    assert_eq!(lanes.settle(&other, Ended::FailedForNow), Verdict::Rest { looks: 1 });
    assert_eq!(lanes.drain_idle(), [('b', 1), ('c', 0), ('d', 0), ('e', 0)]);
    assert_eq!((lanes.len(), lanes.in_flight()), (1, 1));
    assert_eq!(lanes.drain_all(), [('a', 1)]);
    assert_eq!(lanes.settle(&turn, Ended::Handled), Verdict::Stale);
    assert_eq!((lanes.len(), lanes.in_flight()), (0, 0));
}

/// One thing that can happen to a queue.
#[derive(Debug, Clone)]
enum Step {
    Push {
        source: usize,
        bytes: usize,
    },
    Next,
    Settle {
        which: prop::sample::Index,
        ended: Ended,
    },
    /// A rest ends, or a delivery is abandoned.
    Wake {
        which: prop::sample::Index,
    },
    DrainIdle,
    DrainAll,
}

fn step() -> impl Strategy<Value = Step> {
    let ended = prop_oneof![
        2 => Just(Ended::Handled),
        1 => Just(Ended::Failed),
        3 => Just(Ended::FailedForNow),
        2 => Just(Ended::Away),
    ];
    let index = any::<prop::sample::Index>;
    prop_oneof![
        12 => (0..5_usize, 0..40_usize).prop_map(|(source, bytes)| Step::Push { source, bytes }),
        12 => Just(Step::Next),
        12 => (index(), ended).prop_map(|(which, ended)| Step::Settle { which, ended }),
        8 => index().prop_map(|which| Step::Wake { which }),
        1 => Just(Step::DrainIdle),
        1 => Just(Step::DrainAll),
    ]
}

/// What is known of an item that was accepted: its source, and its place among those of its source.
type Item = (usize, u32);

/// What a test knows of a queue, said as plainly as can be.
#[derive(Default)]
struct Model {
    pushed: HashMap<usize, u32>,
    /// The place of the next item of each source to be settled.
    expected: HashMap<usize, u32>,
    accepted: usize,
    settled: usize,
    failures: HashMap<Item, u32>,
    /// Of each source.
    away: HashMap<usize, u32>,
    in_flight: Vec<(Turn, Item)>,
    resting: Vec<(Turn, Item)>,
}

impl Model {
    fn settle(&mut self, item: Item) {
        // In order, and once: the next place is expected from then on.
        assert_eq!(self.expected.insert(item.0, item.1 + 1).unwrap_or(0), item.1);
        self.settled += 1;
    }

    /// A source of which nothing waits is a new one when it comes back.
    fn forget_empty(&mut self) {
        let (pushed, expected) = (&self.pushed, &self.expected);
        self.away.retain(|n, _| pushed[n] > expected.get(n).copied().unwrap_or(0));
    }

    fn queued(&self) -> usize {
        self.accepted - self.settled
    }
}

proptest! {
    #[test]
    fn order_turns_and_numbers_hold_for_any_course(steps in prop::collection::vec(step(), 0..200)) {
        let mut lanes = Lanes::<Item>::new(LIMITS);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Push { source: n, bytes } => {
                    let place = model.pushed.get(&n).copied().unwrap_or(0);
                    let taken = lanes.push(&source(n), (n, place), bytes);
                    if taken.is_ok() {
                        model.pushed.insert(n, place + 1);
                        model.accepted += 1;
                    } else {
                        prop_assert!(model.queued() == LIMITS.events_max || bytes > 0);
                    }
                }
                Step::Next => {
                    let busy: Vec<usize> = model.in_flight.iter().map(|(_, item)| item.0).collect();
                    let resting = model.resting.iter().map(|(_, item)| item.0);
                    let held: Vec<usize> = busy.iter().copied().chain(resting).collect();
                    match lanes.next() {
                        Some((turn, item)) => {
                            prop_assert!(busy.len() < LIMITS.sources_at_once);
                            prop_assert!(!held.contains(&item.0), "one at a time of a source");
                            prop_assert_eq!(&turn.source, &source(item.0));
                            prop_assert_eq!(item.1, model.expected.get(&item.0).copied().unwrap_or(0));
                            model.in_flight.push((turn, *item));
                        }
                        None => {
                            // Nobody is kept waiting who could go on.
                            let can = |n: &usize| {
                                let next = model.expected.get(n).copied().unwrap_or(0);
                                model.pushed[n] > next && !held.contains(n)
                            };
                            let full = busy.len() == LIMITS.sources_at_once;
                            prop_assert!(full || !model.pushed.keys().any(can));
                        }
                    }
                }
                Step::Settle { which, ended } => {
                    if model.in_flight.is_empty() {
                        continue;
                    }
                    let at = which.index(model.in_flight.len());
                    let (turn, item) = model.in_flight.swap_remove(at);
                    let failures = model.failures.entry(item).or_default();
                    let away = model.away.entry(item.0).or_default();
                    *if ended == Ended::Away { &mut *away } else { &mut *failures } += 1;
                    let (attempts, looks) = (*failures, *failures + *away);
                    let rests = match ended {
                        Ended::FailedForNow => attempts < LIMITS.attempts_max,
                        Ended::Away => *away < LIMITS.away_max,
                        Ended::Handled | Ended::Failed => false,
                    };
                    if rests {
                        prop_assert_eq!(lanes.settle(&turn, ended), Verdict::Rest { looks });
                        model.resting.push((turn, item));
                    } else {
                        prop_assert_eq!(lanes.settle(&turn, ended), Verdict::Over { item, attempts });
                        model.settle(item);
                        if ended != Ended::Away {
                            model.away.remove(&item.0);
                        }
                    }
                }
                Step::Wake { which } => {
                    let (resting, busy) = (model.resting.len(), model.in_flight.len());
                    if resting + busy == 0 {
                        continue;
                    }
                    let at = which.index(resting + busy);
                    let (turn, _) = match at.checked_sub(resting) {
                        None => model.resting.swap_remove(at),
                        Some(at) => model.in_flight.swap_remove(at),
                    };
                    lanes.wake(&turn);
                    prop_assert_eq!(lanes.settle(&turn, Ended::Handled), Verdict::Stale);
                }
                Step::DrainIdle => {
                    model.resting.clear();
                    for (item, attempts) in lanes.drain_idle() {
                        prop_assert!(!model.in_flight.iter().any(|(_, busy)| *busy == item));
                        prop_assert_eq!(attempts, model.failures.get(&item).copied().unwrap_or(0));
                        // Behind one that stays: that one is expected, and comes before it all the same.
                        let stays = model.in_flight.iter().any(|(_, busy)| busy.0 == item.0);
                        if stays {
                            model.settled += 1;
                            model.pushed.insert(item.0, model.pushed[&item.0] - 1);
                        } else {
                            model.settle(item);
                        }
                    }
                    prop_assert_eq!(lanes.len(), model.in_flight.len());
                }
                Step::DrainAll => {
                    model.resting.clear();
                    let busy = std::mem::take(&mut model.in_flight);
                    lanes.drain_all().into_iter().for_each(|(item, _)| model.settle(item));
                    for (turn, _) in busy {
                        prop_assert_eq!(lanes.settle(&turn, Ended::Handled), Verdict::Stale);
                    }
                    prop_assert_eq!(lanes.len(), 0);
                }
            }
            model.forget_empty();
            prop_assert_eq!(lanes.len(), model.queued(), "nothing is lost, nothing is there twice");
            prop_assert_eq!(lanes.in_flight(), model.in_flight.len());
        }
        // Whatever happened: all that is left can be delivered, in order.
        model.in_flight.drain(..).chain(model.resting.drain(..)).for_each(|(turn, _)| lanes.wake(&turn));
        while let Some((turn, item)) = lanes.next() {
            let item = *item;
            let attempts = model.failures.get(&item).copied().unwrap_or(0) + 1;
            let verdict = lanes.settle(&turn, Ended::Handled);
            prop_assert_eq!(verdict, Verdict::Over { item, attempts });
            model.settle(item);
        }
        prop_assert_eq!((lanes.len(), model.queued()), (0, 0));
    }
}
