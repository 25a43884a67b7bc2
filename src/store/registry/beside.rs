//! What is attached to images of a registry.

use super::{Digest, Failure, Registry, in_repository};
use crate::limit;
use crate::oci::{Descriptor, Referrers};
use crate::reference::Repository;
use crate::store::attached::{Beside, Tagged};

impl Beside for Registry {
    fn tagged(&self, repository: &Repository, tag: &str) -> Result<Vec<Tagged>, Failure> {
        let found = self.find_bytes(&in_repository(repository, tag)?)?;
        let described = |(media_type, bytes): (Option<String>, Vec<u8>)| {
            (Descriptor::of(media_type.unwrap_or_default(), &bytes), Ok(bytes))
        };
        Ok(found.into_iter().map(described).collect())
    }

    fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Referrers, Failure> {
        self.list_referrers(repository, digest)
    }

    fn document_bytes(&self, repository: &Repository, document: &Descriptor) -> Result<Vec<u8>, Failure> {
        let reference = in_repository(repository, &document.digest.to_string())?;
        let absent = || Failure::unavailable(&reference, "the registry lists it and says that it has no such thing");
        let most = usize::try_from(document.size).unwrap_or(usize::MAX);
        let found = self.find_bytes_within(&reference, most.min(limit::DOCUMENT_BYTES))?;
        let (_, bytes) = found.ok_or_else(absent)?;
        Ok(bytes)
    }

    fn small_blob(&self, repository: &Repository, blob: &Descriptor) -> Result<Vec<u8>, Failure> {
        self.blob(repository, blob)
    }
}
