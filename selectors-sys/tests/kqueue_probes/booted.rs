//! The probes of the second recording, on a booted kernel: those that need real pipes, terminals and forks.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use selectors_sys::kqueue::{
    EV_ADD, EV_CLEAR, EV_DELETE, EV_DISPATCH, EV_ONESHOT, EV_RECEIPT, EVFILT_READ, EVFILT_USER,
    EVFILT_WRITE, NOTE_TRIGGER,
};
use selectors_testkit::fixtures::{
    closed_number, fifo, fill, in_forked_child, null_device, pipe, regular_file, tcp_pair,
    terminal, unix_datagram_pair, unix_pair,
};
use socket2::SockRef;

use crate::probes::{Answers, Ends, put, ready, send, take};
use crate::queue::{Queue, change, full_change, written};

/// Probes of pipes and sockets.
pub(crate) fn of_ends(ends: Ends, answers: &mut Answers) {
    let (reader, writer) = ends();
    let fd = reader.as_raw_fd();
    let read = |flags, udata| [change(fd, EVFILT_READ, flags, udata)];
    send(&writer, b"abc");
    for (name, flag) in [("ONESHOT", EV_ONESHOT), ("DISPATCH", EV_DISPATCH)] {
        let queue = Queue::new();
        queue.change(&read(EV_ADD | flag, 5));
        take(&reader, 3);
        let seen = [queue.look(), queue.change(&read(EV_DELETE, 5))];
        put(answers, &format!("{name}, drained before the wait"), seen.join(" "));
        send(&writer, b"abc");
    }
    let queue = Queue::new();
    queue.change(&read(EV_ADD | EV_DISPATCH, 5));
    let mut seen = vec![queue.look(), queue.look()];
    let [delete] = read(EV_DELETE | EV_RECEIPT, 9);
    let [add] = read(EV_ADD | EV_DISPATCH | EV_RECEIPT, 9);
    queue.call(&[delete, add], 2, Some((0, 0))).unwrap();
    seen.push(queue.look());
    put(answers, "DISPATCH, DELETE and ADD at once", seen.join(" "));

    let queue = Queue::new();
    queue.change(&read(EV_ADD | EV_ONESHOT, 5));
    let seen =
        [queue.look(), queue.change(&read(EV_ADD | EV_ONESHOT, 6)), queue.look(), queue.look()];
    put(answers, "ONESHOT fired, re-ADD", seen.join(" "));

    let queue = Queue::new();
    queue.change(&read(EV_ADD | EV_ONESHOT, 5));
    queue.change(&read(EV_ADD, 6));
    put(answers, "ONESHOT, re-ADD without it", [queue.look(), queue.look()].join(" "));

    let queue = Queue::new();
    queue.change(&read(EV_ADD, 5));
    put(answers, "queued, DELETE", [queue.change(&read(EV_DELETE, 5)), queue.look()].join(" "));
}

pub(crate) fn all(user_events: bool, answers: &mut Answers) {
    queues(answers);
    files(answers);
    sockets(answers);
    if user_events {
        let queue = Queue::new();
        queue.change(&[change(0, EVFILT_USER, EV_ADD | EV_CLEAR, 3)]);
        queue.change(&[full_change(0, EVFILT_USER, 0, NOTE_TRIGGER, 0, 7)]);
        put(answers, "USER takes the trigger's udata", queue.look());
    }
}

fn queues(answers: &mut Answers) {
    let queue = Queue::new();
    let number = queue.as_fd();
    let closed = || assert_eq!(fcntl(number, FcntlArg::F_GETFD), Err(Errno::EBADF));
    let free = in_forked_child(closed).unwrap();
    put(answers, "fork: the number in the child", if free { "free" } else { "inherited" });

    let (ours, mut theirs) = unix_pair().unwrap();
    let inner = Queue::new();
    inner.change(&[change(ours.as_raw_fd(), EVFILT_READ, EV_ADD, 1)]);
    theirs.write_all(b"x").unwrap();
    inner.look();
    take(&ours.try_clone().unwrap().into(), 1);
    let polled = || {
        let mut polled = [PollFd::new(inner.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::ZERO).unwrap().to_string()
    };
    let seen = [polled(), inner.look(), polled()];
    put(answers, "drained queue inside poll, waited on", seen.join(" "));

    let outer = Queue::new();
    let add = |fd, filter| outer.change(&[change(fd, filter, EV_ADD, 1)]);
    put(answers, "WRITE on a queue", add(inner.as_raw_fd(), EVFILT_WRITE));
    put(answers, "queue inside itself", add(outer.as_raw_fd(), EVFILT_READ));

    let sources: Vec<_> = (0..99).map(|_| unix_pair().unwrap()).collect();
    let read = |fd| change(fd, EVFILT_READ, EV_ADD, 1);
    let mut changes: Vec<_> = sources.iter().map(|(ours, _)| read(ours.as_raw_fd())).collect();
    changes.insert(50, read(closed_number().unwrap()));
    let queue = Queue::new();
    let failures = written(queue.call(&changes, 128, Some((0, 0))));
    for (_, theirs) in &sources {
        send(&theirs.try_clone().unwrap().into(), b"x");
    }
    let made = queue.call(&[], 128, Some((0, 0))).unwrap().len();
    put(answers, "one of 100 changes fails", format!("{failures} {made}"));

    let (ours, _theirs) = ready();
    let queue = Queue::new();
    queue.change(&[read(ours.as_raw_fd())]);
    put(answers, "longest timeout", written(queue.call(&[], 4, Some((i64::MAX, 0)))));
}

fn files(answers: &mut Answers) {
    let read = |fd| [change(fd, EVFILT_READ, EV_ADD, 5)];
    let mut file = regular_file().unwrap();
    let queue = Queue::new();
    queue.change(&read(file.as_raw_fd()));
    let before = queue.look();
    file.seek(SeekFrom::End(0)).unwrap();
    put(answers, "file READ, at its end", format!("{before} {}", queue.look()));

    let null = null_device().unwrap();
    put(answers, "/dev/null", Queue::new().change(&read(null.as_raw_fd())));

    let fifo = fifo().unwrap();
    let queue = Queue::new();
    queue.change(&read(fifo.reader.as_raw_fd()));
    drop(fifo.writer);
    let ended = queue.look();
    let _writer = OpenOptions::new().write(true).open(&fifo.path).unwrap();
    put(answers, "fifo end, new writer", format!("{ended} {}", queue.look()));

    let (controller, terminal) = terminal().unwrap();
    drop(controller);
    put(answers, "terminal that hung up", Queue::new().change(&read(terminal.as_raw_fd())));

    let (reader, writer) = pipe().unwrap();
    fill(&writer).unwrap();
    take(&reader, 1);
    let queue = Queue::new();
    queue.change(&[change(writer.as_raw_fd(), EVFILT_WRITE, EV_ADD, 5)]);
    put(answers, "pipe full, one byte read", queue.look());
}

fn sockets(answers: &mut Answers) {
    let (ours, theirs) = unix_datagram_pair().unwrap();
    let queue = Queue::new();
    queue.change(&[change(ours.as_raw_fd(), EVFILT_READ, EV_ADD, 5)]);
    theirs.send(b"").unwrap();
    put(answers, "empty datagram", queue.look());

    let both = |fd| [change(fd, EVFILT_READ, EV_ADD, 1), change(fd, EVFILT_WRITE, EV_ADD, 2)];
    let (ours, theirs) = unix_pair().unwrap();
    let queue = Queue::new();
    queue.change(&both(ours.as_raw_fd()));
    theirs.shutdown(Shutdown::Write).unwrap();
    put(answers, "half-close: both filters", queue.look());

    let (ours, theirs) = tcp_pair().unwrap();
    let queue = Queue::new();
    queue.change(&[change(ours.as_raw_fd(), EVFILT_READ, EV_ADD, 1)]);
    SockRef::from(&theirs).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(theirs);
    let reset = queue.wait();
    SockRef::from(&ours).take_error().unwrap();
    put(answers, "tcp reset, SO_ERROR read", format!("{reset} {}", queue.look()));
}
