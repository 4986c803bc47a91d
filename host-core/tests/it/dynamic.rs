use std::time::Duration;

use host_core::{CallBudget, Caller, CoreError, FunctionCall, FunctionReply, Instance, JsonCall};
use plugin_contract::Explain;
use serde_json::{Value, json};

use crate::{Data, budget, instance, prepare};

/// A component of no contract: it keeps books of which nobody here has heard.
///
/// `total` sums the amounts of a list of entries; `longest` answers with the entry whose text is longest;
/// `check` refuses amounts of zero and less; `flip` returns its flags.
pub(crate) const LEDGER: &str = r#"(component
    (core module $m
        (memory (export "memory") 1)
        (global $next (mut i32) (i32.const 1024))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
            (global.set $next (i32.add (local.get $at) (local.get 3)))
            (local.get $at))
        (func (export "done") (param i32) (global.set $next (i32.const 1024)))

        ;; An entry: amount at 0, text at 8 and 12, paid at 16, note at 20, 24 and 28; 32 bytes.
        (func (export "total") (param $at i32) (param $count i32) (result i64)
            (local $sum i64)
            (block $end (loop $entry
                (br_if $end (i32.eqz (local.get $count)))
                (local.set $sum (i64.add (local.get $sum) (i64.load (local.get $at))))
                (local.set $at (i32.add (local.get $at) (i32.const 32)))
                (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                (br $entry)))
            (local.get $sum))
        ;; An option of an entry: whether at 0, the entry at 8.
        (func (export "longest") (param $at i32) (param $count i32) (result i32)
            (local $found i32)
            (i32.store8 (i32.const 512) (i32.const 0))
            (block $end (loop $entry
                (br_if $end (i32.eqz (local.get $count)))
                (if (i32.or
                        (i32.eqz (local.get $found))
                        (i32.gt_u (i32.load offset=12 (local.get $at))
                            (i32.load offset=12 (local.get $found))))
                    (then
                        (local.set $found (local.get $at))
                        (i32.store8 (i32.const 512) (i32.const 1))
                        (call $copy (i32.const 520) (local.get $at))))
                (local.set $at (i32.add (local.get $at) (i32.const 32)))
                (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                (br $entry)))
            (i32.const 512))
        (func $copy (param $to i32) (param $from i32)
            (i64.store offset=0 (local.get $to) (i64.load offset=0 (local.get $from)))
            (i64.store offset=8 (local.get $to) (i64.load offset=8 (local.get $from)))
            (i64.store offset=16 (local.get $to) (i64.load offset=16 (local.get $from)))
            (i64.store offset=24 (local.get $to) (i64.load offset=24 (local.get $from))))
        ;; A result: which at 0; the amount, or the kind of what is wrong, at 8.
        (func (export "check") (param $amount i64) (result i32)
            (if (i64.gt_s (local.get $amount) (i64.const 0))
                (then
                    (i32.store8 (i32.const 512) (i32.const 0))
                    (i64.store (i32.const 520) (local.get $amount)))
                (else
                    (i32.store8 (i32.const 512) (i32.const 1))
                    (i32.store8 (i32.const 520) (i64.eqz (local.get $amount)))))
            (i32.const 512))
        (func (export "flip") (param i32) (result i32)
            (i32.xor (local.get 0) (i32.const 7)))
        (func (export "spin") (loop $l (br $l)))
        (func (export "fail") unreachable))
    (core instance $i (instantiate $m))

    (type $entry' (record (field "amount" s64) (field "text" string) (field "paid" bool)
        (field "note" (option string))))
    (export $entry "entry" (type $entry'))
    (type $wrong' (enum "negative" "zero"))
    (export $wrong "wrong" (type $wrong'))
    (type $marks' (flags "seen" "booked" "disputed"))
    (export $marks "marks" (type $marks'))

    (func $total (param "entries" (list $entry)) (result s64)
        (canon lift (core func $i "total") (memory $i "memory") (realloc (func $i "realloc"))))
    (func $longest (param "entries" (list $entry)) (result (option $entry))
        (canon lift (core func $i "longest") (memory $i "memory") (realloc (func $i "realloc"))
            (post-return (func $i "done"))))
    (func $check (param "amount" s64) (result (result s64 (error $wrong)))
        (canon lift (core func $i "check") (memory $i "memory")))
    (func $flip (param "marks" $marks) (result $marks) (canon lift (core func $i "flip")))
    (func $spin (canon lift (core func $i "spin")))
    (func $fail (canon lift (core func $i "fail")))
    (export "total" (func $total))
    (export "longest" (func $longest))
    (export "check" (func $check))
    (export "flip" (func $flip))
    (instance $trouble (export "spin" (func $spin)) (export "fail" (func $fail)))
    (export "acme:books/trouble@0.3.0" (instance $trouble)))"#;

async fn ledger() -> Instance<Data> {
    instance(LEDGER).await
}

async fn ask(ledger: &mut Instance<Data>, text: &str) -> Result<FunctionReply, CoreError> {
    ledger.call(&Caller::default(), &FunctionCall::Text(text.to_owned()), &budget()).await
}

/// One call as text and the same as JSON, on one instance.
async fn check(ledger: &mut Instance<Data>, text: &str, answer: &str, args: Value, json: Value) {
    let reply = ask(ledger, text).await.unwrap();
    assert_eq!(reply.wave(1_000).as_deref(), Some(answer), "{text}");
    let (function, _) = text.split_once('(').unwrap();
    let call = json!({"function": function, "args": args});
    let call = FunctionCall::Json(serde_json::from_value::<JsonCall>(call).unwrap());
    let reply = ledger.call(&Caller::default(), &call, &budget()).await.unwrap();
    assert_eq!(reply.into_json(), Some(json), "{text}");
}

#[tokio::test]
async fn a_component_of_no_contract_can_be_called() {
    let ledger = &mut ledger().await;
    check(
        ledger,
        "total([{amount: 5, text: \"a\", paid: true}, {amount: -7, text: \"b\", paid: false}])",
        "-2",
        json!([[
            {"amount": 5, "text": "a", "paid": true},
            {"amount": "-7", "text": "b", "paid": false, "note": null},
        ]]),
        json!(-2),
    )
    .await;
    check(
        ledger,
        "longest([{amount: 1, text: \"a\", paid: true}, {amount: 2, text: \"bc\", paid: false, note: \"n\"}])",
        r#"some({amount: 2, text: "bc", paid: false, note: some("n")})"#,
        json!([[
            {"amount": 1, "text": "a", "paid": true},
            {"amount": 2, "text": "bc", "paid": false, "note": "n"},
        ]]),
        json!({"amount": 2, "text": "bc", "paid": false, "note": "n"}),
    )
    .await;
    check(ledger, "longest([])", "none", json!([[]]), json!(null)).await;
    check(ledger, "check(3)", "ok(3)", json!([3]), json!({"ok": 3})).await;
    check(ledger, "check(-3)", "err(negative)", json!([-3]), json!({"err": "negative"})).await;
    check(ledger, "check(0)", "err(zero)", json!([0]), json!({"err": "zero"})).await;
    check(
        ledger,
        "flip({booked})",
        "{seen, disputed}",
        json!([["booked"]]),
        json!(["seen", "disputed"]),
    )
    .await;
}

#[tokio::test]
async fn a_call_that_does_not_fit_leaves_the_instance_as_it_was() {
    let ledger = &mut ledger().await;
    for (call, code, says) in [
        (
            "sum([])",
            "core/no-such-function",
            "but total, longest, check, flip, acme:books/trouble@0.3.0#spin",
        ),
        ("total()", "core/invalid-arguments", "`entries`: is missing; expected list"),
        (
            "total([{amount: 1}])",
            "core/invalid-arguments",
            "`entries[0].text`: is missing; expected string",
        ),
        (
            "flip({seem})",
            "core/invalid-arguments",
            "`marks`: expected one of seen, booked, disputed, not seem",
        ),
    ] {
        let error = ask(ledger, call).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert!(!ledger.is_spent());
    }
    assert!(ask(ledger, "flip({})").await.is_ok());
}

#[tokio::test]
async fn a_function_that_traps_or_spins_costs_its_instance_only() {
    let mut failing = ledger().await;
    let error = ask(&mut failing, "trouble#fail()").await.unwrap_err();
    assert_eq!(error.code(), "core/trap-unreachable", "{error}");
    assert!(failing.is_spent());
    assert_eq!(ask(&mut failing, "flip({})").await.unwrap_err().code(), "core/instance-spent");

    let mut spinning = ledger().await;
    let call = FunctionCall::Text("acme:books/trouble#spin()".to_owned());
    let short = CallBudget::new(Duration::from_secs(20), Duration::from_millis(50));
    let error = spinning.call(&Caller::default(), &call, &short).await.unwrap_err();
    assert_eq!(error.code(), "security/cpu-time-exceeded", "{error}");
    assert!(spinning.is_spent());

    assert!(ask(&mut ledger().await, "flip({})").await.is_ok());
}

#[tokio::test]
async fn the_functions_of_a_component_are_listed() {
    let prepared = prepare(LEDGER).await.unwrap();
    let functions: Vec<_> = prepared.functions().iter().map(ToString::to_string).collect();
    let entry = "record { amount: s64, text: string, paid: bool, note: option<string> }";
    assert_eq!(
        functions,
        [
            format!("total(entries: list<{entry}>) -> s64"),
            format!("longest(entries: list<{entry}>) -> option<{entry}>"),
            "check(amount: s64) -> result<s64, enum { negative, zero }>".to_owned(),
            "flip(marks: flags { seen, booked, disputed }) -> flags { seen, booked, disputed }"
                .to_owned(),
            "acme:books/trouble@0.3.0#spin()".to_owned(),
            "acme:books/trouble@0.3.0#fail()".to_owned(),
        ]
    );
}
