//! The benchmarks: the libraries are in `contenders`, the work in `workloads`, and the method in
//! `measure`.

mod allocator;
mod arguments;
mod contenders;
mod cores;
mod instructions;
mod machine;
mod measure;
mod report;
mod sources;
mod workloads;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs, io};

use arguments::{Measure, Task};
use measure::Settings;
use report::Report;

pub(crate) fn main() -> ExitCode {
    let done = match arguments::parse() {
        Ok(Task::Help) => {
            print!("{}", arguments::HELP);
            Ok(())
        }
        Ok(Task::List) => {
            for (name, _) in workloads::ALL {
                println!("{name}");
            }
            Ok(())
        }
        Ok(Task::Count(contender, operation, times)) => {
            instructions::run(&contender, &operation, times)
        }
        Ok(Task::Measure(task)) => measure_all(&task),
        Err(error) => Err(io::Error::other(format!("{error}; --help says what there is"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn settings(task: &Measure) -> Settings {
    let (rounds, turn) = match task {
        // `cargo test --all-targets` also runs it, as a check.
        Measure { bench: false, .. } => (1, Duration::ZERO),
        Measure { short: true, .. } => (5, Duration::from_millis(1)),
        _ => (31, Duration::from_millis(4)),
    };
    Settings { rounds, turn, smoke: !task.bench }
}

fn measure_all(task: &Measure) -> io::Result<()> {
    let start = Instant::now();
    if let Some(unknown) = task.workloads.iter().find(|&name| {
        !workloads::ALL.iter().any(|(workload, _)| workload.starts_with(name.as_str()))
    }) {
        return Err(io::Error::other(format!("no workload is called {unknown}; see --list")));
    }
    let settings = settings(task);
    // As many as the hard limit allows.
    let descriptors = rlimit::increase_nofile_limit(u64::MAX)?;
    let machine = machine::describe() + &format!("rounds: {}\n", settings.rounds);
    if settings.smoke {
        println!("only checking that everything runs; `cargo bench` measures");
    } else {
        print!("{machine}");
        println!("a contender's turn: {:?}", settings.turn);
    }
    let mut report = Report::new(settings, descriptors);
    for &(workload, run) in workloads::ALL {
        if task.includes(workload) {
            report.start(workload);
            let done = run(&mut report);
            done.map_err(|error| io::Error::new(error.kind(), format!("{workload}, {error}")))?;
        }
    }
    if !settings.smoke {
        let folder = task.out.clone().unwrap_or_else(default_folder);
        save(&folder, &report, &machine)?;
        println!("\n{:.0?}; the numbers are in {}", start.elapsed(), folder.display());
    }
    Ok(())
}

/// `bench` beside what cargo builds.
fn default_folder() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    // …/target/release/deps/selectors-…
    program.ancestors().nth(3).unwrap_or(Path::new("target")).join("bench")
}

fn save(folder: &Path, report: &Report, machine: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("results.csv"), report.csv())?;
    fs::write(folder.join("machine.txt"), machine)
}
