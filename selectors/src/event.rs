//! What `select` returns: a list of events.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bitflags::bitflags;

use crate::backend::Record;
use crate::{Readiness, Token};

/// A ready source: its token and its readiness.
///
/// # Implementation notes
///
/// On Linux and Android an event has the layout of `struct epoll_event`: epoll_wait(2) writes
/// directly into the list of [`Events`].
///
/// # Examples
///
/// ```
/// use selectors::{DefaultSelector, Interest, Readiness};
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (ours, _theirs) = UnixStream::pair()?;
/// let mut selector = DefaultSelector::new()?;
/// let token = selector.register(ours, Interest::WRITE, ())?;
/// for event in selector.select(None)? {
///     assert_eq!(event.token(), token);
///     assert_eq!(event.readiness(), Readiness::WRITE);
///     assert!(event.is_writable());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Event(Record);

impl Event {
    /// Creates an event as a backend reports it, with raw readiness not masked by the interest.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Event, Readiness, Token};
    ///
    /// let event = Event::new(Token::from_bits(1), Readiness::READ | Readiness::HANGUP);
    /// assert!(event.is_readable());
    /// ```
    #[must_use]
    #[inline]
    pub const fn new(token: Token, readiness: Readiness) -> Self {
        Self(Record::new(token, readiness))
    }

    /// The token of the ready source.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Event, Readiness, Token};
    ///
    /// let token = Token::from_bits(1);
    /// assert_eq!(Event::new(token, Readiness::READ).token(), token);
    /// ```
    #[must_use]
    #[inline]
    pub const fn token(&self) -> Token {
        self.0.token()
    }

    /// What the source is ready for.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Event, Readiness, Token};
    ///
    /// let event = Event::new(Token::from_bits(1), Readiness::READ | Readiness::READ_CLOSED);
    /// assert!(event.readiness().contains(Readiness::READ_CLOSED), "the peer will send no more");
    /// ```
    #[must_use]
    #[inline]
    pub const fn readiness(&self) -> Readiness {
        self.0.readiness()
    }

    /// Returns true if the readiness contains READ.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Event, Readiness, Token};
    ///
    /// let event = Event::new(Token::from_bits(1), Readiness::READ);
    /// assert!(event.is_readable() && !event.is_writable());
    /// ```
    #[must_use]
    #[inline]
    pub const fn is_readable(&self) -> bool {
        self.readiness().contains(Readiness::READ)
    }

    /// Returns true if the readiness contains WRITE.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Event, Readiness, Token};
    ///
    /// let event = Event::new(Token::from_bits(1), Readiness::WRITE);
    /// assert!(event.is_writable() && !event.is_readable());
    /// ```
    #[must_use]
    #[inline]
    pub const fn is_writable(&self) -> bool {
        self.readiness().contains(Readiness::WRITE)
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        (self.token(), self.readiness()) == (other.token(), other.readiness())
    }
}

impl Eq for Event {}

impl Hash for Event {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.token(), self.readiness()).hash(state);
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("token", &self.token())
            .field("readiness", &self.readiness())
            .finish()
    }
}

/// The events of one `select`, at most one for each source.
///
/// [`select`](crate::Selector::select) returns a new list.
/// [`select_into`](crate::Selector::select_into) replaces the contents of an existing one, and
/// stops allocating once the list has grown to the size of the largest wait.
///
/// An empty list means that the timeout has expired, unless [`woken`](Self::woken) or
/// [`interrupted`](Self::interrupted) returns true.
///
/// # Examples
///
/// ```
/// use selectors::{DefaultSelector, Events, Interest};
/// use std::os::unix::net::UnixStream;
/// use std::time::Duration;
///
/// # fn main() -> std::io::Result<()> {
/// let (ours, _theirs) = UnixStream::pair()?;
/// let mut selector = DefaultSelector::new()?;
/// selector.register(ours, Interest::READ | Interest::WRITE, ())?;
/// let mut events = Events::new();
/// selector.select_into(&mut events, Some(Duration::from_millis(10)))?;
/// for event in &events {
///     println!("{:?} is {:?}", event.token(), event.readiness());
/// }
/// # assert_eq!(events.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Events {
    pub(crate) list: Vec<Event>,
    pub(crate) flags: Flags,
}

/// What a wait reports besides events.
#[derive(Clone, Copy, Default)]
pub(crate) struct Flags(u8);

bitflags! {
    impl Flags: u8 {
        /// A waker ended the wait.
        const WOKEN = 1;
        /// A signal ended the wait.
        const INTERRUPTED = 2;
        /// The list may contain several events of one source.
        const REPEATS = 4;
    }
}

impl Events {
    /// The least capacity that a wait starts with.
    pub(crate) const MIN_CAPACITY: usize = 64;

    /// Creates an empty list.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::Events;
    ///
    /// let events = Events::new();
    /// assert_eq!((events.len(), events.capacity()), (0, 0));
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self { list: Vec::new(), flags: Flags::empty() }
    }

    /// Creates an empty list with room for `capacity` events, if there is memory for them. It grows as
    /// needed.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::Events;
    ///
    /// assert!(Events::with_capacity(64).capacity() >= 64);
    /// assert!(Events::with_capacity(usize::MAX).is_empty());
    /// ```
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let mut events = Self::new();
        // The capacity is a guess: a failure to allocate it must not abort the program.
        let _ = events.list.try_reserve_exact(capacity);
        events
    }

    /// The number of events.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Event, Events, Readiness, Token};
    ///
    /// let mut events = Events::new();
    /// events.push(Event::new(Token::from_bits(1), Readiness::READ));
    /// assert_eq!(events.len(), 1);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns true if there are no events.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::DefaultSelector;
    /// use std::net::TcpStream;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: DefaultSelector<TcpStream> = DefaultSelector::new()?;
    /// assert!(selector.select(Some(Duration::ZERO))?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Iterates over the events in the order in which the backend reported them.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let mut selector = DefaultSelector::new()?;
    /// selector.register(ours, Interest::READ, ())?;
    /// selector.register(theirs, Interest::READ | Interest::WRITE, ())?;
    /// let events = selector.select(None)?;
    /// assert_eq!(events.iter().filter(|event| event.is_writable()).count(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn iter(&self) -> std::slice::Iter<'_, Event> {
        self.list.iter()
    }

    /// Returns true if a [`Waker`](crate::Waker) ended the wait. There may be events as well.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::DefaultSelector;
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: DefaultSelector<TcpStream> = DefaultSelector::new()?;
    /// let waker = selector.waker()?;
    /// let thread = std::thread::spawn(move || waker.wake());
    /// let events = selector.select(None)?;
    /// assert!(events.woken() && events.is_empty());
    /// # thread.join().unwrap()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn woken(&self) -> bool {
        self.flags.contains(Flags::WOKEN)
    }

    /// Returns true if a signal ended the wait, which it does only after
    /// [`Selector::set_interruptible`](crate::Selector::set_interruptible).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::DefaultSelector;
    /// use std::net::TcpStream;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: DefaultSelector<TcpStream> = DefaultSelector::new()?;
    /// selector.set_interruptible(true);
    /// if selector.select(Some(Duration::from_millis(1)))?.interrupted() {
    ///     println!("a signal handler has run: look at what it has set");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn interrupted(&self) -> bool {
        self.flags.contains(Flags::INTERRUPTED)
    }

    /// Returns true if there is an event, a wake or an interruption.
    #[inline]
    pub(crate) fn has_events(&self) -> bool {
        !self.list.is_empty() || !self.flags.is_empty()
    }

    /// Merges several events of one source, at the position of the first. `places` keeps the position
    /// for each slot that `exists`; events of others stay as they are.
    pub(crate) fn merge(&mut self, places: &mut Vec<u32>, exists: impl Fn(u32) -> bool) {
        let list = &mut self.list;
        let mut kept = 0;
        for at in 0..list.len() {
            let event = list[at];
            let slot = event.token().slot();
            if exists(slot) {
                let slot = slot as usize;
                if slot >= places.len() {
                    places.resize(slot + 1, 0);
                }
                let place = &mut places[slot];
                match list[..kept].get_mut(*place as usize) {
                    Some(first) if first.token() == event.token() => {
                        *first = Event::new(event.token(), first.readiness() | event.readiness());
                        continue;
                    }
                    _ => *place = u32::try_from(kept).unwrap_or(u32::MAX),
                }
            }
            list[kept] = event;
            kept += 1;
        }
        list.truncate(kept);
    }

    /// Appends an event. For backends.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Event, Events, Readiness, Token};
    ///
    /// let mut events = Events::new();
    /// events.push(Event::new(Token::from_bits(1), Readiness::READ));
    /// assert_eq!(events.len(), 1);
    /// ```
    #[inline]
    pub fn push(&mut self, event: Event) {
        self.list.push(event);
    }

    /// Clears the list, keeping its capacity.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Event, Events, Readiness, Token};
    ///
    /// let mut events = Events::new();
    /// events.push(Event::new(Token::from_bits(1), Readiness::READ));
    /// events.clear();
    /// assert!(events.is_empty());
    /// ```
    pub fn clear(&mut self) {
        self.list.clear();
        self.flags = Flags::empty();
    }

    /// The number of events that fit without allocating.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::Events;
    ///
    /// assert!(Events::with_capacity(64).capacity() >= 64);
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.list.capacity()
    }

    /// Reserves capacity for at least `additional` more events.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::Events;
    ///
    /// let mut events = Events::new();
    /// events.reserve(1_000);
    /// assert!(events.capacity() >= 1_000);
    /// ```
    pub fn reserve(&mut self, additional: usize) {
        self.list.reserve(additional);
    }

    /// Marks the list as possibly containing several events of one source, which the selector then
    /// merges. For backends.
    ///
    /// A backend that waits again because the kernel has filled its buffer gets level-triggered
    /// sources again, and calls this. A backend for which every wait may repeat sources declares
    /// [`separate_directions`](crate::Capabilities::separate_directions) instead.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Event, Events, Readiness, Token};
    ///
    /// let mut events = Events::new();
    /// events.push(Event::new(Token::from_bits(1), Readiness::READ));
    /// events.push(Event::new(Token::from_bits(1), Readiness::READ));
    /// events.mark_repeats();
    /// ```
    pub fn mark_repeats(&mut self) {
        self.flags |= Flags::REPEATS;
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("list", &self.list)
            .field("woken", &self.woken())
            .field("interrupted", &self.interrupted())
            .finish_non_exhaustive()
    }
}

impl Deref for Events {
    type Target = [Event];

    fn deref(&self) -> &[Event] {
        &self.list
    }
}

impl Extend<Event> for Events {
    #[inline]
    fn extend<I: IntoIterator<Item = Event>>(&mut self, events: I) {
        self.list.extend(events);
    }
}

impl IntoIterator for Events {
    type Item = Event;
    type IntoIter = std::vec::IntoIter<Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = &'a Event;
    type IntoIter = std::slice::Iter<'a, Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_wakes_and_signals_end_a_wait() {
        let mut events = Events::new();
        assert!(!events.has_events());
        for (flags, what) in [(Flags::WOKEN, (true, false)), (Flags::INTERRUPTED, (false, true))] {
            events.flags = flags;
            assert!(events.has_events());
            assert_eq!((events.woken(), events.interrupted()), what);
        }
        events.flags = Flags::empty();
        events.push(Event::new(Token::from_bits(1), Readiness::READ));
        assert!(events.has_events() && !events.woken() && !events.interrupted());
    }

    #[test]
    fn only_events_of_the_same_token_are_merged() {
        let mut events = Events::new();
        let (old, new) = (Token::new(3, 0), Token::new(3, 1));
        let far = Token::new(100_000, 0);
        for readiness in [Readiness::READ, Readiness::WRITE] {
            events.extend([far, new, Token::WAKER].map(|token| Event::new(token, readiness)));
        }
        events.push(Event::new(old, Readiness::ERROR));
        events.merge(&mut Vec::new(), |slot| slot != Token::WAKER.slot());
        let both = Readiness::READ | Readiness::WRITE;
        let waker = |readiness| Event::new(Token::WAKER, readiness);
        let merged = [
            Event::new(far, both),
            Event::new(new, both),
            waker(Readiness::READ),
            waker(Readiness::WRITE),
            Event::new(old, Readiness::ERROR),
        ];
        assert_eq!(events[..], merged);
    }

    #[test]
    fn a_cleared_list_keeps_no_flag() {
        let mut events = Events::new();
        events.flags = Flags::all();
        assert!(events.clone().woken() && events.clone().interrupted());
        events.clear();
        assert!(events.flags.is_empty());
    }
}
