//! Files, as a plugin built with the standard library uses them, and as one that tries everything does.

use std::{
    fs,
    path::{Path, PathBuf},
};

use host::{HostConfig, PluginHost};
use host_security::audit::{AuditRecord, ViolationType, read, verify};
use tempfile::TempDir;

use crate::{name, plugins, text};

/// A host with one plugin, directories for it, and an audit log.
struct Probed {
    host: PluginHost,
    dir: TempDir,
}

impl Probed {
    /// `more` is what `host.toml` says besides the usual.
    async fn new(more: &str) -> Self {
        let dir = TempDir::new().unwrap();
        for part in ["work/secret", "library", "drop", "workshop"] {
            fs::create_dir_all(dir.path().join(part)).unwrap();
        }
        for file in ["work/secret/key", "library/book", "workshop/canary", "drop/letter"] {
            fs::write(dir.path().join(file), file).unwrap();
        }
        let config: HostConfig = format!(
            "[plugins.file-probe]\n\
             allow.fs = [\"read-write:/work\", \"read-write:/library\", \"read-write:/drop\"]\n\
             paths = {{ \"/work\" = \"DIR/work\", \"/library\" = \"DIR/library\", \"/drop\" = \"DIR/drop\" }}\n{more}"
        )
        .replace("DIR", dir.path().to_str().unwrap())
        .parse()
        .unwrap();
        let host = PluginHost::builder()
            .plugins(plugins())
            .only("file-probe".parse().unwrap())
            .data_dir(dir.path().join("host"))
            .config(config)
            .build()
            .await
            .unwrap();
        Self { host, dir }
    }

    /// What came of each command.
    async fn obey(&self, commands: &[&str]) -> Vec<String> {
        let call = text(&commands.join("\n"));
        let reply = self.host.process(&name("file-probe"), call).await.unwrap();
        String::from_utf8(reply.output).unwrap().lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Ends the host; what its audit log holds of violations.
    async fn violations(self) -> Vec<AuditRecord> {
        self.host.shutdown(std::time::Duration::from_secs(5)).await;
        let log = self.path("host/audit");
        verify(&log, None).unwrap();
        let records = read(&log).unwrap().map(Result::unwrap);
        records.filter(|record| record.violation_type.is_some()).collect()
    }
}

async fn check(commands: &[(&str, &str)]) -> Probed {
    let probed = Probed::new("").await;
    let asked: Vec<&str> = commands.iter().map(|(command, _)| *command).collect();
    let answers = probed.obey(&asked).await;
    for ((command, expected), answer) in commands.iter().zip(&answers) {
        assert_eq!(answer, expected, "{command}");
    }
    probed
}

fn content(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_of_the_standard_library_work_as_anywhere() {
    let probed = check(&[
        ("write /work/a hello", "ok"),
        ("append /work/a -world", "ok"),
        ("read /work/a", "ok hello-world"),
        ("size /work/a", "ok 11"),
        ("seek /work/a", "ok hello-wor!d"),
        ("truncate /work/a 5", "ok"),
        ("read work/a", "ok hello"),
        ("touch /work/a 1000000000", "ok"),
        ("modified /work/a", "ok 1000000000"),
        ("mkdirs /work/x/y/z", "ok"),
        ("mkdirs /work/x/y/z", "ok"),
        ("copy /work/a /work/x/y/b", "ok 5"),
        ("rename /work/x/y/b /work/x/c", "ok"),
        ("link /work/x/c /work/x/d", "ok"),
        ("list /work/x", "ok c d y"),
        ("list /work", "ok a x"),
        ("kind /work/x", "ok dir"),
        ("kind /work/a", "ok file"),
        ("exists /work/nothing", "ok false"),
        ("mkdir /work/x", "error AlreadyExists"),
        // The guest's standard library has no word for some errors.
        ("rmdir /work/x", "error Uncategorized"),
        ("read /work/x", "error IsADirectory"),
        ("read /work/none", "error NotFound"),
        ("rmtree /work/x", "ok"),
        ("remove /work/a", "ok"),
        ("list /work", "ok"),
        ("read /library/book", "ok library/book"),
        ("write /plugin-data/note mine", "ok"),
        ("read /plugin-data/note", "ok mine"),
        ("fill /work/big 1000000", "ok"),
        ("size /work/big", "ok 1000000"),
        ("list /", "ok drop library plugin-data work"),
    ])
    .await;
    assert_eq!(content(&probed.path("host/data/file-probe/note")), "mine");
    assert!(probed.violations().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_lies_outside_the_grants_is_out_of_reach_and_each_attempt_is_told() {
    let denied = "error PermissionDenied";
    let probed = check(&[
        ("read /etc/passwd", denied),
        ("exists /etc/passwd", denied),
        ("read /work/../etc/passwd", denied),
        ("read /workshop/canary", denied),
        ("read /work/secret/key", denied),
        ("list /work/secret", denied),
        ("write /work/secret/new x", denied),
        ("write /library/book x", denied),
        ("truncate /library/book 0", denied),
        ("remove /library/book", denied),
        ("rename /library/book /work/book", denied),
        ("mkdir /library/x", denied),
        ("write /drop/new x", "ok"),
        ("read /drop/letter", denied),
        ("list /drop", denied),
        ("link /drop/letter /work/letter", "error CrossesDevices"),
        ("write /new x", denied),
        ("raw-roots", "ok /"),
        ("raw-open /etc/passwd", "ok not-permitted"),
        ("raw-open ../etc/passwd", "ok not-permitted"),
        ("raw-open work/../../etc/passwd", "ok not-permitted"),
        ("raw-open-in work ../library/book", "ok not-permitted"),
        ("raw-open-in work ..", "ok not-permitted"),
        ("raw-symlink ../workshop work/l", "ok done"),
        ("read /work/l/canary", denied),
        ("readlink /work/l", "ok ../workshop"),
        ("raw-symlink /etc/passwd work/m", "ok not-permitted"),
        ("raw-symlink secret work/s", "ok done"),
        ("read /work/s/key", denied),
        ("raw-mkdir work/l/", "ok exist"),
        ("raw-stat proc/self/root", "ok not-permitted"),
    ])
    .await;
    assert_eq!(content(&probed.path("library/book")), "library/book");
    assert_eq!(fs::read_dir(probed.path("workshop")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(probed.path("work/secret")).unwrap().count(), 1);
    let told = probed.violations().await;
    let passwd = told.iter().find(|record| record.resource.as_deref() == Some("/etc/passwd"));
    let passwd = passwd.unwrap();
    assert_eq!(passwd.plugin.as_deref(), Some("file-probe"));
    assert_eq!(passwd.operation.as_deref(), Some("open"));
    assert_eq!(
        passwd.allow.as_deref(),
        Some(
            "plugin.toml: permissions.fs = [\"read:/etc/passwd\"] and \
             host.toml: plugins.file-probe.allow.fs = [\"read:/etc/passwd\"]"
        )
    );
    let secret = told.iter().find(|record| record.resource.as_deref() == Some("/work/secret/key"));
    let rule = secret.unwrap().rule.as_deref();
    assert_eq!(rule, Some("plugin.toml: permissions.deny.fs \"read-write:/work/secret\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_entries_depth_and_open_files_have_an_end() {
    let probed =
        Probed::new("limits = { write-size = \"1MB\", write-files = 100, open-files = 8 }").await;
    let answers = probed
        .obey(&[
            "fill /work/a 2000000",
            "fill /work/a 900000",
            "raw-size work/a 4611686018427387904",
            "raw-read-far work/a",
            "hoard /work/a 1000",
            "read /work/a x",
            "many /work 1000",
            "remove /work/0",
            "deep /work 2000",
        ])
        .await;
    let expected = ["error Uncategorized", "ok", "ok insufficient-space", "ok invalid", "ok 8"];
    assert_eq!(answers[..5], expected);
    assert!(answers[5].starts_with("ok xxx"), "{}", answers[5].len());
    // `a`, `secret` and `secret/key` were there.
    assert_eq!(answers[6..], ["ok 97", "ok", "ok 1"]);
    fs::remove_dir_all(probed.path("work")).unwrap();
    let told = probed.violations().await;
    let has = |kind| told.iter().any(|record| record.violation_type == Some(kind));
    assert!(has(ViolationType::QuotaExceeded) && has(ViolationType::LimitExceeded), "{told:?}");
}
