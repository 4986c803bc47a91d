use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use wasmtime::component::ResourceTable;

use super::*;
use crate::{HttpFetch, HttpReply, IpcCtx};

/// Answers each request alike, and remembers it.
struct Answers {
    with: Result<HttpReply, HttpFailure>,
    asked: Mutex<Vec<HttpRequest>>,
}

#[async_trait]
impl HttpFetch for Answers {
    async fn fetch(&self, request: HttpRequest) -> Result<HttpReply, HttpFailure> {
        self.asked.lock().unwrap().push(request);
        self.with.clone()
    }
}

fn answers(with: Result<HttpReply, HttpFailure>) -> Arc<Answers> {
    Arc::new(Answers { with, asked: Mutex::default() })
}

/// One `get`, as a guest's call comes in.
async fn get(http: Option<Arc<Answers>>) -> Result<HttpResponse, HttpError> {
    let mut builder = IpcCtx::builder("my-plugin".parse().unwrap(), "0.1.0");
    if let Some(http) = http {
        builder = builder.http(http);
    }
    let (mut ctx, mut table) = (builder.build(), ResourceTable::new());
    let mut view = IpcView { ctx: &mut ctx, table: &mut table };
    let client = HostHttpClient::new(&mut view).unwrap();
    let field = ("x-a".to_owned(), "1".to_owned());
    HostHttpClient::get(&mut view, client, "http://a.test/".to_owned(), vec![field]).await.unwrap()
}

#[tokio::test]
async fn without_a_client_there_is_none() {
    assert!(matches!(get(None).await, Err(HttpError::NotAvailable)));
}

#[tokio::test]
async fn requests_go_out_as_the_guest_made_them() {
    let reply = HttpReply {
        status: 201,
        headers: vec![("x-b".to_owned(), "2".to_owned())],
        body: b"made".to_vec(),
    };
    let http = answers(Ok(reply));
    let response = get(Some(http.clone())).await.unwrap();
    assert_eq!((response.status, response.body.as_slice()), (201, b"made".as_slice()));
    assert_eq!(response.headers, [("x-b".to_owned(), "2".to_owned())]);
    let asked = http.asked.lock().unwrap();
    assert_eq!((asked[0].method, asked[0].url.as_str()), (HttpMethod::Get, "http://a.test/"));
    assert_eq!(asked[0].headers, [("x-a".to_owned(), "1".to_owned())]);
}

#[tokio::test]
async fn a_body_is_posted() {
    let http = answers(Err(HttpFailure::TooLarge(7)));
    let mut ctx = IpcCtx::builder("my-plugin".parse().unwrap(), "0.1.0").http(http.clone()).build();
    let mut table = ResourceTable::new();
    let mut view = IpcView { ctx: &mut ctx, table: &mut table };
    let client = HostHttpClient::new(&mut view).unwrap();
    let url = "http://a.test/".to_owned();
    let answer = HostHttpClient::post(&mut view, client, url, b"hello".to_vec(), Vec::new()).await;
    assert!(matches!(answer.unwrap(), Err(HttpError::TooLarge(7))));
    let asked = http.asked.lock().unwrap();
    assert_eq!(
        (asked[0].method, asked[0].body.as_slice()),
        (HttpMethod::Post, b"hello".as_slice())
    );
}

#[tokio::test]
async fn each_failure_has_its_case() {
    let told =
        |failure| async { format!("{:?}", get(Some(answers(Err(failure)))).await.unwrap_err()) };
    let text = "why".to_owned();
    assert_eq!(told(HttpFailure::Denied(text.clone())).await, "HttpError::Denied(\"why\")");
    assert_eq!(told(HttpFailure::InvalidUrl(text.clone())).await, "HttpError::InvalidUrl(\"why\")");
    assert_eq!(
        told(HttpFailure::InvalidHeader(text.clone())).await,
        "HttpError::InvalidHeader(\"why\")"
    );
    assert_eq!(told(HttpFailure::TooLarge(8)).await, "HttpError::TooLarge(8)");
    assert_eq!(told(HttpFailure::Timeout(9)).await, "HttpError::Timeout(9)");
    assert_eq!(told(HttpFailure::Failed(text)).await, "HttpError::Failed(\"why\")");
}

#[tokio::test]
async fn every_limit_that_is_reached_is_told_with_its_value() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = {
        let told = told.clone();
        Arc::new(move |reached: &crate::LimitReached| {
            told.lock().unwrap().push(format!("{}: {}", reached.service, reached.limit));
        })
    };
    let config = Arc::new(crate::MemoryConfigStore::new(crate::ConfigLimits::default()));
    let bus = crate::EventBus::new(Default::default(), crate::EventLog::new(Default::default()));
    let events = bus.source("my-plugin".parse().unwrap());
    let (mut ctx, mut table) = (
        IpcCtx::builder("my-plugin".parse().unwrap(), "0.1.0")
            .config(config)
            .events(events)
            .watch_limits(tell)
            .build(),
        ResourceTable::new(),
    );
    let mut view = IpcView { ctx: &mut ctx, table: &mut table };
    let huge = || "x".repeat(10 << 20);

    let logger = HostLogger::new(&mut view, "a".to_owned()).unwrap();
    let rep = logger.rep();
    view.log(Resource::new_borrow(rep), LogLevel::Info, huge()).unwrap();
    for _ in 0..1_005 {
        view.log(Resource::new_borrow(rep), LogLevel::Info, "line".to_owned()).unwrap();
    }
    let store = HostConfigStore::new(&mut view).unwrap().rep();
    let handle = || Resource::new_borrow(store);
    let key = ("k".repeat(1 << 20), "v".to_owned());
    let set = HostConfigStore::set(&mut view, handle(), key.0, key.1).await.unwrap();
    assert!(matches!(set, Err(StoreError::InvalidKey(256))));
    let set = HostConfigStore::set(&mut view, handle(), "k".to_owned(), huge());
    assert!(matches!(set.await.unwrap(), Err(StoreError::ValueTooLarge(_))));
    let none = HostConfigStore::get(&mut view, Resource::new_borrow(rep), "k".to_owned()).await;
    assert!(none.is_err(), "a logger is no store");
    let emit = view.emit_event("a.b".to_owned(), huge()).unwrap();
    assert!(matches!(emit, Err(EmitError::PayloadTooLarge(65_536))));
    let refused =
        (0..2_000).find(|_| view.emit_event("a.b".to_owned(), "{}".to_owned()).unwrap().is_err());
    assert!(refused.is_some());

    let told = told.lock().unwrap();
    assert_eq!(told[0], "log: log line = 8192 bytes");
    assert_eq!(told[1], "log: log lines of a call = 1000");
    assert_eq!(told.iter().filter(|line| line.starts_with("config: ")).count(), 2);
    assert_eq!(told[4], "emit-event: event payload = 65536 bytes");
    assert!(told[5..].iter().all(|line| line == "emit-event: events a second = 1000"), "{told:?}");
}
