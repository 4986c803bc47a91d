//! `GET /metrics`: figures for Prometheus, in the OpenMetrics text format.
//!
//! Nothing is counted here: [`Figures`] are gathered for each answer from those who count, and [`render`]
//! writes them down. Labels are names that were checked when the plugin was admitted, and words of our own.

use std::{fmt, time::Duration};

use host_core::{
    BreakerState, CodeMetrics, EngineMetrics, MetricsSnapshot, PluginState, PoolStatus,
};
use host_ipc::{BusCounts, channel::ChannelCounts};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::{Registry, Unit},
};

use crate::{AuditCounts, PluginHost, PluginMetrics};

mod deployments;
#[cfg(test)]
mod tests;

use deployments::DeploymentFigures;

/// The media type of what [`render`] writes.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All there is to tell.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// One for each version of each plugin.
    pub(super) plugins: Vec<PluginFigures>,
    /// One for each plugin of which versions were deployed.
    pub(super) deployments: Vec<DeploymentFigures>,
    pub(super) code: CodeMetrics,
    /// One for each engine.
    pub(super) engines: Vec<EngineFigures>,
    pub(super) audit: AuditCounts,
    pub(super) bus: BusCounts,
    pub(super) channel: ChannelCounts,
}

/// One revision of a plugin.
#[derive(Debug)]
pub(super) struct PluginFigures {
    pub(super) plugin: String,
    pub(super) version: String,
    pub(super) state: PluginState,
    pub(super) breaker: BreakerState,
    pub(super) calls: MetricsSnapshot,
    pub(super) pool: PoolStatus,
}

/// What an engine has handed out of its slots.
#[derive(Debug, Default)]
pub(super) struct EngineFigures {
    /// `unary` or `stream`.
    pub(super) engine: &'static str,
    pub(super) component_instances: u64,
    pub(super) core_instances: u64,
    pub(super) memories: u64,
    pub(super) tables: u64,
    pub(super) stacks: u64,
    /// Bytes that are kept for the next instances, in slots that nobody uses.
    pub(super) unused_bytes: u64,
}

/// Writes the figures down.
///
/// # Errors
/// None that are known: writing to memory does not fail.
pub(super) fn render(figures: Figures) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(figures));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.plugins(&mut encoder)?;
        self.calls(&mut encoder)?;
        deployments::encode(&self.deployments, &mut encoder)?;
        self.code(&mut encoder)?;
        self.engines(&mut encoder)?;
        self.audit(&mut encoder)?;
        self.bus(&mut encoder)?;
        self.channel(&mut encoder)
    }
}

impl Figures {
    /// Of a host as it is now.
    pub(super) fn of(host: &PluginHost) -> Self {
        let plugin = |metrics: PluginMetrics| PluginFigures {
            plugin: metrics.name.to_string(),
            version: metrics.version.to_string(),
            state: metrics.state,
            breaker: metrics.breaker,
            calls: metrics.calls,
            pool: metrics.pool,
        };
        let engine = |metrics: EngineMetrics| EngineFigures {
            engine: metrics.lane.name(),
            component_instances: metrics.component_instances,
            core_instances: metrics.core_instances,
            memories: metrics.memories,
            tables: metrics.tables,
            stacks: metrics.stacks,
            unused_bytes: metrics.unused_bytes,
        };
        Self {
            plugins: host.metrics().into_iter().map(plugin).collect(),
            deployments: host.deployments().iter().map(DeploymentFigures::of).collect(),
            code: host.code_metrics(),
            engines: host.engine_metrics().into_iter().map(engine).collect(),
            audit: host.audit_counts(),
            bus: host.bus().counts(),
            channel: host.channel().counts(),
        }
    }
}

type Labels<const N: usize> = [(&'static str, String); N];

impl PluginFigures {
    fn labels(&self) -> Labels<2> {
        [("plugin", self.plugin.clone()), ("version", self.version.clone())]
    }

    fn labels_and(&self, name: &'static str, value: &str) -> Labels<3> {
        let [plugin, version] = self.labels();
        [plugin, version, (name, value.to_owned())]
    }

    /// Of plugins that were never called, and there may be thousands, nothing is told but their state.
    fn was_called(&self) -> bool {
        self.calls.calls > 0 || self.state == PluginState::Serving
    }
}

impl Figures {
    fn plugins(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut states =
            gauge(encoder, "plugin_state", "Where the plugin stands: 1 for its state.")?;
        for plugin in &self.plugins {
            for state in PluginState::ALL {
                let labels = plugin.labels_and("state", state.name());
                states.one(&labels, u64::from(state == plugin.state))?;
            }
        }
        let mut breakers = gauge(
            encoder,
            "plugin_breaker_open",
            "Whether calls are refused because too many have failed, or are let through one by one.",
        )?;
        for plugin in self.called() {
            let open = plugin.breaker != BreakerState::Closed;
            breakers.one(&plugin.labels(), u64::from(open))?;
        }
        let mut instances = gauge(encoder, "plugin_instances", "Instances, by what they do.")?;
        for plugin in self.called() {
            for (state, count) in [("busy", plugin.pool.busy), ("idle", plugin.pool.idle)] {
                instances.one(&plugin.labels_and("state", state), u64::from(count))?;
            }
        }
        let help = "Calls that wait for an instance.";
        let mut waiting = gauge(encoder, "plugin_calls_waiting", help)?;
        for plugin in self.called() {
            waiting.one(&plugin.labels(), u64::from(plugin.pool.waiting))?;
        }
        Ok(())
    }

    fn calls(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Calls that have ended, however they ended.";
        let mut calls = counter(encoder, "plugin_calls", help)?;
        for plugin in self.called() {
            calls.one(&plugin.labels(), plugin.calls.calls)?;
        }
        let mut errors = counter(encoder, "plugin_errors", "Calls that failed, by code.")?;
        for plugin in self.called() {
            for (code, count) in &plugin.calls.errors {
                errors.one(&plugin.labels_and("code", code), *count)?;
            }
        }
        let help = "Time that calls took, as their callers saw it.";
        let kind = MetricType::Histogram;
        let mut latency =
            encoder.encode_descriptor("plugin_call", help, Some(&Unit::Seconds), kind)?;
        for plugin in self.called() {
            histogram(&mut latency.encode_family(&plugin.labels())?, plugin)?;
        }
        let help = "Time in which the plugin's code ran.";
        let kind = MetricType::Counter;
        let mut cpu = encoder.encode_descriptor("plugin_cpu", help, Some(&Unit::Seconds), kind)?;
        for plugin in self.called() {
            let seconds = plugin.calls.cpu_time.as_secs_f64();
            cpu.encode_family(&plugin.labels())?
                .encode_counter::<NoLabelSet, _, f64>(&seconds, None)?;
        }
        let help = "Calls per second, weighted over about the last minute.";
        let kind = MetricType::Gauge;
        let mut rate = encoder.encode_descriptor("plugin_calls_per_second", help, None, kind)?;
        for plugin in self.called() {
            rate.encode_family(&plugin.labels())?.encode_gauge(&plugin.calls.rate_per_second)?;
        }
        Ok(())
    }

    fn code(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let code = &self.code;
        let mut hits =
            counter(encoder, "code_cache_hits", "Compiled code that was there, by where it was.")?;
        for (place, count) in [("memory", code.hits_memory), ("disk", code.hits_disk)] {
            hits.one(&[("place", place)], count)?;
        }
        for (name, help, count) in [
            (
                "code_cache_joined",
                "Requests answered along with another for the same.",
                code.joined,
            ),
            ("code_cache_misses", "Compiled code that was not there.", code.misses),
            ("code_cache_compiled", "Components compiled.", code.compiled),
            ("code_cache_compile_failed", "Components that did not compile.", code.compile_failed),
            ("code_cache_evicted", "Files removed to make room.", code.evicted),
            ("code_cache_rejected", "Files that were not what was written.", code.rejected),
            ("code_cache_write_failed", "Files that could not be written.", code.write_failed),
        ] {
            counter(encoder, name, help)?.alone(count)?;
        }
        let help = "Bytes of compiled code, by where they are.";
        let kind = MetricType::Gauge;
        let bytes = encoder.encode_descriptor("code_cache", help, Some(&Unit::Bytes), kind)?;
        let mut bytes = Family { encoder: bytes, kind };
        for (place, count) in [("memory", code.memory_bytes), ("disk", code.disk_bytes)] {
            bytes.one(&[("place", place)], count)?;
        }
        Ok(())
    }

    fn engines(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Slots of the engine that are in use, by what is in them.";
        let mut slots = gauge(encoder, "engine_slots_used", help)?;
        for engine in &self.engines {
            for (kind, count) in [
                ("component-instance", engine.component_instances),
                ("core-instance", engine.core_instances),
                ("memory", engine.memories),
                ("table", engine.tables),
                ("stack", engine.stacks),
            ] {
                slots.one(&[("engine", engine.engine), ("kind", kind)], count)?;
            }
        }
        let help = "Memory kept for the next instances, in slots that nobody uses.";
        let kind = MetricType::Gauge;
        let unused = encoder.encode_descriptor("engine_unused", help, Some(&Unit::Bytes), kind)?;
        let mut unused = Family { encoder: unused, kind };
        for engine in &self.engines {
            unused.one(&[("engine", engine.engine)], engine.unused_bytes)?;
        }
        Ok(())
    }

    fn audit(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "How often a plugin was held to its grant.";
        counter(encoder, "plugin_violations", help)?.alone(self.audit.violations)?;
        let help = "How often the audit log could not be written.";
        counter(encoder, "audit_write_failures", help)?.alone(self.audit.write_failures)
    }

    fn bus(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let bus = &self.bus;
        counter(encoder, "events_published", "Events that were handed on.")?
            .alone(bus.published)?;
        let help = "Events that wait for subscribers: each once for each of them.";
        gauge(encoder, "events_queued", help)?.alone(bus.queued)?;
        let help = "What became of events, by subscriber.";
        let mut deliveries = counter(encoder, "event_deliveries", help)?;
        for subscriber in &bus.subscribers {
            let plugin = subscriber.name.to_string();
            for (outcome, count) in [
                ("handled", subscriber.delivered),
                ("retried", subscriber.retried),
                ("dead", subscriber.dead),
            ] {
                let labels = [("plugin", plugin.as_str()), ("outcome", outcome)];
                deliveries.one(&labels, count)?;
            }
        }
        let help = "Events that wait for one subscriber.";
        let mut queued = gauge(encoder, "event_queue", help)?;
        for subscriber in &bus.subscribers {
            queued.one(&[("plugin", subscriber.name.as_str())], subscriber.queued)?;
        }
        let help = "Events that were not handled in the end, and are kept to be replayed.";
        gauge(encoder, "dead_letters", help)?.alone(bus.dead_letters)?;
        let help = "Dead letters that were crowded out.";
        counter(encoder, "dead_letters_dropped", help)?.alone(bus.dead_letters_dropped)
    }

    fn channel(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let channel = &self.channel;
        let mut messages = counter(encoder, "messages", "Messages, by what became of them.")?;
        for (outcome, count) in
            [("sent", channel.sent), ("answered", channel.answered), ("failed", channel.failed)]
        {
            messages.one(&[("outcome", outcome)], count)?;
        }
        let help = "Requests that wait for an answer.";
        gauge(encoder, "messages_pending", help)?.alone(channel.pending)
    }

    fn called(&self) -> impl Iterator<Item = &PluginFigures> {
        self.plugins.iter().filter(|plugin| plugin.was_called())
    }
}

/// Whole numbers under one name.
struct Family<'a> {
    encoder: MetricEncoder<'a>,
    kind: MetricType,
}

fn counter<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<Family<'a>, fmt::Error> {
    let kind = MetricType::Counter;
    Ok(Family { encoder: encoder.encode_descriptor(name, help, None, kind)?, kind })
}

fn gauge<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<Family<'a>, fmt::Error> {
    let kind = MetricType::Gauge;
    Ok(Family { encoder: encoder.encode_descriptor(name, help, None, kind)?, kind })
}

impl Family<'_> {
    fn one(&mut self, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
        write(&mut self.encoder.encode_family(labels)?, self.kind, value)
    }

    fn alone(&mut self, value: u64) -> fmt::Result {
        write(&mut self.encoder, self.kind, value)
    }
}

fn write(encoder: &mut MetricEncoder<'_>, kind: MetricType, value: u64) -> fmt::Result {
    match kind {
        MetricType::Counter => encoder.encode_counter::<NoLabelSet, _, u64>(&value, None),
        _ => encoder.encode_gauge(&value),
    }
}

fn histogram(encoder: &mut MetricEncoder<'_>, plugin: &PluginFigures) -> fmt::Result {
    let latency = &plugin.calls.latency;
    // The encoder adds the buckets up, and takes the largest float for infinity.
    let bounds = latency.bounds.iter().map(Duration::as_secs_f64).chain([f64::MAX]);
    let buckets: Vec<_> = bounds.zip(latency.counts.iter().copied()).collect();
    let sum = latency.sum.as_secs_f64();
    encoder.encode_histogram::<NoLabelSet>(sum, latency.count(), &buckets, None)
}
