//! Sockets that are counted, and binds that are decided where they come in; the rest is wasmtime's.
//!
//! Each open socket holds a permit of the host's in [`NetCtx`](super::NetCtx), by its place in the table
//! of resources: taken before a socket is made or accepted, given back when it is dropped, or with the
//! store. A socket stays in the table while a stream of it does, so a permit is a file of the host. Beyond
//! it, wasmtime keeps for each listener at most one connection that the guest has yet to accept.

use std::net::SocketAddr;

use plugin_contract::NetAccess;
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::Resource;
use wasmtime_wasi::{
    p2::{
        DynInputStream, DynOutputStream, DynPollable, IoError, SocketError, SocketResult,
        TcpSocket, UdpSocket,
        bindings::sockets::{
            network::{self, ErrorCode, IpAddressFamily, IpSocketAddress, Network},
            tcp::{self, ShutdownType},
            tcp_create_socket,
            udp::{
                self, IncomingDatagram, IncomingDatagramStream, OutgoingDatagram,
                OutgoingDatagramStream,
            },
            udp_create_socket,
        },
    },
    sockets::WasiSocketsCtxView,
};

use super::{NetView, address::any_address};

impl NetView<'_> {
    /// Room for one more socket, of the store and of the host.
    fn room(&self, operation: &str) -> SocketResult<OwnedSemaphorePermit> {
        let plugin = &self.ctx.store.plugin;
        let open = self.ctx.open.len();
        let max = plugin.limits.sockets as usize;
        if open >= max {
            plugin.exceeded(operation, &format!("{open} open"), &format!("limits.sockets = {max}"));
            return Err(ErrorCode::NewSocketLimit.into());
        }
        plugin.shared.sockets.clone().try_acquire_owned().map_err(|_| {
            let limit = format!("{} sockets of all plugins", plugin.shared.sockets_max);
            plugin.exceeded(operation, &format!("{open} open"), &limit);
            ErrorCode::NewSocketLimit.into()
        })
    }
}

impl network::Host for NetView<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        network::Host::convert_error_code(&mut self.sockets(), error)
    }

    fn network_error_code(
        &mut self,
        error: Resource<IoError>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        network::Host::network_error_code(&mut self.sockets(), error)
    }
}

impl network::HostNetwork for NetView<'_> {
    fn drop(&mut self, this: Resource<Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.sockets(), this)
    }
}

impl tcp_create_socket::Host for NetView<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        let permit = self.room("socket")?;
        let socket = tcp_create_socket::Host::create_tcp_socket(&mut self.sockets(), family)?;
        self.ctx.open.insert(socket.rep(), permit);
        Ok(socket)
    }
}

impl udp_create_socket::Host for NetView<'_> {
    async fn create_udp_socket(
        &mut self,
        family: IpAddressFamily,
    ) -> SocketResult<Resource<UdpSocket>> {
        let permit = self.room("socket")?;
        let socket =
            udp_create_socket::Host::create_udp_socket(&mut self.sockets(), family).await?;
        self.ctx.open.insert(socket.rep(), permit);
        Ok(socket)
    }
}

/// Methods that are wasmtime's, as they are.
macro_rules! wasmtimes {
    ($of:path, $resource:ty, {
        $(fn $name:ident($($argument:ident: $type:ty),*) -> $out:ty;)*
    }) => {
        $(fn $name(&mut self, this: Resource<$resource>, $($argument: $type),*) -> $out {
            <WasiSocketsCtxView<'_> as $of>::$name(&mut self.sockets(), this, $($argument),*)
        })*
    };
}

impl tcp::Host for NetView<'_> {}

impl tcp::HostTcpSocket for NetView<'_> {
    async fn start_bind(
        &mut self,
        this: Resource<TcpSocket>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        let to = SocketAddr::from(address);
        let kinds = [NetAccess::Connect, NetAccess::Listen];
        if any_address(to) && !self.ctx.store.plugin.check_any_address(&kinds, to) {
            return Err(ErrorCode::AccessDenied.into());
        }
        tcp::HostTcpSocket::start_bind(&mut self.sockets(), this, network, address).await
    }

    async fn start_listen(&mut self, this: Resource<TcpSocket>) -> SocketResult<()> {
        tcp::HostTcpSocket::start_listen(&mut self.sockets(), this).await
    }

    fn accept(
        &mut self,
        this: Resource<TcpSocket>,
    ) -> SocketResult<(Resource<TcpSocket>, Resource<DynInputStream>, Resource<DynOutputStream>)>
    {
        let permit = self.room("accept")?;
        let accepted = tcp::HostTcpSocket::accept(&mut self.sockets(), this)?;
        self.ctx.open.insert(accepted.0.rep(), permit);
        Ok(accepted)
    }

    fn drop(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<()> {
        let place = this.rep();
        tcp::HostTcpSocket::drop(&mut self.sockets(), this)?;
        self.ctx.open.remove(&place);
        Ok(())
    }

    wasmtimes!(tcp::HostTcpSocket, TcpSocket, {
        fn finish_bind() -> SocketResult<()>;
        fn start_connect(network: Resource<Network>, to: IpSocketAddress) -> SocketResult<()>;
        fn finish_connect() -> SocketResult<(Resource<DynInputStream>, Resource<DynOutputStream>)>;
        fn finish_listen() -> SocketResult<()>;
        fn local_address() -> SocketResult<IpSocketAddress>;
        fn remote_address() -> SocketResult<IpSocketAddress>;
        fn is_listening() -> wasmtime::Result<bool>;
        fn address_family() -> wasmtime::Result<IpAddressFamily>;
        fn set_listen_backlog_size(value: u64) -> SocketResult<()>;
        fn keep_alive_enabled() -> SocketResult<bool>;
        fn set_keep_alive_enabled(value: bool) -> SocketResult<()>;
        fn keep_alive_idle_time() -> SocketResult<u64>;
        fn set_keep_alive_idle_time(value: u64) -> SocketResult<()>;
        fn keep_alive_interval() -> SocketResult<u64>;
        fn set_keep_alive_interval(value: u64) -> SocketResult<()>;
        fn keep_alive_count() -> SocketResult<u32>;
        fn set_keep_alive_count(value: u32) -> SocketResult<()>;
        fn hop_limit() -> SocketResult<u8>;
        fn set_hop_limit(value: u8) -> SocketResult<()>;
        fn receive_buffer_size() -> SocketResult<u64>;
        fn set_receive_buffer_size(value: u64) -> SocketResult<()>;
        fn send_buffer_size() -> SocketResult<u64>;
        fn set_send_buffer_size(value: u64) -> SocketResult<()>;
        fn subscribe() -> wasmtime::Result<Resource<DynPollable>>;
        fn shutdown(how: ShutdownType) -> SocketResult<()>;
    });
}

impl udp::Host for NetView<'_> {}

impl udp::HostUdpSocket for NetView<'_> {
    async fn start_bind(
        &mut self,
        this: Resource<UdpSocket>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        udp::HostUdpSocket::start_bind(&mut self.sockets(), this, network, address).await
    }

    async fn stream(
        &mut self,
        this: Resource<UdpSocket>,
        remote: Option<IpSocketAddress>,
    ) -> SocketResult<(Resource<IncomingDatagramStream>, Resource<OutgoingDatagramStream>)> {
        udp::HostUdpSocket::stream(&mut self.sockets(), this, remote).await
    }

    fn drop(&mut self, this: Resource<UdpSocket>) -> wasmtime::Result<()> {
        let place = this.rep();
        udp::HostUdpSocket::drop(&mut self.sockets(), this)?;
        self.ctx.open.remove(&place);
        Ok(())
    }

    wasmtimes!(udp::HostUdpSocket, UdpSocket, {
        fn finish_bind() -> SocketResult<()>;
        fn local_address() -> SocketResult<IpSocketAddress>;
        fn remote_address() -> SocketResult<IpSocketAddress>;
        fn address_family() -> wasmtime::Result<IpAddressFamily>;
        fn unicast_hop_limit() -> SocketResult<u8>;
        fn set_unicast_hop_limit(value: u8) -> SocketResult<()>;
        fn receive_buffer_size() -> SocketResult<u64>;
        fn set_receive_buffer_size(value: u64) -> SocketResult<()>;
        fn send_buffer_size() -> SocketResult<u64>;
        fn set_send_buffer_size(value: u64) -> SocketResult<()>;
        fn subscribe() -> wasmtime::Result<Resource<DynPollable>>;
    });
}

impl udp::HostIncomingDatagramStream for NetView<'_> {
    wasmtimes!(udp::HostIncomingDatagramStream, IncomingDatagramStream, {
        fn receive(max: u64) -> SocketResult<Vec<IncomingDatagram>>;
        fn subscribe() -> wasmtime::Result<Resource<DynPollable>>;
        fn drop() -> wasmtime::Result<()>;
    });
}

impl udp::HostOutgoingDatagramStream for NetView<'_> {
    wasmtimes!(udp::HostOutgoingDatagramStream, OutgoingDatagramStream, {
        fn check_send() -> SocketResult<u64>;
        fn send(datagrams: Vec<OutgoingDatagram>) -> SocketResult<u64>;
        fn subscribe() -> wasmtime::Result<Resource<DynPollable>>;
    });

    async fn drop(&mut self, this: Resource<OutgoingDatagramStream>) -> wasmtime::Result<()> {
        udp::HostOutgoingDatagramStream::drop(&mut self.sockets(), this).await
    }
}
