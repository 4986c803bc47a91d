//! Running a plugin that works on streams: nothing is held but what is on its way.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    time::Duration,
};

use bytes::BytesMut;
use futures::{StreamExt, stream};
use host::{HostError, PluginHost, PluginRef, StreamCall, StreamInput, StreamInputError};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::super::CliError;

/// How much is read at a time, in bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// Pipes a file through the plugin to another; `-` are the standard streams. Returns the media type of what
/// came out, and how many bytes it was.
pub(super) async fn pipe(
    host: &PluginHost,
    plugin: &PluginRef,
    mut call: StreamCall,
    (input, output): (&Path, &Path),
) -> Result<(String, u64), CliError> {
    // Whoever types the input, or pages through the output, takes their time.
    call.patience = Duration::MAX;
    let from = open(input).await.map_err(|error| CliError::file(input, &error))?;
    let reply = host.stream(plugin, call, from).await?;
    let failed = |error: io::Error| CliError::file(output, &error);
    let mut to = create(output).map_err(failed)?;
    let (mut body, mut passed) = (reply.body, 0);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(HostError::from)?;
        to.write_all(&chunk).map_err(failed)?;
        passed += chunk.len() as u64;
    }
    to.flush().map_err(failed)?;
    Ok((reply.content_type, passed))
}

async fn open(path: &Path) -> io::Result<StreamInput> {
    if path == Path::new("-") {
        return Ok(chunks(tokio::io::stdin()));
    }
    Ok(chunks(tokio::fs::File::open(path).await?))
}

fn chunks(from: impl AsyncRead + Unpin + Send + 'static) -> StreamInput {
    Box::pin(stream::unfold(from, async |mut from| {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        match from.read_buf(&mut chunk).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(chunk.freeze()), from)),
            Err(error) => Some((Err(StreamInputError::from(error)), from)),
        }
    }))
}

fn create(path: &Path) -> io::Result<Box<dyn Write>> {
    if path != Path::new("-") {
        return Ok(Box::new(std::fs::File::create(path)?));
    }
    let out = io::stdout();
    if out.is_terminal() {
        let problem = "what comes out may garble the terminal: use `--output FILE`, or a pipe";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    Ok(Box::new(out))
}
