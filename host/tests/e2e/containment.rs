//! A plugin that misbehaves costs its call, and nobody else's.

use std::time::{Duration, Instant};

use crate::harness::{Host, built};

#[test]
fn each_way_to_misbehave_ends_that_call_and_no_other() {
    let host = Host::serve(&built("test-plugins"));
    for (act, status, code) in [
        ("panic", 500, "core/trap-unreachable"),
        ("unreachable", 500, "core/trap-unreachable"),
        ("recurse", 500, "core/trap-stack"),
        ("allocate", 500, "security/memory-exceeded"),
        ("exit", 500, "core/guest-exit"),
        ("error", 422, "core/plugin-refused"),
        ("huge-output", 500, "security/memory-exceeded"),
        ("handles", 500, "security/handles-exceeded"),
    ] {
        assert_eq!(
            host.refusal("misbehaving", &[("do", act)], ""),
            (status, code.to_owned()),
            "{act}"
        );
        assert_eq!(
            host.process("misbehaving", &[("do", "ok")], ""),
            (200, "ok".to_owned()),
            "after {act}"
        );
        assert_eq!(host.process("shout-v1", &[], "still here").0, 200, "after {act}");
    }
}

#[test]
fn one_answer_carries_no_more_than_it_may() {
    let host = Host::serve(&built("test-plugins"));
    let answer =
        |bytes: &str| host.process("misbehaving", &[("do", "huge-output"), ("bytes", bytes)], "");
    assert_eq!(answer("33000000").0, 200);
    let (status, body) = answer("34000000");
    assert_eq!((status, crate::harness::code(&body).as_str()), (500, "core/too-much-data"));
    assert_eq!(host.process("misbehaving", &[("do", "ok")], "").0, 200);
}

#[test]
fn a_spinning_plugin_is_stopped_and_its_neighbours_answer_meanwhile() {
    let host = Host::serve(&built("test-plugins"));
    std::thread::scope(|scope| {
        let spinners: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| host.refusal("misbehaving", &[("do", "loop")], "")))
            .collect();
        let mut answered = 0;
        while spinners.iter().any(|spinner| !spinner.is_finished()) {
            assert_eq!(host.process("shout-v1", &[], "hello").0, 200);
            assert_eq!(host.get("/healthz").status().as_u16(), 200);
            answered += 1;
        }
        assert!(answered > 3, "{answered} answers while four plugins spun");
        for spinner in spinners {
            let (status, code) = spinner.join().unwrap();
            assert_eq!(status, 504);
            assert!(
                ["security/cpu-time-exceeded", "core/deadline"].contains(&code.as_str()),
                "{code}"
            );
        }
    });
}

#[test]
fn what_a_plugin_says_reaches_the_log_escaped_and_bounded() {
    let host = Host::serve(&built("test-plugins"));
    let (_, answer) = host.process("misbehaving", &[("do", "escape-codes")], "");
    assert!(!answer.contains('\u{1b}') && !answer.contains('\u{202e}'), "{answer}");
    for flood in ["flood-log", "flood-stdout"] {
        assert_eq!(host.process("misbehaving", &[("do", flood), ("lines", "5000")], "").0, 200);
    }
    let log = host.stop();
    assert!(!log.contains('\u{1b}') && !log.contains('\u{202e}'));
    assert!(log.lines().count() < 2_500, "{} lines", log.lines().count());
    assert!(log.contains("plugin=misbehaving"), "{log}");
}

#[test]
fn more_calls_than_instances_wait_and_then_are_refused() {
    let host = Host::serve(&built("test-plugins"));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..100)
            .map(|_| {
                scope.spawn(|| host.process("misbehaving", &[("do", "sleep"), ("ms", "100")], "").0)
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|found| **found == status).count();
    assert!(count(200) > 0 && count(429) > 0, "{statuses:?}");
    assert_eq!(count(200) + count(429), 100, "{statuses:?}");
}

#[test]
fn a_client_that_goes_away_frees_its_instance() {
    let host = Host::serve(&built("test-plugins"));
    let impatient = reqwest::blocking::Client::builder()
        .timeout(Duration::from_millis(100))
        .no_proxy()
        .build()
        .unwrap();
    for _ in 0..20 {
        let url = format!("{}/v1/plugins/misbehaving/process?do=sleep&ms=20000", host.base);
        assert!(impatient.post(url).header("content-type", "text/plain").send().is_err());
    }
    let start = Instant::now();
    assert_eq!(host.process("misbehaving", &[("do", "ok")], "").0, 200);
    assert!(start.elapsed() < Duration::from_secs(60), "an abandoned call kept its instance");
}

#[test]
fn traps_leak_no_memory() {
    let host = Host::serve(&built("test-plugins"));
    let storm = |calls: usize| {
        for call in 0..calls {
            // Each another input, and a good call between: the host calls what breaks again and again
            // no more.
            let input = format!("{calls} {call}");
            assert_eq!(host.process("misbehaving", &[("do", "unreachable")], &input).0, 500);
            assert_eq!(host.process("misbehaving", &[("do", "ok")], "").0, 200);
        }
    };
    storm(300);
    let before = host.rss_kib();
    storm(600);
    let grown = host.rss_kib().saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB more after 600 traps");
}
