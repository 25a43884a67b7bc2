//! How publishers take turns in a registry, which knows no conditional writes (docs/decisions/0007-registry-publishing.md).
//!
//! 1. Read the present state, number N, and see whether `TAG.N+1` is claimed; one whose publisher did not live to make it
//!    present is made present first.
//! 2. Work, sign; put files, pages and the index by digest, where nobody sees them.
//! 3. Claim: where `TAG.N+1` names nothing, put it. Wait [`limit::TAG_SETTLE`], and read it back: whose index it names has won.
//! 4. The winner moves `TAG`, and reads it back. Everybody else is overtaken: reads again, works again, tries again.
//!
//! Two who claim at once both see what stays, as the wait is longer than the time between looking and claiming. Whose claim took
//! longer finds out at a second look: at `TAG` too, which a winner has moved by then.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::sleep;

use super::state::{EMPTY, FileName, Files, METADATA, State, pages_for, put, write_page};
use super::{Session, TrustOci};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::limit;
use crate::oci::{INDEX, MANIFEST};
use crate::store::trust_place::Outcome;
use crate::trust::edit::Publication;

/// A publication that was begun in a registry.
#[derive(Debug)]
pub struct OciPublisher<'a> {
    place: &'a TrustOci,
    base: Option<Arc<State>>,
}

impl TrustOci {
    /// Begins a publication: what is read from now on is the newest state.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the registry cannot be reached or written.
    pub fn publisher(&self) -> Result<OciPublisher<'_>, Failure> {
        let base = self.newest()?.map(Arc::new);
        let mut session = self.session();
        session.present = Some(base.clone());
        Ok(OciPublisher { place: self, base })
    }

    /// Returns the newest state; one that was claimed and not made present is made so.
    fn newest(&self) -> Result<Option<State>, Failure> {
        let mut state = self.tagged(&self.name.tag)?;
        for _ in 0..limit::STATES_AHEAD {
            let next = state.as_ref().map_or(0, |state| state.generation) + 1;
            let Some(claimed) = self.settled(next)? else {
                return Ok(state);
            };
            // Its publisher is alive, most of the time.
            let present = self.tagged(&self.name.tag)?;
            if present.as_ref().is_some_and(|present| present.generation >= next) {
                state = present;
                continue;
            }
            if claimed.previous != state.as_ref().map(|state| state.digest) {
                let problem = format!(
                    "the tag {} is not of the state that follows the one under {}; somebody moved a tag by hand: move {} to \
                     the newest state",
                    self.tag_of(next),
                    self.name.tag,
                    self.name.tag
                );
                return Err(Failure::unavailable(&self.name, problem));
            }
            self.make_present(&claimed)?;
            state = Some(claimed);
        }
        Err(Failure::unavailable(
            &self.name,
            "it changes faster than it can be read",
        ))
    }

    /// Returns the state that the tag with a number names for good, if it names one.
    fn settled(&self, generation: u64) -> Result<Option<State>, Failure> {
        let tag = self.tag_of(generation);
        let mut before = None;
        for _ in 0..limit::TAG_LOOKS {
            let Some(state) = self.tagged(&tag)? else {
                return Ok(None);
            };
            if state.generation != generation {
                let problem = format!("the tag {tag} is of the state {}; remove it", state.generation);
                return Err(Failure::unavailable(&self.name, problem));
            }
            if before == Some(state.digest) {
                return Ok(Some(state));
            }
            before = Some(state.digest);
            sleep(limit::TAG_SETTLE);
        }
        Err(Failure::unavailable(&self.name, format!("the tag {tag} does not stay")))
    }

    /// Moves the tag to a state that has won, unless a later one is there already.
    fn make_present(&self, state: &State) -> Result<(), Failure> {
        for _ in 0..limit::ATTEMPTS {
            let (registry, name) = (&self.registry, &self.name);
            registry.put_document(&name.repository, Some(&name.tag), INDEX, &state.bytes)?;
            let there = self.tagged(&name.tag)?;
            // A late request of somebody else can have put an older state there again.
            if there.is_some_and(|there| there.digest == state.digest || there.generation > state.generation) {
                return Ok(());
            }
        }
        let problem = format!(
            "its tag {} does not stay where it was put; look for who moves it",
            self.name.tag
        );
        Err(Failure::unavailable(&self.name, problem))
    }
}

impl OciPublisher<'_> {
    /// Publishes what was made of the state that was read.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the registry cannot be reached or written; then the present state is the old or the new.
    pub fn publish(self, publication: &Publication) -> Result<Outcome, Failure> {
        let state = self.upload(publication)?;
        let outcome = match self.claim(&state)? {
            true => {
                self.place.make_present(&state)?;
                Outcome::Published
            }
            false => Outcome::Overtaken,
        };
        // Whoever reads here after this sees what there is then.
        *self.place.session() = Session::default();
        Ok(outcome)
    }

    /// Puts files, pages and index by their digests.
    fn upload(&self, publication: &Publication) -> Result<State, Failure> {
        let (registry, repository) = (&self.place.registry, &self.place.name.repository);
        let mut pages = Pages::of(self.place, self.base.as_deref())?;
        for (name, bytes) in publication.files().files() {
            let file = registry.put_blob(repository, METADATA, bytes)?;
            put(pages.with(name)?, name, file);
        }
        pages.grow()?;
        if self.base.is_none() {
            // Every page names it; registries are not at their best when many put the same blob at once.
            registry.put_blob(repository, EMPTY.0, EMPTY.1)?;
        }
        let mut listed = self.base.as_ref().map(|base| base.pages.clone()).unwrap_or_default();
        if pages.rebuilt {
            listed.clear();
        }
        for (number, files) in &pages.changed {
            let bytes = write_page(files)?;
            if listed
                .get(number)
                .is_some_and(|(page, _)| page.digest == Digest::sha256(&bytes))
            {
                continue;
            }
            let page = registry.put_document(repository, None, MANIFEST, &bytes)?;
            listed.insert(*number, (page, files.len()));
        }
        let state = State::after(self.base.as_deref(), listed)?;
        registry.put_document(repository, None, INDEX, &state.bytes)?;
        Ok(state)
    }

    /// Claims the number of a state; tells whether it is the one that stays.
    fn claim(&self, state: &State) -> Result<bool, Failure> {
        let place = self.place;
        let tag = place.tag_of(state.generation);
        let reference = place.reference(&tag)?;
        if place.registry.find_document(&reference)?.is_some()
            || !place.registry.put_new_document(&reference, INDEX, &state.bytes)?
        {
            return Ok(false);
        }
        // Twice: whose claim took longer than the first wait finds at the second that the winner has moved the tag.
        for _ in 0..2 {
            sleep(limit::TAG_SETTLE);
            let present = place.tagged(&place.name.tag)?;
            let base = self.base.as_ref().map(|base| base.digest);
            if present.as_ref().map(|present| present.digest) != base {
                return self.is_in(state, present.as_ref());
            }
            if place.tagged(&tag)?.is_none_or(|there| there.digest != state.digest) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tells whether the present state, which is no longer the one that was read, was made of `state`: somebody may have made
    /// that present before its publisher did, and gone on from there. If not, the number is given back to whose it is.
    fn is_in(&self, state: &State, present: Option<&State>) -> Result<bool, Failure> {
        let place = self.place;
        let mut at = present.cloned();
        for _ in 0..limit::STATES_AHEAD {
            let Some(other) = at else { return Ok(false) };
            match other.generation.cmp(&state.generation) {
                Ordering::Equal if other.digest == state.digest => return Ok(true),
                Ordering::Equal => {
                    let tag = place.tag_of(state.generation);
                    place
                        .registry
                        .put_document(&place.name.repository, Some(&tag), INDEX, &other.bytes)?;
                    return Ok(false);
                }
                Ordering::Less => return Ok(false),
                Ordering::Greater => {}
            }
            at = match other.previous {
                Some(previous) => place.tagged(&previous.to_string())?,
                None => None,
            };
        }
        Err(Failure::unavailable(
            &place.name,
            "it changes faster than it can be read",
        ))
    }
}

/// The pages of a state that is being made: those that change are in memory.
struct Pages<'a> {
    place: &'a TrustOci,
    base: Option<&'a State>,
    shared: u64,
    changed: BTreeMap<u64, Files>,
    /// Whether `changed` has every page.
    rebuilt: bool,
}

impl<'a> Pages<'a> {
    fn of(place: &'a TrustOci, base: Option<&'a State>) -> Result<Self, Failure> {
        let shared = base.map_or(0, State::shared);
        let mut pages = Self {
            place,
            base,
            shared: shared.max(1),
            changed: BTreeMap::new(),
            rebuilt: false,
        };
        // Where roles were never delegated, the last page is written now: it says how many there are.
        if shared == 0 {
            pages.page(1)?;
        }
        Ok(pages)
    }

    /// Returns the page that a file belongs on.
    fn with(&mut self, name: &str) -> Result<&mut Files, Failure> {
        self.page(FileName::of(name).page(self.shared))
    }

    fn page(&mut self, number: u64) -> Result<&mut Files, Failure> {
        let files = match (self.changed.remove(&number), self.base) {
            (Some(files), _) => files,
            (None, Some(base)) => {
                let mut session = self.place.session();
                (*self.place.page(&mut session, base, number)?).clone()
            }
            (None, None) => Files::new(),
        };
        Ok(self.changed.entry(number).or_insert(files))
    }

    /// Shares the files out among more pages, where there are many more of them than pages.
    fn grow(&mut self) -> Result<(), Failure> {
        let before = |number: &u64| {
            self.base
                .and_then(|base| base.pages.get(number))
                .map_or(0, |(_, files)| *files)
        };
        let kept = self.base.map_or(0, State::delegated_files);
        let changed = self.changed.range(1..);
        let files = changed.fold(kept, |sum, (number, files)| sum + files.len() - before(number));
        let shared = pages_for(files);
        if shared <= self.shared {
            return Ok(());
        }
        for number in 0..=self.shared {
            self.page(number)?;
        }
        let mut grown: BTreeMap<u64, Files> = BTreeMap::from([(shared, Files::new())]);
        for (name, file) in std::mem::take(&mut self.changed).into_values().flatten() {
            let number = FileName::of(&name).page(shared);
            grown.entry(number).or_default().insert(name, file);
        }
        self.changed = grown;
        (self.shared, self.rebuilt) = (shared, true);
        Ok(())
    }
}
