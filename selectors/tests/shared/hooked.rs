//! A backend that records its calls.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use selectors::backend::{AnyChanger, Backend, Capabilities, Changer, Poll};
use selectors::{Events, Token, Watch};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// Another thread tests whether the kernel accepts a source meanwhile: it does not.
    Offer,
    Register(RawFd),
    Modify,
    Unregister,
}

/// poll(2), with a hook that runs after each call that changes something. It may panic.
pub(crate) struct Hooked {
    poll: Poll,
    hook: Arc<dyn Fn(Call) + Send + Sync>,
}

impl Hooked {
    pub(crate) fn new(hook: impl Fn(Call) + Send + Sync + 'static) -> Self {
        Self { poll: Poll::new().unwrap(), hook: Arc::new(hook) }
    }
}

impl Backend for Hooked {
    fn capabilities(&self) -> Capabilities {
        self.poll.capabilities()
    }

    fn register(&mut self, source: BorrowedFd<'_>, token: Token, watch: Watch) -> io::Result<()> {
        self.poll.register(source, token, watch)?;
        (self.hook)(Call::Register(source.as_raw_fd()));
        Ok(())
    }

    fn modify(&mut self, fd: RawFd, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        self.poll.modify(fd, token, old, new)?;
        (self.hook)(Call::Modify);
        Ok(())
    }

    fn unregister(&mut self, fd: RawFd, token: Token, watch: Watch) -> io::Result<()> {
        self.poll.unregister(fd, token, watch)?;
        (self.hook)(Call::Unregister);
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.poll.wait(events, timeout)
    }

    fn changer(&self) -> io::Result<Option<AnyChanger>> {
        Ok(Some(AnyChanger::new(Offers(Arc::clone(&self.hook)))))
    }
}

/// Leaves every source to the backend.
struct Offers(Arc<dyn Fn(Call) + Send + Sync>);

impl Changer for Offers {
    fn register(&mut self, _: BorrowedFd<'_>, _: Token, _: Watch) -> io::Result<bool> {
        (self.0)(Call::Offer);
        Ok(false)
    }

    fn modify(&mut self, _: RawFd, _: Token, _: Watch, _: Watch) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn unregister(&mut self, _: RawFd, _: Token, _: Watch) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
