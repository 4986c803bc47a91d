//! Events from outside and of plugins, to plugins.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use host::{
    BreakerState, BusSettings, Caller, Delivery, EventCall, PluginHost, Settled,
    http::{HttpSettings, router},
};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::{name, plugins};

async fn host() -> PluginHost {
    let bus = BusSettings {
        backoff_min: Duration::from_millis(10),
        attempts_max: 3,
        ..BusSettings::default()
    };
    let host = PluginHost::builder().bus(bus).build().await.unwrap();
    for plugin in ["event-probe", "services-probe"] {
        host.load(&plugins().join(plugin)).await.unwrap();
    }
    assert!(host.refused().is_empty(), "{:?}", host.refused());
    host
}

fn event(event_type: &str, payload: &str) -> EventCall {
    EventCall {
        event_type: event_type.to_owned(),
        payload: payload.to_owned(),
        timestamp_ms: 0,
        source: "tests".to_owned(),
    }
}

/// What becomes of an event, at the one plugin that wants it.
async fn publish(host: &PluginHost, event_type: &str, payload: &str) -> Option<Settled> {
    let (caller, wait) = (Caller::new("r-1".into()), Duration::from_secs(20));
    let delivered = host.publish(&caller, event(event_type, payload), wait).await.unwrap();
    let [Delivery { plugin, settled }] = delivered.as_slice() else { panic!("{delivered:?}") };
    assert_eq!(plugin.as_str(), "event-probe");
    settled.clone()
}

/// Types and payloads of the events that plugins emitted.
fn emitted(host: &PluginHost) -> Vec<(String, String)> {
    let page = host.events().read(0, 1_000);
    page.events.iter().map(|event| (event.event_type.clone(), event.payload.clone())).collect()
}

#[tokio::test]
async fn an_event_is_handled_by_who_wants_its_type() {
    let host = host().await;
    let handled = Some(Settled::Handled { attempts: 1 });
    assert_eq!(publish(&host, "probe.note", "a").await, handled);
    assert_eq!(publish(&host, "log.enriched", "b").await, handled);
    let nobody = event("other.note", "c");
    let wait = Duration::from_secs(1);
    assert!(host.publish(&Caller::default(), nobody, wait).await.unwrap().is_empty());
    let seen = emitted(&host);
    assert_eq!(seen[0], ("seen.probe.note".to_owned(), "a".to_owned()));
    assert_eq!(seen[1], ("seen.log.enriched".to_owned(), "b".to_owned()));
    let first = &host.events().read(0, 1).events[0];
    assert_eq!((&*first.request_id, first.hops), ("r-1", 1), "what led to it is known");
}

#[tokio::test]
async fn what_fails_is_tried_again_and_in_the_end_is_a_dead_letter() {
    let host = host().await;
    assert_eq!(publish(&host, "probe.flaky", "x").await, Some(Settled::Handled { attempts: 2 }));
    let Some(Settled::Dead { code, attempts, message }) = publish(&host, "probe.fail", "y").await
    else {
        panic!("it was handled")
    };
    assert_eq!((code, attempts), ("core/plugin-refused", 3));
    assert!(message.contains("told to fail"), "{message}");
    let letters = host.bus().dead_letters(0, 10).letters;
    assert_eq!((letters.len(), letters[0].event.payload.as_str()), (1, "y"));
    // Mended meanwhile: here it fails again.
    assert_eq!(host.bus().replay(&[letters[0].id]), 1);
    while host.bus().dead_letters(0, 10).letters.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let counts = &host.bus().counts().subscribers[0];
    assert_eq!((counts.delivered, counts.retried, counts.dead), (1, 5, 2));
}

#[tokio::test]
async fn an_event_that_breaks_the_plugin_holds_up_no_other() {
    let host = host().await;
    let other = EventCall { source: "others".to_owned(), ..event("probe.note", "z") };
    let (caller, wait) = (Caller::default(), Duration::from_secs(20));
    let slow = host.publish(&caller, event("probe.slow", ""), Duration::from_millis(100));
    let (slow, quick) = tokio::join!(slow, host.publish(&caller, other, wait));
    assert_eq!(slow.unwrap()[0].settled, None, "it is still worked on");
    assert_eq!(quick.unwrap()[0].settled, Some(Settled::Handled { attempts: 1 }));
    let trapped = publish(&host, "probe.trap", "").await;
    assert!(
        matches!(trapped, Some(Settled::Dead { code: "core/trap-unreachable", .. })),
        "{trapped:?}"
    );
}

#[tokio::test]
async fn events_that_lead_to_themselves_come_to_an_end() {
    let host = host().await;
    publish(&host, "probe.loop", "round").await;
    let letters = loop {
        let page = host.bus().dead_letters(0, 10);
        if !page.letters.is_empty() {
            break page.letters;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(letters[0].code, "ipc/event-loop");
    let hops_max = BusSettings::default().hops_max as usize;
    assert_eq!(emitted(&host).len(), hops_max + 1);
}

#[tokio::test]
async fn events_wait_for_a_plugin_that_comes_back_and_not_for_one_that_was_unloaded() {
    let host = host().await;
    let probe = name("event-probe");
    host.reload(&probe, Duration::from_secs(5)).await.unwrap();
    assert_eq!(publish(&host, "probe.note", "a").await, Some(Settled::Handled { attempts: 1 }));
    host.unload(&probe, Duration::from_secs(5)).await.unwrap();
    let (caller, wait) = (Caller::default(), Duration::from_secs(5));
    assert!(host.publish(&caller, event("probe.note", "b"), wait).await.unwrap().is_empty());
    host.start(&probe).await.unwrap();
    assert_eq!(publish(&host, "probe.note", "c").await, Some(Settled::Handled { attempts: 1 }));
}

#[tokio::test]
async fn an_event_waits_while_calls_are_kept_from_the_plugin() {
    let host = host().await;
    // Three attempts each, of which twenty are enough.
    for at in 0..7 {
        publish(&host, "probe.trap", &at.to_string()).await;
    }
    let metrics = host.metrics();
    let probe = metrics.iter().find(|it| it.name.as_str() == "event-probe").unwrap();
    assert!(matches!(probe.breaker, BreakerState::Open { .. }), "{:?}", probe.breaker);
    let handled = publish(&host, "probe.note", "waited").await;
    assert_eq!(handled, Some(Settled::Handled { attempts: 1 }));
}

#[tokio::test]
async fn one_source_keeps_its_order() {
    let host = host().await;
    let (caller, wait) = (Caller::default(), Duration::from_secs(30));
    let all = (0..200).map(|n| host.publish(&caller, event("probe.note", &n.to_string()), wait));
    futures::future::join_all(all).await;
    let seen: Vec<String> = emitted(&host).into_iter().map(|(_, payload)| payload).collect();
    let expected: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    assert_eq!(seen, expected);
}

async fn status(router: &axum::Router, request: Request<Body>) -> StatusCode {
    router.clone().oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn who_watches_leaves_room_for_others_and_comes_back_after_a_restart() {
    let host = host().await;
    let mut settings = HttpSettings::default();
    settings.connections_max = 8;
    let router = router(host.clone(), settings);
    let watch = |id: &str| {
        let request = Request::get("/v1/events/stream").header("last-event-id", id);
        request.body(Body::empty()).unwrap()
    };
    // Someone who has seen the five thousandth event of a host that was here before.
    let mut back = router.clone().oneshot(watch("5000")).await.unwrap().into_body();
    publish(&host, "probe.note", "new").await;
    let told = back.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&told).contains("seen.probe.note"), "{told:?}");
    let other = router.clone().oneshot(watch("0")).await.unwrap();
    assert_eq!(status(&router, watch("0")).await, StatusCode::SERVICE_UNAVAILABLE);
    drop(other);
    assert_eq!(status(&router, watch("0")).await, StatusCode::OK);
}

#[tokio::test]
async fn the_operators_routes_ask_for_the_token_before_anything_is_read() {
    let mut settings = HttpSettings::default();
    settings.body_timeout = Duration::from_millis(200);
    settings.admin_token = Some("token".to_owned());
    let router = router(host().await, settings);
    let endless =
        || Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let replay = |token: &str| {
        let request = Request::post("/v1/events/dead/replay").header("authorization", token);
        request.body(endless()).unwrap()
    };
    assert_eq!(status(&router, replay("Bearer wrong")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&router, replay("Bearer token")).await, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn what_waits_when_the_host_shuts_down_is_answered() {
    let host = host().await;
    let waiting = tokio::spawn({
        let host = host.clone();
        async move {
            let wait = Duration::from_secs(30);
            host.publish(&Caller::default(), event("probe.slow", ""), wait).await.unwrap()
        }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    host.shutdown(Duration::from_secs(2)).await;
    let settled = tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    assert!(settled[0].settled.is_some(), "{settled:?}");
}
