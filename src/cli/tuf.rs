//! `imgkit tuf`: a client of any TUF repository, with the command line of the public conformance suite.
//!
//! Exit codes are 0 and 1 alone, as that suite has them: 1 also for wrong usage and for what could not be found out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::web::WebArgs;
use super::{Context, Report};
use crate::failure::Failure;
use crate::limit;
use crate::store::TrustHttp;
use crate::store::file::read_limited;
use crate::store::http::Web;
use crate::store::tuf_dir::{TufDir, check_apart, fetch_artifact};
use crate::trust::metadata::Header;
use crate::trust::{Cache, Chain, Updater};

/// Refreshes metadata of any TUF repository, and downloads what they sign.
#[derive(Debug, Args)]
pub(super) struct Tuf {
    #[command(subcommand)]
    action: Action,
    /// The directory that keeps the trusted metadata: root.json, timestamp.json, snapshot.json, targets.json, ROLE.json
    #[arg(long, value_name = "DIR", global = true)]
    metadata_dir: Option<PathBuf>,
    /// The URL of the repository's directory of metadata
    #[arg(long, value_name = "URL", global = true)]
    metadata_url: Option<String>,
    /// The name of an artifact to download; may be given again
    #[arg(long = "target-name", value_name = "NAME", global = true)]
    target_names: Vec<String>,
    /// The URL of the repository's directory of artifacts
    #[arg(long, value_name = "URL", global = true)]
    target_base_url: Option<String>,
    /// The directory that artifacts are put into, each under its percent-encoded name
    #[arg(long, value_name = "DIR", global = true)]
    target_dir: Option<PathBuf>,
    #[command(flatten)]
    web: WebArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Refresh the metadata, and download artifacts that are not there as they are signed
    Download,
    /// Begin with a root that was got in a safe way
    Init {
        /// The root.json
        root: PathBuf,
    },
    /// Bring root, timestamp, snapshot and targets up to date
    Refresh,
}

impl Tuf {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let metadata_dir = needed(&self.metadata_dir, "--metadata-dir")?;
        if let (Action::Download, Some(target_dir)) = (&self.action, &self.target_dir) {
            check_apart(metadata_dir, target_dir)?;
        }
        let dir = TufDir::open(metadata_dir)?;
        if let Action::Init { root } = &self.action {
            return init(context, dir, root);
        }
        let url = needed(&self.metadata_url, "--metadata-url")?;
        let options = self.web.options();
        let repository = TrustHttp::at(url, &options)?;
        let refreshed = Updater::refresh(&repository, dir, context.now()?);
        let mut updater = refreshed.map_err(|error| error.about(url))?;
        if let Action::Refresh = self.action {
            return Ok(refresh_report(&updater));
        }
        let base = needed(&self.target_base_url, "--target-base-url")?;
        let target_dir = needed(&self.target_dir, "--target-dir")?;
        if self.target_names.is_empty() {
            return Err(missing("--target-name"));
        }
        let web = Web::new(base, &options)?;
        let mut report = Report::new("", json!([]));
        for name in &self.target_names {
            let target = updater.target(name).map_err(|error| error.about(name))?;
            let artifact = fetch_artifact(&web, &target, &updater.served_as(&target), target_dir)?;
            let path = artifact.path.display().to_string();
            let how = if artifact.fetched {
                "downloaded"
            } else {
                "there already"
            };
            report.text += &format!("{name}: {path}, {how}\n");
            let entry = json!({
                "target": name, "path": path, "fetched": artifact.fetched, "length": target.length(),
                "role": target.evidence().role, "keys": target.evidence().keys,
            });
            report
                .json
                .as_array_mut()
                .into_iter()
                .for_each(|all| all.push(entry.clone()));
        }
        Ok(report)
    }
}

/// Returns the exit code of a command that conformance suites run: 0 and 1 alone.
pub(super) fn exit_code(code: ExitCode) -> ExitCode {
    match code == ExitCode::SUCCESS {
        true => code,
        false => ExitCode::FAILURE,
    }
}

fn init(context: &Context, mut dir: TufDir, root: &Path) -> Result<Report, Failure> {
    let bytes = read_limited(root, limit::ROOT_BYTES)?;
    let chain = Chain::pinned(&bytes, context.now()?);
    let chain = chain.map_err(|error| error.about(&root.display().to_string()))?;
    dir.store("root", &bytes)?;
    let header = chain.newest_root().header();
    let text = format!("root version {}, expires {}\n", header.version, header.expires);
    Ok(Report::new(text, json!({ "root": mark(header) })))
}

fn refresh_report<S, C>(updater: &Updater<S, C>) -> Report
where
    S: crate::trust::Source,
    C: Cache,
{
    let chain = updater.chain();
    let headers = [
        ("root", chain.newest_root().header()),
        ("timestamp", chain.timestamp().header()),
        ("snapshot", chain.snapshot().header()),
        ("targets", chain.targets().header()),
    ];
    let line =
        |(role, header): &(&str, &Header)| format!("{role} version {}, expires {}\n", header.version, header.expires);
    let text: String = headers.iter().map(line).collect();
    let json: Map<_, _> = headers
        .iter()
        .map(|(role, header)| ((*role).to_owned(), mark(header)))
        .collect();
    Report::new(text, json.into())
}

fn mark(header: &Header) -> Value {
    json!({ "version": header.version, "expires": header.expires })
}

fn needed<'a, T>(option: &'a Option<T>, name: &str) -> Result<&'a T, Failure> {
    option.as_ref().ok_or_else(|| missing(name))
}

fn missing(option: &str) -> Failure {
    Failure::malformed("imgkit tuf", format!("{option} is missing"))
}
