//! The HTTP client: dials what was checked, and nothing else.
//!
//! Each request has a client of its own, so no connection is ever shared, between plugins or between a
//! check and a later one: what a connection costs to make is the price of knowing where it goes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use plugin_contract::Explain;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::{NetShared, target::FIELDS_MAX};

/// Longest time for a connection to be there, TLS included.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Why the network of a host could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetSetupError {
    /// A file of certificates has something else in it. Files are counted from 1.
    #[error("file {file} of the extra root certificates cannot be used: {why}")]
    RootCertificate {
        /// Which one.
        file: usize,
        /// What is wrong with it.
        why: String,
    },
    /// TLS cannot be had.
    #[error("TLS could not be set up")]
    Tls(#[source] rustls::Error),
}

impl Explain for NetSetupError {
    fn code(&self) -> &'static str {
        match self {
            Self::RootCertificate { .. } => "security/root-certificate",
            Self::Tls(_) => "security/tls-setup",
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::RootCertificate { .. } => "give each authority's certificate as PEM or DER",
            Self::Tls(_) => "report it: the host was built without what TLS needs",
        }
    }
}

/// Trusts the public authorities and `extra_roots`.
pub(super) fn tls(extra_roots: &[Vec<u8>]) -> Result<ClientConfig, NetSetupError> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for (index, bytes) in extra_roots.iter().enumerate() {
        let refused = |why: String| NetSetupError::RootCertificate { file: index + 1, why };
        let is_pem = bytes.windows(11).any(|window| window == b"-----BEGIN ");
        let certificates: Vec<CertificateDer<'static>> = if is_pem {
            let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
            read.map_err(|error| refused(error.to_string()))?
        } else {
            vec![CertificateDer::from(bytes.clone())]
        };
        if certificates.is_empty() {
            return Err(refused("no certificate in it".to_owned()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| refused(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(NetSetupError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would tell a server that two plugins are on one host.
    tls.resumption = Resumption::disabled();
    Ok(tls)
}

impl NetShared {
    /// A client for one request to one host, which has `addresses` and no others.
    pub(super) fn client(&self, addresses: Vec<SocketAddr>) -> reqwest::Result<reqwest::Client> {
        reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .dns_resolver(Checked(addresses))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .http1_only()
            .http1_max_headers(FIELDS_MAX)
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_MAX)
            .build()
    }
}

/// Answers with what was checked, whatever the name. Hosts given by address never come here: they are
/// dialled as they stand in the URL, which was checked.
struct Checked(Vec<SocketAddr>);

impl Resolve for Checked {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.0.clone().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}
