//! From a core module to the component that is shipped.
//!
//! In this order: strip, make a component, validate, compare with the world, embed manifest and
//! contract. What is signed is what comes out of here, so a signature is a step after this one.

use anyhow::Context;
use host_deploy::compat::{WitWorld, fits};
use plugin_contract::{
    ComponentInfo, Embedded, InterfaceName, ReadLimits, World, production_features,
};
use wasm_encoder::{Module, RawSection};
use wasmparser::{Parser, Payload, Validator};
use wit_component::{ComponentEncoder, DecodedWasm};

use super::{compile::undefined, error::BuildError, guests::Guest};
use crate::wit::Wit;

/// A component, ready to be written.
pub(crate) struct Package {
    pub(crate) bytes: Vec<u8>,
    /// `None` only for a test guest that says it fits no world.
    pub(crate) world: Option<World>,
}

/// Packages the core module of `guest`.
///
/// # Errors
/// [`BuildError`]: a symbol nobody defines, no component, not valid, no world, or not fitting it.
pub(crate) fn package(guest: &Guest, core: &[u8], wit: &Wit) -> anyhow::Result<Package> {
    let symbols = undefined_symbols(core).context("reading the core module")?;
    if !symbols.is_empty() {
        let problem = undefined(&symbols);
        return Err(BuildError::LinkFailed { guest: guest.name.clone(), problem }.into());
    }
    let mut bytes = componentise(guest, &strip(core)?)?;
    let info = ComponentInfo::read(&bytes, &ReadLimits::default())?;

    Validator::new_with_features(production_features(info.lane)).validate_all(&bytes).map_err(
        |error| BuildError::Invalid {
            guest: guest.name.clone(),
            problem: format!("{} (at byte {})", error.message(), error.offset()),
        },
    )?;
    let world = match world(guest, &info) {
        Ok(world) => {
            if guest.packaging.fits_world {
                check_fit(guest, world, &bytes, wit)?;
            }
            Some(world)
        }
        Err(_) if !guest.packaging.fits_world => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(world) = world {
        Embedded::new(world, guest.manifest.clone()).append_to(&mut bytes);
    }
    Ok(Package { bytes, world })
}

/// What the linker left open. It takes any symbol for an import of the module `env`, which no
/// component has.
fn undefined_symbols(core: &[u8]) -> anyhow::Result<Vec<String>> {
    let mut symbols = Vec::new();
    for payload in Parser::new(0).parse_all(core) {
        if let Payload::ImportSection(imports) = payload? {
            for import in imports.into_imports() {
                let import = import?;
                if import.module == "env" {
                    symbols.push(import.name.to_owned());
                }
            }
        }
    }
    Ok(symbols)
}

/// Drops the custom sections of a core module that nobody needs at run time.
///
/// Kept: `name`, a twentieth to a quarter of a plugin and what makes its backtraces readable;
/// `producers`, who made it; `component-type`, from which the component is made and which ends there.
fn strip(core: &[u8]) -> anyhow::Result<Vec<u8>> {
    let keep =
        |name: &str| matches!(name, "name" | "producers") || name.starts_with("component-type");
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(core) {
        let payload = payload?;
        if matches!(&payload, Payload::CustomSection(custom) if !keep(custom.name())) {
            continue;
        }
        if let Some((id, range)) = payload.as_section() {
            module.section(&RawSection { id, data: &core[range] });
        }
    }
    Ok(module.finish())
}

fn componentise(guest: &Guest, core: &[u8]) -> anyhow::Result<Vec<u8>> {
    let refuse = |error: anyhow::Error| BuildError::NotComponentisable {
        guest: guest.name.clone(),
        problem: format!("{error:#}"),
    };
    let mut encoder = ComponentEncoder::default().module(core).map_err(refuse)?;
    let bytes = encoder.encode().map_err(refuse)?;
    Ok(bytes)
}

fn world(guest: &Guest, info: &ComponentInfo) -> Result<World, BuildError> {
    guest.manifest.plugin.world.or_else(|| info.world()).ok_or_else(|| {
        let exports: Vec<String> =
            info.exports.iter().map(|export| format!("`{}`", export.name)).collect();
        let exports = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
        BuildError::NoWorld { guest: guest.name.clone(), exports }
    })
}

fn check_fit(guest: &Guest, world: World, bytes: &[u8], wit: &Wit) -> anyhow::Result<()> {
    let DecodedWasm::Component(resolve, component) = wit_component::decode(bytes)? else {
        anyhow::bail!("the encoder made something else than a component");
    };
    let wanted = WitWorld::new(&wit.resolve, wit.world(world)?);
    fits(wanted, WitWorld::new(&resolve, component), is_wasi).map_err(|mismatches| {
        BuildError::WorldMismatch { guest: guest.name.clone(), world, mismatches }.into()
    })
}

/// What the standard libraries of guests import by themselves, and what hosts offer every plugin: what may
/// be done with it is decided when it is used.
fn is_wasi(name: &InterfaceName) -> bool {
    const OFFERED: [&str; 7] = [
        "wasi:cli",
        "wasi:clocks",
        "wasi:filesystem",
        "wasi:http",
        "wasi:io",
        "wasi:random",
        "wasi:sockets",
    ];
    OFFERED.contains(&name.package.as_str())
}

#[cfg(test)]
mod tests;
