//! What a host does with a plugin, done with one that may be anything.

use std::time::Duration;

use host_core::{
    Admission, CallBudget, Caller, CodeSettings, CoreError, EventCall, FunctionCall, FunctionInfo,
    Imports, Instance, JsonCall, Prepared, ProcessCall, Runtime, admit,
};
use plugin_contract::{Explain, Manifest};

use super::{
    arguments::{argument, text},
    harness::Outcomes,
    mutate::{Rng, mutated_text},
};
use crate::{Data, guests, small};

/// Calls of one guest.
const CALLS_MAX: usize = 20;
/// Calls that may use up their CPU time. More would show nothing new, and take as long again.
const SPINS_MAX: usize = 2;
const MEMORY_BYTES: usize = 16 << 20;

/// A host that keeps nothing of what it compiled.
pub(super) struct Host {
    executor: tokio::runtime::Runtime,
    runtime: Runtime<Data>,
    good: Prepared<Data>,
}

impl Host {
    pub(super) fn new() -> Self {
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut code = CodeSettings::default();
        code.memory_bytes_max = 0;
        let runtime = Runtime::builder(small()).code(code).build().unwrap();
        let good = guests::admit_wat("good", &guests::echo()).unwrap();
        let good = executor.block_on(runtime.prepare(&good, &Imports::none())).unwrap();
        Self { executor, runtime, good }
    }

    /// Admits, prepares, starts and calls it, as far as that goes. Afterwards a good plugin still answers,
    /// and nothing of the other is left.
    pub(super) fn drive(
        &self,
        rng: &mut Rng,
        bytes: Vec<u8>,
        beside: Option<Manifest>,
    ) -> Outcomes {
        let mut seen = Seen::default();
        self.executor.block_on(async {
            let ended = self.all(rng, bytes, beside, &mut seen).await;
            seen.note(&ended);
            let mut good = self.good.start(Data::new(), &[], &budget()).await.unwrap();
            let reply = good.process(&mut crate::text("hello"), &budget()).await.unwrap();
            assert_eq!(reply.output, b"hello");
        });
        for engine in self.runtime.engine_metrics() {
            assert_eq!((engine.component_instances, engine.memories, engine.stacks), (0, 0, 0));
        }
        seen.outcomes
    }

    async fn all(
        &self,
        rng: &mut Rng,
        bytes: Vec<u8>,
        beside: Option<Manifest>,
        seen: &mut Seen,
    ) -> Result<(), CoreError> {
        let artifact = admit(bytes, beside, &Admission::default())?;
        let prepared = self.runtime.prepare(&artifact, &Imports::none()).await?;
        let mut instance = Some(start(&prepared).await?);
        self.contract(rng, &mut instance, &prepared, seen).await?;
        for function in prepared.functions() {
            let shown = function.to_string();
            assert!(shown.len() < 1 << 20 && !shown.contains(char::is_control), "{shown:?}");
            for _ in 0..2 {
                if seen.is_enough() {
                    return Ok(());
                }
                let guest = fresh(&mut instance, &prepared).await?;
                let answer = guest.call(&Caller::default(), &call(rng, &function), &budget()).await;
                assert_eq!(guest.is_spent(), is_spending(&answer), "{answer:?}");
                seen.note(&answer);
                if let Ok(reply) = answer {
                    let wave = reply.wave(1_000).unwrap_or_default();
                    assert!(wave.len() < 1_100 && !wave.contains(char::is_control), "{wave:?}");
                    let _ = reply.into_json().map(|json| json.to_string());
                }
            }
        }
        Ok(())
    }

    /// The functions of the contract, which any guest may be asked for.
    async fn contract(
        &self,
        rng: &mut Rng,
        instance: &mut Option<Instance<Data>>,
        prepared: &Prepared<Data>,
        seen: &mut Seen,
    ) -> Result<(), CoreError> {
        let count = rng.below(200);
        let mut input = ProcessCall::new(rng.bytes(count), "text/plain");
        if rng.once_in(2) {
            input.input = text(rng).into_bytes();
        }
        input.options = vec![(text(rng), text(rng))];
        let event = EventCall {
            event_type: "a.b".to_owned(),
            payload: text(rng),
            timestamp_ms: rng.next(),
            source: text(rng),
        };
        let (budget, caller) = (budget(), Caller::default());
        seen.note(&fresh(instance, prepared).await?.process(&mut input, &budget).await);
        seen.note(&fresh(instance, prepared).await?.validate(&mut input, &budget).await);
        seen.note(&fresh(instance, prepared).await?.supported_events(&budget).await);
        seen.note(&fresh(instance, prepared).await?.on_event(&caller, &event, &budget).await);
        seen.note(&fresh(instance, prepared).await?.status(&budget).await);
        seen.note(&fresh(instance, prepared).await?.shutdown(&budget).await);
        Ok(())
    }
}

/// What has happened to a guest so far.
#[derive(Default)]
struct Seen {
    outcomes: Outcomes,
    spins: usize,
}

impl Seen {
    fn note<R>(&mut self, ended: &Result<R, CoreError>) {
        let code = ended.as_ref().err().map_or("ok", checked);
        self.spins += usize::from(code == "security/cpu-time-exceeded");
        self.outcomes.push(code);
    }

    fn is_enough(&self) -> bool {
        self.outcomes.len() >= CALLS_MAX || self.spins >= SPINS_MAX
    }
}

/// The code of an error that is the guest's, can be acted on, and is fit to be shown.
pub(super) fn checked<E: Explain + ?Sized>(error: &E) -> &'static str {
    // A panic while compiling is told so; the others say that something of the host was used up.
    let is_hosts = ["core/compiler-unavailable", "core/engine", "core/host-exhausted"];
    assert!(error.code().contains('/') && !is_hosts.contains(&error.code()), "{error:?}");
    assert!(!error.remedy().is_empty(), "{error:?}");
    let message = error.to_string();
    let is_plain = message.chars().all(|c| c == '\n' || c == '\t' || !c.is_control());
    assert!(is_plain && message.len() <= 16 << 10, "{message:?}");
    error.code()
}

/// Whether the instance is of no more use after this.
fn is_spending<R>(answer: &Result<R, CoreError>) -> bool {
    let harmless = ["core/invalid-arguments", "core/no-such-function", "core/not-callable"];
    answer.as_ref().is_err_and(|error| !harmless.contains(&error.code()))
}

fn budget() -> CallBudget {
    CallBudget::new(Duration::from_secs(5), Duration::from_millis(50))
}

async fn start(prepared: &Prepared<Data>) -> Result<Instance<Data>, CoreError> {
    prepared.start(Data::with_memory(MEMORY_BYTES), &[], &budget()).await
}

/// The instance, or a new one in the place of one that is spent.
async fn fresh<'a>(
    instance: &'a mut Option<Instance<Data>>,
    prepared: &Prepared<Data>,
) -> Result<&'a mut Instance<Data>, CoreError> {
    let usable = match instance.take() {
        Some(usable) if !usable.is_spent() => usable,
        spent => {
            drop(spent);
            start(prepared).await?
        }
    };
    Ok(instance.insert(usable))
}

/// A call that mostly fits. As text, one that hardly does.
fn call(rng: &mut Rng, function: &FunctionInfo) -> FunctionCall {
    let name = match &function.interface {
        Some(interface) => format!("{interface}#{}", function.name),
        None => function.name.clone(),
    };
    let args: Vec<_> = function.params.iter().map(|(_, ty)| argument(rng, ty)).collect();
    if !rng.once_in(4) {
        return FunctionCall::Json(JsonCall { function: name, args });
    }
    let args: Vec<_> = args.iter().map(ToString::to_string).collect();
    let call = format!("{name}({})", args.join(", "));
    const WAVE: &str = "some(none) {a: 1, b} ok(err(\"\\u{41}\")) [(), -inf, 'x', %true] 1e400";
    FunctionCall::Text(if rng.once_in(4) { call } else { mutated_text(rng, &call, WAVE) })
}
