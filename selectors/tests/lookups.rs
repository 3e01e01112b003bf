//! Looking up sources: by number, several at once; and extracting them.

use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use selectors::{DefaultSelector, Error, Interest, Mode, Token};

const NOW: Option<Duration> = Some(Duration::ZERO);

const LONG: Option<Duration> = Some(Duration::from_secs(20));

#[cfg(unix)]
fn number(source: &UdpSocket) -> selectors::backend::RawSource {
    std::os::fd::AsRawFd::as_raw_fd(source)
}

#[cfg(windows)]
fn number(source: &UdpSocket) -> selectors::backend::RawSource {
    std::os::windows::io::AsRawSocket::as_raw_socket(source)
}

fn source() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").expect("a socket")
}

/// A selector with three sources, whose data are their places.
fn three() -> (DefaultSelector<UdpSocket, usize>, [Token; 3]) {
    let mut selector = DefaultSelector::new().unwrap();
    let tokens = [0, 1, 2].map(|at| selector.register(source(), Interest::READ, at).unwrap());
    (selector, tokens)
}

#[test]
fn reg_11_a_number_finds_its_source() {
    let (mut selector, tokens) = three();
    for token in tokens {
        let fd = selector.get(token).unwrap().fd;
        assert_eq!(number(selector.get(token).unwrap().fileobj), fd);
        assert_eq!(selector.token_of_raw(fd), Some(token));
    }
    let (gone, _) = selector.unregister(tokens[1]).unwrap();
    assert_eq!(selector.token_of_raw(number(&gone)), None);
}

#[test]
fn reg_11_several_sources_are_had_at_once() {
    let (mut selector, [a, b, c]) = three();
    let keys = selector.get_disjoint_mut([c, a]).expect("both are registered");
    assert_eq!(keys.map(|key| *key.data), [2, 0]);
    let [first, second] = selector.get_disjoint_mut([a, b]).expect("both are registered");
    std::mem::swap(first.data, second.data);
    assert_eq!([a, b, c].map(|token| *selector.get(token).unwrap().data), [1, 0, 2]);
    assert!(selector.get_disjoint_mut([a, b, a]).is_none(), "one of them twice");
    selector.unregister(b).unwrap();
    assert!(selector.get_disjoint_mut([a, b]).is_none(), "one of them was unregistered");
    assert!(selector.get_disjoint_mut([a, c]).is_some());
}

#[test]
fn reg_9_what_is_taken_out_comes_back() {
    let (mut selector, [a, b, c]) = three();
    let odd = selector.extract_if(|key| *key.data % 2 == 1).unwrap();
    assert_eq!(odd.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [1]);
    assert_eq!([a, b, c].map(|token| selector.contains(token)), [true, false, true]);
    assert!(selector.extract_if(|_| false).unwrap().is_empty());
    assert_eq!(selector.extract_if(|_| true).unwrap().len(), 2);
    assert!(selector.is_empty());
}

#[test]
fn reg_9_sources_are_extracted_in_the_order_of_iteration() {
    let (mut selector, [_, b, _]) = three();
    selector.modify(b, Interest::empty()).unwrap();
    let order: Vec<_> = selector.iter().map(|(_, key)| *key.data).collect();
    let all = selector.extract_if(|_| true).unwrap();
    assert_eq!(all.into_iter().map(|(_, at)| at).collect::<Vec<_>>(), order, "parked ones too");
}

#[test]
fn reg_2_parking_keeps_the_mode_and_can_change_it() {
    let (mut selector, [token, ..]) = three();
    let mode = |selector: &DefaultSelector<_, _>| selector.get(token).unwrap().mode;
    selector.modify_with(token, Interest::READ, Mode::OneShot).unwrap();
    selector.modify(token, Interest::empty()).unwrap();
    assert_eq!(mode(&selector), Mode::OneShot);
    selector.modify_with(token, Interest::empty(), Mode::Level).unwrap();
    assert_eq!(mode(&selector), Mode::Level);
    selector.modify_with(token, Interest::empty(), Mode::OneShot).unwrap();
    selector.modify(token, Interest::WRITE).unwrap();
    assert_eq!(mode(&selector), Mode::OneShot);
    assert_eq!(selector.select(LONG).unwrap()[0].token(), token);
    assert!(selector.select(NOW).unwrap().is_empty(), "it was reported once");
}

#[test]
fn proc_5_a_panic_while_sources_are_chosen_leaves_all_registered() {
    let (mut selector, tokens) = three();
    let chosen = catch_unwind(AssertUnwindSafe(|| {
        selector.extract_if(|key| {
            if *key.data == 2 {
                resume_unwind(Box::new("on purpose"));
            }
            true
        })
    }));
    assert!(chosen.is_err());
    assert_eq!(tokens.map(|token| selector.contains(token)), [true; 3]);
    assert_eq!(selector.len(), 3);
}

#[test]
fn reg_10_a_stale_token_finds_no_source_among_several() {
    let (mut selector, [a, b, _]) = three();
    let (gone, at) = selector.unregister(b).unwrap();
    let new = selector.register(gone, Interest::READ, at).unwrap();
    assert_ne!(new, b);
    assert_eq!(selector.token_of(selector.get(new).unwrap().fileobj), Some(new));
    assert!(selector.get_disjoint_mut([a, b]).is_none(), "its slot is used again");
    assert!(selector.get_disjoint_mut([a, new]).is_some());
}

#[test]
fn reg_4_the_error_has_the_present_token() {
    let mut selector = DefaultSelector::new().unwrap();
    let socket = source();
    for interest in [Interest::READ, Interest::empty(), Interest::WRITE] {
        let token = selector.register(&socket, interest, ()).unwrap();
        let refused = selector.register(&socket, Interest::READ, ()).unwrap_err().error;
        let Error::AlreadyRegistered { token: other, .. } = refused else { panic!("{refused}") };
        assert_eq!(other, token);
        selector.unregister(token).unwrap();
    }
}

#[test]
fn every_source_is_gone_through() {
    let (mut selector, tokens) = three();
    let mut found: Vec<_> = selector.iter().map(|(token, key)| (token, *key.data)).collect();
    found.sort();
    let mut expected: Vec<_> = tokens.into_iter().zip([0, 1, 2]).collect();
    expected.sort();
    assert_eq!(found, expected);
    let mut sources = selector.iter();
    for left in [2, 1, 0] {
        assert!(sources.next().is_some());
        assert_eq!(
            (sources.len(), sources.clone().len(), sources.clone().count()),
            (left, left, left)
        );
    }
    let mut sources = selector.iter_mut();
    for left in [3, 2, 1] {
        assert_eq!(sources.size_hint(), (left, Some(left)));
        *sources.next().expect("it is counted").1.data += 10;
    }
    assert!(sources.next().is_none());
    assert_eq!(sources.len(), 0);
    let mut data: Vec<_> = selector.close().into_iter().map(|(_, data)| data).collect();
    data.sort_unstable();
    assert_eq!(data, [10, 11, 12]);
}

#[test]
fn a_waker_shows_whether_a_wake_is_pending() {
    let mut selector: DefaultSelector<UdpSocket> = DefaultSelector::new().unwrap();
    let waker = selector.waker().unwrap();
    assert!(format!("{waker:?}").contains("pending: false"), "{waker:?}");
    waker.wake().unwrap();
    assert!(format!("{waker:?}").contains("pending: true"), "{waker:?}");
    assert!(selector.select(LONG).unwrap().woken());
    assert!(format!("{waker:?}").contains("pending: false"), "{waker:?}");
}
