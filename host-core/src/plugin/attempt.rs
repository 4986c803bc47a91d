//! The way of one call through a plugin: may it go, with which instance, and what came of it.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
    time::Duration,
};

use plugin_contract::Explain;
use tokio::{sync::oneshot, time::Instant};
use wasmtime::component::Val;

use super::{Active, Plugin};
use crate::{
    CallBudget, Caller, CoreError, Degraded, EventCall, FunctionCall, FunctionInfo, FunctionReply,
    Instance, Lease, MessageCall, OnFailure, Operation, PluginStatus, ProcessCall, ProcessReply,
    StoreData, StreamBody, StreamCall, StreamInput, StreamReply,
    guard::{
        breaker::{Outcome, Pass},
        poison::Input,
    },
    stream::StreamFeed,
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
        let mut attempt = Attempt::begin(self, &call.caller);
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
        let mut attempt = Attempt::begin(self, &call.caller);
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
        let mut attempt = Attempt::begin(self, caller);
        let answer = match attempt.instance(|| event_input(event)).await {
            Ok((instance, budget)) => instance.on_event(caller, event, budget).await,
            Err(error) => Err(error),
        };
        attempt.finish(answer, || event_input(event))
    }

    /// Hands over one message. `None` if the plugin answers later, or not at all.
    ///
    /// # Errors
    /// As for [`Plugin::process`].
    pub async fn on_message(
        self: &Arc<Self>,
        caller: &Caller,
        message: &mut MessageCall,
    ) -> Result<Option<Vec<u8>>, CoreError> {
        let mut attempt = Attempt::begin(self, caller);
        let answer = match attempt.instance(|| message_input(message)).await {
            Ok((instance, budget)) => instance.on_message(caller, message, budget).await,
            Err(error) => Err(error),
        };
        attempt.finish(answer, || message_input(message))
    }

    /// Runs a stream through the plugin. Returns once the plugin has said what will come out; an instance is
    /// its own until the stream has ended. The plugin's `timeout` is for each step, in which something has to
    /// move, and its CPU time for each MiB that moves; after a day it is over.
    ///
    /// # Errors
    /// As for [`Plugin::process`], as long as nothing has come out; the input is still there if nothing was
    /// read of it. Later ones end the [`StreamBody`]; `core/retired`, if the plugin was taken out of service
    /// and the time for streams to end is over.
    pub async fn stream(
        self: &Arc<Self>,
        call: &StreamCall,
        input: &mut Option<StreamInput>,
    ) -> Result<StreamReply, CoreError> {
        let Some(stream) = input.take() else {
            return Err(CoreError::Engine(wasmtime::Error::msg("a stream is run once")));
        };
        let (feed, head, out) = StreamFeed::new(call.clone(), stream);
        let (give_back, unused) = oneshot::channel();
        let plugin = self.clone();
        let ending = tokio::spawn(async move { plugin.run_stream(feed, give_back).await });
        let body = StreamBody::new(out, ending);
        if let Ok(content_type) = head.await {
            return Ok(StreamReply { content_type, body });
        }
        let failure = body.failure().await;
        *input = unused.await.ok();
        Err(failure)
    }

    async fn run_stream(
        self: &Arc<Self>,
        mut feed: StreamFeed,
        give_back: oneshot::Sender<StreamInput>,
    ) -> Result<(), CoreError> {
        let deadline = feed.call.caller.deadline;
        let mut attempt = Attempt::begin(self, &feed.call.caller);
        // What a stream broke on was somewhere in it: there is nothing to remember.
        let nothing = || plain_input(Operation::Transform, &[]);
        if let Err(error) = attempt.instance(nothing).await {
            // Nothing was read of it: another revision can have it. Whoever has gone needs it no more.
            let _ = give_back.send(feed.into_input());
            return attempt.conclude(Err(error), None::<fn() -> Input<'static>>);
        }
        let mut budget = CallBudget::new(Duration::MAX, self.terms.cpu_time);
        if let Some(deadline) = deadline {
            budget = budget.until(deadline.into());
        }
        let begun = feed.begun();
        let answer = attempt.stream(feed, begun, &budget).await;
        attempt.conclude(answer, None::<fn() -> Input<'static>>)
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
        let mut attempt = Attempt::begin(self, caller);
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
        let mut attempt = Attempt::begin(self, caller);
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
    pub async fn status(
        self: &Arc<Self>,
        caller: &Caller,
    ) -> Result<Option<PluginStatus>, CoreError> {
        let mut attempt = Attempt::begin(self, caller);
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

fn message_input(message: &MessageCall) -> Input<'_> {
    Input {
        operation: Operation::OnMessage.name(),
        content_type: &message.message_type,
        options: &[],
        bytes: &message.payload,
    }
}

/// One call under way. Dropped before it is finished, it was cancelled: its instance goes, its permit and
/// its leave come free, and metrics say so.
pub(super) struct Attempt<'a, T: StoreData> {
    plugin: &'a Arc<Plugin<T>>,
    began: Instant,
    budget: CallBudget,
    /// Whether the caller has less time than the plugin may take.
    hurried: bool,
    pass: Option<Pass<'a>>,
    lease: Option<Lease<T>>,
    /// Whose instance it is.
    active: Option<Arc<Active<T>>>,
    /// When the instance was there; all before was waiting.
    leased: Instant,
    finished: bool,
}

impl<'a, T: StoreData> Attempt<'a, T> {
    pub(super) fn begin(plugin: &'a Arc<Plugin<T>>, caller: &Caller) -> Self {
        let mut budget = plugin.terms.budget();
        let mut hurried = false;
        if let Some(deadline) = caller.deadline {
            hurried = budget.deadline() > deadline.into();
            budget = budget.until(deadline.into());
        }
        let began = budget.began();
        Self {
            plugin,
            began,
            budget,
            hurried,
            pass: None,
            lease: None,
            active: None,
            leased: began,
            finished: false,
        }
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
                // Taken out of service since, and perhaps back again with new instances; unless another
                // revision has its state, and answers in its place.
                Err(CoreError::Retired { .. }) if !active.pool.was_handed_over() => {
                    active = Self::active(plugin, &self.budget).await?
                }
                leased => break leased?,
            }
        };
        self.active = Some(active);
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

    /// Whether the plugin is to blame. A deadline says nothing of it if it was the caller's, or if most of the
    /// time went by in the queue, or in starting.
    fn broke<R>(&self, answer: &Result<R, CoreError>) -> bool {
        match answer {
            Err(CoreError::Deadline { .. }) if self.hurried => false,
            Err(CoreError::Deadline { .. }) => {
                let left = self.budget.deadline().saturating_duration_since(self.leased);
                self.lease.is_some() && left >= self.plugin.terms.timeout / 2
            }
            Err(error) => error.is_breakage(),
            Ok(_) => false,
        }
    }

    /// Runs a stream. Those who ask whether the plugin works again are told as soon as it has `begun`, and do
    /// not wait for its end. It ends with the plugin's service, too.
    async fn stream(
        &mut self,
        feed: StreamFeed,
        begun: oneshot::Receiver<()>,
        budget: &CallBudget,
    ) -> Result<(), CoreError> {
        let (plugin, timeout) = (self.plugin, self.plugin.terms.timeout);
        let retired = || CoreError::Retired { plugin: plugin.name().clone() };
        let (Some(lease), Some(active)) = (&mut self.lease, &self.active) else {
            return Err(retired());
        };
        let mut over = active.over.subscribe();
        let work = lease.transform(feed, timeout, budget);
        let mut work = std::pin::pin!(work);
        let mut begun = std::pin::pin!(begun);
        let mut has_begun = false;
        let answer = loop {
            tokio::select! {
                answer = &mut work => break answer,
                _ = over.wait_for(|over| *over) => break Err(retired()),
                Ok(()) = &mut begun, if !has_begun => {
                    has_begun = true;
                    if let Some(pass) = self.pass.take() {
                        pass.record(Outcome::Success, Instant::now().into_std());
                    }
                }
            }
        };
        if has_begun {
            // How it ends counts like a call of its own, if calls are let through.
            self.pass = plugin.breaker.admit(Instant::now().into_std()).ok();
        }
        answer
    }

    /// The call has ended.
    pub(super) fn finish<'i, R>(
        self,
        answer: Result<R, CoreError>,
        input: impl FnOnce() -> Input<'i>,
    ) -> Result<R, CoreError> {
        self.conclude(answer, Some(input))
    }

    /// The same, with the input only if it could be known again.
    fn conclude<'i, R>(
        mut self,
        answer: Result<R, CoreError>,
        input: Option<impl FnOnce() -> Input<'i>>,
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
        if broke
            && self.lease.is_some()
            && let Some(input) = input
        {
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
