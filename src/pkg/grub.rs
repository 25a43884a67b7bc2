//! GRUB for BIOS: `boot.img` from its package, `core.img` from grub-mkimage.
//!
//! `core.img` holds its first commands and every module that they or the configuration need, so that nothing but the
//! configuration, the kernel and the initrd is read from the disk.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;

use super::recipe::Grub;
use super::stock::{Pool, Stock};
use super::tool::Tools;
use crate::failure::Failure;
use crate::store::file::cannot;
use crate::tree::{Tree, TreePath};

const IMAGES: &str = "usr/lib/grub/i386-pc";

/// Makes `boot.img` and `core.img` at the top of a tree; the packages of `tools` hold grub-mkimage and GRUB's modules.
///
/// # Errors
/// [`Failure::Malformed`] when the packages do not hold what is needed; [`Failure::Unavailable`] when grub-mkimage fails.
pub fn make(grub: &Grub, tools: &Pool, stock: &mut Stock, work: &Path) -> Result<Tree, Failure> {
    let unpacked = Tools::unpack(tools, stock, work)?;
    let (config, core) = (unpacked.path("embedded.cfg"), unpacked.path("core.img"));
    fs::write(&config, &grub.config).map_err(|error| cannot("write", &config, &error))?;
    let mut arguments: Vec<OsString> = Vec::new();
    let options: [(&str, OsString); 5] = [
        ("-d", unpacked.path(IMAGES).into()),
        ("-O", "i386-pc".into()),
        ("-p", grub.prefix.clone().into()),
        ("-c", config.into()),
        ("-o", core.clone().into()),
    ];
    for (option, value) in options {
        arguments.extend([option.into(), value]);
    }
    arguments.extend(grub.modules.iter().map(OsString::from));
    unpacked.run("usr/bin/grub-mkimage", &arguments, stock)?;
    let mut tree = Tree::new();
    for (name, path) in [("boot.img", unpacked.path(IMAGES).join("boot.img")), ("core.img", core)] {
        let mut file = File::open(&path).map_err(|error| cannot("open", &path, &error))?;
        let entry = stock.add(0o644, &mut file)?;
        let name = TreePath::parse(name).map_err(|error| Failure::malformed(name, error))?;
        tree.insert(name, entry);
    }
    Ok(tree)
}
