//! Wakers: how another thread ends a wait.

use std::fmt;
use std::io;
use std::mem;
use std::sync::{Arc, OnceLock};

use crate::backend::{
    Backend, BorrowedSource, Capabilities, Channel, RawSource, Registered, Trigger, fork,
    generation, open_untaken, preserve_errno, raw,
};
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use crate::{Error, Interest, Mode, Result, Token, Watch};

/// Ends a selector's wait from another thread: see
/// [`Selector::waker`](crate::Selector::waker).
///
/// It ends the current wait, or else the next one. Several wakes before a wait are merged. Clones wake
/// the same selector. Waking a selector that was dropped does nothing.
///
/// # Implementation notes
///
/// Wakes are coalesced by an atomic word; only the first of several makes a system call. That is a
/// write(2) to an eventfd (Linux, Android), a trigger of the backend (`EVFILT_USER`), or a write(2) to
/// a socket pair, on Windows one over the loopback interface. If foreign code closes the channel or
/// shuts it down, the next wait of the selector replaces it, and a closed number is not closed again.
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

/// A wake was requested that no wait has reported yet.
const ASKED: u64 = 1;
/// The wake was sent to the channel.
const SENT: u64 = 2;
/// The channel is not watched: it is broken, and creating another one failed. Never with [`SENT`].
const UNWATCHED: u64 = 4;
/// The unit of the rest of the word, which counts the reported wakes, so that a delayed sender does
/// not mark a later wake as sent.
const NEXT: u64 = 8;

struct Shared {
    state: AtomicU64,
    /// The [generation](fork::generation) of the process that the selector belongs to.
    generation: u32,
    sender: Sender,
    /// Whether the channel is broken and was not replaced yet.
    broken: AtomicBool,
}

/// How a wake reaches the selector.
enum Sender {
    /// Through the backend.
    Trigger(Trigger),
    /// Through a channel, the first of a list: see [`Link`].
    Channel(Arc<Link>),
}

impl Sender {
    fn send(&self) -> io::Result<()> {
        match self {
            Self::Trigger(trigger) => trigger(),
            Self::Channel(first) => first.last().channel.notify(),
        }
    }
}

/// A channel, and the one that has replaced it, so that a signal handler can find the last one without
/// a lock.
#[derive(Debug)]
struct Link {
    channel: Channel,
    next: OnceLock<Arc<Link>>,
}

impl Link {
    fn new(channel: Channel) -> Self {
        Self { channel, next: OnceLock::new() }
    }

    fn last(&self) -> &Self {
        let mut link = self;
        while let Some(next) = link.next.get() {
            link = next;
        }
        link
    }
}

impl Waker {
    fn new(sender: Sender) -> Self {
        let (state, broken) = (AtomicU64::new(0), AtomicBool::new(false));
        Self(Arc::new(Shared { state, generation: fork::generation(), sender, broken }))
    }

    /// Ends the current wait of the selector, or the next one. Does not block.
    ///
    /// It is async-signal-safe, so that a signal handler may call it: it takes no lock, does not
    /// allocate and preserves `errno`.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`] in a child of fork(2), because the waker belongs to the parent; it wakes no
    /// selector. [`Error::Os`] if the channel is broken: the current wait continues, unless a signal
    /// interrupts it, and the next one replaces the channel and returns because of this wake. A further
    /// call tries again.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::DefaultSelector;
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: DefaultSelector<TcpStream> = DefaultSelector::new()?;
    /// selector.waker()?.wake()?;
    /// assert!(selector.select(None)?.woken());
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn wake(&self) -> Result<()> {
        let shared = &*self.0;
        if !fork::is_ours(shared.generation) {
            return Err(Error::Forked);
        }
        // A read-modify-write, not a load: it must not read a state that the selector has since
        // reset, or the wake would be lost. A wake that was sent after it, or before it and not
        // reported yet, serves for this one as well.
        shared.state.fetch_or(ASKED, Ordering::AcqRel);
        let state = shared.state.load(Ordering::Acquire);
        if state & SENT != 0 {
            return Ok(());
        }
        shared.send(state)
    }
}

impl Shared {
    /// Sends the requested wake, in this `state`.
    #[inline(never)]
    fn send(&self, state: u64) -> Result<()> {
        if state & UNWATCHED != 0 {
            return Err(Error::os("wake", None, io::ErrorKind::BrokenPipe.into()));
        }
        if let Err(error) = preserve_errno(|| self.sender.send()) {
            if !self.broken.swap(true, Ordering::Relaxed) {
                generation::waker_failed();
            }
            return Err(Error::os("wake", None, error));
        }
        // Fails if the selector has reported it already. A request before this also sends.
        let sent = state | SENT;
        let _ = self.state.compare_exchange(state, sent, Ordering::AcqRel, Ordering::Relaxed);
        Ok(())
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pending = self.0.state.load(Ordering::Relaxed) & ASKED != 0;
        f.debug_struct("Waker").field("pending", &pending).finish_non_exhaustive()
    }
}

/// The selector's side of its wakers.
#[derive(Debug)]
pub(crate) struct Wake {
    waker: Waker,
    /// How the channel is watched, if there is one.
    watch: Option<Watch>,
    /// The state between two wakes.
    idle: u64,
    /// Whether the channel is not registered with the backend yet.
    is_new: bool,
}

impl Wake {
    /// Creates the waker of `backend`. If it uses a channel, its number is not `taken`, and it must
    /// be [attached](Self::attach).
    pub(crate) fn new<B: Backend>(
        backend: &B,
        capabilities: Capabilities,
        taken: impl Fn(RawSource) -> bool,
    ) -> Result<Self> {
        if !capabilities.waker {
            return Err(Error::Unsupported { feature: "waking", fd: None });
        }
        let (sender, watch) = if let Some(trigger) = backend.waker(Token::WAKER).map_err(failed)? {
            (Sender::Trigger(trigger), None)
        } else {
            // A channel that cannot fill need not be emptied if it is edge-triggered.
            let edge = capabilities.edge && !Channel::FILLS;
            let mode = if edge { Mode::Edge } else { Mode::Level };
            let watch = Watch::new(Interest::READ, mode);
            let channel = new_channel(taken).map_err(failed)?;
            let fd = raw(channel.source());
            if let Some(limit) = capabilities.max_descriptor.filter(|&limit| fd > limit) {
                return Err(Error::DescriptorOutOfRange { fd, limit });
            }
            (Sender::Channel(Arc::new(Link::new(channel))), Some(watch))
        };
        Ok(Self { waker: Waker::new(sender), watch, idle: 0, is_new: watch.is_some() })
    }

    /// Registers the channel, if there is one. If `register` returns false, the next wait
    /// [registers](Self::mend) it; wakes before that are not lost.
    pub(crate) fn attach(
        &mut self,
        register: impl FnOnce(BorrowedSource<'_>, Watch) -> io::Result<bool>,
    ) -> Result<()> {
        let Some((link, watch)) = self.channel() else { return Ok(()) };
        self.is_new = !register(link.channel.source(), watch).map_err(failed)?;
        Ok(())
    }

    /// A waker that calls a trigger.
    pub(crate) fn over(trigger: Trigger) -> Self {
        let sender = Sender::Trigger(trigger);
        Self { waker: Waker::new(sender), watch: None, idle: 0, is_new: false }
    }

    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// The number of the descriptor that is watched.
    pub(crate) fn number(&self) -> Option<RawSource> {
        self.registered().map(|channel| channel.fd)
    }

    /// The channel that is watched.
    fn channel(&self) -> Option<(&Link, Watch)> {
        match &self.waker.0.sender {
            Sender::Channel(first) => Some((first.last(), self.watch?)),
            Sender::Trigger(_) => None,
        }
    }

    /// Called after the backend has reported the waker. Returns true if a wake was not reported yet.
    /// The channel [needs mending](Self::needs_mending) if it cannot be emptied.
    pub(crate) fn take(&mut self) -> bool {
        if let Some((link, Watch { mode: Mode::Level, .. })) = self.channel() {
            // Before the state is reset, or it would remove a later wake from the channel.
            if link.channel.drain().is_err() {
                self.waker.0.broken.store(true, Ordering::Relaxed);
            }
        }
        self.reset()
    }

    /// Resets the state. Returns true if a wake was not reported yet.
    pub(crate) fn reset(&mut self) -> bool {
        self.idle = self.idle.wrapping_add(NEXT);
        self.waker.0.state.swap(self.idle, Ordering::AcqRel) & ASKED != 0
    }

    /// Attaches a new channel, or replaces a broken one, and sends a requested wake again.
    #[cold]
    pub(crate) fn mend<B: Backend>(
        &mut self,
        backend: &mut B,
        taken: impl Fn(RawSource) -> bool,
    ) -> io::Result<()> {
        self.replace(backend, taken).inspect_err(|_| {
            self.waker.0.broken.store(true, Ordering::Relaxed);
            self.idle |= UNWATCHED;
            let unwatched = |state| Some((state | UNWATCHED) & !SENT);
            let state = &self.waker.0.state;
            let _ = state.fetch_update(Ordering::AcqRel, Ordering::Acquire, unwatched);
        })?;
        self.idle &= !UNWATCHED;
        let shared = &*self.waker.0;
        shared.broken.store(false, Ordering::Relaxed);
        // A wake sent to the old channel may be lost with it. Later requests use the new one.
        let state = shared.state.fetch_and(!(SENT | UNWATCHED), Ordering::AcqRel);
        if state & ASKED != 0 {
            let broken = |_: &io::Error| shared.broken.store(true, Ordering::Relaxed);
            shared.sender.send().inspect_err(broken)?;
        }
        Ok(())
    }

    /// Stops watching the channel, and creates another, unless it is new. Does nothing if the backend
    /// has its own trigger.
    fn replace<B: Backend>(
        &mut self,
        backend: &mut B,
        taken: impl Fn(RawSource) -> bool,
    ) -> io::Result<()> {
        let is_new = mem::take(&mut self.is_new);
        let Some((link, watch)) = self.channel() else { return Ok(()) };
        let (channel, fd) = (link.channel.source(), raw(link.channel.source()));
        if is_new {
            if !self.is_broken() && backend.register(channel, Token::WAKER, watch).is_ok() {
                return Ok(());
            }
        } else if !taken(fd) {
            // Otherwise the old channel would end every wait.
            let _ = backend.unregister(fd, Token::WAKER, watch);
        }
        link.channel.check_lost();
        let channel = new_channel(taken)?;
        // If this fails as well, nothing is gained. The next wait does not report it.
        channel.notify()?;
        backend.register(channel.source(), Token::WAKER, watch)?;
        // Only this method replaces it.
        let _ = link.next.set(Arc::new(Link::new(channel)));
        Ok(())
    }

    /// Returns true if the channel is to be [attached or replaced](Self::mend).
    pub(crate) fn needs_mending(&self) -> bool {
        self.is_new || self.is_broken()
    }

    fn is_broken(&self) -> bool {
        self.waker.0.broken.load(Ordering::Relaxed)
    }

    /// The channel as a source, to be registered with a recreated kernel object.
    pub(crate) fn registered(&self) -> Option<Registered> {
        let (link, watch) = self.channel()?;
        Some(Registered { fd: raw(link.channel.source()), token: Token::WAKER, watch })
    }
}

fn failed(error: io::Error) -> Error {
    Error::os("make a waker", None, error)
}

/// Creates a channel whose number is not `taken`.
fn new_channel(taken: impl Fn(RawSource) -> bool) -> io::Result<Channel> {
    open_untaken(Channel::new, |channel| raw(channel.source()), taken)
}

// cargo-mutants knows `test` by itself alone.
#[cfg(test)]
#[cfg(all(unix, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Events;

    /// Watches nothing, and refuses sources on request.
    struct Watching(bool);

    impl Backend for Watching {
        fn capabilities(&self) -> Capabilities {
            Capabilities::default()
        }

        fn register(&mut self, _: BorrowedSource<'_>, _: Token, _: Watch) -> io::Result<()> {
            if self.0 { Ok(()) } else { Err(io::ErrorKind::OutOfMemory.into()) }
        }

        fn modify(&mut self, _: RawSource, _: Token, _: Watch, _: Watch) -> io::Result<()> {
            Ok(())
        }

        fn unregister(&mut self, _: RawSource, _: Token, _: Watch) -> io::Result<()> {
            Ok(())
        }

        fn wait(&mut self, _: &mut Events, _: Option<Duration>) -> io::Result<()> {
            Ok(())
        }
    }

    /// The code that a signal handler has interrupted may be about to read it.
    #[cfg(unix)]
    #[test]
    fn proc_7_waking_keeps_errno() {
        let sets_errno = |path: &str| drop(std::fs::read_dir(path));
        for fails in [false, true] {
            let wake = Wake::over(Box::new(move || {
                sets_errno("/dev/null");
                if fails { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
            }));
            let waker = wake.waker();
            sets_errno("/there/is/no/such/directory");
            let woken = waker.wake();
            let errno = io::Error::last_os_error();
            assert_eq!(errno.kind(), io::ErrorKind::NotFound);
            assert_eq!(woken.is_err(), fails);
        }
    }

    #[test]
    fn wakes_are_refused_until_the_channel_is_replaced() {
        let mut wake = Wake::new(&Watching(true), Capabilities::default(), |_| false).unwrap();
        wake.attach(|_, _| Ok(true)).unwrap();
        let waker = wake.waker();
        wake.mend(&mut Watching(false), |_| false).unwrap_err();
        assert!(wake.needs_mending());
        for _ in 0..2 {
            waker.wake().unwrap_err();
            // An event of the old channel that comes late.
            assert!(wake.reset());
        }
        wake.mend(&mut Watching(true), |_| false).unwrap();
        assert!(!wake.needs_mending());
        waker.wake().unwrap();
        assert!(wake.reset() && !wake.reset());
    }
}
