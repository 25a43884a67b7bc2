//! Files that hold a change which is not published at once: how a change goes into them and out of them.

use std::collections::BTreeSet;
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

impl Drafting {
    /// Takes what the file holds into the collection, and returns it; none where it is not there yet.
    pub(super) fn adopt(
        &self,
        context: &Context,
        options: &TrustOptions,
        keys_as: &str,
        collection: &mut Collection<'_>,
        now: Time,
    ) -> Result<Option<Draft>, Failure> {
        let about = |error: EditError| error.about(&format!("collection {keys_as}"));
        match self {
            Self::Stage(file) => {
                let draft = read_if_there(file)?;
                if let Some(draft) = &draft {
                    collection.adopt(draft, now).map_err(about)?;
                    check_seen(context, options, keys_as, collection, file)?;
                }
                Ok(draft)
            }
            Self::Sign(_, draft) => {
                collection.adopt(draft, now).map_err(about)?;
                Ok(Some((**draft).clone()))
            }
            Self::Publish(file, draft) => {
                collection.adopt_signed(draft, now).map_err(about)?;
                let drafted = collection.drafted().map_err(about)?;
                let lacking = drafted.into_iter().filter(|one| !follows(&one.role));
                let lacking: Vec<_> = lacking.flat_map(|one| one.lacking).collect();
                match lacking.as_slice() {
                    [] => Ok(Some((**draft).clone())),
                    lacking => Err(too_few(file, lacking)),
                }
            }
        }
    }
}

/// Refuses to sign, along with a change, what others put into its file and no key here has signed.
fn check_seen(
    context: &Context,
    options: &TrustOptions,
    keys_as: &str,
    collection: &Collection<'_>,
    file: &Path,
) -> Result<(), Failure> {
    let store = options.keys(context)?;
    let drafted = collection.drafted();
    let drafted = drafted.map_err(|error| error.about(&format!("collection {keys_as}")))?;
    for document in drafted.iter().filter(|one| !follows(&one.role)) {
        let as_role = collection.signs_as(&document.role);
        let mut here = BTreeSet::new();
        for id in &document.keys {
            here.extend(store.find(keys_as, &as_role, id)?.map(|_| id));
        }
        if !here.is_empty() && here.is_disjoint(&document.signed.iter().collect()) {
            let problem = format!(
                "it changes `{}`, and no key that is here signed that; look at it and sign it with `imgkit trust cosign FILE`, \
                 then stage the change again",
                document.role.escape_debug()
            );
            return Err(Failure::malformed(file.display(), problem));
        }
    }
    Ok(())
}

/// Tells whether a role's metadata follow from the others': what it signs is no opinion of its own.
fn follows(role: &str) -> bool {
    matches!(role, "snapshot" | "timestamp")
}
