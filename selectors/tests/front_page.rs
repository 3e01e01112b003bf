//! The server on the front page of the documentation, when it runs out of descriptors.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rlimit::Resource;

/// As the documentation shows it.
mod server {
    include!("../src/front_page.rs");

    pub(super) fn run() -> io::Result<()> {
        main()
    }
}

#[test]
#[ignore = "this is the server, a process of its own"]
fn serve_without_descriptors_for_clients() -> io::Result<()> {
    // One for the selector and one for the listener.
    let last = {
        let _first = File::open("/dev/null")?;
        File::open("/dev/null")?.as_raw_fd()
    };
    let (_, hard) = Resource::NOFILE.get()?;
    Resource::NOFILE.set(u64::try_from(last).map_err(io::Error::other)? + 1, hard)?;
    server::run()
}

/// A process that is ended when this is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// Starts it, and connects as soon as it listens: `None` if it has ended, because another
    /// process has its port.
    fn start() -> io::Result<Option<(Self, TcpStream)>> {
        let serve = Command::new(std::env::current_exe()?)
            .args(["--ignored", "--exact", "serve_without_descriptors_for_clients"])
            .spawn()?;
        let mut server = Self(serve);
        while server.runs()? {
            if server.sockets() > 0 {
                if let Ok(client) = TcpStream::connect("127.0.0.1:1234") {
                    return Ok(Some((server, client)));
                }
            }
            thread::yield_now();
        }
        Ok(None)
    }

    fn runs(&mut self) -> io::Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }

    /// How many sockets it has.
    fn sockets(&self) -> usize {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{}/fd", self.0.id())) else { return 0 };
        let targets = descriptors.flatten().flat_map(|descriptor| fs::read_link(descriptor.path()));
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    /// How much processor time it has taken, in hundredths of a second.
    fn processor_time(&self) -> io::Result<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        // The name, in parentheses, may have spaces.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        Ok(fields.skip(11).take(2).flat_map(str::parse::<u64>).sum())
    }
}

#[test]
fn it_survives_a_lack_of_descriptors() -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(100);
    loop {
        assert!(Instant::now() < deadline, "somebody else has the port");
        let Some((mut server, mut client)) = Server::start()? else { continue };
        thread::sleep(Duration::from_secs(1));
        if !server.runs()? {
            continue;
        }
        let took = server.processor_time()?;
        assert!(took < 20, "{took} hundredths of a second for nothing");
        let id = i32::try_from(server.0.id()).map_err(io::Error::other)?;
        assert_eq!(server.sockets(), 1, "nobody could be accepted");
        let (_, hard) = Resource::NOFILE.get()?;
        rlimit::prlimit(id, Resource::NOFILE, Some((hard, hard)), None)?;
        client.set_read_timeout(Some(Duration::from_secs(20)))?;
        client.write_all(b"served")?;
        let mut echo = [0; 6];
        client.read_exact(&mut echo)?;
        assert_eq!(&echo, b"served");
        return Ok(());
    }
}
