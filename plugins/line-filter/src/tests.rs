//! What passes, lines in several chunks, and what is refused.

use std::cell::Cell;
use std::rc::Rc;

use guest_sdk::testing::Harness;

use super::{LINE_BYTES_MAX, LineFilter};

const APP_LOG: &str = include_str!("../../../samples/app.log");

/// What comes out, and what `finished` says if it is an error.
fn run(chunks: &[&[u8]], options: &[(&str, &str)]) -> (Vec<u8>, String) {
    let mut filter = Harness::<LineFilter>::new().unwrap();
    for (name, value) in options {
        filter.option(name, value);
    }
    let (output, finished) = filter.stream(chunks, "text/plain").unwrap();
    (output, finished.err().map(|error| error.to_string()).unwrap_or_default())
}

/// In chunks of every kind.
#[track_caller]
fn check(options: &[(&str, &str)], input: impl AsRef<[u8]>, expected: impl AsRef<[u8]>) {
    for size in [1, 2, 3, 5, usize::MAX] {
        let chunks: Vec<_> = input.as_ref().chunks(size).collect();
        let (output, said) = run(&chunks, options);
        assert_eq!(said, "");
        assert_eq!(
            output.escape_ascii().to_string(),
            expected.as_ref().escape_ascii().to_string(),
            "in chunks of {size}"
        );
    }
}

#[track_caller]
fn option_refused(options: &[(&str, &str)], expected: &str) {
    let mut filter = Harness::<LineFilter>::new().unwrap();
    for (name, value) in options {
        filter.option(name, value);
    }
    let error = filter.stream(&[], "").unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn lines_are_kept_and_then_dropped() {
    let log = "info a\nerror b\nerror c\n\ndebug d\n";
    check(&[("keep", "error")], log, "error b\nerror c\n");
    check(&[("drop", "error")], log, "info a\n\ndebug d\n");
    check(&[("keep", "info|error"), ("drop", "b$")], log, "info a\nerror c\n");
    check(&[("keep", "^$")], log, "\n");
    check(&[("keep", "a,?")], log, "info a\n");
    check(&[("keep", "nothing")], log, "");
}

#[test]
fn without_options_everything_comes_out() {
    check(&[], "", "");
    check(&[], "\n", "\n");
    check(&[], b"a\r\n\n\xFF\nb", b"a\r\n\n\xFF\nb");
}

#[test]
fn a_last_line_without_an_end_counts_and_gets_none() {
    check(&[("keep", "b$")], "a\nb", "b");
    check(&[("keep", "a$")], "a\nb", "a\n");
    check(&[("keep", "b"), ("max-lines", "1")], "b\nb", "b\n");
}

#[test]
fn a_carriage_return_belongs_to_the_end_of_its_line() {
    check(&[("keep", "^a$")], "a\r\nb\r\na\n\r\n", "a\r\na\n");
    check(&[("keep", "^$")], "a\r\n\r\n", "\r\n");
    // Only there, and only one.
    check(&[("keep", "a$")], "a\r\r\nb\ra\n", "b\ra\n");
    check(&[("keep", "^a$")], "a\r", "a\r");
}

#[test]
fn lines_are_bytes() {
    check(&[("keep", "caf.$")], b"caf\xE9\ncaf\xC3\xA9\n", b"caf\xC3\xA9\n");
    check(&[("keep", "(?-u)caf.$")], b"caf\xE9\nx\n", b"caf\xE9\n");
    check(&[("keep", r"(?-u)\xFF\x00")], b"\xFF\x00\n\xFF\n", b"\xFF\x00\n");
}

#[test]
fn no_more_than_the_most_lines_come_out() {
    check(&[("max-lines", "2")], "a\nb\nc\n", "a\nb\n");
    check(&[("keep", "b"), ("max-lines", "2")], "b1\na\nb2\na\nb3\n", "b1\nb2\n");
    check(&[("max-lines", "0")], "a\n", "");
    check(&[("max-lines", "9")], "a\nb", "a\nb");
    // What would be refused is passed over too.
    let long = "x".repeat(LINE_BYTES_MAX + 1);
    assert_eq!(
        run(&[b"a\n", long.as_bytes()], &[("max-lines", "1")]),
        (b"a\n".to_vec(), "".into())
    );
}

#[test]
fn what_comes_out_is_of_the_type_that_went_in() {
    let mut filter = Harness::<LineFilter>::new().unwrap();
    let (content_type, _) = filter.stream_to([b"x"], "text/csv", |_| ()).unwrap();
    assert_eq!(content_type, "text/csv");
}

#[test]
fn lines_are_the_same_however_the_input_is_cut() {
    // Numbers that look random, and are the same in each run.
    let mut state = 0x5EED_u64;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    for _ in 0..500 {
        let length = below(400);
        let text: Vec<u8> = (0..length).map(|_| b"ab \r\n\xE9"[below(6)]).collect();
        let expected: Vec<u8> = text
            .split_inclusive(|&byte| byte == b'\n')
            .filter(|line| line.contains(&b'a') && !line.contains(&b' '))
            .take(5)
            .flatten()
            .copied()
            .collect();
        let (mut rest, mut chunks) = (&*text, Vec::new());
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(rest.len().min(1 + below(40)));
            chunks.push(chunk);
            rest = after;
        }
        let options = [("keep", "a"), ("drop", " "), ("max-lines", "5")];
        assert_eq!(run(&chunks, &options), (expected, String::new()));
    }
}

#[test]
fn a_line_that_is_too_long_is_refused_by_its_number() {
    let longest = [&*vec![b'x'; LINE_BYTES_MAX], b"\n"].concat();
    let longer = [b"x", &*longest].concat();
    let said = format!("line 3 is longer than {LINE_BYTES_MAX} bytes");
    for size in [1 << 16, (1 << 20) + 1, usize::MAX] {
        let fine = [b"a\n", &*longest].concat();
        let (output, error) = run(&fine.chunks(size).collect::<Vec<_>>(), &[]);
        assert!(error.is_empty() && output == fine, "{error}");

        for end in ["\n", ""] {
            let wrong = [&*fine, longer.trim_ascii_end(), end.as_bytes()].concat();
            let (output, error) = run(&wrong.chunks(size).collect::<Vec<_>>(), &[]);
            assert!(output == fine);
            assert_eq!(error, said);
        }
    }
}

#[test]
fn a_line_without_end_is_refused_as_soon_as_it_is_too_long() {
    let mut filter = Harness::<LineFilter>::new().unwrap();
    let read = Rc::new(Cell::new(0));
    let reading = Rc::clone(&read);
    let endless = std::iter::repeat_with(move || {
        reading.set(reading.get() + 1);
        [b'x'; 1 << 16]
    });
    let (_, finished) = filter.stream_to(endless, "", |_| ()).unwrap();
    assert!(finished.is_err());
    assert_eq!(read.get(), LINE_BYTES_MAX / (1 << 16) + 1);
}

#[test]
fn the_sample_log_is_filtered() {
    let (output, said) = run(&[APP_LOG.as_bytes()], &[("keep", "(?i)error"), ("max-lines", "2")]);
    assert_eq!(said, "");
    let expected: Vec<_> = APP_LOG
        .split_inclusive('\n')
        .filter(|line| line.to_lowercase().contains("error"))
        .collect();
    assert_eq!(String::from_utf8(output).unwrap(), expected[..2].concat());
}

#[test]
fn a_pattern_that_is_wrong_or_too_costly_is_refused() {
    option_refused(&[("keep", "(")], "option `keep`: regex parse error");
    option_refused(&[("drop", "[")], "option `drop`: regex parse error");
    option_refused(&[("keep", r"\w{1000}")], "option `keep`: Compiled regex exceeds size limit");
    option_refused(&[("drop", "((a{100}){100}){100}")], "exceeds size limit");
    option_refused(&[("keep", &"(".repeat(1024))], "option `keep`: regex parse error");
    option_refused(&[("keep", &"a".repeat(1025))], "the most is 1024 bytes, got 1025");
    check(&[("keep", &"a".repeat(1024))], "a\n", "");
}

#[test]
fn a_pattern_that_backtracks_elsewhere_takes_no_time_here() {
    let line = [&*vec![b'a'; LINE_BYTES_MAX - 1], b"b"].concat();
    assert_eq!(run(&[&line], &[("keep", "^(a+)+$")]), (Vec::new(), String::new()));
}

#[test]
fn options_that_are_unknown_are_refused() {
    option_refused(
        &[("keeps", "a")],
        "unknown option `keeps`, expected `keep`, `drop` or `max-lines`",
    );
    option_refused(&[("max-lines", "-1")], "option `max-lines`: expected a whole number");
    option_refused(&[("keep", "a"), ("keep", "b")], "option `keep`");
}
