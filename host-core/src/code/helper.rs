//! The host's side of a compile in a process of its own.

use std::{convert::Infallible, io, process::ExitStatus, process::Stdio, time::Duration};

use plugin_contract::escape;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::timeout,
};

use super::{
    CompilerSettings, HelperProgram,
    failure::Failure,
    key::EngineId,
    load::NativeCode,
    wire::{self, Compiled, Order},
};

/// How much of what a helper complains of is kept, in bytes.
const COMPLAINT_BYTES_MAX: usize = 4 << 10;
/// A process that was killed, or closed its output, is gone after this long, unless the system is stuck.
const END_MAX: Duration = Duration::from_secs(2);

/// Compiles `component` in a process, which is gone when this returns; dropping the future kills it.
pub(super) async fn compile(
    helper: &HelperProgram,
    bounds: &CompilerSettings,
    order: &Order,
    wanted: EngineId,
    component: &[u8],
) -> Result<NativeCode, Failure> {
    let mut child = spawn(helper, bounds, order).map_err(Failure::unavailable)?;
    let answered = timeout(bounds.timeout, converse(&mut child, component)).await;
    // Also when it has answered: there is nothing more that it could do for us.
    let _ = timeout(END_MAX, child.kill()).await;
    let compiled = answered.unwrap_or(Err(Failure::Deadline(bounds.timeout)))?;
    let other = || io::Error::other("it is of another release, or does not know the settings");
    NativeCode::compiled(compiled, wanted).ok_or_else(|| Failure::unavailable(other()))
}

fn spawn(helper: &HelperProgram, bounds: &CompilerSettings, order: &Order) -> io::Result<Child> {
    Command::new(&helper.program)
        .args(&helper.args)
        .arg(serde_json::to_string(order)?)
        // Secrets of the host are none of a compiler's business.
        .env_clear()
        .env("RAYON_NUM_THREADS", bounds.threads.max(1).to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

async fn converse(child: &mut Child, component: &[u8]) -> Result<Compiled, Failure> {
    let (Some(mut stdin), Some(mut stdout), Some(mut stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Failure::lost());
    };
    let (mut engine, mut complaint) = (None, Vec::new());
    let hear = async {
        let greeted = wire::hear_greeting(&mut stdout).await?;
        engine = Some(greeted);
        Ok((greeted, wire::hear_answer(&mut stdout).await?))
    };
    let aside = async {
        // Who stops to listen has answered, or is dead: that is heard.
        let tell = wire::tell(&mut stdin, component);
        let _ = futures::join!(tell, note(&mut stderr, &mut complaint));
        std::future::pending::<Infallible>().await
    };
    let heard: io::Result<_> = tokio::select! {
        heard = hear => heard,
        never = aside => match never {},
    };
    match heard {
        Ok((engine, Ok(code))) => Ok(Compiled { engine, code }),
        Ok((_, Err(reason))) => Err(Failure::refused(&reason)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            let _ = timeout(END_MAX, note(&mut stderr, &mut complaint)).await;
            let status = timeout(END_MAX, child.wait()).await;
            let how = obituary(status.ok().and_then(Result::ok), &complaint);
            // Once it is ready, there is only the component that it can die of.
            Err(match engine {
                Some(_) => Failure::Exhausted(how),
                None => Failure::unavailable(io::Error::other(how)),
            })
        }
        Err(error) => Err(Failure::unavailable(error)),
    }
}

/// Reads to the end, and keeps the beginning.
async fn note(from: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>) {
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let room = COMPLAINT_BYTES_MAX - into.len();
        into.extend_from_slice(&buffer[..read.min(room)]);
    }
}

/// How it ended, and what it said.
fn obituary(status: Option<ExitStatus>, complaint: &[u8]) -> String {
    let mut how = match status {
        Some(status) => format!("it ended with {status}"),
        None => "it closed its output".to_owned(),
    };
    let complaint = String::from_utf8_lossy(complaint);
    if !complaint.trim().is_empty() {
        how = format!("{how}: {}", escape(complaint.trim(), COMPLAINT_BYTES_MAX));
    }
    how
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
