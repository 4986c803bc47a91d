use super::Manifest;
use crate::Explain;

const SMALL: &str = r#"
[plugin]
name = "image-processor"
version = "0.1.0"
entrypoint = "image-processor.wasm"
"#;

#[track_caller]
fn refused(text: &str, code: &str, says: &str) {
    let error = text.parse::<Manifest>().unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn the_smallest_manifest_has_documented_defaults() {
    let manifest: Manifest = SMALL.parse().unwrap();
    assert_eq!(manifest.permissions.memory.to_string(), "64MB");
    assert_eq!(manifest.permissions.cpu_time.to_string(), "10s");
    assert_eq!(manifest.permissions.timeout.to_string(), "30s");
    assert_eq!(manifest.permissions.max_instances.get(), 3);
    assert!(manifest.permissions.fs.is_empty() && manifest.dependencies.is_empty());
}

#[test]
fn the_canonical_text_reads_back_as_the_same_manifest() {
    let text = format!(
        "{SMALL}accepts = [\"image/png\"]\nworld = \"processor-plugin\"\nhost = \">=0.1\"\n\
         [dependencies]\nword-count = \"^0.1\"\n[config]\nkey = \"a \\\"value\\\"\"\n\
         [permissions]\nfs = [\"read:/data\"]\nmax-instances = 5\n[permissions.deny]\nnet = [\"listen:*\"]\n"
    );
    let manifest: Manifest = text.parse().unwrap();
    assert_eq!(manifest.to_toml().parse::<Manifest>().unwrap(), manifest);
    assert_eq!(manifest.to_toml(), manifest.to_toml().parse::<Manifest>().unwrap().to_toml());
}

#[test]
fn unknown_keys_are_refused_with_their_line() {
    refused(
        &format!("{SMALL}\n[permissions]\nmemroy = \"64MB\""),
        "manifest/unknown-key",
        "line 8 (`memroy = \"64MB\"`)",
    );
    refused(&format!("{SMALL}\n[surprise]"), "manifest/unknown-key", "surprise");
}

#[test]
fn a_name_or_entrypoint_that_reaches_outside_is_refused() {
    refused(
        &SMALL.replace("\"image-processor\"", "\"../evil\""),
        "manifest/invalid-value",
        "line 3",
    );
    for path in ["../evil.wasm", "/etc/evil.wasm", "a\\\\b.wasm", ".wasm", "evil", "a\\u0000.wasm"]
    {
        refused(
            &SMALL.replace("image-processor.wasm", path),
            "manifest/invalid-value",
            "entrypoint",
        );
    }
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    refused("[plugin]\nname = ", "manifest/syntax", "line 2");
    refused("\u{0}", "manifest/syntax", "line 1");
    refused("", "manifest/invalid-value", "plugin");
    let error = Manifest::from_bytes(b"[plugin]\nname = \"\xff\"").unwrap_err();
    assert_eq!((error.code(), error.to_string().contains("byte 17")), ("manifest/syntax", true));
}

#[test]
fn size_and_number_of_entries_are_bounded() {
    refused(&"#".repeat(Manifest::BYTES_MAX + 1), "manifest/too-large", "65537 bytes");
    let many = vec!["\"read:/a\""; 257].join(",");
    refused(
        &format!("{SMALL}[permissions]\nfs = [{many}]"),
        "manifest/invalid-value",
        "257 entries",
    );
}

#[test]
fn media_types_match_exactly_or_by_family() {
    let manifest: Manifest =
        format!("{SMALL}accepts = [\"image/png\", \"text/*\"]").parse().unwrap();
    for (media_type, accepted) in
        [("image/png", true), ("text/csv", true), ("image/jpeg", false), ("textual/x", false)]
    {
        assert_eq!(manifest.accepts(media_type), accepted, "{media_type}");
    }
    assert!(SMALL.parse::<Manifest>().unwrap().accepts("anything/goes"));
}
