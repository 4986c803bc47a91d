//! The way into a guest: what the guest reads, taken from the input when it reads.

use std::{
    pin::Pin,
    task::{Context, Poll},
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

pub(crate) struct Inlet {
    input: StreamInput,
    /// Came in, and not yet taken by the guest.
    chunk: Bytes,
    flow: Flow,
}

impl Inlet {
    pub(crate) fn new(input: StreamInput, flow: Flow) -> Self {
        Self { input, chunk: Bytes::new(), flow }
    }
}

impl<D: 'static> StreamProducer<D> for Inlet {
    type Item = u8;
    type Buffer = Option<u8>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'a, D>,
        destination: Destination<'a, u8, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        while self.chunk.is_empty() {
            match self.input.as_mut().poll_next(cx) {
                Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
                Poll::Pending => {
                    self.flow.lacks_input(true);
                    return Poll::Pending;
                }
                Poll::Ready(None) => {
                    self.flow.lacks_input(false);
                    return Poll::Ready(Ok(StreamResult::Dropped));
                }
                Poll::Ready(Some(Ok(chunk))) => self.chunk = chunk,
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Err(wasmtime::Error::new(InputBroken(error))));
                }
            }
        }
        self.flow.lacks_input(false);
        // Straight into the guest's memory. A guest that reads nothing asks whether there is something.
        let mut direct = destination.as_direct(store, CHUNK_BYTES.min(self.chunk.len()));
        let room = direct.remaining();
        let bytes = room.len().min(self.chunk.len());
        room[..bytes].copy_from_slice(&self.chunk[..bytes]);
        direct.mark_written(bytes);
        self.chunk.advance(bytes);
        self.flow.moved(bytes);
        Poll::Ready(Ok(StreamResult::Completed))
    }
}
