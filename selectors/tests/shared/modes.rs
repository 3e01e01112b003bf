//! Modes, and files that are always ready.

use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixStream;

use selectors::{Error, Interest, Mode};

use super::{LONG, NOW, during_a_wait, everywhere, tokens};

#[test]
fn a_one_shot_is_reported_once_each_time_it_is_armed() {
    everywhere(|mut selector, kind| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"x").unwrap();
        let registrar = selector.registrar();
        let source = registrar.register_with(ours, Interest::READ, 1, Mode::OneShot).unwrap();
        for round in 0..100 {
            assert_eq!(selector.select(LONG).unwrap().len(), 1, "{kind}");
            assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
            match round % 3 {
                0 => source.rearm().unwrap(),
                1 => source.modify(Interest::READ).unwrap(),
                _ => {
                    source.park().unwrap();
                    source.modify(Interest::READ | Interest::WRITE).unwrap();
                }
            }
        }
    });
}

#[test]
fn edges_are_reported_again_on_request() {
    everywhere(|mut selector, kind| {
        if !selector.capabilities().edge {
            let (ours, _theirs) = UnixStream::pair().unwrap();
            let registrar = selector.registrar();
            let refused = registrar.register_with(ours, Interest::READ, 1, Mode::Edge);
            assert!(matches!(refused.unwrap_err().error, Error::Unsupported { .. }), "{kind}");
            return;
        }
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"x").unwrap();
        let registrar = selector.registrar();
        let source = registrar.register_with(ours, Interest::READ, 1, Mode::Edge).unwrap();
        for _ in 0..3 {
            assert_eq!(selector.select(LONG).unwrap().len(), 1, "{kind}");
            assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
            source.rearm().unwrap();
        }
    });
}

#[test]
fn regular_files_are_always_ready() {
    everywhere(|mut selector, kind| {
        let registrar = selector.registrar();
        let (source, events) = during_a_wait(&mut selector, || {
            let file = File::open("/dev/null").unwrap();
            registrar.register(file, Interest::READ, 1).unwrap()
        });
        assert_eq!(tokens(&events), [source.token()], "{kind}");
        source.modify_with(Interest::WRITE, Mode::OneShot).unwrap();
        assert_eq!(selector.select(LONG).unwrap().len(), 1, "{kind}");
        assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
        source.modify_with(Interest::WRITE, Mode::Level).unwrap();
        assert_eq!(selector.select(LONG).unwrap().len(), 1, "{kind}");
        source.park().unwrap();
        assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
        drop(source);
        assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
    });
}
