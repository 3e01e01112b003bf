//! As much of HTTP/1.1 (RFC 9112) as it takes to serve files.

use std::fs::File;
use std::io::{self, ErrorKind::NotFound};
use std::path::{Component, Path, PathBuf};

use httparse::{EMPTY_HEADER, Request, Status};

use crate::connect::is_shortage;

/// The largest head of a request.
pub const LARGEST_HEAD: usize = 8 * 1024;

/// What is to be sent.
#[derive(Debug, Default)]
pub struct Response {
    /// Status line and header, and the text that says what is wrong.
    pub head: Vec<u8>,
    /// What follows, and its length.
    pub body: Option<(File, u64)>,
    /// Whether the connection ends after it.
    pub close: bool,
}

/// Responds to the first request in `input`: the response and the length of the request. `None` if
/// the request is not complete.
#[must_use]
pub fn respond(root: &Path, input: &[u8]) -> Option<(usize, Response)> {
    let mut headers = [EMPTY_HEADER; 64];
    let mut request = Request::new(&mut headers);
    let length = match request.parse(input) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if input.len() < LARGEST_HEAD => return None,
        Ok(Status::Partial) => {
            return Some((input.len(), failure("431 Request Header Fields Too Large", true)));
        }
        Err(_) => return Some((input.len(), failure("400 Bad Request", true))),
    };
    let header = |name: &str| {
        let mut headers = request.headers.iter();
        headers.find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    let closes = header("Connection").is_some_and(|value| {
        value.split(|&byte| byte == b',').any(|it| it.trim_ascii().eq_ignore_ascii_case(b"close"))
    });
    let close = closes || request.version != Some(1);
    let has_body = header("Transfer-Encoding").is_some()
        || header("Content-Length").is_some_and(|value| value != b"0");
    let mut response = match request.method {
        // Where the next request begins is not known.
        _ if has_body => failure("413 Content Too Large", true),
        _ if request.version == Some(1) && header("Host").is_none() => {
            failure("400 Bad Request", true)
        }
        Some(method @ ("GET" | "HEAD")) => {
            let path = request.path.and_then(|target| find(root, target)).ok_or(NotFound.into());
            match path.and_then(|path| open(&path)) {
                Ok((file, length, media_type)) => Response {
                    head: head("200 OK", length, media_type, close),
                    body: (method == "GET").then_some((file, length)),
                    close,
                },
                Err(error) if is_shortage(&error) => failure("503 Service Unavailable", true),
                Err(_) => failure("404 Not Found", close),
            }
        }
        _ => failure("405 Method Not Allowed", close),
    };
    if request.method == Some("HEAD") {
        // What the text of a failure would be the client takes for the next response.
        let end = response.head.windows(4).position(|part| part == b"\r\n\r\n");
        response.head.truncate(end.map_or(0, |end| end + 4));
    }
    Some((length, response))
}

fn head(status: &str, length: u64, media_type: &str, close: bool) -> Vec<u8> {
    let connection = if close { "Connection: close\r\n" } else { "" };
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nContent-Type: {media_type}\r\n\
         {allow}{connection}\r\n"
    )
    .into_bytes()
}

fn failure(status: &str, close: bool) -> Response {
    let text = format!("{status}\n");
    let mut head = head(status, text.len() as u64, "text/plain", close);
    head.extend_from_slice(text.as_bytes());
    Response { head, body: None, close }
}

/// The path that a request names, below `root`.
fn find(root: &Path, target: &str) -> Option<PathBuf> {
    // What a client sends to a proxy, a server has to take as well: RFC 9112, 3.2.2.
    let target = target
        .strip_prefix("http://")
        .map_or(target, |absolute| absolute.find('/').map_or("/", |at| &absolute[at..]));
    let path = target.split(['?', '#']).next()?.strip_prefix('/')?;
    let path = PathBuf::from(String::from_utf8(decode(path.as_bytes())?).ok()?);
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    path.components().all(inside).then(|| root.join(path))
}

/// Resolves %XX.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(*rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            _ => byte,
        });
    }
    Some(decoded)
}

/// A regular file, or the index of a directory, with its length and type. Anything else could block.
fn open(path: &Path) -> io::Result<(File, u64, &'static str)> {
    let index = path.join("index.html");
    let path = if path.is_dir() { &index } else { path };
    if !path.is_file() {
        return Err(NotFound.into());
    }
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length, media_type(path)))
}

fn media_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html",
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("txt" | "md") => "text/plain",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
