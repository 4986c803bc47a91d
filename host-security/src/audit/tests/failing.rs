//! Disks that are full, lie, or take their time.

use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use plugin_contract::Explain;

use super::{numbers, of_kind, paths, records, resources, settings, violation};
use crate::audit::{
    AuditLog, AuditSettings, AuditSink, RecordKind, chain::Medium, record::parse, verify,
};

#[derive(Default)]
struct Faults {
    /// Half of what is written arrives, and then there is no room.
    is_full: AtomicBool,
    /// What is written arrives, and the sync says that it did not.
    syncs_fail: AtomicBool,
    /// Not even cutting off works.
    cuts_fail: AtomicBool,
}

struct Faulty(File, Arc<Faults>);

fn no_room() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

impl Medium for Faulty {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.1.is_full.load(Ordering::SeqCst) {
            self.0.append(&bytes[..bytes.len() / 2])?;
            return Err(no_room());
        }
        self.0.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.1.syncs_fail.load(Ordering::SeqCst) {
            Err(no_room())
        } else {
            Medium::sync(&mut self.0)
        }
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        if self.1.cuts_fail.load(Ordering::SeqCst) { Err(no_room()) } else { self.0.cut(bytes) }
    }
}

fn faulty(directory: &Path) -> (AuditSettings, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let mut settings = settings(directory);
    let through = faults.clone();
    settings.through = Arc::new(move |file| Box::new(Faulty(file, through.clone())));
    (settings, faults)
}

/// A fault comes and goes, and nothing is lost by it.
#[track_caller]
fn check(fault: impl Fn(&Faults, bool)) {
    let dir = tempfile::tempdir().unwrap();
    let (settings, faults) = faulty(dir.path());
    let log = AuditLog::open(settings).unwrap();
    let tell = |number: usize| log.record(violation("greedy", "open", &number.to_string()));
    tell(1);
    log.flush().unwrap();
    fault(&faults, true);
    for number in 2..=20 {
        tell(number);
        if number % 5 == 0 {
            assert_eq!(log.flush().unwrap_err().code(), "audit/not-written");
        }
    }
    assert!(log.failures() >= 3, "{}", log.failures());
    assert_eq!(log.last_error(), Some(no_room().to_string()));
    fault(&faults, false);
    tell(21);
    log.flush().unwrap();
    log.close().unwrap();
    assert_eq!(resources(dir.path()), numbers(1..=21));
    verify(dir.path(), None).unwrap();
}

#[test]
fn a_full_disk_that_has_room_again_lost_nothing() {
    check(|faults, is_full| faults.is_full.store(is_full, Ordering::SeqCst));
}

#[test]
fn what_a_failed_sync_may_have_lost_is_written_again() {
    check(|faults, fails| faults.syncs_fail.store(fails, Ordering::SeqCst));
}

#[test]
fn half_a_record_that_cannot_be_cut_off_is_not_written_after() {
    check(|faults, fails| {
        faults.is_full.store(fails, Ordering::SeqCst);
        faults.cuts_fail.store(fails, Ordering::SeqCst);
    });
}

#[test]
fn a_disk_that_stays_full_costs_bounded_memory_and_every_event_is_counted() {
    const EVENTS: u64 = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let (mut settings, faults) = faulty(dir.path());
    settings.queue_max = 100_000;
    let log = AuditLog::open(settings).unwrap();
    faults.is_full.store(true, Ordering::SeqCst);
    for at in 0..EVENTS {
        log.record(violation("greedy", "open", &at.to_string()));
    }
    log.flush().unwrap_err();
    faults.is_full.store(false, Ordering::SeqCst);
    log.close().unwrap();
    let records = records(dir.path());
    let kept = of_kind(&records, RecordKind::Violation).len() as u64;
    let dropped: u64 =
        of_kind(&records, RecordKind::Dropped).iter().filter_map(|record| record.count).sum();
    assert_eq!(kept + dropped, EVENTS);
    assert!(kept > 1_000 && dropped > 1_000, "{kept} {dropped}");
    let bytes = fs::metadata(&paths(dir.path())[0]).unwrap().len();
    assert!(bytes < 2 << 20, "{bytes}");
    verify(dir.path(), None).unwrap();
}

#[test]
fn a_log_that_could_not_be_closed_is_found_as_far_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let (settings, faults) = faulty(dir.path());
    let log = AuditLog::open(settings).unwrap();
    log.record(violation("greedy", "open", "1"));
    log.flush().unwrap();
    faults.is_full.store(true, Ordering::SeqCst);
    log.record(violation("greedy", "open", "2"));
    log.flush().unwrap_err();
    log.close().unwrap_err();
    drop(log);
    assert_eq!(resources(dir.path())[0], "1");
    assert!(verify(dir.path(), None).unwrap().torn_bytes > 0);
    super::log_of(super::settings(dir.path()), 1);
    verify(dir.path(), None).unwrap();
}

/// Lets writes through only when it is open.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

struct Gated(File, Arc<Gate>);

impl Medium for Gated {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let gate = self.1.0.lock().unwrap();
        drop(self.1.1.wait_while(gate, |is_open| !*is_open).unwrap());
        self.0.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        Medium::sync(&mut self.0)
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.0.cut(bytes)
    }
}

#[test]
fn a_slow_disk_holds_nobody_up_and_what_found_no_place_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::new(Gate(Mutex::new(true), Condvar::new()));
    let mut settings = settings(dir.path());
    settings.queue_max = 16;
    let through = gate.clone();
    settings.through = Arc::new(move |file| Box::new(Gated(file, through.clone())));
    let log = AuditLog::open(settings).unwrap();
    *gate.0.lock().unwrap() = false;
    for at in 0..1_000 {
        // With the gate closed this would never end if it waited.
        log.record(violation("greedy", "open", &at.to_string()));
    }
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    log.close().unwrap();
    let records = records(dir.path());
    let kept = of_kind(&records, RecordKind::Violation).len() as u64;
    let dropped: u64 =
        of_kind(&records, RecordKind::Dropped).iter().filter_map(|record| record.count).sum();
    assert_eq!(kept + dropped, 1_000);
    assert!(dropped > 900, "{dropped}");
    verify(dir.path(), None).unwrap();
}

#[test]
fn a_file_that_cannot_be_begun_lets_the_old_one_grow_within_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.bytes_max = 8 << 10;
    let log = AuditLog::open(settings).unwrap();
    // Where the next file would go, something stands that cannot be removed as a file is.
    for seq in 1..200 {
        let name = dir.path().join(format!("audit-{seq:020}.jsonl"));
        if !name.exists() {
            fs::create_dir(name).unwrap();
        }
    }
    for at in 0..100 {
        log.record(violation("greedy", "open", &at.to_string()));
    }
    log.flush().unwrap_err();
    assert_eq!(paths(dir.path()).len(), 1);
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            fs::remove_dir(path).unwrap();
        }
    }
    log.flush().unwrap();
    log.close().unwrap();
    assert!(paths(dir.path()).len() > 1);
    for path in paths(dir.path()) {
        assert!(fs::metadata(path).unwrap().len() < 18 << 10);
    }
    let records = records(dir.path());
    let kept = of_kind(&records, RecordKind::Violation).len() as u64;
    let dropped: u64 =
        of_kind(&records, RecordKind::Dropped).iter().filter_map(|record| record.count).sum();
    assert_eq!(kept + dropped, 100);
    verify(dir.path(), None).unwrap();
}

#[test]
fn an_end_torn_at_any_byte_is_cut_off_and_told() {
    let dir = tempfile::tempdir().unwrap();
    super::log_of(settings(dir.path()), 2);
    let path = paths(dir.path()).remove(0);
    let good = fs::read(&path).unwrap();
    let last = good[..good.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for end in last..=good.len() {
        fs::write(&path, &good[..end]).unwrap();
        let torn = if end == good.len() { 0 } else { (end - last) as u64 };
        assert_eq!(verify(dir.path(), None).unwrap().torn_bytes, torn);
        if end % 16 != 0 && end > last + 2 && end < good.len() - 2 {
            continue; // Opening takes its time.
        }
        AuditLog::open(settings(dir.path())).unwrap().close().unwrap();
        let records = records(dir.path());
        let recovered = of_kind(&records, RecordKind::Recovered);
        assert_eq!(recovered.iter().filter_map(|record| record.count).sum::<u64>(), torn);
        if let Some(recovered) = recovered.first() {
            assert_eq!(recovered.operation.as_deref(), Some("torn"));
            assert_eq!(recovered.resource.as_deref(), std::str::from_utf8(&good[last..end]).ok());
        }
        assert_eq!(resources(dir.path()), ["1", "2"]);
        verify(dir.path(), None).unwrap();
    }
}

#[test]
fn a_file_that_was_begun_and_has_nothing_in_it_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    super::log_of(settings(dir.path()), 2);
    let next = dir.path().join(format!("audit-{:020}.jsonl", 6));
    for content in ["", "{\"seq\":6,\"ti"] {
        fs::write(&next, content).unwrap();
        assert_eq!(verify(dir.path(), None).unwrap().torn_bytes, content.len() as u64);
        super::log_of(settings(dir.path()), 1);
        assert!(!next.exists());
        verify(dir.path(), None).unwrap();
    }
}

#[test]
fn damage_in_the_middle_is_not_mended_but_left_to_be_found() {
    let dir = tempfile::tempdir().unwrap();
    super::log_of(settings(dir.path()), 3);
    let path = paths(dir.path()).remove(0);
    let damaged =
        fs::read_to_string(&path).unwrap().replace("\"resource\":\"2\"", "\"resource\":\"9\"");
    fs::write(&path, &damaged).unwrap();
    super::log_of(settings(dir.path()), 1);
    assert!(fs::read_to_string(&path).unwrap().starts_with(&damaged));
    let fault = verify(dir.path(), None).unwrap_err();
    assert_eq!(fault.code(), "audit/record-changed");
    assert!(parse(damaged.lines().nth(2).unwrap().as_bytes()).is_none());
}
