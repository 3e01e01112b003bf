//! Pending events of an epoll instance that is replaced, when the call that fetches them fails
//! halfway.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::eventfd::EventFd;
use selectors::backend::{Deferred, Epoll};
use selectors::{Backend, Events, Interest, Mode, Selector, SharedSelector, Token};
use selectors_testkit::fixtures::{LooseDescriptor, borrow};

use crate::NOW;
use crate::injection::{Call, Fault, failing_both};

/// More than the capacity of the first wait and of the first call for the rest.
const MANY: usize = 300;

/// In the wait that finds the ghost: the call for the rest fails, and so does the second one for
/// what the old instance has pending. If there are edges, the new instance is polled before.
fn faults(has_edges: bool) -> [Fault; 2] {
    let fault = Fault::new(Call::EpollWait, Errno::EINVAL);
    [fault.after(1), fault.after(1 + u32::from(has_edges))]
}

const MODES: [Mode; 3] = [Mode::OneShot, Mode::Edge, Mode::Level];

fn readable() -> io::Result<EventFd> {
    Ok(EventFd::from_value(1)?)
}

/// That each source is reported, and once unless it is level-triggered.
fn all_are_reported(
    (mode, has_edges): (Mode, bool),
    expected: impl Iterator<Item = Token>,
    mut select: impl FnMut() -> io::Result<Events>,
) -> io::Result<()> {
    let mut times: BTreeMap<Token, usize> = BTreeMap::new();
    let (events, injected) = failing_both(faults(has_edges), &mut select);
    assert_eq!(injected, 2, "{mode:?}");
    let mut list = events?;
    for _ in 0..5 {
        for event in &list {
            *times.entry(event.token()).or_default() += 1;
        }
        list = select()?;
    }
    let missing = expected.filter(|token| !times.contains_key(token)).count();
    assert_eq!(missing, 0, "{mode:?}: sources that were never reported");
    assert_eq!(times.len(), MANY, "{mode:?}");
    assert!(mode == Mode::Level || times.values().all(|&times| times == 1), "{mode:?}");
    Ok(())
}

fn selector<B: Backend>(new: impl Fn() -> io::Result<B>) -> io::Result<()> {
    for mode in MODES {
        let sources: Vec<_> = (0..MANY).map(|_| readable()).collect::<Result<_, _>>()?;
        let mut selector: Selector<BorrowedFd<'_>, (), B> = Selector::with_backend(new()?);
        let alive = readable()?;
        let loose = LooseDescriptor::duplicate(&alive)?;
        let ghost = selector.register(loose.borrow(), Interest::READ, ())?;
        assert_eq!(selector.select(NOW)?.len(), 1);
        loose.close()?;
        selector.unregister(ghost)?;
        let mut tokens = Vec::new();
        for source in &sources {
            tokens.push(selector.register_with(borrow(source), Interest::READ, (), mode)?);
        }
        let edges = mode == Mode::Edge;
        all_are_reported((mode, edges), tokens.into_iter(), || Ok(selector.select(NOW)?))?;
    }
    Ok(())
}

#[test]
fn wait_9_a_rebuild_that_fails_loses_nothing_it_has_fetched() -> io::Result<()> {
    selector(Epoll::new)
}

#[test]
fn wait_9_a_rebuild_beneath_deferred_changes_loses_nothing() -> io::Result<()> {
    selector(|| Epoll::new().map(Deferred::new))
}

#[test]
fn wait_9_a_rebuild_of_a_shared_selector_loses_nothing() -> io::Result<()> {
    for mode in MODES {
        let files: Vec<_> = (0..MANY).map(|_| readable()).collect::<Result<_, _>>()?;
        let mut selector: SharedSelector = SharedSelector::with_backend(Epoll::new()?)?;
        let registrar = selector.registrar();
        let alive = readable()?;
        let loose = LooseDescriptor::duplicate(&alive)?;
        let ghost = registrar.register(loose.borrow(), Interest::READ, ())?;
        assert_eq!(selector.select(NOW)?.len(), 1);
        loose.close()?;
        drop(ghost);
        let mut sources = Vec::new();
        for file in &files {
            sources.push(registrar.register_with(borrow(file), Interest::READ, (), mode)?);
        }
        let tokens = sources.iter().map(selectors::Source::token);
        // That of the waker is one.
        all_are_reported((mode, true), tokens, || Ok(selector.select(NOW)?))?;
    }
    Ok(())
}
