//! Bodies of any length, piped through plugins.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, Uri, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use host_core::{Operation, StreamCall, StreamInput, StreamInputError};
use http_body_util::BodyExt;
use plugin_contract::Explain;

use super::{
    App, Problem, body,
    plugins::{Name, media_type, parse},
    request,
};
use crate::HostError;

/// Pipes the body through the plugin to the answer, at the pace of whoever is slowest.
pub(super) async fn stream(
    State(app): State<App>,
    plugin: Name,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let content_type = request::content_type(&headers);
    let checked = (|| {
        let plugin = parse(plugin)?;
        let options = request::options(&uri)?;
        app.host.check(&plugin, Operation::Transform, &content_type)?;
        Ok((plugin, options))
    })();
    let (plugin, options) = match checked {
        Ok(checked) => checked,
        Err(problem) => {
            body::discard(&app, body).await;
            return Err(problem);
        }
    };
    let call = StreamCall {
        caller: request::caller(&headers),
        options,
        patience: app.settings.body_timeout,
        ..StreamCall::new(&content_type)
    };
    let reply = app.host.stream(&plugin, call, input(body)).await?;
    let name = plugin.name;
    let chunks = reply.body.map(move |chunk| {
        chunk.map_err(|error| {
            // The head is gone already: all that is left is to break off, and to say why in the log.
            let causes = crate::inspect::chain(&error).replace('\n', " ");
            tracing::warn!(plugin = %name, code = error.code(), "a stream broke off: {causes}");
            HostError::from(error)
        })
    });
    let media_type = media_type(&reply.content_type);
    Ok(([(header::CONTENT_TYPE, media_type)], Body::from_stream(chunks)).into_response())
}

/// The data of a body; trailers are none.
fn input(body: Body) -> StreamInput {
    Box::pin(stream::unfold(body, async |mut body| {
        loop {
            return match body.frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => Some((Ok(data), body)),
                    Err(_) => continue,
                },
                Err(error) => {
                    let error: StreamInputError = Box::new(error);
                    Some((Err::<Bytes, _>(error), body))
                }
            };
        }
    }))
}
