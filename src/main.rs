//! The `imgkit` command.
fn main() {}
