//! Compiled code: found again, and never trusted for where it was found.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Barrier,
};

use futures::{FutureExt, future::join_all};
use host_core::{
    Artifact, CacheSettings, CodeMetrics, CodeSettings, CoreError, HelperProgram, Imports,
    Prepared, Runtime,
};
use plugin_contract::Explain;
use tempfile::TempDir;

use crate::{Data, budget, guests, small, text};

/// A host with a cache in `directory`.
fn host(directory: &Path) -> Runtime<Data> {
    let mut settings = CodeSettings::default();
    settings.cache = Some(CacheSettings::new(directory));
    with(settings)
}

fn with(settings: CodeSettings) -> Runtime<Data> {
    Runtime::builder(small()).code(settings).build().unwrap()
}

async fn prepare(host: &Runtime<Data>, artifact: &Artifact) -> Prepared<Data> {
    host.prepare(artifact, &Imports::none()).await.unwrap()
}

/// Whether the code does what it should.
async fn answers(prepared: &Prepared<Data>, answer: &str) {
    let mut instance = prepared.start(Data::new(), &[], &budget()).await.unwrap();
    let reply = instance.process(&mut text("hello"), &budget()).await.unwrap();
    assert_eq!(String::from_utf8(reply.output).unwrap(), answer);
}

fn echo() -> Artifact {
    guests::admit_wat("guest", &guests::echo()).unwrap()
}

/// A guest like no other of another number.
fn numbered(number: usize) -> Artifact {
    let body =
        format!("(drop (i32.const {number})) (call $echo (local.get $ptr) (local.get $len))");
    guests::admit_wat("guest", &guests::v1(&body, "")).unwrap()
}

/// The counts, without the sizes.
fn counts(host: &Runtime<Data>) -> CodeMetrics {
    let mut metrics = host.code_metrics();
    (metrics.disk_bytes, metrics.memory_bytes) = (0, 0);
    metrics
}

#[track_caller]
fn check(host: &Runtime<Data>, expected: impl FnOnce(&mut CodeMetrics)) {
    let mut metrics = CodeMetrics::default();
    expected(&mut metrics);
    assert_eq!(counts(host), metrics);
}

fn code_files(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "code")).collect()
}

/// A directory in which the echo has been compiled, and its file.
async fn filled() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    prepare(&host(dir.path()), &echo()).await;
    let file = code_files(dir.path()).pop().unwrap();
    (dir, file)
}

#[tokio::test]
async fn code_is_compiled_once_and_then_found_in_memory_and_by_the_next_host_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let first = host(dir.path());
    answers(&prepare(&first, &echo()).await, "hello").await;
    answers(&prepare(&first, &echo()).await, "hello").await;
    check(&first, |m| (m.misses, m.compiled, m.hits_memory) = (1, 1, 1));
    let sizes = first.code_metrics();
    assert!(sizes.memory_bytes > 0);
    assert_eq!(sizes.disk_bytes, fs::metadata(&code_files(dir.path())[0]).unwrap().len());

    let second = host(dir.path());
    answers(&prepare(&second, &echo()).await, "hello").await;
    prepare(&second, &numbered(1)).await;
    check(&second, |m| (m.hits_disk, m.misses, m.compiled) = (1, 1, 1));
    assert_eq!(code_files(dir.path()).len(), 2);
}

#[tokio::test]
async fn without_a_cache_code_is_kept_in_memory_as_far_as_it_may() {
    let host = with(CodeSettings::default());
    prepare(&host, &echo()).await;
    prepare(&host, &echo()).await;
    check(&host, |m| (m.misses, m.compiled, m.hits_memory) = (1, 1, 1));

    let mut settings = CodeSettings::default();
    settings.memory_bytes_max = host.code_metrics().memory_bytes * 2;
    let host = with(settings);
    for number in [1, 2, 3, 3, 2, 1] {
        prepare(&host, &numbered(number)).await;
    }
    check(&host, |m| (m.misses, m.compiled, m.hits_memory) = (4, 4, 2));

    let mut settings = CodeSettings::default();
    settings.memory_bytes_max = 0;
    let host = with(settings);
    let kept = prepare(&host, &echo()).await;
    prepare(&host, &echo()).await;
    check(&host, |m| (m.misses, m.compiled) = (2, 2));
    answers(&kept, "hello").await;
}

#[tokio::test]
async fn engines_with_other_settings_do_not_share_code() {
    let (dir, _) = filled().await;
    let mut other = small();
    other.pool.memory_reservation_bytes = 32 << 20;
    let mut settings = CodeSettings::default();
    settings.cache = Some(CacheSettings::new(dir.path()));
    let host = Runtime::<Data>::builder(other).code(settings).build().unwrap();
    answers(&prepare(&host, &echo()).await, "hello").await;
    check(&host, |m| (m.misses, m.compiled) = (1, 1));
    assert_eq!(code_files(dir.path()).len(), 2);
}

/// A host that finds `file` to be nothing it wrote compiles anew; the one after it finds good code again.
async fn is_rejected(dir: &Path, what: &str) {
    let host = self::host(dir);
    answers(&prepare(&host, &echo()).await, "hello").await;
    let metrics = counts(&host);
    assert_eq!((metrics.rejected, metrics.compiled, metrics.hits_disk), (1, 1, 0), "{what}");
    assert_eq!(metrics.write_failed, 0, "{what}");
    let next = self::host(dir);
    prepare(&next, &echo()).await;
    assert_eq!(next.code_metrics().hits_disk, 1, "after {what}");
}

#[tokio::test]
async fn a_flipped_byte_anywhere_costs_a_compile() {
    let (dir, file) = filled().await;
    let length = fs::metadata(&file).unwrap().len() as usize;
    for (region, at) in [
        ("magic", 0),
        ("format", 8),
        ("lane", 12),
        ("digest", 16),
        ("engine", 79),
        ("length", 80),
        ("random", 88),
        ("first byte of code", 104),
        ("code", length / 2),
        ("last byte of code", length - 17),
        ("mac", length - 16),
        ("last byte of mac", length - 1),
    ] {
        let mut bytes = fs::read(&file).unwrap();
        bytes[at] ^= 0x10;
        fs::write(&file, bytes).unwrap();
        is_rejected(dir.path(), region).await;
    }
}

#[tokio::test]
async fn a_file_that_is_cut_off_or_longer_costs_a_compile() {
    let (dir, file) = filled().await;
    let good = fs::read(&file).unwrap();
    for length in [0, 1, 103, 104, 119, 120, good.len() - 1] {
        fs::write(&file, &good[..length]).unwrap();
        is_rejected(dir.path(), &format!("{length} bytes")).await;
    }
    fs::write(&file, [good, vec![0]].concat()).unwrap();
    is_rejected(dir.path(), "a byte more").await;
}

#[tokio::test]
async fn a_file_that_is_too_large_is_not_read_and_drives_out_nothing_else() {
    let (dir, file) = filled().await;
    let host = host(dir.path());
    prepare(&host, &numbered(1)).await;
    let grow = || fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
    grow();
    answers(&prepare(&host, &echo()).await, "hello").await;
    assert_eq!((host.code_metrics().rejected, host.code_metrics().compiled), (1, 2));

    grow();
    let next = self::host(dir.path());
    prepare(&next, &numbered(1)).await;
    prepare(&next, &echo()).await;
    check(&next, |m| (m.evicted, m.hits_disk, m.misses, m.compiled) = (1, 1, 1, 1));
}

#[tokio::test]
async fn code_of_another_cache_or_of_another_component_is_not_taken() {
    let (dir, file) = filled().await;
    let (_other, foreign) = filled().await;
    assert_eq!(file.file_name(), foreign.file_name());
    fs::copy(&foreign, &file).unwrap();
    is_rejected(dir.path(), "another cache").await;

    prepare(&host(dir.path()), &numbered(1)).await;
    let another = code_files(dir.path()).into_iter().find(|path| *path != file).unwrap();
    fs::copy(another, &file).unwrap();
    is_rejected(dir.path(), "another component").await;
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_no_file_is_not_opened_as_one() {
    let (dir, file) = filled().await;
    let aside = dir.path().join("aside");
    fs::rename(&file, &aside).unwrap();
    // The very bytes, but another could change them.
    std::os::unix::fs::symlink(&aside, &file).unwrap();
    is_rejected(dir.path(), "a link").await;
    assert!(aside.is_file());

    fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    is_rejected(dir.path(), "a pipe").await;

    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    is_rejected(dir.path(), "a directory").await;
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_costs_no_load() {
    let (dir, file) = filled().await;
    fs::remove_file(&file).unwrap();
    fs::create_dir_all(file.join("full")).unwrap();
    let host = host(dir.path());
    answers(&prepare(&host, &echo()).await, "hello").await;
    check(&host, |m| (m.rejected, m.misses, m.compiled, m.write_failed) = (1, 1, 1, 1));
    let unfinished = fs::read_dir(dir.path()).unwrap().filter(|entry| {
        entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "tmp")
    });
    assert_eq!(unfinished.count(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn a_cache_that_may_only_be_read_is_read() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, _) = filled().await;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let host = host(dir.path());
    prepare(&host, &echo()).await;
    answers(&prepare(&host, &numbered(1)).await, "hello").await;
    let metrics = host.code_metrics();
    assert_eq!((metrics.hits_disk, metrics.compiled), (1, 1));
    // Root may write all the same.
    let is_root = fs::write(dir.path().join("probe"), "").is_ok();
    assert_eq!(metrics.write_failed, u64::from(!is_root));
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn a_cache_in_a_place_that_is_no_directory_is_a_mistake_to_be_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let mut settings = CodeSettings::default();
    settings.cache = Some(CacheSettings::new(&file));
    let Err(error) = Runtime::<Data>::builder(small()).code(settings).build() else {
        panic!("a file was taken for a directory");
    };
    assert_eq!(error.code(), "core/unreadable");
}

#[cfg(unix)]
#[tokio::test]
async fn a_directory_that_others_may_write_is_refused_and_a_key_they_may_have_read_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, _) = filled().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let key = dir.path().join("key");
    assert_eq!(mode(&key), 0o600);
    let known = fs::read(&key).unwrap();

    // A directory of the operator's own is left as it is.
    set(dir.path(), 0o755);
    prepare(&host(dir.path()), &echo()).await;
    assert_eq!((mode(dir.path()), fs::read(&key).unwrap()), (0o755, known.clone()));
    set(dir.path(), 0o1777);
    let mut settings = CodeSettings::default();
    settings.cache = Some(CacheSettings::new(dir.path()));
    let Err(error) = Runtime::<Data>::builder(small()).code(settings).build() else {
        panic!("a directory that anyone may write to was taken");
    };
    assert_eq!(error.code(), "core/unreadable");
    set(dir.path(), 0o700);

    set(&key, 0o644);
    is_rejected(dir.path(), "what was written with the key before").await;
    assert_eq!(mode(&key), 0o600);
    assert_ne!(fs::read(&key).unwrap(), known);
}

#[tokio::test]
async fn what_was_not_used_for_longest_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    prepare(&host(dir.path()), &numbered(1)).await;
    let bytes = fs::metadata(&code_files(dir.path())[0]).unwrap().len();
    let host = |files: u64| {
        let mut cache = CacheSettings::new(dir.path());
        cache.bytes_max = bytes * files + bytes / 2;
        let mut settings = CodeSettings::default();
        settings.cache = Some(cache);
        with(settings)
    };
    let three = host(3);
    for number in [2, 3] {
        prepare(&three, &numbered(number)).await;
    }
    // As if the first had been written long ago, and then used.
    for file in code_files(dir.path()) {
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(1000);
        fs::File::options().write(true).open(file).unwrap().set_modified(long_ago).unwrap();
    }
    prepare(&three, &numbered(1)).await;
    assert_eq!(three.code_metrics().hits_disk, 1);
    prepare(&three, &numbered(4)).await;
    assert_eq!((code_files(dir.path()).len(), three.code_metrics().evicted), (3, 1));
    assert!(three.code_metrics().disk_bytes <= bytes * 3 + bytes / 2);

    let after = host(3);
    for number in [1, 4] {
        prepare(&after, &numbered(number)).await;
    }
    assert_eq!(after.code_metrics().hits_disk, 2, "those used last were to stay");
    // A host that may keep less makes room when it starts.
    let one = host(1);
    assert_eq!((code_files(dir.path()).len(), one.code_metrics().evicted), (1, 2));
    let none = host(0);
    prepare(&none, &numbered(9)).await;
    assert_eq!(code_files(dir.path()).len(), 0);
}

#[tokio::test]
async fn what_a_dead_host_left_unfinished_is_swept_away_and_all_else_is_left_alone() {
    let (dir, file) = filled().await;
    let write = |name: &str, hours: u64| {
        let path = dir.path().join(name);
        fs::write(&path, "unfinished").unwrap();
        let then = std::time::SystemTime::now() - std::time::Duration::from_secs(hours * 3600 + 60);
        fs::File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
        path
    };
    let (old, new) = (write("1-0123.tmp", 1), write("2-4567.tmp", 0));
    let others = write("notes.txt", 1000);
    host(dir.path());
    assert!(!old.exists());
    assert!(new.exists() && others.exists() && file.exists());
}

#[test]
fn many_hosts_at_once_share_one_directory() {
    const GUESTS: usize = 12;
    let dir = tempfile::tempdir().unwrap();
    let start = Barrier::new(4);
    let run = |small: bool| {
        start.wait();
        let mut cache = CacheSettings::new(dir.path());
        if small {
            cache.bytes_max = 100 << 10;
        }
        let mut settings = CodeSettings::default();
        settings.cache = Some(cache);
        settings.memory_bytes_max = 0;
        let host = with(settings);
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        executor.block_on(async {
            for number in (0..GUESTS).chain(0..GUESTS) {
                answers(&prepare(&host, &numbered(number)).await, "hello").await;
            }
        });
        host.code_metrics()
    };
    let all = std::thread::scope(|scope| {
        let hosts: Vec<_> = (0..4).map(|n| scope.spawn(move || run(n == 3))).collect();
        hosts.into_iter().map(|host| host.join().unwrap()).collect::<Vec<_>>()
    });
    for metrics in all {
        assert_eq!((metrics.rejected, metrics.write_failed), (0, 0), "{metrics:?}");
        assert_eq!(metrics.hits_disk + metrics.compiled, 2 * GUESTS as u64, "{metrics:?}");
    }
}

#[tokio::test]
async fn who_asks_for_the_same_at_one_time_waits_for_one_compile() {
    let host = with(CodeSettings::default());
    let artifact = echo();
    let imports = Imports::none();
    let requests = (0..10).map(|_| host.prepare(&artifact, &imports));
    for prepared in join_all(requests).await {
        answers(&prepared.unwrap(), "hello").await;
    }
    check(&host, |m| (m.misses, m.compiled, m.joined) = (1, 1, 9));
}

#[tokio::test]
async fn who_gives_up_disturbs_nobody() {
    let host = with(CodeSettings::default());
    let (artifact, imports) = (echo(), Imports::none());
    let mut first = Box::pin(host.prepare(&artifact, &imports));
    let mut second = Box::pin(host.prepare(&artifact, &imports));
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    drop(first);
    answers(&second.await.unwrap(), "hello").await;
    check(&host, |m| (m.misses, m.compiled, m.joined) = (1, 1, 1));
}

#[tokio::test]
async fn a_component_that_is_no_good_is_refused_alike_each_time() {
    let host = with(CodeSettings::default());
    // The types are wrong in a function, which admission does not look into.
    let bad = guests::admit_wat("guest", &guests::v1("(i64.const 0)", "")).unwrap();
    for _ in 0..2 {
        let error = refusal(&host, &bad).await;
        assert_eq!(error.code(), "core/compile-failed");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("type mismatch"), "{source}");
    }
    check(&host, |m| (m.misses, m.compile_failed) = (2, 2));
    answers(&prepare(&host, &echo()).await, "hello").await;
}

#[tokio::test]
async fn other_bytes_than_were_admitted_are_refused_to_the_one_who_brought_them() {
    let host = with(CodeSettings::default());
    let (good, mut changed) = (echo(), echo());
    changed.bytes = numbered(1).bytes;
    assert_eq!(refusal(&host, &changed).await.code(), "core/changed-on-disk");
    // Both ask for the same.
    let imports = Imports::none();
    let (changed, good) =
        tokio::join!(host.prepare(&changed, &imports), host.prepare(&good, &imports));
    assert_eq!(changed.map(drop).unwrap_err().code(), "core/changed-on-disk");
    answers(&good.unwrap(), "hello").await;
    let metrics = host.code_metrics();
    assert_eq!((metrics.misses, metrics.compiled), (3, 1), "{metrics:?}");
    // Reading the wrong bytes can be over before the other asks.
    assert!(metrics.joined <= 1, "{metrics:?}");
}

async fn refusal(host: &Runtime<Data>, artifact: &Artifact) -> CoreError {
    match host.prepare(artifact, &Imports::none()).await {
        Ok(_) => panic!("it was prepared"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_helper_that_is_none_is_told_from_a_component_that_is_no_good() {
    let mut settings = CodeSettings::default();
    let program = "/nowhere/at/all".into();
    settings.compiler.helper = Some(HelperProgram { program, args: Vec::new() });
    let dir = tempfile::tempdir().unwrap();
    settings.cache = Some(CacheSettings::new(dir.path()));
    let host = with(settings);
    assert_eq!(refusal(&host, &echo()).await.code(), "core/compiler-unavailable");
    // What is there already needs no compiler.
    prepare(&self::host(dir.path()), &echo()).await;
    answers(&prepare(&host, &echo()).await, "hello").await;
}

#[tokio::test]
async fn more_than_may_wait_for_the_compiler_are_refused() {
    let mut settings = CodeSettings::default();
    settings.compiler.waiting_max = 1;
    let host = with(settings);
    let (artifacts, imports) = ([0, 1, 2].map(numbered), Imports::none());
    let requests = artifacts.iter().map(|artifact| host.prepare(artifact, &imports));
    let mut codes: Vec<_> = join_all(requests)
        .await
        .into_iter()
        .map(|prepared| prepared.map(drop).map_err(|error| error.code()))
        .collect();
    codes.sort();
    assert_eq!(codes, [Ok(()), Ok(()), Err("core/compiler-busy")]);
}
