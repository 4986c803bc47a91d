//! `plugin-host key`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use host_security::sign::{SignError, SigningKey};

use super::{CliError, artifacts::shown, say};

/// Make keys to sign components with.
#[derive(clap::Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(clap::Subcommand)]
enum KeyCommand {
    /// Make a new key: FILE, which you alone may read, and FILE.pub, which is for everyone.
    Generate {
        /// Where the private key goes. There must not be such a file yet.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

impl Key {
    pub(crate) fn run(self, json: bool) -> Result<ExitCode, CliError> {
        let KeyCommand::Generate { out } = self.command;
        let mut public_path = out.as_os_str().to_owned();
        public_path.push(".pub");
        let public_path = PathBuf::from(public_path);
        if public_path.exists() {
            return Err(SignError::Exists { path: shown(&public_path) }.into());
        }
        let key = SigningKey::generate()?;
        key.write_new(&out)?;
        let public = key.public();
        public.write_new(&public_path)?;
        if json {
            say(&serde_json::json!({
                "public-key": public,
                "key-id": public.id().to_string(),
                "private-file": out,
                "public-file": public_path,
            })
            .to_string());
        } else {
            say(&format!(
                "public key   {public}\n\
                 key id       {}\n\
                 private key  {} (keep it to yourself)\n\
                 \n\
                 To trust it, put into host.toml:\n\
                 [signatures.trusted-keys]\n\
                 {} = \"{public}\"",
                public.id(),
                shown(&out),
                name(&out),
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What to call the key: as its file, where that is a name in TOML.
fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !stem.is_empty() && stem.chars().all(is_name) {
        true => stem.into_owned(),
        false => "my-key".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::name;

    #[test]
    fn a_key_is_called_as_its_file_where_that_is_a_name() {
        assert_eq!(name(Path::new("keys/builds.key")), "builds");
        for odd in ["", "a b", "\u{e9}.key", "..", "a\"b"] {
            assert_eq!(name(Path::new(odd)), "my-key", "{odd:?}");
        }
    }
}
