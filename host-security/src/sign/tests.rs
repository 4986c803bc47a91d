use std::{fs, path::Path};

use plugin_contract::{Digest, Explain};

use super::{PublicKey, SIGNATURE_BYTES_MAX, Signature, SigningKey, Trust, TrustPolicy, digest_of};

const BYTES: &[u8] = b"component";

struct Keys {
    mine: SigningKey,
    other: SigningKey,
    stolen: SigningKey,
}

fn keys() -> Keys {
    let key = || SigningKey::generate().unwrap();
    Keys { mine: key(), other: key(), stolen: key() }
}

fn policy(keys: &Keys, required: bool) -> TrustPolicy {
    let trusted = [("mine", &keys.mine), ("stolen", &keys.stolen)];
    TrustPolicy {
        required,
        trusted: trusted.into_iter().map(|(name, key)| (name.to_owned(), key.public())).collect(),
        revoked: vec![keys.stolen.public()],
    }
}

/// The answer where no signature is required, and where one is: a word for trust, or the code.
#[track_caller]
fn check(keys: &Keys, file: Option<&str>, when_free: &str, when_required: &str) {
    for (required, expected) in [(false, when_free), (true, when_required)] {
        let answer =
            policy(keys, required).check(&digest_of(BYTES), file.map(str::as_bytes)).map(|trust| {
                match trust {
                    Trust::Unsigned => "unsigned".to_owned(),
                    Trust::Signed { by, .. } => format!("signed by {by}"),
                    Trust::Unknown { .. } => "unknown".to_owned(),
                }
            });
        let answer = answer.unwrap_or_else(|refused| {
            assert!(!refused.remedy().is_empty());
            refused.code().to_owned()
        });
        assert_eq!(answer, expected, "required: {required}");
    }
}

#[test]
fn a_trusted_signature_is_told_by_its_name_and_a_missing_one_is_refused_where_required() {
    let keys = keys();
    let signed = keys.mine.sign(&digest_of(BYTES)).to_string();
    check(&keys, Some(&signed), "signed by mine", "signed by mine");
    check(&keys, None, "unsigned", "signature/missing");
}

#[test]
fn an_untrusted_key_is_refused_where_a_signature_is_required() {
    let keys = keys();
    let signed = keys.other.sign(&digest_of(BYTES)).to_string();
    check(&keys, Some(&signed), "unknown", "signature/untrusted-key");
}

#[test]
fn a_revoked_key_is_refused_always_and_although_it_is_trusted() {
    let keys = keys();
    let signed = keys.stolen.sign(&digest_of(BYTES)).to_string();
    check(&keys, Some(&signed), "signature/revoked-key", "signature/revoked-key");
}

#[test]
fn a_signature_of_other_bytes_is_refused_always() {
    let keys = keys();
    let signed = keys.mine.sign(&digest_of(b"other bytes")).to_string();
    check(&keys, Some(&signed), "signature/mismatch", "signature/mismatch");
}

#[test]
fn a_signature_cannot_be_moved_to_another_key_or_artifact() {
    let keys = keys();
    let signed = keys.other.sign(&digest_of(BYTES)).to_string();
    let moved = signed.replace(&keys.other.public().to_string(), &keys.mine.public().to_string());
    check(&keys, Some(&moved), "signature/invalid", "signature/invalid");
    let signed = keys.mine.sign(&digest_of(b"other bytes")).to_string();
    let moved =
        signed.replace(&digest_of(b"other bytes").to_string(), &digest_of(BYTES).to_string());
    check(&keys, Some(&moved), "signature/invalid", "signature/invalid");
}

#[test]
fn a_file_that_is_no_signature_is_refused_always() {
    let keys = keys();
    let signed = keys.mine.sign(&digest_of(BYTES)).to_string();
    let mut without_last = signed.lines().collect::<Vec<_>>();
    without_last.pop();
    for malformed in [
        String::new(),
        "\0\x1b[31m".to_owned(),
        without_last.join("\n"),
        format!("{signed}comment = \"hello\"\n"),
        signed.replace("version = 1", "version = 2"),
        signed.replace("algorithm = \"ed25519\"", "algorithm = \"none\""),
        signed.replace("signature = \"", "signature = \"AAAA"),
        signed.replace("sha256:", "sha1:"),
        format!("{signed}{}", " ".repeat(SIGNATURE_BYTES_MAX)),
    ] {
        check(&keys, Some(&malformed), "signature/invalid", "signature/invalid");
    }
    check(&keys, Some(&format!("{signed}\n# a comment\n")), "signed by mine", "signed by mine");
}

#[test]
fn a_signature_file_reads_back_as_written() {
    let key = SigningKey::generate().unwrap();
    let signature = key.sign(&digest_of(BYTES));
    assert_eq!(Signature::parse(signature.to_string().as_bytes()).unwrap(), signature);
    assert!(signature.to_string().len() < 400);
}

#[test]
fn a_signature_file_is_replaced_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wasm.sig");
    for _ in 0..2 {
        let signature = SigningKey::generate().unwrap().sign(&digest_of(BYTES));
        signature.write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), signature.to_string());
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    let signature = SigningKey::generate().unwrap().sign(&digest_of(BYTES));
    assert_eq!(signature.write(&path.join("below")).unwrap_err().code(), "sign/file");
}

#[test]
fn the_format_does_not_change_by_accident() {
    // The first vector of RFC 8032; the same key, so a file that an older release wrote.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    private_file(
        &path,
        "-----BEGIN PRIVATE KEY-----\n\
         MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
         -----END PRIVATE KEY-----\n",
    );
    let key = SigningKey::read(&path).unwrap();
    assert_eq!(key.public().to_string(), "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    assert_eq!(key.public().id().to_string(), "21fe31dfa154a261");
    let file = key.sign(&Digest::from_bytes([7; 32])).to_string();
    assert_eq!(file, include_str!("golden.sig"));
}

fn private_file(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    set_mode(path, 0o600);
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(not(unix))]
fn set_mode(_: &Path, _: u32) {}

#[track_caller]
fn read_is(path: &Path, code: &str) {
    let error = SigningKey::read(path).unwrap_err();
    assert_eq!(error.code(), code, "{error}");
}

#[test]
fn a_key_reads_back_as_written_and_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let key = SigningKey::generate().unwrap();
    key.write_new(&path).unwrap();
    assert_eq!(SigningKey::read(&path).unwrap().public(), key.public());

    let other = SigningKey::generate().unwrap();
    assert_eq!(other.write_new(&path).unwrap_err().code(), "sign/key-exists");
    assert_eq!(SigningKey::read(&path).unwrap().public(), key.public());
    let nowhere = dir.path().join("nowhere/key");
    assert_eq!(other.write_new(&nowhere).unwrap_err().code(), "sign/file");
}

#[cfg(unix)]
#[test]
fn a_key_that_others_may_read_is_refused_until_it_is_closed_to_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    SigningKey::generate().unwrap().write_new(&path).unwrap();
    for mode in [0o644, 0o640, 0o602] {
        set_mode(&path, mode);
        read_is(&path, "sign/key-exposed");
    }
    set_mode(&path, 0o400);
    SigningKey::read(&path).unwrap();
}

#[test]
fn what_is_no_key_is_refused_without_being_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    for text in [
        "",
        "secret",
        "-----BEGIN PRIVATE KEY-----\nsecret!\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
    ] {
        private_file(&path, text);
        read_is(&path, "sign/key-invalid");
        let said = format!("{:?} {0}", SigningKey::read(&path).unwrap_err());
        assert!(!said.contains("secret") && !said.contains("c2VjcmV0"), "{said}");
    }
    private_file(&path, &"x".repeat(5 << 10));
    read_is(&path, "sign/file");
    read_is(dir.path(), "sign/file");
    read_is(&dir.path().join("nothing"), "sign/file");
}

#[test]
fn debug_output_shows_the_name_of_a_key_alone() {
    let key = SigningKey::generate().unwrap();
    assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.public().id()));
}

#[test]
fn a_public_key_has_one_spelling() {
    let key = SigningKey::generate().unwrap().public();
    let text = key.to_string();
    assert_eq!(text.parse(), Ok(key));
    let base64 = text.strip_prefix("ed25519:").unwrap();
    let short = format!("ed25519:{}", &base64[..40]);
    for bad in ["", base64, "ed25519:", &text.to_uppercase(), &short, &format!("{text}\n")] {
        assert!(bad.parse::<PublicKey>().is_err(), "{bad:?}");
    }
    // 32 bytes leave two bits of the last digit unused: they have to be zero.
    let bits = text.replace("o=", "p=").replace("A=", "B=").replace("E=", "F=");
    assert!(bits == text || bits.parse::<PublicKey>().is_err());
}

#[test]
fn a_public_key_is_read_from_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pub");
    let key = SigningKey::generate().unwrap().public();
    key.write_new(&path).unwrap();
    assert_eq!(key.write_new(&path).unwrap_err().code(), "sign/key-exists");
    assert_eq!(PublicKey::read(&path).unwrap(), key);
    fs::write(&path, "ed25519:?").unwrap();
    assert_eq!(PublicKey::read(&path).unwrap_err().code(), "sign/key-invalid");
}

#[test]
fn trust_is_told_in_words() {
    let key = SigningKey::generate().unwrap().public().id();
    let signed = Trust::Signed { by: "builds\n".to_owned(), key };
    assert_eq!(signed.to_string(), format!("signed by `builds\\n` ({key})"));
    let unknown = Trust::Unknown { key }.to_string();
    assert_eq!(unknown, format!("signed by a key nobody knows ({key})"));
    assert_eq!(Trust::Unsigned.to_string(), "unsigned");
}

#[test]
fn a_policy_with_a_word_it_does_not_know_is_refused() {
    let parse = toml::from_str::<TrustPolicy>;
    assert_eq!(parse("").unwrap(), TrustPolicy::default());
    assert!(parse("require-signatures = true").is_err());
    assert!(parse("trusted-keys = { a = \"ed25519:short\" }").is_err());
}
