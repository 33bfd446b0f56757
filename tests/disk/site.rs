//! A site whose pages are stored by way of the public policy, and a directory to store them in.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

pub(crate) use crate::page::{Ask, collect, noise};
use crate::scratch::Scratch;

thread_local! {
    static KEPT: RefCell<Vec<Scratch>> = const { RefCell::new(Vec::new()) };
}

/// A directory that is not there yet, and goes with the thread of the test.
pub(crate) fn scratch() -> PathBuf {
    let scratch = Scratch::new();
    let path = scratch.path().to_owned();
    KEPT.with_borrow_mut(|kept| kept.push(scratch));
    path
}

impl Ask {
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.head.headers.append(name, value.parse().expect("a field value"));
        self
    }
}

/// Waits for what is done in the background.
#[track_caller]
pub(crate) fn eventually(is_done: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_done() {
        assert!(start.elapsed() < Duration::from_secs(30), "it never comes to that");
        thread::yield_now();
    }
}

/// All files below a directory.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
