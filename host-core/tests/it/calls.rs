use std::time::Duration;

use host_core::{CallBudget, CoreError, Operation, ProcessCall};
use plugin_contract::Explain;

use crate::{budget, guests, instance, prepare, text};

#[tokio::test]
async fn a_call_goes_in_and_comes_back() {
    let mut echo = instance(&guests::echo()).await;
    for input in ["hello", "", "h\u{e9}llo", &"x".repeat(10_000)] {
        let reply = echo.process(&mut text(input), &budget()).await.unwrap();
        assert_eq!(String::from_utf8(reply.output).unwrap(), input);
        assert_eq!(reply.content_type, "text/plain");
    }
}

#[tokio::test]
async fn input_that_is_no_text_is_refused_and_the_instance_lives_on() {
    let mut echo = instance(&guests::echo()).await;
    let mut call = ProcessCall::new(b"ab\xff".to_vec(), "text/plain");
    let error = echo.process(&mut call, &budget()).await.unwrap_err();
    assert!(matches!(error, CoreError::InputNotText { valid_up_to: 2, .. }), "{error}");
    assert!(!echo.is_spent());
    assert!(echo.process(&mut text("again"), &budget()).await.is_ok());
}

#[tokio::test]
async fn what_a_world_does_not_offer_is_refused() {
    let prepared = prepare(&guests::echo()).await.unwrap();
    assert!(prepared.offers(Operation::Process));
    assert!(!prepared.offers(Operation::OnEvent) && !prepared.offers(Operation::Validate));
    let mut echo = instance(&guests::echo()).await;
    let error = echo.supported_events(&budget()).await.unwrap_err();
    assert_eq!(error.code(), "core/not-offered");
    assert!(echo.validate(&mut text("x"), &budget()).await.is_err());
    assert!(!echo.is_spent());
}

#[tokio::test]
async fn a_call_that_the_caller_gives_up_spends_the_instance() {
    let spin = guests::v1("(loop $l (br $l)) (unreachable)", "");
    let mut spinning = instance(&spin).await;
    let budget = budget();
    let mut input = text("x");
    let call = spinning.process(&mut input, &budget);
    assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
    assert!(spinning.is_spent());
    let error = spinning.process(&mut text("x"), &budget).await.unwrap_err();
    assert_eq!(error.code(), "core/instance-spent");
}

#[tokio::test]
async fn a_deadline_in_the_past_is_no_panic() {
    let mut echo = instance(&guests::echo()).await;
    let none = CallBudget::new(Duration::ZERO, Duration::ZERO);
    // The guest may answer before anyone looks at the clock, or not; either is an orderly end.
    let _ = echo.process(&mut text("x"), &none).await;
}
