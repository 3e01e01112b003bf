//! A [`Backend`] over io_uring(7), as an example of how to write one.
//!
//! The chapter `writing_a_backend` in the documentation of `selectors-testkit` describes how it was
//! written, from an empty file until the conformance suite passed. It is meant to be read, not to be
//! fast: a wait that blocks takes three system calls, where epoll takes one.
//!
//! # Portability
//!
//! Linux 5.19 and later, on x86_64 and aarch64. On other systems this crate is empty.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use selectors::backend::{Backend, BorrowedSource, Capabilities, RawSource};
use selectors::{Event, Events, Interest, Mode, Readiness, Token, Watch};

/// How many requests are submitted at once. More completions than twice as many are kept by the
/// kernel in a list.
const ENTRIES: u32 = 256;

/// The longest wait at once: the kernel refuses what its type cannot hold. A selector waits again.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Marks the completion of a request that cancels others. No descriptor has this number.
const CANCEL: u64 = u64::MAX;

/// A backend that watches sources by poll requests of io_uring(7).
///
/// A poll request completes once. One whose source was reported is made again by the next wait,
/// which makes sources level-triggered.
pub struct Uring {
    ring: IoUring,
    sources: HashMap<RawSource, Source>,
    /// The sources to make a request for in the next pass.
    due: Vec<RawSource>,
    /// The level-triggered sources that the last wait reported, which are due in the next one.
    reported: Vec<RawSource>,
    /// The sources whose multishot request says that something has changed.
    changed: Vec<RawSource>,
    /// How many sources have a request.
    armed: usize,
    /// Counts how often requests were made.
    pass: u64,
    /// The thread that made the requests.
    thread: ThreadId,
    /// The process that made the ring, which a child of fork(2) inherits.
    process: u32,
}

struct Source {
    token: Token,
    watch: Watch,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It has no request, and is to get one.
    Due,
    /// It has a request, which was made in this pass.
    Armed(u64),
    /// It is half-closed, and not watched for READ: a request would complete at once, with nothing
    /// to report. It is to get a multishot request, which completes on changes only.
    Quiet,
    /// It has a multishot request.
    Multishot,
    /// It is one-shot and has been reported.
    Fired,
}

impl State {
    fn has_request(self) -> bool {
        matches!(self, Self::Armed(_) | Self::Multishot)
    }
}

impl Uring {
    /// A backend with a ring of its own.
    ///
    /// # Errors
    ///
    /// Those of io_uring_setup(2): in particular ENOSYS and EPERM where io_uring is not available,
    /// as in many containers.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, Selector};
    /// use selectors_uring::Uring;
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # if Uring::new().is_err() { return Ok(()) }
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let mut selector = Selector::with_backend(Uring::new()?);
    /// let token = selector.register(ours, Interest::READ, ())?;
    /// drop(theirs);
    /// assert_eq!(selector.select(None)?[0].token(), token);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            ring: IoUring::new(ENTRIES)?,
            sources: HashMap::new(),
            due: Vec::new(),
            reported: Vec::new(),
            changed: Vec::new(),
            armed: 0,
            pass: 0,
            thread: thread::current().id(),
            process: std::process::id(),
        })
    }

    fn submit(&mut self) -> io::Result<()> {
        self.ring.submit().map(drop)
    }

    /// Queues a request, to be submitted with the next system call.
    fn push(&mut self, request: &squeue::Entry) -> io::Result<()> {
        if self.ring.submission().is_full() {
            self.submit()?;
        }
        // SAFETY: requests to poll and to cancel point to no memory: `opcode` makes them of numbers.
        let pushed = unsafe { self.ring.submission().push(request) };
        pushed.map_err(|_full| io::ErrorKind::OutOfMemory.into())
    }

    /// Makes a request for a source that is to have one.
    fn poll(&mut self, fd: RawSource) -> io::Result<()> {
        let Some(source) = self.sources.get(&fd) else { return Ok(()) };
        let (multishot, armed) = match source.state {
            State::Due => (false, State::Armed(self.pass)),
            State::Quiet => (true, State::Multishot),
            _ => return Ok(()),
        };
        // The bits of a readiness are those of poll(2). Besides these, the kernel reports POLLERR,
        // POLLHUP and POLLRDHUP of every source.
        let flags = Readiness::from(source.watch.interest).bits();
        let request = opcode::PollAdd::new(Fd(fd), flags).multi(multishot).build();
        self.push(&request.user_data(number(fd)))?;
        if let Some(source) = self.sources.get_mut(&fd) {
            source.state = armed;
            self.armed += 1;
        }
        Ok(())
    }

    /// Makes a request for every source that is due. Those of sources that are ready have completed
    /// when this returns.
    fn poll_due(&mut self) -> io::Result<()> {
        self.pass += 1;
        while let Some(&fd) = self.due.last() {
            self.poll(fd)?;
            self.due.pop();
        }
        // Also if there is nothing to submit: what else has completed becomes visible.
        self.submit()
    }

    /// Takes the completions. Those of requests that were made in this pass say what is ready
    /// `now`. One of an earlier pass is a reason to look again: what it says may be history, or be
    /// about a file that was closed.
    fn reap(&mut self, mut now: Option<&mut Events>) -> io::Result<()> {
        loop {
            for completion in self.ring.completion() {
                let Ok(fd) = RawSource::try_from(completion.user_data()) else { continue };
                let Some(source) = self.sources.get_mut(&fd) else { continue };
                let readiness = readiness(completion.result());
                if cqueue::more(completion.flags()) {
                    if readiness != Some(Readiness::READ_CLOSED) {
                        self.changed.push(fd);
                    }
                    continue;
                }
                self.armed -= 1;
                let is_new = source.state == State::Armed(self.pass);
                source.state = State::Due;
                match (readiness, &mut now) {
                    (Some(readiness), Some(now)) if is_new => {
                        let reads = source.watch.interest.contains(Interest::READ);
                        if readiness == Readiness::READ_CLOSED && !reads {
                            source.state = State::Quiet;
                            self.due.push(fd);
                            continue;
                        }
                        now.push(Event::new(source.token, readiness));
                        match source.watch.mode {
                            Mode::OneShot => source.state = State::Fired,
                            _ => self.reported.push(fd),
                        }
                    }
                    _ => self.due.push(fd),
                }
            }
            if !self.ring.submission().cq_overflow() {
                return Ok(());
            }
            // Moves completions from the kernel's list to the ring.
            self.submit()?;
        }
    }

    /// Finds what is ready now, without waiting.
    fn look(&mut self, events: &mut Events) -> io::Result<()> {
        loop {
            self.reap(None)?;
            while let Some(fd) = self.changed.pop() {
                self.cancel(fd)?;
            }
            self.poll_due()?;
            self.reap(Some(events))?;
            if self.due.is_empty() && self.changed.is_empty() {
                return Ok(());
            }
        }
    }

    /// Waits for something to be ready, and finds it.
    fn find(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        // A request is completed by the thread that made it, on its way out of the kernel.
        let thread = thread::current().id();
        if self.thread != thread {
            self.cancel_all()?;
            self.thread = thread;
        }
        let before = events.len();
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.due.append(&mut self.reported);
        loop {
            self.look(events)?;
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let is_over = events.len() > before || left.is_some_and(|left| left.is_zero());
            // A call of its own: one that submits something does not say that it was interrupted.
            if is_over || !self.wait_for_completion(left)? {
                return Ok(());
            }
        }
    }

    /// Waits until there is a completion (true) or the time has passed (false).
    fn wait_for_completion(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let answer = match timeout {
            None => self.ring.submit_and_wait(1),
            Some(timeout) => {
                let time = Timespec::from(timeout.min(LONGEST));
                self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
        };
        match answer {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(Errno::ETIME as i32) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Cancels the request for a source, and waits until the kernel has let go of the file.
    fn cancel(&mut self, fd: RawSource) -> io::Result<()> {
        let has_request =
            |uring: &Self| uring.sources.get(&fd).is_some_and(|source| source.state.has_request());
        if has_request(self) {
            self.push(&opcode::PollRemove::new(number(fd)).build().user_data(CANCEL))?;
        }
        self.settle(has_request)
    }

    /// Cancels all requests, likewise.
    fn cancel_all(&mut self) -> io::Result<()> {
        if self.armed > 0 {
            let all = opcode::AsyncCancel2::new(CancelBuilder::any().all()).build();
            self.push(&all.user_data(CANCEL))?;
        }
        self.settle(|uring| uring.armed > 0)
    }

    /// Takes completions while they are `awaited`.
    fn settle(&mut self, awaited: impl Fn(&Self) -> bool) -> io::Result<()> {
        while awaited(self) {
            match self.wait_for_completion(None) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => self.reap(None)?,
            }
        }
        Ok(())
    }
}

impl Backend for Uring {
    fn capabilities(&self) -> Capabilities {
        // Not `priority`: on Linux 6.18 a request for POLLPRI alone misses urgent data of TCP.
        let mut capabilities = Capabilities::default();
        capabilities.read_closed = true;
        capabilities.hangup = true;
        capabilities.error = true;
        capabilities.write_hangup = true;
        capabilities.timeout_resolution = Duration::from_nanos(1);
        capabilities
    }

    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        // The request would be refused by the next wait: too late.
        let flags = OFlag::from_bits_retain(fcntl(source, FcntlArg::F_GETFL)?);
        if flags.contains(OFlag::O_PATH) {
            return Err(Errno::EBADF.into());
        }
        let fd = source.as_raw_fd();
        self.sources.insert(fd, Source { token, watch, state: State::Due });
        self.due.push(fd);
        Ok(())
    }

    fn modify(&mut self, fd: RawSource, _: Token, _: Watch, new: Watch) -> io::Result<()> {
        self.cancel(fd)?;
        if let Some(source) = self.sources.get_mut(&fd) {
            source.watch = new;
            source.state = State::Due;
            self.due.push(fd);
        }
        Ok(())
    }

    fn unregister(&mut self, fd: RawSource, _: Token, _: Watch) -> io::Result<()> {
        self.cancel(fd)?;
        self.sources.remove(&fd);
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let before = events.len();
        let answer = self.find(events, timeout);
        // What was found before something failed must not be lost.
        if events.len() > before { Ok(()) } else { answer }
    }

    fn owns(&self, fd: RawSource) -> bool {
        fd == self.ring.as_raw_fd()
    }

    fn after_fork(&mut self) -> io::Result<()> {
        *self = Self::new()?;
        Ok(())
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        // Closing the ring cancels its requests some time later, but the files must be free now. In
        // a child of fork(2) the requests are the parent's.
        if self.process == std::process::id() {
            let _ = self.cancel_all();
        }
    }
}

impl fmt::Debug for Uring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uring").field("sources", &self.sources.len()).finish_non_exhaustive()
    }
}

/// What a request for a descriptor is called.
fn number(fd: RawSource) -> u64 {
    u64::from(fd.unsigned_abs())
}

/// What the result of a poll request says: nothing if it was cancelled, and an error if the
/// descriptor is closed.
fn readiness(result: i32) -> Option<Readiness> {
    match u32::try_from(result) {
        Ok(bits) => Some(Readiness::from_bits_truncate(bits)),
        Err(_) if result == -(Errno::ECANCELED as i32) => None,
        Err(_) => Some(Readiness::ERROR),
    }
}
