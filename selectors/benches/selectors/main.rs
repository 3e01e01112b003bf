//! What selectors costs beside bare system calls and beside other libraries:
//! `cargo bench -p selectors`, and with `-- --help` the options.
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
