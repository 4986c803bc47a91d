use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::Instant;

use super::{Book, Step};
use crate::{
    plugin_host::Outcome,
    watch::print::{FileId, Print},
};

/// A book, and a clock that tests turn.
struct Desk {
    book: Book,
    start: Instant,
}

impl Desk {
    fn new() -> Self {
        let book = Book::new(Duration::from_millis(150), Duration::from_millis(2_000));
        Self { book, start: Instant::now() }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// At `ms`, the files were these, each with a number that says what is in it.
    fn see(&mut self, ms: u64, files: &[(&str, i128)]) {
        let print = |number| Print([Some(FileId::made_up(number)), None, None]);
        let there: BTreeMap<PathBuf, Print> =
            files.iter().map(|(path, number)| (path.into(), print(*number))).collect();
        let now = self.at(ms);
        self.book.see(now, there);
    }

    /// What is begun at `ms`, as words.
    fn due(&mut self, ms: u64) -> Vec<String> {
        let now = self.at(ms);
        let steps = std::iter::from_fn(|| self.book.due(now));
        let word = |step| match step {
            Step::Try(path, _) => format!("try {}", path.display()),
            Step::Gone(path) => format!("gone {}", path.display()),
        };
        steps.map(word).collect()
    }

    fn end(&mut self, ms: u64, path: &str, outcome: Outcome) {
        let now = self.at(ms);
        self.book.tried(now, Path::new(path), outcome);
        self.book.free(Path::new(path));
    }

    fn next(&self) -> Option<u64> {
        self.book.next().map(|at| (at - self.start).as_millis() as u64)
    }
}

#[test]
fn a_file_is_tried_once_it_was_left_alone_for_a_moment() {
    let mut desk = Desk::new();
    desk.see(0, &[("a", 1)]);
    assert_eq!(desk.due(149), [""; 0]);
    desk.see(100, &[("a", 2)]);
    assert_eq!((desk.due(249).len(), desk.next()), (0, Some(250)));
    assert_eq!(desk.due(250), ["try a"]);
    desk.end(300, "a", Outcome::Serves);
    desk.see(400, &[("a", 2)]);
    assert_eq!((desk.due(60_000).len(), desk.next()), (0, None), "nothing has changed since");
}

#[test]
fn a_file_that_is_written_to_all_the_time_is_tried_all_the_same() {
    let mut desk = Desk::new();
    let mut tried = Vec::new();
    for round in 0..100 {
        desk.see(round * 100, &[("a", i128::from(round))]);
        if !desk.due(round * 100).is_empty() {
            tried.push(round * 100);
            desk.end(round * 100, "a", Outcome::Refused(None));
        }
    }
    assert_eq!(tried, [2_000, 4_100, 6_200, 8_300]);
}

#[test]
fn what_was_refused_is_tried_again_when_it_changes_and_not_before() {
    let mut desk = Desk::new();
    desk.see(0, &[("a", 1)]);
    assert_eq!(desk.due(200), ["try a"]);
    desk.end(200, "a", Outcome::Refused(None));
    assert_eq!(desk.due(3_600_000), [""; 0]);
    desk.see(3_600_000, &[("a", 2)]);
    assert_eq!(desk.due(3_600_150), ["try a"]);
}

#[test]
fn what_may_pass_is_tried_again_and_less_often_each_time() {
    let mut desk = Desk::new();
    desk.see(0, &[("a", 1)]);
    let (mut now, mut waits) = (150, Vec::new());
    for _ in 0..9 {
        assert_eq!(desk.due(now), ["try a"]);
        desk.end(now, "a", Outcome::Later);
        let next = desk.next().unwrap();
        waits.push((next - now) / 1_000);
        now = next;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn what_waits_for_others_is_tried_when_another_serves() {
    let mut desk = Desk::new();
    desk.see(0, &[("a", 1), ("b", 1), ("c", 1)]);
    assert_eq!(desk.due(200), ["try a", "try b", "try c"]);
    desk.end(200, "a", Outcome::WaitsForOthers);
    desk.end(200, "b", Outcome::Refused(None));
    assert_eq!(desk.due(1_000), [""; 0]);
    desk.end(1_000, "c", Outcome::Serves);
    assert_eq!(desk.due(1_000), ["try a"]);
}

#[test]
fn a_change_during_a_try_is_tried_after_it() {
    let mut desk = Desk::new();
    desk.see(0, &[("a", 1)]);
    assert_eq!(desk.due(150), ["try a"]);
    desk.see(200, &[("a", 2)]);
    assert_eq!(desk.due(10_000), [""; 0], "one at a time");
    desk.end(10_000, "a", Outcome::Serves);
    assert_eq!(desk.due(10_000), ["try a"]);
}

#[test]
fn what_is_gone_is_told_once_and_what_comes_back_is_new() {
    let mut desk = Desk::new();
    desk.see(0, &[("a", 1)]);
    assert_eq!(desk.due(150), ["try a"]);
    desk.end(150, "a", Outcome::Serves);
    desk.see(1_000, &[]);
    assert_eq!(desk.due(1_100), [""; 0], "half of a move, maybe");
    assert_eq!(desk.due(1_150), ["gone a"]);
    desk.see(2_000, &[]);
    assert_eq!(desk.due(9_000), [""; 0]);
    desk.see(9_000, &[("a", 1)]);
    assert_eq!(desk.due(9_150), ["try a"]);
}

#[test]
fn a_change_is_tried_before_what_failed_earlier() {
    let mut desk = Desk::new();
    desk.see(0, &[("a", 1), ("b", 1)]);
    assert_eq!(desk.due(150).len(), 2);
    desk.end(150, "a", Outcome::Later);
    desk.end(150, "b", Outcome::Serves);
    desk.see(5_000, &[("a", 1), ("b", 2)]);
    assert_eq!(desk.due(5_150), ["try b", "try a"]);
}

proptest! {
    /// Whatever happens to the files, and whatever comes of the tries: the last bytes are tried, and each once.
    #[test]
    fn the_last_bytes_are_always_tried(
        events in prop::collection::vec((0_u64..400, 0_usize..3, prop::option::of(0_i128..4), 0_usize..3), 1..60),
    ) {
        let mut desk = Desk::new();
        let (mut now, mut files) = (0, BTreeMap::<&str, i128>::new());
        let mut tried: BTreeMap<String, i128> = BTreeMap::new();
        for (wait, file, content, outcome) in events {
            now += wait;
            let name = ["a", "b", "c"][file];
            match content {
                // Each time it is another file, as each write is another time.
                Some(content) => files.insert(name, i128::from(now) * 10 + content),
                None => files.remove(name),
            };
            let there: Vec<_> = files.iter().map(|(name, content)| (*name, *content)).collect();
            desk.see(now, &there);
            for step in desk.due(now) {
                if let Some(path) = step.strip_prefix("try ") {
                    tried.insert(path.to_owned(), files[path]);
                    let outcomes = [Outcome::Serves, Outcome::Refused(None), Outcome::Unchanged];
                    desk.end(now, path, outcomes.into_iter().nth(outcome).unwrap());
                } else {
                    tried.remove(step.strip_prefix("gone ").unwrap());
                }
            }
        }
        for step in desk.due(now + 2_000) {
            match step.strip_prefix("try ") {
                Some(path) => drop(tried.insert(path.to_owned(), files[path])),
                None => drop(tried.remove(step.strip_prefix("gone ").unwrap())),
            }
        }
        let last: BTreeMap<String, i128> =
            files.iter().map(|(name, content)| ((*name).to_owned(), *content)).collect();
        prop_assert_eq!(tried, last);
    }
}
