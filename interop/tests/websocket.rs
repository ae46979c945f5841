//! `tungstenite`: a WebSocket of two tasklets of one thread.

use hardswitch::spawn;
use hardswitch_interop::{pair, pattern};
use tungstenite::{accept, client, Message};

#[test]
fn a_websocket_of_two_tasklets_of_one_thread_echoes() {
    let (ours, theirs) = pair().unwrap();
    let server = spawn(move || {
        let mut socket = accept(theirs).unwrap();
        loop {
            match socket.read() {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                    socket.send(message).unwrap()
                }
                // The library answers pings and the closing itself.
                Ok(_) => {}
                Err(tungstenite::Error::ConnectionClosed) => break,
                Err(error) => panic!("{error}"),
            }
        }
    });
    let server = server.unwrap();
    let (mut socket, answer) = client("ws://localhost/echo", ours).unwrap();
    assert_eq!(answer.status(), 101);
    socket
        .send(Message::text("from tasklet to tasklet"))
        .unwrap();
    assert_eq!(
        socket.read().unwrap(),
        Message::text("from tasklet to tasklet")
    );
    // More than a socket takes at once: both sides have to wait for each other.
    for size in [0, 1, 125, 126, 65_536, 3_000_000] {
        socket.send(Message::binary(pattern(size))).unwrap();
        let echo = socket.read().unwrap();
        assert!(echo == Message::binary(pattern(size)), "of {size} bytes");
    }
    socket.close(None).unwrap();
    let end = loop {
        if let Err(error) = socket.read() {
            break error;
        }
    };
    assert!(matches!(end, tungstenite::Error::ConnectionClosed), "{end}");
    hardswitch::run().unwrap();
    assert!(!server.is_alive());
}
