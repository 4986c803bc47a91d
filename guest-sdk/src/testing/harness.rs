//! One instance of a plugin, called as the host would call it.

use std::cell::RefCell;
use std::mem;
use std::ops::Deref;
use std::pin::pin;
use std::rc::Rc;
use std::task::{self, Poll, Waker};

use crate::worlds::{entry, processor_process, stream_step};
use crate::{
    Answer, CallContext, Event, EventHandler, FullPlugin, IncomingMessage, Input, MessageHandler,
    Output, Plugin, Processor, Result, StreamPlugin, Writer, options,
};

/// An initialised plugin. Dereferences to the plugin itself.
pub struct Harness<P> {
    plugin: P,
    options: Vec<(String, String)>,
}

impl<P: Plugin> Harness<P> {
    /// Initialises the plugin.
    ///
    /// # Errors
    /// What `initialize` says.
    pub fn new() -> Result<Self> {
        entry();
        Ok(Self { plugin: P::initialize()?, options: Vec::new() })
    }

    /// Adds an option to the next call, and to that one only.
    pub fn option(&mut self, name: &str, value: &str) -> &mut Self {
        self.options.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl<P: Processor> Harness<P> {
    /// Calls `process` with the options given since the last call.
    ///
    /// # Errors
    /// What the options or the plugin say.
    pub fn process(&mut self, bytes: impl AsRef<[u8]>, content_type: &str) -> Result<Output> {
        let options = mem::take(&mut self.options);
        let input = Input { bytes: bytes.as_ref().to_vec(), content_type: content_type.to_owned() };
        processor_process(&self.plugin, input, &options)
    }
}

impl<P: EventHandler> Harness<P> {
    /// Calls `on_event` with an event from `test`, at the time 0.
    ///
    /// # Errors
    /// What the plugin says.
    pub fn event(&mut self, event_type: &str, payload: &str) -> Result<()> {
        self.plugin.on_event(Event {
            event_type: event_type.to_owned(),
            payload: payload.to_owned(),
            timestamp_ms: 0,
            source: "test".to_owned(),
        })
    }
}

impl<P: MessageHandler> Harness<P> {
    /// Hands over a message from `test`, which waits for an answer.
    ///
    /// # Errors
    /// What the plugin says.
    pub fn message(
        &mut self,
        message_type: &str,
        payload: impl AsRef<[u8]>,
    ) -> Result<Option<Vec<u8>>> {
        self.plugin.on_message(IncomingMessage {
            sender: "test".to_owned(),
            message_type: message_type.to_owned(),
            payload: payload.as_ref().to_vec(),
            request_id: Some("request-1".to_owned()),
        })
    }
}

impl<P: StreamPlugin> Harness<P> {
    /// Feeds `chunks` through a new stream with the options given since the last call. Answers
    /// with the bytes that came out, and how `finished` was settled.
    ///
    /// # Errors
    /// What the options or `open` say.
    ///
    /// # Panics
    /// If the transform waits for anything but its output: natively, nothing wakes it.
    pub fn stream(
        &mut self,
        chunks: &[&[u8]],
        content_type: &str,
    ) -> Result<(Vec<u8>, Result<()>)> {
        let output = Rc::new(RefCell::new(Vec::new()));
        let reader = Rc::clone(&output);
        let read = move |piece: &[u8]| reader.borrow_mut().extend_from_slice(piece);
        let (_, finished) = self.stream_to(chunks, content_type, read)?;
        Ok((output.take(), finished))
    }

    /// The same for streams too long to be held: `reader` gets each piece of the output while the
    /// input is worked on. Answers with the media type that came out, and how `finished` was
    /// settled.
    ///
    /// # Errors
    /// What the options or `open` say.
    ///
    /// # Panics
    /// As [`Harness::stream`].
    pub fn stream_to<C: AsRef<[u8]>>(
        &mut self,
        chunks: impl IntoIterator<Item = C>,
        content_type: &str,
        mut reader: impl FnMut(&[u8]) + 'static,
    ) -> Result<(String, Result<()>)> {
        let options = mem::take(&mut self.options);
        let (mut transform, content_type) =
            self.plugin.open(content_type, options::from_pairs(&options)?)?;
        let mut output = Writer::for_test(move |piece| {
            reader(piece);
            true
        });
        let finished = chunks
            .into_iter()
            .try_for_each(|chunk| {
                ready(stream_step(&mut transform, chunk.as_ref(), false, &mut output))
            })
            .and_then(|()| ready(stream_step(&mut transform, &[], true, &mut output)));
        Ok((content_type, finished))
    }
}

/// What comes of a future that has nothing to wait for.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut task::Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("a transform waits for something other than its output"),
    }
}

impl<P> Deref for Harness<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.plugin
    }
}

/// An initialised plugin of the world `plugin-world`. Dereferences to the plugin itself.
pub struct FullHarness<P> {
    plugin: P,
}

impl<P: FullPlugin> FullHarness<P> {
    /// Initialises the plugin with this configuration.
    ///
    /// # Errors
    /// What the configuration or `initialize` say.
    pub fn new(config: &[(&str, &str)]) -> Result<Self> {
        entry();
        Ok(Self { plugin: P::initialize(options::from_pairs(&owned(config))?)? })
    }

    /// Calls `process` with `input` and further options.
    ///
    /// # Errors
    /// What the plugin says.
    pub fn process(&mut self, input: &str, options: &[(&str, &str)]) -> Result<Answer> {
        let mut config = owned(options);
        config.push(("input".to_owned(), input.to_owned()));
        self.plugin.process(CallContext {
            request_id: "test".to_owned(),
            config,
            ..CallContext::default()
        })
    }
}

impl<P> Deref for FullHarness<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.plugin
    }
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}
