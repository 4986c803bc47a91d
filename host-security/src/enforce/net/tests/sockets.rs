//! Sockets and lookups, called as a guest's calls come in.

use super::*;
use tokio::net::UdpSocket as Peer;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{
    DynPollable, SocketError, SocketResult, TcpSocket, UdpSocket,
    bindings::sockets::{
        instance_network,
        ip_name_lookup::{self, HostResolveAddressStream},
        network::{ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Network},
        tcp::HostTcpSocket,
        tcp_create_socket,
        udp::{
            HostIncomingDatagramStream, HostOutgoingDatagramStream, HostUdpSocket, OutgoingDatagram,
        },
        udp_create_socket,
    },
};
use wasmtime_wasi_io::bindings::wasi::io::poll::HostPollable;

/// One store's worth of network.
struct Store {
    ctx: NetCtx,
    wasi: WasiCtx,
    table: ResourceTable,
}

/// What a guest is told.
type Answer<T> = Result<T, ErrorCode>;

fn answer<T>(result: SocketResult<T>) -> Answer<T> {
    result.map_err(|error: SocketError| error.downcast().unwrap())
}

/// A handle of a guest's: the place in the table.
fn at<T: 'static>(place: u32) -> Resource<T> {
    Resource::new_borrow(place)
}

impl Store {
    fn new(world: &World) -> Self {
        let ctx = NetCtx::new(&world.plugin);
        let mut builder = WasiCtxBuilder::new();
        configure(&mut builder, &ctx);
        Self { ctx, wasi: builder.build(), table: ResourceTable::new() }
    }

    fn view(&mut self) -> NetView<'_> {
        NetView { ctx: &mut self.ctx, wasi: &mut self.wasi, table: &mut self.table }
    }

    fn network(&mut self) -> Resource<Network> {
        instance_network::Host::instance_network(&mut self.view().sockets()).unwrap()
    }

    async fn block(&mut self, pollable: Resource<DynPollable>) {
        self.table.block(at(pollable.rep())).await.unwrap();
        HostPollable::drop(&mut self.table, pollable).unwrap();
    }

    fn tcp(&mut self) -> Answer<u32> {
        let family = IpAddressFamily::Ipv4;
        let socket = tcp_create_socket::Host::create_tcp_socket(&mut self.view(), family);
        answer(socket).map(|socket| socket.rep())
    }

    fn drop_tcp(&mut self, socket: u32) {
        HostTcpSocket::drop(&mut self.view(), Resource::new_own(socket)).unwrap();
    }

    async fn udp(&mut self) -> Answer<u32> {
        let family = IpAddressFamily::Ipv4;
        let socket = udp_create_socket::Host::create_udp_socket(&mut self.view(), family).await;
        answer(socket).map(|socket| socket.rep())
    }

    async fn bind(&mut self, socket: u32, to: &str) -> Answer<()> {
        let (network, to): (_, SocketAddr) = (self.network(), to.parse().unwrap());
        let mut view = self.view();
        answer(HostTcpSocket::start_bind(&mut view, at(socket), network, to.into()).await)?;
        answer(HostTcpSocket::finish_bind(&mut view, at(socket)))
    }

    async fn listen(&mut self, socket: u32) -> Answer<SocketAddr> {
        let mut view = self.view();
        answer(HostTcpSocket::start_listen(&mut view, at(socket)).await)?;
        answer(HostTcpSocket::finish_listen(&mut view, at(socket)))?;
        answer(HostTcpSocket::local_address(&mut view, at(socket))).map(SocketAddr::from)
    }

    async fn connect(&mut self, socket: u32, to: SocketAddr) -> Answer<()> {
        let network = self.network();
        answer(HostTcpSocket::start_connect(&mut self.view(), at(socket), network, to.into()))?;
        let pollable = HostTcpSocket::subscribe(&mut self.view(), at(socket)).unwrap();
        self.block(pollable).await;
        answer(HostTcpSocket::finish_connect(&mut self.view(), at::<TcpSocket>(socket))).map(|_| ())
    }

    async fn accept(&mut self, socket: u32) -> Answer<()> {
        let pollable = HostTcpSocket::subscribe(&mut self.view(), at(socket)).unwrap();
        self.block(pollable).await;
        answer(HostTcpSocket::accept(&mut self.view(), at(socket))).map(|_| ())
    }

    async fn bind_udp(&mut self, socket: u32, to: &str) -> Answer<SocketAddr> {
        let (network, to): (_, SocketAddr) = (self.network(), to.parse().unwrap());
        let mut view = self.view();
        answer(HostUdpSocket::start_bind(&mut view, at(socket), network, to.into()).await)?;
        answer(HostUdpSocket::finish_bind(&mut view, at(socket)))?;
        answer(HostUdpSocket::local_address(&mut view, at(socket))).map(SocketAddr::from)
    }

    /// The streams of a bound socket, with one fixed peer or with any.
    async fn stream(&mut self, socket: u32, peer: Option<SocketAddr>) -> Answer<(u32, u32)> {
        let peer = peer.map(IpSocketAddress::from);
        let streams = HostUdpSocket::stream(&mut self.view(), at::<UdpSocket>(socket), peer).await;
        answer(streams).map(|(incoming, outgoing)| (incoming.rep(), outgoing.rep()))
    }

    async fn send(&mut self, stream: u32, to: SocketAddr) -> Answer<u64> {
        let pollable = HostOutgoingDatagramStream::subscribe(&mut self.view(), at(stream)).unwrap();
        self.block(pollable).await;
        answer(HostOutgoingDatagramStream::check_send(&mut self.view(), at(stream)))?;
        let datagram = OutgoingDatagram { data: b"ping".to_vec(), remote_address: Some(to.into()) };
        answer(HostOutgoingDatagramStream::send(&mut self.view(), at(stream), vec![datagram]))
    }

    /// The next datagrams that come through.
    async fn receive(&mut self, stream: u32) -> Vec<Vec<u8>> {
        let pollable = HostIncomingDatagramStream::subscribe(&mut self.view(), at(stream)).unwrap();
        self.block(pollable).await;
        let found = HostIncomingDatagramStream::receive(&mut self.view(), at(stream), 16);
        answer(found).unwrap().into_iter().map(|datagram| datagram.data).collect()
    }

    async fn lookup(&mut self, name: &str) -> Answer<Vec<IpAddr>> {
        let network = self.network();
        let mut view = self.view();
        let stream = ip_name_lookup::Host::resolve_addresses(&mut view, network, name.to_owned());
        let stream = answer(stream)?.rep();
        let pollable = HostResolveAddressStream::subscribe(&mut view, at(stream)).unwrap();
        self.block(pollable).await;
        let mut view = self.view();
        let mut next =
            || answer(HostResolveAddressStream::resolve_next_address(&mut view, at(stream)));
        let mut addresses = Vec::new();
        while let Some(address) = next()? {
            addresses.push(match address {
                IpAddress::Ipv4((a, b, c, d)) => [a, b, c, d].into(),
                IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => [a, b, c, d, e, f, g, h].into(),
            });
        }
        HostResolveAddressStream::drop(&mut view, Resource::new_own(stream)).unwrap();
        Ok(addresses)
    }
}

#[tokio::test]
async fn without_a_grant_sockets_are_there_and_lead_nowhere() {
    let server = Server::new("127.0.0.1", ok("")).await;
    let world = World::new(&[]);
    let mut store = Store::new(&world);
    let denied = Err(ErrorCode::AccessDenied);
    let socket = store.tcp().unwrap();
    assert_eq!(store.bind(socket, "0.0.0.0:0").await, denied);
    assert_eq!(store.bind(socket, "127.0.0.1:8080").await, denied);
    assert_eq!(store.connect(socket, server.at).await, denied);
    let socket = store.udp().await.unwrap();
    assert_eq!(store.bind_udp(socket, "0.0.0.0:0").await, Err(ErrorCode::AccessDenied));
    assert_eq!(store.lookup("api.test").await, Err(ErrorCode::AccessDenied));
    assert_eq!(server.connections(), 0);
    let neither = |kind: &str| {
        format!(
            "neither permissions.net nor the host's allow.net covers it; plugin.toml: permissions.net = [\"{kind}\"] and host.toml: plugins.probe.allow.net = [\"{kind}\"]"
        )
    };
    assert_eq!(
        world.told(),
        [
            "bind 0.0.0.0:0; nothing of connect or listen is granted; -".to_owned(),
            format!("bind 127.0.0.1:8080; {}", neither("listen:127.0.0.1:8080")),
            format!("connect {}; {}", server.at, neither(&connect(server.at))),
            "bind 0.0.0.0:0; nothing of datagram is granted; -".to_owned(),
            format!("lookup api.test; {}", neither("connect:api.test:*")),
        ]
    );
}

#[tokio::test]
async fn a_grant_to_connect_is_that_alone() {
    let server = Server::new("127.0.0.1", ok("")).await;
    let other = Server::new("127.0.0.2", ok("")).await;
    let world = World::new(&[connect(server.at)]);
    let mut store = Store::new(&world);
    let denied = Err(ErrorCode::AccessDenied);
    let socket = store.tcp().unwrap();
    assert_eq!(store.connect(socket, server.at).await, Ok(()));
    let socket = store.tcp().unwrap();
    assert_eq!(store.connect(socket, other.at).await, denied);
    let socket = store.tcp().unwrap();
    assert_eq!(store.bind(socket, "127.0.0.1:0").await, denied);
    // To connect from there would be well; to listen is not.
    assert_eq!(store.bind(socket, "0.0.0.0:0").await, Ok(()));
    assert_eq!(store.listen(socket).await.map(|_| ()), denied);
    let socket = store.udp().await.unwrap();
    assert_eq!(store.bind_udp(socket, "0.0.0.0:0").await.map(|_| ()), denied);
    assert_eq!(other.connections(), 0);
    assert_eq!(world.told().len(), 4);
    // The line for a port of the system's choice is one that the policy can read.
    let told = world.told();
    assert!(told[1].contains("[\"listen:127.0.0.1:*\"]"), "{told:?}");
}

#[tokio::test]
async fn a_bound_socket_connects_where_it_may() {
    let server = Server::new("127.0.0.1", ok("")).await;
    let mut store = Store::new(&World::new(&[connect(server.at)]));
    let socket = store.tcp().unwrap();
    assert_eq!(store.bind(socket, "0.0.0.0:0").await, Ok(()));
    assert_eq!(store.connect(socket, server.at).await, Ok(()));
}

#[tokio::test]
async fn a_grant_to_listen_is_that_alone() {
    let world = World::new(&["listen:127.0.0.1:*".to_owned()]);
    let mut store = Store::new(&world);
    let socket = store.tcp().unwrap();
    assert_eq!(store.bind(socket, "127.0.0.1:0").await, Ok(()));
    let local = store.listen(socket).await.unwrap();
    let _client = TcpStream::connect(local).await.unwrap();
    assert_eq!(store.accept(socket).await, Ok(()));

    let denied = Err(ErrorCode::AccessDenied);
    let socket = store.tcp().unwrap();
    assert_eq!(store.bind(socket, "127.0.0.2:0").await, denied);
    assert_eq!(store.connect(socket, local).await, denied);
    // Every address is not the one that was granted.
    let socket = store.tcp().unwrap();
    assert_eq!(store.bind(socket, "0.0.0.0:0").await, Ok(()));
    assert_eq!(store.listen(socket).await.map(|_| ()), denied);
}

#[tokio::test]
async fn datagrams_go_to_granted_peers_and_come_from_them() {
    let peer = Peer::bind("127.0.0.1:0").await.unwrap();
    let stranger = Peer::bind("127.0.0.2:0").await.unwrap();
    let (to, other) = (peer.local_addr().unwrap(), stranger.local_addr().unwrap());
    let world = World::new(&[format!("datagram:{to}")]);
    let mut store = Store::new(&world);
    let socket = store.udp().await.unwrap();
    let local = store.bind_udp(socket, "127.0.0.1:0").await.unwrap();
    let (incoming, outgoing) = store.stream(socket, None).await.unwrap();
    assert_eq!(store.send(outgoing, to).await, Ok(1));
    assert_eq!(store.send(outgoing, other).await, Err(ErrorCode::AccessDenied));
    let mut buffer = [0; 8];
    assert_eq!(peer.recv_from(&mut buffer).await.unwrap(), (4, local));

    stranger.send_to(b"psst", local).await.unwrap();
    peer.send_to(b"pong", local).await.unwrap();
    assert_eq!(store.receive(incoming).await, [b"pong".to_vec()]);
    assert_eq!(world.told().len(), 2);
    assert!(world.told()[0].starts_with(&format!("send {other}; ")));
    assert!(world.told()[1].starts_with(&format!("receive {other}; ")));
}

#[tokio::test]
async fn a_fixed_peer_has_to_be_granted_too() {
    let peer = Peer::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let world = World::new(&[format!("datagram:{peer}")]);
    let mut store = Store::new(&world);
    let socket = store.udp().await.unwrap();
    store.bind_udp(socket, "0.0.0.0:0").await.unwrap();
    let other = "127.0.0.2:9".parse().unwrap();
    assert_eq!(store.stream(socket, Some(other)).await, Err(ErrorCode::AccessDenied));
    assert!(store.stream(socket, Some(peer)).await.is_ok());
}

#[tokio::test]
async fn a_known_port_for_datagrams_needs_a_grant_to_listen() {
    let free = Peer::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let datagrams = "datagram:127.0.0.1:*".to_owned();
    let check = async |both: &[String], expected: Answer<()>| {
        let mut store = Store::new(&World::new(both));
        let socket = store.udp().await.unwrap();
        let bound = store.bind_udp(socket, &free.to_string()).await;
        assert_eq!(bound.map(|_| ()), expected, "{both:?}");
    };
    check(std::slice::from_ref(&datagrams), Err(ErrorCode::AccessDenied)).await;
    check(&[datagrams, format!("listen:{free}")], Ok(())).await;
}

#[tokio::test]
async fn a_socket_beyond_the_limit_is_refused_until_another_is_closed() {
    let limits = "sockets = 2";
    let world = Setup { limits, ..Setup::default() }.make();
    let mut store = Store::new(&world);
    let first = store.tcp().unwrap();
    store.udp().await.unwrap();
    assert_eq!(store.tcp(), Err(ErrorCode::NewSocketLimit));
    assert_eq!(store.udp().await, Err(ErrorCode::NewSocketLimit));
    assert_eq!(world.told(), ["socket 2 open; limits.sockets = 2; -"; 2]);
    store.drop_tcp(first);
    assert!(store.tcp().is_ok());
    // Another store has its own.
    assert!(Store::new(&world).tcp().is_ok());
}

#[tokio::test]
async fn all_stores_together_have_a_limit_and_give_back_what_they_had() {
    let settings = NetSettings { sockets_max: 2, ..NetSettings::default() };
    let world = Setup { settings, ..Setup::default() }.make();
    let (mut one, mut other) = (Store::new(&world), Store::new(&world));
    assert!(one.tcp().is_ok() && one.tcp().is_ok());
    assert_eq!(other.tcp(), Err(ErrorCode::NewSocketLimit));
    assert_eq!(world.told(), ["socket 0 open; 2 sockets of all plugins; -"]);
    drop(one);
    assert!(other.tcp().is_ok());
}

#[tokio::test]
async fn accepted_connections_are_sockets_too() {
    let both = ["listen:127.0.0.1:*".to_owned()];
    let world = Setup { both: &both, limits: "sockets = 2", ..Setup::default() }.make();
    let mut store = Store::new(&world);
    let socket = store.tcp().unwrap();
    store.bind(socket, "127.0.0.1:0").await.unwrap();
    let local = store.listen(socket).await.unwrap();
    let _clients = [TcpStream::connect(local).await, TcpStream::connect(local).await];
    assert_eq!(store.accept(socket).await, Ok(()));
    assert_eq!(store.accept(socket).await, Err(ErrorCode::NewSocketLimit));
    assert_eq!(world.told(), ["accept 2 open; limits.sockets = 2; -"]);
}

#[tokio::test]
async fn a_name_counts_for_the_addresses_that_it_led_to() {
    let server = Server::new("127.0.0.1", ok("")).await;
    let port = server.at.port();
    let both = [format!("connect:api.test:{port}")];
    let allowed = [connect(server.at)];
    let names: &[(&str, &[&str])] = &[("api.test", &["127.0.0.1", "::ffff:127.0.0.1"])];
    let setup = || Setup { both: &both, allowed: &allowed, names, ..Setup::default() };
    let world = setup().make();
    let mut store = Store::new(&world);
    let socket = store.tcp().unwrap();
    // The plugin asked for a name, and nobody knows yet that this is its address.
    assert_eq!(store.connect(socket, server.at).await, Err(ErrorCode::AccessDenied));
    let found = store.lookup("API.Test.").await.unwrap();
    assert_eq!(found, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    let socket = store.tcp().unwrap();
    assert_eq!(store.connect(socket, server.at).await, Ok(()));
    assert_eq!(Vec::from_iter(world.usage.addresses()), both);
    // What one store has resolved says nothing to another.
    let mut other = Store::new(&world);
    let socket = other.tcp().unwrap();
    assert_eq!(other.connect(socket, server.at).await, Err(ErrorCode::AccessDenied));
}

#[tokio::test]
async fn lookups_answer_for_granted_names_and_for_addresses() {
    let names: &[(&str, &[&str])] = &[("api.test", &["192.0.2.1", "2001:db8::1"])];
    let both = ["connect:api.test:443".to_owned(), "datagram:gone.test:53".to_owned()];
    let world = Setup { both: &both, names, ..Setup::default() }.make();
    let mut store = Store::new(&world);
    let parsed = |texts: &[&str]| -> Answer<Vec<IpAddr>> {
        Ok(texts.iter().map(|text| text.parse().unwrap()).collect())
    };
    assert_eq!(store.lookup("api.test").await, parsed(&["192.0.2.1", "2001:db8::1"]));
    assert_eq!(store.lookup("gone.test").await, Err(ErrorCode::NameUnresolvable));
    assert_eq!(store.lookup("evil.test").await, Err(ErrorCode::AccessDenied));
    assert_eq!(store.lookup("127.1").await, parsed(&["127.0.0.1"]));
    assert_eq!(store.lookup("::ffff:10.0.0.1").await, parsed(&["10.0.0.1"]));
    assert_eq!(store.lookup("a b").await, Err(ErrorCode::InvalidArgument));
    assert_eq!(store.lookup("").await, Err(ErrorCode::InvalidArgument));
    assert_eq!(world.resolver.asked.load(Ordering::SeqCst), 2);
    assert!(world.told()[0].starts_with("lookup evil.test; "));
    assert_eq!(world.told().len(), 1);
}

#[tokio::test]
async fn lookups_that_are_begun_are_bounded() {
    let both = ["connect:*:*".to_owned()];
    let world = World::new(&both);
    let mut store = Store::new(&world);
    for n in 0..=LOOKUPS_OF_STORE_MAX {
        let network = store.network();
        let name = format!("n{n}.test");
        let begun = ip_name_lookup::Host::resolve_addresses(&mut store.view(), network, name);
        let is_there = answer(begun).map(|_| ());
        let refused = Err(ErrorCode::TemporaryResolverFailure);
        assert_eq!(is_there, if n < LOOKUPS_OF_STORE_MAX { Ok(()) } else { refused });
    }
    assert_eq!(world.told().len(), 1);
}
