//! `stream-transformer`: a stream in, a stream out, while both are open.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;
use wasmtime::{
    Store, StoreContextMut,
    component::{Accessor, FutureConsumer, Source, StreamReader},
};

use super::{
    GuestCall, Refusal, Streams,
    wit::stream_transformer::{Guest, StreamOptions},
};
use crate::stream::StreamRun;

pub(super) struct Transformer(pub(super) Guest);

impl<T: Send + 'static> Streams<T> for Transformer {
    fn transform<'a>(
        &'a self,
        store: &'a mut Store<T>,
        run: StreamRun,
    ) -> GuestCall<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let (flow, timeout, patience) = (run.flow.clone(), run.timeout, run.call.patience);
            let work = store.run_concurrent(async |accessor| self.pipe(accessor, run).await);
            // Around the whole: what is inside may not be polled while a guest has the store.
            tokio::select! {
                ended = work => ended?,
                stalled = flow.stalled(timeout, patience) => Err(wasmtime::Error::new(stalled)),
            }
        })
    }
}

impl Transformer {
    /// Returns once the output has ended, the guest has said whether it is whole, and nothing of it still
    /// runs.
    async fn pipe<T: Send + 'static>(
        &self,
        accessor: &Accessor<T>,
        run: StreamRun,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        let StreamRun { call, inlet, outlet, head, ended, .. } = run;
        // Whatever the guest keeps of it, the input goes with the stream.
        let source = inlet.source();
        let input = accessor.with(|store| StreamReader::new(store, inlet))?;
        let options = StreamOptions { content_type: call.content_type, options: call.options };
        let output = match self.0.call_transform(accessor, input, options).await? {
            Ok(output) => output,
            Err(message) => {
                drop((head, source));
                poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
                return Ok(Err(Refusal::Plugin(message)));
            }
        };
        head.tell(output.content_type);
        let (verdict, finished) = oneshot::channel();
        accessor.with(|mut store| {
            output.data.pipe(&mut store, outlet)?;
            output.finished.pipe(&mut store, Verdict(Some(verdict)))
        })?;
        // An end that is dropped has ended.
        let _ = ended.await;
        let finished = finished.await.unwrap_or_else(|_| Err("it never said how it ended".into()));
        drop(source);
        poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
        Ok(finished.map_err(Refusal::Plugin))
    }
}

/// Takes the guest's word on whether the output is whole.
struct Verdict(Option<oneshot::Sender<Result<(), String>>>);

impl<D: 'static> FutureConsumer<D> for Verdict {
    type Item = Result<(), String>;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        mut source: Source<'_, Self::Item>,
        _: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut said = None;
        source.read(store, &mut said)?;
        if let (Some(said), Some(verdict)) = (said, self.0.take()) {
            let _ = verdict.send(said);
        }
        Poll::Ready(Ok(()))
    }
}
