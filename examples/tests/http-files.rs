//! Drives the file server as browsers, load generators and rude clients do.
#![cfg(unix)]

mod support;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use selectors::{DefaultSelector, Interest};
use support::{LONG, Program, come_to_rest, pattern, refuses};

const HTTP_FILES: &str = env!("CARGO_BIN_EXE_http-files");

struct Server {
    program: Program,
    address: String,
}

impl Server {
    fn start(name: &str, arguments: &[&str]) -> (Self, PathBuf) {
        let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("http-files").join(name);
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("public/sub dir")).unwrap();
        fs::write(root.join("secret"), "secret").unwrap();
        let public = root.join("public");
        fs::write(public.join("hello.txt"), "hello, world\n").unwrap();
        fs::write(public.join("empty"), "").unwrap();
        fs::write(public.join("sub dir/index.html"), "<p>index</p>").unwrap();
        (Self::spawn(Command::new(HTTP_FILES).args(arguments).arg(&public)), public)
    }

    fn spawn(command: &mut Command) -> Self {
        let (program, address) = Program::listening(command.args(["--listen", "127.0.0.1:0"]));
        Self { program, address }
    }

    fn connect(&self) -> Client {
        Client(BufReader::new(support::connect(&self.address)))
    }

    fn interrupt(self) {
        assert_eq!(self.program.end(Signal::SIGINT), "");
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn get(&mut self, path: &str) -> (u16, Vec<u8>) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        let (status, headers) = self.head();
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        (status, body)
    }

    fn head(&mut self) -> (u16, HashMap<String, String>) {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let status = line.strip_prefix("HTTP/1.1 ").expect(&line)[..3].parse().unwrap();
        let mut headers = HashMap::new();
        loop {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                assert_eq!(line, "\r\n");
                return (status, headers);
            };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
    }

    /// What comes until the server shuts the connection down.
    fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        rest
    }
}

#[test]
fn one_connection_serves_many_requests() {
    let (server, _) = Server::start("keep-alive", &[]);
    let mut client = server.connect();
    for _ in 0..100 {
        assert_eq!(client.get("/hello.txt?x=1"), (200, b"hello, world\n".to_vec()));
        assert_eq!(client.get("/empty"), (200, vec![]));
        assert_eq!(client.get("/sub%20dir/"), (200, b"<p>index</p>".to_vec()));
        assert_eq!(client.get("/missing").0, 404);
    }
    for outside in ["/../secret", "/%2e%2e/secret", "/sub%20dir/../../secret", "//etc/passwd", "/%"]
    {
        assert_eq!(client.get(outside).0, 404, "{outside}");
    }
    client.send("HEAD /hello.txt HTTP/1.1\r\nHost: test\r\n\r\n");
    let (status, headers) = client.head();
    assert_eq!((status, &*headers["content-length"]), (200, "13"));
    assert_eq!(headers["content-type"], "text/plain");
    // Failures come without their text as well: it would be taken for the next response.
    for (target, status) in [("missing", 404), ("empty", 200), ("sub%20dir", 200)] {
        client.send(&format!("HEAD /{target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        let (answered, headers) = client.head();
        assert_eq!(answered, status, "{target}");
        let html = headers["content-type"] == "text/html";
        assert_eq!(html, target == "sub%20dir", "{target}: {headers:?}");
    }
    for (target, status) in [("/hello.txt", 200), ("", 404), ("/../secret", 404)] {
        assert_eq!(client.get(&format!("http://test{target}")).0, status, "{target}");
    }
    client.send("GET /empty HTTP/1.1\r\nHost: test\r\nConnection: TE, Close\r\n\r\n");
    assert!(client.rest().starts_with("HTTP/1.1 200 OK\r\n"));
    server.interrupt();
}

#[test]
fn a_part_of_a_file_can_be_asked_for() {
    let (server, _) = Server::start("range", &[]);
    let mut client = server.connect();
    let whole = "hello, world\n";
    let cases = [
        ("bytes=7-11", 206, "world", "bytes 7-11/13"),
        ("bytes=7-", 206, "world\n", "bytes 7-12/13"),
        ("bytes=-6", 206, "world\n", "bytes 7-12/13"),
        ("bytes=13-", 416, "416 Range Not Satisfiable\n", "bytes */13"),
        ("bytes=0-1,3-4", 200, whole, ""),
        ("bytes=7-\r\nIf-Range: \"tag\"", 200, whole, ""),
    ];
    for (range, expected, text, part) in cases {
        client.send(&format!("GET /hello.txt HTTP/1.1\r\nHost: test\r\nRange: {range}\r\n\r\n"));
        let (status, headers) = client.head();
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        client.0.read_exact(&mut body).unwrap();
        assert_eq!((status, &*body), (expected, text.as_bytes()), "{range}");
        assert_eq!(headers.get("content-range").map_or("", |part| part), part, "{range}");
        assert!(headers["date"].ends_with(" GMT"), "{range}");
        assert_eq!(headers.contains_key("accept-ranges"), status == 200, "{range}");
    }
    client.send("HEAD /hello.txt HTTP/1.1\r\nHost: test\r\nRange: bytes=7-\r\n\r\n");
    assert_eq!(client.head().0, 200);
    assert_eq!(client.get("/hello.txt").1, whole.as_bytes());
    server.interrupt();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (server, _) = Server::start("pipeline", &[]);
    let mut client = server.connect();
    let names = ["hello.txt", "missing", "empty"];
    let requests: Vec<String> = (0..600)
        .map(|at| format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", names[at % 3]))
        .collect();
    // More than the server takes at a time, cut where no request ends.
    let requests = requests.concat();
    let (first, second) = requests.split_at(20_011);
    client.send(first);
    client.send(second);
    client.0.get_ref().shutdown(Shutdown::Write).unwrap();
    for at in 0..600 {
        let (status, headers) = client.head();
        assert_eq!(status, [200, 404, 200][at % 3]);
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        client.0.read_exact(&mut body).unwrap();
    }
    assert_eq!(client.rest(), "");
}

#[test]
fn rude_requests_get_an_answer_and_an_end() {
    let (server, _) = Server::start("rude", &[]);
    let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(100_000));
    let cases = [
        ("\0\0\0\r\n\r\n", "400 "),
        ("GET / HTTP/1.1\r\n\r\n", "400 "),
        (&long, "431 "),
        ("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello", "413 "),
        ("GET /hello.txt HTTP/1.0\r\n\r\n", "200 "),
    ];
    for (request, status) in cases {
        let mut client = server.connect();
        client.send(request);
        let answer = client.rest();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:.20}: {answer}");
    }
    let mut client = server.connect();
    client.send("DELETE / HTTP/1.1\r\nHost: test\r\n\r\n");
    let (status, headers) = client.head();
    assert_eq!((status, headers["allow"].as_str()), (405, "GET, HEAD"));
}

/// Out of descriptors: what is there is not called missing, and there is room again afterwards.
#[test]
#[cfg(target_os = "linux")]
fn without_descriptors_for_files_it_says_so() {
    let server = Server::spawn(support::limited(HTTP_FILES, 20).arg(env!("CARGO_MANIFEST_DIR")));
    let mut clients: Vec<_> = (0..40).map(|_| server.connect()).collect();
    let open = format!("/proc/{}/fd", server.program.pid());
    while fs::read_dir(&open).unwrap().count() < 20 {
        std::thread::yield_now();
    }
    assert_eq!(clients[0].get("/Cargo.toml").0, 503);
    assert_eq!(clients[0].rest(), "");
    drop(clients);
    assert_eq!(server.connect().get("/Cargo.toml").0, 200);
    server.interrupt();
}

#[test]
fn whoever_does_nothing_is_let_go_and_makes_room() {
    let (server, _) = Server::start("idle", &["--idle", "0.2", "--clients", "2"]);
    let mut idle = [server.connect(), server.connect()];
    idle[1].send("GET /hello.txt HTTP/1.1\r\nHost");
    // Waits in the backlog of the listener until the others are gone.
    assert_eq!(server.connect().get("/hello.txt").0, 200);
    assert_eq!(idle.each_mut().map(Client::rest), ["", ""]);
}

#[test]
fn a_slow_reader_gets_every_byte_and_costs_nothing_while_it_sleeps() {
    let (server, root) = Server::start("slow", &[]);
    let content = pattern(0, 8_000_000);
    fs::write(root.join("large"), &content).unwrap();
    let mut slow = server.connect();
    slow.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(slow.head().0, 200);
    let mut other = server.connect();
    for _ in 0..100 {
        assert_eq!(other.get("/hello.txt").0, 200);
    }
    come_to_rest(&[server.program.pid()]);
    let mut body = vec![0; content.len()];
    slow.0.read_exact(&mut body).unwrap();
    assert!(body == content, "other bytes came");
    assert_eq!(slow.get("/hello.txt").0, 200);
    // A client that disconnects in the middle does not affect others.
    let mut gone = server.connect();
    gone.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(gone.head().0, 200);
    drop(gone);
    assert_eq!(other.get("/large"), (200, content));
    server.interrupt();
}

#[test]
fn two_hundred_clients_at_once() {
    const REQUEST: &[u8] = b"GET /blob HTTP/1.1\r\nHost: test\r\n\r\n";
    let (server, root) = Server::start("load", &[]);
    let content = pattern(0, 100_000);
    fs::write(root.join("blob"), &content).unwrap();
    let mut selector = DefaultSelector::new().unwrap();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.write_all(&REQUEST.repeat(3)).unwrap();
        stream.set_nonblocking(true).unwrap();
        selector.register(stream, Interest::READ, Vec::new()).unwrap();
    }
    let mut buffer = vec![0; 64 * 1024];
    while !selector.is_empty() {
        let events = selector.select(LONG).unwrap();
        assert!(!events.is_empty(), "{} clients wait for ever", selector.len());
        for event in events {
            let key = selector.get_mut(event.token()).unwrap();
            match key.fileobj.read(&mut buffer) {
                Ok(0) => panic!("the server gave up"),
                Ok(count) => key.data.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            if key.data.len() >= 3 * content.len() && key.data.ends_with(&content) {
                let (_, received) = selector.unregister(event.token()).unwrap();
                let length = received.len() - 3 * content.len();
                assert!(length % 3 == 0, "three heads alike");
                let one = &received[length / 3..][..content.len()];
                assert!(one == content, "other bytes came");
            }
        }
    }
}

#[test]
fn what_is_wrong_with_the_command_line_is_one_line() {
    let (server, _) = Server::start("errors", &[]);
    refuses(
        "http-files",
        HTTP_FILES,
        &[
            &["/no/such/directory"],
            &["/dev/null"],
            &["--idle", "0"],
            &["--clients", "0"],
            &["--clients", "18446744073709551615"],
            &["--listen", "nowhere"],
            &["--listen", &server.address],
            &["--wrong"],
        ],
    );
}
