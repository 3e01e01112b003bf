//! DNS queries for addresses, and their responses (RFC 1035).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, SimpleDnsError, TYPE};

/// Returns the datagram of a query for the addresses of a name.
///
/// # Errors
///
/// A message if `name` is not a valid name.
pub fn question(id: u16, name: &str, kind: TYPE) -> Result<Vec<u8>, SimpleDnsError> {
    if bare(name).split('.').any(str::is_empty) {
        return Err(SimpleDnsError::InvalidServiceLabel);
    }
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(bare(name))?;
    packet.questions.push(Question::new(name, kind.into(), CLASS::IN.into(), false));
    packet.build_bytes_vec()
}

/// Returns true if a datagram is a response to this query.
#[must_use]
pub fn is_response(packet: &Packet<'_>, name: &str, kind: TYPE) -> bool {
    let [question] = &packet.questions[..] else { return false };
    packet.has_flags(PacketFlag::RESPONSE)
        && question.qname.to_string().eq_ignore_ascii_case(bare(name))
        && question.qtype == kind.into()
}

/// Returns the addresses in a response, at least one.
///
/// # Errors
///
/// A message if there are none.
pub fn addresses(packet: &Packet<'_>) -> Result<Vec<IpAddr>, &'static str> {
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Err("the answer is too long for UDP");
    }
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Err("no such name"),
        _ => return Err("the server refuses to answer"),
    }
    let address = |data: &RData<'_>| match data {
        RData::A(record) => Some(Ipv4Addr::from(record.address).into()),
        RData::AAAA(record) => Some(Ipv6Addr::from(record.address).into()),
        _ => None,
    };
    let found: Vec<_> = packet.answers.iter().filter_map(|record| address(&record.rdata)).collect();
    if found.is_empty() { Err("no address") } else { Ok(found) }
}

/// A name without its final dot.
fn bare(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}
