//! The probes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use selectors_sys::kqueue::{
    EV_ADD, EV_CLEAR, EV_DELETE, EV_DISABLE, EV_DISPATCH, EV_ENABLE, EV_ONESHOT, EV_RECEIPT,
    EVFILT_READ, EVFILT_TIMER, EVFILT_USER, EVFILT_WRITE, NOTE_TRIGGER,
};
use selectors_testkit::fixtures::{
    LooseDescriptor, closed_number, drain, fill, pipe, refused_connect, tcp_pair, unix_pair,
};
use socket2::{Domain, Socket, Type};

use crate::booted;
use crate::queue::{Queue, change, full_change, written};

pub(crate) type Answers = Vec<(String, String)>;

/// A pipe: its reading end and its writing end.
pub(crate) type Ends = fn() -> (OwnedFd, OwnedFd);

fn pipe_ends() -> (OwnedFd, OwnedFd) {
    pipe().unwrap()
}

fn socket_ends() -> (OwnedFd, OwnedFd) {
    let (ours, theirs) = unix_pair().unwrap();
    (ours.into(), theirs.into())
}

/// Runs every probe, those of EVFILT_USER only if the kernel has it.
pub(crate) fn all(user_events: bool) -> Answers {
    let mut answers = Answers::new();
    let kinds: [(&str, Ends); 2] = [("pipe", pipe_ends), ("sock", socket_ends)];
    for (kind, ends) in kinds {
        let mut of_kind = Answers::new();
        levels(ends, &mut of_kind);
        flags(ends, &mut of_kind);
        writes(ends, &mut of_kind);
        closes(ends, &mut of_kind);
        booted::of_ends(ends, &mut of_kind);
        answers.extend(of_kind.into_iter().map(|(name, seen)| (format!("{kind} {name}"), seen)));
    }
    changes(&mut answers);
    queues(&mut answers);
    waits(&mut answers);
    timers(&mut answers);
    tcp(&mut answers);
    user(user_events, &mut answers);
    booted::all(user_events, &mut answers);
    answers
}

pub(crate) fn put(answers: &mut Answers, name: &str, seen: impl Into<String>) {
    answers.push((name.to_owned(), seen.into()));
}

pub(crate) fn send(to: &OwnedFd, bytes: &[u8]) {
    assert_eq!(nix::unistd::write(to, bytes), Ok(bytes.len()));
}

pub(crate) fn take(from: &OwnedFd, count: usize) {
    assert_eq!(nix::unistd::read(from, &mut vec![0; count]), Ok(count));
}

fn levels(ends: Ends, answers: &mut Answers) {
    let (reader, writer) = ends();
    let queue = Queue::new();
    let fd = reader.as_raw_fd();
    put(answers, "add level", queue.change(&[change(fd, EVFILT_READ, EV_ADD, 5)]));
    put(answers, "empty", queue.look());
    send(&writer, b"abc");
    put(answers, "3 bytes, x3 level", [queue.look(), queue.look(), queue.look()].join(" "));
    take(&reader, 1);
    put(answers, "after read 1", queue.look());
    take(&reader, 2);
    put(answers, "drained", queue.look());
}

fn flags(ends: Ends, answers: &mut Answers) {
    let (reader, writer) = ends();
    let fd = reader.as_raw_fd();
    let read = |flags, udata| [change(fd, EVFILT_READ, flags, udata)];
    let queue = Queue::new();
    queue.change(&read(EV_ADD | EV_CLEAR, 5));
    send(&writer, b"abc");
    let mut seen = vec![queue.look(), queue.look()];
    send(&writer, b"d");
    seen.push(queue.look());
    take(&reader, 2);
    seen.push(queue.look());
    put(answers, "CLEAR: w3,again,+1,partial rd", seen.join(" "));
    let seen = [queue.change(&read(EV_ADD | EV_CLEAR, 6)), queue.look()];
    put(answers, "CLEAR re-ADD re-fires?", seen.join(" "));
    drain(&reader).unwrap();
    send(&writer, b"abc");

    let queue = Queue::new();
    queue.change(&read(EV_ADD | EV_ONESHOT, 5));
    let seen = [queue.look(), queue.look(), queue.change(&read(EV_DELETE, 5))];
    put(answers, "ONESHOT, again, DELETE", seen.join(" "));

    let queue = Queue::new();
    queue.change(&read(EV_ADD | EV_DISPATCH, 5));
    let seen = [queue.look(), queue.look(), queue.change(&read(EV_ENABLE, 9)), queue.look()];
    put(answers, "DISPATCH, again, ENABLE(ud9)", seen.join(" "));

    let queue = Queue::new();
    queue.change(&read(EV_ADD | EV_DISPATCH, 5));
    let seen = [queue.look(), queue.change(&read(EV_ADD | EV_DISPATCH, 9)), queue.look()];
    put(answers, "DISPATCH then re-ADD(ud9)", seen.join(" "));

    let queue = Queue::new();
    queue.change(&read(EV_ADD | EV_DISABLE, 5));
    let mut seen = vec![queue.look()];
    queue.change(&read(EV_ENABLE, 5));
    seen.push(queue.look());
    queue.change(&read(EV_DISABLE, 5));
    seen.push(queue.look());
    put(answers, "ADD|DISABLE, ENABLE, DISABLE", seen.join(" "));
    queue.change(&read(EV_ADD, 5));
    put(answers, "DISABLEd then re-ADD enables?", queue.look());
}

fn writes(ends: Ends, answers: &mut Answers) {
    let (reader, writer) = ends();
    let add = |flags| [change(writer.as_raw_fd(), EVFILT_WRITE, EV_ADD | flags, 5)];
    let queue = Queue::new();
    queue.change(&add(0));
    let mut seen = vec![queue.look()];
    fill(&writer).unwrap();
    seen.push(queue.look());
    drain(&reader).unwrap();
    seen.push(queue.look());
    put(answers, "WRITE fresh/full/drained", seen.join(" "));
    drop(reader);
    let mut seen = vec![queue.look(), queue.look()];
    seen.push(queue.change(&[change(writer.as_raw_fd(), EVFILT_WRITE, EV_DELETE, 5)]));
    seen.push(queue.change(&add(0)));
    put(answers, "WRITE, reader closed", seen.join(" "));

    let (reader, writer) = ends();
    let queue = Queue::new();
    queue.change(&[change(reader.as_raw_fd(), EVFILT_READ, EV_ADD | EV_CLEAR, 5)]);
    drop(writer);
    put(answers, "EOF with CLEAR: 1st, 2nd", [queue.look(), queue.look()].join(" "));
}

fn closes(ends: Ends, answers: &mut Answers) {
    let watched = || {
        let (reader, writer) = ends();
        let loose = LooseDescriptor::duplicate(&reader).unwrap();
        let queue = Queue::new();
        queue.change(&[change(loose.number(), EVFILT_READ, EV_ADD, 5)]);
        (queue, loose, reader, writer)
    };
    let delete = |fd| [change(fd, EVFILT_READ, EV_DELETE, 5)];

    let (queue, loose, reader, writer) = watched();
    drop(reader);
    send(&writer, b"x");
    loose.close().unwrap();
    put(answers, "closed registered fd: wait", queue.look());
    put(answers, "DELETE after close", queue.change(&delete(loose.number())));

    let (queue, loose, _reader, writer) = watched();
    send(&writer, b"x");
    loose.close().unwrap();
    put(answers, "close with dup alive", queue.look());

    let (other, other_writer) = ends();
    let (queue, loose, reader, _writer) = watched();
    drop(reader);
    loose.close().unwrap();
    loose.replace(&other).unwrap();
    let before = queue.look();
    send(&other_writer, b"x");
    let after = queue.look();
    let deleted = queue.change(&delete(loose.number()));
    put(answers, "close+reuse(same-fd): stale?", format!("{before} {after} delete={deleted}"));

    let (queue, loose, reader, _writer) = watched();
    drop(reader);
    loose.close().unwrap();
    let elsewhere = LooseDescriptor::duplicate(&other).unwrap();
    assert_ne!(elsewhere.number(), loose.number());
    let seen = [queue.look(), queue.look()].join(" ");
    let deleted = queue.change(&delete(loose.number()));
    put(answers, "close+reuse(other): stale?", format!("{seen} delete={deleted}"));
}

/// A socket with one unread byte.
pub(crate) fn ready() -> (UnixStream, UnixStream) {
    let (ours, mut theirs) = unix_pair().unwrap();
    theirs.write_all(b"x").unwrap();
    (ours, theirs)
}

fn changes(answers: &mut Answers) {
    let (ours, _theirs) = ready();
    let fd = ours.as_raw_fd();
    let bad = closed_number().unwrap();
    let read = |fd, flags, udata| change(fd, EVFILT_READ, flags, udata);
    let both = |flags| [read(fd, EV_ADD | flags, 1), change(fd, EVFILT_WRITE, EV_ADD | flags, 2)];
    let now = Some((0, 0));

    let queue = Queue::new();
    queue.change(&both(0));
    put(answers, "READ+WRITE same fd", queue.look());
    put(answers, "RECEIPT x2", written(Queue::new().call(&both(EV_RECEIPT), 2, now)));
    put(answers, "RECEIPT room=1 of 2", written(Queue::new().call(&both(EV_RECEIPT), 1, now)));
    let seen = Queue::new().call(&[read(bad, EV_ADD, 1)], 4, now);
    put(answers, "bad fd with room", written(seen));
    put(answers, "bad fd no room", Queue::new().change(&[read(bad, EV_ADD, 1)]));
    let bad_first = [read(bad, EV_ADD, 1), read(fd, EV_ADD, 2)];
    let seen = Queue::new().call(&bad_first, 4, now);
    put(answers, "bad fd first, good second, room", written(seen));
    let queue = Queue::new();
    let seen = format!("{} then {}", queue.change(&bad_first), queue.look());
    put(answers, "bad first, no room; 2nd applied?", seen);
    let queue = Queue::new();
    put(answers, "DELETE unknown", queue.change(&[read(fd, EV_DELETE, 1)]));
    let seen = queue.call(&[read(fd, EV_DELETE | EV_RECEIPT, 1)], 1, now);
    put(answers, "DELETE unknown w/ RECEIPT room", written(seen));
    put(answers, "ENABLE unknown", queue.change(&[read(fd, EV_ENABLE, 1)]));
    put(answers, "unknown filter", queue.change(&[change(fd, 77, EV_ADD, 1)]));
    queue.change(&[read(fd, EV_ADD, 1)]);
    queue.change(&[read(fd, EV_ADD, 42)]);
    put(answers, "re-ADD replaces udata", queue.look());
}

fn queues(answers: &mut Answers) {
    let (first, _first_peer) = ready();
    let (second, _second_peer) = ready();
    let inner = Queue::new();
    for fd in [first.as_raw_fd(), second.as_raw_fd()] {
        inner.change(&[change(fd, EVFILT_READ, EV_ADD, 1)]);
    }
    let mut polled = [PollFd::new(inner.as_fd(), PollFlags::POLLIN)];
    put(answers, "kq fd pollable", poll(&mut polled, PollTimeout::ZERO).unwrap().to_string());
    let outer = Queue::new();
    let added = outer.change(&[change(inner.as_raw_fd(), EVFILT_READ, EV_ADD, 3)]);
    put(answers, "kq inside kq", format!("{added} {}", outer.look()));

    let (ours, mut theirs) = unix_pair().unwrap();
    let queue = Queue::new();
    queue.change(&[change(ours.as_raw_fd(), EVFILT_READ, EV_ADD, 1)]);
    theirs.write_all(b"x").unwrap();
    theirs.shutdown(Shutdown::Write).unwrap();
    put(answers, "half-close: EOF with data", queue.look());

    let sources = [ready(), ready(), ready(), ready()];
    let queue = Queue::new();
    for (number, (ours, _)) in sources.iter().enumerate() {
        queue.change(&[change(ours.as_raw_fd(), EVFILT_READ, EV_ADD, number)]);
    }
    let served = (0..6).map(|_| {
        let events = queue.call(&[], 1, Some((0, 0))).unwrap();
        events.iter().map(|event| event.udata.addr().to_string()).collect::<String>()
    });
    put(answers, "4 ready, room 1, order", served.collect::<Vec<_>>().join(","));
}

fn waits(answers: &mut Answers) {
    let queue = Queue::new();
    let times =
        [("0", 0), ("1 ns", 1), ("1 us", 1_000), ("1 ms", 1_000_000), ("20 ms", 20_000_000)];
    for (name, nanoseconds) in times {
        let seen = written(queue.call(&[], 4, Some((0, nanoseconds))));
        put(answers, &format!("timeout {name}"), seen);
    }
    put(answers, "timeout sec=-1", written(queue.call(&[], 4, Some((-1, 0)))));
    put(answers, "timeout nsec>=1e9", written(queue.call(&[], 4, Some((0, 1_000_000_000)))));
    put(answers, "nevents=0", queue.change(&[]));

    let (ours, _theirs) = ready();
    let queue = Queue::new();
    let seen = thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let start = Instant::now();
            (queue.wait(), start.elapsed() < Duration::from_secs(10))
        });
        let added = queue.change(&[change(ours.as_raw_fd(), EVFILT_READ, EV_ADD, 3)]);
        let (seen, quick) = waiter.join().unwrap();
        format!("{seen} quick={quick} {added}")
    });
    put(answers, "cross-thread ADD of ready fd", seen);
}

fn timers(answers: &mut Answers) {
    let queue = Queue::new();
    queue.change(&[full_change(1, EVFILT_TIMER, EV_ADD | EV_ONESHOT, 0, 20, 8)]);
    put(answers, "TIMER oneshot", queue.wait());
    queue.change(&[full_change(1, EVFILT_TIMER, EV_ADD, 0, 20, 8)]);
    thread::sleep(Duration::from_millis(110));
    let events = queue.call(&[], 4, Some((20, 0))).unwrap();
    let [event] = &events[..] else { panic!("{} events of one timer", events.len()) };
    // A machine may wake late, but no timer fires a tick early.
    let seen = if event.data >= 5 { "at least 5".to_owned() } else { { event.data }.to_string() };
    let seen = format!("[T({seen},{},{})]", event.fflags, event.udata.addr());
    put(answers, "TIMER 20ms periodic after", seen);
}

fn tcp(answers: &mut Answers) {
    if let Some(refused) = refused_connect().unwrap() {
        let fd = refused.as_raw_fd();
        let queue = Queue::new();
        let both = [change(fd, EVFILT_READ, EV_ADD, 1), change(fd, EVFILT_WRITE, EV_ADD, 2)];
        let added = queue.change(&both);
        queue.wait();
        put(answers, "tcp refused: connect, R/W events", format!("{added} {}", queue.look()));
    } else {
        put(answers, "tcp refused: connect, R/W events", "connect(2) refuses at once");
    }

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let queue = Queue::new();
    queue.change(&[change(listener.as_raw_fd(), EVFILT_READ, EV_ADD, 1)]);
    let _connecting = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    put(answers, "tcp listener: data=backlog", queue.wait());
    let _accepted = listener.accept().unwrap();
    put(answers, "tcp after accept", queue.look());

    let (mut ours, theirs) = tcp_pair().unwrap();
    let queue = Queue::new();
    queue.change(&[change(ours.as_raw_fd(), EVFILT_READ, EV_ADD, 1)]);
    drop(theirs);
    put(answers, "tcp peer close", queue.wait());
    assert_eq!(ours.read(&mut [0]).unwrap(), 0);

    let queue = Queue::new();
    let fresh = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let fd = fresh.as_raw_fd();
    let both = [change(fd, EVFILT_READ, EV_ADD, 1), change(fd, EVFILT_WRITE, EV_ADD, 2)];
    put(
        answers,
        "tcp fresh unconnected socket",
        format!("{} {}", queue.change(&both), queue.look()),
    );
}

fn user(there: bool, answers: &mut Answers) {
    let add = |ident, flags, udata| [change(ident, EVFILT_USER, EV_ADD | flags, udata)];
    let trigger = |ident, udata| [full_change(ident, EVFILT_USER, 0, NOTE_TRIGGER, 0, udata)];
    let queue = Queue::new();
    let added = queue.change(&add(1, EV_CLEAR, 99));
    let seen = if added == "0" { format!("{added} {}", queue.look()) } else { added };
    put(answers, "USER add CLEAR; untriggered", seen);
    if !there {
        return;
    }
    let seen = [queue.change(&trigger(1, 99)), queue.look(), queue.look()];
    put(answers, "USER trigger, again", seen.join(" "));
    queue.change(&add(2, EV_CLEAR, 3));
    queue.change(&trigger(2, 3));
    queue.change(&trigger(2, 3));
    put(answers, "USER 2x trigger coalesces", [queue.look(), queue.look()].join(" "));
    let queue = Queue::new();
    queue.change(&add(3, 0, 3));
    queue.change(&trigger(3, 3));
    put(answers, "USER level trigger x2", [queue.look(), queue.look()].join(" "));
}
