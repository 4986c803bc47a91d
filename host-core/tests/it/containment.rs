use std::time::Duration;

use host_core::{CallBudget, Caller, CoreError, FunctionCall, Imports, Pool, PoolConfig};
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
    let prepared = prepare(&guests::v1("(i32.const 0)", "(func $s (loop $l (br $l))) (start $s)"))
        .await
        .unwrap();
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

#[tokio::test]
async fn guest_code_around_a_call_ends_with_its_budget_too() {
    // Allocating the input, and tidying up after the answer, is guest code.
    let spin = "(loop $l (br $l))";
    let realloc = guests::echo().replace("(local $at i32)", &format!("(local $at i32) {spin}"));
    let post = guests::echo().replace(
        "(func (export \"post-process\") (param i32)",
        &format!("(func (export \"post-process\") (param i32) {spin}"),
    );
    for guest in [realloc, post] {
        let mut spinning = instance(&guest).await;
        let cpu = CallBudget::new(Duration::from_secs(10), Duration::from_millis(100));
        let error = spinning.process(&mut text("x"), &cpu).await.unwrap_err();
        assert_eq!(error.code(), "security/cpu-time-exceeded");
        let mut spinning = instance(&guest).await;
        let wall = CallBudget::new(Duration::from_millis(100), Duration::from_secs(10));
        let error = spinning.process(&mut text("x"), &wall).await.unwrap_err();
        assert_eq!(error.code(), "core/deadline");
    }
}

#[tokio::test]
async fn dropping_a_resource_ends_with_the_budget_too() {
    // The guest makes a resource of its own whose destructor spins, and drops it.
    let guest = r#"(component
        (core module $d (func (export "dtor") (param i32) (loop $l (br $l))))
        (core instance $d (instantiate $d))
        (type $r (resource (rep i32) (dtor (func $d "dtor"))))
        (core func $new (canon resource.new $r))
        (core func $drop (canon resource.drop $r))
        (core module $m
            (import "r" "new" (func $new (param i32) (result i32)))
            (import "r" "drop" (func $drop (param i32)))
            (func (export "f") (call $drop (call $new (i32.const 1)))))
        (core instance $m (instantiate $m
            (with "r" (instance (export "new" (func $new)) (export "drop" (func $drop))))))
        (func (export "f") (canon lift (core func $m "f"))))"#;
    let mut spinning = instance(guest).await;
    let cpu = CallBudget::new(Duration::from_secs(10), Duration::from_millis(100));
    let call = FunctionCall::Text("f()".to_owned());
    let error = spinning.call(&Caller::default(), &call, &cpu).await.unwrap_err();
    assert_eq!(error.code(), "security/cpu-time-exceeded");
}

#[tokio::test]
async fn waiting_in_the_host_ends_at_the_deadline_and_spends_no_cpu_time() {
    let runtime = host_core::Runtime::<Data>::builder(crate::small())
        .link(&["host:test/api"], |linker| {
            linker.instance("host:test/api@1.0.0")?.func_wrap_async("f", |_, (): ()| {
                Box::new(std::future::pending::<wasmtime::Result<()>>())
            })
        })
        .build()
        .unwrap();
    let guest = r#"(component
        (import "host:test/api@1.0.0" (instance $api (export "f" (func))))
        (core func $f (canon lower (func $api "f")))
        (core module $m (import "h" "f" (func $f)) (func (export "wait") (call $f)))
        (core instance $m (instantiate $m (with "h" (instance (export "f" (func $f))))))
        (func (export "wait") (canon lift (core func $m "wait"))))"#;
    let artifact = guests::admit_wat("guest", guest).unwrap();
    let prepared = runtime.prepare(&artifact, &Imports::none()).await.unwrap();
    let mut waiting = prepared.start(Data::new(), &[], &budget()).await.unwrap();
    let short = CallBudget::new(Duration::from_millis(100), Duration::from_millis(20));
    let call = FunctionCall::Text("wait()".to_owned());
    let error = waiting.call(&Caller::default(), &call, &short).await.unwrap_err();
    assert_eq!(error.code(), "core/deadline");
    assert!(waiting.cpu_time_used() <= Duration::from_millis(20));
}

#[tokio::test]
async fn ten_thousand_traps_leave_memory_slots_and_files_as_they_were() {
    if !alone("containment::ten_thousand_traps_leave_memory_slots_and_files_as_they_were") {
        return;
    }
    let runtime = crate::runtime();
    let artifact = guests::admit_wat("guest", &guests::v1("unreachable", "")).unwrap();
    let prepared = runtime.prepare(&artifact, &Imports::none()).await.unwrap();
    let pool = Pool::new(prepared, PoolConfig::new(2), Data::new);
    let storm = async |calls: u32| {
        for _ in 0..calls {
            let mut lease = pool.lease(&budget()).await.unwrap();
            let error = lease.process(&mut text("x"), &budget()).await.unwrap_err();
            assert_eq!(error.code(), "core/trap-unreachable");
        }
    };
    // Whatever is made once is made by now.
    storm(2_000).await;
    let (memory, files) = (resident_kib(), open_files());
    storm(10_000).await;
    while pool.status().busy > 0 {
        tokio::task::yield_now().await;
    }
    let metrics = runtime.engine_metrics()[0];
    assert_eq!((metrics.component_instances, metrics.memories, metrics.stacks), (0, 0, 0));
    assert!(open_files() <= files, "{} files, {files} before", open_files());
    let grown = resident_kib().saturating_sub(memory);
    assert!(grown < 2_000, "{grown} KiB more after 10,000 traps");
}

/// Whether this test has a process to itself, as one that measures the process must. If not, it is run
/// in one.
fn alone(test: &str) -> bool {
    const ALONE: &str = "HOST_CORE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let exe = std::env::current_exe().unwrap();
    let run = std::process::Command::new(exe).args(["--exact", test]).env(ALONE, "1").output();
    let run = run.unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
    false
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn a_trap_leaves_a_core_dump_where_an_operator_wants_it() {
    let directory = tempfile::TempDir::new().unwrap();
    let mut settings = crate::small();
    settings.coredumps = Some(directory.path().join("dumps"));
    let runtime = host_core::Runtime::<Data>::builder(settings).build().unwrap();
    let artifact = guests::admit_wat("guest", &guests::v1("unreachable", "")).unwrap();
    let prepared = runtime.prepare(&artifact, &Imports::none()).await.unwrap();
    let dumps = || std::fs::read_dir(directory.path().join("dumps")).map_or(0, Iterator::count);
    // Written in the background, one at a time: in a storm, some are left out. No more than 16 are kept.
    let (mut more, begun) = (4, std::time::Instant::now());
    while more > 0 {
        assert!(begun.elapsed() < Duration::from_secs(120), "{} dumps", dumps());
        more -= u32::from(dumps() >= 16);
        let mut instance = prepared.start(Data::new(), &[], &budget()).await.unwrap();
        assert!(instance.process(&mut text("x"), &budget()).await.is_err());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The last one is on its way, and another makes room for it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(dumps(), 16);
    let first = std::fs::read_dir(directory.path().join("dumps")).unwrap().next().unwrap().unwrap();
    assert!(std::fs::read(first.path()).unwrap().starts_with(b"\0asm"), "a dump is a module");
}
