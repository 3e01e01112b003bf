//! Describes the machine.

use std::fs;
use std::process::Command;

/// One fact per line.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = first_line("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    [
        ("processor", processor()),
        ("cores", cores.to_string()),
        ("machine", machine()),
        ("kernel", format!("Linux {}", first_line("/proc/sys/kernel/osrelease"))),
        ("mitigations", mitigations()),
        ("compiler", compiler()),
        ("load before", load.to_owned()),
    ]
    .map(|(name, value)| format!("{name}: {value}\n"))
    .concat()
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

fn cpuinfo(field: &str) -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn processor() -> String {
    let model = cpuinfo("model name").unwrap_or_else(|| "unknown".to_owned());
    format!("{model}, {}", std::env::consts::ARCH)
}

fn machine() -> String {
    let flags = cpuinfo("flags").unwrap_or_default();
    let virtual_machine = flags.split(' ').any(|flag| flag == "hypervisor");
    if virtual_machine { "a virtual one" } else { "no hypervisor is seen" }.to_owned()
}

/// The processor vulnerabilities whose mitigations make system calls slower.
fn mitigations() -> String {
    let folder = fs::read_dir("/sys/devices/system/cpu/vulnerabilities");
    let mut names: Vec<_> = folder
        .into_iter()
        .flatten()
        .flatten()
        .filter(|file| {
            fs::read_to_string(file.path()).is_ok_and(|text| text.starts_with("Mitigation"))
        })
        .filter_map(|file| file.file_name().into_string().ok())
        .collect();
    names.sort();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn compiler() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|_| "unknown".to_owned())
}
