use std::time::Duration;

use host_core::{CallBudget, Pool, PoolConfig};
use plugin_contract::Explain;

use crate::{Data, budget, guests, prepare, text};

async fn pool(wat: &str, instances_max: u32, waiting_max: u32) -> Pool<Data> {
    let mut config = PoolConfig::new(instances_max);
    config.waiting_max = waiting_max;
    Pool::new(prepare(wat).await.unwrap(), config, Data::new)
}

/// Busy, idle, waiting.
fn counts(pool: &Pool<Data>) -> (u32, u32, u32) {
    let status = pool.status();
    (status.busy, status.idle, status.waiting)
}

#[tokio::test]
async fn an_instance_is_used_again() {
    let pool = pool(&guests::echo(), 2, 1).await;
    for _ in 0..3 {
        let mut lease = pool.lease(&budget()).await.unwrap();
        lease.process(&mut text("x"), &budget()).await.unwrap();
    }
    assert_eq!(counts(&pool), (0, 1, 0));
}

#[tokio::test]
async fn a_spent_instance_is_not() {
    let pool = pool(&guests::v1("unreachable", ""), 1, 1).await;
    for _ in 0..3 {
        let mut lease = pool.lease(&budget()).await.unwrap();
        let error = lease.process(&mut text("x"), &budget()).await.unwrap_err();
        assert_eq!(error.code(), "core/trap-unreachable");
    }
    assert_eq!(counts(&pool), (0, 0, 0));
}

#[tokio::test]
async fn calls_wait_their_turn_and_no_longer_than_their_deadline() {
    let pool = pool(&guests::echo(), 1, 1).await;
    let first = pool.lease(&budget()).await.unwrap();
    let short = CallBudget::new(Duration::from_millis(50), Duration::from_secs(1));
    let Err(error) = pool.lease(&short).await else { panic!("two instances where one may be") };
    assert_eq!(error.code(), "core/overloaded");

    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.lease(&budget()).await.map(drop) }
    });
    while pool.status().waiting == 0 {
        tokio::task::yield_now().await;
    }
    let Err(error) = pool.lease(&budget()).await else { panic!("two wait where one may") };
    assert_eq!(error.code(), "core/overloaded");
    drop(first);
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_caller_that_gives_up_waiting_leaves_its_place() {
    let pool = pool(&guests::echo(), 1, 1).await;
    let lease = pool.lease(&budget()).await.unwrap();
    for _ in 0..5 {
        let budget = budget();
        let given_up = tokio::time::timeout(Duration::from_millis(5), pool.lease(&budget)).await;
        assert!(given_up.is_err());
    }
    drop(lease);
    assert_eq!(counts(&pool), (0, 1, 0));
    assert!(pool.lease(&budget()).await.is_ok());
}
