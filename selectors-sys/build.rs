//! Names the variant of each facility that the target has, for the `cfg` of src/lib.rs, and links
//! external providers of kqueue and /dev/poll, for tests on Linux.
//!
//! `SELECTORS_KQUEUE_LIB` and `SELECTORS_DEVPOLL_LIB` are each the path of a shared library, or the
//! name that pkg-config knows one by. The library has to be found again when a test starts:
//! `LD_LIBRARY_PATH`. For /dev/poll `libc` stands for the C library's own calls.

use std::env;
use std::path::Path;
use std::process::Command;

use cfg_aliases::cfg_aliases;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    cfg_aliases! {
        linux_android: { any(target_os = "linux", target_os = "android") },
        bsd: { any(freebsdlike, netbsdlike) },
        freebsdlike: { any(target_os = "freebsd", target_os = "dragonfly") },
        netbsdlike: { any(target_os = "netbsd", target_os = "openbsd") },
        apple: { target_vendor = "apple" },
        solarish: { any(target_os = "illumos", target_os = "solaris") },

        // Each names the file that it chooses.
        epoll: { linux_android },
        epoll_x86_64: {
            all(
                target_os = "linux",
                target_arch = "x86_64",
                target_pointer_width = "64",
                not(feature = "through-libc")
            )
        },
        kqueue_apple: { apple },
        kqueue_dragonfly: { target_os = "dragonfly" },
        kqueue_freebsd: { target_os = "freebsd" },
        kqueue_netbsd: { target_os = "netbsd" },
        kqueue_openbsd: { target_os = "openbsd" },
        kqueue_provider: { all(target_os = "linux", feature = "kqueue-provider") },
        devpoll_illumos: { target_os = "illumos" },
        devpoll_solaris: { target_os = "solaris" },
        devpoll_provider: { all(target_os = "linux", feature = "devpoll-provider") },
        poll_linux: { linux_android },
        poll_bsd: { any(target_os = "freebsd", target_os = "openbsd") },
        poll_netbsd: { any(target_os = "netbsd", target_os = "dragonfly") },
        poll_apple: { apple },
        poll_solaris: { solarish },
        select_linux: { linux_android },
        select_long: { freebsdlike },
        select_u32: { netbsdlike },
        select_apple: { apple },
        select_solaris: { solarish },
        select_winsock: { windows },
    }
    println!("cargo::rustc-check-cfg=cfg(devpoll_in_libc)");
    println!("cargo::rustc-check-cfg=cfg(kqueue_macos)");
    println!("cargo::rerun-if-env-changed=SELECTORS_KQUEUE_FLAVOR");
    // The features of a kernel are constants, even if the kernel is emulated.
    if env::var("SELECTORS_KQUEUE_FLAVOR").is_ok_and(|flavor| flavor == "macos") {
        println!("cargo::rustc-cfg=kqueue_macos");
    }
    if let Some(provider) = wanted("KQUEUE") {
        link("SELECTORS_KQUEUE_LIB", &provider);
    }
    match wanted("DEVPOLL").as_deref() {
        Some("libc") => println!("cargo::rustc-cfg=devpoll_in_libc"),
        Some(provider) => link("SELECTORS_DEVPOLL_LIB", provider),
        None => {}
    }
}

/// The external provider that a facility is to have, if any.
fn wanted(facility: &str) -> Option<String> {
    let variable = format!("SELECTORS_{facility}_LIB");
    println!("cargo::rerun-if-env-changed={variable}");
    env::var_os(format!("CARGO_FEATURE_{facility}_PROVIDER"))?;
    env::var(variable).ok().filter(|provider| !provider.is_empty())
}

fn link(variable: &str, provider: &str) {
    if provider.contains('/') {
        let path = Path::new(provider).canonicalize();
        let path = path.unwrap_or_else(|error| panic!("{variable}={provider}: {error}"));
        let folder = path.parent().expect("a file is in a folder");
        let file = path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
        println!("cargo::rustc-link-search=native={}", folder.display());
        println!("cargo::rustc-link-lib=dylib:+verbatim={file}");
        return;
    }
    let output = Command::new("pkg-config").args(["--libs", provider]).output();
    let output = output.expect("pkg-config starts");
    assert!(output.status.success(), "pkg-config does not know {provider}");
    for flag in String::from_utf8_lossy(&output.stdout).split_whitespace() {
        if let Some(folder) = flag.strip_prefix("-L") {
            println!("cargo::rustc-link-search=native={folder}");
        } else if let Some(name) = flag.strip_prefix("-l") {
            println!("cargo::rustc-link-lib=dylib={name}");
        }
    }
}
