//! `plugin-host audit`.
//!
//! Records are escaped when they are written. They are once more here: the files may be anyone's.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::builder::PossibleValuesParser;
use host_security::{
    audit::{self, AuditFault, AuditRecord, EnforcementAction, RecordKind, ViolationType},
    sign::PublicKey,
};
use plugin_contract::escape;

use super::{CliError, artifacts::shown, complain, say, verify::public_key};

/// Look into the audit log of a host, and see whether it is as the host wrote it.
#[derive(clap::Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(clap::Subcommand)]
enum AuditCommand {
    /// Show the last records.
    Tail(Tail),
    /// Show the records that match.
    Search(Search),
    /// Check that no record was changed, removed or moved. Exits with 1 if one was, and names the first.
    Verify(Verify),
}

/// Where a log is.
#[derive(clap::Args)]
struct Place {
    /// The directory of the log itself.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The data directory of a host, whose log is in `audit`.
    #[arg(long, value_name = "DIR", default_value = "data", env = "PLUGIN_HOST_DATA")]
    data_dir: PathBuf,
}

impl Place {
    fn directory(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| self.data_dir.join("audit"))
    }
}

#[derive(clap::Args)]
struct Tail {
    #[command(flatten)]
    place: Place,
    /// How many records.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    lines: usize,
    /// Go on with those to come.
    #[arg(short, long)]
    follow: bool,
}

#[derive(clap::Args)]
struct Search {
    #[command(flatten)]
    place: Place,
    /// Of this plugin.
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
    /// Of this type: of violation, or of record.
    #[arg(long = "type", value_name = "TYPE", value_parser = PossibleValuesParser::new(types()))]
    kind: Option<String>,
    /// From this time on: `2026-01-31T12:00:00Z`, or how long ago, as in `90m` or `7d`.
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<SystemTime>,
    /// In which this stands, in any of their texts, capital or small.
    #[arg(long)]
    text: Option<String>,
    /// How many at most: the last ones.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    limit: usize,
}

#[derive(clap::Args)]
struct Verify {
    #[command(flatten)]
    place: Place,
    /// The public key of the log: a file with it, or the key itself (`ed25519:...`). Left out, it is the one
    /// in the directory, which who changed the log may have changed too.
    #[arg(long, value_name = "FILE|KEY")]
    key: Option<String>,
}

fn since(text: &str) -> Result<SystemTime, &'static str> {
    audit::parse_since(text, SystemTime::now())
}

const VIOLATIONS: [ViolationType; 10] = [
    ViolationType::FsAccessDenied,
    ViolationType::NetAccessDenied,
    ViolationType::MessageDenied,
    ViolationType::MemoryExceeded,
    ViolationType::CpuTimeExceeded,
    ViolationType::InstanceLimitExceeded,
    ViolationType::TimeoutExceeded,
    ViolationType::QuotaExceeded,
    ViolationType::LimitExceeded,
    ViolationType::SignatureRefused,
];

const KINDS: [RecordKind; 10] = [
    RecordKind::Violation,
    RecordKind::Granted,
    RecordKind::Lifecycle,
    RecordKind::Folded,
    RecordKind::Dropped,
    RecordKind::Opened,
    RecordKind::Closed,
    RecordKind::Checkpoint,
    RecordKind::Rotated,
    RecordKind::Recovered,
];

fn types() -> Vec<&'static str> {
    VIOLATIONS.map(ViolationType::word).into_iter().chain(KINDS.map(RecordKind::word)).collect()
}

impl Audit {
    pub(crate) async fn run(self, json: bool) -> Result<ExitCode, CliError> {
        match self.command {
            AuditCommand::Tail(tail) => tail.run(json).await?,
            AuditCommand::Search(search) => search.run(json)?,
            AuditCommand::Verify(verify) => verify.run(json)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Between two looks for new records.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);

impl Tail {
    async fn run(self, json: bool) -> Result<(), CliError> {
        let (records, mut rest) = audit::last(&self.place.directory(), self.lines)?;
        for record in &records {
            say(&line(record, json));
        }
        if !self.follow {
            return Ok(());
        }
        loop {
            for record in rest.by_ref() {
                match record {
                    Ok(record) => say(&line(&record, json)),
                    Err(fault @ AuditFault::Record { .. }) => complain(&fault.to_string()),
                    Err(fault) => return Err(fault.into()),
                }
            }
            tokio::time::sleep(FOLLOW_EVERY).await;
        }
    }
}

impl Search {
    fn run(self, json: bool) -> Result<(), CliError> {
        let text = self.text.as_deref().map(str::to_lowercase);
        let (mut found, mut more, mut damaged) = (VecDeque::new(), 0_u64, 0_u64);
        for record in audit::read(&self.place.directory())? {
            let record = match record {
                Ok(record) => record,
                Err(AuditFault::Record { .. }) => {
                    damaged += 1;
                    continue;
                }
                Err(fault) => return Err(fault.into()),
            };
            if !self.matches(&record, text.as_deref()) {
                continue;
            }
            found.push_back(record);
            if found.len() > self.limit {
                found.pop_front();
                more += 1;
            }
        }
        for record in &found {
            say(&line(record, json));
        }
        if more > 0 {
            complain(&format!("{more} earlier records match too: see `--limit`"));
        }
        if damaged > 0 {
            complain(&format!("{damaged} records are damaged: see `plugin-host audit verify`"));
        }
        Ok(())
    }

    fn matches(&self, record: &AuditRecord, text: Option<&str>) -> bool {
        let is =
            |wanted: &Option<String>, of: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(of);
        let has_type = |wanted: &str| {
            let counted = |name: &String| name.split(' ').next() == Some(wanted);
            record.kind.word() == wanted
                || record.violation_type.is_some_and(|kind| kind.word() == wanted)
                || record.counts.keys().any(counted)
        };
        is(&self.plugin, &|wanted| record.plugin.as_deref() == Some(wanted))
            && is(&self.kind, &has_type)
            && self.since.is_none_or(|since| record.at().is_some_and(|at| at >= since))
            && text.is_none_or(|text| {
                let texts = [
                    &record.plugin,
                    &record.revision,
                    &record.operation,
                    &record.resource,
                    &record.rule,
                    &record.allow,
                ];
                let mut all = texts.into_iter().flatten().chain(record.counts.keys());
                all.any(|it| it.to_lowercase().contains(text))
            })
    }
}

/// A record, in columns or as JSON.
fn line(record: &AuditRecord, json: bool) -> String {
    if json {
        return serde_json::json!(record).to_string();
    }
    let shown = |text: &Option<String>| escape(text.as_deref().unwrap_or_default(), 2_048);
    let who = format!("{} {}", shown(&record.plugin), shown(&record.revision));
    let mut out = format!(
        "{:>6}  {:<24}  {:<10}  {:<24}",
        record.seq,
        escape(&record.time, 40),
        record.kind.word(),
        who.trim_end()
    );
    let mut add = |before: &str, text: &str| {
        if !text.is_empty() {
            out.push_str(&format!("  {before}{text}"));
        }
    };
    add("", record.violation_type.map_or("", ViolationType::word));
    add("", &shown(&record.operation));
    add("", &shown(&record.resource));
    add("", record.action.map_or("", EnforcementAction::word));
    add("by ", &shown(&record.rule));
    add("to allow it: ", &shown(&record.allow));
    for (name, count) in &record.counts {
        add("", &format!("{} x{count}", escape(name, 200)));
    }
    if let (Some(count), true) = (record.count, record.counts.is_empty()) {
        let of = if record.kind == RecordKind::Recovered { "bytes" } else { "events" };
        add("", &format!("{count} {of}"));
    }
    if let Some(from) = record.from {
        add("", &format!("kept from {from}"));
    }
    add("key ", &shown(&record.key));
    out.trim_end().to_owned()
}

impl Verify {
    fn run(self, json: bool) -> Result<(), CliError> {
        let directory = self.place.directory();
        let key: Option<PublicKey> = self.key.as_deref().map(public_key).transpose()?;
        let verified = audit::verify(&directory, key.as_ref())?;
        if json {
            say(&serde_json::json!({
                "verified": true,
                "directory": directory,
                "records": verified.records,
                "first-seq": verified.first_seq,
                "last-seq": verified.last_seq,
                "sealed-up-to": verified.sealed_up_to,
                "unsealed": verified.unsealed,
                "torn-bytes": verified.torn_bytes,
                "key-id": verified.key.to_string(),
                "key-given": key.is_some(),
            })
            .to_string());
            return Ok(());
        }
        say(&report(&directory, &verified, key.is_some()));
        Ok(())
    }
}

fn report(directory: &Path, verified: &audit::Verified, key_given: bool) -> String {
    let key = match key_given {
        true => format!("{}", verified.key),
        false => format!("{} (found beside the log: note it elsewhere)", verified.key),
    };
    let sealed = match verified.sealed_up_to {
        Some(seq) => format!("up to record {seq}; {} follow", verified.unsealed),
        None => format!("nothing yet of {} records", verified.unsealed),
    };
    let mut out = format!(
        "log          {}\n\
         records      {}, from {} to {}\n\
         sealed       {sealed}\n\
         key          {key}\n",
        shown(directory),
        verified.records,
        verified.first_seq,
        verified.last_seq,
    );
    if verified.torn_bytes > 0 {
        out += &format!(
            "unfinished   {} bytes of a record that is being written, or was when the host died\n",
            verified.torn_bytes
        );
    }
    out += "verdict      every record is as it was written, and where it was";
    out
}
