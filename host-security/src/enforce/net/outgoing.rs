//! `wasi:http/outgoing-handler`, through the same door.
//!
//! Bodies are passed on as they come, and counted. Redirects are the guest's to follow: each request is
//! decided on anyway. A request ends, body and all, when the plugin's `timeout` is over.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep},
};
use wasmtime_wasi_http::{
    Error, ForbiddenHeaderFilter, RequestOptions, Result, WasiBody, WasiHttpHooks,
};

use super::{
    PluginNet,
    door::{HttpRefused, Stage, broken},
    target::{FIELDS_MAX, Target, is_forbidden},
};

/// Most bytes of a body in one write of a guest.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// Sends what guests hand to `wasi:http`.
pub(super) struct Outgoing {
    plugin: Arc<PluginNet>,
}

impl Outgoing {
    pub(super) fn new(plugin: Arc<PluginNet>) -> Self {
        Self { plugin }
    }
}

type Answer = (Response<WasiBody>, Box<dyn Future<Output = Result<()>> + Send>);

impl WasiHttpHooks for Outgoing {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        // `content-length` is the guest's here: wasmtime holds the body to it.
        Arc::new(is_forbidden)
    }

    fn set_host_header(&mut self) -> bool {
        // The client sets it, from the URL that was decided on.
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES_MAX
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<()>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answer>> + Send> {
        let plugin = self.plugin.clone();
        Box::new(async move {
            let answer = plugin.forward(request, options.unwrap_or_default()).await?;
            // The client drives the connection by itself.
            let io: Box<dyn Future<Output = Result<()>> + Send> = Box::new(async { Ok(()) });
            Ok((answer, io))
        })
    }
}

impl PluginNet {
    /// Sends a request whose body may still be written, and reads the head of the answer.
    async fn forward(
        self: Arc<Self>,
        request: Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<Response<WasiBody>> {
        let over = Instant::now() + self.limits.timeout;
        let (parts, body) = request.into_parts();
        if parts.method == Method::CONNECT {
            return Err(Error::HttpRequestMethodInvalid);
        }
        let target = Target::parse(&parts.uri.to_string())?;
        let mut headers = parts.headers;
        headers.remove(header::HOST);
        if headers.len() > FIELDS_MAX {
            return Err(Error::HttpRequestHeaderSectionSize(None));
        }
        let bytes_max = self.limits.http_bytes;
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok());
        let announced = announced.and_then(|length| length.parse().ok()).unwrap_or(0);
        self.fits(&target, announced).map_err(|_| Error::HttpRequestBodySize(Some(bytes_max)))?;

        let is_too_large = Arc::new(AtomicBool::new(false));
        let body = counted(body, bytes_max, is_too_large.clone());
        let wait = |asked: Option<Duration>| asked.unwrap_or(self.limits.timeout);
        let head = wait(options.connect_timeout).saturating_add(wait(options.first_byte_timeout));
        let head_over = over.min(Instant::now() + head.min(self.limits.timeout));
        let sent = async {
            let turn = self.requests.clone().acquire_owned().await;
            let reply = self.send(&target, parts.method, headers, body).await?;
            Ok::<_, HttpRefused>((reply, turn.ok()))
        };
        let sent = tokio::time::timeout_at(head_over, sent).await;
        if is_too_large.load(Ordering::Relaxed) {
            // The client knows only that the body broke off.
            self.too_large(&target);
            return Err(Error::HttpRequestBodySize(Some(bytes_max)));
        }
        let (reply, turn) = sent.map_err(|_| Error::HttpResponseTimeout)??;
        if reply.content_length().is_some_and(|bytes| bytes > bytes_max) {
            self.too_large(&target);
            return Err(Error::HttpResponseBodySize(Some(bytes_max)));
        }
        let (parts, inner) = Response::<reqwest::Body>::from(reply).into_parts();
        let idle_max = wait(options.between_bytes_timeout).min(self.limits.timeout);
        let body = Counted {
            inner,
            plugin: self,
            target,
            bytes: 0,
            idle_max,
            idle: Box::pin(tokio::time::sleep(idle_max)),
            over: Box::pin(tokio::time::sleep_until(over)),
            _turn: turn,
        };
        Ok(Response::from_parts(parts, body.boxed_unsync()))
    }
}

/// The body of a request as the client takes it, of at most so many bytes. Trailers are left out.
fn counted(body: WasiBody, bytes_max: u64, is_too_large: Arc<AtomicBool>) -> reqwest::Body {
    if body.size_hint().exact() == Some(0) {
        // Without this, a GET would announce a body in chunks.
        return reqwest::Body::from(Bytes::new());
    }
    let mut bytes = 0_u64;
    reqwest::Body::wrap_stream(body.into_data_stream().map(move |chunk| {
        let chunk = chunk?;
        bytes = bytes.saturating_add(chunk.len() as u64);
        if bytes > bytes_max {
            is_too_large.store(true, Ordering::Relaxed);
            return Err(Error::HttpRequestBodySize(Some(bytes_max)));
        }
        Ok(chunk)
    }))
}

/// The body of an answer, within its bounds. Holds the plugin's turn until it is gone.
struct Counted {
    inner: reqwest::Body,
    plugin: Arc<PluginNet>,
    target: Target,
    bytes: u64,
    idle_max: Duration,
    idle: Pin<Box<Sleep>>,
    over: Pin<Box<Sleep>>,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if this.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(Error::HttpResponseTimeout)));
        }
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                this.bytes = this.bytes.saturating_add(bytes);
                if let Err(error) = this.plugin.fits(&this.target, this.bytes) {
                    return Poll::Ready(Some(Err(error.into())));
                }
                this.idle.as_mut().reset(Instant::now() + this.idle_max);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(broken(&error).into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending if this.idle.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl From<HttpRefused> for Error {
    fn from(refused: HttpRefused) -> Self {
        match refused {
            HttpRefused::Denied { .. } => Self::HttpRequestDenied,
            HttpRefused::InvalidUrl { .. } => Self::HttpRequestUriInvalid,
            HttpRefused::InvalidHeader { .. } => Self::HttpProtocolError,
            HttpRefused::TooLarge { bytes_max } => Self::HttpResponseBodySize(Some(bytes_max)),
            HttpRefused::Timeout { .. } => Self::ConnectionTimeout,
            HttpRefused::Failed { stage: Stage::Resolve, .. } => {
                Self::DnsError { rcode: None, info_code: None }
            }
            HttpRefused::Failed { stage: Stage::Connect, .. } => Self::ConnectionRefused,
            HttpRefused::Failed { why, .. } => Self::InternalError(Some(why)),
        }
    }
}
