//! Accepting connections, and stopping in good order.

use std::{net::SocketAddr, sync::Arc};

use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use plugin_contract::Explain;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_io_timeout::TimeoutStream;

use super::{HttpSettings, router};
use crate::PluginHost;

/// A host that listens.
pub struct Server {
    host: PluginHost,
    settings: HttpSettings,
    listener: TcpListener,
    address: SocketAddr,
}

/// The server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ServeError {
    address: SocketAddr,
    source: std::io::Error,
}

impl Explain for ServeError {
    fn code(&self) -> &'static str {
        match self.source.kind() {
            std::io::ErrorKind::AddrInUse => "host/address-in-use",
            _ => "host/cannot-listen",
        }
    }

    fn remedy(&self) -> &'static str {
        match self.source.kind() {
            std::io::ErrorKind::AddrInUse => {
                "stop what listens there, or take a free port with `--listen 127.0.0.1:0`"
            }
            _ => "choose an address of this machine and a port from 1024 up",
        }
    }
}

impl Server {
    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// `host/address-in-use`, `host/cannot-listen`.
    pub async fn bind(
        host: PluginHost,
        settings: HttpSettings,
        address: SocketAddr,
    ) -> Result<Self, ServeError> {
        let failed = |source| ServeError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { host, settings, listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is done. Then takes no further connections and calls, lets those under way
    /// end within the drain timeout, and shuts the host down.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let service = TowerToHyperService::new(router(self.host.clone(), self.settings.clone()));
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.settings.header_timeout)
            .max_buf_size(64 << 10);
        let connections =
            Arc::new(Semaphore::new(self.settings.connections_max.min(Semaphore::MAX_PERMITS)));
        let graceful = GracefulShutdown::new();

        let accept = async {
            loop {
                // The semaphore is never closed.
                let Ok(place) = connections.clone().acquire_owned().await else { return };
                let Some(stream) = accept(&self.listener).await else { continue };
                // Whoever takes nothing of an answer holds a connection, and what it takes to fill it.
                let mut stream = TimeoutStream::new(stream);
                stream.set_write_timeout(Some(self.settings.write_timeout));
                let stream = TokioIo::new(Box::pin(stream));
                let connection = http.serve_connection(stream, service.clone());
                let connection = graceful.watch(connection);
                tokio::spawn(async move {
                    // A client that breaks off is its own business.
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "connection ended");
                    }
                    drop(place);
                });
            }
        };
        tokio::select! {
            () = accept => {}
            () = stop => {}
        }
        drop(self.listener);
        tracing::info!("stopping: no further calls are taken");
        let timeout = self.settings.drain_timeout;
        // The host ends what is still under way when the time is over, and then needs a moment for itself.
        let drained = tokio::time::timeout(timeout + SHUTDOWN_EXTRA, async {
            tokio::join!(graceful.shutdown(), self.host.shutdown(timeout))
        });
        match drained.await {
            Ok(((), 0)) => tracing::info!("stopped: all calls have ended"),
            _ => tracing::warn!("stopped while calls were still under way"),
        }
    }
}

/// Time for the host to put things in order, beyond that for calls to end.
const SHUTDOWN_EXTRA: std::time::Duration = std::time::Duration::from_secs(10);

async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => {
            // Answers are written whole; waiting to fill packets only delays them.
            let _ = stream.set_nodelay(true);
            Some(stream)
        }
        Err(error) => {
            // Most often the process is out of file handles: trying again at once would spin.
            tracing::warn!(%error, "cannot accept connections");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            None
        }
    }
}
