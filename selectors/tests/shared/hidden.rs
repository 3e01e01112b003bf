//! Descriptors that a selector keeps to itself.

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;

use selectors::{BackendKind, Interest, Mode, SharedSelector};

use super::{LONG, NOW, tokens};

fn open_numbers() -> Vec<RawFd> {
    let open = |number: &RawFd| {
        // SAFETY: nothing is done with it but to ask whether it is open.
        let number = unsafe { BorrowedFd::borrow_raw(*number) };
        nix::fcntl::fcntl(number, nix::fcntl::FcntlArg::F_GETFD).is_ok()
    };
    (0..256).filter(open).collect()
}

/// Whoever registers numbers that are not theirs is refused, and does no harm.
#[test]
fn descriptors_that_it_keeps_to_itself_are_refused() {
    // In a process of its own: other tests open descriptors, too.
    let name = "hidden::descriptors_that_it_keeps_to_itself_are_refused";
    if std::env::var_os("SELECTORS_ALONE").is_none() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        let command = command.args(["--exact", name]).env("SELECTORS_ALONE", "1");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    for kind in BackendKind::available() {
        let before = open_numbers();
        let mut selector: SharedSelector<u32> = SharedSelector::of_kind(kind).unwrap();
        let registrar = selector.registrar();
        // The backend's beacon comes with the first such file.
        let file = File::open("/dev/null").unwrap();
        let number = file.as_raw_fd();
        let file = registrar.register_with(file, Interest::READ, 1, Mode::OneShot).unwrap();
        let own = open_numbers();
        let own = own.into_iter().filter(|fd| !before.contains(fd) && *fd != number);
        let mut refused = 0;
        for fd in own {
            // SAFETY: nothing is done with it but to register it, which is refused.
            let own = unsafe { BorrowedFd::borrow_raw(fd) };
            for interest in [Interest::READ, Interest::empty()] {
                match registrar.register(own, interest, 2) {
                    Ok(source) => {
                        // Parked, which nobody needs to ask the backend about.
                        assert!(interest.is_empty(), "{kind}: descriptor {fd} is not refused");
                        assert!(source.modify(Interest::READ).is_err(), "{kind}: {fd}");
                    }
                    Err(error) => drop(error),
                }
                refused += 1;
            }
        }
        assert!(refused >= 2, "{kind} has descriptors");
        assert_eq!(tokens(&selector.select(LONG).unwrap()), [file.token()], "{kind}: the file");
        file.modify(Interest::WRITE).unwrap();
        assert_eq!(tokens(&selector.select(LONG).unwrap()), [file.token()], "{kind}: the file");
        selector.waker().wake().unwrap();
        assert!(selector.select(LONG).unwrap().woken(), "{kind}: the waker");
        drop(file);

        // Closed while registered: its number becomes the beacon's, or nobody's.
        let mut selector: SharedSelector<u32> = SharedSelector::of_kind(kind).unwrap();
        let registrar = selector.registrar();
        let file = File::open("/dev/null").unwrap();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        // SAFETY: it is closed below, and not used by this name afterwards.
        let number = unsafe { BorrowedFd::borrow_raw(ours.as_raw_fd()) };
        let closed = registrar.register(number, Interest::READ, 2).unwrap();
        drop(ours);
        let file = registrar.register(file, Interest::READ, 1).unwrap();
        let _ = closed.modify(Interest::READ | Interest::WRITE);
        drop(closed);
        for _ in 0..3 {
            let events = selector.select(LONG).unwrap();
            assert!(tokens(&events).contains(&file.token()), "{kind}: the file");
        }
        file.park().unwrap();
        assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
    }
}
