use std::{fs, path::Path};

use plugin_contract::Explain;
use tempfile::TempDir;

use super::{WitError, check, releases};
use crate::wit::PACKAGES;

/// A copy of the working tree with all of it released, and then edited: in `file`, `from` becomes
/// `to`.
fn edited(edits: &[(&str, &str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for package in PACKAGES {
        copy(&crate::root().join("wit").join(package), &dir.path().join(package));
        releases::keep(dir.path(), package, &"1.0.0".parse().unwrap()).unwrap();
    }
    for (file, from, to) in edits {
        let path = dir.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
    }
    dir
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Raises the version of `host-api` to 1.1.0, here and where it is referred to.
fn bump_host_api(dir: &Path) {
    for package in PACKAGES {
        for file in crate::wit::files(&dir.join(package)).unwrap() {
            let text = fs::read_to_string(&file).unwrap();
            let text = text
                .replace("package toolsku:host-api@1.0.0", "package toolsku:host-api@1.1.0")
                .replace("toolsku:host-api/services@1.0.0", "toolsku:host-api/services@1.1.0")
                .replace("host-api/host-services@1.0.0", "host-api/host-services@1.1.0");
            fs::write(&file, text).unwrap();
        }
    }
}

#[track_caller]
fn refused(dir: &Path, code: &str, says: &str) {
    let error = check(dir).err().expect("this is refused");
    let error = error.downcast_ref::<WitError>().expect("with a code");
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn the_working_tree_passes() {
    check(&crate::root().join("wit")).unwrap();
}

#[test]
fn what_is_unchanged_since_its_release_passes() {
    check(edited(&[]).path()).unwrap();
}

#[test]
fn words_may_change_without_a_version() {
    let dir = edited(&[("host-api/messaging.wit", "/// What came back.", "/// An answer.")]);
    check(dir.path()).unwrap();
}

#[test]
fn a_breaking_change_is_refused_by_name() {
    let dir = edited(&[("plugin-system/base.wit", "content-type: string,", "media-type: string,")]);
    refused(
        dir.path(),
        "wit/breaking-change",
        "`toolsku:plugin-system/data-processor.process`: parameter `req` was record {input, \
         content-type, options}, now record {input, media-type, options} (breaking)",
    );
}

#[test]
fn a_function_more_in_what_guests_export_is_breaking() {
    let function = "/// New.\n    @since(version = 1.0.0)\n    more: func();\n\n    \
                    /// Whether `process` would";
    let dir = edited(&[("plugin-system/base.wit", "/// Whether `process` would", function)]);
    refused(
        dir.path(),
        "wit/breaking-change",
        "`toolsku:plugin-system/data-processor.more`: new function, which existing guests do not export",
    );
}

const NEW_FUNCTION: &str = "/// New.\n    @since(version = 1.1.0)\n    more: func();\n\n    \
                            /// Sends without waiting";

#[test]
fn an_additive_change_needs_a_version() {
    let function = NEW_FUNCTION.replace("1.1.0", "1.0.0");
    let dir = edited(&[("host-api/messaging.wit", "/// Sends without waiting", &function)]);
    refused(
        dir.path(),
        "wit/version-not-bumped",
        "an additive change needs version 1.1.0\n  `toolsku:host-api/messaging.more`: new function",
    );
    bump_host_api(dir.path());
    refused(
        dir.path(),
        "wit/wrong-since",
        "`toolsku:host-api/messaging.more` is new in 1.1.0, and says 1.0.0",
    );

    let dir = edited(&[(
        "host-api/messaging.wit",
        "/// Sends without waiting",
        "/// Sends without waiting",
    )]);
    bump_host_api(dir.path());
    let path = dir.path().join("host-api/messaging.wit");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("/// Sends without waiting", NEW_FUNCTION, 1)).unwrap();
    let checked = check(dir.path()).unwrap();
    assert_eq!(
        checked[0].to_string(),
        "toolsku:host-api@1.1.0: documented and dated; additive compared with release 1.0.0"
    );
}

#[test]
fn an_item_without_words_or_date_is_refused_by_name() {
    let dir = edited(&[("host-api/messaging.wit", "/// The plugin to reach, by name.", "")]);
    refused(
        dir.path(),
        "wit/undocumented",
        "`toolsku:host-api/messaging.plugin-message.target` has no doc comment",
    );
    let dir =
        edited(&[("plugin-system/base.wit", "@since(version = 1.0.0)\n    validate", "validate")]);
    refused(
        dir.path(),
        "wit/undocumented",
        "`toolsku:plugin-system/data-processor.validate` has no `@since`",
    );
}

#[test]
fn a_release_cannot_be_edited() {
    let file = "released/1.0.0/host-api/messaging.wit";
    let dir = edited(&[(file, "What came back.", "An answer.")]);
    refused(
        dir.path(),
        "wit/released-edited",
        "`wit/released/1.0.0/host-api/messaging.wit` is not as it was released",
    );
    fs::remove_file(dir.path().join(file)).unwrap();
    refused(dir.path(), "wit/released-edited", "messaging.wit` is gone");
    let dir = edited(&[]);
    fs::write(dir.path().join("released/1.0.0/host-api/more.wit"), "").unwrap();
    refused(dir.path(), "wit/released-edited", "more.wit` was never released");
}
