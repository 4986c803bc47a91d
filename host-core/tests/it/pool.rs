use std::time::Duration;

use host_core::{CallBudget, Pool, PoolConfig, PoolStatus};
use plugin_contract::Explain;

use crate::{Data, budget, guests, prepare, text};

fn pool(wat: &str, instances_max: u32, waiting_max: u32) -> Pool<Data> {
    let config = PoolConfig { waiting_max, ..PoolConfig::new(instances_max) };
    Pool::new(prepare(wat).unwrap(), config, Data::new)
}

#[tokio::test]
async fn an_instance_is_used_again() {
    let pool = pool(&guests::echo(), 2, 1);
    for _ in 0..3 {
        let mut lease = pool.lease(&budget()).await.unwrap();
        lease.process(text("x"), &budget()).await.unwrap();
    }
    assert_eq!(pool.status(), PoolStatus { busy: 0, idle: 1, waiting: 0 });
}

#[tokio::test]
async fn a_spent_instance_is_not() {
    let pool = pool(&guests::v1("unreachable", ""), 1, 1);
    for _ in 0..3 {
        let mut lease = pool.lease(&budget()).await.unwrap();
        let error = lease.process(text("x"), &budget()).await.unwrap_err();
        assert_eq!(error.code(), "core/trap-unreachable");
    }
    assert_eq!(pool.status(), PoolStatus { busy: 0, idle: 0, waiting: 0 });
}

#[tokio::test]
async fn calls_wait_their_turn_and_no_longer_than_their_deadline() {
    let pool = pool(&guests::echo(), 1, 1);
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
    let pool = pool(&guests::echo(), 1, 1);
    let lease = pool.lease(&budget()).await.unwrap();
    for _ in 0..5 {
        let budget = budget();
        let given_up = tokio::time::timeout(Duration::from_millis(5), pool.lease(&budget)).await;
        assert!(given_up.is_err());
    }
    drop(lease);
    assert_eq!(pool.status(), PoolStatus { busy: 0, idle: 1, waiting: 0 });
    assert!(pool.lease(&budget()).await.is_ok());
}
