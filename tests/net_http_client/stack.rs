//! What a request needs of its tasklet's stack.

use crate::origin::{answer, Origin};
use crate::{client, content};
use hardswitch::net::http::Client;
use hardswitch::{MainLoop, Settings, Tasklet};
use std::cell::Cell;
use std::rc::Rc;

/// The figure for a request on this processor in the table of docs/stacks.md, in bytes. Frames of
/// a build without optimisation have a row of their own.
fn figure() -> usize {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/stacks.md");
    let page = std::fs::read_to_string(page).expect("the page of figures");
    let start = match cfg!(debug_assertions) {
        true => "| the same, in a build that is not optimised | ",
        false => "| a request of `http::Client`, with its answer | ",
    };
    let row = page.lines().find_map(|line| line.strip_prefix(start));
    let mut cells = row.expect("the row").split('|');
    let cell = match cfg!(target_arch = "x86_64") {
        true => cells.next(),
        false => cells.nth(1),
    };
    let kib = cell.unwrap().trim().trim_end_matches(" KiB");
    kib.parse::<usize>().unwrap() * 1024
}

/// Bytes of stack that `call` uses, in a tasklet whose stack is painted before.
fn used_by(call: impl FnOnce() + 'static) -> usize {
    const SIZE: usize = 512 * 1024;
    const PAINT: u8 = 0xa5;
    /// What is painted: below this frame and that of the routine that paints.
    const PAINTED: usize = SIZE - 64 * 1024;
    const OWN: usize = 1024;
    let used = Rc::new(Cell::new(0));
    let found = used.clone();
    let body = move || {
        let here = 0u8;
        let top = &raw const here as usize - OWN;
        let low = top - PAINTED;
        for at in low..top {
            // SAFETY: memory of the tasklet's stack, below all frames.
            unsafe { (at as *mut u8).write_volatile(PAINT) };
        }
        call();
        // SAFETY: as above.
        let painted = |at: &usize| unsafe { (*at as *const u8).read_volatile() == PAINT };
        let lowest = (low..top).find(|at| !painted(at)).unwrap_or(top);
        found.set(top + OWN - lowest);
    };
    Tasklet::builder().stack_size(SIZE).spawn(body).unwrap();
    MainLoop::current().unwrap().run_until_idle().unwrap();
    used.get()
}

fn request(client: &Client, url: &str) {
    let mut answer = client.post(url).body(content(100_000)).send().unwrap();
    assert!(answer.read_all(1 << 20).unwrap() == content(100_000));
}

/// A redirect, interim answers, fields and chunks: what has the deepest calls.
fn deep() -> Origin {
    use std::io::Write;
    Origin::new(|asked, stream| match asked.target.as_str() {
        "/" => answer(stream, "307 Moved", "Location: /chunks\r\n", b"there"),
        _ => {
            let fields = "A: b\r\n".repeat(200);
            let head = format!(
                "HTTP/1.1 102 P\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n"
            );
            let _ = stream.write_all(head.as_bytes());
            for chunk in asked.body.chunks(999) {
                let _ = stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes());
                let _ = stream.write_all(chunk);
                let _ = stream.write_all(b"\r\n");
            }
            let _ = stream.write_all(b"0\r\nT: u\r\n\r\n");
            crate::origin::Then::Keep
        }
    })
}

#[test]
fn a_request_takes_no_more_stack_than_the_page_of_figures_says() {
    let origin = deep();
    let url = origin.at("/");
    let used = used_by(move || request(&client(), &url));
    let said = figure();
    println!("used {used} bytes, {said} said");
    assert!(
        used <= said && used * 8 > said,
        "used {used} bytes, {said} said"
    );
}

/// Their stacks are copied away while they wait: nothing may point into them.
#[test]
fn many_requests_of_sliced_tasklets_share_one_window() {
    let work = || {
        let settings = Settings {
            windows: 1,
            ..Settings::default()
        };
        settings.apply().expect("settings of a new thread");
        let origin = deep();
        let (client, done) = (client(), Rc::new(Cell::new(0)));
        for _ in 0..20 {
            let (client, done, url) = (client.clone(), done.clone(), origin.at("/"));
            // SAFETY: the tasklet lends its stack to nobody.
            let builder = unsafe { Tasklet::builder().sliced() };
            let body = move || {
                request(&client, &url);
                done.set(done.get() + 1);
            };
            builder.spawn(body).unwrap();
        }
        MainLoop::current().unwrap().run_until_idle().unwrap();
        assert_eq!(done.get(), 20);
    };
    std::thread::spawn(work).join().unwrap();
}
