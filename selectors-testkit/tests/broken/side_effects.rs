//! WAIT-6, REG-9, REG-12: backends that change the state of the program.

use std::io;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};
use nix::sys::stat::{Mode, SFlag, umask};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::alarm;
use rlimit::Resource;
use selectors::Events;
use selectors::backend::Registered;
use selectors_testkit::fixtures::{receive, with_raw};

use super::defect::{Answer, Beneath, Defect, NOW, Timeout};
use super::row::{Row, epoll, poll, rows};
use super::variants::kind;

/// When the signal mask is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mask {
    /// After a wait.
    LeftBlocked,
    /// After a wait that a signal has interrupted.
    LeftBlockedWhenInterrupted,
    /// During a wait, in which no signal is blocked.
    Empty,
}

impl Defect for Mask {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        if *self == Self::Empty {
            let before = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
            let answer = beneath.wait(events, timeout);
            before.thread_set_mask()?;
            return answer;
        }
        let answer = beneath.wait(events, timeout);
        if *self == Self::LeftBlocked || answer.is_err() {
            SigSet::from(Signal::SIGWINCH).thread_block()?;
        }
        answer
    }
}

/// Changes the process, without restoring it, in a short wait.
struct LeavesBehind(fn() -> Answer);

impl Defect for LeavesBehind {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        if timeout != NOW && timeout < Some(Duration::from_millis(2)) {
            (self.0)()?;
        }
        beneath.wait(events, timeout)
    }
}

fn lower_the_limit() -> Answer {
    let (soft, hard) = Resource::NOFILE.get()?;
    Resource::NOFILE.set(soft.saturating_sub(1), hard)
}

fn ignore_alarms() -> Answer {
    let action = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler is set.
    unsafe { sigaction(Signal::SIGALRM, &action) }?;
    Ok(())
}

fn leave_a_thread() -> Answer {
    thread::Builder::new().spawn(|| thread::sleep(Duration::from_secs(20)))?;
    Ok(())
}

fn set_timer_slack() -> Answer {
    // SAFETY: the option takes a number.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0) })?;
    Ok(())
}

/// Reads a byte of a file that is not a socket, to check whether there is one.
struct Reads;

impl Defect for Reads {
    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        if [SFlag::S_IFIFO, SFlag::S_IFCHR].contains(&kind(new.fd)) {
            let _ = with_raw(new.fd, |source| receive(&source, &mut [0]));
        }
        beneath.modify(new)
    }
}

/// Sets O_NONBLOCK and O_APPEND for files that are not sockets.
struct ChangesFlags;

impl Defect for ChangesFlags {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        if kind(new.fd) != SFlag::S_IFSOCK {
            let flags = with_raw(new.fd, |source| fcntl(source, FcntlArg::F_GETFL))?;
            let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK | OFlag::O_APPEND;
            with_raw(new.fd, |source| fcntl(source, FcntlArg::F_SETFL(flags)))?;
        }
        beneath.register(new)
    }
}

/// Makes terminals raw.
struct MakesRaw;

impl Defect for MakesRaw {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        with_raw(new.fd, |source| {
            if let Ok(mut settings) = tcgetattr(source) {
                cfmakeraw(&mut settings);
                tcsetattr(source, SetArg::TCSANOW, &settings)?;
            }
            Ok::<_, io::Error>(())
        })?;
        beneath.register(new)
    }
}

/// Becomes the owner of its sources, which then get SIGIO and SIGURG for them.
struct OwnsItsSources;

impl Defect for OwnsItsSources {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        let this = nix::unistd::getpid().as_raw();
        // SAFETY: the command takes a number.
        unsafe { libc::fcntl(new.fd, libc::F_SETOWN, this) };
        beneath.register(new)
    }
}

rows! {
    "REG-12" mask_left "leaves a signal blocked after a wait"
        epoll Mask::LeftBlocked =>
            reg_12_process_settings_do_not_change;
    "REG-12" mask_left_when_interrupted "leaves a signal blocked after a wait that one interrupted"
        epoll Mask::LeftBlockedWhenInterrupted =>
            reg_12_process_settings_do_not_change;
    "WAIT-6" empty_mask "unblocks signals during a wait"
        epoll Mask::Empty =>
            wait_6_a_blocked_signal_stays_blocked;
    "REG-12" handler_left "leaves a signal ignored"
        poll LeavesBehind(ignore_alarms) =>
            reg_12_process_settings_do_not_change;
    "REG-12" alarm_left "leaves an alarm set"
        poll LeavesBehind(|| alarm::set(1_000).map_or(Ok(()), |_| Ok(()))) =>
            reg_12_process_settings_do_not_change;
    "REG-12" limit_left "leaves another limit on descriptors"
        poll LeavesBehind(lower_the_limit) =>
            reg_12_process_settings_do_not_change;
    "REG-12" directory_left "leaves another working directory"
        poll LeavesBehind(|| std::env::set_current_dir("/")) =>
            reg_12_process_settings_do_not_change;
    "REG-12" umask_left "leaves another umask"
        poll LeavesBehind(|| {
            umask(Mode::S_IRWXG | Mode::S_IRWXO);
            Ok(())
        }) =>
            reg_12_process_settings_do_not_change;
    "REG-12" slack_left "leaves another timer slack"
        poll LeavesBehind(set_timer_slack) =>
            reg_12_process_settings_do_not_change;
    "REG-12" thread_left "leaks a thread"
        poll LeavesBehind(leave_a_thread) =>
            reg_12_no_thread_is_leaked;
    "REG-9" reads "reads a byte to see whether there is one"
        epoll Reads =>
            ready_12_every_kind_of_file_behaves_as_with_poll
            reg_9_files_do_not_change;
    "REG-9" other_flags "leaves a pipe with other flags"
        epoll ChangesFlags =>
            reg_9_files_do_not_change;
    "REG-9" raw_terminals "makes terminals raw"
        poll MakesRaw =>
            reg_9_files_do_not_change;
    "REG-9" owns_its_sources "makes the process the owner of its sources"
        poll OwnsItsSources =>
            reg_9_files_do_not_change;
}
