//! A file whose lock says that its holder is migrating the database beside it.
//!
//! SQLite's own lock does not tell a migrator from any other writer, and a file that must run
//! outside a transaction cannot hold it. The system frees the lock of a process that is killed.

use std::{
    fs::{File, TryLockError, remove_file},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process,
};

/// The lock; freed, and its file removed, when it is dropped.
pub(crate) struct LockFile {
    path: PathBuf,
    // Dropped after the file is removed.
    _file: File,
}

impl LockFile {
    /// `None` if another has it.
    pub(crate) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let mut file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Whoever had it may have removed it after it was opened here: then the next to come
            // makes another, and has the lock of that one.
            if is_at(&file, path) {
                // For who asks; what cannot be written is not told.
                let _ = file
                    .set_len(0)
                    .and_then(|()| write!(file, "{}", process::id()));
                return Ok(Some(Self {
                    path: path.to_owned(),
                    _file: file,
                }));
            }
        }
    }
}

impl LockFile {
    /// Who has it, in words; `None` if nobody does, or that cannot be seen.
    ///
    /// For the moment of the look it cannot be taken, which whoever tries does again.
    pub(crate) fn holder(path: &Path) -> Option<String> {
        let mut file = File::open(path).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => {}
            _ => return None,
        }
        let mut id = String::new();
        let _ = file.read_to_string(&mut id);
        Some(match id.is_empty() {
            true => "another process".to_owned(),
            false => format!("process {id}"),
        })
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        let _ = remove_file(&self.path);
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    match (file.metadata(), path.metadata()) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// A file that is open cannot be removed.
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db-migrate");
        let first = LockFile::try_take(&path).unwrap();
        assert!(first.is_some());
        assert!(LockFile::try_take(&path).unwrap().is_none());
        drop(first);
        assert!(!path.exists());
        assert!(LockFile::try_take(&path).unwrap().is_some());
    }

    #[test]
    fn who_has_it_can_be_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db-migrate");
        assert_eq!(LockFile::holder(&path), None);
        assert!(!path.exists(), "to ask leaves nothing");
        let lock = LockFile::try_take(&path).unwrap();
        let holder = format!("process {}", process::id());
        assert_eq!(LockFile::holder(&path), Some(holder));
        drop(lock);
        // As one that is killed leaves it.
        std::fs::write(&path, "7").unwrap();
        assert_eq!(LockFile::holder(&path), None);
    }

    #[test]
    fn no_two_have_it_while_it_is_removed_and_made_again() {
        use std::{
            sync::atomic::{AtomicU32, Ordering},
            thread,
        };

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db-migrate");
        let holders = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut taken = 0;
                    while taken < 200 {
                        if let Some(lock) = LockFile::try_take(&path).unwrap() {
                            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                            holders.fetch_sub(1, Ordering::SeqCst);
                            taken += 1;
                            drop(lock);
                        }
                    }
                });
            }
        });
    }
}
