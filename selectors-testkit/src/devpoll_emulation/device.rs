//! Devices: finding them by descriptor, their owners, and waiting.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use selectors::backend::seconds_and_nanos;
use selectors_sys::devpoll::pollfd;

use super::Flavor;
use super::set::Set;

/// An open device.
pub(super) struct Device {
    /// Its device and inode number.
    identity: Identity,
    writable: bool,
    /// The process that owns it, or 0 before its first use. Shared with forked processes.
    owner: &'static AtomicU32,
    closed: AtomicBool,
    set: Mutex<Set>,
    /// Notified when a wait ends.
    wait_ended: Condvar,
    /// An eventfd(2) that ends waits when the set changes.
    wake: Mutex<Option<Arc<OwnedFd>>>,
    /// The previously opened device.
    previous: *const Device,
}

// SAFETY: `previous` points to a device, which is never freed, and is not written after it was published.
unsafe impl Sync for Device {}

/// The device that was opened last. The list has no lock, because a forked child must not wait for a lock
/// whose holder does not exist in the child.
static LAST: AtomicPtr<Device> = AtomicPtr::new(ptr::null_mut());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Identifies a file: a device and an inode number.
pub(super) type Identity = (libc::dev_t, libc::ino_t);

/// The file that a descriptor refers to.
pub(super) fn identity(fd: RawFd) -> Option<Identity> {
    // SAFETY: all fields are integers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is writable.
    let result = unsafe { libc::fstat(fd, &raw mut stat) };
    (result == 0).then_some((stat.st_dev, stat.st_ino))
}

/// The capacity of the shared memory for owners.
const OWNERS: usize = 1 << 20;

/// Allocates the owner of a new device in memory that forked processes share. Its first element counts the
/// others.
fn new_owner() -> Result<&'static AtomicU32, Errno> {
    static SHARED: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
    let mut shared = SHARED.load(Ordering::Acquire);
    if shared.is_null() {
        let size = OWNERS * size_of::<AtomicU32>();
        let (access, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: new memory, all zeros, at an address that the kernel chooses.
        let new = unsafe { libc::mmap(ptr::null_mut(), size, access, flags, -1, 0) };
        if new == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let new: *mut AtomicU32 = new.cast();
        let was = SHARED.compare_exchange(shared, new, Ordering::AcqRel, Ordering::Acquire);
        // Another thread may have been first; an unused mapping costs no memory.
        shared = was.map_or_else(|first| first, |_| new);
    }
    // SAFETY: within the mapping, which is never removed.
    let count = unsafe { &*shared };
    let place = count.fetch_add(1, Ordering::AcqRel) as usize + 1;
    if place >= OWNERS {
        return Err(Errno::ENXIO);
    }
    // SAFETY: as above.
    let owner = unsafe { shared.add(place) };
    // SAFETY: as above.
    Ok(unsafe { &*owner })
}

impl Device {
    /// Opens a device with an empty set, and returns its descriptor.
    pub(super) fn open(flags: c_int) -> Result<RawFd, Errno> {
        let mut ends = [-1; 2];
        // SAFETY: `ends` has room for two descriptors.
        Errno::result(unsafe { libc::pipe2(ends.as_mut_ptr(), flags & libc::O_CLOEXEC) })?;
        // SAFETY: a new descriptor, owned by nothing else.
        drop(unsafe { OwnedFd::from_raw_fd(ends[0]) });
        // SAFETY: a new descriptor, owned by nothing else.
        let end = unsafe { OwnedFd::from_raw_fd(ends[1]) };
        // SAFETY: takes numbers and returns a descriptor or -1.
        let wake =
            Errno::result(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: a new descriptor, owned by nothing else.
        let wake = unsafe { OwnedFd::from_raw_fd(wake) };
        let owner = new_owner()?;
        if Flavor::current() == Flavor::Solaris {
            // The common driver of 2011: dpopen().
            owner.store(std::process::id(), Ordering::Release);
        }
        let device = Box::leak(Box::new(Self {
            identity: identity(end.as_raw_fd()).ok_or(Errno::EIO)?,
            writable: flags & libc::O_ACCMODE != libc::O_RDONLY,
            owner,
            closed: AtomicBool::new(false),
            set: Mutex::default(),
            wait_ended: Condvar::new(),
            wake: Mutex::new(Some(Arc::new(wake))),
            previous: ptr::null(),
        }));
        let mut previous = LAST.load(Ordering::Acquire);
        loop {
            device.previous = previous;
            match LAST.compare_exchange(previous, device, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(other) => previous = other,
            }
        }
        let fd = end.as_raw_fd();
        std::mem::forget(end);
        Ok(fd)
    }

    /// The device that a descriptor refers to.
    pub(super) fn find(fd: RawFd) -> Option<&'static Self> {
        let identity = identity(fd)?;
        let mut at: *const Self = LAST.load(Ordering::Acquire);
        // SAFETY: null, or an element of the list, which is never freed.
        while let Some(device) = unsafe { at.as_ref() } {
            if device.identity == identity && !device.closed.load(Ordering::Acquire) {
                return Some(device);
            }
            at = device.previous;
        }
        None
    }

    /// Driver: the first process that calls write(2) or ioctl(2) owns the device from then on. For others
    /// these fail with EACCES, before any other check.
    pub(super) fn enter(&self) -> Result<(), Errno> {
        let process = std::process::id();
        let owner = self.owner.compare_exchange(0, process, Ordering::AcqRel, Ordering::Acquire);
        match owner {
            Err(owner) if owner != process => Err(Errno::EACCES),
            _ => Ok(()),
        }
    }

    pub(super) fn enter_to_write(&self) -> Result<(), Errno> {
        if !self.writable {
            return Err(Errno::EBADF);
        }
        self.enter()
    }

    /// Locks the set for a write. In the common driver of 2011 waits hold that lock.
    pub(super) fn set_to_write(&self) -> MutexGuard<'_, Set> {
        let waits = |set: &mut Set| Flavor::current() == Flavor::Solaris && set.waiting > 0;
        let set = self.wait_ended.wait_while(self.set(), waits);
        set.unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the set.
    pub(super) fn set(&self) -> MutexGuard<'_, Set> {
        lock(&self.set)
    }

    /// Called when the descriptor was closed.
    pub(super) fn closed(&self) {
        self.closed.store(true, Ordering::Release);
        let owner = self.owner.load(Ordering::Acquire);
        // In a forked child the locks may never be released.
        if owner != 0 && owner != std::process::id() {
            // Closes the descriptors in them if possible.
            if let Ok(mut wake) = self.wake.try_lock() {
                wake.take();
            }
            if let Ok(mut set) = self.set.try_lock() {
                *set = Set::default();
                set.closed = true;
            }
            return;
        }
        lock(&self.wake).take();
        let mut set = self.set();
        set.closed = true;
        // Waits continue with their files, as in any system call.
        if set.waiting == 0 {
            *set = Set::default();
        }
    }

    /// Makes waiting threads search the set again.
    pub(super) fn wake(&self) {
        if let Some(wake) = &*lock(&self.wake) {
            let one = 1_u64;
            // SAFETY: 8 bytes are read. If the counter is full, it is readable anyway.
            unsafe { libc::write(wake.as_raw_fd(), (&raw const one).cast(), size_of_val(&one)) };
        }
    }

    /// Waits for ready entries until the deadline. If `waits` is false, no signal is noticed.
    pub(super) fn wait(
        &self,
        room: usize,
        deadline: Option<Instant>,
        waits: bool,
    ) -> Result<Vec<pollfd>, Errno> {
        let wake = lock(&self.wake).clone();
        {
            let mut set = self.set();
            if set.closed {
                // Closed after it was found: the descriptor is no device.
                return Err(Errno::ENOTTY);
            }
            set.waiting += 1;
        }
        let result = self.wait_for(room, deadline, waits, wake.as_deref());
        let mut set = self.set();
        set.waiting -= 1;
        self.wait_ended.notify_all();
        if set.closed && set.waiting == 0 {
            *set = Set::default();
        }
        result
    }

    fn wait_for(
        &self,
        room: usize,
        deadline: Option<Instant>,
        waits: bool,
        wake: Option<&OwnedFd>,
    ) -> Result<Vec<pollfd>, Errno> {
        loop {
            // Before the search, so that every change after it is noticed.
            if let Some(wake) = wake {
                let mut count = 0_u64;
                let place = (&raw mut count).cast();
                // SAFETY: 8 bytes are written.
                unsafe { libc::read(wake.as_raw_fd(), place, size_of_val(&count)) };
            }
            let (ready, mut polled) = self.set().search(room)?;
            let passed = deadline.is_some_and(|deadline| deadline <= Instant::now());
            if !ready.is_empty() || !waits || passed {
                return Ok(ready);
            }
            if let Some(wake) = wake {
                polled.push(pollfd { fd: wake.as_raw_fd(), events: libc::POLLIN, revents: 0 });
            }
            // If another thread closes a socket, that ends a wait of the driver, but not poll(2) on Linux.
            // The emulation therefore searches once a tick.
            let soon = Instant::now() + super::TICK;
            let until = deadline.map_or(soon, |deadline| deadline.min(soon));
            match poll_until(&mut polled, Some(until)) {
                // More entries than poll(2) accepts: search every millisecond.
                Err(Errno::EINVAL) => {
                    let soon = Instant::now() + Duration::from_millis(1);
                    sleep_until(Some(deadline.map_or(soon, |deadline| deadline.min(soon))), true)?;
                }
                result => result?,
            }
        }
    }
}

/// poll(2) until an entry is ready, or the time has come if there is one.
fn poll_until(entries: &mut [pollfd], until: Option<Instant>) -> Result<(), Errno> {
    let time = until.map(|until| {
        // A longer timeout is cut short; the caller waits again.
        let left = until.saturating_duration_since(Instant::now());
        let (tv_sec, tv_nsec) = seconds_and_nanos(left);
        libc::timespec { tv_sec, tv_nsec }
    });
    let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    let count = libc::nfds_t::try_from(entries.len()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: `entries` are writable, `time` is null or outlives the call.
    let result = unsafe { libc::ppoll(entries.as_mut_ptr(), count, time, ptr::null()) };
    Errno::result(result).map(drop)
}

/// Sleeps until a time, or forever. A signal ends it.
pub(super) fn sleep_until(until: Option<Instant>, waits: bool) -> Result<(), Errno> {
    while waits && until.is_none_or(|until| until > Instant::now()) {
        poll_until(&mut [], until)?;
    }
    Ok(())
}
