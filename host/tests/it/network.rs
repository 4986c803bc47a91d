//! The network, as a plugin built with the standard library uses it, and through every other door.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use host::{HostConfig, PluginHost};
use host_security::audit::{AuditRecord, read, verify};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

use crate::{name, plugins, text};

/// A host with one plugin that asks for everything.
struct Probed {
    host: PluginHost,
    data: TempDir,
}

impl Probed {
    /// The operator allows `allowed`; `more` is what else is said of the plugin.
    async fn new(allowed: &[String], more: &str) -> Self {
        let config: HostConfig =
            format!("[plugins.net-probe]\nallow.net = {allowed:?}\n{more}").parse().unwrap();
        let data = TempDir::new().unwrap();
        let host = PluginHost::builder()
            .plugins(plugins())
            .only("net-probe".parse().unwrap())
            .data_dir(data.path())
            .config(config)
            .build()
            .await
            .unwrap();
        Self { host, data }
    }

    /// What came of a command.
    async fn obey(&self, command: &str) -> String {
        let reply = self.host.process(&name("net-probe"), text(command)).await.unwrap();
        String::from_utf8(reply.output).unwrap()
    }

    /// Ends the host; what its audit log holds of violations: operation and resource.
    async fn violations(self) -> Vec<String> {
        self.host.shutdown(std::time::Duration::from_secs(5)).await;
        let log = self.data.path().join("audit");
        verify(&log, None).unwrap();
        let records = read(&log).unwrap().map(Result::unwrap);
        let violations = records.filter(|record| record.violation_type.is_some());
        violations
            .map(|record: AuditRecord| {
                format!(
                    "{} {}",
                    record.operation.unwrap_or_default(),
                    record.resource.unwrap_or_default()
                )
            })
            .collect()
    }
}

/// A server that answers each line, or each HTTP request with `answer`.
struct Server {
    at: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn new(ip: &str, answer: &str) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let (at, answer) = (listener.local_addr().unwrap(), answer.to_owned());
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let answer = answer.clone();
                tokio::spawn(async move {
                    let mut read = Vec::new();
                    // To the end of a head, or of the one line that is no head.
                    while !read.ends_with(b"\r\n\r\n") && read != b"ping\n" {
                        read.push(stream.read_u8().await?);
                    }
                    stream.write_all(answer.as_bytes()).await
                });
            }
        });
        Self { at, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_grant_every_door_is_closed_and_each_knock_is_told() {
    let server = Server::new("127.0.0.1", &ok("inside")).await;
    let at = server.at;
    let probed = Probed::new(&[], "").await;
    for (command, expected) in [
        (format!("tcp-connect {at}"), "error: PermissionDenied"),
        ("listen 127.0.0.1:0".to_owned(), "error: PermissionDenied"),
        ("listen 0.0.0.0:0".to_owned(), "error: PermissionDenied"),
        ("udp-bind 127.0.0.1:0".to_owned(), "error: PermissionDenied"),
        (format!("udp-send {at}"), "error: PermissionDenied"),
        ("lookup localhost".to_owned(), "error: "),
        (format!("http-get http://{at}/"), "error: Denied(\"host.toml: no allow.net covers it\")"),
        (format!("wasi-http http://{at}/"), "error: ErrorCode::HttpRequestDenied"),
    ] {
        let said = probed.obey(&command).await;
        assert!(said.starts_with(expected), "{command}: {said}");
    }
    assert_eq!(server.connections(), 0);
    assert_eq!(
        probed.violations().await,
        [
            format!("connect {at}"),
            "bind 127.0.0.1:0".to_owned(),
            "bind 0.0.0.0:0".to_owned(),
            "bind 127.0.0.1:0".to_owned(),
            "bind 0.0.0.0:0".to_owned(),
            "lookup localhost".to_owned(),
            format!("http {at}"),
            format!("http {at}"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_works_as_anywhere() {
    let line = Server::new("127.0.0.1", "pong\n").await;
    let web = Server::new("127.0.0.1", &ok("hello")).await;
    let echo = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let peer = echo.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 16];
        while let Ok((bytes, from)) = echo.recv_from(&mut buffer).await {
            let _sent = echo.send_to(&buffer[..bytes], from).await;
        }
    });
    let allowed = [
        format!("connect:{}", line.at),
        format!("connect:{}", web.at),
        format!("datagram:{peer}"),
        "listen:127.0.0.1:*".to_owned(),
    ];
    let probed = Probed::new(&allowed, "").await;
    assert_eq!(probed.obey(&format!("tcp-exchange {} ping", line.at)).await, "pong");
    assert_eq!(probed.obey(&format!("udp-exchange {peer}")).await, "ping");
    assert_eq!(probed.obey(&format!("http-get http://{}/", web.at)).await, "200 hello");
    assert_eq!(probed.obey(&format!("wasi-http http://{}/a?b", web.at)).await, "200 hello");
    let said = probed.obey("listen 127.0.0.1:0").await;
    assert!(said.starts_with("listening on 127.0.0.1:"), "{said}");
    assert_eq!(probed.violations().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_leads_inside_only_where_the_operator_named_the_address() {
    let web = Server::new("127.0.0.1", &ok("hello")).await;
    let other = Server::new("127.0.0.2", &ok("other")).await;
    let port = web.at.port();
    let by_name = format!("connect:localhost:{port}");
    let commands = [
        format!("tcp-connect localhost:{port}"),
        format!("http-get http://localhost:{port}/"),
        format!("wasi-http http://LOCALHOST.:{port}/"),
    ];

    let probed = Probed::new(&[by_name.clone(), "connect:*:*".to_owned()], "").await;
    for command in &commands {
        let said = probed.obey(command).await;
        assert!(said.starts_with("error: "), "{command}: {said}");
    }
    for host in ["127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0.0.0.0", "[::1]"] {
        for door in ["http-get", "wasi-http"] {
            let said = probed.obey(&format!("{door} http://{host}:{port}/")).await;
            assert!(said.contains("Denied"), "{door} {host}: {said}");
        }
    }
    assert_eq!(web.connections(), 0);

    let probed = Probed::new(&[by_name, format!("connect:{}", web.at)], "").await;
    for (command, expected) in commands.iter().zip(["connected", "200 hello", "200 hello"]) {
        assert_eq!(probed.obey(command).await, expected, "{command}");
    }
    let said = probed.obey(&format!("tcp-connect {}", other.at)).await;
    assert_eq!((said.as_str(), other.connections()), ("error: PermissionDenied", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_into_the_host_is_not_followed() {
    let inner = Server::new("127.0.0.2", &ok("inner")).await;
    let to = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n",
        inner.at
    );
    let door = Server::new("127.0.0.1", &to).await;
    let probed = Probed::new(&[format!("connect:{}", door.at)], "").await;
    let said = probed.obey(&format!("http-get http://{}/", door.at)).await;
    assert!(said.starts_with("error: Denied"), "{said}");
    // The guest sees where it was sent, and may ask, in vain.
    assert_eq!(probed.obey(&format!("wasi-http http://{}/", door.at)).await, "302 ");
    assert_eq!((door.connections(), inner.connections()), (2, 0));
    assert_eq!(probed.violations().await, [format!("http {}", inner.at)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hoard_of_sockets_ends_at_the_limit_and_the_next_call_has_its_own() {
    let probed = Probed::new(&[], "limits.sockets = 4\nlimits.max-instances = 1").await;
    for _ in 0..2 {
        assert_eq!(probed.obey("many-sockets 4").await, "made 4");
        let said = probed.obey("many-sockets 5000").await;
        assert_eq!(said, "made 4, then error: new-socket-limit");
    }
    assert_eq!(probed.violations().await, ["socket 4 open", "socket 4 open"]);
}
