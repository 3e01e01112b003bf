//! kqueue(2): the BSDs, macOS, iOS. On Linux for tests only, over what is linked.

use std::ffi::c_void;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::stat::{SFlag, fstat};
use selectors_sys::kqueue as sys;

use super::always::AlwaysReady;
use super::descriptor::check_open;
use super::select::Select;
use super::{Backend, BorrowedSource, Capabilities, Change, Channel, RawSource, Trigger};
use crate::index::DescriptorIndex;
use crate::timeout::seconds_and_nanos;
use crate::{Event, Events, Interest, Mode, Readiness, Result, Selector, Token, Watch};

mod riding;

/// A selector over kqueue(2): the BSDs, macOS, iOS.
#[doc(alias = "kqueue")]
pub type KqueueSelector<F, T = ()> = Selector<F, T, Kqueue>;

impl<F, T> KqueueSelector<F, T> {
    /// A selector over kqueue(2). Python's `KqueueSelector()`.
    ///
    /// # Errors
    ///
    /// Those of kqueue(2): too many open files.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use selectors::KqueueSelector;
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector: KqueueSelector<TcpStream> = KqueueSelector::new()?;
    /// assert!(selector.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> Result<Self> {
        Selector::open(Kqueue::new)
    }
}

/// The events that the first wait has room for. The room doubles whenever a wait fills it.
const FIRST_ROOM: usize = 64;

/// What the beacon's events carry: see [`Kqueue::beacon`].
const BEACON: Token = Token::reserved(1);
/// What the fallback calls the queue itself: see [`Kqueue::fallback`].
const QUEUE: Token = Token::reserved(2);

/// Whether a token fits into the user data of an event, which is as wide as a pointer.
const TOKEN_FITS: bool = size_of::<*mut c_void>() >= size_of::<u64>();

/// kqueue(2).
///
/// # Implementation notes
///
/// - A source has one filter for each direction. Both go to the kernel in one call, and are
///   undone together when one of them is refused.
/// - One-shot is `EV_ONESHOT` and edge-triggered `EV_CLEAR`, armed again by `EV_ADD`. What
///   `EV_DISPATCH` and `EV_ENABLE` do differs between FreeBSD and NetBSD.
/// - An end-of-file on the READ filter is READ_CLOSED. HANGUP is not declared: a source that is
///   watched for READ is told the same when its peer has half-closed and when all is over.
///   PRIORITY is not declared: FreeBSD and NetBSD have no filter for it.
/// - Regular files and directories are always ready, and not given to the kernel, for which a
///   file at its end is not readable. So is a device that the kernel refuses to watch (macOS:
///   `/dev/null`), and a pipe without a peer where the kernel will not watch it.
/// - A terminal that the kernel refuses to watch (macOS: `/dev/tty`) is waited for by select(2),
///   in a call before kevent(2). The descriptor of the selector is not readable on its account,
///   and such a source cannot be edge-triggered.
/// - Wakers are an `EVFILT_USER` where the kernel has it (NetBSD from 10.0), else a socket pair.
/// - Changes that were put off ride in the call that waits, unless one of them needs more than
///   filters.
/// - The queue is not inherited by fork(2): in the child all of its calls fail with EBADF, and
///   dropping it there changes nothing here.
#[derive(Debug)]
pub struct Kqueue {
    queue: Arc<OwnedFd>,
    buffer: Vec<sys::kevent>,
    /// Changes that ride in the next call that waits.
    riding: Vec<sys::kevent>,
    always: AlwaysReady,
    /// Readable for as long as an always-ready source is to be reported, and watched, so that
    /// waits end at once, also those of another selector that watches this one.
    beacon: Option<Channel>,
    /// What the kernel will not watch, and beside it the queue itself.
    fallback: Option<Fallback>,
    /// The tokens, by descriptor, where the kernel cannot carry them.
    tokens: Tokens,
}

// SAFETY: the pointers in the buffer are numbers to the kernel and to us.
unsafe impl Send for Kqueue {}

impl Kqueue {
    /// A new queue, close-on-exec.
    ///
    /// # Errors
    ///
    /// Those of kqueue(2): too many open files.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use selectors::backend::{Backend, Kqueue};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// assert!(Kqueue::new()?.capabilities().edge);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes nothing and returns a descriptor or -1.
        let fd = Errno::result(unsafe { sys::kqueue() })?;
        // SAFETY: a new descriptor that is nobody else's.
        let queue = unsafe { OwnedFd::from_raw_fd(fd) };
        // A fork in another thread in between does no harm: the child has no queue.
        fcntl(&queue, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        Ok(Self {
            queue: Arc::new(queue),
            buffer: vec![no_event(); FIRST_ROOM],
            riding: Vec::new(),
            always: AlwaysReady::default(),
            beacon: None,
            fallback: None,
            tokens: Tokens::default(),
        })
    }

    /// Has the kernel watch for `new` instead of `old`, as one change. What the kernel refuses
    /// leaves `old` in place.
    fn change(
        &self,
        fd: RawSource,
        token: Token,
        old: Option<Watch>,
        new: Option<Watch>,
    ) -> nix::Result<()> {
        let changes = Changes::new(fd, token, old, new);
        changes.submit(&self.queue).inspect_err(|_| {
            // What cannot be brought back has gone by itself.
            let _ = Changes::new(fd, token, new, old).submit(&self.queue);
        })
    }

    /// Watches or stops watching the beacon, as the always-ready sources need.
    fn keep_beacon(&mut self) -> io::Result<()> {
        let watch = Watch::new(Interest::READ, Mode::Level);
        match (self.always.is_armed(), self.beacon.take()) {
            (true, None) => {
                let beacon = Channel::new()?;
                beacon.notify()?;
                let fd = beacon.source().as_raw_fd();
                self.change(fd, BEACON, None, Some(watch))?;
                self.tokens.insert(fd, BEACON);
                self.beacon = Some(beacon);
            }
            (false, Some(beacon)) => {
                let fd = beacon.source().as_raw_fd();
                self.tokens.remove(fd);
                self.change(fd, BEACON, Some(watch), None)?;
            }
            (_, beacon) => self.beacon = beacon,
        }
        Ok(())
    }

    /// Whether a source was closed and its number has become the beacon's, which is to stay
    /// watched as it is.
    fn is_beacon(&self, fd: RawSource) -> bool {
        let beacon = self.beacon.as_ref();
        beacon.is_some_and(|beacon| beacon.source().as_raw_fd() == fd)
    }

    fn insert_always(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        self.always.insert(fd, token, watch);
        self.keep_beacon().inspect_err(|_| {
            self.always.remove(fd, token);
        })
    }

    /// Watches what the kernel does not.
    fn fall_back(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
        refused: Errno,
    ) -> io::Result<()> {
        if watch.mode == Mode::Edge {
            return Err(refused.into());
        }
        let queue = self.queue.as_fd();
        let fallback = match &mut self.fallback {
            Some(fallback) => fallback,
            none => none.insert(Fallback::new(queue)?),
        };
        fallback.select.register(source, token, watch)?;
        fallback.index.insert(source.as_raw_fd(), fallback.sources);
        fallback.sources += 1;
        Ok(())
    }

    /// Waits once, and appends what the kernel says.
    fn wait_once(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let count = self.call(timeout)?;
        self.take(count, events);
        Ok(())
    }

    /// Appends what a call that waited has left in the buffer, and what there was no room for.
    fn take(&mut self, mut count: usize, events: &mut Events) {
        loop {
            let tokens = &self.tokens;
            events.extend(self.buffer[..count].iter().filter_map(|event| {
                let token = tokens.of(event)?;
                (token != BEACON).then(|| Event::new(token, from_kqueue(event)))
            }));
            if count < self.buffer.len() {
                return;
            }
            // One of the two events of a source may have been left out for want of room. What is
            // told twice is merged.
            self.buffer = vec![no_event(); 2 * count];
            count = self.call(Some(Duration::ZERO)).unwrap_or(0);
        }
    }

    /// One waiting call, in which the riding changes are made first: the number of events, or
    /// of changes that failed, that are now in the buffer.
    #[inline]
    fn call(&mut self, timeout: Option<Duration>) -> nix::Result<usize> {
        // NetBSD and OpenBSD answer EINVAL to a time that is out of range: this one never is.
        let timeout = timeout.map(|timeout| {
            let (tv_sec, tv_nsec) = seconds_and_nanos(timeout);
            sys::timespec { tv_sec, tv_nsec }
        });
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        let changes = sys::Count::try_from(self.riding.len()).unwrap_or(sys::Count::MAX);
        // Never 0: every kernel then returns at once, whatever the timeout.
        let room = sys::Count::try_from(self.buffer.len()).unwrap_or(sys::Count::MAX);
        let queue = self.queue.as_raw_fd();
        let buffer = self.buffer.as_mut_ptr();
        let riding = self.riding.as_ptr();
        // SAFETY: `riding` points to `changes` elements and `buffer` to `room` others, both
        // ours; `timeout` is null or outlives the call.
        let count = unsafe { sys::kevent(queue, riding, changes, buffer, room, timeout) };
        // They have been made, also if the wait was interrupted.
        self.riding.clear();
        Ok(usize::try_from(Errno::result(count)?).unwrap_or(0))
    }

    /// Appends the always-ready sources.
    fn tell_always(&mut self, events: &mut Events) -> io::Result<()> {
        if self.beacon.is_some() {
            self.always.report(events);
            self.keep_beacon()?;
        }
        Ok(())
    }
}

impl Backend for Kqueue {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            edge: true,
            read_closed: true,
            error: true,
            write_hangup: sys::WRITE_SEES_HANGUP,
            nesting: true,
            separate_directions: true,
            constant_wait: true,
            timeout_grain: Duration::from_nanos(1),
            ..Capabilities::default()
        }
    }

    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        let fd = source.as_raw_fd();
        let kind = kind_of(source)?;
        if never_blocks(kind) {
            return self.insert_always(fd, token, watch);
        }
        match self.change(fd, token, None, Some(watch)) {
            Ok(()) => {
                self.tokens.insert(fd, token);
                Ok(())
            }
            // WRITE on a pipe whose other end is gone: EPIPE on FreeBSD, DragonFly and macOS,
            // EBADF on NetBSD and in old FreeBSDs. A write would not block.
            Err(Errno::EPIPE | Errno::EBADF) if kind == SFlag::S_IFIFO => {
                check_open(source)?;
                self.insert_always(fd, token, watch)
            }
            // What has no filters: EINVAL on macOS, as for /dev/tty and /dev/null (libuv has
            // select(2) for these, too), ENODEV on FreeBSD. A terminal has to be waited for;
            // other devices without filters never block.
            Err(error @ (Errno::EINVAL | Errno::ENODEV)) if kind == SFlag::S_IFCHR => {
                if source.is_terminal() {
                    self.fall_back(source, token, watch, error)
                } else {
                    self.insert_always(fd, token, watch)
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        if self.always.contains(fd, token) {
            self.always.modify(fd, token, new);
            return self.keep_beacon().inspect_err(|_| {
                self.always.modify(fd, token, old);
            });
        }
        if let Some(fallback) = self.fallback.as_mut().filter(|fallback| fallback.has(fd)) {
            if new.mode == Mode::Edge {
                return Err(Errno::EINVAL.into());
            }
            return fallback.select.modify(fd, token, old, new);
        }
        if self.is_beacon(fd) {
            return Err(Errno::EBADF.into());
        }
        match self.change(fd, token, Some(old), Some(new)) {
            // A pipe's other end is gone, see `register`.
            Err(Errno::EPIPE | Errno::EBADF) if is_open(fd) => {
                self.insert_always(fd, token, new)?;
                self.tokens.remove(fd);
                Ok(self.change(fd, token, Some(old), None)?)
            }
            answer => Ok(answer?),
        }
    }

    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        if self.always.remove(fd, token) {
            return self.keep_beacon();
        }
        if let Some(fallback) = self.fallback.as_mut().filter(|fallback| fallback.has(fd)) {
            fallback.select.unregister(fd, token, watch)?;
            fallback.index.remove(fd);
            fallback.sources -= 1;
            if fallback.sources == 0 {
                self.fallback = None;
            }
            return Ok(());
        }
        if self.is_beacon(fd) {
            return Ok(());
        }
        self.change(fd, token, Some(watch), None)?;
        self.tokens.remove(fd);
        Ok(())
    }

    #[inline]
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        if let Some(fallback) = &mut self.fallback {
            let before = events.len();
            fallback.select.wait(events, timeout)?;
            events.list.retain(|event| event.token() != QUEUE);
            // What select(2) has told must not be lost: an error will come again.
            let looked = self.wait_once(events, Some(Duration::ZERO));
            looked.or_else(|error| if events.len() > before { Ok(()) } else { Err(error) })?;
        } else {
            self.wait_once(events, timeout)?;
        }
        self.tell_always(events)
    }

    fn change_and_wait(
        &mut self,
        changes: &mut [Change],
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        self.ride_and_wait(changes, events, timeout)
    }

    fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        Some(self.queue.as_fd())
    }

    fn waker(&mut self, token: Token) -> io::Result<Option<Trigger>> {
        // A kernel without the filter answers EINVAL: NetBSD before 10.0, older OpenBSDs.
        let add = sys::EV_ADD | sys::EV_CLEAR;
        if user_event(&self.queue, token, add, 0).is_err() {
            return Ok(None);
        }
        // Not the descriptor itself, which is to be closed with the selector.
        let queue = Arc::downgrade(&self.queue);
        Ok(Some(Box::new(move || {
            let Some(queue) = Weak::upgrade(&queue) else { return Ok(()) };
            // The token again: FreeBSD keeps the user data of the last change.
            Ok(user_event(&queue, token, 0, sys::NOTE_TRIGGER)?)
        })))
    }
}

impl AsFd for Kqueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

/// The sources that the kernel refuses to watch, waited for together with the queue.
#[derive(Debug)]
struct Fallback {
    select: Select,
    index: DescriptorIndex,
    sources: usize,
}

impl Fallback {
    fn new(queue: BorrowedFd<'_>) -> io::Result<Self> {
        let mut select = Select::new()?;
        select.register(queue, QUEUE, Watch::new(Interest::READ, Mode::Level))?;
        Ok(Self { select, index: DescriptorIndex::default(), sources: 0 })
    }

    fn has(&self, fd: RawSource) -> bool {
        self.index.get(fd).is_some()
    }
}

/// The tokens of the sources, by descriptor, where a pointer has no room for them: 32-bit
/// systems. Elsewhere empty, and never looked at.
#[derive(Debug, Default)]
struct Tokens {
    index: DescriptorIndex,
    tokens: Vec<(RawSource, Token)>,
}

impl Tokens {
    fn insert(&mut self, fd: RawSource, token: Token) {
        if !TOKEN_FITS {
            self.index.insert(fd, self.tokens.len());
            self.tokens.push((fd, token));
        }
    }

    fn remove(&mut self, fd: RawSource) {
        if let Some(place) = self.index.remove(fd) {
            self.tokens.swap_remove(place);
            if let Some(&(moved, _)) = self.tokens.get(place) {
                self.index.insert(moved, place);
            }
        }
    }

    /// Whose event it is.
    #[inline]
    fn of(&self, event: &sys::kevent) -> Option<Token> {
        if TOKEN_FITS {
            return Some(Token::from_bits(event.udata.addr() as u64));
        }
        if event.filter == sys::EVFILT_USER {
            return Some(Token::WAKER);
        }
        let fd = RawSource::try_from(event.ident).ok()?;
        let (_, token) = self.tokens[self.index.get(fd)?];
        // What was queued for another source with that number is not for this one.
        (to_udata(token) == event.udata).then_some(token)
    }
}

/// What the kernel is asked to change in one call: at most one deletion and one addition for
/// each direction.
struct Changes {
    list: [sys::kevent; 4],
    count: usize,
}

impl Changes {
    fn new(fd: RawSource, token: Token, old: Option<Watch>, new: Option<Watch>) -> Self {
        let mut changes = Self { list: [no_event(); 4], count: 0 };
        let directions = [(Interest::READ, sys::EVFILT_READ), (Interest::WRITE, sys::EVFILT_WRITE)];
        for (direction, filter) in directions {
            let asks = |watch: &Watch| watch.interest.contains(direction);
            let old = old.filter(asks).map(|watch| watch.mode);
            let new = new.filter(asks).map(|watch| watch.mode);
            // Adding a filter that is there changes its user data and reports it again, but
            // neither sets nor drops EV_CLEAR or EV_ONESHOT, on FreeBSD and NetBSD alike.
            if old.is_some() && old != new {
                changes.push(fd, token, filter, sys::EV_DELETE);
            }
            if let Some(mode) = new {
                changes.push(fd, token, filter, sys::EV_ADD | to_kqueue(mode));
            }
        }
        changes
    }

    fn push(&mut self, fd: RawSource, token: Token, filter: sys::Filter, flags: sys::Flags) {
        let ident = usize::try_from(fd).unwrap_or(usize::MAX);
        // With EV_RECEIPT every change is answered, and no event is reported instead; without,
        // the first failure would keep the changes after it from being made.
        let flags = flags | sys::EV_RECEIPT;
        self.list[self.count] = sys::EV_SET(ident, filter, flags, 0, 0, to_udata(token));
        self.count += 1;
    }

    /// The changes as they go with a call that waits: only what fails is answered.
    fn without_receipts(&self) -> impl Iterator<Item = sys::kevent> {
        self.list[..self.count].iter().map(|change| {
            let mut change = *change;
            change.flags &= !sys::EV_RECEIPT;
            change
        })
    }

    /// Makes the changes, each as far as the kernel lets it, and answers the first failure.
    fn submit(mut self, queue: &OwnedFd) -> nix::Result<()> {
        let deletes = self.list.map(|change| change.flags & sys::EV_DELETE != 0);
        let list = self.list.as_mut_ptr();
        // Exactly one slot for each change: with fewer the kernel loses receipts, with more it
        // adds ready events to them.
        let count = sys::Count::try_from(self.count).unwrap_or(4);
        let (queue, now) = (queue.as_raw_fd(), sys::timespec { tv_sec: 0, tv_nsec: 0 });
        // SAFETY: `list` points to `count` elements, which the kernel reads before it writes
        // the answers over them; `now` outlives the call.
        let answers = unsafe { sys::kevent(queue, list, count, list, count, &raw const now) };
        let answers = usize::try_from(Errno::result(answers)?).unwrap_or(0);
        let mut result = Ok(());
        for (answer, deletes) in self.list[..answers.min(self.count)].iter().zip(deletes) {
            let error = match answer.data {
                _ if answer.flags & sys::EV_ERROR == 0 => continue,
                0 => continue,
                #[expect(clippy::cast_possible_truncation, reason = "an errno")]
                number => Errno::from_raw(number as i32),
            };
            // It was closed (EBADF), its number is another file's, or it was one-shot and has
            // fired (ENOENT): the filter is gone, which is what was asked for.
            if deletes && matches!(error, Errno::ENOENT | Errno::EBADF) {
                continue;
            }
            result = result.and(Err(error));
        }
        result
    }
}

fn user_event(queue: &OwnedFd, token: Token, flags: sys::Flags, fflags: u32) -> nix::Result<()> {
    let change = sys::EV_SET(0, sys::EVFILT_USER, flags, fflags, 0, to_udata(token));
    let queue = queue.as_raw_fd();
    // SAFETY: one change is read; there is no room for events, so none is written, and the call
    // does not wait.
    let answer =
        unsafe { sys::kevent(queue, &raw const change, 1, ptr::null_mut(), 0, ptr::null()) };
    Errno::result(answer).map(drop)
}

/// What kind of file it is.
fn kind_of(source: BorrowedSource<'_>) -> nix::Result<SFlag> {
    Ok(SFlag::from_bits_truncate(fstat(source)?.st_mode) & SFlag::S_IFMT)
}

/// Whether the kernel is not asked: every kernel reports a file as readable only before its end,
/// and some (macOS, OpenBSD) refuse directories.
fn never_blocks(kind: SFlag) -> bool {
    kind == SFlag::S_IFREG || kind == SFlag::S_IFDIR
}

fn is_open(fd: RawSource) -> bool {
    // SAFETY: nothing is done with it but to ask.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    check_open(fd).is_ok()
}

fn no_event() -> sys::kevent {
    sys::EV_SET(0, sys::EVFILT_READ, 0, 0, 0, ptr::null_mut())
}

/// The token as user data, or as much of it as there is room for.
fn to_udata(token: Token) -> *mut c_void {
    #[expect(clippy::cast_possible_truncation, reason = "see TOKEN_FITS")]
    ptr::without_provenance_mut(token.to_bits() as usize)
}

fn to_kqueue(mode: Mode) -> sys::Flags {
    match mode {
        Mode::Level | Mode::Exclusive => 0,
        Mode::OneShot => sys::EV_ONESHOT,
        Mode::Edge => sys::EV_CLEAR,
    }
}

#[inline]
fn from_kqueue(event: &sys::kevent) -> Readiness {
    let eof = event.flags & sys::EV_EOF != 0;
    let mut readiness = Readiness::empty();
    if event.filter == sys::EVFILT_READ {
        readiness |= Readiness::READ;
        readiness.set(Readiness::READ_CLOSED, eof);
    } else if event.filter == sys::EVFILT_WRITE {
        readiness |= Readiness::WRITE;
    }
    // A socket's error comes with EV_EOF, in the filter's flags.
    let failed = event.flags & sys::EV_ERROR != 0 || eof && event.fflags != 0;
    readiness.set(Readiness::ERROR, failed);
    readiness
}
