//! Docker's and podman's registry credentials, and the helpers that their files name.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError as Problem, DockerCredential, get_credential_from_reader};

use crate::failure::Failure;
use crate::limit;
use crate::reference::Repository;
use crate::store::file::cannot;

/// What to log in with.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::store) enum Login {
    /// Nothing.
    Anonymous,
    /// A user's name and password.
    Basic(String, String),
}

/// Where credentials are looked for.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    files: Vec<PathBuf>,
}

impl Credentials {
    /// Looks in these files, in this order; those that do not exist are passed over.
    pub fn in_files(files: Vec<PathBuf>) -> Self {
        Self { files }
    }

    /// Finds what to log in with: the first file's entry for the repository, or a path above it, or its host.
    pub(in crate::store) fn find(&self, repository: &Repository) -> Result<Login, Failure> {
        for path in &self.files {
            if let Some(auth) = find_in(path, repository)? {
                return Ok(auth);
            }
        }
        Ok(Login::Anonymous)
    }

    /// Says where credentials were looked for.
    pub(in crate::store) fn describe(&self) -> String {
        let files: Vec<String> = self.files.iter().map(|path| path.display().to_string()).collect();
        match files.as_slice() {
            [] => "no credentials file was given".to_owned(),
            _ => format!("credentials were looked for in {}", files.join(", ")),
        }
    }
}

fn find_in(path: &Path, repository: &Repository) -> Result<Option<Login>, Failure> {
    let mut text = String::new();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(cannot("open", path, &error)),
    };
    let read = file.take(limit::CREDENTIALS_BYTES).read_to_string(&mut text);
    read.map_err(|error| cannot("read", path, &error))?;
    for server in servers(repository, &text) {
        let found = get_credential_from_reader(text.as_bytes(), &server);
        let problem = match found {
            Ok(DockerCredential::UsernamePassword(user, password)) => {
                return Ok(Some(Login::Basic(user, password)));
            }
            Ok(DockerCredential::IdentityToken(_)) => {
                let problem = format!(
                    "its entry for {server} is an identity token, which cannot be used; log in with user and password"
                );
                return Err(Failure::malformed(path.display(), problem));
            }
            // Helpers report what they do not know as a failure, on standard output.
            Err(Problem::HelperFailure { stdout, .. }) if stdout.contains("not found") => continue,
            Err(Problem::NoCredentialConfigured) => continue,
            Err(problem) => problem,
        };
        let problem = format!("the credentials for {server} cannot be had: {problem}");
        return Err(Failure::unavailable(path.display(), problem));
    }
    Ok(None)
}

/// Lists the keys under which credentials for a repository may stand, most special first.
fn servers(repository: &Repository, text: &str) -> Vec<String> {
    let full = repository.to_string();
    let slashes = full.match_indices('/').map(|(at, _)| at);
    let mut above: Vec<&str> = slashes.filter_map(|at| full.get(..at)).collect();
    // The host itself is asked for last, as helpers know nothing else.
    above.retain(|name| name.contains('/'));
    above.push(&full);
    let mut servers: Vec<String> = above
        .into_iter()
        .rev()
        .filter(|name| text.contains(&format!("\"{name}\"")))
        .map(str::to_owned)
        .collect();
    servers.push(match repository.host() {
        // Docker's own name for its registry, from before there was another.
        "docker.io" => "https://index.docker.io/v1/".to_owned(),
        host => host.to_owned(),
    });
    servers
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;
    use crate::reference::Reference;

    fn repository(name: &str) -> Repository {
        name.parse::<Reference>().unwrap().repository().clone()
    }

    fn user(credentials: &Credentials, name: &str) -> Option<String> {
        match credentials.find(&repository(name)).unwrap() {
            Login::Basic(user, _) => Some(user),
            Login::Anonymous => None,
        }
    }

    #[test]
    fn the_most_special_entry_of_the_first_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        let entry = |user: &str| json!({ "auth": STANDARD.encode(format!("{user}:secret")) });
        let docker = dir.path().join("config.json");
        let auths = json!({ "auths": {
            "r.example": entry("host"), "r.example/team": entry("team"), "https://index.docker.io/v1/": entry("hub"),
        }});
        std::fs::write(&docker, auths.to_string()).unwrap();
        let podman = dir.path().join("auth.json");
        let auths = json!({ "auths": { "r.example": entry("second"), "q.example:5000": entry("other") } });
        std::fs::write(&podman, auths.to_string()).unwrap();
        let credentials = Credentials::in_files(vec![dir.path().join("absent"), docker, podman]);
        assert_eq!(user(&credentials, "r.example/team/a").as_deref(), Some("team"));
        assert_eq!(user(&credentials, "r.example/teams/a").as_deref(), Some("host"));
        assert_eq!(user(&credentials, "q.example:5000/a").as_deref(), Some("other"));
        assert_eq!(user(&credentials, "alpine").as_deref(), Some("hub"));
        assert_eq!(user(&credentials, "elsewhere.example/a"), None);
    }

    #[test]
    fn a_broken_file_or_helper_is_an_error_and_not_anonymity() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let credentials = Credentials::in_files(vec![path.clone()]);
        for text in ["{", r#"{"credHelpers":{"r.example":"imgkit-test-absent"}}"#] {
            std::fs::write(&path, text).unwrap();
            let failure = credentials.find(&repository("r.example/a")).map(drop).unwrap_err();
            assert!(matches!(failure, Failure::Unavailable { .. }), "{text}");
        }
    }
}
