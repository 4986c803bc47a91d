//! Calls to plugins: who answers, and what is tried before it is called.

use std::{fmt::Display, time::Duration};

use futures::Stream;
use host_core::{
    Batch, BatchControl, BatchItem, Caller, CoreError, EventCall, FunctionCall, FunctionInfo,
    FunctionReply, Operation, Plugin, ProcessCall, ProcessReply, StreamCall, StreamInput,
    StreamReply,
};
use host_ipc::{Event, Origin, Settled};
use plugin_contract::PluginId;
use semver::Version;

use super::PluginHost;
use crate::{
    HostError, PluginRef,
    routes::{HostPlugin, routed},
    state::HostState,
};

/// What became of handing an event to one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Which.
    pub plugin: PluginId,
    /// How it ended; `None` while it is still tried.
    pub settled: Option<Settled>,
}

/// An answer, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The answer.
    pub reply: ProcessReply,
    /// The version that was asked; if it was out of order, [`ProcessReply::degraded`] says who answered.
    pub version: Version,
}

impl PluginHost {
    /// Turns one input into one output.
    ///
    /// # Errors
    /// `host/unknown-plugin`, `host/unsupported-media-type`, and those of [`Plugin::process`].
    pub async fn process(
        &self,
        plugin: &PluginRef,
        call: ProcessCall,
    ) -> Result<ProcessReply, HostError> {
        Ok(self.answer(plugin, call).await?.reply)
    }

    /// The same, with who answered.
    ///
    /// # Errors
    /// As for [`PluginHost::process`].
    pub async fn answer(
        &self,
        plugin: &PluginRef,
        mut call: ProcessCall,
    ) -> Result<Answered, HostError> {
        routed!(self.inner.find_for(plugin, &call.caller), found => {
            check_accepts(&found, plugin, &call.content_type)?;
            let mirrored = found.mirrored(&call);
            let answer = found.process(&mut call).await;
            if let Some(mirrored) = mirrored {
                mirrored.compare_with(&answer);
            }
            answer.map(|reply| Answered { reply, version: found.version().clone() })
        })
    }

    /// Whether the plugin would take this input, as far as it can tell without doing the work.
    ///
    /// # Errors
    /// As for [`PluginHost::process`].
    pub async fn validate(
        &self,
        plugin: &PluginRef,
        mut call: ProcessCall,
    ) -> Result<bool, HostError> {
        routed!(self.inner.find_for(plugin, &call.caller), found => {
            check_accepts(&found, plugin, &call.content_type)?;
            found.validate(&mut call).await
        })
    }

    /// Works on many inputs, a few at a time. Each is reported, whatever becomes of it; a stream that is
    /// not read does nothing, and one that is dropped cancels what is left. The control cancels in part.
    pub fn batch(
        &self,
        plugin: &PluginRef,
        calls: Vec<ProcessCall>,
        batch: Batch,
    ) -> (impl Stream<Item = BatchItem<Result<ProcessReply, HostError>>> + Send + use<>, BatchControl)
    {
        let (host, plugin) = (self.clone(), plugin.clone());
        batch.run(calls, move |call| {
            let (host, plugin) = (host.clone(), plugin.clone());
            async move {
                // On a task of its own: who reads slowly must not keep an instance from ending its call.
                let task = tokio::spawn(async move { host.process(&plugin, call).await });
                let _ended = AbortOnDrop(task.abort_handle());
                task.await.unwrap_or(Err(HostError::ShuttingDown))
            }
        })
    }

    /// Calls an exported function by its name, with arguments as text or as JSON.
    ///
    /// # Errors
    /// `host/unknown-plugin`, and those of [`Plugin::call`].
    pub async fn call(
        &self,
        plugin: &PluginRef,
        caller: &Caller,
        call: &FunctionCall,
    ) -> Result<FunctionReply, HostError> {
        routed!(self.inner.find_for(plugin, caller), found => found.call(caller, call).await)
    }

    /// The functions that a plugin exports; it is started first where that is due.
    ///
    /// # Errors
    /// `host/unknown-plugin`, and those of starting it.
    pub async fn functions(&self, plugin: &PluginRef) -> Result<Vec<FunctionInfo>, HostError> {
        Ok(self.inner.find(plugin)?.functions().await?)
    }

    /// Whether the plugin is there and offers `operation`.
    ///
    /// # Errors
    /// `host/unknown-plugin`, `core/not-offered`.
    pub fn check_offers(&self, plugin: &PluginRef, operation: Operation) -> Result<(), HostError> {
        self.inner.find_offering(plugin, operation).map(drop)
    }

    /// Whether the plugin is there, offers `operation`, and takes such inputs: what can be known
    /// before an input is read.
    ///
    /// # Errors
    /// `host/unknown-plugin`, `core/not-offered`, `host/unsupported-media-type`.
    pub fn check(
        &self,
        plugin: &PluginRef,
        operation: Operation,
        content_type: &str,
    ) -> Result<(), HostError> {
        check_accepts(&*self.inner.find_offering(plugin, operation)?, plugin, content_type)
    }

    /// Runs a stream of any length through a plugin that works on streams. Returns once the plugin has said
    /// what will come out; nothing moves faster than the body is read.
    ///
    /// # Errors
    /// `host/unknown-plugin`, `host/unsupported-media-type`, and those of [`Plugin::stream`]. Later ones end
    /// the body.
    pub async fn stream(
        &self,
        plugin: &PluginRef,
        call: StreamCall,
        input: StreamInput,
    ) -> Result<StreamReply, HostError> {
        let mut input = Some(input);
        routed!(self.inner.find_for(plugin, &call.caller), found => {
            check_accepts(&found, plugin, &call.content_type)?;
            found.stream(&call, &mut input).await
        })
    }

    /// Hands an event to every plugin that wants its type, and waits for `wait` to learn what became of it.
    /// What is not settled by then goes on. The events of one source reach a plugin in their order; one that
    /// fails or is slow holds up no other.
    ///
    /// # Errors
    /// `host/invalid-event`; nothing was handed on.
    pub async fn publish(
        &self,
        caller: &Caller,
        event: EventCall,
        wait: Duration,
    ) -> Result<Vec<Delivery>, HostError> {
        let invalid = |problem: &dyn Display| HostError::InvalidEvent(problem.to_string());
        let source = Origin::outside(&event.source).map_err(|error| invalid(&error))?;
        let event = Event::new(source, &event.event_type, &event.payload, event.timestamp_ms);
        let event = event.map_err(|error| invalid(&error))?;
        let event = event.caused_by(caller);
        let settled = self.bus().publish(event).settled_within(wait).await;
        let mut deliveries: Vec<Delivery> =
            settled.into_iter().map(|(plugin, settled)| Delivery { plugin, settled }).collect();
        deliveries.sort_by(|a, b| a.plugin.cmp(&b.plugin));
        Ok(deliveries)
    }
}

impl super::Inner {
    fn find_offering(
        &self,
        plugin: &PluginRef,
        operation: Operation,
    ) -> Result<HostPlugin, HostError> {
        let found = self.find(plugin)?;
        if found.offers(operation) {
            return Ok(found);
        }
        Err(CoreError::NotOffered { plugin: plugin.name.clone(), operation }.into())
    }
}

/// Ends a task that nobody waits for any more.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether `found`, called as `plugin`, takes inputs of this media type.
fn check_accepts(
    found: &Plugin<HostState>,
    plugin: &PluginRef,
    content_type: &str,
) -> Result<(), HostError> {
    let manifest = &found.description().manifest;
    if manifest.accepts(content_type) {
        return Ok(());
    }
    Err(HostError::UnsupportedMediaType {
        plugin: plugin.clone(),
        content_type: plugin_contract::escape(content_type, 100),
        accepts: manifest.plugin.accepts.clone(),
    })
}
