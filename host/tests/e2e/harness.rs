//! A host process, and what tests ask of it.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(crate) fn sample(name: &str) -> Vec<u8> {
    std::fs::read(root().join("samples").join(name)).unwrap()
}

/// Plugins as `cargo xtask build-plugins` leaves them: `plugins` or `test-plugins`.
pub(crate) fn built(set: &str) -> PathBuf {
    let directory = root().join("dist").join(set);
    assert!(
        directory.is_dir(),
        "{} is missing: run `cargo xtask build-plugins`",
        directory.display()
    );
    directory
}

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plugin-host"));
    // All hosts of the tests share what they compile, as those of a machine may.
    let code = Path::new(env!("CARGO_TARGET_TMPDIR")).join("code");
    command.env("PLUGIN_HOST_CODE", code);
    command.current_dir(root()).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A host that serves, ended when dropped.
pub(crate) struct Host {
    child: Child,
    pub(crate) base: String,
    pub(crate) announced: Value,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    client: Client,
    _data: Option<TempDir>,
}

impl Host {
    /// Serves a set of plugins, with a data directory of its own.
    pub(crate) fn serve(plugins: &Path) -> Self {
        Self::serve_with(plugins, &[])
    }

    pub(crate) fn serve_with(plugins: &Path, arguments: &[&str]) -> Self {
        let data = TempDir::new().unwrap();
        let mut host = Self::serve_from(plugins, data.path(), arguments);
        host._data = Some(data);
        host
    }

    pub(crate) fn serve_from(plugins: &Path, data: &Path, arguments: &[&str]) -> Self {
        Self::start(plugins, data, arguments, Stdio::piped())
    }

    /// Its log goes where it is told.
    pub(crate) fn serve_logging_to(plugins: &Path, data: &Path, log: Stdio) -> Self {
        Self::start(plugins, data, &[], log)
    }

    fn start(plugins: &Path, data: &Path, arguments: &[&str], stderr: Stdio) -> Self {
        let mut child = command()
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--plugins"])
            .arg(plugins)
            .arg("--data-dir")
            .arg(data)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let reader = child.stderr.take().map(|stderr| {
            let (mut stderr, lines) = (BufReader::new(stderr), log.clone());
            std::thread::spawn(move || {
                let mut line = String::new();
                while stderr.read_line(&mut line).is_ok_and(|read| read > 0) {
                    lines.lock().unwrap().push_str(&line);
                    line.clear();
                }
            })
        });
        let mut first = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut first).unwrap();
        let announced: Value = serde_json::from_str(&first)
            .unwrap_or_else(|_| panic!("not serving: {first}{}", log.lock().unwrap()));
        let base = announced["listening"].as_str().unwrap().to_owned();
        // The client wants to know whose cryptography to use, even where it uses none.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client =
            Client::builder().timeout(Duration::from_secs(300)).no_proxy().build().unwrap();
        Self { child, base, announced, log, reader, client, _data: None }
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.base)).send().unwrap()
    }

    /// With a token.
    pub(crate) fn get_as(&self, path: &str, token: &str) -> Response {
        self.client.get(format!("{}{path}", self.base)).bearer_auth(token).send().unwrap()
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.base))
    }

    /// Has a plugin work on text, with options; status and answer.
    pub(crate) fn process(
        &self,
        plugin: &str,
        options: &[(&str, &str)],
        input: &str,
    ) -> (u16, String) {
        let response = self
            .post(&format!("/v1/plugins/{plugin}/process"))
            .query(options)
            .header("content-type", "text/plain")
            .body(input.to_owned())
            .send()
            .unwrap();
        (response.status().as_u16(), response.text().unwrap())
    }

    /// The code in the problem document of an answer that must be a refusal.
    pub(crate) fn refusal(
        &self,
        plugin: &str,
        options: &[(&str, &str)],
        input: &str,
    ) -> (u16, String) {
        let (status, body) = self.process(plugin, options, input);
        (status, code(&body))
    }

    pub(crate) fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it ends by itself within a minute.
    pub(crate) fn ends(&mut self) -> bool {
        (0..600).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            self.child.try_wait().unwrap().is_some()
        })
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Stops the host in good order, and gives all that it logged. What it writes takes a moment to
    /// arrive, so there is no log to be had before the end.
    pub(crate) fn stop(mut self) -> String {
        self.terminate();
        assert!(self.wait().success());
        self.reader.take().unwrap().join().unwrap();
        self.log.lock().unwrap().clone()
    }

    /// Memory in use, in KiB.
    pub(crate) fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The code in a problem document.
pub(crate) fn code(body: &str) -> String {
    let problem: Value =
        serde_json::from_str(body).unwrap_or_else(|_| panic!("no problem: {body}"));
    for member in ["type", "title", "status", "detail", "remedy", "request-id"] {
        assert!(!problem[member].is_null(), "{member} is missing: {body}");
    }
    problem["code"].as_str().unwrap().to_owned()
}

pub(crate) fn bytes(mut response: Response) -> Vec<u8> {
    let mut bytes = Vec::new();
    response.read_to_end(&mut bytes).unwrap();
    bytes
}
