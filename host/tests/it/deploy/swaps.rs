//! Swaps under load, in short: `cargo xtask soak` does it at length.

use crate::soak::soak;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_lost_or_executed_twice_or_answered_by_who_was_replaced() {
    let report = soak(20_000, 20).await;
    assert_eq!((report.calls, report.swaps), (20_000, 20));
    // Some met nothing, some a version being taken in, some a swap.
    assert!(
        [&report.steady, &report.amid, &report.deploying, &report.swapping]
            .iter()
            .all(|times| !times.is_empty())
    );
    assert!(report.swap_max > std::time::Duration::ZERO);
    assert_eq!(report.rollbacks.len(), 20);
}
