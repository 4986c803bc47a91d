//! Versions over HTTP and from the command line: deployed, tried, promoted, taken back; also on a disk that is
//! full, and by a host that is killed.

mod disk;
mod kill;
mod operator;

use std::{
    path::{Path, PathBuf},
    process::Output,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    chameleon::Chameleon,
    harness::{Host, command, run, stdout},
};

/// A host without plugins, and an operator who has its token.
struct Operator {
    host: Host,
    token: PathBuf,
    work: TempDir,
}

impl Operator {
    fn new() -> Self {
        let work = TempDir::new().unwrap();
        Self::start(work.path().join("data"), work)
    }

    /// With its data there, which is not made by this.
    fn start(data: PathBuf, work: TempDir) -> Self {
        let (plugins, token) = (work.path().join("plugins"), work.path().join("token"));
        std::fs::create_dir_all(&plugins).unwrap();
        std::fs::write(&token, "0123456789abcdef0123").unwrap();
        let host =
            Host::serve_from(&plugins, &data, &["--admin-token-file", token.to_str().unwrap()]);
        Self { host, token, work }
    }

    /// Runs a command of an operator's.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = command();
        command.args(arguments).args(["--server", &self.host.base, "--operator", "ann"]);
        command.arg("--admin-token-file").arg(&self.token).output().unwrap()
    }

    /// What a command says that succeeds.
    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        stdout(&output)
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<_> = arguments.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.says(&arguments)).unwrap()
    }

    /// The code with which a command fails.
    #[track_caller]
    fn refused(&self, arguments: &[&str]) -> String {
        let arguments: Vec<_> = arguments.iter().copied().chain(["--json"]).collect();
        let output = self.run(&arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told: Value = serde_json::from_slice(&output.stderr).unwrap();
        told["error"]["code"].as_str().unwrap().to_owned()
    }

    /// The folder of a version.
    fn folder(&self, guest: &Chameleon, name: &str) -> String {
        folder(self.work.path(), guest, name)
    }

    fn serves(&self) -> String {
        self.host.process("chameleon", &[], "hello").1
    }
}

fn folder(work: &Path, guest: &Chameleon, name: &str) -> String {
    guest.write_to(&work.join(name)).to_str().unwrap().to_owned()
}

/// Waits until it is so; what happens by itself has half a minute.
#[track_caller]
fn within_half_a_minute(what: &str, is_so: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < Duration::from_secs(180), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
