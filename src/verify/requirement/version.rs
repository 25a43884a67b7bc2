//! Versions: by whose word an image's version counts.
//!
//! - The label in its config is covered by what is signed, whoever signs the image.
//! - A tag is what whoever writes the reference, or who serves the registry, says. It counts where somebody vouches for it who has
//!   to hold with the requirement: a role of a root, which signs names, or a key or an identity of which the policy wants the tag
//!   (`names: tag`). Signers of another alternative do not vouch for it.
//! - Where it could not be found out whether one of these does, the version is not known either.

use super::{Answer, Facts, Outcome, with};
use crate::failure::{Code, Failure};
use crate::policy::{Requirement, Version};

/// The label in which an image names its version (image-spec, annotations.md).
const LABEL: &str = "org.opencontainers.image.version";

/// Most characters of a label that messages show.
const SHOWN_CHARACTERS: usize = 64;

/// Whether somebody vouches for the tag who has to hold beside a requirement.
#[derive(Clone, Debug)]
pub(super) enum Vouched {
    /// Nobody does.
    No,
    /// It could not be found out.
    Unknown(Failure),
    /// One does.
    Yes,
}

impl Vouched {
    /// Says what those do who hold by these answers.
    pub(super) fn of(answers: &[Answer]) -> Self {
        if answers.iter().any(|answer| answer.tag == Outcome::Met) {
            return Self::Yes;
        }
        let mut unknown = answers.iter().filter(|answer| answer.tag == Outcome::Unknown);
        unknown
            .find_map(Answer::unknown)
            .map_or(Self::No, |failure| Self::Unknown(failure.clone()))
    }

    /// Says the same without the reason.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::No => Outcome::Unmet,
            Self::Unknown(_) => Outcome::Unknown,
            Self::Yes => Outcome::Met,
        }
    }
}

impl Facts<'_> {
    /// Judges whether the image's version, by its label, else by its tag where that counts, is `least` or later.
    pub(super) fn version(&self, requirement: &Requirement, least: &Version, tag: &Vouched) -> Result<Answer, Failure> {
        let label = |image: &crate::oci::Image| image.config().labels.get(LABEL).cloned();
        let by_tag = self
            .image
            .filter(|image| label(image).is_none())
            .and(self.reference.tag());
        if let (Some(text), Vouched::Unknown(failure)) = (by_tag, tag)
            && compare("its tag says", text, least).is_ok()
        {
            return Answer::failed(requirement, failure.clone());
        }
        with(requirement, self.image, |image| {
            match (label(image), self.reference.tag()) {
                (Some(label), _) => compare("its label says", &label, least),
                (None, Some(text)) => {
                    let found = compare("its tag says", text, least)?;
                    match tag {
                        Vouched::Yes => Ok(found),
                        Vouched::No | Vouched::Unknown(_) => {
                            let found =
                                format!("no label {LABEL}; {found}, and nobody who has to sign it vouches for that");
                            let advice = "have it made with the label; or have its tag signed by whom the rule demands beside the \
                                      version: a role of a root, or a key or an identity with `names: tag`";
                            Err((Code::Version, found, advice))
                        }
                    }
                }
                (None, None) => {
                    let found = format!("no label {LABEL}, and no tag");
                    Err((Code::Version, found, "have it made with the label"))
                }
            }
        })
    }
}

/// Compares what is said of a version with the least that is good.
fn compare(whence: &str, text: &str, least: &Version) -> Result<String, (Code, String, &'static str)> {
    let advice = "use a newer version";
    let found = format!("{whence} `{}`", text.chars().take(SHOWN_CHARACTERS).collect::<String>());
    match text.parse::<Version>() {
        Ok(version) if version.is_at_least(least) => Ok(found),
        Ok(_) => Err((Code::Version, found, advice)),
        Err(_) => Err((Code::Version, format!("{found}, which is no version"), advice)),
    }
}
