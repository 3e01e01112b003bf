//! Changes of kqueue's filters that fail in any place, and whose undoing fails, too.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use selectors::backend::Kqueue;
use selectors::{Error, Events, Interest, Mode, Readiness, Selector, SharedSelector, Token};
use selectors_testkit::emulated_faults::Step;
use selectors_testkit::fixtures::{OwnedSource, regular_file, unix_pair};

use crate::injection::{Call, FOR_EVER, Fault, ask_for_emulated_faults, failing};
use crate::{LONG, NOW, Subject};

const MODES: [Mode; 3] = [Mode::Level, Mode::OneShot, Mode::Edge];
const NO_MEMORY: Fault = Fault::new(Call::Emulated(Step::Add), Errno::ENOMEM);

fn seen(events: &Events) -> Vec<(Token, Readiness)> {
    events.iter().map(|event| (event.token(), event.readiness())).collect()
}

fn is_out_of_memory(result: &Result<(), Error>) -> bool {
    let Err(Error::Os { source, .. }) = result else { return false };
    source.raw_os_error() == Some(Errno::ENOMEM as i32)
}

/// Every pair of modes, and changes that fail from each place on, so many times.
fn each(mut test: impl FnMut(Mode, Mode, Fault) -> io::Result<()>) -> io::Result<()> {
    ask_for_emulated_faults();
    for (from, to) in MODES.iter().flat_map(|&from| MODES.map(|to| (from, to))) {
        for (skip, times) in (0..4).flat_map(|skip| (1..8).map(move |times| (skip, times))) {
            test(from, to, NO_MEMORY.after(skip).times(times))?;
        }
    }
    Ok(())
}

/// Either the change is made, or its error is returned and the source is watched as before.
#[test]
fn mod_4_what_kqueue_cannot_undo_is_watched_again() -> io::Result<()> {
    each(|from, to, fault| {
        let (ours, mut theirs): (UnixStream, UnixStream) = unix_pair()?;
        let mut selector: Subject<_> = Selector::with_backend(Kqueue::new()?);
        let token = selector.register_with(ours.into(), Interest::READ, (), from)?;
        let (result, _) = failing(fault, || selector.modify_with(token, Interest::WRITE, to));
        let readiness = if result.is_ok() { Readiness::WRITE } else { Readiness::READ };
        assert!(result.is_ok() || is_out_of_memory(&result));
        theirs.write_all(b"x")?;
        assert_eq!(seen(&selector.select(NOW)?), [(token, readiness)], "{from:?} {to:?} {fault:?}");
        selector.modify_with(token, Interest::READ | Interest::WRITE, to)?;
        let both = Readiness::READ | Readiness::WRITE;
        assert_eq!(seen(&selector.select(NOW)?), [(token, both)], "{from:?} {to:?} {fault:?}");
        selector.unregister(token)?;
        assert!(selector.select(NOW)?.is_empty());
        Ok(())
    })
}

/// What has been reported once stays silent until it is armed.
#[test]
fn mode_2_what_kqueue_cannot_undo_does_not_fire_again() -> io::Result<()> {
    each(|_, to, fault| {
        let (ours, mut theirs): (UnixStream, UnixStream) = unix_pair()?;
        let mut selector: Subject<_> = Selector::with_backend(Kqueue::new()?);
        let token = selector.register_with(ours.into(), Interest::READ, (), Mode::OneShot)?;
        theirs.write_all(b"x")?;
        assert_eq!(selector.select(LONG)?.len(), 1);
        let (result, _) = failing(fault, || selector.modify_with(token, Interest::WRITE, to));
        if result.is_err() {
            for _ in 0..3 {
                assert!(selector.select(NOW)?.is_empty(), "{to:?} {fault:?}");
            }
            selector.rearm(token)?;
            assert_eq!(
                seen(&selector.select(NOW)?),
                [(token, Readiness::READ)],
                "{to:?} {fault:?}"
            );
        }
        Ok(())
    })
}

/// From another thread, too.
#[test]
fn mod_4_what_kqueue_cannot_undo_for_another_thread_is_watched_again() -> io::Result<()> {
    each(|from, to, fault| {
        let (ours, mut theirs) = unix_pair()?;
        let mut selector: SharedSelector = SharedSelector::with_backend(Kqueue::new()?)?;
        let ours = OwnedSource::from(ours);
        let source = selector.registrar().register_with(ours, Interest::READ, (), from)?;
        let (result, _) = failing(fault, || source.modify_with(Interest::WRITE, to));
        let readiness = if result.is_ok() { Readiness::WRITE } else { Readiness::READ };
        theirs.write_all(b"x")?;
        let events = selector.select(LONG)?;
        assert_eq!(seen(&events), [(source.token(), readiness)], "{from:?} {to:?} {fault:?}");
        let _open = source.into_inner();
        assert!(selector.select(NOW)?.is_empty());
        Ok(())
    })
}

/// For as long as there is no memory it is an ERROR.
#[test]
fn mod_4_what_kqueue_cannot_watch_is_an_error() -> io::Result<()> {
    ask_for_emulated_faults();
    for from in MODES {
        let (ours, mut theirs): (UnixStream, UnixStream) = unix_pair()?;
        let mut selector: Subject<_> = Selector::with_backend(Kqueue::new()?);
        let token = selector.register_with(ours.into(), Interest::READ, (), from)?;
        let for_ever = NO_MEMORY.times(FOR_EVER);
        let (result, _) = failing(for_ever, || selector.modify(token, Interest::WRITE));
        assert!(is_out_of_memory(&result));
        theirs.write_all(b"x")?;
        for nth in 0..3 {
            let (events, _) = failing(for_ever, || selector.select(NOW));
            let expected = usize::from(nth == 0 || from == Mode::Level);
            assert_eq!(events?.len(), expected, "{from:?} {nth}");
        }
        if from == Mode::Edge {
            assert_eq!(seen(&selector.select(LONG)?), [(token, Readiness::READ)]);
        }
        selector.modify(token, Interest::READ | Interest::WRITE)?;
        let both = Readiness::READ | Readiness::WRITE;
        assert_eq!(seen(&selector.select(LONG)?), [(token, both)]);
    }
    Ok(())
}

/// A file that was reported once is not reported again, although the beacon cannot be recreated for
/// it.
#[test]
fn mode_2_a_failed_change_of_a_file_does_not_fire_again() -> io::Result<()> {
    ask_for_emulated_faults();
    let mut selector: Subject<_> = Selector::with_backend(Kqueue::new()?);
    // Another selector, which may watch it, would not see the file.
    selector.backend().as_fd();
    let file = OwnedSource::from(regular_file()?);
    let token = selector.register_with(file, Interest::READ, (), Mode::OneShot)?;
    assert_eq!(selector.select(LONG)?.len(), 1);
    let (result, injected) = failing(NO_MEMORY, || selector.modify(token, Interest::WRITE));
    assert!(is_out_of_memory(&result) && injected == 1);
    assert!(selector.select(NOW)?.is_empty());
    selector.rearm(token)?;
    assert_eq!(seen(&selector.select(LONG)?), [(token, Readiness::READ)]);
    Ok(())
}

/// If no other selector watches this one, its waits need no beacon.
#[test]
fn wait_12_files_are_served_without_a_free_descriptor() -> io::Result<()> {
    let mut selector: Subject<_> = Selector::with_backend(Kqueue::new()?);
    let file = OwnedSource::from(regular_file()?);
    let none_left = Fault::new(Call::Eventfd, Errno::EMFILE).times(FOR_EVER);
    let (served, injected) = failing(none_left, || -> io::Result<()> {
        let token = selector.register_with(file, Interest::READ, (), Mode::OneShot)?;
        for _ in 0..3 {
            assert_eq!(seen(&selector.select(None)?), [(token, Readiness::READ)]);
            assert!(selector.select(NOW)?.is_empty());
            selector.rearm(token)?;
        }
        Ok(())
    });
    assert!(injected > 0);
    served
}
