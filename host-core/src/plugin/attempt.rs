//! The way of one call through a plugin: may it go, with which instance, and what came of it.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use plugin_contract::Explain;
use tokio::time::Instant;
use wasmtime::component::Val;

use super::{Active, Plugin};
use crate::{
    CallBudget, Caller, CoreError, Degraded, EventCall, FunctionCall, FunctionInfo, FunctionReply,
    Instance, Lease, OnFailure, Operation, PluginStatus, ProcessCall, ProcessReply, StoreData,
    guard::{
        breaker::{Outcome, Pass},
        poison::Input,
    },
};

impl<T: StoreData> Plugin<T> {
    /// Turns one input into one output. A plugin that is out of order is dealt with as its terms say.
    /// The call is lent: after an error it is whole again.
    ///
    /// # Errors
    /// Those of [`Instance::process`] and [`Pool::lease`](crate::Pool::lease); `core/plugin-paused`,
    /// `core/plugin-recovering`, `core/plugin-quarantined`, `core/circuit-open`, `core/poison-input`,
    /// `core/not-loaded`.
    pub async fn process(
        self: &Arc<Self>,
        call: &mut ProcessCall,
    ) -> Result<ProcessReply, CoreError> {
        let error = match self.process_alone(call).await {
            Err(error) if error.is_outage() => error,
            answer => return answer,
        };
        let code = error.code();
        match &self.terms.on_failure {
            OnFailure::Refuse => Err(error),
            OnFailure::PassThrough => Ok(ProcessReply {
                output: std::mem::take(&mut call.input),
                content_type: std::mem::take(&mut call.content_type),
                items_processed: 0,
                warning: None,
                degraded: Some(Degraded::PassedThrough { code }),
            }),
            OnFailure::Fallback(wanted) => {
                let shelf = self.shelf.upgrade();
                let other = shelf.and_then(|shelf| shelf.find_but(wanted, self));
                let Some(other) = other else { return Err(error) };
                // Of two errors, that of the plugin that was asked.
                let mut reply = other.process_alone(call).await.map_err(|_| error)?;
                let version = other.version().clone();
                reply.degraded = Some(Degraded::Fallback { version, code });
                Ok(reply)
            }
        }
    }

    /// The same, by this plugin or not at all.
    async fn process_alone(
        self: &Arc<Self>,
        call: &mut ProcessCall,
    ) -> Result<ProcessReply, CoreError> {
        let mut attempt = Attempt::begin(self);
        let answer = match attempt.instance(|| input(Operation::Process, call)).await {
            Ok((instance, budget)) => instance.process(call, budget).await,
            Err(error) => Err(error),
        };
        attempt.finish(answer, || input(Operation::Process, call))
    }

    /// Whether the plugin would take this input, as far as it can tell without doing the work.
    ///
    /// # Errors
    /// As for [`Plugin::process`].
    pub async fn validate(self: &Arc<Self>, call: &mut ProcessCall) -> Result<bool, CoreError> {
        let mut attempt = Attempt::begin(self);
        let answer = match attempt.instance(|| input(Operation::Validate, call)).await {
            Ok((instance, budget)) => instance.validate(call, budget).await,
            Err(error) => Err(error),
        };
        attempt.finish(answer, || input(Operation::Validate, call))
    }

    /// Hands over one event.
    ///
    /// # Errors
    /// As for [`Plugin::process`].
    pub async fn on_event(
        self: &Arc<Self>,
        caller: &Caller,
        event: &EventCall,
    ) -> Result<(), CoreError> {
        let mut attempt = Attempt::begin(self);
        let answer = match attempt.instance(|| event_input(event)).await {
            Ok((instance, budget)) => instance.on_event(caller, event, budget).await,
            Err(error) => Err(error),
        };
        attempt.finish(answer, || event_input(event))
    }

    /// Calls an exported function by its name.
    ///
    /// # Errors
    /// Those of [`Instance::call`], and as for [`Plugin::process`].
    pub async fn call(
        self: &Arc<Self>,
        caller: &Caller,
        call: &FunctionCall,
    ) -> Result<FunctionReply, CoreError> {
        let mut attempt = Attempt::begin(self);
        // Written down if the plugin broke on a call: only then it is compared.
        let text = LazyLock::new(|| match call {
            FunctionCall::Text(text) => Cow::Borrowed(text.as_str()),
            FunctionCall::Json(call) => Cow::Owned(format!("{}{:?}", call.function, call.args)),
        });
        let input = || plain_input(Operation::Call, text.as_bytes());
        let answer = match attempt.instance(input).await {
            Ok((instance, budget)) => instance.call(caller, call, budget).await,
            Err(error) => Err(error),
        };
        attempt.finish(answer, input)
    }

    /// Calls the function of an interface, both as the component names them, with values as they are.
    pub(crate) async fn call_values(
        self: &Arc<Self>,
        caller: &Caller,
        function: (&str, &str),
        args: &[Val],
    ) -> Result<Vec<Val>, CoreError> {
        let mut attempt = Attempt::begin(self);
        let text = LazyLock::new(|| format!("{function:?}{args:?}"));
        let input = || plain_input(Operation::Call, text.as_bytes());
        let answer = match attempt.instance(input).await {
            Ok((instance, budget)) => instance.call_values(caller, function, args, budget).await,
            Err(error) => Err(error),
        };
        attempt.finish(answer, input)
    }

    /// The functions it exports, those of its world included; started first where that is due.
    ///
    /// # Errors
    /// As for [`Plugin::process`].
    pub async fn functions(self: &Arc<Self>) -> Result<Vec<FunctionInfo>, CoreError> {
        Ok(self.ready().await?.pool.prepared().functions())
    }

    /// Where the plugin says it stands; `None` in worlds that do not say.
    ///
    /// # Errors
    /// As for [`Plugin::process`].
    pub async fn status(self: &Arc<Self>) -> Result<Option<PluginStatus>, CoreError> {
        let mut attempt = Attempt::begin(self);
        let nothing = || plain_input(Operation::Status, &[]);
        let answer = match attempt.instance(nothing).await {
            Ok((instance, budget)) => instance.status(budget).await,
            Err(error) => Err(error),
        };
        attempt.finish(answer, nothing)
    }
}

/// A call as poison memory knows it.
fn input(operation: Operation, call: &ProcessCall) -> Input<'_> {
    Input {
        operation: operation.name(),
        content_type: &call.content_type,
        options: &call.options,
        bytes: &call.input,
    }
}

fn plain_input(operation: Operation, bytes: &[u8]) -> Input<'_> {
    Input { operation: operation.name(), content_type: "", options: &[], bytes }
}

fn event_input(event: &EventCall) -> Input<'_> {
    Input {
        operation: Operation::OnEvent.name(),
        content_type: &event.event_type,
        options: &[],
        bytes: event.payload.as_bytes(),
    }
}

/// One call under way. Dropped before it is finished, it was cancelled: its instance goes, its permit and
/// its leave come free, and metrics say so.
pub(super) struct Attempt<'a, T: StoreData> {
    plugin: &'a Arc<Plugin<T>>,
    began: Instant,
    budget: CallBudget,
    pass: Option<Pass<'a>>,
    lease: Option<Lease<T>>,
    /// When the instance was there; all before was waiting.
    leased: Instant,
    finished: bool,
}

impl<'a, T: StoreData> Attempt<'a, T> {
    pub(super) fn begin(plugin: &'a Arc<Plugin<T>>) -> Self {
        let budget = plugin.terms.budget();
        let began = budget.began();
        Self { plugin, began, budget, pass: None, lease: None, leased: began, finished: false }
    }

    /// Leave to call, and an instance to call.
    pub(super) async fn instance<'i>(
        &mut self,
        input: impl FnOnce() -> Input<'i>,
    ) -> Result<(&mut Instance<T>, &CallBudget), CoreError> {
        let plugin = self.plugin;
        let now = self.began.into_std();
        if !plugin.poison.is_empty() {
            plugin.poison.check(&input(), now).map_err(|poisoned| CoreError::PoisonInput {
                plugin: plugin.name().clone(),
                retry_after: poisoned.forgotten_in,
            })?;
        }
        let mut active = Self::active(plugin, &self.budget).await?;
        let pass = plugin.breaker.admit(now).map_err(|open| CoreError::CircuitOpen {
            plugin: plugin.name().clone(),
            retry_after: open.retry_after,
        })?;
        self.pass = Some(pass);
        let lease = loop {
            match active.pool.lease(&self.budget).await {
                // Taken out of service since, and perhaps back again with new instances.
                Err(CoreError::Retired { .. }) => {
                    active = Self::active(plugin, &self.budget).await?
                }
                leased => break leased?,
            }
        };
        if lease.has_waited() {
            self.leased = Instant::now();
        }
        Ok((self.lease.insert(lease), &self.budget))
    }

    /// The plugin's instances, once it has started, if it does so in time.
    async fn active(
        plugin: &Arc<Plugin<T>>,
        budget: &CallBudget,
    ) -> Result<Arc<Active<T>>, CoreError> {
        if let Some(active) = plugin.serving.load_full() {
            return Ok(active);
        }
        let ready = tokio::time::timeout_at(budget.deadline(), plugin.ready());
        ready.await.unwrap_or_else(|_| {
            let (plugin, operation) = (plugin.name().clone(), Operation::Instantiate);
            Err(CoreError::Deadline { plugin, operation })
        })
    }

    /// Whether the plugin is to blame. A deadline says nothing of it if most of the time went by in the
    /// queue, or in starting.
    fn broke<R>(&self, answer: &Result<R, CoreError>) -> bool {
        match answer {
            Err(CoreError::Deadline { .. }) => {
                let left = self.budget.deadline().saturating_duration_since(self.leased);
                self.lease.is_some() && left >= self.plugin.terms.timeout / 2
            }
            Err(error) => error.is_breakage(),
            Ok(_) => false,
        }
    }

    /// The call has ended.
    pub(super) fn finish<'i, R>(
        mut self,
        answer: Result<R, CoreError>,
        input: impl FnOnce() -> Input<'i>,
    ) -> Result<R, CoreError> {
        let now = Instant::now();
        let broke = self.broke(&answer);
        if let Some(pass) = self.pass.take() {
            match &answer {
                _ if broke => pass.record(Outcome::Failure, now.into_std()),
                Ok(_) | Err(CoreError::Refused { .. }) => {
                    pass.record(Outcome::Success, now.into_std());
                }
                // Says nothing of the plugin.
                Err(_) => {}
            }
        }
        if broke && self.lease.is_some() {
            self.plugin.poison.strike(&input(), now.into_std());
        }
        if let Err(error) = &answer {
            self.plugin.terms.tell(error);
        }
        self.end(now, answer.as_ref().err().map(Explain::code));
        answer
    }

    fn end(&mut self, now: Instant, code: Option<&'static str>) {
        self.finished = true;
        let cpu = self.lease.as_ref().map(|lease| lease.cpu_time_used()).unwrap_or_default();
        if let Some(lease) = self.lease.take() {
            lease.release(now);
        }
        self.plugin.metrics.record(now - self.began, cpu, code);
    }
}

impl<T: StoreData> Drop for Attempt<'_, T> {
    fn drop(&mut self) {
        if !self.finished {
            self.end(Instant::now(), Some("core/cancelled"));
        }
    }
}
