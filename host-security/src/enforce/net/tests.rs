//! Plugins with a network, servers for them to reach, and what was told of both.

mod door;
mod limits;
mod outgoing;
mod sockets;
mod tls;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    AuditSink, Authority, Policy, Request, Rules,
    audit::{AuditEvent, SecurityViolation, Usage},
};

/// Keeps what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<SecurityViolation>>);

impl AuditSink for Told {
    fn record(&self, event: AuditEvent) {
        if let AuditEvent::Violation(violation) = event {
            self.0.lock().unwrap().push(violation);
        }
    }
}

/// A plugin with a network, and what was told of it.
struct World {
    plugin: Arc<PluginNet>,
    told: Arc<Told>,
    usage: Usage,
    resolver: Arc<Fixed>,
}

/// Answers from a table, and counts.
#[derive(Default)]
struct Fixed {
    names: HashMap<String, Vec<IpAddr>>,
    asked: AtomicUsize,
}

#[async_trait]
impl Resolver for Fixed {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let found = self.names.get(name).cloned();
        found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

/// What a test says of its world; the rest is by default.
#[derive(Default)]
struct Setup<'a> {
    /// What the plugin asks for and the operator allows, line by line.
    both: &'a [String],
    /// What the plugin asks for besides.
    asked: &'a [String],
    /// What the operator allows besides.
    allowed: &'a [String],
    /// Under `limits` of the operator.
    limits: &'a str,
    /// `timeout` of the plugin.
    timeout: Option<&'a str>,
    names: &'a [(&'a str, &'a [&'a str])],
    settings: NetSettings,
}

impl Setup<'_> {
    fn make(self) -> World {
        let asked: Vec<String> = self.both.iter().chain(self.asked).cloned().collect();
        let manifest = format!(
            "[plugin]\nname = \"probe\"\nversion = \"0.1.0\"\nentrypoint = \"a.wasm\"\n\
             [permissions]\ntimeout = {:?}\nnet = {asked:?}",
            self.timeout.unwrap_or("30s")
        );
        let allowed = self.both.iter().chain(self.allowed);
        let policy = Policy {
            all: Rules {
                allow: Authority {
                    net: allowed.map(|line| line.parse().unwrap()).collect(),
                    ..Authority::default()
                },
                limits: toml::from_str(self.limits).unwrap(),
                ..Rules::default()
            },
            ..Policy::default()
        };
        let grant = policy.grant(&Request::from_manifest(&manifest.parse().unwrap()));
        let told = Arc::new(Told::default());
        let usage = Usage::default();
        let auditor = Auditor::new("probe", "0.1.0", Some(told.clone())).learning(usage.clone());
        let names = self.names.iter().map(|(name, addresses)| {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            ((*name).to_owned(), addresses)
        });
        let resolver = Arc::new(Fixed { names: names.collect(), ..Fixed::default() });
        let settings = NetSettings { resolver: resolver.clone(), ..self.settings };
        let plugin = PluginNet::new(&grant, auditor, NetShared::new(settings).unwrap());
        World { plugin, told, usage, resolver }
    }
}

impl World {
    fn new(both: &[String]) -> Self {
        Setup { both, ..Setup::default() }.make()
    }

    /// Each refusal: operation, resource, rule, and the line that would allow it.
    fn told(&self) -> Vec<String> {
        let told = self.told.0.lock().unwrap();
        let line = |one: &SecurityViolation| {
            let allow = one.allow.as_deref().unwrap_or("-");
            format!("{} {}; {}; {allow}", one.operation, one.resource, one.rule)
        };
        told.iter().map(line).collect()
    }

    async fn get(&self, url: &str) -> Result<String, HttpRefused> {
        let reply = self.plugin.fetch(HttpRequest::get(url)).await?;
        Ok(format!("{} {}", reply.status, String::from_utf8(reply.body).unwrap()))
    }
}

/// A server of one answer, on a port of its own.
struct Server {
    at: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    heads: Mutex<Vec<String>>,
}

impl Server {
    /// Answers every request with `answer`, and closes.
    async fn new(ip: &str, answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::with(ip, move |mut stream| {
            let answer = answer.clone();
            async move { stream.write_all(&answer).await }
        })
        .await
    }

    /// Lets `answer` do it, once the head of a request is there.
    async fn with<F>(ip: &str, answer: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let (answer, notes) = (Arc::new(answer), seen.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                notes.connections.fetch_add(1, Ordering::SeqCst);
                let (answer, notes) = (answer.clone(), notes.clone());
                tokio::spawn(async move {
                    let head = head(&mut stream).await?;
                    notes.heads.lock().unwrap().push(head);
                    answer(stream).await
                });
            }
        });
        Self { at, seen }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.at)
    }

    fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The head of the request that came as the n-th.
    fn head(&self, n: usize) -> String {
        self.seen.heads.lock().unwrap()[n].clone()
    }
}

/// Reads up to the empty line.
async fn head(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).to_ascii_lowercase())
}

/// An answer with this body.
fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
}

/// `connect:` to where a server is.
fn connect(to: SocketAddr) -> String {
    format!("connect:{to}")
}

#[test]
fn what_is_said_to_be_linked_is_linked_once() {
    struct Nothing;
    impl NetData for Nothing {
        fn net(&mut self) -> NetView<'_> {
            unreachable!("nothing is called")
        }
    }
    let engine = wasmtime::Engine::default();
    let mut linker = Linker::<Nothing>::new(&engine);
    add_to_linker(&mut linker).unwrap();
    for interface in NET_INTERFACES {
        // Adding to an interface that is there, under its version, does not make a new one.
        let version = "0.2.12";
        let text = format!("(component (import \"{interface}@{version}\" (instance)))");
        let component =
            wasmtime::component::Component::from_binary(&engine, &wat::parse_str(text).unwrap());
        linker.instantiate_pre(&component.unwrap()).unwrap();
    }
    assert!(add_to_linker(&mut linker).is_err());
}

#[test]
fn a_file_without_certificates_is_refused() {
    #[track_caller]
    fn check(file: &[u8], expected: &str) {
        let settings = NetSettings { extra_roots: vec![file.to_vec()], ..NetSettings::default() };
        let error = NetShared::new(settings).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
    check(b"", "file 1 of the extra root certificates cannot be used");
    check(b"not a certificate", "cannot be used");
    check(
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "no certificate in it",
    );
    check(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "cannot be used");
}
