//! Where the proxy keeps responses: `memory[:BYTES]` or `disk:PATH[:BYTES]`.

use larder::{BoxManager, MemoryManager};

use super::args;

/// A store that was chosen on the command line.
#[derive(Clone)]
pub enum Storage {
    Memory { capacity: u64 },
    Disk { path: String, capacity: Option<u64> },
}

pub fn read(text: &str) -> Option<Storage> {
    match text.split_once(':') {
        None if text == "memory" => Some(Storage::Memory { capacity: 256 << 20 }),
        Some(("memory", capacity)) => Some(Storage::Memory { capacity: args::bytes(capacity)? }),
        Some(("disk", path)) if !path.is_empty() => {
            let sized =
                path.rsplit_once(':').and_then(|(path, bytes)| Some((path, args::bytes(bytes)?)));
            Some(match sized {
                Some((path, bytes)) => {
                    Storage::Disk { path: path.to_owned(), capacity: Some(bytes) }
                }
                None => Storage::Disk { path: path.to_owned(), capacity: None },
            })
        }
        _ => None,
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
            #[cfg(feature = "disk")]
            Storage::Disk { path, capacity } => {
                let mut options = larder::storage::DiskOptions::new();
                if let Some(capacity) = capacity {
                    options = options.max_bytes(capacity);
                }
                if let Some(max_entry) = max_entry {
                    options = options.max_entry_bytes(max_entry);
                }
                let opened = options.open(&path);
                opened
                    .map(BoxManager::new)
                    .map_err(|error| format!("--storage disk:{path}: {error}"))
            }
            #[cfg(not(feature = "disk"))]
            Storage::Disk { path, capacity } => {
                let _ = capacity;
                Err(format!("--storage disk:{path} needs a build with --features disk"))
            }
        }
    }
}
