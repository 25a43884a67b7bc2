//! Who is told how a transfer or a build goes.

/// Is told, from several threads, how many bytes are to come and how many came.
pub trait Progress: Sync {
    /// Adds bytes to those that are to come.
    fn expect(&self, bytes: u64);

    /// Adds bytes to those that came, or that were here already.
    fn advance(&self, bytes: u64);
}

/// Tells nobody.
impl Progress for () {
    fn expect(&self, _: u64) {}

    fn advance(&self, _: u64) {}
}
