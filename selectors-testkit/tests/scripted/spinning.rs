//! A selector that busy-polls, by the clock of the script.

use std::io;
use std::time::Duration;

use selectors::{Capabilities, Interest, Readiness, Selector, SharedSelector};
use selectors_testkit::fixtures::{PairStream, pair};
use selectors_testkit::scripted::{Call, Scripted};

use super::{SECOND, Scripts, scripted};

/// A selector that spins, because its first waits are over, and the number of calls that they made.
fn spinning(limit: Duration) -> io::Result<(Scripts, usize)> {
    let (mut selector, script) = scripted();
    selector.set_spin(limit);
    // The first wait polls before it blocks.
    (0..18).for_each(|_| script.timeout());
    for _ in 0..17 {
        assert!(selector.select(Some(SECOND))?.is_empty());
    }
    let waited = |&seconds: &u32| Call::Wait { timeout: Some(seconds * SECOND) };
    let blocked: Vec<_> = [0].iter().chain(&[1; 17]).map(waited).collect();
    assert_eq!(script.calls(), blocked, "the first waits block");
    Ok(((selector, script), blocked.len()))
}

#[test]
fn a_spinning_selector_looks_before_it_waits_with_what_time_is_left() -> io::Result<()> {
    let ((mut selector, script), first) = spinning(3 * SECOND)?;
    let begin = script.now();
    for _look_of_a_second in 0..4 {
        script.interrupted(SECOND);
    }
    script.timeout();
    assert!(selector.select(Some(10 * SECOND))?.is_empty());
    assert_eq!(script.now() - begin, 11 * SECOND, "the first poll takes none of the time");
    let waited = |seconds| Call::Wait { timeout: Some(seconds * SECOND) };
    assert_eq!(script.calls()[first..], [0, 0, 0, 0, 7].map(waited));
    Ok(())
}

#[test]
fn spinning_can_be_disabled() -> io::Result<()> {
    let ((mut selector, script), first) = spinning(Duration::MAX)?;
    selector.set_spin(Duration::ZERO);
    script.timeout();
    assert!(selector.select(Some(SECOND))?.is_empty());
    assert_eq!(script.calls()[first..], [Call::Wait { timeout: Some(SECOND) }]);

    let (backend, script) = Scripted::new();
    let mut selector: SharedSelector = SharedSelector::with_backend(backend)?;
    for limit in [Duration::MAX, Duration::ZERO] {
        selector.set_spin(limit);
    }
    for _ in 0..20 {
        script.timeout();
        assert!(selector.select(Some(SECOND))?.is_empty());
    }
    let waits = script.calls().into_iter().filter(|call| matches!(call, Call::Wait { .. }));
    assert!(waits.into_iter().all(|call| call == Call::Wait { timeout: Some(SECOND) }));
    Ok(())
}

#[test]
fn spinning_ends_with_the_timeout() -> io::Result<()> {
    let ((mut selector, script), first) = spinning(Duration::MAX)?;
    script.pass(SECOND);
    script.timeout();
    assert!(selector.select(Some(Duration::from_millis(1)))?.is_empty());
    assert_eq!(script.remaining(), 2);
    let zero = Call::Wait { timeout: Some(Duration::ZERO) };
    assert!(script.calls()[first..].iter().all(|call| *call == zero), "it never blocked");
    Ok(())
}

#[test]
fn spinning_without_a_timeout_ends_in_a_wait_without() -> io::Result<()> {
    let ((mut selector, script), first) = spinning(Duration::from_micros(50))?;
    let (ours, _theirs) = pair()?;
    script.pass(SECOND);
    script.ready(&ours, Readiness::READ);
    selector.register(ours, Interest::READ, "data")?;
    assert_eq!(selector.select(None)?.len(), 1);
    let looks =
        script.calls().into_iter().skip(first).filter(|call| matches!(call, Call::Wait { .. }));
    assert_eq!(looks.count(), 52);
    assert_eq!(script.calls().last(), Some(&Call::Wait { timeout: None }));
    Ok(())
}

#[test]
fn after_spinning_in_vain_waits_block_at_once() -> io::Result<()> {
    let ((mut selector, script), first) = spinning(Duration::from_micros(50))?;
    let waker = selector.waker()?;
    script.pass(SECOND);
    script.wake(&waker);
    assert!(selector.select(None)?.woken());
    let spun = script.calls().len();
    assert!(spun > first + 2, "it spins");
    for _ in 0..64 {
        script.wake(&waker);
        assert!(selector.select(None)?.woken());
    }
    let calls = script.calls().split_off(spun);
    assert_eq!(calls, vec![Call::Wait { timeout: None }; 64], "none polls first");
    Ok(())
}

#[test]
fn what_is_ready_ends_the_spinning() -> io::Result<()> {
    let ((mut selector, script), _) = spinning(SECOND)?;
    let (ours, _theirs) = pair()?;
    script.timeout();
    script.ready(&ours, Readiness::READ);
    selector.register(ours, Interest::READ, "data")?;
    assert_eq!(selector.select(None)?.len(), 1);
    script.timeout();
    script.wake(&selector.waker()?);
    assert!(selector.select(None)?.woken());
    selector.set_interruptible(true);
    script.timeout();
    script.interrupted(Duration::ZERO);
    assert!(selector.select(None)?.interrupted());
    script.timeout();
    script.fail(io::Error::other("broken"));
    assert!(selector.select(None).is_err());
    assert_eq!(script.remaining(), 0);
    Ok(())
}

#[test]
fn an_interruptible_wait_does_not_look_first() -> io::Result<()> {
    let mut capabilities = Capabilities::default();
    capabilities.constant_wait = true;
    let (backend, script) = Scripted::with_capabilities(capabilities);
    let mut selector: Selector<PairStream, (), _> = Selector::with_backend(backend);
    selector.set_interruptible(true);
    script.interrupted(Duration::ZERO);
    assert!(selector.select(Some(SECOND))?.interrupted());
    // A poll that does not block would not notice a handler that runs during it.
    assert_eq!(script.calls(), [Call::Wait { timeout: Some(SECOND) }]);
    Ok(())
}
