//! `wasi:sockets/ip-name-lookup`, for granted names alone.
//!
//! The bindings know only wasmtime's own stream of addresses, which nobody else can make. Ours is in the
//! table in its stead: guests hold no more than its place there, and all that reads it is in this file.

use std::{
    net::IpAddr,
    task::{Context, Poll, Waker},
    vec,
};

use async_trait::async_trait;
use wasmtime::component::Resource;
use wasmtime_wasi::{
    p2::{
        DynPollable, Pollable, SocketError, SocketResult,
        bindings::sockets::{
            ip_name_lookup::{Host, HostResolveAddressStream, ResolveAddressStream},
            network::{ErrorCode, IpAddress, Network},
        },
        subscribe,
    },
    runtime::{AbortOnDropJoinHandle, spawn},
};

use super::{LOOKUPS_OF_STORE_MAX, NetView, names, resolve::Unresolved};

/// The addresses of one name: on their way, or here.
enum Lookup {
    Pending(AbortOnDropJoinHandle<Result<Vec<IpAddr>, ErrorCode>>),
    Done(Result<vec::IntoIter<IpAddr>, ErrorCode>),
}

impl Lookup {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<&mut Result<vec::IntoIter<IpAddr>, ErrorCode>> {
        if let Self::Pending(task) = self {
            let Poll::Ready(answer) = std::pin::Pin::new(task).poll(cx) else {
                return Poll::Pending;
            };
            *self = Self::Done(answer.map(Vec::into_iter));
        }
        match self {
            Self::Pending(_) => Poll::Pending,
            Self::Done(answer) => Poll::Ready(answer),
        }
    }
}

#[async_trait]
impl Pollable for Lookup {
    async fn ready(&mut self) {
        std::future::poll_fn(|cx| self.poll(cx).map(|_| ())).await;
    }
}

/// The same place in the table, as what is there.
fn ours(stream: &Resource<ResolveAddressStream>) -> Resource<Lookup> {
    Resource::new_borrow(stream.rep())
}

impl NetView<'_> {
    fn lookup(&self, name: &str) -> Result<Lookup, ErrorCode> {
        let store = &self.ctx.store;
        let plugin = &store.plugin;
        let name = match names::Host::parse(name) {
            // Nothing is asked of anyone, and what is done with it is checked then.
            Some(names::Host::Address(address)) => {
                return Ok(Lookup::Done(Ok(vec![address.to_canonical()].into_iter())));
            }
            Some(names::Host::Name(name)) => name,
            None => return Err(ErrorCode::InvalidArgument),
        };
        if let Err(denial) = plugin.rules.check_name(&name) {
            plugin.refused_name(&name, &denial);
            return Err(ErrorCode::AccessDenied);
        }
        let Ok(turn) = store.lookups.clone().try_acquire_owned() else {
            let limit = format!("{LOOKUPS_OF_STORE_MAX} lookups of an instance at a time");
            plugin.exceeded("lookup", &name, &limit);
            return Err(ErrorCode::TemporaryResolverFailure);
        };
        let store = store.clone();
        Ok(Lookup::Pending(spawn(async move {
            let _turn = turn;
            let addresses = store.plugin.resolve(&name).await.map_err(|error| match error {
                Unresolved::Timeout => ErrorCode::TemporaryResolverFailure,
                Unresolved::NotFound => ErrorCode::NameUnresolvable,
            })?;
            store.names().remember(&name, &addresses);
            Ok(addresses)
        })))
    }
}

impl Host for NetView<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> Result<Resource<ResolveAddressStream>, SocketError> {
        self.table.get(&network)?;
        let lookup = self.lookup(&name)?;
        let place = self.table.push(lookup)?;
        Ok(Resource::new_own(place.rep()))
    }
}

impl HostResolveAddressStream for NetView<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> SocketResult<Option<IpAddress>> {
        let lookup = self.table.get_mut(&ours(&stream))?;
        match lookup.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Err(ErrorCode::WouldBlock.into()),
            Poll::Ready(Ok(addresses)) => Ok(addresses.next().map(IpAddress::from)),
            Poll::Ready(Err(code)) => Err((*code).into()),
        }
    }

    fn subscribe(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, ours(&stream))
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        self.table.delete(Resource::<Lookup>::new_own(stream.rep()))?;
        Ok(())
    }
}
