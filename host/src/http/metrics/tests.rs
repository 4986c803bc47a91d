use host_ipc::{BusCounts, SubscriberCounts, channel::ChannelCounts};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use host_core::{BreakerState, CodeMetrics, MetricsSnapshot, PluginState, PoolStatus};

use crate::{AuditCounts, DeployCounts, Status};

use super::{
    DeploymentFigures, EngineFigures, Figures, PluginFigures, deployments::VersionFigures, render,
};

/// A plugin with 7 calls, 3 of which failed.
fn plugin(name: &str, version: &str) -> PluginFigures {
    let mut calls = MetricsSnapshot::default();
    calls.calls = 7;
    calls.errors = vec![("core/deadline", 2), ("core/trap-stack", 1)];
    calls.latency.counts[0] = 4;
    calls.latency.counts[6] = 2;
    *calls.latency.counts.last_mut().unwrap() = 1;
    calls.latency.sum = Duration::from_millis(61_500);
    calls.cpu_time = Duration::from_millis(250);
    calls.rate_per_second = 0.5;
    let mut pool = PoolStatus::default();
    (pool.busy, pool.idle, pool.waiting) = (2, 1, 3);
    PluginFigures {
        plugin: name.to_owned(),
        version: version.to_owned(),
        state: PluginState::Serving,
        breaker: BreakerState::Closed,
        calls,
        pool,
    }
}

fn figures() -> Figures {
    let mut code = CodeMetrics::default();
    (code.hits_disk, code.memory_bytes) = (5, 4_096);
    Figures {
        plugins: vec![plugin("image-processor", "0.1.0"), plugin("log-enricher", "1.0.0-rc.1")],
        deployments: vec![DeploymentFigures {
            plugin: "image-processor".to_owned(),
            versions: vec![VersionFigures {
                version: "0.1.0".to_owned(),
                status: Status::Active,
                share: 0.95,
            }],
            counts: DeployCounts { swaps: 3, rollbacks: 1, rejected: 2, ..Default::default() },
            evidence: Some(("0.2.0".to_owned(), 1.5, 2.5)),
            shadow: None,
        }],
        code,
        engines: vec![EngineFigures { engine: "unary", memories: 3, ..Default::default() }],
        audit: AuditCounts { violations: 4, write_failures: 0 },
        bus: BusCounts {
            published: 9,
            dead_letters: 2,
            subscribers: vec![SubscriberCounts {
                name: "log-enricher".parse().unwrap(),
                subscribed: true,
                queued: 5,
                delivered: 6,
                retried: 1,
                dead: 2,
            }],
            ..BusCounts::default()
        },
        channel: ChannelCounts { answered: 8, ..ChannelCounts::default() },
    }
}

#[track_caller]
fn says(text: &str, line: &str) {
    assert!(text.lines().any(|l| l == line), "{line}\n{text}");
}

#[test]
fn every_figure_is_told() {
    let text = render(figures()).unwrap();
    let labels = r#"plugin="image-processor",version="0.1.0""#;
    for (name, more, value) in [
        ("plugin_calls_total", "", "7"),
        ("plugin_errors_total", r#",code="core/deadline""#, "2"),
        ("plugin_errors_total", r#",code="core/trap-stack""#, "1"),
        ("plugin_call_seconds_count", "", "7"),
        ("plugin_call_seconds_sum", "", "61.5"),
        ("plugin_cpu_seconds_total", "", "0.25"),
        ("plugin_calls_per_second", "", "0.5"),
        ("plugin_instances", r#",state="busy""#, "2"),
        ("plugin_instances", r#",state="idle""#, "1"),
        ("plugin_calls_waiting", "", "3"),
        ("plugin_state", r#",state="serving""#, "1"),
        ("plugin_state", r#",state="failed""#, "0"),
        ("plugin_breaker_open", "", "0"),
    ] {
        says(&text, &format!("{name}{{{labels}{more}}} {value}"));
    }
    says(&text, r#"code_cache_hits_total{place="disk"} 5"#);
    says(&text, "code_cache_misses_total 0");
    says(&text, r#"code_cache_bytes{place="memory"} 4096"#);
    says(&text, r#"engine_slots_used{engine="unary",kind="memory"} 3"#);
    says(&text, "plugin_violations_total 4");
    says(&text, "audit_write_failures_total 0");
    says(&text, "events_published_total 9");
    says(&text, "dead_letters 2");
    says(&text, r#"event_queue{plugin="log-enricher"} 5"#);
    says(&text, r#"event_deliveries_total{plugin="log-enricher",outcome="handled"} 6"#);
    says(&text, r#"messages_total{outcome="answered"} 8"#);
    says(
        &text,
        r#"plugin_share_ratio{plugin="image-processor",version="0.1.0",status="active"} 0.95"#,
    );
    says(&text, r#"plugin_swaps_total{plugin="image-processor"} 3"#);
    says(&text, r#"plugin_rollbacks_total{plugin="image-processor",by="host"} 2"#);
    says(&text, r#"rollout_verdicts_total{plugin="image-processor",verdict="reject"} 2"#);
    says(&text, r#"rollout_evidence{plugin="image-processor",version="0.2.0",of="latency"} 2.5"#);
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn buckets_of_latency_include_those_below() {
    let text = render(figures()).unwrap();
    let bucket = |le: &str| {
        let start = format!(r#"plugin_call_seconds_bucket{{le="{le}",plugin="log-enricher""#);
        let line = text.lines().find(|line| line.starts_with(&start));
        line.unwrap_or_else(|| panic!("{start}\n{text}")).rsplit(' ').next().unwrap().to_owned()
    };
    let told = ["0.00001", "0.0005", "0.001", "60.0", "+Inf"].map(bucket);
    assert_eq!(told, ["4", "4", "6", "6", "7"]);
}

#[test]
fn of_a_plugin_that_was_never_called_only_its_state_is_told() {
    let mut figures = figures();
    figures.plugins[0].state = PluginState::Registered;
    figures.plugins[0].calls = MetricsSnapshot::default();
    figures.deployments.clear();
    let text = render(figures).unwrap();
    let told: Vec<_> = text.lines().filter(|line| line.contains("image-processor")).collect();
    assert_eq!(told.len(), PluginState::ALL.len());
    assert!(told.iter().all(|line| line.starts_with("plugin_state{")));
}

#[test]
fn a_breaker_is_open_until_it_is_closed() {
    for (breaker, value) in [
        (BreakerState::Closed, 0),
        (BreakerState::Open { until: Instant::now() }, 1),
        (BreakerState::HalfOpen, 1),
    ] {
        let mut figures = figures();
        figures.plugins.truncate(1);
        figures.plugins[0].breaker = breaker;
        let labels = r#"{plugin="image-processor",version="0.1.0"}"#;
        says(&render(figures).unwrap(), &format!("plugin_breaker_open{labels} {value}"));
    }
}

#[test]
fn the_text_is_as_collectors_want_it() {
    let text = render(figures()).unwrap();
    // Each name is described once, before its figures, and no figure is there twice.
    let mut types = HashMap::new();
    let mut seen = HashMap::new();
    let mut current = String::new();
    for line in text.lines().take_while(|line| *line != "# EOF") {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap();
            assert_eq!(types.insert(name.to_owned(), kind.to_owned()), None, "{line}");
            current = name.to_owned();
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(series.starts_with(&current), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert_eq!(seen.insert(series.to_owned(), ()), None, "{line}");
            let total = series.split('{').next().unwrap().ends_with("_total");
            assert_eq!(total, types[&current] == "counter", "{line}");
        }
    }
    assert!(render(Figures::default()).unwrap().ends_with("# EOF\n"));
}
