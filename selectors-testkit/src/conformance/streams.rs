//! The sources that many cases try in turn.

use std::io;

/// A stream socket of any family.
pub(crate) use socket2::Socket as Stream;

use crate::fixtures::{
    OwnedSource, if_any, pipe, tcp_pair, udp_pair, unix_datagram_pair, unix_pair,
};

/// The two ends of something, with its name: from the second, what is written arrives at the
/// first.
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
