//! Reading what the system has in memory, and never waiting for the disk: then a hit needs no other
//! thread. Where the system cannot do that, nothing is ever in memory.

use std::{fs::File, io, path::Path};

#[cfg(target_os = "linux")]
pub(super) fn open(path: &Path) -> io::Result<File> {
    use rustix::{
        fs::{CWD, Mode, OFlags, ResolveFlags, openat2},
        io::Errno,
    };

    let open = |flags| openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    // That it was read need not be written down; only the file's owner may ask for that.
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => Ok(open(flags)?.into()),
        opened => Ok(opened?.into()),
    }
}

/// A line of the processor's caches.
pub(super) const LINE: usize = 64;

/// How many of the first bytes of `memory` to skip, less than a [`LINE`], for what lies in a file at
/// `at` to lie as it does in the system's pages. It is copied faster so; and behind its place in a
/// page, by less than a line, a fifth slower, since each load then looks like the store before it.
pub(super) fn line_up(memory: &[u8], at: u64) -> usize {
    (at as usize).wrapping_sub(memory.as_ptr() as usize) % LINE
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

    thread_local!(static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; MOST + LINE].into()));
    // There is none where a thread ends.
    let begun = BUFFER.try_with(|buffer| {
        let mut buffer = buffer.borrow_mut();
        let skipped = line_up(&buffer, 0);
        let buffer = &mut buffer[skipped..skipped + first];
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_lines_up_with_the_file() {
        let memory = [0; 8 * LINE];
        for (begin, at) in [(0, 0), (1, 0), (16, 1372), (63, 1372), (40, 4095), (0, u64::MAX)] {
            let memory = &memory[begin..];
            let skipped = line_up(memory, at);
            assert!(skipped < LINE);
            assert_eq!(memory[skipped..].as_ptr() as usize % LINE, at as usize % LINE);
        }
    }
}
