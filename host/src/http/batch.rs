//! `POST /v1/plugins/NAME/batch`: many inputs in one request, answered line by line.

use std::convert::Infallible;

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
use serde::{Deserialize, Serialize};

use super::{
    App, Problem, body,
    plugins::{Name, parse},
    request,
};
use crate::HostError;

/// Most inputs in one request.
const ITEMS_MAX: usize = 1_000;

/// Most calls of one request under way at one time; a plugin may have fewer instances.
const CONCURRENCY_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Incoming {
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
    #[serde(default)]
    options: std::collections::BTreeMap<String, String>,
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
    let incoming = read(&bytes)?;
    drop(bytes);
    let batch = Batch {
        concurrency: incoming.concurrency.unwrap_or(4).clamp(1, CONCURRENCY_MAX),
        ordered: incoming.ordered,
    };
    let (request_id, user_id) = (request::current(), request::user_id(&headers));
    let calls = incoming.items.into_iter().map(move |item| {
        let mut call = call(item)?;
        call.request_id = request_id.clone();
        call.user_id = user_id.clone();
        Ok(call)
    });
    // A client that goes away drops the stream, and with it all that is left to do.
    let (items, _control) = app.host.batch(&plugin, calls.collect::<Result<_, Problem>>()?, batch);
    let lines = items.map(move |item| {
        // The inputs' share of the memory is held until the last is answered.
        let _ = &share;
        Ok::<_, Infallible>(line(item))
    });
    let media_type = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, media_type)], Body::from_stream(lines)).into_response())
}

fn invalid(problem: &dyn std::fmt::Display) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "http/invalid-json").detailed(problem)
}

fn read(bytes: &[u8]) -> Result<Incoming, Problem> {
    let incoming: Incoming = serde_json::from_slice(bytes).map_err(|error| invalid(&error))?;
    if incoming.items.len() > ITEMS_MAX {
        return Err(invalid(&format_args!("at most {ITEMS_MAX} items")));
    }
    Ok(incoming)
}

fn call(item: IncomingItem) -> Result<ProcessCall, Problem> {
    let (input, default) = match item.input {
        Content::Text(text) => (text.into_bytes(), "text/plain"),
        Content::Base64(text) => {
            let bytes = BASE64_STANDARD.decode(text).map_err(|error| invalid(&error))?;
            (bytes, "application/octet-stream")
        }
    };
    let mut call = ProcessCall::new(input, item.content_type.as_deref().unwrap_or(default));
    call.options = item.options.into_iter().collect();
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
