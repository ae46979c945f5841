//! `http::Client` over real connections, in tasklets and in jobs of the worker pool.
#![cfg(feature = "http")]

mod attacks;
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "gzip")]
mod gzip;
mod origin;
mod pieces;
mod resume;
mod stack;

use hardswitch::net::http::{
    Client, ClientSettings, HttpError, Limits, Phase, RequestError, Speed, Timeouts,
};
use hardswitch::{offload, Error, MainLoop, Tasklet};
use origin::{answer, Origin, Then};
use std::cell::{Cell, RefCell};
use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

fn quick() -> Timeouts {
    Timeouts {
        connect: Some(Duration::from_secs(5)),
        io: Some(Duration::from_secs(5)),
    }
}

/// A client that gives up within seconds.
fn client() -> Client {
    Client::with_settings(ClientSettings {
        timeouts: quick(),
        ..ClientSettings::default()
    })
}

/// A tasklet with room for a request where nothing is optimised (docs/stacks.md).
fn spawn<R: hardswitch::Outcome>(f: impl FnOnce() -> R + 'static) -> hardswitch::Result<Tasklet> {
    Tasklet::builder().stack_size(256 * 1024).spawn(f)
}

fn content(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 131 + i / 253) as u8).collect()
}

/// The same in this thread, whose tasklet waits, and in a job, which waits itself.
fn both_ways<R: Send + 'static>(f: impl Fn() -> R + Clone + Send + 'static) -> [R; 2] {
    let on_worker = f.clone();
    [f(), offload::call(on_worker).unwrap()]
}

/// Answers with what was asked.
fn echo() -> Origin {
    Origin::new(|asked, stream| {
        let text = format!(
            "{} {} {}",
            asked.method,
            asked.target,
            String::from_utf8_lossy(&asked.body)
        );
        let body = match asked.method.as_str() {
            "HEAD" => String::new(),
            _ => text.clone(),
        };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(body.as_bytes());
        Then::Keep
    })
}

#[test]
fn every_method_is_sent_with_its_body_and_fields_both_ways() {
    let origin = echo();
    let url = origin.at("/a?b=c");
    let got = both_ways(move || {
        let client = client();
        let text = |request: hardswitch::net::http::RequestBuilder| {
            let mut answer = request.header("X-Y", "z").send().unwrap();
            assert_eq!(answer.status(), 200);
            String::from_utf8(answer.read_all(1000).unwrap()).unwrap()
        };
        let large = content(3 << 20);
        let echoed = {
            let sent = client.put(&url).body(large.clone()).send().unwrap();
            sent.content_length().unwrap()
        };
        assert!(echoed > large.len() as u64);
        vec![
            text(client.get(&url)),
            text(client.post(&url).body("hello")),
            text(client.post(&url)),
            text(client.put(&url).body_reader(Cursor::new("sized"), Some(5))),
            text(client.put(&url).body_reader(Cursor::new("chunked"), None)),
            text(client.delete(&url)),
            text(client.request("PATCH", &url).body("p")),
            text(client.request("PROPFIND", &url)),
            text(client.head(&url)),
        ]
    });
    for got in got {
        let expected = [
            "GET /a?b=c ",
            "POST /a?b=c hello",
            "POST /a?b=c ",
            "PUT /a?b=c sized",
            "PUT /a?b=c chunked",
            "DELETE /a?b=c ",
            "PATCH /a?b=c p",
            "PROPFIND /a?b=c ",
            "",
        ];
        assert_eq!(got, expected);
    }
    let asked = origin.asked();
    let host = &origin.url["http://".len()..];
    for request in asked.iter().filter(|asked| asked.body.len() < 1000) {
        assert_eq!(request.field("x-y"), Some("z"), "{request:?}");
        assert_eq!(request.field("host"), Some(host), "{request:?}");
        assert!(request
            .field("user-agent")
            .unwrap()
            .starts_with("hardswitch/"));
    }
    let empty_post = asked
        .iter()
        .find(|a| a.method == "POST" && a.body.is_empty());
    assert_eq!(empty_post.unwrap().field("content-length"), Some("0"));
    let large = asked.iter().find(|asked| asked.body.len() > 1000).unwrap();
    assert!(large.body == content(3 << 20));
}

#[test]
fn a_client_gets_on_where_each_operation_waits_for_the_loop() {
    let origin = echo();
    let url = origin.at("/x");
    let main_loop = MainLoop::current().unwrap();
    main_loop.set_burst(0);
    let sent = spawn(move || -> hardswitch::Result<()> {
        let body = content(100_000);
        let mut answer = client().put(&url).body(body.clone()).send().unwrap();
        let got = answer.read_all(1_000_000).unwrap();
        assert!(got.ends_with(String::from_utf8_lossy(&body).as_bytes()));
        Ok(())
    });
    sent.unwrap();
    main_loop.run_until_idle().unwrap();
    assert_eq!(origin.asked().len(), 1);
}

#[test]
fn a_head_says_how_long_the_body_is_and_has_none() {
    let origin = echo();
    let mut answer = client().head(&origin.at("/x")).send().unwrap();
    assert_eq!(answer.content_length(), Some(8));
    assert_eq!(answer.read_all(0).unwrap(), b"");
}

#[test]
fn a_connection_is_kept_after_an_answer_that_was_read_to_its_last_byte() {
    let origin = Origin::new(|asked, stream| match asked.target.as_str() {
        "/missing" => answer(stream, "404 Not Found", "", b"no such file"),
        "/chunked" => {
            let chunked =
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
            stream.write_all(chunked.as_bytes()).unwrap();
            Then::Keep
        }
        "/empty" => answer(stream, "204 No Content", "", b""),
        "/close" => answer(stream, "200 OK", "Connection: close\r\n", b"bye"),
        _ => answer(stream, "200 OK", "", b"12345"),
    });
    let client = client();
    for _ in 0..5 {
        let mut five = [0; 5];
        let mut answer = client.get(&origin.at("/exact")).send().unwrap();
        answer.read_exact(&mut five).unwrap();
        assert_eq!(client.idle(), 1, "without a read after the last byte");
        let mut answer = client.get(&origin.at("/missing")).send().unwrap();
        assert_eq!(answer.read_all(100).unwrap(), b"no such file");
        let mut answer = client.get(&origin.at("/chunked")).send().unwrap();
        assert_eq!(answer.read_all(100).unwrap(), b"ok");
        client.get(&origin.at("/empty")).send().unwrap();
    }
    assert_eq!(origin.connections(), 1);
    assert_eq!(origin.asked().last().unwrap().nth, 19);
    // Unread, closed by the server, and too many: those are not kept.
    drop(client.get(&origin.at("/exact")).send().unwrap());
    assert_eq!(client.idle(), 0);
    let mut answer = client.get(&origin.at("/close")).send().unwrap();
    answer.read_all(100).unwrap();
    assert_eq!((client.idle(), origin.connections()), (0, 2));
}

#[test]
fn a_kept_connection_is_used_by_the_next_thread_whichever_way_it_waits() {
    let origin = echo();
    let client = client();
    let url = origin.at("/");
    for _ in 0..3 {
        let (client, url) = (client.clone(), url.clone());
        for got in both_ways(move || client.get(&url).send().unwrap().read_all(100).unwrap()) {
            assert_eq!(got, b"GET / ");
        }
    }
    assert_eq!(origin.connections(), 1);
    assert_eq!(MainLoop::current().unwrap().waiting(), (0, 0));
}

#[test]
fn no_more_connections_are_kept_than_allowed_nor_for_longer() {
    let origin = echo();
    let client = Client::with_settings(ClientSettings {
        idle: 2,
        // So long that none ends by itself before all are counted.
        idle_time: Duration::from_millis(2000),
        timeouts: quick(),
        ..ClientSettings::default()
    });
    let url = origin.at("/");
    let answers: Vec<_> = (0..4).map(|_| client.get(&url).send().unwrap()).collect();
    assert_eq!(origin.connections(), 4);
    for mut answer in answers {
        answer.read_all(100).unwrap();
    }
    assert_eq!(client.idle(), 2);
    thread::sleep(Duration::from_millis(2100));
    client.get(&url).send().unwrap().read_all(100).unwrap();
    assert_eq!((client.idle(), origin.connections()), (1, 5));
}

#[test]
fn a_get_over_a_kept_connection_that_has_died_is_sent_once_more_and_a_post_is_not() {
    // The second request over a connection is read, and never answered.
    for then_reset in [false, true] {
        let origin = Origin::new(move |asked, stream| match asked.nth {
            0 if asked.method == "HEAD" => answer(stream, "200 OK", "", b""),
            0 => answer(stream, "200 OK", "", b"ok"),
            _ if then_reset => Then::Reset,
            _ => Then::Close,
        });
        let url = origin.url.clone();
        let outcomes = both_ways(move || {
            let client = client();
            let first = client.get(&url).send().unwrap().read_all(10).unwrap();
            let again = client.get(&url).send().unwrap().read_all(10).unwrap();
            assert_eq!((first, again), (b"ok".to_vec(), b"ok".to_vec()));
            client.head(&url).send().unwrap();
            client.get(&url).send().unwrap().read_all(10).unwrap();
            client
                .post(&url)
                .body("pay 5")
                .send()
                .map(drop)
                .unwrap_err()
                .to_string()
        });
        for outcome in outcomes {
            let expected = match then_reset {
                true => "waiting for the answer: Connection reset by peer (os error 104)",
                false => {
                    "waiting for the answer: the connection ended before the head of the answer did"
                }
            };
            assert!(outcome.starts_with("POST http://127.0.0.1:"), "{outcome}");
            assert!(outcome.ends_with(expected), "{outcome}");
        }
        let posts = origin.asked().iter().filter(|a| a.method == "POST").count();
        assert_eq!(posts, 2, "one each way");
    }
}

#[test]
fn a_new_connection_that_dies_is_not_tried_again() {
    let origin = Origin::new(|_, _| Then::Close);
    let error = client().get(&origin.url).send().unwrap_err();
    assert!(matches!(error.error(), HttpError::ShortHead), "{error}");
    assert_eq!(
        (error.phase(), origin.connections()),
        (Phase::ReadingHead, 1)
    );
}

#[test]
fn redirects_change_the_method_as_the_rfc_says_and_keep_the_body_where_it_is_kept() {
    let origin = Origin::new(|asked, stream| {
        let (status, place, body) = match &asked.target[1..] {
            "end" => ("200 OK".to_owned(), "", asked.method.as_str()),
            status => (format!("{status} Moved"), "Location: /end\r\n", "see there"),
        };
        let body = if asked.method == "HEAD" { "" } else { body };
        answer(stream, &status, place, body.as_bytes())
    });
    let table = [
        ("GET", 301, "GET"),
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("POST", 303, "GET"),
        ("PUT", 303, "GET"),
        ("POST", 307, "POST"),
        ("POST", 308, "POST"),
        ("PUT", 301, "PUT"),
        ("PUT", 302, "PUT"),
        ("DELETE", 307, "DELETE"),
    ];
    let client = client();
    for (method, status, then) in table {
        let request = client.request(method, &origin.at(&format!("/{status}")));
        let request = match method {
            "GET" | "DELETE" => request,
            _ => request.body("body").header("Content-Type", "text/x"),
        };
        let mut answer = request.send().unwrap();
        assert_eq!(answer.url().target(), "/end");
        let got = answer.read_all(100).unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), then, "{method} {status}");
        let last = origin.asked().last().unwrap().clone();
        let keeps = then == method && method != "GET" && method != "DELETE";
        assert_eq!(
            last.body,
            if keeps { &b"body"[..] } else { b"" },
            "{method} {status}"
        );
        assert_eq!(
            last.field("content-type").is_some(),
            keeps,
            "{method} {status}"
        );
    }
    assert_eq!(origin.connections(), 1, "the bodies of redirects were read");
    // A HEAD stays one.
    client.head(&origin.at("/303")).send().unwrap();
    assert_eq!(origin.asked().last().unwrap().method, "HEAD");
    // What was read from a reader is gone.
    let url = origin.at("/307");
    let request = client.post(&url).body_reader(Cursor::new("body"), Some(4));
    let error = request.send().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "POST {url}: following a redirect: redirected to \"/end\": the body of the request cannot \
             be read again"
        )
    );
    // Not followed, if so wanted; and not an error.
    let kept = client.get(&origin.at("/302")).redirects(0).send().unwrap();
    assert_eq!(
        (kept.status(), kept.header("location")),
        (302, Some("/end"))
    );
}

#[test]
fn redirects_that_lead_nowhere_are_refused_with_the_url_that_sent_them() {
    let origin = Origin::new(|asked, stream| {
        let location = match asked.target.as_str() {
            "/circle" => "/circle".to_owned(),
            "/other" => "ftp://example.com/".to_owned(),
            "/tls" => "https://example.com/".to_owned(),
            "/user" => "//u:p@example.com/".to_owned(),
            "/two" => "/a\r\nLocation: /b".to_owned(),
            "/none" => return answer(stream, "302 Found", "", b"nowhere"),
            path => {
                let n: u64 = path[1..].parse().unwrap();
                format!("/{}", n + 1)
            }
        };
        answer(
            stream,
            "302 Found",
            &format!("Location: {location}\r\n"),
            b"",
        )
    });
    let base = origin.url.clone();
    let table = [
        ("/circle", "/circle", "more than the 10 redirects allowed"),
        ("/0", "/10", "more than the 10 redirects allowed"),
        (
            "/other",
            "/other",
            "redirected to \"ftp://example.com/\": it does not start with http://",
        ),
        (
            "/tls",
            "/tls",
            "redirected to \"https://example.com/\": https is not supported",
        ),
        (
            "/user",
            "/user",
            "redirected to \"//u:p@example.com/\": user names in URLs are not supported",
        ),
        (
            "/two",
            "/two",
            "the answer breaks the protocol: it has two Locations",
        ),
    ];
    for (path, last, why) in table {
        let url = format!("{base}{path}");
        for error in both_ways(move || client().get(&url).send().unwrap_err()) {
            assert_eq!(error.phase(), Phase::Redirecting);
            let expected = format!("GET {base}{last}: following a redirect: {why}");
            assert_eq!(error.to_string(), expected);
        }
    }
    // Without a place it is an answer like others.
    let mut answer = client().get(&origin.at("/none")).send().unwrap();
    assert_eq!(
        (answer.status(), answer.read_all(10).unwrap()),
        (302, b"nowhere".to_vec())
    );
}

#[test]
fn secrets_are_not_sent_on_to_another_server() {
    let other = echo();
    let place = other.at("/there");
    let origin = Origin::new(move |asked, stream| match asked.target.as_str() {
        "/here" => answer(stream, "200 OK", "", b"here"),
        "/near" => answer(stream, "302 Found", "Location: /here\r\n", b""),
        _ => answer(stream, "302 Found", &format!("Location: {place}\r\n"), b""),
    });
    for path in ["/near", "/far"] {
        let request = client().get(&origin.at(path));
        let request = request
            .header("Authorization", "Basic eA==")
            .header("Cookie", "a=b");
        request.header("X-Other", "c").send().unwrap();
    }
    let (near, far) = (origin.asked()[1].clone(), other.asked()[0].clone());
    assert_eq!(near.field("authorization"), Some("Basic eA=="));
    assert_eq!(near.field("cookie"), Some("a=b"));
    assert_eq!(
        (far.field("authorization"), far.field("cookie")),
        (None, None)
    );
    assert_eq!(far.field("x-other"), Some("c"));
    assert_eq!(far.field("host"), Some(&other.url["http://".len()..]));
}

#[test]
fn what_cannot_be_a_request_is_refused_before_anything_is_sent() {
    let origin = echo();
    let url = origin.at("/");
    let fields = [
        ("A b", "c"),
        ("", "c"),
        ("A", "b\r\nEvil: 1"),
        ("A", "b\nEvil: 1"),
        ("A", "b\rc"),
        ("A", "b\0c"),
        ("A:", "b"),
        ("A\r\nEvil", "b"),
        ("A\0", "b"),
        ("\u{e9}", "b"),
    ];
    for (name, value) in fields {
        let error = client().get(&url).header(name, value).send().unwrap_err();
        assert!(
            matches!(error.error(), HttpError::BadHeader(_)),
            "{name:?}: {error}"
        );
        assert_eq!((error.phase(), error.url()), (Phase::Preparing, &url[..]));
    }
    for name in [
        "Content-Length",
        "Transfer-Encoding",
        "connection",
        "Expect",
        "Upgrade",
    ] {
        let error = client()
            .post(&url)
            .header(name, "1")
            .body("x")
            .send()
            .unwrap_err();
        assert!(
            matches!(error.error(), HttpError::BadRequest(_)),
            "{name}: {error}"
        );
    }
    for method in ["", "GET /", "G\r\n", "G\0T", "CONNECT"] {
        let error = client().request(method, &url).send().unwrap_err();
        assert!(
            matches!(error.error(), HttpError::BadRequest(_)),
            "{method:?}: {error}"
        );
    }
    let urls = [
        "gopher://x/",
        "https://x/",
        "x",
        "http://",
        "http://h/\r\nEvil: 1",
        "http://h/a b",
        "http://u:p@h/",
        "http://h:0/",
    ];
    for url in urls {
        let error = client().get(url).send().unwrap_err();
        let why = error.to_string();
        assert!(why.starts_with(&format!("GET: bad URL {url:?}: ")), "{why}");
        assert_eq!(io::Error::from(error).kind(), ErrorKind::InvalidInput);
    }
    let endless = client().get(&url).body_reader(io::empty(), None).send();
    assert!(matches!(
        endless.unwrap_err().error(),
        HttpError::BadRequest(_)
    ));
    // Paths that a URL allows and hyper does not are refused as well, and do not panic.
    for byte in b'!'..=b'~' {
        let target = origin.at(&format!("/{}", byte as char));
        match client().get(&target).send() {
            Ok(answer) => assert_eq!(answer.status(), 200),
            Err(error) => {
                let is_told = matches!(
                    error.error(),
                    HttpError::BadRequest(_) | HttpError::BadUrl { .. }
                );
                assert!(is_told && error.phase() == Phase::Preparing, "{error}");
            }
        }
    }
    assert!(origin
        .asked()
        .iter()
        .all(|asked| asked.fields.iter().all(|f| f.0 != "Evil")));
}

#[test]
fn each_failure_names_url_and_phase_both_ways() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}/x", gone.local_addr().unwrap());
    drop(gone);
    let refused = nobody.clone();
    for error in both_ways(move || client().get(&refused).send().unwrap_err()) {
        let words = format!("GET {nobody}: connecting: cannot connect to ");
        assert!(error.to_string().starts_with(&words), "{error}");
        let Error::Io(error) = Error::from(error) else {
            panic!("another error")
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    for error in both_ways(|| {
        client()
            .get("http://no-such-host.invalid/")
            .send()
            .unwrap_err()
    }) {
        assert_eq!(error.phase(), Phase::Connecting, "{error}");
    }
    let origin = Origin::new(|asked, stream| match asked.target.as_str() {
        "/missing" => answer(stream, "404 Not Here", "", b""),
        "/short" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
            Then::Close
        }
        _ => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
            thread::sleep(Duration::from_millis(50));
            Then::Reset
        }
    });
    let table = [
        (
            "/missing",
            "waiting for the answer: the server answered 404 Not Here",
        ),
        (
            "/short",
            "reading the body: short body: the connection ended after 3 of 9 bytes",
        ),
        (
            "/reset",
            "reading the body: Connection reset by peer (os error 104)",
        ),
    ];
    for (path, words) in table {
        let url = origin.at(path);
        let expected = format!("GET {url}: {words}");
        let got = both_ways(move || {
            let answer = client().get(&url).send().and_then(|a| a.success());
            answer
                .and_then(|mut a| a.read_all(100))
                .unwrap_err()
                .to_string()
        });
        assert_eq!(got, [expected.clone(), expected]);
    }
}

#[test]
fn a_reader_that_fails_or_ends_too_soon_or_panics_ends_the_request_only() {
    struct Fails(usize, Option<ErrorKind>);
    impl Read for Fails {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            match (self.0, self.1) {
                (0, Some(kind)) => Err(kind.into()),
                (0, None) => panic!("a reader that panics"),
                _ => {
                    let n = self.0.min(out.len());
                    self.0 -= n;
                    Ok(n)
                }
            }
        }
    }
    let origin = echo();
    let url = origin.at("/");
    both_ways(move || {
        let client = client();
        let send = |reader: Fails, length| {
            client
                .put(&url)
                .body_reader(reader, length)
                .send()
                .map(drop)
                .unwrap_err()
        };
        let error = send(Fails(70_000, Some(ErrorKind::PermissionDenied)), None);
        assert_eq!(error.phase(), Phase::Sending);
        assert!(
            matches!(error.error(), HttpError::RequestBody(e) if e.kind() == ErrorKind::PermissionDenied),
            "{error}"
        );
        let request = client.put(&url).body_reader(Cursor::new("abc"), Some(5));
        let short = request.send().unwrap_err().to_string();
        let words = "sending the request: the body of the request: it ended after 3 of 5 bytes";
        assert!(short.ends_with(words), "{short}");
        let panics = catch_unwind(AssertUnwindSafe(|| {
            send(Fails(70_000, None), Some(100_000))
        }));
        assert!(panics.is_err());
        // No part of a request is left for the next one.
        let mut answer = client.put(&url).body("whole").send().unwrap();
        assert_eq!(answer.read_all(100).unwrap(), b"PUT / whole");
    });
    assert!(origin.asked().iter().all(|asked| asked.body == b"whole"));
}

#[test]
fn a_body_is_read_from_another_connection_while_it_is_sent() {
    let origin = Origin::new(|asked, stream| match asked.method.as_str() {
        "GET" => {
            let body = content(300_000);
            for piece in [
                b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n",
                &body[..1000],
            ] {
                stream.write_all(piece).unwrap();
                thread::sleep(Duration::from_millis(20));
            }
            stream.write_all(&body[1000..]).unwrap();
            Then::Keep
        }
        _ => answer(
            stream,
            "200 OK",
            "",
            format!("{}", asked.body.len()).as_bytes(),
        ),
    });
    let url = origin.at("/");
    for got in both_ways(move || {
        let client = client();
        let from = client.get(&url).send().unwrap();
        let mut sent = client
            .put(&url)
            .body_reader(from, Some(300_000))
            .send()
            .unwrap();
        sent.read_all(100).unwrap()
    }) {
        assert_eq!(got, b"300000");
    }
    for put in origin.asked().iter().filter(|asked| asked.method == "PUT") {
        assert!(put.body == content(300_000));
    }
}

#[test]
fn an_answer_before_the_request_was_read_is_had_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        for _ in 0..2 {
            let mut stream = listener.accept().unwrap().0;
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            stream
                .write_all(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\n\r\nwhy")
                .unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            // Closed with data unread: a reset, while the request is under way still.
            thread::sleep(Duration::from_millis(100));
        }
    });
    for got in both_ways(move || {
        let mut answer = client().post(&url).body(content(16 << 20)).send().unwrap();
        (answer.status(), answer.read_all(10).unwrap())
    }) {
        assert_eq!(got, (413, b"why".to_vec()));
    }
    server.join().unwrap();
}

#[test]
fn a_body_goes_to_a_sink_with_progress_and_goes_on_after_the_sink_has_failed() {
    let origin = Origin::new(|_, stream| answer(stream, "200 OK", "", &content(200_000)));
    struct Full(Vec<u8>, usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.1 - self.0.len()).min(3000);
            match n {
                0 => Err(ErrorKind::StorageFull.into()),
                n => {
                    self.0.extend_from_slice(&bytes[..n]);
                    Ok(n)
                }
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let url = origin.at("/");
    both_ways(move || {
        let mut answer = client().get(&url).send().unwrap();
        let mut sink = Full(Vec::new(), 50_000);
        let mut told = Vec::new();
        let full = answer
            .copy_to(&mut sink, |got, of| told.push((got, of)))
            .unwrap_err();
        assert!(matches!(full.error(), HttpError::Sink(_)), "{full}");
        assert_eq!(told.last(), Some(&(50_000, Some(200_000))));
        sink.1 = 100_000;
        let panics = catch_unwind(AssertUnwindSafe(|| {
            answer.copy_to(&mut sink, |got, _| assert!(got < 60_000, "enough"))
        }));
        assert!(panics.is_err());
        sink.1 = usize::MAX;
        answer
            .copy_to(&mut sink, |got, of| told.push((got, of)))
            .unwrap();
        assert!(sink.0 == content(200_000));
        assert!(told.is_sorted() && told.last() == Some(&(200_000, Some(200_000))));
    });
}

#[test]
fn what_a_failed_read_all_had_read_comes_with_the_next_one() {
    let origin = Origin::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n0123456789");
        Then::Close
    });
    let url = origin.at("/");
    both_ways(move || {
        let mut answer = client().get(&url).send().unwrap();
        for limit in [3, 2] {
            let too_long = answer.read_all(limit).unwrap_err().into_error();
            assert!(matches!(too_long, HttpError::BodyTooLong(n) if n == limit));
        }
        let mut two = [0; 2];
        answer.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"01");
        let mut rest = Vec::new();
        answer.copy_to(&mut rest, |_, _| {}).unwrap();
        assert_eq!(rest, b"23456789");
        assert_eq!(answer.read_all(8).unwrap(), b"");
        assert_eq!(answer.received(), 10);
    });
}

#[test]
fn a_read_that_waited_too_long_has_lost_nothing() {
    let origin = Origin::new(|_, stream| {
        let mut send = |bytes: &[u8]| {
            stream.write_all(bytes).unwrap();
            thread::sleep(Duration::from_millis(150));
        };
        send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1");
        send(b"0\r\n01234567");
        send(b"89abcdef\r");
        send(b"\n0\r\nTra");
        send(b"iler: x\r\n\r");
        send(b"\n");
        Then::Keep
    });
    let url = origin.at("/");
    for late in both_ways(move || {
        let timeouts = Timeouts {
            io: Some(Duration::from_millis(40)),
            ..quick()
        };
        let mut answer = client().get(&url).timeouts(timeouts).send().unwrap();
        let mut late = 0;
        loop {
            match answer.read_all(100).map_err(RequestError::into_error) {
                Ok(body) => break assert_eq!(body, b"hello0123456789abcdef"),
                Err(HttpError::Io(error)) if error.kind() == ErrorKind::TimedOut => late += 1,
                Err(error) => panic!("{error}"),
            }
        }
        late
    }) {
        assert!(late > 0, "no read was ever late");
    }
}

/// How it ends to fetch what trickles, both ways.
fn slow(limits: Limits, head: &'static str, bytes: &'static str) -> [String; 2] {
    let origin = Origin::new(move |_, stream| {
        let mut sent = stream.write_all(head.as_bytes());
        if bytes.is_empty() {
            while stream.read(&mut [0; 1024]).is_ok_and(|n| n > 0) {}
        }
        while sent.is_ok() && !bytes.is_empty() {
            thread::sleep(Duration::from_millis(5));
            sent = stream.write_all(bytes.as_bytes());
        }
        Then::Close
    });
    let url = origin.at("/");
    both_ways(move || {
        let answer = client().get(&url).limits(limits).send();
        let body = answer.and_then(|mut answer| answer.read_all(1 << 30));
        body.unwrap_err().into_error().to_string()
    })
}

#[test]
fn limits_hold_for_the_whole_of_an_answer_that_trickles() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n";
    let interim = "HTTP/1.1 102 Processing\r\n\r\n";
    for error in slow(Limits::default(), interim, interim) {
        assert_eq!(error, "more than the 10 interim answers allowed");
    }
    let total = Limits {
        total: Some(Duration::from_millis(300)),
        interim: usize::MAX,
        head: 1 << 30,
        ..Limits::default()
    };
    let least = Limits {
        total: None,
        least: Some(Speed {
            bytes: 1 << 20,
            time: Duration::from_millis(300),
        }),
        ..total
    };
    let over = "the answer is too slow: the time for the whole of it is up";
    for bytes in ["x", ""] {
        for error in slow(total, head, bytes) {
            assert_eq!(error, over);
        }
        for error in slow(least, head, bytes) {
            assert_eq!(error, "the answer is too slow: fewer bytes came than must");
        }
    }
    for error in slow(total, interim, interim) {
        assert_eq!(error, over);
    }
}

#[test]
fn a_server_that_takes_a_request_slowly_does_not_answer_slowly() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        for _ in 0..2 {
            let mut stream = listener.accept().unwrap().0;
            // Longer than the least speed allows, and more than the system's buffers hold.
            thread::sleep(Duration::from_millis(2500));
            let mut request = Vec::new();
            let mut piece = vec![0; 1 << 20];
            while !request.ends_with(b"the end") {
                let n = stream.read(&mut piece).unwrap();
                request.extend_from_slice(&piece[..n]);
            }
            answer(&mut stream, "200 OK", "", b"ok");
        }
    });
    for got in both_ways(move || {
        let least = Some(Speed {
            bytes: 1000,
            time: Duration::from_millis(1500),
        });
        let limits = Limits {
            least,
            ..Limits::default()
        };
        let body = [content(32 << 20), b"the end".to_vec()].concat();
        let request = client().put(&url).body(body).limits(limits);
        request.send().unwrap().read_all(10).unwrap()
    }) {
        assert_eq!(got, b"ok");
    }
    server.join().unwrap();
}

#[test]
fn a_silent_server_is_given_up_in_time_both_ways() {
    let origin = Origin::new(|_, stream| {
        let _ = stream.read(&mut [0]);
        Then::Close
    });
    let start = Instant::now();
    let url = origin.at("/");
    for error in both_ways(move || {
        let timeouts = Timeouts {
            io: Some(Duration::from_millis(60)),
            ..quick()
        };
        client().get(&url).timeouts(timeouts).send().unwrap_err()
    }) {
        assert_eq!(error.phase(), Phase::ReadingHead);
        assert_eq!(io::Error::from(error).kind(), ErrorKind::TimedOut);
    }
    assert!(start.elapsed() >= Duration::from_millis(120));
    // A server that takes nothing of a large request.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    for error in both_ways(move || {
        let request = client().put(&url).body(vec![0; 64 << 20]);
        request
            .timeout(Duration::from_millis(1000))
            .send()
            .unwrap_err()
    }) {
        assert_eq!(error.phase(), Phase::Sending, "{error}");
        assert!(matches!(error.error(), HttpError::TooSlow(_)), "{error}");
    }
}

#[test]
fn a_killed_request_ends_with_exit_and_closes_its_connection() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = ended.clone();
    let origin = Origin::new(move |asked, stream| {
        if asked.target == "/body" {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
        }
        while stream.read(&mut [0; 100]).is_ok_and(|n| n > 0) {}
        count.fetch_add(1, Ordering::SeqCst);
        Then::Close
    });
    let main_loop = MainLoop::current().unwrap();
    for path in ["/head", "/body"] {
        let outcome = Rc::new(RefCell::new(None));
        let (slot, url) = (outcome.clone(), origin.at(path));
        let download = spawn(move || -> hardswitch::Result<()> {
            let mut body = Vec::new();
            let read = client()
                .get(&url)
                .send()
                .map_err(Error::from)
                .and_then(|mut answer| Ok(answer.read_to_end(&mut body)?));
            *slot.borrow_mut() = Some(read.unwrap_err());
            Ok(())
        })
        .unwrap();
        // It waits for the server, and mostly for what is missing.
        let end = Instant::now() + Duration::from_millis(50);
        while main_loop.waiting().0 == 0 || Instant::now() < end {
            main_loop.tick().unwrap();
        }
        download.kill().unwrap();
        assert!(matches!(outcome.take(), Some(Error::Exit)), "{path}");
        assert_eq!(main_loop.waiting(), (0, 0));
    }
    let end = Instant::now() + Duration::from_secs(60);
    while ended.load(Ordering::SeqCst) < 2 {
        assert!(Instant::now() < end, "the server has not seen the end");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_tasklet_that_must_not_block_is_told_so() {
    let origin = echo();
    let url = origin.at("/");
    let refused = Rc::new(Cell::new(false));
    let slot = refused.clone();
    let tasklet = spawn(move || -> hardswitch::Result<()> {
        let error = Error::from(client().get(&url).send().unwrap_err());
        slot.set(matches!(error, Error::BlockTrap));
        Ok(())
    })
    .unwrap();
    tasklet.set_block_trap(true);
    MainLoop::current().unwrap().run_until_idle().unwrap();
    assert!(refused.get());
}

#[test]
fn many_requests_run_at_once_on_one_thread_while_the_loop_goes_on() {
    let origin = Origin::new(|asked, stream| {
        let n: usize = asked.target[1..].parse().unwrap();
        thread::sleep(Duration::from_millis(30));
        answer(stream, "200 OK", "", &content(n))
    });
    let client = client();
    let done = Rc::new(Cell::new(0));
    for i in 0..24 {
        let (n, done, client) = (i * 10_000, done.clone(), client.clone());
        let url = origin.at(&format!("/{n}"));
        spawn(move || -> hardswitch::Result<()> {
            let body = client.get(&url).send()?.read_all(1 << 20)?;
            assert!(body == content(n));
            done.set(done.get() + 1);
            Ok(())
        })
        .unwrap();
    }
    MainLoop::current().unwrap().run_until_idle().unwrap();
    assert_eq!(done.get(), 24);
    assert_eq!(client.idle(), 16);
}

#[test]
fn the_tick_goes_on_during_a_large_download() {
    let size = 6 << 20;
    let origin = Origin::new(move |_, stream| answer(stream, "200 OK", "", &content(size)));
    let url = origin.at("/");
    let got = Rc::new(RefCell::new(Vec::new()));
    let sink = got.clone();
    spawn(move || -> hardswitch::Result<()> {
        let mut answer = client().get(&url).send()?;
        let mut buffer = vec![0; 32 * 1024];
        loop {
            match answer.read(&mut buffer)? {
                0 => return Ok(()),
                n => sink.borrow_mut().extend_from_slice(&buffer[..n]),
            }
        }
    })
    .unwrap();
    let mut ticks = 0;
    while got.borrow().len() < size {
        MainLoop::current().unwrap().tick().unwrap();
        ticks += 1;
        thread::sleep(Duration::from_millis(1));
    }
    assert!(ticks >= 6, "it took {ticks} ticks");
    assert!(*got.borrow() == content(size));
}

#[test]
fn a_whole_answer_is_whole_though_its_connection_is_lost_then_both_ways() {
    let origin = Origin::new(|_, stream| {
        let whole = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        let _ = stream.write_all(whole.as_bytes());
        thread::sleep(Duration::from_millis(30));
        Then::Reset
    });
    let url = origin.at("/");
    for got in both_ways(move || {
        let client = client();
        let mut answer = client.get(&url).send().unwrap();
        // The loss is there before the end is read.
        thread::sleep(Duration::from_millis(200));
        let got = answer.read_all(100).map_err(|error| error.to_string());
        // On a slow machine it is there a little later.
        common::eventually("nothing is kept", || client.idle() == 0);
        got
    }) {
        assert_eq!(got, Ok(b"ok".to_vec()));
    }
}

#[test]
fn the_connection_of_an_answer_in_chunks_with_a_length_is_not_kept() {
    let origin = Origin::new(|asked, stream| {
        let length = match asked.target.as_str() {
            "/both" => "Content-Length: 2\r\n",
            _ => "",
        };
        let chunks = "2\r\nok\r\n0\r\n\r\n";
        let head = format!("HTTP/1.1 200 OK\r\n{length}Transfer-Encoding: chunked\r\n\r\n");
        let _ = stream.write_all((head + chunks).as_bytes());
        Then::Keep
    });
    for (path, kept) in [("/both", 0), ("/chunks", 1)] {
        let url = origin.at(path);
        for got in both_ways(move || {
            let client = client();
            let got = client.get(&url).send().unwrap().read_all(100).unwrap();
            (got, client.idle())
        }) {
            assert_eq!(got, (b"ok".to_vec(), kept), "{path}");
        }
    }
}

#[test]
fn connections_that_have_ended_are_not_counted_nor_kept_in_place_of_others() {
    let (go, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (may_end, ends) = (go.clone(), ended.clone());
    let origin = Origin::new(move |asked, stream| {
        let _ = answer(stream, "200 OK", "", b"ok");
        match asked.target.as_str() {
            // Kept at first, and ended a little later.
            "/ends" => {
                common::eventually("it may end", || may_end.load(Ordering::SeqCst) > 0);
                ends.fetch_add(1, Ordering::SeqCst);
                Then::Close
            }
            _ => Then::Keep,
        }
    });
    let client = Client::with_settings(ClientSettings {
        idle: 2,
        timeouts: quick(),
        ..ClientSettings::default()
    });
    let mut answers: Vec<_> = ["/stays", "/ends", "/ends", "/stays"]
        .map(|path| client.get(&origin.at(path)).send().unwrap())
        .into();
    let last = answers.pop();
    for answer in &mut answers[..2] {
        answer.read_all(10).unwrap();
    }
    assert_eq!(client.idle(), 2);
    go.store(1, Ordering::SeqCst);
    common::eventually("both end", || ended.load(Ordering::SeqCst) == 2);
    thread::sleep(Duration::from_millis(250));
    common::eventually("one has ended", || client.idle() == 1);
    // The first one, the oldest, is not closed for the sake of those that have ended.
    answers[2].read_all(10).unwrap();
    last.unwrap().read_all(10).unwrap();
    assert_eq!(client.idle(), 2);
}

/// Takes a piece, and then no more for a moment.
struct Slow(Duration);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        thread::sleep(self.0);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_server_that_always_has_bytes_ready_has_no_more_time_both_ways() {
    let size = 16 << 20;
    let origin = Origin::new(move |_, stream| answer(stream, "200 OK", "", &vec![b'x'; size]));
    let url = origin.at("/");
    for (error, took) in both_ways(move || {
        let start = Instant::now();
        let request = client().get(&url).timeout(Duration::from_millis(1000));
        let mut answer = request.send().unwrap();
        let slow = &mut Slow(Duration::from_millis(100));
        let error = answer.copy_to(slow, |_, _| {}).map(drop).unwrap_err();
        (error, start.elapsed())
    }) {
        assert!(matches!(error.error(), HttpError::TooSlow(_)), "{error}");
        // All of it would take more than a minute.
        assert!(took < Duration::from_secs(30), "{took:?}");
    }
}

#[test]
fn an_exit_stays_one_through_readers_and_sinks_and_their_own_requests() {
    fn exit() -> io::Error {
        Error::Exit.into()
    }
    fn plain() -> io::Error {
        exit()
    }
    fn of_a_request() -> io::Error {
        io::Error::other(HttpError::RequestBody(exit()))
    }
    fn of_two() -> io::Error {
        io::Error::other(HttpError::Sink(io::Error::other(HttpError::Io(exit()))))
    }
    struct Throws(fn() -> io::Error);
    impl Write for Throws {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Read for Throws {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(self.0())
        }
    }
    let origin = Origin::new(|_, stream| answer(stream, "200 OK", "", b"hello"));
    let url = origin.at("/");
    for error in [plain, of_a_request, of_two] {
        let url = url.clone();
        for exits in both_ways(move || {
            let sunk = || {
                let mut answer = client().get(&url).send().unwrap();
                answer.copy_to(&mut Throws(error), |_, _| {}).unwrap_err()
            };
            let read = || {
                let request = client().put(&url).body_reader(Throws(error), Some(5));
                request.send().unwrap_err()
            };
            [
                Error::from(sunk()),
                Error::from(sunk().into_error()),
                Error::from(read()),
                Error::from(read().into_error()),
            ]
            .map(|error| matches!(error, Error::Exit))
        }) {
            assert_eq!(exits, [true; 4]);
        }
    }
    // What is the caller's own error stays with its request.
    let refused = || io::Error::from(ErrorKind::PermissionDenied);
    let mut answer = client().get(&url).send().unwrap();
    let error = answer.copy_to(&mut Throws(refused), |_, _| {}).unwrap_err();
    let Error::Io(error) = Error::from(error) else {
        panic!("another error")
    };
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains(&url), "{error}");
}

#[test]
fn an_exit_of_a_reader_ends_a_request_that_is_about_to_be_redirected() {
    /// Gives a byte, another one after a while, and then an exit.
    struct Later(u32);
    impl Read for Later {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => {}
                2 => thread::sleep(Duration::from_millis(200)),
                _ => return Err(Error::Exit.into()),
            }
            out[0] = b'x';
            Ok(1)
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
        // The body of this redirect is not there yet, and that of the request is not, either.
        let moved = "HTTP/1.1 303 Other\r\nLocation: /other\r\nContent-Length: 5\r\n\r\n";
        stream.write_all(moved.as_bytes()).unwrap();
        while stream.read(&mut [0; 1024]).is_ok_and(|n| n > 0) {}
        listener.set_nonblocking(true).unwrap();
        listener.accept().map(drop).unwrap_err().kind()
    });
    let request = client().post(&url).body_reader(Later(0), Some(100));
    let error = request.send().unwrap_err();
    assert!(matches!(Error::from(error), Error::Exit));
    assert_eq!(
        server.join().unwrap(),
        ErrorKind::WouldBlock,
        "a second request"
    );
}

#[test]
fn what_cannot_be_a_request_makes_no_connection() {
    let origin = echo();
    let client = Client::with_settings(ClientSettings {
        user_agent: "a\r\nEvil: 1".to_owned(),
        ..ClientSettings::default()
    });
    for path in ["/", "/<a"] {
        let error = client.get(&origin.at(path)).send().unwrap_err();
        assert_eq!(error.phase(), Phase::Preparing, "{error}");
    }
    assert_eq!((origin.connections(), client.idle()), (0, 0));
    // Nor does a redirect to what cannot be one.
    let origin = Origin::new(|asked, stream| match asked.target.as_str() {
        "/" => answer(stream, "302 Found", "Location: /<a\r\n", b""),
        _ => answer(stream, "200 OK", "", b"ok"),
    });
    let error = self::client().get(&origin.at("/")).send().unwrap_err();
    assert_eq!(error.phase(), Phase::Redirecting, "{error}");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_head_beyond_the_limit_is_called_so_both_ways() {
    const HEAD: usize = 16 * 1024;
    let origin = Origin::new(|asked, stream| {
        let bytes = match asked.target.as_str() {
            "/endless" => format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(100_000)),
            "/fields" => format!(
                "HTTP/1.1 200 OK\r\n{}\r\n",
                "A: twenty bytes and one\r\n".repeat(900)
            ),
            // Not a byte more than is allowed, and no end.
            "/exact" => {
                let start = "HTTP/1.1 200 OK\r\nX: ";
                format!("{start}{}", "y".repeat(HEAD - start.len()))
            }
            "/many" => format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(2000)),
            _ => {
                let interim = format!("HTTP/1.1 103 E\r\nX: {}\r\n\r\n", "y".repeat(6000));
                format!("{}HTTP/1.1 200 OK\r\n\r\n", interim.repeat(4))
            }
        };
        let _ = stream.write_all(bytes.as_bytes());
        // Whoever waits for more is told of a time, not of the head.
        while asked.target == "/exact" && stream.read(&mut [0; 100]).is_ok_and(|n| n > 0) {}
        Then::Close
    });
    let limits = Limits {
        head: HEAD,
        ..Limits::default()
    };
    for path in ["/endless", "/fields", "/interim", "/exact"] {
        let url = origin.at(path);
        let errors = both_ways(move || client().get(&url).limits(limits).send().unwrap_err());
        for error in errors {
            let is_so = matches!(error.error(), HttpError::HeadTooLong(HEAD));
            assert!(is_so && error.phase() == Phase::ReadingHead, "{error}");
        }
    }
    // Too many fields are no fault of the server's.
    let error = client().get(&origin.at("/many")).send().unwrap_err();
    assert!(
        matches!(error.error(), HttpError::Unsupported(_)),
        "{error}"
    );
}

#[test]
fn a_reader_of_nothing_is_no_body_both_ways() {
    struct Unread;
    impl Read for Unread {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("there is nothing to be read")
        }
    }
    let origin = echo();
    let url = origin.at("/");
    for got in both_ways(move || {
        ["POST", "GET"].map(|method| {
            let request = client().request(method, &url).body_reader(Unread, Some(0));
            request.send().unwrap().read_all(100).unwrap()
        })
    }) {
        assert_eq!(got, [b"POST / ".to_vec(), b"GET / ".to_vec()]);
    }
    for asked in origin.asked() {
        let expected = (asked.method == "POST").then_some("0");
        assert_eq!(asked.field("content-length"), expected, "{asked:?}");
    }
}

#[test]
fn who_has_sent_all_of_a_body_waits_for_the_answer_both_ways() {
    let origin = Origin::new(|_, stream| {
        let _ = stream.read(&mut [0]);
        Then::Close
    });
    let url = origin.at("/");
    for error in both_ways(move || {
        let timeouts = Timeouts {
            io: Some(Duration::from_millis(100)),
            ..quick()
        };
        let body = Cursor::new(content(100_000));
        let request = client().put(&url).body_reader(body, Some(100_000));
        request.timeouts(timeouts).send().unwrap_err()
    }) {
        assert_eq!(error.phase(), Phase::ReadingHead, "{error}");
    }
    assert!(origin
        .asked()
        .iter()
        .all(|asked| asked.body == content(100_000)));
}

#[test]
fn a_head_of_as_many_bytes_as_are_allowed_is_read_both_ways() {
    const HEAD: usize = 16 * 1024;
    for left in [0, 1, 3, 5] {
        let origin = Origin::new(move |asked, stream| {
            let (framing, body) = match asked.target.as_str() {
                "/sized" => ("Content-Length: 5000\r\n", [b'x'; 5000].to_vec()),
                "/end" => ("", [b'x'; 5000].to_vec()),
                _ => {
                    let chunks = [b"1388\r\n", &[b'x'; 5000][..], b"\r\n0\r\n\r\n"].concat();
                    ("Transfer-Encoding: chunked\r\n", chunks)
                }
            };
            let start = format!("HTTP/1.1 200 OK\r\n{framing}X: ");
            let fill = "y".repeat(HEAD - left - start.len() - 4);
            let head = format!("{start}{fill}\r\n\r\n");
            assert_eq!(head.len(), HEAD - left);
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
            Then::Close
        });
        for path in ["/sized", "/chunks", "/end"] {
            let url = origin.at(path);
            for got in both_ways(move || {
                let answer = client().get(&url).send();
                let body = answer.and_then(|mut answer| answer.read_all(10_000));
                body.map_err(|error| error.to_string())
            }) {
                let got = got.map(|body| body == [b'x'; 5000]);
                assert_eq!(got, Ok(true), "{path}, {left} bytes less");
            }
        }
    }
}
