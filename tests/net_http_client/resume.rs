//! Downloads that go on, with a server that has one file and sends parts of it.

use crate::origin::{answer, Asked, Origin, Then};
use crate::{both_ways, client, content};
use hardswitch::net::http::{Changed, HttpError, RequestError, Validator};
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const SIZE: usize = 100_000;
const TAG: &str = "\"v1\"";

fn tag() -> Validator {
    Validator::ETag(TAG.to_owned())
}

/// Serves the file as RFC 9110 wants it.
fn serve(asked: &Asked, stream: &mut TcpStream, tag: &str) -> Then {
    let file = content(SIZE);
    let fields = format!("ETag: {tag}\r\nAccept-Ranges: bytes\r\n");
    let range = asked
        .field("range")
        .filter(|_| asked.field("if-range") == Some(tag));
    let Some(range) = range else {
        return answer(stream, "200 OK", &fields, &file);
    };
    let from = range
        .strip_prefix("bytes=")
        .and_then(|range| range.strip_suffix('-'));
    let from: usize = from.unwrap().parse().unwrap();
    if from >= SIZE {
        let fields = format!("Content-Range: bytes */{SIZE}\r\n");
        return answer(stream, "416 Range Not Satisfiable", &fields, b"");
    }
    let range = format!("Content-Range: bytes {from}-{}/{SIZE}\r\n", SIZE - 1);
    answer(
        stream,
        "206 Partial Content",
        &(fields + &range),
        &file[from..],
    )
}

#[test]
fn a_download_that_was_cut_goes_on_until_it_is_whole_both_ways() {
    let cuts = Arc::new(AtomicUsize::new(0));
    let count = cuts.clone();
    let origin = Origin::new(move |asked, stream| {
        // Each connection but the last of a download is cut in the middle of what it sends.
        if count.fetch_add(1, Ordering::SeqCst) % 4 == 3 {
            return serve(asked, stream, TAG);
        }
        let from = match asked.field("range") {
            Some(range) => range["bytes=".len()..range.len() - 1].parse().unwrap(),
            None => 0,
        };
        let file = content(SIZE);
        let status = if from == 0 {
            "200 OK"
        } else {
            "206 Partial Content"
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nETag: {TAG}\r\nContent-Length: {}\r\n\
             Content-Range: bytes {from}-{}/{SIZE}\r\n\r\n",
            SIZE - from,
            SIZE - 1
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&file[from..from + 10_000]);
        Then::Close
    });
    let url = origin.at("/file");
    for (file, attempts) in both_ways(move || {
        let (client, mut file, mut validator) = (client(), Vec::new(), None);
        for attempt in 1.. {
            let mut download = client.download(&url);
            if let Some(validator) = validator.take() {
                download = download.resume_from(file.len() as u64, validator);
            }
            let mut resumed = download.send().unwrap();
            assert_eq!(resumed.start(), file.len() as u64);
            assert_eq!(resumed.length(), Some(SIZE as u64));
            validator = resumed.validator();
            let (mut last, start) = (0, resumed.start());
            let done = resumed.copy_to(&mut file, |got, of| {
                assert!(got > start && of == Some(SIZE as u64));
                last = got;
            });
            assert_eq!(last, file.len() as u64);
            match done {
                Ok(length) => {
                    assert_eq!(length, SIZE as u64);
                    return (file, attempt);
                }
                Err(error) => assert!(matches!(
                    error.error(),
                    HttpError::ShortBody { got: 10_000, .. }
                )),
            }
        }
        unreachable!()
    }) {
        assert!(file == content(SIZE));
        assert_eq!(attempts, 4);
    }
    for asked in origin.asked() {
        assert_eq!(
            asked.field("range").is_some(),
            asked.field("if-range").is_some()
        );
        assert_eq!(asked.field("accept-encoding"), Some("identity"));
    }
}

/// Start, or what goes wrong, with each of the choices.
fn outcomes(url: &str, from: u64, validator: &Validator) -> [Result<u64, RequestError>; 2] {
    [Changed::Fail, Changed::StartAnew].map(|changed| {
        let download = client().download(url).resume_from(from, validator.clone());
        let mut resumed = download.if_changed(changed).send()?;
        let mut file = content(resumed.start() as usize);
        resumed.copy_to(&mut file, |_, _| {})?;
        assert!(file == content(SIZE));
        Ok(resumed.start())
    })
}

#[test]
fn a_file_that_has_changed_begins_anew_or_is_an_error_as_the_caller_wants() {
    let origin = Origin::new(|asked, stream| serve(asked, stream, "\"v2\""));
    let [fails, anew] = outcomes(&origin.at("/"), 5000, &tag());
    assert!(matches!(fails.unwrap_err().error(), HttpError::Changed));
    assert_eq!(anew.unwrap(), 0);
}

#[test]
fn a_part_of_another_version_is_never_put_to_the_first() {
    // This server does not know If-Range: it sends the part of whatever file there is.
    let parts = ["ETag: \"v2\"\r\n", "ETag: W/\"v1\"\r\n", ""];
    for fields in parts {
        let origin = Origin::new(move |asked, stream| {
            if asked.field("range").is_none() {
                return serve(asked, stream, "\"v2\"");
            }
            let range = format!("{fields}Content-Range: bytes 5000-{}/{SIZE}\r\n", SIZE - 1);
            answer(
                stream,
                "206 Partial Content",
                &range,
                &vec![b'x'; SIZE - 5000],
            )
        });
        let [fails, anew] = outcomes(&origin.at("/"), 5000, &tag());
        assert!(
            matches!(fails.unwrap_err().error(), HttpError::Changed),
            "{fields:?}"
        );
        assert_eq!(anew.unwrap(), 0, "{fields:?}");
    }
}

#[test]
fn an_answer_of_416_never_means_that_the_file_is_complete() {
    let origin = Origin::new(|asked, stream| serve(asked, stream, TAG));
    for from in [SIZE as u64, SIZE as u64 + 5] {
        let [fails, anew] = outcomes(&origin.at("/"), from, &tag());
        let error = fails.unwrap_err();
        let length = Some(SIZE as u64);
        assert!(
            matches!(error.error(), HttpError::NoRange { from: f, length: l } if *f == from && *l == length),
            "{error}"
        );
        assert_eq!(anew.unwrap(), 0);
    }
}

#[test]
fn a_server_without_ranges_sends_the_whole_and_that_is_seen() {
    let origin = Origin::new(|_, stream| answer(stream, "200 OK", "", &content(SIZE)));
    let [fails, anew] = outcomes(&origin.at("/"), 5000, &tag());
    assert!(matches!(fails.unwrap_err().error(), HttpError::Changed));
    assert_eq!(anew.unwrap(), 0);
    // Nothing is there yet: no range is asked for.
    let mut whole = client()
        .download(&origin.at("/"))
        .resume_from(0, tag())
        .send()
        .unwrap();
    assert_eq!(whole.start(), 0);
    assert_eq!(
        whole.copy_to(&mut Vec::new(), |_, _| {}).unwrap(),
        SIZE as u64
    );
    assert!(origin.asked().last().unwrap().field("range").is_none());
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let ranges = [
        "Content-Range: bytes 4999-99999/100000\r\n",
        "Content-Range: bytes 5001-99999/100000\r\n",
        "Content-Range: bytes 5000-99998/100000\r\n",
        "Content-Range: bytes 5000-99999/99999\r\n",
        "Content-Range: bytes 5000-4999/100000\r\n",
        "Content-Range: bytes 5000-+99999/100000\r\n",
        "Content-Range: bytes 5000-99999\r\n",
        "Content-Range: bytes */100000\r\n",
        "Content-Range: items 5000-99999/100000\r\n",
        "Content-Range: bytes 5000-18446744073709551615/100000\r\n",
        "Content-Range: bytes 5000-99999/100000\r\nContent-Range: bytes 5000-99999/100000\r\n",
        "Content-Type: multipart/byteranges; boundary=x\r\n",
        "",
    ];
    for range in ranges {
        let origin = Origin::new(move |_, stream| {
            let fields = format!("ETag: {TAG}\r\n{range}");
            answer(
                stream,
                "206 Partial Content",
                &fields,
                &content(SIZE)[5000..],
            )
        });
        for outcome in outcomes(&origin.at("/"), 5000, &tag()) {
            let error = outcome.unwrap_err();
            assert!(
                matches!(error.error(), HttpError::BadAnswer(_)),
                "{range:?}: {error}"
            );
        }
    }
    // A part that nobody has asked for.
    let origin = Origin::new(|_, stream| {
        let range = format!("Content-Range: bytes 0-9/{SIZE}\r\n");
        answer(stream, "206 Partial Content", &range, &content(10))
    });
    let error = client().download(&origin.at("/")).send().unwrap_err();
    assert!(matches!(error.error(), HttpError::BadAnswer(_)), "{error}");
}

#[test]
fn less_than_the_rest_of_the_file_is_short() {
    let origin = Origin::new(|_, stream| {
        let fields = format!("ETag: {TAG}\r\nContent-Range: bytes 5000-5999/{SIZE}\r\n");
        answer(
            stream,
            "206 Partial Content",
            &fields,
            &content(SIZE)[5000..6000],
        )
    });
    for outcome in outcomes(&origin.at("/"), 5000, &tag()) {
        let error = outcome.unwrap_err();
        assert!(
            matches!(
                error.error(),
                HttpError::ShortBody {
                    got: 6000,
                    expected: Some(100_000)
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn only_validators_that_tell_versions_apart_are_used() {
    let table = [
        ("ETag: \"a\"\r\n", Some(Validator::ETag("\"a\"".into()))),
        ("ETag: W/\"a\"\r\nLast-Modified: x\r\nDate: y\r\n", None),
        ("ETag: a\r\n", None),
        (
            "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\n",
            Some(Validator::Modified("Sun, 06 Nov 1994 08:49:37 GMT".into())),
        ),
        (
            "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            None,
        ),
        ("Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", None),
        (
            "Last-Modified: Sat, 31 Dec 1994 23:59:59 GMT\r\nDate: Sun, 01 Jan 1995 00:00:00 GMT\r\n",
            Some(Validator::Modified("Sat, 31 Dec 1994 23:59:59 GMT".into())),
        ),
        // A file from the future, and what are no dates.
        (
            "Last-Modified: Sun, 06 Nov 1994 08:49:38 GMT\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            None,
        ),
        (
            "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Fri, 30 Sep 1994 08:49:38 GMT\r\n",
            None,
        ),
        ("Last-Modified: x\r\nDate: y\r\n", None),
        ("Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Sunday\r\n", None),
        ("Last-Modified: 0\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n", None),
        ("ETag: \"a\", \"b\"\r\n", None),
        ("", None),
    ];
    for (fields, expected) in table {
        let origin = Origin::new(move |_, stream| answer(stream, "200 OK", fields, b"x"));
        let answer = client().get(&origin.at("/")).send().unwrap();
        assert_eq!(Validator::of(&answer), expected, "{fields:?}");
    }
    let nobody = "http://127.0.0.1:1/";
    let weak = Validator::ETag("W/\"a\"".into());
    let error = client()
        .download(nobody)
        .resume_from(1, weak)
        .send()
        .unwrap_err();
    assert!(matches!(error.error(), HttpError::BadRequest(_)), "{error}");
    let forged = Validator::Modified("x\r\nEvil: 1".into());
    let error = client()
        .download(nobody)
        .resume_from(1, forged)
        .send()
        .unwrap_err();
    assert!(matches!(error.error(), HttpError::BadHeader(_)), "{error}");
}

#[test]
fn a_file_with_a_date_for_a_version_is_resumed_by_that() {
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    for repeats in [true, false] {
        let origin = Origin::new(move |asked, stream| {
            assert_eq!(asked.field("if-range"), Some(DATE));
            let mut fields = format!("Content-Range: bytes 5000-{}/{SIZE}\r\n", SIZE - 1);
            if repeats {
                fields += &format!("Last-Modified: {DATE}\r\n");
            }
            answer(
                stream,
                "206 Partial Content",
                &fields,
                &content(SIZE)[5000..],
            )
        });
        for outcome in outcomes(&origin.at("/"), 5000, &Validator::Modified(DATE.into())) {
            assert_eq!(outcome.unwrap(), 5000);
        }
    }
}

#[test]
fn what_is_no_file_is_an_error_with_its_status() {
    let origin = Origin::new(|_, stream| answer(stream, "404 Not Found", "", b"no"));
    for outcome in outcomes(&origin.at("/"), 5000, &tag()) {
        let error = outcome.unwrap_err();
        assert!(
            matches!(error.error(), HttpError::Status { status: 404, .. }),
            "{error}"
        );
    }
}

#[test]
fn only_what_is_the_whole_file_is_taken_for_it() {
    // Is it the whole?
    let table = [
        ("200 OK", true),
        ("201 Created", false),
        ("202 Accepted", false),
        ("203 Non-Authoritative Information", true),
        ("204 No Content", false),
        ("205 Reset Content", false),
        ("226 IM Used", false),
    ];
    for (status, whole) in table {
        let origin = Origin::new(move |_, stream| match status {
            "204 No Content" => answer(stream, status, "", b""),
            _ => answer(stream, status, "", &content(SIZE)),
        });
        let url = origin.at("/");
        let [fails, anew] = outcomes(&url, 5000, &tag());
        let error = fails.unwrap_err();
        assert!(
            matches!(error.error(), HttpError::Changed),
            "{status}: {error}"
        );
        let number: u16 = status[..3].parse().unwrap();
        let is_status = |error: RequestError| match error.error() {
            HttpError::Status { status, .. } => assert_eq!(*status, number),
            _ => panic!("{status}: {error}"),
        };
        let plain = client().download(&url).send().map(|file| file.start());
        for outcome in [anew, plain] {
            match whole {
                true => assert_eq!(outcome.unwrap(), 0, "{status}"),
                false => is_status(outcome.unwrap_err()),
            }
        }
    }
}

#[test]
fn what_is_more_than_the_part_never_reaches_the_sink() {
    const FROM: usize = SIZE - 1000;
    for ends in [Then::Keep, Then::Close] {
        let chunked = matches!(ends, Then::Keep);
        let origin = Origin::new(move |_, stream| {
            let framing = match chunked {
                true => "Transfer-Encoding: chunked\r\n",
                false => "",
            };
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\nETag: {TAG}\r\n\
                 Content-Range: bytes {FROM}-{}/{SIZE}\r\n{framing}\r\n",
                SIZE - 1
            );
            let _ = stream.write_all(head.as_bytes());
            for piece in [&content(SIZE)[FROM..], b"and more"] {
                let size = format!("{:x}\r\n", piece.len());
                let (before, after) = match chunked {
                    true => (size.as_bytes(), &b"\r\n"[..]),
                    false => (&b""[..], &b""[..]),
                };
                for bytes in [before, piece, after] {
                    let _ = stream.write_all(bytes);
                }
            }
            match chunked {
                true => {
                    let _ = stream.write_all(b"0\r\n\r\n");
                    Then::Keep
                }
                false => Then::Close,
            }
        });
        let url = origin.at("/");
        for (file, error) in both_ways(move || {
            let mut file = content(FROM);
            let download = client().download(&url).resume_from(FROM as u64, tag());
            let mut resumed = download.send().unwrap();
            let error = resumed.copy_to(&mut file, |_, _| {}).unwrap_err();
            (file, error)
        }) {
            assert!(matches!(error.error(), HttpError::BadAnswer(_)), "{error}");
            assert!(file.len() <= SIZE && file == content(SIZE)[..file.len()]);
        }
    }
}

#[test]
fn a_download_that_begins_anew_has_no_more_time() {
    let origin = Origin::new(|asked, stream| {
        thread::sleep(Duration::from_millis(250));
        if asked.field("range").is_none() {
            return serve(asked, stream, "\"v2\"");
        }
        // This server does not know If-Range.
        let range = format!("Content-Range: bytes 5000-{}/{SIZE}\r\n", SIZE - 1);
        let fields = format!("ETag: \"v2\"\r\n{range}");
        answer(
            stream,
            "206 Partial Content",
            &fields,
            &content(SIZE)[5000..],
        )
    });
    let url = origin.at("/");
    for error in both_ways(move || {
        let download = client().download(&url).resume_from(5000, tag());
        let download = download.if_changed(Changed::StartAnew);
        download
            .timeout(Duration::from_millis(400))
            .send()
            .unwrap_err()
    }) {
        assert!(matches!(error.error(), HttpError::TooSlow(_)), "{error}");
    }
}
