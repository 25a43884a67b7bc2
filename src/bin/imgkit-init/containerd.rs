//! containerd: its program ([`daemon`]) and its API ([`client`]).

pub(crate) mod client;
pub(crate) mod daemon;

/// Where containerd listens.
pub(crate) const SOCKET: &str = "/run/containerd/containerd.sock";

/// containerd's API, generated from its `.proto` files (tests/containerd_bindings.rs).
#[allow(clippy::all, missing_docs, unreachable_pub, dead_code, unused_qualifications)]
mod api {
    pub mod types {
        include!("containerd/bindings/containerd.types.rs");
    }
    pub mod v1 {
        pub mod types {
            include!("containerd/bindings/containerd.v1.types.rs");
        }
    }
    pub mod services {
        pub mod containers {
            pub mod v1 {
                include!("containerd/bindings/containerd.services.containers.v1.rs");
            }
        }
        pub mod namespaces {
            pub mod v1 {
                include!("containerd/bindings/containerd.services.namespaces.v1.rs");
            }
        }
        pub mod tasks {
            pub mod v1 {
                include!("containerd/bindings/containerd.services.tasks.v1.rs");
            }
        }
    }
}
