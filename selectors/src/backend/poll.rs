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
/// - A timeout finer than a millisecond is poll(2) for the whole milliseconds and select(2) for the
///   rest, and not ppoll(2), which some systems lack and some sandboxes forbid.
/// - poll(2) fails with EINVAL for more sources than RLIMIT_NOFILE allows (macOS: OPEN_MAX), which
///   can be lowered at any time. select(2) then waits in its place, without the hints, and its sets
///   are made anew for each wait.
/// - One dense array of `pollfd`s goes to the kernel; sources move within it when others leave.
///   The cost of a wait grows with the number of sources.
/// - A one-shot source that has fired keeps its place with its number complemented, which makes it
///   negative, so that poll(2) ignores it: a mask of zero would still report hang-ups.
/// - A descriptor that is closed while registered is reported as an ERROR (POLLNVAL).
/// - ERROR is declared on Linux and Android alone, and HANGUP there and on FreeBSD and OpenBSD: where
///   `POLLERR` and `POLLHUP` are not what they say, or not known to be, they are READ and WRITE.
/// - PRIORITY is not declared on macOS, whose poll(2) does not see urgent data. On illumos and Solaris
///   it is `POLLPRI` and `POLLRDBAND`.
/// - On macOS select(2) waits in the place of poll(2) while a pipe that has a name is registered, whose
///   end poll(2) does not see.
#[derive(Debug, Default)]
pub struct Poll {
    fds: Vec<sys::pollfd>,
    /// Whose each of `fds` is.
    tokens: Vec<Token>,
    /// Whether each of `fds` is a one-shot source, up to the last one that is.
    one_shot: Vec<bool>,
    /// How many are.
    one_shots: usize,
    index: DescriptorIndex,
    /// Those whose end poll(2) does not see.
    endless: Vec<RawSource>,
    /// The sets of an additional select(2), if one is needed.
    sets: Sets,
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

    /// Silences the one-shot sources that have fired.
    fn silence(&mut self) {
        for (pollfd, &one_shot) in self.fds.iter_mut().zip(&self.one_shot) {
            if one_shot && pollfd.revents != 0 && pollfd.fd >= 0 {
                pollfd.fd = silenced(pollfd.fd);
            }
        }
    }

    /// The waiting call: how many entries have something to report.
    #[inline]
    fn call(&mut self, timeout: Option<Duration>) -> nix::Result<usize> {
        match timeout {
            Some(fine) if nanos_below_millis(fine) != 0 => self.call_fine(fine),
            _ => poll(&mut self.fds, timeout),
        }
    }

    /// Appends the events of the `ready` sources that have something to report.
    #[inline(never)]
    fn report(&mut self, ready: usize, events: &mut Events) {
        if sys::HALF_CLOSED_HANGS_UP {
            self.look_for_write();
        }
        collect(&self.fds, &self.tokens, ready, &mut events.list);
        if self.one_shots > 0 {
            self.silence();
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
            timeout_grain: Duration::from_micros(1),
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
            self.endless.push(fd);
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
        self.endless.retain(|&endless| endless != fd);
        self.fds.swap_remove(place);
        self.tokens.swap_remove(place);
        let last = self.fds.len();
        self.set_mode(place, self.mode(last));
        self.set_mode(last, Mode::Level);
        self.one_shot.truncate(last);
        if let Some(moved) = self.fds.get(place) {
            self.index.insert(unsilenced(moved.fd), place);
        }
        Ok(())
    }

    #[inline]
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let ready = if sys::NAMED_PIPES_END || self.endless.is_empty() {
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

/// poll(2): how many of `fds` have something to report.
#[inline]
fn poll(fds: &mut [sys::pollfd], timeout: Option<Duration>) -> nix::Result<usize> {
    let count = sys::nfds_t::try_from(fds.len()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: `fds` points to `count` elements that are ours to be written.
    let ready = unsafe { sys::poll(fds.as_mut_ptr(), count, millis_rounded_up(timeout)) };
    usize::try_from(ready).map_err(|_| Errno::last())
}

/// What poll(2) of this system says.
const FLAGS: Flags =
    Flags { priority: sys::PRIORITY, read_closed: sys::POLLRDHUP, hints: sys::HINTS };

/// Appends the events of the `ready` entries that have something to report.
fn collect(fds: &[sys::pollfd], tokens: &[Token], ready: usize, list: &mut Vec<Event>) {
    // Knowing how many there are spares the list from looking after its length each time.
    list.reserve(ready);
    let room = &mut list.spare_capacity_mut()[..ready];
    let sources = fds.iter().zip(tokens).filter(|(pollfd, _)| pollfd.revents != 0);
    let mut found = 0;
    for (place, (pollfd, &token)) in room.iter_mut().zip(sources) {
        place.write(Event::new(token, FLAGS.readiness(pollfd.revents, pollfd.events)));
        found += 1;
    }
    // SAFETY: that many were written, and there was room for them.
    unsafe { list.set_len(list.len() + found) };
}

/// A negative number, which poll(2) ignores, for every descriptor, also for 0.
fn silenced(fd: RawSource) -> RawSource {
    !fd
}

/// The descriptor, whether it is silenced or not.
fn unsilenced(fd: RawSource) -> RawSource {
    if fd < 0 { !fd } else { fd }
}
