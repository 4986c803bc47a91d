use std::time::Duration;

use host_core::{CallBudget, CoreError, Pool, PoolConfig};
use plugin_contract::Explain;

use crate::{Data, budget, guests, instance, prepare, text};

/// On the input `x`, `body` ends the call with `code`. On others the guest answers with its input: also
/// after that, from the same pool of one instance.
async fn ends(body: &str, extra: &str, code: &str) -> CoreError {
    let on_x = format!(
        "(if (result i32) (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 120))
            (then {body}) (else (call $echo (local.get $ptr) (local.get $len))))"
    );
    let prepared = prepare(&guests::v1(&on_x, extra)).await.unwrap();
    let pool = Pool::new(prepared, PoolConfig::new(1), Data::new);
    let short = || CallBudget::new(Duration::from_secs(10), Duration::from_millis(100));
    let mut answers = Vec::new();
    for input in ["before", "x", "after", "x"] {
        let mut lease = pool.lease(&short()).await.unwrap();
        let answer = lease.process(&mut text(input), &short()).await;
        assert_eq!(lease.is_spent(), answer.is_err(), "{input}");
        answers.push(answer.map(|reply| String::from_utf8(reply.output).unwrap()));
    }
    assert_eq!(answers[0].as_deref().unwrap(), "before");
    assert_eq!(answers[2].as_deref().unwrap(), "after");
    let error = answers.pop().unwrap().unwrap_err();
    assert_eq!(error.code(), code, "{error:?}");
    assert_eq!(answers[1].as_ref().unwrap_err().code(), code);
    assert!(!error.remedy().is_empty());
    error
}

#[tokio::test]
async fn giving_up_costs_one_call() {
    let error =
        ends("(call $f)", "(func $f (result i32) unreachable)", "core/trap-unreachable").await;
    assert!(error.to_string().contains("\n    at f (0x"), "{error}");
}

#[tokio::test]
async fn memory_out_of_bounds_costs_one_call() {
    ends("(i32.load (i32.const 0x7fffffff))", "", "core/trap-memory").await;
}

#[tokio::test]
async fn endless_recursion_costs_one_call() {
    ends("(call $f)", "(func $f (result i32) (call $f) drop (call $f))", "core/trap-stack").await;
}

#[tokio::test]
async fn impossible_arithmetic_costs_one_call() {
    ends("(i32.div_u (i32.const 1) (i32.const 0))", "", "core/trap-arithmetic").await;
}

#[tokio::test]
async fn an_indirect_call_that_leads_nowhere_costs_one_call() {
    let extra = "(table 1 funcref) (type $t (func (result i32)))";
    ends("(call_indirect (type $t) (i32.const 0))", extra, "core/trap-table").await;
}

#[tokio::test]
async fn an_answer_outside_of_memory_costs_one_call() {
    let body = "(i32.store (i32.const 16) (i32.const 0x7fffffff)) (i32.store (i32.const 20) (i32.const 9)) (i32.const 16)";
    ends(body, "", "core/trap-boundary").await;
}

#[tokio::test]
async fn an_answer_that_is_no_text_costs_one_call() {
    let body =
        "(i32.store8 (i32.const 64) (i32.const 0xff)) (call $echo (i32.const 64) (i32.const 1))";
    ends(body, "", "core/trap-boundary").await;
}

#[tokio::test]
async fn an_endless_loop_ends_when_its_cpu_time_does() {
    let error = ends("(loop $l (br $l)) (unreachable)", "", "security/cpu-time-exceeded").await;
    assert!(error.to_string().contains("after 100 ms"), "{error}");
}

#[tokio::test]
async fn an_endless_loop_ends_at_its_deadline() {
    let spin = guests::v1("(loop $l (br $l)) (unreachable)", "");
    let mut spinning = instance(&spin).await;
    let short = CallBudget::new(Duration::from_millis(100), Duration::from_secs(10));
    let error = spinning.process(&mut text("x"), &short).await.unwrap_err();
    assert_eq!(error.code(), "core/deadline");
    assert!(spinning.is_spent());
}

#[tokio::test]
async fn memory_past_the_limit_is_what_a_trap_after_it_is_put_down_to() {
    // As guests do: ask for memory, and give up if there is none.
    let grow = "(if (i32.eq (memory.grow (i32.const 100)) (i32.const -1)) (then unreachable)) (call $echo (i32.const 0) (i32.const 0))";
    ends(grow, "", "security/memory-exceeded").await;
}

#[tokio::test]
async fn a_guest_that_was_refused_memory_and_carried_on_is_not_blamed_for_it_later() {
    let grow = "(drop (memory.grow (i32.const 100))) (i32.div_u (i32.const 1) (i32.const 0))";
    ends(grow, "", "core/trap-arithmetic").await;
    let mut guest = instance(&guests::v1(
        "(if (result i32) (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 120))
            (then unreachable)
            (else (drop (memory.grow (i32.const 100))) (call $echo (local.get $ptr) (local.get $len))))",
        "",
    ))
    .await;
    assert!(guest.process(&mut text("grow"), &budget()).await.is_ok());
    let error = guest.process(&mut text("x"), &budget()).await.unwrap_err();
    assert_eq!(error.code(), "core/trap-unreachable", "the refusal was in another call");
}

#[tokio::test]
async fn a_memory_that_is_too_large_from_the_start_is_refused() {
    let prepared = prepare(&guests::echo()).await.unwrap();
    let Err(error) = prepared.start(Data::with_memory(1000), &[], &budget()).await else {
        panic!("a page of memory was given to a guest that may have 1000 bytes");
    };
    assert_eq!(error.code(), "security/memory-exceeded");
    assert!(prepared.start(Data::with_memory(1 << 16), &[], &budget()).await.is_ok());
}

#[tokio::test]
async fn a_start_function_that_spins_is_stopped() {
    let prepared =
        prepare(&guests::v1("(i32.const 0)", "(func $s (loop $l (br $l))) (start $s)")).await.unwrap();
    let short = CallBudget::new(Duration::from_secs(10), Duration::from_millis(50));
    let Err(error) = prepared.start(Data::new(), &[], &short).await else {
        panic!("an endless start function ended");
    };
    assert_eq!(error.code(), "security/cpu-time-exceeded");
}

#[tokio::test]
async fn a_spinning_guest_leaves_the_executor_to_others() {
    // One thread: if the guest held it, the clock below would stand still.
    let mut spinning = instance(&guests::v1("(loop $l (br $l)) (unreachable)", "")).await;
    let spin = tokio::spawn(async move {
        let short = CallBudget::new(Duration::from_secs(10), Duration::from_millis(500));
        spinning.process(&mut text("x"), &short).await.map(drop)
    });
    let mut turns = 0;
    while !spin.is_finished() {
        tokio::task::yield_now().await;
        turns += 1;
    }
    assert!(turns >= 10, "{turns} turns while a guest spun for 50 ticks");
    assert_eq!(spin.await.unwrap().unwrap_err().code(), "security/cpu-time-exceeded");
}
