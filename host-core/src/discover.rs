//! Plugins in a directory.
//!
//! A plugin is a folder with a `plugin.toml` and the component it names, or a `*.wasm` file that
//! carries its manifest. Everything else that looks like one is reported, not skipped in silence;
//! hidden entries and other files are none of a host's business.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
};

use plugin_contract::{ComponentError, ComponentInfo, Manifest, ManifestError, PluginId};

use crate::{Admission, Artifact, CoreError, admit};

/// Something in a plugin directory that is a plugin, or should have been.
#[derive(Debug)]
pub struct Found {
    /// The folder or file.
    pub path: PathBuf,
    /// What was admitted, or why nothing was.
    pub artifact: Result<Artifact, CoreError>,
}

/// Reads a plugin directory, in the order of names. The iterator holds one component at a time.
///
/// A directory that is itself a plugin (it has a `plugin.toml`), or a file, gives that plugin.
///
/// # Errors
/// `core/unreadable` if the directory cannot be listed. What is wrong with an entry is in the entry.
pub fn discover(
    directory: &Path,
    admission: Admission,
) -> Result<impl Iterator<Item = Found> + use<>, CoreError> {
    let unreadable = |source| CoreError::Unreadable { path: directory.to_owned(), source };
    let mut paths = Vec::new();
    if directory.is_file() || directory.join("plugin.toml").is_file() {
        paths.push(directory.to_owned());
    } else {
        for entry in fs::read_dir(directory).map_err(unreadable)? {
            paths.push(entry.map_err(unreadable)?.path());
        }
        paths.retain(|path| is_candidate(path));
        paths.sort();
    }
    Ok(paths.into_iter().map(move |path| {
        let artifact = read_artifact(&path, &admission);
        Found { path, artifact }
    }))
}

/// Whether a directory entry is, or claims to be, a plugin. Links are followed.
fn is_candidate(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    if name.starts_with(b".") {
        return false;
    }
    path.extension().is_some_and(|extension| extension == "wasm") || path.is_dir()
}

/// Reads one plugin: a folder with a `plugin.toml`, or a component file.
///
/// # Errors
/// `core/unreadable`, `manifest/...`, and those of [`admit`].
pub fn read_artifact(path: &Path, admission: &Admission) -> Result<Artifact, CoreError> {
    let bytes_max = admission.limits.bytes_max;
    if !path.is_dir() {
        let bytes = read_file(path, bytes_max)?;
        let unnamed = admission.unnamed && {
            let info = ComponentInfo::read(&bytes, &admission.limits)?;
            info.embedded.is_none()
        };
        let signature = read_signature(path)?;
        let artifact = admit(bytes, unnamed.then(|| made_up(path)), admission)?;
        return Ok(artifact.signed(signature));
    }
    let manifest_path = path.join("plugin.toml");
    let text = match read_file(&manifest_path, Manifest::BYTES_MAX as u64) {
        Err(CoreError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(CoreError::ManifestMissing);
        }
        Err(CoreError::Component(ComponentError::TooLarge { bytes, .. })) => {
            return Err(ManifestError::TooLarge { bytes: bytes as usize }.into());
        }
        other => other?,
    };
    let manifest = Manifest::from_bytes(&text)?;
    let component = path.join(&manifest.plugin.entrypoint);
    let bytes = read_file(&component, bytes_max)?;
    let signature = read_signature(&component)?;
    Ok(admit(bytes, Some(manifest), admission)?.signed(signature))
}

/// The signature beside a component: a file of the same name with `.sig` at its end.
fn read_signature(component: &Path) -> Result<Option<Vec<u8>>, CoreError> {
    let mut name = component.as_os_str().to_owned();
    name.push(".sig");
    match read_file(Path::new(&name), SIGNATURE_BYTES_MAX) {
        Err(CoreError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// Longest signature file, in bytes.
const SIGNATURE_BYTES_MAX: u64 = 4 << 10;

/// A manifest for a component that nothing says the name of.
fn made_up(path: &Path) -> Manifest {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let name: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(64).collect();
    let name: PluginId = (name.trim_matches('-').parse())
        .unwrap_or_else(|_| "component".parse().expect("a plain word is a name"));
    let text =
        format!("[plugin]\nname = \"{name}\"\nversion = \"0.0.0\"\nentrypoint = \"{name}.wasm\"\n");
    text.parse().expect("a name, a version and a file name are a manifest")
}

/// Reads a regular file of at most `bytes_max` bytes. Never waits for a pipe or a device, and never
/// reads more than it may, whatever the file's size says.
///
/// # Errors
/// `core/unreadable`, `core/too-large`.
pub fn read_file(path: &Path, bytes_max: u64) -> Result<Vec<u8>, CoreError> {
    let unreadable = |source| CoreError::Unreadable { path: path.to_owned(), source };
    let check = |metadata: Metadata| {
        if !metadata.is_file() {
            let kind = io::ErrorKind::InvalidInput;
            return Err(unreadable(io::Error::new(kind, "it is not a regular file")));
        }
        if metadata.len() > bytes_max {
            return Err(ComponentError::TooLarge { bytes: metadata.len(), bytes_max }.into());
        }
        Ok(metadata.len())
    };
    check(fs::metadata(path).map_err(unreadable)?)?;
    let file = open(path).map_err(unreadable)?;
    // Once more, on what was really opened.
    let length = check(file.metadata().map_err(unreadable)?)?;
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(ComponentError::TooLarge { bytes: bytes.len() as u64, bytes_max }.into());
    }
    Ok(bytes)
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // A pipe put in the file's place meanwhile would block the open itself.
        const O_NONBLOCK: i32 = 0o4000;
        options.custom_flags(O_NONBLOCK);
    }
    options.open(path)
}
