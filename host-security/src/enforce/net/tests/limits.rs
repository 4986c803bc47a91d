//! How much, and for how long.

use super::*;

async fn bounded(answer: impl Into<Vec<u8>>, limits: &str) -> (World, Server) {
    let server = Server::new("127.0.0.1", answer).await;
    let both = [connect(server.at)];
    (Setup { both: &both, limits, ..Setup::default() }.make(), server)
}

#[tokio::test]
async fn a_body_may_be_as_large_as_the_limit_and_no_larger() {
    let check = async |bytes: usize, expected: Result<(), HttpRefused>| {
        let (world, server) = bounded(ok(&"x".repeat(bytes)), "http-size = \"1KB\"").await;
        let reply = world.plugin.fetch(HttpRequest::get(server.url())).await;
        assert_eq!(reply.map(|reply| assert_eq!(reply.body.len(), bytes)), expected);
        let request = HttpRequest::post(server.url(), vec![b'x'; bytes]);
        let is_too_large = matches!(
            world.plugin.fetch(request).await,
            Err(HttpRefused::TooLarge { bytes_max: 1_000 })
        );
        assert_eq!(is_too_large, bytes > 1_000);
        world.told()
    };
    assert_eq!(check(1_000, Ok(())).await, [""; 0]);
    let told = check(1_001, Err(HttpRefused::TooLarge { bytes_max: 1_000 })).await;
    assert!(told[0].ends_with("; limits.http-size = 1000; -"), "{told:?}");
    assert_eq!(told.len(), 2);
}

#[tokio::test]
async fn an_endless_body_ends_at_the_limit() {
    let server = Server::with("127.0.0.1", |mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
        loop {
            stream.write_all(b"400\r\n").await?;
            stream.write_all(&[b'x'; 0x400]).await?;
            stream.write_all(b"\r\n").await?;
        }
    })
    .await;
    let both = [connect(server.at)];
    let world = Setup { both: &both, limits: "http-size = \"1MB\"", ..Setup::default() }.make();
    let refused = world.get(&server.url()).await;
    assert_eq!(refused, Err(HttpRefused::TooLarge { bytes_max: 1_000_000 }));
    let told = world.told();
    assert!(told[0].ends_with("; limits.http-size = 1000000; -"), "{told:?}");
}

#[tokio::test]
async fn what_never_comes_is_not_waited_for() {
    let check = async |start: &'static str| {
        let server = Server::with("127.0.0.1", move |mut stream| async move {
            stream.write_all(start.as_bytes()).await?;
            // Keeps the connection, and says no more.
            std::future::pending().await
        })
        .await;
        let both = [connect(server.at)];
        let world = Setup { both: &both, timeout: Some("200ms"), ..Setup::default() }.make();
        let refused = world.get(&server.url()).await;
        assert_eq!(refused, Err(HttpRefused::Timeout { max: Duration::from_millis(200) }));
    };
    check("").await;
    check("HTTP/1.1 200 OK\r\nx-a: ").await;
    check("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await;
}

#[tokio::test]
async fn heads_of_answers_are_bounded() {
    let check = async |fields: String, expected: Option<&str>| {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n");
        let (world, server) = bounded(answer, "").await;
        match (world.get(&server.url()).await, expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => {
                assert!(error.to_string().contains(expected), "{error}")
            }
            (found, _) => panic!("{found:?}"),
        }
    };
    let fields = |n: usize, bytes: usize| {
        (0..n).map(|i| format!("x-{i}: {}\r\n", "v".repeat(bytes))).collect::<String>()
    };
    check(fields(100, 10), None).await;
    check(fields(200, 10), Some("head is too large")).await;
    check(fields(40_000, 1), Some("head is too large")).await;
    check(fields(10, 6_000), None).await;
    check(fields(10, 7_000), Some("more than 65536 bytes")).await;
    check(fields(1, 8 << 20), Some("head is too large")).await;
}

#[tokio::test]
async fn fields_of_a_guest_cannot_make_another_request() {
    let (world, server) = bounded(ok("hello"), "").await;
    for (name, value) in [
        ("x-a", "1\r\nx-b: 2"),
        ("x-a\r\nx-b", "1"),
        ("Host", "evil.test"),
        ("content-length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("proxy-authorization", "x"),
    ] {
        let field = (name.to_owned(), value.to_owned());
        let request = HttpRequest::get(server.url()).with_headers(vec![field]);
        let refused = world.plugin.fetch(request).await;
        assert!(matches!(refused, Err(HttpRefused::InvalidHeader { .. })), "{name:?}: {refused:?}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_plugin_has_eight_requests_under_way_and_the_next_waits() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::with("127.0.0.1", move |mut stream| {
        let (mut wait, arrived) = (wait.clone(), arrived.clone());
        async move {
            arrived.send(()).map_err(io::Error::other)?;
            wait.wait_for(|go| *go).await.map_err(io::Error::other)?;
            stream.write_all(ok("done").as_bytes()).await
        }
    })
    .await;
    let world = Arc::new(World::new(&[connect(server.at)]));
    let url = server.url();
    let requests: Vec<_> = (0..REQUESTS_MAX + 1)
        .map(|_| {
            let (world, url) = (world.clone(), url.clone());
            tokio::spawn(async move { world.get(&url).await })
        })
        .collect();
    for _ in 0..REQUESTS_MAX {
        arrivals.recv().await.unwrap();
    }
    assert_eq!(world.plugin.requests.available_permits(), 0);
    assert_eq!(server.connections(), REQUESTS_MAX);
    go.send(true).unwrap();
    for request in requests {
        assert_eq!(request.await.unwrap().unwrap(), "200 done");
    }
    assert_eq!(server.connections(), REQUESTS_MAX + 1);
}

#[tokio::test]
async fn a_destination_that_is_not_there_says_so() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let world = World::new(&[connect(gone)]);
    let refused = world.get(&format!("http://{gone}/secret?token=1")).await;
    let Err(HttpRefused::Failed { stage: Stage::Connect, why }) = refused else {
        panic!("{refused:?}")
    };
    assert!(why.contains("refused") && !why.contains("secret"), "{why}");
}

struct Store {
    ctx: NetCtx,
    wasi: WasiCtx,
    table: ResourceTable,
}

impl NetData for Store {
    fn net(&mut self) -> NetView<'_> {
        NetView { ctx: &mut self.ctx, wasi: &mut self.wasi, table: &mut self.table }
    }
}

/// Gives a request a method and an authority of so many bytes: 1 if the first is refused, and 2 if the second.
const LONG_WORDS: &str = r#"(component
    (import "wasi:http/types@0.2.12" (instance $t
        (export "fields" (type $f (sub resource)))
        (export "outgoing-request" (type $r (sub resource)))
        (type $cases (variant (case "get") (case "head") (case "post") (case "put") (case "delete")
            (case "connect") (case "options") (case "trace") (case "patch") (case "other" string)))
        (export "method" (type $m (eq $cases)))
        (export "[constructor]fields" (func (result (own $f))))
        (export "[constructor]outgoing-request" (func (param "headers" (own $f)) (result (own $r))))
        (export "[method]outgoing-request.set-method"
            (func (param "self" (borrow $r)) (param "method" $m) (result (result))))
        (export "[method]outgoing-request.set-authority"
            (func (param "self" (borrow $r)) (param "authority" (option string)) (result (result))))))
    (core module $memory (memory (export "m") 1))
    (core instance $memory (instantiate $memory))
    (alias core export $memory "m" (core memory $m))
    (core func $fields (canon lower (func $t "[constructor]fields")))
    (core func $request (canon lower (func $t "[constructor]outgoing-request")))
    (core func $method
        (canon lower (func $t "[method]outgoing-request.set-method") (memory $m)))
    (core func $authority
        (canon lower (func $t "[method]outgoing-request.set-authority") (memory $m)))
    (core module $main
        (import "" "m" (memory 1))
        (import "" "fields" (func $fields (result i32)))
        (import "" "request" (func $request (param i32) (result i32)))
        (import "" "method" (func $method (param i32 i32 i32 i32) (result i32)))
        (import "" "authority" (func $authority (param i32 i32 i32 i32) (result i32)))
        (func (export "try") (param $len i32) (result i32) (local $r i32)
            (memory.fill (i32.const 0) (i32.const 65) (local.get $len))
            (local.set $r (call $request (call $fields)))
            (i32.add
                (call $method (local.get $r) (i32.const 9) (i32.const 0) (local.get $len))
                (i32.shl
                    (call $authority (local.get $r) (i32.const 1) (i32.const 0) (local.get $len))
                    (i32.const 1)))))
    (core instance $main (instantiate $main (with "" (instance
        (export "m" (memory $m)) (export "fields" (func $fields))
        (export "request" (func $request)) (export "method" (func $method))
        (export "authority" (func $authority))))))
    (func (export "try") (param "len" u32) (result u32) (canon lift (core func $main "try"))))"#;

#[tokio::test]
async fn what_a_guest_says_of_a_request_is_not_kept_at_any_length() {
    let world = World::new(&[]);
    let ctx = NetCtx::new(&world.plugin);
    let data = Store { ctx, wasi: WasiCtxBuilder::new().build(), table: ResourceTable::new() };
    let engine = wasmtime::Engine::default();
    let mut linker = Linker::new(&engine);
    add_to_linker::<Store>(&mut linker).unwrap();
    let wasm = wat::parse_str(LONG_WORDS).unwrap();
    let component = wasmtime::component::Component::from_binary(&engine, &wasm).unwrap();
    let mut store = wasmtime::Store::new(&engine, data);
    let instance = linker.instantiate_async(&mut store, &component).await.unwrap();
    let lengthen = instance.get_typed_func::<(u32,), (u32,)>(&mut store, "try").unwrap();
    for (bytes, expected) in [(1, 0), (64, 0), (65, 1), (1_024, 1), (1_025, 3)] {
        let (refused,) = lengthen.call_async(&mut store, (bytes,)).await.unwrap();
        assert_eq!(refused, expected, "{bytes}");
    }
}
