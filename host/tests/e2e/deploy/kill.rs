//! A host that is killed at any moment.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use reqwest::blocking::Client;

use super::*;

/// How often.
const KILLS: u64 = 200;

/// How often something was acknowledged, and what last: the deployment as it was told.
type Acknowledged = Arc<Mutex<(u64, Option<Value>)>>;

/// Deploys, tries, promotes and goes back, again and again, until the host is gone.
fn drive(base: &str, folders: &[Vec<u8>], mut seed: u64, acknowledged: &Acknowledged) {
    let client = Client::builder().timeout(Duration::from_secs(300)).no_proxy().build().unwrap();
    let token = "0123456789abcdef0123";
    let show = || {
        let request = client.get(format!("{base}/v1/plugins/chameleon/deployment"));
        request.bearer_auth(token).send().ok()?.json::<Value>().ok()
    };
    loop {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = (seed >> 33) as usize;
        let minor = pick / 8 % folders.len();
        let post = |path: &str| client.post(format!("{base}/v1/plugins{path}")).bearer_auth(token);
        let named = format!("/chameleon@1.{minor}.0");
        let request = match pick % 8 {
            0..=2 => post("?allow-downgrade=true")
                .header("content-type", "application/wasm")
                .body(folders[minor].clone()),
            3 => post(&format!("{named}/canary")).body(r#"{"steps":["50%"],"hold":"60m"}"#),
            4 => post("/chameleon/promote"),
            5 => post(&format!("{named}/activate")),
            6 => post("/chameleon/rollback"),
            _ => post(&format!("{named}/rollback")),
        };
        let Ok(response) = request.send() else { return };
        // What is not allowed is answered, too, and is no news.
        if response.status().is_success() {
            let is_upload = pick % 8 <= 2;
            let told = if is_upload { show() } else { response.json().ok() };
            let Some(told) = told else { return };
            let (count, last) = &mut *acknowledged.lock().unwrap();
            (*count, *last) = (*count + 1, Some(told));
        } else {
            assert!(response.status().as_u16() < 500, "{}", response.text().unwrap_or_default());
        }
    }
}

/// What must be true of a deployment, whatever was killed.
#[track_caller]
fn check(told: &Value, data: &Path, before: Option<&Value>) {
    let versions = told["versions"].as_array().unwrap();
    let of = |status: &str| versions.iter().filter(|v| v["status"] == status).count();
    assert_eq!(of("active"), 1, "{told}");
    assert_eq!(of("canary"), usize::from(!told["rollout"].is_null()), "{told}");
    let parts = data.join("deployments/parts");
    for version in versions {
        for part in ["checksum", "wit-hash"] {
            let digest = version[part].as_str().unwrap();
            let bytes = std::fs::read(parts.join(&digest["sha256:".len()..])).unwrap();
            assert_eq!(plugin_contract::Digest::of(&bytes).to_string(), digest);
        }
    }
    let Some(before) = before else { return };
    let revision = |told: &Value| told["revision"].as_u64().unwrap();
    assert!(revision(told) >= revision(before), "{before}\n{told}");
    if revision(told) == revision(before) {
        assert_eq!(told["versions"], before["versions"], "what was acknowledged is lost");
    }
}

#[test]
fn nothing_that_was_acknowledged_is_lost_however_often_the_host_is_killed() {
    let work = TempDir::new().unwrap();
    let data = work.path().join("data");
    let guests = (0..8).map(|minor| Chameleon::version(&format!("1.{minor}.0")));
    let folders: Vec<_> = guests.map(|guest| guest.upload().component).collect();
    let acknowledged = Acknowledged::default();
    let mut work = Some(work);
    let mut active = BTreeSet::new();
    let mut seen = 0;
    for round in 0..KILLS {
        let operator = Operator::start(data.clone(), work.take().unwrap());
        if round == 0 {
            let first = operator.folder(&Chameleon::version("1.0.0"), "first");
            operator.says(&["deploy", &first]);
        }
        let request =
            operator.host.get_as("/v1/plugins/chameleon/deployment", "0123456789abcdef0123");
        let told: Value = request.json().unwrap();
        let (acknowledgements, before) = std::mem::take(&mut *acknowledged.lock().unwrap());
        seen += acknowledgements;
        check(&told, &data, before.as_ref());
        // Records are there for all that led here, in order.
        let request = operator
            .host
            .get_as("/v1/plugins/chameleon/history?limit=1000", "0123456789abcdef0123");
        let history: Value = request.json().unwrap();
        let seqs =
            history["records"].as_array().unwrap().iter().map(|r| r["seq"].as_u64().unwrap());
        assert!(seqs.clone().zip(seqs.skip(1)).all(|(a, b)| b == a + 1));
        let serving = told["active"].as_str().unwrap().to_owned();
        let request = operator.host.post("/v1/plugins/chameleon/process").body("hello");
        let answer = request.header("x-plugin-side", "stable").send().unwrap().text().unwrap();
        assert_eq!(answer, format!("{serving} hello"), "round {round}");
        active.insert(serving);

        let Operator { mut host, work: kept, .. } = operator;
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let base = host.base.clone();
            let (acknowledged, folders, done) = (&acknowledged, &folders, &done);
            scope.spawn(move || {
                drive(&base, folders, round * 7_919 + 1, acknowledged);
                done.store(true, Ordering::Relaxed);
            });
            // Any moment: within the first steps, and later ones, however slow the disk is.
            while acknowledged.lock().unwrap().0 < round % 4 && !done.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_micros((round * 7_919 + 13) % 60_000));
            assert!(!done.load(Ordering::Relaxed), "the host answers until it is killed");
            host.kill();
        });
        work = Some(kept);
    }
    assert!(active.len() >= 4 && seen > KILLS, "{active:?} {seen}: too little was tried");
}
