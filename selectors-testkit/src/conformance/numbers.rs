//! REG-10, WAIT-8: tokens that use all bits, and descriptors 0 to 2.

use selectors::{Backend, Events, Interest, Mode, Token, Watch};

use super::{Case, NOW, Outcome};
use crate::fixtures::{LooseDescriptor, borrow, number_of, pair, send};

pub(super) fn reg_10_every_bit_of_a_token_counts<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    send(&theirs, b"x")?;
    let mut backend = case.backend()?;
    let watch = Watch::new(Interest::READ, Mode::Level);
    // The lower half is the generation, the upper one the slot, of which only the bits that sources
    // can have are tested.
    for bit in 0..52 {
        let token = Token::from_bits(1 << bit | 1);
        case.did(format!("registered {token:?}, which has bit {bit}, with the backend"));
        backend.register(borrow(&ours), token, watch)?;
        let mut events = Events::new();
        backend.wait(&mut events, case.long())?;
        case.because(
            "the token is stored in fewer than 64 bits: a source whose slot was reused often \
             enough is never reported",
            case.only(&events, token),
        )?;
        backend.unregister(number_of(&ours), token, watch)?;
    }
    Ok(())
}

/// Uses the numbers of standard input, output and error, which this process does not need.
fn use_low_numbers<B: Backend>(case: &Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    let (other, other_peer) = pair()?;
    for number in 0..3 {
        let low = LooseDescriptor::at(number, &ours)?;
        let expected = format!("an event of descriptor {number}");
        let reported = |events: &Events, token| events.iter().any(|event| event.token() == token);
        let mut selector = case.selector()?;
        let high = selector.register(borrow(&other), Interest::READ, ())?;
        let token = selector.register(low.borrow(), Interest::READ, ())?;
        let none = selector.select(NOW)?;
        case.expect_that(none.is_empty(), "no event of an idle source", &none)?;
        send(&theirs, b"x")?;
        let events = selector.select(case.long())?;
        case.expect_that(reported(&events, token), &expected, &events)?;
        selector.unregister(high)?;
        let events = selector.select(case.long())?;
        case.expect_that(reported(&events, token), &format!("{expected}, alone"), &events)?;
        let high = selector.register(borrow(&other), Interest::READ, ())?;
        selector.modify_with(token, Interest::WRITE, Mode::OneShot)?;
        send(&other_peer, b"x")?;
        let events = selector.select(case.long())?;
        let both = reported(&events, token) && reported(&events, high);
        case.expect_that(both, &format!("{expected}, and of another"), &events)?;
        selector.unregister(token)?;
        let events = selector.select(case.long())?;
        case.expect_that(
            events.len() == 1 && reported(&events, high),
            "the event of the other source",
            &events,
        )?;
        crate::fixtures::drain(&ours)?;
        crate::fixtures::drain(&other)?;
    }
    Ok(())
}

pub(super) fn wait_8_the_lowest_numbers<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.did("in a forked child: registered descriptors 0, 1 and 2");
    case.because(
        "descriptor 0 is treated as none: `fd > 0`, or a table in which 0 means empty",
        case.alone_in_forked_child(|| use_low_numbers(case)),
    )
}
