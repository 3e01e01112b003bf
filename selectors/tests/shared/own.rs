//! The descriptor of a shared selector is not one that it watches.

use std::os::fd::AsRawFd;

use selectors::{BackendKind, Error, Interest};

use super::{NOW, everywhere};

#[test]
fn its_own_descriptor_is_refused() {
    everywhere(|mut selector, kind| {
        let registrar = selector.registrar();
        let Some(own) = selector.descriptor() else { return };
        let (number, copy) = (own.as_raw_fd(), own.try_clone_to_owned().unwrap());
        for interest in [Interest::READ, Interest::empty()] {
            let refused = registrar.register(own, interest, 1).unwrap_err().error;
            assert!(
                matches!(refused, Error::Unsupported { fd: Some(fd), .. } if fd == number),
                "{kind}: {refused}"
            );
        }
        let refused = registrar.register(copy, Interest::READ, 1);
        assert!(refused.is_err() || kind != BackendKind::Epoll, "it would be ready for ever");
        drop(refused);
        assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
        assert!(selector.is_empty(), "{kind}");
    });
}
