//! Names the facilities that the target has, for the `cfg` of src/backend/: one name for each fact,
//! one list of systems for each name.

use cfg_aliases::cfg_aliases;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    cfg_aliases! {
        linux_android: { any(target_os = "linux", target_os = "android") },
        bsd: {
            any(
                target_os = "freebsd",
                target_os = "dragonfly",
                target_os = "netbsd",
                target_os = "openbsd"
            )
        },
        apple: { target_vendor = "apple" },
        solarish: { any(target_os = "illumos", target_os = "solaris") },

        epoll: { linux_android },
        eventfd: { linux_android },
        native_kqueue: { any(bsd, apple) },
        native_devpoll: { solarish },

        // Native, or linked by tests on Linux.
        kqueue: { any(native_kqueue, all(target_os = "linux", feature = "kqueue-provider")) },
        devpoll: { any(native_devpoll, all(target_os = "linux", feature = "devpoll-provider")) },
    }
}
