//! A stream through a plugin: bytes in, bytes out, in constant memory and at the pace of whoever is slower.
//!
//! ```text
//! input ──► Inlet ──► guest ──► Outlet ──► StreamBody
//!             └────── Flow ───────┘   what moved, and who waits for whom
//! ```
//!
//! The store runs on a task of its own until the stream has ended; [`StreamBody`] is what comes out, and
//! dropping it ends the task. Nothing is read ahead but one chunk, and nothing waits but a few.
//! Not here: how the guest is called (`contract/streams.rs`), and with which instance (`plugin`).

mod body;
mod flow;
mod inlet;
mod outlet;

use std::{error::Error, pin::Pin, time::Duration};

use bytes::Bytes;
use futures::{Stream, channel::mpsc};
use plugin_contract::Caller;
use tokio::sync::oneshot;

pub use body::{StreamBody, StreamReply};
pub(crate) use flow::{Flow, Stalled};
pub(crate) use inlet::{Inlet, InputBroken};
pub(crate) use outlet::Outlet;

/// How much is moved at a time at most, in bytes.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

/// Chunks that wait for whoever reads what comes out.
const CHUNKS_WAITING: usize = 4;

/// What goes in: chunks of any size, taken one at a time. An error ends the stream, and the guest with it:
/// half an input must not pass for a whole one.
pub type StreamInput = Pin<Box<dyn Stream<Item = Result<Bytes, StreamInputError>> + Send>>;

/// Why an input broke off.
pub type StreamInputError = Box<dyn Error + Send + Sync>;

/// What to do with a stream.
#[derive(Debug, Clone)]
pub struct StreamCall {
    /// On whose behalf.
    pub caller: Caller,
    /// The media type of the input, in lower case and without parameters.
    pub content_type: String,
    /// What is asked for, by name.
    pub options: Vec<(String, String)>,
    /// How long the plugin may be kept waiting, for input or for a reader of its output. Default 30 s. How
    /// long the plugin may keep others waiting is in its terms.
    pub patience: Duration,
}

impl StreamCall {
    /// A stream of this media type, for nobody in particular and without options.
    pub fn new(content_type: &str) -> Self {
        Self {
            caller: Caller::default(),
            content_type: content_type.to_owned(),
            options: Vec::new(),
            patience: Duration::from_secs(30),
        }
    }
}

/// A stream that waits for an instance.
pub(crate) struct StreamFeed {
    pub(crate) call: StreamCall,
    input: StreamInput,
    chunks: mpsc::Sender<Bytes>,
    head: Head,
}

/// Where it is told what will come out.
pub(crate) struct Head {
    media_type: oneshot::Sender<String>,
    begun: Option<oneshot::Sender<()>>,
}

impl Head {
    pub(crate) fn tell(self, media_type: String) {
        // Whoever waits for it may have gone: then nobody reads either, and the guest is told.
        let _ = self.media_type.send(media_type);
        if let Some(begun) = self.begun {
            let _ = begun.send(());
        }
    }
}

impl StreamFeed {
    /// A stream; where the media type of its output will be told; and the output.
    pub(crate) fn new(
        call: StreamCall,
        input: StreamInput,
    ) -> (Self, oneshot::Receiver<String>, mpsc::Receiver<Bytes>) {
        // One more than this: each sender has a place of its own.
        let (chunks, out) = mpsc::channel(CHUNKS_WAITING - 1);
        let (media_type, told) = oneshot::channel();
        let head = Head { media_type, begun: None };
        (Self { call, input, chunks, head }, told, out)
    }

    /// Resolves once it is known what will come out.
    pub(crate) fn begun(&mut self) -> oneshot::Receiver<()> {
        let (begun, told) = oneshot::channel();
        self.head.begun = Some(begun);
        told
    }

    /// Its input, of which nothing was read. Nobody waits for the rest any more.
    pub(crate) fn into_input(self) -> StreamInput {
        self.input
    }

    pub(crate) fn run(self, flow: Flow, timeout: Duration) -> StreamRun {
        let Self { call, input, chunks, head } = self;
        let inlet = Inlet::new(input, flow.clone());
        let (outlet, ended) = Outlet::new(chunks, flow.clone());
        StreamRun { call, inlet, outlet, ended, head, flow, timeout }
    }
}

/// One stream on its way through an instance.
pub(crate) struct StreamRun {
    pub(crate) call: StreamCall,
    pub(crate) inlet: Inlet,
    pub(crate) outlet: Outlet,
    /// Resolves once nothing more comes out.
    pub(crate) ended: oneshot::Receiver<()>,
    pub(crate) head: Head,
    pub(crate) flow: Flow,
    /// How long the plugin may move nothing while nobody keeps it waiting.
    pub(crate) timeout: Duration,
}
