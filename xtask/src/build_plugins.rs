//! `cargo xtask build-plugins`: from the sources in `plugins/` to the packages in `dist/`.
//!
//! For each guest: compile to a core module ([`compile`]), optimise it where `wasm-opt` is installed
//! ([`optimise`]), make a component of it, check that against the production feature set and its
//! world, and embed the manifest ([`package`]); then write what changed ([`stamp`]), and sign it with a
//! key of this clone ([`signing`]). The same sources and tools give the same bytes, wherever the
//! repository is cloned to ([`wrapper`]).

mod compile;
mod error;
mod guests;
mod optimise;
mod package;
mod signing;
mod stamp;
mod table;
pub(crate) mod wrapper;

use std::{
    env, fs,
    io::IsTerminal,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use plugin_contract::Digest;

pub(crate) use error::BuildError;

use self::{
    compile::Compiler,
    guests::{Guest, Guests},
    optimise::WasmOpt,
    signing::Signer,
    stamp::{Stamp, write_if_changed},
    table::Row,
};
use crate::{report, toolchain, wit::Wit};

/// Builds the guests in `plugins/` and checks each against its world.
#[derive(clap::Args)]
pub(crate) struct BuildPlugins {
    /// Build this guest only, by name.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Where the packages of plugins go.
    #[arg(long, value_name = "DIR", default_value = "dist/plugins")]
    out: PathBuf,
    /// Where the packages of test guests go. They misbehave, so they are kept out of `--out`.
    #[arg(long, value_name = "DIR", default_value = "dist/test-plugins")]
    test_out: PathBuf,
    /// Leave the test guests out.
    #[arg(long)]
    no_test_guests: bool,
    /// Print one JSON document in place of the table.
    #[arg(long)]
    json: bool,
    /// Another workspace of guests.
    #[arg(long, value_name = "DIR", default_value = "plugins", hide = true)]
    workspace: PathBuf,
    /// Another target.
    #[arg(long, default_value = toolchain::TARGET, hide = true)]
    target: String,
}

impl BuildPlugins {
    /// The build that `serve` needs (plugins), or that tests need (plugins and test guests).
    pub(crate) fn for_use(with_test_guests: bool) -> Self {
        Self {
            only: None,
            out: "dist/plugins".into(),
            test_out: "dist/test-plugins".into(),
            no_test_guests: !with_test_guests,
            json: false,
            workspace: "plugins".into(),
            target: toolchain::TARGET.to_owned(),
        }
    }

    /// # Errors
    /// [`BuildError`]. Where several guests cannot be built, all others are, and each error is told.
    pub(crate) fn run(self, _sh: &xshell::Shell, root: &Path) -> anyhow::Result<()> {
        toolchain::check_target(root, &self.target)?;
        let workspace = root.join(&self.workspace);
        let mut found = Guests::find(&workspace, self.only.as_deref())?;
        if self.no_test_guests {
            found.guests.retain(|guest| !guest.is_test);
        }
        let wasm_opt = WasmOpt::find();
        let builder = Builder {
            compiler: Compiler::new(root, &self.target, &found)?,
            wit: Wit::load(root)?,
            tools: tools(root, wasm_opt.as_ref())?,
            signer: Signer::open(root)?,
            wasm_opt,
            out: root.join(&self.out),
            test_out: root.join(&self.test_out),
            root: root.to_owned(),
        };
        if builder.wasm_opt.is_none() {
            eprintln!(
                "wasm-opt not found: skipped; packages are valid, and larger than they need be"
            );
        }
        let (rows, mut failures) = builder.build(&found.guests);
        if self.json {
            println!("{}", serde_json::to_string_pretty(&rows)?);
        } else if !rows.is_empty() {
            print!("{}", table::table(&rows));
        }
        let Some(last) = failures.pop() else {
            return Ok(());
        };
        for failure in failures {
            eprintln!("{}", report::describe(&failure));
        }
        Err(last)
    }
}

/// Everything that is the same for all guests of one run.
struct Builder {
    compiler: Compiler,
    wit: Wit,
    wasm_opt: Option<WasmOpt>,
    /// Of this tool, `wasm-opt` and the contracts: what packages depend on beside their guests.
    tools: Digest,
    signer: Signer,
    out: PathBuf,
    test_out: PathBuf,
    root: PathBuf,
}

impl Builder {
    /// Builds each guest, whatever became of those before it.
    fn build(&self, guests: &[Guest]) -> (Vec<Row>, Vec<anyhow::Error>) {
        let bar = progress_bar(guests.len() as u64);
        let (mut rows, mut failures) = (Vec::new(), Vec::new());
        for guest in guests {
            bar.set_message(guest.name.clone());
            let say = |line: &str| {
                if bar.is_hidden() && line.starts_with("Compiling") {
                    eprintln!("{line}");
                }
                bar.set_message(format!("{}: {line}", guest.name));
            };
            match self.compile_and_package(guest, &say) {
                Ok(row) => rows.push(row),
                Err(failure) => failures.push(failure),
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        (rows, failures)
    }

    fn compile_and_package(
        &self,
        guest: &Guest,
        say: &(dyn Fn(&str) + Sync),
    ) -> anyhow::Result<Row> {
        let core = self.compiler.compile(guest, say)?;
        let core = fs::read(&core).with_context(|| format!("reading {}", core.display()))?;
        self.package(guest, &core)
    }

    fn package(&self, guest: &Guest, core: &[u8]) -> anyhow::Result<Row> {
        let dir = if guest.is_test { &self.test_out } else { &self.out }.join(&guest.name);
        let component = dir.join(&guest.manifest.plugin.entrypoint);
        let manifest = dir.join("plugin.toml");
        let manifest_digest = Digest::of(guest.manifest_text.as_bytes());
        let inputs = digest_of(&[
            Digest::of(core),
            manifest_digest,
            Digest::of(format!("{:?}", guest.packaging).as_bytes()),
            self.tools,
        ]);
        let stamp_path =
            self.compiler.target_dir().join("stamps").join(format!("{}.toml", guest.name));
        let row = |stamp: &Stamp, status| Row {
            name: guest.name.clone(),
            version: guest.manifest.plugin.version.to_string(),
            world: stamp.world,
            bytes_before: core.len() as u64,
            bytes_after: stamp.bytes,
            digest: stamp.output,
            path: component.strip_prefix(&self.root).unwrap_or(&component).display().to_string(),
            status,
        };

        if let Some(stamp) = Stamp::read(&stamp_path) {
            let files = [(component.clone(), stamp.output), (manifest.clone(), manifest_digest)];
            if stamp.holds(inputs, &files) {
                let changed = self.signer.sign(&component, &stamp.output)?;
                return Ok(row(&stamp, if changed { "signed" } else { "unchanged" }));
            }
        }
        let optimised = match &self.wasm_opt {
            Some(wasm_opt) => wasm_opt.run(guest, core)?,
            None => core.to_owned(),
        };
        let package = package::package(guest, &optimised, &self.wit)?;
        // The component carries the manifest too, so a host that sees one new and the other old
        // knows that it came between the two writes.
        let output = Digest::of(&package.bytes);
        let mut changed = write_if_changed(&component, &package.bytes)?;
        changed |= self.signer.sign(&component, &output)?;
        changed |= write_if_changed(&manifest, guest.manifest_text.as_bytes())?;
        let stamp =
            Stamp { inputs, output, bytes: package.bytes.len() as u64, world: package.world };
        stamp.write(&stamp_path)?;
        Ok(row(&stamp, if changed { "built" } else { "unchanged" }))
    }
}

/// What packages depend on beside their guests.
fn tools(root: &Path, wasm_opt: Option<&WasmOpt>) -> anyhow::Result<Digest> {
    let this = fs::read(env::current_exe()?).context("reading this program")?;
    let mut digests = vec![Digest::of(&this)];
    if let Some(wasm_opt) = wasm_opt {
        digests.push(Digest::of(wasm_opt.version.as_bytes()));
    }
    for package in crate::wit::PACKAGES {
        for file in crate::wit::files(&root.join("wit").join(package))? {
            digests.push(Digest::of(&fs::read(file)?));
        }
    }
    Ok(digest_of(&digests))
}

fn digest_of(parts: &[Digest]) -> Digest {
    let bytes: Vec<u8> = parts.iter().flat_map(|digest| *digest.as_bytes()).collect();
    Digest::of(&bytes)
}

/// A bar on a terminal, nothing elsewhere.
fn progress_bar(guests: u64) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(guests), target);
    let style = ProgressStyle::with_template("{spinner} [{pos}/{len}] {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
