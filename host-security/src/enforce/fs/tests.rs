use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use plugin_contract::Manifest;
use tempfile::TempDir;
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorFlags, ErrorCode, OpenFlags};

use super::{FsShared, Inner, OpenFiles, PluginFs, node::Node, ops::Opening};
use crate::{AuditSink, Auditor, Policy, Request, Rules, audit::AuditEvent};

/// A plugin's view of a directory of its own, and what was refused to it.
struct Guest {
    dir: TempDir,
    fs: PluginFs,
    open: OpenFiles,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl AuditSink for Told {
    fn record(&self, event: AuditEvent) {
        if let AuditEvent::Violation(violation) = event {
            let line = format!("{} {}", violation.operation, violation.resource);
            self.0.lock().unwrap().push(line);
        }
    }
}

impl Guest {
    /// `asked` are permissions; `rules` the operator's, in which `DIR` is the directory on the host.
    fn new(asked: &str, rules: &str) -> Self {
        let dir = TempDir::new().unwrap();
        for part in ["data/private", "data/open", "database", "elsewhere"] {
            fs::create_dir_all(dir.path().join(part)).unwrap();
        }
        for file in ["data/a", "data/private/key", "database/canary", "elsewhere/canary", "canary"]
        {
            fs::write(dir.path().join(file), file).unwrap();
        }
        let manifest: Manifest = format!(
            "[plugin]\nname = \"a\"\nversion = \"0.1.0\"\nentrypoint = \"a.wasm\"\n[permissions]\n{asked}"
        )
        .parse()
        .unwrap();
        let rules: Rules =
            toml::from_str(&rules.replace("DIR", dir.path().to_str().unwrap())).unwrap();
        let policy = Policy { all: rules, ..Policy::default() };
        let grant = policy.grant(&Request::from_manifest(&manifest));
        let told = Arc::new(Told::default());
        let auditor = Auditor::new("a", "0.1.0", Some(told.clone()));
        let private = dir.path().join("plugins/a");
        let fs = PluginFs::new(&grant, Some(private), &FsShared::default(), auditor);
        Self { dir, fs, open: OpenFiles::default(), told }
    }

    /// Everything under `/data` may be read and written, but for `/data/private`.
    fn usual() -> Self {
        Self::new(
            "fs = [\"read-write:/data\"]",
            "allow.fs = [\"read-write:/data\"]\ndeny.fs = [\"read-write:/data/private\"]\n\
             paths = { \"/data\" = \"DIR/data\" }",
        )
    }

    fn inner(&self) -> &Inner {
        &self.fs.inner
    }

    fn open(&self, path: &str, flags: DescriptorFlags, how: OpenFlags) -> Result<Node, ErrorCode> {
        let opening = Opening { how, flags, follow: true };
        self.inner().open(&self.inner().root(), path, opening, &self.open)
    }

    fn read(&self, path: &str) -> Result<String, ErrorCode> {
        let node = self.open(path, DescriptorFlags::READ, OpenFlags::empty())?;
        let bytes = self.inner().read(node.file()?, 0, 100)?;
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }

    fn write(&self, path: &str, text: &str) -> Result<(), ErrorCode> {
        let how = OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let node = self.open(path, DescriptorFlags::WRITE, how)?;
        self.inner().write(node.file()?, Some(0), text.as_bytes()).map(drop)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), ErrorCode> {
        self.inner().rename(&self.inner().root(), from, &self.inner().root(), to)
    }

    fn link(&self, from: &str, to: &str) -> Result<(), ErrorCode> {
        self.inner().link(&self.inner().root(), from, true, &self.inner().root(), to)
    }

    fn symlink(&self, target: &str, path: &str) -> Result<(), ErrorCode> {
        self.inner().symlink(&self.inner().root(), target, path)
    }

    fn list(&self, path: &str) -> Result<Vec<String>, ErrorCode> {
        let node = self.open(path, DescriptorFlags::READ, OpenFlags::DIRECTORY)?;
        let listing = self.inner().list(node.dir()?.clone(), &self.open)?.fill(self.inner())?;
        let mut names: Vec<String> = listing.ready.into_iter().map(|entry| entry.name).collect();
        names.sort();
        Ok(names)
    }

    fn host(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }

    /// What was refused since this was last asked.
    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.0.lock().unwrap())
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn what_is_granted_can_be_read_and_nothing_around_it() {
    let guest = Guest::usual();
    assert_eq!(guest.read("data/a"), Ok("data/a".to_owned()));
    assert_eq!(guest.read("data/open/../a"), Ok("data/a".to_owned()));
    assert_eq!(guest.told(), [""; 0]);
    for path in [
        "etc/passwd",
        "database/canary",
        "data/../etc/passwd",
        "data/../database/canary",
        "data/private/key",
        "data/open/../private/key",
        "data//private/./key",
        "data/private",
        "proc/self/environ",
    ] {
        assert_eq!(guest.read(path), Err(ErrorCode::NotPermitted), "{path}");
    }
    assert_eq!(
        guest.told(),
        [
            "open /etc/passwd",
            "open /database/canary",
            "open /etc/passwd",
            "open /database/canary",
            "open /data/private/key",
            "open /data/private/key",
            "open /data/private/key",
            "open /data/private",
            "open /proc/self/environ",
        ]
    );
    for (path, code) in [
        ("/etc/passwd", ErrorCode::NotPermitted),
        ("..", ErrorCode::NotPermitted),
        ("../../etc/passwd", ErrorCode::NotPermitted),
        ("data/a\0b", ErrorCode::IllegalByteSequence),
        ("", ErrorCode::NoEntry),
        ("data/..\\..\\canary", ErrorCode::NoEntry),
        ("data/a/", ErrorCode::NotDirectory),
        ("data/a/b", ErrorCode::NotDirectory),
    ] {
        assert_eq!(guest.read(path), Err(code), "{path:?}");
    }
}

#[test]
fn a_list_names_what_may_be_looked_at() {
    let guest = Guest::usual();
    assert_eq!(guest.list("."), Ok(vec!["data".to_owned(), "plugin-data".to_owned()]));
    assert_eq!(guest.list("data"), Ok(vec!["a".to_owned(), "open".to_owned()]));
    assert_eq!(guest.list("data/private"), Err(ErrorCode::NotPermitted));
}

#[test]
fn reading_and_writing_mean_what_they_say() {
    let guest = Guest::new(
        "fs = [\"read:/r\", \"write:/w\"]",
        "allow.fs = [\"read-write:/\"]\npaths = { \"/r\" = \"DIR/data\", \"/w\" = \"DIR/elsewhere\" }",
    );
    assert_eq!(guest.read("r/a"), Ok("data/a".to_owned()));
    assert_eq!(guest.write("w/new", "x"), Ok(()));
    assert_eq!(text(&guest.host("elsewhere/new")), "x");
    let denied = Err(ErrorCode::NotPermitted);
    assert_eq!(guest.write("r/a", "x"), denied);
    assert_eq!(guest.write("r/new", "x"), denied);
    assert_eq!(guest.open("r/a", DescriptorFlags::READ, OpenFlags::TRUNCATE).map(drop), denied);
    assert_eq!(guest.inner().create_directory(&guest.inner().root(), "r/dir"), denied);
    assert_eq!(guest.inner().unlink(&guest.inner().root(), "r/a"), denied);
    assert_eq!(guest.rename("r/a", "r/b"), denied);
    assert_eq!(guest.symlink("a", "r/l"), denied);
    assert_eq!(guest.read("w/new"), Err(ErrorCode::NotPermitted));
    assert_eq!(guest.list("w"), Err(ErrorCode::NotPermitted));
    assert_eq!(text(&guest.host("data/a")), "data/a");
}

#[test]
fn links_lead_where_the_rules_are_asked_again() {
    let guest = Guest::usual();
    assert_eq!(guest.symlink("a", "data/fine"), Ok(()));
    assert_eq!(guest.read("data/fine"), Ok("data/a".to_owned()));
    assert_eq!(guest.symlink("../canary", "data/up"), Ok(()));
    assert_eq!(guest.read("data/up"), Err(ErrorCode::NotPermitted));
    assert_eq!(guest.symlink("private/key", "data/in"), Ok(()));
    assert_eq!(guest.read("data/in"), Err(ErrorCode::NotPermitted));
    assert_eq!(guest.symlink("private", "data/dir"), Ok(()));
    assert_eq!(guest.read("data/dir/key"), Err(ErrorCode::NotPermitted));
    assert_eq!(guest.symlink("/etc/passwd", "data/abs"), Err(ErrorCode::NotPermitted));
    guest.told();
    // The host's own links, too: to the outside, by absolute path, and round in a circle.
    symlink("/etc/passwd", guest.host("data/host")).unwrap();
    symlink("/proc/self/root", guest.host("data/root")).unwrap();
    symlink("loop", guest.host("data/loop")).unwrap();
    assert_eq!(guest.read("data/host"), Err(ErrorCode::NotPermitted));
    assert_eq!(guest.read("data/root/etc/passwd"), Err(ErrorCode::NotPermitted));
    assert_eq!(guest.told(), ["open /etc/passwd", "open /proc/self/root"]);
    assert_eq!(guest.read("data/loop"), Err(ErrorCode::Loop));
    assert_eq!(
        guest.inner().read_link(&guest.inner().root(), "data/host"),
        Err(ErrorCode::NotPermitted)
    );
    assert_eq!(guest.inner().read_link(&guest.inner().root(), "data/fine"), Ok("a".to_owned()));
    // Through a dangling link, a file is made where it leads, if that is granted.
    assert_eq!(guest.symlink("made", "data/dangling"), Ok(()));
    assert_eq!(guest.write("data/dangling", "x"), Ok(()));
    assert_eq!(text(&guest.host("data/made")), "x");
    assert_eq!(guest.symlink("../outside", "data/dangling2"), Ok(()));
    assert_eq!(guest.write("data/dangling2", "x"), Err(ErrorCode::NotPermitted));
    assert!(!guest.host("outside").exists());
}

#[test]
fn a_trailing_slash_opens_no_way_through_a_link() {
    let guest = Guest::usual();
    symlink("../elsewhere", guest.host("data/l")).unwrap();
    let before = fs::metadata(guest.host("elsewhere")).unwrap().modified().unwrap();
    let (inner, root) = (guest.inner(), guest.inner().root());
    assert!(inner.create_directory(&root, "data/l/").is_err());
    assert!(inner.create_directory(&root, "data/l/new").is_err());
    assert!(inner.unlink(&root, "data/l/").is_err());
    assert!(inner.remove_directory(&root, "data/l/").is_err());
    assert!(guest.rename("data/l/", "data/m").is_err());
    assert!(guest.rename("data/a", "data/l/a").is_err());
    assert!(guest.link("data/l/canary", "data/c").is_err());
    let now = wasmtime_wasi::p2::bindings::filesystem::types::NewTimestamp::Now;
    let times = super::ops::Times { access: now, modification: now };
    assert!(inner.set_times_at(&root, "data/l/", true, times).is_err());
    assert_eq!(fs::read_dir(guest.host("elsewhere")).unwrap().count(), 1);
    assert_eq!(fs::metadata(guest.host("elsewhere")).unwrap().modified().unwrap(), before);
}

#[test]
fn names_move_without_gaining_rights() {
    let guest = Guest::new(
        "fs = [\"read-write:/data\", \"write:/data/drop\"]",
        "allow.fs = [\"read-write:/data\"]\ndeny.fs = [\"read:/data/drop\", \"read-write:/data/open/secret\"]\n\
         paths = { \"/data\" = \"DIR/data\" }",
    );
    fs::create_dir(guest.host("data/drop")).unwrap();
    fs::write(guest.host("data/drop/hidden"), "hidden").unwrap();
    fs::create_dir(guest.host("data/open/secret")).unwrap();
    assert_eq!(guest.rename("data/a", "data/b"), Ok(()));
    assert_eq!(guest.link("data/b", "data/c"), Ok(()));
    assert_eq!(guest.read("data/c"), Ok("data/a".to_owned()));
    // What may only be written cannot be made readable by another name.
    assert_eq!(guest.rename("data/drop/hidden", "data/seen"), Err(ErrorCode::NotPermitted));
    assert_eq!(guest.link("data/drop/hidden", "data/seen"), Err(ErrorCode::NotPermitted));
    assert_eq!(guest.rename("data/b", "data/drop/b"), Ok(()));
    // Nor can what is denied be moved along with the directory around it.
    assert_eq!(guest.rename("data/open", "data/moved"), Err(ErrorCode::NotPermitted));
    assert_eq!(guest.rename("data/private", "data/open"), Err(ErrorCode::NotPermitted));
    assert_eq!(guest.rename("data/private", "data/public"), Ok(()));
    // And the tree itself is the operator's.
    assert_eq!(guest.inner().remove_directory(&guest.inner().root(), "data"), Err(ErrorCode::Busy));
}

#[test]
fn a_deny_holds_for_the_place_whatever_path_leads_to_it() {
    let guest = Guest::new(
        "fs = [\"read:/one\", \"read-write:/two\"]",
        "allow.fs = [\"read-write:/\"]\ndeny.fs = [\"read-write:/one/private\"]\n\
         paths = { \"/one\" = \"DIR/data\", \"/two\" = \"DIR/data\" }",
    );
    assert_eq!(guest.read("two/a"), Ok("data/a".to_owned()));
    assert_eq!(guest.read("one/private/key"), Err(ErrorCode::NotPermitted));
    assert_eq!(guest.read("two/private/key"), Err(ErrorCode::NotPermitted));
    assert_eq!(guest.write("two/private/new", "x"), Err(ErrorCode::NotPermitted));
    assert!(!guest.host("data/private/new").exists());
}

#[test]
fn a_grant_may_be_about_one_file() {
    let guest = Guest::new(
        "fs = [\"read-write:/conf/one\"]",
        "allow.fs = [\"read-write:/conf/one\"]\npaths = { \"/conf/one\" = \"DIR/canary\" }",
    );
    assert_eq!(guest.read("conf/one"), Ok("canary".to_owned()));
    assert_eq!(guest.write("conf/one", "new"), Ok(()));
    assert_eq!(text(&guest.host("canary")), "new");
    assert_eq!(guest.read("conf/two"), Err(ErrorCode::NotPermitted));
    assert_eq!(guest.inner().unlink(&guest.inner().root(), "conf/one"), Err(ErrorCode::Busy));
    // In its place, a link would lead elsewhere.
    fs::remove_file(guest.host("canary")).unwrap();
    symlink("elsewhere/canary", guest.host("canary")).unwrap();
    assert!(guest.read("conf/one").is_err());
}

#[test]
fn whoever_swaps_a_link_between_two_steps_gains_nothing() {
    let guest = Guest::usual();
    fs::create_dir(guest.host("data/x")).unwrap();
    fs::write(guest.host("data/x/canary"), "mine").unwrap();
    let (a, b) = (guest.host("data/x"), guest.host("data/y"));
    symlink("../elsewhere", &b).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let swapper = {
        let (over, spare) = (over.clone(), guest.host("data/z"));
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let _ = fs::rename(&a, &spare);
                let _ = fs::rename(&b, &a);
                let _ = fs::rename(&spare, &b);
            }
        })
    };
    let mut read = 0;
    for _ in 0..20_000 {
        match guest.read("data/x/canary") {
            Ok(text) => {
                assert_eq!(text, "mine");
                read += 1;
            }
            Err(ErrorCode::NotPermitted | ErrorCode::NoEntry | ErrorCode::Busy) => {}
            // A link was seen, and a directory was there when it was read.
            Err(ErrorCode::Invalid) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    over.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(read > 0, "the swapped path was never the plugin's own");
}

#[test]
fn a_tree_holds_as_much_as_it_may() {
    let guest = Guest::new(
        "fs = [\"read-write:/data\"]",
        "allow.fs = [\"read-write:/data\"]\npaths = { \"/data\" = \"DIR/data\" }\n\
         limits = { write-size = \"1KB\", write-files = 8, open-files = 4 }",
    );
    // Already there: a, private, private/key, open; 22 bytes.
    assert_eq!(guest.write("data/big", &"x".repeat(900)), Ok(()));
    assert_eq!(guest.write("data/more", &"x".repeat(200)), Err(ErrorCode::InsufficientSpace));
    assert_eq!(guest.write("data/big", &"x".repeat(100)), Ok(()));
    assert_eq!(guest.write("data/more", &"x".repeat(200)), Ok(()));
    let sparse = guest.open("data/more", DescriptorFlags::WRITE, OpenFlags::empty()).unwrap();
    let set = |len| guest.inner().set_len(sparse.file().unwrap(), len);
    assert_eq!(set(1 << 62), Err(ErrorCode::InsufficientSpace));
    assert_eq!(set(300), Ok(()));
    let far = guest.inner().write(sparse.file().unwrap(), Some(u64::MAX), b"x");
    assert_eq!(far, Err(ErrorCode::FileTooLarge));
    // What has no name any more takes its bytes until it is closed.
    assert_eq!(guest.inner().unlink(&guest.inner().root(), "data/more"), Ok(()));
    assert_eq!(guest.write("data/again", &"x".repeat(700)), Err(ErrorCode::InsufficientSpace));
    drop(sparse);
    assert_eq!(guest.write("data/again", &"x".repeat(700)), Ok(()));
    // Entries: six are there now.
    assert_eq!(guest.inner().create_directory(&guest.inner().root(), "data/d"), Ok(()));
    assert_eq!(guest.symlink("a", "data/l"), Ok(()));
    assert_eq!(guest.link("data/a", "data/h"), Err(ErrorCode::InsufficientSpace));
    assert_eq!(guest.inner().unlink(&guest.inner().root(), "data/l"), Ok(()));
    assert_eq!(guest.link("data/a", "data/h"), Ok(()));
    assert!(guest.told().iter().any(|line| line == "link /data/h"));
}

#[test]
fn open_files_and_depth_are_bounded() {
    let guest = Guest::new(
        "fs = [\"read-write:/data\"]",
        "allow.fs = [\"read-write:/data\"]\npaths = { \"/data\" = \"DIR/data\" }\nlimits.open-files = 4",
    );
    let open = || guest.open("data/a", DescriptorFlags::READ, OpenFlags::empty());
    let held: Vec<Node> = (0..4).map(|_| open().unwrap()).collect();
    assert_eq!(open().map(drop), Err(ErrorCode::InsufficientMemory));
    drop(held);
    assert!(open().is_ok());
    let mut path = "data".to_owned();
    let deepest = (0..200).find(|_| {
        path.push_str("/d");
        guest.inner().create_directory(&guest.inner().root(), &path).is_err()
    });
    assert!(deepest.is_some_and(|depth| (50..150).contains(&depth)), "{deepest:?}");
    fs::remove_dir_all(guest.host("data/d")).unwrap();
}

#[test]
fn all_of_the_host_can_be_granted_and_a_part_of_it_denied() {
    let guest = Guest::new(
        "fs = [\"read:/\"]",
        "allow.fs = [\"read:/\"]\ndeny.fs = [\"read:/data/private\"]\npaths = { \"/\" = \"DIR\" }",
    );
    assert_eq!(guest.read("data/a"), Ok("data/a".to_owned()));
    assert_eq!(guest.read("canary"), Ok("canary".to_owned()));
    assert_eq!(guest.read("data/private/key"), Err(ErrorCode::NotPermitted));
    assert_eq!(guest.write("data/a", "x"), Err(ErrorCode::NotPermitted));
    assert_eq!(guest.write("plugin-data/note", "mine"), Ok(()));
    let names = ["canary", "data", "database", "elsewhere", "plugin-data", "plugins"];
    assert_eq!(guest.list("."), Ok(names.map(str::to_owned).to_vec()));
    // The private directory is found in one place only.
    assert_eq!(guest.read("plugins/a/note"), Ok("mine".to_owned()));
}

#[test]
fn a_directory_that_moved_to_where_a_deny_holds_is_listed_no_more() {
    let guest = Guest::new(
        "fs = [\"read-write:/data\"]",
        "allow.fs = [\"read-write:/data\"]\ndeny.fs = [\"read:/data/drop\"]\n\
         paths = { \"/data\" = \"DIR/data\" }",
    );
    let held = guest.open("data/open", DescriptorFlags::READ, OpenFlags::DIRECTORY).unwrap();
    assert_eq!(guest.rename("data/open", "data/drop"), Ok(()));
    fs::write(guest.host("data/drop/secret"), "secret").unwrap();
    let dir = held.dir().unwrap().clone();
    assert_eq!(
        guest.inner().list(dir.clone(), &guest.open).map(drop),
        Err(ErrorCode::NotPermitted)
    );
    let opening = Opening { how: OpenFlags::empty(), flags: DescriptorFlags::READ, follow: true };
    let read = guest.inner().open(&dir, "secret", opening, &guest.open).map(drop);
    assert_eq!(read, Err(ErrorCode::NotPermitted));
}

#[test]
fn the_private_directory_is_made_when_it_is_needed() {
    let guest = Guest::new("", "");
    assert!(!guest.host("plugins/a").exists());
    assert_eq!(guest.write("plugin-data/note", "mine"), Ok(()));
    assert_eq!(text(&guest.host("plugins/a/note")), "mine");
    let without = Guest::new("", "limits.data-files = 0");
    assert_eq!(without.write("plugin-data/note", "mine"), Err(ErrorCode::NotPermitted));
}

#[test]
fn the_private_directory_holds_so_many_bytes_and_files() {
    let full = Err(ErrorCode::InsufficientSpace);
    let small = Guest::new("", "limits.data-size = \"10B\"");
    assert_eq!(small.write("plugin-data/a", "0123456789"), Ok(()));
    assert_eq!(small.write("plugin-data/b", "x"), full);
    assert_eq!(text(&small.host("plugins/a/a")), "0123456789");
    let few = Guest::new("", "limits.data-files = 2");
    assert_eq!(few.write("plugin-data/a", ""), Ok(()));
    assert_eq!(few.write("plugin-data/b", ""), Ok(()));
    assert_eq!(few.write("plugin-data/c", ""), full);
    assert!(!few.host("plugins/a/c").exists());
}

#[test]
fn pipes_and_devices_are_no_files() {
    let guest = Guest::usual();
    let pipe = guest.host("data/pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    assert_eq!(guest.read("data/pipe"), Err(ErrorCode::Unsupported));
    assert_eq!(guest.write("data/pipe", "x"), Err(ErrorCode::Unsupported));
}

#[test]
fn a_directory_that_was_moved_is_judged_by_where_it_is() {
    let rules = [
        "allow.fs = [\"read-write:/data\"]\ndeny.fs = [\"read:/data/drop\"]\n",
        "allow.fs = [\"write:/data\", \"read-write:/data/open\"]\n",
    ];
    for rules in rules {
        let guest = Guest::new(
            "fs = [\"read-write:/data\"]",
            &format!("{rules}paths = {{ \"/data\" = \"DIR/data\" }}"),
        );
        fs::create_dir(guest.host("data/drop")).unwrap();
        fs::write(guest.host("data/drop/secret"), "secret").unwrap();
        fs::create_dir(guest.host("data/open/d")).unwrap();
        let flags = DescriptorFlags::READ;
        let held = guest.open("data/open/d", flags, OpenFlags::DIRECTORY).unwrap();
        let held = held.dir().unwrap().clone();
        // The held directory says that it is where all may be done, and what is in it is not.
        assert_eq!(guest.rename("data/open/d", "data/drop/d"), Ok(()));
        assert_eq!(guest.rename("data/drop/secret", "data/drop/d/secret"), Ok(()));
        let denied = Err(ErrorCode::NotPermitted);
        let opening = Opening { how: OpenFlags::empty(), flags, follow: true };
        let read = guest.inner().open(&held, "secret", opening, &guest.open).map(drop);
        assert_eq!(read, denied, "{rules}");
        let (inner, root) = (guest.inner(), guest.inner().root());
        assert_eq!(inner.rename(&held, "secret", &root, "data/open/seen"), denied, "{rules}");
        assert_eq!(inner.link(&held, "secret", false, &root, "data/open/seen"), denied, "{rules}");
        assert_eq!(inner.list(held.clone(), &guest.open).map(drop), denied, "{rules}");
        assert_eq!(inner.rename(&held, "secret", &held, "other"), Ok(()), "{rules}");
        assert!(!guest.host("data/open/seen").exists());
    }
}

#[test]
fn another_path_to_a_place_does_not_shed_its_denies() {
    let guest = Guest::new(
        "fs = [\"read-write:/one\", \"read-write:/two\"]",
        "allow.fs = [\"read-write:/\"]\n\
         deny.fs = [\"read:/one/private\", \"read:/one/open/in/it\"]\n\
         paths = { \"/one\" = \"DIR/data\", \"/two\" = \"DIR/data\" }",
    );
    fs::create_dir_all(guest.host("data/open/in/it")).unwrap();
    let denied = Err(ErrorCode::NotPermitted);
    assert_eq!(guest.rename("two/private/key", "two/seen"), denied);
    assert_eq!(guest.link("two/private/key", "two/seen"), denied);
    assert_eq!(guest.rename("two/open/in", "two/seen"), denied);
    assert_eq!(guest.rename("two/private/key", "two/private/other"), Ok(()));
    assert_eq!(guest.rename("two/a", "two/b"), Ok(()));
}

#[test]
fn a_grant_of_one_file_has_a_quota_that_holds() {
    let guest = Guest::new(
        "fs = [\"read-write:/log\"]",
        "allow.fs = [\"read-write:/log\"]\nlimits.write-size = \"8B\"\n\
         paths = { \"/log\" = \"DIR/data/log\" }",
    );
    fs::write(guest.host("data/log"), "12345678").unwrap();
    assert_eq!(guest.read("log"), Ok("12345678".to_owned()));
    let node = guest.open("log", DescriptorFlags::WRITE, OpenFlags::empty()).unwrap();
    let file = node.file().unwrap();
    assert_eq!(guest.inner().write(file, Some(0), b"87654321"), Ok(8));
    assert_eq!(guest.inner().write(file, None, b"9"), Err(ErrorCode::InsufficientSpace));
}

#[test]
fn a_private_directory_that_is_not_kept_is_nobody_elses() {
    let guest =
        Guest::new("fs = [\"read:/\"]", "allow.fs = [\"read:/\"]\npaths = { \"/\" = \"DIR\" }");
    fs::create_dir(guest.host("plugin-data")).unwrap();
    let grant = Policy {
        all: toml::from_str(&format!(
            "allow.fs = [\"read:/\"]\npaths = {{ \"/\" = \"{}\" }}",
            guest.dir.path().display()
        ))
        .unwrap(),
        ..Policy::default()
    };
    let manifest: Manifest =
        "[plugin]\nname = \"a\"\nversion = \"0.1.0\"\nentrypoint = \"a.wasm\"\n\
        [permissions]\nfs = [\"read:/\"]"
            .parse()
            .unwrap();
    let grant = grant.grant(&Request::from_manifest(&manifest));
    let fs = PluginFs::new(&grant, None, &FsShared::default(), Auditor::new("a", "0.1.0", None));
    let guest = Guest { fs, ..guest };
    assert_eq!(guest.read("canary"), Ok("canary".to_owned()));
    assert_eq!(guest.write("plugin-data/x", "x"), Err(ErrorCode::NoEntry));
    assert!(!guest.host("plugin-data/x").exists());
}
