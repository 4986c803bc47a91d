//! Messages between plugins, and between them and the host.

use std::time::Duration;

use host::{
    Caller, Explain, HostConfig, PluginHost,
    channel::{Message, MessageError},
};
use host_security::audit::{RecordKind, read};
use tempfile::TempDir;

use crate::plugins;

const TRUSTING: &str = "[policy]\nallow.messages = [\"send:*\"]\n";

async fn host(config: &str) -> PluginHost {
    let config: HostConfig = config.parse().unwrap();
    let host = PluginHost::builder().config(config).build().await.unwrap();
    for plugin in ["messenger", "messenger-b", "services-probe"] {
        host.load(&plugins().join(plugin)).await.unwrap();
    }
    assert!(host.refused().is_empty(), "{:?}", host.refused());
    host
}

/// What `target` answers the host to a message about `about`: its answer, or the code of the error.
async fn ask(host: &PluginHost, target: &str, about: &str, payload: &str) -> String {
    let sender = host.channel().sender("@tests".parse().unwrap());
    let message = Message::new(target.parse().unwrap(), about, payload);
    match sender.request(&Caller::default(), message, Some(Duration::from_secs(10))).await {
        Ok(answer) if answer.success => String::from_utf8(answer.payload).unwrap(),
        Ok(answer) => format!("refused: {}", String::from_utf8(answer.payload).unwrap()),
        Err(error) => error.code().to_owned(),
    }
}

#[tokio::test]
async fn the_host_asks_plugins_and_they_ask_each_other() {
    let host = host(TRUSTING).await;
    assert_eq!(ask(&host, "messenger", "echo", "hello").await, "hello");
    assert_eq!(ask(&host, "messenger", "who", "").await, "@tests");
    assert_eq!(ask(&host, "messenger", "ask messenger-b who", "").await, "messenger");
    let through = "ask messenger-b ask messenger who";
    let circle = "refused: `messenger` already waits for this plugin";
    assert_eq!(ask(&host, "messenger", through, "").await, circle);
    assert_eq!(ask(&host, "messenger", "fail", "").await, "refused: told to fail");
    assert_eq!(ask(&host, "nobody", "echo", "").await, "ipc/message-unknown-target");
    assert_eq!(ask(&host, "services-probe", "echo", "").await, "ipc/message-unknown-target");
}

#[tokio::test]
async fn a_plugin_asks_the_host() {
    let host = host(TRUSTING).await;
    let mut inbox = host.channel().open("@clock".parse().unwrap()).unwrap();
    let clock = tokio::spawn(async move {
        let delivery = inbox.next().await.unwrap();
        let sender = (delivery.sender.to_string(), delivery.caller.request_id.to_string());
        delivery.answer(Ok(b"noon".to_vec()));
        sender
    });
    assert_eq!(ask(&host, "messenger", "ask @clock time", "").await, "noon");
    assert_eq!(clock.await.unwrap(), ("messenger".to_owned(), "-".to_owned()));
    let gone = "refused: no plugin `@clock` is serving";
    assert_eq!(ask(&host, "messenger", "ask @clock time", "").await, gone);
}

#[tokio::test]
async fn a_circle_through_the_host_is_told_too() {
    let host = host(TRUSTING).await;
    let mut inbox = host.channel().open("@proxy".parse().unwrap()).unwrap();
    let channel = host.channel().clone();
    let proxy = tokio::spawn(async move {
        let delivery = inbox.next().await.unwrap();
        let sender = channel.sender("@proxy".parse().unwrap());
        let ask = async |target: &str| {
            let message = Message::new(target.parse().unwrap(), "who", "");
            sender.request(&delivery.caller, message, None).await
        };
        let (circle, other) = (ask("messenger").await, ask("messenger-b").await.unwrap());
        delivery.answer(Ok(other.payload));
        circle
    });
    assert_eq!(ask(&host, "messenger", "ask @proxy x", "").await, "@proxy");
    assert_eq!(proxy.await.unwrap(), Err(MessageError::Cyclic("messenger".to_owned())));
}

#[tokio::test]
async fn an_answer_may_come_in_another_call() {
    let host = host(TRUSTING).await;
    let waiting = tokio::spawn({
        let host = host.clone();
        async move { ask(&host, "messenger", "later", "").await }
    });
    // Instances are used last in, first out: the one that remembers is asked again.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(ask(&host, "messenger", "settle", "at last").await, "settled");
    assert_eq!(waiting.await.unwrap(), "at last");
}

#[tokio::test]
async fn a_plugin_that_breaks_on_a_message_says_so_to_who_waits() {
    let host = host(TRUSTING).await;
    assert_eq!(ask(&host, "messenger", "trap", "").await, "ipc/message-failed");
    assert_eq!(ask(&host, "messenger", "spin", "").await, "ipc/message-failed");
    let sender = host.channel().sender("@tests".parse().unwrap());
    let slow = Message::new("messenger".parse().unwrap(), "sleep", []);
    let slow = sender.request(&Caller::default(), slow, Some(Duration::from_millis(300))).await;
    assert_eq!(slow, Err(MessageError::Timeout(300)));
    assert_eq!(ask(&host, "messenger", "echo", "still here").await, "still here");
}

#[tokio::test]
async fn messages_go_only_where_both_sides_say_so_and_refusals_are_audited() {
    let dir = TempDir::new().unwrap();
    let config = "[plugins.messenger]\nallow.messages = [\"send:@clock\"]\n";
    let config: HostConfig = config.parse().unwrap();
    let host = PluginHost::builder().data_dir(dir.path()).config(config).build().await.unwrap();
    for plugin in ["messenger", "messenger-b", "services-probe"] {
        host.load(&plugins().join(plugin)).await.unwrap();
    }
    let refused = "refused: the message was not granted: host.toml: no allow.messages covers it";
    assert_eq!(ask(&host, "messenger", "ask messenger-b who", "").await, refused);
    let (_inbox, open) = (host.channel().open("@clock".parse().unwrap()).unwrap(), "tell @clock x");
    assert_eq!(ask(&host, "messenger", open, "").await, "");
    host.shutdown(Duration::from_secs(5)).await;
    let mut records = read(&dir.path().join("audit")).unwrap().map(Result::unwrap);
    let denied = records.find(|record| record.kind == RecordKind::Violation).unwrap();
    let told = |text: &Option<String>| text.clone().unwrap_or_default();
    assert_eq!(told(&denied.operation), "send");
    assert_eq!(told(&denied.resource), "messenger-b");
    let allow = "host.toml: plugins.messenger.allow.messages = [\"send:messenger-b\"]";
    assert_eq!(told(&denied.allow), allow);
}

#[tokio::test]
async fn who_waits_when_the_host_shuts_down_is_told() {
    let host = host(TRUSTING).await;
    let waiting = tokio::spawn({
        let host = host.clone();
        async move { ask(&host, "messenger", "later", "").await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    host.shutdown(Duration::from_secs(5)).await;
    assert_eq!(waiting.await.unwrap(), "ipc/message-closed");
    assert_eq!(ask(&host, "messenger", "echo", "").await, "ipc/message-closed");
}

#[tokio::test]
async fn an_unloaded_plugin_takes_no_messages_until_it_is_back() {
    let host = host(TRUSTING).await;
    let messenger = "messenger".parse().unwrap();
    host.unload(&messenger, Duration::from_secs(5)).await.unwrap();
    assert_eq!(ask(&host, "messenger", "echo", "").await, "ipc/message-unknown-target");
    host.start(&messenger).await.unwrap();
    assert_eq!(ask(&host, "messenger", "echo", "back").await, "back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_comes_back_takes_messages_each_time() {
    let host = host(TRUSTING).await;
    let messenger = "messenger".parse().unwrap();
    for round in 0..60 {
        host.unload(&messenger, Duration::from_secs(5)).await.unwrap();
        host.start(&messenger).await.unwrap();
        assert_eq!(ask(&host, "messenger", "echo", "back").await, "back", "round {round}");
    }
}

#[tokio::test]
async fn messages_that_were_taken_are_handled_though_they_have_to_wait() {
    let host = host(TRUSTING).await;
    let sender = host.channel().sender("@tests".parse().unwrap());
    // Four instances, and work for four seconds: longer than the deadline of those that come last would be.
    for _ in 0..80 {
        let nap = Message::new("messenger".parse().unwrap(), "nap", []);
        sender.send(&Caller::default(), nap).await.unwrap();
    }
    let metrics = || host.metrics().into_iter().find(|it| it.name.as_str() == "messenger").unwrap();
    let began = std::time::Instant::now();
    while metrics().calls.calls < 80 {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", metrics().calls);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(metrics().calls.errors, []);
}

#[tokio::test]
async fn who_does_not_wait_long_says_nothing_of_the_plugin() {
    let host = host(TRUSTING).await;
    let sender = host.channel().sender("@tests".parse().unwrap());
    // More than half of the plugin's own time, so that it had its chance; but the caller's all the same.
    for n in 0..4 {
        let sleep = Message::new("messenger".parse().unwrap(), "sleep", [n]);
        let wait = Some(Duration::from_millis(2_700));
        let given_up = sender.request(&Caller::default(), sleep, wait).await;
        assert_eq!(given_up, Err(MessageError::Timeout(2_700)));
    }
    // The same message is tried, and takes as long as it does: nothing was held against it.
    let sleep = Message::new("messenger".parse().unwrap(), "sleep", []);
    let wait = Some(Duration::from_millis(300));
    let given_up = sender.request(&Caller::default(), sleep, wait).await;
    assert_eq!(given_up, Err(MessageError::Timeout(300)));
    assert_eq!(ask(&host, "messenger", "echo", "still here").await, "still here");
}

#[tokio::test]
async fn a_message_that_breaks_the_plugin_again_and_again_is_known() {
    let host = host(TRUSTING).await;
    for _ in 0..3 {
        assert_eq!(ask(&host, "messenger", "spin", "bad").await, "ipc/message-failed");
    }
    let info = || host.metrics().into_iter().find(|it| it.name.as_str() == "messenger").unwrap();
    let spun = info().calls.cpu_time;
    assert_eq!(ask(&host, "messenger", "spin", "bad").await, "ipc/message-failed");
    assert!(info().calls.cpu_time < spun + Duration::from_millis(500), "it was tried once more");
    assert_eq!(ask(&host, "messenger", "echo", "good").await, "good");
}

#[tokio::test]
async fn many_messages_at_once_are_each_answered_once() {
    let host = host(TRUSTING).await;
    let asks = (0..500).map(|n| {
        let host = host.clone();
        tokio::spawn(async move {
            let payload = n.to_string();
            (ask(&host, "messenger", "ask messenger-b echo", &payload).await, payload)
        })
    });
    let answers = futures::future::join_all(asks.collect::<Vec<_>>()).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|(answer, asked)| answer == asked), "{answers:?}");
    assert_eq!(host.channel().counts().pending, 0);
}
