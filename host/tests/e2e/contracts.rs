//! Plugins of every contract version, served by one host through one route.

use serde_json::{Value, json};

use crate::harness::{Host, built};

#[test]
fn both_generations_of_text_plugins_answer_side_by_side() {
    let host = Host::serve(&built("test-plugins"));
    assert_eq!(host.process("shout-v1", &[], "hello"), (200, "HELLO".to_owned()));
    assert_eq!(host.process("shout-v2", &[("times", "2")], "hello").0, 200);
    assert_eq!(
        host.refusal("shout-v2", &[("volume", "11")], "hello"),
        (422, "core/plugin-refused".to_owned())
    );
}

#[test]
fn a_decorator_wraps_another_plugin() {
    let host = Host::serve(&built("test-plugins"));
    let (_, inner) = host.process("word-count", &[], "one two three");
    let (status, framed) = host.process("framing-decorator", &[], "one two three");
    assert_eq!(status, 200, "{framed}");
    let framed: Value = serde_json::from_str(&framed).unwrap();
    assert_eq!(framed["framed-by"], json!("framing-decorator"));
    let inner: Value = serde_json::from_str(&inner).unwrap();
    let same = framed["inner"] == inner || framed["inner"] == json!(inner.to_string());
    assert!(same, "{framed} around {inner}");
}

#[test]
fn actions_have_each_of_their_outcomes() {
    let host = Host::serve(&built("test-plugins"));
    let act = |action: &str| {
        let query = [("action", action), ("user-id", "ann")];
        host.post("/v1/plugins/action-log/process").query(&query).send().unwrap()
    };
    let done = act("success");
    assert_eq!(done.status().as_u16(), 200);
    assert!(done.headers().get("x-plugin-warning").is_none());
    let half = act("partial-success");
    assert_eq!(half.status().as_u16(), 200);
    assert_eq!(half.headers()["x-plugin-warning"], "the other half");
    for refused in ["validation-error", "system-error", "unheard-of"] {
        assert_eq!(act(refused).status().as_u16(), 422, "{refused}");
    }
    assert_eq!(host.refusal("action-log", &[], ""), (422, "core/plugin-refused".to_owned()));
}

#[test]
fn a_plugin_that_does_not_process_says_so() {
    let host = Host::serve(&built("test-plugins"));
    for plugin in ["minimal", "stream-upper"] {
        assert_eq!(
            host.refusal(plugin, &[], "x"),
            (404, "core/not-offered".to_owned()),
            "{plugin}"
        );
    }
}

#[test]
fn a_plugin_keeps_its_state_from_call_to_call() {
    let host = Host::serve(&built("test-plugins"));
    let (_, first) = host.process("counter@0.1.0", &[], "");
    let (_, second) = host.process("counter@0.1.0", &[], "");
    assert_eq!((first.as_str(), second.as_str()), ("1", "2"));
}

#[test]
fn each_test_guest_is_loaded_in_the_world_it_names() {
    let host = Host::serve(&built("test-plugins"));
    // This one wants what an operator has to agree to.
    let refused = host.announced["refused"].as_array().unwrap();
    let codes: Vec<_> = refused.iter().map(|refused| &refused["code"]).collect();
    assert_eq!(codes, ["security/composition-refused"]);
    let world = |name: &str| {
        let plugins = host.announced["plugins"].as_array().unwrap();
        let plugin = plugins.iter().find(|plugin| plugin["name"] == name);
        plugin.unwrap_or_else(|| panic!("{name}"))["world"].as_str().unwrap().to_owned()
    };
    for (name, expected) in [
        ("action-log", "action-plugin"),
        ("counter", "stateful-processor-plugin"),
        ("event-probe", "event-plugin"),
        ("framing-decorator", "plugin-world"),
        ("messenger", "message-plugin"),
        ("messenger-b", "message-plugin"),
        ("minimal", "minimal-plugin"),
        ("misbehaving", "processor-plugin"),
        ("services-probe", "processor-plugin"),
        ("shout-v1", "plugin-v1"),
        ("shout-v2", "plugin-v2"),
        ("odd-stream", "stream-plugin"),
        ("stream-upper", "stream-plugin"),
        ("word-count", "plugin-world"),
    ] {
        assert_eq!(world(name), expected);
    }
}
