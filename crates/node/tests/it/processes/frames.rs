//! One frame of Celeborn's protocol for another, on a plain socket.

use std::io::{Read, Write};
use std::net::TcpStream;

use dunlin_celeborn::frame::{self, Frame};

/// Sends a frame, and waits for the next one as long as the socket does.
pub(super) fn answered(stream: &mut TcpStream, frame: &Frame) -> Frame {
    stream.write_all(&frame.encode().expect("short").to_bytes()).expect("sent");
    let mut decoder = frame::Decoder::new(frame::Limits::CLIENT);
    loop {
        let mut piece = vec![0; decoder.wants()];
        stream.read_exact(&mut piece).expect("answered");
        if let Some(frame) = decoder.feed(piece.into()).expect("a frame") {
            return frame;
        }
    }
}
