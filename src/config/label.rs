//! What a component's image says of itself: its OCI configuration and its label `org.mobyproject.config`.

use super::settings::Settings;
use crate::oci::ImageConfig;
use crate::yaml::{Document, YamlError};

/// The label that holds a component's settings, in JSON (which is read as the YAML that it also is, as LinuxKit does).
pub const LABEL: &str = "org.mobyproject.config";

/// The part of an image's configuration that a container's settings start from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageDefaults {
    /// `Entrypoint` and `Cmd`, one after the other.
    pub command: Vec<String>,
    /// `Env`.
    pub env: Vec<String>,
    /// `WorkingDir`; empty when there is none.
    pub working_dir: String,
    /// The label's settings; none without the label.
    pub settings: Settings,
}

impl ImageDefaults {
    /// Takes what counts of an image's configuration; `name` is how errors name the image.
    ///
    /// `User` has no meaning here, as in LinuxKit.
    ///
    /// # Errors
    /// [`YamlError`] when the label is not what it should be.
    pub fn new(name: &str, config: &ImageConfig) -> Result<Self, YamlError> {
        let settings = match config.labels.get(LABEL).map(String::as_str) {
            None | Some("") => Settings::default(),
            Some(label) => {
                let document = Document::parse(&format!("label {LABEL} of {name}"), label.as_bytes())?;
                document.root().fields("the label", Settings::decode)?
            }
        };
        Ok(Self {
            command: config.entrypoint.iter().chain(&config.cmd).cloned().collect(),
            env: config.env.clone(),
            working_dir: config.working_dir.clone(),
            settings,
        })
    }
}
