//! Standard streams, clocks and random numbers.

use super::{Arena, ViolationType::*, check};

// B01
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_without_a_line_in_it_is_cut_off() {
    let Some(arena) = Arena::new("").await else { return };
    arena.survives("stdout-flood 100\nstderr-flood 100", "flooded\nflooded").await;
    arena.survives("stdout-flood max", "security/cpu-time-exceeded").await;
    arena.survives("stderr-flood max", "security/cpu-time-exceeded").await;
    let said = arena.said();
    assert!(said.len() < 1 << 20, "{} bytes logged", said.len());
    arena.ends(&[CpuTimeExceeded]).await;
}

// B02
#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_to_forge_a_record_is_one_escaped_line() {
    let Some(arena) = Arena::new("").await else { return };
    arena.survives("stderr-forged", "said").await;
    let said = arena.said();
    let lines: Vec<_> = said
        .lines()
        .filter(|line| line.contains("\\\"level\\\"") || line.contains("\"level\""))
        .collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains("plugin=hostile"), "{said}");
    arena.ends(&[]).await;
}

// B03, and the empty standard input
#[tokio::test(flavor = "multi_thread")]
async fn reading_as_much_as_can_be_said_reads_what_is_there() {
    check(
        "",
        &[
            ("stdin-read max", "Err(StreamError::Closed)"),
            ("stdin-blocking max", "Err(StreamError::Closed)"),
            ("stdin-skip max", "Err(StreamError::Closed)"),
            ("stdin-splice max", "Err(StreamError::Closed)"),
            ("stream-read work/a max 0", "Ok(6)"),
            ("stream-read work/a max 3", "Ok(3)"),
            ("stream-read work/a 3 3", "Ok("),
            ("stream-read work/a max max", "Err(StreamError::LastOperationFailed"),
            ("stream-read work/a 0 0", "Ok(0)"),
        ],
        &[],
    )
    .await;
}

// B04
#[tokio::test(flavor = "multi_thread")]
async fn writing_more_than_was_offered_ends_the_call_and_allocates_nothing() {
    check(
        "",
        &[
            ("stdout-zeroes 65536", "Ok(())"),
            ("stdout-zeroes 65537", "core/host-call"),
            ("stdout-zeroes max", "core/host-call"),
            ("stdout-zeroes 1099511627776", "core/host-call"),
            ("stdout-zeroes-flush 4097", "core/host-call"),
            ("stdout-write 33000000", "Ok(())"),
            ("stdout-write 34000000", "core/too-much-data"),
            ("stream-zeroes work/a 65536", "Ok(())"),
            ("stream-zeroes work/a max", "core/host-call"),
            ("stream-write work/a 65536", "Ok(())"),
            ("stream-write work/a 65537", "core/host-call"),
            ("stream-splice work/a max 3", "1"),
        ],
        &[LimitExceeded],
    )
    .await;
}

// B05
#[tokio::test(flavor = "multi_thread")]
async fn whoever_sleeps_too_long_is_woken_by_the_deadline_and_the_slot_is_free() {
    check(
        "limits.max-instances = 1\nlimits.cpu-time = \"1s\"\nlimits.timeout = \"2s\"\n",
        &[
            ("sleep 1000000", "woke"),
            ("sleep 3600000000000", "core/deadline"),
            ("sleep max", "core/deadline"),
            ("sleep-until max", "core/deadline"),
            ("sleep-until 0", "woke"),
        ],
        &[TimeoutExceeded],
    )
    .await;
}

// B07
#[tokio::test(flavor = "multi_thread")]
async fn polling_without_a_pause_spends_cpu_time() {
    check(
        "",
        &[
            ("poll-zero", "security/cpu-time-exceeded"),
            ("poll-many 900", "1"),
            ("poll-many 100000", "security/handles-exceeded"),
            ("poll-many 4000000", ""),
            ("poll-nothing", "core/host-call"),
            ("pollables 400", "400"),
            ("pollables 100000", "security/handles-exceeded"),
        ],
        &[CpuTimeExceeded, LimitExceeded],
    )
    .await;
}

// B11
#[tokio::test(flavor = "multi_thread")]
async fn random_numbers_are_given_out_in_bounds() {
    check(
        "",
        &[
            ("random 65536", "65536"),
            ("random 65537", "core/host-call"),
            ("random 1073741824", "core/host-call"),
            ("random max", "core/host-call"),
            ("random-insecure 1073741824", "core/host-call"),
            ("random-loop 60000", "security/cpu-time-exceeded"),
        ],
        &[LimitExceeded, CpuTimeExceeded],
    )
    .await;
}

// B13
#[tokio::test(flavor = "multi_thread")]
async fn leaving_in_the_middle_of_a_call_is_a_failed_call() {
    check("", &[("exit 0", "core/guest-exit"), ("exit 1", "core/guest-exit")], &[]).await;
}
