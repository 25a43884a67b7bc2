//! Files that hold a change which is not published at once: how a change goes into them and out of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::TrustOptions;
use super::stage::{read_if_there, too_few};
use crate::cli::Context;
use crate::failure::Failure;
use crate::time::Time;
use crate::trust::edit::{Collection, Draft, EditError};

/// What is done with a file that holds a change.
#[derive(Clone, Debug)]
pub(super) enum Drafting {
    /// It gets a change, on top of what it holds.
    Stage(PathBuf),
    /// It gets signatures of what it held when it was shown.
    Sign(PathBuf, Box<Draft>),
    /// What it held is published.
    Publish(PathBuf, Box<Draft>),
}

/// What a collection took from such a file.
#[derive(Debug, Default)]
pub(super) struct Adopted {
    /// What the file holds; none where it is not there yet.
    pub(super) draft: Option<Draft>,
    /// The roles of which it holds what no key here has signed.
    unseen: BTreeSet<String>,
}

impl Drafting {
    /// Takes what the file holds into the collection, and returns it.
    pub(super) fn adopt(
        &self,
        context: &Context,
        options: &TrustOptions,
        keys_as: &str,
        collection: &mut Collection<'_>,
        now: Time,
    ) -> Result<Adopted, Failure> {
        let about = |error: EditError| error.about(&format!("collection {keys_as}"));
        match self {
            Self::Stage(file) => {
                let Some(draft) = read_if_there(file)? else {
                    return Ok(Adopted::default());
                };
                collection.adopt(&draft, now).map_err(about)?;
                Ok(Adopted {
                    draft: Some(draft),
                    unseen: unseen(context, options, keys_as, collection)?,
                })
            }
            Self::Sign(_, draft) => {
                collection.adopt(draft, now).map_err(about)?;
                Ok(Adopted::signing(draft))
            }
            Self::Publish(file, draft) => {
                collection.adopt_signed(draft, now).map_err(about)?;
                let drafted = collection.drafted().map_err(about)?;
                let lacking = drafted.into_iter().filter(|one| !follows(&one.role));
                let lacking: Vec<_> = lacking.flat_map(|one| one.lacking).collect();
                match lacking.as_slice() {
                    [] => Ok(Adopted::signing(draft)),
                    lacking => Err(too_few(file, lacking)),
                }
            }
        }
    }
}

impl Adopted {
    fn signing(draft: &Draft) -> Self {
        Self {
            draft: Some(draft.clone()),
            unseen: BTreeSet::new(),
        }
    }

    /// Refuses to sign, along with a change, what others put into its file and no key here has signed. Asked when the change is
    /// made: it may bring the first key that a role has here.
    pub(super) fn check_seen(
        &self,
        file: &Path,
        collection: &Collection<'_>,
        roles: &BTreeSet<String>,
        keys: &BTreeMap<String, BTreeSet<PathBuf>>,
    ) -> Result<(), Failure> {
        let signs = |role: &&String| {
            keys.get(&collection.signs_as(role))
                .is_some_and(|keys| !keys.is_empty())
        };
        match self.unseen.intersection(roles).find(signs) {
            None => Ok(()),
            Some(role) => {
                let problem = format!(
                    "it changes `{}`, and no key that is here signed that; look at it and sign it with `imgkit trust cosign FILE`, \
                     then stage the change again",
                    role.escape_debug()
                );
                Err(Failure::malformed(file.display(), problem))
            }
        }
    }
}

/// Lists the roles of which a draft holds what no key here has signed.
fn unseen(
    context: &Context,
    options: &TrustOptions,
    keys_as: &str,
    collection: &Collection<'_>,
) -> Result<BTreeSet<String>, Failure> {
    let store = options.keys(context)?;
    let drafted = collection.drafted();
    let drafted = drafted.map_err(|error| error.about(&format!("collection {keys_as}")))?;
    let mut unseen = BTreeSet::new();
    for document in drafted.into_iter().filter(|one| !follows(&one.role)) {
        let as_role = collection.signs_as(&document.role);
        let mut seen = false;
        for id in &document.signed {
            seen |= store.find(keys_as, &as_role, id)?.is_some();
        }
        if !seen {
            unseen.insert(document.role);
        }
    }
    Ok(unseen)
}

/// Tells whether a role's metadata follow from the others': what it signs is no opinion of its own.
fn follows(role: &str) -> bool {
    matches!(role, "snapshot" | "timestamp")
}
