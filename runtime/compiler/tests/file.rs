//! Only regular files up to a limit are read, and nothing blocks.

use energy_kernel_compiler::file::{FileError, open, read, read_text};
use std::fs::{self, File};
use std::path::Path;

#[test]
fn a_regular_file_is_read_up_to_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for text in ["", "four"] {
        fs::write(&path, text).unwrap();
        assert_eq!(read(&path, 4).unwrap(), text.as_bytes());
        assert_eq!(read_text(&path, 4).unwrap(), text);
    }
    assert!(matches!(read(&path, 3), Err(FileError::TooLong { limit: 3 })));
    fs::write(&path, [0xff]).unwrap();
    assert!(matches!(read_text(&path, 4), Err(FileError::Io(_))));
    let absent = read(&folder.path().join("absent"), 4);
    assert!(matches!(absent, Err(FileError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound));
}

/// A sparse file of 2 TB is refused by its length, before anything is read or allocated.
#[test]
fn a_huge_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge");
    if File::create(&path).unwrap().set_len(2 << 40).is_err() {
        eprintln!("left out: this file system has no files of 2 TB");
        return;
    }
    let refused = read(&path, 1 << 20).unwrap_err();
    assert_eq!(refused.to_string(), "it is longer than 1 MiB");
    assert!(matches!(refused, FileError::TooLong { .. }));
}

#[test]
fn folders_are_no_files() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(read(folder.path(), 4), Err(FileError::NotRegular)));
    let created = open(folder.path(), File::options().append(true).create(true));
    assert!(matches!(created, Err(FileError::NotRegular)));
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A pipe in a folder. Its other end is never opened.
    fn pipe(at: &Path) {
        assert!(std::process::Command::new("mkfifo").arg(at).status().unwrap().success());
    }

    #[test]
    fn pipes_and_devices_are_refused_whatever_they_are_opened_for() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        pipe(&fifo);
        let linked = folder.path().join("linked");
        symlink(&fifo, &linked).unwrap();
        let paths: [&Path; 4] = [&fifo, &linked, Path::new("/dev/zero"), Path::new("/dev/tty")];
        for path in paths {
            assert!(matches!(read(path, 4), Err(FileError::NotRegular)), "{path:?}");
            for options in [
                File::options().write(true).create(true),
                File::options().append(true).create(true),
                File::options().read(true).write(true),
            ] {
                let opened = open(path, options);
                assert!(opened.is_err(), "{path:?}");
            }
        }
    }

    #[test]
    fn a_link_to_a_file_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&path, "text").unwrap();
        symlink(&path, &link).unwrap();
        assert_eq!(read_text(&link, 4).unwrap(), "text");
        symlink("circle", folder.path().join("circle")).unwrap();
        assert!(matches!(read(&folder.path().join("circle"), 4), Err(FileError::Io(_))));
    }

    /// A pipe that replaces a file between the check and the opening is detected after opening.
    #[test]
    fn a_pipe_that_takes_a_files_place_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (path, fifo, file) = (
            folder.path().join("path"),
            folder.path().join("fifo"),
            folder.path().join("file"),
        );
        pipe(&fifo);
        fs::write(&file, "text").unwrap();
        fs::hard_link(&file, &path).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let other = folder.path().join("other");
                for to in [&fifo, &file].into_iter().cycle() {
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                    fs::hard_link(to, &other).unwrap();
                    fs::rename(&other, &path).unwrap();
                    // Two names of one file: renaming does nothing then.
                    let _ = fs::remove_file(&other);
                }
            });
            for _ in 0..2000 {
                match read_text(&path, 4) {
                    Ok(text) => assert_eq!(text, "text"),
                    Err(error) => assert!(matches!(error, FileError::NotRegular), "{error}"),
                }
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }
}
