//! select, from `<winsock2.h>`, on Windows: for sockets only. A set is a count and an array of that
//! many sockets. `FD_SETSIZE` is the length of the array in the header's `fd_set`, not a limit of the
//! call.
#![doc = include_str!("winsock.md")]

use core::ffi::c_int;
use core::mem::{align_of, offset_of, size_of};

/// The number of a socket: `UINT_PTR`.
pub use libc::SOCKET;
/// getsockopt: <https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-getsockopt>.
pub use libc::getsockopt;
/// `struct timeval`: two `long`s, which are 32 bits wide.
pub use libc::timeval;

/// The sockets that the header's `fd_set` has room for.
pub const FD_SETSIZE: usize = 64;

/// `struct fd_set`: a count, and that many sockets. The call accepts longer ones as well, with the
/// same layout.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fd_set {
    /// How many sockets follow.
    pub fd_count: u32,
    /// The sockets.
    pub fd_array: [SOCKET; FD_SETSIZE],
}

// A set of any length is an array of as many sockets and one more: the count, which lies in the
// low bytes of the first.
const _: () = assert!(cfg!(target_endian = "little"));
const _: () = assert!(offset_of!(fd_set, fd_count) == 0);
const _: () = assert!(offset_of!(fd_set, fd_array) == size_of::<SOCKET>());
const _: () = assert!(size_of::<fd_set>() == (1 + FD_SETSIZE) * size_of::<SOCKET>());
const _: () = assert!(align_of::<fd_set>() == align_of::<SOCKET>());
const _: () = assert!(size_of::<timeval>() == 8);

/// Room for a `struct WSADATA`, whose fields come in another order on 32-bit systems: 400 bytes
/// there, 408 on 64-bit ones.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct WSADATA {
    /// The description of the implementation that [`WSAStartup`] returns.
    pub opaque: [u8; 408],
}

/// What a failed call returns.
pub const SOCKET_ERROR: c_int = -1;
/// The handle that no socket has.
pub const INVALID_SOCKET: SOCKET = !0;
/// Winsock 2.2, as an argument of [`WSAStartup`].
pub const VERSION: u16 = 0x0202;

/// The level of the options that every socket has.
pub const SOL_SOCKET: c_int = 0xffff;
/// Option: what type of socket it is, a `c_int`.
pub const SO_TYPE: c_int = 0x1008;
/// Option: for how many seconds it has been connected, a `u32`; [`u32::MAX`] if it is not.
pub const SO_CONNECT_TIME: c_int = 0x700c;

/// Not a socket.
pub const WSAENOTSOCK: c_int = 10038;

#[link(name = "ws2_32")]
unsafe extern "system" {
    /// select: <https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-select>.
    /// Returns the number of sockets left in the sets, or [`SOCKET_ERROR`]. `nfds` is
    /// ignored.
    ///
    /// # Safety
    ///
    /// Each set is null or points to a count and that many sockets, writable for the length of
    /// the call; `timeout` is null or points to a readable `timeval`.
    pub fn select(
        nfds: c_int,
        readfds: *mut fd_set,
        writefds: *mut fd_set,
        exceptfds: *mut fd_set,
        timeout: *const timeval,
    ) -> c_int;

    /// WSAGetLastError: the error code of this thread's last failed call.
    pub safe fn WSAGetLastError() -> c_int;

    /// WSAStartup: initialises Winsock for the process. Returns 0 or an error code.
    ///
    /// # Safety
    ///
    /// `data` points to a writable [`WSADATA`].
    pub fn WSAStartup(version: u16, data: *mut WSADATA) -> c_int;
}
