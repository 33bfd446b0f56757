use larder::{CacheManager, DiskManager, storage::suite::block_on};

use crate::site::{Ask, eventually, files, noise, scratch};

/// A file is made ahead only where responses are written, one at a time, and nothing of it stays.
#[test]
fn a_file_that_was_made_ahead_is_not_left() {
    let path = scratch();
    let store = DiskManager::open(&path).unwrap();
    let ahead = || files(&path.join("tmp")).len();
    let ask = Ask::new("/");
    block_on(async {
        assert!(ask.find(&store).await.is_none());
        store.sync().await.unwrap();
        assert_eq!(ahead(), 0, "nobody writes");
        for n in 0..20 {
            ask.put(&store, &[], noise(n, 100 << (n % 13))).await.unwrap();
        }
        assert_eq!(ask.body(&store).await.unwrap().unwrap().len(), 100 << (19 % 13));
    });
    eventually(|| ahead() == 1);
    drop(store);
    assert_eq!((ahead(), files(&path.join("files")).len()), (0, 1));
}
