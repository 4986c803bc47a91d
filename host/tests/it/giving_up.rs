//! Callers that give up, at whichever step: no instance, no permit and no message is lost.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use host::{Caller, EventCall, HostConfig, PluginHost, StreamCall, channel::Message};

use crate::{name, plugins, text};

const PLUGINS: [&str; 6] =
    ["word-count", "framing-decorator", "messenger", "messenger-b", "odd-stream", "event-probe"];

async fn host() -> PluginHost {
    let config: HostConfig = "[policy]\nallow.messages = [\"send:*\"]\n".parse().unwrap();
    let host = PluginHost::builder().config(config).build().await.unwrap();
    for plugin in PLUGINS {
        host.load(&plugins().join(plugin)).await.unwrap();
    }
    assert!(host.refused().is_empty(), "{:?}", host.refused());
    host
}

/// One kind of work, to its end: whether it went well.
type Work = Pin<Box<dyn Future<Output = bool> + Send>>;

fn process(host: PluginHost) -> Work {
    Box::pin(async move { host.process(&name("framing-decorator"), text("one two")).await.is_ok() })
}

fn message(host: PluginHost) -> Work {
    Box::pin(async move {
        let sender = host.channel().sender("@tests".parse().unwrap());
        let ask = Message::new("messenger".parse().unwrap(), "ask messenger-b echo", "hi");
        let answer = sender.request(&Caller::default(), ask, None).await;
        answer.is_ok_and(|answer| answer.payload == b"hi")
    })
}

fn stream_through(host: PluginHost) -> Work {
    Box::pin(async move {
        let chunks = stream::iter([Ok(Bytes::from_static(b"abc")), Ok(Bytes::from_static(b"def"))]);
        let call = StreamCall::new("text/plain");
        let Ok(reply) = host.stream(&name("odd-stream"), call, Box::pin(chunks)).await else {
            return false;
        };
        reply.body.fold(0, async |sum, chunk| sum + chunk.map_or(0, |it| it.len())).await == 6
    })
}

fn event(host: PluginHost) -> Work {
    Box::pin(async move {
        let event = EventCall {
            event_type: "probe.note".to_owned(),
            payload: String::new(),
            timestamp_ms: 0,
            source: "tests".to_owned(),
        };
        let wait = Duration::from_secs(10);
        let delivered = host.publish(&Caller::default(), event, wait).await.unwrap();
        delivered.iter().all(|it| matches!(it.settled, Some(host::Settled::Handled { .. })))
    })
}

#[tokio::test]
async fn whoever_gives_up_leaves_nothing_behind() {
    let host = host().await;
    for work in [process, message, stream_through, event] {
        let mut polls = 0;
        loop {
            // So many steps, with others at work in between, and then no more.
            let mut begun = work(host.clone());
            let mut done = None;
            for _ in 0..polls {
                done = (&mut begun).now_or_never();
                if done.is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
            drop(begun);
            polls += 1;
            if done.is_some() {
                assert_eq!(done, Some(true));
                break;
            }
            assert!(polls < 20_000, "it never ends");
        }
        assert!(work(host.clone()).await, "it still works");
    }
    for _ in 0..500 {
        let busy = PLUGINS.map(|it| host.plugin(&name(it)).unwrap().pool.busy);
        let idle = busy == [0; PLUGINS.len()] && host.bus().counts().queued == 0;
        if idle && host.channel().counts().pending == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?} {:?}", host.channel().counts(), host.bus().counts());
}
