use std::time::Duration;

use host_core::{CallBudget, Imports, Isolation, Pool, PoolConfig};
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
    // It is dropped elsewhere, and its permit comes free after it.
    while counts(&pool) != (0, 0, 0) {
        tokio::task::yield_now().await;
    }
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

/// Counts its calls in its memory.
fn counter() -> String {
    guests::v1(
        "(i32.store8 (i32.const 600) (i32.add (i32.load8_u (i32.const 600)) (i32.const 1)))
         (i32.store8 (i32.const 601) (i32.add (i32.load8_u (i32.const 600)) (i32.const 48)))
         (call $echo (i32.const 601) (i32.const 1))",
        "",
    )
}

async fn count(pool: &Pool<Data>) -> String {
    let mut lease = pool.lease(&budget()).await.unwrap();
    let reply = lease.process(&mut text("x"), &budget()).await.unwrap();
    String::from_utf8(reply.output).unwrap()
}

#[tokio::test]
async fn calls_share_an_instance_unless_each_is_to_have_its_own() {
    let shared = pool(&counter(), 1, 1).await;
    assert_eq!((count(&shared).await, count(&shared).await), ("1".to_owned(), "2".to_owned()));
    let mut config = PoolConfig::new(1);
    config.isolation = Isolation::PerCall;
    let own = Pool::new(prepare(&counter()).await.unwrap(), config, Data::new);
    assert_eq!((count(&own).await, count(&own).await), ("1".to_owned(), "1".to_owned()));
    assert_eq!(counts(&own), (0, 0, 0));
}

#[tokio::test]
async fn an_instance_retires_after_so_many_calls() {
    let mut config = PoolConfig::new(1);
    config.calls_max = 5;
    let pool = Pool::new(prepare(&counter()).await.unwrap(), config, Data::new);
    let mut firsts = 0;
    for _ in 0..20 {
        let answer = count(&pool).await;
        assert!(["1", "2", "3", "4", "5"].contains(&answer.as_str()), "{answer}");
        firsts += u32::from(answer == "1");
    }
    assert!((4..=5).contains(&firsts), "{firsts} instances, each of 4 or 5 calls");
}

#[tokio::test]
async fn turns_come_in_the_order_of_asking() {
    let pool = pool(&guests::echo(), 1, 8).await;
    let first = pool.lease(&budget()).await.unwrap();
    let (order, mut seen) = tokio::sync::mpsc::unbounded_channel();
    for at in 0..8 {
        let (pool, order) = (pool.clone(), order.clone());
        let waiting = pool.status().waiting;
        tokio::spawn({
            let pool = pool.clone();
            async move {
                let _lease = pool.lease(&budget()).await.unwrap();
                order.send(at).unwrap();
            }
        });
        while pool.status().waiting == waiting {
            tokio::task::yield_now().await;
        }
    }
    drop((first, order));
    for at in 0..8 {
        assert_eq!(seen.recv().await, Some(at));
    }
}

#[tokio::test]
async fn after_a_burst_memory_is_given_back() {
    let runtime = crate::runtime();
    let artifact = guests::admit_wat("guest", &guests::echo()).unwrap();
    let prepared = runtime.prepare(&artifact, &Imports::none()).await.unwrap();
    let memories = || runtime.engine_metrics()[0].memories;
    let baseline = memories();
    let mut config = PoolConfig::new(8);
    config.idle_max = Duration::from_secs(50);
    config.warm_min = 1;
    let pool = Pool::new(prepared, config, Data::new);
    let (budget, mut burst) = (budget(), Vec::new());
    for _ in 0..8 {
        burst.push(pool.lease(&budget).await.unwrap());
    }
    assert_eq!(memories(), baseline + 8);
    drop(burst);
    assert_eq!(counts(&pool), (0, 8, 0));
    let now = tokio::time::Instant::now();
    pool.sweep(now);
    assert_eq!(counts(&pool).1, 8, "not yet idle for long");
    pool.sweep(now + Duration::from_secs(60));
    while memories() > baseline + 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(counts(&pool), (0, 1, 0));
}

#[tokio::test]
async fn a_pool_that_needs_room_takes_it_from_idle_ones() {
    let runtime = crate::runtime();
    let artifact = guests::admit_wat("guest", &guests::echo()).unwrap();
    let prepared = runtime.prepare(&artifact, &Imports::none()).await.unwrap();
    let slots = crate::small().pool.instances;
    let idle = Pool::new(prepared.clone(), PoolConfig::new(slots), Data::new);
    let budget = budget();
    let mut all = Vec::new();
    for _ in 0..slots {
        all.push(idle.lease(&budget).await.unwrap());
    }
    let other = Pool::new(prepared, PoolConfig::new(1), Data::new);
    let Err(error) = other.lease(&budget).await else { panic!("more instances than slots") };
    assert_eq!(error.code(), "core/host-exhausted");
    drop(all);
    assert!(other.lease(&budget).await.is_ok());
}

#[tokio::test]
async fn a_retired_pool_lets_calls_end_and_takes_no_more() {
    let pool = pool(&guests::echo(), 2, 1).await;
    let lease = pool.lease(&budget()).await.unwrap();
    let retiring = tokio::spawn({
        let pool = pool.clone();
        async move { pool.retire(budget().deadline()).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!retiring.is_finished());
    drop(lease);
    assert_eq!(retiring.await.unwrap(), 0);
    let Err(error) = pool.lease(&budget()).await else { panic!("a retired pool took a call") };
    assert_eq!(error.code(), "core/retired");
}

#[tokio::test]
async fn bounds_without_end_are_no_overflow() {
    let mut config = PoolConfig::new(1);
    (config.age_max, config.idle_max, config.calls_max) = (Duration::MAX, Duration::MAX, u64::MAX);
    let pool = Pool::new(prepare(&counter()).await.unwrap(), config, Data::new);
    assert_eq!(count(&pool).await, "1");
    pool.sweep(tokio::time::Instant::now());
    assert_eq!(counts(&pool), (0, 1, 0));
}
