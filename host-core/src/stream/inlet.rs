//! The way into a guest: what the guest reads, taken from the input when it reads.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use wasmtime::{
    StoreContextMut,
    component::{Destination, StreamProducer, StreamResult},
};

use super::{CHUNK_BYTES, Flow, StreamInput, StreamInputError};

/// The input broke off.
#[derive(Debug, thiserror::Error)]
#[error("the input broke off")]
pub(crate) struct InputBroken(#[source] pub(crate) StreamInputError);

/// The end that the guest reads from. The guest may keep it for longer than the stream takes; what is behind
/// it goes with the stream, see [`Inlet::source`].
pub(crate) struct Inlet {
    source: Arc<Mutex<Source>>,
    flow: Flow,
}

struct Source {
    /// Nothing, once it has ended or the stream has.
    input: Option<StreamInput>,
    /// Came in, and not yet taken by the guest.
    chunk: Bytes,
    /// The guest waits for more.
    waiting: Option<Waker>,
}

/// What is behind an [`Inlet`]. Dropped, the guest reads the end, and the input is let go.
pub(crate) struct InletSource(Arc<Mutex<Source>>);

/// Chunks in a row that may be empty before others have their turn.
const EMPTY_MAX: usize = 32;

impl Inlet {
    pub(crate) fn new(input: StreamInput, flow: Flow) -> Self {
        let source = Source { input: Some(input), chunk: Bytes::new(), waiting: None };
        Self { source: Arc::new(Mutex::new(source)), flow }
    }

    /// What has to be held for as long as the stream takes.
    pub(crate) fn source(&self) -> InletSource {
        InletSource(self.source.clone())
    }
}

impl Drop for InletSource {
    fn drop(&mut self) {
        let (input, waiting) = {
            let mut source = lock(&self.0);
            source.chunk = Bytes::new();
            (source.input.take(), source.waiting.take())
        };
        // Others' code: not under the lock.
        drop(input);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.flow.lacks_input(false);
    }
}

fn lock(source: &Mutex<Source>) -> MutexGuard<'_, Source> {
    // A stream that panicked has no more to give; a lock that was poisoned by it says so by itself.
    source.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<D: 'static> StreamProducer<D> for Inlet {
    type Item = u8;
    type Buffer = Option<u8>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'a, D>,
        destination: Destination<'a, u8, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut source = lock(&self.source);
        let mut empty = 0;
        while source.chunk.is_empty() {
            let Some(input) = &mut source.input else {
                self.flow.lacks_input(false);
                return Poll::Ready(Ok(StreamResult::Dropped));
            };
            match input.as_mut().poll_next(cx) {
                Poll::Pending if finish => {
                    self.flow.lacks_input(false);
                    return Poll::Ready(Ok(StreamResult::Cancelled));
                }
                Poll::Pending => {
                    self.flow.lacks_input(true);
                    source.waiting = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(_))) if empty == EMPTY_MAX => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(chunk))) => {
                    empty += 1;
                    source.chunk = chunk;
                }
                Poll::Ready(None) => source.input = None,
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Err(wasmtime::Error::new(InputBroken(error))));
                }
            }
        }
        self.flow.lacks_input(false);
        // Straight into the guest's memory. A guest that reads nothing asks whether there is something.
        let mut direct = destination.as_direct(store, CHUNK_BYTES.min(source.chunk.len()));
        let room = direct.remaining();
        let bytes = room.len().min(source.chunk.len());
        room[..bytes].copy_from_slice(&source.chunk[..bytes]);
        direct.mark_written(bytes);
        source.chunk.advance(bytes);
        self.flow.moved(bytes);
        Poll::Ready(Ok(StreamResult::Completed))
    }
}
