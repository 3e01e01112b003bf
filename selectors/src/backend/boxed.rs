//! Implements [`Backend`] for boxed backends.

use std::io;
use std::time::{Duration, Instant};

use super::{
    AnyChanger, Backend, BorrowedSource, Capabilities, Change, RawSource, Registered, Trigger,
};
use crate::{Events, Token, Watch};

impl<B: Backend + ?Sized> Backend for Box<B> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        (**self).register(source, token, watch)
    }

    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        (**self).modify(fd, token, old, new)
    }

    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        (**self).unregister(fd, token, watch)
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        (**self).wait(events, timeout)
    }

    fn change_and_wait(
        &mut self,
        changes: &mut [Change],
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        (**self).change_and_wait(changes, events, timeout)
    }

    fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        (**self).descriptor()
    }

    fn waker(&self, token: Token) -> io::Result<Option<Trigger>> {
        (**self).waker(token)
    }

    fn changer(&self) -> io::Result<Option<AnyChanger>> {
        (**self).changer()
    }

    fn now(&self) -> Instant {
        (**self).now()
    }

    fn owns(&self, fd: RawSource) -> bool {
        (**self).owns(fd)
    }

    fn rebuild(
        &mut self,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        (**self).rebuild(sources, events)
    }

    fn after_fork(&mut self) -> io::Result<()> {
        (**self).after_fork()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::net::UdpSocket;

    use super::*;
    use crate::backend::source::{raw, source};
    use crate::{Interest, Mode};

    /// Notes which of its methods are called.
    struct Notes<'a>(&'a RefCell<Vec<&'static str>>);

    impl Notes<'_> {
        fn note<R>(&self, method: &'static str, answer: R) -> R {
            self.0.borrow_mut().push(method);
            answer
        }
    }

    impl Backend for Notes<'_> {
        fn capabilities(&self) -> Capabilities {
            self.note("capabilities", Capabilities::default())
        }

        fn register(&mut self, _: BorrowedSource<'_>, _: Token, _: Watch) -> io::Result<()> {
            self.note("register", Ok(()))
        }

        fn modify(&mut self, _: RawSource, _: Token, _: Watch, _: Watch) -> io::Result<()> {
            self.note("modify", Ok(()))
        }

        fn unregister(&mut self, _: RawSource, _: Token, _: Watch) -> io::Result<()> {
            self.note("unregister", Ok(()))
        }

        fn wait(&mut self, _: &mut Events, _: Option<Duration>) -> io::Result<()> {
            self.note("wait", Ok(()))
        }

        fn change_and_wait(
            &mut self,
            _: &mut [Change],
            _: &mut Events,
            _: Option<Duration>,
        ) -> io::Result<()> {
            self.note("change_and_wait", Ok(()))
        }

        fn descriptor(&self) -> Option<BorrowedSource<'_>> {
            self.note("descriptor", None)
        }

        fn owns(&self, _: RawSource) -> bool {
            self.note("owns", false)
        }

        fn waker(&self, _: Token) -> io::Result<Option<Trigger>> {
            self.note("waker", Ok(None))
        }

        fn changer(&self) -> io::Result<Option<AnyChanger>> {
            self.note("changer", Ok(None))
        }

        fn now(&self) -> Instant {
            self.note("now", Instant::now())
        }

        fn rebuild(
            &mut self,
            _: &mut dyn Iterator<Item = Registered>,
            _: &mut Events,
        ) -> io::Result<()> {
            self.note("rebuild", Ok(()))
        }

        fn after_fork(&mut self) -> io::Result<()> {
            self.note("after_fork", Ok(()))
        }
    }

    /// The conformance suite runs over boxed backends: a method that has a default must not be left to it.
    #[test]
    fn every_method_is_forwarded() -> io::Result<()> {
        let calls = RefCell::default();
        let mut boxed: Box<dyn Backend + '_> = Box::new(Notes(&calls));
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let (fd, token) = (raw(source(&socket)), Token::from_bits(1));
        let (watch, mut events) = (Watch::new(Interest::READ, Mode::Level), Events::new());
        Backend::capabilities(&boxed);
        Backend::register(&mut boxed, source(&socket), token, watch)?;
        Backend::modify(&mut boxed, fd, token, watch, watch)?;
        Backend::unregister(&mut boxed, fd, token, watch)?;
        Backend::wait(&mut boxed, &mut events, None)?;
        Backend::change_and_wait(&mut boxed, &mut [], &mut events, None)?;
        Backend::descriptor(&boxed);
        Backend::owns(&boxed, fd);
        Backend::waker(&boxed, token)?;
        Backend::changer(&boxed)?;
        Backend::now(&boxed);
        Backend::rebuild(&mut boxed, &mut std::iter::empty(), &mut events)?;
        Backend::after_fork(&mut boxed)?;
        drop(boxed);
        let expected = [
            "capabilities",
            "register",
            "modify",
            "unregister",
            "wait",
            "change_and_wait",
            "descriptor",
            "owns",
            "waker",
            "changer",
            "now",
            "rebuild",
            "after_fork",
        ];
        assert_eq!(calls.into_inner(), expected);
        Ok(())
    }
}
