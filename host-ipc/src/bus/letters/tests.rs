use super::{DeadLetter, DeadLetters, MESSAGE_BYTES_MAX, shown};
use crate::{Event, Origin};
use std::sync::Arc;

fn letter(payload: &str) -> DeadLetter {
    let event = Event::new(Origin::outside("http").unwrap(), "a", payload, 0).unwrap();
    DeadLetter {
        id: 0,
        subscriber: "one".parse().unwrap(),
        event: Arc::new(event),
        code: "test/failed",
        message: String::new(),
        attempts: 1,
        when_ms: 7,
    }
}

fn filled(letters_max: usize, bytes_max: usize, count: usize) -> DeadLetters {
    let mut letters = DeadLetters::new(letters_max, bytes_max);
    (0..count).for_each(|_| letters.push(letter("x")));
    letters
}

#[track_caller]
fn page(letters: &DeadLetters, after: u64, count: usize, ids: &[u64], next: u64, missed: u64) {
    let page = letters.read(after, count);
    let found: Vec<u64> = page.letters.iter().map(|letter| letter.id).collect();
    assert_eq!((found.as_slice(), page.next, page.missed), (ids, next, missed));
}

#[test]
fn letters_are_read_in_order_and_more_than_once() {
    let letters = filled(10, usize::MAX, 3);
    page(&letters, 0, 2, &[1, 2], 2, 0);
    page(&letters, 2, 2, &[3], 3, 0);
    page(&letters, 3, 2, &[], 3, 0);
    page(&letters, 0, 10, &[1, 2, 3], 3, 0);
    page(&letters, u64::MAX, 10, &[], 3, 0);
    page(&DeadLetters::new(10, 10), 0, 10, &[], 0, 0);
}

#[test]
fn the_oldest_go_first_and_readers_are_told() {
    let letters = filled(2, usize::MAX, 5);
    assert_eq!((letters.len(), letters.dropped()), (2, 3));
    page(&letters, 0, 10, &[4, 5], 5, 3);
    page(&letters, 2, 10, &[4, 5], 5, 1);
    page(&letters, 3, 10, &[4, 5], 5, 0);
}

#[test]
fn letters_that_were_taken_out_leave_gaps() {
    let mut letters = filled(10, usize::MAX, 4);
    letters.remove(1);
    letters.remove(3);
    letters.remove(99);
    page(&letters, 0, 10, &[2, 4], 4, 0);
    assert_eq!(letters.ids(), [2, 4]);
    assert!(letters.get(3).is_none() && letters.get(4).is_some());
    letters.push(letter("x"));
    page(&letters, 4, 10, &[5], 5, 0);
}

#[test]
fn bytes_are_bounded_and_one_that_is_too_large_crowds_out_nobody() {
    let mut letters = filled(100, 2_000, 100);
    assert!((1..10).contains(&letters.len()));
    let kept = letters.ids();
    letters.push(letter(&"x".repeat(2_000)));
    assert_eq!((letters.ids(), letters.dropped()), (kept.clone(), 101 - kept.len() as u64));
    kept.into_iter().for_each(|id| letters.remove(id));
    assert_eq!(letters.bytes, 0);
}

#[test]
fn a_page_is_bounded_but_never_empty_for_a_large_letter() {
    let mut letters = DeadLetters::new(10, 10 << 20);
    (0..3).for_each(|_| letters.push(letter(&"x".repeat(600 << 10))));
    letters.push(letter(&"x".repeat(2 << 20)));
    page(&letters, 0, 10, &[1], 1, 0);
    page(&letters, 3, 10, &[4], 4, 0);
}

#[test]
fn a_message_is_cut() {
    assert_eq!(shown(&"x".repeat(MESSAGE_BYTES_MAX)).len(), MESSAGE_BYTES_MAX);
    assert_eq!(shown(&"x".repeat(1 << 20)).len(), MESSAGE_BYTES_MAX + 3);
    assert_eq!(shown("\n"), r"\n");
}
