//! Putting blobs into a repository (distribution-spec, "Pushing blobs": a `POST`, then one `PUT`).

use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Body, StatusCode};

use super::host::{Action, Place, is_loopback};
use super::patience::Trouble;
use crate::digest::Digest;
use crate::failure::Failure;
use crate::limit;

impl Place {
    /// Tells whether the repository has a blob.
    pub(super) async fn has_blob(&self, digest: &Digest) -> Result<bool, Trouble> {
        let what = format!("blobs/{digest}");
        let url = self.url(&what)?;
        let response = self.ask(Action::Push, || self.http.head(url.clone())).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(false),
            _ => self.judge(&what, response).await.map(|_| true),
        }
    }

    /// Puts a blob of `size` bytes. They go where the registry says, and the login with them only where that is the registry itself.
    pub(super) async fn put_blob(&self, digest: &Digest, size: u64, bytes: impl Into<Body>) -> Result<(), Trouble> {
        let what = "blobs/uploads/";
        let own = self.url(what)?;
        let begin = || self.http.post(own.clone()).header(CONTENT_LENGTH, 0);
        let begun = self.judge(what, self.ask(Action::Push, begin).await?).await?;
        let bad = |problem: &str| Failure::unavailable(self.subject(what), problem);
        let place = begun.headers().get(LOCATION).and_then(|place| place.to_str().ok());
        let place = place.and_then(|place| own.join(place).ok());
        let mut url = place.ok_or_else(|| bad("the registry does not say where the blob is to go"))?;
        if url.scheme() != "https" && !url.host_str().is_some_and(is_loopback) {
            return Err(bad("the registry wants the blob sent by plain HTTP off the loopback").into());
        }
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let is_own = url.origin() == own.origin();
        let longest = limit::READ_TIMEOUT + Duration::from_secs(size / limit::BLOB_RATE);
        let request = self.patient.put(url).timeout(longest).body(bytes);
        let request = request
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, size);
        let response = match is_own {
            true => self.send(request, self.remembered(Action::Push).flatten()).await?,
            false => request.send().await.map_err(|error| self.no_answer(&error))?,
        };
        self.judge(what, response).await.map(drop)
    }
}
