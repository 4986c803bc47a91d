//! An operator's day.

use super::*;

fn status(deployment: &Value, version: &str) -> String {
    let versions = deployment["versions"].as_array().unwrap();
    let found = versions.iter().find(|found| found["version"] == version).unwrap();
    found["status"].as_str().unwrap().to_owned()
}

#[test]
fn a_version_is_deployed_tried_promoted_and_taken_back_from_the_command_line() {
    let operator = Operator::new();
    let first = operator.folder(&Chameleon::version("1.0.0"), "first");
    let told = operator.says(&["deploy", &first]);
    assert_eq!(told.trim(), "chameleon 1.0.0 is active");
    assert_eq!(operator.serves(), "1.0.0 hello");

    let second = operator.folder(&Chameleon::version("1.1.0"), "second");
    let told = operator.says(&["deploy", &second, "--why", "ticket 7"]);
    assert!(told.contains("is staged") && told.contains("contract: identical"), "{told}");
    assert!(told.contains("next: plugin-host canary chameleon 1.1.0"), "{told}");
    assert_eq!(operator.refused(&["promote", "chameleon"]), "deploy/no-canary");

    let plan = ["--steps", "10%,50%,100%", "--hold", "300ms", "--sample-min", "50"];
    let canary = [&["canary", "chameleon", "1.1.0"][..], &plan].concat();
    let rollout = operator.json(&canary);
    assert_eq!(status(&rollout, "1.1.0"), "canary");
    assert_eq!(rollout["rollout"]["steps"], serde_json::json!(["10%", "50%", "100%"]));
    let table = operator.says(&["rollout", "status", "chameleon"]);
    assert!(table.contains("canary 1.1.0 at 10%: [10%] 50% 100%"), "{table}");
    assert!(table.contains("evidence of harm: errors 1.00, latency 1.00"), "{table}");
    let metrics = operator.host.get("/metrics").text().unwrap();
    let share = r#"plugin_share_ratio{plugin="chameleon",version="1.1.0",status="canary"} 0.1"#;
    assert!(metrics.contains(share), "{metrics}");
    within_half_a_minute("it is promoted", || {
        (0..100).for_each(|_| drop(operator.serves()));
        status(&operator.json(&["rollout", "status", "chameleon"]), "1.1.0") == "active"
    });
    assert_eq!(operator.serves(), "1.1.0 hello");

    operator.says(&["rollback", "chameleon", "--why", "it is Friday"]);
    assert_eq!(operator.serves(), "1.0.0 hello");
    let history = operator.says(&["history", "chameleon"]);
    for line in
        ["ann: ticket 7", "canary -> active", "host: held without harm", "ann: it is Friday"]
    {
        assert!(history.contains(line), "{line}\n{history}");
    }
    let records = operator.json(&["history", "chameleon", "--limit", "2"]);
    let what = |at: usize| records["records"][at]["what"].as_str().unwrap().to_owned();
    assert_eq!([what(0), what(1)], ["restore", "supersede"]);
    let metrics = operator.host.get("/metrics").text().unwrap();
    for line in [
        r#"plugin_swaps_total{plugin="chameleon"} 2"#,
        r#"plugin_rollbacks_total{plugin="chameleon",by="operator"} 1"#,
        r#"rollout_verdicts_total{plugin="chameleon",verdict="promote"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let list = stdout(&run(&["list", "--server", &operator.host.base]));
    assert!(list.contains("1.0.0     * serving"), "{list}");
    let all = operator.json(&["rollout", "status"]);
    assert_eq!(all["deployments"].as_array().unwrap().len(), 1);
}

#[test]
fn a_canary_that_does_harm_is_taken_back_while_nobody_looks() {
    let operator = Operator::new();
    for (guest, name) in [
        (Chameleon::version("1.0.0"), "first"),
        (Chameleon::version("1.1.0").failing(300), "second"),
    ] {
        operator.says(&["deploy", &operator.folder(&guest, name)]);
    }
    operator.says(&["canary", "chameleon", "1.1.0", "--steps", "20%", "--hold", "60m"]);
    within_half_a_minute("it is taken back", || {
        (0..100).for_each(|_| drop(operator.serves()));
        status(&operator.json(&["rollout", "status", "chameleon"]), "1.1.0") == "failed"
    });
    let history = operator.says(&["history", "chameleon"]);
    assert!(history.contains("canary -> failed"), "{history}");
    assert!((0..50).all(|_| operator.serves() == "1.0.0 hello"));
}

#[test]
fn testers_choose_who_answers_and_are_told_who_did() {
    let operator = Operator::new();
    for version in ["1.0.0", "1.1.0"] {
        operator.says(&["deploy", &operator.folder(&Chameleon::version(version), version)]);
    }
    operator.says(&["canary", "chameleon", "1.1.0", "--steps", "1%", "--hold", "60m"]);
    for (side, version) in [("canary", "1.1.0"), ("stable", "1.0.0")] {
        let request = operator.host.post("/v1/plugins/chameleon/process").body("hello");
        let answer = request.header("x-plugin-side", side).send().unwrap();
        assert_eq!(answer.headers()["x-plugin-version"], version);
        assert_eq!(answer.text().unwrap(), format!("{version} hello"));
    }
}

#[test]
fn what_asks_for_more_is_parked_until_somebody_agrees() {
    let operator = Operator::new();
    operator.says(&["deploy", &operator.folder(&Chameleon::version("1.0.0"), "first")]);
    let wider = Chameleon::version("1.1.0").text("cpu-time = \"5s\"", "cpu-time = \"6s\"");
    let wider = operator.folder(&wider, "second");
    let told = operator.says(&["deploy", &wider, "--activate"]);
    assert!(told.contains("asks for more: cpu-time: 5s -> 6s"), "{told}");
    assert!(told.contains("next: plugin-host approve chameleon 1.1.0"), "{told}");
    assert_eq!(operator.serves(), "1.0.0 hello");
    let activate = ["activate", "chameleon", "1.1.0"];
    assert_eq!(operator.refused(&activate), "deploy/awaiting-approval");
    operator.says(&["approve", "chameleon", "1.1.0"]);
    operator.says(&activate);
    assert_eq!(operator.serves(), "1.1.0 hello");
}

#[test]
fn a_shadow_tells_where_its_answers_differ() {
    let operator = Operator::new();
    for version in ["1.0.0", "1.1.0"] {
        operator.says(&["deploy", &operator.folder(&Chameleon::version(version), version)]);
    }
    operator.says(&["shadow", "chameleon", "1.1.0", "--share", "100%"]);
    assert_eq!(operator.serves(), "1.0.0 hello");
    within_half_a_minute("it is compared", || {
        let told = operator.json(&["rollout", "status", "chameleon"]);
        told["shadow"]["counts"]["different"] == 1
    });
    let told = operator.says(&["shadow", "chameleon", "--stop"]);
    assert!(!told.contains("shadow"), "{told}");
}

#[test]
fn nobody_deploys_without_the_token_and_nothing_that_is_no_plugin() {
    let operator = Operator::new();
    let post = |media_type: &str, body: Vec<u8>, token: &str| {
        let request = operator.host.post("/v1/plugins").header("content-type", media_type);
        let response = request.bearer_auth(token).body(body).send().unwrap();
        let status = response.status().as_u16();
        (status, crate::harness::code(&response.text().unwrap()))
    };
    let token = "0123456789abcdef0123";
    let guest = Chameleon::version("1.0.0").upload().component;
    let expected = |status: u16, code: &str| (status, code.to_owned());
    let told = post("application/wasm", guest.clone(), "0123456789abcdef0124");
    assert_eq!(told, expected(401, "http/unauthorized"));
    let told = post("text/plain", guest.clone(), token);
    assert_eq!(told, expected(422, "deploy/invalid-upload"));
    let told = post("application/x-tar", guest.clone(), token);
    assert_eq!(told, expected(422, "deploy/invalid-upload"));
    let told = post("application/wasm", b"\0asm nothing".to_vec(), token);
    assert_eq!(told.1, "core/not-a-component");
    let secret = operator.host.get("/v1/plugins/chameleon/history");
    assert_eq!(secret.status().as_u16(), 401);
    assert_eq!(operator.json(&["rollout", "status"])["deployments"], serde_json::json!([]));

    // What carries its manifest needs no folder.
    let request = operator.host.post("/v1/plugins").header("content-type", "application/wasm");
    let response = request.bearer_auth(token).body(guest).send().unwrap();
    assert_eq!(response.status().as_u16(), 201);
    assert_eq!(operator.serves(), "1.0.0 hello");
}

#[test]
fn whoever_decides_on_what_is_no_longer_so_is_told() {
    let operator = Operator::new();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        operator.says(&["deploy", &operator.folder(&Chameleon::version(version), version)]);
    }
    let seen = operator.json(&["rollout", "status", "chameleon"])["revision"].to_string();
    operator.says(&["activate", "chameleon", "1.1.0", "--if-revision", &seen]);
    let late = operator.refused(&["activate", "chameleon", "1.2.0", "--if-revision", &seen]);
    assert_eq!(late, "deploy/conflict");
    assert_eq!(operator.serves(), "1.1.0 hello");
}

#[test]
fn a_host_that_is_not_there_is_told_in_plain_words() {
    let operator = Operator::new();
    let mut command = command();
    command.args(["history", "chameleon", "--server", "http://127.0.0.1:1", "--json"]);
    let output = command.arg("--admin-token-file").arg(&operator.token).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(told["error"]["code"], "host/unreachable");
}
