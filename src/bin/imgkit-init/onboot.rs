//! Containers that run one after another, in the order of their names: `onboot` before services, `onshutdown` after them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::bundle::Bundle;
use crate::console::Console;
use crate::error::{Context, Error};
use crate::reaper::Reaper;
use crate::runc::Run;

/// Runs a kind of containers, `onboot` or `onshutdown`.
///
/// # Errors
///
/// The first container that fails and is not marked as optional: those after it are not run, because they may rely on it.
pub(crate) async fn run(kind: &str, reaper: &Reaper, console: &Console) -> Result<(), Error> {
    let bundles = Bundle::all_in(&format!("/containers/{kind}"))?;
    let logs = Path::new("/run/log").join(kind);
    fs::create_dir_all(&logs).at("make the directory", &logs)?;
    // LinuxKit's place for them; something may be mounted there meanwhile that has it already.
    let _ = symlink(&logs, Path::new("/var/log").join(kind));
    for bundle in &bundles {
        let step = console.begin(format!("{kind} {}", bundle.name()));
        let run = Run::new(bundle, reaper, &logs);
        let result = run.to_end().await;
        console.quote(bundle.name(), &run.output());
        match result {
            Ok(()) => step.done(),
            Err(error) if bundle.is_optional() => step.failed(format_args!("{error} (optional, going on)")),
            Err(error) => {
                step.failed(&error);
                return Err(Error::Step {
                    step: format!("{kind} {}", bundle.name()),
                    source: Box::new(error),
                });
            }
        }
    }
    Ok(())
}
