//! Many cases, each made from one number, in a process of their own.
//!
//! `FUZZ_CASES` says how many, `FUZZ_SEED` the number of the first; the one after it has the next number. A
//! case that fails says its number, and `FUZZ_SEED=<number> FUZZ_CASES=1` runs it again by itself.
//! A case fails if anything panics, on whichever thread; if it takes longer than [`CASE_MAX`]; and if it ends
//! the process. All together fail if they leave more memory behind than [`GROWTH_KIB_MAX`].
//! Not here: what a case is. Nor anything of a crate: the tests of `host-security` have this file, too.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write,
    panic::{self, AssertUnwindSafe},
    path::Path,
    process::{self, Command},
    str::FromStr,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use super::mutate::Rng;

/// Longest time of one case. Far more than any needs: a machine may be busy.
const CASE_MAX: Duration = Duration::from_secs(10);
/// What the process may have grown by since a quarter of the cases was through.
const GROWTH_KIB_MAX: u64 = 64 << 10;
/// Where the process for the cases notes the number of each.
const NOTES: &str = "FUZZ_NOTES";

/// What came of cases, by the codes of errors: how far they got.
pub(crate) type Outcomes = Vec<&'static str>;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Runs what `prepare` makes as often as `FUZZ_CASES` says, or else `cases` times, in a process of its own.
/// `test` is the name of the test that calls this.
#[track_caller]
pub(crate) fn run<C: FnMut(&mut Rng) -> Outcomes>(
    test: &str,
    cases: u64,
    prepare: impl FnOnce() -> C,
) {
    let (asked, first) = (number("FUZZ_CASES"), number("FUZZ_SEED").unwrap_or(1));
    match env::var_os(NOTES) {
        None => apart(test, asked.is_some()),
        Some(notes) => {
            let count = asked.unwrap_or(cases);
            Run { test, first, count, watch: watch(test.to_owned()), notes: notes.as_ref() }
                .all(&mut prepare());
        }
    }
}

fn number<N: FromStr>(name: &str) -> Option<N> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: `{text}`")))
}

/// Has this test run in a process of its own. One that is asked to run for long says how far it is.
#[track_caller]
fn apart(test: &str, says_how_far: bool) {
    let notes = tempfile::NamedTempFile::new().unwrap();
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]).env(NOTES, notes.path());
    let (status, said) = if says_how_far {
        (child.status().unwrap(), Vec::new())
    } else {
        let output = child.output().unwrap();
        (output.status, [output.stdout, output.stderr].concat())
    };
    let said = String::from_utf8_lossy(&said);
    let seed = fs::read_to_string(notes.path()).unwrap();
    assert!(
        status.success() && !seed.is_empty(),
        "{said}\n{test}: {status}. Again: FUZZ_SEED={seed} FUZZ_CASES=1 cargo test --workspace --test it -- {test}"
    );
}

struct Run<'a> {
    test: &'a str,
    first: u64,
    count: u64,
    watch: Sender<u64>,
    notes: &'a Path,
}

impl Run<'_> {
    fn all(&self, case: &mut dyn FnMut(&mut Rng) -> Outcomes) {
        let quiet = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            quiet(panic);
        }));
        let mut notes = fs::OpenOptions::new().write(true).open(self.notes).unwrap();
        let (mut outcomes, mut before) = (BTreeMap::<_, u64>::new(), None);
        for done in 0..self.count {
            let seed = self.first.wrapping_add(done);
            // Noted before it runs: a case that ends the process cannot say it any more.
            notes.set_len(0).unwrap();
            std::io::Seek::rewind(&mut notes).unwrap();
            write!(notes, "{seed}").unwrap();
            self.watch.send(seed).unwrap();
            if done == self.count / 4 {
                before = resident_kib();
            }
            let ended = panic::catch_unwind(AssertUnwindSafe(|| case(&mut Rng::new(seed))));
            let panicked = PANICS.load(Ordering::Relaxed) > 0;
            let (Ok(codes), false) = (ended, panicked) else {
                panic!("{}: the case of seed {seed} panicked", self.test);
            };
            for code in codes {
                *outcomes.entry(code).or_default() += 1;
            }
            if self.count >= 1_000 && (done + 1) % (self.count / 10) == 0 {
                let (test, done, mib) = (self.test, done + 1, resident_kib().unwrap_or(0) >> 10);
                println!("{test}: {done} of {}, {mib} MiB resident", self.count);
            }
        }
        println!("{}: {outcomes:?}", self.test);
        // A few cases are all warming up.
        if let (Some(before), Some(after), true) = (before, resident_kib(), self.count >= 40) {
            let grown = after.saturating_sub(before);
            assert!(grown < GROWTH_KIB_MAX, "{}: grown by {grown} KiB", self.test);
        }
    }
}

/// Ends the process when a case takes too long; what hangs would not be ended by anything gentler.
fn watch(test: String) -> Sender<u64> {
    let (began, begins) = mpsc::channel();
    let watch = move || {
        let mut seed = None;
        loop {
            match begins.recv_timeout(CASE_MAX) {
                Ok(next) => seed = Some(next),
                Err(RecvTimeoutError::Timeout) if seed.is_some() => {
                    println!("{test}: the case of seed {seed:?} took longer than {CASE_MAX:?}");
                    process::exit(1);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    };
    thread::spawn(watch);
    began
}

/// `None` where the system does not tell.
fn resident_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
