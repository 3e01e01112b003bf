//! Wakers: how another thread ends a wait.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::backend::{Backend, Capabilities, Channel, RawSource, Registered, Trigger, raw};
use crate::{Error, Interest, Mode, Result, Token, Watch};

/// Ends a selector's wait from another thread: see
/// [`Selector::waker`](crate::Selector::waker).
///
/// It wakes the wait that is going on, or else the next one. Many wakes before a wait are one
/// wake. Clones wake the same selector, and waking one that is gone does nothing.
///
/// # Implementation notes
///
/// A flag says whether a wake is under way, so only the first of several makes a system call.
/// Beneath it lies an eventfd that is watched edge-triggered and never read (Linux, Android),
/// the backend's own means where it has one (`EVFILT_USER`), or else a socket pair: on Windows
/// two sockets that are connected over the loopback interface, and to nobody else.
///
/// After fork(2), waking through the child's copy wakes the parent as well.
///
/// # Examples
///
/// ```
/// use selectors::DefaultSelector;
/// use std::net::TcpStream;
/// use std::thread;
///
/// # fn main() -> std::io::Result<()> {
/// let mut selector: DefaultSelector<TcpStream> = DefaultSelector::new()?;
/// let waker = selector.waker()?;
/// let thread = thread::spawn(move || waker.wake());
/// let events = selector.select(None)?;
/// assert!(events.is_empty() && events.woken());
/// thread.join().unwrap()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Waker(Arc<Shared>);

struct Shared {
    /// Whether a wake was asked for that no wait has answered yet.
    pending: AtomicBool,
    trigger: Trigger,
}

impl Waker {
    /// Ends the wait of the selector, or its next one. Does not block.
    ///
    /// # Errors
    ///
    /// Those of write(2) on an eventfd or a socket, none of which is known to happen.
    #[inline]
    pub fn wake(&self) -> io::Result<()> {
        // A swap and no plain load: it must not read a flag that the selector has since
        // cleared, or the wake would be lost.
        if self.0.pending.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        (self.0.trigger)().inspect_err(|_| self.0.pending.store(false, Ordering::Release))
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pending = self.0.pending.load(Ordering::Relaxed);
        f.debug_struct("Waker").field("pending", &pending).finish_non_exhaustive()
    }
}

/// The selector's end of its wakers.
#[derive(Debug)]
pub(crate) struct Wake {
    waker: Waker,
    /// The channel that is watched, unless the backend has means of its own.
    watched: Option<(Arc<Channel>, Watch)>,
    /// Whether a wake that was answered already may be reported again.
    started_over: bool,
}

impl Wake {
    /// Sets up waking for `backend`, by no descriptor whose number is `taken`.
    pub(crate) fn new<B: Backend>(
        backend: &mut B,
        capabilities: Capabilities,
        taken: impl Fn(RawSource) -> bool,
    ) -> Result<Self> {
        if !capabilities.waker {
            return Err(Error::Unsupported { feature: "waking", fd: None });
        }
        let failed = |error| Error::os("make a waker", None, error);
        if let Some(trigger) = backend.waker(Token::WAKER).map_err(failed)? {
            return Ok(Self { waker: Waker::new(trigger), watched: None, started_over: false });
        }
        // The number of a source that was closed behind our back is free, but not for this: the
        // backend would take one for the other.
        let mut unfit = Vec::new();
        let channel = loop {
            let channel = Channel::new().map_err(failed)?;
            if !taken(raw(channel.source())) {
                break Arc::new(channel);
            }
            unfit.push(channel);
        };
        // What never fills need not be emptied either, if only its news are reported.
        let edge = capabilities.edge && !Channel::FILLS;
        let mode = if edge { Mode::Edge } else { Mode::Level };
        let watch = Watch::new(Interest::READ, mode);
        backend.register(channel.source(), Token::WAKER, watch).map_err(failed)?;
        let trigger = Arc::clone(&channel);
        let waker = Waker::new(Box::new(move || trigger.notify()));
        Ok(Self { waker, watched: Some((channel, watch)), started_over: false })
    }

    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Takes note that the wake was answered. Whether there was one: a channel that is watched
    /// for news alone, and so never emptied, is reported once more when the backend has started
    /// over.
    pub(crate) fn answered(&mut self) -> bool {
        if let Some((channel, Watch { mode: Mode::Level, .. })) = &self.watched {
            // Before the flag is cleared, or it would empty the channel of a later wake.
            channel.drain();
        }
        let pending = self.waker.0.pending.swap(false, Ordering::AcqRel);
        pending || !std::mem::take(&mut self.started_over)
    }

    /// What a backend needs to start over.
    pub(crate) fn start_over(&mut self) -> Option<Registered> {
        self.started_over = true;
        let (channel, watch) = self.watched.as_ref()?;
        Some(Registered {
            fd: raw(channel.source()),
            token: Token::WAKER,
            watch: *watch,
            armed: true,
        })
    }
}

impl Waker {
    fn new(trigger: Trigger) -> Self {
        Self(Arc::new(Shared { pending: AtomicBool::new(false), trigger }))
    }
}
