//! poll(2): every Unix.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use selectors_sys::poll as sys;

use super::descriptor::{borrow, check_open, is_named_pipe, raw};
use super::select::{Select, Sets};
use super::{Backend, BorrowedSource, Capabilities, RawSource};
use crate::growth;
use crate::index::DescriptorIndex;
use crate::timeout::millis_rounded_up;
use crate::{Event, Events, Interest, Mode, Readiness, Result, Selector, Token, Watch};

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
///   can be lowered at any time. select(2) then waits in its place, without the hints.
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
            Some(fine) if fine.subsec_nanos() % NANOS_PER_MILLI != 0 => self.call_fine(fine),
            _ => poll(&mut self.fds, timeout),
        }
    }

    /// The waiting call at a resolution that poll(2) does not have.
    #[cold]
    fn call_fine(&mut self, fine: Duration) -> nix::Result<usize> {
        let rest = Duration::from_nanos((fine.subsec_nanos() % NANOS_PER_MILLI).into());
        let ready = poll(&mut self.fds, Some(fine.saturating_sub(rest)))?;
        if ready > 0 {
            return Ok(ready);
        }
        match self.sets().select(Some(rest)) {
            Ok(_) => poll(&mut self.fds, Some(Duration::ZERO)),
            Err(Errno::EINTR) => Err(Errno::EINTR),
            // A closed descriptor, which poll(2) reports; too high a number; no memory for the
            // sets; a sandbox: by the millisecond, then.
            Err(_) => poll(&mut self.fds, Some(rest)),
        }
    }

    /// Asks select(2) for WRITE where POLLHUP has taken its place, and may mean no more than that
    /// the peer has half-closed.
    #[cold]
    fn look_for_write(&mut self) {
        let hung_up = |pollfd: &&mut sys::pollfd| pollfd.revents & sys::POLLHUP != 0;
        for pollfd in self.fds.iter_mut().filter(hung_up) {
            let mut sets = Sets::default();
            sets.set(pollfd.fd, to_interest(pollfd.events & sys::POLLOUT));
            let full = matches!(sets.select(Some(Duration::ZERO)), Ok(0));
            let ready = if full { sys::POLLIN } else { sys::POLLIN | sys::POLLOUT };
            pollfd.revents |= pollfd.events & ready;
            if pollfd.revents != sys::POLLHUP {
                pollfd.revents &= !sys::POLLHUP;
            }
        }
    }

    /// The sources as select(2) takes them.
    fn sets(&self) -> Sets {
        let mut sets = Sets::default();
        for pollfd in self.fds.iter().filter(|pollfd| pollfd.fd >= 0) {
            sets.set(pollfd.fd, to_interest(pollfd.events));
        }
        sets
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

    /// Waits by select(2), and leaves what it has found in the array.
    #[cold]
    fn call_select(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let mut select = Select::default();
        for (place, pollfd) in (0..).zip(&self.fds).filter(|(_, pollfd)| pollfd.fd >= 0) {
            // SAFETY: nothing is done with it but to watch it; it need not be open.
            let source = unsafe { borrow(pollfd.fd) };
            let watch = Watch::new(to_interest(pollfd.events), Mode::Level);
            select.insert(source, Token::from_bits(place), watch);
        }
        let mut events = Events::new();
        select.wait(&mut events, timeout)?;
        self.fds.iter_mut().for_each(|pollfd| pollfd.revents = 0);
        for event in &events {
            if let Ok(place) = usize::try_from(event.token().to_bits()) {
                self.fds[place].revents = to_revents(event.readiness());
            }
        }
        Ok(events.len())
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
        let pollfd = sys::pollfd { fd, events: to_poll(watch.interest), revents: 0 };
        growth::push(&mut self.fds, pollfd);
        growth::push(&mut self.tokens, token);
        self.set_mode(place, watch.mode);
        Ok(())
    }

    fn modify(&mut self, fd: RawSource, token: Token, _old: Watch, new: Watch) -> io::Result<()> {
        let place = self.place(fd)?;
        self.fds[place] = sys::pollfd { fd, events: to_poll(new.interest), revents: 0 };
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

const NANOS_PER_MILLI: u32 = 1_000_000;

/// poll(2): how many of `fds` have something to report.
#[inline]
fn poll(fds: &mut [sys::pollfd], timeout: Option<Duration>) -> nix::Result<usize> {
    let count = sys::nfds_t::try_from(fds.len()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: `fds` points to `count` elements that are ours to be written.
    let ready = unsafe { sys::poll(fds.as_mut_ptr(), count, millis_rounded_up(timeout)) };
    usize::try_from(ready).map_err(|_| Errno::last())
}

/// Appends the events of the `ready` entries that have something to report.
fn collect(fds: &[sys::pollfd], tokens: &[Token], ready: usize, list: &mut Vec<Event>) {
    // Knowing how many there are spares the list from looking after its length each time.
    list.reserve(ready);
    let room = &mut list.spare_capacity_mut()[..ready];
    let sources = fds.iter().zip(tokens).filter(|(pollfd, _)| pollfd.revents != 0);
    let mut found = 0;
    for (place, (pollfd, &token)) in room.iter_mut().zip(sources) {
        place.write(Event::new(token, from_poll(pollfd.revents, pollfd.events, sys::HINTS)));
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

fn to_poll(interest: Interest) -> i16 {
    let mut flags = 0;
    if interest.contains(Interest::READ) {
        flags |= sys::POLLIN | sys::POLLRDHUP;
    }
    if interest.contains(Interest::WRITE) {
        flags |= sys::POLLOUT;
    }
    if interest.contains(Interest::PRIORITY) {
        flags |= sys::PRIORITY;
    }
    flags
}

fn to_interest(flags: i16) -> Interest {
    let mut interest = Interest::empty();
    interest.set(Interest::READ, has(flags, sys::POLLIN));
    interest.set(Interest::WRITE, has(flags, sys::POLLOUT));
    interest.set(Interest::PRIORITY, has(flags, sys::PRIORITY));
    interest
}

/// What poll(2) would have written, as far as select(2) can tell.
fn to_revents(readiness: Readiness) -> i16 {
    let mut flags = 0;
    if readiness.contains(Readiness::READ) {
        flags |= sys::POLLIN;
    }
    if readiness.contains(Readiness::WRITE) {
        flags |= sys::POLLOUT;
    }
    if readiness.contains(Readiness::PRIORITY) {
        flags |= sys::PRIORITY;
    }
    if readiness.contains(Readiness::ERROR) {
        flags |= sys::POLLNVAL;
    }
    flags
}

/// Whether one of the flags is set: of those that are no bit here, never.
#[inline]
fn has(flags: i16, of: i16) -> bool {
    flags & of != 0
}

/// Whether poll(2) reports the bits that a `Readiness` is made of, as Linux does.
const SAME_BITS: bool = sys::POLLIN as u32 == Readiness::READ.bits()
    && sys::POLLOUT as u32 == Readiness::WRITE.bits()
    && sys::PRIORITY as u32 == Readiness::PRIORITY.bits()
    && sys::POLLERR as u32 == Readiness::ERROR.bits()
    && sys::POLLHUP as u32 == Readiness::HANGUP.bits()
    && sys::POLLRDHUP as u32 == Readiness::READ_CLOSED.bits();

/// What poll(2) has found of a source that was `asked` for. POLLERR and POLLHUP are `hints` where
/// they mean what they say. Elsewhere they are READ and WRITE, or PRIORITY if that is all that was
/// asked for.
#[inline]
fn from_poll(flags: i16, asked: i16, hints: i16) -> Readiness {
    if flags & sys::POLLNVAL != 0 {
        return Readiness::ERROR;
    }
    let over = flags & (sys::POLLERR | sys::POLLHUP) & !hints;
    let mut ready = flags & !over;
    if over != 0 {
        let directions = asked & (sys::POLLIN | sys::POLLOUT);
        ready |= if directions == 0 { asked } else { directions };
    }
    if SAME_BITS {
        return Readiness::from_bits_truncate(u32::from(u16::from_ne_bytes(ready.to_ne_bytes())));
    }
    let any = |of: i16| has(ready, of);
    let mut readiness = Readiness::empty();
    readiness.set(Readiness::READ, any(sys::POLLIN));
    readiness.set(Readiness::WRITE, any(sys::POLLOUT));
    readiness.set(Readiness::PRIORITY, any(sys::PRIORITY));
    readiness.set(Readiness::ERROR, any(sys::POLLERR));
    readiness.set(Readiness::HANGUP, any(sys::POLLHUP));
    readiness.set(Readiness::READ_CLOSED, any(sys::POLLRDHUP));
    readiness
}

#[cfg(test)]
mod tests {
    use selectors_sys::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, PRIORITY};

    use super::{Readiness, from_poll};

    #[test]
    fn what_is_no_hint_wakes_who_waits() {
        let both = Readiness::READ | Readiness::WRITE;
        for over in [POLLERR, POLLHUP, POLLERR | POLLHUP] {
            assert_eq!(from_poll(over, POLLIN | POLLOUT, 0), both);
            assert_eq!(from_poll(over, POLLIN | PRIORITY, 0), Readiness::READ);
            assert_eq!(from_poll(over | POLLOUT, POLLOUT, 0), Readiness::WRITE);
            if PRIORITY != 0 {
                assert_eq!(from_poll(over, PRIORITY, 0), Readiness::PRIORITY);
            }
        }
    }

    #[test]
    fn what_is_a_hint_is_one() {
        let hung_up = Readiness::READ | Readiness::HANGUP;
        assert_eq!(from_poll(POLLIN | POLLHUP, POLLIN, POLLHUP), hung_up);
        assert_eq!(from_poll(POLLHUP, POLLIN, POLLHUP), Readiness::HANGUP);
        let failed = Readiness::READ | Readiness::HANGUP;
        assert_eq!(from_poll(POLLERR | POLLHUP, POLLIN, POLLHUP), failed);
    }
}
