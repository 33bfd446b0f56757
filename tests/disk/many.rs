//! What a million files cost.

use std::{
    env, fs,
    path::Path,
    time::{Duration, Instant},
};

use larder::storage::{DiskManager, DiskOptions, suite::block_on};

use crate::{
    processes::{is_child, lines, start},
    site::{Ask, eventually, scratch},
};

/// The memory of this process, in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    number.unwrap_or_default() << 10
}

fn open(path: &Path) -> DiskManager {
    DiskOptions::new().max_entries(u64::MAX).open(path).expect("the store opens")
}

/// Opens a store, and says in nanoseconds when it has served and when it knew all, and what memory
/// it took.
fn measure(path: &Path, entries: u64) {
    let (before, start) = (resident(), Instant::now());
    let store = open(path);
    assert_eq!(block_on(Ask::new("/").body(&store)).expect("it is there").expect("bytes"), "hello");
    let served = start.elapsed();
    eventually(|| store.len() == entries);
    let known = start.elapsed();
    println!("> {} {} {}", served.as_nanos(), known.as_nanos(), resident() - before);
}

/// What is known of a file takes at most 150 bytes of memory, and a start does not wait for
/// it. `LARDER_INDEX=1000000` for more files.
#[test]
fn a_known_file_takes_little_memory() {
    let entries = env::var("LARDER_INDEX").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    if let Some((_, path)) = is_child() {
        return measure(&path, entries);
    }
    let path = scratch();
    block_on(Ask::new("/").put(&open(&path), &[], "hello")).expect("put");
    fs::remove_file(path.join("catalog")).expect("a catalog");
    let files = path.join("files");
    // Nobody asks for them: for what is known, empty files are as good as any.
    for n in 1..entries {
        let name = format!("{:016x}{n:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (directory, file) = name.split_at(2);
        let place = files.join(directory);
        if n < 2000 {
            fs::create_dir_all(&place).expect("a directory");
        }
        fs::File::create(place.join(file)).expect("a file");
    }
    let test = "many::a_known_file_takes_little_memory";
    for catalog in ["without", "with"] {
        assert_eq!(path.join("catalog").exists(), catalog == "with");
        let said = lines(start(test, "0", &path));
        let numbers: Vec<u64> =
            said[0].split(' ').map(|number| number.parse().expect("a number")).collect();
        let [served, known, memory] = numbers[..] else { panic!("three numbers: {said:?}") };
        let (served, known) = (Duration::from_nanos(served), Duration::from_nanos(known));
        let each = memory / entries;
        // A store has threads and buffers, too, however few files there are.
        let fixed = 8 << 20;
        println!(
            "{catalog} catalog: served after {served:?}, all known after {known:?}, {each} bytes each"
        );
        assert!(memory <= 150 * entries + fixed, "{each} bytes each {catalog} catalog");
        assert!(memory > 0 || !Path::new("/proc/self/status").exists());
    }
    let store = open(&path);
    eventually(|| store.len() == entries);
}
