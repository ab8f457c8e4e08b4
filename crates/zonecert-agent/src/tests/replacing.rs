//! Files are replaced at once, whoever reads meanwhile and whatever ends the replacement.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::authority::{Authority, Issued};
use super::wanted;
use crate::directory::{Directory, Locked, State};
use crate::pair::{check_key, leaf_of};

fn install(directory: &mut Directory, wanted: &crate::config::Wanted, issued: &Issued) {
    directory.install(wanted, &issued.etag(), &issued.pair()).unwrap();
}

/// Whether these two files belong together.
fn is_pair(chain: &Path, key: &Path) -> bool {
    let (chain, key) = (fs::read_to_string(chain).unwrap(), fs::read_to_string(key).unwrap());
    check_key(&leaf_of(&chain).unwrap(), &key).is_ok()
}

#[test]
fn nobody_who_reads_during_two_hundred_replacements_sees_a_key_of_another_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let (path, wanted) = (dir.path(), wanted(dir.path()));
    let authority = Authority::new();
    let issued: Vec<Issued> = (0..4).map(|number| authority.issue(number)).collect();
    let mut directory = Directory::open(&wanted).unwrap();
    install(&mut directory, &wanted, &issued[3]);

    let is_over = AtomicBool::new(false);
    let read_until_the_end = |read: &(dyn Fn() -> bool + Sync)| {
        let mut counted = 0_u32;
        while !is_over.load(Ordering::Relaxed) {
            counted += u32::from(read());
        }
        counted
    };
    let link = || fs::read_link(path.join("..data")).unwrap();
    // Who goes to the version in use once, and reads both files there.
    let by_version = || {
        let version = path.join(link());
        assert!(is_pair(&version.join("fullchain.pem"), &version.join("key.pem")), "a mismatched pair in {}", version.display());
        true
    };
    // Who reads one file with both in it.
    let combined = || {
        let text = fs::read_to_string(path.join("combined.pem")).unwrap();
        assert!(check_key(&leaf_of(&text).unwrap(), &text).is_ok(), "a mismatched pair in one file");
        true
    };
    // Who reads by the names of the configuration, and looks whether they have changed meanwhile.
    let by_name = || {
        let before = link();
        let is_pair = is_pair(&path.join("fullchain.pem"), &path.join("key.pem"));
        let is_same = link() == before;
        assert!(is_pair || !is_same, "a mismatched pair while nothing was replaced");
        is_same
    };
    std::thread::scope(|scope| {
        let readers = [
            scope.spawn(|| read_until_the_end(&by_version)),
            scope.spawn(|| read_until_the_end(&combined)),
            scope.spawn(|| read_until_the_end(&by_name)),
        ];
        for number in 0..200 {
            install(&mut directory, &wanted, &issued[number % issued.len()]);
            assert!(directory.state().is_whole(&wanted));
        }
        is_over.store(true, Ordering::Relaxed);
        for reader in readers {
            let counted = reader.join().expect("a reader has seen a mismatched pair");
            assert!(counted > 20, "only {counted} pairs were read");
        }
    });
}

#[test]
fn files_have_mode_and_owner_before_anybody_can_reach_them_and_hold_what_they_should() {
    let dir = tempfile::tempdir().unwrap();
    let mut wanted = wanted(dir.path());
    let own_group = fs::metadata(dir.path()).unwrap().gid();
    (wanted.group, wanted.files[3].mode, wanted.files[2].mode) = (Some(own_group), 0o640, 0o444);
    let issued = Authority::new().issue(1);
    let mut directory = Directory::open(&wanted).unwrap();
    install(&mut directory, &wanted, &issued);
    let Issued { certificate, chain, key, .. } = &issued;
    for (name, mode, text) in [
        ("fullchain.pem", 0o644, format!("{certificate}{chain}")),
        ("cert.pem", 0o644, certificate.clone()),
        ("chain.pem", 0o444, chain.clone()),
        ("key.pem", 0o640, key.clone()),
        ("combined.pem", 0o600, format!("{key}{certificate}{chain}")),
    ] {
        let path = dir.path().join(name);
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.permissions().mode() & 0o777, found.gid()), (mode, own_group), "{name}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "{name}");
        assert_eq!(fs::read_link(&path).unwrap(), Path::new("..data").join(name));
    }
    let state = fs::read_to_string(dir.path().join("..state.json")).unwrap();
    assert!(!state.contains("PRIVATE KEY"));
}

#[test]
fn the_version_before_is_kept_and_older_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = wanted(dir.path());
    let authority = Authority::new();
    let mut directory = Directory::open(&wanted).unwrap();
    let long_ago = || {
        for entry in fs::read_dir(dir.path()).unwrap().map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_dir()) {
            let times = FileTimes::new().set_modified(SystemTime::now() - Duration::from_hours(1));
            File::open(entry.path()).unwrap().set_times(times).unwrap();
        }
    };
    let versions = || {
        let entries = fs::read_dir(dir.path()).unwrap().map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_dir());
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    for number in 1..4 {
        install(&mut directory, &wanted, &authority.issue(number));
        long_ago();
    }
    // Somebody has died while writing this one.
    fs::create_dir(dir.path().join("..ver_half.1")).unwrap();
    long_ago();
    install(&mut directory, &wanted, &authority.issue(4));
    let left = versions();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left[0].starts_with(&format!("..ver_{:032x}.", 3)) && left[1].starts_with(&format!("..ver_{:032x}.", 4)), "{left:?}");
}

#[test]
fn what_is_missing_damaged_or_wanted_otherwise_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = wanted(dir.path());
    let authority = Authority::new();
    let (issued, other) = (authority.issue(1), authority.issue(2));
    let mut directory = Directory::open(&wanted).unwrap();
    assert_eq!(directory.known(&wanted), None);
    let mut again = |damage: &dyn Fn(&Path)| {
        install(&mut directory, &wanted, &issued);
        assert_eq!(directory.known(&wanted), Some(issued.etag().as_str()));
        damage(dir.path());
        assert_eq!(directory.known(&wanted), None);
    };
    again(&|dir| fs::remove_file(dir.join("key.pem")).unwrap());
    again(&|dir| fs::write(dir.join("key.pem"), &other.key).unwrap());
    again(&|dir| fs::write(dir.join("cert.pem"), &other.certificate).unwrap());
    again(&|dir| fs::write(dir.join("fullchain.pem"), "").unwrap());
    again(&|dir| fs::remove_dir_all(dir.join(fs::read_link(dir.join("..data")).unwrap())).unwrap());

    install(&mut directory, &wanted, &issued);
    let mut fewer = wanted.clone();
    fewer.files.retain(|file| file.name != "combined.pem");
    assert_eq!(directory.known(&fewer), None);
    install(&mut directory, &fewer, &issued);
    assert!(fs::symlink_metadata(dir.path().join("combined.pem")).is_err(), "a link that is no longer wanted is gone");
    assert_eq!(directory.known(&fewer), Some(issued.etag().as_str()));
}

#[test]
fn whoever_died_before_the_switch_was_written_down_installs_and_reloads_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut wanted = wanted(dir.path());
    wanted.reload = vec!["true".to_owned()];
    let authority = Authority::new();
    let mut directory = Directory::open(&wanted).unwrap();
    install(&mut directory, &wanted, &authority.issue(1));
    directory.reloaded().unwrap();
    let before = fs::read(dir.path().join("..state.json")).unwrap();
    install(&mut directory, &wanted, &authority.issue(2));
    assert!(State::read(dir.path()).unwrap().reload_pending, "what was written is to be reloaded");
    drop(directory);
    fs::write(dir.path().join("..state.json"), before).unwrap();
    let directory = Directory::open(&wanted).unwrap();
    assert_eq!(directory.known(&wanted), None);
}

#[test]
fn what_the_agent_has_not_made_is_left_alone() {
    let issued = Authority::new().issue(1);
    let file = |path: &Path| fs::write(path, "mine").unwrap();
    let link = |path: &Path| symlink("/etc/passwd", path).unwrap();
    let makes: [&dyn Fn(&Path); 2] = [&file, &link];
    for make in makes {
        let dir = tempfile::tempdir().unwrap();
        let wanted = wanted(dir.path());
        make(&dir.path().join("cert.pem"));
        let before = fs::read_to_string(dir.path().join("cert.pem")).unwrap();
        let mut directory = Directory::open(&wanted).unwrap();
        let error = directory.install(&wanted, &issued.etag(), &issued.pair()).unwrap_err().to_string();
        assert!(error.contains("cert.pem is a") && error.contains("move it away"), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join("cert.pem")).unwrap(), before);
        assert!(fs::symlink_metadata(dir.path().join("..data")).is_err(), "nothing was changed");
    }
}

#[test]
fn a_directory_is_worked_on_by_one_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = wanted(dir.path());
    let first = Directory::open(&wanted).unwrap();
    assert!(Directory::open(&wanted).unwrap_err().is::<Locked>());
    drop(first);
    assert!(Directory::open(&wanted).is_ok());
}
