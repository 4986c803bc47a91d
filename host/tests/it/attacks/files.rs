//! Files.

use std::fs;

use super::{Arena, SLOW, ViolationType::*, check};

// A01, A02
#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_path_leads_out() {
    let long = "n".repeat(256);
    let very_long = "x/".repeat(3_000);
    let denied = "not-permitted";
    let mut attacks: Vec<(String, &str)> = [
        ("open work/a r", "done"),
        ("open work//./sub/..//a r", "done"),
        ("open work/sub/../../../outside/canary r", denied),
        ("open work/../outside/canary r", denied),
        ("open /work/a r", denied),
        ("open //etc/passwd r", denied),
        ("open . r", "done"),
        ("open .. r", denied),
        ("open ../.. r", denied),
        ("open work/../.. r", denied),
        ("open proc/self/root/etc/passwd r", denied),
        ("open work\\..\\..\\outside\\canary r", denied),
        ("open work/..\\outside r", "no-entry"),
        ("open work/\u{202e}a r", "no-entry"),
        ("open work/A r", "no-entry"),
        ("open work/\u{ff0e}\u{ff0e}/outside r", "no-entry"),
        ("open WORK/a r", denied),
        ("open workshop/a r", denied),
        ("open  r", "no-entry"),
        ("symlink ../outside work/up", "done"),
        ("open work/up/canary r", denied),
        ("open work/up rd", denied),
        ("symlink sub work/l1", "done"),
        ("symlink l1/.. work/l2", "done"),
        ("symlink l2/../outside/canary work/l3", "done"),
        ("open work/l2/a r", "done"),
        ("open work/l3 r", denied),
        ("symlink loop work/loop", "done"),
        ("open work/loop r", "loop"),
        ("rename work/sub work/sub/inner", "invalid"),
        ("rename work/a work/../outside/a", denied),
        ("link work/a outside/a", denied),
        ("mkdir work/up/new", denied),
        ("unlink work/up/canary", denied),
        ("rmdir work/up/", "not-directory"),
        ("rmdir work", "busy"),
        ("rename work other", "busy"),
        ("set-times-at work/up 1 0", denied),
    ]
    .map(|(order, answer)| (order.to_owned(), answer))
    .into();
    attacks.push((format!("open work/{long} rcw"), "name-too-long"));
    attacks.push((format!("mkdir work/{long}"), "name-too-long"));
    attacks.push((format!("open work/{very_long}a r"), "name-too-long"));
    attacks.push((format!("symlink {very_long} work/long"), "name-too-long"));
    attacks.push(("open work/\0a r".to_owned(), "illegal-byte-sequence"));
    let attacks: Vec<_> = attacks.iter().map(|(order, answer)| (order.as_str(), *answer)).collect();
    check("", &attacks, &[FsAccessDenied]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times_that_no_calendar_has_are_refused_or_kept() {
    check(
        "",
        &[
            ("set-times-at work/a 0 0", "done"),
            ("set-times-at work/a max 0", "overflow"),
            ("set-times-at work/a 9223372036854775807 999999999", "done"),
            ("set-times-at work/a 1 1000000000", "invalid"),
            ("set-times-at work/a 1 1073741823", "invalid"),
            ("set-times-at work/a 1 1073741822", "invalid"),
            ("stat work/a", "6"),
        ],
        &[],
    )
    .await;
}

// A07
#[tokio::test(flavor = "multi_thread")]
async fn a_hoard_of_files_ends_at_the_limit_of_the_plugin() {
    check(
        "limits.open-files = 16\n",
        &[
            ("listings work 100000", "15"),
            ("streams work/a 500", "500"),
            ("streams work/a 100000", "security/handles-exceeded"),
        ],
        &[LimitExceeded],
    )
    .await;
}

// A08
#[tokio::test(flavor = "multi_thread")]
async fn bytes_and_entries_on_disk_have_an_end() {
    let Some(arena) = Arena::new("limits.write-size = \"1MB\"\nlimits.write-files = 300\n").await
    else {
        return;
    };
    arena.survives("set-size work/a 4611686018427387904", "insufficient-space").await;
    arena.survives("set-size work/a max", "").await;
    arena.survives("fill-dir work/sub 1000 10000", "99 insufficient-space").await;
    arena.survives("stream-splice work/sub/f0 65536 100000", "").await;
    let held: u64 = sizes(&arena.path("work"));
    assert!(held <= 1_000_000, "{held} bytes");
    arena.survives("fill-dir work 1000 0", "19").await;
    arena.survives("mkdir work/one-more", "insufficient-space").await;
    arena.ends(&[QuotaExceeded]).await;
}

// A08: directories moved into each other become no deeper than what can be removed again.
#[tokio::test(flavor = "multi_thread")]
async fn trees_do_not_become_deeper_by_moving_them() {
    let Some(arena) = Arena::new(SLOW).await else {
        return;
    };
    let moves = "mkdir work/x\nmkdir work/y\nrename work/x work/y/x\nrename work/y/x work/sub/x";
    arena.survives(moves, "done\ndone\ndone\ndone").await;
    let answer = arena.beside(arena.order("bury work 20")).await;
    let deepest = depth(&arena.path("work"));
    assert!(deepest <= 100, "{deepest} deep: {answer}");
    fs::remove_dir_all(arena.path("work")).unwrap();
    arena.ends(&[QuotaExceeded]).await;
}

// A08: what lies deeper than a path of the system can say is counted, too.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_beneath_long_names_count() {
    let Some(arena) = Arena::new(&format!("limits.write-size = \"1MB\"\n{SLOW}")).await else {
        return;
    };
    for _ in 0..4 {
        arena.beside(arena.order("bury-long work 40 3000000")).await;
        arena.order("rename work/sub work/other").await;
        // Counts are good for a second.
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        arena.order("fill-dir work 1 900000").await;
    }
    let held = std::process::Command::new("du")
        .args(["-sb", "--apparent-size"])
        .arg(arena.path("work"))
        .output();
    let held = String::from_utf8(held.unwrap().stdout).unwrap();
    let held: u64 = held.split_whitespace().next().unwrap().parse().unwrap();
    assert!(held < 2_000_000, "{held} bytes");
    arena.ends(&[QuotaExceeded]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_a_hundred_thousand_entries_is_listed_piece_by_piece() {
    let Some(arena) = Arena::new(SLOW).await else {
        return;
    };
    fs::create_dir(arena.path("work/many")).unwrap();
    for n in 0..100_000 {
        fs::File::create(arena.path(&format!("work/many/{n}"))).unwrap();
    }
    arena.survives("list-count work/many", "100000").await;
    arena.survives("open work/new cw", "insufficient-space").await;
    arena.ends(&[QuotaExceeded]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_that_write_at_once_share_one_quota() {
    let Some(arena) = Arena::new(&format!("limits.write-size = \"1MB\"\n{SLOW}")).await else {
        return;
    };
    fs::create_dir(arena.path("work/other")).unwrap();
    let (one, other) =
        (arena.order("fill-dir work/sub 200 10000"), arena.order("fill-dir work/other 200 10000"));
    let _ = arena.beside(futures::future::join(one, other)).await;
    let held = sizes(&arena.path("work"));
    assert!((900_000..=1_000_000).contains(&held), "{held} bytes");
    arena.ends(&[QuotaExceeded]).await;
}

/// Bytes of all files beneath a directory.
fn sizes(directory: &std::path::Path) -> u64 {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.file_type().unwrap() {
            kind if kind.is_dir() => sizes(&entry.path()),
            kind if kind.is_file() => entry.metadata().unwrap().len(),
            _ => 0,
        })
        .sum()
}

/// How deep a tree is.
fn depth(directory: &std::path::Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let below = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    below.map(|entry| 1 + depth(&entry.path())).max().unwrap_or(0)
}
