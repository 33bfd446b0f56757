use std::{fs, io, ops::ControlFlow};

use bytes::Bytes;

use super::{
    DiskHandle, Inner,
    entry::{self, Record},
    name::Name,
    pool::Need,
    store::Store,
};
use crate::{
    Error,
    policy::{CacheKey, VariantKey},
    storage::{Entry, Scanned, Visitor},
};

/// So many heads are read before others get the disk.
const AT_ONCE: usize = 16;

/// Shows what the files say, directory by directory: so it needs no index, and also sees what another
/// process has stored.
pub(super) async fn scan(
    inner: &Inner,
    visitor: &mut impl Visitor<DiskHandle>,
) -> Result<(), Error> {
    for directory in 0..=u8::MAX {
        let work = move |store: &Store| list(store, directory).map_err(Error::other);
        let names = inner.queue.run(Need::Required, move |store, _| work(store)).await?;
        for names in names.chunks(AT_ONCE).map(<[Name]>::to_vec) {
            let work = move |store: &Store| names.iter().filter_map(|n| show(store, *n)).collect();
            let found = inner.queue.run(Need::Required, move |store, _| Ok(work(store))).await?;
            if let ControlFlow::Break(()) = visitor.visit(found).await {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn list(store: &Store, directory: u8) -> io::Result<Vec<Name>> {
    let directory = format!("{directory:02x}");
    let mut names = Vec::new();
    match fs::read_dir(store.directory.files().join(&directory)) {
        Ok(files) => {
            for file in files {
                let name = file?.file_name();
                names.extend(name.to_str().and_then(|name| Name::parse(&directory, name)));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(names)
}

/// What a file holds, if it is a response that a look-up would find. What is damaged is for the
/// look-up to remove.
fn show(store: &Store, name: Name) -> Option<Scanned<DiskHandle>> {
    let (key, variant, record) = entry::scan(&store.directory.path(name)).ok()?;
    let Record::Response(response) = record else { return None };
    let key = CacheKey::from_bytes(Bytes::from(key))?;
    let variant = VariantKey::restored(variant);
    let resource = Name::resource(&key);
    if name != resource {
        let Ok(Some(Record::Index { index, .. })) = store.find(&key) else { return None };
        let is_current = index.generation() == response.generation
            && name == resource.response(response.generation, &variant);
        is_current.then_some(())?;
    }
    let entry: Entry<DiskHandle> = entry::entry(resource, &key, variant.clone(), *response);
    Some(Scanned::new(key, variant, entry))
}
