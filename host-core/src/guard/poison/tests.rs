use std::time::{Duration, Instant};

use super::{Input, PoisonConfig, PoisonMemory, Poisoned, digest};

const MINUTE: Duration = Duration::from_secs(60);

fn input(bytes: &[u8]) -> Input<'_> {
    Input { operation: "process", content_type: "text/plain", options: &[], bytes }
}

/// Three strikes, half forgotten after ten minutes, unless told otherwise.
fn memory(change: impl FnOnce(&mut PoisonConfig)) -> PoisonMemory {
    let mut config = PoisonConfig::default();
    change(&mut config);
    PoisonMemory::new(config)
}

/// The memory after strikes on `input`, at these minutes; and the moment from which they are counted.
fn struck(memory: PoisonMemory, input: &Input<'_>, minutes: &[u32]) -> (PoisonMemory, Instant) {
    let start = Instant::now();
    for minute in minutes {
        memory.strike(input, start + *minute * MINUTE);
    }
    (memory, start)
}

fn refused(memory: &PoisonMemory, bytes: &[u8], now: Instant) -> bool {
    memory.check(&input(bytes), now).is_err()
}

#[test]
fn the_third_strike_is_one_too_many() {
    let (memory, now) = struck(memory(|_| {}), &input(b"bad"), &[0, 0]);
    assert!(!refused(&memory, b"bad", now));
    memory.strike(&input(b"bad"), now);
    assert!(refused(&memory, b"bad", now));
    assert!(!refused(&memory, b"good", now));
}

#[test]
fn strikes_far_apart_are_forgotten_before_they_add_up() {
    let check = |minutes: &[u32], expected: bool| {
        let (memory, start) = struck(memory(|_| {}), &input(b"bad"), minutes);
        let last = start + minutes[minutes.len() - 1] * MINUTE;
        assert_eq!(refused(&memory, b"bad", last), expected, "{minutes:?}");
    };
    check(&[0, 1, 2], true);
    check(&[0, 5, 10], true);
    check(&[0, 8, 16], false);
    check(&[0, 8, 16, 17], true);
    check(&[0, 10, 20, 30, 40, 50, 60, 70], false);
}

#[test]
fn an_input_that_is_refused_is_refused_for_one_half_life() {
    let (memory, now) = struck(memory(|_| {}), &input(b"bad"), &[0, 0, 0]);
    let refused = |minute| memory.check(&input(b"bad"), now + minute * MINUTE);
    let left = |minutes: u32| Err(Poisoned { forgotten_in: minutes * MINUTE });
    assert_eq!(refused(0), left(10));
    assert_eq!(refused(4), left(6));
    assert_eq!(refused(10), Ok(()));
    // And is on probation: once more is enough.
    memory.strike(&input(b"bad"), now + 12 * MINUTE);
    assert!(refused(12).is_err());
}

#[test]
fn strikes_of_calls_that_ran_at_the_same_time_count_no_more_than_it_takes() {
    let (memory, now) = struck(memory(|_| {}), &input(b"bad"), &[0; 50]);
    assert!(refused(&memory, b"bad", now + 9 * MINUTE));
    assert!(!refused(&memory, b"bad", now + 10 * MINUTE));
}

#[test]
fn one_strike_can_be_enough_and_is_forgotten_too() {
    let (memory, now) = struck(memory(|config| config.strikes = 1), &input(b"bad"), &[0]);
    assert!(refused(&memory, b"bad", now + 9 * MINUTE));
    assert!(!refused(&memory, b"bad", now + 10 * MINUTE));
}

#[test]
fn whatever_is_different_makes_another_input() {
    let options = [("a".to_owned(), "b".to_owned())];
    let bad = Input { options: &options, ..input(b"bad") };
    let (memory, now) = struck(memory(|config| config.strikes = 1), &bad, &[0]);
    assert!(memory.check(&bad, now).is_err());
    let other_options = [("a".to_owned(), "c".to_owned())];
    for other in [
        Input { operation: "validate", ..bad },
        Input { content_type: "text/html", ..bad },
        Input { options: &other_options, ..bad },
        Input { options: &[], ..bad },
        Input { bytes: b"bat", ..bad },
        Input { bytes: b"ba", ..bad },
    ] {
        assert_eq!(memory.check(&other, now), Ok(()), "{other:?}");
    }
}

#[test]
fn inputs_that_look_alike_are_told_apart() {
    let alike = |middle: u8| {
        let mut bytes = vec![b'x'; 1_000];
        bytes[500] = middle;
        bytes
    };
    let (memory, now) = struck(memory(|config| config.strikes = 1), &input(&alike(0)), &[0]);
    assert_eq!(memory.look(&input(&alike(0))), memory.look(&input(&alike(1))));
    assert!(refused(&memory, &alike(0), now));
    assert!(!refused(&memory, &alike(1), now));
}

#[test]
fn parts_of_an_input_cannot_pass_for_others() {
    let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
    };
    let of = |options: &[(String, String)], content_type: &str, bytes: &[u8]| {
        digest(&Input { operation: "process", content_type, options, bytes })
    };
    let all = [
        of(&pairs(&[("ab", "c")]), "t", b""),
        of(&pairs(&[("a", "bc")]), "t", b""),
        of(&pairs(&[("a", "b"), ("c", "")]), "t", b""),
        of(&pairs(&[]), "tabc", b""),
        of(&pairs(&[]), "t", b"abc"),
        of(&pairs(&[("", "")]), "t", b"abc"),
    ];
    for (i, a) in all.iter().enumerate() {
        assert!(all[i + 1..].iter().all(|b| a != b), "{i}");
    }
}

#[test]
fn what_was_not_seen_for_the_longest_time_is_forgotten_first() {
    let memory = memory(|config| (config.strikes, config.entries_max) = (1, 2));
    let now = Instant::now();
    for bytes in [b"a", b"b"] {
        memory.strike(&input(bytes), now);
    }
    assert!(refused(&memory, b"a", now), "seen again");
    memory.strike(&input(b"c"), now);
    assert!(refused(&memory, b"a", now));
    assert!(!refused(&memory, b"b", now));
    assert!(refused(&memory, b"c", now));
    let inner = memory.memory();
    assert_eq!((inner.entries.len(), inner.looks.len()), (2, 2));
}

#[test]
fn in_time_nothing_is_remembered_and_nobody_needs_to_ask() {
    let memory = memory(|_| {});
    assert!(memory.is_empty());
    let start = Instant::now();
    for bytes in [b"a", b"b", b"c"] {
        memory.strike(&input(bytes), start);
    }
    assert!(!memory.is_empty());
    for _ in 0..3 {
        assert!(!refused(&memory, b"unrelated", start + 9 * MINUTE));
        assert!(!memory.is_empty());
    }
    for _ in 0..3 {
        assert!(!refused(&memory, b"unrelated", start + 10 * MINUTE));
    }
    assert!(memory.is_empty());
    assert!(memory.memory().looks.is_empty());
}

#[test]
fn no_configuration_and_no_clock_is_too_odd() {
    let now = Instant::now();
    let nothing = memory(|config| config.entries_max = 0);
    nothing.strike(&input(b"bad"), now);
    assert!(nothing.is_empty());

    for half_life in [Duration::ZERO, Duration::MAX] {
        for strikes in [0, u32::MAX] {
            let memory = memory(|config| (config.half_life, config.strikes) = (half_life, strikes));
            for _ in 0..1_000 {
                memory.strike(&input(b"bad"), now);
            }
            assert!(refused(&memory, b"bad", now));
            // A clock that goes back.
            assert!(refused(&memory, b"bad", now - Duration::from_secs(1)));
            let later = now + MINUTE;
            assert_eq!(refused(&memory, b"bad", later), half_life == Duration::MAX);
        }
    }
}
