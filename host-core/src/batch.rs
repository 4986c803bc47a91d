//! Many calls, a few at a time.

use futures::{
    Stream, StreamExt,
    future::{AbortHandle, Abortable},
    stream,
};

/// How a batch is worked on.
///
/// ```
/// # use futures::StreamExt;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let batch = host_core::Batch { concurrency: 2, ordered: true };
/// let (items, control) = batch.run(["a", "b", "c"], |word| async move { word.to_uppercase() });
/// control.cancel(1);
/// let outcomes: Vec<_> = items.map(|item| item.outcome).collect().await;
/// assert_eq!(outcomes, [Some("A".to_owned()), None, Some("C".to_owned())]);
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Calls under way at one time, at least 1. Default 4.
    pub concurrency: usize,
    /// Whether answers come in the order of the calls, or each as soon as it is there. Default: as soon.
    pub ordered: bool,
}

impl Default for Batch {
    fn default() -> Self {
        Self { concurrency: 4, ordered: false }
    }
}

/// What became of one call of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchItem<R> {
    /// Its place among the calls.
    pub index: usize,
    /// The answer; `None` if the call was cancelled.
    pub outcome: Option<R>,
}

impl Batch {
    /// Works on each of `calls` with `work`. Each is reported, whatever becomes of it. Nothing happens
    /// unless the stream is read; dropping it cancels all that is left.
    pub fn run<C, R, W, F>(
        self,
        calls: impl IntoIterator<Item = C>,
        work: W,
    ) -> (impl Stream<Item = BatchItem<R>>, BatchControl)
    where
        W: Fn(C) -> F,
        F: Future<Output = R>,
    {
        let mut handles = Vec::new();
        let calls: Vec<_> = (calls.into_iter().enumerate())
            .map(|(index, call)| {
                let (handle, registration) = AbortHandle::new_pair();
                handles.push(handle);
                (index, call, registration)
            })
            .collect();
        let calls = stream::iter(calls).map(move |(index, call, registration)| {
            let answer = Abortable::new(work(call), registration);
            async move {
                // The one error there is: it was cancelled.
                BatchItem { index, outcome: answer.await.ok() }
            }
        });
        let concurrency = self.concurrency.max(1);
        let items = match self.ordered {
            true => calls.buffered(concurrency).left_stream(),
            false => calls.buffer_unordered(concurrency).right_stream(),
        };
        (items, BatchControl { handles })
    }
}

/// Cancels calls of a batch.
#[derive(Debug, Clone)]
pub struct BatchControl {
    handles: Vec<AbortHandle>,
}

impl BatchControl {
    /// Cancels one call, unless it has ended. One that has not begun never does.
    pub fn cancel(&self, index: usize) {
        if let Some(handle) = self.handles.get(index) {
            handle.abort();
        }
    }

    /// Cancels all that is left.
    pub fn cancel_all(&self) {
        self.handles.iter().for_each(AbortHandle::abort);
    }
}
