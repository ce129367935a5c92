//! Metrics as text in Prometheus's format and the list of all metrics.

use super::counters::Condition;
use super::counters::Counter::{BytesIn, BytesOut, Cpu, DeadLettered, Latency, RecordsIn, RecordsOut, Skipped};
use super::registry::{CodeHash, TopicSums};
use super::snapshot::{RuntimeMetrics, Snapshot, TransformMetrics, wasm_error_count, wasm_latency_bucket};
use crate::base::text::hex;
use crate::batch::fallible;
use core::fmt::{Error, Result};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// The value of a metric for one transform and shard or for the runtime.
enum Value<'a> {
    Gauge(u64),
    Counter(u64),
    /// A counter of nanoseconds that is shown in seconds.
    Seconds(u64),
    /// A counter per kind.
    Errors(&'a [wasm_error_count]),
    /// The sum in nanoseconds and the buckets.
    Latency(u64, &'a [wasm_latency_bucket]),
    /// A gauge that there is not always.
    Known(Option<u64>),
    /// A gauge of nanoseconds that is shown in seconds and that there is not always.
    KnownSeconds(Option<u64>),
    /// A gauge per state.
    States(Vec<(&'static str, u64)>),
    /// A counter per topic.
    Topics(&'a [TopicSums], fn(&TopicSums) -> u64),
    /// 1 for each code that engines have.
    Codes(&'a [(CodeHash, u64)]),
}

/// One metric.
struct Metric<T> {
    name: &'static str,
    help: &'static str,
    value: fn(&T) -> Value<'_>,
}

const fn metric<T>(name: &'static str, help: &'static str, value: fn(&T) -> Value<'_>) -> Metric<T> {
    Metric { name, help, value }
}

/// Of a transform and shard. Further ones need a line here.
const OF_TRANSFORMS: &[Metric<TransformMetrics>] = &[
    metric("wasm_transform_engines", "Engines that were created and not released.", |m| Value::Gauge(m.engines)),
    metric(
        "wasm_cpu_seconds_total",
        "Time for which engines had their thread: checks of batches, guests, host functions and sinks that they call.",
        |m| Value::Seconds(m.get(Cpu)),
    ),
    metric("wasm_memory_bytes", "Linear memory that the guests have.", |m| Value::Gauge(m.sums.memory)),
    metric("wasm_memory_limit_bytes", "Linear memory that they may have: the sum of their memory_limit.", |m| {
        Value::Gauge(m.memory_limit)
    }),
    metric("wasm_input_records_total", "Records that guests took.", |m| Value::Counter(m.get(RecordsIn))),
    metric("wasm_input_bytes_total", "Bytes of keys, values and headers of these records.", |m| {
        Value::Counter(m.get(BytesIn))
    }),
    metric("wasm_output_records_total", "Records of guests that the host's sink accepted.", |m| {
        Value::Counter(m.get(RecordsOut))
    }),
    metric("wasm_output_bytes_total", "Bytes of keys, values and headers of these records.", |m| {
        Value::Counter(m.get(BytesOut))
    }),
    metric(
        "wasm_record_latency_seconds",
        "Thread time per record: the time of its batch without waiting, divided by the batch's records.",
        |m| Value::Latency(m.get(Latency), &m.latency),
    ),
    metric("wasm_errors_total", "Starts and transforms that failed, by the name of their status.", |m| {
        Value::Errors(&m.errors)
    }),
    metric("wasm_restarts_total", "Restarts of engines.", |m| Value::Counter(m.restarts)),
    metric("wasm_log_suppressed_lines_total", "Log lines dropped because there were too many.", |m| {
        Value::Counter(m.log_suppressed)
    }),
    metric("wasm_skipped_records_total", "Records at which guests failed and that were dropped, by policy.", |m| {
        Value::Counter(m.get(Skipped))
    }),
    metric(
        "wasm_dead_lettered_records_total",
        "Records at which guests failed and that the host's sink took as dead letters, by policy.",
        |m| Value::Counter(m.get(DeadLettered)),
    ),
    metric("wasm_queued_batches", "Batches that wait for a shared engine.", |m| Value::Gauge(m.sums.queued)),
    metric(
        "wasm_engine_states",
        "Engines by what they do: stopped, starting, running, restarting after a failure, failed.",
        |m| {
            let counts = Condition::ALL.iter().zip(m.sums.conditions);
            Value::States(counts.map(|((_, name), engines)| (*name, engines)).collect())
        },
    ),
    metric("wasm_circuits", "Circuits of policies that are open or half-open.", |m| {
        let [open, half_open] = m.broken;
        Value::States(vec![("open", open), ("half-open", half_open)])
    }),
    metric("wasm_policy_stops_total", "Times that a policy stopped an engine because of a threshold.", |m| {
        Value::Counter(m.stops)
    }),
    metric(
        "wasm_since_progress_seconds",
        "Time since guests last took records or the engine was created: of the engine where it is shortest.",
        |m| Value::KnownSeconds(m.since_progress),
    ),
    metric("wasm_lag_records", "Records that engines have not taken of the input whose end the host told.", |m| {
        Value::Known(m.sums.lag)
    }),
    metric("wasm_topic_records_total", "Records that the host's sink accepted, by output topic.", |m| {
        Value::Topics(&m.topics, |topic| topic.records)
    }),
    metric("wasm_topic_bytes_total", "Bytes of keys, values and headers of these records.", |m| {
        Value::Topics(&m.topics, |topic| topic.bytes)
    }),
    metric(
        "wasm_transform_info",
        "1, with the SHA-256 of the module that engines run and the library's version.",
        |m| Value::Codes(&m.codes),
    ),
];

/// Of the runtime.
const OF_RUNTIME: &[Metric<RuntimeMetrics>] = &[
    metric("wasm_engines", "Engines that were created and not released.", |m| Value::Gauge(m.engines)),
    metric("wasm_factories", "Factories in memory.", |m| Value::Gauge(m.factories)),
    metric("wasm_modules", "Compiled modules in memory. Factories of the same module share one.", |m| {
        Value::Gauge(m.modules)
    }),
    metric("wasm_executable_bytes", "Machine code of these modules.", |m| Value::Gauge(m.executable)),
    metric("wasm_shared_modules_total", "Factories that got the compiled module of another one.", |m| {
        Value::Counter(m.shared_modules)
    }),
    metric("wasm_compilations_total", "Compilations that completed or failed.", |m| Value::Counter(m.compilations)),
    metric("wasm_compile_seconds_total", "Time that these took on their threads.", |m| Value::Seconds(m.compile_ns)),
    metric("wasm_compile_errors_total", "Compilations that failed, by the name of their status.", |m| {
        Value::Errors(&m.compile_errors)
    }),
    metric("wasm_loads_total", "Modules whose machine code was loaded.", |m| Value::Counter(m.code_cache.loads)),
    metric("wasm_load_seconds_total", "Time that these took on their threads.", |m| {
        Value::Seconds(m.code_cache.load_ns)
    }),
    metric("wasm_code_cache_hits_total", "Lookups in the code cache that were hits.", |m| {
        Value::Counter(m.code_cache.hits)
    }),
    metric("wasm_code_cache_misses_total", "Lookups in the code cache that were misses.", |m| {
        Value::Counter(m.code_cache.misses)
    }),
    metric("wasm_code_cache_stores_total", "Entries written to the code cache.", |m| {
        Value::Counter(m.code_cache.stores)
    }),
    metric("wasm_code_cache_evictions_total", "Entries removed from the code cache to make room.", |m| {
        Value::Counter(m.code_cache.evictions)
    }),
    metric("wasm_code_cache_rejected_total", "Entries of the code cache that were not trusted.", |m| {
        Value::Counter(m.code_cache.rejected)
    }),
    metric("wasm_code_cache_faults_total", "Faults of the code cache's directory or disk.", |m| {
        Value::Counter(m.code_cache.faults)
    }),
    metric("wasm_pools", "Pools reserved by threads or by the process.", |m| Value::Gauge(m.pools.pools)),
    metric("wasm_pool_engines", "Engines that these pools are for.", |m| Value::Gauge(m.pools.engines)),
    metric("wasm_pool_memories_in_use", "Memories of pools that engines have.", |m| {
        Value::Gauge(m.pools.memories_in_use)
    }),
    metric("wasm_pool_memories_dirty", "Memories of pools that must be cleaned before they can be taken again.", |m| {
        Value::Gauge(m.pools.memories_dirty)
    }),
    metric("wasm_pool_stacks_in_use", "Stacks of pools that engines have.", |m| Value::Gauge(m.pools.stacks_in_use)),
    metric("wasm_factory_cache_hits_total", "Requests to factory caches that found the factory.", |m| {
        Value::Counter(m.factory_hits)
    }),
    metric(
        "wasm_factory_cache_joined_total",
        "Requests to factory caches that joined a compilation in progress.",
        |m| Value::Counter(m.factory_joined),
    ),
    metric("wasm_factory_cache_misses_total", "Requests to factory caches that began a compilation or failed.", |m| {
        Value::Counter(m.factory_misses)
    }),
    metric(
        "wasm_factory_cache_collected_total",
        "Factories that factory caches dropped because they were unused.",
        |m| Value::Counter(m.factories_collected),
    ),
];

const OF_TRANSFORMS_LABELS: [&str; 2] = ["transform", "shard"];
const ERROR_LABEL: &str = "error";
const STATE_LABEL: &str = "state";
const TOPIC_LABEL: &str = "topic";
const CODE_LABEL: &str = "code_sha256";
const VERSION_LABEL: &str = "version";
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

type Label<'a> = (&'static str, &'a str);

impl Value<'_> {
    fn kind(&self) -> MetricType {
        match self {
            Value::Gauge(_) | Value::Known(_) | Value::KnownSeconds(_) | Value::States(_) | Value::Codes(_) => {
                MetricType::Gauge
            }
            Value::Counter(_) | Value::Seconds(_) | Value::Errors(_) | Value::Topics(..) => MetricType::Counter,
            Value::Latency(..) => MetricType::Histogram,
        }
    }

    fn is_empty(&self) -> bool {
        matches!(
            self,
            Value::Errors([])
                | Value::Known(None)
                | Value::KnownSeconds(None)
                | Value::Topics([], _)
                | Value::Codes([])
        )
    }

    /// Labels beside those of all metrics.
    #[cfg(test)]
    fn labels(&self) -> &'static [&'static str] {
        match self {
            Value::Errors(_) => &[ERROR_LABEL],
            Value::States(_) => &[STATE_LABEL],
            Value::Topics(..) => &[TOPIC_LABEL],
            Value::Codes(_) => &[CODE_LABEL, VERSION_LABEL],
            _ => &[],
        }
    }

    /// Counters are registered as gauges with `_total` in their name. The crate would append `_total` as OpenMetrics
    /// requires. Prometheus expects it in the name.
    fn encode(&self, encoder: &mut MetricEncoder<'_>, labels: &[Label<'_>]) -> Result {
        match self {
            // This avoids empty braces.
            Value::Gauge(value) | Value::Counter(value) if labels.is_empty() => encoder.encode_gauge(value),
            Value::Seconds(value) if labels.is_empty() => encoder.encode_gauge(&seconds(*value)),
            Value::Gauge(value) | Value::Counter(value) => encoder.encode_family(&labels)?.encode_gauge(value),
            Value::Seconds(value) => encoder.encode_family(&labels)?.encode_gauge(&seconds(*value)),
            Value::Errors(errors) => errors.iter().try_for_each(|error| {
                let kind = error.status.name().to_str().map_err(|_| Error)?;
                encode_with(encoder, labels, &[(ERROR_LABEL, kind)], error.count)
            }),
            Value::Known(value) => value.iter().try_for_each(|value| encode_with(encoder, labels, &[], *value)),
            Value::KnownSeconds(value) => {
                value.iter().try_for_each(|value| encoder.encode_family(&labels)?.encode_gauge(&seconds(*value)))
            }
            Value::States(states) => states
                .iter()
                .try_for_each(|(state, count)| encode_with(encoder, labels, &[(STATE_LABEL, state)], *count)),
            Value::Topics(topics, count) => topics
                .iter()
                .try_for_each(|topic| encode_with(encoder, labels, &[(TOPIC_LABEL, &topic.name)], count(topic))),
            Value::Codes(codes) => codes.iter().try_for_each(|(code, _)| {
                encode_with(encoder, labels, &[(CODE_LABEL, &hex(code)), (VERSION_LABEL, VERSION)], 1)
            }),
            Value::Latency(sum, buckets) => {
                let end = |end| if end == u64::MAX { f64::INFINITY } else { seconds(end) };
                let buckets: Vec<_> = buckets.iter().map(|bucket| (end(bucket.end_ns), bucket.records)).collect();
                let count = buckets.iter().map(|(_, records)| records).sum();
                encoder.encode_family(&labels)?.encode_histogram::<[Label<'_>; 0]>(seconds(*sum), count, &buckets, None)
            }
        }
    }
}

/// A sample with further labels.
fn encode_with(encoder: &mut MetricEncoder<'_>, all: &[Label<'_>], own: &[Label<'_>], value: u64) -> Result {
    let labels: Vec<_> = all.iter().chain(own).copied().collect();
    encoder.encode_family(&labels.as_slice())?.encode_gauge(&value)
}

fn encode<T>(encoder: &mut DescriptorEncoder<'_>, metrics: &[Metric<T>], items: &[(&T, Vec<Label<'_>>)]) -> Result {
    for metric in metrics {
        let values: Vec<_> = items.iter().map(|(item, labels)| ((metric.value)(item), labels)).collect();
        // A metric that nothing has is left out as a whole.
        let Some(kind) = values.iter().find(|(value, _)| !value.is_empty()).map(|(value, _)| value.kind()) else {
            continue;
        };
        let mut encoder = encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
        for (value, labels) in values {
            value.encode(&mut encoder, labels)?;
        }
    }
    Ok(())
}

/// What a snapshot has, as a collector of the crate.
struct Snapshots(RuntimeMetrics, Vec<TransformMetrics>);

impl core::fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> Result {
        f.debug_struct("Snapshots").finish_non_exhaustive()
    }
}

impl Collector for Snapshots {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result {
        let shards: Vec<_> = self.1.iter().map(|m| m.shard.to_string()).collect();
        let [transform, shard] = OF_TRANSFORMS_LABELS;
        let of_transforms: Vec<_> = self
            .1
            .iter()
            .zip(&shards)
            .map(|(m, number)| (m, vec![(transform, &*m.transform), (shard, number.as_str())]))
            .collect();
        encode(&mut encoder, OF_TRANSFORMS, &of_transforms)?;
        encode(&mut encoder, OF_RUNTIME, &[(&self.0, Vec::new())])
    }
}

/// A string that refuses to grow if memory is refused.
#[derive(Default)]
struct Refusable(String);

impl core::fmt::Write for Refusable {
    fn write_str(&mut self, text: &str) -> Result {
        fallible::extend_text(&mut self.0, text).map_err(|_| Error)
    }
}

/// The snapshot's numbers in Prometheus's text format, version 0.0.4. They are taken out of it. Fails if memory is
/// refused.
pub fn of(snapshot: &mut Snapshot) -> core::result::Result<String, Error> {
    let mut registry = Registry::default();
    let (runtime, transforms) = (core::mem::take(&mut snapshot.runtime), core::mem::take(&mut snapshot.transforms));
    registry.register_collector(Box::new(Snapshots(runtime, transforms)));
    let mut text = Refusable::default();
    // Without the end mark, which is specific to OpenMetrics.
    text::encode_registry(&mut text, &registry)?;
    Ok(text.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::status::wasm_status as Status;
    use crate::metrics::counters::{BUCKETS, Sums, bucket_end};

    fn one(name: &str) -> TransformMetrics {
        TransformMetrics {
            transform: name.into(),
            shard: 3,
            engines: 1,
            memory_limit: 1 << 20,
            sums: Sums::default(),
            restarts: 2,
            log_suppressed: 0,
            latency: core::array::from_fn(|i| wasm_latency_bucket { end_ns: bucket_end(i), records: i as u64 }),
            errors: vec![wasm_error_count { status: Status::GuestTrap, count: 7 }],
            stops: 1,
            broken: [2, 3],
            since_progress: Some(1_500_000_000),
            topics: vec![TopicSums { name: "out".into(), records: 5, bytes: 50 }],
            codes: vec![([0xab; 32], 1)],
        }
    }

    fn text_of(transforms: Vec<TransformMetrics>) -> String {
        let mut snapshot = Snapshot::default();
        snapshot.transforms = transforms;
        of(&mut snapshot).unwrap()
    }

    #[test]
    fn names_are_escaped() {
        let text = text_of(vec![one("a\"b\\c\nd é")]);
        assert!(text.contains("wasm_restarts_total{transform=\"a\\\"b\\\\c\\nd é\",shard=\"3\"} 2\n"), "{text}");
    }

    #[test]
    fn kinds_of_errors_are_labels() {
        let text = text_of(vec![one("t")]);
        assert!(text.contains("wasm_errors_total{transform=\"t\",shard=\"3\",error=\"guest-trap\"} 7\n"), "{text}");
    }

    #[test]
    fn states_topics_and_code_are_labels() {
        let code = "ab".repeat(32);
        let mut known = one("t");
        known.sums.lag = Some(9);
        known.sums.conditions[Condition::Running as usize] = 4;
        let text = text_of(vec![known]);
        let lines = [
            "wasm_engine_states{transform=\"t\",shard=\"3\",state=\"running\"} 4\n",
            "wasm_engine_states{transform=\"t\",shard=\"3\",state=\"failed\"} 0\n",
            "wasm_circuits{transform=\"t\",shard=\"3\",state=\"open\"} 2\n",
            "wasm_circuits{transform=\"t\",shard=\"3\",state=\"half-open\"} 3\n",
            "wasm_policy_stops_total{transform=\"t\",shard=\"3\"} 1\n",
            "wasm_since_progress_seconds{transform=\"t\",shard=\"3\"} 1.5\n",
            "wasm_lag_records{transform=\"t\",shard=\"3\"} 9\n",
            "wasm_topic_records_total{transform=\"t\",shard=\"3\",topic=\"out\"} 5\n",
            "wasm_topic_bytes_total{transform=\"t\",shard=\"3\",topic=\"out\"} 50\n",
            &format!("shard=\"3\",code_sha256=\"{code}\",version=\"{VERSION}\"}} 1\n"),
        ];
        for line in lines {
            assert!(text.contains(line), "{line} {text}");
        }
        assert!(!text_of(vec![one("t")]).contains("wasm_lag_records"), "what is not known is left out");
    }

    #[test]
    fn histograms_are_cumulative_and_end_in_infinity() {
        let text = text_of(vec![one("t")]);
        let total: usize = (0..BUCKETS).sum();
        let lines = [
            "wasm_record_latency_seconds_bucket{le=\"0.000001024\",transform=\"t\",shard=\"3\"} 3\n".to_owned(),
            format!("wasm_record_latency_seconds_bucket{{le=\"+Inf\",transform=\"t\",shard=\"3\"}} {total}\n"),
            format!("wasm_record_latency_seconds_count{{transform=\"t\",shard=\"3\"}} {total}\n"),
        ];
        for line in lines {
            assert!(text.contains(&line), "{line} {text}");
        }
    }

    #[test]
    fn each_metric_is_described_once_and_only_if_it_has_samples() {
        let text = text_of(vec![one("a"), one("b")]);
        assert_eq!(text.matches("# TYPE wasm_input_records_total counter\n").count(), 1);
        assert_eq!(text.matches("# HELP wasm_input_records_total ").count(), 1);
        assert_eq!(text.matches("wasm_input_records_total{").count(), 2);
        let text = text_of(Vec::new());
        assert!(!text.contains("transform") && !text.contains("errors") && text.contains("wasm_engines 0\n"), "{text}");
    }

    #[test]
    fn the_docs_list_every_metric() {
        fn rows<T>(metrics: &[Metric<T>], item: &T, labels: &[&str]) -> String {
            let row = |metric: &Metric<T>| {
                let value = (metric.value)(item);
                let own = value.labels().iter();
                let labels: Vec<_> = labels.iter().chain(own).map(|label| format!("`{label}`")).collect();
                format!("| `{}` | {} | {} | {} |\n", metric.name, value.kind().as_str(), labels.join(", "), metric.help)
            };
            metrics.iter().map(row).collect()
        }
        let table =
            rows(OF_TRANSFORMS, &one("t"), &OF_TRANSFORMS_LABELS) + &rows(OF_RUNTIME, &RuntimeMetrics::default(), &[]);
        let table = format!("| metric | type | labels | what it says |\n| --- | --- | --- | --- |\n{table}\n");
        assert!(
            include_str!("../../docs/metrics.md").contains(&table),
            "docs/metrics.md must have this table:\n{table}"
        );
    }
}
