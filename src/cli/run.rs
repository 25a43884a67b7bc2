//! `imgkit run`: verifies a disk, then boots the very bytes that were verified.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::disk::{DiskArg, DiskFormat, Opened, guest};
use super::verify::VerifyOptions;
use super::{Context, OutputFormat, Report};
use crate::failure::{Code, Failure, Refusal};
use crate::limit;
use crate::run::{ConfigDrive, Ending, Machine, boot};
use crate::store::file::{FileAt, private_copy, read_limited};

/// Boots a verified disk in QEMU.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    disk: DiskArg,
    #[command(flatten)]
    verify: VerifyOptions,
    /// QEMU's accelerator
    #[arg(long, value_name = "NAME", default_value = "tcg", value_parser = ["tcg", "kvm"])]
    accel: String,
    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory: u32,
    /// Lead this port of 127.0.0.1 to the guest's port 22
    #[arg(long, value_name = "PORT")]
    ssh_port: Option<u16>,
    /// OpenStack metadata (meta_data.json), given to the guest on a config drive
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
    /// User data beside the metadata
    #[arg(long, value_name = "FILE", requires = "metadata")]
    user_data: Option<PathBuf>,
    /// End when a line of the console matches this regular expression
    #[arg(long, value_name = "PATTERN")]
    exit_on: Option<regex_lite::Regex>,
    /// End after this many seconds, which is a failure
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

impl Run {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let subject = self.disk.subject();
        let format = self.disk.format()?;
        if format == DiskFormat::Seal {
            return Err(Failure::malformed(
                subject,
                "a set of files is not a disk; run a raw or qcow2 image",
            ));
        }
        let config_drive = self.config_drive()?;
        let basis = self.verify.basis(context)?;
        // From here on the file's name is not used: what is verified is a copy that nobody else can reach, and that is booted.
        let copy = private_copy(&self.disk.path, &context.scratch_dir())?;
        let cannot = |error: io::Error| Failure::unavailable(&subject, error);
        let opened = guest(
            &subject,
            format,
            FileAt::of(copy.try_clone().map_err(cannot)?).map_err(cannot)?,
        )?;
        let verified = self
            .verify
            .verify(context, &basis, &subject, Opened::Disk(opened), false)?;
        context.say(&format!(
            "{subject}: verified, {} components; {}",
            verified.report().components.len(),
            verified.report().times
        ));
        let machine = Machine {
            accelerator: self.accel.clone(),
            memory: self.memory,
            ssh_port: self.ssh_port,
            config_drive,
            exit_on: self.exit_on.clone(),
            timeout: self.timeout.map(Duration::from_secs),
            interactive: io::stdin().is_terminal(),
        };
        let ending = self.boot(context, &copy, format, &machine)?;
        let refused = |expected: &str, found: &str| {
            let advice = "look at the console above";
            Err(Refusal::new(Code::BootFailed, &subject, expected, found, advice).into())
        };
        match ending {
            Ending::UnpackingFailed => refused("an initrd that unpacks", "the kernel says that it did not"),
            Ending::Timeout => refused("the run to end in time", "the time is over"),
            Ending::PowerOff if self.exit_on.is_some() => {
                refused("the console to show the pattern", "the machine ended before")
            }
            Ending::Pattern | Ending::PowerOff => {
                let ending = if ending == Ending::Pattern {
                    "pattern"
                } else {
                    "powerOff"
                };
                Ok(Report::new(
                    "",
                    json!({ "disk": self.disk.path, "ending": ending, "times": verified.report().times }),
                ))
            }
        }
    }

    /// Boots with the console on standard output, or on standard error where standard output is for JSON.
    fn boot(&self, context: &Context, copy: &File, format: DiskFormat, machine: &Machine) -> Result<Ending, Failure> {
        let mut console: Box<dyn Write + Send> = match context.output() {
            OutputFormat::Json => Box::new(io::stderr()),
            OutputFormat::Text => Box::new(io::stdout()),
        };
        boot(copy.as_fd(), format.qemu_name(), machine, &mut *console)
    }

    fn config_drive(&self) -> Result<Option<ConfigDrive>, Failure> {
        let Some(metadata) = &self.metadata else {
            return Ok(None);
        };
        let user_data = self
            .user_data
            .as_ref()
            .map(|path| read_limited(path, limit::METADATA_BYTES));
        Ok(Some(ConfigDrive {
            meta_data: read_limited(metadata, limit::METADATA_BYTES)?,
            user_data: user_data.transpose()?,
        }))
    }
}
