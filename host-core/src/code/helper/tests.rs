use std::time::{Duration, Instant};

use plugin_contract::Lane;

use super::{EngineId, Failure, HelperProgram, Order, compile};
use crate::{CompilerSettings, EngineSettings};

/// What a shell script makes of being a helper: `code BYTES` or the failure.
async fn outcome(script: &str) -> String {
    let args = ["-c", script].map(Into::into).to_vec();
    of(HelperProgram { program: "/bin/sh".into(), args }, Duration::from_secs(60)).await
}

async fn of(helper: HelperProgram, timeout: Duration) -> String {
    let bounds = CompilerSettings { timeout, threads: 3, ..CompilerSettings::default() };
    let order = Order::new(EngineSettings::default(), Lane::Unary, 1 << 30, 1);
    // More than a pipe holds.
    let component = vec![0; 1 << 20];
    match compile(&helper, &bounds, &order, EngineId([b'i'; 32]), &component).await {
        Ok(code) => format!("code {}", String::from_utf8_lossy(code.bytes())),
        Err(Failure::Unavailable(error)) => format!("unavailable: {error}"),
        Err(Failure::Exhausted(how)) => format!("exhausted: {how}"),
        Err(Failure::Deadline(deadline)) => format!("deadline: {deadline:?}"),
        Err(Failure::Invalid(reason)) => format!("invalid: {reason}"),
        Err(other) => format!("{other:?}"),
    }
}

const GREET: &str = r"printf 'compile\001iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii';";

#[tokio::test]
async fn an_answer_is_taken_from_a_helper_for_the_same_engine_only() {
    let code = r"printf '\0\004\0\0\0\0\0\0\0code'";
    assert_eq!(outcome(&format!("{GREET} {code}")).await, "code code");
    let other = GREET.replace("ii", "jj");
    let refused = outcome(&format!("{other} {code}")).await;
    assert!(refused.starts_with("unavailable: it is of another release"), "{refused}");
    let reason = r"printf '\001\003\0\0\0\0\0\0\0n\033o'";
    assert_eq!(outcome(&format!("{GREET} {reason}")).await, r"invalid: n\u{1b}o");
}

#[tokio::test]
async fn a_program_that_is_no_compiler_is_said_to_be_none() {
    let nowhere = HelperProgram { program: "/nowhere/at/all".into(), args: Vec::new() };
    assert!(of(nowhere, Duration::from_secs(60)).await.starts_with("unavailable: No such file"));
    for (script, expected) in [
        ("exit 3", "it ended with exit status: 3"),
        ("echo 'no \u{1b} way' >&2; exit 3", r"it ended with exit status: 3: no \u{1b} way"),
        ("cat /dev/zero", "it does not answer as a compiler does"),
        ("exec cat", "it does not answer as a compiler does"),
        ("kill -9 $$", "it ended with signal: 9 (SIGKILL)"),
    ] {
        assert_eq!(outcome(script).await, format!("unavailable: {expected}"), "{script}");
    }
}

#[tokio::test]
async fn a_helper_that_dies_once_it_is_ready_dies_of_the_component() {
    let how = outcome(&format!("{GREET} echo 'out of memory' >&2; kill -6 $$")).await;
    assert!(how.starts_with("exhausted: it ended with signal: 6"), "{how}");
    assert!(how.ends_with("out of memory"), "{how}");
    let how = outcome(&format!("{GREET} exit 101")).await;
    assert_eq!(how, "exhausted: it ended with exit status: 101");
    let torn = outcome(&format!(r"{GREET} printf '\0\004\0\0\0\0\0\0\0co'")).await;
    assert_eq!(torn, "exhausted: it ended with exit status: 0");
}

#[tokio::test]
async fn a_helper_that_does_not_answer_is_killed_at_its_deadline() {
    for script in ["exec sleep 100", &format!("{GREET} exec sleep 100"), "exec cat > /dev/null"] {
        let begun = Instant::now();
        let args = ["-c", script].map(Into::into).to_vec();
        let helper = HelperProgram { program: "/bin/sh".into(), args };
        assert_eq!(of(helper, Duration::from_millis(500)).await, "deadline: 500ms", "{script}");
        // Long before it would have ended by itself.
        assert!(begun.elapsed() < Duration::from_secs(50), "{script}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn what_a_helper_complains_of_is_read_to_the_end_and_kept_in_part() {
    let flood = outcome("head -c 10000000 /dev/zero | tr '\\0' x >&2; exit 1").await;
    assert!(flood.contains("xxxx") && flood.len() < 5_000, "{} bytes", flood.len());
}

#[tokio::test]
async fn a_helper_has_no_environment_of_the_hosts() {
    let environment = outcome("env >&2; exit 1").await;
    assert!(environment.contains("RAYON_NUM_THREADS=3"), "{environment}");
    assert!(!environment.contains("HOME") && !environment.contains("CARGO"), "{environment}");
}
