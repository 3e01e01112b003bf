//! What two kernels did, row by row, and of which of them each row tells something.
//!
//! Events are written as `FILTER+FLAGS(data,fflags,udata)`. Lists side by side are consecutive
//! waits. Amounts of space, which are the system's own, are written `#`.

/// One recorded row: the name of the probe, and what was seen.
pub(crate) struct Row(pub(crate) &'static str, pub(crate) Seen);

/// What was seen, and where.
pub(crate) enum Seen {
    /// On both kernels.
    Both(&'static str),
    /// On FreeBSD 13, and on NetBSD 7.99.
    Each(&'static str, &'static str),
    /// On NetBSD, and meaningless on FreeBSD as it was recorded: there a pipe was a TCP pair, and
    /// the clock stood still.
    NetBsd(&'static str),
    /// On FreeBSD. The probe could not be made on NetBSD.
    FreeBsd(&'static str),
}

use Seen::{Both, Each, FreeBsd, NetBsd};

pub(crate) const ROWS: &[Row] = &[
    Row("pipe add level", Both("0")),
    Row("pipe empty", Both("[]")),
    Row("pipe 3 bytes, x3 level", Both("[R(3,0,5)] [R(3,0,5)] [R(3,0,5)]")),
    Row("pipe after read 1", Both("[R(2,0,5)]")),
    Row("pipe drained", Both("[]")),
    Row(
        "pipe CLEAR: w3,again,+1,partial rd",
        Each("[R(3,0,5)] [] [R(4,0,5)] []", "[R(3,0,5)] [] [R(4,0,5)] [R(2,0,5)]"),
    ),
    Row("pipe CLEAR re-ADD re-fires?", Both("0 [R(2,0,6)]")),
    Row("pipe ONESHOT, again, DELETE", Both("[R(3,0,5)] [] ENOENT")),
    Row(
        "pipe DISPATCH, again, ENABLE(ud9)",
        Each("[R(3,0,5)] [] 0 [R(3,0,9)]", "[R(3,0,5)] [] 0 []"),
    ),
    Row("pipe DISPATCH then re-ADD(ud9)", Both("[R(3,0,5)] 0 []")),
    Row("pipe ADD|DISABLE, ENABLE, DISABLE", Both("[] [R(3,0,5)] []")),
    Row("pipe DISABLEd then re-ADD enables?", Both("[]")),
    Row("pipe WRITE fresh/full/drained", Both("[W(#,0,5)] [] [W(#,0,5)]")),
    Row("pipe closed registered fd: wait", Both("[]")),
    Row("pipe DELETE after close", Both("EBADF")),
    Row("pipe WRITE, reader closed", NetBsd("[W+EOF(0,0,5)]")),
    Row("pipe EOF with CLEAR: 1st, 2nd", Both("[R+EOF(0,0,5)] []")),
    Row("pipe close+reuse(same-fd): stale?", NetBsd("[] [] delete=ENOENT")),
    Row("pipe close+reuse(other): stale?", FreeBsd("[] [] delete=EBADF")),
    Row("pipe close with dup alive", Both("[]")),
    Row("sock add level", Both("0")),
    Row("sock empty", Both("[]")),
    Row("sock 3 bytes, x3 level", Both("[R(3,0,5)] [R(3,0,5)] [R(3,0,5)]")),
    Row("sock after read 1", Both("[R(2,0,5)]")),
    Row("sock drained", Both("[]")),
    Row("sock CLEAR: w3,again,+1,partial rd", Both("[R(3,0,5)] [] [R(4,0,5)] []")),
    Row("sock CLEAR re-ADD re-fires?", Both("0 [R(2,0,6)]")),
    Row("sock ONESHOT, again, DELETE", Both("[R(3,0,5)] [] ENOENT")),
    Row(
        "sock DISPATCH, again, ENABLE(ud9)",
        Each("[R(3,0,5)] [] 0 [R(3,0,9)]", "[R(3,0,5)] [] 0 []"),
    ),
    Row("sock DISPATCH then re-ADD(ud9)", Both("[R(3,0,5)] 0 []")),
    Row("sock ADD|DISABLE, ENABLE, DISABLE", Both("[] [R(3,0,5)] []")),
    Row("sock DISABLEd then re-ADD enables?", Both("[]")),
    Row("sock WRITE fresh/full/drained", Both("[W(#,0,5)] [] [W(#,0,5)]")),
    Row("sock closed registered fd: wait", Both("[]")),
    Row("sock DELETE after close", Both("EBADF")),
    Row("sock WRITE, reader closed", NetBsd("[W+EOF(#,0,5)]")),
    Row("sock EOF with CLEAR: 1st, 2nd", Both("[R+EOF(0,0,5)] []")),
    Row("sock close+reuse(same-fd): stale?", NetBsd("[] [] delete=ENOENT")),
    Row("sock close+reuse(other): stale?", FreeBsd("[] [] delete=EBADF")),
    Row("sock close with dup alive", Both("[]")),
    Row("READ+WRITE same fd", Both("[R(1,0,1) W(#,0,2)]")),
    Row("RECEIPT x2", Both("[R+ERR(0,0,1) W+ERR(0,0,2)]")),
    Row("RECEIPT room=1 of 2", Both("[]")),
    Row("bad fd with room", Both("[R+ERR(EBADF,0,1)]")),
    Row("bad fd no room", Both("EBADF")),
    Row("bad fd first, good second, room", Both("[R+ERR(EBADF,0,1)]")),
    Row("bad first, no room; 2nd applied?", Both("EBADF then []")),
    Row("DELETE unknown", Both("ENOENT")),
    Row("DELETE unknown w/ RECEIPT room", Both("[R+ERR(ENOENT,0,1)]")),
    Row("ENABLE unknown", Both("ENOENT")),
    Row("unknown filter", Both("EINVAL")),
    Row("re-ADD replaces udata", Both("[R(1,0,42)]")),
    Row("kq fd pollable", Both("1")),
    Row("kq inside kq", Both("0 [R(2,0,3)]")),
    Row("half-close: EOF with data", Both("[R+EOF(1,0,1)]")),
    Row("4 ready, room 1, order", Both("0,1,2,3,0,1")),
    Row("timeout 0", Both("[]")),
    Row("timeout 1 ns", Both("[]")),
    Row("timeout 1 us", Both("[]")),
    Row("timeout 1 ms", Both("[]")),
    Row("timeout 20 ms", Both("[]")),
    Row("timeout sec=-1", NetBsd("EINVAL")),
    Row("timeout nsec>=1e9", NetBsd("EINVAL")),
    Row("nevents=0", Both("0")),
    Row("TIMER oneshot", NetBsd("[T(1,0,8)]")),
    Row("TIMER 20ms periodic after", NetBsd("[T(at least 5,0,8)]")),
    Row("cross-thread ADD of ready fd", NetBsd("[R(1,0,3)] quick=true 0")),
    Row(
        "tcp refused: connect, R/W events",
        Both("0 [R+EOF(0,ECONNREFUSED,1) W+EOF(#,ECONNREFUSED,2)]"),
    ),
    Row("tcp listener: data=backlog", Both("[R(1,0,1)]")),
    Row("tcp after accept", Both("[]")),
    Row("tcp peer close", Both("[R+EOF(0,0,1)]")),
    Row("tcp fresh unconnected socket", Both("0 []")),
    // NetBSD 7.99 has no EVFILT_USER: it is an unknown filter.
    Row("USER add CLEAR; untriggered", Each("0 []", "EINVAL")),
    Row("USER trigger, again", FreeBsd("0 [U(0,0,99)] []")),
    Row("USER 2x trigger coalesces", FreeBsd("[U(0,0,3)] []")),
    Row("USER level trigger x2", FreeBsd("[U(0,0,3)] [U(0,0,3)]")),
];
