//! Makes system calls of the library fail, over the real kernel.
//!
//! A program's own function comes before the C library's of the same name. Those here fail where a
//! [`Fault`] says so, and otherwise call the C library's. That goes for the thread that asked for
//! it, and there only for what it does within [`failing`] or [`within`]: neither other tests nor
//! fixtures notice.
#![expect(unsafe_code, reason = "replaces functions of the C library")]

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use std::mem::transmute;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use nix::errno::Errno;
use nix::libc;
#[cfg(any(feature = "devpoll", feature = "kqueue"))]
use selectors_testkit::emulated_faults::{self, Step};

/// A system call that the library makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    EpollCreate,
    EpollAdd,
    EpollModify,
    EpollDelete,
    EpollWait,
    Poll,
    Select,
    Eventfd,
    Read,
    Write,
    /// fcntl(2), `F_GETFL`.
    GetStatus,
    /// fcntl(2), `F_GETFD`.
    GetFlags,
    /// fcntl(2), `F_SETFD`.
    SetFlags,
    /// fcntl(2), `F_DUPFD_CLOEXEC`.
    Duplicate,
    Fstat,
    /// dup3(2).
    Replace,
    /// pthread_atfork(3).
    AtFork,
    /// A step of an emulated kernel.
    #[cfg(any(feature = "devpoll", feature = "kqueue"))]
    Emulated(Step),
}

/// Which calls fail, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) call: Call,
    pub(crate) errno: Errno,
    /// How many calls succeed before.
    pub(crate) skip: u32,
    /// How many calls fail then.
    pub(crate) times: u32,
}

pub(crate) const FOR_EVER: u32 = u32::MAX;

impl Fault {
    pub(crate) const fn new(call: Call, errno: Errno) -> Self {
        Self { call, errno, skip: 0, times: 1 }
    }

    pub(crate) const fn after(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    pub(crate) const fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }
}

thread_local! {
    static FAULTS: Cell<[Option<Fault>; 2]> = const { Cell::new([None; 2]) };
    static WITHIN: Cell<bool> = const { Cell::new(false) };
    /// Whether an emulated kernel is at work, whose own calls are not the library's.
    static EMULATING: Cell<bool> = const { Cell::new(false) };
    static INJECTED: Cell<u32> = const { Cell::new(0) };
    static LAST: Cell<Option<Errno>> = const { Cell::new(None) };
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

/// From now on calls of this thread fail according to `fault`, within [`within`].
pub(crate) fn set(fault: Option<Fault>) {
    FAULTS.set([fault, None]);
}

/// How many calls of all threads have failed.
static INJECTED_ANYWHERE: AtomicU32 = AtomicU32::new(0);

pub(crate) fn injected_anywhere() -> u32 {
    INJECTED_ANYWHERE.load(Ordering::Relaxed)
}

/// How many calls of this thread have failed.
pub(crate) fn injected() -> u32 {
    INJECTED.get()
}

/// Whether the calls of this thread fail permanently.
pub(crate) fn fails_for_ever() -> bool {
    FAULTS.get().iter().flatten().any(|fault| fault.times == FOR_EVER)
}

/// The error of the last call of this thread that has failed.
pub(crate) fn last_injected() -> Option<Errno> {
    LAST.get()
}

/// How many calls this thread has made within [`within`].
pub(crate) fn calls() -> u32 {
    CALLS.get()
}

/// Runs `act`, a call of the library.
pub(crate) fn within<R>(act: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            WITHIN.set(false);
        }
    }
    WITHIN.set(true);
    let _leave = Leave;
    act()
}

/// Runs `act`, a call of the library, while calls fail according to `fault`. Also returns how many
/// failed.
pub(crate) fn failing<R>(fault: impl Into<Option<Fault>>, act: impl FnOnce() -> R) -> (R, u32) {
    failing_as([fault.into(), None], act)
}

/// As [`failing`], with faults of two calls. Of the same call, the second one begins when the first has
/// ended.
pub(crate) fn failing_both<R>(faults: [Fault; 2], act: impl FnOnce() -> R) -> (R, u32) {
    failing_as(faults.map(Some), act)
}

fn failing_as<R>(faults: [Option<Fault>; 2], act: impl FnOnce() -> R) -> (R, u32) {
    let before = injected();
    FAULTS.set(faults);
    let result = within(act);
    set(None);
    (result, injected() - before)
}

/// Makes the emulated kernels check which of their steps fail.
#[cfg(any(feature = "devpoll", feature = "kqueue"))]
pub(crate) fn ask_for_emulated_faults() {
    emulated_faults::ask(emulated_faults::Faults {
        step: |step| fault(Call::Emulated(step)).map(|errno| errno as i32),
        inside: |inside| EMULATING.set(inside),
    });
}

/// Whether a call of the C library fails, and how.
fn fault_of_library(call: Call) -> Option<Errno> {
    if EMULATING.get() { None } else { fault(call) }
}

/// Whether a call fails, and how.
fn fault(call: Call) -> Option<Errno> {
    if !WITHIN.get() {
        return None;
    }
    CALLS.set(CALLS.get() + 1);
    let mut faults = FAULTS.get();
    let is_due = |fault: &&mut Fault| fault.call == call && (fault.skip > 0 || fault.times > 0);
    let fault = faults.iter_mut().flatten().find(is_due)?;
    let errno = if fault.skip > 0 {
        fault.skip -= 1;
        None
    } else {
        fault.times -= u32::from(fault.times != FOR_EVER);
        INJECTED.set(INJECTED.get() + 1);
        INJECTED_ANYWHERE.fetch_add(1, Ordering::Relaxed);
        LAST.set(Some(fault.errno));
        Some(fault.errno)
    };
    FAULTS.set(faults);
    errno
}

/// The C library's function of this name.
fn real(name: &'static CStr, cache: &AtomicPtr<c_void>) -> *mut c_void {
    let mut function = cache.load(Ordering::Relaxed);
    if function.is_null() {
        // SAFETY: the name is a string, and the handle stands for the libraries after this program.
        function = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
        assert!(!function.is_null(), "the C library has no {name:?}");
        cache.store(function, Ordering::Relaxed);
    }
    function
}

/// Defines functions in the place of the C library's: `call` says which of them is to fail.
macro_rules! interpose {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty = $call:expr;)+) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($argument: $type),*) -> $result {
            static REAL: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
            let call: Option<Call> = $call;
            if let Some(errno) = call.and_then(fault_of_library) {
                errno.set();
                return -1;
            }
            let name = concat!(stringify!($name), "\0").as_bytes();
            let name = CStr::from_bytes_with_nul(name).unwrap_or_default();
            let function = real(name, &REAL);
            // SAFETY: it has these arguments. What is variadic takes integers and pointers alike.
            let function = unsafe {
                transmute::<*mut c_void, unsafe extern "C" fn($($type),*) -> $result>(function)
            };
            // SAFETY: the caller's promise.
            unsafe { function($($argument),*) }
        }
    )+};
}

interpose! {
    fn epoll_create1(flags: c_int) -> c_int = Some(Call::EpollCreate);
    fn eventfd(value: c_uint, flags: c_int) -> c_int = Some(Call::Eventfd);
    fn poll(fds: *mut libc::pollfd, count: libc::nfds_t, timeout: c_int) -> c_int
        = Some(Call::Poll);
    fn select(
        count: c_int,
        read: *mut libc::fd_set,
        write: *mut libc::fd_set,
        except: *mut libc::fd_set,
        timeout: *mut libc::timeval
    ) -> c_int = Some(Call::Select);
    fn read(fd: c_int, buffer: *mut c_void, count: usize) -> isize = Some(Call::Read);
    fn write(fd: c_int, buffer: *const c_void, count: usize) -> isize = Some(Call::Write);
    fn fcntl(fd: c_int, command: c_int, argument: *mut c_char) -> c_int = of_command(command);
    fn fstat(fd: c_int, stat: *mut libc::stat) -> c_int = Some(Call::Fstat);
    fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int = Some(Call::Replace);
    fn syscall(
        number: c_long,
        first: c_long,
        second: c_long,
        third: c_long,
        fourth: c_long,
        fifth: c_long,
        sixth: c_long
    ) -> c_long = of_number(number, second);
}

type Handler = Option<unsafe extern "C" fn()>;

/// pthread_atfork(3), which returns its error. It is a part of every program, and calls this.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> c_int {
    unsafe extern "C" {
        fn __register_atfork(_: Handler, _: Handler, _: Handler, program: *const c_void) -> c_int;
    }
    match fault_of_library(Call::AtFork) {
        Some(errno) => errno as c_int,
        // SAFETY: the caller's promise; null stands for the program itself.
        None => unsafe { __register_atfork(prepare, parent, child, ptr::null()) },
    }
}

fn of_command(command: c_int) -> Option<Call> {
    match command {
        libc::F_GETFL => Some(Call::GetStatus),
        libc::F_GETFD => Some(Call::GetFlags),
        libc::F_SETFD => Some(Call::SetFlags),
        libc::F_DUPFD_CLOEXEC => Some(Call::Duplicate),
        _ => None,
    }
}

/// epoll_ctl(2) and epoll_pwait(2), which go by their numbers.
fn of_number(number: c_long, operation: c_long) -> Option<Call> {
    let is = |of: c_int| c_long::from(of) == operation;
    match number {
        libc::SYS_epoll_pwait => Some(Call::EpollWait),
        libc::SYS_epoll_ctl if is(libc::EPOLL_CTL_ADD) => Some(Call::EpollAdd),
        libc::SYS_epoll_ctl if is(libc::EPOLL_CTL_MOD) => Some(Call::EpollModify),
        libc::SYS_epoll_ctl => Some(Call::EpollDelete),
        _ => None,
    }
}
