//! What refers to a document, and what is put beside it (distribution-spec 1.1, "Listing Referrers", "Pushing Manifests with
//! Subject").
//!
//! - The referrers API and its fallback tag are both read, and merged: a registry that learns the API keeps what was put before.
//! - That there is nothing is believed where the registry answers 404, or with an empty list; every other answer is not knowing. A
//!   page that another one names has to be there; where it is not, those before it count all the same.
//! - A document under a tag is changed by who reads it, puts it, and reads it back twice, as registries know no conditional
//!   writes: whoever put another one meanwhile is found out, and the change made again on top of theirs.

use std::thread::sleep;

use reqwest::header::CONTENT_TYPE;
use reqwest::{StatusCode, Url};

use super::host::{Action, Place};
use super::link::next_page;
use super::patience::{Trouble, patiently};
use super::{Digest, Failure, Reference, Registry, read_body, whole};
use crate::limit;
use crate::oci::Referrers;
use crate::reference::Repository;

/// The header of an answer that says that the registry has the referrers API.
const SUBJECT: &str = "oci-subject";

/// What a change makes of the document under a tag.
pub enum Change {
    /// The document is as it should be.
    None,
    /// The document that is put in its place, under its media type.
    To(String, Vec<u8>),
}

impl Registry {
    /// Asks the referrers API what refers to a document, page by page; a registry that has none says 404. Where the list breaks off,
    /// what was read of it stands beside the reason.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the registry does not answer.
    pub(super) fn list_referrers(&self, repository: &Repository, digest: &Digest) -> Result<Referrers, Failure> {
        let place = self.place(repository)?;
        let subject = format!("{repository}, referrers of {digest}");
        let mut all = Referrers::default();
        let mut left = limit::REFERRER_LIST_BYTES;
        let mut next = Some(place.url(&format!("referrers/{digest}"))?);
        for page_number in 1..=limit::REFERRER_PAGES {
            let Some(url) = next else { return Ok(all) };
            let page = self.runtime.block_on(patiently(&subject, async || {
                read_page(&place, &url, &subject, left).await
            }));
            let page = match page {
                Ok(Some(page)) => page,
                Ok(None) if page_number == 1 => return Ok(all),
                Ok(None) => {
                    let problem =
                        format!("the registry names a page {page_number} of the list, and says that it has none");
                    all.problems.push(Failure::unavailable(subject, problem));
                    return Ok(all);
                }
                // Who does not answer at all has nothing else to say either.
                Err(failure) if page_number == 1 => return Err(failure),
                Err(failure) => {
                    all.problems.push(failure);
                    return Ok(all);
                }
            };
            left -= page.length.min(left);
            let has_room = all.add(&subject, page.list);
            match page.next {
                Ok(page_after) if has_room => next = page_after,
                Ok(_) => return Ok(all),
                Err(problem) => {
                    all.problems.push(problem);
                    return Ok(all);
                }
            }
        }
        if next.is_some() {
            let problem = format!("the registry lists more than {} pages", limit::REFERRER_PAGES);
            all.problems.push(Failure::unavailable(subject, problem));
        }
        Ok(all)
    }

    /// Puts a manifest whose subject is another document, by its digest; tells whether the registry lists it by itself.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the registry does not take it.
    pub fn put_referrer(&self, repository: &Repository, media_type: &str, bytes: &[u8]) -> Result<bool, Failure> {
        let place = self.place(repository)?;
        let digest = Digest::sha256(bytes).to_string();
        let subject = format!("{repository}, {digest}");
        self.runtime.block_on(patiently(&subject, async || {
            let response = place.put(&digest, media_type, bytes).await?;
            Ok(response.headers().contains_key(SUBJECT))
        }))
    }

    /// Changes the document under a tag until the change is in it for good; `change` is asked what to make of the document that is
    /// there, or of none, and may be asked again.
    ///
    /// # Errors
    /// What `change` gives; [`Failure::Unavailable`] when the registry cannot be reached or written, or others change the document
    /// faster.
    pub fn change_tagged(
        &self,
        repository: &Repository,
        tag: &str,
        mut change: impl FnMut(Option<&[u8]>) -> Result<Change, Failure>,
    ) -> Result<(), Failure> {
        let place = self.place(repository)?;
        let reference = in_repository(repository, tag)?;
        let subject = reference.to_string();
        let (mut put, mut looked) = (false, false);
        for _ in 0..limit::PUBLISH_ATTEMPTS {
            let there = self.find_bytes(&reference)?;
            match change(there.as_ref().map(|(_, bytes)| bytes.as_slice()))? {
                // Twice: one who read before the change was put, and puts only now, is seen at the second look.
                Change::None if !put || looked => return Ok(()),
                Change::None => looked = true,
                Change::To(media_type, bytes) => {
                    self.runtime.block_on(patiently(&subject, async || {
                        place.put(tag, &media_type, &bytes).await.map(drop)
                    }))?;
                    (put, looked) = (true, false);
                }
            }
            sleep(limit::TAG_SETTLE);
        }
        Err(Failure::unavailable(
            subject,
            "it changes faster than it can be written; try again",
        ))
    }
}

/// A page of a list.
struct Page {
    list: Referrers,
    /// How many bytes it has.
    length: usize,
    /// Where the next page is, if there is one, or why that is not known.
    next: Result<Option<Url>, Failure>,
}

/// Reads a page of at most `most` bytes; one that is no list says nothing, as nobody but the registry made it.
async fn read_page(place: &Place, url: &Url, subject: &str, most: usize) -> Result<Option<Page>, Trouble> {
    let nothing = |problem: String| Page {
        list: Referrers::default(),
        length: 0,
        next: Err(Failure::unavailable(subject, problem)),
    };
    let Some(mut response) = place.find_at(url, subject).await? else {
        return Ok(None);
    };
    if let Err(problem) = whole(&response) {
        return Ok(Some(nothing(problem)));
    }
    let next = match next_page(response.headers()) {
        Ok(link) => link.map(|link| follow(subject, url, &link)).transpose(),
        Err(header) => {
            let problem = format!("its header `Link: {}` cannot be read", header.escape_debug());
            Err(Failure::unavailable(subject, problem))
        }
    };
    let Some(bytes) = read_body(&mut response, subject, most).await? else {
        let most = limit::REFERRER_LIST_BYTES;
        let problem = format!(
            "the list is longer than {most} bytes, all its pages together; have those deleted that nobody needs"
        );
        return Ok(Some(nothing(problem)));
    };
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        let problem = "the answer is no list, but some page; is this a registry, or a proxy before one?";
        return Ok(Some(nothing(problem.to_owned())));
    }
    let length = bytes.len();
    Ok(Some(match Referrers::parse(subject, &bytes) {
        Ok(list) => Page { list, length, next },
        Err(failure) => nothing(failure.to_string()),
    }))
}

impl Place {
    /// Puts a document under a tag or its digest, whatever that named before.
    pub(super) async fn put(&self, name: &str, media_type: &str, bytes: &[u8]) -> Result<reqwest::Response, Trouble> {
        let what = format!("manifests/{name}");
        let request = || self.request_put(&what, bytes).header(CONTENT_TYPE, media_type);
        let response = self.ask(Action::Push, request).await?;
        match response.status() {
            // What was put a moment ago is not everywhere yet.
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => match self.judge(&what, response).await {
                Err(Trouble::Final(Failure::Unavailable { problem, .. })) if problem.contains("BLOB_UNKNOWN") => {
                    Err(Trouble::Passing(problem))
                }
                answer => answer,
            },
            _ => self.judge(&what, response).await,
        }
    }
}

/// Returns the tag under which something lies beside a document: cosign's with a suffix, the referrers' fallback without.
pub fn tag_beside(digest: &Digest, suffix: &str) -> String {
    let hex: String = digest.hex().chars().take(64).collect();
    format!("{}-{hex}{suffix}", digest.algorithm())
}

/// Names something of a repository by tag or digest.
pub(in crate::store) fn in_repository(repository: &Repository, tag_or_digest: &str) -> Result<Reference, Failure> {
    let separator = if tag_or_digest.contains(':') { '@' } else { ':' };
    let name = format!("{repository}{separator}{tag_or_digest}");
    name.parse().map_err(|error| Failure::malformed(&name, error))
}

/// Resolves the next page's URL; it must be on the same server, as the login is sent along.
fn follow(subject: &str, from: &Url, link: &str) -> Result<Url, Failure> {
    let bad = |problem: String| Failure::unavailable(subject, problem);
    let next = from.join(link);
    let next = next.map_err(|error| {
        bad(format!(
            "the registry names no next page, but `{}`: {error}",
            link.escape_debug()
        ))
    })?;
    match next.origin() == from.origin() && next != *from {
        true => Ok(next),
        false => Err(bad(format!("the registry's next page is elsewhere: {next}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_next_page_is_on_the_same_server() {
        let from = Url::parse("https://r.example/v2/a/referrers/x").unwrap();
        assert_eq!(
            follow("it", &from, "/v2/a?n=1").unwrap().as_str(),
            "https://r.example/v2/a?n=1"
        );
        for other in [
            "https://other.example/v2/a",
            "http://r.example/v2/a",
            "https://r.example/v2/a/referrers/x",
        ] {
            assert!(
                matches!(follow("it", &from, other), Err(Failure::Unavailable { .. })),
                "{other}"
            );
        }
    }

    #[test]
    fn tags_beside_a_document_are_cosigns() {
        let digest = Digest::sha256(b"");
        let tag = "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(tag_beside(&digest, ""), tag);
        assert_eq!(tag_beside(&digest, ".sig"), format!("{tag}.sig"));
    }
}
