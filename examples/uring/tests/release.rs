//! Dropping a backend releases its files at once. In a separate program, because a child process that
//! another test has just started would briefly have a copy of every file.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use selectors::{Interest, Selector};
use selectors_uring::Uring;

#[test]
fn dropping_a_backend_releases_its_files_at_once() -> io::Result<()> {
    for _ in 0..20 {
        let backend = match Uring::new() {
            Ok(backend) => backend,
            Err(error) => {
                return io::stderr().write_all(format!("not run: dropping: {error}\n").as_bytes());
            }
        };
        let (ours, mut theirs) = UnixStream::pair()?;
        theirs.set_nonblocking(true)?;
        let mut selector = Selector::with_backend(backend);
        selector.register(ours, Interest::READ, ())?;
        assert!(selector.select(Some(Duration::ZERO))?.is_empty());
        drop(selector);
        assert_eq!(theirs.read(&mut [0])?, 0, "an end-of-file");
    }
    Ok(())
}
