use std::{collections::BTreeMap, fs, path::Path};

use host_core::{Admission, discover};
use plugin_contract::{Explain, ReadLimits};

use crate::guests;

const MANIFEST: &str =
    "[plugin]\nname = \"good\"\nversion = \"0.1.0\"\nentrypoint = \"good.wasm\"\n";

/// What is found, by file name: the plugin's name, or the code of the refusal.
fn found(directory: &Path) -> BTreeMap<String, String> {
    let limits = ReadLimits { bytes_max: 1 << 20, ..ReadLimits::default() };
    let admission = Admission { limits, ..Admission::default() };
    discover(directory, admission)
        .unwrap()
        .map(|found| {
            let name = found.path.file_name().unwrap().to_string_lossy().into_owned();
            let result = match found.artifact {
                Ok(artifact) => artifact.description.manifest.plugin.name.to_string(),
                Err(error) => error.code().to_owned(),
            };
            (name, result)
        })
        .collect()
}

#[test]
fn good_plugins_are_found_among_nonsense_and_each_piece_of_nonsense_is_named() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    let echo = wat::parse_str(guests::echo()).unwrap();
    let folder = |name: &str, manifest: &str, wasm: &[u8]| {
        fs::create_dir(dir.join(name)).unwrap();
        fs::write(dir.join(name).join("plugin.toml"), manifest).unwrap();
        fs::write(dir.join(name).join("good.wasm"), wasm).unwrap();
    };
    let mut expected = BTreeMap::new();
    let mut expect = |name: &str, result: &str| expected.insert(name.to_owned(), result.to_owned());

    folder("good", MANIFEST, &echo);
    expect("good", "good");

    fs::write(dir.join("empty.wasm"), b"").unwrap();
    expect("empty.wasm", "core/not-a-component");
    fs::write(dir.join("module.wasm"), wat::parse_str("(module)").unwrap()).unwrap();
    expect("module.wasm", "core/not-a-component");
    fs::write(dir.join("text.wasm"), "(component)").unwrap();
    expect("text.wasm", "core/not-a-component");
    fs::write(dir.join("truncated.wasm"), &echo[..echo.len() - 7]).unwrap();
    expect("truncated.wasm", "core/malformed-component");
    fs::write(dir.join("nameless.wasm"), &echo).unwrap();
    expect("nameless.wasm", "core/manifest-missing");
    fs::File::create(dir.join("sparse.wasm")).unwrap().set_len(1 << 30).unwrap();
    expect("sparse.wasm", "core/too-large");
    fs::create_dir(dir.join("folder.wasm")).unwrap();
    expect("folder.wasm", "core/manifest-missing");
    folder("unknown-key", &format!("{MANIFEST}surprise = 1\n"), &echo);
    expect("unknown-key", "manifest/unknown-key");
    folder("traversal", &MANIFEST.replace("\"good\"", "\"../good\""), &echo);
    expect("traversal", "manifest/invalid-value");
    folder("outside", &MANIFEST.replace("good.wasm", "../good/good.wasm"), &echo);
    expect("outside", "manifest/invalid-value");
    folder("absent", &MANIFEST.replace("good.wasm", "absent.wasm"), &echo);
    expect("absent", "core/unreadable");
    folder("huge-manifest", &format!("{MANIFEST}{}", "#".repeat(1 << 20)), &echo);
    expect("huge-manifest", "manifest/too-large");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(dir.join("loop.wasm"), dir.join("loop.wasm")).unwrap();
        expect("loop.wasm", "core/unreadable");
        std::os::unix::fs::symlink(dir.join("good"), dir.join("linked")).unwrap();
        expect("linked", "good");
        let made =
            std::process::Command::new("mkfifo").arg(dir.join("pipe.wasm")).status().unwrap();
        assert!(made.success());
        expect("pipe.wasm", "core/unreadable");
    }
    fs::write(dir.join("README.md"), "not a plugin").unwrap();
    fs::create_dir(dir.join(".git")).unwrap();

    assert_eq!(found(dir), expected);
}

#[test]
fn a_directory_that_is_a_plugin_gives_that_plugin() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("plugin.toml"), MANIFEST).unwrap();
    fs::write(dir.path().join("good.wasm"), wat::parse_str(guests::echo()).unwrap()).unwrap();
    assert_eq!(found(dir.path()).into_values().collect::<Vec<_>>(), ["good"]);
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let Err(error) = discover(Path::new("/nowhere/at/all"), Admission::default()) else {
        panic!("listed a directory that does not exist");
    };
    assert_eq!(error.code(), "core/unreadable");
}
