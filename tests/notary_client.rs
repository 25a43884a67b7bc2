//! imgkit as a client of Debian's real notary-server, and its collections in the hands of Debian's real notary client.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod common;

use common::notary::{Keys, NotaryServer};
use common::succeed;

#[test]
fn the_rig_works() {
    for keys in [Keys::Local, Keys::Signer] {
        let server = NotaryServer::start(keys);
        let home = tempfile::tempdir().unwrap();
        let trust = home.path().join("trust");
        succeed(server.notary(home.path(), &trust).args(["init", "-p", "r.example/a"]));
        println!("{}", succeed(server.notary(home.path(), &trust).args(["key", "list"])));
    }
    let server = NotaryServer::with_tokens();
    let home = tempfile::tempdir().unwrap();
    let trust = home.path().join("trust");
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::STANDARD.encode("ali:open sesame");
    succeed(
        server
            .notary(home.path(), &trust)
            .env("NOTARY_AUTH", auth)
            .args(["init", "-p", "r.example/a"]),
    );
}
