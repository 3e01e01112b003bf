//! SHARED-6: signals during waits.

use std::time::Duration;

use selectors::{Backend, Interest};

use super::{SHORT, idle, selector};
use crate::conformance::{Case, Outcome};
use crate::fixtures::signal_storm;

pub(super) fn shared_6_a_signal_ends_a_wait_on_request<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, ()>(case)? else { return Ok(()) };
    let (ours, _theirs) = idle()?;
    let _source = selector.registrar().register(ours, Interest::READ, ())?;
    let _storm = signal_storm(Duration::from_millis(5))?;
    for interruptible in [true, false, true] {
        case.did(format!("waited while signals came, interruptible: {interruptible}"));
        selector.set_interruptible(interruptible);
        let timeout = if interruptible { case.long() } else { Some(SHORT) };
        let events = selector.select(timeout)?;
        case.expect("whether it was interrupted", events.interrupted(), interruptible)?;
        case.expect_tokens(&events, &[])?;
    }
    Ok(())
}
