//! Writes to /dev/poll that fail, so that the set has what it is not to have.

use std::io::{self, Write};
use std::time::Duration;

use nix::errno::Errno;
use selectors::backend::Devpoll;
use selectors::{Event, Interest, Mode, Readiness, Selector};
use selectors_testkit::emulated_faults::Step;
use selectors_testkit::fixtures::{OwnedSource, unix_pair};

use crate::injection::{Call, Fault, ask_for_emulated_faults, calls, failing, within};
use crate::{LONG, NOW};

const NO_MEMORY: Fault = Fault::new(Call::Emulated(Step::Write), Errno::ENOMEM);

/// A source that cannot be written, and is in the set all the same, is one event, and ends no more waits
/// than it should.
#[test]
fn wait_11_what_can_be_neither_added_nor_removed_is_reported_once() -> io::Result<()> {
    ask_for_emulated_faults();
    for mode in [Mode::Level, Mode::OneShot] {
        let (ours, mut theirs) = unix_pair()?;
        let mut selector: Selector<OwnedSource, (), _> = Selector::with_backend(Devpoll::new()?);
        let token = selector.register_with(ours.into(), Interest::READ, (), mode)?;
        let (result, _) = failing(NO_MEMORY, || selector.modify(token, Interest::empty()));
        assert!(result.is_err());
        theirs.write_all(b"x")?;
        // All changes together, this one alone, this one again, and its removal.
        let (events, injected) = failing(NO_MEMORY.times(4), || selector.select(NOW));
        let events: Vec<_> = events?.iter().copied().collect();
        assert_eq!(injected, 4);
        assert_eq!(events, [Event::new(token, Readiness::READ | Readiness::ERROR)], "{mode:?}");
        if mode == Mode::OneShot {
            let before = calls();
            let events = within(|| selector.select(Some(Duration::from_millis(20))));
            assert!(events?.is_empty());
            assert!(calls() - before < 20, "it turns");
            selector.rearm(token)?;
        }
        let events: Vec<_> = selector.select(LONG)?.iter().copied().collect();
        assert_eq!(events, [Event::new(token, Readiness::READ)], "{mode:?}");
    }
    Ok(())
}
