//! Requests of `wasi:http`, as wasmtime hands them over.

use super::*;
use bytes::Bytes;
use http::{HeaderName, Method, Request, Response};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use std::pin::Pin;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

fn empty() -> WasiBody {
    Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync()
}

fn full(bytes: usize) -> WasiBody {
    Full::from(vec![b'x'; bytes]).map_err(|never| match never {}).boxed_unsync()
}

/// In pieces, and nobody knows how many.
fn pieces(number: usize, bytes: usize) -> WasiBody {
    let piece = Bytes::from(vec![b'x'; bytes]);
    let pieces = futures::stream::iter(
        (0..number).map(move |_| Ok::<_, Error>(http_body::Frame::data(piece.clone()))),
    );
    StreamBody::new(pieces).boxed_unsync()
}

async fn send(
    world: &World,
    request: Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Result<Response<WasiBody>, Error> {
    let mut ctx = NetCtx::new(&world.plugin);
    let sent = ctx.hooks.send_request(request, options, Box::new(async { Ok(()) }));
    Ok(Pin::from(sent).await?.0)
}

/// Status and body, or the error as it is told.
async fn get(world: &World, url: &str, options: Option<RequestOptions>) -> Result<String, String> {
    let request = Request::get(url).body(empty()).unwrap();
    let told = |error: Error| format!("{error:?}");
    let (parts, body) = send(world, request, options).await.map_err(told)?.into_parts();
    let body = body.collect().await.map_err(told)?.to_bytes();
    Ok(format!("{} {}", parts.status.as_u16(), String::from_utf8_lossy(&body)))
}

#[tokio::test]
async fn a_granted_address_answers_and_another_is_denied() {
    let server = Server::new("127.0.0.1", ok("hello")).await;
    let other = Server::new("127.0.0.2", ok("other")).await;
    let world = World::new(&[connect(server.at)]);
    assert_eq!(get(&world, &server.url(), None).await.unwrap(), "200 hello");
    assert!(server.head(0).contains(&format!("host: {}", server.at)));
    assert!(!server.head(0).contains("transfer-encoding"));
    let denied = Err("HttpRequestDenied".to_owned());
    assert_eq!(get(&world, &other.url(), None).await, denied);
    for host in ["127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "localhost"] {
        let url = format!("http://{host}:{}/", other.at.port());
        assert_eq!(get(&world, &url, None).await, denied, "{host}");
    }
    assert_eq!((other.connections(), world.told().len()), (0, 6));
}

#[tokio::test]
async fn a_redirect_is_the_guests_to_follow() {
    let inner = Server::new("127.0.0.2", ok("inner")).await;
    let server = Server::new("127.0.0.1", redirect(&inner.url())).await;
    let world = World::new(&[connect(server.at)]);
    assert_eq!(get(&world, &server.url(), None).await.unwrap(), "302 ");
    assert_eq!(get(&world, &inner.url(), None).await, Err("HttpRequestDenied".to_owned()));
    assert_eq!(inner.connections(), 0);
}

#[tokio::test]
async fn the_host_that_is_named_is_the_one_that_was_decided_on() {
    let server = Server::new("127.0.0.1", ok("hello")).await;
    let world = World::new(&[connect(server.at)]);
    let request = Request::get(server.url()).header("host", "evil.test").body(empty()).unwrap();
    assert_eq!(send(&world, request, None).await.unwrap().status(), 200);
    assert!(!server.head(0).contains("evil.test"));
    let request = Request::builder().method(Method::CONNECT).uri(server.url());
    let refused = send(&world, request.body(empty()).unwrap(), None).await;
    assert!(matches!(refused, Err(Error::HttpRequestMethodInvalid)));
    let with_user = format!("http://user@{}/", server.at);
    assert_eq!(get(&world, &with_user, None).await, Err("HttpRequestUriInvalid".to_owned()));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn bodies_are_counted_as_they_pass() {
    let server = Server::with("127.0.0.1", |mut stream| async move {
        // All that comes, until the last of it.
        let mut body = Vec::new();
        while !body.ends_with(b"0\r\n\r\n") {
            body.push(stream.read_u8().await?);
        }
        stream.write_all(ok("taken").as_bytes()).await
    })
    .await;
    let both = [connect(server.at)];
    let limits = "http-size = \"1KB\"";
    let world = Setup { both: &both, limits, ..Setup::default() }.make();
    let post = |body: WasiBody| Request::post(server.url()).body(body).unwrap();
    let sent = send(&world, post(pieces(10, 100)), None).await.unwrap();
    assert_eq!(sent.into_body().collect().await.unwrap().to_bytes(), "taken");
    let refused = send(&world, post(pieces(11, 100)), None).await;
    assert!(matches!(refused, Err(Error::HttpRequestBodySize(Some(1_000)))), "{refused:?}");
    let mut announced = post(full(2_000));
    announced.headers_mut().insert("content-length", "2000".parse().unwrap());
    let refused = send(&world, announced, None).await;
    assert!(matches!(refused, Err(Error::HttpRequestBodySize(Some(1_000)))), "{refused:?}");
    assert_eq!(world.told().len(), 2);
}

#[tokio::test]
async fn answers_are_counted_as_they_pass() {
    let server = Server::with("127.0.0.1", |mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
        loop {
            stream.write_all(b"10\r\n0123456789abcdef\r\n").await?;
        }
    })
    .await;
    let announced = Server::new("127.0.0.1", ok(&"x".repeat(2_000))).await;
    let both = [connect(server.at), connect(announced.at)];
    let limits = "http-size = \"1KB\"";
    let world = Setup { both: &both, limits, ..Setup::default() }.make();
    let too_large = Err("HttpResponseBodySize(Some(1000))".to_owned());
    assert_eq!(get(&world, &server.url(), None).await, too_large);
    assert_eq!(get(&world, &announced.url(), None).await, too_large);
    assert!(world.told().iter().all(|told| told.contains("limits.http-size = 1000")));
}

#[tokio::test]
async fn times_are_the_guests_within_the_plugins() {
    let silent = Server::with("127.0.0.1", |stream| async move {
        let _open = stream;
        std::future::pending().await
    })
    .await;
    let half = Server::with("127.0.0.1", |mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await?;
        std::future::pending().await
    })
    .await;
    let both = [connect(silent.at), connect(half.at)];
    let world = Setup { both: &both, timeout: Some("300ms"), ..Setup::default() }.make();
    let all = |time: Duration| {
        Some(RequestOptions {
            connect_timeout: Some(time),
            first_byte_timeout: Some(time),
            between_bytes_timeout: Some(time),
        })
    };
    let timeout = Err("HttpResponseTimeout".to_owned());
    for time in [Duration::ZERO, Duration::from_nanos(u64::MAX), Duration::MAX] {
        assert_eq!(get(&world, &silent.url(), all(time)).await, timeout);
    }
    let between = Some(RequestOptions {
        between_bytes_timeout: Some(Duration::ZERO),
        ..RequestOptions::default()
    });
    let idle = Err("ConnectionReadTimeout".to_owned());
    assert_eq!(get(&world, &half.url(), between).await, idle);
    assert_eq!(get(&world, &half.url(), None).await, timeout);
}

#[tokio::test]
async fn a_turn_lasts_as_long_as_the_answer() {
    let server = Server::new("127.0.0.1", ok("hello")).await;
    let world = World::new(&[connect(server.at)]);
    let request = Request::get(server.url()).body(empty()).unwrap();
    let answer = send(&world, request, None).await.unwrap();
    assert_eq!(world.plugin.requests.available_permits(), REQUESTS_MAX - 1);
    drop(answer);
    assert_eq!(world.plugin.requests.available_permits(), REQUESTS_MAX);
}

#[test]
fn fields_about_the_connection_are_hidden_in_every_form() {
    let mut ctx = NetCtx::new(&World::new(&[]).plugin);
    let filter = ctx.hooks.forbidden_header_filter();
    for name in ["host", "connection", "transfer-encoding", "proxy-authorization", "upgrade"] {
        let name: HeaderName = name.parse().unwrap();
        assert!(filter(&name) && ctx.hooks.is_forbidden_header(&name), "{name}");
    }
    for name in ["authorization", "content-length", "x-trace"] {
        assert!(!filter(&name.parse().unwrap()), "{name}");
    }
}
