//! One request through `wasi:http`, whose body is read to its end.

use std::io::Read;

use wasip2::http::{
    outgoing_handler,
    types::{Fields, IncomingBody, OutgoingRequest, Scheme},
};

/// Status and body, or the case of the error.
pub(crate) fn get(url: &str) -> Result<String, String> {
    let (scheme, rest) = match url.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        _ => return Err("neither http nor https".to_owned()),
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let request = OutgoingRequest::new(Fields::new());
    let set = request.set_scheme(Some(&scheme)).is_ok()
        && request.set_authority(Some(authority)).is_ok()
        && request.set_path_with_query(Some(path)).is_ok();
    if !set {
        return Err("not a request".to_owned());
    }
    let waiting = outgoing_handler::handle(request, None).map_err(|code| format!("{code:?}"))?;
    waiting.subscribe().block();
    let answer = match waiting.get() {
        Some(Ok(answer)) => answer.map_err(|code| format!("{code:?}"))?,
        _ => return Err("no answer after all".to_owned()),
    };
    let body = answer.consume().map_err(|()| "no body")?;
    let mut stream = body.stream().map_err(|()| "no stream")?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text).map_err(|error| error.to_string())?;
    drop(stream);
    drop(IncomingBody::finish(body));
    Ok(format!("{} {}", answer.status(), String::from_utf8_lossy(&text)))
}
