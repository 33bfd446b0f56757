use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use larder::{DiskManager, Error, storage::suite::block_on};

use crate::site::{Ask, files, scratch};

#[track_caller]
fn refused(path: &Path, because: &str) -> Error {
    let error = DiskManager::open(path).map(|_| ()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(because) && text.contains(&path.display().to_string()), "{text}");
    error
}

/// What is not a store's is left alone.
#[test]
fn a_directory_of_somebody_else_is_refused() {
    let path = scratch();
    fs::create_dir(&path).unwrap();
    for foreign in ["thesis.txt", "larder"] {
        fs::write(path.join(foreign), "mine").unwrap();
        assert!(refused(&path, "not of a store").is_invalid());
        assert_eq!(files(&path), [path.join(foreign)]);
        fs::remove_file(path.join(foreign)).unwrap();
    }
    let file = path.join("file");
    fs::write(&file, "").unwrap();
    assert!(refused(&file, "no directory").is_invalid());
}

/// Nobody may write, not even in a directory that was opened before.
#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let path = scratch();
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o500)).unwrap();
    // To the superuser permissions mean nothing.
    if fs::write(path.join("probe"), "").is_ok() {
        return;
    }
    let inside = path.join("store");
    refused(&inside, "denied");
}

/// The files of another version stay, aside, and the store starts empty.
#[test]
fn another_version_is_set_aside() {
    let path = scratch();
    let store = DiskManager::open(&path).unwrap();
    let ask = Ask::new("/");
    block_on(ask.put(&store, &[], "old")).unwrap();
    drop(store);
    let kept = files(&path.join("files"));
    let mut marker = fs::read(path.join("larder")).unwrap();
    marker[8] = 99;
    fs::write(path.join("larder"), marker).unwrap();
    let store = DiskManager::open(&path).unwrap();
    block_on(async {
        assert!(ask.find(&store).await.is_none());
        ask.put(&store, &[], "new").await.unwrap();
    });
    assert_eq!(files(&path.join("aside-1/files")).len(), kept.len());
    drop(store);
    let store = DiskManager::open(&path).unwrap();
    assert_eq!(block_on(ask.body(&store)).unwrap().unwrap(), "new");
}

/// Responses are private: directories 0700, files 0600, names that say nothing, and no credential in
/// any of them.
#[test]
fn nothing_can_be_learnt_from_the_directory() {
    let path = scratch();
    let store = DiskManager::open(&path).unwrap();
    let ask = Ask::new("/secret-path?secret-query")
        .with("authorization", "Bearer token-of-ann")
        .with("cookie", "session-of-ann");
    block_on(async {
        ask.put(&store, &[("vary", "authorization, cookie")], "hello").await.unwrap();
        Ask::new("/../../../etc/passwd").put(&store, &[], "hello").await.unwrap();
        assert!(ask.find(&store).await.is_some());
    });
    let mut directories = vec![path.clone()];
    while let Some(directory) = directories.pop() {
        // What is made ahead comes and goes while we look.
        let Ok(metadata) = fs::metadata(&directory) else { continue };
        assert_eq!(metadata.permissions().mode() & 0o777, 0o700);
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(!name.contains("secret-") && !name.contains("passwd"), "{name}");
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let Ok(metadata) = fs::metadata(&path) else { continue };
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
            let Ok(bytes) = fs::read(&path) else { continue };
            for secret in ["token-of", "session-of"] {
                let holds = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
                assert!(!holds, "{name} has {secret}");
            }
        }
    }
}

/// A link that somebody put in the place of a file is not followed.
#[test]
fn links_are_not_followed() {
    let path = scratch();
    let store = DiskManager::open(&path).unwrap();
    let ask = Ask::new("/");
    block_on(async {
        ask.put(&store, &[], "hello").await.unwrap();
        let [file] = &files(&path.join("files"))[..] else { panic!("one file") };
        let elsewhere = path.join("elsewhere");
        fs::rename(file, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, file).unwrap();
        assert!(ask.find(&store).await.is_none());
        ask.put(&store, &[], "again").await.unwrap();
        assert_eq!(ask.body(&store).await.unwrap().unwrap(), "again");
        assert!(fs::symlink_metadata(file).unwrap().is_file());
    });
}
