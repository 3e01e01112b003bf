//! Benchmarks of selectors, bare system calls and other libraries: `cargo bench -p selectors`. `--
//! --help` prints the options.
#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod platform;
#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod platform;

fn main() -> std::process::ExitCode {
    platform::main()
}
