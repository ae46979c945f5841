//! Servers that misbehave, one a row. The client never takes a broken answer for a whole one, and
//! never hangs.

use crate::origin::{Origin, Then};
use crate::{both_ways, client};
use hardswitch::net::http::Limits;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

/// What the client makes of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Is {
    /// This body.
    Body(&'static str),
    Refused,
}

use Is::{Body, Refused};

struct Row {
    name: &'static str,
    answer: Vec<u8>,
    then: fn() -> Then,
    is: Is,
}

fn row(name: &'static str, answer: impl Into<Vec<u8>>, is: Is) -> Row {
    Row {
        name,
        answer: answer.into(),
        then: || Then::Close,
        is,
    }
}

fn then(row: Row, then: fn() -> Then) -> Row {
    Row { then, ..row }
}

fn hangs() -> Then {
    // Longer than any request may take: its thread ends with the process.
    thread::sleep(Duration::from_secs(60));
    Then::Close
}

fn resets() -> Then {
    thread::sleep(Duration::from_millis(30));
    Then::Reset
}

fn rows() -> Vec<Row> {
    let ok = "HTTP/1.1 200 OK\r\n";
    let chunked = format!("{ok}Transfer-Encoding: chunked\r\n\r\n");
    let sized = |fields: &str| format!("{ok}{fields}Content-Length: 2\r\n\r\nok");
    let c = |rest: &str| format!("{chunked}{rest}");
    let interim = "HTTP/1.1 102 Processing\r\n\r\n";
    let hint = format!(
        "HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n",
        "x".repeat(4000)
    );
    let mut rows = vec![
        // Good ones, so that refusing everything is no way out.
        row("a length", sized(""), Body("ok")),
        row("chunks", c("2\r\no-\r\n1;x=y\r\nk\r\n0\r\nT: u\r\n\r\n"), Body("o-k")),
        row("until the end", format!("{ok}\r\nall of it"), Body("all of it")),
        row("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nold", Body("old")),
        row("bare line ends", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", Body("ok")),
        row("equal lengths", format!("{ok}Content-Length: 2, 2\r\nContent-Length: 2\r\n\r\nok"), Body("ok")),
        row("chunks win over a length", format!("{ok}Content-Length: 1\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), Body("ok")),
        row("interim answers", format!("HTTP/1.1 100 Continue\r\n\r\n{hint}{interim}{}", sized("")), Body("ok")),
        row("an interim answer with a field", format!("HTTP/1.1 100 Continue\r\nX: y\r\n\r\n{}", sized("")), Body("ok")),
        row("a folded field", sized("X: one\r\n two\r\n"), Body("ok")),
        row("bytes after the body", format!("{}more", sized("")), Body("ok")),
        row("10 interim answers", format!("{}{}", interim.repeat(10), sized("")), Body("ok")),
        row("a 304 with a length", "HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", Body("")),
        row("a 204 with a length", "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", Body("")),
        // Lengths.
        row("a short body", format!("{ok}Content-Length: 5\r\n\r\nhel"), Refused),
        row("two lengths", format!("{ok}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), Refused),
        row("two lengths in one field", format!("{ok}Content-Length: 3, 4\r\n\r\nabcd"), Refused),
        row("length -1", format!("{ok}Content-Length: -1\r\n\r\nabc"), Refused),
        row("length +3", format!("{ok}Content-Length: +3\r\n\r\nabc"), Refused),
        row("length 3x", format!("{ok}Content-Length: 3x\r\n\r\nabc"), Refused),
        row("length 0x3", format!("{ok}Content-Length: 0x3\r\n\r\nabc"), Refused),
        row("length 3 3", format!("{ok}Content-Length: 3 3\r\n\r\nabc"), Refused),
        row("length 3,", format!("{ok}Content-Length: 3,\r\n\r\nabc"), Refused),
        row("no length in the field", format!("{ok}Content-Length: \r\n\r\nabc"), Refused),
        row("a length beyond 64 bits", format!("{ok}Content-Length: 99999999999999999999\r\n\r\nabc"), Refused),
        row("the largest length", format!("{ok}Content-Length: 18446744073709551615\r\n\r\nabc"), Refused),
        row("a folded length", format!("{ok}Content-Length: 1\r\n 0\r\n\r\n0123456789"), Refused),
        // Transfer codings.
        row("gzip, chunked", format!("{ok}Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), Refused),
        row("chunked, gzip", format!("{ok}Transfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n"), Refused),
        row("gzip and chunked", format!("{ok}Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), Refused),
        row("chunked twice", format!("{ok}Transfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), Refused),
        row("gzip to the end", format!("{ok}Transfer-Encoding: gzip\r\n\r\nok"), Refused),
        row("xchunked", format!("{ok}Transfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), Refused),
        row("identity", format!("{ok}Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok"), Refused),
        row("an empty coding", format!("{ok}Transfer-Encoding:\r\nContent-Length: 2\r\n\r\nok"), Refused),
        row("chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Refused),
        // Chunks.
        row("cut in a chunk", c("4\r\nWik"), Refused),
        row("cut after a chunk", c("4\r\nWiki\r\n"), Refused),
        row("cut in a size", c("4\r\nWiki\r\n1"), Refused),
        row("cut before the empty line", c("4\r\nWiki\r\n0\r\n"), Refused),
        row("cut in the trailer", c("4\r\nWiki\r\n0\r\nTrailer: x\r\n"), Refused),
        row("a chunk longer than its size", c("4\r\nWikipedia\r\n0\r\n\r\n"), Refused),
        row("a chunk shorter than its size", c("6\r\nWiki\r\n0\r\n\r\n"), Refused),
        row("size x", c("x\r\nWiki\r\n0\r\n\r\n"), Refused),
        row("no size", c("\r\nWiki\r\n0\r\n\r\n"), Refused),
        row("size -1", c("-1\r\nWiki\r\n0\r\n\r\n"), Refused),
        row("size +4", c("+4\r\nWiki\r\n0\r\n\r\n"), Refused),
        row("a blank before a size", c(" 4\r\nWiki\r\n0\r\n\r\n"), Refused),
        row("size 0x4", c("0x4\r\nWiki\r\n0\r\n\r\n"), Refused),
        row("size 4 4", c("4 4\r\nWiki\r\n0\r\n\r\n"), Refused),
        row("size 4_0", c("4_0\r\nWiki\r\n0\r\n\r\n"), Refused),
        row("a size beyond 64 bits", c("10000000000000000\r\nWiki\r\n0\r\n\r\n"), Refused),
        row("the largest size", c("ffffffffffffffff\r\nWiki"), Refused),
        row("extensions without end", c(&format!("1;x={}\r\na\r\n0\r\n\r\n", "y".repeat(100_000))), Refused),
        row("many extensions", c(&format!("{}0\r\n\r\n", format!("1;x={}\r\na\r\n", "y".repeat(1000)).repeat(100))), Refused),
        row("a trailer without end", c(&format!("0\r\n{}\r\n", "A: b\r\n".repeat(10_000))), Refused),
        // Heads.
        row("nothing", "", Refused),
        row("half a word", "HTTP", Refused),
        row("half a head", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", Refused),
        row("an endless field", format!("{ok}X: {}", "y".repeat(100_000)), Refused),
        row("a head of 20 KB", sized(&"A: b\r\n".repeat(3500)), Refused),
        row("2,000 fields", sized(&"A: b\r\n".repeat(2000)), Refused),
        row("no colon", format!("{ok}no colon here\r\n\r\n"), Refused),
        row("a blank before the colon", format!("{ok}Content-Length : 2\r\n\r\nok"), Refused),
        row("a first field that is folded", format!("{ok} X: y\r\nContent-Length: 2\r\n\r\nok"), Refused),
        row("a bare CR", sized("X: a\rb\r\n"), Refused),
        row("a nul in a value", sized("X: a\0b\r\n"), Refused),
        row("a nul in a name", sized("X\0: a\r\n"), Refused),
        row("another protocol", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nraw", Refused),
        row("10,000 interim answers", interim.repeat(10_000), Refused),
        row("20 KB of interim answers", format!("{}{}", hint.repeat(5), sized("")), Refused),
        row("11 interim answers", format!("{}{}", interim.repeat(11), sized("")), Refused),
        row("HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", Refused),
        row("HTTP/0.9", "<html>ok</html>", Refused),
        row("an HTTP/2 preface", "\0\0\x12\x04\0\0\0\0\0", Refused),
        row("status 2x0", "HTTP/1.1 2x0 OK\r\n\r\n", Refused),
        row("status 000", "HTTP/1.1 000 x\r\nContent-Length: 2\r\n\r\nok", Refused),
        row("status 099", "HTTP/1.1 099 x\r\nContent-Length: 2\r\n\r\nok", Refused),
        row("status 20", "HTTP/1.1 20 x\r\nContent-Length: 2\r\n\r\nok", Refused),
        row("status 2000", "HTTP/1.1 2000 x\r\nContent-Length: 2\r\n\r\nok", Refused),
        row("status -20", "HTTP/1.1 -20 x\r\nContent-Length: 2\r\n\r\nok", Refused),
        // The end of a stream that is none.
        then(row("a reset instead of the end", format!("{ok}\r\nhalf of it"), Refused), resets),
        then(row("a reset in a sized body", format!("{ok}Content-Length: 5\r\n\r\nhel"), Refused), resets),
        then(row("a reset in a chunk", c("5\r\nhel"), Refused), resets),
        then(row("a reset in a head", ok, Refused), resets),
        // Silence: what is not HTTP is refused at once, and nothing waits for more than its time.
        then(row("SSH, and silence", "SSH-2.0-OpenSSH_9.2\r\n", Refused), hangs),
        then(row("HTTX, and silence", "HTTX", Refused), hangs),
        then(row("silence in a head", ok, Refused), hangs),
        then(row("silence in a body", format!("{ok}Content-Length: 5\r\n\r\nhel"), Refused), hangs),
    ];
    for status in ["301", "302", "307"] {
        // Followed as soon as the Location has come, this would be a wrong success.
        let answer = format!("HTTP/1.1 {status} Moved\r\nLocation: /again\r\n");
        rows.push(row("half the head of a redirect", answer, Refused));
    }
    rows
}

fn made_of<E: std::fmt::Display>(got: Result<Vec<u8>, E>, is: Is) -> Result<(), String> {
    let shown = match &got {
        Ok(body) => format!("a body of {} bytes", body.len()),
        Err(error) => error.to_string(),
    };
    match (got, is) {
        (Ok(body), Body(text)) if body == text.as_bytes() => Ok(()),
        (Err(_), Refused) => Ok(()),
        _ => Err(format!("{is:?} was expected, and not: {shown}")),
    }
}

/// The outcome, which has to come within this time.
fn within<R>(most: Duration, f: impl FnOnce() -> R) -> Result<R, String> {
    let start = Instant::now();
    let outcome = f();
    let took = start.elapsed();
    match took < most {
        true => Ok(outcome),
        false => Err(format!("took {took:?}")),
    }
}

#[test]
fn no_misbehaviour_is_a_wrong_success_or_hangs_both_ways() {
    let mut wrong = Vec::new();
    let rows = rows();
    assert!(rows.len() >= 80, "{} rows", rows.len());
    for row in rows {
        let (bytes, end) = (row.answer.clone(), row.then);
        let origin = Origin::new(move |asked, stream| {
            if asked.target == "/again" {
                return crate::origin::answer(stream, "200 OK", "", b"again");
            }
            let _ = stream.write_all(&bytes);
            end()
        });
        let url = origin.at("/");
        // Only where a server is silent may it take as long as its limit allows.
        let limit = match row.name.starts_with("silence") {
            true => Duration::from_secs(1),
            false => Duration::from_secs(40),
        };
        let most = Duration::from_secs(20);
        let limits = Limits {
            total: Some(limit),
            ..Limits::default()
        };
        let [tasklet, worker] = both_ways(move || {
            within(most, || {
                let answer = client().get(&url).limits(limits).send();
                answer.and_then(|mut answer| answer.read_all(1 << 20))
            })
        });
        for (who, outcome) in [("tasklet", tasklet), ("worker", worker)] {
            if let Err(why) = outcome.and_then(|outcome| made_of(outcome, row.is)) {
                wrong.push(format!("{}, {who}: {why}", row.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
