//! Which components a path means, for those who sign and verify.

use std::path::{Path, PathBuf};

use host_security::sign::SIGNATURE_SUFFIX;
use plugin_contract::{Digest, Manifest, ReadLimits, escape};

use super::CliError;

/// The components that a path means: a file, that of a plugin's folder, or those of all plugins in a
/// directory.
///
/// # Errors
/// If there is none, or one of them is not there.
pub(super) fn components(path: &Path) -> Result<Vec<PathBuf>, CliError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    if let Some(component) = of_folder(path)? {
        return Ok(vec![component]);
    }
    let mut found = Vec::new();
    let failed = |error: &std::io::Error| CliError::file(path, error);
    for entry in std::fs::read_dir(path).map_err(|error| failed(&error))? {
        let path = entry.map_err(|error| failed(&error))?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            found.extend(of_folder(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "wasm") {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Err(CliError::new(
            format!("there is no component in `{}`", shown(path)),
            "host/no-component",
            "name a component file, the folder of a plugin, or a directory of plugins",
        ));
    }
    found.sort();
    Ok(found)
}

/// The component of a plugin's folder; `None` if it is no such folder.
fn of_folder(folder: &Path) -> Result<Option<PathBuf>, CliError> {
    let path = folder.join("plugin.toml");
    if !path.is_file() {
        return Ok(None);
    }
    let text = host_core::read_file(&path, Manifest::BYTES_MAX as u64)?;
    Ok(Some(folder.join(Manifest::from_bytes(&text)?.plugin.entrypoint)))
}

/// The digest of a component.
pub(super) fn digest(component: &Path) -> Result<Digest, CliError> {
    Ok(Digest::of(&host_core::read_file(component, ReadLimits::default().bytes_max)?))
}

/// Where the signature of a component is.
pub(super) fn signature_path(component: &Path) -> PathBuf {
    let mut name = component.as_os_str().to_owned();
    name.push(SIGNATURE_SUFFIX);
    name.into()
}

/// A path, fit for a terminal.
pub(super) fn shown(path: &Path) -> String {
    escape(&path.display().to_string(), 1_000)
}
