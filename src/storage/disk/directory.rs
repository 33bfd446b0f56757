use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::fs::OFlags;

use super::{
    claim::{self, Claim, GUESTS, LOCK},
    keeper::Bell,
    name::Name,
    pool::lock,
};
use crate::{Error, policy::Secret};

/// The directory of a store.
///
/// | name | |
/// |---|---|
/// | `larder` | says that this is a store, and of which version |
/// | `lock`, `guests` | held by who uses it |
/// | `locks` | held for a moment, while something is changed |
/// | `secret` | hides credentials in keys |
/// | `purges` | the log of purges |
/// | `catalog` | the list of what is stored |
/// | `tmp` | what is being written |
/// | `files/ab/<30 digits>` | what is stored; to forget everything is to rename `files` |
/// | `old-…` | what is being removed |
pub(super) struct Directory {
    root: PathBuf,
    files: PathBuf,
    /// Begins the names of what is being written, so that no two processes write the same file.
    nonce: u64,
    temporary: AtomicU64,
    /// What the keeper is to remove.
    trash: Mutex<Vec<PathBuf>>,
    bell: Arc<Bell>,
}

const MARKER: &str = "larder";
const LOCKS: &str = "locks";
const SECRET: &str = "secret";
pub(super) const PURGES: &str = "purges";
const TMP: &str = "tmp";
const FILES: &str = "files";

/// An owner prepares a directory in far less.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(1);

const MAGIC: &[u8; 8] = b"LARDERST";
const VERSION: u32 = 1;

impl Directory {
    /// Opens the directory, or makes it: as its owner, or as a guest if there is one.
    pub(super) fn open(root: &Path, bell: Arc<Bell>) -> Result<(Self, Claim), Error> {
        let at = |error: io::Error| Error::other(format!("{}: {error}", root.display()));
        match fs::metadata(root) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(Error::invalid(format!("{} is no directory", root.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(at)?;
            }
            Err(error) => return Err(at(error)),
        }
        // Before anything is changed: what is not a store's is left alone. Another process may just be
        // making one; the marker is the first of its files.
        let has_marker = || read_marker(&root.join(MARKER)).is_some();
        if !has_marker() && !is_unused(root).map_err(at)? && !has_marker() {
            let text = format!("{} has files that are not of a store", root.display());
            return Err(Error::invalid(text));
        }
        fs::set_permissions(root, Permissions::from_mode(0o700)).map_err(at)?;
        let directory = Self {
            root: root.to_owned(),
            files: root.join(FILES),
            nonce: getrandom::u64().map_err(Error::other)?,
            temporary: AtomicU64::new(0),
            trash: Mutex::default(),
            bell,
        };
        let claim = directory.claim().map_err(at)?;
        Ok((directory, claim))
    }

    /// Owns the directory, or enters it when its owner has prepared it.
    fn claim(&self) -> io::Result<Claim> {
        let start = Instant::now();
        loop {
            if let Some(claim) = Claim::own(&self.root)? {
                self.prepare()?;
                return Ok(claim);
            }
            if let Some(claim) = Claim::visit(&self.root)?
                && self.is_prepared()
            {
                return Ok(claim);
            }
            if start.elapsed() > PATIENCE {
                let version = read_marker(&self.root.join(MARKER));
                let text = match version.is_none_or(|version| version == VERSION) {
                    true => "in use by another process, and not ready for a second one",
                    false => "in use by another version",
                };
                return Err(io::Error::other(text));
            }
            thread::sleep(PAUSE);
        }
    }

    /// Whether its owner has made all that a guest needs.
    fn is_prepared(&self) -> bool {
        let is_ours = read_marker(&self.root.join(MARKER)) == Some(VERSION);
        is_ours && [SECRET, PURGES, FILES, TMP].iter().all(|name| self.own(name).exists())
    }

    fn prepare(&self) -> io::Result<()> {
        let version = read_marker(&self.root.join(MARKER));
        if version.is_some_and(|version| version != VERSION) {
            self.set_aside()?;
        }
        if version != Some(VERSION) {
            self.replace(MARKER, &[MAGIC.as_slice(), &VERSION.to_le_bytes()].concat())?;
        }
        // What guests are writing is theirs.
        let is_alone = claim::dismiss_guests(&self.root)?;
        for entry in fs::read_dir(&self.root)?.flatten() {
            let name = entry.file_name();
            if (name == TMP && is_alone) || name.to_string_lossy().starts_with("old-") {
                self.discard(&entry.path());
            }
        }
        for name in [TMP, FILES, LOCKS] {
            make(&self.root.join(name))?;
        }
        Ok(())
    }

    /// Another version's files stay where its program can be pointed at.
    fn set_aside(&self) -> io::Result<()> {
        let aside = (1..).map(|n| self.root.join(format!("aside-{n}")));
        let Some(aside) = aside.into_iter().find(|path| !path.exists()) else { return Ok(()) };
        make(&aside)?;
        for entry in fs::read_dir(&self.root)? {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
            let is_kept = name == LOCK || name == MARKER || is_aside(&name);
            if !is_kept {
                fs::rename(path, aside.join(name))?;
            }
        }
        // Last: as long as it is there, a start that was broken off here is begun again.
        match fs::rename(self.root.join(MARKER), aside.join(MARKER)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Puts a file of the store's own in place, for good.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<File> {
        let path = self.root.join(format!("{name}.new"));
        let _ = fs::remove_file(&path);
        let mut file = private().create_new(true).open(&path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(path, self.root.join(name))?;
        File::open(&self.root)?.sync_all()?;
        Ok(file)
    }

    /// The path of a file of the store's own.
    pub(super) fn own(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(super) fn secret(&self) -> Result<Secret, Error> {
        let mut bytes = Vec::new();
        let kept = read_only(&self.own(SECRET));
        if kept.is_ok_and(|file| file.take(33).read_to_end(&mut bytes).is_ok())
            && let Ok(bytes) = <[u8; 32]>::try_from(bytes.as_slice())
        {
            return Ok(Secret::from_bytes(bytes));
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(Error::other)?;
        self.replace(SECRET, &bytes).map_err(Error::other)?;
        Ok(Secret::from_bytes(bytes))
    }

    /// Forgets all that is stored, for good. The caller has locked out all changes.
    pub(super) fn clear(&self) -> io::Result<()> {
        self.discard(&self.files);
        make(&self.files)?;
        if fs::read_dir(&self.files)?.next().is_some() {
            return Err(io::Error::other("the files could not be moved away"));
        }
        File::open(&self.root)?.sync_all()
    }

    pub(super) fn files(&self) -> &Path {
        &self.files
    }

    pub(super) fn path(&self, name: Name) -> PathBuf {
        name.path(&self.files)
    }

    /// A file that is held while something is changed that this number stands for.
    pub(super) fn lock_file(&self, number: usize) -> io::Result<File> {
        let path = self.root.join(LOCKS).join(format!("{number:02x}"));
        self.with_parent(&path, || claim::open(&path))
    }

    /// Whether other processes may put files in place that the owner does not know.
    pub(super) fn has_guests(&self) -> bool {
        self.root.join(GUESTS).exists()
    }

    /// For the owner: whether all guests have gone.
    pub(super) fn dismiss_guests(&self) -> bool {
        claim::dismiss_guests(&self.root).unwrap_or(false)
    }

    /// A new file to write into.
    pub(super) fn temporary(&self) -> io::Result<(File, PathBuf)> {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(TMP).join(format!("{:016x}-{number:x}", self.nonce));
        Ok((private().read(true).create_new(true).open(&path)?, path))
    }

    /// Does something that needs the directory that `path` is in, and makes it if it is not there.
    pub(super) fn with_parent<T>(
        &self,
        path: &Path,
        act: impl Fn() -> io::Result<T>,
    ) -> io::Result<T> {
        match act() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(parent) = path.parent() {
                    make(parent)?;
                }
                act()
            }
            done => done,
        }
    }

    /// Gives a file another name, so that its own can be given to another.
    pub(super) fn rename_kept(&self, from: &Path, to: &Path) -> io::Result<()> {
        // A link keeps it found all the time. What a start that was broken off left is outdated.
        let _ = fs::remove_file(to);
        self.with_parent(to, || fs::hard_link(from, to)).or_else(|_| fs::rename(from, to))
    }

    /// Has a file or directory removed when there is time.
    pub(super) fn discard(&self, path: &Path) {
        let is_old = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("old-"));
        let path = if path.parent() == Some(&self.root) && !is_old {
            // Its name may be needed again.
            let mut number = [0; 8];
            let _ = getrandom::fill(&mut number);
            let old = self.root.join(format!("old-{:016x}", u64::from_le_bytes(number)));
            if fs::rename(path, &old).is_err() {
                return;
            }
            old
        } else {
            path.to_owned()
        };
        lock(&self.trash).push(path);
        self.bell.ring();
    }

    /// Removes what other processes were removing, and what they were writing and have not touched
    /// for a day: they have gone.
    pub(super) fn sweep(&self) {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("old-") {
                self.discard(&entry.path());
            }
        }
        let own = format!("{:016x}-", self.nonce);
        for entry in fs::read_dir(self.root.join(TMP)).into_iter().flatten().flatten() {
            let modified = entry.metadata().and_then(|found| found.modified());
            let age = modified.ok().and_then(|modified| modified.elapsed().ok());
            let is_own = entry.file_name().to_string_lossy().starts_with(&own);
            if !is_own && age.is_some_and(|age| age > DAY) {
                self.discard(&entry.path());
            }
        }
    }

    pub(super) fn take_trash(&self) -> Vec<PathBuf> {
        std::mem::take(&mut *lock(&self.trash))
    }

    /// What is free of the file system.
    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.root)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

/// Whether there is nothing in it but what a start leaves that was broken off.
fn is_unused(root: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        let is_ours = [LOCK, GUESTS, "larder.new"].iter().any(|own| name == *own);
        if !is_ours && !is_aside(&name) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_aside(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with("aside-")
}

/// The version of the store whose marker this is.
fn read_marker(path: &Path) -> Option<u32> {
    let mut bytes = [0; 12];
    read_only(path).ok()?.read_exact(&mut bytes).ok()?;
    let version = bytes.strip_prefix(MAGIC.as_slice())?;
    Some(u32::from_le_bytes(version.try_into().ok()?))
}

fn make(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// To write a file that only its owner reads.
pub(super) fn private() -> OpenOptions {
    let mut options = File::options();
    options.write(true).mode(0o600).custom_flags(NO_FOLLOW);
    options
}

/// To read a file that is no link to another one.
pub(super) fn read_only(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(NO_FOLLOW).open(path)
}

/// To change a file in place.
pub(super) fn read_write(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).custom_flags(NO_FOLLOW).open(path)
}

const NO_FOLLOW: i32 = OFlags::NOFOLLOW.bits() as i32;
