//! How much code is kept, and what compiling may take.

use std::{ffi::OsString, path::PathBuf, time::Duration};

/// Where compiled code is kept, and who makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CodeSettings {
    /// The cache on disk. Default: none.
    pub cache: Option<CacheSettings>,
    /// Bytes of code that are kept in memory even if nothing uses them, so that a reload or a rollback
    /// costs nothing. Code that is in use stays in any case. Default 256 MiB.
    pub memory_bytes_max: u64,
    /// Who compiles, and within which bounds.
    pub compiler: CompilerSettings,
}

impl Default for CodeSettings {
    fn default() -> Self {
        Self { cache: None, memory_bytes_max: 256 << 20, compiler: CompilerSettings::default() }
    }
}

/// Compiled code on disk. Several hosts may use one directory at one time, if one user runs them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheSettings {
    /// Made if it is not there. It is to be the host's alone: who can write here can only slow it down,
    /// but who can read `key` here can have it run any code.
    pub directory: PathBuf,
    /// Bytes of all files; what was not used for longest goes first. Default 1 GiB.
    pub bytes_max: u64,
}

impl CacheSettings {
    /// A cache in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), bytes_max: 1 << 30 }
    }
}

/// Who compiles, and within which bounds. Time and memory are bounded only where there is a helper: the
/// engine itself cannot be interrupted.
///
/// | field              | unit    | at the bound                                           |
/// |--------------------|---------|--------------------------------------------------------|
/// | `concurrency`      |         | others wait                                            |
/// | `waiting_max`      |         | one more is refused: `core/compiler-busy`              |
/// | `timeout`          | wall    | the helper is killed: `core/compile-deadline`          |
/// | `memory_bytes_max` | bytes   | the helper dies: `core/compile-exhausted` (Linux only) |
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompilerSettings {
    /// The program that compiles; the host's tokio runtime must have I/O and time enabled for it. Default:
    /// none, and then a thread of the host compiles: without bounds on time and memory, to its end even if
    /// nobody waits for it any more, and a component that overflows the compiler's stack ends the host.
    pub helper: Option<HelperProgram>,
    /// Components compiled at one time. Default 1: one compile uses several cores.
    pub concurrency: usize,
    /// Cores that one helper uses. Default: all, but 8 at most; it gives way to whoever else wants them.
    pub threads: usize,
    /// Wall time of one compile. Default 60 s.
    pub timeout: Duration,
    /// Memory of one helper, in bytes. Default 2 GiB.
    pub memory_bytes_max: u64,
    /// Components that wait for their turn; one more is refused. Default 1,024. They wait without their
    /// bytes.
    pub waiting_max: usize,
}

impl Default for CompilerSettings {
    fn default() -> Self {
        Self {
            helper: None,
            concurrency: 1,
            threads: std::thread::available_parallelism().map_or(1, usize::from).min(8),
            timeout: Duration::from_secs(60),
            memory_bytes_max: 2 << 30,
            waiting_max: 1_024,
        }
    }
}

/// A program that calls [`compile_helper`](crate::compile_helper) with its last argument, and does nothing
/// before that. It gets no environment but the variable that bounds its threads.
///
/// It keeps a component that takes too much from taking it of the host. It is no sandbox: a component that
/// took over the compiler would have the host run its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelperProgram {
    /// The file.
    pub program: PathBuf,
    /// What comes before the argument that is added.
    pub args: Vec<OsString>,
}

impl HelperProgram {
    /// The program that is running, with other arguments. On Linux that very file, even if an upgrade has
    /// put another one in its place meanwhile.
    ///
    /// # Errors
    /// If the system does not say which program is running.
    pub fn this_program(args: impl IntoIterator<Item = OsString>) -> std::io::Result<Self> {
        let program = match cfg!(target_os = "linux") {
            true => PathBuf::from("/proc/self/exe"),
            false => std::env::current_exe()?,
        };
        Ok(Self { program, args: args.into_iter().collect() })
    }
}
