//! Where the proxy keeps responses: `memory[:BYTES]`, `disk:PATH[:BYTES]`, `tiered:PATH[:BYTES]`,
//! `redis:URL` or `tiered+redis:URL`.

use std::path::PathBuf;

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
    Redis {
        url: String,
        /// Memory before it.
        is_tiered: bool,
    },
}

/// What is told about a store beside where it is.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The largest body.
    pub max_entry: Option<u64>,
    /// A file with the secret that the nodes share.
    pub secret: Option<PathBuf>,
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
        Some(("redis", place)) if !place.is_empty() => {
            Some(Storage::Redis { url: url(place), is_tiered: false })
        }
        Some(("tiered+redis", place)) if !place.is_empty() => {
            Some(Storage::Redis { url: url(place), is_tiered: true })
        }
        _ => None,
    }
}

/// `redis:redis://HOST` and `redis://HOST` mean the same.
fn url(place: &str) -> String {
    if place.starts_with("//") { format!("redis:{place}") } else { place.to_owned() }
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
    /// Opens it, or says in a sentence why not.
    pub fn open(self, settings: Settings) -> Result<BoxManager, String> {
        let Settings { max_entry, secret } = settings;
        if secret.is_some() && !matches!(self, Storage::Redis { .. }) {
            return Err("--secret-file is for a store in Redis".to_owned());
        }
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
            Storage::Redis { url, is_tiered } => {
                let redis = open_redis(&url, max_entry, secret)
                    .map_err(|error| format!("--storage redis:{url}: {error}"))?;
                if !is_tiered {
                    return Ok(BoxManager::new(redis));
                }
                Ok(BoxManager::new(larder::storage::Tiered::new(MemoryManager::new(MEMORY), redis)))
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

/// It need not be there yet: what is the matter with it is said when that is known.
#[cfg(feature = "redis")]
fn open_redis(
    url: &str,
    max_entry: Option<u64>,
    secret: Option<PathBuf>,
) -> Result<larder::RedisManager, String> {
    let mut options = larder::storage::RedisOptions::new();
    if let Some(max_entry) = max_entry {
        options = options.max_entry_bytes(max_entry);
    }
    if let Some(path) = secret {
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let Some(secret) = bytes.first_chunk() else {
            return Err(format!("{} has fewer than 32 bytes", path.display()));
        };
        options = options.secret(larder::policy::Secret::from_bytes(*secret));
    }
    let redis = options.open(url).map_err(|error| error.to_string())?;
    let store = redis.clone();
    tokio::spawn(async move {
        if let Err(error) = store.ready().await {
            eprintln!("Redis cannot be used, and is tried again: {}", args::chain(&error));
        }
    });
    Ok(redis)
}

#[cfg(not(feature = "redis"))]
fn open_redis(_: &str, _: Option<u64>, _: Option<PathBuf>) -> Result<MemoryManager, &'static str> {
    Err("needs a build with --features redis")
}
