//! `POST /v1/plugins/NAME/batch`: many inputs in one request, answered line by line.

use std::{convert::Infallible, fmt, pin::pin};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::StreamExt;
use host_core::{Batch, BatchItem, Operation, ProcessCall, ProcessReply};
use plugin_contract::Explain;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use tokio::sync::mpsc;

use super::{
    App, Problem, body,
    plugins::{Name, parse},
    request,
};
use crate::HostError;

/// Most inputs in one request.
const ITEMS_MAX: usize = 1_000;

/// Most options of one input.
const OPTIONS_MAX: usize = 64;

/// Most calls of one request under way at one time, or answered and not yet sent; a plugin may have fewer
/// instances.
const CONCURRENCY_MAX: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Incoming {
    #[serde(deserialize_with = "items")]
    items: Vec<IncomingItem>,
    #[serde(default)]
    concurrency: Option<usize>,
    #[serde(default)]
    ordered: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct IncomingItem {
    #[serde(flatten)]
    input: Content,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default, deserialize_with = "options")]
    options: Vec<(String, String)>,
}

/// Stops reading at the first item too many: it is not to be counted after it has taken memory.
fn items<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IncomingItem>, D::Error> {
    struct Items;
    impl<'de> Visitor<'de> for Items {
        type Value = Vec<IncomingItem>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {ITEMS_MAX} items")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = seq.next_element()? {
                if items.len() == ITEMS_MAX {
                    return Err(de::Error::invalid_length(ITEMS_MAX + 1, &self));
                }
                items.push(item);
            }
            Ok(items)
        }
    }
    deserializer.deserialize_seq(Items)
}

/// The same for the options of one item.
fn options<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
    struct Options;
    impl<'de> Visitor<'de> for Options {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {OPTIONS_MAX} options, names and values as strings")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut options = Vec::new();
            while let Some(option) = map.next_entry()? {
                if options.len() == OPTIONS_MAX {
                    return Err(de::Error::invalid_length(OPTIONS_MAX + 1, &self));
                }
                options.push(option);
            }
            Ok(options)
        }
    }
    deserializer.deserialize_map(Options)
}

/// Bytes as JSON can hold them.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Content {
    Text(String),
    Base64(String),
}

/// One line of the answer.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Line {
    index: usize,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(untagged, rename_all = "kebab-case")]
enum Outcome {
    Done {
        #[serde(flatten)]
        output: Content,
        #[serde(rename = "content-type")]
        content_type: String,
        #[serde(rename = "items-processed")]
        items_processed: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
        #[serde(rename = "degraded", skip_serializing_if = "Option::is_none")]
        degraded: Option<String>,
    },
    Failed {
        code: &'static str,
        message: String,
        remedy: &'static str,
    },
}

pub(super) async fn batch(
    State(app): State<App>,
    plugin: Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let plugin = parse(plugin)?;
    if let Err(error) = app.host.check_offers(&plugin, Operation::Process) {
        body::discard(&app, body).await;
        return Err(error.into());
    }
    let (bytes, share) = body::collect(&app, body).await?;
    // Millions of bytes of JSON take a while.
    let parsed = tokio::task::spawn_blocking(move || read(&bytes));
    let internal = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "http/internal");
    let incoming = parsed.await.map_err(internal)?.map_err(|problem| invalid(&problem))?;
    let batch = Batch {
        concurrency: incoming.concurrency.unwrap_or(4).clamp(1, CONCURRENCY_MAX),
        ordered: incoming.ordered,
    };
    let caller = request::caller(&headers);
    let calls =
        incoming.calls.into_iter().map(|call| ProcessCall { caller: caller.clone(), ..call });
    let (items, _control) = app.host.batch(&plugin, calls.collect(), batch);
    let (lines, sent) = mpsc::channel(1);
    let patience = app.settings.body_timeout;
    tokio::spawn(async move {
        // The inputs' share of the memory is held until the last is answered.
        let _share = share;
        let mut items = pin!(items);
        while let Some(item) = items.next().await {
            // A client that has gone away, or does not read, is given up, with all that is left to do.
            let sending = tokio::time::timeout(patience, lines.send(line(item)));
            if !matches!(sending.await, Ok(Ok(()))) {
                return;
            }
        }
    });
    let lines = futures::stream::unfold(sent, async |mut sent| {
        let line = sent.recv().await?;
        Some((Ok::<_, Infallible>(line), sent))
    });
    let media_type = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, media_type)], Body::from_stream(lines)).into_response())
}

/// A batch, understood.
struct Parsed {
    calls: Vec<ProcessCall>,
    concurrency: Option<usize>,
    ordered: bool,
}

fn invalid(problem: &dyn std::fmt::Display) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "http/invalid-json").detailed(problem)
}

fn read(bytes: &[u8]) -> Result<Parsed, String> {
    let incoming: Incoming = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let calls = incoming.items.into_iter().map(call).collect::<Result<_, _>>()?;
    Ok(Parsed { calls, concurrency: incoming.concurrency, ordered: incoming.ordered })
}

fn call(item: IncomingItem) -> Result<ProcessCall, String> {
    let (input, default) = match item.input {
        Content::Text(text) => (text.into_bytes(), "text/plain"),
        Content::Base64(text) => {
            let bytes = BASE64_STANDARD.decode(text).map_err(|error| error.to_string())?;
            (bytes, "application/octet-stream")
        }
    };
    let mut call = ProcessCall::new(input, item.content_type.as_deref().unwrap_or(default));
    call.options = item.options;
    Ok(call)
}

fn line(item: BatchItem<Result<ProcessReply, HostError>>) -> Bytes {
    let outcome = match item.outcome {
        Some(Ok(reply)) => Outcome::Done {
            output: match String::from_utf8(reply.output) {
                Ok(text) => Content::Text(text),
                Err(error) => Content::Base64(BASE64_STANDARD.encode(error.as_bytes())),
            },
            content_type: reply.content_type,
            items_processed: reply.items_processed,
            warning: reply.warning,
            degraded: reply.degraded.map(|degraded| degraded.to_string()),
        },
        Some(Err(error)) => Outcome::Failed {
            code: error.code(),
            message: error.public_message(),
            remedy: error.remedy(),
        },
        // Nobody has the control of this batch.
        None => Outcome::Failed {
            code: "core/cancelled",
            message: "the call was cancelled".to_owned(),
            remedy: "nothing needs to be done",
        },
    };
    // Strings and numbers always have a JSON form.
    let mut line = serde_json::to_vec(&Line { index: item.index, outcome }).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
