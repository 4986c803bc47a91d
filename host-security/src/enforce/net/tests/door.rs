//! Where requests may go.

use super::*;

#[tokio::test]
async fn an_address_that_is_granted_answers() {
    let server = Server::new("127.0.0.1", ok("hello")).await;
    let world = World::new(&[connect(server.at)]);
    assert_eq!(world.get(&server.url()).await.unwrap(), "200 hello");
    assert_eq!(world.told(), [""; 0]);
    assert_eq!(Vec::from_iter(world.usage.addresses()), [connect(server.at)]);
}

#[tokio::test]
async fn an_address_that_is_not_allowed_sees_no_connection() {
    let server = Server::new("127.0.0.1", ok("hello")).await;
    let asked = [connect(server.at)];
    let world = Setup { asked: &asked, ..Setup::default() }.make();
    let rule = "host.toml: no allow.net covers it";
    let refused = HttpRefused::Denied { rule: rule.to_owned() };
    assert_eq!(world.get(&server.url()).await, Err(refused));
    let allow = format!("host.toml: plugins.probe.allow.net = [\"connect:{}\"]", server.at);
    assert_eq!(world.told(), [format!("http {}; {rule}; {allow}", server.at)]);
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn another_address_or_port_of_the_same_host_is_refused() {
    let granted = Server::new("127.0.0.1", ok("granted")).await;
    let port = Server::new("127.0.0.1", ok("port")).await;
    let address = Server::new("127.0.0.2", ok("address")).await;
    let world = World::new(&[connect(granted.at)]);
    assert!(world.get(&granted.url()).await.is_ok());
    for other in [port, address] {
        let refused = world.get(&other.url()).await;
        assert!(matches!(refused, Err(HttpRefused::Denied { .. })), "{refused:?}");
        assert_eq!(other.connections(), 0);
    }
    assert_eq!(world.told().len(), 2);
}

#[tokio::test]
async fn a_name_reaches_an_inner_address_only_with_a_grant_of_the_address() {
    let server = Server::new("127.0.0.1", ok("hello")).await;
    let port = server.at.port();
    let by_name = [format!("connect:api.test:{port}")];
    let names: &[(&str, &[&str])] = &[("api.test", &["127.0.0.1"])];
    let url = format!("http://api.test:{port}/");

    let world = Setup { both: &by_name, names, ..Setup::default() }.make();
    let refused = world.get(&url).await.unwrap_err().to_string();
    assert!(refused.ends_with("does not reach 127.0.0.0/8 (loopback)"), "{refused}");
    let told = world.told();
    assert!(told[0].starts_with(&format!("http api.test:{port} (127.0.0.1); ")), "{told:?}");
    assert!(told[0].ends_with(&format!("allow.net = [\"connect:127.0.0.1:{port}\"]")), "{told:?}");
    assert_eq!(server.connections(), 0);

    let allowed = [connect(server.at)];
    let world = Setup { both: &by_name, allowed: &allowed, names, ..Setup::default() }.make();
    assert_eq!(world.get(&url).await.unwrap(), "200 hello");
    assert!(server.head(0).contains(&format!("host: api.test:{port}")), "{}", server.head(0));
    assert_eq!(Vec::from_iter(world.usage.addresses()), by_name);
}

#[tokio::test]
async fn a_name_that_was_not_granted_is_not_even_resolved() {
    let names: &[(&str, &[&str])] = &[("secret.evil.test", &["127.0.0.1"])];
    let world = Setup { names, ..Setup::default() }.make();
    let refused = world.get("https://secret.evil.test/").await;
    assert!(matches!(refused, Err(HttpRefused::Denied { .. })), "{refused:?}");
    assert_eq!(world.resolver.asked.load(Ordering::SeqCst), 0);
    let told = world.told();
    assert!(told[0].starts_with("http secret.evil.test:443; "), "{told:?}");
    assert!(told[0].contains("[\"connect:secret.evil.test:443\"]"), "{told:?}");
}

#[tokio::test]
async fn look_alikes_of_a_granted_name_are_other_names() {
    let both = ["connect:api.example.test:443".to_owned()];
    let world = World::new(&both);
    for url in [
        "https://api.example.test.evil.test/",
        "https://evil-api.example.test/",
        "https://api.example.tes/",
        "https://xapi.example.test/",
    ] {
        let refused = world.get(url).await;
        assert!(matches!(refused, Err(HttpRefused::Denied { .. })), "{url}: {refused:?}");
    }
    assert_eq!(world.resolver.asked.load(Ordering::SeqCst), 0);
    // The same name in another spelling is resolved, and here has no address.
    for url in ["https://API.Example.TEST/", "https://api.example.test./"] {
        let failed = world.get(url).await;
        assert!(matches!(failed, Err(HttpRefused::Failed { stage: Stage::Resolve, .. })), "{url}");
    }
}

#[tokio::test]
async fn what_is_dialled_is_what_was_checked() {
    let server = Server::new("127.0.0.1", ok("granted")).await;
    let port = server.at.port();
    // Of two addresses, the one that may be reached.
    let names: &[(&str, &[&str])] = &[("two.test", &["127.0.0.2", "127.0.0.1"])];
    let both = [format!("connect:two.test:{port}")];
    let allowed = [connect(server.at)];
    let other = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let world = Setup { both: &both, allowed: &allowed, names, ..Setup::default() }.make();
    let url = format!("http://two.test:{port}/");
    assert_eq!(world.get(&url).await.unwrap(), "200 granted");
    // The other one is told: a name that leads to both is how rebinding begins.
    let told = world.told();
    assert!(told[0].starts_with(&format!("http two.test:{port} (127.0.0.2); ")), "{told:?}");
    assert_eq!(world.get(&url).await.unwrap(), "200 granted");
    // Once for each request: nothing looks a name up again after the check.
    assert_eq!(world.resolver.asked.load(Ordering::SeqCst), 2);
    assert_eq!(server.connections(), 2);
    let knock = futures::FutureExt::now_or_never(other.accept());
    assert!(knock.is_none());
}

#[tokio::test]
async fn every_spelling_of_loopback_is_refused_under_a_grant_of_everything() {
    let server = Server::new("127.0.0.1", ok("inside")).await;
    let port = server.at.port();
    let both = ["connect:*:*".to_owned()];
    let names: &[(&str, &[&str])] = &[
        ("localhost", &["127.0.0.1", "::1"]),
        ("mapped.test", &["::ffff:127.0.0.1"]),
        ("nat64.test", &["64:ff9b::7f00:1"]),
    ];
    let world = Setup { both: &both, names, ..Setup::default() }.make();
    let spellings = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "0.0.0.0",
        "0",
        "localhost",
        "LOCALHOST.",
        "mapped.test",
        "nat64.test",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "192.168.0.1",
    ];
    for (n, host) in spellings.iter().enumerate() {
        let refused = world.get(&format!("http://{host}:{port}/")).await;
        let Err(HttpRefused::Denied { rule }) = refused else { panic!("{host}: {refused:?}") };
        assert!(rule.starts_with("host.toml: policy.allow.net \"connect:*:*\" does not reach"));
        assert_eq!(world.told().len(), n + 1, "{host}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_redirect_is_checked_like_the_first_request() {
    let inner = Server::new("127.0.0.2", ok("inner")).await;
    let open = Server::new("127.0.0.1", ok("open")).await;
    let door = Server::new("127.0.0.1", redirect(&inner.url())).await;
    let world = World::new(&[connect(door.at), connect(open.at)]);
    let refused = world.get(&door.url()).await;
    assert!(matches!(refused, Err(HttpRefused::Denied { .. })), "{refused:?}");
    assert_eq!((door.connections(), inner.connections()), (1, 0));
    assert!(world.told()[0].starts_with(&format!("http {}; ", inner.at)));

    let door = Server::new("127.0.0.1", redirect(&open.url())).await;
    let world = World::new(&[connect(door.at), connect(open.at)]);
    assert_eq!(world.get(&door.url()).await.unwrap(), "200 open");
}

#[tokio::test]
async fn redirects_lead_to_http_alone_and_come_to_an_end() {
    let check = async |to: &str, expected: &str| {
        let server = Server::new("127.0.0.1", redirect(to)).await;
        let world = World::new(&[connect(server.at)]);
        let error = world.get(&server.url()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{to}: {error}");
        server.connections()
    };
    assert_eq!(check("/again", "more than 5 redirects").await, 6);
    assert_eq!(check("file:///etc/passwd", "neither http nor https").await, 1);
    assert_eq!(check("http://a.test@127.0.0.1/", "user or password").await, 1);
    assert_eq!(check("http://", "empty host").await, 1);
}

#[tokio::test]
async fn credentials_stay_with_their_origin() {
    let last = Server::new("127.0.0.1", ok("last")).await;
    let first = Server::new("127.0.0.1", redirect(&last.url())).await;
    let fields = ["Authorization", "Cookie", "X-Trace"];
    let fields = fields.map(|name| (name.to_owned(), "value".to_owned()));
    let request = HttpRequest::get(first.url()).with_headers(fields.to_vec());
    let world = World::new(&[connect(first.at), connect(last.at)]);
    assert_eq!(world.plugin.fetch(request).await.unwrap().status, 200);
    assert!(first.head(0).contains("authorization: value"));
    assert!(first.head(0).contains("cookie: value"));
    assert!(!last.head(0).contains("authorization") && !last.head(0).contains("cookie"));
    assert!(last.head(0).contains("x-trace: value"));
}

#[tokio::test]
async fn a_post_is_not_redirected() {
    let server = Server::new("127.0.0.1", redirect("/elsewhere")).await;
    let world = World::new(&[connect(server.at)]);
    let request = HttpRequest::post(server.url(), b"body".to_vec());
    let reply = world.plugin.fetch(request).await.unwrap();
    assert_eq!((reply.status, server.connections()), (302, 1));
    assert!(reply.headers.contains(&("location".to_owned(), "/elsewhere".to_owned())));
    assert!(server.head(0).starts_with("post / http/1.1"));
    assert!(server.head(0).contains("content-length: 4"));
}

/// Runs another test of this file where the environment has a proxy.
#[test]
fn a_proxy_of_the_environment_is_not_used() {
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "enforce::net::tests::door::an_address_that_is_granted_answers"]);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"] {
        again.env(name, &url);
    }
    again.env_remove("NO_PROXY").env_remove("no_proxy");
    let done = again.output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(proxy.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}
