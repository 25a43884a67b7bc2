//! Law 1 of the disk: what imgkit's readers say of an initrd is what Debian's kernel makes of it, or they refuse it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod initrds;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, thread};

use common::guest::{Workshop, boot, listed, lister};
use imgkit::format::initrd::Initrd;
use imgkit::format::segment::{LEVEL, read_segment, write_segment};
use imgkit::tree::contents::{HashOnly, Memory};
use imgkit::tree::{Device, Entry, Meta, Node, Tree, TreePath, list};

/// The place of the last segment, which has `init` alone.
const LAST: u64 = 99;

/// How many machines run at once.
const MACHINES: usize = 2;

const SPEC: &str = "\
kernel:
  image: imgkit.local/components/kernel
  cmdline: console=ttyS0
init:
  - imgkit.local/components/init
";

/// An initrd, and what becomes of it.
struct Case {
    name: &'static str,
    segments: Vec<Vec<u8>>,
    /// Where the readers refuse it: a part of what they say, and what the kernel was seen to make of it all the same. That is the
    /// paths added to, missing from and different from the plain one's.
    refused: Option<(&'static str, &'static str)>,
}

impl Case {
    /// An initrd that the readers accept, so that the guest has to have their tree.
    fn accepted(name: &'static str, segments: impl Into<Vec<Vec<u8>>>) -> Self {
        Self {
            name,
            segments: segments.into(),
            refused: None,
        }
    }

    /// An initrd that they refuse, and what the kernel makes of it.
    fn refused(
        name: &'static str,
        segments: impl Into<Vec<Vec<u8>>>,
        refusal: &'static str,
        seen: &'static str,
    ) -> Self {
        Self {
            name,
            segments: segments.into(),
            refused: Some((refusal, seen)),
        }
    }

    /// What is not as it should be, given what the guest's tree is.
    fn fault(&self, guest: Option<&Tree>, plain: &Tree) -> Option<String> {
        let to = |from: &Tree| guest.map_or("no boot".to_owned(), |tree| difference(from, tree));
        match (read(&self.segments).map(|tree| in_guest(&tree)), self.refused) {
            (Ok(tree), _) if guest != Some(&tree) => {
                Some(format!("the readers accept it, and the guest differs: {}", to(&tree)))
            }
            (Ok(_), Some(_)) => Some("the readers accept it".to_owned()),
            (Err(error), None) => Some(format!("the readers refuse it: {error}")),
            (Err(error), Some((refusal, _))) if !error.contains(refusal) => {
                Some(format!("the readers say: {error}; expected: {refusal}"))
            }
            (Err(_), Some((_, seen))) if seen != to(plain) => {
                Some(format!("the kernel makes {:?} of it; seen before: {seen:?}", to(plain)))
            }
            _ => None,
        }
    }
}

fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

/// The last segment of each initrd.
fn init(program: &[u8]) -> Vec<u8> {
    let mut contents = Memory::default();
    contents.add(program.to_vec());
    let tree = [(path("init"), Entry::file(0o755, program))].into_iter().collect();
    segment(&tree, &contents, LAST)
}

fn segment(tree: &Tree, contents: &Memory, place: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_segment(tree, contents, place, LEVEL, &mut bytes).unwrap();
    bytes
}

/// What imgkit's readers say.
fn read(segments: &[Vec<u8>]) -> Result<Tree, String> {
    let mut initrd = Initrd::new();
    for bytes in segments {
        let mut tree = Tree::new();
        let mut visit = |path, entry| {
            tree.insert(path, entry);
            Ok(())
        };
        let summary = read_segment(&mut bytes.as_slice(), bytes.len() as u64, &mut HashOnly, &mut visit);
        let summary = summary.map_err(|error| error.to_string())?;
        initrd.add(summary.place, tree).map_err(|error| error.to_string())?;
    }
    initrd.finish().map_err(|error| error.to_string())
}

/// What a guest's tree is when its initrd has `tree`: the kernel has three entries of its own (usr/default_cpio_list).
fn in_guest(tree: &Tree) -> Tree {
    let console = Node::Char(Device { major: 5, minor: 1 });
    let mut all: Tree = [
        (path("dev"), Entry::directory(0o755)),
        (path("dev/console"), special(console, 0o600)),
        (path("root"), Entry::directory(0o700)),
    ]
    .into_iter()
    .collect();
    for (path, entry) in tree.iter() {
        let mut entry = entry.clone();
        if matches!(entry.node, Node::Symlink(_)) {
            // Linux has no other mode for a link, and asks for none.
            entry.meta.mode = 0o777;
        }
        all.insert(path.clone(), entry);
    }
    all
}

fn special(node: Node, mode: u16) -> Entry {
    Entry {
        meta: Meta::root(mode),
        node,
    }
}

/// Boots the kernel with an initrd and has the guest list its tree; `None` when it does not get that far.
fn guest(kernel: &Path, dir: &Path, case: &Case) -> Option<Tree> {
    let file = dir.join(case.name.replace(' ', "-"));
    fs::write(&file, case.segments.concat()).unwrap();
    let (kernel, initrd) = (kernel.to_str().unwrap(), file.to_str().unwrap());
    let append = "console=ttyS0 quiet panic=-1";
    let console = boot(&["-m", "256", "-kernel", kernel, "-initrd", initrd, "-append", append]);
    let list = listed(&console, "tree: ")?;
    Some(list::parse(list.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}: {list}", case.name)))
}

/// Says in one line how a tree differs from another.
fn difference(from: &Tree, to: &Tree) -> String {
    let entries = |tree: &Tree| -> BTreeMap<TreePath, Entry> { tree.clone().into_iter().collect() };
    let (from, to) = (entries(from), entries(to));
    let paths: BTreeSet<TreePath> = from.keys().chain(to.keys()).cloned().collect();
    let words = paths.iter().filter_map(|path| match (from.get(path), to.get(path)) {
        (None, Some(_)) => Some(format!("+{path}")),
        (Some(_), None) => Some(format!("-{path}")),
        (one, other) => (one != other).then(|| format!("~{path}")),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn vm_the_kernel_makes_of_an_initrd_what_the_readers_say_or_they_refuse_it() {
    let workshop = Workshop::new(&["kernel", "init"]);
    workshop.build("node", SPEC, "kernel+initrd");
    let kernel = workshop.path("out/node-kernel");
    let last = init(&lister());
    let mut cases = initrds::hostile();
    cases.push(Case::accepted("everything", initrds::everything()));
    for case in &mut cases {
        case.segments.push(last.clone());
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut guests = Vec::new();
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            guests.push((case, guest(&kernel, &workshop.path("out"), case)));
        }
        guests
    };
    let guests: Vec<(&Case, Option<Tree>)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..MACHINES).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(guests.len(), cases.len());
    let plain = in_guest(&read(&cases[0].segments).unwrap());
    let faults: Vec<String> = guests
        .iter()
        .filter_map(|(case, guest)| {
            let fault = case.fault(guest.as_ref(), &plain)?;
            Some(format!("{}: {fault}", case.name))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
