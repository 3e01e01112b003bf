//! Behaviour that is specific to the epoll backend.
#![cfg(any(target_os = "linux", target_os = "android"))]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use selectors::backend::{Backend, Epoll};
use selectors::{EpollSelector, Event, Events, Interest, Mode, Readiness, Token, Watch};

const LONG: Option<Duration> = Some(Duration::from_secs(10));
const NOW: Option<Duration> = Some(Duration::ZERO);

/// A descriptor that is closed behind the selector's back.
fn loose(file: impl AsFd) -> RawFd {
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(5_000)).unwrap()
}

fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: it is open now. This tests that closing it while it is borrowed does no harm; no
    // other test uses numbers as high as these.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

fn tokens(events: &Events) -> Vec<Token> {
    events.iter().map(Event::token).collect()
}

#[test]
fn close_4_a_ghost_is_laid_to_rest() -> io::Result<()> {
    let (ours, mut theirs) = UnixStream::pair()?;
    let mut selector = EpollSelector::new()?;
    let waker = selector.waker()?;
    let number = selector.as_raw_fd();
    let fd = loose(&ours);
    let ghost = selector.register(borrow(fd), Interest::READ, ())?;
    let (other, mut other_peer) = UnixStream::pair()?;
    let live = selector.register(other.as_fd(), Interest::READ, ())?;
    let fired = UnixStream::pair()?;
    let one_shot = selector.register_with(fired.0.as_fd(), Interest::WRITE, (), Mode::OneShot)?;
    assert_eq!(tokens(&selector.select(LONG)?), [one_shot]);

    let file = loose(File::open("/proc/self/exe")?);
    let fired_file = selector.register_with(borrow(file), Interest::READ, (), Mode::OneShot)?;
    assert_eq!(tokens(&selector.select(LONG)?), [fired_file]);

    nix::unistd::close(fd)?;
    selector.unregister(ghost)?;
    theirs.write_all(b"x")?;
    // `ours` keeps the file open, so the kernel reports it, but it is not a source any more.
    assert!(selector.select(Some(Duration::from_millis(5)))?.is_empty());
    assert_eq!(selector.as_raw_fd(), number, "the descriptor is still the same");

    // Everything else works as before.
    other_peer.write_all(b"x")?;
    assert_eq!(tokens(&selector.select(LONG)?), [live]);
    waker.wake()?;
    assert!(selector.select(LONG)?.woken());
    selector.modify(live, Interest::PRIORITY)?;
    assert!(selector.select(NOW)?.is_empty(), "a one-shot that has fired stays silent");
    selector.modify(one_shot, Interest::WRITE)?;
    assert_eq!(tokens(&selector.select(LONG)?), [one_shot]);

    // A source in user space leaves nothing behind for the next source with its number.
    selector.unregister(fired_file)?;
    nix::unistd::close(file)?;
    let again = nix::fcntl::fcntl(&other, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(file))?;
    let successor = selector.register(borrow(again), Interest::PRIORITY, ())?;
    selector.modify(successor, Interest::WRITE)?;
    assert_eq!(tokens(&selector.select(LONG)?), [successor]);
    selector.unregister(successor)?;
    nix::unistd::close(again)?;
    Ok(())
}

#[test]
fn close_3_the_same_file_under_the_same_number_is_watched_anew() -> io::Result<()> {
    let (ours, _theirs) = UnixStream::pair()?;
    let mut selector = EpollSelector::new()?;
    let fd = loose(&ours);
    let old = selector.register(borrow(fd), Interest::READ | Interest::WRITE, ())?;
    nix::unistd::close(fd)?;
    selector.unregister(old)?;
    let again = nix::fcntl::fcntl(&ours, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(fd))?;
    if again != fd {
        // Another thread took the number: then this is not the case that is tried here.
        eprintln!("not run: descriptor {fd} is taken");
        return Ok(nix::unistd::close(again)?);
    }
    let new = selector.register(borrow(fd), Interest::READ, ())?;
    assert!(selector.select(NOW)?.is_empty(), "nothing is left of the old interest");
    selector.modify(new, Interest::WRITE)?;
    assert_eq!(tokens(&selector.select(LONG)?), [new]);
    selector.unregister(new)?;
    Ok(nix::unistd::close(fd)?)
}

#[test]
fn mod_4_a_refused_exclusive_modify_is_rolled_back() -> io::Result<()> {
    let (ours, mut theirs) = UnixStream::pair()?;
    let mut epoll = Epoll::new()?;
    let token = Token::from_bits(1);
    let old = Watch::new(Interest::READ, Mode::Exclusive);
    epoll.register(ours.as_fd(), token, old)?;
    // The kernel refuses EPOLLEXCLUSIVE with EPOLLPRI; a selector would refuse it first.
    let bad = Watch::new(Interest::PRIORITY, Mode::Exclusive);
    let error = epoll.modify(ours.as_raw_fd(), token, old, bad).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    theirs.write_all(b"x")?;
    let mut events = Events::new();
    epoll.wait(&mut events, LONG)?;
    assert_eq!(tokens(&events), [token]);
    Ok(())
}

#[test]
fn ready_11_files_wake_whoever_watches_the_selector() -> io::Result<()> {
    let mut inner = EpollSelector::new()?;
    let mut outer = EpollSelector::new()?;
    let file =
        inner.register_with(File::open("/proc/self/exe")?, Interest::READ, (), Mode::OneShot)?;
    let nested = inner.as_fd().try_clone_to_owned()?;
    let token = outer.register(nested, Interest::READ, ())?;
    assert_eq!(tokens(&outer.select(LONG)?), [token]);
    assert_eq!(tokens(&inner.select(None)?), [file]);
    assert!(outer.select(NOW)?.is_empty(), "it has fired");
    inner.modify(file, Interest::READ)?;
    assert_eq!(tokens(&outer.select(LONG)?), [token]);
    inner.unregister(file)?;
    assert!(outer.select(NOW)?.is_empty(), "it is gone");
    Ok(())
}

#[test]
fn reg_8_a_selector_does_not_watch_itself() -> io::Result<()> {
    let mut selector: EpollSelector<BorrowedFd<'_>> = EpollSelector::new()?;
    let own = borrow(selector.as_raw_fd());
    let refused = selector.register(own, Interest::READ, ()).unwrap_err();
    assert!(matches!(refused.error, selectors::Error::Unsupported { .. }), "{refused}");
    let dup = own.try_clone_to_owned()?.into_raw_fd();
    let refused = selector.register(borrow(dup), Interest::READ, ()).unwrap_err();
    assert!(matches!(refused.error, selectors::Error::Os { .. }), "{refused}");
    assert!(selector.is_empty());
    Ok(nix::unistd::close(dup)?)
}

#[test]
fn wait_7_a_full_batch_loses_nothing() -> io::Result<()> {
    let mut selector = EpollSelector::new()?;
    let mut peers = Vec::new();
    for number in 0..500 {
        let (ours, mut theirs) = UnixStream::pair()?;
        theirs.write_all(b"x")?;
        peers.push(theirs);
        selector.register(ours, Interest::READ, number)?;
    }
    let mut seen = std::collections::HashSet::new();
    while seen.len() < 500 {
        let events = selector.select(NOW)?;
        assert!(!events.is_empty());
        for event in &events {
            let key = selector.get_mut(event.token()).unwrap();
            if seen.insert(*key.data) {
                key.fileobj.read_exact(&mut [0])?;
            }
        }
    }
    assert!(selector.select(NOW)?.is_empty());
    assert_eq!(selector.close().len(), 500);
    Ok(())
}

#[test]
fn ready_6_a_reset_is_an_error() -> io::Result<()> {
    // Unix sockets reset when data is left unread.
    let (ours, theirs) = UnixStream::pair()?;
    (&ours).write_all(b"unread")?;
    let mut selector = EpollSelector::new()?;
    let token = selector.register(ours, Interest::READ, ())?;
    drop(theirs);
    let events = selector.select(LONG)?;
    let [event] = events.iter().as_slice() else { panic!("{events:?}") };
    assert_eq!(event.token(), token);
    assert!(event.readiness().contains(Readiness::READ | Readiness::ERROR | Readiness::HANGUP));
    Ok(())
}

/// Gives the selector a ghost: a source whose descriptor was closed before it was unregistered, and whose
/// file lives on. It is reported when the second stream, its peer, has written.
fn add_ghost(selector: &mut EpollSelector<BorrowedFd<'_>>) -> io::Result<(UnixStream, UnixStream)> {
    let (alive, peer) = UnixStream::pair()?;
    let fd = loose(&alive);
    let ghost = selector.register(borrow(fd), Interest::READ, ())?;
    nix::unistd::close(fd)?;
    selector.unregister(ghost)?;
    Ok((alive, peer))
}

/// As [`add_ghost`], with a ghost that the next wait reports.
fn haunt(selector: &mut EpollSelector<BorrowedFd<'_>>) -> io::Result<(UnixStream, UnixStream)> {
    let (alive, mut peer) = add_ghost(selector)?;
    peer.write_all(b"x")?;
    Ok((alive, peer))
}

#[test]
fn close_4_edges_come_out_of_a_rebuild_as_they_went_in() -> io::Result<()> {
    let ((known, _a), (fresh, mut fresh_peer)) = (UnixStream::pair()?, UnixStream::pair()?);
    let mut selector = EpollSelector::new()?;
    let waker = selector.waker()?;
    waker.wake()?;
    assert!(selector.select(LONG)?.woken());
    let known = selector.register_with(known.as_fd(), Interest::WRITE, (), Mode::Edge)?;
    let fresh = selector.register_with(fresh.as_fd(), Interest::READ, (), Mode::Edge)?;
    assert_eq!(tokens(&selector.select(LONG)?), [known]);
    let _ghost = haunt(&mut selector)?;
    let events = selector.select(Some(Duration::from_millis(5)))?;
    assert!(events.is_empty() && !events.woken(), "neither is new: {events:?}");
    let _ghost = haunt(&mut selector)?;
    fresh_peer.write_all(b"x")?;
    assert_eq!(tokens(&selector.select(LONG)?), [fresh], "an edge of the old instance");
    assert!(selector.select(NOW)?.is_empty());
    waker.wake()?;
    assert!(selector.select(LONG)?.woken());
    selector.rearm(known)?;
    assert_eq!(tokens(&selector.select(LONG)?), [known]);
    Ok(())
}

#[test]
fn close_4_a_rebuilt_selector_stays_nested() -> io::Result<()> {
    let (ours, mut theirs) = UnixStream::pair()?;
    let mut inner = EpollSelector::new()?;
    let mut outer = EpollSelector::new()?;
    let live = inner.register(ours.as_fd(), Interest::READ, ())?;
    let token = outer.register(inner.as_fd().try_clone_to_owned()?, Interest::READ, ())?;
    let _ghost = haunt(&mut inner)?;
    assert_eq!(tokens(&outer.select(LONG)?), [token], "the ghost");
    assert!(inner.select(NOW)?.is_empty());
    assert!(outer.select(NOW)?.is_empty(), "it is gone");
    theirs.write_all(b"x")?;
    assert_eq!(tokens(&outer.select(LONG)?), [token]);
    assert_eq!(tokens(&inner.select(LONG)?), [live]);
    Ok(())
}

/// As deep as the kernel permits.
#[test]
fn ready_13_selectors_nest_three_deep() -> io::Result<()> {
    let (ours, mut theirs) = UnixStream::pair()?;
    let mut selectors: Vec<EpollSelector<OwnedFd>> = Vec::new();
    let mut source = OwnedFd::from(ours);
    for _ in 0..3 {
        let mut selector = EpollSelector::new()?;
        selector.register(source, Interest::READ, ())?;
        source = selector.as_fd().try_clone_to_owned()?;
        selectors.push(selector);
    }
    let mut fourth = EpollSelector::new()?;
    let refused = fourth.register(source, Interest::READ, ()).expect_err("it is too deep");
    assert_eq!(io::Error::from(refused.error).raw_os_error(), Some(Errno::ELOOP as i32));
    theirs.write_all(b"x")?;
    for selector in &mut selectors {
        assert_eq!(selector.select(LONG)?.len(), 1);
        // A new instance is as deep.
        let (alive, mut peer) = UnixStream::pair()?;
        let fd = loose(&alive);
        // SAFETY: it is forgotten below, as it was closed.
        let ghost = selector.register(unsafe { OwnedFd::from_raw_fd(fd) }, Interest::READ, ())?;
        nix::unistd::close(fd)?;
        std::mem::forget(selector.unregister(ghost)?);
        peer.write_all(b"x")?;
        let number = selector.as_raw_fd();
        assert_eq!(selector.select(LONG)?.len(), 1);
        drop(alive);
        assert_eq!((selector.as_raw_fd(), selector.select(LONG)?.len()), (number, 1));
    }
    assert_eq!(selectors[2].select(LONG)?.len(), 1);
    Ok(())
}

#[test]
fn close_4_closed_sources_do_not_keep_a_ghost() -> io::Result<()> {
    let ((closed, _a), (live, mut live_peer)) = (UnixStream::pair()?, UnixStream::pair()?);
    for duplicate in [false, true] {
        let mut selector = EpollSelector::new()?;
        let number = loose(&closed);
        selector.register(borrow(number), Interest::READ, ())?;
        let live_token = selector.register(live.as_fd(), Interest::READ, ())?;
        let _ghost = haunt(&mut selector)?;
        nix::unistd::close(number)?;
        // The new instance, or whatever else is opened, may get the number.
        let stranger = nix::fcntl::fcntl(&live, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(number))?;
        if !duplicate {
            nix::unistd::close(stranger)?;
        }
        live_peer.write_all(b"x")?;
        for _ in 0..3 {
            assert_eq!(tokens(&selector.select(LONG)?), [live_token]);
        }
        (&live).read_exact(&mut [0])?;
        assert!(selector.select(NOW)?.is_empty(), "the ghost was removed");
        if duplicate {
            nix::unistd::close(stranger)?;
        }
    }
    Ok(())
}

/// What is always ready is not the kernel's, and yet has to be as the kernel's when there is a new
/// epoll instance, and whichever sources leave afterwards.
#[test]
fn close_4_files_of_every_mode_outlive_the_instance() -> io::Result<()> {
    let files = [0; 4].map(|_| File::open("/proc/self/exe").unwrap());
    let mut selector = EpollSelector::new()?;
    let (_alive, mut peer) = add_ghost(&mut selector)?;
    let mut register = |at: usize, interest, mode| {
        selector.register_with(files[at].as_fd(), interest, (), mode).unwrap()
    };
    let first = register(0, Interest::READ, Mode::Level);
    let second = register(1, Interest::READ, Mode::Level);
    let once = register(2, Interest::READ, Mode::OneShot);
    let edge = register(3, Interest::READ, Mode::Edge);
    assert_eq!(selector.select(LONG)?.len(), 4);
    peer.write_all(b"x")?;
    assert_eq!(selector.select(LONG)?.len(), 2, "the level-triggered sources");
    peer.write_all(b"x")?;
    assert_eq!(selector.select(LONG)?.len(), 2);
    selector.rearm(edge)?;
    assert_eq!(selector.select(LONG)?.len(), 3);
    selector.rearm(once)?;
    selector.unregister(second)?;
    selector.unregister(first)?;
    for _ in 0..2 {
        assert_eq!(tokens(&selector.select(LONG)?), [once]);
        selector.modify(once, Interest::READ | Interest::WRITE)?;
    }
    selector.unregister(once)?;
    assert!(selector.select(NOW)?.is_empty());
    selector.rearm(edge)?;
    assert_eq!(tokens(&selector.select(LONG)?), [edge]);
    selector.unregister(edge)?;
    assert!(selector.select(Some(Duration::from_millis(1)))?.is_empty());
    Ok(())
}

#[test]
fn close_4_no_edge_is_reported_again_by_a_new_instance() -> io::Result<()> {
    const MANY: usize = 300;
    let mut selector = EpollSelector::new()?;
    let pairs: Vec<_> = (0..MANY).map(|_| UnixStream::pair()).collect::<io::Result<_>>()?;
    for (ours, _) in &pairs {
        selector.register_with(ours.as_fd(), Interest::WRITE, (), Mode::Edge)?;
    }
    let (_alive, mut peer) = add_ghost(&mut selector)?;
    assert_eq!(selector.select(LONG)?.len(), MANY);
    peer.write_all(b"x")?;
    for _ in 0..3 {
        assert!(selector.select(NOW)?.is_empty());
    }
    Ok(())
}

#[test]
fn mode_4_from_exclusive_to_urgent_data_and_back() -> io::Result<()> {
    let (ours, mut theirs) = UnixStream::pair()?;
    let mut selector = EpollSelector::new()?;
    let token = selector.register_with(&ours, Interest::READ, (), Mode::Exclusive)?;
    theirs.write_all(b"x")?;
    let both = Interest::READ | Interest::PRIORITY;
    selector.modify_with(token, both, Mode::Level)?;
    assert_eq!(tokens(&selector.select(LONG)?), [token]);
    assert!(selector.modify_with(token, both, Mode::Exclusive).is_err());
    assert_eq!(tokens(&selector.select(LONG)?), [token]);
    selector.modify_with(token, Interest::READ, Mode::Exclusive)?;
    assert_eq!(tokens(&selector.select(LONG)?), [token]);
    Ok(())
}

/// It is in no event, and it ends no wait either.
#[test]
fn ready_11_there_is_no_urgent_data_in_a_file() -> io::Result<()> {
    let file = File::open("/proc/self/exe")?;
    let token = Token::from_bits(1);
    let mut epoll = Epoll::new()?;
    let urgent = Watch::new(Interest::PRIORITY, Mode::Level);
    epoll.register(file.as_fd(), token, urgent)?;
    let (mut events, timeout) = (Events::new(), Duration::from_millis(5));
    let start = Instant::now();
    epoll.wait(&mut events, Some(timeout))?;
    assert!(events.is_empty() && start.elapsed() >= timeout);
    let reading = Watch::new(Interest::READ | Interest::PRIORITY, Mode::Level);
    epoll.modify(file.as_raw_fd(), token, urgent, reading)?;
    epoll.wait(&mut events, LONG)?;
    assert_eq!(tokens(&events), [token]);
    Ok(())
}

#[test]
fn wait_11_a_file_that_was_reported_once_does_not_end_waits() -> io::Result<()> {
    let (mut backend, mut events) = (Epoll::new()?, Events::new());
    let file = File::open("/dev/null")?;
    let watch = Watch::new(Interest::READ, Mode::OneShot);
    backend.register(file.as_fd(), Token::from_bits(1), watch)?;
    backend.wait(&mut events, LONG)?;
    assert_eq!(tokens(&events), [Token::from_bits(1)]);
    events.clear();
    let (timeout, start) = (Duration::from_millis(20), Instant::now());
    backend.wait(&mut events, Some(timeout))?;
    assert!(events.is_empty() && start.elapsed() >= timeout);
    Ok(())
}
