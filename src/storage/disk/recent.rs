//! What was written lasts as far as was asked for.

use std::{
    collections::BTreeSet,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use super::{Durability, directory::read_only, name::Name, pool::lock, store::Store};

/// What was written since the last sync.
#[derive(Default)]
pub(super) struct Recent(Mutex<Written>);

#[derive(Default)]
struct Written {
    files: Vec<Name>,
    /// Where files have appeared or gone.
    directories: BTreeSet<PathBuf>,
}

/// More files than this and the oldest of them are left to the system.
const MAX_FILES: usize = 1 << 16;

impl Store {
    /// Makes what was written to a file last, as far as was asked for.
    pub(super) fn settle(&self, name: Name, file: &File) -> io::Result<()> {
        match self.options.durability {
            Durability::Relaxed => Ok(()),
            Durability::Strict => file.sync_data(),
            Durability::Periodic(_) => {
                let files = &mut lock(&self.recent.0).files;
                if files.len() < MAX_FILES {
                    files.push(name);
                }
                Ok(())
            }
        }
    }

    /// The same for the place of a file, or for its removal.
    pub(super) fn settle_directory(&self, name: Name) -> io::Result<()> {
        let path = self.directory.path(name);
        // The file's directory may be new, too.
        let mut directories = path.ancestors().skip(1).take(2);
        match self.options.durability {
            Durability::Relaxed => Ok(()),
            Durability::Strict => directories.try_for_each(sync),
            Durability::Periodic(_) => {
                lock(&self.recent.0).directories.extend(directories.map(Path::to_owned));
                Ok(())
            }
        }
    }

    /// Syncs what was written before. The files come first: a name that lasts has all of its bytes.
    pub(super) fn sync_recent(&self) {
        let Written { files, directories } = std::mem::take(&mut *lock(&self.recent.0));
        for name in files {
            // It may be gone by now.
            if let Ok(file) = read_only(&self.directory.path(name)) {
                let _ = file.sync_data();
            }
        }
        for directory in directories {
            let _ = sync(&directory);
        }
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    match File::open(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        opened => opened?.sync_all(),
    }
}
