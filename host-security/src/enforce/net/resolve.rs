//! Names to addresses, for whoever may ask.

use std::{io, net::IpAddr, time::Duration};

use async_trait::async_trait;

use super::PluginNet;

/// Addresses that one name may have. What is more is not looked at.
const ADDRESSES_MAX: usize = 32;
/// Longest time for one name, waiting for its turn included.
const LOOKUP_MAX: Duration = Duration::from_secs(10);

/// Resolves names. Who may ask for which is decided before.
#[async_trait]
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of `name`, which is ASCII, in lower case, and has no trailing dot.
    ///
    /// # Errors
    /// Why there are none.
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// Resolves as the host's own programs do.
#[derive(Debug, Clone, Copy)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// Why a name has no addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// Nobody answered in time.
    Timeout,
    /// There are none.
    NotFound,
}

impl PluginNet {
    /// The addresses of a name that may be resolved, in canonical form, each once, at least one.
    pub(super) async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Unresolved> {
        let work = async {
            let of_plugin = self.lookups.clone().acquire_owned().await;
            let of_host = self.shared.lookups.clone().acquire_owned().await;
            let (resolver, name) = (self.shared.resolver.clone(), name.to_owned());
            // The system's resolver cannot be interrupted. Left alone, it keeps its turn until it is
            // done, or the threads it waits on would add up.
            let lookup = tokio::spawn(async move {
                let _turns = (of_plugin, of_host);
                resolver.addresses(&name).await
            });
            lookup.await
        };
        let Ok(answer) = tokio::time::timeout(LOOKUP_MAX, work).await else {
            return Err(Unresolved::Timeout);
        };
        let Ok(Ok(found)) = answer else { return Err(Unresolved::NotFound) };
        let mut addresses = Vec::new();
        for address in found.iter().take(ADDRESSES_MAX).map(IpAddr::to_canonical) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() { Err(Unresolved::NotFound) } else { Ok(addresses) }
    }
}
