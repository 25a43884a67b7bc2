//! Builds nothing yet: link arguments of the guest programs are set here.
fn main() {}
