//! Drives the directory watcher: changes files, and reads what it says.
#![cfg(unix)]

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_watch"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

struct Watch {
    child: Child,
    lines: BufReader<ChildStdout>,
    directory: PathBuf,
}

impl Watch {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("watch").join(name);
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("old"), "old").unwrap();
        let mut child = program(arguments).arg(&directory).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut watch = Self { child, lines, directory };
        assert_eq!(watch.line(), format!("watching {}", watch.directory.display()));
        watch
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn end(mut self) -> (Option<i32>, String, String) {
        let mut texts = [String::new(), String::new()];
        self.lines.read_to_string(&mut texts[0]).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut texts[1]).unwrap();
        let [rest, errors] = texts;
        (self.child.wait().unwrap().code(), rest, errors)
    }

    fn interrupt(self) -> (Option<i32>, String, String) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGINT).unwrap();
        self.end()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn append(path: &Path) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(b"more").unwrap();
}

fn reports_each_change(name: &str, arguments: &[&str]) {
    let mut watch = Watch::start(name, arguments);
    File::create(watch.path("a")).unwrap();
    assert_eq!(watch.line(), "created a");
    append(&watch.path("a"));
    assert_eq!(watch.line(), "changed a");
    fs::rename(watch.path("a"), watch.path("b")).unwrap();
    assert_eq!(watch.line(), "removed a");
    assert_eq!(watch.line(), "created b");
    append(&watch.path("old"));
    assert_eq!(watch.line(), "changed old");
    fs::remove_file(watch.path("b")).unwrap();
    assert_eq!(watch.line(), "removed b");
    fs::create_dir(watch.path("c")).unwrap();
    assert_eq!(watch.line(), "created c");
    assert_eq!(watch.interrupt(), (Some(0), String::new(), String::new()));
}

#[test]
fn the_system_reports_each_change() {
    reports_each_change("system", &["--every", "0.02"]);
}

#[test]
fn polling_reports_each_change() {
    reports_each_change("polling", &["--every", "0.02", "--poll"]);
}

fn the_end_of_the_directory_is_an_error(name: &str, arguments: &[&str]) {
    let watch = Watch::start(name, arguments);
    fs::remove_dir_all(&watch.directory).unwrap();
    let (code, _, errors) = watch.end();
    assert_eq!((code, errors.lines().count()), (Some(2), 1), "{errors}");
    assert!(errors.starts_with("watch: "), "{errors}");
}

#[test]
fn the_end_of_the_directory_ends_it() {
    the_end_of_the_directory_is_an_error("gone", &["--every", "0.02"]);
    the_end_of_the_directory_is_an_error("gone-polling", &["--every", "0.02", "--poll"]);
}

#[cfg(target_os = "linux")]
#[test]
fn so_many_changes_do_not_wait_for_their_time() {
    let mut watch = Watch::start("many", &["--every", "3600"]);
    for at in 0..1100 {
        File::create(watch.path(&format!("{at:04}"))).unwrap();
    }
    for at in 0..1000 {
        assert_eq!(watch.line(), format!("created {at:04}"));
    }
    // The rest is reported at the end, as far as it has come.
    let (code, rest, errors) = watch.interrupt();
    assert_eq!((code, &*errors), (Some(0), ""));
    for (at, line) in rest.lines().enumerate() {
        assert_eq!(line, format!("created {:04}", 1000 + at));
    }
}

#[test]
fn what_is_wrong_with_the_command_line_is_one_line() {
    support::refuses(
        "watch",
        env!("CARGO_BIN_EXE_watch"),
        &[&["/no/such/directory"], &["/dev/null"], &["--poll", "/no"], &["--every", "x"], &["-w"]],
    );
}

/// It keeps watching while its output is not read, and the first Ctrl-C ends it.
#[test]
fn nobody_reads_and_it_ends() {
    let mut watch = Watch::start("unread", &["--every", "0.01"]);
    let pid = Pid::from_raw(i32::try_from(watch.child.id()).unwrap());
    for at in 0..3000 {
        File::create(watch.path(&format!("{at:080}"))).unwrap();
    }
    // The pipe is full by then.
    support::come_to_rest(&[pid]);
    kill(pid, Signal::SIGINT).unwrap();
    let deadline = Instant::now() + support::LONG.unwrap();
    while watch.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::yield_now();
    }
}
