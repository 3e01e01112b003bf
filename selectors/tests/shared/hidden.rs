//! The internal descriptors of a selector.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use selectors::{BackendKind, Error, Interest, Mode, RegisterError, SharedSelector};

use super::descriptors::open_numbers;
use super::hooked::{Call, Hooked};
use super::{LONG, NOW, tokens};

/// Runs a test of this file in a process of its own, since other tests open descriptors, too. Returns
/// true in that process.
fn is_alone(name: &str) -> bool {
    if std::env::var_os("SELECTORS_ALONE").is_some() {
        return true;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let command = command.args(["--exact", name]).env("SELECTORS_ALONE", "1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let ran = String::from_utf8_lossy(&output.stdout).contains("1 passed");
    assert!(ran, "no test has this name: {name}");
    false
}

/// Whoever registers numbers that are not theirs is refused, and does no harm.
#[test]
fn descriptors_that_it_keeps_to_itself_are_refused() {
    if !is_alone("hidden::descriptors_that_it_keeps_to_itself_are_refused") {
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
                        // Parked, for which the backend is not called.
                        assert!(interest.is_empty(), "{kind}: descriptor {fd} is not refused");
                        assert!(source.modify(Interest::READ).is_err(), "{kind}: {fd}");
                    }
                    Err(RegisterError { error, .. }) => {
                        let says_so = matches!(error, Error::Unsupported { .. });
                        // The kernel itself refuses its own descriptor.
                        let of_kernel = kind == BackendKind::Epoll
                            && io::Error::from(error).raw_os_error() == Some(libc::EINVAL);
                        assert!(says_so || of_kernel, "{kind}: descriptor {fd}");
                    }
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

        // Closed while registered: its number becomes the beacon's, or stays free.
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

/// The number of a source that was closed while registered is not used for the waker, whatever other
/// threads do meanwhile.
#[test]
fn a_new_channel_of_the_waker_does_not_get_the_number_of_a_source() {
    if !is_alone("hidden::a_new_channel_of_the_waker_does_not_get_the_number_of_a_source") {
        return;
    }
    let registered = Arc::new(Mutex::new(Vec::new()));
    let hold: Arc<Mutex<Option<Sender<()>>>> = Arc::default();
    let backend = {
        let (registered, hold) = (Arc::clone(&registered), Arc::clone(&hold));
        Hooked::new(move |call| match call {
            Call::Register(fd) => registered.lock().unwrap().push(fd),
            Call::Offer => {
                let held = hold.lock().unwrap().take();
                if let Some(held) = held {
                    held.send(()).unwrap();
                    // So that the waiting thread can continue meanwhile.
                    thread::sleep(Duration::from_millis(50));
                }
            }
            _ => {}
        })
    };
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let (other, _peer) = UnixStream::pair().unwrap();
    let mut selector = SharedSelector::with_backend(backend).unwrap();
    let (registrar, waker) = (selector.registrar(), selector.waker());
    let channel = registered.lock().unwrap()[0];
    let null = File::open("/dev/null").unwrap();
    // SAFETY: of the selector's own descriptors nothing is expected but that they are looked after.
    assert_eq!(unsafe { libc::dup2(null.as_raw_fd(), channel) }, channel);
    let number = ours.as_raw_fd();
    // SAFETY: it is closed below, and not used by this name afterwards.
    let closed = unsafe { BorrowedFd::borrow_raw(number) };
    let closed = registrar.register(closed, Interest::READ, 1).unwrap();
    drop(ours);
    waker.wake().expect_err("the channel is broken");
    let (held, is_held) = mpsc::channel();
    *hold.lock().unwrap() = Some(held);
    let changer = thread::spawn(move || registrar.register(other, Interest::READ, 2).unwrap());
    is_held.recv().unwrap();
    assert!(selector.select(NOW).unwrap().woken());
    let other = changer.join().unwrap();
    let numbers = registered.lock().unwrap().clone();
    assert_eq!(numbers.iter().filter(|&&fd| fd == number).count(), 1, "{numbers:?} of {number}");
    assert_eq!(numbers.len(), 4, "two channels and two sources: {numbers:?}");
    drop(closed);
    waker.wake().unwrap();
    assert!(selector.select(LONG).unwrap().woken());
    drop(other);
}

/// The selector's own descriptor does not get it either, and is still refused after the source was
/// unregistered.
#[test]
fn its_own_descriptor_does_not_get_the_number_of_a_source() {
    if !is_alone("hidden::its_own_descriptor_does_not_get_the_number_of_a_source") {
        return;
    }
    for kind in BackendKind::available() {
        let selector: SharedSelector<u32> = SharedSelector::of_kind(kind).unwrap();
        let registrar = selector.registrar();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let numbers = [ours.as_raw_fd(), theirs.as_raw_fd()];
        let closed = numbers.map(|number| {
            // SAFETY: it is closed below, and not used by this name afterwards.
            let source = unsafe { BorrowedFd::borrow_raw(number) };
            registrar.register(source, Interest::READ, 1).unwrap()
        });
        drop((ours, theirs));
        let Some(own) = selector.descriptor() else { continue };
        assert!(!numbers.contains(&own.as_raw_fd()), "{kind}");
        drop(closed);
        let refused = registrar.register(own, Interest::empty(), 2);
        assert!(refused.is_err(), "{kind}: {refused:?}");
    }
}
