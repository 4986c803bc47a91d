//! In a host of someone else's: a plain engine, linker and store, and a guest that uses what is added to them.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use host_ipc::{
    Event, EventBus, EventLog, IpcCtx, IpcView, LogLimits, Origin, Subscriber, Undelivered,
    channel::Exchange,
};
use plugin_contract::Caller;
use wasmtime::{
    Engine, Store,
    component::{Component, Linker, ResourceTable},
};

struct Mine {
    ipc: IpcCtx,
    table: ResourceTable,
}

/// Says something and emits an event; returns 0 if both were taken.
const GUEST: &str = r#"(component
    (import "toolsku:host-api/host-services@1.0.0" (instance $host
        (type $level' (enum "trace" "debug" "info" "warn" "error"))
        (export "log-level" (type $level (eq $level')))
        (type $refused' (variant (case "not-available") (case "invalid-type")
            (case "payload-too-large" u64) (case "queue-full") (case "rate-limited" u32)))
        (export "emit-error" (type $refused (eq $refused')))
        (export "logger" (type $logger (sub resource)))
        (export "[constructor]logger" (func (param "name" string) (result (own $logger))))
        (export "[method]logger.log" (func (param "self" (borrow $logger))
            (param "level" $level) (param "message" string)))
        (export "emit-event" (func (param "event-type" string) (param "payload" string)
            (result (result (error $refused)))))))
    (core module $memory (memory (export "memory") 1)
        (data (i32.const 0) "mainhello from insideorder.placed{}"))
    (core instance $memory (instantiate $memory))
    (core func $new (canon lower (func $host "[constructor]logger") (memory $memory "memory")))
    (core func $log (canon lower (func $host "[method]logger.log") (memory $memory "memory")))
    (core func $emit (canon lower (func $host "emit-event") (memory $memory "memory")))
    (core module $m
        (import "m" "memory" (memory 1))
        (import "h" "new" (func $new (param i32 i32) (result i32)))
        (import "h" "log" (func $log (param i32 i32 i32 i32)))
        (import "h" "emit" (func $emit (param i32 i32 i32 i32 i32)))
        (func (export "work") (result i32)
            (call $log (call $new (i32.const 0) (i32.const 4))
                (i32.const 2) (i32.const 4) (i32.const 17))
            (call $emit (i32.const 21) (i32.const 12) (i32.const 33) (i32.const 2) (i32.const 64))
            (i32.load8_u (i32.const 64))))
    (core instance $m (instantiate $m
        (with "m" (instance $memory))
        (with "h" (instance (export "new" (func $new)) (export "log" (func $log))
            (export "emit" (func $emit))))))
    (func (export "work") (result u32) (canon lift (core func $m "work"))))"#;

#[derive(Default)]
struct Seen(Mutex<Vec<(String, String, String)>>);

#[async_trait::async_trait]
impl Subscriber for Seen {
    async fn deliver(&self, event: &Event) -> Result<(), Undelivered> {
        assert_eq!(
            event.source,
            Origin::from("shop".parse::<plugin_contract::PluginId>().unwrap())
        );
        let words = (event.event_type.clone(), event.payload.clone(), event.request_id.to_string());
        self.0.lock().unwrap().push(words);
        Ok(())
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_guest_of_a_plain_engine_has_services_and_the_bus() {
    let lines = Lines::default();
    let writer = lines.clone();
    let logging = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false);
    let _logging = tracing::subscriber::set_default(logging.finish());
    let engine = Engine::default();
    let mut linker = Linker::<Mine>::new(&engine);
    host_ipc::add_to_linker(&mut linker, |mine| IpcView {
        ctx: &mut mine.ipc,
        table: &mut mine.table,
    })
    .unwrap();
    let bus = EventBus::new(Default::default(), EventLog::new(Default::default()));
    let seen = Arc::new(Seen::default());
    bus.subscribe("audit".parse().unwrap(), vec!["order.*".to_owned()], seen.clone());
    let exchange = Exchange::new(Default::default());
    let ipc = IpcCtx::builder("shop".parse().unwrap(), "0.1.0")
        .log_limits(LogLimits { lines_per_call_max: 1, ..LogLimits::default() })
        .events(bus.source("shop".parse().unwrap()))
        .messages(exchange.sender("shop".parse().unwrap()), Arc::new(|_| Ok(())))
        .build();
    let mut store = Store::new(&engine, Mine { ipc, table: ResourceTable::new() });
    let component = Component::new(&engine, wat::parse_str(GUEST).unwrap()).unwrap();
    let guest = linker.instantiate_async(&mut store, &component).await.unwrap();
    let work = guest.get_typed_func::<(), (u32,)>(&mut store, "work").unwrap();
    for request in ["req-1", "req-2"] {
        // The one line that a call may say comes with it.
        store.data_mut().ipc.begin_call(Caller::new(request.into()));
        assert_eq!(work.call_async(&mut store, ()).await.unwrap(), (0,));
    }
    assert_eq!(bus.close(tokio::time::Instant::now() + Duration::from_secs(60)).await, 0);
    let event = |request: &str| ("order.placed".to_owned(), "{}".to_owned(), request.to_owned());
    assert_eq!(*seen.0.lock().unwrap(), [event("req-1"), event("req-2")]);
    let said = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let said: Vec<&str> = said.lines().filter(|line| line.contains("hello from inside")).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    for (line, request) in said.iter().zip(["request_id=req-1", "request_id=req-2"]) {
        assert!(line.contains("plugin=shop") && line.contains(request), "{line}");
    }
}
