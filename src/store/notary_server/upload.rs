//! One upload, from its first byte to its turn to be judged.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::{Request, StatusCode};
use serde::de::IgnoredAny;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Refused;
use super::patient::{Pace, Rate};
use super::route::{Gun, is_role};
use super::service::soon;
use super::{Server, multipart};
use crate::limit;

impl Server {
    /// Reads an upload, and has it judged to its end.
    pub(super) async fn take_upload(self: &Arc<Self>, gun: &Gun, request: Request<Incoming>) -> Result<(), Refused> {
        let bad = |detail: &str| Refused::malformed_upload(StatusCode::BAD_REQUEST, detail);
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let boundary = kind.and_then(multipart::boundary).map(str::to_owned);
        let boundary = boundary.ok_or_else(|| bad("expected multipart/form-data with a boundary"))?;
        let (body, room) = self.body(request).await?;
        // Who is slow to send keeps nobody from being judged.
        let containers = body.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
        if containers > limit::JSON_CONTAINERS {
            let most = limit::JSON_CONTAINERS;
            let detail = format!("an upload has at most {most} braces and brackets that open, found {containers}");
            return Err(Refused::malformed_upload(StatusCode::PAYLOAD_TOO_LARGE, &detail));
        }
        let weight = weight(body.len(), containers);
        let turn = soon(Arc::clone(&self.judging).acquire_many_owned(weight), limit::UPLOAD_WAIT).await?;
        let (server, gun) = (Arc::clone(self), gun.clone());
        let judging = async move {
            let _held = (room, turn);
            server.judge(&gun, &body, &boundary).await
        };
        self.to_its_end(judging).await
    }

    async fn judge(self: &Arc<Self>, gun: &Gun, body: &Bytes, boundary: &str) -> Result<(), Refused> {
        let bad = |detail: &str| Refused::malformed_upload(StatusCode::BAD_REQUEST, detail);
        let parts = multipart::parts(body, boundary).ok_or_else(|| bad("the parts are not whole"))?;
        let mut files: BTreeMap<String, Bytes> = BTreeMap::new();
        for part in parts {
            let role = part.filename.strip_suffix(".json").unwrap_or(&part.filename).to_owned();
            if role.is_empty() {
                return Err(Refused::no_file_name());
            }
            if !is_role(&role) {
                return Err(Refused::invalid_role(&role));
            }
            if serde_json::from_slice::<IgnoredAny>(&part.content).is_err() {
                return Err(Refused::malformed_json());
            }
            if files.insert(role.clone(), part.content).is_some() {
                return Err(bad(&format!("{role} comes twice")));
            }
        }
        self.publish(gun, files).await
    }

    /// Reads a body within its bounds of size and time, and with it the room that it takes.
    async fn body(&self, request: Request<Incoming>) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Refused> {
        let too_large = || {
            let detail = format!("an upload has at most {} bytes", limit::UPLOAD_BYTES);
            Refused::malformed_upload(StatusCode::PAYLOAD_TOO_LARGE, &detail)
        };
        let too_slow = || Refused::malformed_upload(StatusCode::REQUEST_TIMEOUT, "the upload came too slowly");
        let length = request
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: usize| length > limit::UPLOAD_BYTES) {
            return Err(too_large());
        }
        let rate = Rate {
            bytes: limit::UPLOAD_WINDOW_BYTES,
            within: limit::UPLOAD_WINDOW,
        };
        let mut pace = Pace::new(rate, limit::UPLOAD_TIME);
        let mut body = request.into_body();
        let mut bytes = BytesMut::new();
        let mut place = Place::new(length);
        loop {
            let frame = pace.wait(body.frame()).await.ok_or_else(too_slow)?;
            let Some(frame) = frame else {
                return Ok((bytes.freeze(), place.held));
            };
            let frame =
                frame.map_err(|_| Refused::malformed_upload(StatusCode::BAD_REQUEST, "the upload was cut off"))?;
            if let Some(data) = frame.data_ref() {
                if bytes.len() + data.len() > limit::UPLOAD_BYTES {
                    return Err(too_large());
                }
                pace.came(data.len());
                let asked = (self.clock.elapsed)();
                place.grow(&self.room, bytes.len() + data.len()).await?;
                // That others take the room is not this client's fault.
                pace.leave_out((self.clock.elapsed)().saturating_sub(asked));
                bytes.extend_from_slice(data);
            }
        }
    }
}

/// The room that uploads take: some of it is kept for small ones, so that large ones, however many, keep nobody from publishing.
#[derive(Debug)]
pub(super) struct Room {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl Room {
    pub(super) fn new() -> Self {
        Self {
            small: Arc::new(Semaphore::new(limit::SMALL_UPLOADS_BYTES)),
            large: Arc::new(Semaphore::new(limit::UPLOADS_BYTES - limit::SMALL_UPLOADS_BYTES)),
        }
    }
}

/// The place of one upload in it.
struct Place {
    is_small: bool,
    bytes: usize,
    held: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// Begins among the small ones, unless it is known to be large.
    fn new(length: Option<usize>) -> Self {
        Self {
            is_small: length.is_none_or(|length| length <= limit::SMALL_UPLOAD_BYTES),
            bytes: 0,
            held: None,
        }
    }

    /// Grows to `bytes`; what turns out to be large moves.
    async fn grow(&mut self, room: &Room, bytes: usize) -> Result<(), Refused> {
        let moves = self.is_small && bytes > limit::SMALL_UPLOAD_BYTES;
        self.is_small &= !moves;
        let more = if moves { bytes } else { bytes.saturating_sub(self.bytes) };
        let more = u32::try_from(more).map_err(|_| Refused::busy())?;
        let part = if self.is_small { &room.small } else { &room.large };
        let more = soon(Arc::clone(part).acquire_many_owned(more), limit::UPLOAD_WAIT).await?;
        match &mut self.held {
            Some(held) if !moves => held.merge(more),
            held => *held = Some(more),
        }
        self.bytes = bytes;
        Ok(())
    }
}

/// Returns how much of [`limit::UPLOADS_JUDGED_BYTES`] judging an upload takes: small ones their share of it, large ones all.
fn weight(bytes: usize, containers: usize) -> u32 {
    let least = limit::UPLOADS_JUDGED_BYTES / limit::UPLOADS_AT_ONCE;
    let each = limit::UPLOADS_JUDGED_BYTES / limit::JSON_CONTAINERS;
    let weight = bytes.max(containers.saturating_mul(each));
    let weight = weight.clamp(least, limit::UPLOADS_JUDGED_BYTES);
    u32::try_from(weight).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn large_uploads_leave_room_for_small_ones() {
        let room = Room::new();
        let mut large = Vec::new();
        for length in [Some(limit::UPLOAD_BYTES), None] {
            for _ in 0..7 {
                let mut place = Place::new(length);
                place.grow(&room, 1000).await.unwrap();
                place.grow(&room, limit::UPLOAD_BYTES).await.unwrap();
                large.push(place);
            }
        }
        assert_eq!(room.large.available_permits(), 0);
        assert_eq!(
            room.small.available_permits(),
            limit::SMALL_UPLOADS_BYTES,
            "those that grew have moved"
        );
        let mut small = Place::new(None);
        small.grow(&room, limit::SMALL_UPLOAD_BYTES).await.unwrap();
        let moving = tokio::time::timeout(
            Duration::from_millis(20),
            small.grow(&room, limit::SMALL_UPLOAD_BYTES + 1),
        );
        assert!(moving.await.is_err());
    }

    #[test]
    fn a_large_upload_is_judged_alone_and_small_ones_side_by_side() {
        let all = limit::UPLOADS_JUDGED_BYTES;
        assert_eq!(weight(limit::UPLOAD_BYTES, 0) as usize, all);
        assert_eq!(weight(0, 0) as usize * limit::UPLOADS_AT_ONCE, all);
        assert_eq!(weight(0, limit::JSON_CONTAINERS / 2) as usize, all / 2);
    }
}
