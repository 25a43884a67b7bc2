//! Components from Debian packages and directories: recipes in, OCI images in the local store out.
//!
//! - [`recipe`]: `component.yml`, what an image is made of; [`lock`]: `component.lock`, the packages that it was made of.
//! - [`archive`]: packages from apt or from a folder; [`deb`]: what a package holds; [`stock`]: the packages of one run, unpacked.
//! - [`select`]: which of their files go in, with the libraries that programs need ([`elf`]).
//! - [`kernel`], [`grub`]: what is made by programs of packages, which [`tool`] runs.
//! - [`component`] puts the tree together, [`rootfs`] takes one from a directory, [`image`] writes either as an image.
//! - An image is a pure function of recipe and packages: one layer, fixed times, numeric owners, sorted members.

pub mod archive;
pub mod component;
pub mod deb;
pub mod elf;
pub mod grub;
pub mod image;
pub mod kernel;
pub mod lock;
pub mod recipe;
pub mod rootfs;
pub mod select;
pub mod stock;
pub mod tool;
