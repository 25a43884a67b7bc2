//! `imgkit-metadata`, an `onboot` program: gives the node the host name, SSH keys and user data that OpenStack has for it.
//!
//! Metadata comes from a config drive ([`drive`]) or from the metadata service ([`service`]), the first that there is; arguments (`configdrive`,
//! `openstack`) choose among them. It is checked ([`instance`], [`userdata`], bounds in [`limit`]) and written to `/run/config` ([`config`]). A node without any is
//! left as it is; metadata that is malformed is an error, and stops the boot unless the container is marked as optional.

mod config;
mod drive;
mod error;
mod instance;
mod limit;
mod service;
mod userdata;

use std::io::Write;
use std::process::ExitCode;
use std::{env, fs, io};

use rustix::system::sethostname;

use crate::config::Config;
use crate::drive::Drive;
use crate::error::{Context, Error};
use crate::instance::Instance;
use crate::service::Service;

const FOLDER: &str = "/run/config";
const META_DATA: &str = "openstack/latest/meta_data.json";
const USER_DATA: &str = "openstack/latest/user_data";

/// Files that an instance may be created with for sshd, and the mode of each; others have no place on an immutable node.
const SSHD_FILES: &[(&str, &str, u32)] = &[
    ("/etc/ssh/ssh_host_ed25519_key", "ssh_host_ed25519_key", 0o600),
    ("/etc/ssh/ssh_host_ed25519_key.pub", "ssh_host_ed25519_key.pub", 0o644),
];

/// Metadata that was found.
struct Found {
    provider: &'static str,
    source: Source,
    /// `meta_data.json`.
    document: Vec<u8>,
}

/// Where metadata comes from.
enum Source {
    Drive(Drive),
    Service(Service),
}

fn main() -> ExitCode {
    let providers: Vec<String> = env::args().skip(1).collect();
    match run(&providers) {
        Ok(summary) => {
            say(&summary);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Finds metadata and writes it; returns what was done in one line.
fn run(providers: &[String]) -> Result<String, Error> {
    let Some(Found {
        provider,
        source,
        document,
    }) = find(providers)?
    else {
        return Ok("no metadata found".to_owned());
    };
    let instance = Instance::parse(&document)?;
    let user_data = source.read(USER_DATA, limit::USER_DATA_BYTES)?;
    // Everything is checked before anything is written.
    let items = user_data.as_deref().map(userdata::parse).transpose()?.flatten();
    let mut sshd_files = Vec::new();
    for (path, content_path) in &instance.files {
        let wanted = SSHD_FILES.iter().find(|(wanted, ..)| wanted == path);
        let content = content_path
            .strip_prefix("/content/")
            .filter(|name| !name.contains('/') && !name.starts_with('.'));
        if let (Some((_, name, mode)), Some(content)) = (wanted, content)
            && let Some(bytes) = source.read(&format!("openstack/content/{content}"), limit::FILE_BYTES)?
        {
            sshd_files.push((name, *mode, bytes));
        }
    }

    let config = Config::create(FOLDER)?;
    config.write_instance(provider, &instance)?;
    for (name, mode, bytes) in sshd_files {
        config.write_ssh(name, mode, &bytes)?;
    }
    if let Some(data) = &user_data {
        config.write_user_data(data)?;
    }
    config.write_items(items.as_deref().unwrap_or_default())?;
    let hostname = config.hostname();
    if let Some(name) = &hostname {
        sethostname(name.as_bytes()).at("set the host name to", name)?;
    }
    Ok(format!(
        "{provider}: host name {}, {} SSH keys, {} bytes of user data",
        hostname.as_deref().unwrap_or("unchanged"),
        instance.ssh_keys.len(),
        user_data.map_or(0, |data| data.len())
    ))
}

/// Finds the first provider that has metadata.
fn find(providers: &[String]) -> Result<Option<Found>, Error> {
    if let Some(unknown) = providers
        .iter()
        .find(|name| !["configdrive", "openstack"].contains(&name.as_str()))
    {
        return Err(Error::NoProvider(unknown.clone()));
    }
    let wanted = |name: &str| providers.is_empty() || providers.iter().any(|provider| provider == name);
    if wanted("configdrive")
        && let Some(drive) = Drive::find()?
    {
        let document = drive.read(META_DATA, limit::META_DATA_BYTES)?;
        return Ok(document.map(|document| Found {
            provider: "configdrive",
            source: Source::Drive(drive),
            document,
        }));
    }
    if wanted("openstack") {
        let service = Service::link_local();
        let expected = is_openstack();
        return match service.read(META_DATA, limit::META_DATA_BYTES, expected) {
            Ok(document) => Ok(document.map(|document| Found {
                provider: "openstack",
                source: Source::Service(service),
                document,
            })),
            // Elsewhere than on OpenStack there is no such service; that is no failure.
            Err(Error::Service { .. }) if !expected => Ok(None),
            Err(error) => Err(error),
        };
    }
    Ok(None)
}

impl Source {
    fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        match self {
            Source::Drive(drive) => drive.read(path, limit),
            Source::Service(service) => service.read(path, limit, false),
        }
    }
}

/// Says whether the machine's firmware calls it OpenStack's (`OpenStack Nova`, `OpenStack Compute`).
fn is_openstack() -> bool {
    let product = fs::read_to_string("/sys/class/dmi/id/product_name").unwrap_or_default();
    product.starts_with("OpenStack ")
}

/// Prints one line; init repeats it on the console.
fn say(line: &str) {
    // Where standard output is closed, the exit status has to do.
    let _ = writeln!(io::stdout(), "{line}");
}
