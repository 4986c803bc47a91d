//! What can go wrong between a guest's sources and its package.

use std::fmt::Write;

use host_deploy::compat::Mismatch;
use plugin_contract::{Explain, ManifestError, World};

/// Why a guest was not packaged. Packages that were there before are left as they were.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// The standard library for the target of plugins is not there.
    #[error("the Rust target `{target}` is not installed")]
    TargetMissing { target: String },
    /// Something is called that nobody defines.
    #[error("`{guest}` does not link: {problem}")]
    LinkFailed { guest: String, problem: String },
    /// The compiler said no; `output` is what it said.
    #[error("`{guest}` does not compile\n{output}")]
    CompileFailed { guest: String, output: String },
    /// Cargo gave up before it compiled anything.
    #[error("cargo cannot build `{guest}`\n{output}")]
    CargoFailed { guest: String, output: String },
    /// The compiler's output is not what a guest is made of.
    #[error("`{guest}` cannot be made a component: {problem}")]
    NotComponentisable { guest: String, problem: String },
    /// The component uses something that the production engine refuses.
    #[error("`{guest}` is not valid for the production engine: {problem}")]
    Invalid { guest: String, problem: String },
    /// The exports make none of the contract's worlds.
    #[error("`{guest}` exports no world of the contract; it exports {exports}")]
    NoWorld { guest: String, exports: String },
    /// The component cannot stand behind the world it is for.
    #[error("`{guest}` does not fit the world `{world}`{}", list(mismatches))]
    WorldMismatch { guest: String, world: World, mismatches: Vec<Mismatch> },
    /// `plugin.toml` is refused.
    #[error("`plugin.toml` of `{guest}` is refused")]
    Manifest { guest: String, source: ManifestError },
    /// `plugin.toml` and `Cargo.toml` do not say the same.
    #[error(
        "`plugin.toml` of `{guest}` says `{key} = \"{says}\"`, by `Cargo.toml` it is \"{should}\""
    )]
    ManifestMismatch { guest: String, key: &'static str, says: String, should: String },
    /// There is no such guest.
    #[error("there is no guest `{name}`; there are {known}")]
    UnknownGuest { name: String, known: String },
    /// `wasm-opt` was found and failed.
    #[error("wasm-opt failed on `{guest}`: {output}")]
    OptimiseFailed { guest: String, output: String },
}

fn list(mismatches: &[Mismatch]) -> String {
    let mut text = String::new();
    for mismatch in mismatches {
        _ = write!(text, "\n  {mismatch}");
    }
    text
}

impl Explain for BuildError {
    fn code(&self) -> &'static str {
        match self {
            Self::TargetMissing { .. } => "build/target-missing",
            Self::LinkFailed { .. } => "build/link-failed",
            Self::CompileFailed { .. } => "build/compile-failed",
            Self::CargoFailed { .. } => "build/cargo-failed",
            Self::NotComponentisable { .. } => "build/not-componentisable",
            Self::Invalid { .. } => "build/feature-refused",
            Self::NoWorld { .. } => "build/no-world",
            Self::WorldMismatch { .. } => "build/world-mismatch",
            Self::Manifest { source, .. } => source.code(),
            Self::ManifestMismatch { .. } => "build/manifest-mismatch",
            Self::UnknownGuest { .. } => "build/unknown-guest",
            Self::OptimiseFailed { .. } => "build/optimise-failed",
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::TargetMissing { .. } => "run `rustup target add wasm32-wasip2`",
            Self::LinkFailed { .. } => {
                "define the symbol, link the library that does, or call the host through an interface of its world instead"
            }
            Self::CompileFailed { .. } => "mend the first error; the later ones may follow from it",
            Self::CargoFailed { .. } => {
                "mend `Cargo.toml`, or see whether the registry can be reached"
            }
            Self::NotComponentisable { .. } => {
                "export a world with `guest-sdk`, and set `crate-type = [\"cdylib\"]`"
            }
            Self::Invalid { .. } => {
                "build without the `-C target-feature` or intrinsics that need that proposal"
            }
            Self::NoWorld { .. } => "export a world with the macro of `guest-sdk`",
            Self::WorldMismatch { .. } => {
                "build against the contracts in `wit/`, or name the right `world` in `plugin.toml`"
            }
            Self::Manifest { source, .. } => source.remedy(),
            Self::ManifestMismatch { .. } => "make the two files agree",
            Self::UnknownGuest { .. } => {
                "give the name of a directory in `plugins/` with a `plugin.toml`"
            }
            Self::OptimiseFailed { .. } => "update binaryen, or take `wasm-opt` off the path",
        }
    }
}
