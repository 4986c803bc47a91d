//! What host and helper say to each other, over the helper's standard input and output.
//!
//! ```text
//! argument   Order, as JSON
//! helper     "compile" 1, id of its engine (32)          its limits are set
//! host       length (8), component                       the pipe stays open: its end is the host's
//! helper     0, length (8), code    or    1, length (8), why the engine refuses
//! ```
//!
//! Numbers are little-endian.

use std::io::{self, Read, Write};

use plugin_contract::Lane;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{files::invalid, key::EngineId};
use crate::EngineSettings;

/// Code of one component at most. About 8 times what a component may have.
pub(super) const CODE_BYTES_MAX: u64 = 512 << 20;

const GREETING: [u8; 8] = *b"compile\x01";
const CODE: u8 = 0;
const REFUSED: u8 = 1;
/// Longest reason for a refusal.
const REASON_BYTES_MAX: usize = 16 << 10;

/// What a helper is started with.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) engine: EngineSettings,
    /// For the stream lane, else the unary one.
    stream: bool,
    pub(super) memory_bytes_max: u64,
    /// Of all its threads together.
    pub(super) cpu_seconds_max: u64,
}

impl Order {
    pub(super) fn new(
        mut engine: EngineSettings,
        lane: Lane,
        memory_bytes_max: u64,
        cpu_seconds_max: u64,
    ) -> Self {
        // Code is the same with and without, and a path need not be text.
        engine.coredumps = None;
        Self { engine, stream: lane == Lane::Stream, memory_bytes_max, cpu_seconds_max }
    }

    pub(super) fn lane(&self) -> Lane {
        if self.stream { Lane::Stream } else { Lane::Unary }
    }
}

/// What a helper has made.
pub(super) struct Compiled {
    /// The engine it is for.
    pub(super) engine: EngineId,
    pub(super) code: Vec<u8>,
}

/// What a helper says in the end: code, or the engine's reason.
type Answer = Result<Vec<u8>, String>;

/// The host's side of it.
pub(super) async fn tell(
    helper: &mut (impl AsyncWrite + Unpin),
    component: &[u8],
) -> io::Result<()> {
    helper.write_all(&(component.len() as u64).to_le_bytes()).await?;
    helper.write_all(component).await?;
    helper.flush().await
}

/// The engine of a helper that is ready.
pub(super) async fn hear_greeting(helper: &mut (impl AsyncRead + Unpin)) -> io::Result<EngineId> {
    let mut greeting = [0; GREETING.len()];
    helper.read_exact(&mut greeting).await?;
    if greeting != GREETING {
        return Err(invalid("it does not answer as a compiler does"));
    }
    let mut id = [0; 32];
    helper.read_exact(&mut id).await?;
    Ok(EngineId(id))
}

pub(super) async fn hear_answer(helper: &mut (impl AsyncRead + Unpin)) -> io::Result<Answer> {
    let kind = helper.read_u8().await?;
    let bytes = helper.read_u64_le().await?;
    let bytes_max = match kind {
        CODE => CODE_BYTES_MAX,
        REFUSED => REASON_BYTES_MAX as u64,
        _ => return Err(invalid("it does not answer as a compiler does")),
    };
    if bytes > bytes_max {
        return Err(invalid("its answer is too large"));
    }
    let mut answer = vec![0; bytes as usize];
    helper.read_exact(&mut answer).await?;
    Ok(match kind {
        CODE => Ok(answer),
        _ => Err(String::from_utf8_lossy(&answer).into_owned()),
    })
}

/// The helper's side of it.
pub(super) fn greet(host: &mut impl Write, engine: EngineId) -> io::Result<()> {
    host.write_all(&GREETING)?;
    host.write_all(&engine.0)?;
    host.flush()
}

pub(super) fn hear_component(host: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    host.read_exact(&mut length)?;
    let mut component = Vec::new();
    let length = u64::from_le_bytes(length);
    if host.take(length).read_to_end(&mut component)? as u64 == length {
        Ok(component)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

pub(super) fn answer(host: &mut impl Write, answer: Result<&[u8], &str>) -> io::Result<()> {
    let (kind, bytes) = match answer {
        Ok(code) => (CODE, code),
        Err(reason) => {
            let cut = reason.floor_char_boundary(REASON_BYTES_MAX);
            (REFUSED, &reason.as_bytes()[..cut])
        }
    };
    host.write_all(&[kind])?;
    host.write_all(&(bytes.len() as u64).to_le_bytes())?;
    host.write_all(bytes)?;
    host.flush()
}

#[cfg(test)]
mod tests {
    use super::{
        CODE_BYTES_MAX, EngineId, REASON_BYTES_MAX, answer, greet, hear_answer, hear_component,
        hear_greeting, tell,
    };

    #[tokio::test]
    async fn each_side_hears_what_the_other_says() {
        let mut said = Vec::new();
        greet(&mut said, EngineId([7; 32])).unwrap();
        assert_eq!(hear_greeting(&mut said.as_slice()).await.unwrap(), EngineId([7; 32]));

        let mut said = Vec::new();
        tell(&mut said, b"component").await.unwrap();
        assert_eq!(hear_component(&mut said.as_slice()).unwrap(), b"component");
        assert!(hear_component(&mut &said[..said.len() - 1]).is_err());

        let long = "x".repeat(REASON_BYTES_MAX);
        for (ours, theirs) in [
            (Ok(b"code".as_slice()), Ok(b"code".to_vec())),
            (Ok(b"".as_slice()), Ok(Vec::new())),
            (Err("no"), Err("no".to_owned())),
            (Err(&*format!("{long}y")), Err(long)),
        ] {
            let mut said = Vec::new();
            answer(&mut said, ours).unwrap();
            assert_eq!(hear_answer(&mut said.as_slice()).await.unwrap(), theirs);
            assert!(hear_answer(&mut &said[..said.len() - 1]).await.is_err());
        }
    }

    #[tokio::test]
    async fn nonsense_is_not_taken_for_an_answer() {
        assert!(hear_greeting(&mut [0; 40].as_slice()).await.is_err());
        let answer = |kind: u8, bytes: u64| [&[kind][..], &bytes.to_le_bytes()].concat();
        for nonsense in [answer(0, CODE_BYTES_MAX + 1), answer(1, 1 << 20), answer(2, 0)] {
            let error = hear_answer(&mut nonsense.as_slice()).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        }
    }
}
