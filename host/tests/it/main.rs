//! The library, as a host team embeds it. Needs what `cargo xtask build-plugins` makes.

#![expect(clippy::unwrap_used, reason = "tests")]

mod attacks;
#[path = "../common/chameleon.rs"]
mod chameleon;
mod deploy;
mod events;
mod filesystem;
mod giving_up;
mod messages;
mod network;
#[path = "../common/soak.rs"]
mod soak;
mod state;
mod streams;

use std::{path::PathBuf, time::Duration};

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use host::{
    Explain, HostConfig, HostError, PluginHost, PluginRef, Policy, ProcessCall,
    http::{HttpSettings, router},
};
use http_body_util::BodyExt;
use tower::ServiceExt;

fn plugins() -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../dist/test-plugins");
    assert!(directory.is_dir(), "run `cargo xtask build-plugins`");
    directory
}

async fn host(only: &str) -> PluginHost {
    let builder = PluginHost::builder().plugins(plugins()).only(only.parse().unwrap());
    builder.build().await.unwrap()
}

fn name(text: &str) -> PluginRef {
    text.parse().unwrap()
}

fn text(input: &str) -> ProcessCall {
    ProcessCall::new(input.as_bytes().to_vec(), "text/plain")
}

#[tokio::test]
async fn a_plugin_is_loaded_called_and_shut_down_in_a_screenful() {
    let host = host("shout-v1").await;
    assert_eq!(host.plugins().len(), 1);
    let reply = host.process(&name("shout-v1"), text("hello")).await.unwrap();
    assert_eq!(reply.output, b"HELLO");
    assert_eq!(host.process(&name("shout-v1@0.1.0"), text("x")).await.unwrap().output, b"X");
    assert_eq!(host.shutdown(Duration::from_secs(5)).await, 0);
    let error = host.process(&name("shout-v1"), text("late")).await.unwrap_err();
    assert_eq!(error.code(), "host/shutting-down");
}

#[tokio::test]
async fn one_plugin_of_a_directory_comes_with_what_it_depends_on_and_nothing_else() {
    let host = host("framing-decorator").await;
    let names: Vec<String> = host.plugins().iter().map(|info| info.name.to_string()).collect();
    assert_eq!(names, ["framing-decorator", "word-count"]);
}

#[tokio::test]
async fn plugins_are_composed_where_the_operator_agrees() {
    let composed = "framing-composed";
    let isolated = host("framing-decorator").await;
    let refused = host(composed).await;
    assert_eq!(refused.refused()[0].error.code(), "security/composition-refused");
    let config = "[plugins.framing-composed]\ncompose = [\"word-count\"]\n";
    let config: HostConfig = config.parse().unwrap();
    let builder = PluginHost::builder().config(config).plugins(plugins());
    let agreed = builder.only(composed.parse().unwrap()).build().await.unwrap();
    let answer = async |host: &PluginHost, plugin: &str| {
        let reply = host.process(&name(plugin), text("one two three")).await.unwrap();
        let mut answer: serde_json::Value = serde_json::from_slice(&reply.output).unwrap();
        answer["inner"].take()
    };
    // The same code, the same answer; and what it decorates is called here or there.
    let inner = answer(&isolated, "framing-decorator").await;
    assert_eq!(answer(&agreed, composed).await, inner);
    let calls = |host: &PluginHost| {
        let metrics = host.metrics();
        metrics.iter().find(|it| it.name.as_str() == "word-count").unwrap().calls.calls
    };
    assert_eq!((calls(&isolated), calls(&agreed)), (1, 0));
}

#[tokio::test]
async fn plugins_of_several_directories_serve_together() {
    let host = host("shout-v1").await;
    host.load(&plugins().join("shout-v2")).await.unwrap();
    assert_eq!(host.plugins().len(), 2);
    let unknown = host.process(&name("word-count"), text("x")).await.unwrap_err();
    assert!(matches!(unknown, HostError::UnknownPlugin(_)));
}

#[tokio::test]
async fn the_policy_lowers_what_a_plugin_asks_for() {
    let mut policy = Policy::default();
    policy.all.limits.memory = Some("64KiB".parse().unwrap());
    let builder = PluginHost::builder().plugins(plugins()).only("shout-v1".parse().unwrap());
    let host = builder.policy(policy).build().await.unwrap();
    assert!(host.plugins().is_empty());
    assert_eq!(host.refused()[0].error.code(), "security/memory-exceeded");
}

/// Status and code of an answer.
async fn ask(router: &axum::Router, request: Request<Body>) -> (StatusCode, String) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

fn post(body: &str) -> Request<Body> {
    Request::post("/v1/plugins/shout-v1/process")
        .header("content-type", "text/plain")
        .body(Body::from(body.to_owned()))
        .unwrap()
}

#[tokio::test]
async fn a_host_that_stops_says_so_to_load_balancers_and_callers() {
    let host = host("shout-v1").await;
    let router = router(host.clone(), HttpSettings::default());
    let ready = || Request::get("/readyz").body(Body::empty()).unwrap();
    assert_eq!(ask(&router, ready()).await.0, StatusCode::OK);
    assert_eq!(ask(&router, post("x")).await.0, StatusCode::OK);
    host.shutdown(Duration::from_secs(5)).await;
    let stopping = (StatusCode::SERVICE_UNAVAILABLE, "host/shutting-down".to_owned());
    assert_eq!(ask(&router, ready()).await, stopping);
    assert_eq!(ask(&router, post("x")).await, stopping);
    let alive = Request::get("/healthz").body(Body::empty()).unwrap();
    assert_eq!(ask(&router, alive).await.0, StatusCode::OK);
}

#[tokio::test]
async fn bodies_past_what_may_be_held_at_once_are_turned_away() {
    let mut settings = HttpSettings::default();
    (settings.body_bytes_max, settings.bodies_bytes_max) = (4 << 10, 4 << 10);
    let router = router(host("shout-v1").await, settings);
    assert_eq!(ask(&router, post(&"x".repeat(4 << 10))).await.0, StatusCode::OK);

    // A body that has begun to arrive, and does not go on until told to.
    let (go_on, told) = tokio::sync::oneshot::channel::<()>();
    let first = futures::stream::once(async { Ok::<_, std::io::Error>("x".repeat(3 << 10)) });
    let rest = futures::stream::once(async {
        told.await.unwrap();
        Ok("y".to_owned())
    });
    let body = Body::from_stream(futures::StreamExt::chain(first, rest));
    let slow = Request::post("/v1/plugins/shout-v1/process").header("content-type", "text/plain");
    let slow = tokio::spawn({
        let (router, request) = (router.clone(), slow.body(body).unwrap());
        async move { ask(&router, request).await }
    });
    let busy = (StatusCode::SERVICE_UNAVAILABLE, "http/busy".to_owned());
    while ask(&router, post(&"x".repeat(2 << 10))).await != busy {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&router, post("x")).await.0, StatusCode::OK, "small ones still fit");
    go_on.send(()).unwrap();
    assert_eq!(slow.await.unwrap().0, StatusCode::OK);
    assert_eq!(ask(&router, post(&"x".repeat(4 << 10))).await.0, StatusCode::OK);
}
