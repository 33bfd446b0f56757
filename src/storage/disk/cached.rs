//! Reading what the system has in memory, and never waiting for the disk: then a hit needs no other
//! thread. Where the system cannot do that, nothing is ever in memory.

use std::{fs::File, io, path::Path};

#[cfg(target_os = "linux")]
pub(super) fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED)?.into())
}

/// Gives the first bytes to `take`, and whether that is all that can be read: who does not know the
/// length need not ask for it.
#[cfg(target_os = "linux")]
pub(super) fn begin<T>(
    file: &File,
    take: impl FnOnce(&[u8], bool) -> io::Result<T>,
) -> io::Result<T> {
    use std::cell::RefCell;

    /// Most pages are smaller.
    const SIZE: usize = 16 << 10;
    thread_local!(static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SIZE].into()));
    // There is none where a thread ends.
    let begun = BUFFER.try_with(|buffer| {
        let mut buffer = buffer.borrow_mut();
        let read = read_at(file, &mut buffer, 0)?;
        take(&buffer[..read], read < SIZE)
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
pub(super) fn begin<T>(_: &File, _: impl FnOnce(&[u8], bool) -> io::Result<T>) -> io::Result<T> {
    Err(io::ErrorKind::WouldBlock.into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn read_exact_at(_: &File, _: &mut [u8], _: u64) -> io::Result<()> {
    Err(io::ErrorKind::WouldBlock.into())
}
