//! Reading and writing files as streams.

use std::{io, mem, os::unix::fs::FileExt, sync::Arc};

use bytes::{Bytes, BytesMut};
use wasmtime_wasi::{
    p2::{
        InputStream, OutputStream, Pollable, StreamError, StreamResult,
        bindings::filesystem::types::ErrorCode,
    },
    runtime::{AbortOnDropJoinHandle, spawn},
};

use super::{Inner, PluginFs, node::OpenFile, sys::Outcome};

/// Most bytes that one read or write carries, whatever a guest asks for.
pub(super) const CHUNK_BYTES_MAX: usize = 64 << 10;

/// Bytes that are read before a guest asks for any.
const AHEAD_BYTES: usize = 4 << 10;

/// An error of a stream, for `filesystem-error-code` to find again.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{0:?}")]
pub(super) struct StreamFailed(pub(super) ErrorCode);

fn failed(code: ErrorCode) -> StreamError {
    StreamError::LastOperationFailed(wasmtime::Error::new(StreamFailed(code)))
}

/// What a stream is about.
#[derive(Clone)]
struct Open {
    fs: PluginFs,
    file: Arc<OpenFile>,
}

impl Inner {
    /// Up to `len` bytes at `offset`; none at the end.
    pub(super) fn read(&self, file: &OpenFile, offset: u64, len: usize) -> Outcome<Bytes> {
        file.must_read()?;
        let mut bytes = BytesMut::zeroed(len.min(CHUNK_BYTES_MAX));
        loop {
            match file.file.read_at(&mut bytes, offset) {
                Ok(read) => {
                    bytes.truncate(read);
                    // A buffer that waits for its reader holds what is in it, and not what might have been.
                    let is_full = read > len.min(CHUNK_BYTES_MAX) / 2;
                    return Ok(if is_full {
                        bytes.freeze()
                    } else {
                        Bytes::copy_from_slice(&bytes)
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(super::sys::code(error)),
            }
        }
    }

    /// Writes all of `bytes` at `offset`, or at the end, within the quota; where they ended.
    pub(super) fn write(&self, file: &OpenFile, offset: Option<u64>, bytes: &[u8]) -> Outcome<u64> {
        file.must_write()?;
        let root = file.mount.root()?;
        let done = root.tree.count(file.mount.room).write(&file.file, bytes, offset);
        done.map_err(|error| self.not_written("write", file, error))
    }
}

/// A file, read from some place on. Keeps it open.
pub(super) struct Reader {
    open: Open,
    position: u64,
    state: Reading,
}

enum Reading {
    Idle,
    Working(AbortOnDropJoinHandle<Outcome<Bytes>>),
    Ready(Bytes),
    Failed(ErrorCode),
    Ended,
}

impl Reader {
    pub(super) fn new(fs: &PluginFs, file: &Arc<OpenFile>, position: u64) -> Self {
        let open = Open { fs: fs.clone(), file: file.clone() };
        Self { open, position, state: Reading::Idle }
    }

    fn begin(&mut self, len: usize) {
        let (Open { fs, file }, position) = (self.open.clone(), self.position);
        let work = async move { fs.run(move |inner| inner.read(&file, position, len)).await };
        self.state = Reading::Working(spawn(work));
    }

    async fn wait(&mut self) {
        if let Reading::Working(task) = &mut self.state {
            self.state = match (&mut **task).await.unwrap_or(Err(ErrorCode::Io)) {
                Ok(bytes) if bytes.is_empty() => Reading::Ended,
                Ok(bytes) => Reading::Ready(bytes),
                Err(code) => Reading::Failed(code),
            };
        }
    }
}

#[async_trait::async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {
        if let Reading::Idle = self.state {
            // The guest has not said how much it wants.
            self.begin(AHEAD_BYTES);
        }
        self.wait().await;
    }
}

#[async_trait::async_trait]
impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        match &mut self.state {
            Reading::Idle if size > 0 => {
                self.begin(size);
                Ok(Bytes::new())
            }
            Reading::Idle | Reading::Working(_) => Ok(Bytes::new()),
            Reading::Ready(bytes) => {
                let taken = bytes.split_to(bytes.len().min(size));
                if bytes.is_empty() {
                    self.state = Reading::Idle;
                }
                self.position += taken.len() as u64;
                Ok(taken)
            }
            Reading::Failed(code) => {
                let code = *code;
                self.state = Reading::Ended;
                Err(failed(code))
            }
            Reading::Ended => Err(StreamError::Closed),
        }
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        if let Reading::Idle = self.state
            && size > 0
        {
            self.begin(size);
        }
        self.wait().await;
        self.read(size)
    }

    async fn cancel(&mut self) {
        // What is being read is read; nobody is told of it.
        self.wait().await;
        self.state = Reading::Ended;
    }
}

/// A file, written from some place on, or at its end. Keeps it open.
pub(super) struct Writer {
    open: Open,
    /// `None`: always at the end.
    position: Option<u64>,
    state: Writing,
}

enum Writing {
    Idle,
    Working(AbortOnDropJoinHandle<Outcome<u64>>),
    Failed(ErrorCode),
    Closed,
}

impl Writer {
    pub(super) fn new(fs: &PluginFs, file: &Arc<OpenFile>, position: Option<u64>) -> Self {
        let open = Open { fs: fs.clone(), file: file.clone() };
        Self { open, position, state: Writing::Idle }
    }

    async fn wait(&mut self) {
        if let Writing::Working(task) = &mut self.state {
            self.state = match (&mut **task).await.unwrap_or(Err(ErrorCode::Io)) {
                Ok(end) => {
                    self.position = self.position.map(|_| end);
                    Writing::Idle
                }
                Err(code) => Writing::Failed(code),
            };
        }
    }

    /// Says what went wrong, once.
    fn check(&mut self) -> StreamResult<()> {
        match self.state {
            Writing::Idle | Writing::Working(_) => Ok(()),
            Writing::Closed => Err(StreamError::Closed),
            Writing::Failed(code) => {
                self.state = Writing::Closed;
                Err(failed(code))
            }
        }
    }
}

#[async_trait::async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        self.wait().await;
    }
}

#[async_trait::async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.check()?;
        if matches!(self.state, Writing::Working(_)) || bytes.len() > CHUNK_BYTES_MAX {
            return Err(StreamError::trap("written more than `check-write` allows"));
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let (Open { fs, file }, position) = (self.open.clone(), self.position);
        // Who drops the stream waits for it. What goes with the store and was not begun is given up: the
        // bytes of one store after the other would add up behind a slow disk.
        let work = async move { fs.run(move |inner| inner.write(&file, position, &bytes)).await };
        self.state = Writing::Working(spawn(work));
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.check()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.check()?;
        Ok(match self.state {
            Writing::Working(_) => 0,
            _ => CHUNK_BYTES_MAX,
        })
    }

    async fn cancel(&mut self) {
        self.wait().await;
        drop(mem::replace(&mut self.state, Writing::Closed));
    }
}
