//! The part of HTTP/1.1 (RFC 9112) that serving files needs.

use std::fs::File;
use std::io::{self, ErrorKind::NotFound, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use httparse::{EMPTY_HEADER, Request, Status};

use crate::connect::is_shortage;

/// The maximum size of a request's head.
pub const LARGEST_HEAD: usize = 8 * 1024;

/// A response to be sent.
#[derive(Debug, Default)]
pub struct Response {
    /// Status line, header, and the text of an error.
    pub head: Vec<u8>,
    /// The file that follows, and the number of its bytes to send.
    pub body: Option<(File, u64)>,
    /// Whether to close the connection afterwards.
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
            return Some((input.len(), failure("431 Request Header Fields Too Large", "", true)));
        }
        Err(_) => return Some((input.len(), failure("400 Bad Request", "", true))),
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
        // The beginning of the next request is unknown.
        _ if has_body => failure("413 Content Too Large", "", true),
        _ if request.version == Some(1) && header("Host").is_none() => {
            failure("400 Bad Request", "", true)
        }
        Some(method @ ("GET" | "HEAD")) => {
            let path = request.path.and_then(|target| find(root, target)).ok_or(NotFound.into());
            // A conditional range may be answered with the whole file: there is no validator to compare.
            let part = header("Range").filter(|_| method == "GET" && header("If-Range").is_none());
            let served = path
                .and_then(|path| open(&path))
                .and_then(|(file, length, media)| serve(file, length, media, part, close));
            match served {
                Ok(mut response) => {
                    response.body.take_if(|_| method == "HEAD");
                    response
                }
                Err(error) if is_shortage(&error) => failure("503 Service Unavailable", "", true),
                Err(_) => failure("404 Not Found", "", close),
            }
        }
        _ => failure("405 Method Not Allowed", "Allow: GET, HEAD\r\n", close),
    };
    if request.method == Some("HEAD") {
        // The client would take the text of an error for the next response.
        let end = response.head.windows(4).position(|part| part == b"\r\n\r\n");
        response.head.truncate(end.map_or(0, |end| end + 4));
    }
    Some((length, response))
}

/// The file, or the requested range of it.
fn serve(
    mut file: File,
    length: u64,
    media_type: &str,
    part: Option<&[u8]>,
    close: bool,
) -> io::Result<Response> {
    let accepts = "Accept-Ranges: bytes\r\n";
    let Some(part) = part.and_then(|part| range(part, length)) else {
        let head = head("200 OK", length, media_type, accepts, close);
        return Ok(Response { head, body: Some((file, length)), close });
    };
    if part.is_empty() {
        let of = format!("Content-Range: bytes */{length}\r\n");
        return Ok(failure("416 Range Not Satisfiable", &of, close));
    }
    file.seek(SeekFrom::Start(part.start))?;
    let count = part.end - part.start;
    let of = format!("Content-Range: bytes {}-{}/{length}\r\n", part.start, part.end - 1);
    let head = head("206 Partial Content", count, media_type, &of, close);
    Ok(Response { head, body: Some((file, count)), close })
}

/// The bytes that a Range header requests, empty if the file has no such bytes: RFC 9110, 14. Unknown
/// units and multiple ranges are ignored.
fn range(value: &[u8], length: u64) -> Option<Range<u64>> {
    let (first, last) = std::str::from_utf8(value).ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let number = |digits: &str| -> Option<u64> {
        let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // A number that does not fit the type is beyond the end of every file.
        all.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    if first.is_empty() {
        return Some(length.saturating_sub(number(last)?)..length);
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    let asked = (first <= last).then(|| first..last.saturating_add(1).min(length))?;
    Some(if asked.is_empty() { 0..0 } else { asked })
}

fn head(status: &str, length: u64, media_type: &str, more: &str, close: bool) -> Vec<u8> {
    let connection = if close { "Connection: close\r\n" } else { "" };
    let date = date(SystemTime::now());
    format!(
        "HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Length: {length}\r\n\
         Content-Type: {media_type}\r\n{more}{connection}\r\n"
    )
    .into_bytes()
}

/// Formats a time as an HTTP date: RFC 9110, 5.6.7.
fn date(moment: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = moment.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let weekday = DAYS[(days % 7) as usize];
    // Years that begin in March have the leap day at their end; an era is 400 years.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month_name = MONTHS[((month + 2) % 12) as usize];
    let year = era * 400 + year + u64::from(month >= 10);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{weekday}, {day:02} {month_name} {year} {hour:02}:{minute:02}:{second:02} GMT")
}

/// An error response with a text of one line, and `more` header fields.
fn failure(status: &str, more: &str, close: bool) -> Response {
    let text = format!("{status}\n");
    let mut head = head(status, text.len() as u64, "text/plain", more, close);
    head.extend_from_slice(text.as_bytes());
    Response { head, body: None, close }
}

/// The path below `root` that a request names.
fn find(root: &Path, target: &str) -> Option<PathBuf> {
    // A server must accept the absolute form as well: RFC 9112, 3.2.2.
    let target = target
        .strip_prefix("http://")
        .map_or(target, |absolute| absolute.find('/').map_or("/", |at| &absolute[at..]));
    let path = target.split(['?', '#']).next()?.strip_prefix('/')?;
    let path = PathBuf::from(String::from_utf8(decode(path.as_bytes())?).ok()?);
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    path.components().all(inside).then(|| root.join(path))
}

/// Decodes %XX.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // Expected values: `date -u -d @SECONDS`.
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_200, "Fri, 01 Mar 2024 00:00:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(date(moment), expected);
        }
    }

    #[test]
    fn ranges_are_cut_to_the_file_and_odd_ones_ignored() {
        for (value, expected) in [
            ("bytes=0-4", Some(0..5)),
            ("bytes=5-", Some(5..10)),
            ("bytes=-3", Some(7..10)),
            ("bytes=-99", Some(0..10)),
            ("bytes=9-99999999999999999999", Some(9..10)),
            ("bytes=10-", Some(0..0)),
            ("bytes=-0", Some(10..10)),
            ("bytes=4-3", None),
            ("bytes=0-1,3-4", None),
            ("bytes=+1-2", None),
            ("bytes=-", None),
            ("lines=0-4", None),
        ] {
            assert_eq!(range(value.as_bytes(), 10), expected, "{value}");
        }
        assert_eq!(range(b"bytes=-5", 0), Some(0..0));
    }
}
