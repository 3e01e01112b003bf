//! select(2): every Unix.

use std::io;
use std::iter;
use std::ptr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use selectors_sys::select as sys;

use super::descriptor::{borrow, check_open, is_open, is_watchable, raw};
use super::{Backend, BorrowedSource, Capabilities, RawSource};
use crate::index::DescriptorMap;
use crate::timeout::seconds_and_micros_rounded_up;
use crate::{Event, Events, Interest, Mode, Readiness, Result, Selector, Token, Watch};

/// A selector over select(2): every Unix.
///
/// # Examples
///
/// ```
/// use selectors::{Interest, SelectSelector};
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (ours, _theirs) = UnixStream::pair()?;
/// let mut selector = SelectSelector::new()?;
/// selector.register(ours, Interest::WRITE, ())?;
/// assert_eq!(selector.select(None)?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "select")]
pub type SelectSelector<F, T = ()> = Selector<F, T, Select>;

impl<F, T> SelectSelector<F, T> {
    /// A selector over select(2). Python's `SelectSelector()`.
    ///
    /// # Errors
    ///
    /// None at present: there is no kernel object behind it.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::SelectSelector;
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector: SelectSelector<TcpStream> = SelectSelector::new()?;
    /// assert!(selector.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> Result<Self> {
        Selector::open(Select::new)
    }
}

/// select(2), with sets of its own.
///
/// # Implementation notes
///
/// - The sets are as long as the highest descriptor needs, not `FD_SETSIZE` bits. Linux, the BSDs and
///   macOS accept that. illumos and Solaris do not, and declare
///   [`Capabilities::max_descriptor`].
/// - The cost of a wait grows with the highest descriptor.
/// - The kernel reports nothing but READ, WRITE and PRIORITY, and a hang-up only for READ.
/// - One closed descriptor makes select(2) fail with EBADF. Every descriptor is then checked by
///   fcntl(2), or by poll(2) if a sandbox refuses that. Closed ones are reported as ERROR and omitted from
///   another call for the others, which is repeated while other threads close descriptors.
/// - Linux reports a descriptor that is closed while select(2) waits as ready in every set that it
///   is in. To distinguish it from an open one, each descriptor is in the set for PRIORITY as well, where
///   an open one is reported for urgent data only; in case of doubt the descriptor is checked likewise.
///
/// # Examples
///
/// ```
/// use selectors::backend::{Backend, Select};
///
/// # fn main() -> std::io::Result<()> {
/// let capabilities = Select::new()?.capabilities();
/// assert!(!capabilities.hangup, "select(2) reports a hang-up as READ");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Select {
    /// The sets to pass to the kernel: see [`asked`].
    wanted: Sets,
    /// The sources that are watched for PRIORITY.
    priority: Set,
    /// The sets as the kernel returned them.
    ready: Sets,
    /// The one-shot sources.
    one_shot: Set,
    tokens: DescriptorMap<Token>,
}

impl Select {
    /// Creates a backend without sources.
    ///
    /// # Errors
    ///
    /// None at present: there is no kernel object behind it.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::{Backend, Select};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// assert!(!Select::new()?.capabilities().hangup);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn new() -> io::Result<Self> {
        Ok(Self::default())
    }

    /// Adds or replaces a source, which need not be open.
    pub(super) fn set(&mut self, fd: RawSource, token: Token, watch: Watch) {
        self.tokens.insert(fd, token);
        self.wanted.set(fd, asked(watch.interest));
        self.priority.set(fd, watch.interest.contains(Interest::PRIORITY));
        self.one_shot.set(fd, watch.mode == Mode::OneShot);
    }

    /// Returns true if `fd` is registered with this token.
    #[cfg(kqueue)]
    pub(super) fn contains(&self, fd: RawSource, token: Token) -> bool {
        self.tokens.get(fd) == Some(token)
    }

    /// Fails if `fd` is not registered.
    fn check(&self, fd: RawSource) -> io::Result<()> {
        let token: Option<Token> = self.tokens.get(fd);
        token.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Appends an event for every descriptor in `self.ready`: at most `most`.
    fn report(&mut self, events: &mut Events, most: usize) {
        events.reserve(most);
        for word in 0..self.ready.words() {
            let read = self.ready.read.word(word);
            let write = self.ready.write.word(word);
            let except = self.ready.except.word(word);
            let priority = except & self.priority.word(word);
            let closed = self.closed(word);
            let ready = read | write | priority | closed;
            for (fd, bit) in descriptors(word, ready) {
                let mut readiness = Readiness::empty();
                readiness.set(Readiness::READ, read & bit != 0);
                readiness.set(Readiness::WRITE, write & bit != 0);
                readiness.set(Readiness::PRIORITY, priority & bit != 0);
                let readiness = if closed & bit != 0 { Readiness::ERROR } else { readiness };
                self.report_one(fd, readiness, events);
            }
            // Otherwise urgent data outside the interest would end every wait.
            self.wanted.except.remove(word, except & !priority & !closed);
            self.wanted.remove(word, ready & self.one_shot.word(word));
        }
    }

    /// The bits of one word whose descriptors were closed during the call.
    #[inline]
    fn closed(&self, word: usize) -> sys::FdMask {
        if !sys::CLOSED_IS_READY {
            return 0;
        }
        let sets = self.wanted.each().into_iter().zip(self.ready.each());
        let not_all =
            sets.fold(0, |bits, (wanted, ready)| bits | (wanted.word(word) & !ready.word(word)));
        match self.ready.word(word) & !not_all {
            0 => 0,
            ready_for_all => closed_of(word, ready_for_all),
        }
    }

    #[inline]
    fn report_one(&self, fd: RawSource, readiness: Readiness, events: &mut Events) {
        if let Some(token) = self.tokens.get(fd) {
            events.push(Event::new(token, readiness));
        }
    }

    /// Reports the descriptors in `self.ready` that are not open, and removes them from it.
    #[cold]
    fn report_closed(&mut self, events: &mut Events) {
        for word in 0..self.ready.words() {
            for (fd, _) in descriptors(word, self.ready.word(word)) {
                // SAFETY: passed to calls that accept any number and change nothing.
                if !is_watchable(unsafe { borrow(fd) }) {
                    self.ready.set(fd, Interest::empty());
                    self.report_one(fd, Readiness::ERROR, events);
                    if self.one_shot.contains(fd) {
                        self.wanted.set(fd, Interest::empty());
                    }
                }
            }
        }
    }

    /// Waits after a call failed because a descriptor is closed: reports it, and calls again for the
    /// others.
    #[cold]
    fn wait_with_closed(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> nix::Result<usize> {
        let (start, first) = (Instant::now(), events.len());
        let mut open = Sets::default();
        open.copy(&self.wanted);
        let mut retries = 0;
        loop {
            self.ready.copy(&open);
            self.report_closed(events);
            open.copy(&self.ready);
            let left = match timeout {
                _ if events.len() > first => Some(Duration::ZERO),
                Some(timeout) => Some(timeout.saturating_sub(start.elapsed())),
                None => None,
            };
            match (self.ready.select(left), events.len() > first) {
                // The call does not block, and the others must be reported as well.
                (Err(Errno::EINTR), true) => {}
                // Another one was closed, or one was closed and opened again; or memory is short.
                (Err(Errno::EBADF), _) | (Err(_), true) if retries < RETRIES => retries += 1,
                // Reported events must not be lost.
                (Err(_), true) => return Ok(0),
                (answer, _) => return answer,
            }
        }
    }
}

impl Backend for Select {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            priority: true,
            timeout_resolution: Duration::from_micros(1),
            max_descriptor: sys::MAX_DESCRIPTOR,
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
        self.set(raw(source), token, watch);
        Ok(())
    }

    fn modify(&mut self, fd: RawSource, token: Token, _old: Watch, new: Watch) -> io::Result<()> {
        self.check(fd)?;
        self.set(fd, token, new);
        Ok(())
    }

    fn unregister(&mut self, fd: RawSource, _token: Token, _watch: Watch) -> io::Result<()> {
        self.check(fd)?;
        self.tokens.remove(fd);
        self.wanted.set(fd, Interest::empty());
        self.priority.set(fd, false);
        self.one_shot.set(fd, false);
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.ready.copy(&self.wanted);
        let count = match self.ready.select(timeout) {
            Err(Errno::EBADF) => self.wait_with_closed(events, timeout)?,
            answer => answer?,
        };
        if count > 0 {
            self.report(events, count);
        }
        Ok(())
    }

    fn after_fork(&mut self) -> io::Result<()> {
        *self = Self::default();
        Ok(())
    }
}

/// How often a wait is repeated because a descriptor was closed. A thread that closes and opens
/// descriptors without pause makes about every other call fail.
const RETRIES: u32 = 50;

/// The sets of a source with this interest. If the kernel reports a closed descriptor as ready in all of its
/// sets, that for PRIORITY is always one of them, because an open descriptor is rarely ready in it.
fn asked(interest: Interest) -> Interest {
    interest | Interest::PRIORITY.when(sys::CLOSED_IS_READY)
}

/// The bits of one word whose descriptors are not open.
#[cold]
fn closed_of(word: usize, bits: sys::FdMask) -> sys::FdMask {
    let closed = descriptors(word, bits).filter(|&(fd, _)| !is_open(fd));
    closed.fold(0, |closed, (_, bit)| closed | bit)
}

/// One set for each of READ, WRITE and PRIORITY.
#[derive(Debug, Default)]
pub(super) struct Sets {
    read: Set,
    write: Set,
    except: Set,
}

impl Sets {
    fn each(&self) -> [&Set; 3] {
        [&self.read, &self.write, &self.except]
    }

    fn each_mut(&mut self) -> [&mut Set; 3] {
        [&mut self.read, &mut self.write, &mut self.except]
    }

    /// The bits of one word that are in any of them.
    fn word(&self, word: usize) -> sys::FdMask {
        self.each().iter().fold(0, |bits, set| bits | set.word(word))
    }

    /// Removes bits of one word from all of them.
    fn remove(&mut self, word: usize, bits: sys::FdMask) {
        self.each_mut().into_iter().for_each(|set| set.remove(word, bits));
    }

    /// Adds `fd` to the sets of `interest`, and removes it from the others.
    pub(super) fn set(&mut self, fd: RawSource, interest: Interest) {
        self.read.set(fd, interest.contains(Interest::READ));
        self.write.set(fd, interest.contains(Interest::WRITE));
        self.except.set(fd, interest.contains(Interest::PRIORITY));
    }

    /// Empties all of them, keeping their capacity.
    pub(super) fn clear(&mut self) {
        self.each_mut().into_iter().for_each(|set| set.0.clear());
    }

    fn copy(&mut self, other: &Self) {
        for (set, other) in self.each_mut().into_iter().zip(other.each()) {
            set.0.clone_from(&other.0);
        }
    }

    fn words(&self) -> usize {
        self.each().map(|set| set.0.len()).into_iter().max().unwrap_or(0)
    }

    /// select(2), with the timeout rounded up to microseconds. Returns the number of bits that it has left
    /// in the sets.
    pub(super) fn select(&mut self, timeout: Option<Duration>) -> nix::Result<usize> {
        let mut timeout = timeout.map(|timeout| {
            let (tv_sec, tv_usec) = seconds_and_micros_rounded_up(timeout);
            sys::timeval { tv_sec, tv_usec }
        });
        let timeout = timeout.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
        let words = self.words();
        let bits = i32::try_from(words * sys::NFDBITS).unwrap_or(i32::MAX);
        let [read, write, except] = self.each_mut().map(|set| set.as_mut_ptr(words));
        // SAFETY: each set is null, or has `bits` bits rounded up to whole words, which the kernel reads
        // and writes; `timeout` is null or outlives the call.
        let count = unsafe { sys::select(bits, read, write, except, timeout) };
        Ok(usize::try_from(Errno::result(count)?).unwrap_or(0))
    }
}

/// An `fd_set` that ends with the word of its highest descriptor.
#[derive(Debug, Default)]
struct Set(Vec<sys::FdMask>);

impl Set {
    fn word(&self, word: usize) -> sys::FdMask {
        self.0.get(word).copied().unwrap_or(0)
    }

    fn contains(&self, fd: RawSource) -> bool {
        let (word, mask) = position(fd);
        self.word(word) & mask != 0
    }

    fn set(&mut self, fd: RawSource, on: bool) {
        let (word, mask) = position(fd);
        if on {
            if word >= self.0.len() {
                self.0.resize(word + 1, 0);
            }
            self.0[word] |= mask;
        } else {
            self.remove(word, mask);
        }
    }

    fn remove(&mut self, word: usize, bits: sys::FdMask) {
        if self.word(word) & bits != 0 {
            self.0[word] &= !bits;
            // Shortens the set to its highest descriptor, keeping the capacity.
            while self.0.last() == Some(&0) {
                self.0.pop();
            }
        }
    }

    /// The argument for select(2), with the set extended to `words`: null if it is empty, so that the
    /// kernel does not copy it.
    fn as_mut_ptr(&mut self, words: usize) -> *mut sys::fd_set {
        if self.0.is_empty() {
            return ptr::null_mut();
        }
        self.0.resize(words, 0);
        self.0.as_mut_ptr().cast()
    }
}

/// The word of a set that contains the bit of `fd`, and that bit.
fn position(fd: RawSource) -> (usize, sys::FdMask) {
    let fd = to_index(fd);
    (fd / sys::NFDBITS, 1 << (fd % sys::NFDBITS))
}

/// The descriptors whose bits are set in a word of a set, each with its bit: see [`position`].
#[inline]
fn descriptors(
    word: usize,
    mut bits: sys::FdMask,
) -> impl Iterator<Item = (RawSource, sys::FdMask)> {
    iter::from_fn(move || {
        if bits == 0 {
            return None;
        }
        let bit = bits & bits.wrapping_neg();
        bits &= !bit;
        Some((from_index(word * sys::NFDBITS + bit.trailing_zeros() as usize), bit))
    })
}

/// A descriptor as an index. A negative one is never added.
fn to_index(fd: RawSource) -> usize {
    fd.unsigned_abs() as usize
}

/// The descriptor of [`to_index`].
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "it was one")]
fn from_index(index: usize) -> RawSource {
    index as RawSource
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_can_be_used_again() {
        let mut sets = Sets::default();
        sets.set(70, Interest::all());
        assert_eq!(sets.words(), 70 / sys::NFDBITS + 1);
        sets.clear();
        assert_eq!(sets.words(), 0);
        assert_eq!(sets.select(Some(Duration::ZERO)), Ok(0));
    }

    #[test]
    fn the_descriptors_of_a_word_are_found_in_order() {
        let word = 1 | 1 << 5;
        let bits =
            sys::NFDBITS.try_into().map(|first: RawSource| [(first, 1), (first + 5, 1 << 5)]);
        assert_eq!(descriptors(1, word).take(3).collect::<Vec<_>>(), bits.unwrap());
        assert!(descriptors(1, 0).next().is_none());
    }

    #[test]
    fn what_was_closed_during_the_call_is_an_error() {
        if !sys::CLOSED_IS_READY {
            return;
        }
        // More than are open at any time.
        let (fd, token) = (100_000, Token::new(0, 0));
        for interest in [Interest::READ, Interest::WRITE, Interest::PRIORITY, Interest::all()] {
            let (mut select, mut events) = (Select::default(), Events::new());
            select.set(fd, token, Watch::new(interest, Mode::Level));
            select.ready.copy(&select.wanted);
            select.report(&mut events, 1);
            let events = events.iter().copied().collect::<Vec<_>>();
            assert_eq!(events, [Event::new(token, Readiness::ERROR)]);
        }
    }
}
