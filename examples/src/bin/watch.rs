//! Reports changes in a directory: with inotify(7) and a timerfd on Linux, by polling the directory on
//! other systems.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::{Arg, Parser};
use selectors_examples::cli::{self, Outcome};
use selectors_examples::log::Log;

const HELP: &str = "\
Reports files that are created, changed and removed in a directory. Runs until
Ctrl-C. Drops lines when more than 10,000 are unread.

Usage: watch [--every SECONDS] [--poll] [DIR]

  DIR              the directory; subdirectories are not watched [default: .]
  --every SECONDS  how long to collect changes before they are reported;
                   changes of one file are merged [default: 1]
  --poll           poll the directory at this interval, even if the system
                   can report changes
  --help           print this text
";

struct Options {
    directory: PathBuf,
    every: Duration,
    poll: bool,
}

fn main() -> ExitCode {
    cli::run("watch", HELP, options, |options| {
        let log = Log::new();
        let outcome = watch(&options, &log);
        log.close();
        outcome
    })
}

fn watch(options: &Options, log: &Log) -> Outcome {
    #[cfg(target_os = "linux")]
    if !options.poll {
        return inotify::run(options, log);
    }
    polling::run(options, log)
}

fn options(arguments: &mut Parser) -> Outcome<Option<Options>> {
    let mut options = Options {
        directory: ".".into(),
        every: Duration::from_secs(1),
        poll: cfg!(not(target_os = "linux")),
    };
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("every") => {
                options.every = lexopt::ValueExt::parse_with(&arguments.value()?, cli::seconds)?;
            }
            Arg::Long("poll") => options.poll = true,
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Value(directory) => options.directory = directory.into(),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(options))
}

#[cfg(target_os = "linux")]
mod inotify {
    use std::os::fd::{AsFd, BorrowedFd};
    use std::process::ExitCode;

    use nix::errno::Errno;
    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
    use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
    use selectors::{DefaultSelector, Events, Interest};
    use selectors_examples::changes::{Change, Changes};
    use selectors_examples::cli::{Outcome, Stop};
    use selectors_examples::log::Log;

    /// A source of the program.
    enum Source {
        Directory(Inotify),
        /// Armed while there are unreported changes.
        Timer(TimerFd),
    }

    impl AsFd for Source {
        fn as_fd(&self) -> BorrowedFd<'_> {
            match self {
                Self::Directory(inotify) => inotify.as_fd(),
                Self::Timer(timer) => timer.as_fd(),
            }
        }
    }

    pub(super) fn run(options: &super::Options, log: &Log) -> Outcome {
        let shown = options.directory.display();
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        inotify
            .add_watch(&options.directory, flags)
            .map_err(|error| format!("cannot watch {shown}: {}", error.desc()))?;
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;

        let mut selector = DefaultSelector::new()?;
        let stop = Stop::on_interrupt(selector.waker()?)?;
        selector.register(Source::Directory(inotify), Interest::READ, ())?;
        let timer = selector.register(Source::Timer(timer), Interest::READ, ())?;
        log.line(format_args!("watching {shown}"));
        let mut changes = Changes::default();
        let mut events = Events::new();
        let mut gone = false;
        while !stop.is_set() && !gone {
            selector.select_into(&mut events, None)?;
            let was_empty = changes.is_empty();
            for event in &events {
                match selector.get(event.token()).map(|key| key.fileobj) {
                    // One buffer at a time: the next wait reports the rest.
                    Some(Source::Directory(inotify)) => match inotify.read_events() {
                        Ok(events) => {
                            gone |= events.into_iter().any(|it| !add(&mut changes, it, log));
                        }
                        Err(Errno::EAGAIN | Errno::EINTR) => {}
                        Err(error) => return Err(error.into()),
                    },
                    Some(Source::Timer(timer)) => match timer.wait() {
                        Ok(()) => changes.report(|line| log.line(line)),
                        Err(Errno::EAGAIN) => {}
                        Err(error) => return Err(error.into()),
                    },
                    None => {}
                }
            }
            if changes.is_full() {
                changes.report(|line| log.line(line));
            }
            let starts = was_empty && !changes.is_empty();
            let timer = selector.get(timer).filter(|_| starts).map(|key| key.fileobj);
            if let Some(Source::Timer(timer)) = timer {
                let after = Expiration::OneShot(options.every.into());
                timer.set(after, TimerSetTimeFlags::empty())?;
            }
        }
        changes.report(|line| log.line(line));
        if gone {
            return Err(format!("{shown} is gone").into());
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Adds the changes that the kernel reports. Returns false if the directory was removed.
    fn add(changes: &mut Changes, event: InotifyEvent, log: &Log) -> bool {
        use AddWatchFlags as Flags;
        if event.mask.contains(Flags::IN_Q_OVERFLOW) {
            log.line(format_args!("too many changes: some were lost"));
        }
        let Some(name) = event.name else {
            return !event.mask.intersects(
                Flags::IN_DELETE_SELF | Flags::IN_MOVE_SELF | Flags::IN_UNMOUNT | Flags::IN_IGNORED,
            );
        };
        let change = if event.mask.intersects(Flags::IN_CREATE | Flags::IN_MOVED_TO) {
            Change::Created
        } else if event.mask.intersects(Flags::IN_DELETE | Flags::IN_MOVED_FROM) {
            Change::Removed
        } else {
            Change::Changed
        };
        changes.add(name, change);
        true
    }
}

mod polling {
    use std::collections::HashMap;
    use std::ffi::OsString;
    use std::io;
    use std::net::UdpSocket;
    use std::path::Path;
    use std::process::ExitCode;
    use std::time::{Instant, SystemTime};

    use selectors::{DefaultSelector, Events};
    use selectors_examples::changes::{Change, Changes};
    use selectors_examples::cli::{Outcome, Stop};
    use selectors_examples::log::Log;

    type Snapshot = HashMap<OsString, (u64, Option<SystemTime>)>;

    pub(super) fn run(options: &super::Options, log: &Log) -> Outcome {
        let look = || {
            let shown = options.directory.display();
            snapshot(&options.directory).map_err(|error| format!("cannot watch {shown}: {error}"))
        };
        // No source is registered: the selector only waits for the timeout or the waker.
        let mut selector: DefaultSelector<UdpSocket> = DefaultSelector::new()?;
        let stop = Stop::on_interrupt(selector.waker()?)?;
        let mut before = look()?;
        log.line(format_args!("watching {}", options.directory.display()));
        let mut events = Events::new();
        let mut next = Instant::now() + options.every;
        while !stop.is_set() {
            selector.select_into_until(&mut events, Some(next))?;
            if Instant::now() < next {
                continue;
            }
            let now = look()?;
            compare(&before, &now).report(|line| log.line(line));
            before = now;
            next = Instant::now() + options.every;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn snapshot(directory: &Path) -> io::Result<Snapshot> {
        let mut snapshot = Snapshot::new();
        for entry in directory.read_dir()? {
            let entry = entry?;
            // Otherwise the file was removed meanwhile.
            let Ok(metadata) = entry.metadata() else { continue };
            snapshot.insert(entry.file_name(), (metadata.len(), metadata.modified().ok()));
        }
        Ok(snapshot)
    }

    fn compare(before: &Snapshot, now: &Snapshot) -> Changes {
        let mut changes = Changes::default();
        for name in before.keys().filter(|&name| !now.contains_key(name)) {
            changes.add(name.clone(), Change::Removed);
        }
        for (name, state) in now {
            match before.get(name) {
                None => changes.add(name.clone(), Change::Created),
                Some(old) if old != state => changes.add(name.clone(), Change::Changed),
                Some(_) => {}
            }
        }
        changes
    }
}
