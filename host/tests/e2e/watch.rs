//! Plugins whose files change while they serve.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    chameleon::Chameleon,
    harness::{Host, built, run, stdout},
};

/// Longest time for anything to be noticed, on a machine that is busy.
const SOON: Duration = Duration::from_secs(180);

/// The component of a version that starts, or does not.
fn chameleon(version: &str, starts: bool) -> Vec<u8> {
    let guest = Chameleon::version(version);
    let guest = if starts { guest } else { guest.broken() };
    guest.upload().component
}

/// A folder with this version.
fn folder(at: &Path, version: &str) {
    Chameleon::version(version).write_to(at);
}

const TOKEN: &str = "0123456789abcdef";

/// A directory of plugins that is watched.
struct Bench {
    directory: TempDir,
}

impl Bench {
    /// With version 1.0.0 in one file.
    fn new() -> Self {
        let bench = Self::empty();
        fs::write(bench.file(), chameleon("1.0.0", true)).unwrap();
        bench
    }

    fn empty() -> Self {
        let directory = TempDir::new().unwrap();
        fs::create_dir(directory.path().join("plugins")).unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self) -> PathBuf {
        self.path("plugins/chameleon.wasm")
    }

    fn watch(&self) -> Host {
        self.watch_at("plugins")
    }

    fn watch_at(&self, name: &str) -> Host {
        let token = self.path("token");
        fs::write(&token, TOKEN).unwrap();
        let arguments = ["--watch", "--admin-token-file", token.to_str().unwrap()];
        Host::serve_from(&self.path(name), &self.path("data"), &arguments)
    }

    /// Drops another plugin in, and waits for it: what was changed before it has been looked at by then.
    #[track_caller]
    fn until_another_is_loaded(&self, host: &Host) {
        symlink(built("test-plugins").join("shout-v1"), self.path("plugins/shout-v1")).unwrap();
        until("the other plugin", || host.process("shout-v1", &[], "x").0 == 200);
    }

    /// How often the audit log, of a host that has ended, says this of a plugin.
    fn audited(&self, what: &str) -> usize {
        let data = self.path("data");
        let output = run(&["audit", "tail", "--json", "--data-dir", data.to_str().unwrap()]);
        stdout(&output).lines().filter(|line| line.contains(what)).count()
    }
}

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < SOON, "{what} never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The version that answers a call, which must be answered.
#[track_caller]
fn version(host: &Host) -> String {
    let (status, answer) = host.process("chameleon", &[], "hello");
    assert_eq!(status, 200, "{answer}");
    answer.strip_suffix(" hello").unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[track_caller]
fn until_version(host: &Host, wanted: &str) {
    until(&format!("version {wanted}"), || version(host) == wanted);
}

/// The code with which a file of this name is refused, if it is.
fn refused(host: &Host, file: &str) -> Option<String> {
    let listed: Value = host.get("/v1/plugins").json().unwrap();
    let mut all = listed["refused"].as_array().unwrap().iter();
    let found = all.find(|refused| refused.to_string().contains(file))?;
    Some(found["code"].as_str().unwrap().to_owned())
}

#[track_caller]
fn until_refused(host: &Host, file: &str, wanted: &str) {
    until(&format!("{wanted} for {file}"), || refused(host, file).as_deref() == Some(wanted));
}

fn compiled(host: &Host) -> u64 {
    let text = host.get("/metrics").text().unwrap();
    let line = text.lines().find(|line| line.starts_with("code_cache_compiled_total"));
    line.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// Calls the plugin all the while; each call must be answered. The versions that did, and how often.
fn calling(host: &Host, meanwhile: impl FnOnce()) -> BTreeMap<String, u32> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let mut versions = BTreeMap::new();
            while !is_over.load(Ordering::Acquire) {
                *versions.entry(version(host)).or_default() += 1;
            }
            versions
        });
        meanwhile();
        is_over.store(true, Ordering::Release);
        caller.join().unwrap()
    })
}

#[test]
fn a_file_that_is_copied_over_the_old_one_serves() {
    let bench = Bench::new();
    let host = bench.watch();
    assert_eq!(version(&host), "1.0.0");
    let versions = calling(&host, || {
        fs::write(bench.file(), chameleon("1.0.1", true)).unwrap();
        until_version(&host, "1.0.1");
    });
    assert_eq!(versions.keys().collect::<Vec<_>>(), ["1.0.0", "1.0.1"]);
    let log = host.stop();
    assert!(log.contains("the watcher took a file"), "{log}");
    assert_eq!(bench.audited("by the watcher"), 1);
}

#[test]
fn a_file_that_is_renamed_into_place_serves() {
    let bench = Bench::new();
    let host = bench.watch();
    fs::write(bench.path("plugins/.new"), chameleon("1.0.2", true)).unwrap();
    fs::rename(bench.path("plugins/.new"), bench.file()).unwrap();
    until_version(&host, "1.0.2");
}

#[test]
fn a_folder_behind_a_link_serves_when_the_link_leads_to_it() {
    let bench = Bench::empty();
    folder(&bench.path("v1"), "1.0.0");
    folder(&bench.path("v2"), "1.0.3");
    symlink("../v1", bench.path("plugins/current")).unwrap();
    let host = bench.watch();
    assert_eq!(version(&host), "1.0.0");
    symlink("../v2", bench.path("next")).unwrap();
    fs::rename(bench.path("next"), bench.path("plugins/current")).unwrap();
    until_version(&host, "1.0.3");
    // What the link leads to now is watched, too.
    folder(&bench.path("v2"), "1.0.4");
    until_version(&host, "1.0.4");
}

#[test]
fn a_directory_behind_a_link_serves_when_the_link_leads_to_it() {
    let bench = Bench::empty();
    folder(&bench.path("v1/chameleon"), "1.0.0");
    folder(&bench.path("v2/chameleon"), "1.0.5");
    symlink("v1", bench.path("current")).unwrap();
    let host = bench.watch_at("current");
    assert_eq!(version(&host), "1.0.0");
    symlink("v2", bench.path("next")).unwrap();
    fs::rename(bench.path("next"), bench.path("current")).unwrap();
    until_version(&host, "1.0.5");
}

#[test]
fn a_half_written_file_never_serves_and_the_whole_one_does() {
    use std::io::Write;
    let bench = Bench::new();
    let host = bench.watch();
    let new = chameleon("1.0.6", true);
    let versions = calling(&host, || {
        let mut file = fs::File::create(bench.file()).unwrap();
        let slices: Vec<_> = new.chunks(new.len() / 4).collect();
        let (last, first) = slices.split_last().unwrap();
        for slice in first {
            file.write_all(slice).unwrap();
            // Long enough for it to be tried as it is.
            std::thread::sleep(Duration::from_millis(400));
        }
        assert_eq!(version(&host), "1.0.0");
        file.write_all(last).unwrap();
        until_version(&host, "1.0.6");
    });
    assert_eq!(versions.keys().collect::<Vec<_>>(), ["1.0.0", "1.0.6"]);
    until("the end of the refusal", || refused(&host, "chameleon.wasm").is_none());
}

#[test]
fn a_truncated_file_is_refused_and_taken_once_it_is_completed() {
    let bench = Bench::new();
    let host = bench.watch();
    let new = chameleon("1.0.7", true);
    fs::write(bench.file(), &new[..new.len() / 2]).unwrap();
    until("the refusal", || refused(&host, "chameleon.wasm").is_some());
    assert_eq!(version(&host), "1.0.0");
    fs::write(bench.file(), &new).unwrap();
    until_version(&host, "1.0.7");
    until("the end of the refusal", || refused(&host, "chameleon.wasm").is_none());
}

#[test]
fn garbage_leaves_the_old_one_serving_and_is_reported_with_its_code() {
    let bench = Bench::new();
    let host = bench.watch();
    fs::write(bench.file(), "this is no component").unwrap();
    until_refused(&host, "chameleon.wasm", "core/not-a-component");
    assert_eq!(version(&host), "1.0.0");
    fs::write(bench.file(), chameleon("1.0.8", true)).unwrap();
    until_version(&host, "1.0.8");
    let log = host.stop();
    let mut lines = log.lines().filter(|line| line.contains("core/not-a-component"));
    assert!(lines.all(|line| line.contains("chameleon.wasm")), "{log}");
    assert!(log.contains("core/not-a-component"), "{log}");
    assert_eq!(bench.audited("by the watcher: core/not-a-component"), 1);
}

#[test]
fn rapid_successive_writes_end_on_the_last() {
    let bench = Bench::new();
    let host = bench.watch();
    let before = compiled(&host);
    calling(&host, || {
        for patch in 0..30 {
            let version = format!("2.{}.{}", patch / 10, patch % 10);
            fs::write(bench.file(), chameleon(&version, true)).unwrap();
        }
        until_version(&host, "2.2.9");
    });
    assert!(compiled(&host) - before < 15, "not each of them was compiled");
    // Nothing of what was there before comes back.
    (0..100).for_each(|_| assert_eq!(version(&host), "2.2.9"));
}

#[test]
fn a_storm_of_touches_costs_no_call_and_no_compile() {
    let bench = Bench::new();
    let host = bench.watch();
    let before = compiled(&host);
    let same = fs::read(bench.file()).unwrap();
    let versions = calling(&host, || {
        let begin = Instant::now();
        for touch in 0..1_000_u32 {
            if touch % 2 == 0 {
                fs::write(bench.file(), &same).unwrap();
            } else {
                let now = std::time::SystemTime::now();
                let file = fs::File::options().write(true).open(bench.file()).unwrap();
                file.set_modified(now).unwrap();
            }
            // A thousand in ten seconds.
            let next = begin + Duration::from_millis(10) * touch;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    });
    assert_eq!(versions.keys().collect::<Vec<_>>(), ["1.0.0"]);
    assert_eq!(compiled(&host), before);
    fs::write(bench.file(), chameleon("1.0.9", true)).unwrap();
    until_version(&host, "1.0.9");
    host.stop();
    assert_eq!(bench.audited("reloaded"), 1);
}

#[test]
fn a_version_that_does_not_start_is_tried_once_and_the_old_one_serves_on() {
    let bench = Bench::new();
    let host = bench.watch();
    let bad = chameleon("1.2.0", false);
    let versions = calling(&host, || {
        fs::write(bench.file(), &bad).unwrap();
        until_refused(&host, "chameleon.wasm", "core/initialize-failed");
        // The same bytes, as another file.
        fs::write(bench.path("plugins/.new"), &bad).unwrap();
        fs::rename(bench.path("plugins/.new"), bench.file()).unwrap();
    });
    assert_eq!(versions.keys().collect::<Vec<_>>(), ["1.0.0"]);
    fs::write(bench.file(), chameleon("1.2.1", true)).unwrap();
    until_version(&host, "1.2.1");
    host.stop();
    assert_eq!(bench.audited("core/initialize-failed"), 1);
}

#[test]
fn a_plugin_that_is_new_is_loaded() {
    let bench = Bench::new();
    let host = bench.watch();
    let from = built("test-plugins").join("shout-v1");
    let to = bench.path("plugins/shout-v1");
    fs::create_dir(&to).unwrap();
    // The folder is there for a while before what is in it.
    until_refused(&host, "shout-v1", "core/manifest-missing");
    for file in ["plugin.toml", "shout-v1.wasm"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
    until("the new plugin", || host.process("shout-v1", &[], "x") == (200, "X".to_owned()));
    assert_eq!(refused(&host, "shout-v1"), None);
    assert_eq!(version(&host), "1.0.0");
}

#[test]
fn a_plugin_that_was_refused_at_the_start_is_loaded_once_its_file_is_good() {
    let bench = Bench::empty();
    fs::write(bench.file(), "no component").unwrap();
    let host = bench.watch();
    assert_eq!(refused(&host, "chameleon.wasm").as_deref(), Some("core/not-a-component"));
    fs::write(bench.file(), chameleon("1.0.0", true)).unwrap();
    until("the plugin", || host.process("chameleon", &[], "hello").0 == 200);
    assert_eq!(refused(&host, "chameleon.wasm"), None);
    host.stop();
    assert_eq!(bench.audited("refused"), 1, "told at the start, and not again");
}

#[test]
fn a_plugin_whose_file_is_gone_serves_on_until_there_is_another() {
    let bench = Bench::new();
    let host = bench.watch();
    fs::remove_file(bench.file()).unwrap();
    bench.until_another_is_loaded(&host);
    assert_eq!(version(&host), "1.0.0");
    fs::write(bench.file(), chameleon("1.3.0", true)).unwrap();
    until_version(&host, "1.3.0");
    let log = host.stop();
    assert_eq!(log.matches("the file of a plugin is gone").count(), 1, "{log}");
}

#[test]
fn a_plugin_whose_file_is_renamed_is_followed() {
    let bench = Bench::new();
    let host = bench.watch();
    let moved = bench.path("plugins/renamed.wasm");
    let versions = calling(&host, || {
        fs::rename(bench.file(), &moved).unwrap();
        fs::write(&moved, chameleon("1.3.1", true)).unwrap();
        until_version(&host, "1.3.1");
    });
    assert_eq!(versions.keys().collect::<Vec<_>>(), ["1.0.0", "1.3.1"]);
    let listed: Value = host.get("/v1/plugins").json().unwrap();
    assert_eq!(listed["plugins"].as_array().unwrap().len(), 1, "{listed}");
}

#[test]
fn pipes_loops_and_huge_files_hold_up_no_other() {
    let bench = Bench::new();
    let host = bench.watch();
    let pipe = bench.path("plugins/pipe.wasm");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    symlink("loop.wasm", bench.path("plugins/loop.wasm")).unwrap();
    symlink("..", bench.path("plugins/up")).unwrap();
    symlink("/dev/zero", bench.path("plugins/zero.wasm")).unwrap();
    fs::File::create(bench.path("plugins/huge.wasm")).unwrap().set_len(1 << 40).unwrap();
    fs::write(bench.file(), chameleon("1.3.2", true)).unwrap();
    until_version(&host, "1.3.2");
    until_refused(&host, "pipe.wasm", "core/unreadable");
    until_refused(&host, "zero.wasm", "core/unreadable");
    until_refused(&host, "huge.wasm", "core/too-large");
    assert!(host.rss_kib() < 1 << 20);
}

#[test]
fn a_plugin_that_needs_another_is_loaded_once_that_is_there() {
    let bench = Bench::new();
    let host = bench.watch();
    let from = built("test-plugins");
    symlink(from.join("framing-decorator"), bench.path("plugins/framing-decorator")).unwrap();
    until_refused(&host, "framing-decorator", "core/dependency-missing");
    symlink(from.join("shout-v1"), bench.path("plugins/shout-v1")).unwrap();
    symlink(from.join("word-count"), bench.path("plugins/word-count")).unwrap();
    until("what needs them", || host.get("/v1/plugins/framing-decorator").status().as_u16() == 200);
    until("the end of the refusal", || refused(&host, "framing-decorator").is_none());
}

#[test]
fn a_plugin_that_is_given_alone_is_watched() {
    let bench = Bench::new();
    let host = bench.watch_at("plugins/chameleon.wasm");
    assert_eq!(version(&host), "1.0.0");
    fs::write(bench.path(".new"), chameleon("1.3.3", true)).unwrap();
    fs::rename(bench.path(".new"), bench.file()).unwrap();
    until_version(&host, "1.3.3");
}

#[test]
fn a_plugin_that_was_unloaded_stays_so_whatever_becomes_of_its_file() {
    let bench = Bench::new();
    let host = bench.watch();
    let order = |what: &str| {
        let order = host.post(&format!("/v1/plugins/chameleon/{what}"));
        let answer = order.header("authorization", format!("Bearer {TOKEN}")).send().unwrap();
        assert_eq!(answer.status().as_u16(), 204, "{what}");
    };
    order("unload");
    fs::write(bench.file(), chameleon("1.3.4", true)).unwrap();
    bench.until_another_is_loaded(&host);
    assert_eq!(host.refusal("chameleon", &[], "x"), (503, "core/not-loaded".to_owned()));
    // And comes back as it is now.
    order("start");
    until_version(&host, "1.3.4");
}

#[test]
fn a_plugin_whose_versions_are_deployed_is_not_the_watchers() {
    let bench = Bench::new();
    let host = bench.watch();
    let new = bench.path("new.wasm");
    fs::write(&new, chameleon("1.4.0", true)).unwrap();
    let token = bench.path("token");
    let deployed = run(&[
        "deploy",
        new.to_str().unwrap(),
        "--activate",
        "--server",
        &host.base,
        "--admin-token-file",
        token.to_str().unwrap(),
    ]);
    assert!(deployed.status.success(), "{deployed:?}");
    until_version(&host, "1.4.0");
    fs::write(bench.file(), chameleon("1.5.0", true)).unwrap();
    bench.until_another_is_loaded(&host);
    assert_eq!(version(&host), "1.4.0");
}
