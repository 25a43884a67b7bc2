//! What a Notary collection's names are in a TUF collection, and which roles there are its own.
//!
//! - A tag is the image's name. Any other name is a plain file's, below the collection's name, and never one that reads as an
//!   image of another repository.
//! - Beginnings of names become patterns. A star of a pattern ends at `/`, so that there is one for each depth.
//! - A role's patterns say which collection's import made it: one at least is for the collection's tags, beside one for files, or a
//!   mark, as no other import's is. What the role signs does not count for that: whoever signs as it could write it.

use serde::{Serialize, Serializer};

use crate::reference::Reference;

/// Names have this many parts at most, unless the collection has deeper ones.
const USUAL_DEPTH: usize = 8;

/// A collection's name, and the names that its targets get.
#[derive(Debug)]
pub(super) struct Gun {
    name: String,
    /// The name of its images, without the tag.
    images: Option<String>,
    depth: usize,
}

impl Gun {
    /// Takes a collection's name, and the most parts that a name in it has.
    pub(super) fn new(name: &str, depth: usize) -> Self {
        let tag = format!("{name}:tag").parse::<Reference>().ok();
        let tag = tag.and_then(|reference| reference.target_name());
        Self {
            name: name.to_owned(),
            images: tag.and_then(|tag| Some(tag.strip_suffix(":tag")?.to_owned())),
            depth: depth.max(USUAL_DEPTH),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the target name of an image, if `name` can be a tag.
    pub(super) fn tag(&self, name: &str) -> Option<String> {
        let reference = format!("{}:{name}", self.name).parse::<Reference>().ok()?;
        // Behind the colon a port and a path, or a tag and a digest, would make another image's name as well.
        let is_tag = reference.tag() == Some(name) && reference.digest().is_none();
        reference.target_name().filter(|_| is_tag)
    }

    /// Returns the target name of a plain file, or why it gets none.
    pub(super) fn file(&self, name: &str) -> Result<String, String> {
        let file = format!("{}/{name}", self.name);
        match names_an_image(&file) {
            true => Err(format!(
                "it is no tag, and as the file `{file}` it would be an image of another repository"
            )),
            false => Ok(file),
        }
    }

    /// Returns patterns for the names that begin with one of `paths`, and for the mark of the collection's roles.
    pub(super) fn patterns<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let mut patterns = Vec::new();
        for path in paths {
            let tags = self.tags().filter(|_| !path.contains('/'));
            patterns.extend(tags.map(|tags| format!("{tags}{}*", literal(path))));
            let mut files = format!("{}{}*", self.files(), literal(path));
            for _ in path.split('/').count()..=self.depth {
                patterns.push(files.clone());
                files.push_str("/*");
            }
        }
        let tags = self.tags();
        let is_tag = |pattern: &String| tags.as_ref().is_some_and(|tags| pattern.starts_with(tags));
        if !patterns.iter().any(is_tag) {
            patterns.push(self.mark());
        }
        patterns
    }

    /// Tells whether a role with these patterns was made by an import of this collection; `wanted` are those that it is to get.
    pub(super) fn made(&self, patterns: &[String], wanted: &[String]) -> bool {
        let (files, tags, mark) = (self.files(), self.tags(), self.mark());
        let is_file = |pattern: &String| pattern.starts_with(&files);
        // Tags never come without the files whose names begin so.
        let is_tag = |pattern: &String| {
            let path = tags.as_ref().and_then(|tags| pattern.strip_prefix(tags));
            path.is_some_and(|path| patterns.contains(&format!("{files}{path}")))
        };
        let is_ours = patterns.iter().all(|pattern| is_file(pattern) || is_tag(pattern));
        let is_marked = is_ours && patterns.iter().any(|pattern| *pattern == mark || is_tag(pattern));
        // Earlier imports made roles without the mark: those whose names are just the same, so that nobody gets more.
        let unmarked = || wanted.iter().filter(|pattern| **pattern != mark);
        is_marked || (!patterns.is_empty() && patterns.iter().eq(unmarked()))
    }

    /// Returns what comes before the name of a role that is another's already.
    pub(super) fn as_word(&self) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        self.name.chars().map(|c| if plain(c) { c } else { '_' }).collect()
    }

    /// Returns how patterns for files begin.
    fn files(&self) -> String {
        format!("{}/", literal(&self.name))
    }

    /// Returns how patterns for tags begin.
    fn tags(&self) -> Option<String> {
        Some(format!("{}:", literal(self.images.as_ref()?)))
    }

    /// Returns a pattern that says whose role it is where none for tags does; no name of a target ends with a slash.
    fn mark(&self) -> String {
        format!("{}:/", self.files())
    }
}

impl Serialize for Gun {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

/// Tells whether a name is an image's with its tag or digest, however it is written.
fn names_an_image(name: &str) -> bool {
    let Ok(reference) = name.parse::<Reference>() else {
        return false;
    };
    // A tag that is not written is `latest`.
    let is_tagged = |tag: &str| name.strip_suffix(tag).is_some_and(|rest| rest.ends_with(':'));
    reference.digest().is_some() || reference.tag().is_some_and(is_tagged)
}

/// Writes text as a pattern that matches it and nothing else.
fn literal(text: &str) -> String {
    let mut pattern = String::new();
    for c in text.chars() {
        match c {
            '*' | '?' | '[' => pattern.extend(['[', c, ']']),
            _ => pattern.push(c),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn beginnings_of_names_become_patterns_for_every_depth() {
        let gun = Gun::new("r.example/app", 0);
        let all = gun.patterns([""]);
        assert_eq!(all.len(), 1 + USUAL_DEPTH);
        assert_eq!(all.first().map(String::as_str), Some("r.example/app:*"));
        assert_eq!(all.get(1).map(String::as_str), Some("r.example/app/*"));
        assert_eq!(all.get(2).map(String::as_str), Some("r.example/app/*/*"));
        let below = gun.patterns(["tools/b-"]);
        assert_eq!(below.first().map(String::as_str), Some("r.example/app/tools/b-*"));
        assert_eq!(
            below.len(),
            USUAL_DEPTH,
            "no tag has a slash, one part is named, and the mark"
        );
        assert_eq!(below.last().map(String::as_str), Some("r.example/app/:/"));
        let deeper = Gun::new("r.example/app", 12).patterns([""]);
        assert_eq!(deeper.len(), 13);
    }

    #[test]
    fn a_role_without_paths_is_trusted_with_nothing() {
        let mark = Gun::new("r.example/app", 0).patterns([]);
        assert_eq!(mark, ["r.example/app/:/"]);
        for name in &mark {
            assert!(crate::trust::check_target_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_a_pattern_would_take_for_more_is_matched_as_it_is() {
        let patterns = Gun::new("r.example/app", 0).patterns(["a*[b]?"]);
        assert_eq!(patterns.get(1).map(String::as_str), Some("r.example/app/a[*][[]b][?]*"));
    }

    #[test]
    fn a_role_of_another_collection_is_not_taken_for_ours() {
        let names = [
            "r.example/a",
            "r.example/a/b",
            "r.example/a/b/c",
            "r.example/a2",
            "alpine",
            "docker.io/library/alpine",
            "docker.io/alpine",
            "docker.io/library",
            "NO/image",
            "NO/image/b",
            "NO",
            "NO:5/image",
        ];
        let paths: [&[&str]; 6] = [&[""], &["v"], &["x/"], &["b/x/", "x/"], &["b:"], &[]];
        for (one, other) in names.iter().flat_map(|one| names.map(|other| (*one, other))) {
            for depth in 8..12 {
                let (ours, theirs) = (Gun::new(one, 0), Gun::new(other, depth));
                for paths in paths {
                    let made = theirs.patterns(paths.iter().copied());
                    let is_ours = ours.made(&made, &ours.patterns(["b/x/"]));
                    assert_eq!(is_ours, one == other, "{one} {other} {paths:?}");
                }
            }
        }
    }

    #[test]
    fn a_role_that_somebody_made_for_some_names_is_not_taken_for_ours() {
        let gun = Gun::new("r.example/a", 0);
        for patterns in [
            &["r.example/a:v*"][..],
            &["r.example/a/b/*"],
            &["r.example/a/*", "other/*"],
            &[],
        ] {
            let patterns: Vec<_> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
            assert!(!gun.made(&patterns, &gun.patterns([""])), "{patterns:?}");
        }
    }

    #[test]
    fn a_role_of_an_earlier_import_is_found_where_it_gets_no_more() {
        let gun = Gun::new("r.example/a", 0);
        let mut earlier = gun.patterns(["x/"]);
        earlier.pop();
        assert!(gun.made(&earlier, &gun.patterns(["x/"])));
        assert!(!gun.made(&earlier, &gun.patterns(["x/", "y/"])));
    }

    #[test]
    fn only_a_tag_becomes_an_image() {
        let gun = Gun::new("alpine", 0);
        assert_eq!(gun.tag("v1").as_deref(), Some("docker.io/library/alpine:v1"));
        let digest = Digest::sha256(b"");
        for name in ["5000/x", "5000/x:v1", "x:y", "", &format!("v1@{digest}")] {
            assert_eq!(gun.tag(name), None, "{name}");
        }
    }

    #[test]
    fn no_file_is_an_image_of_another_repository() {
        let gun = Gun::new("r.example/a", 0);
        let digest = Digest::sha256(b"");
        for name in ["b:v1", "b/c:latest", &format!("b@{digest}"), &format!("b:v1@{digest}")] {
            assert!(gun.file(name).is_err(), "{name}");
            assert!(Gun::new("alpine", 0).file(name).is_err(), "{name}");
        }
        for name in ["b/c", "B:v1", "x y", "latest/b", "b:"] {
            assert_eq!(gun.file(name), Ok(format!("r.example/a/{name}")));
        }
    }
}
