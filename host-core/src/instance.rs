//! One running copy of a plugin: a store, used by one call at a time, until it is spent.

mod state;

use std::time::Duration;

use plugin_contract::PluginId;
use tokio::time::Instant;
use wasmtime::{Store, component::Val};

use crate::{
    Caller, CoreError, EventCall, FunctionCall, FunctionReply, MessageCall, Metadata, Operation,
    PluginStatus, Prepared, ProcessCall, ProcessReply, StoreData,
    contract::{Bound, GuestCall, Refusal, shown},
    meter::CpuMeter,
    stream::{Flow, StreamFeed},
    trap,
};

/// How long a call may take: until when, and how much of each entry into the guest executing its code.
#[derive(Debug, Clone, Copy)]
pub struct CallBudget {
    began: Instant,
    deadline: Instant,
    cpu_time: Duration,
}

impl CallBudget {
    /// A call that begins now, may take `timeout` of wall time, and `cpu_time` of execution.
    pub fn new(timeout: Duration, cpu_time: Duration) -> Self {
        let now = Instant::now();
        // For ever is a day.
        let deadline = now.checked_add(timeout).unwrap_or(now + Duration::from_secs(24 * 3600));
        Self { began: now, deadline, cpu_time }
    }

    /// The same, over at `deadline` at the latest.
    #[must_use]
    pub fn until(self, deadline: Instant) -> Self {
        Self { deadline: self.deadline.min(deadline), ..self }
    }

    /// When the call began.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// The moment the call must be over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// One copy of a plugin, to be called on a tokio runtime that keeps time. Dropping it frees all that the guest held.
///
/// An instance is disposable: after a trap, a deadline, a failure of the host or a cancelled call it
/// is spent, and answers `core/instance-spent`. A refusal by the plugin does not spend it.
///
/// A call borrows the instance for itself, so no two threads can be in one store. This does not compile:
///
/// ```compile_fail,E0499
/// # use host_core::{CallBudget, Instance, ProcessCall, StoreData};
/// async fn two_at_once<T: StoreData>(instance: &mut Instance<T>, budget: &CallBudget) {
///     let (mut a, mut b) = (ProcessCall::new(vec![], "a/b"), ProcessCall::new(vec![], "a/b"));
///     let first = instance.process(&mut a, budget);
///     let second = instance.process(&mut b, budget); // the first call still has the instance
///     let _ = tokio::join!(first, second);
/// }
/// ```
pub struct Instance<T: 'static> {
    prepared: Prepared<T>,
    store: Store<T>,
    bound: Bound<T>,
    meter: CpuMeter,
    spent: bool,
    has_state: bool,
}

impl<T: StoreData> Instance<T> {
    pub(crate) async fn start(
        prepared: Prepared<T>,
        mut store: Store<T>,
        meter: CpuMeter,
        budget: &CallBudget,
    ) -> Result<Self, CoreError> {
        let plugin = prepared.plugin();
        store.data_mut().begin_call(Caller::default().until(budget.deadline.into_std()));
        meter.arm(&mut store, budget.cpu_time);
        let started = prepared.pre().instantiate_async(&mut store);
        let instance = match tokio::time::timeout_at(budget.deadline, started).await {
            Ok(Ok(instance)) => instance,
            Ok(Err(error)) => {
                return Err(trap::explain(plugin, Operation::Instantiate, error, store.data()));
            }
            Err(_) => {
                let operation = Operation::Instantiate;
                return Err(CoreError::Deadline { plugin: plugin.clone(), operation });
            }
        };
        let bound = prepared.exports().bind(&mut store, &instance).map_err(|source| {
            CoreError::ContractMismatch {
                plugin: plugin.clone(),
                problem: "an export has another shape than the contract".to_owned(),
                source: Some(source),
            }
        })?;
        Ok(Self { prepared, store, bound, meter, spent: false, has_state: false })
    }

    /// The plugin it is an instance of.
    pub fn prepared(&self) -> &Prepared<T> {
        &self.prepared
    }

    /// Whether it can be used no more.
    pub fn is_spent(&self) -> bool {
        self.spent
    }

    /// Has it used no more.
    pub(crate) fn spend(&mut self) {
        self.spent = true;
    }

    /// Time that the last call spent executing guest code, in whole ticks of the engine.
    pub fn cpu_time_used(&self) -> Duration {
        self.meter.used()
    }

    /// The data in its store.
    pub fn data(&self) -> &T {
        self.store.data()
    }

    /// The data in its store.
    pub fn data_mut(&mut self) -> &mut T {
        self.store.data_mut()
    }

    /// Who the plugin says it is; `None` in worlds that do not say.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn metadata(&mut self, budget: &CallBudget) -> Result<Option<Metadata>, CoreError> {
        self.run(Operation::Metadata, Caller::default(), budget, &mut (), |store, bound, ()| {
            Some(bound.lifecycle.as_deref()?.metadata(store))
        })
        .await
    }

    /// Prepares the instance for work. Worlds without a lifecycle need none.
    ///
    /// # Errors
    /// `core/initialize-failed` with the plugin's reason; else as for all calls.
    pub async fn initialize(
        &mut self,
        config: &[(String, String)],
        budget: &CallBudget,
    ) -> Result<(), CoreError> {
        let answer = self
            .run(
                Operation::Initialize,
                Caller::default(),
                budget,
                &mut &*config,
                |store, bound, config| Some(bound.lifecycle.as_deref()?.initialize(store, config)),
            )
            .await?;
        match answer {
            None | Some(Ok(())) => Ok(()),
            Some(Err(message)) => {
                self.spent = true;
                Err(CoreError::Initialize {
                    plugin: self.plugin().clone(),
                    message: shown(&message),
                })
            }
        }
    }

    /// Lets the plugin put things in order before the instance is dropped.
    ///
    /// # Errors
    /// `core/plugin-refused` with the plugin's reason; else as for all calls.
    pub async fn shutdown(&mut self, budget: &CallBudget) -> Result<(), CoreError> {
        let answer = self
            .run(Operation::Shutdown, Caller::default(), budget, &mut (), |store, bound, ()| {
                Some(bound.lifecycle.as_deref()?.shutdown(store))
            })
            .await;
        self.spent = true;
        answer?
            .unwrap_or(Ok(()))
            .map_err(|message| Refusal::Plugin(message).into_error(self.plugin()))
    }

    /// Where the plugin says it stands; `None` in worlds that do not say.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn status(&mut self, budget: &CallBudget) -> Result<Option<PluginStatus>, CoreError> {
        self.run(Operation::Status, Caller::default(), budget, &mut (), |store, bound, ()| {
            bound.lifecycle.as_deref()?.status(store)
        })
        .await
    }

    /// Turns one input into one output, in whichever contract version the plugin speaks. The guest is lent
    /// the call: afterwards it is whole again.
    ///
    /// # Errors
    /// `core/plugin-refused`, `core/input-not-text`: the instance can be used again.
    /// `core/not-offered`. Else as for all calls: it is spent.
    pub async fn process(
        &mut self,
        call: &mut ProcessCall,
        budget: &CallBudget,
    ) -> Result<ProcessReply, CoreError> {
        let caller = call.caller.clone();
        let answer = self
            .run(Operation::Process, caller, budget, call, |store, bound, call| {
                Some(bound.processor.as_deref()?.process(store, call))
            })
            .await?;
        self.answer(Operation::Process, answer)
    }

    /// Whether the plugin would take this input, as far as it can tell without doing the work.
    ///
    /// # Errors
    /// As for [`Instance::process`].
    pub async fn validate(
        &mut self,
        call: &mut ProcessCall,
        budget: &CallBudget,
    ) -> Result<bool, CoreError> {
        let caller = call.caller.clone();
        let answer = self
            .run(Operation::Validate, caller, budget, call, |store, bound, call| {
                bound.processor.as_deref()?.validate(store, call)
            })
            .await?;
        self.answer(Operation::Validate, answer.map(Ok))
    }

    /// The event types the plugin wants to be called for, exact or `prefix.*`.
    ///
    /// # Errors
    /// As for [`Instance::process`].
    pub async fn supported_events(
        &mut self,
        budget: &CallBudget,
    ) -> Result<Vec<String>, CoreError> {
        let answer = self
            .run(
                Operation::SupportedEvents,
                Caller::default(),
                budget,
                &mut (),
                |store, bound, ()| Some(bound.events.as_deref()?.supported(store)),
            )
            .await?;
        self.answer(Operation::SupportedEvents, answer.map(Ok))
    }

    /// Hands over one event.
    ///
    /// # Errors
    /// As for [`Instance::process`].
    pub async fn on_event(
        &mut self,
        caller: &Caller,
        event: &EventCall,
        budget: &CallBudget,
    ) -> Result<(), CoreError> {
        let answer = self
            .run(Operation::OnEvent, caller.clone(), budget, &mut &*event, |store, bound, event| {
                Some(bound.events.as_deref()?.on_event(store, event))
            })
            .await?;
        self.answer(Operation::OnEvent, answer)
    }

    /// Hands over one message. `None` if the plugin answers later, or not at all.
    ///
    /// # Errors
    /// As for [`Instance::process`].
    pub async fn on_message(
        &mut self,
        caller: &Caller,
        message: &mut MessageCall,
        budget: &CallBudget,
    ) -> Result<Option<Vec<u8>>, CoreError> {
        let answer = self
            .run(Operation::OnMessage, caller.clone(), budget, message, |store, bound, message| {
                Some(bound.messages.as_deref()?.on_message(store, message))
            })
            .await?;
        self.answer(Operation::OnMessage, answer)
    }

    /// Runs a stream through the plugin, until it has ended. `budget` bounds each step of it: the time in
    /// which something has to move, and the CPU time for each MiB. What came out so far may be all that
    /// there is if this fails.
    ///
    /// # Errors
    /// `core/stream-broken`, `core/stream-stalled`: whoever is at the other ends. Else as for
    /// [`Instance::process`].
    pub(crate) async fn transform(
        &mut self,
        feed: StreamFeed,
        timeout: Duration,
        budget: &CallBudget,
    ) -> Result<(), CoreError> {
        let flow = Flow::new(self.meter.earnings());
        let caller = feed.call.caller.clone();
        let mut run = Some(feed.run(flow, timeout));
        let answer = self
            .run(Operation::Transform, caller, budget, &mut run, |store, bound, run| {
                Some(bound.streams.as_deref()?.transform(store, run.take()?))
            })
            .await?;
        self.answer(Operation::Transform, answer)
    }

    /// Calls an exported function by its name, with arguments as text or as JSON.
    ///
    /// # Errors
    /// `core/no-such-function`, `core/not-callable`, `core/invalid-arguments`: the guest was not called.
    /// Else as for all calls.
    pub async fn call(
        &mut self,
        caller: &Caller,
        call: &FunctionCall,
        budget: &CallBudget,
    ) -> Result<FunctionReply, CoreError> {
        let mut asked = self.prepared.dynamic().ask(self.plugin(), call)?;
        let answer = self
            .run(Operation::Call, caller.clone(), budget, &mut asked, |store, bound, asked| {
                Some(asked.call(store, &bound.raw))
            })
            .await?;
        Ok(asked.reply(answer.flatten()))
    }

    /// Calls the function of an interface, both as the component names them, with values as they are.
    pub(crate) async fn call_values(
        &mut self,
        caller: &Caller,
        (interface, function): (&str, &str),
        args: &[Val],
        budget: &CallBudget,
    ) -> Result<Vec<Val>, CoreError> {
        let functions = self.prepared.dynamic();
        let mut asked = functions.exactly(self.plugin(), interface, function, args.to_vec())?;
        let answer = self
            .run(Operation::Call, caller.clone(), budget, &mut asked, |store, bound, asked| {
                Some(asked.call(store, &bound.raw))
            })
            .await?;
        Ok(answer.flatten().into_iter().collect())
    }

    /// Runs one call with `args` on the guest: the only way into it. `None` if the guest does not offer it.
    async fn run<A, R>(
        &mut self,
        operation: Operation,
        caller: Caller,
        budget: &CallBudget,
        args: &mut A,
        call: impl for<'a> FnOnce(&'a mut Store<T>, &'a Bound<T>, &'a mut A) -> Option<GuestCall<'a, R>>,
    ) -> Result<Option<R>, CoreError> {
        if self.spent {
            return Err(CoreError::Spent { plugin: self.plugin().clone() });
        }
        self.store.data_mut().begin_call(caller.until(budget.deadline.into_std()));
        self.meter.arm(&mut self.store, budget.cpu_time);
        let Some(call) = call(&mut self.store, &self.bound, args) else {
            return Ok(None);
        };
        // Spent until the call has ended: a caller who goes away leaves the guest in the middle of it.
        self.spent = true;
        self.has_state |= operation.is_work();
        match tokio::time::timeout_at(budget.deadline, call).await {
            Ok(Ok(answer)) => {
                self.spent = false;
                Ok(Some(answer))
            }
            Ok(Err(error)) => {
                if let Some(coredumps) = self.prepared.coredumps() {
                    let version = self.prepared.version();
                    coredumps.keep(self.prepared.plugin(), version, &error, &mut self.store);
                }
                Err(trap::explain(self.plugin(), operation, error, self.store.data()))
            }
            Err(_) => Err(CoreError::Deadline { plugin: self.plugin().clone(), operation }),
        }
    }

    fn answer<R>(
        &self,
        operation: Operation,
        answer: Option<Result<R, Refusal>>,
    ) -> Result<R, CoreError> {
        match answer {
            Some(Ok(reply)) => Ok(reply),
            Some(Err(refusal)) => Err(refusal.into_error(self.plugin())),
            None => Err(CoreError::NotOffered { plugin: self.plugin().clone(), operation }),
        }
    }

    fn plugin(&self) -> &PluginId {
        self.prepared.plugin()
    }
}
