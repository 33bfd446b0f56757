use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use larder::{CacheManager, DiskManager, storage::suite::block_on};

use crate::site::{Ask, noise, scratch};

const CHILD: &str = "LARDER_DISK_CHILD";
const PAGES: u64 = 40;

fn body(page: u64, version: u64) -> Vec<u8> {
    let length = [10, 3_000, 40_000, 400_000][(page % 4) as usize];
    noise(page << 32 | version, length)
}

fn ask(page: u64) -> Ask {
    Ask::new(&format!("/{}", page / 2))
        .with("accept-language", if page.is_multiple_of(2) { "en" } else { "de" })
}

/// Writes pages until it is killed, and says what it has written.
fn write_on(path: &Path, start: u64) {
    let store = DiskManager::open(path).expect("the store opens");
    block_on(async {
        for n in start.. {
            let page = n.wrapping_mul(7) % PAGES;
            let version = n.to_string();
            let vary: &[(&'static str, &str)] = &[
                ("x-version", &version),
                ("vary", if page % 8 < 4 { "accept-language" } else { "" }),
            ];
            ask(page).put(&store, vary, body(page, n)).await.expect("put");
            println!("{page} {n}");
            match n % 11 {
                3 => {
                    let entry = ask(page).find(&store).await.expect("what was put");
                    let head = ask(page).place(&store, vary).1;
                    assert!(store.update(&entry, head).await.expect("update"));
                }
                7 => {
                    println!("- {page}");
                    store.delete(ask(page).lookup().key()).await.expect("delete");
                }
                _ => {}
            }
        }
    });
}

/// A process that is killed while it writes leaves what it has put, whole, and nothing else.
/// `LARDER_KILLS=200` for more rounds.
#[test]
fn kill_9_leaves_whole_responses() {
    if let Ok(child) = env::var(CHILD) {
        let (start, path) = child.split_once(' ').expect("a number and a path");
        return write_on(Path::new(path), start.parse().expect("a number"));
    }
    let rounds: u64 = env::var("LARDER_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let path = scratch();
    let mut newest: Vec<Option<u64>> = vec![None; PAGES as usize];
    let mut present = 0;
    for round in 0..rounds {
        let start = (round + 1) * 1_000_000;
        let mut child = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", "killed::kill_9_leaves_whole_responses", "--nocapture"])
            .env(CHILD, format!("{start} {}", path.display()))
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs itself");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut note = |line: String| {
            let (page, n) = match line.split_once(' ') {
                Some(("-", page)) => (page, None),
                Some((page, n)) => (page, n.parse().ok()),
                None => return false,
            };
            let Ok(page) = page.parse::<u64>() else { return false };
            if n.is_some() {
                newest[page as usize] = n;
            } else {
                // Both are of one resource.
                newest[(page ^ 1) as usize] = None;
                newest[page as usize] = None;
            }
            true
        };
        let mut wanted = 50 + (round * 37) % 150;
        while wanted > 0 {
            let line = lines.next().expect("the child writes").expect("a line");
            wanted -= u64::from(note(line));
        }
        child.kill().expect("it can be killed");
        for line in lines.map_while(Result::ok) {
            note(line);
        }
        child.wait().expect("it ends");

        let before = Instant::now();
        let store = DiskManager::open(&path).expect("the store opens again");
        // A stalled disk is no failure of ours, but where the figures are asked for.
        let limit = if std::env::var_os("LARDER_KILLS").is_some() { 1 } else { 30 };
        assert!(before.elapsed().as_secs() < limit);
        block_on(async {
            for page in 0..PAGES {
                let entry = ask(page).find(&store).await;
                let version = entry.as_ref().map(|entry| {
                    let text = &entry.response().head().headers()["x-version"];
                    text.to_str().expect("text").parse::<u64>().expect("a number")
                });
                if let (Some(entry), Some(version)) = (&entry, version) {
                    present += 1;
                    let read = store.read(entry, 0..entry.response().length());
                    let bytes = crate::site::collect(read).await.expect("a whole body");
                    let is = |page| bytes == body(page, version);
                    assert!(is(page) || is(page ^ 1), "round {round}: wrong bytes of {page}");
                    assert!(is(page) || page % 8 >= 4, "another variant");
                }
                // The sibling without `Vary` may have replaced it, or the kill come between.
                if page % 8 < 4
                    && let Some(n) = newest[page as usize]
                {
                    assert!(version >= Some(n), "round {round}: {page} has {version:?}, not {n}");
                }
            }
        });
        assert_eq!(store.damaged(), 0, "a kill damages nothing");
    }
    assert!(present > rounds * PAGES / 4, "{present} responses were found");
    fs::remove_dir_all(&path).expect("the directory is there");
}

/// Whoever has a directory loses it with its life.
#[test]
fn the_lock_ends_with_the_process() {
    let path = scratch();
    drop(DiskManager::open(&path).expect("the store opens"));
    DiskManager::open(&path).expect("the store opens again");
}
