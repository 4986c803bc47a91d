//! From a guest's sources to its core module.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, IsTerminal, Read},
    path::{Path, PathBuf},
    process::{ChildStderr, Command, Stdio},
    thread,
};

use anyhow::Context;
use serde::Deserialize;

use super::{
    error::BuildError,
    guests::{Guest, Guests},
    wrapper,
};
use crate::toolchain;

/// How guests are compiled.
///
/// Each guest is a cargo call of its own. One call for the whole workspace would unite the features
/// that guests ask of a shared crate, and a plugin's bytes, even its behaviour, would then depend on
/// its neighbours. The crate type is given on the command line, because a library that is an `rlib`
/// too (for its tests) is not link-time optimised.
pub(crate) struct Compiler {
    target: String,
    target_dir: PathBuf,
    root: PathBuf,
    flags: OsString,
}

impl Compiler {
    /// A compiler for guests of the repository at `root`.
    ///
    /// It has a target directory of its own: a plain `cargo build` in `plugins/` uses other flags, and
    /// the two would compile everything again in turns.
    ///
    /// # Errors
    /// If rustc cannot be asked where it lives.
    pub(crate) fn new(root: &Path, target: &str, guests: &Guests) -> anyhow::Result<Self> {
        Ok(Self {
            target: target.to_owned(),
            target_dir: root.join("plugins/target/packaged"),
            root: root.to_owned(),
            flags: encoded_flags(root, guests)?,
        })
    }

    /// Where this keeps its work.
    pub(crate) fn target_dir(&self) -> &Path {
        &self.target_dir
    }

    /// Compiles `guest`; `progress` hears what cargo says while it works.
    ///
    /// # Errors
    /// [`BuildError::LinkFailed`], [`BuildError::CompileFailed`] or [`BuildError::CargoFailed`].
    pub(crate) fn compile(
        &self,
        guest: &Guest,
        progress: &(dyn Fn(&str) + Sync),
    ) -> anyhow::Result<PathBuf> {
        let mut child = self.command(guest)?.spawn().context("cargo")?;
        let stdout = child.stdout.take().context("cargo has a standard output")?;
        let stderr = child.stderr.take().context("cargo has a standard error")?;

        let (said, heard) = thread::scope(|scope| {
            let said = scope.spawn(|| listen(stderr, progress));
            let mut heard = Heard::default();
            for line in BufReader::new(stdout).lines() {
                heard.take(&line?, &guest.name);
            }
            let said = said.join().unwrap_or_default();
            Ok::<_, std::io::Error>((said, heard))
        })
        .context("reading what cargo says")?;

        let status = child.wait().context("cargo")?;
        let name = guest.name.clone();
        match heard.core {
            Some(core) if status.success() => Ok(core),
            _ if !heard.errors.is_empty() => Err(classify(name, &heard.errors).into()),
            _ if status.success() => {
                let problem = "it is not a library of the type `cdylib`".to_owned();
                Err(BuildError::NotComponentisable { guest: name, problem }.into())
            }
            _ => Err(BuildError::CargoFailed { guest: name, output: said }.into()),
        }
    }

    fn command(&self, guest: &Guest) -> anyhow::Result<Command> {
        // Colours go where a person looks; logs and tests get plain text.
        let format = if std::io::stderr().is_terminal() {
            "--message-format=json-diagnostic-rendered-ansi"
        } else {
            "--message-format=json"
        };
        let mut command = toolchain::cargo_command();
        command
            .args(["rustc", "--release", "--lib", "--crate-type", "cdylib", format])
            .args(["--target", &self.target])
            .arg("--target-dir")
            .arg(&self.target_dir)
            .arg("--manifest-path")
            .arg(guest.dir.join("Cargo.toml"))
            .current_dir(&guest.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env("CARGO_ENCODED_RUSTFLAGS", &self.flags)
            .env(wrapper::ROOT, &self.root)
            .env(wrapper::INNER, env::var_os("RUSTC_WRAPPER").unwrap_or_default())
            .env("RUSTC_WRAPPER", env::current_exe().context("finding this program")?);
        // The bytes of a package are nobody's environment's business.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PROFILE_")
                || matches!(&*text, "RUSTFLAGS" | "CARGO_INCREMENTAL")
            {
                command.env_remove(&name);
            }
        }
        Ok(command)
    }
}

/// The flags of rustc, as `CARGO_ENCODED_RUSTFLAGS` wants them.
fn encoded_flags(root: &Path, guests: &Guests) -> anyhow::Result<OsString> {
    let sysroot = toolchain::rustc(root, &["--print", "sysroot"])?;
    let version = toolchain::rustc(root, &["-vV"])?;
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));

    // Panics carry the path of their source. Each place is renamed to what is the same everywhere;
    // of two names for one place, rustc takes the later.
    let mut places: Vec<(PathBuf, String)> = vec![(root.to_owned(), "/plugin-system".to_owned())];
    places.extend(root.canonicalize().ok().map(|root| (root, "/plugin-system".to_owned())));
    places.extend(guests.registries.iter().map(|dir| (dir.clone(), "/registry".to_owned())));
    let sources = Path::new(&sysroot).join("lib/rustlib/src/rust");
    places.push((sources, format!("/rustc/{}", commit.unwrap_or("unknown"))));

    // The linker would make a component of the module; packaging does, after optimising it.
    let mut flags = OsString::from("-Clink-arg=--skip-wit-component");
    for (place, name) in places {
        flags.push("\u{1f}--remap-path-prefix=");
        flags.push(place);
        flags.push("=");
        flags.push(name);
    }
    Ok(flags)
}

/// Hands cargo's lines on as they come; gives back the last of them.
fn listen(stderr: ChildStderr, progress: &(dyn Fn(&str) + Sync)) -> String {
    let mut lines = Vec::new();
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    while reader.by_ref().read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line).trim().to_owned();
        if !text.is_empty() {
            progress(&text);
            lines.push(text);
        }
        line.clear();
    }
    let last = lines.len().saturating_sub(20);
    lines[last..].join("\n")
}

/// What cargo's JSON told.
#[derive(Default)]
struct Heard {
    core: Option<PathBuf>,
    errors: Vec<Diagnostic>,
}

#[derive(Deserialize)]
#[serde(tag = "reason")]
enum Message {
    #[serde(rename = "compiler-artifact")]
    Artifact { target: Target, filenames: Vec<PathBuf> },
    #[serde(rename = "compiler-message")]
    Diagnostic { message: Diagnostic },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    message: String,
    #[serde(default)]
    rendered: Option<String>,
}

impl Heard {
    fn take(&mut self, line: &str, guest: &str) {
        match serde_json::from_str(line) {
            Ok(Message::Artifact { target, filenames })
                if target.name.replace('_', "-") == guest =>
            {
                let is_wasm = |file: &PathBuf| file.extension().is_some_and(|e| e == "wasm");
                self.core = filenames.into_iter().find(is_wasm).or(self.core.take());
            }
            Ok(Message::Diagnostic { message }) if message.level.starts_with("error") => {
                self.errors.push(message);
            }
            Ok(Message::Diagnostic { message }) if message.level == "warning" => {
                eprint!("{}", message.rendered.unwrap_or_default());
            }
            // Whatever else the program under the compiler printed.
            _ => {}
        }
    }
}

/// Tells what the linker refused from what the compiler refused.
fn classify(guest: String, errors: &[Diagnostic]) -> BuildError {
    let rendered = |error: &Diagnostic| {
        error.rendered.clone().unwrap_or_else(|| format!("{}\n", error.message))
    };
    match errors.iter().find(|error| error.message.starts_with("linking with")) {
        Some(link) => {
            let problem = match undefined_symbols(&rendered(link)) {
                symbols if symbols.is_empty() => rendered(link),
                symbols => undefined(&symbols),
            };
            BuildError::LinkFailed { guest, problem }
        }
        None => {
            let output: String = errors.iter().map(rendered).collect();
            BuildError::CompileFailed { guest, output: output.trim_end().to_owned() }
        }
    }
}

/// "nobody defines `a`, `b`".
pub(super) fn undefined(symbols: &[String]) -> String {
    format!("nobody defines `{}`", symbols.join("`, `"))
}

fn undefined_symbols(linker_output: &str) -> Vec<String> {
    let mut symbols = Vec::new();
    for line in linker_output.lines() {
        let Some((_, symbol)) = line.split_once("undefined symbol: ") else { continue };
        let symbol = symbol.trim().to_owned();
        if !symbols.contains(&symbol) {
            symbols.push(symbol);
        }
    }
    symbols
}

#[cfg(test)]
mod tests {
    use plugin_contract::Explain;

    use super::{Diagnostic, Heard, classify};

    fn error(message: &str, rendered: &str) -> Diagnostic {
        Diagnostic {
            level: "error".to_owned(),
            message: message.to_owned(),
            rendered: Some(rendered.to_owned()),
        }
    }

    #[test]
    fn the_linkers_undefined_symbols_are_named_once() {
        let output = "rust-lld: error: a.o: undefined symbol: png_init\n\
                      >>> referenced by a.o\n\
                      rust-lld: error: b.o: undefined symbol: png_init\n\
                      rust-lld: error: b.o: undefined symbol: png_free\n";
        let error = error("linking with `rust-lld` failed: exit status: 1", output);
        let error = classify("g".to_owned(), &[error]);
        assert_eq!(error.code(), "build/link-failed");
        assert_eq!(error.to_string(), "`g` does not link: nobody defines `png_init`, `png_free`");
    }

    #[test]
    fn other_errors_are_shown_as_the_compiler_rendered_them() {
        let error = classify("g".to_owned(), &[error("mismatched types", "error[E0308]: ...\n")]);
        assert_eq!(error.code(), "build/compile-failed");
        assert_eq!(error.to_string(), "`g` does not compile\nerror[E0308]: ...");
    }

    #[test]
    fn the_core_module_is_the_wasm_file_of_the_guests_own_library() {
        let mut heard = Heard::default();
        let artifact = |name: &str, file: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"name":"{name}"}},"filenames":["{file}"]}}"#
            )
        };
        for line in [
            &artifact("serde", "/t/libserde.rlib"),
            &artifact("word_count", "/t/word_count.wasm"),
            &artifact("other", "/t/other.wasm"),
            "not JSON at all",
        ] {
            heard.take(line, "word-count");
        }
        assert_eq!(heard.core.unwrap().to_str(), Some("/t/word_count.wasm"));
    }
}
