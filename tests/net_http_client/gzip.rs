//! Bodies that come compressed.

use crate::origin::{answer, Origin, Then};
use crate::{both_ways, client, content, quick};
use flate2::write::GzEncoder;
use flate2::Compression;
use hardswitch::net::http::{Changed, HttpError, RequestError, Timeouts, Validator};
use std::io::{ErrorKind, Write};
use std::thread;
use std::time::Duration;

const GZIP: &str = "Content-Encoding: gzip\r\n";

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_compressed_body_is_asked_for_and_arrives_unpacked_both_ways() {
    let origin = Origin::new(|asked, stream| {
        let body = packed(&content(300_000));
        match asked.target.as_str() {
            "/members" => {
                let two = [
                    packed(&content(300_000)[..1000]),
                    packed(&content(300_000)[1000..]),
                ];
                answer(stream, "200 OK", GZIP, &two.concat())
            }
            "/chunks" => {
                let head = format!("HTTP/1.1 200 OK\r\n{GZIP}Transfer-Encoding: chunked\r\n\r\n");
                let _ = stream.write_all(head.as_bytes());
                for chunk in body.chunks(777) {
                    let _ = stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes());
                    let _ = stream.write_all(chunk);
                    let _ = stream.write_all(b"\r\n");
                }
                let _ = stream.write_all(b"0\r\n\r\n");
                Then::Keep
            }
            _ => answer(stream, "200 OK", GZIP, &body),
        }
    });
    for path in ["/sized", "/chunks", "/members"] {
        let url = origin.at(path);
        both_ways(move || {
            let client = client();
            let mut answer = client.get(&url).send().unwrap();
            assert_eq!(answer.header("content-encoding"), None);
            assert_eq!(
                (answer.header("content-length"), answer.content_length()),
                (None, None)
            );
            assert!(answer.read_all(1 << 20).unwrap() == content(300_000));
            assert_eq!((answer.received(), client.idle()), (300_000, 1));
            let mut sink = Vec::new();
            let mut answer = client.get(&url).send().unwrap();
            let copied = answer
                .copy_to(&mut sink, |_, of| assert_eq!(of, None))
                .unwrap();
            assert!(copied == 300_000 && sink == content(300_000));
        });
    }
    assert!(origin
        .asked()
        .iter()
        .all(|asked| asked.field("accept-encoding") == Some("gzip")));
    assert_eq!(origin.connections(), 6);
}

#[test]
fn who_asks_by_a_field_of_its_own_gets_what_is_sent() {
    let origin = Origin::new(|asked, stream| match asked.method.as_str() {
        "HEAD" => {
            let head = format!("HTTP/1.1 200 OK\r\n{GZIP}Content-Length: 9\r\n\r\n");
            let _ = stream.write_all(head.as_bytes());
            Then::Keep
        }
        _ => answer(stream, "200 OK", GZIP, &packed(b"hello")),
    });
    let url = origin.at("/");
    for (name, value) in [("Accept-Encoding", "gzip"), ("Range", "bytes=0-")] {
        let mut answer = client().get(&url).header(name, value).send().unwrap();
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        assert_eq!(answer.read_all(1000).unwrap(), packed(b"hello"));
    }
    let mut answer = client().head(&url).send().unwrap();
    assert_eq!(
        (answer.content_length(), answer.read_all(9).unwrap()),
        (Some(9), vec![])
    );
    // A download is of the bytes that there are.
    let tag = Validator::ETag("\"a\"".into());
    let download = client().download(&url).resume_from(5, tag);
    let mut whole = download.if_changed(Changed::StartAnew).send().unwrap();
    let mut file = Vec::new();
    whole.copy_to(&mut file, |_, _| {}).unwrap();
    assert_eq!(file, packed(b"hello"));
    assert_eq!(
        origin.asked().last().unwrap().field("accept-encoding"),
        Some("identity")
    );
}

#[test]
fn a_compressed_body_that_is_broken_anywhere_is_never_whole() {
    let good = packed(&content(200));
    let ask = |body: Vec<u8>| {
        let origin = Origin::new(move |_, stream| answer(stream, "200 OK", GZIP, &body));
        let mut answer = client().get(&origin.at("/")).send().unwrap();
        let first = answer.read_all(1 << 20);
        if let Err(error) = &first {
            let again = answer.read_all(1 << 20).unwrap_err();
            assert_eq!(again.to_string(), error.to_string(), "an error is final");
        }
        first
    };
    assert!(ask(good.clone()).unwrap() == content(200));
    assert_eq!(ask(Vec::new()).unwrap(), b"");
    for cut in 1..good.len() {
        let error = ask(good[..cut].to_vec()).unwrap_err();
        assert!(
            matches!(error.error(), HttpError::BadAnswer(_)),
            "cut at {cut}: {error}"
        );
    }
    // The name, times and so on in the head of the format are nobody's: 4 to 9.
    for at in (0..3).chain(10..good.len()).step_by(3) {
        for bit in [0x01, 0x80] {
            let mut wrong = good.clone();
            wrong[at] ^= bit;
            if let Ok(body) = ask(wrong) {
                assert!(body == content(200), "byte {at}, bit {bit:#x}");
            }
        }
    }
    let mut more = good.clone();
    more.extend_from_slice(b"more");
    let error = ask(more).unwrap_err();
    assert!(matches!(error.error(), HttpError::BadAnswer(_)), "{error}");
}

#[test]
fn a_body_that_unpacks_to_very_much_is_bounded_by_what_the_caller_wants() {
    let bomb = packed(&vec![0; 64 << 20]);
    assert!(bomb.len() < 100_000);
    let origin = Origin::new(move |_, stream| answer(stream, "200 OK", GZIP, &bomb));
    let url = origin.at("/");
    for error in both_ways(move || {
        let mut answer = client().get(&url).send().unwrap();
        let error = answer.read_all(1 << 20).unwrap_err();
        assert!(answer.received() <= (1 << 20) + 1, "{}", answer.received());
        error
    }) {
        assert!(
            matches!(error.error(), HttpError::BodyTooLong(_)),
            "{error}"
        );
    }
}

#[test]
fn a_read_of_a_compressed_body_that_waited_too_long_has_lost_nothing() {
    let origin = Origin::new(|_, stream| {
        let body = packed(&content(3000));
        let head = format!(
            "HTTP/1.1 200 OK\r\n{GZIP}Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // In the head of the format, in the data, and in the sum at its end.
        let ends = [5, 100, 200, body.len() - 3, body.len()];
        let mut from = 0;
        for end in ends {
            thread::sleep(Duration::from_millis(120));
            stream.write_all(&body[from..end]).unwrap();
            from = end;
        }
        Then::Keep
    });
    let url = origin.at("/");
    for late in both_ways(move || {
        let io = Some(Duration::from_millis(40));
        let timeouts = Timeouts { io, ..quick() };
        let mut answer = client().get(&url).timeouts(timeouts).send().unwrap();
        let mut late = 0;
        loop {
            match answer.read_all(5000).map_err(RequestError::into_error) {
                Ok(body) => break assert!(body == content(3000)),
                Err(HttpError::Io(error)) if error.kind() == ErrorKind::TimedOut => late += 1,
                Err(error) => panic!("{error}"),
            }
        }
        late
    }) {
        assert!(late >= 4, "only {late} reads were late");
    }
}

#[test]
fn a_head_does_not_ask_for_a_compressed_body_of_which_it_would_tell_the_length() {
    let origin = Origin::new(|asked, stream| {
        let (fields, length) = match asked.field("accept-encoding") {
            Some("gzip") => (GZIP, packed(&content(5000)).len()),
            _ => ("", 5000),
        };
        let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
        Then::Keep
    });
    let url = origin.at("/");
    both_ways(move || {
        let mut answer = client().head(&url).send().unwrap();
        assert_eq!(answer.content_length(), Some(5000));
        assert_eq!(answer.read_all(0).unwrap(), b"");
    });
}

#[test]
fn a_body_that_unpacks_to_very_much_has_no_more_time_than_others() {
    let bomb = packed(&vec![0; 64 << 20]);
    let origin = Origin::new(move |_, stream| answer(stream, "200 OK", GZIP, &bomb));
    let url = origin.at("/");
    for (error, took) in both_ways(move || {
        let start = std::time::Instant::now();
        let request = client().get(&url).timeout(Duration::from_millis(1000));
        let mut answer = request.send().unwrap();
        let slow = &mut crate::Slow(Duration::from_millis(20));
        let error = answer.copy_to(slow, |_, _| {}).map(drop).unwrap_err();
        (error, start.elapsed())
    }) {
        assert!(matches!(error.error(), HttpError::TooSlow(_)), "{error}");
        // All of it would take more than a minute.
        assert!(took < Duration::from_secs(30), "{took:?}");
    }
}
