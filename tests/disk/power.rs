//! The power fails.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::Duration,
};

use larder::{
    CacheManager, DiskManager, Purge,
    storage::{DiskOptions, Durability, suite::block_on},
};

use crate::site::{Ask, noise, scratch};

/// A file system on a file, which can lose what was not synced.
struct Machine {
    image: PathBuf,
    mounted: PathBuf,
}

fn run(command: &str, arguments: &[&str]) -> Option<Output> {
    let output = Command::new(command).args(arguments).output().ok()?;
    output.status.success().then_some(output)
}

impl Machine {
    /// For who may mount one.
    fn new() -> Option<Self> {
        let directory = scratch();
        let machine = Self { image: directory.join("image"), mounted: directory.join("mounted") };
        fs::create_dir_all(&machine.mounted).ok()?;
        fs::File::create(&machine.image).ok()?.set_len(512 << 20).ok()?;
        run("mkfs.ext4", &["-q", "-F", machine.image.to_str()?])?;
        machine.mount().then_some(machine)
    }

    fn mount(&self) -> bool {
        let (image, mounted) = (self.image.to_str(), self.mounted.to_str());
        let arguments = ["-o", "loop", image.unwrap_or_default(), mounted.unwrap_or_default()];
        run("mount", &arguments).is_some()
    }

    /// Ends all at once; nothing that waits to be written is (EXT4_IOC_SHUTDOWN without a flush).
    fn fail(&self) -> bool {
        const PROGRAM: &str = "import fcntl, os, struct, sys\n\
            fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        run("python3", &["-c", PROGRAM, self.mounted.to_str().unwrap_or_default()]).is_some()
    }

    fn restart(&self) {
        self.unmount();
        assert!(self.mount(), "it starts again");
    }

    fn unmount(&self) {
        // A thread that ends may still have a file open.
        for _ in 0..1000 {
            if run("umount", &[self.mounted.to_str().unwrap_or_default()]).is_some() {
                return;
            }
            thread::yield_now();
        }
        run("umount", &["-l", self.mounted.to_str().unwrap_or_default()]);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.unmount();
    }
}

fn body(n: u64) -> Vec<u8> {
    noise(n, [100, 6_000, 90_000][(n % 3) as usize])
}

/// What became of responses that were stored.
#[derive(Debug, Default)]
struct Count {
    found: u64,
    damaged: u64,
    lost: u64,
}

/// Fills a store, has it synced, fills it on, and lets the power fail: what became of either part.
fn round(machine: &Machine, durability: Durability) -> [Count; 2] {
    const EACH: u64 = 300;
    let path = machine.mounted.join("store");
    let open = |path: &Path| DiskOptions::new().durability(durability).open(path).unwrap();
    let ask = |n: u64| Ask::new(&format!("/{n}"));
    let url = |n: u64| format!("http://a.example/{n}");
    let is_purged = |n: u64| n % 10 == 3;
    let is_deleted = |n: u64| n % 10 == 7;
    let store = open(&path);
    let put = async |store: &DiskManager, part: std::ops::Range<u64>| {
        for n in part.clone() {
            ask(n).put(store, &[], body(n)).await.unwrap();
        }
        for n in part.clone().filter(|n| is_purged(*n)) {
            store.purge_log().append(Purge::url(&url(n)).unwrap());
        }
        store.purge_log().sync().await.unwrap();
        for n in part.filter(|n| is_deleted(*n)) {
            store.delete(ask(n).lookup().key()).await.unwrap();
        }
    };
    block_on(put(&store, 0..EACH));
    block_on(store.sync()).unwrap();
    block_on(put(&store, EACH..2 * EACH));
    assert!(machine.fail(), "the power can fail");
    drop(store);
    machine.restart();

    let store = open(&path);
    let purges = fs::read(path.join("purges")).unwrap();
    let [mut early, mut late] = [Count::default(), Count::default()];
    for n in 0..2 * EACH {
        let count = if n < EACH { &mut early } else { &mut late };
        if is_purged(n) {
            // The layer asks the log: it has come back whole, or all has gone.
            let url = url(n);
            let is_kept = purges.windows(url.len()).any(|part| part == url.as_bytes());
            assert!(is_kept, "the purge of {n} is lost");
            continue;
        }
        let found = block_on(ask(n).body(&store));
        if is_deleted(n) {
            let lasts = match durability {
                Durability::Relaxed => false,
                Durability::Periodic(_) => n < EACH,
                Durability::Strict => true,
            };
            assert!(found.is_none() || !lasts, "{durability:?}: {n} is back");
            continue;
        }
        match found {
            Some(Ok(found)) => {
                assert!(found == body(n), "{durability:?}: wrong bytes of {n}");
                count.found += 1;
            }
            Some(Err(_)) => count.damaged += 1,
            None => count.lost += 1,
        }
    }
    // It goes on.
    block_on(async {
        ask(0).put(&store, &[], "again").await.unwrap();
        assert_eq!(ask(0).body(&store).await.unwrap().unwrap(), "again");
    });
    drop(store);
    fs::remove_dir_all(&path).unwrap();
    [early, late]
}

/// Power lost, also right after a returned purge. Never wrong bytes, no purge is lost;
/// `Strict` loses nothing, `Periodic` nothing that was synced. `LARDER_POWER=10` for more rounds.
#[test]
fn a_power_failure_loses_what_was_not_asked_for() {
    let rounds = env::var("LARDER_POWER").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let Some(machine) = Machine::new() else {
        eprintln!("SKIPPED, no file system could be mounted");
        return;
    };
    for _ in 0..rounds {
        let [early, late] = round(&machine, Durability::Strict);
        assert_eq!((early.damaged + early.lost, late.damaged + late.lost), (0, 0));
        // Not by itself before the test is over.
        let [early, late] = round(&machine, Durability::Periodic(Duration::from_secs(3600)));
        println!("Periodic: {early:?}, then {late:?}");
        assert_eq!(early.damaged + early.lost, 0, "{early:?}");
        let [early, late] = round(&machine, Durability::Relaxed);
        println!("Relaxed: {early:?}, then {late:?}");
    }
}
