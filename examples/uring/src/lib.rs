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

/// The capacity of the submission queue. If there are more completions than twice as many, the kernel
/// keeps the rest in a list of its own.
const ENTRIES: u32 = 256;

/// The longest timeout of one call, because the kernel's type is limited. The selector waits again.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The user data of requests that cancel others. No descriptor has this number.
const CANCEL: u64 = u64::MAX;

/// A backend that watches sources by poll requests of io_uring(7).
///
/// A poll request completes once. For a source that was reported, the next wait makes another, so
/// sources are level-triggered.
pub struct Uring {
    ring: IoUring,
    sources: HashMap<RawSource, Source>,
    /// The sources for which the next pass makes a request.
    due: Vec<RawSource>,
    /// The level-triggered sources that the last wait reported: due in the next one.
    reported: Vec<RawSource>,
    /// The sources whose multishot request has reported a change.
    changed: Vec<RawSource>,
    /// How many sources have a request.
    armed: usize,
    /// The number of the current pass, in which requests are made.
    pass: u64,
    /// The thread that made the requests.
    thread: ThreadId,
    /// The process that created the ring. A child of fork(2) inherits the ring.
    process: u32,
}

struct Source {
    token: Token,
    watch: Watch,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It has no request, and gets one in the next pass.
    Due,
    /// It has a request, made in this pass.
    Armed(u64),
    /// It is half-closed and not watched for READ: a request would complete immediately, with nothing
    /// to report. The next pass makes a multishot request, which completes only when something changes.
    Quiet,
    /// It has a multishot request.
    Multishot,
    /// It is one-shot and was reported.
    Fired,
}

impl State {
    fn has_request(self) -> bool {
        matches!(self, Self::Armed(_) | Self::Multishot)
    }
}

impl Uring {
    /// Creates a backend with its own ring.
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
        // SAFETY: poll and cancel requests refer to no memory: `opcode` builds them from numbers.
        let pushed = unsafe { self.ring.submission().push(request) };
        pushed.map_err(|_full| io::ErrorKind::OutOfMemory.into())
    }

    /// Makes a request for a source that is due.
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
        self.push(&request.user_data(user_data(fd)))?;
        if let Some(source) = self.sources.get_mut(&fd) {
            source.state = armed;
            self.armed += 1;
        }
        Ok(())
    }

    /// Makes a request for every due source. Requests for ready sources have completed when this
    /// returns.
    fn poll_due(&mut self) -> io::Result<()> {
        self.pass += 1;
        while let Some(&fd) = self.due.last() {
            self.poll(fd)?;
            self.due.pop();
        }
        // Even if there is nothing to submit: the call makes other completions visible.
        self.submit()
    }

    /// Consumes the completions. Those of requests made in this pass are reported in `now`. The source
    /// of one from an earlier pass is due again, because its readiness may be outdated, or that of a
    /// file that was closed.
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

    /// Reports what is ready now, without blocking.
    fn poll_all(&mut self, events: &mut Events) -> io::Result<()> {
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

    /// Waits until a source is ready or the timeout expires, and reports what is ready.
    fn wait_and_poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        // A request is completed by the thread that made it, when that returns from the kernel.
        let thread = thread::current().id();
        if self.thread != thread {
            self.cancel_all()?;
            self.thread = thread;
        }
        let before = events.len();
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.due.append(&mut self.reported);
        loop {
            self.poll_all(events)?;
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let is_over = events.len() > before || left.is_some_and(|left| left.is_zero());
            // A separate call, because one that also submits does not report an interruption.
            if is_over || !self.wait_for_completion(left)? {
                return Ok(());
            }
        }
    }

    /// Waits for a completion. Returns false if the timeout has expired.
    fn wait_for_completion(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let result = match timeout {
            None => self.ring.submit_and_wait(1),
            Some(timeout) => {
                let time = Timespec::from(timeout.min(LONGEST));
                self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
        };
        match result {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(Errno::ETIME as i32) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Cancels the request for a source, and waits until the kernel has released the file.
    fn cancel(&mut self, fd: RawSource) -> io::Result<()> {
        let has_request =
            |uring: &Self| uring.sources.get(&fd).is_some_and(|source| source.state.has_request());
        if has_request(self) {
            self.push(&opcode::PollRemove::new(user_data(fd)).build().user_data(CANCEL))?;
        }
        self.reap_while(has_request)
    }

    /// Cancels all requests, and waits until the kernel has released the files.
    fn cancel_all(&mut self) -> io::Result<()> {
        if self.armed > 0 {
            let all = opcode::AsyncCancel2::new(CancelBuilder::any().all()).build();
            self.push(&all.user_data(CANCEL))?;
        }
        self.reap_while(|uring| uring.armed > 0)
    }

    /// Waits for completions, and consumes them, as long as the condition holds.
    fn reap_while(&mut self, condition: impl Fn(&Self) -> bool) -> io::Result<()> {
        while condition(self) {
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
        // Not `priority`: on Linux 6.18 a request for POLLPRI alone is not completed by urgent data.
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
        // Otherwise the next wait would refuse the request, too late.
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
        let result = self.wait_and_poll(events, timeout);
        // Events that were found before a failure must not be lost.
        if events.len() > before { Ok(()) } else { result }
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
        // Closing the ring cancels its requests only some time later, but the files must be released
        // now. In a child of fork(2) the requests are those of the parent.
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

/// The user data of requests for a descriptor.
fn user_data(fd: RawSource) -> u64 {
    u64::from(fd.unsigned_abs())
}

/// The readiness in the result of a poll request: none if it was cancelled, and an error if the
/// descriptor is closed.
fn readiness(result: i32) -> Option<Readiness> {
    match u32::try_from(result) {
        Ok(bits) => Some(Readiness::from_bits_truncate(bits)),
        Err(_) if result == -(Errno::ECANCELED as i32) => None,
        Err(_) => Some(Readiness::ERROR),
    }
}
