//! A new kernel object beneath a shared selector, in this process and in a forked child: each of the calls
//! that make it fails.

use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use selectors::{BackendKind, Error, Event, Events, Interest, Mode, SharedSelector, Source, Token};
use selectors_testkit::fixtures::{
    LooseDescriptor, OwnedSource, above, drain, is_ready, null_device, unix_pair,
};

use crate::in_child;
use crate::injection::{Call, FOR_EVER, Fault, failing};

const NOW: Option<Duration> = Some(Duration::ZERO);
const LONG: Duration = Duration::from_secs(20);

/// How many waits it takes at most until a ghost is noticed, and a new kernel object is tried again.
const WAITS: usize = 40;

type Watched = Source<OwnedSource>;

fn sorted(mut tokens: Vec<Token>) -> Vec<Token> {
    tokens.sort();
    tokens
}

fn tokens(events: &Events) -> Vec<Token> {
    sorted(events.iter().map(Event::token).collect())
}

fn of<'a>(sources: impl IntoIterator<Item = &'a Watched>) -> Vec<Token> {
    sorted(sources.into_iter().map(Source::token).collect())
}

/// A ghost is ready beside one source of each mode, while calls fail. Returns how many did.
fn rebuild(fault: Fault) -> io::Result<u32> {
    const MODES: [Mode; 6] =
        [Mode::Level, Mode::Exclusive, Mode::OneShot, Mode::Edge, Mode::OneShot, Mode::Edge];
    let mut selector: SharedSelector = SharedSelector::new()?;
    let registrar = selector.registrar();
    let mut peers: Vec<UnixStream> = Vec::new();
    let mut register = |mode| -> io::Result<Watched> {
        let (ours, theirs) = unix_pair()?;
        peers.push(theirs);
        Ok(registrar.register_with(ours.into(), Interest::READ, (), mode)?)
    };
    let sources: Vec<Watched> = MODES.into_iter().map(&mut register).collect::<io::Result<_>>()?;
    let parked = register(Mode::Level)?;
    parked.park()?;
    let file = registrar.register(null_device()?.into(), Interest::READ, ())?;
    // The last two have been reported before.
    for peer in &mut peers[4..] {
        peer.write_all(b"x")?;
    }
    assert_eq!(tokens(&selector.select(NOW)?), of(sources[4..].iter().chain([&file])));
    // Somebody watches the selector.
    assert!(selector.descriptor().is_some());
    let (alive, mut peer) = unix_pair()?;
    let loose = LooseDescriptor::duplicate(&alive)?;
    let ghost = registrar.register(loose.borrow(), Interest::READ, ())?;
    loose.close()?;
    drop(ghost);
    peer.write_all(b"x")?;
    for peer in &mut peers[..4] {
        peer.write_all(b"x")?;
    }
    selector.waker().wake()?;
    let (again, injected) = failing(fault, || -> io::Result<_> {
        let events = selector.select(NOW)?;
        assert_eq!(tokens(&events), of(sources[..4].iter().chain([&file])), "{fault:?}");
        assert!(events.woken(), "{fault:?}");
        (0..WAITS).map(|_| Ok(selector.select(NOW)?)).collect::<io::Result<Vec<_>>>()
    });
    for events in again? {
        assert_eq!(tokens(&events), of(sources[..2].iter().chain([&file])), "{fault:?}");
        assert!(!events.woken(), "{fault:?}");
    }
    // The calls succeed again.
    sources[..2].iter().try_for_each(|source| drain(&**source).map(drop))?;
    file.park()?;
    for _ in 0..WAITS {
        assert_eq!(tokens(&selector.select(NOW)?), [], "{fault:?}");
    }
    let own = selector.descriptor().expect("epoll has one");
    assert!(!is_ready(&own, Interest::READ, 0)?, "{fault:?}: the kernel has a ghost");
    sources.iter().try_for_each(Source::rearm)?;
    [&parked, &file].into_iter().try_for_each(|source| source.modify(Interest::READ))?;
    for peer in &mut peers {
        peer.write_all(b"x")?;
    }
    selector.waker().wake()?;
    let events = selector.select(NOW)?;
    assert_eq!(tokens(&events), of(sources.iter().chain([&parked, &file])), "{fault:?}");
    assert!(events.woken(), "{fault:?}");
    let again = of(sources[..2].iter().chain([&parked, &file]));
    assert_eq!(tokens(&selector.select(NOW)?), again, "{fault:?}");
    drop((sources, parked));
    assert_eq!(tokens(&selector.select(NOW)?), of([&file]), "{fault:?}");
    Ok(injected)
}

#[test]
fn shared_2_each_call_of_a_rebuild_fails() -> io::Result<()> {
    const FAULTS: [Fault; 5] = [
        Fault::new(Call::EpollCreate, Errno::EMFILE),
        Fault::new(Call::EpollAdd, Errno::ENOMEM),
        Fault::new(Call::EpollAdd, Errno::EINVAL),
        Fault::new(Call::EpollDelete, Errno::ENOMEM),
        Fault::new(Call::Duplicate, Errno::EMFILE),
    ];
    fn at_every_place(fault: Fault) -> io::Result<()> {
        for places in 0.. {
            let mut injected = 0;
            for times in [1, 3, FOR_EVER] {
                injected += rebuild(fault.after(places).times(times))?;
            }
            if injected == 0 {
                assert!(places > 0, "{fault:?} is never met");
                break;
            }
        }
        Ok(())
    }
    // Where no other test has a child with a copy of the old kernel object, which could not be removed.
    in_child(|| FAULTS.into_iter().try_for_each(at_every_place))
}

/// In a child, one source of each kind is watched again as soon as no call fails.
fn renew(kind: BackendKind, fault: Fault) -> io::Result<()> {
    let mut selector: SharedSelector = SharedSelector::of_kind(kind)?;
    let registrar = selector.registrar();
    let (mut sources, mut peers) = (Vec::new(), Vec::new());
    for mode in [Mode::Level, Mode::OneShot] {
        let (ours, theirs) = unix_pair()?;
        sources.push(registrar.register_with(OwnedSource::from(ours), Interest::READ, (), mode)?);
        peers.push(theirs);
    }
    sources.push(registrar.register(null_device()?.into(), Interest::READ, ())?);
    let loose = LooseDescriptor::duplicate(&peers[0])?;
    let closed = registrar.register(loose.borrow(), Interest::PRIORITY, ())?;
    assert!(selector.select(NOW)?.len() == 1);
    let inherited = selector.waker();
    in_child(|| {
        loose.close()?;
        let mut places = 0;
        loop {
            let (result, injected) =
                failing(fault.after(places), || selector.after_fork().map_err(io::Error::from));
            if injected == 0 {
                result?;
                break;
            }
            places += 1;
            match result {
                // Waits do without the beacon of the file.
                Ok(()) => break,
                Err(error) => assert_eq!(error.raw_os_error(), Some(fault.errno as i32)),
            }
            assert!(matches!(selector.select(NOW), Err(Error::Forked)), "{fault:?}");
            assert!(matches!(sources[0].park(), Err(Error::Forked)), "{fault:?}");
        }
        assert!(places > 0, "{kind}: {fault:?} is never met");
        assert!(matches!(inherited.wake(), Err(Error::Forked)));
        for peer in &mut peers {
            peer.write_all(b"x")?;
        }
        selector.waker().wake()?;
        let events = selector.select(None)?;
        assert!(events.woken(), "{kind}: {fault:?}");
        assert_eq!(tokens(&events), of(&sources), "{kind}: {fault:?}");
        drop(closed);
        sources.remove(1).modify(Interest::WRITE)?;
        let (ours, _theirs) = unix_pair()?;
        sources.push(registrar.register(ours.into(), Interest::WRITE, ())?);
        assert_eq!(tokens(&selector.select(None)?), of(&sources), "{kind}: {fault:?}");
        Ok(())
    })
}

#[test]
fn shared_6_each_call_of_after_fork_fails() -> io::Result<()> {
    for (call, errno) in [
        (Call::EpollCreate, Errno::EMFILE),
        (Call::EpollAdd, Errno::ENOMEM),
        (Call::Duplicate, Errno::EMFILE),
        (Call::Eventfd, Errno::EMFILE),
    ] {
        renew(BackendKind::Epoll, Fault::new(call, errno))?;
    }
    for kind in [BackendKind::Poll, BackendKind::Select] {
        renew(kind, Fault::new(Call::GetStatus, Errno::EBADF))?;
        renew(kind, Fault::new(Call::Eventfd, Errno::EMFILE))?;
    }
    Ok(())
}

/// While the waiting thread cannot be woken, changes that it would have to make are refused, and what is
/// unregistered is not reported, although its number is another source's soon.
fn not_woken(kind: BackendKind) -> io::Result<()> {
    let mut selector: SharedSelector<&str> = SharedSelector::of_kind(kind)?;
    let registrar = selector.registrar();
    let never = Fault::new(Call::Write, Errno::EIO).times(FOR_EVER);
    let (ours, _theirs) = unix_pair()?;
    // A number that no new channel gets, however many descriptors the process has inherited.
    let ours = above(ours, null_device()?.as_raw_fd() + 100)?;
    let (seen, sees) = mpsc::channel();
    let waiter = thread::spawn(move || {
        // Until the selector is woken.
        loop {
            let events = selector.select(None).expect("no error");
            let data = events.iter().map(|event| selector.get(event.token()).copied());
            seen.send((tokens(&events), data.collect::<Vec<_>>())).expect("somebody listens");
            if events.woken() {
                return selector;
            }
        }
    });
    let source = loop {
        let (result, injected) = failing(never, || registrar.register(&ours, Interest::READ, "a"));
        match result {
            // The thread was not waiting yet.
            Ok(source) => drop(source),
            Err(refused) => {
                assert!(injected > 0 && refused.data == "a", "{kind}: {refused}");
                break registrar.register(&ours, Interest::READ, "b")?;
            }
        }
    };
    // It may pass between two waits by chance.
    let _ = failing(never, || source.modify(Interest::PRIORITY));
    let number = ours.as_raw_fd();
    failing(never, || drop(source));
    drop(ours);
    let (other, mut peer) = unix_pair()?;
    let other = above(other, number - 1)?;
    assert_eq!(other.as_raw_fd(), number);
    let other = registrar.register(&other, Interest::READ, "c")?;
    peer.write_all(b"x")?;
    let reported = (vec![other.token()], vec![Some("c")]);
    assert_eq!(sees.recv_timeout(LONG).expect("an event"), reported, "{kind}");
    failing(Fault::new(Call::Write, Errno::EIO).times(0), || registrar.waker().wake()).0?;
    let mut selector = waiter.join().expect("no panic");
    drop(other);
    assert!(selector.select(NOW)?.is_empty(), "{kind}");
    Ok(())
}

#[test]
fn shared_2_a_waiter_that_is_not_woken() -> io::Result<()> {
    // Alone with its descriptors, whose numbers are reused.
    in_child(|| {
        not_woken(BackendKind::Poll)?;
        not_woken(BackendKind::Select)
    })
}
