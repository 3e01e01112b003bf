//! The sources that many cases try in turn, and their readiness according to poll(2).

use std::io;

use selectors::{Interest, Readiness};

/// A stream socket of any family.
pub(crate) use socket2::Socket as Stream;

use crate::fixtures::{
    OwnedSource, descriptor_limit, if_any, pipe, tcp_pair, udp_pair, unix_datagram_pair, unix_pair,
};

/// How long a network may take, in milliseconds.
pub(crate) const PATIENTLY: u16 = 10_000;

/// The flags of an interest, without hints.
pub(crate) const REQUESTABLE: Readiness =
    Readiness::READ.union(Readiness::WRITE).union(Readiness::PRIORITY);

/// The readiness of a source within its interest, by calling `is_ready` for each flag.
pub(crate) fn truth(
    interest: Interest,
    is_ready: impl Fn(Interest) -> io::Result<bool>,
) -> io::Result<Readiness> {
    let mut truth = Readiness::empty();
    for one in interest.iter() {
        if is_ready(one)? {
            truth |= Readiness::from(one);
        }
    }
    Ok(truth)
}

/// This many descriptors, or fewer if that exceeds a share of the process's limit, because cases
/// run concurrently.
pub(crate) fn at_most(many: usize, share: u64) -> io::Result<usize> {
    Ok(usize::try_from(descriptor_limit()? / share).map_or(many, |limit| limit.min(many)))
}

/// The two ends of a connection, with a name: bytes written to the second arrive at the first.
pub(crate) type Ends<S> = (&'static str, S, S);

pub(crate) const TCP: &str = "TCP";

/// A connected pair of each family that the system has.
pub(crate) fn stream_pairs() -> io::Result<Vec<Ends<Stream>>> {
    let mut pairs = Vec::new();
    if let Some((ours, theirs)) = if_any(unix_pair())? {
        pairs.push(("unix", ours.into(), theirs.into()));
    }
    let (ours, theirs) = tcp_pair()?;
    pairs.push((TCP, ours.into(), theirs.into()));
    Ok(pairs)
}

/// Everything that carries a stream of bytes.
pub(crate) fn byte_pairs() -> io::Result<Vec<Ends<OwnedSource>>> {
    let mut pairs = Vec::new();
    if let Some((reader, writer)) = if_any(pipe())? {
        pairs.push(("pipe", reader, writer));
    }
    let streams = stream_pairs()?.into_iter();
    pairs.extend(streams.map(|(name, ours, theirs)| (name, ours.into(), theirs.into())));
    Ok(pairs)
}

/// The names of those that tell nobody when they are closed.
pub(crate) const DATAGRAMS: [&str; 2] = ["unix datagram", "UDP"];

/// Everything that carries bytes, as a stream or one by one.
pub(crate) fn all_pairs() -> io::Result<Vec<Ends<OwnedSource>>> {
    let mut pairs = byte_pairs()?;
    if let Some((ours, theirs)) = if_any(unix_datagram_pair())? {
        pairs.push(("unix datagram", ours.into(), theirs.into()));
    }
    let (ours, theirs) = udp_pair()?;
    pairs.push(("UDP", ours.into(), theirs.into()));
    Ok(pairs)
}
