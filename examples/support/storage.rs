//! Where the proxy keeps responses: `memory[:BYTES]`, `disk:PATH[:BYTES]` or `tiered:PATH[:BYTES]`.

use larder::{BoxManager, MemoryManager};

use super::args;

/// A store that was chosen on the command line.
#[derive(Clone)]
pub enum Storage {
    Memory {
        capacity: u64,
    },
    Disk {
        path: String,
        capacity: Option<u64>,
    },
    /// Memory before a disk.
    Tiered {
        path: String,
        capacity: Option<u64>,
    },
}

const MEMORY: u64 = 256 << 20;

pub fn read(text: &str) -> Option<Storage> {
    match text.split_once(':') {
        None if text == "memory" => Some(Storage::Memory { capacity: MEMORY }),
        Some(("memory", capacity)) => Some(Storage::Memory { capacity: args::bytes(capacity)? }),
        Some(("disk", place)) if !place.is_empty() => {
            let (path, capacity) = sized(place);
            Some(Storage::Disk { path, capacity })
        }
        Some(("tiered", place)) if !place.is_empty() => {
            let (path, capacity) = sized(place);
            Some(Storage::Tiered { path, capacity })
        }
        _ => None,
    }
}

/// `PATH[:BYTES]`.
fn sized(place: &str) -> (String, Option<u64>) {
    let sized = place.rsplit_once(':').and_then(|(path, bytes)| Some((path, args::bytes(bytes)?)));
    match sized {
        Some((path, bytes)) => (path.to_owned(), Some(bytes)),
        None => (place.to_owned(), None),
    }
}

impl Storage {
    /// Opens it for bodies of up to `max_entry` bytes, or says in a sentence why not.
    pub fn open(self, max_entry: Option<u64>) -> Result<BoxManager, String> {
        match self {
            Storage::Memory { capacity } => {
                if max_entry.is_some_and(|max_entry| max_entry > capacity / 2) {
                    return Err("--max-entry is more than half of the capacity".to_owned());
                }
                let max_entry = max_entry.unwrap_or(capacity / 8);
                Ok(BoxManager::new(MemoryManager::with_max_entry_bytes(capacity, max_entry)))
            }
            Storage::Disk { path, capacity } => {
                let disk = open_disk(&path, capacity, max_entry);
                Ok(BoxManager::new(
                    disk.map_err(|error| format!("--storage disk:{path}: {error}"))?,
                ))
            }
            Storage::Tiered { path, capacity } => {
                let disk = open_disk(&path, capacity, max_entry);
                let disk = disk.map_err(|error| format!("--storage tiered:{path}: {error}"))?;
                Ok(BoxManager::new(larder::storage::Tiered::new(MemoryManager::new(MEMORY), disk)))
            }
        }
    }
}

#[cfg(feature = "disk")]
fn open_disk(
    path: &str,
    capacity: Option<u64>,
    max_entry: Option<u64>,
) -> Result<larder::DiskManager, larder::Error> {
    let mut options = larder::storage::DiskOptions::new();
    if let Some(capacity) = capacity {
        options = options.max_bytes(capacity);
    }
    if let Some(max_entry) = max_entry {
        options = options.max_entry_bytes(max_entry);
    }
    options.open(path)
}

#[cfg(not(feature = "disk"))]
fn open_disk(_: &str, _: Option<u64>, _: Option<u64>) -> Result<MemoryManager, &'static str> {
    Err("needs a build with --features disk")
}
