//! What comes out of a stream.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, channel::mpsc};
use tokio::task::JoinHandle;

use crate::CoreError;

/// The output of a plugin, while it is being made.
#[derive(Debug)]
pub struct StreamReply {
    /// Its media type, as the plugin says.
    pub content_type: String,
    /// Its bytes, as they come.
    pub body: StreamBody,
}

/// How a stream ends.
type Ending = JoinHandle<Result<(), CoreError>>;

/// The bytes that come out of a plugin, and last why there are no more: an error means that they are not
/// whole. The plugin is not faster than whoever reads this. Dropped, it ends the stream, and the plugin's
/// instance with it.
pub struct StreamBody {
    chunks: mpsc::Receiver<Bytes>,
    ending: Option<Ending>,
}

impl StreamBody {
    pub(crate) fn new(chunks: mpsc::Receiver<Bytes>, ending: Ending) -> Self {
        Self { chunks, ending: Some(ending) }
    }
}

impl StreamBody {
    /// Why nothing came of the stream at all.
    pub(crate) async fn failure(mut self) -> CoreError {
        let ended = match &mut self.ending {
            Some(ending) => ending.await,
            None => Ok(Ok(())),
        };
        self.ending = None;
        match ended {
            Ok(Err(error)) => error,
            Ok(Ok(())) => CoreError::Engine(wasmtime::Error::msg("a stream without a head")),
            Err(error) => CoreError::Engine(error.into()),
        }
    }
}

impl fmt::Debug for StreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamBody")
    }
}

impl Stream for StreamBody {
    type Item = Result<Bytes, CoreError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(chunk) = ready!(self.chunks.poll_next_unpin(cx)) {
            return Poll::Ready(Some(Ok(chunk)));
        }
        let Some(ending) = &mut self.ending else { return Poll::Ready(None) };
        let ended = ready!(Pin::new(ending).poll(cx));
        self.ending = None;
        Poll::Ready(match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Err(error)),
            Err(error) => Some(Err(CoreError::Engine(error.into()))),
        })
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        if let Some(ending) = &self.ending {
            ending.abort();
        }
    }
}
