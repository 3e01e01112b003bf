//! A whole selector, over a kernel whose objects can be replaced as epoll instances are.

use std::collections::BTreeMap;
use std::io::{self, Stdin, stdin};
use std::sync::Arc;
use std::time::Duration;

use loom::thread;

use super::model;
use crate::backend::{
    AnyChanger, Backend, BorrowedSource, Changer, RawSource, Registered, Trigger, raw,
};
use crate::shared::{Registrar, SharedSelector};
use crate::sync::{Condvar, Mutex, lock};
use crate::{Capabilities, Error, Event, Events, Interest, Mode, Readiness, Token, Watch};

#[derive(Default)]
struct Kernel {
    known: Mutex<Known>,
    changed: Condvar,
}

/// What every object watches: everything that is watched is readable.
#[derive(Default)]
struct Known {
    objects: Vec<BTreeMap<RawSource, (Token, Watch)>>,
    woken: bool,
}

impl Kernel {
    fn create(&self) -> usize {
        let mut known = lock(&self.known);
        known.objects.push(BTreeMap::new());
        known.objects.len() - 1
    }

    fn change(&self, object: usize, fd: RawSource, watched: Option<(Token, Watch)>) {
        let object = &mut lock(&self.known).objects[object];
        match watched {
            Some(watched) => drop(object.insert(fd, watched)),
            None => drop(object.remove(&fd)),
        }
        self.changed.notify_all();
    }

    fn wait(&self, object: usize, events: &mut Events, timeout: Option<Duration>) {
        let mut known = lock(&self.known);
        loop {
            let Known { objects, woken } = &mut *known;
            events.extend(std::mem::take(woken).then(|| Event::new(Token::WAKER, Readiness::READ)));
            objects[object].retain(|_, (token, watch)| {
                let readiness = Readiness::READ.masked_by(watch.interest);
                let is_ready = !readiness.is_empty();
                events.extend(is_ready.then(|| Event::new(*token, readiness)));
                !is_ready || watch.mode == Mode::Level
            });
            if events.has_events() || timeout.is_some() {
                return;
            }
            known = self.changed.wait(known).unwrap();
        }
    }
}

/// The backend, and the changer.
struct Object {
    kernel: Arc<Kernel>,
    number: usize,
    has_changer: bool,
}

impl Object {
    #[expect(clippy::unnecessary_wraps, reason = "it is what its callers return")]
    fn change(&self, fd: RawSource, watched: Option<(Token, Watch)>) -> io::Result<()> {
        self.kernel.change(self.number, fd, watched);
        Ok(())
    }
}

impl Changer for Object {
    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<bool> {
        self.change(raw(source), Some((token, watch))).map(|()| true)
    }

    fn modify(&mut self, fd: RawSource, token: Token, _: Watch, new: Watch) -> io::Result<()> {
        self.change(fd, Some((token, new)))
    }

    fn unregister(&mut self, fd: RawSource, _: Token, _: Watch) -> io::Result<()> {
        self.change(fd, None)
    }
}

impl Backend for Object {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        self.change(raw(source), Some((token, watch)))
    }

    fn modify(&mut self, fd: RawSource, token: Token, _: Watch, new: Watch) -> io::Result<()> {
        self.change(fd, Some((token, new)))
    }

    fn unregister(&mut self, fd: RawSource, _: Token, _: Watch) -> io::Result<()> {
        self.change(fd, None)
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.kernel.wait(self.number, events, timeout);
        Ok(())
    }

    fn waker(&self, _: Token) -> io::Result<Option<Trigger>> {
        let kernel = Arc::clone(&self.kernel);
        Ok(Some(Box::new(move || {
            lock(&kernel.known).woken = true;
            kernel.changed.notify_all();
            Ok(())
        })))
    }

    fn changer(&self) -> io::Result<Option<AnyChanger>> {
        let Self { number, has_changer, .. } = *self;
        let changer = Self { kernel: Arc::clone(&self.kernel), number, has_changer };
        Ok(has_changer.then(|| AnyChanger::new(changer)))
    }

    fn rebuild(
        &mut self,
        sources: &mut dyn Iterator<Item = Registered>,
        _: &mut Events,
    ) -> io::Result<()> {
        self.number = self.kernel.create();
        for source in sources {
            self.change(source.fd, Some((source.token, source.watch)))?;
        }
        Ok(())
    }

    fn after_fork(&mut self) -> io::Result<()> {
        self.number = self.kernel.create();
        Ok(())
    }
}

/// A selector whose changes the kernel accepts during a wait, or does not.
fn selector(has_changer: bool) -> (SharedSelector<u32>, Arc<Kernel>) {
    let kernel = Arc::new(Kernel::default());
    let number = kernel.create();
    let object = Object { kernel: Arc::clone(&kernel), number, has_changer };
    (SharedSelector::with_backend(object).unwrap(), kernel)
}

type Source = crate::Source<Stdin, u32>;

fn register(registrar: &Registrar<u32>, interest: Interest) -> Source {
    registrar.register_with(stdin(), interest, 7, Mode::OneShot).unwrap()
}

/// A wait reports the source, and nothing else.
fn expect(selector: &mut SharedSelector<u32>) -> Token {
    let events = selector.select(None).unwrap();
    assert_eq!(events.len(), 1);
    let token = events.iter().next().unwrap().token();
    assert_eq!(selector.get(token), Some(&7));
    token
}

const NOW: Option<Duration> = Some(Duration::ZERO);

/// A source that is registered or armed while the waiter recreates the kernel object is watched by
/// the new one.
#[test]
fn no_change_is_lost_by_rebuilding() {
    for registered in [false, true] {
        model(4, move || {
            let (mut selector, kernel) = selector(true);
            let registrar = selector.registrar();
            // Always, because loom does not know that the first slots are created once.
            let parked = register(&registrar, Interest::empty());
            let source = if registered {
                Some(parked)
            } else {
                drop(parked);
                None
            };
            // Its generation is that of no source, so the next wait rebuilds.
            kernel.change(0, RawSource::MAX, Some((Token::new(0, 99), LEVEL)));
            let changer = thread::spawn(move || match source {
                Some(source) => {
                    source.modify(Interest::READ).unwrap();
                    source
                }
                None => register(&registrar, Interest::READ),
            });
            let token = expect(&mut selector);
            let source = changer.join().unwrap();
            assert_eq!(source.token(), token);
            source.rearm().unwrap();
            assert_eq!(expect(&mut selector), token);
            let known = lock(&kernel.known);
            assert_eq!(known.objects.len(), 2, "it was rebuilt once");
            drop(known);
            source.modify(Interest::READ).unwrap();
            drop(source);
            assert!(selector.select(NOW).unwrap().is_empty());
        });
    }
}

const LEVEL: Watch = Watch::new(Interest::READ, Mode::Level);

/// In a forked child a thread makes a change while another calls `after_fork`: the change is
/// refused, or effective.
#[test]
fn a_change_during_after_fork_is_refused_or_effective() {
    model(4, || {
        let (mut selector, _kernel) = selector(true);
        let source = register(&selector.registrar(), Interest::empty());
        selector.inherit();
        let changer = thread::spawn(move || {
            let changed = source.modify(Interest::READ);
            (source, changed)
        });
        match selector.after_fork() {
            Ok(()) => {}
            // A change was in progress at that moment, which is impossible at the moment of a fork.
            Err(Error::Forked) => panic!("a refused thread holds no lock"),
            Err(error) => panic!("{error}"),
        }
        let (source, changed) = changer.join().unwrap();
        match changed {
            Ok(()) => {}
            Err(Error::Forked) => source.modify(Interest::READ).unwrap(),
            Err(error) => panic!("{error}"),
        }
        assert_eq!(expect(&mut selector), source.token());
    });
}

/// A change that needs the backend, and a wake, both reach the waiter.
#[test]
fn a_change_and_a_wake_reach_the_waiter() {
    model(4, || {
        let (mut selector, _kernel) = selector(false);
        let (registrar, waker) = (selector.registrar(), selector.waker());
        let changer = thread::spawn(move || {
            waker.wake().unwrap();
            register(&registrar, Interest::READ)
        });
        let (mut woken, mut reported) = (0, 0);
        while woken == 0 || reported == 0 {
            let events = selector.select(None).unwrap();
            woken += u32::from(events.woken());
            reported += events.len();
        }
        let source = changer.join().unwrap();
        drop(source);
        let rest = selector.select(NOW).unwrap();
        assert!(rest.is_empty() && !rest.woken());
        assert_eq!((woken, reported), (1, 1));
    });
}
