//! Bins: a role's names spread by their hash over many files, so that a change or a look-up moves one of them (TAP 15).

use serde_json::Map;

use super::{Collection, EditError, RoleSpec};
use crate::limit;
use crate::time::Time;
use crate::trust::metadata::{DelegatedRole, SuccinctRoles};

/// The role between the top level and its bins: delegations are either listed or in bins, and the top level's are listed.
const BINS: &str = "bins";

/// What the names of bins begin with; short, as the snapshot names every one of them.
const PREFIX: &str = "bin";

/// Bytes of a usual target, and of what the snapshot says of a bin.
const TARGET_BYTES: f64 = 180.0;
const ENTRY_BYTES: f64 = 30.0;

/// Returns the power of two of bins with which a change of a collection of `targets` names moves least.
///
/// A change moves the snapshot, which names every bin, and one bin: `ENTRY_BYTES·b + TARGET_BYTES·n/b` is least where
/// `b = √(6·n)`.
pub fn bins_for(targets: u64) -> u32 {
    // Far below 2^53: the conversion is exact enough for a logarithm.
    #[allow(clippy::cast_precision_loss)]
    let best = (TARGET_BYTES / ENTRY_BYTES * targets as f64).sqrt().log2().round();
    (1..=limit::BIN_BITS)
        .rfind(|bits| f64::from(*bits) <= best)
        .unwrap_or(1)
}

impl Collection<'_> {
    /// Spreads the names that the top level signs from now on over two to the power of `bits` bins, signed by its keys.
    ///
    /// # Errors
    /// [`EditError`] when there are bins already, or `bits` is not 1 to [`limit::BIN_BITS`].
    pub fn make_bins(&mut self, bits: u32, now: Time) -> Result<(), EditError> {
        if !(1..=limit::BIN_BITS).contains(&bits) {
            return Err(EditError::BinCount { bits });
        }
        self.check_new(BINS)?;
        let keys = self.role_keys("targets")?;
        let spec = RoleSpec::of(&keys);
        let delegations = self.delegations_mut("targets")?;
        delegations.keys.extend(spec.objects());
        delegations.roles.push(DelegatedRole {
            name: BINS.to_owned(),
            keyids: spec.keyids(),
            threshold: spec.threshold,
            terminating: false,
            paths: None,
            // Every name's hash begins with one of these.
            path_hash_prefixes: Some((0..16).map(|digit| format!("{digit:x}")).collect()),
            extra: Map::new(),
        });
        self.touch("targets");
        self.begin(BINS, now)?;
        let delegations = self.delegations_mut(BINS)?;
        delegations.keys.extend(spec.objects());
        let bins = SuccinctRoles {
            keyids: spec.keyids(),
            threshold: spec.threshold,
            bit_length: bits,
            name_prefix: PREFIX.to_owned(),
            extra: Map::new(),
        };
        delegations.succinct_roles = Some(bins.clone());
        for number in 0..bins.bins() {
            self.begin(&bins.bin(number), now)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_grow_with_the_root_of_the_number_of_names() {
        for (targets, bits) in [(0, 1), (1, 1), (1_000, 6), (10_000, 8), (100_000, 10), (1_000_000, 11)] {
            assert_eq!(bins_for(targets), bits, "{targets}");
        }
        assert_eq!(bins_for(u64::MAX), limit::BIN_BITS);
    }
}
