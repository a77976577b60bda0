//! The demo's events: each a function of its number alone, so that whoever reads one back can tell
//! what it must be.
//!
//! Kinds are mixed as on a platform (many API calls, few deployments), names come from small sets so
//! that keys repeat, and optional fields, maps and arrays are there or not.

use std::borrow::Cow;

use carbon_events::events::{
    ActionResult, AuditAPICallEvent, AuditAdminOperationEvent, AuditDataAccessEvent,
    AuditUserActionEvent, ColumnLineage, ConfigChangeEvent, ConfigChangeType, DataAccessType,
    DataIngestionEvent, DataLineageEvent, DataQualityEvent, DataTransformationEvent,
    DeploymentAction, DeploymentEvent, HealthStatus, IngestionStatus, QualityResult,
    SecurityCategory, SecurityEvent, SecurityOutcome, ServiceHealthEvent, Severity,
    TransformationStatus, TransformationType,
};
use carbon_events::{Event, Result};

use super::random::Random;

const SERVICES: &[&str] = &[
    "api-gateway",
    "billing",
    "catalog",
    "checkout",
    "curves",
    "dispatch",
    "entitlements",
    "forecast",
    "ingest",
    "inventory",
    "ledger",
    "market-data",
    "notifications",
    "pricing",
    "reference-data",
    "reports",
    "risk",
    "scheduler",
    "search",
    "settlement",
    "trading",
    "users",
];
const DATASETS: &[&str] = &[
    "commodities.prices_raw",
    "commodities.prices_daily",
    "commodities.settlements",
    "emissions.registry",
    "emissions.trades",
    "fundamentals.balances",
    "fx.rates",
    "gas.flows",
    "gas.nominations",
    "oil.cargoes",
    "oil.inventories",
    "power.demand",
    "power.generation",
    "power.outages",
    "power.prices_15min",
    "power.prices_hourly",
    "reference.contracts",
    "reference.locations",
    "risk.exposures",
    "risk.positions",
    "weather.actuals",
    "weather.forecasts",
];
const NAMESPACES: &[&str] = &["data-platform", "trading", "shared", "monitoring"];
const ENDPOINTS: &[&str] = &[
    "/v1/prices",
    "/v1/prices/{id}",
    "/v1/curves",
    "/v1/curves/{id}/points",
    "/v1/positions",
    "/v1/trades",
    "/v1/trades/{id}",
    "/v2/search",
    "/v2/reports",
    "/health",
];
const METHODS: &[&str] = &["GET", "GET", "GET", "POST", "PUT", "DELETE"];
const STATUSES: &[i32] = &[
    200, 200, 200, 200, 201, 204, 304, 400, 401, 403, 404, 429, 500, 503,
];
const PEOPLE: &[&str] = &[
    "Ada Lovelace",
    "Åsa Öberg",
    "Chidi Anagonye",
    "Đặng Minh",
    "Grace Hopper",
    "Ismail Yılmaz",
    "María Muñoz",
    "O'Neil, Pat",
    "Сергей Иванов",
    "山田 太郎",
];
const ENGINES: &[&str] = &["spark", "flink", "trino", "dbt"];
const FORMATS: &[&str] = &["parquet", "avro", "csv", "json"];
const COLUMNS: &[&str] = &[
    "id",
    "price",
    "volume",
    "currency",
    "delivery_start",
    "location",
];
const AGENTS: &[&str] = &[
    "Mozilla/5.0 (X11; Linux x86_64)",
    "python-requests/2.32",
    "curl/8.9.1",
];
const REASONS: &[&str] = &[
    "requested by the owner",
    "incident 4711",
    "quarterly review",
];
const CHECKS: &[(&str, &str)] = &[
    ("completeness", "no gaps in delivery_start"),
    ("uniqueness", "id is unique"),
    ("range", "price within limits"),
    ("freshness", "newest row younger than 1 h"),
];

/// One run's events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Events {
    seed: u64,
    start_ms: i64,
}

impl Events {
    /// Events that look as if they began at `start_ms`, in milliseconds UTC; another seed gives
    /// others.
    pub(super) fn new(seed: u64, start_ms: i64) -> Self {
        Events { seed, start_ms }
    }

    /// The event of that number.
    pub(super) fn event(&self, index: u64) -> Result<Event<'static>> {
        let random = &mut Random::of(self.seed, index);
        let mut event = match random.below(100) {
            0..30 => api_call(random)?,
            30..43 => data_access(random)?,
            43..56 => user_action(random)?,
            56..66 => health(random)?,
            66..74 => ingestion(random)?,
            74..82 => quality(random)?,
            82..88 => transformation(random)?,
            88..92 => lineage(random)?,
            92..96 => security(random)?,
            96..98 => config_change(random)?,
            98..99 => deployment(random)?,
            _ => admin_operation(random)?,
        };
        let envelope = event.envelope_mut();
        envelope.event_id = self.id(index).into();
        envelope.timestamp_ms = self.timestamp_ms(index);
        envelope.source = random.pick(SERVICES).into();
        if random.once_in(2) {
            let cause = self.id(index - index.min(random.below(50)));
            envelope.correlation_id = Some(cause.clone().into());
            envelope.causation_id = random.once_in(2).then(|| cause.into());
        }
        Ok(event)
    }

    fn timestamp_ms(&self, index: u64) -> i64 {
        // Fifty events a millisecond: a million are twenty seconds' worth.
        self.start_ms + (index / 50) as i64
    }

    /// A UUIDv7 whose last 48 bits are the number and whose other random bits are the run's.
    fn id(&self, index: u64) -> String {
        let time = self.timestamp_ms(index) as u64;
        let (run_a, run_b) = self.run();
        format!(
            "{:08x}-{:04x}-7{run_a:03x}-{run_b:04x}-{:012x}",
            (time >> 16) & 0xffff_ffff,
            time & 0xffff,
            index & 0xffff_ffff_ffff,
        )
    }

    fn run(&self) -> (u64, u64) {
        (self.seed & 0xfff, 0x8000 | (self.seed >> 12) & 0x3fff)
    }

    /// The number of the event with this id; `None` where the event is not of this run.
    pub(super) fn index(&self, id: &str) -> Option<u64> {
        let (run_a, run_b) = self.run();
        let run = format!("7{run_a:03x}-{run_b:04x}-");
        let (run_of_id, index) = (id.get(14..24)?, id.get(24..)?);
        if run_of_id != run {
            return None;
        }
        u64::from_str_radix(index, 16).ok()
    }
}

fn numbered(random: &mut Random, prefix: &str, end: u64) -> Cow<'static, str> {
    format!("{prefix}{:05}", random.below(end)).into()
}

fn user(random: &mut Random) -> Cow<'static, str> {
    numbered(random, "user-", 5000)
}

/// An address for documentation (RFC 5737, RFC 3849).
fn address(random: &mut Random) -> Cow<'static, str> {
    match random.below(10) {
        0 => format!("2001:db8::{:x}", random.below(0xffff)).into(),
        _ => format!("198.51.100.{}", random.below(256)).into(),
    }
}

fn optional<T>(random: &mut Random, value: impl FnOnce(&mut Random) -> T) -> Option<T> {
    random.once_in(3).then(|| value(random))
}

fn entries(random: &mut Random) -> Vec<(&'static str, Cow<'static, str>)> {
    const NAMES: &[&str] = &["region", "team", "batch", "requestId", "größe"];
    let count = random.below(4) as usize;
    NAMES[..count]
        .iter()
        .map(|name| (*name, numbered(random, "v-", 1000)))
        .collect()
}

fn action_result(random: &mut Random) -> ActionResult {
    use ActionResult::{Denied, Failure, Success};
    random.pick(&[Success, Success, Success, Success, Failure, Denied])
}

fn api_call(random: &mut Random) -> Result<Event<'static>> {
    let status = random.pick(STATUSES);
    let mut call = AuditAPICallEvent::builder()
        .service(random.pick(SERVICES))
        .endpoint(random.pick(ENDPOINTS))
        .method(random.pick(METHODS))
        .status_code(status)
        .latency_ms(random.skewed(0, 3000))
        .request_size_bytes(random.skewed(0, 20_000))
        .response_size_bytes(random.skewed(0, 2_000_000))
        .ip_address(address(random));
    if !random.once_in(5) {
        call = call.user_id(user(random));
    }
    if random.once_in(4) {
        // Written as a hash; that it never leaves in clear is part of what is checked.
        call = call.api_key(numbered(random, "key-", 300));
    }
    if status >= 500 {
        call = call.error_message("upstream did not answer in time");
    }
    Ok(call.build()?.into())
}

fn data_access(random: &mut Random) -> Result<Event<'static>> {
    let columns = random.below(COLUMNS.len() as u64 + 1) as usize;
    let access = AuditDataAccessEvent::builder()
        .user_id(user(random))
        .dataset_name(random.pick(DATASETS))
        .access_type(random.pick(DataAccessType::ALL))
        .tool(random.pick(&["trino", "superset", "notebook"]))
        .columns(COLUMNS[..columns].to_vec())
        .row_count(random.skewed(0, 10_000_000))
        .size_bytes(random.skewed(0, 4_000_000_000))
        .query(optional(random, |random| {
            format!(
                "SELECT * FROM prices WHERE location = {}",
                random.below(900)
            )
        }))
        .purpose(optional(random, |random| random.pick(REASONS)))
        .result(action_result(random))
        .ip_address(address(random));
    Ok(access.build()?.into())
}

fn user_action(random: &mut Random) -> Result<Event<'static>> {
    let action = AuditUserActionEvent::builder()
        .user_id(user(random))
        .username(random.pick(PEOPLE))
        .action(random.pick(&["login", "logout", "download", "share", "update-profile"]))
        .resource(numbered(random, "report-", 4000))
        .resource_type("report")
        .result(action_result(random))
        .ip_address(address(random))
        .user_agent(optional(random, |random| random.pick(AGENTS)))
        .details(entries(random));
    Ok(action.build()?.into())
}

fn health(random: &mut Random) -> Result<Event<'static>> {
    let status = random.pick(&[
        HealthStatus::Healthy,
        HealthStatus::Healthy,
        HealthStatus::Healthy,
        HealthStatus::Degraded,
        HealthStatus::Unhealthy,
        HealthStatus::Unknown,
    ]);
    let health = ServiceHealthEvent::builder()
        .service_name(random.pick(SERVICES))
        .namespace(random.pick(NAMESPACES))
        .health_status(status)
        .latency_ms(random.skewed(0, 2000))
        .error_rate(random.unit() * random.unit())
        .message((status != HealthStatus::Healthy).then_some("p99 above its objective"));
    Ok(health.build()?.into())
}

fn ingestion(random: &mut Random) -> Result<Event<'static>> {
    let dataset = random.pick(DATASETS);
    let ingestion = DataIngestionEvent::builder()
        .dataset_name(dataset)
        .record_count(random.skewed(0, 5_000_000))
        .size_bytes(random.skewed(0, 8_000_000_000))
        .format(random.pick(FORMATS))
        .location(format!(
            "s3://lake/{dataset}/part-{:05}",
            random.below(100_000)
        ))
        .status(random.pick(IngestionStatus::ALL))
        .metadata(entries(random));
    Ok(ingestion.build()?.into())
}

fn quality(random: &mut Random) -> Result<Event<'static>> {
    let (check_type, check_name) = random.pick(CHECKS);
    let total = random.skewed(1, 1_000_000);
    let failed = if random.once_in(4) {
        random.skewed(0, total)
    } else {
        0
    };
    let quality = DataQualityEvent::builder()
        .dataset_name(random.pick(DATASETS))
        .check_type(check_type)
        .check_name(check_name)
        .result(random.pick(QualityResult::ALL))
        .score(1.0 - failed as f64 / total as f64)
        .failed_records(failed)
        .total_records(total)
        .message((failed > 0).then(|| format!("{failed} records violate the rule")));
    Ok(quality.build()?.into())
}

fn transformation(random: &mut Random) -> Result<Event<'static>> {
    let inputs = 1 + random.below(4) as usize;
    let status = random.pick(TransformationStatus::ALL);
    let failed = status == TransformationStatus::Failure;
    let transformation = DataTransformationEvent::builder()
        .job_name(numbered(random, "job-", 400))
        .engine(random.pick(ENGINES))
        .input_datasets(DATASETS[..inputs].to_vec())
        .output_dataset(random.pick(DATASETS))
        .input_records(random.skewed(0, 50_000_000))
        .output_records(random.skewed(0, 50_000_000))
        .duration_ms(random.skewed(10, 3_600_000))
        .status(status)
        .error_message(failed.then_some("executor lost: container killed by the node"))
        .metadata(entries(random));
    Ok(transformation.build()?.into())
}

fn lineage(random: &mut Random) -> Result<Event<'static>> {
    let columns = COLUMNS[..random.below(5) as usize]
        .iter()
        .map(|column| ColumnLineage {
            source_column: (*column).into(),
            target_column: format!("{column}_clean").into(),
            transformation: random.once_in(3).then(|| "trim(lower(x))".into()),
        });
    let columns: Vec<ColumnLineage<'static>> = columns.collect();
    let lineage = DataLineageEvent::builder()
        .source_dataset(random.pick(DATASETS))
        .target_dataset(random.pick(DATASETS))
        .transformation_type(random.pick(TransformationType::ALL))
        .transformation_name(numbered(random, "step-", 200))
        .query(optional(
            random,
            |_| "INSERT INTO target SELECT * FROM source",
        ))
        .columns(columns);
    Ok(lineage.build()?.into())
}

fn security(random: &mut Random) -> Result<Event<'static>> {
    let security = SecurityEvent::builder()
        .category(random.pick(SecurityCategory::ALL))
        .severity(random.pick(Severity::ALL))
        .action(random.pick(&["login", "token-refresh", "policy-check", "port-scan"]))
        .outcome(random.pick(SecurityOutcome::ALL))
        .principal(optional(random, user))
        .resource(optional(random, |random| random.pick(ENDPOINTS)))
        .ip_address(optional(random, address))
        .user_agent(optional(random, |random| random.pick(AGENTS)))
        .description("seen by the gateway")
        .details(entries(random));
    Ok(security.build()?.into())
}

fn config_change(random: &mut Random) -> Result<Event<'static>> {
    // Masked where it is sensitive.
    let sensitive = random.once_in(3);
    let change = ConfigChangeEvent::builder()
        .component(random.pick(SERVICES))
        .namespace(random.pick(NAMESPACES))
        .config_key(random.pick(&["log.level", "db.password", "feature.new_curves", "replicas"]))
        .change_type(random.pick(ConfigChangeType::ALL))
        .old_value(optional(random, |random| numbered(random, "old-", 100)))
        .new_value(optional(random, |random| numbered(random, "new-", 100)))
        .sensitive(sensitive)
        .changed_by(user(random))
        .reason(optional(random, |random| random.pick(REASONS)));
    Ok(change.build()?.into())
}

fn deployment(random: &mut Random) -> Result<Event<'static>> {
    let version = format!(
        "{}.{}.{}",
        random.below(4),
        random.below(20),
        random.below(50)
    );
    let deployment = DeploymentEvent::builder()
        .deployment_name(random.pick(SERVICES))
        .namespace(random.pick(NAMESPACES))
        .action(random.pick(DeploymentAction::ALL))
        .deployed_version(version)
        .previous_version(optional(random, |_| "1.0.0"))
        .replicas(random.below(30) as i32)
        .deployed_by(random.pick(&["argocd", "ci", "on-call"]));
    Ok(deployment.build()?.into())
}

fn admin_operation(random: &mut Random) -> Result<Event<'static>> {
    let operation = AuditAdminOperationEvent::builder()
        .admin_id(numbered(random, "admin-", 40))
        .admin_name(random.pick(PEOPLE))
        .operation(random.pick(&["create-user", "grant-role", "rotate-key", "purge-cache"]))
        .target(user(random))
        .target_type("user")
        .result(action_result(random))
        .ip_address(address(random))
        .reason(optional(random, |random| random.pick(REASONS)))
        .changes(entries(random));
    Ok(operation.build()?.into())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use carbon_events::Topic;

    use super::*;

    #[test]
    fn an_event_is_the_same_each_time_and_its_id_tells_its_number() {
        let events = Events::new(0x1234_5678, 1_700_000_000_000);
        for index in (0..10_000).chain([u32::MAX.into()]) {
            let event = events.event(index).unwrap();
            assert_eq!(event, events.event(index).unwrap());
            event.validate("").unwrap();
            let id = event.envelope().event_id.as_str();
            assert!(event.envelope().event_id.is_uuid(), "{id}");
            assert_eq!(events.index(id), Some(index), "{id}");
            assert_eq!(Events::new(0x1234_5679, 0).index(id), None, "another run's");
        }
        assert_eq!(events.index("no id"), None);
    }

    #[test]
    fn all_kinds_come_and_no_two_events_are_alike() {
        let events = Events::new(7, 1_700_000_000_000);
        let mut bodies = HashSet::new();
        let mut topics = HashSet::new();
        for index in 0..5_000 {
            let event = events.event(index).unwrap();
            topics.insert(event.topic());
            let mut body = Vec::new();
            event.encode("", &mut body);
            assert!(bodies.insert(body));
        }
        assert_eq!(topics.len(), Topic::ALL.len());
    }
}
