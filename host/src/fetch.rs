//! HTTP for guests: `host-ipc` takes their requests, `host-security` sends them.

use std::sync::Arc;

use async_trait::async_trait;
use host_ipc::{HttpFailure, HttpFetch, HttpMethod, HttpReply, HttpRequest};
use host_security::enforce::net::{self, HttpRefused, PluginNet};

/// Sends the requests of one plugin through its network.
pub(crate) struct Fetch {
    net: Arc<PluginNet>,
}

impl Fetch {
    pub(crate) fn new(net: Arc<PluginNet>) -> Self {
        Self { net }
    }
}

#[async_trait]
impl HttpFetch for Fetch {
    async fn fetch(&self, request: HttpRequest) -> Result<HttpReply, HttpFailure> {
        let HttpRequest { method, url, headers, body } = request;
        let mut sent = match method {
            HttpMethod::Get => net::HttpRequest::get(url),
            HttpMethod::Post => net::HttpRequest::post(url, body),
        };
        sent.headers = headers;
        match self.net.fetch(sent).await {
            Ok(answer) => {
                let net::HttpResponse { status, headers, body } = answer;
                Ok(HttpReply { status, headers, body })
            }
            Err(refused) => Err(match refused {
                HttpRefused::Denied { rule } => HttpFailure::Denied(rule),
                HttpRefused::InvalidUrl { why } => HttpFailure::InvalidUrl(why),
                HttpRefused::InvalidHeader { why } => HttpFailure::InvalidHeader(why),
                HttpRefused::TooLarge { bytes_max } => HttpFailure::TooLarge(bytes_max),
                HttpRefused::Timeout { max } => HttpFailure::Timeout(max.as_millis() as u64),
                other => HttpFailure::Failed(other.to_string()),
            }),
        }
    }
}
