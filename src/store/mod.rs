//! Where bytes live: all disk and network access of the house below `build`.
//!
//! - [`layout`]: the local store of images, an OCI layout.
//! - [`registry`]: registries over the network; [`attached`]: what is attached to images.
//! - [`trust_place`]: the place of a collection's metadata; [`trust_dir`]: one in a directory; [`trust_oci`]: one in a registry;
//!   [`NotaryPlace`]: the place of a Notary collection; [`Trusted`]: those last trusted; [`key_store`]: private keys, encrypted.
//! - [`http`]: files of web servers, within bounds; [`trust_http`]: a collection's metadata there; [`tuf_dir`]: what a generic client keeps;
//!   [`sigstore_dir`]: whom a sigstore instance says to trust, kept; [`sigstore_services`]: signing
//!   by an identity there.
//! - [`verdicts`]: what a policy admitted, as long as that holds.
//! - [`parcel`]: a collection with images in one file; [`archive`]: a layout in one; [`shelf`]: copying images with what is attached.
//! - [`mod@file`]: files that are whole or absent, bounded reads, locks; [`spool`]: contents on their way through a build.
//! - Nothing read here is trusted: what has a digest is hashed on every read (law of the gate 10).
//! - Paths are arguments; nothing here reads the environment or the clock.

pub mod archive;
pub mod attached;
mod challenge;
pub mod derived;
pub mod docker_trust;
pub mod file;
pub mod http;
mod kept;
pub mod key_store;
pub mod layout;
pub mod memory;
pub mod notary_client;
mod notary_place;
pub mod notary_server;
pub mod parcel;
pub mod pkcs11;
pub mod plugin;
mod progress;
pub mod registry;
mod resolver;
mod several;
pub mod shelf;
pub mod sigstore_dir;
pub mod sigstore_services;
mod source;
pub mod spool;
mod tree;
pub mod trust_dir;
pub mod trust_http;
pub mod trust_oci;
pub mod trust_place;
mod trusted;
pub mod tuf_dir;
pub mod verdicts;

pub use docker_trust::DockerTrust;
pub use kept::Kept;
pub use key_store::KeyStore;
pub use notary_client::NotaryClient;
pub use notary_place::NotaryPlace;
pub use progress::Progress;
pub use resolver::Resolver;
pub use source::Source;
pub use tree::image_tree;
pub use trust_dir::TrustDir;
pub use trust_http::TrustHttp;
pub use trust_oci::TrustOci;
pub use trust_place::TrustPlace;
pub use trusted::Trusted;
