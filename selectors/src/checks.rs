//! Checks the arguments of `register` and `modify` before they reach a backend.

use crate::backend::{self, Capabilities, RawSource, is_plausible};
use crate::{Error, Interest, Mode, Result, Watch};

/// Refuses a registration that must not reach the backend.
#[inline]
pub(crate) fn admit(
    capabilities: &Capabilities,
    fd: RawSource,
    watch: Watch,
    taken: impl FnOnce(RawSource) -> Option<Error>,
    is_own: impl FnOnce(RawSource) -> bool,
) -> Result<()> {
    check(capabilities, fd, watch)?;
    if !is_plausible(fd) {
        return Err(Error::os("register", fd, backend::bad_source()));
    }
    if let Some(error) = taken(fd) {
        return Err(error);
    }
    if is_own(fd) {
        return Err(Error::own_descriptor(fd));
    }
    if let Some(limit) = capabilities.max_descriptor.filter(|&limit| fd > limit) {
        return Err(Error::DescriptorOutOfRange { fd, limit });
    }
    Ok(())
}

/// The interest that every backend supports, in every mode.
pub(crate) const EVERYWHERE: Interest = Interest::READ.union(Interest::WRITE);

/// Refuses an interest or mode that the backend does not support.
#[inline]
pub(crate) fn check(capabilities: &Capabilities, fd: RawSource, watch: Watch) -> Result<()> {
    if EVERYWHERE.contains(watch.interest) && matches!(watch.mode, Mode::Level | Mode::OneShot) {
        return Ok(());
    }
    check_capabilities(capabilities, fd, watch)
}

#[cold]
fn check_capabilities(
    capabilities: &Capabilities,
    fd: RawSource,
    Watch { interest, mode }: Watch,
) -> Result<()> {
    if !interest.is_valid() {
        return Err(Error::InvalidInterest { fd, interest });
    }
    let priority = interest.contains(Interest::PRIORITY);
    let feature = match mode {
        Mode::Edge if !capabilities.edge => "edge-triggered mode",
        Mode::Exclusive if !capabilities.exclusive => "exclusive wake-up",
        Mode::Exclusive if priority => "PRIORITY with exclusive wake-up",
        _ if priority && !capabilities.priority => "PRIORITY",
        _ => return Ok(()),
    };
    Err(Error::Unsupported { feature, fd: fd.into() })
}
