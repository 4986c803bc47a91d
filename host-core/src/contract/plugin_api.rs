//! `plugin-api`, from both sides: plugins that export it, and plugins that import that of another.

use std::sync::Arc;

use async_trait::async_trait;
use wasmtime::{Store, component::Linker};

use super::{
    GuestCall, Lifecycle, Metadata, PluginStatus, ProcessCall, ProcessReply, Processor, Refusal,
    wit::plugin_api as wit,
};
use crate::{Caller, CoreError, StoreData};

/// The interface, by package and name.
pub(crate) const NAME: &str = "toolsku:plugin-system/plugin-api";

/// The key under which the text to work on stands in a context's `config`.
const INPUT: &str = "input";
/// The key under which its media type stands there.
const CONTENT_TYPE: &str = "content-type";

/// A plugin that exports `plugin-api`.
#[derive(Clone)]
pub(super) struct Full(pub(super) wit::Guest);

impl<T: Send + 'static> Lifecycle<T> for Full {
    fn metadata<'a>(&'a self, store: &'a mut Store<T>) -> GuestCall<'a, Metadata> {
        Box::pin(async move {
            let says = self.0.call_get_metadata(store).await?;
            Ok(Metadata { name: says.name, version: says.version })
        })
    }

    fn initialize<'a>(
        &'a self,
        store: &'a mut Store<T>,
        config: &'a [(String, String)],
    ) -> GuestCall<'a, Result<(), String>> {
        Box::pin(self.0.call_initialize(store, config))
    }

    fn shutdown<'a>(&'a self, store: &'a mut Store<T>) -> GuestCall<'a, Result<(), String>> {
        Box::pin(self.0.call_shutdown(store))
    }

    fn status<'a>(&'a self, store: &'a mut Store<T>) -> Option<GuestCall<'a, PluginStatus>> {
        Some(Box::pin(async move {
            Ok(match self.0.call_get_status(store).await? {
                wit::PluginStatus::Uninitialized => PluginStatus::Uninitialized,
                wit::PluginStatus::Ready => PluginStatus::Ready,
                wit::PluginStatus::Running => PluginStatus::Running,
                wit::PluginStatus::Paused => PluginStatus::Paused,
                wit::PluginStatus::Errored => PluginStatus::Errored,
            })
        }))
    }
}

impl<T: Send + 'static> Processor<T> for Full {
    fn process<'a>(
        &'a self,
        store: &'a mut Store<T>,
        call: &'a mut ProcessCall,
    ) -> GuestCall<'a, Result<ProcessReply, Refusal>> {
        Box::pin(async move {
            let context = match context(call) {
                Ok(context) => context,
                Err(refusal) => return Ok(Err(refusal)),
            };
            Ok(reply(self.0.call_process(store, &context).await?))
        })
    }
}

fn context(call: &ProcessCall) -> Result<wit::PluginContext, Refusal> {
    let input = call.text()?.to_owned();
    let mut config = call.options.clone();
    config.retain(|(key, _)| key != INPUT && key != CONTENT_TYPE);
    config.push((CONTENT_TYPE.to_owned(), call.content_type.clone()));
    config.push((INPUT.to_owned(), input));
    Ok(wit::PluginContext {
        request_id: call.caller.request_id.to_string(),
        user_id: call.caller.user_id.as_deref().map(str::to_owned),
        timestamp: call.timestamp_ms,
        config,
    })
}

fn reply(result: wit::PluginResult) -> Result<ProcessReply, Refusal> {
    if !result.success {
        let message = result.error_message.unwrap_or_else(|| "it gave no reason".to_owned());
        return Err(Refusal::Plugin(message));
    }
    Ok(ProcessReply {
        output: result.data.unwrap_or_default().into_bytes(),
        content_type: "text/plain; charset=utf-8".to_owned(),
        items_processed: result.metrics.map_or(1, |metrics| metrics.items_processed),
        warning: None,
        degraded: None,
    })
}

/// Another plugin, as one that imports `plugin-api` sees it. The other may itself speak any version
/// of the contract: it is called as every plugin is.
#[async_trait]
pub trait PluginApi: Send + Sync + 'static {
    /// Has it work on one input.
    async fn process(&self, call: ProcessCall) -> Result<ProcessReply, CoreError>;
    /// Who it is.
    fn metadata(&self) -> Metadata;
    /// Where it stands, as `caller` sees it.
    async fn status(&self, caller: Caller) -> PluginStatus;
}

/// Satisfies the import of `plugin-api` with `peer`. Its lifecycle is the host's: a guest that asks
/// it to initialise or shut down is told that this went well, and nothing happens.
pub(crate) fn link<T: StoreData>(
    linker: &mut Linker<T>,
    peer: Arc<dyn PluginApi>,
) -> wasmtime::Result<()> {
    let name = format!("{NAME}@{}", plugin_contract::CONTRACT_VERSION);
    let mut interface = linker.instance(&name)?;
    type Config = Vec<(String, String)>;
    interface.func_wrap("initialize", |_, _: (Config,)| Ok((Ok::<(), String>(()),)))?;
    interface.func_wrap("shutdown", |_, (): ()| Ok((Ok::<(), String>(()),)))?;
    let process = peer.clone();
    interface.func_wrap_async("process", move |store, (context,): (wit::PluginContext,)| {
        let (peer, call) = (process.clone(), call(context, store.data().caller()));
        Box::new(async move { Ok((result(peer.process(call).await),)) })
    })?;
    let metadata = peer.clone();
    interface.func_wrap("get-metadata", move |_, (): ()| {
        let Metadata { name, version } = metadata.metadata();
        let (description, author) = (String::new(), String::new());
        Ok((wit::PluginMetadata { name, version, description, author },))
    })?;
    interface.func_wrap_async("get-status", move |store, (): ()| {
        let (peer, caller) = (peer.clone(), store.data().caller());
        Box::new(async move {
            Ok((match peer.status(caller).await {
                PluginStatus::Uninitialized => wit::PluginStatus::Uninitialized,
                PluginStatus::Ready => wit::PluginStatus::Ready,
                PluginStatus::Running => wit::PluginStatus::Running,
                PluginStatus::Paused => wit::PluginStatus::Paused,
                PluginStatus::Errored => wit::PluginStatus::Errored,
            },))
        })
    })
}

/// What a guest asks of its inner plugin, in the host's vocabulary, and in the name of whoever it works
/// for: what the guest says about that is not asked.
fn call(context: wit::PluginContext, caller: Caller) -> ProcessCall {
    let mut options = context.config;
    let mut take = |name: &str| {
        let at = options.iter().position(|(key, _)| key == name)?;
        Some(options.remove(at).1)
    };
    let input = take(INPUT).unwrap_or_default().into_bytes();
    let content_type = take(CONTENT_TYPE).unwrap_or_else(|| "text/plain".to_owned());
    ProcessCall { caller, options, ..ProcessCall::new(input, &content_type) }
}

/// What became of it. A trap in the inner plugin is an error to the outer one, not a trap.
fn result(outcome: Result<ProcessReply, CoreError>) -> wit::PluginResult {
    let (data, error_message) = match outcome {
        Ok(reply) => match String::from_utf8(reply.output) {
            Ok(data) => (Some(data), None),
            Err(_) => {
                (None, Some("the inner plugin answered with bytes that are no text".to_owned()))
            }
        },
        Err(error) => (None, Some(error.public_message())),
    };
    wit::PluginResult { success: error_message.is_none(), data, error_message, metrics: None }
}
