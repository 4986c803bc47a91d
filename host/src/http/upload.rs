//! A plugin in a request body: a component, or a plugin's folder in a tar archive.

use std::io::Read;

use axum::{body::Body, http::HeaderMap};
use host_security::sign::SIGNATURE_SUFFIX;
use plugin_contract::Manifest;

use super::{App, Problem, body, request};
use crate::{HostError, Upload};

/// Most entries of an archive: three are of use.
const ENTRIES_MAX: usize = 16;

/// Reads an upload.
pub(super) async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Upload, Problem> {
    let media_type = request::content_type(headers);
    let is_archive = match media_type.as_str() {
        "application/wasm" => false,
        "application/x-tar" => true,
        _ => {
            body::discard(app, body).await;
            let what = plugin_contract::escape(&media_type, 100);
            return Err(invalid(format!("`{what}` is no media type of a plugin")).into());
        }
    };
    let (bytes, _share) = body::collect(app, body).await?;
    if !is_archive {
        return Ok(Upload { component: bytes, ..Upload::default() });
    }
    Ok(unpack(&bytes)?)
}

/// Takes a folder apart: `plugin.toml`, the component it names, and that one's signature. A component that carries
/// its manifest can do without the first, if it is the only one.
fn unpack(archive: &[u8]) -> Result<Upload, HostError> {
    let broken = |error: std::io::Error| {
        let error = plugin_contract::escape(&error.to_string(), 200);
        invalid(format!("the archive cannot be read: {error}"))
    };
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut archive = tar::Archive::new(archive);
    for (at, entry) in archive.entries().map_err(broken)?.enumerate() {
        if at >= ENTRIES_MAX {
            return Err(invalid(format!("the archive has more than {ENTRIES_MAX} entries")));
        }
        let entry = entry.map_err(broken)?;
        // Directories say nothing that the names of files do not; links lead nowhere here.
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path_bytes().into_owned();
        let name = name.strip_prefix(b"./").unwrap_or(&name);
        let Ok(name) = String::from_utf8(name.to_vec()) else {
            return Err(invalid("the archive has a name that is not UTF-8".to_owned()));
        };
        if name.contains('/') {
            return Err(invalid(format!(
                "the archive holds `{}`: put the files of the plugin's folder at its top",
                plugin_contract::escape(&name, 200)
            )));
        }
        // No longer than the archive itself, whatever it says.
        let mut bytes = Vec::new();
        let mut entry = entry;
        entry.read_to_end(&mut bytes).map_err(broken)?;
        if files.iter().any(|(other, _)| *other == name) {
            let name = plugin_contract::escape(&name, 200);
            return Err(invalid(format!("the archive holds `{name}` twice")));
        }
        files.push((name, bytes));
    }
    let names = files.iter().map(|(name, _)| name.clone());
    let mut components: Vec<String> = names.filter(|name| name.ends_with(".wasm")).collect();
    let mut take = |wanted: &str| {
        let at = files.iter().position(|(name, _)| name == wanted)?;
        Some(files.swap_remove(at).1)
    };
    let manifest = take("plugin.toml");
    let entrypoint = match manifest.as_deref().map(Manifest::from_bytes) {
        Some(Ok(manifest)) => manifest.plugin.entrypoint,
        Some(Err(error)) => return Err(host_core::CoreError::from(error).into()),
        None if components.len() == 1 => components.remove(0),
        None => return Err(invalid("the archive has no `plugin.toml` at its top".to_owned())),
    };
    let component = take(&entrypoint).ok_or_else(|| {
        invalid(format!("the archive has no `{entrypoint}`, which `plugin.toml` names"))
    })?;
    let signature = take(&format!("{entrypoint}{SIGNATURE_SUFFIX}"));
    Ok(Upload { component, manifest, signature })
}

fn invalid(problem: String) -> HostError {
    HostError::InvalidUpload(problem)
}

#[cfg(test)]
mod tests {
    use plugin_contract::Explain;

    use super::unpack;

    const MANIFEST: &str = "[plugin]\nname = \"a\"\nversion = \"1.0.0\"\nentrypoint = \"a.wasm\"\n";

    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            // Names that the builder would refuse are what is to be tried.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            archive.append(&header, text.as_bytes()).unwrap();
        }
        archive.into_inner().unwrap()
    }

    #[track_caller]
    fn check_refused(files: &[(&str, &str)], says: &str) {
        let error = unpack(&archive(files)).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }

    #[test]
    fn a_folder_is_taken_apart() {
        let manifest = ("./plugin.toml", MANIFEST);
        let upload =
            unpack(&archive(&[manifest, ("a.wasm", "wasm"), ("a.wasm.sig", "sig")])).unwrap();
        assert_eq!(
            (&*upload.component, upload.signature.as_deref()),
            (&b"wasm"[..], Some(&b"sig"[..]))
        );
        assert_eq!(upload.manifest.as_deref(), Some(MANIFEST.as_bytes()));
        let unsigned = unpack(&archive(&[("a.wasm", "wasm"), manifest, ("README", "")])).unwrap();
        assert_eq!(unsigned.signature, None);
        let alone = unpack(&archive(&[("a.wasm", "wasm"), ("a.wasm.sig", "sig")])).unwrap();
        assert_eq!((alone.manifest, alone.signature.as_deref()), (None, Some(&b"sig"[..])));
    }

    #[test]
    fn an_archive_that_is_no_folder_of_a_plugin_is_refused() {
        let manifest = ("plugin.toml", MANIFEST);
        check_refused(&[("a.wasm", "1"), ("b.wasm", "2")], "no `plugin.toml`");
        check_refused(&[("README", "")], "no `plugin.toml`");
        check_refused(&[manifest], "no `a.wasm`");
        check_refused(&[manifest, ("a.wasm", "1"), ("./a.wasm", "2")], "twice");
        check_refused(&[manifest, ("../a.wasm", "wasm")], "at its top");
        check_refused(&[manifest, ("/etc/passwd", "x")], "at its top");
        let many: Vec<_> = (0..17).map(|at| format!("{at}")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), "")).collect();
        check_refused(&many, "more than 16 entries");
        let broken = &archive(&[manifest, ("a.wasm", "wasm")])[..700];
        assert_eq!(unpack(broken).unwrap_err().code(), "deploy/invalid-upload");
        assert_eq!(
            unpack(b"no archive at all, but long enough").unwrap_err().code(),
            "deploy/invalid-upload"
        );
    }
}
