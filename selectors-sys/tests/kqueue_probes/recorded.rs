//! The recorded results, one row for each probe, and the kernels for which each row is valid.
//!
//! | column | kernel |
//! |---|---|
//! | FreeBSD 13.0 | its `kern_event.c`, built for user space, with TCP pairs as pipes and a clock that stands still |
//! | FreeBSD 12.3 | a booted kernel, 12.3-RELEASE-p5 |
//! | NetBSD 7.99 | its kernel, built as a library |
//! | macOS | the published source of XNU 11417, not run: [`XNU`] |
//!
//! Events are written as `FILTER+FLAGS(data,fflags,udata)`. Adjacent lists are consecutive
//! waits. `#` is an amount of space, which depends on the system.

/// One recorded row: the name of the probe, and its result.
pub(crate) struct Row(pub(crate) &'static str, pub(crate) Seen);

/// A result, and the kernels that returned it.
pub(crate) enum Seen {
    /// On FreeBSD 12.3, FreeBSD 13.0 and NetBSD 7.99.
    Both(&'static str),
    /// On FreeBSD 12.3 and NetBSD 7.99, and on 13.0 if the probe does not need real pipes.
    Each(&'static str, &'static str),
    /// On FreeBSD 12.3 and NetBSD 7.99. FreeBSD 13.0 had no real pipes or no clock for it.
    Booted(&'static str),
    /// On FreeBSD 12.3 and 13.0. The probe could not be run on NetBSD.
    FreeBsd(&'static str),
    /// On FreeBSD 12.3 only.
    Second(&'static str),
}

/// Where XNU differs from FreeBSD: the probe, its result, and the function in the source.
pub(crate) const XNU: &[(&str, &str, &str)] = &[
    (
        "pipe WRITE, reader closed",
        "[W+EOF(0,0,5)] [W+EOF(0,0,5)] 0 0",
        "filt_pipe_draincommon(), pipe_kqfilter()",
    ),
    ("pipe ONESHOT, drained before the wait", "[] 0", "knote_process()"),
    ("sock ONESHOT, drained before the wait", "[] 0", "knote_process()"),
    ("/dev/null", "EINVAL", "filt_specattach()"),
    ("fifo end, new writer", "[] []", "filt_vnode_common()"),
];

use Seen::{Booted, Both, Each, FreeBsd, Second};

pub(crate) const ROWS: &[Row] = &[
    Row("pipe add level", Both("0")),
    Row("pipe empty", Both("[]")),
    Row("pipe 3 bytes, x3 level", Both("[R(3,0,5)] [R(3,0,5)] [R(3,0,5)]")),
    Row("pipe after read 1", Both("[R(2,0,5)]")),
    Row("pipe drained", Both("[]")),
    Row("pipe CLEAR: w3,again,+1,partial rd", Booted("[R(3,0,5)] [] [R(4,0,5)] [R(2,0,5)]")),
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
    Row(
        "pipe WRITE, reader closed",
        Each("[W+EOF+ONESHOT(0,0,5)] [] ENOENT EPIPE", "[W+EOF(0,0,5)] [W+EOF(0,0,5)] 0 EBADF"),
    ),
    Row("pipe ONESHOT, drained before the wait", Second("[R(0,0,5)] ENOENT")),
    Row("pipe DISPATCH, drained before the wait", Second("[] 0")),
    Row("pipe DISPATCH, DELETE and ADD at once", Second("[R(3,0,5)] [] [R(3,0,9)]")),
    Row("pipe ONESHOT fired, re-ADD", Second("[R(3,0,5)] 0 [R(3,0,6)] []")),
    Row("pipe ONESHOT, re-ADD without it", Second("[R(3,0,6)] []")),
    Row("pipe queued, DELETE", Second("0 []")),
    Row("pipe full, one byte read", Second("[]")),
    Row("pipe EOF with CLEAR: 1st, 2nd", Both("[R+EOF(0,0,5)] []")),
    Row("pipe close+reuse(same-fd): stale?", Booted("[] [] delete=ENOENT")),
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
    Row("sock WRITE, reader closed", Booted("[W+EOF(#,0,5)] [W+EOF(#,0,5)] 0 0")),
    Row("sock ONESHOT, drained before the wait", Second("[R(0,0,5)] ENOENT")),
    Row("sock DISPATCH, drained before the wait", Second("[] 0")),
    Row("sock DISPATCH, DELETE and ADD at once", Second("[R(3,0,5)] [] [R(3,0,9)]")),
    Row("sock ONESHOT fired, re-ADD", Second("[R(3,0,5)] 0 [R(3,0,6)] []")),
    Row("sock ONESHOT, re-ADD without it", Second("[R(3,0,6)] []")),
    Row("sock queued, DELETE", Second("0 []")),
    Row("fork: the number in the child", Second("free")),
    Row("drained queue inside poll, waited on", Second("1 [] 0")),
    Row("WRITE on a queue", Second("EINVAL")),
    Row("queue inside itself", Second("EINVAL")),
    Row("one of 100 changes fails", Second("[R+ERR(EBADF,0,1)] 99")),
    Row("file READ, at its end", Second("[R(10,0,5)] []")),
    Row("/dev/null", Second("ENODEV")),
    Row("fifo end, new writer", Second("[R+EOF(0,0,5)] []")),
    Row("terminal that hung up", Second("ENXIO")),
    Row("empty datagram", Second("[R(0,0,5)]")),
    Row("half-close: both filters", Second("[R+EOF(0,0,1) W(#,0,2)]")),
    Row("tcp reset, SO_ERROR read", Second("[R+EOF(0,ECONNRESET,1)] [R+EOF(0,0,1)]")),
    Row("USER takes the trigger's udata", Second("[U(0,0,7)]")),
    Row("longest timeout", Second("[R(1,0,1)]")),
    Row("sock EOF with CLEAR: 1st, 2nd", Both("[R+EOF(0,0,5)] []")),
    Row("sock close+reuse(same-fd): stale?", Booted("[] [] delete=ENOENT")),
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
    Row("timeout sec=-1", Booted("EINVAL")),
    Row("timeout nsec>=1e9", Booted("EINVAL")),
    Row("nevents=0", Both("0")),
    Row("TIMER oneshot", Booted("[T(1,0,8)]")),
    Row("TIMER 20ms periodic after", Booted("[T(at least 5,0,8)]")),
    Row("cross-thread ADD of ready fd", Booted("[R(1,0,3)] quick=true 0")),
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
