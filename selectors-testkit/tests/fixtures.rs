//! Tests each fixture with poll(2) itself, without a selector.
#![cfg(unix)]

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use selectors_testkit::fixtures::*;

/// Long enough for whatever must come.
const LONG: u16 = 10_000;

/// The result of poll(2) for `fd` within `milliseconds`.
fn said(fd: impl AsFd, asked: PollFlags, milliseconds: u16) -> PollFlags {
    let mut fds = [PollFd::new(fd.as_fd(), asked)];
    loop {
        match poll(&mut fds, PollTimeout::from(milliseconds)) {
            Err(Errno::EINTR) => {}
            answer => break answer.map(drop).unwrap(),
        }
    }
    fds[0].revents().unwrap()
}

fn is_readable(fd: impl AsFd, milliseconds: u16) -> bool {
    said(fd, PollFlags::POLLIN, milliseconds).contains(PollFlags::POLLIN)
}

fn is_writable(fd: impl AsFd) -> bool {
    said(fd, PollFlags::POLLOUT, 0).contains(PollFlags::POLLOUT)
}

fn would_block<T: std::fmt::Debug>(answer: io::Result<T>) {
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// What is written to one end is read at the other, neither blocks, and both are close-on-exec.
fn is_pair(reader: impl AsFd, writer: impl AsFd) {
    assert!(is_close_on_exec(&reader).unwrap());
    assert!(is_close_on_exec(&writer).unwrap());
    assert_eq!(nix::unistd::read(&reader, &mut [0]), Err(Errno::EAGAIN));
    assert!(is_writable(&writer));
    assert_eq!(nix::unistd::write(&writer, b"hello"), Ok(5));
    assert!(is_readable(&reader, LONG));
    let mut buffer = [0; 16];
    let count = nix::unistd::read(&reader, &mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"hello");
    assert!(!is_readable(&reader, 0));
}

#[test]
fn pairs_are_connected() {
    let (ours, theirs) = unix_pair().unwrap();
    is_pair(&ours, &theirs);
    is_pair(&theirs, &ours);
    let (ours, theirs) = unix_datagram_pair().unwrap();
    is_pair(&ours, &theirs);
    is_pair(&theirs, &ours);
    let (ours, theirs) = udp_pair().unwrap();
    is_pair(&ours, &theirs);
    is_pair(&theirs, &ours);
    let (ours, theirs) = tcp_pair().unwrap();
    assert_eq!(ours.peer_addr().unwrap(), theirs.local_addr().unwrap());
    is_pair(&ours, &theirs);
    is_pair(&theirs, &ours);
    let (reader, writer) = pipe().unwrap();
    is_pair(&reader, &writer);
    let fifo = fifo().unwrap();
    is_pair(&fifo.reader, &fifo.writer);
    let (controller, terminal) = terminal().unwrap();
    is_pair(&terminal, &controller);
    is_pair(&controller, &terminal);
}

#[test]
fn a_terminal_is_one() {
    let (_controller, terminal) = terminal().unwrap();
    assert!(nix::unistd::isatty(&terminal).unwrap());
}

#[test]
fn what_is_full_takes_nothing_until_it_is_drained() {
    let (reader, writer) = pipe().unwrap();
    let bytes = fill(&writer).unwrap();
    assert!(bytes >= 512, "POSIX promises at least {bytes}");
    assert!(!is_writable(&writer));
    assert_eq!(nix::unistd::write(&writer, b"x"), Err(Errno::EAGAIN));
    assert_eq!(drain(&reader).unwrap(), bytes);
    assert!(is_writable(&writer));
    assert_eq!(drain(&reader).unwrap(), 0);

    let (ours, theirs) = unix_pair().unwrap();
    let bytes = fill(&ours).unwrap();
    assert!(bytes > 0 && !is_writable(&ours));
    assert_eq!(drain(&theirs).unwrap(), bytes);
    assert!(is_writable(&ours));
}

#[test]
fn draining_ends_at_the_end() {
    let (ours, mut theirs) = unix_pair().unwrap();
    theirs.write_all(b"last words").unwrap();
    drop(theirs);
    assert_eq!(drain(&ours).unwrap(), 10);
    // A child that another test has forked may hold a copy for a little longer.
    assert!(is_readable(&ours, LONG));
    assert_eq!((&ours).read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_pending_connection_can_be_accepted() {
    let (listener, stream) = listener_with_pending().unwrap();
    assert!(is_readable(&listener, LONG));
    let (_accepted, peer) = listener.accept().unwrap();
    assert_eq!(peer, stream.local_addr().unwrap());
    would_block(listener.accept());
}

#[test]
fn a_connect_that_is_under_way_ends_well() {
    let (stream, listener) = connecting().unwrap();
    said(&stream, PollFlags::POLLOUT, LONG);
    assert!(stream.take_error().unwrap().is_none());
    let (_accepted, peer) = listener.accept().unwrap();
    assert_eq!(peer, stream.local_addr().unwrap());
}

#[test]
fn a_refused_connect_is_refused() {
    if let Some(stream) = refused_connect().unwrap() {
        let said = said(&stream, PollFlags::POLLOUT, LONG);
        assert!(said.intersects(PollFlags::POLLERR | PollFlags::POLLHUP), "{said:?}");
        let error = stream.take_error().unwrap().map(|error| error.kind());
        assert_eq!(error, Some(ErrorKind::ConnectionRefused));
    }
}

#[test]
fn a_reset_is_one() {
    let (mut ours, theirs) = tcp_pair().unwrap();
    reset(theirs).unwrap();
    assert!(is_readable(&ours, LONG));
    assert_eq!(ours.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_half_closed_connection_ends_one_way() {
    let (mut ours, mut theirs) = half_closed().unwrap();
    assert!(is_readable(&ours, LONG));
    assert_eq!(ours.read(&mut [0]).unwrap(), 0);
    ours.write_all(b"x").unwrap();
    assert!(is_readable(&theirs, LONG));
    assert_eq!(theirs.read(&mut [0]).unwrap(), 1);
}

#[test]
fn a_byte_out_of_band_is_urgent_and_not_in_the_stream() {
    let (ours, theirs) = tcp_pair().unwrap();
    out_of_band(&theirs).unwrap();
    let said = said(&ours, PollFlags::POLLPRI, LONG);
    assert!(said.contains(PollFlags::POLLPRI), "{said:?}");
    would_block((&ours).read(&mut [0]));
}

#[test]
fn files_never_block() {
    let mut file = regular_file().unwrap();
    assert!(file.metadata().unwrap().is_file());
    let mut contents = Vec::new();
    file.read_to_end(&mut contents).unwrap();
    assert!(!contents.is_empty());
    assert!(directory().unwrap().metadata().unwrap().is_dir());
    let mut null = null_device().unwrap();
    null.write_all(b"gone").unwrap();
    assert_eq!(null.read(&mut [0]).unwrap(), 0);
    for fd in [file.as_fd(), null.as_fd()] {
        assert!(is_close_on_exec(fd).unwrap());
    }
}

#[test]
fn high_descriptors_are_the_same_file() {
    let (reader, writer) = pipe().unwrap();
    let limit = descriptor_limit().unwrap();
    assert_eq!(descriptor_limit().unwrap(), limit, "raising it twice changes nothing");
    for number in [100, 1024, 65_536] {
        match above(&reader, number) {
            Ok(high) => {
                assert!(high.as_raw_fd() > number);
                is_pair(&high, &writer);
            }
            Err(error) => {
                assert!(u64::try_from(number).unwrap() + 1 >= limit, "{number}, {limit}: {error}");
                assert_eq!(error.raw_os_error(), Some(Errno::EINVAL as i32));
            }
        }
    }
}

#[test]
fn a_loose_descriptor_can_be_closed_and_replaced() {
    let (reader, writer) = pipe().unwrap();
    let (other, other_peer) = unix_pair().unwrap();
    let loose = LooseDescriptor::duplicate(&reader).unwrap();
    let number = loose.number();
    let borrowed: BorrowedFd<'static> = loose.borrow();
    assert_eq!(borrowed.as_raw_fd(), number);
    is_pair(borrowed, &writer);
    loose.close().unwrap();
    assert!(!is_open(number));
    assert!(is_open(reader.as_raw_fd()), "its owner's is open all the same");
    assert_eq!(loose.close().unwrap_err().raw_os_error(), Some(Errno::EBADF as i32));
    loose.replace(&other).unwrap();
    is_pair(borrowed, &other_peer);
    loose.replace(&reader).unwrap();
    is_pair(borrowed, &writer);
    drop(loose);
    assert!(!is_open(number));
}

#[test]
fn loose_numbers_are_nobody_elses() {
    let (reader, _writer) = pipe().unwrap();
    let mut numbers = Vec::new();
    for _ in 0..100 {
        let loose = LooseDescriptor::duplicate(&reader).unwrap();
        loose.close().unwrap();
        assert!(!numbers.contains(&loose.number()), "{} came twice", loose.number());
        numbers.push(loose.number());
    }
    let low = pipe().unwrap();
    assert!(numbers.iter().all(|&number| number > low.0.as_raw_fd()));
}

#[test]
fn a_closed_number_is_not_open() {
    let number = closed_number().unwrap();
    assert!(number >= 0 && !is_open(number));
    assert_eq!(with_raw(number, nix::sys::stat::fstat).unwrap_err(), Errno::EBADF);
    assert!(!is_open(-2) && !is_open(i32::MIN));
}

#[test]
fn open_descriptors_are_counted() {
    const MANY: usize = 300;
    let before = open_descriptors();
    let held: Vec<_> = (0..MANY / 2).map(|_| pipe().unwrap()).collect();
    let during = open_descriptors();
    // Other tests open and close a few meanwhile.
    assert!(during >= before + MANY / 2, "{before}, then {during}");
    drop(held);
    let after = open_descriptors();
    assert!(after <= during - MANY / 2, "{during}, then {after}");
}

#[test]
fn inheritable_descriptors_are_found() {
    let (reader, writer) = pipe().unwrap();
    let clear = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty());
    nix::fcntl::fcntl(&reader, clear).unwrap();
    assert!(!is_close_on_exec(&reader).unwrap());
    let found = inheritable_descriptors();
    assert!(found.contains(&reader.as_raw_fd()));
    assert!(!found.contains(&writer.as_raw_fd()));
}

#[test]
fn a_forked_holder_keeps_open_what_was_open() {
    let (ours, theirs) = unix_pair().unwrap();
    let holder = forked_holder().unwrap();
    drop(theirs);
    would_block((&ours).read(&mut [0]));
    drop(holder);
    // Children that other tests have forked may hold a copy for a little longer.
    assert!(is_readable(&ours, LONG));
    assert_eq!((&ours).read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_forked_child_runs_and_tells_how_it_ended() {
    let (ours, theirs) = unix_pair().unwrap();
    assert!(in_forked_child(|| (&theirs).write_all(b"x").unwrap()).unwrap());
    assert_eq!((&ours).read(&mut [0]).unwrap(), 1);
    assert!(!in_forked_child(|| std::panic::resume_unwind(Box::new("no message"))).unwrap());
    let mut number = 1;
    assert!(in_forked_child(|| number += 1).unwrap());
    assert_eq!(number, 1, "the child has its own memory");
}

#[test]
fn a_storm_interrupts_its_thread() {
    let (reader, _writer) = pipe().unwrap();
    let storm = signal_storm(Duration::from_millis(1)).unwrap();
    let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
    for _ in 0..3 {
        let answer = poll(&mut fds, PollTimeout::from(LONG));
        assert_eq!(answer, Err(Errno::EINTR));
    }
    assert!(storm.handled() >= 3);
}

#[test]
fn a_storm_ends() {
    drop(signal_storm(Duration::from_micros(100)).unwrap());
    let (reader, _writer) = pipe().unwrap();
    let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
    let start = Instant::now();
    let answer = poll(&mut fds, PollTimeout::from(30_u16));
    assert_eq!(answer, Ok(0), "nothing interrupts it any more");
    assert!(start.elapsed() >= Duration::from_millis(30));
}

#[test]
fn a_storm_leaves_other_threads_alone() {
    let _storm = signal_storm(Duration::from_micros(200)).unwrap();
    let answer = std::thread::spawn(|| {
        let (reader, _writer) = pipe().unwrap();
        let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(30_u16))
    });
    assert_eq!(answer.join().unwrap(), Ok(0));
}

#[test]
fn sleeps_are_counted() {
    let Some(before) = if_any(sleeps()).unwrap() else { return };
    let mut least = u64::MAX;
    for _ in 0..100 {
        let before = sleeps().unwrap();
        std::hint::black_box((0..1000).sum::<u64>());
        least = least.min(sleeps().unwrap() - before);
    }
    assert_eq!(least, 0, "a thread that does not sleep is not counted");
    (0..3).for_each(|_| std::thread::sleep(Duration::from_millis(1)));
    assert!(sleeps().unwrap() >= before + 3);
}
