//! The way out of a guest: what it writes, taken when there is room for it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::channel::mpsc;
use tokio::sync::oneshot;
use wasmtime::{
    StoreContextMut,
    component::{Source, StreamConsumer, StreamResult},
};

use super::{CHUNK_BYTES, Flow};

pub(crate) struct Outlet {
    chunks: mpsc::Sender<Bytes>,
    flow: Flow,
    /// Dropped with this end: the guest writes no more, or nobody reads any more.
    _closed: oneshot::Sender<()>,
}

impl Outlet {
    /// And what resolves once nothing more comes out.
    pub(crate) fn new(chunks: mpsc::Sender<Bytes>, flow: Flow) -> (Self, oneshot::Receiver<()>) {
        let (closed, ended) = oneshot::channel();
        (Self { chunks, flow, _closed: closed }, ended)
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.flow.lacks_reader(false);
    }
}

impl<D: 'static> StreamConsumer<D> for Outlet {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        match self.chunks.poll_ready(cx) {
            Poll::Pending if finish => {
                self.flow.lacks_reader(false);
                return Poll::Ready(Ok(StreamResult::Cancelled));
            }
            Poll::Pending => {
                self.flow.lacks_reader(true);
                return Poll::Pending;
            }
            Poll::Ready(ready) => {
                self.flow.lacks_reader(false);
                if ready.is_err() {
                    return Poll::Ready(Ok(StreamResult::Dropped));
                }
            }
        }
        let mut direct = source.as_direct(store);
        let written = direct.remaining();
        let bytes = written.len().min(CHUNK_BYTES);
        if bytes == 0 {
            // It asks whether there is room: there is.
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let chunk = Bytes::copy_from_slice(&written[..bytes]);
        direct.mark_read(bytes);
        self.flow.moved(bytes);
        Poll::Ready(Ok(match self.chunks.start_send(chunk) {
            Ok(()) => StreamResult::Completed,
            Err(_) => StreamResult::Dropped,
        }))
    }
}
