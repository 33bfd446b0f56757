use std::{env, fs, path::Path, process::Command};

use larder::{
    CacheManager, DiskManager,
    storage::{DiskOptions, suite::block_on},
};

use crate::site::{Ask, collect, files, noise, scratch};

const CHILD: &str = "LARDER_READS_CHILD";
const HITS: u64 = 64;
const BODY: usize = 5000;

/// Bytes that this process has asked the system to read.
pub(crate) fn read_so_far() -> Option<u64> {
    let io = fs::read_to_string("/proc/self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("rchar: "))?.trim().parse().ok()
}

/// Bytes that `read` has the process read, but for those that tell.
fn counted(read: impl FnOnce()) -> Option<u64> {
    let start = read_so_far()?;
    let before = read_so_far()?;
    read();
    (read_so_far()? - before).checked_sub(before - start)
}

fn speaker(n: u64) -> Ask {
    Ask::new("/page").with("accept-language", &format!("x-{n:05}"))
}

/// Scenario 4.2: a hit reads the index, and head and body of one variant, however many there are.
#[test]
fn a_hit_reads_one_variant() {
    // A process of its own, so that all that is read is counted, and nothing else.
    if let Ok(path) = env::var(CHILD) {
        return count_hits(Path::new(&path));
    }
    let status = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "reads::a_hit_reads_one_variant", "--nocapture"])
        .env(CHILD, scratch())
        .status()
        .expect("it runs itself");
    assert!(status.success());
}

fn count_hits(path: &Path) {
    let fields = [("vary", "accept-language")];
    let store = DiskOptions::new().max_bytes(4 << 30).open(path).unwrap();
    let mut stored = 0;
    let mut seen = Vec::new();
    for count in [1, 100, 10_000] {
        block_on(async {
            for n in stored..count {
                speaker(n).put(&store, &fields, noise(n, BODY)).await.unwrap();
            }
        });
        stored = count;
        let mut lengths: Vec<u64> = files(&path.join("files"))
            .iter()
            .map(|file| fs::metadata(file).unwrap().len())
            .collect();
        lengths.sort_unstable();
        assert_eq!(lengths.len() as u64, count + 1, "an index, and a file for each variant");
        let one_variant = lengths[0] + lengths[count as usize];
        assert!(one_variant < BODY as u64 + 3000, "{one_variant}");
        for variant in [0, count / 2, count - 1] {
            let ask = speaker(variant);
            let hit = async || {
                let entry = ask.find(&store).await.unwrap();
                let body = store.read(&entry, 0..entry.response().length());
                assert_eq!(collect(body).await.unwrap(), noise(variant, BODY));
            };
            let Some(read) = counted(|| {
                block_on(async {
                    for _ in 0..HITS {
                        hit().await;
                    }
                })
            }) else {
                return println!("this system does not count what is read");
            };
            assert!(read <= HITS * one_variant + 64, "{} of {one_variant}", read / HITS);
            assert!(read >= HITS * BODY as u64, "{} is less than a body", read / HITS);
            seen.push(read / HITS);
            println!("{count} variants: {} bytes of {one_variant} a hit", read / HITS);
        }
    }
    // An index knows up to four keys of variants, and no more however many there are.
    let (first, more) = seen.split_at(3);
    let (least, most) = (more.iter().min().unwrap(), more.iter().max().unwrap());
    assert!(most - least <= 2, "it does not grow: {seen:?}");
    assert!(most - first.iter().min().unwrap() <= 4 * 200, "four keys: {seen:?}");
}

/// A hit does not ask for the length of a small file: one that is as long as what is read at first,
/// or a little more or less, is found whole, and as damaged where it was cut.
#[test]
fn a_file_of_any_length_is_read_to_its_end() {
    let path = scratch();
    let store = DiskManager::open(&path).unwrap();
    let put = |name: usize, length: usize| {
        let ask = Ask::new(&format!("/{name:05}"));
        block_on(ask.put(&store, &[], noise(name as u64, length))).unwrap();
        let lengths = files(&path.join("files")).into_iter().map(|file| {
            let length = fs::metadata(&file).unwrap().len() as usize;
            (file, length)
        });
        (ask, lengths.collect::<Vec<_>>())
    };
    // What needs the disk after all is found by another thread, and costs that much more.
    let is_found_at_once = |ask: &Ask| {
        let find = || store.get_now(&ask.lookup().wanted(&ask.head.headers, store.secret()));
        (0..20).any(|_| find().is_some())
    };
    let (small, lengths) = put(0, 1);
    let around = lengths[0].1 - 1;
    // Not each system can.
    let is_at_once = is_found_at_once(&small);
    for edge in [16 << 10, 32 << 10, 64 << 10] {
        for length in edge - 2..=edge + 2 {
            let body = length - around;
            let (ask, lengths) = put(length, body);
            assert_eq!(is_found_at_once(&ask), is_at_once, "{length}");
            let read = || block_on(ask.body(&store));
            assert_eq!(read().unwrap().unwrap(), noise(length as u64, body), "{length}");
            let (file, _) = lengths.into_iter().find(|(_, found)| *found == length).unwrap();
            let cut = edge.min(length - 1) as u64;
            fs::File::options().write(true).open(&file).unwrap().set_len(cut).unwrap();
            assert!(read().is_none(), "{length} cut at {cut}");
            assert!(!file.exists(), "what is damaged goes");
        }
    }
}
