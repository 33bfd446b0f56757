//! Reading what the system has in memory, and never waiting for the disk: then a hit needs no other
//! thread. Where the system cannot do that, nothing is ever in memory.

use std::{fs::File, io, path::Path};

#[cfg(target_os = "linux")]
pub(super) fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED)?.into())
}

/// So much is read at once where the length is not known. Most pages are smaller.
pub(super) const MOST: usize = 16 << 10;

/// Gives `take` the first bytes of a file, at most `first` of them and [`MOST`], and whether that is
/// all that can be read: who does not know the length need not ask for it.
#[cfg(target_os = "linux")]
pub(super) fn begin<T, E: From<io::Error>>(
    file: File,
    first: usize,
    take: impl FnOnce(File, &[u8], bool) -> Result<T, E>,
) -> Result<T, E> {
    use std::cell::RefCell;

    thread_local!(static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; MOST].into()));
    // There is none where a thread ends.
    let begun = BUFFER.try_with(|buffer| {
        let mut buffer = buffer.borrow_mut();
        let buffer = &mut buffer[..first];
        let read = read_at(&file, buffer, 0)?;
        take(file, &buffer[..read], read < first)
    });
    begun.map_err(io::Error::other)?
}

#[cfg(target_os = "linux")]
pub(super) fn read_exact_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    // The rest is on the disk, or the file ends: who waits will see.
    if read_at(file, bytes, at)? == bytes.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

#[cfg(target_os = "linux")]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    use rustix::io::{ReadWriteFlags, preadv2};

    Ok(preadv2(file, &mut [io::IoSliceMut::new(bytes)], at, ReadWriteFlags::NOWAIT)?)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn open(_: &Path) -> io::Result<File> {
    Err(io::ErrorKind::WouldBlock.into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn begin<T, E: From<io::Error>>(
    _: File,
    _: usize,
    _: impl FnOnce(File, &[u8], bool) -> Result<T, E>,
) -> Result<T, E> {
    Err(io::Error::from(io::ErrorKind::WouldBlock).into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn read_exact_at(_: &File, _: &mut [u8], _: u64) -> io::Result<()> {
    Err(io::ErrorKind::WouldBlock.into())
}
