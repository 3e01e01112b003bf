//! poll(2): every Unix.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use selectors_sys::poll as sys;

use super::descriptor::{check_open, is_named_pipe, raw};
use super::pollfd::{Flags, has};
use super::select::Sets;
use super::{Backend, BorrowedSource, Capabilities, RawSource};
use crate::growth;
use crate::index::DescriptorIndex;
use crate::timeout::{millis_rounded_up, nanos_below_millis};
use crate::{Event, Events, Mode, Result, Selector, Token, Watch};

mod by_select;

/// A selector over poll(2): every Unix.
///
/// # Examples
///
/// ```
/// use selectors::{Interest, PollSelector};
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (ours, _theirs) = UnixStream::pair()?;
/// let mut selector = PollSelector::new()?;
/// selector.register(ours, Interest::WRITE, ())?;
/// assert_eq!(selector.select(None)?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "poll")]
pub type PollSelector<F, T = ()> = Selector<F, T, Poll>;

impl<F, T> PollSelector<F, T> {
    /// A selector over poll(2). Python's `PollSelector()`.
    ///
    /// # Errors
    ///
    /// None at present: there is no kernel object behind it.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::PollSelector;
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector: PollSelector<TcpStream> = PollSelector::new()?;
    /// assert!(selector.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> Result<Self> {
        Selector::open(Poll::new)
    }
}

/// poll(2).
///
/// # Implementation notes
///
/// - A wait with a timeout finer than a millisecond calls poll(2) for the whole milliseconds and
///   select(2) for the rest. Some systems lack ppoll(2), and some sandboxes forbid it.
/// - poll(2) fails with EINVAL for more sources than RLIMIT_NOFILE (macOS: OPEN_MAX), which can be
///   lowered at any time. The wait then falls back to select(2), which reports no hints and whose sets
///   are allocated for each wait.
/// - The kernel is passed a dense array of `pollfd`s. Unregistering a source moves the last one to its
///   place. The cost of a wait grows with the number of sources.
/// - A one-shot source that has fired keeps its place, and its descriptor is complemented. poll(2)
///   ignores negative descriptors, but reports hang-ups of one with an empty mask.
/// - A descriptor that is closed while registered is reported as an ERROR (POLLNVAL).
/// - ERROR is declared only on Linux and Android, HANGUP also on FreeBSD and OpenBSD. Elsewhere `POLLERR`
///   and `POLLHUP` have, or may have, other meanings, and are translated to READ and WRITE.
/// - PRIORITY is not declared on macOS, whose poll(2) does not report urgent data. On illumos and Solaris
///   it is `POLLPRI` and `POLLRDBAND`.
/// - On macOS poll(2) does not report the end-of-file of a named pipe. While one is registered, waits use
///   select(2).
///
/// # Examples
///
/// ```
/// use selectors::backend::{Backend, Poll};
///
/// # fn main() -> std::io::Result<()> {
/// let capabilities = Poll::new()?.capabilities();
/// assert!(!capabilities.constant_wait, "poll(2) looks at every source");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Poll {
    fds: Vec<sys::pollfd>,
    /// The token of each element of `fds`.
    tokens: Vec<Token>,
    /// Whether each element of `fds` is a one-shot source, up to the last that is.
    one_shot: Vec<bool>,
    /// The number of one-shot sources.
    one_shots: usize,
    /// The position in `fds` of each descriptor.
    index: DescriptorIndex,
    /// The named pipes, if poll(2) does not report their end-of-file.
    named_pipes: Vec<RawSource>,
    /// The sets of an additional select(2), made when one is needed.
    sets: Option<Box<Sets>>,
}

impl Poll {
    /// An empty array.
    ///
    /// # Errors
    ///
    /// None at present: there is no kernel object behind it.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::{Backend, Poll};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// assert!(!Poll::new()?.capabilities().edge);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn new() -> io::Result<Self> {
        Ok(Self::default())
    }

    fn set_mode(&mut self, place: usize, mode: Mode) {
        let new = mode == Mode::OneShot;
        if new && place >= self.one_shot.len() {
            self.one_shot.resize(place + 1, false);
        }
        if let Some(one_shot) = self.one_shot.get_mut(place) {
            self.one_shots -= usize::from(*one_shot);
            *one_shot = new;
            self.one_shots += usize::from(new);
        }
    }

    fn mode(&self, place: usize) -> Mode {
        if self.one_shot.get(place) == Some(&true) { Mode::OneShot } else { Mode::Level }
    }

    /// Disarms the one-shot sources that were reported.
    fn disarm(&mut self) {
        for (pollfd, &one_shot) in self.fds.iter_mut().zip(&self.one_shot) {
            if one_shot && pollfd.revents != 0 && pollfd.fd >= 0 {
                pollfd.fd = disarmed(pollfd.fd);
            }
        }
    }

    /// Waits, and returns the number of sources that are ready.
    #[inline]
    fn call(&mut self, timeout: Option<Duration>) -> nix::Result<usize> {
        match timeout {
            Some(fine) if nanos_below_millis(fine) != 0 => self.call_fine(fine),
            _ => poll(&mut self.fds, timeout),
        }
    }

    /// Appends the events of the `ready` sources.
    #[inline(never)]
    fn report(&mut self, ready: usize, events: &mut Events) {
        if sys::HALF_CLOSED_HANGS_UP {
            self.check_writable();
        }
        collect(&self.fds, &self.tokens, ready, &mut events.list);
        if self.one_shots > 0 {
            self.disarm();
        }
    }

    fn place(&self, fd: RawSource) -> io::Result<usize> {
        self.index.get(fd).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Backend for Poll {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            priority: sys::PRIORITY != 0,
            read_closed: sys::POLLRDHUP != 0,
            hangup: has(sys::HINTS, sys::POLLHUP),
            error: has(sys::HINTS, sys::POLLERR),
            write_hangup: true,
            timeout_resolution: Duration::from_micros(1),
            ..Capabilities::default()
        }
    }

    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        check_open(source)?;
        let fd = raw(source);
        if !sys::NAMED_PIPES_END && is_named_pipe(source)? {
            self.named_pipes.push(fd);
        }
        let place = self.fds.len();
        self.index.insert(fd, place);
        let pollfd = sys::pollfd { fd, events: FLAGS.of(watch.interest), revents: 0 };
        growth::push(&mut self.fds, pollfd);
        growth::push(&mut self.tokens, token);
        self.set_mode(place, watch.mode);
        Ok(())
    }

    fn modify(&mut self, fd: RawSource, token: Token, _old: Watch, new: Watch) -> io::Result<()> {
        let place = self.place(fd)?;
        self.fds[place] = sys::pollfd { fd, events: FLAGS.of(new.interest), revents: 0 };
        self.tokens[place] = token;
        self.set_mode(place, new.mode);
        Ok(())
    }

    fn unregister(&mut self, fd: RawSource, _token: Token, _watch: Watch) -> io::Result<()> {
        let place = self.place(fd)?;
        self.index.remove(fd);
        self.named_pipes.retain(|&named_pipe| named_pipe != fd);
        self.fds.swap_remove(place);
        self.tokens.swap_remove(place);
        let last = self.fds.len();
        self.set_mode(place, self.mode(last));
        self.set_mode(last, Mode::Level);
        self.one_shot.truncate(last);
        if let Some(moved) = self.fds.get(place) {
            self.index.insert(descriptor(moved.fd), place);
        }
        Ok(())
    }

    #[inline]
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let ready = if sys::NAMED_PIPES_END || self.named_pipes.is_empty() {
            match self.call(timeout) {
                Err(Errno::EINVAL) => self.call_select(timeout)?,
                ready => ready?,
            }
        } else {
            self.call_select(timeout)?
        };
        if ready > 0 {
            self.report(ready, events);
        }
        Ok(())
    }

    fn after_fork(&mut self) -> io::Result<()> {
        *self = Self::default();
        Ok(())
    }
}

/// poll(2). Returns the number of elements whose `revents` is not 0.
#[inline]
fn poll(fds: &mut [sys::pollfd], timeout: Option<Duration>) -> nix::Result<usize> {
    let count = sys::nfds_t::try_from(fds.len()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: `fds` points to `count` elements, which are borrowed mutably.
    let ready = unsafe { sys::poll(fds.as_mut_ptr(), count, millis_rounded_up(timeout)) };
    usize::try_from(ready).map_err(|_| Errno::last())
}

/// The flags of this system's poll(2).
const FLAGS: Flags =
    Flags { priority: sys::PRIORITY, read_closed: sys::POLLRDHUP, hints: sys::HINTS };

/// Appends the events of the `ready` elements whose `revents` is not 0.
fn collect(fds: &[sys::pollfd], tokens: &[Token], ready: usize, list: &mut Vec<Event>) {
    // Faster than `push`, which updates the length each time.
    growth::reserve(list, ready);
    let room = &mut list.spare_capacity_mut()[..ready];
    let sources = fds.iter().zip(tokens).filter(|(pollfd, _)| pollfd.revents != 0);
    let mut found = 0;
    for (place, (pollfd, &token)) in room.iter_mut().zip(sources) {
        place.write(Event::new(token, FLAGS.readiness(pollfd.revents, pollfd.events)));
        found += 1;
    }
    // SAFETY: the first `found` elements of the spare capacity were written.
    unsafe { list.set_len(list.len() + found) };
}

/// A negative number for every descriptor, including 0, which poll(2) ignores.
fn disarmed(fd: RawSource) -> RawSource {
    !fd
}

/// The descriptor of an element that may be disarmed.
fn descriptor(fd: RawSource) -> RawSource {
    if fd < 0 { !fd } else { fd }
}
