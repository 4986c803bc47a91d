//! The network. Everything here stays on loopback.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{Arena, ViolationType::*, check};

const NONE: &str = "";

// A07
#[tokio::test(flavor = "multi_thread")]
async fn a_hoard_of_sockets_of_every_kind_ends_at_the_limit_of_the_plugin() {
    check(
        "limits.sockets = 8\n",
        &[("sockets 5000", "8"), ("sockets 5000 again", "8"), ("tcp-options max", "")],
        &[LimitExceeded],
    )
    .await;
}

// E01, E06
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_lookups_is_refused_name_by_name() {
    check(
        NONE,
        &[
            ("lookups evil.test 100000", "0 access-denied"),
            ("lookup localhost", "access-denied"),
            ("lookup LOCALHOST.", "access-denied"),
            ("lookup xn--bcher-kva.example", "access-denied"),
            ("lookup \u{202e}", ""),
            ("udp-many 2000", "no socket"),
            ("listen-v4 0 0 0 0 0", "access-denied"),
            ("listen-v4 127 0 0 1 1", "access-denied"),
        ],
        &[NetAccessDenied],
    )
    .await;
}

// E02, E06, E13: whatever an authority is spelled like, none but the granted one is reached.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_granted_authority_is_reached() {
    let Some((arena, server)) = with_server("").await else { return };
    let port = server.port;
    for (orders, answer) in [
        (format!("wasi-url http 127.0.0.1:{port} /"), "200 5"),
        (format!("wasi-url http 127.0.0.1:{port} / x-a 1 max"), "200 5"),
        (format!("wasi-url http 127.0.0.1:{port} / x-a 1 1"), ""),
    ] {
        arena.survives(&orders, answer).await;
    }
    let reached = server.settled().await;
    for orders in [
        format!("wasi-url http 127.0.0.1:{port}@127.0.0.2:{port} /"),
        format!("wasi-url http user@127.0.0.1:{port} /"),
        format!("wasi-url http 127.0.0.2:{port} /"),
        format!("wasi-url http 0.0.0.0:{port} /"),
        format!("wasi-url http [::]:{port} /"),
        format!("wasi-url http [::1]:{port} /"),
        format!("wasi-url http [fe80::1%25lo]:{port} /"),
        format!("wasi-url http localhost:{port} /"),
        "wasi-url http 127.0.0.1:0 /".to_owned(),
        "wasi-url http 127.0.0.1:99999 /".to_owned(),
        "wasi-url http 127.0.0.1 /".to_owned(),
        format!("wasi-url https 127.0.0.2:{port} /"),
        format!("wasi-url file 127.0.0.1:{port} /etc/passwd"),
        format!("wasi-url gopher 127.0.0.1:{port} /"),
        format!("wasi-url unix 127.0.0.1:{port} /run/docker.sock"),
        format!("wasi-url http 127.0.0.1:{port} /\u{20ac}\u{7f}"),
        format!("http-field http://127.0.0.2:{port}/ x-a 1"),
        format!("http-field http://x:y@127.0.0.1:{port}/ x-a 1"),
        format!("http-field http://127.0.0.1:{port}\\@127.0.0.2/ host 127.0.0.2"),
    ] {
        let answer = arena.order(&orders).await;
        assert!(!answer.starts_with("200") && !answer.starts_with("Ok"), "{orders}: {answer}");
    }
    assert_eq!(server.settled().await, reached + 1, "but for the test itself");
    arena.ends(&[NetAccessDenied]).await;
}

// E10
#[tokio::test(flavor = "multi_thread")]
async fn fields_are_bounded_and_make_no_other_request() {
    let Some((arena, server)) = with_server("").await else { return };
    let url = format!("http://127.0.0.1:{}/", server.port);
    let authority = format!("127.0.0.1:{}", server.port);
    for (orders, answer) in [
        (format!("http-field {url} x-a 1"), "Ok(200)"),
        (format!("http-fields {url} 100 10"), "Ok(200)"),
        (format!("http-fields {url} 40000 1"), "Err(HttpError::InvalidHeader("),
        (format!("http-fields {url} 1 30000000"), "Err(HttpError::InvalidHeader("),
        (format!("http-fields {url} 2 30000000"), "core/too-much-data"),
        (format!("http-field {url} x-a 1CRLFHost:_evil"), "Err(HttpError::InvalidHeader("),
        (format!("http-field {url} host evil.test"), "Err(HttpError::InvalidHeader("),
        (format!("http-field {url} transfer-encoding chunked"), "Err(HttpError::InvalidHeader("),
        (format!("http-field {url} content-length 3"), "Err(HttpError::InvalidHeader("),
        ("fields-many 40000 1".to_owned(), ""),
        ("fields-many 2 30000000".to_owned(), ""),
        (format!("wasi-url http {authority} / x-a 1CRLFHost:evil"), "HeaderError::InvalidSyntax"),
        (
            format!("wasi-url http {authority} / transfer-encoding chunked"),
            "HeaderError::Forbidden",
        ),
        (format!("wasi-url http {authority} / host evil.test"), "HeaderError::Forbidden"),
    ] {
        arena.survives(&orders, answer).await;
    }
    arena.ends(&[]).await;
}

// E10, E11: bodies without an end.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_without_an_end_come_to_one() {
    let Some((arena, server)) = with_server("limits.http-size = \"1MB\"\n").await else { return };
    let (authority, port) = (format!("127.0.0.1:{}", server.port), server.port);
    arena.survives(&format!("http-body http://{authority}/ 900000"), "Ok(").await;
    arena.survives(&format!("http-body http://{authority}/ 2000000"), "Err(TooLarge").await;
    arena.survives(&format!("wasi-body {authority} 100000000"), "").await;
    assert!(server.bytes.load(Ordering::SeqCst) < 4 << 20);
    arena.survives(&format!("http-storm http://127.0.0.1:{port}/ 20"), "20").await;
    arena
        .survives(
            &format!("http-field http://{authority}/endless a b"),
            "Err(HttpError::TooLarge(1000000",
        )
        .await;
    arena.ends(&[LimitExceeded]).await;
}

/// Answers each request, and counts what comes in.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
}

impl Server {
    fn count(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The same, once all are counted that came before: they are accepted one after the other.
    async fn settled(&self) -> usize {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        stream.read_u8().await.unwrap();
        self.count()
    }
}

/// An arena whose plugin may connect to a server, by its address and port.
async fn with_server(more: &str) -> Option<(Arena, Server)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let arena = Arena::new(&format!("allow.net = [\"connect:127.0.0.1:{port}\"]\n{more}")).await?;
    let (connections, bytes) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let server = Server { port, connections: connections.clone(), bytes: bytes.clone() };
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::SeqCst);
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let (mut head, mut block) = (Vec::new(), vec![0; 64 << 10]);
                // One answer for each connection, when its head is there; the rest is read and counted.
                let mut answered = false;
                loop {
                    let read = stream.read(&mut block).await?;
                    bytes.fetch_add(read, Ordering::SeqCst);
                    if read == 0 {
                        return std::io::Result::Ok(());
                    }
                    head.extend_from_slice(
                        &block[..read.min((64 << 10) - head.len().min(64 << 10))],
                    );
                    if !answered && head.windows(4).any(|four| four == b"\r\n\r\n") {
                        if head.starts_with(b"GET /endless") {
                            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                            loop {
                                stream.write_all(&block).await?;
                            }
                        }
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
                        stream.write_all(answer).await?;
                        answered = true;
                    }
                }
            });
        }
    });
    Some((arena, server))
}
