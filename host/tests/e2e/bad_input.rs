//! A plugin directory full of nonsense, and the good plugins in it.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Host, built, run, stdout};

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn good_plugins_serve_among_nonsense_and_each_piece_of_nonsense_is_reported() {
    let directory = TempDir::new().unwrap();
    let dir = directory.path();
    let good = built("test-plugins").join("shout-v1");
    let manifest = fs::read_to_string(good.join("plugin.toml")).unwrap();
    let wasm = fs::read(good.join("shout-v1.wasm")).unwrap();
    copy(&good, &dir.join("a-good-one"));
    // The same plugin in the same version once more.
    copy(&good, &dir.join("b-twin"));

    fs::write(dir.join("empty.wasm"), b"").unwrap();
    fs::write(dir.join("module.wasm"), b"\0asm\x01\0\0\0").unwrap();
    fs::write(dir.join("truncated.wasm"), &wasm[..wasm.len() / 2]).unwrap();
    fs::write(dir.join("junk.wasm"), vec![0xa5; 10_000]).unwrap();
    fs::File::create(dir.join("sparse.wasm")).unwrap().set_len(1 << 30).unwrap();
    std::os::unix::fs::symlink(dir.join("loop.wasm"), dir.join("loop.wasm")).unwrap();
    fs::create_dir(dir.join("folder.wasm")).unwrap();
    for (name, manifest) in [
        ("unknown-key", format!("{manifest}\nsurprise = true\n")),
        ("traversal", manifest.replace("name = \"shout-v1\"", "name = \"../shout\"")),
        ("other-manifest", manifest.replace("0.1.0", "0.2.0")),
        ("no-manifest", String::new()),
        ("escape-codes", format!("{manifest}\n\"\\u001b[31mred\\nforged\" = 1\n")),
    ] {
        copy(&good, &dir.join(name));
        fs::write(dir.join(name).join("plugin.toml"), manifest).unwrap();
    }
    // 6 KB that overflow the stack of parsers which recurse without a bound.
    let nested: Vec<u8> = [0x41, 1, 1].repeat(1_300);
    let mut bomb = b"\0asm\x0d\0\x01\0\x07".to_vec();
    bomb.extend([0xbe, 0x1e, 1]); // a section of 3,902 bytes, with one type
    bomb.extend(nested);
    bomb.push(0x7f);
    fs::write(dir.join("nested-types.wasm"), bomb).unwrap();
    fs::write(dir.join("notes.txt"), "not a plugin").unwrap();

    let host = Host::serve(dir);
    assert_eq!(host.process("shout-v1", &[], "hello"), (200, "HELLO".to_owned()));
    let refused: BTreeMap<String, String> = host.announced["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|refused| {
            for member in ["message", "remedy"] {
                assert!(!refused[member].as_str().unwrap().is_empty());
            }
            let text = |member: &str| refused[member].as_str().unwrap().to_owned();
            (text("path"), text("code"))
        })
        .collect();
    let expected = [
        ("b-twin", "core/duplicate-plugin"),
        ("empty.wasm", "core/not-a-component"),
        ("escape-codes", "manifest/unknown-key"),
        ("folder.wasm", "core/manifest-missing"),
        ("junk.wasm", "core/not-a-component"),
        ("loop.wasm", "core/unreadable"),
        ("module.wasm", "core/not-a-component"),
        ("nested-types.wasm", "core/malformed-component"),
        ("no-manifest", "manifest/invalid-value"),
        ("other-manifest", "core/manifest-differs"),
        ("sparse.wasm", "core/too-large"),
        ("traversal", "manifest/invalid-value"),
        ("truncated.wasm", "core/malformed-component"),
        ("unknown-key", "manifest/unknown-key"),
    ];
    let expected: BTreeMap<String, String> =
        expected.map(|(path, code)| (path.to_owned(), code.to_owned())).into();
    assert_eq!(refused, expected);

    let shown = run(&["list", "--plugins", dir.to_str().unwrap()]);
    assert!(!stdout(&shown).contains('\u{1b}') && !stdout(&shown).contains("\nforged"));
    // What clients see of it does not say where things lie.
    let public = host.get("/v1/plugins").text().unwrap();
    assert!(!public.contains(dir.to_str().unwrap()), "{public}");

    let listed = run(&["list", "--json", "--plugins", dir.to_str().unwrap()]);
    assert!(listed.status.success());
    let listed: Value = serde_json::from_str(&stdout(&listed)).unwrap();
    assert_eq!(listed["refused"].as_array().unwrap().len(), expected.len());
    assert_eq!(listed["plugins"].as_array().unwrap().len(), 1);
}

#[test]
fn a_plugin_whose_dependency_is_missing_is_refused_and_says_which() {
    let directory = TempDir::new().unwrap();
    let from = built("test-plugins");
    copy(&from.join("framing-decorator"), &directory.path().join("framing-decorator"));
    let host = Host::serve(directory.path());
    assert_eq!(host.announced["refused"][0]["code"], json!("core/dependency-missing"));
    let message = host.announced["refused"][0]["message"].as_str().unwrap();
    assert!(message.contains("`word-count`"), "{message}");

    copy(&from.join("word-count"), &directory.path().join("word-count"));
    let host = Host::serve(directory.path());
    assert_eq!(host.announced["refused"], json!([]));
}

#[test]
fn a_host_without_plugins_serves_and_a_missing_directory_is_an_error() {
    let empty = TempDir::new().unwrap();
    let host = Host::serve(empty.path());
    assert_eq!(host.get("/readyz").status().as_u16(), 200);
    let output = run(&["list", "--json", "--plugins", "/nowhere/at/all"]);
    assert_eq!(output.status.code(), Some(1));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["code"], json!("core/unreadable"));
}
