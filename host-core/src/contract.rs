//! The contract as the host sees it: one vocabulary of calls, and one adapter for each interface
//! version that answers it. N versions of plugins and M kinds of calls take N + M pieces of code.

mod actions;
mod base;
mod bindings;
mod events;
pub(crate) mod foreign;
mod messages;
pub(crate) mod plugin_api;
mod processor;
mod state;
mod streams;
mod text;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use plugin_contract::{Caller, ComponentInfo, PluginId, SYSTEM_PACKAGE, escape};
use semver::Version;
use wasmtime::{
    Store,
    component::{Instance, InstancePre},
};

use crate::{CoreError, stream::StreamRun};
use bindings::exports::toolsku::plugin_system as wit;

pub use foreign::ForeignInterface;
pub use plugin_api::PluginApi;

/// What can be done with a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Make an instance; runs start functions.
    Instantiate,
    /// Ask who it is.
    Metadata,
    /// Prepare an instance for work.
    Initialize,
    /// Retire an instance.
    Shutdown,
    /// Ask where it stands.
    Status,
    /// Turn an input into an output.
    Process,
    /// Ask whether an input would do.
    Validate,
    /// Ask which events it wants.
    SupportedEvents,
    /// Hand over an event.
    OnEvent,
    /// Hand over a message.
    OnMessage,
    /// Turn a stream into a stream.
    Transform,
    /// Ask for the state of an instance.
    Snapshot,
    /// Hand over such a state.
    Restore,
    /// Call an exported function by its name.
    Call,
}

impl Operation {
    /// The name of the function in WIT; `instantiate` and `call` are none.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Instantiate => "instantiate",
            Self::Metadata => "get-metadata",
            Self::Initialize => "initialize",
            Self::Shutdown => "shutdown",
            Self::Status => "get-status",
            Self::Process => "process",
            Self::Validate => "validate",
            Self::SupportedEvents => "supported-events",
            Self::OnEvent => "on-event",
            Self::OnMessage => "handle-message",
            Self::Transform => "transform",
            Self::Snapshot => "snapshot",
            Self::Restore => "restore",
            Self::Call => "call",
        }
    }

    /// Whether it is work, which an instance may remember.
    pub(crate) const fn is_work(self) -> bool {
        matches!(
            self,
            Self::Process
                | Self::Validate
                | Self::OnEvent
                | Self::OnMessage
                | Self::Transform
                | Self::Call
        )
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One input to work on.
#[derive(Debug, Clone)]
pub struct ProcessCall {
    /// On whose behalf.
    pub caller: Caller,
    /// When the call arrived, in milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: u64,
    /// The bytes. The caller bounds their number.
    pub input: Vec<u8>,
    /// Their media type, in lower case and without parameters.
    pub content_type: String,
    /// What is asked for, by name.
    pub options: Vec<(String, String)>,
}

impl ProcessCall {
    /// A call without options, made now, by nobody in particular. `content_type` may have parameters
    /// and upper case; the plugin sees neither.
    pub fn new(input: Vec<u8>, content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        // Before 1970 there is no number for it; nothing is decided by it.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            caller: Caller::default(),
            timestamp_ms: now.as_millis() as u64,
            input,
            content_type: match essence {
                "" => "application/octet-stream".to_owned(),
                essence => essence.to_ascii_lowercase(),
            },
            options: Vec::new(),
        }
    }

    /// The call with one more option.
    #[must_use]
    pub fn with_option(mut self, name: &str, value: &str) -> Self {
        self.options.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The input as text, for contracts that know no other.
    fn text(&self) -> Result<&str, Refusal> {
        std::str::from_utf8(&self.input)
            .map_err(|error| Refusal::NotText { valid_up_to: error.valid_up_to() })
    }

    fn option(&self, wanted: &str) -> Option<&str> {
        let found = self.options.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str())
    }
}

/// One output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessReply {
    /// The bytes.
    pub output: Vec<u8>,
    /// Their media type, as the plugin says.
    pub content_type: String,
    /// How many things were worked on, as the plugin says.
    pub items_processed: u32,
    /// What is odd or missing, where the plugin says so.
    pub warning: Option<String>,
    /// How it came about, if not by the plugin that was called.
    pub degraded: Option<Degraded>,
}

/// How a call was answered though its plugin was out of order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Degraded {
    /// With its input: nobody has worked on it.
    PassedThrough {
        /// The code of what was wrong with the plugin.
        code: &'static str,
    },
    /// By another version.
    Fallback {
        /// Which.
        version: Version,
        /// The code of what was wrong with the plugin.
        code: &'static str,
    },
}

impl fmt::Display for Degraded {
    /// `passed-through; core/deadline`, `fallback 0.1.0; core/deadline`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PassedThrough { code } => write!(f, "passed-through; {code}"),
            Self::Fallback { version, code } => write!(f, "fallback {version}; {code}"),
        }
    }
}

/// Something that happened, to be handed to a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCall {
    /// Dotted lower-case words.
    pub event_type: String,
    /// In a form that the type implies.
    pub payload: String,
    /// Milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: u64,
    /// Who says so.
    pub source: String,
}

/// Something said to a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageCall {
    /// Who sent it.
    pub sender: String,
    /// What it is about, in the words of its receiver.
    pub message_type: String,
    /// The message itself.
    pub payload: Vec<u8>,
    /// Names the request, if the sender waits for an answer.
    pub request_id: Option<String>,
}

/// The state of an instance, in a form that the plugin chose.
#[derive(Clone, PartialEq, Eq)]
pub struct StateSnapshot {
    /// Which form; plugins count it up when the form changes.
    pub format: u32,
    /// The state itself.
    pub data: Vec<u8>,
}

impl fmt::Debug for StateSnapshot {
    /// Without the state, which is the plugin's own and may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, data } = self;
        write!(f, "StateSnapshot {{ format: {format}, {} bytes }}", data.len())
    }
}

/// Who a plugin says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Where a plugin says it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PluginStatus {
    /// `initialize` has not been called.
    Uninitialized,
    /// Takes calls.
    Ready,
    /// Works on a call.
    Running,
    /// Takes no calls for now.
    Paused,
    /// Will not take calls again.
    Errored,
}

/// What satisfies imports that the linker does not know: exports of other plugins.
#[derive(Clone, Default)]
pub struct Imports {
    /// For `toolsku:plugin-system/plugin-api`.
    pub plugin_api: Option<Arc<dyn PluginApi>>,
    /// For interfaces that this host knows nothing of, by the name of the import.
    pub interfaces: Vec<(String, Arc<dyn ForeignInterface>)>,
}

impl Imports {
    /// Nothing: the plugin depends on no other.
    pub fn none() -> Self {
        Self::default()
    }
}

/// A call on the guest, under way.
pub(crate) type GuestCall<'a, R> = Pin<Box<dyn Future<Output = wasmtime::Result<R>> + Send + 'a>>;

/// The guest, or its adapter, said no; nothing is broken.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The guest's reason.
    Plugin(String),
    /// The guest takes text.
    NotText { valid_up_to: usize },
}

impl Refusal {
    pub(crate) fn into_error(self, plugin: &PluginId) -> CoreError {
        let plugin = plugin.clone();
        match self {
            Self::NotText { valid_up_to } => CoreError::InputNotText { plugin, valid_up_to },
            Self::Plugin(message) => CoreError::Refused { plugin, message: shown(&message) },
        }
    }
}

/// Why a guest did not take over a state.
#[derive(Debug)]
pub(crate) enum StateRefused {
    /// It does not know the form; the newest that it knows.
    UnknownFormat { newest: u32 },
    /// The guest's reason.
    Invalid(String),
}

/// A guest's reason, fit to be shown.
pub(crate) fn shown(message: &str) -> String {
    escape(message, 4 << 10)
}

/// The beginning and end of an instance.
pub(crate) trait Lifecycle<T>: Send + Sync {
    fn metadata<'a>(&'a self, store: &'a mut Store<T>) -> GuestCall<'a, Metadata>;
    fn initialize<'a>(
        &'a self,
        store: &'a mut Store<T>,
        config: &'a [(String, String)],
    ) -> GuestCall<'a, Result<(), String>>;
    fn shutdown<'a>(&'a self, store: &'a mut Store<T>) -> GuestCall<'a, Result<(), String>>;
    /// Worlds that have no status have no call for it.
    fn status<'a>(&'a self, store: &'a mut Store<T>) -> Option<GuestCall<'a, PluginStatus>> {
        let _ = store;
        None
    }
}

/// One input, one output.
pub(crate) trait Processor<T>: Send + Sync {
    fn process<'a>(
        &'a self,
        store: &'a mut Store<T>,
        call: &'a mut ProcessCall,
    ) -> GuestCall<'a, Result<ProcessReply, Refusal>>;
    /// Worlds that cannot tell have no call for it.
    fn validate<'a>(
        &'a self,
        store: &'a mut Store<T>,
        call: &'a mut ProcessCall,
    ) -> Option<GuestCall<'a, bool>> {
        let _ = (store, call);
        None
    }
}

/// Reactions to events.
pub(crate) trait Events<T>: Send + Sync {
    fn supported<'a>(&'a self, store: &'a mut Store<T>) -> GuestCall<'a, Vec<String>>;
    fn on_event<'a>(
        &'a self,
        store: &'a mut Store<T>,
        event: &'a EventCall,
    ) -> GuestCall<'a, Result<(), Refusal>>;
}

/// Messages.
pub(crate) trait Messages<T>: Send + Sync {
    fn on_message<'a>(
        &'a self,
        store: &'a mut Store<T>,
        message: &'a mut MessageCall,
    ) -> GuestCall<'a, Result<Option<Vec<u8>>, Refusal>>;
}

/// A stream in, a stream out.
pub(crate) trait Streams<T>: Send + Sync {
    fn transform<'a>(
        &'a self,
        store: &'a mut Store<T>,
        run: StreamRun,
    ) -> GuestCall<'a, Result<(), Refusal>>;
}

/// The state of an instance, which outlives it.
pub(crate) trait State<T>: Send + Sync {
    fn snapshot<'a>(
        &'a self,
        store: &'a mut Store<T>,
    ) -> GuestCall<'a, Result<StateSnapshot, String>>;
    fn restore<'a>(
        &'a self,
        store: &'a mut Store<T>,
        state: StateSnapshot,
    ) -> GuestCall<'a, Result<(), StateRefused>>;
}

/// Where the exports of a component are: looked up once, before any instance.
#[derive(Clone)]
pub(crate) struct Exports {
    base: Option<wit::base_plugin::GuestIndices>,
    data: Option<wit::data_processor::GuestIndices>,
    events: Option<wit::event_handler::GuestIndices>,
    messages: Option<wit::message_handler::GuestIndices>,
    streams: Option<wit::stream_transformer::GuestIndices>,
    state: Option<wit::state_transfer::GuestIndices>,
    full: Option<wit::plugin_api::GuestIndices>,
    actions: Option<wit::type_best_practices::GuestIndices>,
    v1: Option<wit::plugin_api_v1::GuestIndices>,
    v2: Option<wit::plugin_api_v2::GuestIndices>,
}

/// Whether a component that exports this offers `operation`.
pub(crate) fn offers(info: &ComponentInfo, operation: Operation) -> bool {
    let interfaces: &[&str] = match operation {
        Operation::Instantiate | Operation::Call => return true,
        Operation::Metadata | Operation::Initialize | Operation::Shutdown => {
            &["base-plugin", "plugin-api"]
        }
        Operation::Status => &["plugin-api"],
        Operation::Validate => &["data-processor"],
        Operation::Process => &[
            "data-processor",
            "plugin-api",
            "type-best-practices",
            "plugin-api-v1",
            "plugin-api-v2",
        ],
        Operation::SupportedEvents | Operation::OnEvent => &["event-handler"],
        Operation::OnMessage => &["message-handler"],
        Operation::Transform => &["stream-transformer"],
        Operation::Snapshot | Operation::Restore => &["state-transfer"],
    };
    let mut ours = info.exported_interfaces().filter(|name| name.package == SYSTEM_PACKAGE);
    ours.any(|name| interfaces.contains(&name.interface.as_str()))
}

/// The adapters of one instance.
pub(crate) struct Bound<T> {
    pub(crate) lifecycle: Option<Box<dyn Lifecycle<T>>>,
    pub(crate) processor: Option<Box<dyn Processor<T>>>,
    pub(crate) events: Option<Box<dyn Events<T>>>,
    pub(crate) messages: Option<Box<dyn Messages<T>>>,
    pub(crate) streams: Option<Box<dyn Streams<T>>>,
    pub(crate) state: Option<Box<dyn State<T>>>,
    /// What has no adapter is found by name.
    pub(crate) raw: Instance,
}

impl Exports {
    /// Fails if an interface is there, but not all of its functions.
    pub(crate) fn find<T>(pre: &InstancePre<T>, info: &ComponentInfo) -> wasmtime::Result<Self> {
        let has = |interface: &str| {
            info.exported_interfaces()
                .any(|name| name.package == SYSTEM_PACKAGE && name.interface == interface)
        };
        macro_rules! find {
            ($interface:literal, $module:ident) => {
                has($interface).then(|| wit::$module::GuestIndices::new(pre)).transpose()?
            };
        }
        Ok(Self {
            base: find!("base-plugin", base_plugin),
            data: find!("data-processor", data_processor),
            events: find!("event-handler", event_handler),
            messages: find!("message-handler", message_handler),
            streams: find!("stream-transformer", stream_transformer),
            state: find!("state-transfer", state_transfer),
            full: find!("plugin-api", plugin_api),
            actions: find!("type-best-practices", type_best_practices),
            v1: find!("plugin-api-v1", plugin_api_v1),
            v2: find!("plugin-api-v2", plugin_api_v2),
        })
    }

    /// Fails if a function has another type than the contract's.
    pub(crate) fn bind<T: Send + 'static>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
    ) -> wasmtime::Result<Bound<T>> {
        let mut bound = Bound {
            lifecycle: None,
            processor: None,
            events: None,
            messages: None,
            streams: None,
            state: None,
            raw: *instance,
        };
        // Where a component exports several generations, the first that binds here answers; of the
        // lifecycles, the one that says more.
        if let Some(indices) = &self.data {
            bound.processor = Some(Box::new(processor::Data(indices.load(&mut *store, instance)?)));
        }
        if let Some(indices) = &self.events {
            bound.events = Some(Box::new(events::Handler(indices.load(&mut *store, instance)?)));
        }
        if let Some(indices) = &self.messages {
            bound.messages =
                Some(Box::new(messages::Handler(indices.load(&mut *store, instance)?)));
        }
        if let Some(indices) = &self.streams {
            bound.streams =
                Some(Box::new(streams::Transformer(indices.load(&mut *store, instance)?)));
        }
        if let Some(indices) = &self.state {
            bound.state = Some(Box::new(state::Transfer(indices.load(&mut *store, instance)?)));
        }
        if let Some(indices) = &self.full {
            let full = plugin_api::Full(indices.load(&mut *store, instance)?);
            bound.lifecycle = Some(Box::new(full.clone()));
            bound.processor.get_or_insert_with(|| Box::new(full));
        }
        if let Some(indices) = &self.base {
            let base = base::Base(indices.load(&mut *store, instance)?);
            bound.lifecycle.get_or_insert_with(|| Box::new(base));
        }
        if let Some(indices) = &self.actions {
            let actions = actions::Actions(indices.load(&mut *store, instance)?);
            bound.processor.get_or_insert_with(|| Box::new(actions));
        }
        if let Some(indices) = &self.v2 {
            let v2 = text::V2(indices.load(&mut *store, instance)?);
            bound.processor.get_or_insert_with(|| Box::new(v2));
        }
        if let Some(indices) = &self.v1 {
            let v1 = text::V1(indices.load(&mut *store, instance)?);
            bound.processor.get_or_insert_with(|| Box::new(v1));
        }
        Ok(bound)
    }
}
