//! The required owners of a directory and its files. Temporary files.

use super::*;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn scratch() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    chmod(scratch.path(), 0o700);
    scratch
}

fn refusal(path: &Path) -> String {
    let Refusal(why) = Directory::new(path).unwrap_err();
    assert!(why.contains(path.to_str().unwrap()), "{why} does not name {}", path.display());
    why
}

#[test]
fn standing() {
    let of = |owner: u32, mode: u32| Permissions { owner, mode: 0o40000 | mode };
    for (owner, mode, above, good) in [
        (7, 0o700, false, true),
        (7, 0o755, false, true),
        (7, 0o555, false, true),
        (0, 0o755, false, true),
        (8, 0o700, false, false),
        (8, 0o1777, true, false),
        (7, 0o770, false, false),
        (7, 0o720, false, false),
        (7, 0o702, false, false),
        (0, 0o777, true, false),
        (0, 0o775, true, false),
        // As /tmp: accepted above the directory and refused as the directory itself.
        (0, 0o1777, true, true),
        (7, 0o1777, false, false),
        (0, 0o1770, false, false),
    ] {
        assert_eq!(of(owner, mode).objection(7, above).is_none(), good, "{owner} {mode:o} {above}");
    }
    assert!(of(8, 0o700).objection(7, false).unwrap().contains("belongs to user 8 but must belong to user 7"));
    assert!(of(7, 0o2775).objection(7, false).unwrap().contains("(mode 2775): run chmod go-w"));
}

#[test]
fn the_last_part_is_made_for_this_user_alone() {
    let scratch = scratch();
    let path = scratch.path().join("cache");
    Directory::new(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0, "the probe is gone");
    // The second time it exists.
    Directory::new(&path).unwrap();
    assert!(refusal(&scratch.path().join("a/b")).contains("does not exist and cannot be created"));
}

#[test]
fn directories_that_others_could_change_are_refused() {
    let scratch = scratch();
    let path = scratch.path().join("cache");
    std::fs::create_dir(&path).unwrap();
    for mode in [0o770, 0o707, 0o777, 0o1777] {
        chmod(&path, mode);
        assert!(refusal(&path).contains("can be changed by others"), "{mode:o}");
    }
    chmod(&path, 0o755);
    Directory::new(&path).unwrap();
    // The same above it, where the sticky bit makes it acceptable.
    chmod(scratch.path(), 0o777);
    let Refusal(why) = Directory::new(&path).unwrap_err();
    assert!(why.contains(&format!("{}, above {}", scratch.path().display(), path.display())), "{why}");
    chmod(scratch.path(), 0o1777);
    Directory::new(&path).unwrap();
}

#[test]
fn a_directory_that_went_bad_is_noticed_at_the_next_use() {
    let scratch = scratch();
    let path = scratch.path().join("cache");
    let directory = Directory::new(&path).unwrap();
    directory.open().unwrap();
    chmod(&path, 0o777);
    assert!(directory.open().err().unwrap().0.contains("can be changed by others"));
    chmod(&path, 0o700);
    directory.open().unwrap();
    std::fs::remove_dir(&path).unwrap();
    assert!(directory.open().err().unwrap().0.contains("cannot be opened"));
    // A link in its place is not followed, even to a good directory.
    let other = scratch.path().join("other");
    std::fs::create_dir(&other).unwrap();
    symlink(&other, &path).unwrap();
    assert!(directory.open().is_err());
    // When a cache is set up, a link is resolved.
    assert_eq!(Directory::new(&path).unwrap().path, other.canonicalize().unwrap());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    assert!(directory.open().is_err());
    assert!(Directory::new(&path).is_err(), "a file is not a directory");
}

#[test]
fn owners_count() {
    if !geteuid().is_root() {
        // Only root can give files away. `standing` has the rule for all users.
        return;
    }
    let scratch = scratch();
    let path = scratch.path().join("cache");
    let directory = Directory::new(&path).unwrap();
    chown(&path, Some(12345), None).unwrap();
    assert!(refusal(&path).contains("belongs to user 12345"));
    assert!(directory.open().is_err());
    chown(&path, Some(0), None).unwrap();
    std::fs::write(path.join("entry"), "").unwrap();
    assert!(directory.open().unwrap().entry("entry").unwrap().is_some());
    chown(path.join("entry"), Some(12345), None).unwrap();
    let Err(UnusableEntry::Untrusted(why)) = directory.open().unwrap().entry("entry") else {
        panic!("the entry was trusted")
    };
    assert!(why.contains("belongs to user 12345"));
}

#[test]
fn entries_are_regular_files_that_only_their_owner_can_change() {
    let scratch = scratch();
    let path = scratch.path().join("cache");
    let opened = Directory::new(&path).unwrap().open().unwrap();
    let entry = path.join("entry");
    let untrusted = |what: &str| match opened.entry("entry") {
        Err(UnusableEntry::Untrusted(why)) => assert!(why.contains(what), "{why}"),
        other => panic!("{what}: {other:?}"),
    };
    assert!(opened.entry("entry").unwrap().is_none());
    std::fs::write(&entry, "four").unwrap();
    for mode in [0o600, 0o644, 0o400] {
        chmod(&entry, mode);
        assert_eq!(opened.entry("entry").unwrap().unwrap().1, 4);
    }
    for mode in [0o620, 0o602, 0o666] {
        chmod(&entry, mode);
        untrusted("can be changed by others");
    }
    chmod(&entry, 0o600);
    std::fs::rename(&entry, path.join("other")).unwrap();
    symlink(path.join("other"), &entry).unwrap();
    untrusted("symbolic link");
    std::fs::remove_file(&entry).unwrap();
    std::fs::create_dir(&entry).unwrap();
    untrusted("not a regular file");
    std::fs::remove_dir(&entry).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &entry, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    untrusted("not a regular file");
}

#[test]
fn temporary_files_go_away_unless_they_get_a_name() {
    let scratch = scratch();
    let opened = Directory::new(&scratch.path().join("cache")).unwrap().open().unwrap();
    let names = || opened.list().unwrap().into_iter().map(|file| file.name).collect::<Vec<_>>();
    let (one, two) = (opened.temporary("x").unwrap(), opened.temporary("x").unwrap());
    assert_ne!(one.name, two.name);
    assert_eq!(names().len(), 2);
    assert_eq!(one.file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    drop(one);
    two.rename("entry").unwrap();
    assert_eq!(names(), ["entry"]);
}

#[test]
fn only_leftovers_of_the_dead_are_collected() {
    let scratch = scratch();
    let path = scratch.path().join("cache");
    let opened = Directory::new(&path).unwrap().open().unwrap();
    let mut living = opened.temporary("x").unwrap();
    let name = living.name.clone();
    assert!(!opened.collect(&name), "the writer lives");
    assert!(path.join(&name).exists());
    // What is left when a process ends: the file without the lock.
    living.done = true;
    drop(living);
    assert!(path.join(&name).exists());
    assert!(opened.collect(&name));
    assert!(!path.join(&name).exists());
    assert!(!opened.collect(&name), "the file is gone");
    // A link is not followed to its target.
    std::fs::write(scratch.path().join("victim"), "").unwrap();
    symlink(scratch.path().join("victim"), path.join("link")).unwrap();
    assert!(!opened.collect("link"));
    assert!(scratch.path().join("victim").exists());
}
