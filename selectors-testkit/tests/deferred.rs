//! The calls that a backend receives if its changes are deferred.

use std::io;
use std::time::Duration;

use selectors::backend::Deferred;
use selectors::{Capabilities, Interest, Mode, Readiness, Selector};
use selectors_testkit::fixtures::{PairStream, number_of, pair};
use selectors_testkit::scripted::{Call, Script, Scripted};

const NOW: Option<Duration> = Some(Duration::ZERO);
const BOTH: Interest = Interest::READ.union(Interest::WRITE);

struct Scene {
    selector: Selector<PairStream, &'static str, Deferred<Scripted>>,
    script: Script,
    seen: usize,
}

impl Scene {
    fn new() -> Self {
        let mut capabilities = Capabilities::default();
        capabilities.edge = true;
        capabilities.exclusive = true;
        capabilities.error = true;
        let (backend, script) = Scripted::with_capabilities(capabilities);
        Self { selector: Selector::with_backend(Deferred::new(backend)), script, seen: 0 }
    }

    /// The calls of a wait that finds nothing, without that of the wait itself.
    fn changes(&mut self) -> io::Result<Vec<Call>> {
        self.script.timeout();
        let events = self.selector.select(NOW)?;
        assert!(events.is_empty(), "{events:?}");
        Ok(self.calls())
    }

    /// The calls since the last time, without waits.
    fn calls(&mut self) -> Vec<Call> {
        let calls = self.script.calls();
        let new = calls[self.seen..].iter().filter(|call| !matches!(call, Call::Wait { .. }));
        let new = new.cloned().collect();
        self.seen = calls.len();
        new
    }
}

fn level(interest: Interest) -> selectors::Watch {
    selectors::Watch::new(interest, Mode::Level)
}

#[test]
fn what_comes_and_goes_between_two_waits_is_no_call() -> io::Result<()> {
    let mut scene = Scene::new();
    let (mut ours, _theirs) = pair()?;
    for _ in 0..3 {
        let token = scene.selector.register(ours, Interest::READ, "data")?;
        scene.selector.modify(token, BOTH)?;
        ours = scene.selector.unregister(token)?.0;
    }
    assert_eq!(scene.changes()?, []);
    Ok(())
}

#[test]
fn only_the_last_of_many_changes_is_made() -> io::Result<()> {
    let mut scene = Scene::new();
    let (ours, _theirs) = pair()?;
    let fd = number_of(&ours);
    let token = scene.selector.register(ours, Interest::READ, "data")?;
    scene.selector.modify(token, BOTH)?;
    scene.selector.modify(token, Interest::WRITE)?;
    let write = level(Interest::WRITE);
    assert_eq!(scene.changes()?, [Call::Register { fd, watch: write }]);
    for interest in [BOTH, Interest::READ, Interest::WRITE, Interest::READ] {
        scene.selector.modify(token, interest)?;
    }
    assert_eq!(scene.changes()?, [Call::Modify { fd, watch: level(Interest::READ) }]);
    scene.selector.modify(token, BOTH)?;
    scene.selector.unregister(token)?;
    assert_eq!(scene.changes()?, [Call::Unregister { fd }]);
    Ok(())
}

#[test]
fn there_and_back_is_no_call_unless_it_arms() -> io::Result<()> {
    for mode in [Mode::Level, Mode::Exclusive, Mode::OneShot, Mode::Edge] {
        let mut scene = Scene::new();
        let (ours, _theirs) = pair()?;
        let fd = number_of(&ours);
        let token = scene.selector.register_with(ours, Interest::READ, "data", mode)?;
        scene.changes()?;
        scene.selector.modify(token, BOTH)?;
        scene.selector.modify(token, Interest::READ)?;
        let watch = selectors::Watch::new(Interest::READ, mode);
        let arms = matches!(mode, Mode::OneShot | Mode::Edge);
        let expected = arms.then_some(Call::Modify { fd, watch });
        assert_eq!(scene.changes()?, expected.into_iter().collect::<Vec<_>>(), "{mode:?}");
    }
    Ok(())
}

#[test]
fn a_new_token_is_a_new_registration() -> io::Result<()> {
    let mut scene = Scene::new();
    let (ours, _theirs) = pair()?;
    let fd = number_of(&ours);
    let token = scene.selector.register(ours, Interest::READ, "old")?;
    scene.changes()?;
    let (ours, _) = scene.selector.unregister(token)?;
    scene.selector.register(ours, Interest::READ, "new")?;
    let watch = level(Interest::READ);
    assert_eq!(scene.changes()?, [Call::Unregister { fd }, Call::Register { fd, watch }]);
    Ok(())
}

#[test]
fn changes_are_made_in_the_order_in_which_they_were_first_asked_for() -> io::Result<()> {
    let mut scene = Scene::new();
    let mut expected = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..3 {
        let (ours, theirs) = pair()?;
        expected.push(Call::Register { fd: number_of(&ours), watch: level(Interest::READ) });
        scene.selector.register(ours, Interest::READ, "data")?;
        peers.push(theirs);
    }
    assert_eq!(scene.changes()?, expected);
    Ok(())
}

#[test]
fn a_refused_registration_is_an_error_until_it_is_asked_for_anew() -> io::Result<()> {
    let mut scene = Scene::new();
    let (ours, _theirs) = pair()?;
    let fd = number_of(&ours);
    let token = scene.selector.register(ours, Interest::READ, "data")?;
    scene.script.refuse(io::ErrorKind::OutOfMemory.into());
    for _ in 0..2 {
        scene.script.timeout();
        let events = scene.selector.select(None)?;
        let said: Vec<_> = events.iter().map(|event| (event.token(), event.readiness())).collect();
        assert_eq!(said, [(token, Readiness::READ | Readiness::ERROR)]);
        let why = scene.selector.backend().refusal(token).map(io::Error::kind);
        assert_eq!(why, Some(io::ErrorKind::OutOfMemory));
    }
    scene.calls();
    scene.selector.modify(token, Interest::WRITE)?;
    let watch = level(Interest::WRITE);
    assert_eq!(scene.changes()?, [Call::Register { fd, watch }], "it was never there");
    assert!(scene.selector.backend().refusal(token).is_none());
    Ok(())
}

#[test]
fn a_refused_registration_leaves_without_a_call() -> io::Result<()> {
    let mut scene = Scene::new();
    let (ours, _theirs) = pair()?;
    let token = scene.selector.register(ours, Interest::READ, "data")?;
    scene.script.refuse(io::ErrorKind::OutOfMemory.into());
    scene.script.timeout();
    assert_eq!(scene.selector.select(None)?.len(), 1);
    scene.calls();
    scene.selector.unregister(token)?;
    assert!(scene.selector.backend().refusal(token).is_none());
    assert_eq!(scene.changes()?, []);
    scene.script.timeout();
    let timeout = Some(Duration::from_secs(1));
    assert!(scene.selector.select(timeout)?.is_empty());
    assert_eq!(scene.script.calls().last(), Some(&Call::Wait { timeout }), "it waits again");
    Ok(())
}

#[test]
fn what_is_deferred_is_found_after_another_was_cancelled() -> io::Result<()> {
    let mut scene = Scene::new();
    let pairs = [pair()?, pair()?, pair()?];
    let fd = number_of(&pairs[1].0);
    let mut register =
        |(ours, _): (PairStream, _)| scene.selector.register(ours, Interest::READ, "data");
    let [first, second, last] = pairs.map(&mut register);
    let (first, second, last) = (first?, second?, last?);
    scene.selector.unregister(first)?;
    scene.selector.modify(last, BOTH)?;
    scene.selector.modify(second, Interest::WRITE)?;
    scene.selector.unregister(last)?;
    let watch = level(Interest::WRITE);
    assert_eq!(scene.changes()?, [Call::Register { fd, watch }]);
    Ok(())
}

#[test]
fn what_is_refused_when_flushing_is_reported_by_the_next_wait() -> io::Result<()> {
    let mut scene = Scene::new();
    let (ours, _theirs) = pair()?;
    let token = scene.selector.register(ours, Interest::READ, "data")?;
    scene.script.refuse(io::ErrorKind::OutOfMemory.into());
    scene.selector.flush()?;
    let why = scene.selector.backend().refusal(token).map(io::Error::kind);
    assert_eq!(why, Some(io::ErrorKind::OutOfMemory));
    scene.script.timeout();
    let events = scene.selector.select(None)?;
    assert_eq!(events.iter().map(selectors::Event::token).collect::<Vec<_>>(), [token]);
    assert!(events[0].readiness().contains(Readiness::ERROR));
    Ok(())
}

#[test]
fn a_refused_modify_leaves_nothing_that_is_watched() -> io::Result<()> {
    for mode in [Mode::Level, Mode::OneShot] {
        let mut scene = Scene::new();
        let (ours, _theirs) = pair()?;
        let fd = number_of(&ours);
        let token = scene.selector.register(ours, Interest::READ, "data")?;
        scene.changes()?;
        scene.selector.modify_with(token, BOTH, mode)?;
        scene.script.refuse(io::ErrorKind::OutOfMemory.into());
        scene.script.timeout();
        let events = scene.selector.select(NOW)?;
        assert!(events.iter().all(|event| event.readiness().contains(Readiness::ERROR)));
        assert_eq!(events.len(), 1);
        // The old interest would end every wait, but must not be reported.
        let watch = selectors::Watch::new(BOTH, mode);
        assert_eq!(scene.calls(), [Call::Modify { fd, watch }, Call::Unregister { fd }]);
        scene.selector.modify_with(token, Interest::READ, Mode::Level)?;
        assert_eq!(scene.changes()?, [Call::Register { fd, watch: level(Interest::READ) }]);
        scene.selector.unregister(token)?;
        assert_eq!(scene.changes()?, [Call::Unregister { fd }]);
    }
    Ok(())
}

#[test]
fn a_refused_one_shot_is_told_once() -> io::Result<()> {
    let mut scene = Scene::new();
    let (ours, _theirs) = pair()?;
    let fd = number_of(&ours);
    let mode = Mode::OneShot;
    let token = scene.selector.register_with(ours, Interest::READ, "data", mode)?;
    scene.script.refuse(io::ErrorKind::OutOfMemory.into());
    scene.script.timeout();
    assert_eq!(scene.selector.select(None)?.len(), 1);
    scene.calls();
    assert_eq!(scene.changes()?, []);
    scene.selector.modify(token, Interest::READ)?;
    let watch = selectors::Watch::new(Interest::READ, mode);
    assert_eq!(scene.changes()?, [Call::Register { fd, watch }]);
    Ok(())
}

#[test]
fn a_wait_that_a_signal_interrupts_makes_the_changes_once() -> io::Result<()> {
    let mut scene = Scene::new();
    let (ours, _theirs) = pair()?;
    let fd = number_of(&ours);
    scene.selector.register(ours, Interest::READ, "data")?;
    scene.script.interrupted(Duration::ZERO);
    scene.script.timeout();
    assert!(scene.selector.select(Some(Duration::from_secs(1)))?.is_empty());
    assert_eq!(scene.calls(), [Call::Register { fd, watch: level(Interest::READ) }]);
    Ok(())
}

#[test]
fn proc_1_a_backend_with_a_way_to_be_woken_is_woken_that_way() -> io::Result<()> {
    let mut scene = Scene::new();
    let waker = scene.selector.waker()?;
    assert_eq!(scene.script.calls(), [], "no channel is watched");
    waker.wake()?;
    assert!(scene.selector.select(NOW)?.woken());
    Ok(())
}

#[test]
fn flushing_makes_the_changes_without_a_wait() -> io::Result<()> {
    let mut scene = Scene::new();
    let (ours, _theirs) = pair()?;
    let fd = number_of(&ours);
    scene.selector.register(ours, Interest::READ, "data")?;
    scene.selector.flush()?;
    assert_eq!(scene.script.calls(), [Call::Register { fd, watch: level(Interest::READ) }]);
    scene.selector.flush()?;
    assert_eq!(scene.script.calls().len(), 1);
    Ok(())
}

#[test]
fn a_dropped_selector_makes_no_change() -> io::Result<()> {
    let mut scene = Scene::new();
    let (ours, _theirs) = pair()?;
    scene.selector.register(ours, Interest::READ, "data")?;
    let Scene { selector, script, .. } = scene;
    assert_eq!(selector.close().len(), 1);
    assert_eq!(script.calls(), []);
    Ok(())
}

#[test]
fn wait_9_a_refusal_is_reported_though_the_wait_fails() -> io::Result<()> {
    let mut scene = Scene::new();
    let (ours, _theirs) = pair()?;
    let token = scene.selector.register(ours, Interest::READ, "data")?;
    scene.script.refuse(io::ErrorKind::OutOfMemory.into());
    scene.script.fail(io::ErrorKind::OutOfMemory.into());
    let events = scene.selector.select(NOW)?;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].token(), token);
    Ok(())
}

/// What a new kernel object changes for sources that the old one refused.
mod rebuilt {
    use std::sync::{Arc, Mutex};

    use selectors::backend::{Backend, BorrowedSource, RawSource, Registered};
    use selectors::{Event, Events, Token, Watch};

    use super::*;

    #[derive(Default)]
    struct State {
        refuses: bool,
        haunted: bool,
        rebuilt: Vec<Token>,
        watched: Vec<Token>,
        unknown: Vec<Token>,
    }

    /// Watches nothing, and refuses to.
    #[derive(Clone, Default)]
    struct Refusing(Arc<Mutex<State>>);

    impl Backend for Refusing {
        fn capabilities(&self) -> Capabilities {
            let mut capabilities = Capabilities::default();
            capabilities.edge = true;
            capabilities.error = true;
            capabilities
        }

        fn register(&mut self, _: BorrowedSource<'_>, token: Token, _: Watch) -> io::Result<()> {
            let mut state = self.0.lock().unwrap();
            if state.refuses {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            state.watched.push(token);
            Ok(())
        }

        fn modify(&mut self, _: RawSource, _: Token, _: Watch, _: Watch) -> io::Result<()> {
            Ok(())
        }

        fn unregister(&mut self, _: RawSource, token: Token, _: Watch) -> io::Result<()> {
            let mut state = self.0.lock().unwrap();
            let place = state.watched.iter().position(|watched| *watched == token);
            match place {
                Some(place) => drop(state.watched.remove(place)),
                None => state.unknown.push(token),
            }
            Ok(())
        }

        fn wait(&mut self, events: &mut Events, _: Option<Duration>) -> io::Result<()> {
            if std::mem::take(&mut self.0.lock().unwrap().haunted) {
                events.push(Event::new(Token::from_bits(0x7777_7777_7777_7777), Readiness::READ));
            }
            Ok(())
        }

        fn rebuild(
            &mut self,
            sources: &mut dyn Iterator<Item = Registered>,
            _: &mut Events,
        ) -> io::Result<()> {
            self.0.lock().unwrap().rebuilt = sources.map(|source| source.token).collect();
            Ok(())
        }
    }

    #[test]
    fn close_4_what_was_refused_stays_refused_until_it_is_armed() -> io::Result<()> {
        let backend = Refusing::default();
        let mut selector = Selector::with_backend(Deferred::new(backend.clone()));
        let state = || backend.0.lock().unwrap();
        let (fine, _peer) = pair()?;
        let fine = selector.register(fine, Interest::READ, ())?;
        assert!(selector.select(NOW)?.is_empty());
        state().refuses = true;
        let mut register = |mode| -> io::Result<Token> {
            Ok(selector.register_with(pair()?.0, Interest::READ, (), mode)?)
        };
        let [level, once, edge] = [Mode::Level, Mode::OneShot, Mode::Edge].map(&mut register);
        let (level, once, edge) = (level?, once?, edge?);
        assert_eq!(selector.select(NOW)?.len(), 3);
        state().haunted = true;
        let events = selector.select(NOW)?;
        assert_eq!(events.iter().map(Event::token).collect::<Vec<_>>(), [level]);
        assert_eq!(state().rebuilt, [fine], "the others are not watched");
        assert_eq!(selector.select(NOW)?.len(), 1, "it is still reported");
        state().refuses = false;
        selector.modify(once, Interest::READ)?;
        assert_eq!(selector.select(NOW)?.len(), 1);
        assert_eq!(state().watched, [fine, once], "it was armed");
        for token in [edge, once, level, fine] {
            selector.unregister(token)?;
        }
        assert_eq!(state().watched, []);
        assert_eq!(state().unknown, []);
        Ok(())
    }
}
