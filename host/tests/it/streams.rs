//! Streams through plugins: bytes, pace, and every way in which one can end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use host::{
    Explain, PluginHost, PluginState, StreamCall, StreamInput, StreamReply,
    http::{HttpSettings, Server},
};

use tokio::io::AsyncWriteExt;

use crate::{host, name};

fn call(how: &str) -> StreamCall {
    let mut call = StreamCall::new("text/plain");
    call.options = vec![("do".to_owned(), how.to_owned())];
    call.patience = Duration::from_secs(2);
    call
}

/// An input of these chunks.
fn input<const N: usize>(chunks: [&'static [u8]; N]) -> StreamInput {
    Box::pin(stream::iter(chunks.map(|chunk| Ok(Bytes::from_static(chunk)))))
}

/// `count` chunks of 64 KiB, and how many of them were taken.
fn many(count: usize) -> (StreamInput, Arc<AtomicUsize>) {
    let taken = Arc::<AtomicUsize>::default();
    let counter = taken.clone();
    let chunk = Bytes::from(vec![b'a'; 64 << 10]);
    let chunks = stream::repeat(chunk).take(count).map(move |chunk| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(chunk)
    });
    (Box::pin(chunks), taken)
}

/// All that comes out, and the code of the error that ends it.
async fn drain(reply: StreamReply) -> (Vec<u8>, Option<&'static str>) {
    let mut body = reply.body;
    let mut output = Vec::new();
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => output.extend_from_slice(&chunk),
            Err(error) => return (output, Some(error.code())),
        }
    }
    (output, None)
}

/// The same of a stream that is treated so. What goes wrong may do so before the head is known.
async fn run(host: &PluginHost, how: &str, input: StreamInput) -> (Vec<u8>, Option<&'static str>) {
    match host.stream(&name("odd-stream"), call(how), input).await {
        Ok(reply) => drain(reply).await,
        Err(error) => (Vec::new(), Some(error.code())),
    }
}

#[track_caller]
fn ends(ended: (Vec<u8>, Option<&'static str>), output: &str, code: Option<&str>) {
    assert_eq!((String::from_utf8_lossy(&ended.0).as_ref(), ended.1), (output, code));
}

/// How much was taken, once no more is.
async fn settled(taken: &AtomicUsize) -> usize {
    let (mut before, mut calm) = (taken.load(Ordering::Relaxed), 0);
    let begun = std::time::Instant::now();
    while calm < 10 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it takes more and more");
        tokio::time::sleep(Duration::from_millis(30)).await;
        let now = taken.load(Ordering::Relaxed);
        calm = if now == before { calm + 1 } else { 0 };
        before = now;
    }
    before
}

/// The plugin serves, and has none but idle instances: nothing was left behind.
async fn is_well(host: &PluginHost) {
    ends(run(host, "copy", input([b"still here"])).await, "still here", None);
    for _ in 0..6_000 {
        let info = host.plugin(&name("odd-stream")).unwrap();
        if info.pool.busy == 0 && info.state == PluginState::Serving {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", host.plugin(&name("odd-stream")).unwrap().pool);
}

#[tokio::test]
async fn what_goes_in_comes_out() {
    let host = host("stream-upper").await;
    let upper = name("stream-upper");
    let stream = |chunks| host.stream(&upper, StreamCall::new("text/plain"), chunks);
    let reply = stream(input([b"hello ", b"", b"world"])).await.unwrap();
    assert_eq!(reply.content_type, "text/plain");
    assert_eq!(drain(reply).await, (b"HELLO WORLD".to_vec(), None));
    let (output, code) = drain(stream(input([b"ab", b"c\xFFd"])).await.unwrap()).await;
    assert_eq!((output.as_slice(), code), (b"ABC".as_slice(), Some("core/plugin-refused")));
    assert_eq!(drain(stream(input([])).await.unwrap()).await, (vec![], None));
}

#[tokio::test]
async fn an_instance_works_on_one_stream_after_the_other() {
    let host = host("odd-stream").await;
    for _ in 0..20 {
        ends(run(&host, "copy", input([b"abc"])).await, "abc", None);
    }
    assert_eq!(host.plugin(&name("odd-stream")).unwrap().pool.started, 1);
}

#[tokio::test]
async fn a_plugin_may_hand_its_input_on_untouched() {
    let host = host("odd-stream").await;
    ends(run(&host, "return", input([b"ab", b"cd"])).await, "abcd", None);
    let (chunks, taken) = many(100);
    let (output, code) = run(&host, "return", chunks).await;
    assert_eq!((output.len(), code, taken.load(Ordering::Relaxed)), (100 * (64 << 10), None, 100));
    is_well(&host).await;
}

#[tokio::test]
async fn a_stream_may_be_longer_than_all_memory_of_its_plugin() {
    let host = host("odd-stream").await;
    // 128 MiB through 16 MB.
    let (chunks, _) = many(2_000);
    let (output, code) = run(&host, "copy", chunks).await;
    assert_eq!((output.len(), code), (2_000 * (64 << 10), None));
    let (chunks, _) = many(2_000);
    let (output, _) = run(&host, "count", chunks).await;
    assert_eq!(output, (2_000 * (64 << 10)).to_string().into_bytes());
    is_well(&host).await;
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_plugin_and_the_input() {
    let host = host("odd-stream").await;
    let (chunks, taken) = many(10_000);
    let mut call = call("copy");
    call.patience = Duration::from_secs(120);
    let mut reply = host.stream(&name("odd-stream"), call, chunks).await.unwrap();
    assert!(reply.body.next().await.unwrap().is_ok());
    let before = settled(&taken).await;
    assert!(before < 20, "{before} chunks are on their way");
    // It is not the plugin's fault; and nobody holds an instance for ever.
    let (_, code) = drain(reply).await;
    assert_eq!(code, None, "read again in time");
    let (chunks, taken) = many(10_000);
    let mut call = self::call("copy");
    call.patience = Duration::from_millis(300);
    let reply = host.stream(&name("odd-stream"), call, chunks).await.unwrap();
    // The input is let go when the stream is given up.
    for _ in 0..6_000 {
        if Arc::strong_count(&taken) == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(Arc::strong_count(&taken), 1, "it is held for ever");
    assert_eq!(drain(reply).await.1, Some("core/stream-stalled"));
    is_well(&host).await;
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_the_instance() {
    let host = host("odd-stream").await;
    for how in ["copy", "flood"] {
        let (chunks, taken) = many(1_000_000);
        let mut reply = host.stream(&name("odd-stream"), call(how), chunks).await.unwrap();
        assert!(reply.body.next().await.unwrap().is_ok());
        drop(reply);
        let taken = settled(&taken).await;
        assert!(taken < 1_000_000, "nobody reads, and yet it went on to the end");
        is_well(&host).await;
    }
}

#[tokio::test]
async fn a_flood_moves_no_faster_than_it_is_read() {
    let host = host("odd-stream").await;
    let reply = host.stream(&name("odd-stream"), call("flood"), input([])).await.unwrap();
    let mut body = reply.body;
    for _ in 0..1_000 {
        assert_eq!(body.next().await.unwrap().unwrap().len(), 64 << 10);
    }
    drop(body);
    is_well(&host).await;
}

#[tokio::test]
async fn a_plugin_that_stands_still_meets_its_deadline() {
    for how in ["stall", "sleep"] {
        let host = host("odd-stream").await;
        ends(run(&host, how, input([b"x"])).await, "", Some("core/deadline"));
        is_well(&host).await;
    }
    let host = host("odd-stream").await;
    ends(run(&host, "linger", input([b"x"])).await, "x", Some("core/deadline"));
    is_well(&host).await;
}

#[tokio::test]
async fn a_plugin_that_spins_or_traps_ends_that_stream_only() {
    let host = host("odd-stream").await;
    let mut flood = call("flood");
    flood.patience = Duration::from_secs(120);
    let mut other = host.stream(&name("odd-stream"), flood, input([])).await.unwrap();
    ends(run(&host, "spin", input([b"x"])).await, "", Some("security/cpu-time-exceeded"));
    ends(run(&host, "trap", input([b"x"])).await, "", Some("core/trap-unreachable"));
    for _ in 0..10 {
        assert!(other.body.next().await.unwrap().is_ok());
    }
    drop(other);
    is_well(&host).await;
}

#[tokio::test]
async fn cpu_time_is_for_each_mebibyte_and_not_for_the_whole() {
    // A plugin with a second of it, and a stream that takes longer than that.
    let host = host("odd-stream").await;
    let began = std::time::Instant::now();
    let mut bytes = 0;
    while began.elapsed() < Duration::from_millis(2_500) {
        let (chunks, _) = many(20_000);
        let mut reply = host.stream(&name("odd-stream"), call("copy"), chunks).await.unwrap().body;
        while let Some(chunk) = reply.next().await {
            bytes += chunk.unwrap().len();
            if began.elapsed() > Duration::from_millis(2_500) {
                break;
            }
        }
    }
    assert!(bytes > 20 << 20, "{bytes}");
}

#[tokio::test]
async fn what_a_plugin_says_last_decides_whether_its_output_is_whole() {
    let host = host("odd-stream").await;
    ends(run(&host, "doubt", input([b"abc"])).await, "abc", Some("core/plugin-refused"));
    ends(run(&host, "swallow", input([b"abc"])).await, "", None);
    let forgotten = run(&host, "forget", input([b"abc"])).await;
    assert_eq!(forgotten.0, b"abc");
    assert!(forgotten.1.is_some(), "it never said so");
    is_well(&host).await;
}

#[tokio::test]
async fn a_refusal_comes_before_anything_else() {
    let host = host("odd-stream").await;
    let odd = name("odd-stream");
    let refused = host.stream(&odd, call("refuse"), input([b"x"])).await.unwrap_err();
    assert_eq!(refused.code(), "core/plugin-refused");
    assert_eq!(host.plugin(&name("odd-stream")).unwrap().pool.started, 1, "it is used again");
    let upper = self::host("shout-v1").await;
    let stream = upper.stream(&name("shout-v1"), call("copy"), input([b"x"])).await;
    assert_eq!(stream.unwrap_err().code(), "core/not-offered");
}

#[tokio::test]
async fn an_input_that_breaks_off_is_no_input_that_ends() {
    let host = host("odd-stream").await;
    let broken: Vec<Result<Bytes, host::StreamInputError>> =
        vec![Ok(Bytes::from_static(b"abc")), Err("cable cut".into())];
    let ended = run(&host, "count", Box::pin(stream::iter(broken))).await;
    ends(ended, "", Some("core/stream-broken"));
    // One that neither comes nor ends.
    let silent: StreamInput = Box::pin(stream::pending());
    let mut call = call("count");
    call.patience = Duration::from_millis(300);
    let reply = host.stream(&name("odd-stream"), call, silent).await.unwrap();
    assert_eq!(drain(reply).await.1, Some("core/stream-stalled"));
    is_well(&host).await;
}

#[tokio::test]
async fn streams_are_bounded_in_number_and_counted() {
    let host = host("odd-stream").await;
    let odd = name("odd-stream");
    let mut long = call("flood");
    long.patience = Duration::from_secs(120);
    let flood = || host.stream(&odd, long.clone(), input([]));
    let (first, second) = (flood().await.unwrap(), flood().await.unwrap());
    // It has two instances, and a second to wait for one.
    assert_eq!(flood().await.unwrap_err().code(), "core/overloaded");
    drop((first, second));
    is_well(&host).await;
    let metrics = &host.metrics()[0].calls;
    let errors: Vec<_> = metrics.errors.iter().map(|(code, count)| (*code, *count)).collect();
    assert_eq!(errors, [("core/overloaded", 1), ("core/cancelled", 2)]);
}

/// Says when it is let go.
struct Guarded(Arc<AtomicUsize>);

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn an_input_goes_with_its_stream_whatever_the_plugin_keeps_of_it() {
    let host = host("odd-stream").await;
    let alive = Arc::<AtomicUsize>::default();
    let secret = || -> StreamInput {
        alive.fetch_add(1, Ordering::Relaxed);
        let guard = Guarded(alive.clone());
        let first = stream::iter([Ok(Bytes::from_static(b"secret of another"))]);
        Box::pin(first.chain(stream::pending()).inspect(move |_| _ = &guard))
    };
    for _ in 0..3 {
        ends(run(&host, "keep", secret()).await, "", None);
        assert_eq!(alive.load(Ordering::Relaxed), 0, "the client is still waited for");
        ends(run(&host, "kept", input([b"mine"])).await, "", None);
    }
    is_well(&host).await;
}

#[tokio::test]
async fn a_plugin_that_stands_still_cannot_blame_it_on_others() {
    let host = host("odd-stream").await;
    let silent: StreamInput = Box::pin(stream::pending());
    let mut call = call("blame");
    call.patience = Duration::from_secs(20);
    let reply = host.stream(&name("odd-stream"), call, silent).await.unwrap();
    assert_eq!(drain(reply).await.1, Some("core/deadline"));
    is_well(&host).await;
}

#[tokio::test]
async fn a_stream_that_takes_long_keeps_nobody_from_trying_again() {
    let host = host("odd-stream").await;
    let mut trapped = 0;
    while run(&host, "trap", input([b"x"])).await.1 != Some("core/circuit-open") {
        trapped += 1;
        assert!(trapped < 100);
    }
    // The first that is let through is one that takes its time.
    let slow = loop {
        let drip: StreamInput = Box::pin(stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Some((Ok(Bytes::from_static(b"x")), ()))
        }));
        match host.stream(&name("odd-stream"), call("copy"), drip).await {
            Ok(reply) => break reply,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let began = std::time::Instant::now();
    while run(&host, "copy", input([b"y"])).await != (b"y".to_vec(), None) {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody else is let through");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(slow);
    is_well(&host).await;
}

#[tokio::test]
async fn a_stream_ends_with_the_service_of_its_plugin() {
    let host = host("odd-stream").await;
    let mut reply = host.stream(&name("odd-stream"), call("flood"), input([])).await.unwrap();
    assert!(reply.body.next().await.unwrap().is_ok());
    let reading = tokio::spawn(async move { drain(reply).await.1 });
    let began = std::time::Instant::now();
    host.shutdown(Duration::from_millis(500)).await;
    assert_eq!(reading.await.unwrap(), Some("core/retired"));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_stream_is_lost_while_its_plugin_is_reloaded() {
    let host = host("odd-stream").await;
    let stop = Arc::<AtomicUsize>::default();
    let streaming = tokio::spawn({
        let (host, stop) = (host.clone(), stop.clone());
        async move {
            let mut streams = 0;
            while stop.load(Ordering::Relaxed) == 0 {
                ends(run(&host, "copy", input([b"abc"])).await, "abc", None);
                streams += 1;
            }
            streams
        }
    });
    for _ in 0..30 {
        host.reload(&name("odd-stream"), Duration::from_secs(5)).await.unwrap();
    }
    stop.store(1, Ordering::Relaxed);
    assert!(streaming.await.unwrap() > 0);
}

#[tokio::test]
async fn a_client_that_sends_and_never_reads_holds_neither_instance_nor_connection() {
    let host = host("odd-stream").await;
    let mut settings = HttpSettings::default();
    settings.body_timeout = Duration::from_millis(500);
    settings.write_timeout = Duration::from_secs(1);
    let server = Server::bind(host.clone(), settings, "127.0.0.1:0".parse().unwrap()).await;
    let server = server.unwrap();
    let address = server.address();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = "POST /v1/plugins/odd-stream/stream HTTP/1.1\r\nhost: x\r\ncontent-type: a/b\r\n\
                content-length: 10737418240\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let chunk = vec![b'x'; 1 << 20];
    // It sends until nobody takes more, and then until the connection is gone.
    let gone = async { while client.write_all(&chunk).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the connection is held");
    is_well(&host).await;
    stop.send(()).unwrap();
    serving.await.unwrap();
}
